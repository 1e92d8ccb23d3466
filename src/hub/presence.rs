//! Who is in a channel, for channels whose options ask for it.
//!
//! A member is a user, however many connections it has, or one connection without a user. It is *in* from the first
//! connection until the last has been gone for the grace time; one that comes back earlier was never away.
//!
//! ```text
//!             first connection          told to the handler             the last one goes
//!   (none) ──────────────────▶ New ───────────────────────▶ Told ─────────────────────────▶ Leaving
//!                               │ gone in the same turn      ▲ │ no user: nobody could        │ │
//!                               ▼ (nobody heard of it)       │ ▼ come back                    │ │ grace time:
//!                             (none)                         │ (none), told                   │ ▼ (none), told
//!                                                            └────────── comes back ──────────┘
//! ```
//!
//! **What happened is told at the end of the turn, in order,** to the handler of the first route of the space that has
//! options for channels ([`Handler::on_presence`](super::Handler::on_presence)). A member is listed from then on, so a
//! list and what is told after it never contradict each other.
//!
//! Nothing of this is stored with sessions, and a channel without the option pays two bits. Who is in is kept by name
//! and not with the channel, because it outlives the channel by the grace time.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use slab::Slab;

use super::channel::Space;
use super::{ConnId, Context, Effect, Hub, Ticket};

/// What became of the presence of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceChange<'a> {
    /// Somebody is in now.
    Joined(Member<'a>),
    /// Somebody has gone, with what was last known of it.
    Left(Member<'a>),
    /// This session has asked who is in ([`Context::ask_presence`]): from here on it is told everything in order.
    Asked,
    /// The channel has a subscriber now (option `callback`).
    Occupied,
    /// The channel has none any more (likewise).
    Vacated,
}

/// Somebody in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// The user; `None`: a connection without one.
    pub user: Option<&'a str>,
    /// Its newest connection.
    pub id: ConnId,
    /// Its connections; 0: it is about to leave, and may still come back.
    pub connections: u32,
    /// What its newest connection has said of itself, see [`Context::set_member_info`].
    pub info: Option<&'a str>,
}

/// Who is in a channel.
#[derive(Debug, Clone, Copy)]
pub struct PresenceView<'a>(Option<&'a Attendance>);

impl<'a> PresenceView<'a> {
    /// How many members have a user.
    pub fn users(&self) -> usize {
        self.0.map_or(0, |a| a.of_user.len())
    }

    /// Connections of all of them.
    pub fn connections(&self) -> usize {
        self.0.map_or(0, |a| a.of_session.len())
    }

    /// Users and connections without one.
    pub fn len(&self) -> usize {
        self.0.map_or(0, |a| a.members.len())
    }

    /// Whether nobody is in.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All whose coming was told, in no order that means anything.
    pub fn members(&self) -> impl Iterator<Item = Member<'a>> + use<'a> {
        let members = self.0.into_iter().flat_map(|a| &a.members);
        let told = members.filter(|(_, m)| m.state != State::New);
        told.map(|(_, m)| m.view())
    }
}

/// The presence of all channels that keep it.
#[derive(Debug, Default)]
pub(super) struct Presences {
    /// By space and name. std's keyed hasher: clients choose these names.
    by_name: Vec<HashMap<Rc<str>, u32>>,
    kept: Slab<Attendance>,
    /// Who is about to leave, in the order in which they went; the last `fresh` of them in this turn.
    leaving: VecDeque<Leaving>,
    fresh: usize,
    changes: VecDeque<Change>,
    /// Those beyond leave at once.
    leaving_max: usize,
    /// Members get numbers, so that what waits for one never means another.
    numbers: u64,
    /// What members take: names, infos, entries.
    bytes: usize,
    members: usize,
    timer: Option<Ticket>,
}

/// Who is in one channel.
#[derive(Debug)]
struct Attendance {
    space: Space,
    name: Rc<str>,
    members: Slab<Here>,
    of_user: HashMap<Rc<str>, u32>,
    of_session: HashMap<u32, u32>,
}

#[derive(Debug)]
struct Here {
    number: u64,
    user: Option<Rc<str>>,
    id: ConnId,
    connections: u32,
    info: Option<Rc<str>>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Told,
    /// With the number of its going: who comes back and goes again has another.
    Leaving(u64),
}

#[derive(Debug)]
struct Leaving {
    due_ms: u64,
    attendance: u32,
    member: u32,
    number: u64,
}

#[derive(Debug)]
enum Change {
    Joined {
        attendance: u32,
        member: u32,
        number: u64,
    },
    Left {
        space: Space,
        name: Rc<str>,
        here: Here,
    },
    Asked {
        space: Space,
        name: Rc<str>,
        session: ConnId,
    },
    Occupied(Space, Rc<str>),
    Vacated(Space, Rc<str>),
}

