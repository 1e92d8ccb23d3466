//! What there is: sessions, channels and routes, shown to whoever looks after the server.
//!
//! **A listing is read in pages, and a page costs a bounded amount of work.** Sessions and channels are visited in the
//! order of their slots. A visit ends when the visitor has enough or [`SLOTS_PER_PAGE`] slots were looked at, and answers
//! the slot to go on from. So a page may be shorter than asked for, even empty, and still have a next one. Whoever is
//! there from the first page to the last is shown exactly once; who comes or goes meanwhile may be shown or not.

use std::fmt::Write;

use super::channel::{Channel, Space, SubscribeError};
use super::session::Session;
use super::{ConnId, Context, Hub};

/// Most slots that one page looks at: some hundred microseconds' worth.
pub const SLOTS_PER_PAGE: u32 = 16_384;

/// Which sessions to list. What is `None` does not matter; the rest must hold together.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionFilter<'a> {
    /// Those of this user.
    pub user: Option<&'a str>,
    /// Those subscribed to a channel of this name …
    pub channel: Option<&'a str>,
    /// … in the space of this name; `None`: in any.
    pub space: Option<&'a str>,
    /// Those of the route with this template.
    pub route: Option<&'a str>,
}

/// A session as a listing shows it.
#[derive(Clone, Copy)]
pub struct SessionView<'a> {
    hub: &'a Hub,
    index: u32,
    session: &'a Session,
}

impl<'a> SessionView<'a> {
    /// Its id.
    pub fn id(&self) -> ConnId {
        ConnId {
            worker: self.hub.worker,
            index: self.index,
            generation: self.session.generation,
        }
    }

    /// The number of its route.
    pub fn route(&self) -> u16 {
        self.session.route
    }

    /// The path template of its route.
    pub fn template(&self) -> &'a str {
        self.hub.template(self.session.route)
    }

    /// The user it belongs to.
    pub fn user(&self) -> Option<&'a str> {
        self.hub.user(self.index)
    }

    /// Bytes that wait to be sent to it.
    pub fn queued_bytes(&self) -> usize {
        self.hub.outbox_bytes(self.index)
    }

    /// The channels it is subscribed to. Its user's own is not among them: that is [`user`](Self::user).
    pub fn channels(&self) -> impl Iterator<Item = ChannelView<'a>> + use<'a> {
        let hub = self.hub;
        let users = hub.channels.find_space(USER_SPACE);
        let all = self.session.subscriptions.as_slice().iter();
        all.filter_map(move |s| hub.channels.get(s.channel))
            .filter(move |channel| Some(channel.space) != users)
            .map(move |channel| hub.view(channel))
    }
}

impl std::fmt::Debug for SessionView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.id().fmt(f)
    }
}

/// A channel as a listing shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelView<'a> {
    /// The name of its space.
    pub space: &'a str,
    /// Its own name.
    pub name: &'a str,
    /// Sessions subscribed to it.
    pub subscribers: usize,
}

impl Hub {
    pub(crate) fn template(&self, route: u16) -> &str {
        let entry = self.routes.get(route as usize);
        entry.map_or("", |entry| &entry.template)
    }

    fn view<'a>(&'a self, channel: &'a Channel) -> ChannelView<'a> {
        ChannelView {
            space: self.channels.space_name(channel.space),
            name: &channel.name,
            subscribers: channel.subscribers.len(),
        }
    }

