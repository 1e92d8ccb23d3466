//! Who is connected, found by connection, by user and by token.
//!
//! ```text
//!   conns:  conn_id ──▶ member          Each way is one look-up, and a member leaves by swap-remove:
//!   users:  name ─────▶ [member, …]     nothing is ever scanned, but by those who ask for everybody.
//!   tokens: token ────▶ [member, …]
//! ```
//!
//! A [`Selection`] is narrowed selector by selector. Each pass writes its number on the members it lets through, so
//! the intersection of two long lists costs the sum of their lengths, and a name that is listed a thousand times is
//! looked at once.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use crate::hub::ConnId;

/// One open session. Its `Debug` shows no token and no cookie.
pub(super) struct Member {
    pub(super) session: ConnId,
    pub(super) id: ConnUuid,
    pub(super) user: Rc<str>,
    pub(super) token: Rc<str>,
    /// It came without a token and was given a random one.
    pub(super) public: bool,
    pub(super) user_agent: Box<str>,
    /// All cookies, as the callbacks carry them.
    pub(super) cookie: Box<str>,
    /// Where the client comes from, in the words of the proxies in front; empty unless callbacks carry it.
    pub(super) forwarded_for: Box<str>,
    pub(super) opened_ms: u64,
    /// When it was last known to keep the ping rule.
    pub(super) alive_ms: Cell<u64>,
    pub(super) received: Traffic,
    pub(super) sent: Traffic,
    listed: Cell<bool>,
    at_user: Cell<usize>,
    at_token: Cell<usize>,
    mark: Cell<u64>,
}

/// Messages in one direction, and the bytes in them.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) messages: Cell<u64>,
    pub(super) bytes: Cell<u64>,
}

impl Traffic {
    pub(super) fn count(&self, bytes: usize) {
        self.messages.set(self.messages.get() + 1);
        self.bytes.set(self.bytes.get() + bytes as u64);
    }
}

impl Member {
    pub(super) fn new(session: ConnId, id: ConnUuid, user: &str, token: &str, now_ms: u64) -> Self {
        Self {
            session,
            id,
            user: user.into(),
            token: token.into(),
            public: false,
            user_agent: "".into(),
            cookie: "".into(),
            forwarded_for: "".into(),
            opened_ms: now_ms,
            alive_ms: Cell::new(now_ms),
            received: Traffic::default(),
            sent: Traffic::default(),
            listed: Cell::new(false),
            at_user: Cell::new(0),
            at_token: Cell::new(0),
            mark: Cell::new(0),
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("session", &self.session)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A random UUID (version 4, RFC 9562 §5.4), which is how clients and apps know connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ConnUuid(u128);

impl ConnUuid {
    pub(super) fn new(random: [u8; 16]) -> Self {
        const VERSION: u128 = 0xf << 76;
        const VARIANT: u128 = 0x3 << 62;
        let bits = u128::from_be_bytes(random) & !VERSION & !VARIANT;
        Self(bits | 0x4 << 76 | 0x2 << 62)
    }

    /// Reads the one way in which it is written: lower case, with hyphens.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let hex: String = text.split('-').collect();
        let id = Self(u128::from_str_radix(&hex, 16).ok()?);
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for ConnUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bits) = self;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            bits >> 96,
            bits >> 80 & 0xffff,
            bits >> 64 & 0xffff,
            bits >> 48 & 0xffff,
            bits & 0xffff_ffff_ffff
        )
    }
}

/// All members.
pub(super) struct Registry {
    conns: HashMap<ConnUuid, Rc<Member>>,
    users: Index,
    tokens: Index,
    passes: Cell<u64>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            conns: HashMap::new(),
            users: Index::new(|member| (&member.user, &member.at_user)),
            tokens: Index::new(|member| (&member.token, &member.at_token)),
            passes: Cell::new(0),
        }
    }
}

impl Registry {
    /// Makes a member known.
    pub(super) fn join(&mut self, member: &Rc<Member>) {
        if !member.listed.replace(true) {
            self.conns.insert(member.id, member.clone());
            self.users.join(member);
            self.tokens.join(member);
        }
    }

