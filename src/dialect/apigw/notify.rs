//! A back end's word to a device: `POST` on a notify path, with `x-ca-deviceid`, becomes `NF#` and the body.
//!
//! | the device | the back end is answered |
//! | --- | --- |
//! | acknowledges with `NO` | 200 |
//! | does not within `notify_timeout_ms` | 504 |
//! | is not here, or not registered | 404; while it is being registered, a moment later |
//! | goes before it has acknowledged | 404: to its back end it is gone |
//! | has `notify_pending_max` notifications to acknowledge | 429 |
//!
//! `NO` carries no number: it belongs to the oldest notification. So one that is late keeps its place in the row, with
//! nobody waiting for it, or each later `NO` would be taken for the one after.
//!
//! **Who may notify.** With app keys: who has signed with the key of the app that the device belongs to. Without: this
//! machine, and no web page; what a proxy on it passes on is not of this machine.

use std::collections::VecDeque;
use std::rc::Rc;

use super::answer::{Answer, Refused};
use super::forward::DEVICE;
use super::gateway::{Caller, Due, Gateway, Waiter};
use super::request::ApiRequest;
use super::words::app_of;
use crate::dialect::has_room;
use crate::hub::{ConnId, Context};
use crate::ws::Message;

/// A notification that a device has not acknowledged.
#[derive(Debug)]
pub(super) struct Notice {
    number: u64,
    /// `None`: it is late.
    waiter: Option<Waiter>,
}

/// A notification that came while its device was being registered.
#[derive(Debug)]
pub(super) struct Held {
    number: u64,
    waiter: Waiter,
    app: Option<Rc<str>>,
    text: String,
}

/// So long a notification waits for the answer to a registration, in milliseconds. A back end may have sent that before
/// and be heard in another order. One that notifies before it answers would wait for us while we wait for it: so it is
/// not long.
const REGISTERING_MS: u64 = 100;

const NOBODY: Refused = Refused::new(404, "there is no such device here", "apigw_notify_nobody");
const GONE: Refused = Refused::new(
    404,
    "the device went away before it acknowledged",
    "apigw_notify_gone",
);
const LATE: Refused = Refused::new(
    504,
    "the device did not acknowledge in time",
    "apigw_notify_late",
);

impl Gateway {
    pub(super) fn notify(
        &mut self,
        cx: &mut Context<'_>,
        waiter: Waiter,
        caller: &Caller,
        request: &ApiRequest,
    ) -> Result<(), Refused> {
        self.check_notifier(caller, request)?;
        let refused = |status, why, label| Err(Refused::new(status, why, label));
        if request.method != "POST" {
            return refused(405, "notifications are posted", "apigw_notify");
        }
        let Some(name) = request.header(DEVICE).filter(|name| !name.is_empty()) else {
            return refused(400, "x-ca-deviceid is missing", "apigw_notify");
        };
        let Ok(text) = std::str::from_utf8(&request.body) else {
            return refused(400, "a notification is UTF-8", "apigw_notify");
        };
        let app = caller.app.clone();
        let key = self.devices.get(name).copied();
        let member = key.and_then(|key| Some((key, self.members.get_mut(key as usize)?)));
        let Some((key, member)) = member else {
            return Err(NOBODY);
        };
        let text = format!("NF#{text}");
        let may_wait = member.held.len() < self.options.notify_pending_max;
        if member.registered || member.registering == 0 || !may_wait {
            return self.hand_over(cx, key, &waiter, app.as_deref(), &text);
        }
        self.notice += 1;
        let (id, number) = (member.id, self.notice);
        member.held.push_back(Held {
            number,
            waiter: waiter.clone(),
            app,
            text,
        });
        self.note_waiting(&waiter);
        let ticket = cx.timer_apart(REGISTERING_MS);
        let member = key;
        self.timers.insert(ticket, Due::Held { member, id, number });
        Ok(())
    }

    /// A notification for a device that is here.
    fn hand_over(
        &mut self,
        cx: &mut Context<'_>,
        key: u32,
        waiter: &Waiter,
        app: Option<&str>,
        text: &str,
    ) -> Result<(), Refused> {
        let member = self.members.get_mut(key as usize);
        let member = member.filter(|member| {
            let of_name = member.device.as_deref().and_then(app_of);
            let of_app = of_name.or(member.app.as_deref());
            member.registered && app.is_none_or(|app| of_app == Some(app))
        });
        // What is not here, not registered and not yours looks the same.
        let Some(member) = member else {
            return Err(NOBODY);
        };
        let waiting = member.notices.iter().filter(|n| n.waiter.is_some());
        if waiting.count() >= self.options.notify_pending_max {
            let why = "too many notifications are not acknowledged (setting notify_pending_max)";
            return Err(Refused::new(429, why, "apigw_notify_pending"));
        }
        let id = member.id;
        if has_room(cx, &[text.len()]).is_err() {
            let why = "there is no memory for it";
            return Err(Refused::new(503, why, "apigw_notify_memory"));
        }
        if !cx.send_to(id, Message::Text(text)) {
            return Err(NOBODY);
        }
        self.note_waiting(waiter);
        if self.options.notify_wait {
            self.await_acknowledgement(cx, key, id, waiter.clone());
        } else {
            self.tell(cx, waiter, Answer::Done);
        }
        Ok(())
    }