/// A change on its way to a handler.
pub(crate) struct Told {
    pub(crate) route: u16,
    pub(crate) session: Option<u32>,
    pub(crate) channel: Rc<str>,
    what: What,
}

enum What {
    Joined(Here),
    Left(Here),
    Asked,
    Occupied,
    Vacated,
}

impl Told {
    pub(crate) fn change(&self) -> PresenceChange<'_> {
        match &self.what {
            What::Joined(here) => PresenceChange::Joined(here.view()),
            What::Left(here) => PresenceChange::Left(here.view()),
            What::Asked => PresenceChange::Asked,
            What::Occupied => PresenceChange::Occupied,
            What::Vacated => PresenceChange::Vacated,
        }
    }
}

impl Here {
    fn view(&self) -> Member<'_> {
        Member {
            user: self.user.as_deref(),
            id: self.id,
            connections: self.connections,
            info: self.info.as_deref(),
        }
    }

    fn bytes(&self) -> usize {
        let user = self.user.as_ref().map_or(0, |user| user.len());
        let info = self.info.as_ref().map_or(0, |info| info.len());
        MEMBER_BYTES + user + info
    }

    fn copy(&self) -> Self {
        Self {
            user: self.user.clone(),
            info: self.info.clone(),
            ..*self
        }
    }
}

/// What a member takes beside its own words: its entry and those of its two maps.
const MEMBER_BYTES: usize = size_of::<Here>() + 64;
/// Members whose grace time has ended that are told at once: each is a message to many.
const GONE_AT_ONCE: usize = 256;
/// The hub's own timers carry this route, which no handler has.
pub(crate) const NO_ROUTE: u16 = u16::MAX;

impl Presences {
    pub(super) fn new(leaving_max: usize) -> Self {
        Self {
            leaving_max,
            ..Self::default()
        }
    }

    fn find(&self, space: Space, name: &str) -> Option<u32> {
        self.by_name.get(space.0 as usize)?.get(name).copied()
    }

    fn get(&self, space: Space, name: &str) -> Option<&Attendance> {
        self.kept.get(self.find(space, name)? as usize)
    }

    fn find_or_begin(&mut self, space: Space, name: &Rc<str>) -> u32 {
        if let Some(known) = self.find(space, name) {
            return known;
        }
        let at = space.0 as usize;
        if self.by_name.len() <= at {
            self.by_name.resize_with(at + 1, HashMap::new);
        }
        let attendance = self.kept.insert(Attendance {
            space,
            name: name.clone(),
            members: Slab::new(),
            of_user: HashMap::new(),
            of_session: HashMap::new(),
        }) as u32;
        if let Some(names) = self.by_name.get_mut(at) {
            names.insert(name.clone(), attendance);
        }
        attendance
    }

    /// A session has subscribed.
    pub(super) fn join(&mut self, space: Space, name: &Rc<str>, id: ConnId, user: Option<Rc<str>>) {
        let attendance = self.find_or_begin(space, name);
        let Some(kept) = self.kept.get_mut(attendance as usize) else {
            return;
        };
        let known = user.as_ref().and_then(|user| kept.of_user.get(user));
        if let Some(known) = known.copied()
            && let Some(here) = kept.members.get_mut(known as usize)
        {
            here.connections += 1;
            here.id = id;
            if let State::Leaving(_) = here.state {
                here.state = State::Told;
            }
            kept.of_session.insert(id.index, known);
            return;
        }
        self.numbers += 1;
        let here = Here {
            number: self.numbers,
            user: user.clone(),
            id,
            connections: 1,
            info: None,
            state: State::New,
        };
        self.bytes += here.bytes();
        self.members += 1;
        let number = here.number;
        let member = kept.members.insert(here) as u32;
        kept.of_session.insert(id.index, member);
        if let Some(user) = user {
            kept.of_user.insert(user, member);
        }
        self.changes.push_back(Change::Joined {
            attendance,
            member,
            number,
        });
    }

    /// A session is not subscribed any more.
    pub(super) fn leave(&mut self, space: Space, name: &str, session: u32) {
        let Some(attendance) = self.find(space, name) else {
            return;
        };
        let Some(kept) = self.kept.get_mut(attendance as usize) else {
            return;
        };
        let Some(member) = kept.of_session.remove(&session) else {
            return;
        };
        let Some(here) = kept.members.get_mut(member as usize) else {
            return;
        };
        here.connections -= 1;
        if here.connections > 0 {
            return;
        }
        let may_return = here.user.is_some() && self.leaving.len() < self.leaving_max;
        if here.state == State::New || !may_return {
            return self.part(attendance, member);
        }
        self.numbers += 1;
        here.state = State::Leaving(self.numbers);
        self.leaving.push_back(Leaving {
            due_ms: 0,
            attendance,
            member,
            number: self.numbers,
        });
        self.fresh += 1;
    }