    /// Forgets a member. To forget it twice changes nothing.
    pub(super) fn leave(&mut self, member: &Member) {
        if member.listed.replace(false) {
            self.conns.remove(&member.id);
            self.users.leave(member);
            self.tokens.leave(member);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.conns.len()
    }

    /// The users that have a connection, by name, with their members.
    pub(super) fn users(&self) -> Vec<(&str, &[Rc<Member>])> {
        let entries = self.users.entries.iter();
        let mut users: Vec<_> = entries.map(|(n, e)| (&**n, &*e.members)).collect();
        users.sort_unstable_by_key(|(name, _)| *name);
        users
    }

    /// Everybody, in the order of [`users`](Self::users).
    pub(super) fn everybody(&self) -> Vec<Rc<Member>> {
        let users = self.users().into_iter();
        users.flat_map(|(_, members)| members).cloned().collect()
    }

    /// Nothing selected yet.
    pub(super) fn select(&self) -> Selection<'_> {
        Selection {
            registry: self,
            before: None,
            pass: 0,
            found: Vec::new(),
        }
    }

    fn next_pass(&self) -> u64 {
        let pass = self.passes.get() + 1;
        self.passes.set(pass);
        pass
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some of the names are tokens.
        f.debug_struct("Registry")
            .field("conns", &self.conns.len())
            .finish_non_exhaustive()
    }
}

/// Members by a name that several may share.
struct Index {
    /// std's keyed hasher: clients choose these names. Never iterated but to be sorted.
    entries: HashMap<Rc<str>, Entry>,
    /// A member's name here, and its place in the list of that name.
    of: fn(&Member) -> (&Rc<str>, &Cell<usize>),
}

#[derive(Default)]
struct Entry {
    members: Vec<Rc<Member>>,
    /// The last pass that was here.
    pass: Cell<u64>,
}

impl Index {
    fn new(of: fn(&Member) -> (&Rc<str>, &Cell<usize>)) -> Self {
        Self {
            entries: HashMap::new(),
            of,
        }
    }

    fn join(&mut self, member: &Rc<Member>) {
        let (name, place) = (self.of)(member);
        let members = &mut self.entries.entry(name.clone()).or_default().members;
        place.set(members.len());
        members.push(member.clone());
    }

    fn leave(&mut self, member: &Member) {
        let (name, place) = (self.of)(member);
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        let place = place.get();
        if place < entry.members.len() {
            entry.members.swap_remove(place);
        }
        if let Some(moved) = entry.members.get(place) {
            (self.of)(moved).1.set(place);
        }
        if entry.members.is_empty() {
            self.entries.remove(name);
        }
    }

    /// The members of a name, once per pass.
    fn get(&self, name: &str, pass: u64) -> &[Rc<Member>] {
        match self.entries.get(name) {
            Some(entry) if entry.pass.replace(pass) != pass => &entry.members,
            _ => &[],
        }
    }
}

/// The members that all selectors so far let through, each once.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    registry: &'a Registry,
    /// The pass before this one, if there was one.
    before: Option<u64>,
    pass: u64,
    found: Vec<Rc<Member>>,
}

