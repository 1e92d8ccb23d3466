//! What the routes of one gateway share, and who waits for what.
//!
//! ```text
//!   request ─▶ read ─▶ rate, number under way ─▶ signature ─▶ what it is for
//!                │            │                      │          ├─ a notification ─▶ notify.rs
//!                └────────────┴──── refused ─────────┘          └─ an API ─▶ forward.rs ─▶ the back end
//! ```

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use slab::Slab;

use super::ApiGatewayOptions;
use super::answer::{Answer, Refused, request_id};
use super::devices::{Member, is_local};
use super::forward::Pending;
use super::request::{ApiRequest, Read, Signal, read_json};
use super::signature::Nonces;
use super::words::{self, Said};
use crate::hub::{ConnId, Context, Outcome, Reply, Request, Ticket};
use crate::ws::Message;

#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) options: ApiGatewayOptions,
    pub(super) members: Slab<Member>,
    /// The connection of each device. Names are clients' words: std's keyed hasher, and never iterated.
    pub(super) devices: HashMap<Rc<str>, u32>,
    /// Requests at back ends.
    pub(super) pending: BTreeMap<Ticket, Pending>,
    /// Timers that belong to no session.
    pub(super) timers: BTreeMap<Ticket, Due>,
    pub(super) nonces: Nonces,
    /// The last one that was given out.
    pub(super) credential: u64,
    /// The number of the last notification.
    pub(super) notice: u64,
}

/// What is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A connection that was told to go.
    End { member: u32, id: ConnId },
    /// A notification that waits for its device to be registered.
    Held {
        member: u32,
        id: ConnId,
        number: u64,
    },
    /// A notification that was to be acknowledged.
    Notice {
        member: u32,
        id: ConnId,
        number: u64,
    },
}

/// Who waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asker {
    Device {
        member: u32,
        id: ConnId,
        seq: String,
    },
    /// A plain HTTP request.
    Request(Ticket),
}

/// The same with the name of what was asked.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    pub(super) asker: Asker,
    pub(super) request_id: String,
}

/// Where a request came from.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The connection of a device.
    pub(super) member: Option<u32>,
    pub(super) address: Option<Rc<str>>,
    pub(super) is_local: bool,
    /// The key it has signed with.
    pub(super) app: Option<Rc<str>>,
}

impl Gateway {
    pub(super) fn new(options: ApiGatewayOptions) -> Self {
        Self {
            nonces: Nonces::new(options.nonces_max),
            options,
            members: Slab::new(),
            devices: HashMap::new(),
            pending: BTreeMap::new(),
            timers: BTreeMap::new(),
            credential: 0,
            notice: 0,
        }
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_quiet(&self) -> bool {
        self.members.is_empty() && self.devices.is_empty() && self.pending.is_empty()
    }

    /// A message of a device.
    pub(super) fn hear(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let Some(key) = Self::key(cx) else { return };
        let Some(member) = self.members.get_mut(key as usize) else {
            return;
        };
        member.alive_ms = cx.now().ms;
        match words::read(message) {
            Said::Nothing => {}
            Said::Heartbeat => {
                let credential = member.credential;
                cx.send_text(&format!("HO#{credential}"));
            }
            Said::Register(name) => self.register_device(cx, key, name),
            Said::BadRegister(why) => Self::refuse_device(cx, why),
            Said::Acknowledged => self.acknowledged(cx, key),
            Said::Call(text) => self.hear_call(cx, key, text),
            Said::Unknown(why) => {
                if cx.bad_message() {
                    let refused = Refused::new(400, why, "bad_message");
                    let id = request_id(cx.random16());
                    cx.send_text(&Answer::Refused(refused).json(None, &id));
                }
            }
        }
    }

    fn hear_call(&mut self, cx: &mut Context<'_>, key: u32, text: &str) {
        let Read { seq, request } = read_json(text, &self.options);
        let request_id = request_id(cx.random16());
        let verdict = match request {
            _ if !self.is_within_rate(cx, key) => {
                let why = "too many requests in a second (setting calls_per_second): reconnect";
                Err(Refused::new(429, why, "apigw_rate"))
            }
            Err(refused) => {
                if !cx.bad_message() {
                    return;
                }
                Err(refused)
            }
            Ok(request) => self.judge_call(cx, key, seq.clone(), &request_id, request),
        };
        if let Err(refused) = verdict {
            cx.count_refusal(refused.label);
            cx.send_text(&Answer::Refused(refused).json(seq.as_deref(), &request_id));
        }
    }

    fn judge_call(
        &mut self,
        cx: &mut Context<'_>,
        key: u32,
        seq: Option<String>,
        request_id: &str,
        request: ApiRequest,
    ) -> Result<(), Refused> {
        let (Some(member), Some(id)) = (self.members.get(key as usize), cx.id()) else {
            return Ok(());
        };
        if member.in_flight >= self.options.in_flight_max {
            let why = "too many requests are under way (setting in_flight_max)";
            return Err(Refused::new(429, why, "apigw_in_flight"));
        }
        let mut caller = Caller {
            member: Some(key),
            address: member.address.clone(),
            is_local: member.is_local,
            app: None,
        };
        caller.app = match self.check_signature(cx, &request) {
            Ok(app) => app,
            // Whoever guesses has a few tries a minute.
            Err(refused) => {
                return if cx.bad_message() {
                    Err(refused)
                } else {
                    Ok(())
                };
            }
        };
        let waiter = Waiter {
            asker: Asker::Device {
                member: key,
                id,
                seq: seq.unwrap_or_default(),
            },
            request_id: request_id.to_owned(),
        };
        self.take(cx, waiter, &caller, request)?;
        Ok(())
    }

    /// A plain HTTP request.
    pub(super) fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        let ticket = cx.ticket();
        let request_id = request_id(cx.random16());
        let verdict = ApiRequest::of_http(request.head, request.body).and_then(|api| {
            let is_asked_before =
                api.method == "OPTIONS" && api.header("access-control-request-method").is_some();
            // A browser asks whether a page may before it has anything to sign.
            let app = match is_asked_before {
                true => None,
                false => self.check_signature(cx, &api)?,
            };
            let caller = Caller {
                member: None,
                address: Member::address_of(request.peer),
                is_local: is_local(request),
                app,
            };
            let waiter = Waiter {
                asker: Asker::Request(ticket),
                request_id: request_id.clone(),
            };
            self.take(cx, waiter, &caller, api)
        });
        match verdict {
            Ok(()) => Reply::Later(ticket),
            Err(refused) => {
                cx.count_refusal(refused.label);
                Answer::Refused(refused).response(&request_id).into()
            }
        }
    }

