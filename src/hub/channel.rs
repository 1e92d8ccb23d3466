//! Names → channels, and who is subscribed to what.
//!
//! **Both sides know the other's position.** A channel holds `(session, where in the session's list)`, a
//! session holds `(channel, where in the channel's list)`. Removing one is a swap-remove on both sides and
//! one number corrected for each entry that moved; nothing is ever scanned.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use slab::Slab;

use super::history::Ring;
use super::listing::USER_SPACE;
use super::options::{ChannelOptions, ChannelRules, Contradiction};
#[cfg(feature = "wildcards")]
use super::patterns::Patterns;
use super::presence::Presences;
use super::session::{Session, Subscriptions};
use super::{ConnId, Position, SlowPolicy};

/// A name space: equal names in two spaces are two channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space(pub(crate) u16);

/// One end of a subscription, as the session keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    pub(crate) channel: u32,
    pub(crate) position: u32,
}

/// The other end, as the channel keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriber {
    pub(crate) session: u32,
    pub(crate) position: u32,
}

/// Somewhere publications go and subscribers listen.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) space: Space,
    pub(crate) name: Rc<str>,
    /// What becomes of sessions for which its publications pile up; `None`: what their routes say.
    pub(crate) slow: Option<SlowPolicy>,
    /// Who is in is kept.
    pub(crate) keeps_presence: bool,
    /// Its handler is told of its first and its last subscriber.
    pub(crate) tells_occupancy: bool,
    /// Where its newest publication stands; at first, where the first one will follow.
    pub(crate) head: Position,
    pub(crate) subscribers: Vec<Subscriber>,
    /// What it keeps, if it keeps anything.
    pub(crate) ring: Option<Box<Ring>>,
}

impl Channel {
    /// It outlives its subscribers, for what it keeps.
    pub(crate) fn is_kept(&self) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.is_listed())
    }

    /// Its publications are given again to those who read slowly: they are kept, and nobody has said what else is to
    /// become of such readers.
    pub(crate) fn catches_up(&self) -> bool {
        self.ring.is_some() && self.slow.is_none()
    }
}

/// All channels that have a subscriber, or keep something. The last subscriber to leave takes a channel along that does
/// not.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    /// std's keyed hasher: clients choose these names. Never iterated where order could show.
    by_name: Vec<HashMap<Rc<str>, u32>>,
    spaces: Vec<Box<str>>,
    /// Of each space, what holds for some of its channels.
    rules: Vec<ChannelRules>,
    slab: Slab<Channel>,
    /// How many went since room was given back.
    gone: usize,
    pub(super) presences: Presences,
    #[cfg(feature = "wildcards")]
    pub(super) patterns: Patterns,
}

/// Fewer names than this that have gone are no reason to give their room back.
const NAMES_GONE_MIN: usize = 64;

impl Channels {
    /// None. `leaving_max`: see [`HubLimits`](super::HubLimits).
    pub(super) fn new(leaving_max: usize) -> Self {
        Self {
            presences: Presences::new(leaving_max),
            ..Self::default()
        }
    }

    /// The number of the name space `name`, which comes into being when first named.
    pub(crate) fn space(&mut self, name: &str) -> Space {
        let at = self
            .spaces
            .iter()
            .position(|s| **s == *name)
            .unwrap_or_else(|| {
                self.spaces.push(name.into());
                self.by_name.push(HashMap::new());
                self.rules.push(ChannelRules::default());
                self.spaces.len() - 1
            });
        Space(at as u16)
    }

    /// Says what holds for some channels of a space, those that are already there excepted.
    pub(super) fn add_rule(
        &mut self,
        space: Space,
        rule: &ChannelOptions,
        route: u16,
    ) -> Result<(), Contradiction> {
        match self.rules.get_mut(space.0 as usize) {
            Some(rules) => rules.add(rule, route),
            None => Ok(()),
        }
    }

