//! The application that random runs talk to: commands as text, and a diary of everything it did.
//!
//! The diary is in the order in which the worker served its clients, so it is the truth that deliveries are
//! measured against: see `model.rs`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::callbacks::TIMEOUT_MS;
use super::house::name_of;
use super::peer::Received;
use crate::http::Response;
use crate::hub::{
    Call, CallError, CloseInfo, ConnId, Context, Handler, Initiator, Outcome, Peer, Reply, Request,
    SlowPolicy, Target, Ticket, Upgrade,
};
use crate::ws::{CloseCode, Message};

/// One thing the application did or was told. `id` is the number a client carries in its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Opened {
        id: u32,
        slow: SlowPolicy,
        /// Who it is, as the server says.
        peer: Peer,
    },
    Heard {
        id: u32,
        message: Received,
    },
    Joined {
        id: u32,
        channel: String,
    },
    Left {
        id: u32,
        channel: String,
    },
    /// A publication was accepted for the union of these channels.
    Published {
        channels: Vec<String>,
        but: Option<u32>,
        text: String,
        offset: u64,
        epoch: u32,
        receivers: usize,
    },
    /// Something was queued for this session alone.
    Said {
        id: u32,
        message: Received,
    },
    /// The application has asked for the end of a session.
    Closing {
        id: u32,
    },
    /// The application behind the gateway is to be called with this body.
    Called {
        id: u32,
        body: String,
    },
    /// A call has ended: with this status, or without an answer.
    Returned {
        body: String,
        outcome: Result<u16, CallError>,
    },
    Closed {
        id: u32,
        code: u16,
        by_peer: bool,
    },
    /// Something happened that never may.
    Wrong(String),
}

/// What all of them write into.
#[derive(Debug, Default)]
pub(crate) struct Diary {
    entries: RefCell<Vec<Entry>>,
    /// Publications so far: each carries its number, so that no two are the same.
    published: Cell<u32>,
}

impl Diary {
    /// What was written since the last call.
    pub(crate) fn take(&self) -> Vec<Entry> {
        self.entries.take()
    }
}

/// The handler. One value per route, all of them writing the same diary.
#[derive(Debug)]
pub(crate) struct App {
    diary: Rc<Diary>,
    ids: HashMap<ConnId, u32>,
    timers: HashMap<Ticket, Option<ConnId>>,
    /// What its route does with slow readers.
    slow: SlowPolicy,
    /// Calls go here; `None`: there are none.
    target: Option<Rc<Target>>,
    /// The bodies of calls that have not ended.
    calls: HashMap<Ticket, String>,
    /// How many calls there were.
    called: u32,
}

impl App {
    pub(crate) fn new(diary: Rc<Diary>, slow: SlowPolicy) -> Self {
        Self {
            diary,
            ids: HashMap::new(),
            timers: HashMap::new(),
            slow,
            target: None,
            calls: HashMap::new(),
            called: 0,
        }
    }

    /// Everything is told to the application behind the gateway too.
    pub(crate) fn calling(self, target: Target) -> Self {
        let target = Some(Rc::new(target));
        Self { target, ..self }
    }

    fn call(&mut self, cx: &mut Context<'_>, id: u32, what: &str) {
        if let Some(target) = &self.target {
            self.called += 1;
            let body = format!("{id} {} {what}", self.called);
            let ticket = cx.call(Call {
                target: target.clone(),
                method: "POST",
                headers: Vec::new(),
                body: body.clone().into_bytes(),
                timeout_ms: TIMEOUT_MS,
            });
            self.calls.insert(ticket, body.clone());
            self.note(Entry::Called { id, body });
        }
    }

    fn returned(&mut self, cx: &mut Context<'_>, ticket: Ticket, outcome: Result<u16, CallError>) {
        let Some(body) = self.calls.remove(&ticket) else {
            return self.note(Entry::Wrong("a call ended twice".to_owned()));
        };
        if let Some(id) = cx.id().and_then(|session| self.ids.get(&session).copied()) {
            self.say(cx, id, &format!("{outcome:?}"));
        }
        self.note(Entry::Returned { body, outcome });
    }

