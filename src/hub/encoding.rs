//! How messages are encoded for a session: as WebSocket frames, as compressed ones (feature `deflate`), as server-sent
//! events, or as values in a stream, each with a line feed behind it.
//!
//! The rule: **a publication is encoded once for all who want it the same way.** It becomes a plain frame first, and the
//! first delivery to a session that wants it otherwise makes a copy of that frame; the next one to a session of its
//! kind shares it. Copies live as frames do. What does not shrink, or is too small to try, is shared with those who get
//! it plainly.
//!
//! ```text
//!   publish ─▶ frame ──┬─────────────────────▶ plain subscribers
//!                      ├─▶ copy (15 bits, 1) ─▶ subscribers with deflate, once for all windows it fits into
//!                      ├─▶ copy (a line) ─────▶ subscribers on a stream of values, or of lines by HTTP
//!                      └─▶ copy (an event) ───▶ subscribers on a stream of server-sent events
//! ```
//!
//! Who listens by a pattern (feature `wildcards`) has envelopes and events that say which channel each publication is of, and
//! who filters (feature `filters`) has envelopes that do not say what it follows: in numbers, a bit each beside the form.

#[cfg(feature = "deflate")]
mod deflating;
mod envelope;
mod events;
#[cfg(feature = "hierachain-history")]
pub(super) mod places;

#[cfg(feature = "deflate")]
use deflating::Deflating;

pub(crate) use events::check_event;

use super::frames::{FrameId, Frames};
use super::{Hub, Position};
use crate::ws::{self, CloseCode, FrameHeader, Message, OpCode};

/// How a session wants its messages: as they are (0), in one of the ways that have a name, or compressed like the group
/// of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Encoding(u8);

impl Encoding {
    /// Values in a stream, or lines.
    pub(crate) const VALUES: Self = Self(NAMED | 5);
    /// Server-sent events, publications with their position.
    pub(crate) const EVENTS: Self = Self(NAMED | 4);
    /// Lines: of publications, envelopes; other messages as they are.
    pub(crate) const ENVELOPE_LINES: Self = Self(NAMED | 3);
    /// Envelopes with a comma behind each, which somebody puts into a list.
    pub(crate) const ITEMS: Self = Self(NAMED | 2);
    /// Frames with envelopes, which say where publications stand; other messages as they are.
    pub(crate) const ENVELOPES: Self = Self(NAMED | 1);
    /// Publications with the places that they have in their channels, behind their own members.
    #[cfg(feature = "hierachain-history")]
    pub(crate) const PLACED: Self = Self(NAMED);

    /// As this one, saying which channels publications are of, where there is room for that.
    #[cfg(feature = "wildcards")]
    pub(super) fn naming_channels(self) -> Self {
        self.with(NAMES_CHANNELS)
    }

    #[cfg(feature = "filters")]
    pub(super) fn names_channels(self) -> bool {
        has(self.flags(), NAMES_CHANNELS)
    }

    /// As this one, not saying what publications follow.
    #[cfg(feature = "filters")]
    pub(super) fn without_links(self) -> Self {
        self.with(WITHOUT_LINKS)
    }

    #[cfg(any(feature = "filters", feature = "wildcards"))]
    fn with(self, flags: u8) -> Self {
        match self.0 >= NAMED {
            true => Self(self.0 | flags),
            false => self,
        }
    }

    /// What its envelopes say more or less than most.
    fn flags(self) -> u8 {
        match self.0 >= NAMED {
            true => self.0 & FLAGS,
            false => 0,
        }
    }

    /// As this one, without flags.
    fn form(self) -> Self {
        Self(self.0 & !self.flags())
    }

    /// Its sessions are told why they end. Lines have no word for it: they end.
    pub(crate) fn has_last_word(self) -> bool {
        !self.is_stream() || self.form() == Self::EVENTS
    }

    /// One answer, and then the session is over.
    pub(crate) fn is_poll(self) -> bool {
        self.form() == Self::ITEMS
    }

    /// No frames.
    pub(crate) fn is_stream(self) -> bool {
        self.form().0 >= Self::ITEMS.0
    }

    /// As this one, with envelopes around publications; `None`: it has no room for them, or has them anyway.
    fn with_envelopes(self) -> Option<Self> {
        match self.form() {
            Self::EVENTS | Self::ITEMS => None,
            Self::VALUES | Self::ENVELOPE_LINES => Some(Self::ENVELOPE_LINES),
            _ => Some(Self::ENVELOPES),
        }
    }

    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.0 == 0
    }
}