    #[cfg(feature = "wildcards")]
    pub(super) fn rules_of(&self, space: Space) -> Option<&ChannelRules> {
        self.rules.get(space.0 as usize)
    }

    /// What the rules say of a channel.
    pub(super) fn options(&self, space: Space, name: &str) -> ChannelOptions {
        let rules = self.rules.get(space.0 as usize);
        rules.map_or_else(|| ChannelOptions::of(""), |rules| rules.of(name))
    }

    #[cfg(feature = "presence")]
    /// The route whose handler is told what becomes of the channels of a space.
    pub(super) fn teller(&self, space: Space) -> Option<u16> {
        self.rules.get(space.0 as usize)?.route
    }

    /// The user whose personal channel is among these.
    pub(super) fn user_of(&self, subscriptions: &[Subscription]) -> Option<Rc<str>> {
        let space = self.find_space(USER_SPACE)?;
        let mut channels = subscriptions.iter().filter_map(|s| self.get(s.channel));
        channels.find(|c| c.space == space).map(|c| c.name.clone())
    }

    /// The same for one that was named before.
    pub(crate) fn find_space(&self, name: &str) -> Option<Space> {
        self.spaces().find(|(_, s)| *s == name).map(|(s, _)| s)
    }

    /// All name spaces, in the order in which they were first named.
    pub(crate) fn spaces(&self) -> impl Iterator<Item = (Space, &str)> {
        let numbers = (0..).map(Space);
        numbers.zip(self.spaces.iter().map(|name| &**name))
    }