    /// Sessions it knows.
    fn note(&self, entry: Entry) {
        self.diary.entries.borrow_mut().push(entry);
    }

    fn say(&self, cx: &mut Context<'_>, id: u32, text: &str) {
        if cx.send_text(text) {
            let message = Received::Text(text.to_owned());
            self.note(Entry::Said { id, message });
        }
    }

    fn publish(&self, cx: &mut Context<'_>, id: u32, channels: &[&str], text: &str, others: bool) {
        let number = self.diary.published.get() + 1;
        self.diary.published.set(number);
        let text = &format!("{text} #{number}");
        let message = Message::Text(text);
        let published = if others {
            cx.publish_to_others(channels.first().unwrap_or(&""), message)
        } else {
            cx.publish_in(cx.space(), channels, message)
        };
        match published {
            Ok(published) => {
                self.note(Entry::Published {
                    channels: channels.iter().map(|c| (*c).to_owned()).collect(),
                    but: others.then_some(id),
                    text: text.to_owned(),
                    offset: published.position.offset,
                    epoch: published.position.epoch,
                    receivers: published.receivers,
                });
                self.say(cx, id, "published");
            }
            Err(error) => self.say(cx, id, &format!("refused: {error}")),
        }
    }

    fn command(&mut self, cx: &mut Context<'_>, id: u32, text: &str) {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let (first, payload) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "join" => match cx.subscribe(rest) {
                Ok(_) => {
                    self.note(Entry::Joined {
                        id,
                        channel: rest.to_owned(),
                    });
                    self.say(cx, id, &format!("joined {rest}"));
                }
                Err(error) => self.say(cx, id, &format!("not joined: {error}")),
            },
            "leave" => {
                cx.unsubscribe(rest);
                self.note(Entry::Left {
                    id,
                    channel: rest.to_owned(),
                });
                self.say(cx, id, &format!("left {rest}"));
            }
            "pub" => self.publish(cx, id, &[first], &format!("{first}: {payload}"), false),
            "pubs" => {
                let (times, payload) = payload.split_once(' ').unwrap_or(("1", ""));
                for n in 0..times.parse::<u32>().unwrap_or(1).min(100) {
                    self.publish(cx, id, &[first], &format!("{first}: {payload} {n}"), false);
                }
            }
            "others" => self.publish(cx, id, &[first], &format!("{first}: {payload}"), true),
            "both" => {
                let channels: Vec<&str> = first.split('+').collect();
                self.publish(cx, id, &channels, &format!("{first}: {payload}"), false);
            }
            "user" => {
                let answer = match cx.set_user(rest) {
                    Ok(()) if cx.user() == Some(rest) => format!("you are {rest}"),
                    Ok(()) => "somebody else".to_owned(),
                    Err(error) => format!("not you: {error}"),
                };
                self.say(cx, id, &answer);
            }
            "big" => {
                let bytes = rest.parse::<usize>().unwrap_or(0).min(1 << 20);
                self.say(cx, id, &"x".repeat(bytes));
            }
            "echo" => self.say(cx, id, rest),
            "timer" => {
                let ticket = cx.timer(rest.parse().unwrap_or(0));
                self.timers.insert(ticket, cx.id());
            }
            "close" => {
                self.note(Entry::Closing { id });
                cx.close(CloseCode(rest.parse().unwrap_or(1000)), "as you like it");
            }
            "kick" => {
                let other = rest.parse().unwrap_or(u32::MAX);
                let found = self.ids.iter().find(|(_, n)| **n == other);
                if let Some((session, _)) = found
                    && cx.close_other(*session, CloseCode(4000), "kicked")
                {
                    self.note(Entry::Closing { id: other });
                }
                self.say(cx, id, "kicked");
            }
            _ => self.say(cx, id, "what?"),
        }
    }
}

