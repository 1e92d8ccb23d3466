//! What handlers asked for while they were called: closes, calls, links, timers, answers that come later.

use super::calls::Queued;
use super::transport::Transport;
use super::wheel::{Entry, tick_after};
use super::worker::{Core, TIMER, Timer, Worker};
use crate::hub::{Context, Effect};

/// How often orders that arise from orders are carried out in one turn.
const ORDER_ROUNDS: usize = 4;

impl<T: Transport> Worker<T> {
    /// Closes, effects and late answers. Carrying one out may give rise to more: a bounded number of
    /// rounds now, the rest next turn.
    pub(super) fn carry_out_orders(&mut self) {
        for _ in 0..ORDER_ROUNDS {
            if !self.core.hub.has_orders() {
                return;
            }
            for order in self.core.hub.take_close_orders() {
                if !self.core.hub.order_is_current(&order) {
                    continue;
                }
                let Some(link) = self.core.hub.link(order.session) else {
                    continue;
                };
                let Some(connection) = self.connections.get_mut(link as usize) else {
                    continue;
                };
                let fate = self
                    .core
                    .close(connection, order.code, &order.reason, false);
                self.settle(link, fate);
            }
            self.carry_out_grants();
            #[cfg(feature = "presence")]
            self.core.tell_presence();
            for session in self.core.hub.take_drained() {
                self.core.tell_drained(session);
            }
            for (session, link) in self.core.hub.take_suspects() {
                if let Some(connection) = self.connections.get_mut(link as usize) {
                    let fate = self.core.judge(connection, link, session);
                    self.settle(link, fate);
                }
            }
            for effect in self.core.hub.take_effects() {
                match effect {
                    Effect::Call {
                        ticket,
                        route,
                        session,
                        call,
                        apart,
                        now,
                    } => {
                        self.core.routes[route as usize].calls = true;
                        self.core.calls.push(Queued {
                            ticket,
                            route,
                            session,
                            until_ms: now.then(|| self.core.now.ms + call.timeout_ms),
                            call,
                            apart,
                            tries: Default::default(),
                        });
                    }
                    Effect::Dial { link, route, dial } => self.core.dial(link, route, dial),
                    Effect::Timer {
                        ticket,
                        after_ms,
                        route,
                        session,
                    } => {
                        let due = tick_after(self.core.now.ms + after_ms);
                        let timer = self.core.timers.insert(Timer {
                            due,
                            ticket,
                            route,
                            session,
                        });
                        self.core.wheel.insert(due, timer as Entry | TIMER);
                    }
                }
            }
            for (ticket, response) in self.core.hub.take_answers() {
                let Some((key, generation)) = self.core.waiting.remove(&ticket) else {
                    continue;
                };
                let Some(connection) = self.connections.get_mut(key as usize) else {
                    continue;
                };
                if connection.generation == generation {
                    let fate = self.core.answer_late(connection, key, ticket, response);
                    self.settle(key, fate);
                }
            }
        }
    }
}

impl Core {
    /// Nothing waits for a session any more, and its handler has asked for that.
    fn tell_drained(&mut self, session: u32) {
        if let Some(route) = self.hub.route_of(session)
            && let Some(entry) = self.routes.get_mut(route as usize)
        {
            let mut cx = Context::new(&mut self.hub, route, Some(session));
            entry.handler.on_drained(&mut cx);
        }
    }
}
