//! Patterns: subscriptions to every channel whose name is like them (feature `wildcards`).
//!
//! Names are cut at their dots into segments. In a pattern a segment may be `*`, any one segment, and the last may be
//! `>`, one or more of any kind:
//!
//! | pattern | has | and not |
//! | --- | --- | --- |
//! | `a.*` | `a.b`, `a.` | `a`, `a.b.c` |
//! | `a.>` | `a.b`, `a.b.c` | `a` |
//! | `*.b` | `a.b` | `b` |
//! | `>` | every channel | |
//!
//! **A pattern is a channel of a space beside that of the channels it has**: limits, listings and fan-out hold for it as
//! they are, and it ends with its last subscriber. It has no options and keeps nothing; nobody who listens by it counts as
//! a subscriber of a channel.
//!
//! Those that have a name are found in a trie over segments. At each node there are two ways on, the literal segment and
//! `*`, so a publication looks at 2ⁿ⁺¹ − 1 nodes at most, n being the segments that a pattern may have
//! ([`PATTERN_SEGMENTS_MAX`]), however many patterns there are that do not have it; and at none while there is no pattern.
//!
//! ```text
//!   a.*  a.>  a.b.c  *.b        (root) ──a──▶ ( ) ──b──▶ ( ) ──c──▶ (a.b.c)
//!                                  │           ├──*──▶ (a.*)
//!                                  *           └──>──▶ a.>
//!                                  └─────▶ ( ) ──b──▶ (*.b)
//! ```
//!
//! A publication goes to the subscribers of its channel first, and then, as a frame of its own, to the patterns: what waits
//! for their subscribers has the policy of their route, is never outdated (it may be the newest of its channel), and is not
//! given again from a ring. Who is subscribed to both gets it once, as a subscriber of the channel.

mod grammar;
mod trie;

pub use grammar::{PATTERN_SEGMENTS_MAX, check_pattern};
pub(super) use grammar::{beginning_of, has, has_some};

use trie::Tree;

use super::channel::{Channels, Space, SubscribeError};
use super::encoding::Encoder;
use super::publish::{Label, Reach};
use super::{Context, Hub, Position};
use crate::token::Action;
use crate::ws::{self, Message};

/// All patterns, by the spaces of the channels that they have.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    /// As many as there are handlers that have had some.
    trees: Vec<Tree>,
    count: usize,
    /// Lent to the publication that is under way.
    spare: Heard,
}

impl Patterns {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Some session is told which channels publications are of, or may be.
    pub(super) fn are_known(&self) -> bool {
        !self.trees.is_empty()
    }

    /// The space of the patterns of a space.
    pub(super) fn space_of(&self, space: Space) -> Option<Space> {
        self.trees.iter().find(|t| t.of == space).map(|t| t.own)
    }

    /// Whether it is a space of patterns.
    pub(super) fn is_own(&self, space: Space) -> bool {
        self.trees.iter().any(|tree| tree.own == space)
    }

    /// A channel has come into being. It is a pattern if it is in such a space.
    pub(super) fn note_created(&mut self, space: Space, name: &str, channel: u32) {
        if let Some(tree) = self.tree_for(space, name) {
            tree.insert(name, channel);
            self.count += 1;
        }
    }

    /// It has ended.
    pub(super) fn note_removed(&mut self, space: Space, name: &str) {
        if let Some(tree) = self.tree_for(space, name) {
            tree.remove(name);
            self.count -= 1;
        }
    }

    /// Where a channel of a space belongs, if it is a pattern.
    fn tree_for(&mut self, space: Space, name: &str) -> Option<&mut Tree> {
        let mut trees = self.trees.iter_mut();
        trees.find(|tree| tree.own == space && check_pattern(name).is_ok())
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(
            self.count,
            self.trees.iter().map(Tree::check).sum::<usize>()
        );
    }
}