/// From here on encodings have names, and are no groups of sessions that compress: a form in the lowest three bits, and flags.
const NAMED: u8 = 0xE0;
/// Publications say which channel they are of.
const NAMES_CHANNELS: u8 = if cfg!(feature = "wildcards") { 8 } else { 0 };
/// They do not say what they follow: somebody gets some of them only.
const WITHOUT_LINKS: u8 = if cfg!(feature = "filters") { 16 } else { 0 };
const FLAGS: u8 = NAMES_CHANNELS | WITHOUT_LINKS;

/// Whether it is among the flags. One that this build does not have never is.
fn has(flags: u8, flag: u8) -> bool {
    flags & flag != 0
}

/// One more version of the frame that is being published.
#[derive(Debug)]
struct Copy {
    kind: Kind,
    /// What it says more or less than most.
    flags: u8,
    /// The frame itself, if it did not shrink.
    frame: FrameId,
    len: usize,
    /// Sessions that wait for it.
    references: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Value,
    Event,
    Envelope,
    EnvelopeLine,
    Item,
    /// Made beforehand, by [`Hub::publish_placed`].
    #[cfg(feature = "hierachain-history")]
    Placed,
    #[cfg(feature = "deflate")]
    Compressed {
        bits: u8,
        level: u8,
    },
}

impl Kind {
    /// It says where the publication stands, which is another place in each channel.
    fn says_position(self) -> bool {
        matches!(
            self,
            Self::Envelope | Self::EnvelopeLine | Self::Item | Self::Event
        )
    }
}

/// What is said of a publication beside what it says.
#[derive(Debug, Clone, Copy)]
struct About {
    position: Position,
    previous: Position,
}

impl About {
    /// What is said of it with these flags.
    fn with(mut self, flags: u8) -> Self {
        if has(flags, WITHOUT_LINKS) {
            // As at the beginning of a channel's life, which follows nothing.
            self.previous.offset = 0;
        }
        self
    }
}

/// Encodes for those who want it otherwise than plainly.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// Of the publication that is being queued; `None`: it is a message that was not published.
    about: Option<About>,
    /// The name of its channel, for those who listen to several; empty if there are none.
    channel: String,
    /// Where an envelope is written, before its length is known.
    scratch: Vec<u8>,
    /// Copies of the frame that is being published.
    copies: Vec<Copy>,
    #[cfg(feature = "deflate")]
    deflating: Deflating,
}

impl Encoder {
    /// What is queued next is a publication, which stands there.
    #[inline]
    pub(crate) fn about(&mut self, position: Position, previous: Position) {
        self.about = Some(About { position, previous });
    }

    /// It is one of that channel.
    #[cfg(feature = "wildcards")]
    pub(super) fn name_channel(&mut self, name: &str) {
        self.channel.clear();
        self.channel.push_str(name);
    }

    /// Appends a message to one session.
    pub(crate) fn encode(&mut self, out: &mut Vec<u8>, message: Message<'_>, how: Encoding) {
        match how.form() {
            Encoding::VALUES | Encoding::ENVELOPE_LINES => {
                return encode_value(out, message.as_bytes());
            }
            Encoding::EVENTS => return encode_event(out, message, None),
            Encoding::ITEMS => {
                envelope::append_envelope(out, None, None, opcode_of(message), message.as_bytes());
                return out.push(b',');
            }
            _ => {}
        }
        #[cfg(feature = "deflate")]
        if self.deflating.encode(out, message, how) {
            return;
        }
        ws::encode_message(out, message, None);
    }

    /// Appends a short message that is not worth compressing.
    pub(crate) fn encode_marker(&self, out: &mut Vec<u8>, message: Message<'_>, how: Encoding) {
        match how.form() {
            Encoding::VALUES | Encoding::ENVELOPE_LINES => encode_value(out, message.as_bytes()),
            Encoding::EVENTS => encode_event(out, message, Some(events::GAP)),
            Encoding::ITEMS => {
                out.extend_from_slice(message.as_bytes());
                out.push(b',');
            }
            _ => ws::encode_message(out, message, None),
        }
    }

    /// The frame to queue for a session instead of `plain`, which holds one message, and its length. The caller counts
    /// a reference to `plain` all the same.
    #[inline]
    pub(crate) fn copy_for(
        &mut self,
        frames: &mut Frames,
        plain: FrameId,
        plain_bytes: usize,
        how: Encoding,
    ) -> (FrameId, usize) {
        if how.is_plain() {
            return (plain, plain_bytes);
        }
        self.copy_in(frames, plain, plain_bytes, how)
    }

