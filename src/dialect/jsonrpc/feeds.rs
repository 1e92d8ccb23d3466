//! Feeds: subscriptions of the node, each shared by every client that wants the same.
//!
//! ```text
//!   first wants it ─▶ Asked ─── the node's id ──▶ Live ── the last one has left ──▶ (lingers) ─▶ given back
//!                      │ ▲ no                      │                                   │
//!                      ▼ │ the link is back        │ the link is lost                  │ somebody wants it again
//!                   refused                        ▼                                   ▼
//!                      (Lost: clients keep their ids) ◀────────────────────────────── Live
//! ```
//!
//! Clients have ids of their own, random like a node's. A client's answer always leaves before the first news of its
//! subscription: it is placed in the feed in the moment in which that answer leaves. News that overtake the node's own
//! answer wait for it. News are written once: only the id in the middle differs from client to client.

use std::collections::VecDeque;

use slab::Slab;

use super::super::members::{members_any_depth, push_string};
use super::Asker;
use super::gap::Gap;
use super::gateway::{Answered, Gateway};
use super::jobs::SlotState;
use super::judge::{Verdict, refused};
use super::message::{LIMIT_EXCEEDED, UNAVAILABLE};
use super::pending::Question;
use crate::hub::{ConnId, Context};
use crate::ws::CloseCode;

/// News that came before the answer to a subscription, and their bytes.
const EARLY_MAX: usize = 256;
const EARLY_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Feeds {
    slab: Slab<Feed>,
    /// By what is subscribed to, in its one spelling.
    by_key: Names,
    /// By the node's id, as it was written.
    by_id: Names,
    /// Feeds that nobody uses, and when they are given back, in this order; each at most once.
    lingering: VecDeque<(u64, u32)>,
    /// Feeds whose answer has not come.
    asked: usize,
    early: Vec<(Box<str>, Box<str>)>,
    early_bytes: usize,
    /// The number of the latest head, while the node sends heads.
    pub(super) head_number: Option<Box<str>>,
    pub(super) gap: Gap,
}

#[derive(Debug)]
struct Feed {
    key: Box<str>,
    state: State,
    subscribers: Slab<Subscriber>,
    /// Clients whose answers have not left.
    reserved: usize,
    /// Answers that wait for the node's: job and slot.
    awaiting: Vec<(u32, u32)>,
    /// Nobody uses it since so long that it goes then.
    linger_ms: Option<u64>,
    is_listed: bool,
}

#[derive(Debug)]
enum State {
    Asked(u64),
    Live(Box<str>),
    Lost,
}

#[derive(Debug)]
struct Subscriber {
    session: ConnId,
    id: Box<str>,
}

pub(super) const HEADS: &str = "[\"newHeads\"]";
const NEWS: &str =
    "{\"jsonrpc\":\"2.0\",\"method\":\"eth_subscription\",\"params\":{\"subscription\":\"";

/// Feeds by name, sorted: there are a few, or a few thousand, and they come and go seldom.
#[derive(Debug, Default)]
struct Names(Vec<(Box<str>, u32)>);

impl Names {
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| (**own).cmp(name))
    }

    fn get(&self, name: &str) -> Option<u32> {
        let at = self.place(name).ok()?;
        self.0.get(at).map(|(_, feed)| *feed)
    }

    fn insert(&mut self, name: Box<str>, feed: u32) {
        match self.place(&name) {
            Ok(at) => self.0.get_mut(at).map_or((), |(_, own)| *own = feed),
            Err(at) => self.0.insert(at, (name, feed)),
        }
    }

    fn remove(&mut self, name: &str) {
        if let Ok(at) = self.place(name) {
            self.0.remove(at);
        }
    }
}

impl Feeds {
    fn get_mut(&mut self, feed: u32) -> Option<&mut Feed> {
        self.slab.get_mut(feed as usize)
    }

    /// The slot of a job waits for the node's answer; `false`: that is there.
    pub(super) fn await_answer(&mut self, feed: u32, job: u32, slot: u32) -> bool {
        match self.get_mut(feed) {
            Some(feed) if matches!(feed.state, State::Asked(_)) => {
                feed.awaiting.push((job, slot));
                true
            }
            _ => false,
        }
    }

    /// The link is gone, and with it everything that the node knew.
    pub(super) fn lost(&mut self) {
        self.by_id = Names::default();
        self.forget_early();
        self.head_number = None;
        self.gap.lost();
        for (_, feed) in &mut self.slab {
            if let State::Live(_) = feed.state {
                feed.state = State::Lost;
            }
        }
    }

