//! The files of the log: `0000000000000001.history` and so on.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{HistoryLog, notice};
use crate::hub::Restored;
use crate::journal::{Records, SEGMENT_HEADER_BYTES, Salt};
use crate::random::Random;
use crate::server::{Notice, Transport, Worker};
use crate::time::Now;

/// A segment has no more bytes than this, unless one record alone has …
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// … and no more than this part of the whole log.
const PART_OF_LOG: u64 = 4;
const SUFFIX: &str = ".history";
/// How long what is of no use as things are configured now is left alone, if there is room.
const STRANGE_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// All segments.
pub(super) struct Segments {
    path: PathBuf,
    /// Locked as long as it is open, and synced when a name in it has changed.
    folder: File,
    salt: Salt,
    segment_bytes_max: u64,
    disk_bytes_max: u64,
    /// Those that nothing is written to any more, the oldest first.
    closed: Vec<Segment>,
    current: Option<(File, Segment)>,
    /// No segment had this number.
    next: u64,
}

/// One file.
#[derive(Debug, Clone, Copy)]
struct Segment {
    number: u64,
    bytes: u64,
    /// By then everything in it is too old, in milliseconds since 1970.
    until_unix_ms: u64,
}

impl Segments {
    /// Reads what is there into the worker. Answers what there is to say of it. Nothing is removed before the first
    /// batch, which says where all channels stand.
    pub(super) fn open<T: Transport>(
        settings: &HistoryLog,
        worker: &mut Worker<T>,
        now: Now,
    ) -> io::Result<(Self, Vec<Notice>)> {
        let path = settings.path.clone();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)?;
        let folder = File::open(&path)?;
        flock(&folder, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            let error = io::Error::from(error);
            match error.kind() {
                io::ErrorKind::WouldBlock => io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another server keeps its log there",
                ),
                _ => error,
            }
        })?;
        let salt = Salt::new(Random::system().next_u64());
        let mut segments = Self {
            folder,
            salt,
            segment_bytes_max: SEGMENT_BYTES_MAX.min(settings.disk_bytes_max / PART_OF_LOG),
            disk_bytes_max: settings.disk_bytes_max,
            closed: Vec::new(),
            current: None,
            next: 1,
            path,
        };
        let notices = segments.read(worker, now)?;
        worker.keep_journal(salt);
        Ok((segments, notices))
    }

    fn read<T: Transport>(&mut self, worker: &mut Worker<T>, now: Now) -> io::Result<Vec<Notice>> {
        let mut notices = Vec::new();
        let numbers = self.numbers()?;
        let (mut records_read, mut holes) = (0_u64, 0_u64);
        for (at, number) in numbers.iter().copied().enumerate() {
            let path = self.path_of(number);
            let bytes = fs::read(&path)?;
            let name = path.display();
            let mut segment = Segment {
                number,
                bytes: bytes.len() as u64,
                until_unix_ms: 0,
            };
            self.next = number.saturating_add(1);
            let Ok(mut records) = Records::of(&bytes) else {
                notices.push(notice(format!(
                    "{name} is no segment of a log and is not read"
                )));
                // Perhaps a later version can read it. Without even a beginning nobody can.
                if bytes.len() >= SEGMENT_HEADER_BYTES {
                    segment.until_unix_ms = now.unix_ms.saturating_add(STRANGE_MS);
                }
                self.closed.push(segment);
                continue;
            };
            for record in records.by_ref() {
                records_read += 1;
                let until = match worker.restore(&record, now) {
                    Restored::Linked(until) => until,
                    Restored::Anew(until) => {
                        holes += 1;
                        until
                    }
                    // A mistake in the configuration is mended, perhaps.
                    Restored::Unwanted => record.unix_ms.saturating_add(STRANGE_MS),
                };
                segment.until_unix_ms = segment.until_unix_ms.max(until);
            }
            if records.spoiled > 0 {
                let places = records.spoiled;
                notices.push(notice(format!(
                    "{name} is spoiled in {places} places: what is in front of them counts where the rest links to it"
                )));
            }
            let torn = bytes.len() - records.good_end;
            if torn > 0 {
                let text = format!("{name}: its last {torn} bytes are no whole record");
                notices.push(notice(text));
                if at + 1 == numbers.len() {
                    let file = OpenOptions::new().write(true).open(&path)?;
                    file.set_len(records.good_end as u64)?;
                    file.sync_data()?;
                    segment.bytes = records.good_end as u64;
                }
            }
            self.closed.push(segment);
        }
        if !numbers.is_empty() {
            let (channels, kept) = worker.restored();
            let mut text = format!(
                "{kept} publications of {channels} channels restored from {records_read} records in {}",
                self.path.display()
            );
            if holes > 0 {
                text += &format!("; {holes} times what came next did not follow");
            }
            notices.push(Notice {
                kind: "history",
                text,
            });
        }
        Ok(notices)
    }

    /// Of the files that are named like segments, in order.
    fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            let number = number.filter(|digits| digits.len() == 16);
            numbers.extend(number.and_then(|digits| u64::from_str_radix(digits, 16).ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn path_of(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:016x}{SUFFIX}"))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.path
    }

    /// What the current segment has room for, or a new one, if that has none.
    pub(super) fn room(&self) -> usize {
        let used = match &self.current {
            Some((_, segment)) if segment.bytes < self.segment_bytes_max => segment.bytes,
            _ => SEGMENT_HEADER_BYTES as u64,
        };
        usize::try_from(self.segment_bytes_max - used).unwrap_or(usize::MAX)
    }

    /// Writes whole records behind each other. After an error none of them is there, and the next ones go into a new
    /// segment.
    pub(super) fn write(
        &mut self,
        records: &[u8],
        until_unix_ms: u64,
        now_ms: u64,
    ) -> io::Result<()> {
        let bytes = records.len() as u64;
        if bytes + SEGMENT_HEADER_BYTES as u64 > self.disk_bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is larger than the log may be",
            ));
        }
        let is_full = |segment: &Segment| {
            segment.bytes > SEGMENT_HEADER_BYTES as u64
                && segment.bytes + bytes > self.segment_bytes_max
        };
        if self.current.as_ref().is_some_and(|(_, s)| is_full(s)) {
            self.close()?;
        }
        if self.current.is_none() {
            self.begin(bytes, now_ms)?;
        }
        let Some((file, segment)) = &mut self.current else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Err(error) = file.write_all(records) {
            self.abandon();
            return Err(error);
        }
        segment.bytes += bytes;
        segment.until_unix_ms = segment.until_unix_ms.max(until_unix_ms);
        Ok(())
    }

    /// Makes what was written safe.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let Some((file, _)) = &self.current else {
            return Ok(());
        };
        // What could not be synced may be lost although it can be read: nothing more is put behind it.
        file.sync_data().inspect_err(|_| self.abandon())
    }

    /// Begins a segment, and makes room for it.
    fn begin(&mut self, bytes: u64, now_ms: u64) -> io::Result<()> {
        self.forget_old(now_ms);
        let most = self
            .segment_bytes_max
            .max(bytes + SEGMENT_HEADER_BYTES as u64);
        while self.closed.iter().map(|s| s.bytes).sum::<u64>() + most > self.disk_bytes_max
            && let Some(oldest) = self.closed.first().copied()
        {
            fs::remove_file(self.path_of(oldest.number))?;
            self.closed.remove(0);
        }
        let number = self.next;
        self.next += 1;
        let path = self.path_of(number);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        if let Err(error) = file.write_all(&self.salt.segment_header()) {
            _ = fs::remove_file(&path);
            return Err(error);
        }
        // Not every file system can.
        _ = self.folder.sync_all();
        let segment = Segment {
            number,
            bytes: SEGMENT_HEADER_BYTES as u64,
            until_unix_ms: 0,
        };
        self.current = Some((file, segment));
        Ok(())
    }

    /// Nothing more is written to the current segment.
    fn close(&mut self) -> io::Result<()> {
        self.sync()?;
        if let Some((_, segment)) = self.current.take() {
            self.closed.push(segment);
        }
        Ok(())
    }

    /// The current segment has failed: what is whole in it stays.
    fn abandon(&mut self) {
        let Some((file, segment)) = self.current.take() else {
            return;
        };
        if segment.bytes <= SEGMENT_HEADER_BYTES as u64 {
            _ = fs::remove_file(self.path_of(segment.number));
            return;
        }
        // If not even that can be done, readers skip what is torn.
        _ = file.set_len(segment.bytes);
        self.closed.push(segment);
    }

    /// When a segment is of no use any more.
    pub(super) fn next_old_ms(&self) -> Option<u64> {
        let current = self.current.iter().map(|(_, segment)| segment);
        let all = self.closed.iter().chain(current);
        all.map(|segment| segment.until_unix_ms).min()
    }

    /// Removes segments of which everything is too old. One that cannot be removed goes with the next that can.
    pub(super) fn forget_old(&mut self, now_ms: u64) {
        let is_old = |segment: &Segment| segment.until_unix_ms <= now_ms;
        if self.current.as_ref().is_some_and(|(_, s)| is_old(s)) {
            _ = self.close();
        }
        let old: Vec<Segment> = self.closed.iter().copied().filter(is_old).collect();
        for segment in old {
            if fs::remove_file(self.path_of(segment.number)).is_ok() {
                self.closed.retain(|s| s.number != segment.number);
            }
        }
    }
}