impl Selection<'_> {
    /// Begins with the next selector: until it names somebody, nobody is left.
    pub(super) fn narrow(&mut self) {
        self.before = (self.pass > 0).then_some(self.pass);
        self.pass = self.registry.next_pass();
        self.found.clear();
    }

    pub(super) fn conn(&mut self, id: &str) {
        let member = ConnUuid::parse(id).and_then(|id| self.registry.conns.get(&id));
        self.admit(member.map_or(&[], std::slice::from_ref), |_| true);
    }

    pub(super) fn user(&mut self, name: &str, fits: impl Fn(&Member) -> bool) {
        self.admit(self.registry.users.get(name, self.pass), fits);
    }

    pub(super) fn token(&mut self, token: &str) {
        self.admit(self.registry.tokens.get(token, self.pass), |_| true);
    }

    /// Whether there was any selector, and whom they left.
    pub(super) fn finish(self) -> Option<Vec<Rc<Member>>> {
        (self.pass > 0).then_some(self.found)
    }

    fn admit(&mut self, members: &[Rc<Member>], fits: impl Fn(&Member) -> bool) {
        for member in members {
            let mark = member.mark.get();
            let still_in = self
                .before
                .map_or(mark != self.pass, |before| mark == before);
            if still_in && fits(member) {
                member.mark.set(self.pass);
                self.found.push(member.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn member(n: u32, user: &str, token: &str) -> Rc<Member> {
        let session = format!("0-{n:x}-1").parse().unwrap();
        let id = ConnUuid::new((u128::from(n) + 7).to_be_bytes());
        Rc::new(Member::new(session, id, user, token, 0))
    }

    #[test]
    fn ids_are_version_4_and_written_in_one_way() {
        assert_eq!(
            ConnUuid::new([0; 16]).to_string(),
            "00000000-0000-4000-8000-000000000000"
        );
        let id = ConnUuid::new([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(ConnUuid::parse(&id.to_string()), Some(id));
        for bad in [
            "",
            "FFFFFFFF-FFFF-4FFF-BFFF-FFFFFFFFFFFF",
            "ffffffffffff4fffbfffffffffffffff",
            "+fffffff-ffff-4fff-bfff-ffffffffffff",
            "ffffffff-ffff-4fff-bfff-ffffffffffff ",
            "fffffffff-fff-4fff-bfff-ffffffffffff",
        ] {
            assert_eq!(ConnUuid::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn members_come_and_go_in_any_order() {
        let mut registry = Registry::default();
        let all: Vec<_> = (0..60)
            .map(|n| member(n, &format!("u{}", n % 3), &format!("t{}", n % 5)))
            .collect();
        for member in &all {
            registry.join(member);
            registry.join(member);
        }
        for step in 0..60 {
            assert_eq!(registry.len(), 60 - step);
            for name in ["u0", "u1", "u2"] {
                let mut selection = registry.select();
                selection.narrow();
                selection.user(name, |_| true);
                let found = selection.finish().unwrap();
                let expected = all
                    .iter()
                    .filter(|m| m.listed.get() && *m.user == *name)
                    .count();
                assert_eq!(found.len(), expected);
                assert!(found.iter().all(|m| *m.user == *name));
            }
            registry.leave(&all[step * 7 % 60]);
            registry.leave(&all[step * 7 % 60]);
        }
        assert!(registry.users.entries.is_empty() && registry.tokens.entries.is_empty());
    }

    #[test]
    fn selectors_are_intersected_and_each_member_comes_once() {
        let mut registry = Registry::default();
        let all = [
            member(0, "alice", "a"),
            member(1, "alice", "b"),
            member(2, "bob", "a"),
        ];
        for member in &all {
            registry.join(member);
        }
        let found = |select: &dyn Fn(&mut Selection<'_>)| {
            let mut selection = registry.select();
            select(&mut selection);
            selection.finish().map(|found| {
                found
                    .iter()
                    .map(|m| m.session.to_string())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(found(&|_| {}), None);
        assert_eq!(found(&|s| s.narrow()), Some(vec![]));
        let twice = found(&|s| {
            s.narrow();
            s.user("alice", |_| true);
            s.user("alice", |_| true);
            s.user("nobody", |_| true);
        });
        assert_eq!(twice, Some(vec!["0-0-1".into(), "0-1-1".into()]));
        let both = found(&|s| {
            s.narrow();
            s.token("a");
            s.narrow();
            s.user("alice", |_| true);
        });
        assert_eq!(both, Some(vec!["0-0-1".into()]));
        let three = found(&|s| {
            s.narrow();
            s.conn(&all[2].id.to_string());
            s.conn(&all[2].id.to_string());
            s.narrow();
            s.token("a");
            s.narrow();
            s.user("alice", |_| true);
        });
        assert_eq!(three, Some(vec![]));
    }
}
