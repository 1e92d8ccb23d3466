use super::*;

fn sample(offset: u64) -> Record<'static> {
    Record {
        space: "pubsub",
        channel: "news",
        epoch: 0xabcd_ef01,
        offset,
        tag: 7 * offset as u32,
        unix_ms: 1_700_000_000_000 + offset,
        said: Said::Publication {
            tag_before: 7 * (offset as u32 - 1),
            is_text: true,
            event: None,
            tags: "",
            payload: b"hello",
        },
    }
}

/// The same, called something, each third one in another way.
fn called(offset: u64) -> Record<'static> {
    let (event, tags) = [(Some("goal"), "home,final"), (None, "red"), (Some(""), "")]
        [usize::try_from(offset % 3).unwrap()];
    Record {
        said: Said::Publication {
            tag_before: 7 * (offset as u32 - 1),
            is_text: true,
            event,
            tags,
            payload: b"hello",
        },
        ..sample(offset)
    }
}

/// Every other one is called something.
fn either(offset: u64) -> Record<'static> {
    match offset % 2 {
        0 => called(offset),
        _ => sample(offset),
    }
}

fn segment_of(count: u64, record: fn(u64) -> Record<'static>) -> (Vec<u8>, Vec<usize>) {
    let salt = Salt::new(0x0123_4567_89ab_cdef);
    let mut bytes = salt.segment_header().to_vec();
    let ends = (1..=count).map(|n| {
        assert!(record(n).append_to(&mut bytes, salt));
        bytes.len()
    });
    let ends = ends.collect();
    (bytes, ends)
}

/// Holds a segment of one record against what is written down; a part of dashes may be anything.
fn check_format(bytes: &[u8], expected: &[&str]) {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let mut at = 0;
    for part in expected {
        let found = &hex[at..at + part.len()];
        let is_sum = part.starts_with('-');
        assert!(
            is_sum || found == *part,
            "{found} instead of {part} at {at}"
        );
        at += part.len();
    }
    assert_eq!(at, hex.len());
}

#[test]
fn the_format_is_what_is_written_down() {
    let (bytes, _) = segment_of(1, sample);
    let expected = [
        "64756e6c696e686c",
        "01000000",
        "67452301",
        "efcdab89",
        "--------",
        "67452301",
        "31000000",
        "--------",
        "01",
        "01",
        "0600",
        "0400",
        "00000000",
        "01efcdab",
        "0100000000000000",
        "07000000",
        "0168e5cf8b010000",
        "707562737562",
        "6e657773",
        "68656c6c6f",
    ];
    check_format(&bytes, &expected);
    // With a name: another kind, and two lengths and two texts more.
    let (bytes, _) = segment_of(1, |_| called(3));
    let with = [
        &expected[..6],
        &["43000000", "--------", "03", "01", "0600", "0400"],
        &["0e000000", "01efcdab", "0300000000000000", "15000000"],
        &["0368e5cf8b010000", "707562737562", "6e657773"],
        &["0400", "0a00", "676f616c", "686f6d652c66696e616c"],
        &["68656c6c6f"],
    ];
    check_format(&bytes, &with.concat());
}

#[test]
fn what_a_publication_is_called_is_read_as_it_was_written() {
    let longest = "e".repeat(usize::from(u16::MAX) - 1);
    let salt = Salt::new(7);
    for (event, tags) in [
        (None, ""),
        (None, "red"),
        (Some(""), ""),
        (Some("goal"), ""),
        (Some("goal"), "home,final"),
        (Some(&*longest), "home"),
    ] {
        for payload in [&b""[..], b"hello"] {
            let record = Record {
                said: Said::Publication {
                    tag_before: 1,
                    is_text: true,
                    event,
                    tags,
                    payload,
                },
                ..sample(2)
            };
            let mut bytes = salt.segment_header().to_vec();
            assert!(record.append_to(&mut bytes, salt));
            assert_eq!(Records::of(&bytes).unwrap().collect::<Vec<_>>(), [record]);
        }
    }
    // A name that has no room is none that is cut.
    let longer = format!("{longest}e");
    for (event, tags) in [(Some(&*longer), ""), (None, &*format!("{longer}e"))] {
        let record = Record {
            said: Said::Publication {
                tag_before: 1,
                is_text: true,
                event,
                tags,
                payload: b"",
            },
            ..sample(2)
        };
        let mut bytes = Vec::new();
        assert!(!record.append_to(&mut bytes, salt));
        assert_eq!(bytes, [0; 0]);
    }
}

