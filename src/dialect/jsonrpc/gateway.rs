//! The state that the routes of one gateway share, and the way of an answer through it.
//!
//! ```text
//!   message ─▶ judged ─┬─▶ answered here: refused, kept from before, unsubscribed
//!                      ├─▶ a subscription ─▶ feeds.rs
//!                      └─▶ forwarded under an id of ours ─▶ pending ─▶ answer, loss or time-out ─▶ the client's id
//! ```

use serde_json::value::RawValue;
use slab::Slab;

use super::super::allowance::Allowance;
use super::super::cors;
use super::super::members::{each_item, members_any_depth, string};
use super::feeds::Feeds;
use super::jobs::{Job, SlotState};
use super::message::{
    CONNECTION_LOST, Failure, NO_ANSWER, Parsed, TIMED_OUT, UNAVAILABLE, answer, parse,
};
use super::pending::{Pending, Question};
use super::policy::KEPT;
use super::upstream::{Loss, Upstream};
use super::{Asker, JsonRpcOptions};
use crate::http::Response;
use crate::hub::{CallError, ConnId, Context, LinkEvent, LinkId, Outcome, Ticket};
use crate::ws::{CloseCode, Message};

#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) options: JsonRpcOptions,
    pub(super) upstream: Upstream,
    pub(super) pending: Pending,
    pub(super) feeds: Feeds,
    pub(super) members: Slab<Member>,
    pub(super) jobs: Slab<Job>,
    /// Answers that stay the same while the node does.
    pub(super) kept: [Option<Box<str>>; KEPT.len()],
    /// Requests of web pages that wait for an answer, and the pages' origins.
    pub(super) pages: Vec<(Ticket, String)>,
    /// When the next timer fires.
    armed_ms: Option<u64>,
}

/// A session.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: ConnId,
    /// Messages of it that wait for an answer.
    pub(super) in_flight: usize,
    /// Feeds, and its places in them.
    pub(super) subscriptions: Vec<(u32, u32)>,
    /// The same with those that are only asked for.
    pub(super) claimed: usize,
    pub(super) allowance: Allowance,
}

/// What comes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Answer(String),
    Later,
    /// There is nothing to answer, now or ever.
    Nothing,
    /// It is no JSON, and why.
    Broken(String),
}