    pub(crate) fn space_name(&self, space: Space) -> &str {
        self.spaces.get(space.0 as usize).map_or("", |name| name)
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Numbers of channels are below this.
    pub(crate) fn slots(&self) -> u32 {
        self.slab.capacity() as u32
    }

    #[cfg(feature = "sim")]
    pub(crate) fn count_in(&self, space: &str) -> usize {
        let mut spaces = self.spaces.iter().zip(&self.by_name);
        spaces
            .find(|(name, _)| ***name == *space)
            .map_or(0, |(_, names)| names.len())
    }

    /// How many of these are subscriptions to a user's personal channel.
    pub(crate) fn count_users(&self, subscriptions: &[Subscription]) -> usize {
        let Some(space) = self.find_space(USER_SPACE) else {
            return 0;
        };
        let of_user = |s: &&Subscription| self.get(s.channel).is_some_and(|c| c.space == space);
        subscriptions.iter().filter(of_user).count()
    }

    pub(crate) fn find(&self, space: Space, name: &str) -> Option<u32> {
        self.by_name.get(space.0 as usize)?.get(name).copied()
    }

    pub(crate) fn get(&self, channel: u32) -> Option<&Channel> {
        self.slab.get(channel as usize)
    }

    pub(crate) fn get_mut(&mut self, channel: u32) -> Option<&mut Channel> {
        self.slab.get_mut(channel as usize)
    }

    /// Channels of a space with their subscriber counts, in no order that means anything.
    pub(crate) fn in_space(&self, space: Space) -> impl Iterator<Item = (&str, usize)> {
        let names = self.by_name.get(space.0 as usize);
        names.into_iter().flatten().filter_map(|(name, id)| {
            Some((&**name, self.slab.get(*id as usize)?.subscribers.len()))
        })
    }

    pub(crate) fn create(&mut self, space: Space, name: &str, head: Position) -> u32 {
        let options = self.options(space, name);
        let ring = options
            .history()
            .map(|options| Box::new(Ring::new(options, head, name.len())));
        let name: Rc<str> = name.into();
        let channel = Channel {
            space,
            slow: options.slow,
            keeps_presence: options.presence == Some(true),
            tells_occupancy: options.callback == Some(true),
            name: name.clone(),
            head,
            subscribers: Vec::new(),
            ring,
        };
        let id = self.slab.insert(channel) as u32;
        #[cfg(feature = "wildcards")]
        self.patterns.note_created(space, &name, id);
        if let Some(names) = self.by_name.get_mut(space.0 as usize) {
            names.insert(name, id);
        }
        id
    }

    /// Links session and channel. The caller has checked that they are not linked yet.
    pub(crate) fn join(&mut self, channel: u32, id: ConnId, session: &mut Session) {
        let Some(entry) = self.slab.get(channel as usize) else {
            return;
        };
        if entry.keeps_presence {
            let user = self.user_of(session.subscriptions.as_slice());
            // A poll without a user comes and goes all the time, and nobody can tell that it is the same.
            if user.is_some() || !session.encoding.is_poll() {
                self.presences.join(entry.space, &entry.name, id, user);
            }
        }
        if entry.tells_occupancy && entry.subscribers.is_empty() {
            self.presences.note_occupied(entry.space, &entry.name, true);
        }
        let Some(entry) = self.slab.get_mut(channel as usize) else {
            return;
        };
        let in_channel = entry.subscribers.len() as u32;
        let in_session = session.subscriptions.len() as u32;
        entry.subscribers.push(Subscriber {
            session: id.index,
            position: in_session,
        });
        session.subscriptions.push(Subscription {
            channel,
            position: in_channel,
        });
    }

    /// Unlinks the session's subscription number `at`.
    pub(crate) fn leave(&mut self, sessions: &mut Slab<Session>, index: u32, at: usize) {
        let Some(session) = sessions.get_mut(index as usize) else {
            return;
        };
        let Some(&gone) = session.subscriptions.as_slice().get(at) else {
            return;
        };
        session.subscriptions.swap_remove(at);
        // The session's last subscription may have moved to `at`: tell its channel.
        if let Some(moved) = session.subscriptions.as_slice().get(at)
            && let Some(channel) = self.slab.get_mut(moved.channel as usize)
            && let Some(subscriber) = channel.subscribers.get_mut(moved.position as usize)
        {
            subscriber.position = at as u32;
        }
        self.drop_subscriber(sessions, gone);
    }

    /// Unlinks everything a session was subscribed to; its own list is gone already.
    pub(crate) fn leave_all(&mut self, sessions: &mut Slab<Session>, subscriptions: Subscriptions) {
        for gone in subscriptions.as_slice() {
            self.drop_subscriber(sessions, *gone);
        }
    }

    fn drop_subscriber(&mut self, sessions: &mut Slab<Session>, gone: Subscription) {
        let Some(channel) = self.slab.get_mut(gone.channel as usize) else {
            return;
        };
        let at = gone.position as usize;
        if at >= channel.subscribers.len() {
            return;
        }
        let left = channel.subscribers.swap_remove(at);
        if channel.keeps_presence {
            let (space, name) = (channel.space, &channel.name);
            self.presences.leave(space, name, left.session);
        }
        if channel.tells_occupancy && channel.subscribers.is_empty() {
            self.presences
                .note_occupied(channel.space, &channel.name, false);
        }
        // The channel's last subscriber may have moved to `at`: tell its session.
        if let Some(moved) = channel.subscribers.get(at)
            && let Some(session) = sessions.get_mut(moved.session as usize)
            && let Some(subscription) = session
                .subscriptions
                .as_mut_slice()
                .get_mut(moved.position as usize)
        {
            subscription.position = at as u32;
        }
        if channel.subscribers.is_empty() {
            if !channel.is_kept() {
                self.remove(gone.channel);
            }
        } else if channel.subscribers.capacity() > 64
            && channel.subscribers.len() < channel.subscribers.capacity() / 4
        {
            // A crowd that has left gives its room back.
            channel.subscribers.shrink_to(channel.subscribers.len() * 2);
        }
    }

    /// Forgets a channel without subscribers.
    pub(super) fn remove(&mut self, channel: u32) {
        let Some(channel) = self.slab.try_remove(channel as usize) else {
            return;
        };
        #[cfg(feature = "wildcards")]
        self.patterns.note_removed(channel.space, &channel.name);
        if let Some(names) = self.by_name.get_mut(channel.space.0 as usize) {
            names.remove(&channel.name);
        }
        self.gone += 1;
        let are_few_left = self.gone > NAMES_GONE_MIN.max(8 * self.slab.len());
        let is_deserted = self.slab.is_empty() && self.slab.capacity() > NAMES_GONE_MIN;
        if are_few_left || is_deserted {
            self.give_room_back();
        }
    }

    /// What a crowd of names took is given back when most of it has gone: in one go, for which each of them pays little. A
    /// channel that stays keeps the room in front of it, for numbers do not change.
    #[cold]
    fn give_room_back(&mut self) {
        self.gone = 0;
        self.slab.shrink_to_fit();
        for names in &mut self.by_name {
            *names = HashMap::new();
        }
        for (id, channel) in &self.slab {
            if let Some(names) = self.by_name.get_mut(channel.space.0 as usize) {
                names.insert(channel.name.clone(), id as u32);
            }
        }
    }

    /// Whether publications to channels of this name are kept, if nobody is subscribed too.
    pub(super) fn keeps(&self, space: Space, name: &str) -> bool {
        let rules = self.rules.get(space.0 as usize);
        rules.is_some_and(|rules| rules.of(name).history().is_some())
    }

    /// How long publications to channels of this name are kept; `None`: they are not, or are not logged.
    #[cfg(feature = "history-log")]
    pub(super) fn durable_ms(&self, space: Space, name: &str) -> Option<u64> {
        let history = self.rules.get(space.0 as usize)?.of(name).history()?;
        history.durable.then_some(history.age_ms_max)
    }

    /// All of them, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Channel)> {
        self.slab.iter().map(|(id, channel)| (id as u32, channel))
    }

