//! Somebody who has done nothing: says a word every few milliseconds, and measures how long its echo takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dunlin::Message;
use dunlin::net::{Client, Received};

use crate::gauge::waited_ns;
use crate::support::PATIENCE;

/// From one answer to the next word.
const PAUSE: Duration = Duration::from_millis(4);

/// One round trip, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoundTrip {
    pub(crate) all: u64,
    /// Without the time that the server or the bystander wanted to run and had no core.
    pub(crate) net: u64,
}

/// The worst and the 99th percentile, in microseconds.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) count: usize,
    pub(crate) p99: u64,
    pub(crate) worst: u64,
    pub(crate) net_p99: u64,
    pub(crate) net_worst: u64,
}

impl Summary {
    fn of(trips: &[RoundTrip]) -> Self {
        let sorted = |pick: fn(&RoundTrip) -> u64| {
            let mut values: Vec<u64> = trips.iter().map(pick).collect();
            values.sort_unstable();
            let p99 = values.get(values.len() * 99 / 100).copied();
            (p99.unwrap_or(0), values.last().copied().unwrap_or(0))
        };
        let ((p99, worst), (net_p99, net_worst)) = (sorted(|t| t.all), sorted(|t| t.net));
        Self {
            count: trips.len(),
            p99,
            worst,
            net_p99,
            net_worst,
        }
    }
}

/// A thread of its own; it ends with the arena.
pub(crate) struct Bystander {
    trips: Arc<Mutex<Vec<RoundTrip>>>,
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Bystander {
    pub(crate) fn start(url: &str, server: u32) -> Self {
        let mut client = Client::connect(url, &[]).unwrap();
        client.set_timeout(Some(PATIENCE)).unwrap();
        let (trips, enough) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(AtomicBool::new(false)),
        );
        let shared = (trips.clone(), enough.clone());
        let thread = thread::spawn(move || {
            let (trips, enough) = shared;
            let server = format!("/proc/{server}/schedstat");
            let waited = || waited_ns("/proc/thread-self/schedstat") + waited_ns(&server);
            for n in 0_u64.. {
                if enough.load(Ordering::Relaxed) {
                    break;
                }
                let word = n.to_string();
                let before = waited();
                let start = Instant::now();
                client
                    .send(Message::Text(&word))
                    .map_err(|error| format!("the bystander cannot send: {error}"))?;
                match client.receive() {
                    Ok(Received::Text(text)) if text == word => {}
                    other => return Err(format!("the bystander said {word} and got {other:?}")),
                }
                let all = start.elapsed().as_micros() as u64;
                let net = all.saturating_sub((waited() - before) / 1000);
                trips.lock().unwrap().push(RoundTrip { all, net });
                thread::sleep(PAUSE);
            }
            Ok(())
        });
        Self {
            trips,
            enough,
            thread: Some(thread),
        }
    }

    /// What was measured since the last call.
    pub(crate) fn take(&self) -> Summary {
        Summary::of(&std::mem::take(&mut *self.trips.lock().unwrap()))
    }

    /// Round trips measured since the last [`take`](Self::take).
    pub(crate) fn count(&self) -> usize {
        self.trips.lock().unwrap().len()
    }

    /// Ends it; the error says what it was not given.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        self.enough.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(error)) => error,
            Some(Err(_)) => Err("the bystander panicked".to_owned()),
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
    }
}