    fn copy_in(
        &mut self,
        frames: &mut Frames,
        plain: FrameId,
        plain_bytes: usize,
        how: Encoding,
    ) -> (FrameId, usize) {
        let flags = how.flags();
        let kind = match how.form() {
            Encoding::VALUES => Some(Kind::Value),
            Encoding::EVENTS => Some(Kind::Event),
            Encoding::ENVELOPES => self.about.map(|_| Kind::Envelope),
            Encoding::ENVELOPE_LINES => {
                Some(self.about.map_or(Kind::Value, |_| Kind::EnvelopeLine))
            }
            Encoding::ITEMS => Some(Kind::Item),
            #[cfg(feature = "hierachain-history")]
            Encoding::PLACED => Some(Kind::Placed),
            #[cfg(feature = "deflate")]
            _ => self.deflating.kind(frames.get(plain), how),
            #[cfg(not(feature = "deflate"))]
            _ => None,
        };
        let Some(kind) = kind else {
            return (plain, plain_bytes);
        };
        let is_it = |copy: &Copy| copy.kind == kind && copy.flags == flags;
        let at = self.copies.iter().position(is_it);
        let at = at.unwrap_or(self.copies.len());
        if at == self.copies.len() {
            let frame = match kind {
                Kind::Value => copy_as_value(frames, plain),
                Kind::Event => self.copy_as_event(frames, plain, flags),
                Kind::Envelope | Kind::EnvelopeLine | Kind::Item => {
                    self.copy_as_envelope(frames, plain, kind, flags)
                }
                // It went to no channel.
                #[cfg(feature = "hierachain-history")]
                Kind::Placed => None,
                #[cfg(feature = "deflate")]
                Kind::Compressed { bits, level } => {
                    self.deflating.compress(frames, plain, bits, level)
                }
            };
            let frame = frame.unwrap_or(plain);
            self.copies.push(Copy {
                kind,
                flags,
                frame,
                len: frames.len_of(frame),
                references: 0,
            });
        }
        let Some(copy) = self.copies.get_mut(at).filter(|copy| copy.frame != plain) else {
            return (plain, plain_bytes);
        };
        copy.references += 1;
        #[cfg(feature = "deflate")]
        if matches!(kind, Kind::Compressed { .. }) {
            self.deflating.note_saved(plain_bytes, copy.len);
        }
        (copy.frame, copy.len)
    }

    /// Appends the last word of a session: why it ends, if it has one.
    pub(crate) fn encode_close(out: &mut Vec<u8>, code: CloseCode, reason: &str, how: Encoding) {
        match how {
            _ if !how.has_last_word() => {}
            _ if how.is_stream() => events::encode_close(out, code.0, reason),
            _ => ws::encode_close(out, code, reason, None),
        }
    }

    /// Appends what says nothing and shows that the stream is alive, or up to where its reader has `seen` all that it
    /// wants.
    pub(crate) fn encode_keep_alive(out: &mut Vec<u8>, how: Encoding, seen: Option<Position>) {
        match (how.form(), seen) {
            (Encoding::EVENTS, Some(seen)) => events::encode_position(out, seen),
            (Encoding::EVENTS, None) => out.extend_from_slice(events::COMMENT),
            _ => out.push(b'\n'),
        }
    }

    /// What is to be queued for sessions that want places, instead of the frame that is published next.
    #[cfg(feature = "hierachain-history")]
    pub(crate) fn offer_placed(&mut self, frame: FrameId, len: usize) {
        self.copies.push(Copy {
            kind: Kind::Placed,
            flags: 0,
            frame,
            len,
            references: 0,
        });
    }

    /// The frame has been published: its copies belong to those who wait for them.
    pub(crate) fn end_copies(&mut self, frames: &mut Frames, plain: FrameId) {
        self.about = None;
        self.channel.clear();
        self.end_copies_that(frames, plain, |_| true);
    }

    /// It has been published in one of several channels: copies that say where end with it.
    pub(crate) fn end_copies_of_positions(&mut self, frames: &mut Frames, plain: FrameId) {
        self.end_copies_that(frames, plain, Kind::says_position);
    }