    pub(crate) fn check_invariants(&self, sessions: &Slab<Session>) {
        let named: usize = self.by_name.iter().map(HashMap::len).sum();
        assert_eq!(named, self.slab.len(), "names and channels differ");
        self.presences.check_invariants();
        #[cfg(feature = "wildcards")]
        self.patterns.check_invariants();
        for (id, channel) in &self.slab {
            assert!(
                !channel.subscribers.is_empty() || channel.is_kept(),
                "a channel without a subscriber"
            );
            assert_eq!(self.find(channel.space, &channel.name), Some(id as u32));
            for (at, subscriber) in channel.subscribers.iter().enumerate() {
                let session = &sessions[subscriber.session as usize];
                let back = session.subscriptions.as_slice()[subscriber.position as usize];
                assert_eq!((back.channel, back.position), (id as u32, at as u32));
            }
            let held = channel.subscribers.iter().map(|s| s.session);
            let counts = |session: &u32| {
                let session = &sessions[*session as usize];
                let user = self.user_of(session.subscriptions.as_slice());
                channel.keeps_presence && (user.is_some() || !session.encoding.is_poll())
            };
            let mut held: Vec<u32> = held.filter(counts).collect();
            held.sort_unstable();
            let present = self.presences.sessions_in(channel.space, &channel.name);
            assert_eq!(held, present, "subscribers and presence differ");
        }
        for (index, session) in sessions {
            for (at, subscription) in session.subscriptions.as_slice().iter().enumerate() {
                let channel = &self.slab[subscription.channel as usize];
                let back = channel.subscribers[subscription.position as usize];
                assert_eq!((back.session, back.position), (index as u32, at as u32));
            }
        }
    }
}

/// Most bytes of a channel name that a client chose.
pub(super) const CHANNEL_NAME_BYTES_MAX: usize = 255;
/// Most bytes of a name in the hub: a dialect may join two client-chosen parts and a mark of its own.
pub(crate) const INTERNAL_NAME_BYTES_MAX: usize = 2 * CHANNEL_NAME_BYTES_MAX + 16;

