//! Filters (feature `filters`): sessions that want some of what their channels say, by what it is called and how it is
//! tagged.
//!
//! **What does not match was never said, as far as the session is concerned**: it is not queued, not counted among what was
//! dropped, and outdates nothing. Where a session stands moves on all the same, so a position means *I have seen
//! everything that matches up to here*, and one that follows is past what it does not want as soon as it was looked at.
//!
//! ```text
//!                       ┌── no filter, or it matches ──▶ queued, or given when the session has come so far
//!   a publication ──────┤
//!                       └── it does not match ─────────▶ passed over
//! ```
//!
//! Nobody who does not filter pays: the table is asked only while it has an entry, and only for sessions that have a mark.
//! A filter holds for channels of one name space. What a session is told by itself, or as one of its user's, is in no such
//! channel and always comes.
//!
//! Links would be broken by whatever lies between two that match. So envelopes to such a session leave out `previous`:
//! **the server has looked at the links, and says a gap by the marker**. Its number is of all that is missing, because
//! nobody knows any more what of it would have matched.

use std::collections::HashMap;
use std::fmt;

use super::publish::Label;
use super::session::Marks;
use super::{Context, FrameId, Hub, Position, PublishError, Published, Space};
use crate::ws::Message;

/// What a session wants of what its channels say. Without types and tags it is everything.
///
/// ```
/// use dunlin::hub::{Filter, Tags};
///
/// let filter = Filter::default().types(["goal", "card"])?.tags(["home"])?;
/// let home = Tags::new(["home", "final"])?;
/// assert!(filter.matches(Some("goal"), &home), "one of the types, and one of the tags");
/// assert!(!filter.matches(Some("goal"), &Tags::default()), "no tag");
/// assert!(!filter.matches(None, &home), "no type");
/// # Ok::<(), dunlin::hub::WordsError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    types: Box<[Box<str>]>,
    tags: Box<[Box<str>]>,
}

/// How a publication is tagged: with up to 8 words of 1 to 64 visible ASCII characters each, none of them a comma.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(
    /// With a comma between.
    Box<str>,
);

/// Why words are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordsError {
    /// There is none.
    None,
    /// There are more than this many.
    TooMany(usize),
    /// One is empty or has more than 64 bytes.
    Length,
    /// One has a character that it may not have.
    Character,
}

impl fmt::Display for WordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there is none"),
            Self::TooMany(max) => write!(f, "there are more than {max}"),
            Self::Length => write!(f, "each has 1 to {WORD_BYTES_MAX} bytes"),
            Self::Character => f.write_str(
                "a tag is of visible ASCII characters, none of them a comma, and a type has no control characters",
            ),
        }
    }
}

impl std::error::Error for WordsError {}

/// Most tags of one publication: each is compared with each word of each filter.
const TAGS_MAX: usize = 8;
/// Most types, and most tags, that a filter asks for.
const WANTED_MAX: usize = 16;
/// Longest type and tag.
const WORD_BYTES_MAX: usize = 64;
/// What a filter takes beside its words, and each of these beside its bytes.
const FILTER_BYTES: usize = 96;
const WORD_BYTES: usize = 32;

fn words<'w>(
    words: impl IntoIterator<Item = &'w str>,
    max: usize,
    may_be_in: fn(char) -> bool,
) -> Result<Box<[Box<str>]>, WordsError> {
    let mut taken: Vec<Box<str>> = Vec::new();
    for word in words {
        if word.is_empty() || word.len() > WORD_BYTES_MAX {
            return Err(WordsError::Length);
        }
        if !word.chars().all(may_be_in) {
            return Err(WordsError::Character);
        }
        if taken.len() == max {
            return Err(WordsError::TooMany(max));
        }
        taken.push(word.into());
    }
    if taken.is_empty() {
        return Err(WordsError::None);
    }
    Ok(taken.into())
}

fn may_be_in_a_tag(c: char) -> bool {
    c.is_ascii_graphic() && c != ','
}

impl Tags {
    /// These tags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new<'w>(tags: impl IntoIterator<Item = &'w str>) -> Result<Self, WordsError> {
        Ok(Self(
            words(tags, TAGS_MAX, may_be_in_a_tag)?.join(",").into(),
        ))
    }

    /// One after the other; of none nothing.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(',').filter(|tag| !tag.is_empty())
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// All of them, with a comma between.
    #[cfg(feature = "history-log")]
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Filter {
    /// Publications that are called one of these: at most 16 names of at most 64 bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn types<'w>(self, types: impl IntoIterator<Item = &'w str>) -> Result<Self, WordsError> {
        let types = words(types, WANTED_MAX, |c| !c.is_control())?;
        Ok(Self { types, ..self })
    }

    /// Publications that have one of these tags: at most 16 of them.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn tags<'w>(self, tags: impl IntoIterator<Item = &'w str>) -> Result<Self, WordsError> {
        let tags = words(tags, WANTED_MAX, may_be_in_a_tag)?;
        Ok(Self { tags, ..self })
    }

    /// Whether a publication is wanted that is called `event` and tagged so. What has no name matches no type, and what
    /// has no tags no tag.
    pub fn matches(&self, event: Option<&str>, tags: &Tags) -> bool {
        let is_one_of =
            |words: &[Box<str>], word: &str| words.iter().any(|wanted| **wanted == *word);
        let type_matches =
            self.types.is_empty() || event.is_some_and(|event| is_one_of(&self.types, event));
        type_matches && (self.tags.is_empty() || tags.iter().any(|tag| is_one_of(&self.tags, tag)))
    }

    fn bytes(&self) -> usize {
        let words = self.types.iter().chain(&self.tags);
        FILTER_BYTES + words.map(|word| WORD_BYTES + word.len()).sum::<usize>()
    }
}