impl Channels {
    /// The space of the patterns of a space, which comes into being when first asked for.
    fn pattern_space(&mut self, space: Space) -> Space {
        if let Some(own) = self.patterns.space_of(space) {
            return own;
        }
        let name = format!("{}/patterns", self.space_name(space));
        let own = self.space(&name);
        self.patterns.trees.push(Tree::new(space, own));
        own
    }
}

/// The patterns that have the channels of a publication.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Which of the names, and the pattern, in the order of the names.
    by: Vec<(usize, u32)>,
    /// Where the publication stands in each channel that is there, and what it follows.
    stands: Vec<Option<(Position, Position)>>,
    /// Somebody may want to know the names.
    names: bool,
}

impl Heard {
    /// By none of them.
    pub(super) fn is_nothing(&self) -> bool {
        self.by.is_empty()
    }

    /// What is queued next is of that channel.
    #[inline]
    pub(super) fn name(&self, encoder: &mut Encoder, channel: &str) {
        if self.names {
            encoder.name_channel(channel);
        }
    }

    /// In its channel number `at` it stands there.
    pub(super) fn note(&mut self, at: usize, position: Position, previous: Position) {
        if let Some(stands) = self.stands.get_mut(at) {
            *stands = Some((position, previous));
        }
    }
}

impl Hub {
    /// Subscribes a session to a pattern; `Ok(false)` if it already was. From now on its envelopes and events say which
    /// channels they are of.
    pub(crate) fn subscribe_pattern(
        &mut self,
        index: u32,
        space: Space,
        pattern: &str,
    ) -> Result<bool, SubscribeError> {
        check_pattern(pattern).map_err(SubscribeError::Name)?;
        let own = self.channels.pattern_space(space);
        let is_new = self.subscribe(index, own, pattern)?;
        self.name_channels_if_several(index);
        Ok(is_new)
    }

    /// Whoever listens by a pattern is told which channel each publication is of.
    pub(super) fn name_channels_if_several(&mut self, index: u32) {
        let has_patterns = self.has_patterns(index);
        if let Some(session) = self
            .sessions
            .get_mut(index as usize)
            .filter(|_| has_patterns)
        {
            session.encoding = session.encoding.naming_channels();
        }
    }

    /// Whether a session listens by a pattern.
    pub(super) fn has_patterns(&self, index: u32) -> bool {
        let session = self.sessions.get(index as usize);
        let mut made = session.into_iter().flat_map(|s| s.subscriptions.as_slice());
        made.any(|s| {
            let channel = self.channels.get(s.channel);
            channel.is_some_and(|channel| self.channels.patterns.is_own(channel.space))
        })
    }

    /// Whether a session may subscribe to all that the patterns have by which it listens.
    pub(super) fn may_keep_its_patterns(&self, session: u32, space: Space) -> bool {
        let Some(own) = self.channels.patterns.space_of(space) else {
            return true;
        };
        let may = self.may(session);
        let session = self.sessions.get(session as usize);
        let made = session.into_iter().flat_map(|s| s.subscriptions.as_slice());
        let mut channels = made.filter_map(|s| self.channels.get(s.channel));
        channels.all(|channel| {
            channel.space != own || may.may_all(Action::Subscribe, beginning_of(&channel.name))
        })
    }

    /// Which patterns have these channels.
    #[inline]
    pub(super) fn heard_by_patterns(&mut self, space: Space, names: &[&str]) -> Heard {
        match self.channels.patterns.are_known() {
            false => Heard::default(),
            true => self.find_patterns(space, names),
        }
    }

    fn find_patterns(&mut self, space: Space, names: &[&str]) -> Heard {
        let patterns = &mut self.channels.patterns;
        let mut heard = std::mem::take(&mut patterns.spare);
        heard.by.clear();
        heard.stands.clear();
        heard.names = true;
        let tree = patterns.trees.iter().find(|tree| tree.of == space);
        if let Some(tree) = tree.filter(|_| patterns.count > 0) {
            for (at, name) in names.iter().enumerate() {
                tree.find(name, &mut |pattern| heard.by.push((at, pattern)));
            }
        }
        if !heard.is_nothing() {
            heard.stands.resize(names.len(), None);
        }
        heard
    }

