//! The body of the fuzz target `journal`.

use super::{Record, Records, SEGMENT_HEADER_BYTES, Said, Salt, whole_records};

/// Oracles: any bytes are read without a panic, and what was read is written again as the same bytes; of what was
/// written and cut, a prefix comes back; of what was written and spoiled in one place, all that does not touch it.
///
/// Byte 0 chooses. Even: the rest is a segment. Odd: the rest are records to write, and where to cut or to spoil.
pub fn journal(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else {
        return;
    };
    if how.is_multiple_of(2) {
        read_anything(rest);
        // The same behind a good header, so that the fuzzer need not guess its checksum.
        let salt = Salt::new(u64::from_le_bytes(*b"seedMARK"));
        read_anything(&[&salt.segment_header()[..], rest].concat());
    } else {
        write_and_harm(rest);
    }
}

fn read_anything(segment: &[u8]) {
    let Ok(mut records) = Records::of(segment) else {
        return;
    };
    let salt = records.salt();
    let mut last = records.good_end;
    while let Some(record) = records.next() {
        let mut again = Vec::new();
        assert!(record.append_to(&mut again, salt));
        let end = records.good_end;
        assert!(end - last >= again.len(), "records do not overlap");
        last = end;
        let read = &segment[end - again.len()..end];
        assert_eq!(again, read, "what was read is written the same");
        assert_eq!(whole_records(&again, usize::MAX), again.len());
    }
    assert!(records.good_end <= segment.len());
}

fn write_and_harm(mut data: &[u8]) {
    let mut take = |n: usize| {
        let (taken, rest) = data.split_at(n.min(data.len()));
        data = rest;
        taken
    };
    let harm = take(4).iter().fold(0, |n, b| n << 8 | usize::from(*b));
    let salt = Salt::new(0x5eed_0000_0000_5a17 ^ harm as u64);
    let mut segment = salt.segment_header().to_vec();
    let mut written = Vec::new();
    while let [kind, length] = *take(2) {
        let payload = take(length.into());
        let (event, tags) = [
            (None, ""),
            (Some("goal"), "home,final"),
            (None, "red"),
            (Some(""), ""),
        ][usize::from(kind >> 6)];
        let is_text = kind & 1 == 0 && std::str::from_utf8(payload).is_ok();
        let said = match kind & 6 {
            6 => Said::Head,
            _ => Said::Publication {
                tag_before: u32::from(kind) << 7,
                is_text,
                event,
                tags,
                payload,
            },
        };
        let record = Record {
            space: ["", "pubsub"][usize::from(kind >> 3 & 1)],
            channel: ["a", "news", "\u{e9}"][usize::from(kind >> 4) % 3],
            epoch: u32::from(length) << 20,
            offset: u64::from(kind) + 1,
            tag: u32::from(kind) * 77,
            unix_ms: u64::from(length) << 33,
            said,
        };
        assert!(record.append_to(&mut segment, salt));
        written.push((record, segment.len()));
        if written.len() == 64 {
            break;
        }
    }
    let read = |bytes: &[u8], expected: &[Record<'_>]| {
        let Ok(records) = Records::of(bytes) else {
            assert!(bytes.len() < SEGMENT_HEADER_BYTES);
            return;
        };
        assert_eq!(records.collect::<Vec<_>>(), expected);
    };
    let all: Vec<Record<'_>> = written.iter().map(|(record, _)| *record).collect();
    read(&segment, &all);
    let at = harm % (segment.len() + 1);
    let before = written.partition_point(|(_, end)| *end <= at);
    read(&segment[..at], &all[..before]);
    // The header spoiled is the segment gone.
    if (SEGMENT_HEADER_BYTES..segment.len()).contains(&at) {
        segment[at] ^= 1 << (harm % 8);
        let mut rest = all;
        rest.remove(before);
        read(&segment, &rest);
    }
}
