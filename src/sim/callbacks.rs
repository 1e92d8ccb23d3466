//! What must become of every call: computed from what the handler asked for, what the application saw and what the
//! handler was told.
//!
//! * The calls of a session reach the application in their order, and not one before the one ahead of it has been
//!   tried.
//! * Each is tried once; again only if the connection broke before an answer began: for nothing if that was an old
//!   connection, once more if it was a new one (see `server/calls.rs`). So there are three tries at most, of which the
//!   application does not see those on connections that it had ended already.
//! * Each has one outcome, and it is one that the application has given reason for.

use std::collections::{BTreeMap, HashMap};

use super::deed::{Deed, End};
use super::gateway::Seen;
use crate::hub::CallError;

/// The calls of one world. They are known by their bodies.
#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    calls: HashMap<String, Call>,
    sessions: BTreeMap<u32, Lane>,
    asked: u64,
    repeated: u64,
    failed: u64,
    /// Connections that the application has ended with nothing on them.
    closed: u32,
}

#[derive(Debug, Default)]
struct Lane {
    /// In the order in which they were asked for; the first `returned` have their outcome.
    bodies: Vec<String>,
    returned: usize,
    over: bool,
}

#[derive(Debug)]
struct Call {
    id: u32,
    place: usize,
    /// Those that the application has seen.
    tries: u32,
    /// Those of them on connections that may have been new.
    on_new: u32,
    /// Connections that had been ended with nothing on them when it was asked for.
    closed_before: u32,
    /// What became of the newest try.
    state: Try,
    deed: Option<Deed>,
    at_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Try {
    None,
    Asked,
    /// It broke; `begun`: when a part of the answer was there.
    Broke {
        begun: bool,
    },
}

impl Call {
    /// Whether it was tried as often as it may be, with at most so many tries that the application did not see.
    fn is_used_up(&self, unseen_max: u32) -> bool {
        let unseen = 3_u32.saturating_sub(self.tries);
        unseen <= unseen_max || (self.tries, self.on_new) == (2, 2)
    }
}

impl Callbacks {
    /// Calls, second tries and failures.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        (self.asked, self.repeated, self.failed)
    }

    /// The handler asks for a call; `last`: there will be no other.
    pub(crate) fn called(&mut self, id: u32, body: String, last: bool) -> Result<(), String> {
        let lane = self.sessions.entry(id).or_default();
        if lane.over {
            return Err(format!("{body:?} was called after the close"));
        }
        lane.over = last;
        self.asked += 1;
        let call = Call {
            id,
            place: lane.bodies.len(),
            tries: 0,
            on_new: 0,
            closed_before: self.closed,
            state: Try::None,
            deed: None,
            at_ms: 0,
        };
        lane.bodies.push(body.clone());
        self.calls.insert(body, call);
        Ok(())
    }

    /// The application saw something.
    pub(crate) fn seen(&mut self, seen: Seen) -> Result<(), String> {
        match seen {
            Seen::Asked(asked, deed) => {
                self.tried(&asked.body, asked.is_first)?;
                if let Some(call) = self.calls.get_mut(&asked.body) {
                    (call.deed, call.at_ms) = (Some(deed), asked.at_ms);
                    call.state = Try::Asked;
                }
            }
            Seen::Broke { body, begun } => {
                if let Some(call) = self.calls.get_mut(&body) {
                    call.state = Try::Broke { begun };
                }
            }
            Seen::Closed => self.closed += 1,
        }
        Ok(())
    }

    fn tried(&mut self, body: &str, is_first: bool) -> Result<(), String> {
        let call = self.calls.get(body);
        let Some(call) = call else {
            return Err(format!("nobody has asked for {body:?}"));
        };
        let before = call.place.checked_sub(1);
        let lane = self.sessions.get(&call.id);
        if let Some(before) = before.and_then(|at| lane?.bodies.get(at))
            && self.calls.get(before).is_some_and(|c| c.tries == 0)
        {
            return Err(format!("{body:?} came before {before:?}"));
        }
        let after = lane.and_then(|lane| lane.bodies.get(call.place + 1));
        if after.is_some_and(|after| self.calls.get(after).is_some_and(|c| c.tries > 0)) {
            return Err(format!("{body:?} came after {after:?}"));
        }
        match (call.tries, call.state) {
            (0, _) => {}
            (1 | 2, Try::Broke { begun: false }) => self.repeated += 1,
            (tries, state) => return Err(format!("{body:?} came {tries} times before: {state:?}")),
        }
        if let Some(call) = self.calls.get_mut(body) {
            call.tries += 1;
            call.on_new += u32::from(is_first);
        }
        Ok(())
    }

    /// The handler is told how a call ended: the status of an answer, or why there is none.
    pub(crate) fn returned(
        &mut self,
        body: &str,
        outcome: Result<u16, CallError>,
        now_ms: u64,
        draining: bool,
    ) -> Result<(), String> {
        let Some(call) = self.calls.get(body) else {
            return Err(format!("an outcome for {body:?}, which nobody asked for"));
        };
        let lane = self.sessions.entry(call.id).or_default();
        if lane.returned != call.place {
            return Err(format!(
                "{body:?} is told as number {}, not {}",
                lane.returned, call.place
            ));
        }
        lane.returned += 1;
        self.failed += u64::from(outcome.is_err());
        let deed = call.deed.as_ref();
        let reason = match outcome {
            Ok(status) => deed.is_some_and(|d| d.end == End::Answer && d.status == status),
            Err(CallError::Timeout) => call.tries > 0 && now_ms >= call.at_ms + TIMEOUT_MS,
            Err(CallError::Broken) => match call.state {
                Try::Broke { begun: true } => true,
                _ => call.is_used_up(self.closed - call.closed_before),
            },
            Err(CallError::BadAnswer) => {
                deed.is_some_and(|d| matches!(d.end, End::Junk | End::EndlessHead))
            }
            Err(CallError::ShuttingDown) => draining,
            // These calls wait for as long as it takes.
            Err(CallError::Unreachable) => false,
        };
        if reason {
            Ok(())
        } else {
            Err(format!("{body:?} ended with {outcome:?}: {call:?}"))
        }
    }

    /// What is missing when all have left.
    pub(crate) fn missing(&self) -> Option<String> {
        self.sessions.iter().find_map(|(id, lane)| {
            let first = lane.bodies.first().is_some_and(|b| b.ends_with(" open"));
            if !lane.over || !first {
                Some(format!("{id} has had no open or no close: {lane:?}"))
            } else if lane.returned != lane.bodies.len() {
                Some(format!("{id} waits for an outcome: {lane:?}"))
            } else {
                None
            }
        })
    }
}

/// How long the application may take.
pub(crate) const TIMEOUT_MS: u64 = 2_000;
