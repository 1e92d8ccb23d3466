//! Bodies of fuzz targets: ordinary functions, so that a plain `cargo test` can run them too.
//!
//! The rule: each names its oracle in the first line of its documentation, and panics when the oracle is violated.

use super::{
    BodyLength, BodyReader, ForwardedHeader, Head, HeadLimits, HeadSeeker, HttpError,
    PROXY_HEADER_BYTES_MAX, ProxySource, ResponseHead, forwarded_nodes, read_proxy_header,
};

mod answer;
pub use answer::http_client_answer;

/// Oracle: byte by byte equals whole, and an accepted head passes an independent, naive check of its lines.
pub fn http_head(data: &[u8]) {
    let tight = HeadLimits {
        head_bytes_max: 96,
        target_bytes_max: 12,
        headers_max: 3,
    };
    for limits in [HeadLimits::default(), tight] {
        let whole = HeadSeeker::default().seek(data, &limits);
        assert_eq!(
            whole,
            seek_bytewise(data, &limits),
            "the cut must not matter"
        );
        let Ok(Some(end)) = whole else {
            assert!(
                Head::parse(data, &limits).is_err(),
                "only a whole head is accepted"
            );
            continue;
        };
        assert!(end <= limits.head_bytes_max);
        let (Some(bytes), Some(cut)) = (data.get(..end), data.get(..end - 1)) else {
            panic!("the end lies in the data");
        };
        assert!(
            Head::parse(cut, &limits).is_err(),
            "a head without its last byte is not whole"
        );
        if let Ok(head) = Head::parse(bytes, &limits) {
            check_naively(bytes, &head, &limits);
            check_parts(&head);
        }
        if let Ok(head) = ResponseHead::parse(bytes, &limits) {
            assert!((100..=999).contains(&head.status()));
            let _ = (
                head.body(false),
                head.body(true),
                head.keep_alive(),
                format!("{head:?}"),
            );
        }
    }
}

