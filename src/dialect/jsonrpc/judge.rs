//! What becomes of a call: answered here, a subscription, or forwarded.

use super::gateway::{Answered, Gateway};
use super::message::{
    Call, Failure, INVALID_REQUEST, LIMIT_EXCEEDED, METHOD_BYTES_MAX, NO_NOTIFICATIONS,
    NO_SUBSCRIPTION, NOT_WHITELISTED, error_tail, params_tail,
};
use super::{Asker, filter, policy};
use crate::hub::Context;

/// What comes of a call.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is answered: the end of the answer.
    Tail(String),
    Feed(u32),
    /// To the node; the answer may be kept in this place.
    Forward(Option<u8>),
}

/// A call that is not carried out, counted.
pub(super) fn refused(cx: &mut Context<'_>, failure: &Failure, label: &'static str) -> Verdict {
    refused_with(cx, failure.tail(), label)
}

fn refused_with(cx: &mut Context<'_>, tail: String, label: &'static str) -> Verdict {
    cx.count_refusal(label);
    Verdict::Tail(tail)
}

impl Gateway {
    /// What a call is: the order of these checks is the order in which a client learns what is wrong.
    pub(super) fn judge(&mut self, cx: &mut Context<'_>, asker: Asker, call: &Call<'_>) -> Verdict {
        let Self {
            members, options, ..
        } = self;
        let member = match asker {
            Asker::Session { member, .. } => members.get_mut(member as usize),
            Asker::Request(_) => None,
        };
        if let Some(member) = member
            && !member.allowance.take(options.rate(), cx.now().ms)
        {
            return refused(cx, &LIMIT_EXCEEDED, "jsonrpc_rate");
        }
        let method = &*call.method;
        if method.len() > METHOD_BYTES_MAX {
            let length = method.len();
            let message = format!("method name too long: {length} > {METHOD_BYTES_MAX}");
            return refused_with(cx, error_tail(-32600, &message), "jsonrpc_invalid");
        }
        if !policy::is_allowed(options, method) {
            return refused(cx, &NOT_WHITELISTED, "jsonrpc_method");
        }
        if method.ends_with("_subscribe") {
            return self.judge_subscribe(cx, asker, call);
        }
        if call.params.is_some_and(|raw| !raw.get().starts_with('[')) {
            return refused_with(cx, params_tail("non-array args"), "jsonrpc_params");
        }
        if method.ends_with("_unsubscribe") {
            return match filter::subscription_id(call.params) {
                Err(tail) => refused_with(cx, tail, "jsonrpc_params"),
                Ok(id) if self.unsubscribe(cx, asker, &id) => {
                    Verdict::Tail(Answered::Result("true").tail())
                }
                Ok(_) => refused(cx, &NO_SUBSCRIPTION, "jsonrpc_params"),
            };
        }
        let place = policy::kept(call);
        let kept = place.and_then(|at| self.kept.get(usize::from(at))?.as_deref());
        let number = || {
            let is_known = self.options.head_number && method == "eth_blockNumber";
            self.feeds.head_number.as_deref().filter(|_| is_known)
        };
        if let Some(json) = kept.or_else(number) {
            return Verdict::Tail(Answered::Result(json).tail());
        }
        if self.has_enough(asker) {
            return refused(cx, &LIMIT_EXCEEDED, "jsonrpc_in_flight");
        }
        Verdict::Forward(place)
    }

    /// Whether so much of it is under way that it has to wait.
    fn has_enough(&mut self, asker: Asker) -> bool {
        let most = self.options.in_flight_max;
        self.member(asker)
            .is_some_and(|member| member.in_flight >= most)
    }

    fn judge_subscribe(&mut self, cx: &mut Context<'_>, asker: Asker, call: &Call<'_>) -> Verdict {
        let most = self.options.subscriptions_max;
        let has_links = self.upstream.has_links();
        let Some(member) = self.member(asker).filter(|_| has_links) else {
            return refused(cx, &NO_NOTIFICATIONS, "jsonrpc_notifications");
        };
        let is_full = member.claimed >= most;
        let namespace = call.method.split('_').next().unwrap_or_default();
        let key = match filter::canonical(namespace, call.params) {
            Ok(key) => key,
            Err(tail) => return refused_with(cx, tail, "jsonrpc_params"),
        };
        if call.id.is_none() {
            // Nobody would ever know the subscription's id.
            return refused(cx, &INVALID_REQUEST, "jsonrpc_invalid");
        }
        if is_full {
            return refused(cx, &LIMIT_EXCEEDED, "jsonrpc_subscriptions");
        }
        if self.has_enough(asker) {
            return refused(cx, &LIMIT_EXCEEDED, "jsonrpc_in_flight");
        }
        let verdict = self.want(cx, key);
        if let Verdict::Feed(_) = verdict
            && let Some(member) = self.member(asker)
        {
            member.claimed += 1;
        }
        verdict
    }
}
