//! Who is here: connections, the devices they speak for, and how long they stay.
//!
//! | a connection | is told | and closed |
//! | --- | --- | --- |
//! | has more requests per second than it may | `OS`, once | after `cut_ms` with 1008 |
//! | has reached its lifetime; the server goes down | `CR` | after `cut_ms` with 1000 |
//! | has a device that another connection names now | `CR` | after `takeover_ms` with 1000 |
//! | has not sent a frame for `keep_alive_misses` intervals | – | at once with 1008 |
//!
//! Clients of the original answer `OS` and `CR` with a close (1000, "Reconnect") and come back.

use std::collections::VecDeque;
use std::rc::Rc;

use super::gateway::{Due, Gateway};
use super::notify::{Held, Notice};
use crate::dialect::allowance::Allowance;
use crate::hub::{ConnId, Context, Peer, Request};
use crate::ws::{CloseCode, Message};

/// A connection.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: ConnId,
    /// What it is told in `RO` and `HO`.
    pub(super) credential: u64,
    /// The device it speaks for, until another connection does.
    pub(super) device: Option<Rc<str>>,
    /// Its back end has agreed.
    pub(super) registered: bool,
    /// The key that has signed for that.
    pub(super) app: Option<Rc<str>>,
    /// The number of the last `REGISTER` or `UNREGISTER`, and of the last one that had an effect.
    pub(super) signals: u32,
    pub(super) signal_applied: u32,
    /// Requests that wait for an answer.
    pub(super) in_flight: usize,
    /// Notifications that wait for `NO`, the oldest first.
    pub(super) notices: VecDeque<Notice>,
    /// `REGISTER`s that its back end has not answered.
    pub(super) registering: u32,
    /// Notifications that wait for that.
    pub(super) held: VecDeque<Held>,
    pub(super) address: Option<Rc<str>>,
    pub(super) is_local: bool,
    pub(super) alive_ms: u64,
    opened_ms: u64,
    allowance: Allowance,
    end: Option<End>,
    /// When its timer fires; 0: it has none.
    armed_ms: u64,
}

/// A timer that fires so much too late, in milliseconds, tells of this process and not of a device.
const LATE_MS: u64 = 1_000;

/// It was told to go.
#[derive(Debug, Clone, Copy)]
struct End {
    at_ms: u64,
    code: CloseCode,
    reason: &'static str,
}

impl Member {
    /// An address in the words of headers.
    pub(super) fn address_of(peer: Peer) -> Option<Rc<str>> {
        match peer {
            Peer::Tcp(address) => Some(address.ip().to_string().into()),
            Peer::Unix => None,
        }
    }
}

/// Whether a request comes from this machine itself, and not through a proxy on it that nobody has said to trust: such a
/// proxy's own address is local too.
pub(super) fn is_local(request: &Request<'_>) -> bool {
    let of_proxies = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    let is_passed_on = |name: &&str| request.head.header_all(name).next().is_some();
    request.peer.is_local() && !of_proxies.iter().any(is_passed_on)
}

impl Gateway {
    /// A connection comes.
    pub(super) fn enter(&mut self, cx: &mut Context<'_>, request: &Request<'_>) {
        let Some(id) = cx.id() else { return };
        let now = cx.now();
        // As the original's: it looks like a time, and no two are the same.
        self.credential = now.unix_ms.max(self.credential + 1);
        let key = self.members.insert(Member {
            id,
            credential: self.credential,
            device: None,
            registered: false,
            app: None,
            signals: 0,
            signal_applied: 0,
            in_flight: 0,
            notices: VecDeque::new(),
            registering: 0,
            held: VecDeque::new(),
            address: Member::address_of(request.peer),
            is_local: is_local(request),
            alive_ms: now.ms,
            opened_ms: now.ms,
            allowance: Allowance::new(self.options.rate(), now.ms),
            end: None,
            armed_ms: 0,
        });
        cx.set_word(key as u64 + 1);
    }

    pub(super) fn opened(&mut self, cx: &mut Context<'_>) {
        if let Some(key) = Self::key(cx) {
            self.arm(cx, key);
        }
    }

    /// A connection is over.
    pub(super) fn leave(&mut self, cx: &mut Context<'_>) {
        let key = Self::key(cx);
        cx.set_word(0);
        let Some((key, member)) = key.and_then(|key| {
            let member = self.members.try_remove(key as usize)?;
            Some((key, member))
        }) else {
            return;
        };
        if let Some(device) = &member.device
            && self.devices.get(device) == Some(&key)
        {
            self.devices.remove(device);
        }
        self.lose_notices(cx, member.notices, member.held);
    }

    /// `RG`
    pub(super) fn register_device(&mut self, cx: &mut Context<'_>, key: u32, name: &str) {
        let Some(member) = self.members.get(key as usize) else {
            return;
        };
        let credential = member.credential;
        match &member.device {
            Some(known) if **known == *name => {}
            Some(_) => return Self::refuse_device(cx, "this connection has a device already"),
            None => {
                if let Err(why) = self.join(cx, key, name) {
                    return Self::refuse_device(cx, why);
                }
            }
        }
        let interval = self.options.keep_alive_ms;
        cx.send_text(&format!("RO#{credential}#{interval}"));
    }

    /// `RF`: a refusal counts as a bad message, and after too many of them the connection is closed.
    pub(super) fn refuse_device(cx: &mut Context<'_>, why: &str) {
        cx.count_refusal("apigw_device");
        if cx.bad_message() {
            cx.send_text(&format!("RF#{why}"));
        }
    }

