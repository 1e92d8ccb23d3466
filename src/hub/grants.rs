//! What sessions may do: grants, how long they last, and users who were shut out.
//!
//! ```text
//!   (no entry) ── on an open route, or with a key that opens everything: everything is allowed
//!
//!   Awaited ──── the route takes tokens in messages and none has come: nothing is allowed
//!      │ authenticate()                                 ┌──────────────┐ authenticate(), the same user,
//!      ▼                                                ▼              │ no earlier end
//!   Granted ── what the grant says is allowed ──▶ until its time is over: closed with 4401
//! ```
//!
//! Most sessions have no entry, and one without a grant is no larger for it.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::Hub;
use super::channel::{Space, SubscribeError};
use crate::token::{Action, Gate, Grant, TokenError};

/// Users who are remembered as shut out.
const REVOKED_MAX: usize = 4096;

/// What a session may do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum May<'a> {
    Everything,
    Nothing,
    What(&'a Grant),
}

impl May<'_> {
    pub(crate) fn may(&self, action: Action, channel: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Nothing => false,
            Self::What(grant) => grant.may(action, channel),
        }
    }

    pub(crate) fn may_all(&self, action: Action, beginning: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Nothing => false,
            Self::What(grant) => grant.may_all(action, beginning),
        }
    }
}

#[derive(Debug)]
enum Held {
    Awaited,
    Granted {
        grant: Arc<Grant>,
        /// When to look whether it is over, on the clock of [`Now::ms`](crate::time::Now).
        look_ms: Option<u64>,
    },
}

/// The grants of those sessions that have one.
#[derive(Debug, Default)]
pub(super) struct Grants {
    held: HashMap<u32, Held>,
    bytes: usize,
    revoked: Revoked,
    /// Sessions with a new end.
    changed: Vec<(u32, u32)>,
    /// Sessions whose clients have presented something that is not good.
    failed: Vec<(u32, u32)>,
}

/// The wall clock may be set meanwhile: a distant end is looked at now and then.
const LOOK_AT_LEAST_EVERY_MS: u64 = 24 * 60 * 60 * 1000;

impl Grants {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_orders(&self) -> bool {
        !(self.changed.is_empty() && self.failed.is_empty())
    }

    fn put(&mut self, session: u32, held: Held) {
        self.bytes += bytes_of(&held);
        if let Some(before) = self.held.insert(session, held) {
            self.bytes -= bytes_of(&before);
        }
    }

    pub(super) fn remove(&mut self, session: u32) {
        if self.held.is_empty() {
            return;
        }
        if let Some(held) = self.held.remove(&session) {
            self.bytes -= bytes_of(&held);
        }
    }

    /// # Panics
    /// When something is kept for a session that is gone: that is a bug of ours.
    pub(super) fn check_invariants(&self, is_session: impl Fn(u32) -> bool) {
        let bytes: usize = self.held.values().map(bytes_of).sum();
        assert_eq!(self.bytes, bytes, "the sum of grants is off");
        let all = self.held.keys().all(|session| is_session(*session));
        assert!(all, "a grant has outlived its session");
        assert!(
            self.revoked.cutoffs.len() <= REVOKED_MAX,
            "too many users are shut out"
        );
    }
}

fn bytes_of(held: &Held) -> usize {
    match held {
        Held::Awaited => 0,
        // One that belongs to a key of the configuration is shared, and was there before.
        Held::Granted { grant, .. } if !grant.is_signed() => 0,
        Held::Granted { grant, .. } => grant.bytes(),
    }
}

/// Users whose tokens from before a certain second are not taken. **The table is bounded, and what leaves it is not
/// forgotten but counts for everybody**: then no token is taken that is older than the second of the entry that left.
#[derive(Debug, Default)]
struct Revoked {
    /// In seconds since 1970, which fit for eighty years more: a map like that of channels is in the program already.
    cutoffs: HashMap<Rc<str>, u32>,
    /// Of everybody.
    floor: Option<u32>,
}

impl Revoked {
    fn revoke(&mut self, user: &str, unix_seconds: u64) {
        let now = u32::try_from(unix_seconds).unwrap_or(u32::MAX);
        if let Some(cutoff) = self.cutoffs.get_mut(user) {
            *cutoff = (*cutoff).max(now);
            return;
        }
        if self.cutoffs.len() >= REVOKED_MAX {
            let oldest = self.cutoffs.values().min().copied();
            self.floor = self.floor.max(oldest);
            let floor = self.floor;
            self.cutoffs.retain(|_, cutoff| Some(*cutoff) > floor);
        }
        self.cutoffs.insert(user.into(), now);
    }