    /// A request that is well formed: to a back end or to a device.
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        waiter: Waiter,
        caller: &Caller,
        request: ApiRequest,
    ) -> Result<(), Refused> {
        let signal = request.signal()?;
        if self.options.notify_paths.contains(&request.path) {
            return self.notify(cx, waiter, caller, &request);
        }
        if signal == Signal::Notify {
            let why = "this path does not notify (setting notify_paths)";
            return Err(Refused::new(404, why, "apigw_no_api"));
        }
        self.forward(cx, waiter, caller, signal, request)
    }

    /// Something that was asked for has come to its end.
    pub(super) fn on_outcome(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        outcome: Outcome<'_>,
    ) {
        match outcome {
            Outcome::Elapsed => match self.timers.remove(&ticket) {
                Some(Due::End { member, id }) => self.end_if_due(cx, member, id),
                Some(Due::Held { member, id, number }) => {
                    self.held_is_late(cx, member, id, number);
                }
                Some(Due::Notice { member, id, number }) => {
                    self.notice_is_late(cx, member, id, number);
                }
                None => self.look_at(cx),
            },
            Outcome::Answered(answered) => self.returned(cx, ticket, Answer::Passed(answered)),
            Outcome::Failed(error) => {
                self.returned(cx, ticket, Answer::Refused(Refused::failed(error)));
            }
        }
    }

    /// The answer to whoever waits for it.
    pub(super) fn tell(&mut self, cx: &mut Context<'_>, waiter: &Waiter, answer: Answer<'_>) {
        let Waiter { asker, request_id } = waiter;
        self.note_done(waiter);
        match asker {
            Asker::Request(ticket) => cx.reply(*ticket, answer.response(request_id)),
            Asker::Device { id, seq, .. } => {
                if cx.is_open(*id) {
                    let json = answer.json(Some(seq), request_id);
                    cx.send_to(*id, Message::Text(&json));
                }
            }
        }
    }

    /// Somebody waits from now on.
    pub(super) fn note_waiting(&mut self, waiter: &Waiter) {
        if let Asker::Device { member, .. } = waiter.asker
            && let Some(member) = self.members.get_mut(member as usize)
        {
            member.in_flight += 1;
        }
    }

    /// Somebody does not wait any more.
    pub(super) fn note_done(&mut self, waiter: &Waiter) {
        if let Asker::Device { member, id, .. } = &waiter.asker
            && let Some(member) = self.members.get_mut(*member as usize)
            && member.id == *id
        {
            member.in_flight = member.in_flight.saturating_sub(1);
        }
    }

    /// Who this session is.
    pub(super) fn key(cx: &Context<'_>) -> Option<u32> {
        cx.word().checked_sub(1).map(|key| key as u32)
    }
}