    fn session_view(&self, index: u32) -> Option<SessionView<'_>> {
        let session = self.sessions.get(index as usize).filter(|s| s.is_open())?;
        Some(SessionView {
            hub: self,
            index,
            session,
        })
    }

    fn list_sessions<'a>(
        &'a self,
        filter: &SessionFilter<'_>,
        from: u32,
        each: &mut dyn FnMut(SessionView<'a>) -> bool,
    ) -> Option<u32> {
        let wanted = self.resolve(filter)?;
        let mut show = |index: u32| {
            let view = self.session_view(index);
            view.filter(|view| wanted.is_met_by(view))
                .is_none_or(&mut *each)
        };
        // A user or a channel knows its sessions: often that is all there is to look at.
        if let Some(mut few) = self.candidates(&wanted) {
            few.retain(|index| *index >= from);
            few.sort_unstable();
            few.dedup();
            return few.into_iter().find(|index| !show(*index));
        }
        let end = self.slots;
        let stop = from.saturating_add(SLOTS_PER_PAGE).min(end);
        let full = (from..stop).find(|index| !show(*index));
        full.or_else(|| (stop < end).then_some(stop))
    }

    /// Names become numbers once, not for every session. `None`: something named does not exist, so nothing is met.
    fn resolve<'f>(&self, filter: &SessionFilter<'f>) -> Option<Wanted<'f>> {
        let user = match filter.user {
            Some(name) => {
                let space = self.channels.find_space(USER_SPACE)?;
                Some(self.channels.find(space, name)?)
            }
            None => None,
        };
        let channels = match filter.channel {
            Some(name) => {
                let spaces = self.channels.spaces();
                let spaces = spaces.filter(|(_, space)| match filter.space {
                    Some(wanted) => *space == wanted,
                    None => *space != USER_SPACE,
                });
                let found: Vec<u32> = spaces
                    .filter_map(|(space, _)| self.channels.find(space, name))
                    .collect();
                Some(found).filter(|found| !found.is_empty())?
            }
            None => Vec::new(),
        };
        Some(Wanted {
            user,
            channels,
            route: filter.route,
        })
    }

    fn candidates(&self, wanted: &Wanted<'_>) -> Option<Vec<u32>> {
        let ids = match &wanted.user {
            Some(user) => std::slice::from_ref(user),
            None if wanted.channels.is_empty() => return None,
            None => &wanted.channels,
        };
        let lists = || ids.iter().filter_map(|id| self.channels.get(*id));
        let total: usize = lists().map(|channel| channel.subscribers.len()).sum();
        (total <= SLOTS_PER_PAGE as usize).then(|| {
            let subscribers = lists().flat_map(|channel| &channel.subscribers);
            subscribers.map(|s| s.session).collect()
        })
    }

    fn list_channels<'a>(
        &'a self,
        space: Option<&str>,
        prefix: &str,
        from: u32,
        each: &mut dyn FnMut(ChannelView<'a>) -> bool,
    ) -> Option<u32> {
        let end = self.channels.slots();
        let stop = from.saturating_add(SLOTS_PER_PAGE).min(end);
        for slot in from..stop {
            let Some(channel) = self.channels.get(slot) else {
                continue;
            };
            let view = self.view(channel);
            let in_space = space.map_or(view.space != USER_SPACE, |space| view.space == space);
            if in_space && view.name.starts_with(prefix) && !each(view) {
                return Some(slot);
            }
        }
        (stop < end).then_some(stop)
    }

    /// Open WebSockets per path template, for those that ever had one. Templates come from the configuration, so there
    /// are as many lines as somebody wrote.
    pub(super) fn push_route_gauges(&self, out: &mut String) {
        out.push_str(
            "# HELP dunlin_route_sessions Open WebSockets by path template.\n\
             # TYPE dunlin_route_sessions gauge\n",
        );
        for (at, entry) in self.routes.iter().enumerate() {
            let same = |other: &&super::RouteEntry| other.template == entry.template;
            // A template may be served on several listeners, with a route each; the label stands for all of them.
            let is_first = !self.routes.iter().take(at).any(|other| same(&other));
            let all = || self.routes.iter().filter(same);
            if is_first && all().any(|route| route.was_used) {
                out.push_str("dunlin_route_sessions{route=\"");
                for c in entry.template.chars() {
                    match c {
                        '"' | '\\' => out.extend(['\\', c]),
                        '\n' => out.push_str("\\n"),
                        _ => out.push(c),
                    }
                }
                let sessions: u32 = all().map(|route| route.sessions).sum();
                _ = writeln!(out, "\"}} {sessions}");
            }
        }
    }
}