    /// A device is registered, or is not: what has waited for that goes to it, or back.
    pub(super) fn release_held(&mut self, cx: &mut Context<'_>, key: u32) {
        let member = self.members.get_mut(key as usize);
        let Some(member) = member.filter(|m| m.registered || m.registering == 0) else {
            return;
        };
        for held in std::mem::take(&mut member.held) {
            self.note_done(&held.waiter);
            let done = self.hand_over(cx, key, &held.waiter, held.app.as_deref(), &held.text);
            if let Err(refused) = done {
                self.note_waiting(&held.waiter);
                self.refuse_later(cx, &held.waiter, refused);
            }
        }
    }

    /// A device has not been registered soon.
    pub(super) fn held_is_late(&mut self, cx: &mut Context<'_>, key: u32, id: ConnId, number: u64) {
        let member = self.members.get_mut(key as usize);
        let Some(member) = member.filter(|member| member.id == id) else {
            return;
        };
        let at = member.held.iter().position(|held| held.number == number);
        if let Some(held) = at.and_then(|at| member.held.remove(at)) {
            self.refuse_later(cx, &held.waiter, NOBODY);
        }
    }

    fn refuse_later(&mut self, cx: &mut Context<'_>, waiter: &Waiter, refused: Refused) {
        cx.count_refusal(refused.label);
        self.tell(cx, waiter, Answer::Refused(refused));
    }

    fn check_notifier(&self, caller: &Caller, request: &ApiRequest) -> Result<(), Refused> {
        let signed = caller.app.is_some();
        if signed || self.options.notify_from_anywhere {
            return Ok(());
        }
        if !caller.is_local {
            let why =
                "nobody but this machine may notify (setting notify_from_anywhere, or app_keys)";
            return Err(Refused::new(403, why, "apigw_notify_peer"));
        }
        if caller.member.is_none() && request.header("origin").is_some() {
            let why = "web pages do not notify";
            return Err(Refused::new(403, why, "apigw_notify_origin"));
        }
        Ok(())
    }

    fn await_acknowledgement(
        &mut self,
        cx: &mut Context<'_>,
        key: u32,
        id: ConnId,
        waiter: Waiter,
    ) {
        self.notice += 1;
        let number = self.notice;
        if let Some(member) = self.members.get_mut(key as usize) {
            // Of a device that never acknowledges the row is no longer than of others.
            while member.notices.len() >= self.options.notify_pending_max
                && member.notices.front().is_some_and(|n| n.waiter.is_none())
            {
                member.notices.pop_front();
            }
            member.notices.push_back(Notice {
                number,
                waiter: Some(waiter),
            });
        }
        let ticket = cx.timer_apart(self.options.notify_timeout_ms);
        let member = key;
        self.timers
            .insert(ticket, Due::Notice { member, id, number });
    }

    /// `NO`
    pub(super) fn acknowledged(&mut self, cx: &mut Context<'_>, key: u32) {
        let Some(member) = self.members.get_mut(key as usize) else {
            return;
        };
        match member.notices.pop_front() {
            Some(Notice {
                waiter: Some(waiter),
                ..
            }) => self.tell(cx, &waiter, Answer::Done),
            Some(_) => {}
            // Where nobody waits for it, it means nothing.
            None if !self.options.notify_wait => {}
            None => cx.count_refusal("apigw_unasked"),
        }
    }

    pub(super) fn notice_is_late(
        &mut self,
        cx: &mut Context<'_>,
        key: u32,
        id: ConnId,
        number: u64,
    ) {
        let member = self.members.get_mut(key as usize);
        let Some(member) = member.filter(|member| member.id == id) else {
            return;
        };
        let mut notices = member.notices.iter_mut();
        let waiter = notices
            .find(|notice| notice.number == number)
            .and_then(|notice| notice.waiter.take());
        if let Some(waiter) = waiter {
            self.refuse_later(cx, &waiter, LATE);
        }
    }

    /// A device has gone.
    pub(super) fn lose_notices(
        &mut self,
        cx: &mut Context<'_>,
        notices: VecDeque<Notice>,
        held: VecDeque<Held>,
    ) {
        for waiter in notices.into_iter().filter_map(|notice| notice.waiter) {
            self.refuse_later(cx, &waiter, GONE);
        }
        for held in held {
            self.refuse_later(cx, &held.waiter, NOBODY);
        }
    }
}
