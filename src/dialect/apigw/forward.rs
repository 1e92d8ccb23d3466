//! A request to its back end and the answer back, also of those that register a device.
//!
//! | header of the back end's request | is |
//! | --- | --- |
//! | `x-ca-deviceid` | the device of the connection; without one it is missing, whatever a client says |
//! | `x-ca-request-id` | a name for the request, which its answer carries too |
//! | `x-forwarded-for`, `x-forwarded-host` | the client's address; the host it asked for |
//! | all others | the client's, but those that speak of a connection |
//!
//! Requests of one device are made side by side, and answered as they come. Of several signals the one that was *said*
//! last decides, if it succeeds, whatever order their answers have:
//!
//! | signal | 200 | another answer | none |
//! | --- | --- | --- | --- |
//! | `REGISTER` | registered | not registered | not registered |
//! | `UNREGISTER` | not registered | as it was | as it was |

use std::rc::Rc;

use super::answer::{Answer, REQUEST_ID, Refused, is_of_connection};
use super::gateway::{Asker, Caller, Gateway, Waiter};
use super::request::{ApiRequest, Signal};
use super::words::app_of;
use crate::hub::{Call, Context, Ticket};

pub(super) const DEVICE: &str = "x-ca-deviceid";
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_HOST: &str = "x-forwarded-host";

/// A request at its back end.
#[derive(Debug)]
pub(super) struct Pending {
    waiter: Waiter,
    signal: Signal,
    /// Which of the connection's signals it is.
    number: u32,
    /// The device it is about.
    device: Option<Rc<str>>,
    app: Option<Rc<str>>,
}

impl Gateway {
    /// Calls the back end.
    pub(super) fn forward(
        &mut self,
        cx: &mut Context<'_>,
        waiter: Waiter,
        caller: &Caller,
        signal: Signal,
        request: ApiRequest,
    ) -> Result<(), Refused> {
        let key = caller.member.map(|key| key as usize);
        let device = key.and_then(|key| self.members.get(key)?.device.clone());
        if signal != Signal::Common {
            self.check_signal(&request, device.as_deref(), caller)?;
        }
        let found = self
            .options
            .back_ends
            .find(&request.host, &request.path, &request.query);
        let target = found.ok_or(Refused::new(
            404,
            "there is no API at this host and path",
            "apigw_no_api",
        ))?;
        let number = match key.and_then(|key| self.members.get_mut(key)) {
            Some(member) if signal != Signal::Common => {
                member.signals += 1;
                member.registering += u32::from(signal == Signal::Register);
                member.signals
            }
            _ => 0,
        };
        let ticket = cx.call_now(Call {
            target: Rc::new(target),
            method: request.method,
            headers: headers(&request, device.as_deref(), caller, &waiter.request_id),
            body: request.body,
            timeout_ms: self.options.call_timeout_ms,
        });
        self.note_waiting(&waiter);
        let app = caller.app.clone();
        let pending = Pending {
            waiter,
            signal,
            number,
            device,
            app,
        };
        self.pending.insert(ticket, pending);
        Ok(())
    }

    /// Whether a device may say `REGISTER` or `UNREGISTER` there.
    fn check_signal(
        &self,
        request: &ApiRequest,
        device: Option<&str>,
        caller: &Caller,
    ) -> Result<(), Refused> {
        let paths = &self.options.register_paths;
        if !paths.is_empty() && !paths.contains(&request.path) {
            let why = "devices do not register at this path (setting register_paths)";
            return Err(Refused::new(400, why, "apigw_signal"));
        }
        let Some(device) = device else {
            let why = "there is no device: say RG on this connection before";
            return Err(Refused::new(400, why, "apigw_signal"));
        };
        let foreign = |app: &Rc<str>| app_of(device).is_some_and(|of| *of != **app);
        if caller.app.as_ref().is_some_and(foreign) {
            let why = "the device belongs to another app than the key that has signed";
            return Err(Refused::new(403, why, "apigw_foreign_device"));
        }
        Ok(())
    }

    /// A back end has answered, or will not.
    pub(super) fn returned(&mut self, cx: &mut Context<'_>, ticket: Ticket, answer: Answer<'_>) {
        let Some(pending) = self.pending.remove(&ticket) else {
            return;
        };
        let Pending { waiter, signal, .. } = &pending;
        let mut decided = None;
        if let Asker::Device {
            member: key, id, ..
        } = &waiter.asker
            && *signal != Signal::Common
            && let Some(member) = self.members.get_mut(*key as usize)
            && member.id == *id
        {
            let is_register = *signal == Signal::Register;
            let is_done = answer.status() == 200;
            let is_last = pending.number > member.signal_applied;
            member.registering = member.registering.saturating_sub(u32::from(is_register));
            if is_last && member.device == pending.device && (is_done || is_register) {
                member.signal_applied = pending.number;
                member.registered = is_done && is_register;
                member.app = pending.app.clone().filter(|_| member.registered);
            }
            decided = Some(*key);
        }
        self.tell(cx, waiter, answer);
        if let Some(key) = decided {
            self.release_held(cx, key);
        }
    }
}

fn headers(
    request: &ApiRequest,
    device: Option<&str>,
    caller: &Caller,
    request_id: &str,
) -> Vec<(std::borrow::Cow<'static, str>, String)> {
    // Those that are ours to say, and those of a connection, by name or because `Connection` names them.
    let ours = [
        "host",
        "content-length",
        "expect",
        DEVICE,
        REQUEST_ID,
        FORWARDED_FOR,
        FORWARDED_HOST,
    ];
    let lines = request.headers.iter();
    let named: Vec<&str> = lines
        .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
        .flat_map(|(_, value)| value.split(',').map(str::trim))
        .collect();
    let is_passed = |name: &str| {
        let mut others = ours.iter().chain(&named);
        !is_of_connection(name) && !others.any(|other| other.eq_ignore_ascii_case(name))
    };
    let mut headers: Vec<_> = request
        .headers
        .iter()
        .filter(|(name, _)| is_passed(name))
        .map(|(name, value)| (name.clone().into(), value.clone()))
        .collect();
    let mut add = |name: &'static str, value: Option<&str>| {
        let value = value.filter(|value| !value.is_empty());
        headers.extend(value.map(|value| (name.into(), value.to_owned())));
    };
    add(DEVICE, device);
    add(REQUEST_ID, Some(request_id));
    add(FORWARDED_FOR, caller.address.as_deref());
    add(FORWARDED_HOST, Some(&request.host));
    headers
}