    /// A member is gone for good. Who was never told of does not leave either.
    fn part(&mut self, attendance: u32, member: u32) {
        let Some(kept) = self.kept.get_mut(attendance as usize) else {
            return;
        };
        let Some(here) = kept.members.try_remove(member as usize) else {
            return;
        };
        if let Some(user) = &here.user {
            kept.of_user.remove(user);
        }
        self.bytes -= here.bytes();
        self.members -= 1;
        let (space, name) = (kept.space, kept.name.clone());
        if kept.members.is_empty() {
            self.kept.remove(attendance as usize);
            if let Some(names) = self.by_name.get_mut(space.0 as usize) {
                names.remove(&name);
            }
        }
        if here.state != State::New {
            self.changes.push_back(Change::Left { space, name, here });
        }
    }

    /// A channel has got its first subscriber, or lost its last.
    pub(super) fn note_occupied(&mut self, space: Space, name: &Rc<str>, occupied: bool) {
        let name = name.clone();
        self.changes.push_back(if occupied {
            Change::Occupied(space, name)
        } else {
            Change::Vacated(space, name)
        });
    }

    /// Whether something is to be told or to be waited for.
    pub(super) fn has_orders(&self) -> bool {
        !self.changes.is_empty()
            || self.fresh > 0
            || self.timer.is_none() && !self.leaving.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn members(&self) -> usize {
        self.members
    }

    /// Those whose grace time has ended leave. Answers when to look again.
    fn end_graces(&mut self, now_ms: u64, grace_ms: u64) -> Option<u64> {
        let fresh = self.leaving.iter_mut().rev().take(self.fresh);
        fresh.for_each(|leaving| leaving.due_ms = now_ms + grace_ms);
        self.fresh = 0;
        for _ in 0..GONE_AT_ONCE {
            let leaving = self.leaving.front()?;
            if leaving.due_ms > now_ms {
                return Some(leaving.due_ms);
            }
            let &Leaving {
                attendance,
                member,
                number,
                ..
            } = leaving;
            self.leaving.pop_front();
            let kept = self.kept.get(attendance as usize);
            let here = kept.and_then(|kept| kept.members.get(member as usize));
            if here.is_some_and(|here| here.state == State::Leaving(number)) {
                self.part(attendance, member);
            }
        }
        self.leaving.front().map(|next| next.due_ms)
    }

    /// Who is in by this account: sessions of a channel, sorted.
    pub(super) fn sessions_in(&self, space: Space, name: &str) -> Vec<u32> {
        let kept = self.get(space, name);
        let mut sessions: Vec<u32> =
            kept.map_or_else(Vec::new, |kept| kept.of_session.keys().copied().collect());
        sessions.sort_unstable();
        sessions
    }

    pub(super) fn check_invariants(&self) {
        let named: usize = self.by_name.iter().map(HashMap::len).sum();
        assert_eq!(named, self.kept.len(), "names and presences differ");
        let (mut bytes, mut members) = (0, 0);
        for (at, kept) in &self.kept {
            assert_eq!(self.find(kept.space, &kept.name), Some(at as u32));
            assert!(!kept.members.is_empty(), "a presence of nobody is kept");
            let mut connections = 0;
            for (member, here) in &kept.members {
                bytes += here.bytes();
                members += 1;
                connections += here.connections;
                let sessions = kept.of_session.values().filter(|m| **m == member as u32);
                assert_eq!(sessions.count(), here.connections as usize);
                let is_leaving = matches!(here.state, State::Leaving(_));
                assert_eq!(here.connections == 0, is_leaving, "{here:?}");
                if let Some(user) = &here.user {
                    assert_eq!(kept.of_user.get(user), Some(&(member as u32)));
                }
                if let State::Leaving(number) = here.state {
                    assert!(self.leaving.iter().any(|l| l.number == number));
                }
            }
            assert_eq!(connections as usize, kept.of_session.len());
        }
        assert_eq!((bytes, members), (self.bytes, self.members));
    }
}

impl Hub {
    /// The time has come that [`tend_presence`](Self::tend_presence) has asked for.
    pub(crate) fn end_timer(&mut self, ticket: Ticket) {
        let timer = &mut self.channels.presences.timer;
        if *timer == Some(ticket) {
            *timer = None;
        }
    }

