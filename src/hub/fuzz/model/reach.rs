//! Who is subscribed to what, and whom a publication reaches.

use std::collections::BTreeSet;

use super::super::super::session::Life;
use super::super::super::{PublishError, Published, SlowPolicy};
use super::super::PATTERNS;
use super::{Model, Session, encoded};

impl Model {
    /// Channels and users with a subscriber.
    pub(super) fn living(&self) -> BTreeSet<(bool, &str)> {
        let sessions = self.sessions.iter().flatten();
        sessions
            .flat_map(|session| {
                let channels = session.channels.iter().map(|name| (false, &**name));
                channels.chain(session.user().map(|name| (true, name)))
            })
            .collect()
    }

    /// Who has lost its last subscriber begins anew.
    pub(super) fn bury(&mut self) {
        let living: Vec<String> = self
            .living()
            .into_iter()
            .map(|(_, n)| n.to_owned())
            .collect();
        self.channels.retain(|name, _| living.contains(name));
    }

    pub(in super::super) fn subscribe(&mut self, index: u32, channel: &str) -> Option<bool> {
        let max = self.limits(index).subscriptions_max;
        let session = self.get(index).filter(|s| s.life != Life::Ended)?;
        if session.channels.iter().any(|name| name == channel) {
            return Some(false);
        }
        if session.channels.len() >= max {
            self.refuse("subscriptions_per_session");
            return None;
        }
        let living = self.living();
        if !living.contains(&(false, channel)) && living.len() >= self.limits.channels_max {
            self.refuse("channels_overall");
            return None;
        }
        self.get_mut(index)?.channels.push(channel.to_owned());
        self.channels.entry(channel.to_owned()).or_default();
        Some(true)
    }

    pub(in super::super) fn unsubscribe(&mut self, index: u32, channel: &str) -> bool {
        let Some(session) = self.get_mut(index) else {
            return false;
        };
        let before = session.channels.len();
        session.channels.retain(|name| name != channel);
        let left = session.channels.len() < before;
        self.bury();
        left
    }

    pub(in super::super) fn set_user(&mut self, index: u32, user: &str) -> bool {
        let Some(session) = self.get_mut(index).filter(|s| s.life != Life::Ended) else {
            return false;
        };
        session.user = None;
        let living = self.living();
        if !living.contains(&(true, user)) && living.len() >= self.limits.channels_max {
            self.refuse("channels_overall");
            return false;
        }
        if let Some(session) = self.get_mut(index) {
            session.user = Some(user.to_owned());
        }
        true
    }

    pub(super) fn has_room(&mut self, bytes: usize) -> bool {
        let fits = self.queued().1 + bytes <= self.limits.memory_budget_bytes;
        if !fits {
            self.refuse("memory_budget");
        }
        fits
    }

    pub(in super::super) fn publish(
        &mut self,
        names: &[&str],
        text: &str,
        number: u32,
        but: Option<u32>,
        ours: Result<Published, PublishError>,
    ) {
        if !self.has_room(text.len()) {
            let budget = PublishError::Budget(self.limits.memory_budget_bytes);
            assert_eq!(ours, Err(budget));
            return;
        }
        let ours = ours.expect("there is room");
        self.published += 1;
        let mut first = None;
        for name in names {
            if let Some(channel) = self.channels.get_mut(*name) {
                channel.offset += 1;
                first.get_or_insert((*name, channel.offset));
            }
        }
        // The epoch is drawn: the first answer of a life says it, and all others repeat it.
        if let Some((name, offset)) = first {
            assert_eq!(
                ours.position.offset, offset,
                "offsets count up in a channel's life"
            );
            let channel = self.channels.entry(name.to_owned()).or_default();
            assert_eq!(
                *channel.epoch.get_or_insert(ours.position.epoch),
                ours.position.epoch
            );
        } else {
            assert_eq!(ours.position.offset, 1, "nobody is in it");
        }
        let mut frame = self.frame(encoded(text));
        frame.messages = 1;
        let living = names
            .iter()
            .filter(|name| self.channels.contains_key(**name));
        let policies: Vec<Option<SlowPolicy>> = living
            .map(|name| self.policies.get(*name).copied())
            .collect();
        // The strictest; and one that reaches several is never outdated.
        let strictest = [
            Some(SlowPolicy::Close),
            None,
            Some(SlowPolicy::DropOldest),
            Some(SlowPolicy::Latest),
        ];
        frame.slow = strictest
            .into_iter()
            .find(|slow| policies.contains(slow))
            .flatten();
        frame.epoch = (policies.len() == 1).then_some(ours.position.epoch);
        // Who hears it by patterns alone gets it as it is: their route's, and outdated by nothing.
        let mut heard = self.frame(frame.bytes.clone());
        heard.messages = 1;
        let receivers: Vec<(u32, bool)> = (0..self.sessions.len() as u32)
            .filter(|index| Some(*index) != but)
            .filter_map(|index| {
                let session = self.get(index).filter(|s| s.life == Life::Open)?;
                let mut own = session.channels.iter();
                let is_member = own.any(|name| names.contains(&&**name));
                (is_member || hears(session, names)).then_some((index, is_member))
            })
            .collect();
        assert_eq!(ours.receivers, receivers.len());
        for (index, is_member) in receivers {
            let frame = if is_member { &frame } else { &heard };
            self.accept(index, number, Some(frame), false);
            self.queue(index, frame.clone());
        }
    }

    pub(in super::super) fn send_many(
        &mut self,
        to: &[u32],
        text: &str,
        number: u32,
    ) -> Option<usize> {
        if !self.has_room(text.len()) {
            return None;
        }
        let mut frame = self.frame(encoded(text));
        frame.messages = 1;
        let distinct: BTreeSet<u32> = to.iter().copied().collect();
        let open = |index: &u32| self.get(*index).is_some_and(|s| s.life == Life::Open);
        let receivers: Vec<u32> = distinct.into_iter().filter(open).collect();
        for index in &receivers {
            self.accept(*index, number, None, false);
            self.queue(*index, frame.clone());
        }
        Some(receivers.len())
    }
}

/// Whether a session listens by a pattern to one of these channels.
fn hears(session: &Session, names: &[&str]) -> bool {
    let mut patterns = PATTERNS.iter().filter(|(pattern, _)| {
        let mut own = session.channels.iter();
        own.any(|name| name == pattern)
    });
    patterns.any(|(_, channels)| names.iter().any(|name| channels.contains(name)))
}
