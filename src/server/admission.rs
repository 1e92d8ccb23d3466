//! Who is let in to a route: origin and key at the door, and what becomes of a grant while its session is open.

use std::sync::Arc;

use super::access::{AccessError, Admitted};
use super::connection::{Http, Open};
use super::refusals::Refusal;
use super::transport::Transport;
use super::wheel::{tick_after, tick_at};
use super::worker::{Core, Worker};
use crate::http::{Head, Response};
use crate::hub::{Peer, SubscribeError};
use crate::token::{Grant, Rights, TokenError};
use crate::ws::CloseCode;

/// Why a route is closed to a request.
pub(super) enum Denied {
    Access(AccessError),
    TooMany(Refusal),
}

impl Core {
    pub(super) fn check_access(
        &mut self,
        client: Peer,
        account: u32,
        head: &Head,
        is_upgrade: bool,
        route: u16,
    ) -> Result<Admitted, Denied> {
        let settings = &self.routes[route as usize].settings;
        settings.origins.check(head).map_err(Denied::Access)?;
        let now = self.now.unix_seconds();
        // A signature costs as much as a hundred requests: who has none left to get wrong is not worth one more.
        let spent = self.addresses.is_out_of_failures(account, self.now.ms);
        let sparing = spent && !self.settings.address.dry_run;
        let checked = settings.keys.check(head, is_upgrade, now, sparing);
        let checked = checked.and_then(|admitted| match admitted.grant() {
            Some(grant) if self.hub.is_revoked(grant) => Err(AccessError::Key(TokenError::Revoked)),
            _ => Ok(admitted),
        });
        let error = match checked {
            Ok(admitted) => return Ok(admitted),
            // Who it is, is known; what it may not do is no guess at a key.
            Err(AccessError::Permission) => return Err(Denied::Access(AccessError::Permission)),
            Err(error) => error,
        };
        // Fetch §4.8: a browser that asks whether its page may send a request shows no key, and is told no secret: whatever
        // a handler makes of its question, it is allowed nothing.
        if head.method() == "OPTIONS" && head.header("access-control-request-method").is_some() {
            let nothing = Grant::new("", &Rights::default());
            return Ok(Admitted::Granted(Arc::new(nothing)));
        }
        if let Some(over) = self.addresses.auth_failure(account, self.now.ms) {
            self.refuse_address(client, over).map_err(Denied::TooMany)?;
        }
        Err(Denied::Access(error))
    }

    /// Gives a new session what its key or token allows.
    pub(super) fn grant_session(
        &mut self,
        session: u32,
        admitted: &Admitted,
    ) -> Result<(), SubscribeError> {
        match admitted {
            Admitted::Everything => {}
            Admitted::Granted(grant) => self.hub.admit(session, Arc::clone(grant))?,
            Admitted::Awaited => self.hub.await_token(session),
        }
        Ok(())
    }

    pub(super) fn refuse_access(
        &mut self,
        http: &mut Http,
        head: &Head,
        route: u16,
        denied: Denied,
    ) {
        let error = match denied {
            Denied::Access(error) => error,
            Denied::TooMany(refusal) => return self.refuse_for(http, head, &refusal),
        };
        let status = self.routes[route as usize].settings.keys.status(error);
        let mut response = Response::problem(status, error.detail());
        if let Some(challenge) = error.challenge() {
            response = response.header("WWW-Authenticate", challenge);
        }
        self.refuse(http, head, response, error.name(), Some(error.detail()));
    }

    /// Closes a session whose grant is over. What it may have said and we have not read yet does not matter: whoever
    /// wants to stay says so in time, and who never stops talking would stay for ever.
    pub(super) fn ends_with_its_grant(&mut self, open: &mut Open) -> bool {
        let due = self.hub.grant_due_ms(open.session).map(tick_after);
        let is_due = due.is_some_and(|due| due <= tick_at(self.now.ms));
        if !is_due || !open.closing.is_open() || !self.hub.grant_is_over(open.session) {
            return false;
        }
        let error = TokenError::Expired;
        self.hub.metrics.refuse(error.name());
        self.begin_close(open, CloseCode::AUTH_MISSING, error.detail(), false);
        true
    }
}

impl<T: Transport> Worker<T> {
    /// What sessions have presented in messages: new ends, and failures that count for their addresses.
    pub(super) fn carry_out_grants(&mut self) {
        for link in self.core.hub.take_regranted() {
            if let Some(connection) = self.connections.get_mut(link as usize) {
                connection.armed = 0; // What was armed may be later.
            }
            self.rearm(link);
        }
        for link in self.core.hub.take_failed_authentications() {
            let Some(connection) = self.connections.get_mut(link as usize) else {
                continue;
            };
            let (core, account) = (&mut self.core, connection.account);
            let reason = "auth_failures";
            if core.addresses.auth_failure(account, core.now.ms).is_none() {
                continue;
            }
            if core.settings.address.dry_run {
                core.hub.metrics.refuse_dry(reason);
                continue;
            }
            core.hub.metrics.refuse(reason);
            let max = core.settings.address.auth_failures_per_minute;
            let why = format!(
                "more than {max} failed authentications per minute (setting address_auth_failures_per_minute)"
            );
            let fate = core.close(connection, CloseCode::RATE, &why, false);
            self.settle(link, fate);
        }
    }
}