/// Whole by its checksum, but what it is called goes beyond the record, is no text, or is nothing.
#[test]
fn a_name_that_cannot_be_is_skipped_with_its_record() {
    let salt = Salt::new(5);
    for names in [
        &b"\x01\x00\x00\x00"[..],
        b"\x00\x00\x01\x00",
        b"\x01\x00\x01\x00x",
        b"\x01\x00\x00\x00\xff",
        b"\xff\xff\x01\x00\xff",
        b"\xff\xff\x00\x00hello",
        b"\xff\xff\x00",
        b"",
    ] {
        let mut bytes = salt.segment_header().to_vec();
        assert!(sample(1).append_to(&mut bytes, salt));
        let begin = SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES;
        let mut body = bytes[begin..bytes.len() - 5].to_vec();
        body[0] = CALLED;
        body.extend_from_slice(names);
        let length = (body.len() as u32).to_le_bytes();
        let sum = salt.checksum(&[&length, &body]).to_le_bytes();
        bytes.extend([&salt.mark[..], &length, &sum, &body].concat());
        assert!(called(2).append_to(&mut bytes, salt));
        let mut records = Records::of(&bytes).unwrap();
        let offsets: Vec<u64> = records.by_ref().map(|r| r.offset).collect();
        assert_eq!(offsets, [1, 2], "{names:?}");
        assert_eq!((records.spoiled, records.good_end), (0, bytes.len()));
    }
}

#[test]
fn cut_anywhere_the_whole_records_before_are_read() {
    let (bytes, ends) = segment_of(5, either);
    for cut in 0..=bytes.len() {
        let Ok(mut records) = Records::of(&bytes[..cut]) else {
            assert!(cut < SEGMENT_HEADER_BYTES);
            continue;
        };
        let whole = ends.partition_point(|end| *end <= cut);
        assert_eq!(records.by_ref().count(), whole, "cut at {cut}");
        let good_end = whole
            .checked_sub(1)
            .map_or(SEGMENT_HEADER_BYTES, |n| ends[n]);
        assert_eq!((records.good_end, records.spoiled), (good_end, 0));
    }
}

#[test]
fn one_bit_anywhere_costs_its_own_record_and_no_other() {
    let (bytes, ends) = segment_of(4, either);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut spoiled = bytes.clone();
            spoiled[at] ^= 1 << bit;
            let Ok(mut records) = Records::of(&spoiled) else {
                assert!(at < SEGMENT_HEADER_BYTES, "{at}");
                continue;
            };
            assert!(at >= SEGMENT_HEADER_BYTES, "a header is checked: {at}");
            let own = ends.partition_point(|end| *end <= at);
            let offsets: Vec<u64> = records.by_ref().map(|r| r.offset - 1).collect();
            let others: Vec<u64> = (0..4).filter(|n| *n != own as u64).collect();
            assert_eq!(offsets, others, "bit {bit} of byte {at}");
            assert_eq!(records.spoiled, usize::from(own != 3));
        }
    }
}

#[test]
fn a_record_inside_a_message_is_no_record() {
    let salt = Salt::new(0x1111_2222_3333_4444);
    // By somebody who knows the format, but not what this process has drawn.
    let mut inside = Vec::new();
    assert!(sample(9).append_to(&mut inside, Salt::new(0x1111_2222_3333_4445)));
    assert!(sample(9).append_to(&mut inside, Salt::new(0)));
    let around = Record {
        said: Said::Publication {
            tag_before: 0,
            is_text: false,
            event: None,
            tags: "",
            payload: &inside,
        },
        ..sample(1)
    };
    let mut bytes = salt.segment_header().to_vec();
    assert!(around.append_to(&mut bytes, salt));
    assert_eq!(Records::of(&bytes).unwrap().count(), 1);
    // What is around it is spoiled, and everything is looked through.
    bytes[SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES] ^= 0xff;
    assert_eq!(Records::of(&bytes).unwrap().count(), 0);
}

#[test]
fn what_a_later_version_writes_is_skipped() {
    let salt = Salt::new(5);
    let mut bytes = salt.segment_header().to_vec();
    assert!(sample(1).append_to(&mut bytes, salt));
    let body = [&[9, 9][..], &[0; FIXED_BYTES]].concat();
    let length = (body.len() as u32).to_le_bytes();
    let sum = salt.checksum(&[&length, &body]).to_le_bytes();
    bytes.extend([&salt.mark[..], &length, &sum, &body].concat());
    assert!(sample(2).append_to(&mut bytes, salt));
    let mut records = Records::of(&bytes).unwrap();
    assert_eq!(records.by_ref().count(), 2);
    assert_eq!((records.spoiled, records.good_end), (0, bytes.len()));
    // A later version of the whole is not read at all.
    bytes[8] = 2;
    assert_eq!(Records::of(&bytes).unwrap_err(), NoSegment);
}

#[test]
fn records_are_divided_between_segments_where_they_end() {
    let (bytes, ends) = segment_of(3, sample);
    let records = &bytes[SEGMENT_HEADER_BYTES..];
    let first = ends[0] - SEGMENT_HEADER_BYTES;
    for (max, whole) in [
        (0, first),
        (first, first),
        (2 * first - 1, first),
        (2 * first, 2 * first),
        (usize::MAX, 3 * first),
    ] {
        assert_eq!(whole_records(records, max), whole, "at most {max}");
    }
    assert_eq!(whole_records(&[], 100), 0);
}
