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
//! Who listens by a pattern (feature `wildcards`) has envelopes and events that say which channel each publication is of: in
//! numbers, the same encoding with one bit less.

#[cfg(feature = "deflate")]
mod deflating;
mod envelope;
mod events;

#[cfg(feature = "deflate")]
use deflating::Deflating;

use super::frames::{FrameId, Frames};
use super::{Hub, Position};
use crate::ws::{self, CloseCode, FrameHeader, Message, OpCode};

/// How a session wants its messages: as they are (0), in one of the ways that have a name, or compressed like the group
/// of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Encoding(u8);

impl Encoding {
    /// Values in a stream, or lines.
    pub(crate) const VALUES: Self = Self(u8::MAX);
    /// Server-sent events, publications with their position.
    pub(crate) const EVENTS: Self = Self(u8::MAX - 1);
    /// Lines: of publications, envelopes; other messages as they are.
    pub(crate) const ENVELOPE_LINES: Self = Self(u8::MAX - 2);
    /// Envelopes with a comma behind each, which somebody puts into a list.
    pub(crate) const ITEMS: Self = Self(u8::MAX - 3);
    /// Frames with envelopes, which say where publications stand; other messages as they are.
    pub(crate) const ENVELOPES: Self = Self(u8::MAX - 4);
    /// From here on they are no groups of sessions that compress.
    #[cfg(any(feature = "deflate", feature = "wildcards"))]
    const FIRST_NAMED: Self = Self(u8::MAX - 15);
    /// Of those, missing where publications say which channel they are of.
    #[cfg(feature = "wildcards")]
    const OF_ONE_CHANNEL: u8 = 8;

    /// As this one, saying which channels publications are of, where there is room for that.
    #[cfg(feature = "wildcards")]
    pub(super) fn naming_channels(self) -> Self {
        match self.0 >= Self::FIRST_NAMED.0 {
            true => Self(self.0 & !Self::OF_ONE_CHANNEL),
            false => self,
        }
    }

    #[cfg(feature = "wildcards")]
    fn names_channels(self) -> bool {
        self.0 >= Self::FIRST_NAMED.0 && self.0 & Self::OF_ONE_CHANNEL == 0
    }

    #[cfg(not(feature = "wildcards"))]
    fn names_channels(self) -> bool {
        false
    }

    /// As this one, not saying it.
    fn unnamed(self) -> Self {
        #[cfg(feature = "wildcards")]
        if self.names_channels() {
            return Self(self.0 | Self::OF_ONE_CHANNEL);
        }
        self
    }

    /// Its sessions are told why they end. Lines have no word for it: they end.
    pub(crate) fn has_last_word(self) -> bool {
        !self.is_stream() || self.unnamed() == Self::EVENTS
    }

    /// One answer, and then the session is over.
    pub(crate) fn is_poll(self) -> bool {
        self.unnamed() == Self::ITEMS
    }

    /// No frames.
    pub(crate) fn is_stream(self) -> bool {
        self.unnamed().0 >= Self::ITEMS.0
    }

    /// As this one, with envelopes around publications; `None`: it has no room for them, or has them anyway.
    fn with_envelopes(self) -> Option<Self> {
        match self.unnamed() {
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

/// One more version of the frame that is being published.
#[derive(Debug)]
struct Copy {
    kind: Kind,
    /// It says which channel it is of.
    is_named: bool,
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
        match how.unnamed() {
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
        match how.unnamed() {
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
        let is_named = how.names_channels();
        let kind = match how.unnamed() {
            Encoding::VALUES => Some(Kind::Value),
            Encoding::EVENTS => Some(Kind::Event),
            Encoding::ENVELOPES => self.about.map(|_| Kind::Envelope),
            Encoding::ENVELOPE_LINES => {
                Some(self.about.map_or(Kind::Value, |_| Kind::EnvelopeLine))
            }
            Encoding::ITEMS => Some(Kind::Item),
            #[cfg(feature = "deflate")]
            _ => self.deflating.kind(frames.get(plain), how),
            #[cfg(not(feature = "deflate"))]
            _ => None,
        };
        let Some(kind) = kind else {
            return (plain, plain_bytes);
        };
        let is_it = |copy: &Copy| copy.kind == kind && copy.is_named == is_named;
        let at = self.copies.iter().position(is_it);
        let at = at.unwrap_or(self.copies.len());
        if at == self.copies.len() {
            let frame = match kind {
                Kind::Value => copy_as_value(frames, plain),
                Kind::Event => self.copy_as_event(frames, plain, is_named),
                Kind::Envelope | Kind::EnvelopeLine | Kind::Item => {
                    self.copy_as_envelope(frames, plain, kind, is_named)
                }
                #[cfg(feature = "deflate")]
                Kind::Compressed { bits, level } => {
                    self.deflating.compress(frames, plain, bits, level)
                }
            };
            let frame = frame.unwrap_or(plain);
            self.copies.push(Copy {
                kind,
                is_named,
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

    /// Appends what says nothing and shows that the stream is alive.
    pub(crate) fn encode_keep_alive(out: &mut Vec<u8>, how: Encoding) {
        match how.unnamed() {
            Encoding::EVENTS => out.extend_from_slice(events::COMMENT),
            _ => out.push(b'\n'),
        }
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
        is_named: bool,
    ) -> Option<FrameId> {
        let scratch = &mut self.scratch;
        scratch.clear();
        let (opcode, payload) = message_in(frames.get(plain))?;
        let event = frames.event(plain);
        let channel = if is_named { &*self.channel } else { "" };
        envelope::append_envelope_of(scratch, channel, self.about, event, opcode, payload);
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

    fn copy_as_event(
        &mut self,
        frames: &mut Frames,
        plain: FrameId,
        is_named: bool,
    ) -> Option<FrameId> {
        let scratch = &mut self.scratch;
        scratch.clear();
        let (opcode, payload) = message_in(frames.get(plain))?;
        let event = frames.event(plain);
        if is_named {
            let (channel, about) = (&*self.channel, self.about);
            events::append_envelope(scratch, event, |out| {
                envelope::append_envelope_of(out, channel, about, event, opcode, payload);
            });
        } else {
            let position = self.about.map(|about| about.position);
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
    /// What waits for a session as items, and the position of the last publication among it.
    pub(crate) fn items_for(&self, index: u32) -> (Vec<u8>, Option<String>) {
        let (mut items, mut last) = (Vec::new(), None);
        for item in self.outbox_frames(index) {
            items.extend_from_slice(item);
            last = envelope::position_in(item).or(last);
        }
        (items, last.map(str::to_owned))
    }

    /// `false`: its messages have no room for them.
    pub(super) fn want_envelopes(&mut self, index: u32) -> bool {
        let Some(session) = self.sessions.get_mut(index as usize) else {
            return false;
        };
        let with = session.encoding.with_envelopes();
        session.encoding = with.unwrap_or(session.encoding);
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