    fn end_copies_that(&mut self, frames: &mut Frames, plain: FrameId, ends: fn(Kind) -> bool) {
        self.copies.retain(|copy| {
            let copy_ends = ends(copy.kind);
            if copy_ends && copy.frame != plain {
                frames.retain(copy.frame, copy.references);
                frames.forgo(plain, copy.references);
                frames.discard(copy.frame);
            }
            !copy_ends
        });
    }

    fn copy_as_envelope(
        &mut self,
        frames: &mut Frames,
        plain: FrameId,
        kind: Kind,
        flags: u8,
    ) -> Option<FrameId> {
        let scratch = &mut self.scratch;
        scratch.clear();
        let (opcode, payload) = message_in(frames.get(plain))?;
        let event = frames.event(plain);
        let about = self.about.map(|about| about.with(flags));
        let channel = match has(flags, NAMES_CHANNELS) {
            true => &*self.channel,
            false => "",
        };
        envelope::append_envelope_of(scratch, channel, about, event, opcode, payload);
        let copy = frames.insert_copy(plain, |_, out| {
            if kind == Kind::Envelope {
                ws::encode_text_header(out, scratch.len());
            }
            out.extend_from_slice(scratch);
            match kind {
                Kind::EnvelopeLine => out.push(b'\n'),
                Kind::Item => out.push(b','),
                _ => {}
            }
        });
        if scratch.capacity() > SCRATCH_BYTES_KEPT {
            *scratch = Vec::new();
        }
        copy
    }

    fn copy_as_event(&mut self, frames: &mut Frames, plain: FrameId, flags: u8) -> Option<FrameId> {
        let scratch = &mut self.scratch;
        scratch.clear();
        let (opcode, payload) = message_in(frames.get(plain))?;
        let event = frames.event(plain);
        let about = self.about.map(|about| about.with(flags));
        if has(flags, NAMES_CHANNELS) {
            let channel = &*self.channel;
            events::append_envelope(scratch, event, |out| {
                envelope::append_envelope_of(out, channel, about, event, opcode, payload);
            });
        } else {
            let position = about.map(|about| about.position);
            events::append(scratch, position, event, opcode, payload);
        }
        let copy = frames.insert_copy(plain, |_, out| out.extend_from_slice(scratch));
        if scratch.capacity() > SCRATCH_BYTES_KEPT {
            *scratch = Vec::new();
        }
        copy
    }
}

impl Hub {
    /// What waits for a session as items, and the position of the last publication among it, or behind it that it does not
    /// want.
    pub(crate) fn items_for(&self, index: u32) -> (Vec<u8>, Option<String>) {
        let (mut items, mut last) = (Vec::new(), None);
        for item in self.outbox_frames(index) {
            items.extend_from_slice(item);
            last = envelope::position_in(item).or(last);
        }
        let seen = self.seen_up_to(index).map(|seen| seen.to_string());
        (items, seen.or(last.map(str::to_owned)))
    }

    /// `false`: its messages have no room for them.
    pub(super) fn want_envelopes(&mut self, index: u32) -> bool {
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return false;
        };
        let with = session.encoding.with_envelopes();
        session.encoding = with.unwrap_or(session.encoding);
        #[cfg(feature = "filters")]
        if session.marks.has(super::session::Marks::FILTERS) {
            session.encoding = session.encoding.without_links();
        }
        #[cfg(feature = "wildcards")]
        self.name_channels_if_several(index);
        with.is_some()
    }
}

/// Room that is kept for envelopes.
const SCRATCH_BYTES_KEPT: usize = 64 << 10;

fn encode_value(out: &mut Vec<u8>, payload: &[u8]) {
    out.reserve(payload.len() + 1);
    out.extend_from_slice(payload);
    out.push(b'\n');
}

fn copy_as_value(frames: &mut Frames, plain: FrameId) -> Option<FrameId> {
    frames.insert_copy(plain, |plain, out| {
        if let Some((_, payload)) = message_in(plain) {
            encode_value(out, payload);
        }
    })
}

fn opcode_of(message: Message<'_>) -> OpCode {
    match message {
        Message::Text(_) => OpCode::Text,
        Message::Binary(_) => OpCode::Binary,
    }
}

fn encode_event(out: &mut Vec<u8>, message: Message<'_>, name: Option<&str>) {
    events::append(out, None, name, opcode_of(message), message.as_bytes());
}

/// The message of a frame that we have encoded: whole, unmasked, not compressed.
pub(super) fn message_in(frame: &[u8]) -> Option<(OpCode, &[u8])> {
    let (header, taken) = FrameHeader::parse(frame).ok()??;
    Some((header.opcode, frame.get(taken..)?))
}