/// The filters of sessions that have one.
#[derive(Debug, Default)]
pub(super) struct Filters {
    /// By session.
    held: HashMap<u32, Held>,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    /// Of the channels that it holds for.
    space: Space,
    filter: Filter,
}

impl Filters {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn remove(&mut self, session: u32) {
        if let Some(held) = self.held.remove(&session) {
            self.bytes -= held.filter.bytes();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What a session wants of channels of this space; `None`: everything.
    fn of(&self, session: u32, space: Space) -> Option<&Filter> {
        let held = self.held.get(&session)?;
        (held.space == space).then_some(&held.filter)
    }
}

impl Hub {
    /// From now on the session gets of channels of this space only what matches.
    pub(crate) fn filter(
        &mut self,
        index: u32,
        space: Space,
        filter: Filter,
    ) -> Result<(), PublishError> {
        self.has_room(filter.bytes())?;
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return Ok(());
        };
        session.marks.set(Marks::FILTERS, true);
        session.encoding = session.encoding.without_links();
        self.filters.remove(index);
        self.filters.bytes += filter.bytes();
        self.filters.held.insert(index, Held { space, filter });
        Ok(())
    }

    fn has_filter(&self, index: u32) -> bool {
        let session = self.sessions.get(index as usize);
        session.is_some_and(|session| session.marks.has(Marks::FILTERS))
    }

    /// Whether a publication to a channel of this space is not for a session.
    pub(super) fn is_filtered_out(&self, index: u32, space: Space, frame: FrameId) -> bool {
        self.has_filter(index)
            && self
                .filters
                .of(index, space)
                .is_some_and(|filter| !self.frames.matches(frame, filter))
    }

    /// A session stands behind this position of a channel. If what comes next is not for it: where it stands when it
    /// has passed that over. At most `left` are looked at.
    pub(super) fn pass_over(
        &self,
        index: u32,
        channel: u32,
        after: Position,
        left: &mut usize,
    ) -> Option<Position> {
        if !self.has_filter(index) {
            return None;
        }
        let channel = self.channels.get(channel)?;
        let filter = self.filters.of(index, channel.space)?;
        let mut passed = None;
        for (frame, position) in channel.ring.as_ref()?.frames_after(after) {
            if *left == 0 || self.frames.matches(frame, filter) {
                break;
            }
            *left -= 1;
            passed = Some(position);
        }
        passed
    }

    /// Up to where a session with a filter has seen everything that matches, and that is not to be told yet; `None`: it
    /// has no filter, or it is not in one channel alone.
    pub(super) fn seen_up_to(&self, index: u32) -> Option<Position> {
        let held = self.filters.held.get(&index)?;
        let session = self.sessions.get(index as usize)?;
        if session.encoding.names_channels() {
            return None; // A position in one channel is none in several.
        }
        let mut own = session.subscriptions.as_slice().iter().filter_map(|s| {
            let channel = self.channels.get(s.channel)?;
            (channel.space == held.space).then_some((s.channel, channel.head))
        });
        let (id, head) = own.next()?;
        match own.next() {
            Some(_) => None,
            None => self.stands_at(index, id, head),
        }
    }

    /// There is more to look at before it is known whether a session with a filter has anything to get.
    pub(crate) fn looks_on(&self, index: u32) -> bool {
        self.has_filter(index) && self.follows(index) && self.outbox_is_empty(index)
    }

