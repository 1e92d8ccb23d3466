//! Publications that may be sent again without being made again.
//!
//! A program that gets no answer does not know whether its publication was made. With `Idempotency-Key: KEY` it may ask
//! again:
//!
//! | the key | answer |
//! | --- | --- |
//! | is new | the publication is made; if it was, the answer is kept |
//! | is known, and so is the body | the answer of the first time, with `Idempotency-Replayed: true`; nothing is made |
//! | is known, with another body | 422 |
//!
//! Answers are kept for [`KEEP_MS`], the newest [`KEYS_MAX`] of them, and not more than [`ANSWER_BYTES_MAX`] together.
//! Refusals are not kept: what was refused was not made, and may be possible later.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::rc::Rc;

use super::super::bad_request;
use super::super::pubsub::{PubSub, PubSubOptions};
use crate::http::Response;
use crate::hub::{Context, Request};

/// Publishes, and remembers what it answered.
#[derive(Debug)]
pub(super) struct Publisher {
    pubsub: PubSub,
    /// std's keyed hasher: clients choose these keys.
    kept: HashMap<Rc<str>, Kept>,
    /// The keys, oldest first.
    order: VecDeque<Rc<str>>,
    answer_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    /// A keyed hash of the body.
    body: u64,
    since_ms: u64,
    answer: Box<[u8]>,
}

impl Publisher {
    pub(super) fn new(options: PubSubOptions) -> Self {
        Self {
            pubsub: PubSub::new(options),
            kept: HashMap::new(),
            order: VecDeque::new(),
            answer_bytes: 0,
        }
    }

    pub(super) fn publish(
        &mut self,
        cx: &mut Context<'_>,
        request: &Request<'_>,
    ) -> Result<Response, Response> {
        let Some(key) = key_of(request).map_err(|why| bad_request(cx, why))? else {
            return Ok(self.pubsub.publish_many(cx, request.body));
        };
        self.forget_old(cx.now().ms);
        let body = self.kept.hasher().hash_one(request.body);
        if let Some(kept) = self.kept.get(key) {
            if kept.body == body {
                let response = Response::json(200, &*kept.answer);
                return Ok(response.header("Idempotency-Replayed", "true"));
            }
            cx.count_refusal("idempotency_key");
            let detail = "another body was sent with this Idempotency-Key before";
            return Err(Response::problem(422, detail));
        }
        let response = self.pubsub.publish_many(cx, request.body);
        if response.status == 200 {
            let kept = Kept {
                body,
                since_ms: cx.now().ms,
                answer: response.body.as_slice().into(),
            };
            self.keep(key.into(), kept);
        }
        Ok(response)
    }

    fn keep(&mut self, key: Rc<str>, kept: Kept) {
        self.answer_bytes += kept.answer.len();
        self.order.push_back(key.clone());
        self.kept.insert(key, kept);
        // The newest stays, however large it is: it is the one that is most likely to be asked for.
        while self.order.len() > 1
            && (self.order.len() > KEYS_MAX || self.answer_bytes > ANSWER_BYTES_MAX)
        {
            self.forget_oldest();
        }
    }

    fn forget_old(&mut self, now_ms: u64) {
        while let Some(kept) = self.order.front().and_then(|key| self.kept.get(key))
            && now_ms.saturating_sub(kept.since_ms) >= KEEP_MS
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.order.pop_front();
        if let Some(kept) = oldest.and_then(|key| self.kept.remove(&key)) {
            self.answer_bytes -= kept.answer.len();
        }
    }
}

/// The request's key, if it has one.
fn key_of<'a>(request: &Request<'a>) -> Result<Option<&'a str>, &'static str> {
    let mut keys = request.head.header_all("idempotency-key");
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    let key = std::str::from_utf8(key).ok();
    let key = key.filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    match key {
        Some(key) if keys.next().is_none() => Ok(Some(key)),
        _ => Err("an Idempotency-Key is given once, with 1 to 255 bytes of UTF-8"),
    }
}

/// How long an answer is kept: ten minutes.
const KEEP_MS: u64 = 600_000;
/// Most answers kept.
const KEYS_MAX: usize = 1024;
/// Most bytes of answers kept, unless there is only one.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Longest key.
const KEY_BYTES_MAX: usize = 255;