    /// A publication goes to those who listen by patterns; answers how many get it. `first` is where it stands, if it does
    /// in some channel that is there.
    pub(super) fn publish_to_patterns(
        &mut self,
        heard: Heard,
        label: Label<'_>,
        message: Message<'_>,
        to: &Reach<'_>,
        first: &mut Option<Position>,
    ) -> usize {
        if heard.is_nothing() {
            self.channels.patterns.spare = heard;
            return 0;
        }
        self.turn_frames += 1;
        self.turn_bytes += message.len();
        // Of several channels: what it outdates, and in which of them it is kept, is nobody's to say.
        let encode = |out: &mut Vec<u8>| ws::encode_message(out, message, None);
        let frame = self.frames.insert_publication(0, None, encode);
        self.frames.label(frame, label);
        let mut receivers = 0;
        let mut told = None;
        for (at, pattern) in &heard.by {
            if told != Some(*at) {
                told = Some(*at);
                self.encoder
                    .end_copies_of_positions(&mut self.frames, frame);
                let stands = heard.stands.get(*at).copied().flatten();
                let (position, previous) = stands.unwrap_or_else(|| self.stand_alone());
                first.get_or_insert(position);
                self.encoder.about(position, previous);
                let name = to.names.get(*at).copied().unwrap_or_default();
                self.encoder.name_channel(name);
            }
            receivers += self.fan_out(*pattern, frame, to);
        }
        self.encoder.end_copies(&mut self.frames, frame);
        self.frames.discard(frame);
        self.channels.patterns.spare = heard;
        receivers
    }
}

impl Context<'_> {
    /// Subscribes this session to every channel of this space whose name is like a pattern (feature `wildcards`): `*` is
    /// any one of the segments between the dots of a name, a `>` at the end is one or more; `Ok(false)` if it already was.
    /// From now on its envelopes and events say which channels they are of.
    ///
    /// It gets what is published from now on, once, however many of its patterns have the channel and if it is subscribed
    /// to it itself; if it follows the channel, in its turn. What waits for it has its route's policy. Other methods take names
    /// as they are: to them a `*` is nothing special.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe), and where [`check_pattern`] has something to say.
    pub fn subscribe_pattern(&mut self, pattern: &str) -> Result<bool, SubscribeError> {
        let session = self.session.ok_or(SubscribeError::Closed)?;
        let space = self.space();
        self.hub.subscribe_pattern(session, space, pattern)
    }

    /// Unsubscribes this session from a pattern; `false` if it was not subscribed to it.
    pub fn unsubscribe_pattern(&mut self, pattern: &str) -> bool {
        let own = self.hub.channels.patterns.space_of(self.space());
        own.is_some_and(|own| self.unsubscribe_in(own, pattern))
    }

    /// Sessions subscribed to a pattern of this space.
    pub fn pattern_subscribers(&self, pattern: &str) -> usize {
        let own = self.hub.channels.patterns.space_of(self.space());
        own.map_or(0, |own| self.hub.subscribers(own, pattern))
    }

    /// As [`may`](Self::may), with every channel that a pattern has.
    pub fn may_pattern(&self, action: Action, pattern: &str) -> bool {
        self.may_all(action, beginning_of(pattern))
    }

    /// Whether this session listens by a pattern.
    pub(crate) fn has_patterns(&self) -> bool {
        self.session.is_some_and(|s| self.hub.has_patterns(s))
    }

    /// Whether somebody hears what is published to a channel.
    pub(crate) fn is_heard(&self, channel: &str) -> bool {
        let patterns = &self.hub.channels.patterns;
        let mut is_heard = self.subscribers(channel) > 0;
        if let Some(tree) = patterns.trees.iter().find(|tree| tree.of == self.space()) {
            tree.find(channel, &mut |_| is_heard = true);
        }
        is_heard
    }
}

#[cfg(test)]
mod tests;