/// A filter in numbers.
struct Wanted<'f> {
    user: Option<u32>,
    channels: Vec<u32>,
    route: Option<&'f str>,
}

impl Wanted<'_> {
    fn is_met_by(&self, view: &SessionView<'_>) -> bool {
        let session = view.session;
        let mut subscribed = session.subscriptions.as_slice().iter().map(|s| s.channel);
        self.user
            .is_none_or(|user| subscribed.clone().any(|id| id == user))
            && (self.channels.is_empty() || subscribed.any(|id| self.channels.contains(&id)))
            && self.route.is_none_or(|route| view.template() == route)
    }
}

impl Context<'_> {
    /// One session; `None`: there is no such session.
    pub fn session(&self, id: ConnId) -> Option<SessionView<'_>> {
        self.hub.session_view(self.hub.index_of(id)?)
    }

    /// Shows `each` the sessions that meet `filter`, in the order of their slots beginning with slot `from`, until it
    /// answers `false`: it has no room for this one. Answers the slot to go on from; `None`: there is nothing more. At
    /// most [`SLOTS_PER_PAGE`] slots are looked at, so it may be called seldom, or not at all, and there still is more.
    pub fn list_sessions<'c>(
        &'c self,
        filter: &SessionFilter<'_>,
        from: u32,
        each: &mut dyn FnMut(SessionView<'c>) -> bool,
    ) -> Option<u32> {
        self.hub.list_sessions(filter, from, each)
    }

    /// Shows `each` the channels of the space named `space` (`None`: of all, but not the users' own) whose name begins
    /// with `prefix`, in the manner of [`list_sessions`](Self::list_sessions).
    pub fn list_channels<'c>(
        &'c self,
        space: Option<&str>,
        prefix: &str,
        from: u32,
        each: &mut dyn FnMut(ChannelView<'c>) -> bool,
    ) -> Option<u32> {
        self.hub.list_channels(space, prefix, from, each)
    }

    /// Subscribes another session to a channel; `Ok(false)` if it already was.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe); [`SubscribeError::Closed`]: there is no such session.
    pub fn subscribe_other(
        &mut self,
        id: ConnId,
        space: Space,
        channel: &str,
    ) -> Result<bool, SubscribeError> {
        let session = self.hub.index_of(id).ok_or(SubscribeError::Closed)?;
        self.hub.subscribe(session, space, channel)
    }

    /// Unsubscribes another session; `false` if it was not subscribed, or there is no such session.
    pub fn unsubscribe_other(&mut self, id: ConnId, space: Space, channel: &str) -> bool {
        let session = self.hub.index_of(id);
        session.is_some_and(|session| self.hub.unsubscribe(session, space, channel))
    }

    /// The name space of that name, if a handler has named it already. For names from outside, where
    /// [`space_named`](Self::space_named) would make a new one of every mistake.
    pub fn find_space(&self, name: &str) -> Option<Space> {
        let found = self.hub.channels.find_space(name);
        // Nobody subscribes to a pattern by its name alone.
        #[cfg(feature = "wildcards")]
        let found = found.filter(|space| !self.hub.channels.patterns.is_own(*space));
        found
    }

    /// The name of a space.
    pub fn space_name(&self, space: Space) -> &str {
        self.hub.channels.space_name(space)
    }

    /// The path template of this handler's route.
    pub fn template(&self) -> &str {
        self.hub.template(self.route)
    }

    /// Whether the server is shutting down: connections are told to go, new ones are refused.
    pub fn is_draining(&self) -> bool {
        self.hub.draining
    }
}