impl Handler for App {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        let (Some(session), Some(id)) = (cx.id(), request.param_as::<u32>("id")) else {
            return Upgrade::refuse(400, "the path ends with a number");
        };
        if self.ids.insert(session, id).is_some() {
            self.note(Entry::Wrong(format!("session {session} is there twice")));
        }
        let (slow, peer) = (self.slow, request.peer);
        self.note(Entry::Opened { id, slow, peer });
        if request.query("early").is_some() {
            self.say(cx, id, "early");
        }
        Upgrade::accept()
    }

    fn on_open(&mut self, cx: &mut Context<'_>) {
        match cx.id().and_then(|session| self.ids.get(&session).copied()) {
            Some(id) => {
                self.call(cx, id, "open");
                self.say(cx, id, "welcome");
            }
            None => self.note(Entry::Wrong("on_open without on_upgrade".to_owned())),
        }
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let Some(id) = cx.id().and_then(|session| self.ids.get(&session).copied()) else {
            return self.note(Entry::Wrong("a message without a session".to_owned()));
        };
        self.call(cx, id, "message");
        match message {
            Message::Text(text) => {
                self.note(Entry::Heard {
                    id,
                    message: Received::Text(text.to_owned()),
                });
                self.command(cx, id, text);
            }
            Message::Binary(bytes) => {
                let message = Received::Binary(bytes.to_vec());
                self.note(Entry::Heard {
                    id,
                    message: message.clone(),
                });
                if cx.send(Message::Binary(bytes)) {
                    self.note(Entry::Said { id, message });
                }
            }
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, close: CloseInfo<'_>) {
        let Some(session) = cx.id() else {
            return self.note(Entry::Wrong("on_close without a session".to_owned()));
        };
        if cx.send_text("too late") {
            self.note(Entry::Wrong("sent to a session that is over".to_owned()));
        }
        match self.ids.remove(&session) {
            Some(id) => {
                self.call(cx, id, "close");
                self.note(Entry::Closed {
                    id,
                    code: close.code.0,
                    by_peer: close.initiator == Initiator::Peer,
                });
            }
            None => self.note(Entry::Wrong(format!("on_close twice for {session}"))),
        }
    }

    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        match request.param("id").unwrap_or_default() {
            "later" => {
                let ms = request.query("ms").and_then(|ms| ms.parse().ok());
                let ticket = cx.timer(ms.unwrap_or(0));
                self.timers.insert(ticket, None);
                Reply::Later(ticket)
            }
            "big" => Reply::Now(Response::text(200, "y".repeat(40_000))),
            "who" => Reply::Now(Response::text(200, name_of(request.peer))),
            _ => {
                let mut response = Response::new(200);
                response.body = request.body.to_vec();
                Reply::Now(response)
            }
        }
    }

    fn on_outcome(&mut self, cx: &mut Context<'_>, ticket: Ticket, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Elapsed => {}
            Outcome::Answered(answer) => {
                return self.returned(cx, ticket, Ok(answer.head.status()));
            }
            Outcome::Failed(error) => return self.returned(cx, ticket, Err(error)),
        }
        match self.timers.remove(&ticket) {
            None => self.note(Entry::Wrong("a timer fired twice".to_owned())),
            Some(None) => cx.reply(ticket, Response::text(200, "later")),
            Some(session) => {
                if session != cx.id() {
                    self.note(Entry::Wrong("a timer fired for somebody else".to_owned()));
                }
                if let Some(id) = session.and_then(|s| self.ids.get(&s).copied()) {
                    self.say(cx, id, "elapsed");
                } else {
                    self.note(Entry::Wrong("a timer fired for nobody".to_owned()));
                }
            }
        }
    }

    fn gap_marker(&self, missed: Option<u32>) -> Option<String> {
        missed.map(|missed| format!("gap {missed}"))
    }
}