/// Oracle: cut anywhere equals whole, the output stays within the limit, and what is encoded is decoded again.
pub fn http_body(data: &[u8]) {
    let [mode, limit, step, input @ ..] = data else {
        return;
    };
    let bytes_max = usize::from(*limit) * 4;
    let length = match mode % 3 {
        0 => BodyLength::None,
        1 => BodyLength::Exact(u64::from(mode / 3)),
        _ => BodyLength::Chunked,
    };
    if let Ok(reader) = BodyReader::new(length, bytes_max) {
        let whole = read_in_steps(reader.clone(), input, input.len().max(1));
        assert!(whole.1.len() <= bytes_max, "the limit holds");
        for step in [1, usize::from(*step).max(1)] {
            assert_eq!(
                read_in_steps(reader.clone(), input, step),
                whole,
                "the cut must not matter"
            );
        }
    }

    let mut encoded = Vec::new();
    for piece in input.chunks(usize::from(*step).max(1)) {
        encoded.extend_from_slice(format!("{:x};x\r\n", piece.len()).as_bytes());
        encoded.extend_from_slice(piece);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded.extend_from_slice(b"0\r\nT: x\r\n\r\n");
    if input.len() <= 4096 {
        let reader = BodyReader::new(BodyLength::Chunked, input.len())
            .expect("chunked bodies announce nothing");
        let decoded = read_in_steps(reader, &encoded, usize::from(*limit).max(1));
        assert_eq!(decoded, (Ok((encoded.len(), true)), input.to_vec()));
    }
}

/// Oracle: the cut must not matter, an answer stays whatever follows, and what a proxy encodes is read back.
pub fn proxy_header(data: &[u8]) {
    let mut first = None;
    for len in 0..=data.len().min(PROXY_HEADER_BYTES_MAX + 8) {
        let answer = read_proxy_header(data.get(..len).unwrap_or_default());
        match (&first, answer) {
            (None, Ok(None)) => assert!(len < PROXY_HEADER_BYTES_MAX, "a header has an end"),
            (None, Ok(Some((end, _)))) => {
                assert_eq!(end, len, "the end is seen with its last byte");
                first = Some(answer);
            }
            (None, Err(_)) => first = Some(answer),
            (Some(first), later) => assert_eq!(*first, later, "an answer stays"),
        }
    }
    let answer = first.unwrap_or(Ok(None));
    assert_eq!(read_proxy_header(data), answer, "byte by byte equals whole");

    let Some((ip, tlvs)) = data.split_first_chunk::<16>() else {
        return;
    };
    let tlvs = tlvs.get(..tlvs.len().min(400)).unwrap_or_default();
    let source = std::net::SocketAddr::from((*ip, u16::from_be_bytes([ip[3], ip[9]])));
    let meant = std::net::SocketAddr::new(source.ip().to_canonical(), source.port());
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21".to_vec();
    header.extend((36 + tlvs.len() as u16).to_be_bytes());
    header.extend(
        [
            &ip[..],
            &[7; 16],
            &source.port().to_be_bytes(),
            &[0, 9],
            tlvs,
        ]
        .concat(),
    );
    let line = format!("PROXY TCP6 {} ::1 {} 9\r\n", source.ip(), source.port());
    for header in [header, line.into_bytes()] {
        let expected = Ok(Some((header.len(), ProxySource::Address(meant))));
        assert_eq!(read_proxy_header(&header), expected);
    }
}

fn seek_bytewise(data: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HttpError> {
    let mut seeker = HeadSeeker::default();
    for len in 0..=data.len() {
        match seeker.seek(data.get(..len).unwrap_or_default(), limits) {
            Ok(None) => {}
            Ok(Some(end)) => {
                assert_eq!(end, len, "the end is seen with its last byte");
                return Ok(Some(end));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Knows nothing of the parser: lines, colons and bytes only.
fn check_naively(bytes: &[u8], head: &Head, limits: &HeadLimits) {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let text: String = bytes.iter().map(|&b| char::from(b)).collect();
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert!(
        lines
            .iter()
            .all(|line| !line.contains(|c: char| (c < ' ' && c != '\t') || c == '\x7f'))
    );
    let [first, fields @ .., "", ""] = lines.as_slice() else {
        panic!("a head ends with a blank line")
    };

    let parts: Vec<&str> = first.split(' ').collect();
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[0], head.method());
    // One character of `text` is one byte of the head.
    assert!(parts[1].chars().count() <= limits.target_bytes_max && !parts[1].contains('#'));
    assert_eq!(parts[2], format!("HTTP/1.{}", head.minor_version()));

    assert!(fields.len() <= limits.headers_max);
    assert_eq!(fields.len(), head.headers().count());
    let mut hosts = 0;
    let (mut lengths, mut codings) = (0, 0);
    for (line, (name, value)) in fields.iter().zip(head.headers()) {
        let (naive_name, naive_value) = line.split_once(':').expect("a header line has a colon");
        assert!(!naive_name.is_empty() && !naive_name.contains([' ', '\t']));
        assert_eq!(naive_name, name);
        let value: String = value.iter().map(|&b| char::from(b)).collect();
        assert_eq!(naive_value.trim_matches([' ', '\t']), value);
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length" => lengths += 1,
            "transfer-encoding" => codings += 1,
            _ => {}
        }
    }
    assert!(hosts == 1 || (hosts == 0 && head.minor_version() == 0));
    match head.body() {
        Ok(BodyLength::None) => assert_eq!((lengths, codings), (0, 0)),
        Ok(BodyLength::Exact(_)) => assert!(lengths > 0 && codings == 0),
        Ok(BodyLength::Chunked) => assert_eq!((lengths, codings, head.minor_version()), (0, 1, 1)),
        Err(_) => assert!(lengths + codings > 0),
    }
}

/// The parts of the target fit together; the other questions only have to be answered.
fn check_parts(head: &Head) {
    let joined = head.query().map_or(head.path().to_owned(), |query| {
        format!("{}?{query}", head.path())
    });
    assert_eq!(joined, head.target());
    assert!(head.path().starts_with('/') || head.path() == "*");
    assert_eq!(
        head.authority().is_some(),
        !head.raw_target().starts_with(['/', '*'])
    );
    let _ = (
        head.keep_alive(),
        head.expects_continue(),
        head.host(),
        head.query_param("a"),
        head.cookie("a"),
    );
    let _ = (head.has_token("connection", "upgrade"), format!("{head:?}"));
    for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
        let bytes: usize = head.headers().map(|(_, value)| value.len()).sum();
        assert!(forwarded_nodes(head, header).count() <= bytes);
    }
}

/// Bytes consumed and whether the body is done, or the error; and the output.
type Outcome = (Result<(usize, bool), HttpError>, Vec<u8>);

fn read_in_steps(mut reader: BodyReader, input: &[u8], step: usize) -> Outcome {
    let mut out = Vec::new();
    let mut used = 0;
    for piece in input.chunks(step) {
        match reader.read(piece, &mut out) {
            Ok(len) => {
                used += len;
                assert!(
                    len == piece.len() || reader.is_done(),
                    "all is consumed until the body is done"
                );
            }
            Err(error) => {
                assert_eq!(reader.read(piece, &mut out), Err(error), "an error stays");
                return (Err(error), out);
            }
        }
    }
    (Ok((used, reader.is_done())), out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator: the same bytes in every run.
    fn noise(state: &mut u64) -> u8 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 32) as u8
    }

    #[test]
    fn heads_that_are_nearly_right() {
        const SEED: &[u8] = b"GET http://a/b?a=%20 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nA:\t\xff \r\n\r\nhello";
        const SPICE: &[u8] = b"\r\n \t:/?*#,;=%\0\x7f\x80HhTt01+";
        let mut state = 0x5eed;
        http_head(SEED);
        for _ in 0..20_000 {
            let mut data = SEED.to_vec();
            for _ in 0..1 + noise(&mut state) % 3 {
                let at = usize::from(noise(&mut state)) % data.len();
                let spice = SPICE[usize::from(noise(&mut state)) % SPICE.len()];
                match noise(&mut state) % 3 {
                    0 => data[at] = spice,
                    1 => data.insert(at, spice),
                    _ => drop(data.remove(at)),
                }
            }
            http_head(&data);
        }
    }

    #[test]
    fn bodies_that_are_nearly_right() {
        const SEED: &[u8] =
            b"\x02\x10\x035\r\nhello\r\n0a;x=y\r\n0123456789\r\n0 ;\r\nA: b\r\n\r\nGET /";
        const SPICE: &[u8] = b"\r\n \t;:0123456789abcdefF\0\x7f\x80";
        let mut state = 0x5eed;
        http_body(SEED);
        for _ in 0..20_000 {
            let mut data = SEED.to_vec();
            for _ in 0..1 + noise(&mut state) % 3 {
                let at = usize::from(noise(&mut state)) % data.len();
                data[at] = SPICE[usize::from(noise(&mut state)) % SPICE.len()];
            }
            data[1] = noise(&mut state) % 8;
            data[2] = noise(&mut state) % 16;
            http_body(&data);
        }
    }
}