    fn forget_early(&mut self) {
        self.early = Vec::new();
        self.early_bytes = 0;
    }

    fn places(&self, fits: fn(&Feed) -> bool) -> Vec<u32> {
        let feeds = self.slab.iter().filter(|(_, feed)| fits(feed));
        feeds.map(|(at, _)| at as u32).collect()
    }

    /// When the next feed is given back.
    pub(super) fn linger_at(&self) -> Option<u64> {
        self.lingering.front().map(|(at, _)| *at)
    }
}

impl Gateway {
    /// The feed for these parameters, with a place reserved in it.
    pub(super) fn want(&mut self, cx: &mut Context<'_>, key: String) -> Verdict {
        if let Some(at) = self.feeds.by_key.get(&key)
            && let Some(feed) = self.feeds.get_mut(at)
        {
            if let State::Lost = feed.state {
                return refused(cx, &UNAVAILABLE, "jsonrpc_unavailable");
            }
            feed.reserved += 1;
            feed.linger_ms = None;
            return Verdict::Feed(at);
        }
        if self.feeds.slab.len() >= self.options.feeds_max && !self.end_first_lingering(cx) {
            return refused(cx, &LIMIT_EXCEEDED, "jsonrpc_feeds");
        }
        let key: Box<str> = key.into();
        let at = self.feeds.slab.insert(Feed {
            key: key.clone(),
            state: State::Lost,
            subscribers: Slab::new(),
            reserved: 1,
            awaiting: Vec::new(),
            linger_ms: None,
            is_listed: false,
        }) as u32;
        if !self.ask(cx, at) {
            self.feeds.slab.remove(at as usize);
            return refused(cx, &UNAVAILABLE, "jsonrpc_unavailable");
        }
        self.feeds.by_key.insert(key, at);
        Verdict::Feed(at)
    }