    /// Ends what has lasted long enough, and asks to be woken for the next.
    pub(crate) fn tend_presence(&mut self) {
        let (now_ms, grace_ms) = (self.now.ms, self.limits.presence_grace_ms);
        let next = self.channels.presences.end_graces(now_ms, grace_ms);
        if let Some(next) = next
            && self.channels.presences.timer.is_none()
        {
            let ticket = self.ticket();
            self.channels.presences.timer = Some(ticket);
            self.effects.push(Effect::Timer {
                ticket,
                after_ms: next.saturating_sub(now_ms),
                route: NO_ROUTE,
                session: None,
            });
        }
    }

    /// How many changes wait to be told.
    pub(crate) fn presence_changes(&self) -> usize {
        self.channels.presences.changes.len()
    }

    /// Takes the next change that somebody is to be told of.
    pub(crate) fn next_presence_change(&mut self) -> Option<Told> {
        loop {
            let change = self.channels.presences.changes.pop_front()?;
            if let Some(told) = self.tell(change) {
                return Some(told);
            }
        }
    }

    fn tell(&mut self, change: Change) -> Option<Told> {
        let presences = &mut self.channels.presences;
        let mut session = None;
        let (space, channel, what) = match change {
            Change::Joined {
                attendance,
                member,
                number,
            } => {
                let kept = presences.kept.get_mut(attendance as usize)?;
                let here = kept.members.get_mut(member as usize)?;
                if here.number != number {
                    return None;
                }
                here.state = State::Told;
                self.metrics.presence_joined_total += 1;
                (kept.space, kept.name.clone(), What::Joined(here.copy()))
            }
            Change::Left { space, name, here } => {
                self.metrics.presence_left_total += 1;
                (space, name, What::Left(here))
            }
            Change::Asked {
                space,
                name,
                session: id,
            } => {
                session = Some(self.index_of(id)?);
                (space, name, What::Asked)
            }
            Change::Occupied(space, name) => (space, name, What::Occupied),
            Change::Vacated(space, name) => (space, name, What::Vacated),
        };
        let route = self.channels.teller(space)?;
        Some(Told {
            route,
            session,
            channel,
            what,
        })
    }

    /// A session has become another user's: it is in as that one from now on.
    pub(super) fn rename_member(&mut self, index: u32) {
        if self.channels.presences.kept.is_empty() {
            return;
        }
        let (Some(id), Some(session)) = (self.conn_id(index), self.sessions.get(index as usize))
        else {
            return;
        };
        let user = self.channels.user_of(session.subscriptions.as_slice());
        for subscription in session.subscriptions.as_slice() {
            let Some(channel) = self.channels.get(subscription.channel) else {
                continue;
            };
            if channel.keeps_presence {
                let (space, name) = (channel.space, channel.name.clone());
                let presences = &mut self.channels.presences;
                presences.leave(space, &name, index);
                presences.join(space, &name, id, user.clone());
            }
        }
    }
}

impl Context<'_> {
    /// Who is in a channel of this space; `None`: its options do not ask for that to be known.
    pub fn presence(&self, channel: &str) -> Option<PresenceView<'_>> {
        let space = self.space();
        let kept = self.channel_options(channel).presence == Some(true);
        kept.then(|| PresenceView(self.hub.channels.presences.get(space, channel)))
    }

    /// Asks for [`PresenceChange::Asked`], for this session and in the order of everything else: whoever tells it then
    /// who is in, and from then on of every change, has told it everything once.
    pub fn ask_presence(&mut self, channel: &str) {
        if let Some(session) = self.id() {
            let change = Change::Asked {
                space: self.space(),
                name: channel.into(),
                session,
            };
            self.hub.channels.presences.changes.push_back(change);
        }
    }

    /// Says something of this session to those who ask who is in a channel that it is subscribed to. Of several
    /// connections of a user the newest counts. `false`: nothing is kept there, or the memory budget is used up.
    pub fn set_member_info(&mut self, channel: &str, info: &str) -> bool {
        let space = self.space();
        if self.hub.has_room(info.len()).is_err() {
            return false;
        }
        let presences = &mut self.hub.channels.presences;
        let Some((session, at)) = self.session.zip(presences.find(space, channel)) else {
            return false;
        };
        let Some(kept) = presences.kept.get_mut(at as usize) else {
            return false;
        };
        let member = kept.of_session.get(&session);
        let Some(here) = member.and_then(|member| kept.members.get_mut(*member as usize)) else {
            return false;
        };
        presences.bytes -= here.bytes();
        here.info = Some(info.into());
        presences.bytes += here.bytes();
        true
    }

    /// The sessions subscribed to a channel.
    pub fn subscriber_ids(&self, space: Space, channel: &str) -> Vec<ConnId> {
        let indices = self.hub.subscriber_indices(space, channel);
        let ids = indices.into_iter();
        ids.filter_map(|index| self.hub.conn_id(index)).collect()
    }
}
