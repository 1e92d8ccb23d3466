//! What every subscriber must receive: computed from the diary, compared message by message.
//!
//! A session gets what was queued for it, in that order, once and without a gap. Beyond that:
//!
//! * one that is closed gets a prefix of it;
//! * one whose route drops the oldest gets it with holes, and in each hole a marker with the number of
//!   messages that are missing *there*;
//! * one whose route keeps the latest may miss a publication to one channel if a later one to the same channel alone is
//!   still to come. So the last one of each channel arrives, and all that went to several.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::app::Entry;
use super::peer::Received;
use crate::hub::SlowPolicy;

/// The model of one world.
#[derive(Debug, Default)]
pub(crate) struct Model {
    sessions: BTreeMap<u32, Session>,
    channels: BTreeMap<String, Channel>,
    /// Lives that channels have had.
    lives: u32,
    /// Messages that did not arrive because later ones did.
    outdated: u64,
}

/// A message that is to arrive.
#[derive(Debug)]
struct Due {
    message: Received,
    /// The life of the one channel that it went to; `None`: to several, or it was said to this session alone.
    channel: Option<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Session {
    slow: SlowPolicy,
    /// Queued and not received yet.
    expected: VecDeque<Due>,
    /// The application, or a limit, has asked for its end.
    leaving: bool,
    /// The code that `on_close` was told, and whether the peer began.
    pub(crate) closed: Option<(u16, bool)>,
    /// What the application heard from it, until the run compares it.
    pub(crate) heard: VecDeque<Received>,
}

#[derive(Debug, Default)]
struct Channel {
    subscribers: BTreeSet<u32>,
    life: u32,
    epoch: Option<u32>,
    offset: u64,
}

impl Session {
    /// Whether a later publication of the same channel is still to come.
    fn outdates(&self, due: &Due) -> bool {
        let same = |later: &Due| later.channel == due.channel;
        due.channel.is_some() && self.expected.iter().any(same)
    }
}

impl Model {
    pub(crate) fn session(&mut self, id: u32) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// Sessions whose `on_close` has not been called.
    pub(crate) fn open(&self) -> usize {
        self.sessions
            .values()
            .filter(|s| s.closed.is_none())
            .count()
    }

    /// Sessions that the application has opened so far.
    pub(crate) fn opened(&self) -> usize {
        self.sessions.len()
    }

    /// Messages that did not arrive because later ones did.
    pub(crate) fn outdated(&self) -> u64 {
        self.outdated
    }

    /// Channels with a subscriber.
    pub(crate) fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Messages that a session has still to receive.
    pub(crate) fn missing(&self, id: u32) -> usize {
        self.sessions.get(&id).map_or(0, |s| s.expected.len())
    }

    /// Takes one line of the diary.
    pub(crate) fn apply(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Wrong(what) => return Err(what),
            // See `callbacks.rs`.
            Entry::Called { .. } | Entry::Returned { .. } => {}
            Entry::Opened { id, slow, .. } => {
                let session = Session {
                    slow,
                    ..Session::default()
                };
                if self.sessions.insert(id, session).is_some() {
                    return Err(format!("session {id} was opened twice"));
                }
            }
            Entry::Heard { id, message } => {
                let session = self.known(id)?;
                if session.leaving {
                    return Err(format!("{id} was heard after it was told to go"));
                }
                session.heard.push_back(message);
            }
            Entry::Joined { id, channel } => {
                self.known(id)?;
                let lives = &mut self.lives;
                let born = || {
                    *lives += 1;
                    Channel {
                        life: *lives,
                        ..Channel::default()
                    }
                };
                let channel = self.channels.entry(channel).or_insert_with(born);
                channel.subscribers.insert(id);
            }
            Entry::Left { id, channel } => self.leave(id, &channel),
            Entry::Said { id, message } => self.known(id)?.expected.push_back(Due {
                message,
                channel: None,
            }),
            Entry::Closing { id } => self.known(id)?.leaving = true,
            Entry::Closed { id, code, by_peer } => {
                let session = self.known(id)?;
                session.closed = Some((code, by_peer));
                session.leaving = true;
                let names: Vec<String> = self.channels.keys().cloned().collect();
                for name in names {
                    self.leave(id, &name);
                }
            }
            Entry::Published {
                channels,
                but,
                text,
                offset,
                epoch,
                receivers,
            } => self.publish(&channels, but, &text, (offset, epoch), receivers)?,
        }
        Ok(())
    }

    fn known(&mut self, id: u32) -> Result<&mut Session, String> {
        match self.sessions.get_mut(&id) {
            Some(session) if session.closed.is_none() => Ok(session),
            Some(_) => Err(format!("{id} did something after its on_close")),
            None => Err(format!("{id} was never opened")),
        }
    }

    fn leave(&mut self, id: u32, channel: &str) {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.subscribers.remove(&id);
            if entry.subscribers.is_empty() {
                self.channels.remove(channel);
            }
        }
    }

    fn publish(
        &mut self,
        channels: &[String],
        but: Option<u32>,
        text: &str,
        (offset, epoch): (u64, u32),
        receivers: usize,
    ) -> Result<(), String> {
        let mut union = BTreeSet::new();
        let mut lives = Vec::new();
        let mut first = true;
        for name in channels {
            if let Some(channel) = self.channels.get_mut(name) {
                channel.offset += 1;
                // Offset and epoch are told for the first channel only.
                if std::mem::take(&mut first) {
                    let (wanted, known) = (channel.offset, *channel.epoch.get_or_insert(epoch));
                    if (offset, epoch) != (wanted, known) {
                        return Err(format!(
                            "{name}: offset {offset} of epoch {epoch}, not {wanted} of {known}"
                        ));
                    }
                }
                lives.push(channel.life);
                union.extend(channel.subscribers.iter().copied());
            }
        }
        let mut eligible = 0;
        let channel = match &*lives {
            [life] => Some(*life),
            _ => None,
        };
        for id in union {
            if Some(id) == but {
                continue;
            }
            if let Some(session) = self.sessions.get_mut(&id).filter(|s| !s.leaving) {
                session.expected.push_back(Due {
                    message: Received::Text(text.to_owned()),
                    channel,
                });
                eligible += 1;
            }
        }
        if receivers == eligible {
            Ok(())
        } else {
            Err(format!(
                "{text:?} was taken by {receivers} sessions of {eligible}"
            ))
        }
    }

    /// A session has received a message: is it the one that was due?
    pub(crate) fn receive(&mut self, id: u32, got: &Received) -> Result<(), String> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Err(format!("{id} received {got:?} before it was opened"));
        };
        if session.slow == SlowPolicy::DropOldest
            && let Received::Text(text) = got
            && let Some(missed) = text.strip_prefix("gap ")
        {
            let missed: usize = missed
                .parse()
                .map_err(|_| format!("a bad marker {text:?}"))?;
            if missed == 0 || missed > session.expected.len() {
                return Err(format!(
                    "{id}: a gap of {missed}, but {} were due",
                    session.expected.len()
                ));
            }
            session.expected.drain(..missed);
            return Ok(());
        }
        loop {
            match session.expected.pop_front() {
                Some(due) if due.message == *got => return Ok(()),
                Some(due) if session.slow == SlowPolicy::Latest && session.outdates(&due) => {
                    self.outdated += 1;
                }
                due => return Err(format!("{id} received {got:?} where {due:?} was due")),
            }
        }
    }
}
