//! The way to the node: one link at a time, made when it is first needed and kept.
//!
//! ```text
//!             first call               opened
//!   Idle ───────────────▶ Dialling ─────────────▶ Open
//!    ▲                     │    ▲                  │ lost: what was asked fails, subscriptions are to be renewed
//!    │ nobody is there     │    │ back-off is over │
//!    └──────────── Away ◀──┴────┼──────────────────┘
//!                    └──────────┘   every endpoint was tried once
//! ```
//!
//! While a link is dialled for the first time calls wait for it; once it is known that nobody answers they are told
//! so. Endpoints are taken in their order, the next one whenever one fails. Those that speak HTTP alone are for plain
//! calls, when there is no link.

use std::rc::Rc;

use super::endpoint::JsonRpcEndpoint;
use super::pending::Pending;
use crate::hub::{Call, Context, Dial, LinkId, LinkTarget, Target, Ticket};
use crate::ws::Message;

/// The longest message that a node takes. A longer one would end the link, and everybody is on it; our ids may be longer
/// than those of a client, so its own limit does not say it.
pub(super) const NODE_BYTES_MAX: usize = 32 << 20;
/// Bytes of calls that wait for the first link; one alone may be larger, as on the link itself.
const BACKLOG_BYTES_MAX: usize = 4 << 20;
/// The back-off: half of it is certain, half is chance. It doubles up to the second.
const BACKOFF_MS: u64 = 250;
const BACKOFF_MS_MAX: u64 = 30_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Idle,
    /// So many endpoints have failed in this round; calls wait for it, or are refused.
    Dialling {
        link: LinkId,
        tried: usize,
        patient: bool,
    },
    Open(LinkId),
    Away {
        retry_ms: u64,
    },
}

/// What the end of a link means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// It was none of ours, or the next endpoint is dialled.
    None,
    /// There is no node; why the last one failed.
    Away,
}

#[derive(Debug)]
pub(super) struct Upstream {
    links: Vec<Rc<LinkTarget>>,
    http: Vec<Rc<Target>>,
    at: usize,
    http_at: usize,
    life: Life,
    /// Rounds in a row that found nobody.
    failures: u32,
    /// Since when there is no node, in milliseconds.
    away_since: Option<u64>,
    /// Calls that wait for the link, with the first of their ids.
    backlog: Vec<(u64, String)>,
    backlog_bytes: usize,
    /// HTTP requests under way, in the order of their tickets.
    requests: Vec<(Ticket, Vec<u64>)>,
    timeout_ms: u64,
}

impl Upstream {
    pub(super) fn new(endpoints: &[JsonRpcEndpoint], timeout_ms: u64) -> Self {
        let (mut links, mut http) = (Vec::new(), Vec::new());
        for endpoint in endpoints {
            match endpoint {
                JsonRpcEndpoint::Link(target) => links.push(target.clone()),
                JsonRpcEndpoint::Http(target) => http.push(target.clone()),
            }
        }
        Self {
            links,
            http,
            at: 0,
            http_at: 0,
            life: Life::Idle,
            failures: 0,
            away_since: None,
            backlog: Vec::new(),
            backlog_bytes: 0,
            requests: Vec::new(),
            timeout_ms,
        }
    }