    /// Asks the node for a feed.
    fn ask(&mut self, cx: &mut Context<'_>, at: u32) -> bool {
        let deadline = cx.now().ms + self.options.call_timeout_ms;
        let Some(id) = self.pending.insert(Question::Feed(at), deadline) else {
            return false;
        };
        let Some(feed) = self.feeds.slab.get_mut(at as usize) else {
            return false;
        };
        let text = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"eth_subscribe\",\"params\":{}}}",
            feed.key
        );
        if !self.upstream.send(cx, &mut self.pending, &[id], &text) {
            self.pending.take(id);
            return false;
        }
        feed.state = State::Asked(id);
        self.feeds.asked += 1;
        true
    }

    /// Tells the node that its subscription is not wanted any more; `id` as the node wrote it.
    pub(super) fn give_back(&mut self, cx: &mut Context<'_>, id: &str) {
        // Nobody waits for the answer, and no question has this id.
        let text = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"eth_unsubscribe\",\"params\":[{id}]}}"
        );
        if self.upstream.is_open() {
            self.upstream.send(cx, &mut self.pending, &[], &text);
        }
    }

    /// The node has answered a subscription, or will not.
    pub(super) fn feed_answered(&mut self, cx: &mut Context<'_>, at: u32, answer: Answered<'_>) {
        let Some(feed) = self.feeds.slab.get_mut(at as usize) else {
            return;
        };
        self.feeds.asked = self.feeds.asked.saturating_sub(1);
        let awaiting = std::mem::take(&mut feed.awaiting);
        if let Answered::Result(id) = answer {
            feed.state = State::Live(id.into());
            self.feeds.by_id.insert(id.into(), at);
            for (job, slot) in awaiting {
                self.fill(cx, job, slot, SlotState::Ready(at));
            }
            self.tell_early(cx, at, id);
            self.settle_feed(cx, at);
            return;
        }
        feed.state = State::Lost;
        let is_away = !self.upstream.is_open();
        let tail = answer.tail();
        for (job, slot) in awaiting {
            self.release(at, job);
            self.fill(cx, job, slot, SlotState::Done(tail.clone()));
        }
        if is_away {
            // Those who have it already keep it until the link is back.
            return self.settle_feed(cx, at);
        }
        cx.count_refusal("jsonrpc_refused");
        self.close_subscribers(cx, at, "the node has not renewed a subscription");
        if self.feeds.asked == 0 {
            self.feeds.forget_early();
        }
    }

    /// Clients of a feed that is no more: what they miss they could not know.
    fn close_subscribers(&mut self, cx: &mut Context<'_>, at: u32, why: &str) {
        let Some(feed) = self.feeds.slab.get(at as usize) else {
            return;
        };
        for (_, subscriber) in &feed.subscribers {
            cx.close_other(subscriber.session, CloseCode::TRY_LATER, why);
        }
        self.settle_feed(cx, at);
    }

    /// A claim of a job's client comes to nothing.
    fn release(&mut self, at: u32, job: u32) {
        if let Some(feed) = self.feeds.get_mut(at) {
            feed.reserved = feed.reserved.saturating_sub(1);
        }
        if let Some(asker) = self.asker_of(job)
            && let Some(member) = self.member(asker)
        {
            member.claimed = member.claimed.saturating_sub(1);
        }
    }

    /// The reserved place is taken: what the answer says.
    pub(super) fn place(&mut self, cx: &mut Context<'_>, asker: Asker, at: u32) -> String {
        let id = format!("0x{:x}", u128::from_be_bytes(cx.random16()));
        let mut tail = String::from(",\"result\":");
        push_string(&mut tail, &id);
        let is_there = self.member(asker).is_some();
        let Some(feed) = self.feeds.slab.get_mut(at as usize) else {
            return UNAVAILABLE.tail();
        };
        feed.reserved = feed.reserved.saturating_sub(1);
        let is_live = matches!(feed.state, State::Live(_));
        if let Asker::Session { id: session, .. } = asker
            && is_there
            && is_live
        {
            let place = feed.subscribers.insert(Subscriber {
                session,
                id: id.into(),
            });
            if let Some(member) = self.member(asker) {
                member.subscriptions.push((at, place as u32));
            }
            return tail;
        }
        if let Some(member) = self.member(asker) {
            member.claimed = member.claimed.saturating_sub(1);
        }
        self.settle_feed(cx, at);
        UNAVAILABLE.tail()
    }

    /// A client wants no more of a subscription; `false`: it has none with this id.
    pub(super) fn unsubscribe(&mut self, cx: &mut Context<'_>, asker: Asker, id: &str) -> bool {
        let Asker::Session { member, .. } = asker else {
            return false;
        };
        let Some(member) = self.members.get_mut(member as usize) else {
            return false;
        };
        let feeds = &self.feeds.slab;
        let named = |(feed, place): &(u32, u32)| {
            let feed = feeds.get(*feed as usize);
            let subscriber = feed.and_then(|feed| feed.subscribers.get(*place as usize));
            subscriber.is_some_and(|subscriber| *subscriber.id == *id)
        };
        let Some(at) = member.subscriptions.iter().position(named) else {
            return false;
        };
        let (feed, place) = member.subscriptions.swap_remove(at);
        member.claimed = member.claimed.saturating_sub(1);
        self.unplace(cx, feed, place);
        true
    }

    /// Somebody has left a feed.
    pub(super) fn unplace(&mut self, cx: &mut Context<'_>, feed: u32, place: u32) {
        if let Some(entry) = self.feeds.get_mut(feed) {
            entry.subscribers.try_remove(place as usize);
            self.settle_feed(cx, feed);
        }
    }

    /// A feed that nobody uses lingers, or goes.
    fn settle_feed(&mut self, cx: &mut Context<'_>, at: u32) {
        let linger_ms = self.options.linger_ms;
        let Some(feed) = self.feeds.slab.get_mut(at as usize) else {
            return;
        };
        if !feed.subscribers.is_empty() || feed.reserved > 0 || feed.linger_ms.is_some() {
            return;
        }
        if linger_ms == 0 || matches!(feed.state, State::Lost) {
            return self.drop_feed(cx, at);
        }
        let until = cx.now().ms + linger_ms;
        feed.linger_ms = Some(until);
        if !std::mem::replace(&mut feed.is_listed, true) {
            self.feeds.lingering.push_back((until, at));
        }
    }

    fn drop_feed(&mut self, cx: &mut Context<'_>, at: u32) {
        let Some(feed) = self.feeds.slab.try_remove(at as usize) else {
            return;
        };
        self.feeds.by_key.remove(&feed.key);
        if feed.is_listed {
            self.feeds.lingering.retain(|(_, feed)| *feed != at);
        }
        if *feed.key == *HEADS {
            self.feeds.head_number = None;
            self.feeds.gap.forget();
        }
        match feed.state {
            State::Live(id) => {
                self.feeds.by_id.remove(&id);
                self.give_back(cx, &id);
            }
            State::Asked(id) => {
                self.feeds.asked = self.feeds.asked.saturating_sub(1);
                self.pending.orphan(id);
            }
            State::Lost => {}
        }
    }

    /// Gives back what has lingered long enough.
    pub(super) fn end_lingering(&mut self, cx: &mut Context<'_>, now_ms: u64) {
        while let Some((until, at)) = self.feeds.lingering.front().copied()
            && until <= now_ms
        {
            self.feeds.lingering.pop_front();
            let Some(feed) = self.feeds.get_mut(at) else {
                continue;
            };
            feed.is_listed = false;
            match feed.linger_ms {
                Some(until) if until <= now_ms => self.drop_feed(cx, at),
                // It was used meanwhile.
                Some(until) => {
                    feed.is_listed = true;
                    self.feeds.lingering.push_back((until, at));
                }
                None => {}
            }
        }
    }

    /// Makes room for another feed.
    fn end_first_lingering(&mut self, cx: &mut Context<'_>) -> bool {
        let feeds = &self.feeds;
        let lingers = |at: u32| {
            feeds
                .slab
                .get(at as usize)
                .is_some_and(|f| f.linger_ms.is_some())
        };
        let first = feeds
            .lingering
            .iter()
            .map(|(_, at)| *at)
            .find(|at| lingers(*at));
        if let Some(at) = first {
            self.drop_feed(cx, at);
        }
        first.is_some()
    }

    /// After a loss: what nobody uses is not renewed.
    pub(super) fn drop_idle_feeds(&mut self, cx: &mut Context<'_>) {
        let is_idle = |feed: &Feed| feed.subscribers.is_empty() && feed.reserved == 0;
        for at in self.feeds.places(is_idle) {
            self.drop_feed(cx, at);
        }
    }

    /// The link is back: subscriptions are renewed, and clients notice nothing.
    pub(super) fn renew_feeds(&mut self, cx: &mut Context<'_>) {
        for at in self.feeds.places(|feed| matches!(feed.state, State::Lost)) {
            if !self.ask(cx, at) {
                self.close_subscribers(cx, at, "a subscription cannot be renewed");
            }
        }
    }

    /// News of the node; `id` as the node wrote it.
    pub(super) fn on_news(&mut self, cx: &mut Context<'_>, id: &str, result: &str) {
        match self.feeds.by_id.get(id) {
            Some(at) => self.tell_of(cx, at, result),
            // It may be one whose answer comes right behind.
            None if self.feeds.asked > 0 => {
                let bytes = self.feeds.early_bytes + id.len() + result.len();
                if self.feeds.early.len() < EARLY_MAX && bytes <= EARLY_BYTES_MAX {
                    self.feeds.early_bytes = bytes;
                    self.feeds.early.push((id.into(), result.into()));
                } else {
                    cx.count_refusal("jsonrpc_early_news");
                }
            }
            None => {}
        }
    }

    /// What came before the answer to the subscription.
    fn tell_early(&mut self, cx: &mut Context<'_>, at: u32, id: &str) {
        for (of, result) in std::mem::take(&mut self.feeds.early) {
            if *of == *id {
                self.tell_of(cx, at, &result);
            } else if self.feeds.asked > 0 {
                self.feeds.early.push((of, result));
            }
        }
        let bytes = self
            .feeds
            .early
            .iter()
            .map(|(id, result)| id.len() + result.len());
        self.feeds.early_bytes = bytes.sum();
    }

    /// News of a feed; heads may have to wait for those before them.
    fn tell_of(&mut self, cx: &mut Context<'_>, at: u32, result: &str) {
        let feed = self.feeds.slab.get(at as usize);
        if feed.is_some_and(|feed| self.fills_gaps(&feed.key)) {
            self.tell_head(cx, at, result);
        } else {
            self.tell(cx, at, result);
        }
    }

    /// News for everybody who is subscribed.
    pub(super) fn tell(&mut self, cx: &mut Context<'_>, at: u32, result: &str) {
        let Some(feed) = self.feeds.slab.get(at as usize) else {
            return;
        };
        if self.options.head_number && *feed.key == *HEADS {
            let number = members_any_depth(result, ["number"]).ok().and_then(|[n]| n);
            self.feeds.head_number = number.map(|raw| raw.get().into());
        }
        let after = ["\",\"result\":", result, "}}"].concat();
        let receivers = feed.subscribers.iter().map(|(_, s)| (s.session, &*s.id));
        if cx.send_patched(receivers, NEWS, &after).is_err() {
            self.close_subscribers(cx, at, "the memory budget is used up");
        }
    }
}
