//! Callbacks (feature `presence`): an application is told when a channel gets its first subscriber and when it has lost its last, for
//! channels whose options have `callback = true`.
//!
//! `POST` with `{"time_ms":1763640000000,"events":[{"name":"channel_occupied","channel":"a"}]}`, or `channel_vacated`:
//! the form that applications know from hosted services. With the feature `signature` and a key it is signed.
//!
//! **What is told is a state, not a history.** Of each channel there is what is true and what the application was last
//! told. They are compared when something happened, and one call is under way at most, so calls of a channel cannot
//! overtake each other, and what has come true and false again meanwhile is not told at all.
//!
//! ```text
//!              occupied: at once, vacated: after the grace time
//!   settled ───────────────────────────────────────────────────▶ under way
//!      ▲ ▲ ◀─────── it is as it was told again ──────┐              │  │
//!      │ └───────── another status: counted ─────────┼──────────────┘  │ no answer: again after 1 s, 2 s, then counted
//!      └─────────── answered 2xx ────────────────────┴─── waiting ◀────┘
//! ```
//!
//! | | counted as |
//! | --- | --- |
//! | an answer that is not 2xx: the application has seen it | `pubsub_callback_status` |
//! | three times no answer | `pubsub_callback_failed` |
//! | more channels wait than `callbacks_max` | `pubsub_callback_dropped` |

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

#[cfg(feature = "signature")]
use crate::dialect::SignatureKeys;
use crate::dialect::members::push_string;
use crate::hub::{Call, CallError, Context, Outcome, Target, Ticket};

/// Who is told of channels that get their first subscriber and lose their last, and how.
#[derive(Debug, Clone)]
pub struct PubSubCallback {
    /// Where the calls go; `None`: nobody is told.
    pub target: Option<Target>,
    /// How long an answer may take, in milliseconds. 5,000.
    pub timeout_ms: u64,
    /// How long a channel must be without subscribers before that is told, in milliseconds. 5,000: who comes back at once
    /// was never away.
    pub grace_ms: u64,
    /// Most channels that wait to be told of or whose call is under way; those beyond are not told of, and
    /// counted. 1,024.
    pub callbacks_max: usize,
    /// Keys that sign every call (feature `signature`). None: calls are not signed.
    #[cfg(feature = "signature")]
    pub signature_keys: SignatureKeys,
}

impl Default for PubSubCallback {
    fn default() -> Self {
        Self {
            target: None,
            timeout_ms: 5000,
            grace_ms: 5000,
            callbacks_max: 1024,
            #[cfg(feature = "signature")]
            signature_keys: SignatureKeys::default(),
        }
    }
}

/// What the application knows.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    options: PubSubCallback,
    target: Option<Rc<Target>>,
    channels: HashMap<Rc<str>, Telling>,
    calls: HashMap<Ticket, Rc<str>>,
    timers: HashMap<Ticket, Rc<str>>,
}

/// One channel: what is true, and what was told.
#[derive(Debug, Default)]
struct Telling {
    occupied: bool,
    told: bool,
    under_way: Option<bool>,
    timer: Option<Ticket>,
    failures: u32,
}

/// So often a call without an answer is made.
const TRIES_MAX: u32 = 3;

impl Callbacks {
    pub(super) fn new(options: PubSubCallback) -> Self {
        Self {
            target: options.target.clone().map(Rc::new),
            options,
            ..Self::default()
        }
    }

    /// A channel has got its first subscriber, or lost its last.
    pub(super) fn changed(&mut self, cx: &mut Context<'_>, channel: &str, occupied: bool) {
        if self.target.is_none() {
            return;
        }
        let name: Rc<str> = channel.into();
        self.channels.entry(name.clone()).or_default().occupied = occupied;
        self.step(cx, &name);
    }

    /// Compares what is true with what was told.
    fn step(&mut self, cx: &mut Context<'_>, name: &Rc<str>) {
        let waiting = self.calls.len() + self.timers.len();
        let Some(telling) = self.channels.get_mut(name) else {
            return;
        };
        if telling.under_way.is_some() {
            return;
        }
        let is_full = waiting >= self.options.callbacks_max && telling.timer.is_none();
        if telling.occupied != telling.told && is_full {
            cx.count_refusal("pubsub_callback_dropped");
            telling.told = telling.occupied;
        }
        if telling.occupied == telling.told {
            telling.failures = 0;
            if let Some(ticket) = telling.timer.take() {
                self.timers.remove(&ticket);
            }
            if !telling.occupied {
                self.channels.remove(name);
            }
            return;
        }
        if telling.timer.is_some() {
            return;
        }
        let wait_ms = match telling.failures {
            0 if telling.occupied => 0,
            0 => self.options.grace_ms,
            failures => 1000 << (failures - 1).min(5),
        };
        if wait_ms == 0 {
            return self.call(cx, name);
        }
        let ticket = cx.timer_apart(wait_ms);
        telling.timer = Some(ticket);
        self.timers.insert(ticket, name.clone());
    }

    fn call(&mut self, cx: &mut Context<'_>, name: &Rc<str>) {
        let (Some(target), Some(telling)) = (&self.target, self.channels.get_mut(name)) else {
            return;
        };
        let event = if telling.occupied {
            "channel_occupied"
        } else {
            "channel_vacated"
        };
        let mut body = format!(
            "{{\"time_ms\":{},\"events\":[{{\"name\":\"{event}\",\"channel\":",
            cx.now().unix_ms
        );
        push_string(&mut body, name);
        body.push_str("}]}");
        #[cfg_attr(
            not(feature = "signature"),
            expect(unused_mut, reason = "a signature is added")
        )]
        let mut headers = vec![(
            Cow::Borrowed("Content-Type"),
            String::from("application/json"),
        )];
        #[cfg(feature = "signature")]
        {
            let keys = &self.options.signature_keys;
            headers.extend(keys.header(cx.now().unix_seconds(), body.as_bytes()));
        }
        telling.under_way = Some(telling.occupied);
        let ticket = cx.call_apart(Call {
            target: target.clone(),
            method: "POST",
            headers,
            body: body.into_bytes(),
            timeout_ms: self.options.timeout_ms,
        });
        self.calls.insert(ticket, name.clone());
    }

    /// A timer or a call has come to its end; `false`: it is somebody else's.
    pub(super) fn ended(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        outcome: &Outcome<'_>,
    ) -> bool {
        if let Some(name) = self.timers.remove(&ticket) {
            if let Some(telling) = self.channels.get_mut(&name) {
                telling.timer = None;
            }
            self.call(cx, &name);
            return true;
        }
        let Some(name) = self.calls.remove(&ticket) else {
            return false;
        };
        let Some(telling) = self.channels.get_mut(&name) else {
            return true;
        };
        let Some(said) = telling.under_way.take() else {
            return true;
        };
        match outcome {
            Outcome::Failed(why)
                if *why != CallError::ShuttingDown && telling.failures + 1 < TRIES_MAX =>
            {
                telling.failures += 1;
            }
            Outcome::Answered(answered) if (200..300).contains(&answered.head.status()) => {
                telling.settle(said);
            }
            outcome => {
                cx.count_refusal(match outcome {
                    Outcome::Answered(_) => "pubsub_callback_status",
                    _ => "pubsub_callback_failed",
                });
                telling.settle(said);
            }
        }
        self.step(cx, &name);
        true
    }
}

impl Telling {
    /// The application knows, or will not be told.
    fn settle(&mut self, said: bool) {
        self.told = said;
        self.failures = 0;
    }
}
