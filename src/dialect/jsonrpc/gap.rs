//! Heads that were missed while the link was away: asked for and told in their order, if that is wanted.
//!
//! ```text
//!   the link is back ──▶ a head beyond the next one ──▶ Filling: the heads between, one by one, those of now wait
//!                                                          │ all are told, or one is not to be had
//!                                                          ▼
//!                                                      those that wait, in their order; then as always
//! ```
//!
//! Off by default, as a node sends nothing again either: then clients see a number jump. A block is asked for by its number
//! (`eth_getBlockByNumber`) and told as a head, so what was reorganised meanwhile is told once, as it is now.

use super::super::members::members_any_depth;
use super::feeds::HEADS;
use super::gateway::{Answered, Gateway};
use super::pending::Question;
use crate::hub::Context;

/// Heads that wait while others are asked for.
const WAITING_MAX: usize = 256;

/// What a head has of a block; later ones where the fork has them.
const FIELDS: [&str; 22] = [
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
    "hash",
    "baseFeePerGas",
    "withdrawalsRoot",
    "blobGasUsed",
    "excessBlobGas",
    "parentBeaconBlockRoot",
    "requestsHash",
];

#[derive(Debug, Default)]
pub(super) struct Gap {
    /// The number of the last head that was told.
    last: Option<u64>,
    /// The link was away since.
    was_away: bool,
    filling: Option<Filling>,
}

#[derive(Debug)]
struct Filling {
    /// The next one to be told, and the one behind the last.
    next: u64,
    end: u64,
    waiting: Vec<Box<str>>,
}

impl Gap {
    /// The link is gone.
    pub(super) fn lost(&mut self) {
        self.was_away = true;
    }

    /// Nobody is subscribed to heads any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Gateway {
    /// A head of the node for feed `at`.
    pub(super) fn tell_head(&mut self, cx: &mut Context<'_>, at: u32, head: &str) {
        let most = self.options.gap_heads_max;
        let gap = &mut self.feeds.gap;
        if let Some(filling) = &mut gap.filling {
            filling.waiting.push(head.into());
            if filling.waiting.len() > WAITING_MAX {
                self.end_filling(cx, at);
            }
            return;
        }
        let number = number_of(head);
        let was_away = std::mem::take(&mut gap.was_away);
        if let (true, Some(last), Some(number)) = (was_away, gap.last, number)
            && number > last.saturating_add(1)
        {
            let next = (last + 1).max(number.saturating_sub(most));
            gap.filling = Some(Filling {
                next,
                end: number,
                waiting: vec![head.into()],
            });
            return self.ask_head(cx, at);
        }
        gap.last = number.or(gap.last);
        self.tell(cx, at, head);
    }

    /// Asks for the next head that was missed.
    fn ask_head(&mut self, cx: &mut Context<'_>, at: u32) {
        let next = match &self.feeds.gap.filling {
            Some(filling) if filling.next < filling.end => filling.next,
            _ => return self.end_filling(cx, at),
        };
        let deadline = cx.now().ms + self.options.call_timeout_ms;
        let Some(id) = self.pending.insert(Question::Head(at), deadline) else {
            return self.end_filling(cx, at);
        };
        let text = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"eth_getBlockByNumber\",\"params\":[\"0x{next:x}\",false]}}"
        );
        if !self.upstream.send(cx, &mut self.pending, &[id], &text) {
            self.pending.take(id);
            self.end_filling(cx, at);
        }
    }

    /// The node has answered.
    pub(super) fn head_answered(&mut self, cx: &mut Context<'_>, at: u32, answered: Answered<'_>) {
        let head = match answered {
            Answered::Result(block) => head_of(block),
            _ => None,
        };
        let Some(filling) = &mut self.feeds.gap.filling else {
            return;
        };
        // A late answer to another question would have another number.
        let head = head.filter(|head| number_of(head) == Some(filling.next));
        let Some(head) = head else {
            cx.count_refusal("jsonrpc_gap");
            return self.end_filling(cx, at);
        };
        self.feeds.gap.last = Some(filling.next);
        filling.next += 1;
        self.tell(cx, at, &head);
        self.ask_head(cx, at);
    }

    /// What has waited is told.
    fn end_filling(&mut self, cx: &mut Context<'_>, at: u32) {
        let Some(filling) = self.feeds.gap.filling.take() else {
            return;
        };
        for head in filling.waiting {
            self.feeds.gap.last = number_of(&head).or(self.feeds.gap.last);
            self.tell(cx, at, &head);
        }
    }

    /// Whether news of this feed are heads whose gaps are to be filled.
    pub(super) fn fills_gaps(&self, key: &str) -> bool {
        self.options.gap_heads_max > 0 && key == HEADS
    }
}

/// A head's number.
fn number_of(head: &str) -> Option<u64> {
    let [number] = members_any_depth(head, ["number"]).ok()?;
    let digits = number?.get().strip_prefix("\"0x")?.strip_suffix('"')?;
    u64::from_str_radix(digits, 16).ok()
}

/// The head of a block; `None`: it is no block.
fn head_of(block: &str) -> Option<String> {
    let values = members_any_depth(block, FIELDS).ok()?;
    let mut head = String::with_capacity(block.len());
    for (name, value) in FIELDS.iter().zip(values) {
        if let Some(value) = value {
            head.push(if head.is_empty() { '{' } else { ',' });
            for piece in ["\"", name, "\":", value.get()] {
                head.push_str(piece);
            }
        }
    }
    head.push('}');
    Some(head)
}
