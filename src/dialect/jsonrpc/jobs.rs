//! Calls and batches on their way to an answer.
//!
//! A batch is a *job*: a slot for each of its answers, in their order. What is forwarded of it goes to the node as one
//! batch, so that it is carried out in order; the answer leaves when the last slot is filled. So is a subscription
//! alone, which may have to wait for its feed; it begins when the answer leaves.
//!
//! ```text
//!   Asked(our id) ── the node's answer, loss, time-out ──▶ Done ─┐
//!   Awaited ── the feed is there ──▶ Ready(feed) ────────────────┼─▶ all are: the answer leaves,
//!      └────── the feed is refused ──▶ Done ─────────────────────┘   and clients are placed in their feeds
//! ```

use super::Asker;
use super::gateway::{Gateway, Heard};
use super::judge::Verdict;
use super::message::{
    ANSWER, BATCH_TOO_LARGE, Call, EMPTY_BATCH, Failure, INVALID_REQUEST, LIMIT_EXCEEDED,
    NO_ANSWER, RESPONSE_TOO_LARGE, Said, UNAVAILABLE, answer,
};
use super::pending::Question;
use super::upstream::NODE_BYTES_MAX;
use crate::hub::Context;

/// An answer that is put together.
#[derive(Debug)]
pub(super) struct Job {
    asker: Asker,
    is_batch: bool,
    slots: Vec<Slot>,
    missing: usize,
}

#[derive(Debug)]
struct Slot {
    /// As the client wrote it.
    id: Box<str>,
    state: SlotState,
}

#[derive(Debug)]
pub(super) enum SlotState {
    /// The node was asked under this id.
    Asked(u64),
    /// This feed is not there yet.
    Awaited,
    /// A subscription to this feed, which begins when the answer leaves.
    Ready(u32),
    /// The answer behind the id.
    Done(String),
}

impl Gateway {
    pub(super) fn one(&mut self, cx: &mut Context<'_>, asker: Asker, said: &Said<'_>) -> Heard {
        let call = match said {
            Said::Nothing => return Heard::Nothing,
            Said::Invalid(id) => {
                return refuse(
                    cx,
                    id.unwrap_or("null"),
                    &INVALID_REQUEST,
                    "jsonrpc_invalid",
                );
            }
            Said::Call(call) => call,
        };
        let verdict = self.judge(cx, asker, call);
        let Some(id) = call.id else {
            if let Verdict::Forward(_) = verdict {
                let mut text = String::new();
                call.push(&mut text, None);
                if text.len() <= NODE_BYTES_MAX {
                    self.upstream.send(cx, &mut self.pending, &[], &text);
                }
            }
            return Heard::Nothing;
        };
        match verdict {
            Verdict::Tail(tail) => Heard::Answer(answer(id, &tail)),
            Verdict::Feed(feed) => {
                let job = self.new_job(asker, false);
                self.add_slot(job, id, SlotState::Ready(feed));
                self.begun(cx, job)
            }
            Verdict::Forward(kept) => self.forward(cx, asker, call, id, kept),
        }
    }

    /// A call goes to the node.
    fn forward(
        &mut self,
        cx: &mut Context<'_>,
        asker: Asker,
        call: &Call<'_>,
        id: &str,
        kept: Option<u8>,
    ) -> Heard {
        let id_kept = id.into();
        let question = Question::Call {
            asker,
            id: id_kept,
            kept,
        };
        let deadline = cx.now().ms + self.options.call_timeout_ms;
        let Some(own) = self.pending.insert(question, deadline) else {
            return refuse(cx, id, &LIMIT_EXCEEDED, "jsonrpc_pending");
        };
        let mut text = String::with_capacity(96 + call.params.map_or(0, |raw| raw.get().len()));
        call.push(&mut text, Some(own));
        if text.len() > NODE_BYTES_MAX {
            self.pending.take(own);
            return refuse(cx, id, &LIMIT_EXCEEDED, "jsonrpc_message_bytes");
        }
        if !self.upstream.send(cx, &mut self.pending, &[own], &text) {
            self.pending.take(own);
            return refuse(cx, id, &UNAVAILABLE, "jsonrpc_unavailable");
        }
        if let Some(member) = self.member(asker) {
            member.in_flight += 1;
        }
        Heard::Later
    }