/// Checks a channel name that a client chose: 1 to 255 bytes of UTF-8 without control characters.
///
/// # Errors
/// [`NameError`], whose text says which rule is broken.
///
/// ```
/// use dunlin::hub::{check_channel_name, NameError};
/// assert_eq!(check_channel_name("tàu hỏa"), Ok(()));
/// assert_eq!(check_channel_name("a\nb"), Err(NameError::Control));
/// ```
pub fn check_channel_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        Err(NameError::Empty)
    } else if name.len() > CHANNEL_NAME_BYTES_MAX {
        Err(NameError::TooLong(name.len()))
    } else if name.chars().any(char::is_control) {
        Err(NameError::Control)
    } else {
        Ok(())
    }
}

/// Whether a name has a segment (they are cut at dots) that is `*` or `>`: where patterns are known (feature `wildcards`) it
/// stands for other names, and is none itself.
pub fn is_pattern(name: &str) -> bool {
    let mut segments = name.as_bytes().split(|byte| *byte == b'.');
    segments.any(|segment| matches!(segment, b"*" | b">"))
}

/// Why a channel name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// No bytes at all.
    Empty,
    /// More than 255 bytes: this many.
    TooLong(usize),
    /// A control character.
    Control,
    /// It is a pattern where the name of one channel is needed.
    IsPattern,
    /// It is no pattern that can be: why.
    #[cfg(feature = "wildcards")]
    Pattern(&'static str),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the channel name is empty"),
            Self::TooLong(bytes) => {
                write!(
                    f,
                    "the channel name has {bytes} bytes, at most {CHANNEL_NAME_BYTES_MAX} are allowed"
                )
            }
            Self::Control => f.write_str("the channel name contains a control character"),
            Self::IsPattern => f.write_str("this is a pattern (`*`, `>`) and no channel"),
            #[cfg(feature = "wildcards")]
            Self::Pattern(why) => f.write_str(why),
        }
    }
}

/// Why a subscription is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscribeError {
    /// The name.
    Name(NameError),
    /// The session has as many subscriptions as it may have: this many.
    TooManySubscriptions(usize),
    /// The hub has as many channels as it may have: this many.
    TooManyChannels(usize),
    /// The session is over.
    Closed,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::TooManySubscriptions(max) => {
                write!(
                    f,
                    "too many subscriptions: at most {max} per connection (setting subscriptions_max)"
                )
            }
            Self::TooManyChannels(max) => {
                write!(
                    f,
                    "too many channels: at most {max} on this server (setting channels_max)"
                )
            }
            Self::Closed => f.write_str("the connection is closed"),
        }
    }
}

impl std::error::Error for NameError {}
impl std::error::Error for SubscribeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_of_names_gives_its_room_back() {
        const CROWD: u32 = 20_000;
        let head = Position::UNKNOWN;
        for stays in [None, Some(0), Some(CROWD - 1)] {
            let mut channels = Channels::new(0);
            let space = channels.space("s");
            let ids: Vec<u32> = (0..CROWD)
                .map(|n| channels.create(space, &n.to_string(), head))
                .collect();
            let full = channels.slab.capacity();
            for id in ids.into_iter().filter(|id| Some(*id) != stays) {
                channels.remove(id);
            }
            for _ in 0..=NAMES_GONE_MIN {
                let id = channels.create(space, "comes and goes", head);
                channels.remove(id);
            }
            let left = usize::from(stays.is_some());
            assert_eq!(channels.len(), left);
            assert!(channels.by_name[0].capacity() <= CROWD as usize / 4);
            // Numbers stay as they are, so whoever came last keeps the room of all before.
            let keeps = stays == Some(CROWD - 1);
            let room = channels.slab.capacity();
            assert!(
                if keeps {
                    room <= full
                } else {
                    room <= CROWD as usize / 4
                },
                "{stays:?} {room}"
            );
            let found = stays.map(|id| channels.find(space, &id.to_string()));
            assert_eq!(found, stays.map(Some));
            let again = channels.create(space, "again", head);
            assert_eq!(channels.find(space, "again"), Some(again));
        }
    }
}