/// How the node has answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answered<'a> {
    Result(&'a str),
    Error(&'a str),
    Failed(&'a Failure),
}

impl Answered<'_> {
    pub(super) fn tail(self) -> String {
        match self {
            Self::Result(json) => [",\"result\":", json].concat(),
            Self::Error(json) => [",\"error\":", json].concat(),
            Self::Failed(failure) => failure.tail(),
        }
    }
}

impl Gateway {
    pub(super) fn new(options: JsonRpcOptions) -> Self {
        Self {
            upstream: Upstream::new(&options.upstream, options.call_timeout_ms),
            options,
            pending: Pending::default(),
            feeds: Feeds::default(),
            members: Slab::new(),
            jobs: Slab::new(),
            kept: [const { None }; KEPT.len()],
            pages: Vec::new(),
            armed_ms: None,
        }
    }

    pub(super) fn enter(&mut self, cx: &mut Context<'_>) {
        let Some(id) = cx.id() else { return };
        let key = self.members.insert(Member {
            id,
            in_flight: 0,
            subscriptions: Vec::new(),
            claimed: 0,
            allowance: Allowance::new(self.options.rate(), cx.now().ms),
        });
        cx.set_word(key as u64 + 1);
    }

    pub(super) fn leave(&mut self, cx: &mut Context<'_>) {
        let key = cx.word().checked_sub(1).map(|key| key as usize);
        cx.set_word(0);
        if let Some(member) = key.and_then(|key| self.members.try_remove(key)) {
            for (feed, place) in member.subscriptions {
                self.unplace(cx, feed, place);
            }
        }
        self.arm(cx);
    }

    /// Who this session is.
    pub(super) fn asker(&self, cx: &Context<'_>) -> Option<Asker> {
        let member = cx.word().checked_sub(1)? as u32;
        let id = cx.id()?;
        Some(Asker::Session { member, id })
    }

    pub(super) fn member(&mut self, asker: Asker) -> Option<&mut Member> {
        let Asker::Session { member, id } = asker else {
            return None;
        };
        let member = self.members.get_mut(member as usize);
        member.filter(|member| member.id == id)
    }

    /// A message of a client.
    pub(super) fn hear(&mut self, cx: &mut Context<'_>, asker: Asker, bytes: &[u8]) -> Heard {
        let heard = match parse(bytes, self.options.batch_max) {
            Err(why) => {
                cx.count_refusal("jsonrpc_parse");
                Heard::Broken(why)
            }
            Ok(Parsed::One(said)) => self.one(cx, asker, &said),
            Ok(Parsed::Batch(items)) => self.batch(cx, asker, &items),
        };
        self.arm(cx);
        heard
    }

    pub(super) fn done(&mut self, asker: Asker) {
        if let Some(member) = self.member(asker) {
            member.in_flight = member.in_flight.saturating_sub(1);
        }
    }

    /// A question has its answer; the job it is a part of.
    fn answered(
        &mut self,
        cx: &mut Context<'_>,
        question: Question,
        answered: Answered<'_>,
    ) -> Option<u32> {
        let mut keep = |kept: Option<u8>| {
            if let (Some(at), Answered::Result(json)) = (kept, answered)
                && let Some(place) = self.kept.get_mut(usize::from(at))
            {
                *place = Some(json.into());
            }
        };
        match question {
            Question::Call { asker, id, kept } => {
                keep(kept);
                self.done(asker);
                if asker.is_there(cx) {
                    self.reply(cx, asker, &answer(&id, &answered.tail()));
                }
                None
            }
            Question::Part { job, slot, kept } => {
                keep(kept);
                self.fill(cx, job, slot, SlotState::Done(answered.tail()));
                Some(job)
            }
            Question::Feed(feed) => {
                self.feed_answered(cx, feed, answered);
                None
            }
            Question::Head(feed) => {
                self.head_answered(cx, feed, answered);
                None
            }
            Question::Orphan => {
                if let Answered::Result(id) = answered {
                    self.give_back(cx, id);
                }
                None
            }
        }
    }

    /// Something happened on the link.
    pub(super) fn on_link(&mut self, cx: &mut Context<'_>, link: LinkId, event: LinkEvent<'_>) {
        if !self.upstream.is_current(link) {
            return;
        }
        match event {
            LinkEvent::Open => {
                self.upstream.opened(cx, &self.pending, link);
                self.renew_feeds(cx);
            }
            LinkEvent::Message(message) => match std::str::from_utf8(message.as_bytes()) {
                Ok(text) => self.on_text(cx, text),
                Err(_) => cx.count_refusal("jsonrpc_bad_answer"),
            },
            LinkEvent::Closed(_) => self.on_closed(cx, link),
        }
        self.arm(cx);
    }

    fn on_closed(&mut self, cx: &mut Context<'_>, link: LinkId) {
        let was_open = self.upstream.is_open();
        if self.upstream.closed(cx, link) == Loss::None {
            return;
        }
        self.kept = [const { None }; KEPT.len()];
        self.feeds.lost();
        let why = if was_open {
            &CONNECTION_LOST
        } else {
            &UNAVAILABLE
        };
        for question in self.pending.take_linked() {
            self.answered(cx, question, Answered::Failed(why));
        }
        self.drop_idle_feeds(cx);
    }

    /// What the node says.
    fn on_text(&mut self, cx: &mut Context<'_>, text: &str) {
        if !text.trim_start().starts_with('[') {
            self.on_value(cx, text);
            return;
        }
        let Ok(raw) = serde_json::from_str::<&RawValue>(text) else {
            return cx.count_refusal("jsonrpc_bad_answer");
        };
        let mut last = None;
        each_item(raw, &mut |item| {
            last = self.on_value(cx, item.get()).or(last)
        });
        // A node that has refused a batch as a whole answers one call of it.
        if let Some(job) = last {
            self.close_parts(cx, job);
        }
    }

    /// An answer, or news; the job it was a part of.
    fn on_value(&mut self, cx: &mut Context<'_>, text: &str) -> Option<u32> {
        let keys = ["id", "method", "params", "result", "error"];
        let Ok([id, method, params, result, error]) = members_any_depth(text, keys) else {
            cx.count_refusal("jsonrpc_bad_answer");
            return None;
        };
        if method
            .and_then(string)
            .is_some_and(|m| m == "eth_subscription")
        {
            let news = params
                .and_then(|raw| members_any_depth(raw.get(), ["subscription", "result"]).ok());
            if let Some([Some(id), Some(result)]) = news {
                self.on_news(cx, id.get(), result.get());
            }
            return None;
        }
        let own = id?.get().parse().ok()?;
        let question = self.pending.take(own)?;
        let answered = match (error.filter(|raw| raw.get() != "null"), result) {
            (Some(error), _) => Answered::Error(error.get()),
            (None, Some(result)) => Answered::Result(result.get()),
            (None, None) => Answered::Failed(&NO_ANSWER),
        };
        self.answered(cx, question, answered)
    }

    /// A timer, or the end of an HTTP request.
    pub(super) fn on_outcome(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        outcome: Outcome<'_>,
    ) {
        match outcome {
            Outcome::Answered(answered) => {
                let is_fine = (200..300).contains(&answered.head.status());
                let ids = self.upstream.requested(ticket, !is_fine);
                if let Some(text) = std::str::from_utf8(answered.body).ok().filter(|_| is_fine) {
                    self.on_text(cx, text);
                }
                let why = if is_fine { &NO_ANSWER } else { &UNAVAILABLE };
                self.fail_all(cx, ids, why);
            }
            Outcome::Failed(error) => {
                let ids = self.upstream.requested(ticket, true);
                let why = match error {
                    CallError::Timeout => &TIMED_OUT,
                    _ => &UNAVAILABLE,
                };
                self.fail_all(cx, ids, why);
            }
            Outcome::Elapsed => self.tick(cx),
        }
        self.arm(cx);
    }

    fn fail_all(&mut self, cx: &mut Context<'_>, ids: Option<Vec<u64>>, why: &Failure) {
        for id in ids.unwrap_or_default() {
            if let Some(question) = self.pending.take(id) {
                self.answered(cx, question, Answered::Failed(why));
            }
        }
    }

    /// Everything that is due.
    fn tick(&mut self, cx: &mut Context<'_>) {
        let now = cx.now().ms;
        if self.armed_ms.is_some_and(|at| at <= now) {
            self.armed_ms = None;
        }
        while let Some(id) = self.pending.overdue(now) {
            cx.count_refusal("jsonrpc_timeout");
            if let Some(feed) = self.pending.feed(id) {
                self.pending.orphan(id);
                self.feed_answered(cx, feed, Answered::Failed(&TIMED_OUT));
            } else if let Some(question) = self.pending.take(id) {
                self.answered(cx, question, Answered::Failed(&TIMED_OUT));
            }
        }
        self.end_lingering(cx, now);
        if self.options.away_ms_max > 0 && self.upstream.is_away_for(now, self.options.away_ms_max)
        {
            cx.count_refusal("jsonrpc_away");
            for (_, member) in &self.members {
                cx.close_other(member.id, CloseCode::TRY_LATER, "no node can be reached");
            }
        }
        let is_wanted = !self.members.is_empty();
        self.upstream.tick(cx, is_wanted);
    }

    /// One timer for everything: it fires when the first of all is due.
    fn arm(&mut self, cx: &mut Context<'_>) {
        let all = [
            self.pending.deadline(),
            self.upstream.wake_at(self.options.away_ms_max),
            self.feeds.linger_at(),
        ];
        let Some(at) = all.into_iter().flatten().min() else {
            return;
        };
        if self.armed_ms.is_none_or(|armed| armed > at) {
            self.armed_ms = Some(at);
            cx.timer_apart(at.saturating_sub(cx.now().ms));
        }
    }

    /// Whether nothing is under way.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_quiet(&self) -> bool {
        self.pending.is_empty() && self.jobs.is_empty()
    }
}

impl Gateway {
    /// An answer leaves.
    pub(super) fn reply(&mut self, cx: &mut Context<'_>, asker: Asker, text: &str) {
        match asker {
            Asker::Session { id, .. } => _ = cx.send_to(id, Message::Text(text)),
            Asker::Request(ticket) => {
                let asked = self.pages.iter().position(|(asked, _)| *asked == ticket);
                let page = asked.map(|at| self.pages.swap_remove(at).1);
                let response = Response::json(200, text);
                cx.reply(ticket, cors::for_page(response, page));
            }
        }
    }
}
