//! What the node was asked and has not answered.
//!
//! Every question goes out under an id of ours: a place in the table and a serial number, so that an answer that comes
//! too late finds nobody. All wait equally long, so whoever asked first is due first: a list through the table, in
//! the order of asking, needs one timer for all.
//!
//! ```text
//!   insert ──▶ [ oldest ⇄ … ⇄ newest ] ── take ──▶ the asker gets the answer
//!                  └── overdue, the deadline has come ──▶ the asker gets "request timed out"
//! ```

use slab::Slab;

use super::Asker;

/// Who is waiting for an answer of the node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// A client, for this alone.
    Call {
        asker: Asker,
        /// As the client wrote it.
        id: Box<str>,
        /// The answer may be kept, in this place.
        kept: Option<u8>,
    },
    /// A part of an answer that is put together.
    Part {
        job: u32,
        slot: u32,
        kept: Option<u8>,
    },
    /// A subscription.
    Feed(u32),
    /// A head that the clients of this feed have missed.
    Head(u32),
    /// A subscription that nobody waits for any more: it is given back when it comes.
    Orphan,
}

#[derive(Debug)]
struct Entry {
    question: Question,
    serial: u32,
    deadline_ms: u64,
    /// It went out as an HTTP request, which a link that breaks does not take along.
    by_http: bool,
    listed: bool,
    before: u32,
    after: u32,
}

/// The table.
#[derive(Debug)]
pub(super) struct Pending {
    slab: Slab<Entry>,
    serial: u32,
    oldest: u32,
    newest: u32,
}

/// No entry.
const NONE: u32 = u32::MAX;
/// So many bits of an id are its place in the table; the rest is its serial number, and all of it is a number that
/// JavaScript can count to.
const PLACE_BITS: u32 = 20;
/// Most questions under way.
pub(super) const PENDING_MAX: usize = 1 << PLACE_BITS;

impl Default for Pending {
    fn default() -> Self {
        Self {
            slab: Slab::new(),
            serial: 0,
            oldest: NONE,
            newest: NONE,
        }
    }
}

impl Pending {
    /// A new question, and the id to ask it under; `None`: too many are under way.
    pub(super) fn insert(&mut self, question: Question, deadline_ms: u64) -> Option<u64> {
        if self.slab.len() >= PENDING_MAX {
            return None;
        }
        self.serial = self.serial.wrapping_add(1);
        let at = self.slab.insert(Entry {
            question,
            serial: self.serial,
            deadline_ms,
            by_http: false,
            listed: true,
            before: self.newest,
            after: NONE,
        }) as u32;
        match self.slab.get_mut(self.newest as usize) {
            Some(newest) => newest.after = at,
            None => self.oldest = at,
        }
        self.newest = at;
        Some(u64::from(self.serial) << PLACE_BITS | u64::from(at))
    }

    fn place(&self, id: u64) -> Option<u32> {
        let at = (id & (PENDING_MAX as u64 - 1)) as u32;
        let entry = self.slab.get(at as usize)?;
        (u64::from(entry.serial) == id >> PLACE_BITS).then_some(at)
    }

    /// Whether it is still waited for.
    pub(super) fn has(&self, id: u64) -> bool {
        self.place(id).is_some()
    }

    /// The question, which is answered now.
    pub(super) fn take(&mut self, id: u64) -> Option<Question> {
        let at = self.place(id)?;
        self.unlist(at);
        self.slab.try_remove(at as usize).map(|e| e.question)
    }

    /// Its answer is still of interest, but nobody waits for it.
    pub(super) fn orphan(&mut self, id: u64) {
        if let Some(at) = self.place(id) {
            self.unlist(at);
            if let Some(entry) = self.slab.get_mut(at as usize) {
                entry.question = Question::Orphan;
            }
        }
    }

    /// The feed that is asked for.
    pub(super) fn feed(&self, id: u64) -> Option<u32> {
        match self.slab.get(self.place(id)? as usize)?.question {
            Question::Feed(feed) => Some(feed),
            _ => None,
        }
    }

    /// It goes out as an HTTP request.
    pub(super) fn set_by_http(&mut self, id: u64) {
        if let Some(at) = self.place(id)
            && let Some(entry) = self.slab.get_mut(at as usize)
        {
            entry.by_http = true;
        }
    }

    fn unlist(&mut self, at: u32) {
        let Some(entry) = self.slab.get_mut(at as usize) else {
            return;
        };
        if !std::mem::take(&mut entry.listed) {
            return;
        }
        let (before, after) = (entry.before, entry.after);
        match self.slab.get_mut(before as usize) {
            Some(entry) => entry.after = after,
            None => self.oldest = after,
        }
        match self.slab.get_mut(after as usize) {
            Some(entry) => entry.before = before,
            None => self.newest = before,
        }
    }

    /// When the oldest question is due.
    pub(super) fn deadline(&self) -> Option<u64> {
        let oldest = self.slab.get(self.oldest as usize)?;
        Some(oldest.deadline_ms)
    }

    /// A question whose time is over.
    pub(super) fn overdue(&self, now_ms: u64) -> Option<u64> {
        let oldest = self.slab.get(self.oldest as usize)?;
        let id = u64::from(oldest.serial) << PLACE_BITS | u64::from(self.oldest);
        (oldest.deadline_ms <= now_ms).then_some(id)
    }

    /// Takes everything that was asked on the link.
    pub(super) fn take_linked(&mut self) -> Vec<Question> {
        let linked = self.slab.iter().filter(|(_, entry)| !entry.by_http);
        let places: Vec<usize> = linked.map(|(at, _)| at).collect();
        let take = |at: usize| {
            self.unlist(at as u32);
            self.slab.try_remove(at).map(|entry| entry.question)
        };
        places.into_iter().filter_map(take).collect()
    }

    /// Whether somebody is waiting.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_empty(&self) -> bool {
        self.slab
            .iter()
            .all(|(_, e)| e.question == Question::Orphan)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whoever_asked_first_is_due_first() {
        let mut table = Pending::default();
        let ids: Vec<_> = (0..4)
            .map(|n| table.insert(Question::Feed(n), 100 + u64::from(n)).unwrap())
            .collect();
        assert_eq!(table.deadline(), Some(100));
        assert_eq!(table.take(ids[1]), Some(Question::Feed(1)));
        assert_eq!(table.take(ids[1]), None);
        assert_eq!(table.take(ids[0]), Some(Question::Feed(0)));
        assert_eq!(table.deadline(), Some(102));
        let next = table.insert(Question::Feed(9), 104).unwrap();
        assert!(
            !table.has(ids[0]) && table.has(next),
            "another in its place"
        );
        assert_eq!(table.overdue(101), None);
        assert_eq!(table.overdue(102), Some(ids[2]));
        table.orphan(ids[2]);
        assert_eq!(table.deadline(), Some(103));
        assert_eq!(table.take(ids[2]), Some(Question::Orphan));
        table.set_by_http(ids[3]);
        assert_eq!(table.take_linked(), [Question::Feed(9)]);
        assert_eq!(table.overdue(500), Some(ids[3]));
        assert_eq!(table.take(ids[3]), Some(Question::Feed(3)));
        assert!(table.deadline().is_none() && table.is_empty());
    }
}