    pub(super) fn batch(
        &mut self,
        cx: &mut Context<'_>,
        asker: Asker,
        items: &[Said<'_>],
    ) -> Heard {
        if items.is_empty() {
            return refuse(cx, "null", &EMPTY_BATCH, "jsonrpc_invalid");
        }
        if items.len() > self.options.batch_max {
            cx.count_refusal("jsonrpc_batch");
            let id = items.iter().find_map(|said| match said {
                Said::Call(call) => call.id,
                _ => None,
            });
            let answer = BATCH_TOO_LARGE.answer(id.unwrap_or("null"));
            return Heard::Answer(format!("[{answer}]"));
        }
        let job = self.new_job(asker, true);
        // What goes to the node, and under which ids.
        let (mut text, mut ids) = (String::new(), Vec::new());
        for said in items {
            let call = match said {
                Said::Nothing => continue,
                Said::Invalid(id) => {
                    cx.count_refusal("jsonrpc_invalid");
                    let state = SlotState::Done(INVALID_REQUEST.tail());
                    self.add_slot(job, id.unwrap_or("null"), state);
                    continue;
                }
                Said::Call(call) => call,
            };
            let verdict = self.judge(cx, asker, call);
            let own = match verdict {
                Verdict::Forward(kept) => self.new_part(cx, job, call, kept),
                _ => None,
            };
            if own.is_some() || call.id.is_none() && matches!(verdict, Verdict::Forward(_)) {
                text.push(if text.is_empty() { '[' } else { ',' });
                call.push(&mut text, own);
                ids.extend(own);
            }
            if let Some(id) = call.id {
                let state = match (verdict, own) {
                    (Verdict::Tail(tail), _) => SlotState::Done(tail),
                    (Verdict::Feed(feed), _) => SlotState::Ready(feed),
                    (Verdict::Forward(_), Some(own)) => SlotState::Asked(own),
                    (Verdict::Forward(_), None) => SlotState::Done(LIMIT_EXCEEDED.tail()),
                };
                self.add_slot(job, id, state);
            }
        }
        if !text.is_empty() {
            text.push(']');
            if text.len() > NODE_BYTES_MAX {
                cx.count_refusal("jsonrpc_message_bytes");
                self.fail_parts(job, &LIMIT_EXCEEDED);
            } else if !self.upstream.send(cx, &mut self.pending, &ids, &text) {
                cx.count_refusal("jsonrpc_unavailable");
                self.fail_parts(job, &UNAVAILABLE);
            }
        }
        self.begun(cx, job)
    }

    fn new_job(&mut self, asker: Asker, is_batch: bool) -> u32 {
        let job = self.jobs.insert(Job {
            asker,
            is_batch,
            slots: Vec::new(),
            missing: 0,
        });
        job as u32
    }

    /// A question to the node for the job's next slot; `None`: too many are under way, or nobody waits for this one.
    fn new_part(
        &mut self,
        cx: &mut Context<'_>,
        job: u32,
        call: &Call<'_>,
        kept: Option<u8>,
    ) -> Option<u64> {
        call.id?;
        let slot = self.jobs.get(job as usize)?.slots.len() as u32;
        let deadline = cx.now().ms + self.options.call_timeout_ms;
        let part = Question::Part { job, slot, kept };
        self.pending.insert(part, deadline)
    }

    fn add_slot(&mut self, job: u32, id: &str, mut state: SlotState) {
        let Some(entry) = self.jobs.get_mut(job as usize) else {
            return;
        };
        if let SlotState::Ready(feed) = state {
            let slot = entry.slots.len() as u32;
            if self.feeds.await_answer(feed, job, slot) {
                state = SlotState::Awaited;
            }
        }
        entry.missing += usize::from(matches!(state, SlotState::Asked(_) | SlotState::Awaited));
        entry.slots.push(Slot {
            id: id.into(),
            state,
        });
    }

    /// All slots of a new job are there: its answer is whole, or comes later.
    fn begun(&mut self, cx: &mut Context<'_>, job: u32) -> Heard {
        let Some(entry) = self.jobs.get(job as usize) else {
            return Heard::Nothing;
        };
        if entry.slots.is_empty() {
            self.jobs.remove(job as usize);
            return Heard::Nothing;
        }
        if entry.missing == 0 {
            return match self.complete(cx, job) {
                Some((_, text)) => Heard::Answer(text),
                None => Heard::Nothing,
            };
        }
        let asker = entry.asker;
        if let Some(member) = self.member(asker) {
            member.in_flight += 1;
        }
        Heard::Later
    }

    /// A slot is filled; the answer leaves with the last one.
    pub(super) fn fill(&mut self, cx: &mut Context<'_>, job: u32, slot: u32, state: SlotState) {
        let Some(entry) = self.jobs.get_mut(job as usize) else {
            return;
        };
        if let Some(slot) = entry.slots.get_mut(slot as usize) {
            slot.state = state;
            entry.missing = entry.missing.saturating_sub(1);
        }
        self.deliver(cx, job);
    }

    /// The answer leaves if it is whole.
    fn deliver(&mut self, cx: &mut Context<'_>, job: u32) {
        let is_whole = self
            .jobs
            .get(job as usize)
            .is_some_and(|job| job.missing == 0);
        if is_whole && let Some((asker, text)) = self.complete(cx, job) {
            self.done(asker);
            self.reply(cx, asker, &text);
        }
    }

    /// The node has answered a batch, and what it has not answered it will not.
    pub(super) fn close_parts(&mut self, cx: &mut Context<'_>, job: u32) {
        self.fail_parts(job, &NO_ANSWER);
        self.deliver(cx, job);
    }

    /// Takes a whole answer out; its subscriptions begin.
    fn complete(&mut self, cx: &mut Context<'_>, job: u32) -> Option<(Asker, String)> {
        let job = self.jobs.try_remove(job as usize)?;
        let mut text = String::new();
        let mut bytes = 0;
        for slot in job.slots {
            let mut tail = match slot.state {
                SlotState::Done(tail) => tail,
                SlotState::Ready(feed) => self.place(cx, job.asker, feed),
                SlotState::Asked(_) | SlotState::Awaited => NO_ANSWER.tail(),
            };
            if job.is_batch {
                if bytes > self.options.batch_bytes_max {
                    tail = RESPONSE_TOO_LARGE.tail();
                }
                bytes += tail.len();
                text.push(if text.is_empty() { '[' } else { ',' });
            }
            text.reserve(ANSWER.len() + slot.id.len() + tail.len() + 2);
            for piece in [ANSWER, &*slot.id, &*tail, "}"] {
                text.push_str(piece);
            }
        }
        if job.is_batch {
            text.push(']');
        }
        Some((job.asker, text))
    }

    /// Who waits for a job's answer.
    pub(super) fn asker_of(&self, job: u32) -> Option<Asker> {
        self.jobs.get(job as usize).map(|job| job.asker)
    }

    /// Whatever a job still waits for from the node will not come.
    fn fail_parts(&mut self, job: u32, failure: &Failure) {
        let Some(entry) = self.jobs.get_mut(job as usize) else {
            return;
        };
        for slot in &mut entry.slots {
            if let SlotState::Asked(own) = slot.state {
                self.pending.take(own);
                slot.state = SlotState::Done(failure.tail());
                entry.missing -= 1;
            }
        }
    }
}

fn refuse(cx: &mut Context<'_>, id: &str, failure: &Failure, reason: &'static str) -> Heard {
    cx.count_refusal(reason);
    Heard::Answer(failure.answer(id))
}