/// Each user is a channel of this space.
pub(super) const USER_SPACE: &str = "user";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::hub::{HubLimits, SessionLimits};
    use crate::random::Random;

    fn hub() -> Hub {
        let mut hub = Hub::new(0, HubLimits::default(), Random::seeded(1));
        for template in ["/ch/{channel}", "/chat/{group}", "/ch/{channel}"] {
            hub.add_route(SessionLimits::default(), "pubsub", template);
        }
        hub
    }

    fn list(
        hub: &Hub,
        filter: &SessionFilter<'_>,
        from: u32,
        max: usize,
    ) -> (Vec<u32>, Option<u32>) {
        let mut found = Vec::new();
        let next = hub.list_sessions(filter, from, &mut |view| {
            let room = found.len() < max;
            found.extend(room.then(|| view.id().index));
            room
        });
        (found, next)
    }

    #[test]
    fn filters_hold_together() {
        let mut hub = hub();
        let (pubsub, other) = (hub.channels.space("pubsub"), hub.channels.space("other"));
        for n in 0..12 {
            let session = hub.open(n, (n % 3) as u16);
            if n % 2 == 0 {
                hub.set_user(session, "ann").unwrap();
            }
            if n % 4 == 0 {
                hub.subscribe(session, pubsub, "news").unwrap();
            }
            if n == 5 {
                hub.subscribe(session, other, "news").unwrap();
            }
        }
        hub.end(8);
        let all = SessionFilter::default();
        assert_eq!(
            list(&hub, &all, 0, 99).0,
            [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11]
        );
        let user = SessionFilter {
            user: Some("ann"),
            ..all
        };
        assert_eq!(list(&hub, &user, 0, 99), (vec![0, 2, 4, 6, 10], None));
        assert_eq!(list(&hub, &user, 3, 2), (vec![4, 6], Some(10)));
        let channel = SessionFilter {
            channel: Some("news"),
            ..all
        };
        assert_eq!(list(&hub, &channel, 0, 99), (vec![0, 4, 5], None));
        let space = SessionFilter {
            space: Some("other"),
            ..channel
        };
        assert_eq!(list(&hub, &space, 0, 99), (vec![5], None));
        let route = SessionFilter {
            route: Some("/ch/{channel}"),
            ..user
        };
        assert_eq!(list(&hub, &route, 0, 99), (vec![0, 2, 6], None));
        for nobody in [
            SessionFilter {
                user: Some("bob"),
                ..all
            },
            SessionFilter {
                channel: Some("ann"),
                ..all
            },
            SessionFilter {
                space: Some("nowhere"),
                ..channel
            },
            SessionFilter {
                route: Some("/"),
                ..all
            },
        ] {
            assert!(list(&hub, &nobody, 0, 99).0.is_empty(), "{nobody:?}");
        }
        let view = hub.session_view(4).unwrap();
        assert_eq!(
            (view.user(), view.route(), view.template()),
            (Some("ann"), 1, "/chat/{group}")
        );
        let channels: Vec<_> = view
            .channels()
            .map(|c| (c.space, c.name, c.subscribers))
            .collect();
        assert_eq!(channels, [("pubsub", "news", 2)]);
        assert!(hub.session_view(8).is_none());
        hub.check_invariants();
    }

    #[test]
    fn a_page_looks_at_so_many_slots_and_no_more() {
        let mut hub = hub();
        for n in 0..=SLOTS_PER_PAGE {
            hub.open(n, 0);
        }
        for n in 1..SLOTS_PER_PAGE {
            hub.remove(n);
        }
        let all = SessionFilter::default();
        assert_eq!(list(&hub, &all, 0, 99), (vec![0], Some(SLOTS_PER_PAGE)));
        assert_eq!(list(&hub, &all, 1, 99), (vec![SLOTS_PER_PAGE], None));
        assert_eq!(list(&hub, &all, u32::MAX, 99), (vec![], None));
    }

    #[test]
    fn routes_are_counted_by_template() {
        let mut hub = hub();
        for route in [0, 2, 2] {
            hub.open(0, route);
        }
        hub.remove(0);
        let mut text = String::new();
        hub.push_route_gauges(&mut text);
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines, ["dunlin_route_sessions{route=\"/ch/{channel}\"} 2"]);
    }
}
