//! What rings keep, on its way to a log, and back out of one after a restart (feature `history-log`).
//!
//! The hub touches no file. While a turn goes on, what is kept is written into a batch of bytes; whoever drives the worker
//! takes it and says how much still waits to be written. **Publications never wait for the log**: if too much of it waits,
//! they go out and are kept as ever, and are missing in the log. There is no need to mark the place: the next one that is
//! logged names a predecessor that the log does not have.
//!
//! Read back, records are told to the hub in the order in which they were written. **Of each channel the newest piece
//! without a hole counts**: a publication that does not follow the one before it begins the ring anew. If the end of a log
//! was lost, its channels go on from an older head, and what they publish then has other tags: who has seen what was
//! lost is told of a gap.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

#[cfg(feature = "filters")]
use super::Tags;
use super::encoding::message_in;
use super::publish::Label;
use super::{FrameId, Hub, Position};
use crate::journal::{Record, Said, Salt};
use crate::ws::{self, Message, OpCode};

/// What waits to be logged, and how much of it there may be.
#[derive(Debug)]
pub(super) struct Journal {
    salt: Salt,
    batch: Batch,
    /// Bytes of earlier batches that are not written yet.
    waiting: usize,
}

/// Records, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: u64,
    /// By then everything in it is too old to be kept, in milliseconds since 1970.
    pub(crate) until_unix_ms: u64,
}

/// What became of a record that was read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored {
    /// It follows what was there, or begins a channel. It is of no use from then on, in milliseconds since 1970.
    Linked(u64),
    /// It does not follow what was there: that is forgotten, and the channel begins here. Likewise.
    Anew(u64),
    /// Its channel is not one that is restored, as things are configured now.
    Unwanted,
}

/// So much may wait for the log, if the memory budget is large enough …
const WAITING_BYTES_MAX: usize = 4 << 20;
/// … or this part of it.
const PART_OF_BUDGET: usize = 8;
/// How long it is of use where a channel stands: a server that runs longer says so again when it ends.
const HEAD_MS: u64 = 30 * 24 * 60 * 60 * 1000;

impl Journal {
    fn bytes(&self) -> usize {
        self.batch.bytes.len() + self.waiting
    }

    fn note(&mut self, until_unix_ms: u64) {
        self.batch.records += 1;
        self.batch.until_unix_ms = self.batch.until_unix_ms.max(until_unix_ms);
    }
}

impl Hub {
    /// From now on, what is kept is to be logged too. The log begins with where the channels stand that were restored:
    /// where an older one says so may soon be gone.
    pub(crate) fn keep_journal(&mut self, salt: Salt) {
        self.journal = Some(Box::new(Journal {
            salt,
            batch: Batch::default(),
            waiting: 0,
        }));
        self.log_heads();
    }

    /// Bytes that wait for the log.
    pub(super) fn journal_bytes(&self) -> usize {
        self.journal.as_ref().map_or(0, |journal| journal.bytes())
    }

    /// Takes what is to be logged.
    pub(crate) fn take_batch(&mut self) -> Option<Batch> {
        let journal = self.journal.as_mut()?;
        (journal.batch.records > 0).then(|| std::mem::take(&mut journal.batch))
    }

    /// So many bytes of what was taken are not written yet.
    pub(crate) fn note_journal_waiting(&mut self, bytes: usize) {
        if let Some(journal) = &mut self.journal {
            journal.waiting = bytes;
        }
    }

