//! One process per client.
//!
//! ```text
//!   on_upgrade: environment, 429 ──▶ on_open: started ──▶ lines to the client, messages to the process
//!                                                           │ process ends      │ client goes, or quits
//!                                                           ▼                   ▼
//!                                                         1000           end of input, signals ──▶ (forgotten)
//! ```
//!
//! A process counts until it is gone: clients that come and go quickly do not leave more of them behind than may run.

use std::collections::HashMap;

use super::{NOT_READ, ProcessOptions, close_after, environment};
use crate::http::Response;
use crate::hub::{
    CloseInfo, ConnId, Context, Handler, LinkEvent, LinkId, Locals, Request, Upgrade,
};
use crate::ws::{CloseCode, Message};

/// While more waits for a client, its process is not read from. What it writes then fills the buffer between us and it,
/// and it waits.
const PAUSE_BYTES: usize = 64 << 10;

/// A process for each client.
#[derive(Debug)]
pub struct ProcessPerClient {
    options: ProcessOptions,
    clients: Locals<Client>,
    /// Every process that is not gone, and whose it is.
    processes: HashMap<LinkId, ConnId>,
    /// Processes ever started: a part of their ids.
    started: u64,
}

#[derive(Debug)]
enum Client {
    /// It has been let in, and its process will have this environment.
    Expected(Vec<(String, String)>),
    Served(LinkId),
}

impl ProcessPerClient {
    /// A handler that starts a process for each client.
    pub fn new(options: ProcessOptions) -> Self {
        Self {
            options,
            clients: Locals::default(),
            processes: HashMap::new(),
            started: 0,
        }
    }

    fn link(&self, cx: &Context<'_>) -> Option<LinkId> {
        match self.clients.get(cx)? {
            Client::Expected(_) => None,
            Client::Served(link) => Some(*link),
        }
    }
}

impl Handler for ProcessPerClient {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        if self.processes.len() >= self.options.forks_max {
            cx.count_refusal("forks_max");
            let max = self.options.forks_max;
            let detail = format!("{max} processes run here, and no more may (setting forks_max)");
            return Upgrade::Refuse(Response::problem(429, &detail).header("Retry-After", "1"));
        }
        self.started += 1;
        let inherited = &self.options.inherited;
        let variables = environment::of(request, cx.now(), self.started, inherited);
        self.clients.insert(cx, Client::Expected(variables));
        Upgrade::accept()
    }

    fn on_open(&mut self, cx: &mut Context<'_>) {
        let expected = self.clients.remove(cx);
        if let (Some(Client::Expected(variables)), Some(id)) = (expected, cx.id()) {
            let link = cx.dial(self.options.dial(variables, true));
            self.processes.insert(link, id);
            self.clients.insert(cx, Client::Served(link));
        }
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        if self.options.quits(cx, message) || !self.options.hears(message) {
            return;
        }
        if let Some(link) = self.link(cx)
            && !cx.link_send(link, message)
        {
            cx.count_refusal("process_input");
            cx.close(CloseCode::TRY_LATER, NOT_READ);
        }
    }

    fn on_drained(&mut self, cx: &mut Context<'_>) {
        if let Some(link) = self.link(cx) {
            cx.link_pause(link, false);
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
        if let Some(Client::Served(link)) = self.clients.remove(cx) {
            cx.link_close(link);
        }
    }

    fn on_link(&mut self, cx: &mut Context<'_>, link: LinkId, event: LinkEvent<'_>) {
        let Some(client) = self.processes.get(&link).copied() else {
            return;
        };
        match event {
            LinkEvent::Open => {}
            LinkEvent::Message(said) => {
                self.options.outgoing(said, |message| {
                    cx.send_to(client, message);
                });
                if cx.buffered_of(client) > PAUSE_BYTES && cx.tell_when_drained(client) {
                    cx.link_pause(link, true);
                }
            }
            LinkEvent::Closed(end) => {
                self.processes.remove(&link);
                close_after(cx, client, end);
            }
        }
    }
}
