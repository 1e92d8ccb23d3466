//! What becomes of a call: answered here, a subscription, or forwarded.

use super::filter;
use super::gateway::{Answered, Gateway};
use super::message::{
    Call, Failure, INVALID_REQUEST, LIMIT_EXCEEDED, METHOD_BYTES_MAX, NO_NOTIFICATIONS,
    NO_SUBSCRIPTION, NOT_WHITELISTED,
};
use super::{Asker, policy};
use crate::hub::Context;

/// What comes of a call.
pub(super) enum Verdict {
    Tail(String),
    Feed(u32),
    /// To the node; the answer may be kept in this place.
    Forward(Option<u8>),
}

/// What is refused, and the counter's label.
pub(super) type Refusal = (Failure, &'static str);

impl Gateway {
    /// What a call is: the order of these checks is the order in which a client learns what is wrong.
    pub(super) fn judge(&mut self, cx: &mut Context<'_>, asker: Asker, call: &Call<'_>) -> Verdict {
        match self.check(cx, asker, call) {
            Ok(verdict) => verdict,
            Err((failure, reason)) => {
                cx.count_refusal(reason);
                Verdict::Tail(failure.tail())
            }
        }
    }

    fn check(
        &mut self,
        cx: &mut Context<'_>,
        asker: Asker,
        call: &Call<'_>,
    ) -> Result<Verdict, Refusal> {
        let Self {
            members, options, ..
        } = self;
        let member = match asker {
            Asker::Session { member, .. } => members.get_mut(member as usize),
            Asker::Request(_) => None,
        };
        if let Some(member) = member
            && !member.allowance.take(options, cx.now().ms)
        {
            return Err((LIMIT_EXCEEDED, "jsonrpc_rate"));
        }
        let method = &*call.method;
        if method.len() > METHOD_BYTES_MAX {
            let length = method.len();
            let message = format!("method name too long: {length} > {METHOD_BYTES_MAX}");
            return Err((Failure::new(-32600, message), "jsonrpc_invalid"));
        }
        if !policy::is_allowed(options, method) {
            return Err((NOT_WHITELISTED, "jsonrpc_method"));
        }
        if method.ends_with("_subscribe") {
            return self.check_subscribe(cx, asker, call);
        }
        if call.params.is_some_and(|raw| !raw.get().starts_with('[')) {
            return Err((Failure::params("non-array args"), "jsonrpc_params"));
        }
        if method.ends_with("_unsubscribe") {
            let id = filter::subscription_id(call.params).map_err(|f| (f, "jsonrpc_params"))?;
            return if self.unsubscribe(cx, asker, &id) {
                Ok(Verdict::Tail(Answered::Result("true").tail()))
            } else {
                Err((NO_SUBSCRIPTION, "jsonrpc_params"))
            };
        }
        let kept = policy::kept(call);
        if let Some(json) = kept.and_then(|at| self.kept.get(usize::from(at))?.as_deref()) {
            return Ok(Verdict::Tail(Answered::Result(json).tail()));
        }
        if self.options.head_number
            && method == "eth_blockNumber"
            && let Some(number) = &self.feeds.head_number
        {
            return Ok(Verdict::Tail(Answered::Result(number).tail()));
        }
        self.check_in_flight(asker)?;
        Ok(Verdict::Forward(kept))
    }

    fn check_in_flight(&mut self, asker: Asker) -> Result<(), Refusal> {
        let most = self.options.in_flight_max;
        match self.member(asker) {
            Some(member) if member.in_flight >= most => Err((LIMIT_EXCEEDED, "jsonrpc_in_flight")),
            _ => Ok(()),
        }
    }

    fn check_subscribe(
        &mut self,
        cx: &mut Context<'_>,
        asker: Asker,
        call: &Call<'_>,
    ) -> Result<Verdict, Refusal> {
        let most = self.options.subscriptions_max;
        let has_links = self.upstream.has_links();
        let Some(member) = self.member(asker).filter(|_| has_links) else {
            return Err((NO_NOTIFICATIONS, "jsonrpc_notifications"));
        };
        let is_full = member.claimed >= most;
        let namespace = call.method.split('_').next().unwrap_or_default();
        let key = filter::canonical(namespace, call.params).map_err(|f| (f, "jsonrpc_params"))?;
        if call.id.is_none() {
            // Nobody would ever know the subscription's id.
            return Err((INVALID_REQUEST, "jsonrpc_invalid"));
        }
        if is_full {
            return Err((LIMIT_EXCEEDED, "jsonrpc_subscriptions"));
        }
        self.check_in_flight(asker)?;
        let feed = self.want(cx, key)?;
        if let Some(member) = self.member(asker) {
            member.claimed += 1;
        }
        Ok(Verdict::Feed(feed))
    }
}