    fn join(&mut self, cx: &mut Context<'_>, key: u32, name: &str) -> Result<(), &'static str> {
        let mut registered = false;
        let mut app = None;
        let device: Rc<str> = match self.devices.get_key_value(name) {
            Some((device, &older)) => {
                let device = device.clone();
                if let Some(member) = self.members.get_mut(older as usize) {
                    member.device = None;
                    let was_registered = std::mem::take(&mut member.registered);
                    registered = was_registered && self.options.takeover_keeps_registration;
                    app = member.app.take();
                }
                cx.count_refusal("apigw_takeover");
                let (after_ms, reason) = (
                    self.options.takeover_ms,
                    "the device has another connection",
                );
                self.send_away(cx, older, "CR", after_ms, CloseCode::NORMAL, reason);
                device
            }
            None if self.devices.len() >= self.options.devices_max => {
                return Err("too many devices are here (setting devices_max)");
            }
            None => name.into(),
        };
        self.devices.insert(device.clone(), key);
        if let Some(member) = self.members.get_mut(key as usize) {
            member.device = Some(device);
            member.registered = registered;
            member.app = app;
        }
        Ok(())
    }

    /// One more request; `false`: it is one too many.
    pub(super) fn is_within_rate(&mut self, cx: &mut Context<'_>, key: u32) -> bool {
        let Some(member) = self.members.get_mut(key as usize) else {
            return false;
        };
        if member.allowance.take(self.options.rate(), cx.now().ms) {
            return true;
        }
        let (after_ms, reason) = (self.options.cut_ms, "too many requests in a second");
        self.send_away(cx, key, "OS", after_ms, CloseCode::POLICY, reason);
        false
    }

    /// The server goes down. Whoever was told to go already is closed like everybody.
    pub(super) fn on_drain(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(key) = Self::key(cx) else {
            return false;
        };
        let (after_ms, reason) = (self.options.cut_ms, "this server is restarting");
        self.send_away(cx, key, "CR", after_ms, CloseCode::NORMAL, reason)
    }

    /// Tells a connection to go, unless it was told before.
    fn send_away(
        &mut self,
        cx: &mut Context<'_>,
        key: u32,
        word: &str,
        after_ms: u64,
        code: CloseCode,
        reason: &'static str,
    ) -> bool {
        let Some(member) = self.members.get_mut(key as usize) else {
            return false;
        };
        if member.end.is_some() {
            return false;
        }
        let id = member.id;
        member.end = Some(End {
            at_ms: cx.now().ms + after_ms,
            code,
            reason,
        });
        cx.send_to(id, Message::Text(word));
        let ticket = cx.timer_apart(after_ms);
        self.timers.insert(ticket, Due::End { member: key, id });
        true
    }

    /// The time after `OS` or `CR` is over.
    pub(super) fn end_if_due(&mut self, cx: &mut Context<'_>, key: u32, id: ConnId) {
        let member = self.members.get(key as usize);
        let member = member.filter(|member| member.id == id);
        if let Some(end) = member.and_then(|member| member.end)
            && end.at_ms <= cx.now().ms
        {
            cx.close_other(id, end.code, end.reason);
        }
    }

    /// The timer of this session.
    pub(super) fn look_at(&mut self, cx: &mut Context<'_>) {
        let Some(key) = Self::key(cx) else { return };
        let (silence_ms, lifetime_ms) = (self.silence_ms(), self.options.lifetime_ms);
        let Some(member) = self.members.get_mut(key as usize) else {
            return;
        };
        let now = cx.now().ms;
        let is_late = member.armed_ms != 0 && now > member.armed_ms + LATE_MS;
        if member.armed_ms <= now {
            member.armed_ms = 0;
        }
        if is_late {
            // This process was asleep: what came meanwhile is heard before anybody is judged.
            member.armed_ms = now + LATE_MS;
            cx.timer(LATE_MS);
            return;
        }
        if cx.is_held_back() {
            // Its heartbeat may wait where it has not been read.
            member.alive_ms = now;
        }
        if now >= member.alive_ms + silence_ms {
            cx.count_refusal("apigw_heartbeat");
            return cx.close(CloseCode::POLICY, "no heartbeat in time");
        }
        if lifetime_ms > 0 && now >= member.opened_ms + lifetime_ms && member.end.is_none() {
            let (after_ms, reason) = (self.options.cut_ms, "this connection has lived long enough");
            self.send_away(cx, key, "CR", after_ms, CloseCode::NORMAL, reason);
        }
        self.arm(cx, key);
    }

    /// How long a connection may be without a frame.
    fn silence_ms(&self) -> u64 {
        let options = &self.options;
        options.keep_alive_ms * u64::from(options.keep_alive_misses)
    }

    /// Sees to it that this session is looked at when there is something to see.
    fn arm(&mut self, cx: &mut Context<'_>, key: u32) {
        let (silence_ms, lifetime_ms) = (self.silence_ms(), self.options.lifetime_ms);
        let Some(member) = self.members.get_mut(key as usize) else {
            return;
        };
        let mut due = member.alive_ms + silence_ms;
        if lifetime_ms > 0 && member.end.is_none() {
            due = due.min(member.opened_ms + lifetime_ms);
        }
        if member.armed_ms == 0 || due < member.armed_ms {
            member.armed_ms = due;
            cx.timer(due.saturating_sub(cx.now().ms).max(1));
        }
    }
}
