//! Sessions on a stream of JSON values instead of a WebSocket: how programs on this machine speak to an Ethereum node.
//!
//! The same session, handler, limits and outbox as behind a WebSocket; there is no request before, no ping, and no
//! closing handshake: whoever wants to close ends its direction.

use super::connection::{Connection, Extra, Fate, Open, Phase, Wire};
use super::open::{PAUSE_BYTES, REPLY_BYTES_MAX};
use super::transport::Transport;
use super::wheel::tick_at;
use super::worker::{Core, Worker};
use crate::hub::Context;
use crate::values::Values;
use crate::ws::{CloseCode, Closing, Message, Role, WebSocket};

impl<T: Transport> Worker<T> {
    /// A connection came through a listener for values: its session begins at once. `false`: nobody is there for it.
    pub(super) fn open_values(&mut self, key: u32, listener: u16) -> bool {
        let core = &mut self.core;
        let Ok((route, _)) = core.router.find(listener, "/") else {
            core.hub.metrics.refuse("not_found");
            return false;
        };
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return false;
        };
        let session = core.hub.open_for_values(key, route);
        let bytes_max = core.routes[route as usize].settings.ws.message_bytes_max;
        let extra = Extra {
            values: Some(Box::new(Values::new(bytes_max))),
            ..Extra::default()
        };
        connection.phase = Phase::Open(Open {
            ws: WebSocket::new(Role::Server),
            wire: Wire::Values,
            session,
            route,
            closing: Closing::Open,
            paused: false,
            held: false,
            since: 0,
            extra: Some(Box::new(extra)),
        });
        let mut cx = Context::new(&mut core.hub, route, Some(session));
        core.routes[route as usize].handler.on_open(&mut cx);
        true
    }
}

impl Core {
    /// Works through received bytes, as [`consume`](Self::consume) does with frames.
    pub(super) fn consume_stream<T: Transport>(
        &mut self,
        connection: &mut Connection<T>,
        data: &[u8],
    ) -> Fate {
        let generation = connection.generation;
        let Phase::Open(open) = &mut connection.phase else {
            return Fate::Keep;
        };
        let Some(mut values) = open.extra.as_mut().and_then(|extra| extra.values.take()) else {
            return Fate::Keep;
        };
        let calls_before = self.hub.calls.asked;
        let mut completed = false;
        let mut input = data;
        loop {
            match values.next(&mut input) {
                Ok(None) => break,
                Ok(Some(value)) => {
                    completed = true;
                    self.take_value(open, value);
                }
                Err(error) => {
                    self.hub.metrics.refuse("value_too_long");
                    let why = format!("{error} (setting message_bytes_max)");
                    let session = self.hub.conn_id(open.session);
                    self.notice("value_too_long", || {
                        let id = session.map(|s| s.to_string()).unwrap_or_default();
                        format!("closed session {id}: {why}")
                    });
                    values.discard();
                    self.begin_close(open, CloseCode::TOO_BIG, &why, false);
                    break;
                }
            }
            if self.hub.calls.asked != calls_before && self.is_call_load_above(100) {
                self.hold(open, generation);
            }
            let is_enough = self.hub.turn_is_full()
                || open.is_held()
                || self.hub.replies().len() >= REPLY_BYTES_MAX
                || self.hub.outbox_bytes(open.session) > PAUSE_BYTES;
            if is_enough && !input.is_empty() {
                let extra = open.extra.get_or_insert_default();
                extra.backlog.extend_from_slice(input);
                break;
            }
        }
        open.extra.get_or_insert_default().values = Some(values);
        open.note_message(completed, tick_at(self.now.ms));
        if self.write_replies(connection) == Fate::Drop {
            return Fate::Drop;
        }
        self.after_write(connection)
    }

    fn take_value(&mut self, open: &mut Open, value: &[u8]) {
        if !open.closing.is_open() || self.hub.is_leaving(open.session) {
            return;
        }
        self.hub.metrics.messages_received_total += 1;
        if !self.charge_message(open) {
            return;
        }
        let message = match std::str::from_utf8(value) {
            Ok(text) => Message::Text(text),
            Err(_) => Message::Binary(value),
        };
        let mut cx = Context::new(&mut self.hub, open.route, Some(open.session));
        let route = &mut self.routes[open.route as usize];
        route.handler.on_message(&mut cx, message);
    }

    /// Counts a message against the rate of its route. Over it, the session is closed and `false` comes back.
    pub(super) fn charge_message(&mut self, open: &mut Open) -> bool {
        let settings = &self.routes[open.route as usize].settings;
        let (rate, burst) = (settings.messages_per_second, settings.messages_burst);
        let is_within = Extra::message_is_within(&mut open.extra, self.now.ms, rate, burst);
        if !is_within {
            self.close_for_message_rate(open);
        }
        is_within
    }
}
