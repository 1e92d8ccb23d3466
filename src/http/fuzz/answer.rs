//! What our client makes of whatever an application sends.

use super::super::{
    AnswerReader, BodyLength, BodyReader, HeadLimits, HeadSeeker, HttpError, ResponseBody,
    ResponseHead,
};

/// Oracle: cut anywhere equals whole, a naive reading in three steps agrees, the limits hold, and an accepted answer
/// that is written down again with its length is read as the same one.
///
/// Byte 0 chooses the limits, byte 1 the cuts, the rest is what the application sends before it closes.
pub fn http_client_answer(data: &[u8]) {
    let Some((&[setup, step], stream)) = data.split_first_chunk::<2>() else {
        return;
    };
    let limits = if setup & 1 == 0 {
        HeadLimits::default()
    } else {
        HeadLimits {
            head_bytes_max: 96,
            target_bytes_max: 12,
            headers_max: 3,
        }
    };
    let body_bytes_max = usize::from(setup >> 1) * 4;
    let whole = read(stream, stream.len().max(1), &limits, body_bytes_max);
    for step in [1, usize::from(step).max(1)] {
        let cut = read(stream, step, &limits, body_bytes_max);
        assert_eq!(cut, whole, "the cut must not matter: {step}");
    }
    let naive = read_naively(stream, &limits, body_bytes_max);
    assert_eq!(
        whole.as_ref().map(Option::as_ref),
        naive.as_ref().map(Option::as_ref)
    );
    if let Ok(Some(plain)) = whole {
        assert!(plain.body.len() <= body_bytes_max, "the limit holds");
        assert!(plain.used <= stream.len());
        assert_survives(&plain, body_bytes_max);
    }
}

/// An answer, copied.
#[derive(Debug, PartialEq, Eq)]
struct Plain {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    /// Bytes of the stream that are not the next answer's.
    used: usize,
}

impl Plain {
    fn new(head: &ResponseHead, body: Vec<u8>, used: usize) -> Self {
        let owned = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
        Self {
            status: head.status(),
            headers: head.headers().map(owned).collect(),
            body,
            used,
        }
    }
}

/// The way of the server: pieces as they arrive, then the end of the connection. `None`: it came too early.
fn read(
    stream: &[u8],
    step: usize,
    limits: &HeadLimits,
    body_bytes_max: usize,
) -> Result<Option<Plain>, HttpError> {
    let mut reader = AnswerReader::new(*limits, body_bytes_max);
    let mut used = 0;
    assert!(!reader.has_begun() && !reader.is_done());
    for piece in stream.chunks(step) {
        let taken = reader.read(piece)?;
        assert!(reader.has_begun());
        assert!(
            taken == piece.len() || reader.is_done(),
            "all is consumed until the answer is whole"
        );
        used += taken;
        if reader.is_done() {
            assert_eq!(reader.read(stream), Ok(0), "what follows is not its own");
            break;
        }
    }
    reader.end();
    let is_done = reader.is_done();
    let answer = reader.into_answer();
    assert_eq!(answer.is_some(), is_done);
    Ok(answer.map(|answer| Plain::new(&answer.head, answer.body, used)))
}

/// RFC 9112 §6.3 and RFC 9110 §15.2 once more, over all bytes at once: heads until one is final, then its body.
fn read_naively(
    stream: &[u8],
    limits: &HeadLimits,
    body_bytes_max: usize,
) -> Result<Option<Plain>, HttpError> {
    let mut rest = stream;
    let head = loop {
        let Some(end) = HeadSeeker::default().seek(rest, limits)? else {
            return Ok(None);
        };
        let (head, behind) = rest.split_at(end);
        let head = ResponseHead::parse(head, limits)?;
        rest = behind;
        if head.status() >= 200 {
            break head;
        }
    };
    let before = stream.len() - rest.len();
    let too_large = HttpError::BodyTooLarge {
        bytes_max: body_bytes_max,
    };
    let (body, used) = match head.body(false)? {
        ResponseBody::None => (Vec::new(), 0),
        ResponseBody::Exact(length) if length > body_bytes_max as u64 => return Err(too_large),
        ResponseBody::Exact(length) => match rest.get(..length as usize) {
            Some(body) => (body.to_vec(), body.len()),
            None => return Ok(None),
        },
        ResponseBody::UntilClose if rest.len() > body_bytes_max => return Err(too_large),
        ResponseBody::UntilClose => (rest.to_vec(), rest.len()),
        // Chunks are the business of another target, which holds this reader against its own oracle.
        ResponseBody::Chunked => {
            let mut body = Vec::new();
            let mut reader = BodyReader::new(BodyLength::Chunked, body_bytes_max)?;
            let used = reader.read(rest, &mut body)?;
            if !reader.is_done() {
                return Ok(None);
            }
            (body, used)
        }
    };
    Ok(Some(Plain::new(&head, body, before + used)))
}

/// The same answer with `Content-Length` as its only framing is the same answer.
fn assert_survives(plain: &Plain, body_bytes_max: usize) {
    let has_body = !matches!(plain.status, 204 | 304);
    let mut again = format!("HTTP/1.1 {} \r\n", plain.status).into_bytes();
    let is_framing = |name: &str| {
        ["content-length", "transfer-encoding"]
            .iter()
            .any(|framing| name.eq_ignore_ascii_case(framing))
    };
    let kept = plain.headers.iter().filter(|(name, _)| !is_framing(name));
    for (name, value) in kept.clone() {
        again.extend_from_slice(name.as_bytes());
        again.extend_from_slice(b":");
        again.extend_from_slice(value);
        again.extend_from_slice(b"\r\n");
    }
    if has_body {
        again.extend_from_slice(format!("Content-Length:{}\r\n", plain.body.len()).as_bytes());
    }
    again.extend_from_slice(b"\r\n");
    again.extend_from_slice(&plain.body);
    // Room for the line that was added; the number of lines may have grown by one too.
    let limits = HeadLimits {
        head_bytes_max: again.len(),
        headers_max: plain.headers.len() + 1,
        ..HeadLimits::default()
    };
    let read = read(&again, again.len(), &limits, body_bytes_max);
    let Ok(Some(second)) = read else {
        panic!("{read:?} is not {plain:?}");
    };
    assert_eq!((second.status, &second.body), (plain.status, &plain.body));
    let second = second.headers.iter().filter(|(name, _)| !is_framing(name));
    assert!(kept.eq(second), "the headers are other ones");
}