    /// A publication is about to be kept: it goes into the log, if its channel's do and there is room. It is its
    /// channel's head already, and its ring does not have it yet.
    pub(super) fn log_publication(&mut self, channel: u32, frame: FrameId) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let Some(entry) = self.channels.get(channel) else {
            return;
        };
        let Some(ring) = entry.ring.as_ref().filter(|ring| ring.is_durable()) else {
            return;
        };
        let Some((opcode, payload)) = message_in(self.frames.get(frame)) else {
            return;
        };
        let max = WAITING_BYTES_MAX.min(self.limits.memory_budget_bytes / PART_OF_BUDGET);
        let waits = journal.bytes();
        // One alone is never too much.
        let has_room = waits == 0 || waits.saturating_add(payload.len()) <= max;
        let head = entry.head;
        let unix_ms = self.now.unix_ms;
        let record = Record {
            space: self.channels.space_name(entry.space),
            channel: &entry.name,
            epoch: head.epoch,
            offset: head.offset,
            tag: head.tag,
            unix_ms,
            said: Said::Publication {
                tag_before: ring.head().tag,
                is_text: opcode == OpCode::Text,
                event: self.frames.event(frame),
                tags: self.frames.tags(frame),
                payload,
            },
        };
        if has_room && record.append_to(&mut journal.batch.bytes, journal.salt) {
            journal.note(unix_ms.saturating_add(ring.age_ms_max()));
            self.metrics.history_logged_total += 1;
        } else {
            self.metrics.history_log_lost_total += 1;
        }
    }

    /// Logs where the channels stand that are logged, at the beginning and before the end: of those whose publications
    /// are all too old the log may have nothing else.
    pub(crate) fn log_heads(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        for (_, channel) in self.channels.iter() {
            let ring = channel.ring.as_ref();
            if !ring.is_some_and(|ring| ring.is_listed() && ring.is_durable()) {
                continue;
            }
            let record = Record {
                space: self.channels.space_name(channel.space),
                channel: &channel.name,
                epoch: channel.head.epoch,
                offset: channel.head.offset,
                tag: channel.head.tag,
                unix_ms: self.now.unix_ms,
                said: Said::Head,
            };
            if record.append_to(&mut journal.batch.bytes, journal.salt) {
                journal.note(self.now.unix_ms.saturating_add(HEAD_MS));
            }
        }
    }

    /// Takes a record back, in its turn. Nobody is subscribed yet.
    pub(crate) fn restore(&mut self, record: &Record<'_>) -> Restored {
        let Some(space) = self.channels.find_space(record.space) else {
            return Restored::Unwanted;
        };
        let name = record.channel;
        let Some(age_ms_max) = self.channels.durable_ms(space, name) else {
            return Restored::Unwanted;
        };
        let position = Position {
            epoch: record.epoch,
            offset: record.offset,
            tag: record.tag,
        };
        let previous = match record.said {
            Said::Publication { tag_before, .. } => Position {
                offset: record.offset.saturating_sub(1),
                tag: tag_before,
                ..position
            },
            Said::Head => position,
        };
        let found = self.channels.find(space, name);
        if found.is_none() && self.make_room_for_channels(1).is_err() {
            return Restored::Unwanted;
        }
        let id = found.unwrap_or_else(|| self.channels.create(space, name, previous));
        let Some(channel) = self.channels.get_mut(id) else {
            return Restored::Unwanted;
        };
        let links = channel.head == previous;
        channel.head = position;
        let (slow, is_given_again) = (channel.slow, channel.catches_up());
        if !links {
            self.restart_ring(id, previous);
        }
        let until = match record.said {
            Said::Publication {
                is_text,
                event,
                tags,
                payload,
                ..
            } => {
                let message = match std::str::from_utf8(payload) {
                    Ok(text) if is_text => Message::Text(text),
                    _ => Message::Binary(payload),
                };
                let frame = self.frames.insert_publication(position.epoch, slow, |out| {
                    ws::encode_message(out, message, None);
                });
                self.label_restored(frame, event, tags);
                if is_given_again {
                    self.frames.note_kept(frame, previous);
                }
                #[cfg(feature = "hierachain-history")]
                let frame = self.same_as_before(frame, record.unix_ms);
                let ago_ms = self.now.unix_ms.saturating_sub(record.unix_ms);
                self.keep_since(id, frame, ago_ms);
                self.frames.discard(frame);
                record.unix_ms.saturating_add(age_ms_max)
            }
            Said::Head => {
                self.list_ring(id);
                // It is written again at once.
                0
            }
        };
        if links {
            Restored::Linked(until)
        } else {
            Restored::Anew(until)
        }
    }

    /// A publication that was read back is called what it was called before.
    #[cfg(feature = "filters")]
    fn label_restored(&mut self, frame: FrameId, event: Option<&str>, tags: &str) {
        let tags = Tags::new(tags.split(',')).ok();
        let tags = tags.as_ref();
        self.frames.label(frame, Label { event, tags });
    }

    /// Nobody asks for tags in a build without filters. They stay where they are in the log, for one that has them.
    #[cfg(not(feature = "filters"))]
    fn label_restored(&mut self, frame: FrameId, event: Option<&str>, _tags: &str) {
        self.frames.label(frame, Label::of(event));
    }

    /// Publications that are kept, all channels together.
    pub(crate) fn kept(&self) -> usize {
        let rings = self.channels.iter().filter_map(|(_, c)| c.ring.as_ref());
        rings.map(|ring| ring.len()).sum()
    }
}