    /// Whether a node can push.
    pub(super) fn has_links(&self) -> bool {
        !self.links.is_empty()
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.life, Life::Open(_))
    }

    /// Whether what happens on `link` is about the one we have.
    pub(super) fn is_current(&self, link: LinkId) -> bool {
        match self.life {
            Life::Open(own) | Life::Dialling { link: own, .. } => own == link,
            _ => false,
        }
    }

    /// Sends a call or several; `false`: there is no way.
    pub(super) fn send(
        &mut self,
        cx: &mut Context<'_>,
        pending: &mut Pending,
        ids: &[u64],
        text: &str,
    ) -> bool {
        if self.life == Life::Idle && self.has_links() {
            self.dial(cx, 0, true);
        }
        match self.life {
            Life::Open(link) => cx.link_send(link, Message::Text(text)),
            Life::Dialling { patient: true, .. } => {
                let all = self.backlog_bytes + text.len();
                let fits = all <= BACKLOG_BYTES_MAX || self.backlog.is_empty();
                if fits {
                    self.backlog_bytes += text.len();
                    let first = ids.first().copied().unwrap_or_default();
                    self.backlog.push((first, text.to_owned()));
                }
                fits
            }
            _ => self.request(cx, pending, ids, text),
        }
    }

    /// The same by HTTP.
    fn request(
        &mut self,
        cx: &mut Context<'_>,
        pending: &mut Pending,
        ids: &[u64],
        text: &str,
    ) -> bool {
        let Some(target) = self.http.get(self.http_at) else {
            return false;
        };
        let ticket = cx.call_apart(Call {
            target: target.clone(),
            method: "POST",
            headers: vec![("Content-Type".into(), "application/json".to_owned())],
            body: text.as_bytes().to_vec(),
            timeout_ms: self.timeout_ms,
        });
        for id in ids {
            pending.set_by_http(*id);
        }
        self.requests.push((ticket, ids.to_vec()));
        true
    }

    /// The ids of the calls in an HTTP request that has come to its end.
    pub(super) fn requested(&mut self, ticket: Ticket, failed: bool) -> Option<Vec<u64>> {
        let at = self
            .requests
            .binary_search_by_key(&ticket, |(t, _)| *t)
            .ok()?;
        if failed {
            self.http_at = (self.http_at + 1) % self.http.len().max(1);
        }
        Some(self.requests.remove(at).1)
    }

    fn dial(&mut self, cx: &mut Context<'_>, tried: usize, patient: bool) {
        let Some(target) = self.links.get(self.at) else {
            return;
        };
        let link = cx.dial(Dial::new(target.clone()));
        self.life = Life::Dialling {
            link,
            tried,
            patient,
        };
    }

    /// The link is there: what has waited for it goes out.
    pub(super) fn opened(&mut self, cx: &mut Context<'_>, pending: &Pending, link: LinkId) {
        self.life = Life::Open(link);
        self.failures = 0;
        self.away_since = None;
        self.backlog_bytes = 0;
        for (id, text) in std::mem::take(&mut self.backlog) {
            // Nobody waits for what has timed out meanwhile: it must not be carried out any more.
            if id == 0 || pending.has(id) {
                cx.link_send(link, Message::Text(&text));
            }
        }
    }

    /// The link has come to an end, or could not be made.
    pub(super) fn closed(&mut self, cx: &mut Context<'_>, link: LinkId) -> Loss {
        if !self.is_current(link) {
            return Loss::None;
        }
        self.at = (self.at + 1) % self.links.len().max(1);
        if let Life::Dialling { tried, patient, .. } = self.life {
            if tried + 1 < self.links.len() {
                self.dial(cx, tried + 1, patient);
                return Loss::None;
            }
            self.failures = self.failures.saturating_add(1);
        }
        let most = (BACKOFF_MS << self.failures.min(10)).min(BACKOFF_MS_MAX);
        let [low, ..] = cx.random16();
        let wait = most / 2 + most / 2 * u64::from(low) / 255;
        let now = cx.now().ms;
        self.life = Life::Away {
            retry_ms: now + wait,
        };
        self.away_since.get_or_insert(now);
        self.backlog.clear();
        self.backlog_bytes = 0;
        Loss::Away
    }

    /// Dials again when it is time, if anybody is there.
    pub(super) fn tick(&mut self, cx: &mut Context<'_>, is_wanted: bool) {
        if let Life::Away { retry_ms } = self.life
            && retry_ms <= cx.now().ms
        {
            if is_wanted {
                self.dial(cx, 0, false);
            } else {
                self.life = Life::Idle;
                self.away_since = None;
            }
        }
    }

    /// Whether there has been no node for so long; then the time begins anew.
    pub(super) fn is_away_for(&mut self, now_ms: u64, ms: u64) -> bool {
        let is_long = self.away_since.is_some_and(|since| since + ms <= now_ms);
        if is_long {
            self.away_since = Some(now_ms);
        }
        is_long
    }

    /// When there is something to do here.
    pub(super) fn wake_at(&self, away_ms_max: u64) -> Option<u64> {
        let retry = match self.life {
            Life::Away { retry_ms } => Some(retry_ms),
            _ => None,
        };
        let since = self.away_since.filter(|_| away_ms_max > 0);
        let away = since.map(|since| since + away_ms_max);
        retry.into_iter().chain(away).min()
    }
}