    pub(super) fn check_filters(&self) {
        let held = self.filters.held.values();
        let bytes: usize = held.map(|held| held.filter.bytes()).sum();
        assert_eq!(bytes, self.filters.bytes, "filters have lost count");
        let known = |index: &u32| self.has_filter(*index);
        assert!(self.filters.held.keys().all(known), "a filter is nobody's");
        let marked = self
            .sessions
            .iter()
            .filter(|(index, _)| known(&(*index as u32)));
        assert_eq!(marked.count(), self.filters.held.len(), "a filter is gone");
    }
}

impl Context<'_> {
    /// From now on this session gets of the channels of this route's name space only what matches. Another filter takes
    /// the place of this one; it goes with the session.
    ///
    /// What the session is told by itself ([`send`](Self::send)), as one of several ([`send_many`](Self::send_many)) or as
    /// one of its user's ([`send_to_user`](Self::send_to_user)) always comes, and so do gap markers. Envelopes to it have no
    /// `previous`.
    ///
    /// # Errors
    /// When the memory budget is used up; then everything is as before.
    ///
    /// ```
    /// use dunlin::hub::Filter;
    /// use dunlin::{Context, Handler, Message, Request, Upgrade};
    ///
    /// struct Goals;
    ///
    /// impl Handler for Goals {
    ///     fn on_upgrade(&mut self, cx: &mut Context<'_>, _: &Request<'_>) -> Upgrade {
    ///         let goals = Filter::default().types(["goal"]).expect("a word");
    ///         match cx.filter(goals).is_ok() && cx.subscribe("match.1").is_ok() {
    ///             true => Upgrade::accept(),
    ///             false => Upgrade::refuse(503, "come back later"),
    ///         }
    ///     }
    ///     fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
    /// }
    /// ```
    pub fn filter(&mut self, filter: Filter) -> Result<(), PublishError> {
        let space = self.space();
        match self.session {
            Some(session) => self.hub.filter(session, space, filter),
            None => Ok(()),
        }
    }

    /// As [`publish_event`](Self::publish_event), with tags that sessions may ask for. They are for filters alone: nobody
    /// is told them.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and [`PublishError::Event`] for a name that is empty, longer than 64 bytes, one of the
    /// server's own (`gap`, `close`), or has control characters.
    pub fn publish_tagged(
        &mut self,
        channel: &str,
        event: Option<&str>,
        tags: &Tags,
        message: Message<'_>,
    ) -> Result<Published, PublishError> {
        let space = self.space();
        let label = Label {
            event,
            tags: Some(tags),
        };
        self.hub
            .publish_event(space, &[channel], label, message, None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_are_few_and_short() {
        let long = "x".repeat(WORD_BYTES_MAX);
        let (most, wanted) = (["a"; TAGS_MAX], ["a"; WANTED_MAX]);
        let tags = Tags::new(["red", &long]).unwrap();
        assert!(tags.iter().eq(["red", &*long]));
        assert_eq!(Tags::default().iter().count(), 0);
        assert_eq!(Tags::new(most).unwrap().iter().count(), TAGS_MAX);
        assert!(Filter::default().types(wanted).is_ok() && Filter::default().tags(wanted).is_ok());
        let one_more = Err(WordsError::TooMany(TAGS_MAX));
        assert_eq!(Tags::new(["a"].into_iter().chain(most)), one_more);
        let one_more = ["a"].into_iter().chain(wanted);
        let too_many = Err(WordsError::TooMany(WANTED_MAX));
        assert_eq!(Filter::default().types(one_more.clone()), too_many);
        assert_eq!(Filter::default().tags(one_more), too_many);
        let longer = "x".repeat(WORD_BYTES_MAX + 1);
        for (word, why) in [
            ("", WordsError::Length),
            (&*longer, WordsError::Length),
            ("a b", WordsError::Character),
            ("a,b", WordsError::Character),
            ("a\u{7f}", WordsError::Character),
            ("é", WordsError::Character),
        ] {
            assert_eq!(Tags::new(["ok", word]), Err(why), "{word:?}");
            assert_eq!(Filter::default().tags([word]), Err(why), "{word:?}");
        }
        // A type is the name of an event, and that may be any text of one line.
        assert!(Filter::default().types(["a b", "é", "a,b"]).is_ok());
        let control = Filter::default().types(["a\nb"]);
        assert_eq!(control, Err(WordsError::Character));
        assert_eq!(Filter::default().types([]), Err(WordsError::None));
        assert_eq!(Tags::new([]), Err(WordsError::None));
    }

    #[test]
    fn any_type_and_any_tag_and_both() {
        let tags = |tags: &[&'static str]| Tags::new(tags.iter().copied()).unwrap_or_default();
        let types = Filter::default().types(["goal", "card"]).unwrap();
        let red = Filter::default().tags(["red", "blue"]).unwrap();
        let both = types.clone().tags(["red"]).unwrap();
        for (event, of, expected) in [
            (Some("goal"), tags(&[]), [true, false, false]),
            (Some("card"), tags(&["blue"]), [true, true, false]),
            (Some("card"), tags(&["green", "red"]), [true, true, true]),
            (Some("goa"), tags(&["re"]), [false, false, false]),
            (Some("Goal"), tags(&["Red"]), [false, false, false]),
            (None, tags(&["red"]), [false, true, false]),
            (None, tags(&[]), [false, false, false]),
        ] {
            let matches = [&types, &red, &both].map(|filter| filter.matches(event, &of));
            assert_eq!(matches, expected, "{event:?} {of:?}");
            assert!(Filter::default().matches(event, &of));
        }
    }
}
