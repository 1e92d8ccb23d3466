//! What a script does with the application behind a world.

use std::cell::RefCell;
use std::rc::Rc;

use super::deed::Deed;
use super::gateway::Asked;
use super::world::Inner;

/// The application that calls of a [`World`](super::World) go to, whatever their host and port.
#[derive(Debug, Clone)]
pub struct AppHandle {
    inner: Rc<RefCell<Inner>>,
}

impl AppHandle {
    pub(crate) fn new(inner: Rc<RefCell<Inner>>) -> Self {
        Self { inner }
    }

    /// From now on this decides what becomes of each request. Before: 200 at once, with nothing in it.
    pub fn behave(&self, behave: impl FnMut(&Asked) -> Deed + 'static) {
        self.inner.borrow_mut().app.behave(Box::new(behave));
    }

    /// The requests it has read, in order of arrival.
    pub fn asked(&self) -> Vec<Asked> {
        self.inner.borrow().app.log.clone()
    }

    /// Their bodies.
    pub fn calls(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.body).collect()
    }

    /// Resets every connection and refuses new ones.
    pub fn down(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.app.down();
        inner.run();
    }

    /// Listens again.
    pub fn up(&self) {
        self.inner.borrow_mut().app.is_down = false;
    }

    /// How long connecting takes from now on, and being refused.
    pub fn connect_ms(&self, ms: u64) {
        self.inner.borrow_mut().app.connect_ms = ms;
    }

    /// Ends every connection in order, whatever is on it.
    pub fn hang_up(&self) {
        let mut inner = self.inner.borrow_mut();
        for at in 0..inner.app.connections() {
            inner.app.break_off(at, false);
        }
        inner.run();
    }

    /// Says something on every connection that nobody has asked for. The server finds it when the world runs again.
    pub fn say_unasked(&self, bytes: &[u8]) {
        self.inner.borrow_mut().app.say(bytes);
    }

    /// What it says on each new connection before it is asked anything.
    pub fn greet(&self, bytes: &[u8]) {
        self.inner.borrow_mut().app.greeting = bytes.to_vec();
    }

    /// Connections to it at the moment.
    pub fn connections(&self) -> usize {
        self.inner.borrow().app.connections()
    }

    /// Attempts to connect, ever.
    pub fn attempts(&self) -> usize {
        self.inner.borrow().app.made()
    }

    /// Calls that wait or are under way, as the hub counts them.
    pub fn waiting(&self) -> usize {
        self.inner.borrow().worker.call_load().0
    }
}