    /// Whether what was issued then for that user is not taken. What does not say when counts as old.
    fn is_revoked(&self, user: Option<&str>, issued: Option<u64>) -> bool {
        let cutoff = user.and_then(|user| self.cutoffs.get(user)).copied();
        match self.floor.max(cutoff) {
            None => false,
            Some(cutoff) => issued.is_none_or(|issued| issued <= u64::from(cutoff)),
        }
    }
}

/// Why a session is not given what it has asked for with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthError {
    /// The token is not good.
    Token(TokenError),
    /// It is for another user than the session's.
    OtherUser,
    /// It allows too little for this route.
    TooLittle,
    /// It ends before the one that the session has.
    EndsEarlier,
    /// The route asks nobody for a token, or the session has a key that does not end.
    NotAsked,
    /// The user's channel cannot be joined.
    User(SubscribeError),
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(error) => f.write_str(error.detail()),
            Self::OtherUser => f.write_str("the token is for another user than this connection"),
            Self::TooLittle => f.write_str("what the token allows is too little for this route"),
            Self::EndsEarlier => {
                f.write_str("the token ends before the one that this connection has")
            }
            Self::NotAsked => f.write_str("this connection needs no token"),
            Self::User(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AuthError {}

impl Hub {
    /// What opens a route, for tokens that come in messages.
    pub(crate) fn set_gate(&mut self, route: u16, gate: Gate) {
        if let Some(entry) = self.routes.get_mut(route as usize) {
            entry.gate = gate;
        }
    }

    /// Whether a grant was taken back.
    pub(crate) fn is_revoked(&self, grant: &Grant) -> bool {
        grant.is_signed()
            && self
                .grants
                .revoked
                .is_revoked(grant.user(), grant.issued_at())
    }

    /// Gives a new session its grant, and makes it one of its user's.
    pub(crate) fn admit(&mut self, session: u32, grant: Arc<Grant>) -> Result<(), SubscribeError> {
        if let Some(user) = grant.user() {
            self.set_user(session, user)?;
        }
        self.hold(session, grant);
        Ok(())
    }

    /// A new session is to show a token before it may do anything.
    pub(crate) fn await_token(&mut self, session: u32) {
        self.grants.put(session, Held::Awaited);
    }

    fn hold(&mut self, session: u32, grant: Arc<Grant>) {
        let look_ms = self.look_ms(&grant);
        self.grants.put(session, Held::Granted { grant, look_ms });
    }

    fn look_ms(&self, grant: &Grant) -> Option<u64> {
        let until_ms = grant.taken_until()?.saturating_mul(1000);
        let left = until_ms.saturating_sub(self.now.unix_ms);
        Some(self.now.ms + left.min(LOOK_AT_LEAST_EVERY_MS))
    }

    /// What a session may do.
    pub(crate) fn may(&self, session: u32) -> May<'_> {
        match self.grants.held.get(&session) {
            None => May::Everything,
            Some(Held::Awaited) => May::Nothing,
            Some(Held::Granted { grant, .. }) => May::What(grant),
        }
    }

    /// When to look at a session's grant.
    pub(crate) fn grant_due_ms(&self, session: u32) -> Option<u64> {
        if self.grants.held.is_empty() {
            return None;
        }
        match self.grants.held.get(&session)? {
            Held::Granted { look_ms, .. } => *look_ms,
            Held::Awaited => None,
        }
    }

    /// It is time to look at a session's grant: whether it is over. If not, it is looked at again later.
    pub(crate) fn grant_is_over(&mut self, session: u32) -> bool {
        let Some(Held::Granted { grant, .. }) = self.grants.held.get(&session) else {
            return false;
        };
        if grant.is_over(self.now.unix_seconds()) {
            return true;
        }
        let again = self.look_ms(grant);
        if let Some(Held::Granted { look_ms, .. }) = self.grants.held.get_mut(&session) {
            *look_ms = again;
        }
        false
    }

    /// A session presents a token: its first, or one that follows.
    pub(super) fn authenticate(
        &mut self,
        session: u32,
        token: &str,
    ) -> Result<Option<u64>, AuthError> {
        let before = match self.grants.held.get(&session) {
            None => return Err(AuthError::NotAsked),
            Some(Held::Awaited) => None,
            Some(Held::Granted { grant, .. }) => Some(Arc::clone(grant)),
        };
        let route = self
            .route_of(session)
            .and_then(|r| self.routes.get(r as usize));
        let gate = route.map(|route| &route.gate).ok_or(AuthError::NotAsked)?;
        let judged = gate.judge(token, self.now.unix_seconds(), false);
        let judged = judged.and_then(|grant| match grant {
            Some(grant) if self.is_revoked(&grant) => Err(TokenError::Revoked),
            grant => Ok(grant),
        });
        let grant = match judged {
            Ok(grant) => grant,
            Err(error) => {
                self.metrics.refuse(error.name());
                if let Some(entry) = self.sessions.get(session as usize) {
                    self.grants.failed.push((session, entry.generation));
                }
                return Err(AuthError::Token(error));
            }
        };
        if grant.as_ref().is_some_and(|grant| !gate.is_enough(grant)) {
            self.metrics.refuse("permission");
            return Err(AuthError::TooLittle);
        }
        let user = grant.as_ref().and_then(|grant| grant.user());
        if let Some(before) = &before {
            let until = grant.as_ref().and_then(|grant| grant.taken_until());
            if user != before.user() {
                self.metrics.refuse("token_user");
                return Err(AuthError::OtherUser);
            }
            if until.is_some_and(|until| before.taken_until().is_none_or(|b| until < b)) {
                self.metrics.refuse("token_earlier");
                return Err(AuthError::EndsEarlier);
            }
        } else if let Some(user) = user {
            self.set_user(session, user).map_err(AuthError::User)?;
        }
        let expires = grant.as_ref().and_then(|grant| grant.expires_at());
        match grant {
            Some(grant) => self.hold(session, grant),
            None => self.grants.remove(session),
        }
        if let Some(entry) = self.sessions.get(session as usize) {
            self.grants.changed.push((session, entry.generation));
        }
        Ok(expires)
    }

    /// Whether a session may subscribe to all channels of a space to which it is subscribed.
    pub(super) fn may_keep_its_channels(&self, session: u32, space: Space) -> bool {
        let may = self.may(session);
        let subscriptions = self.sessions.get(session as usize);
        let subscriptions = subscriptions.map_or(&[][..], |s| s.subscriptions.as_slice());
        let channels = subscriptions
            .iter()
            .filter_map(|s| self.channels.get(s.channel));
        let mut own = channels.filter(|channel| channel.space == space);
        let may_keep = own.all(|channel| may.may(Action::Subscribe, &channel.name));
        #[cfg(feature = "wildcards")]
        let may_keep = may_keep && self.may_keep_its_patterns(session, space);
        may_keep
    }

    /// From now on no token of `user` is taken that was made before. Answers which sessions have one, in no order.
    pub(super) fn revoke(&mut self, user: &str) -> Vec<u32> {
        let now = self.now.unix_seconds();
        self.grants.revoked.revoke(user, now);
        let held = self.grants.held.iter();
        let of_user = held.filter_map(|(session, held)| match held {
            Held::Granted { grant, .. } if grant.user() == Some(user) => Some(*session),
            _ => None,
        });
        of_user.collect()
    }

    /// Takes the connections whose sessions have a new end.
    pub(crate) fn take_regranted(&mut self) -> Vec<u32> {
        let changed = std::mem::take(&mut self.grants.changed);
        self.links_of(changed)
    }

    /// Takes the connections that have presented something that is not good, once for each time.
    pub(crate) fn take_failed_authentications(&mut self) -> Vec<u32> {
        let failed = std::mem::take(&mut self.grants.failed);
        self.links_of(failed)
    }

    fn links_of(&self, sessions: Vec<(u32, u32)>) -> Vec<u32> {
        let current = sessions.into_iter().filter_map(|(index, generation)| {
            let session = self.sessions.get(index as usize)?;
            (session.generation == generation).then_some(session.link)
        });
        current.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_table_counts_for_everybody() {
        let mut revoked = Revoked::default();
        assert!(!revoked.is_revoked(Some("ann"), None));
        for n in 0..REVOKED_MAX as u64 {
            revoked.revoke(&n.to_string(), 1000 + n);
        }
        assert!(!revoked.is_revoked(Some("ann"), None));
        assert!(revoked.is_revoked(Some("7"), Some(1007)));
        assert!(!revoked.is_revoked(Some("7"), Some(1008)));
        assert!(
            revoked.is_revoked(Some("7"), None),
            "what does not say when is old"
        );
        revoked.revoke("one more", 9999);
        assert_eq!(revoked.cutoffs.len(), REVOKED_MAX);
        assert!(revoked.is_revoked(Some("ann"), Some(1000)));
        assert!(revoked.is_revoked(None, Some(1000)));
        assert!(!revoked.is_revoked(Some("ann"), Some(1001)));
        assert!(
            revoked.is_revoked(Some("0"), Some(1000)),
            "and still for the one"
        );
    }

    #[test]
    fn a_later_second_wins() {
        let mut revoked = Revoked::default();
        revoked.revoke("ann", 50);
        revoked.revoke("ann", 40);
        assert!(revoked.is_revoked(Some("ann"), Some(50)));
        assert_eq!(revoked.cutoffs.len(), 1);
    }
}
