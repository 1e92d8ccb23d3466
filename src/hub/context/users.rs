//! Whose a session is, what it may do, and all sessions of a user.

use super::Context;
use crate::hub::channel::SubscribeError;
use crate::hub::grants::{AuthError, May};
use crate::hub::{ConnId, PublishError};
use crate::token::{Action, Grant};
use crate::ws::{CloseCode, Message};

impl Context<'_> {
    /// Makes this session one of user `name`'s.
    ///
    /// # Errors
    /// When a limit is reached or the name is empty or too long.
    pub fn set_user(&mut self, name: &str) -> Result<(), SubscribeError> {
        let session = self.session.ok_or(SubscribeError::Closed)?;
        self.hub.set_user(session, name)
    }

    /// The user of this session.
    pub fn user(&self) -> Option<&str> {
        self.hub.user(self.session?)
    }

    /// Whether this session, or the request that this call is about, may do that with a channel. Everybody may do
    /// everything where a route asks for no key, and with a key that opens everything.
    pub fn may(&self, action: Action, channel: &str) -> bool {
        self.rights().may(action, channel)
    }

    /// As [`may`](Self::may), with every channel whose name begins like that; `""`: with all there are.
    pub fn may_all(&self, action: Action, beginning: &str) -> bool {
        self.rights().may_all(action, beginning)
    }

    fn rights(&self) -> May<'_> {
        match (self.session, self.grant) {
            (Some(session), _) => self.hub.may(session),
            (None, Some(grant)) => May::What(grant),
            (None, None) => May::Everything,
        }
    }

    /// What this session, or the request that this call is about, was granted; `None`: nothing has to be, or nothing
    /// was yet.
    pub fn grant(&self) -> Option<&Grant> {
        match self.rights() {
            May::What(grant) => Some(grant),
            May::Everything | May::Nothing => None,
        }
    }

    /// Whether this session has to show a token before it may do anything: see [`authenticate`](Self::authenticate).
    pub fn awaits_token(&self) -> bool {
        matches!(self.rights(), May::Nothing)
    }

    /// Takes a token that this session presents in a message: its first one where the route takes tokens there, or a
    /// new one in the place of one that ends. Answers when that ends, in seconds since 1970. A failure is counted for
    /// the client's address, as at the handshake.
    ///
    /// # Errors
    /// Why it is not taken; then everything is as before.
    pub fn authenticate(&mut self, token: &str) -> Result<Option<u64>, AuthError> {
        let session = self.session.ok_or(AuthError::NotAsked)?;
        self.hub.authenticate(session, token)
    }

    /// Whether this session may still subscribe to the channels of this route's name space that it is subscribed to:
    /// a token that follows another may allow less.
    pub fn may_keep_its_channels(&self) -> bool {
        let kept = |session| self.hub.may_keep_its_channels(session, self.space());
        self.session.is_none_or(kept)
    }

    /// Shuts a user out: closes its sessions, and takes no signed token of it any more that was made up to this second.
    /// Answers how many sessions there were. It is kept in memory, and lost with this process.
    pub fn revoke_user(&mut self, user: &str, code: CloseCode, reason: &str) -> usize {
        let granted = self.hub.revoke(user);
        let mut closed = self.close_user(user, code, reason);
        for session in granted {
            // Most are in the user's channel, and have been told.
            if !self.hub.is_leaving(session) {
                self.order_close(session, code, reason);
                closed += 1;
            }
        }
        closed
    }

    /// The sessions of a user.
    pub fn sessions_of(&mut self, user: &str) -> Vec<ConnId> {
        let space = self.hub.user_space();
        let sessions = self.hub.subscriber_indices(space, user);
        sessions
            .into_iter()
            .filter_map(|s| self.hub.conn_id(s))
            .collect()
    }

    /// Sends to every session of a user; answers how many there are.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn send_to_user(
        &mut self,
        user: &str,
        message: Message<'_>,
    ) -> Result<usize, PublishError> {
        let space = self.hub.user_space();
        self.hub
            .publish(space, &[user], message, None)
            .map(|p| p.receivers)
    }

    /// Closes every session of a user; answers how many there were.
    pub fn close_user(&mut self, user: &str, code: CloseCode, reason: &str) -> usize {
        let sessions = self.sessions_of(user);
        for id in &sessions {
            self.close_other(*id, code, reason);
        }
        sessions.len()
    }
}
