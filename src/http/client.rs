//! The client's side of one exchange: a request out, an answer in, over byte slices.
//!
//! ```text
//!  encode_request ──► bytes            bytes ──► AnswerReader ──► Answer
//!                                                  │ head, then body under a limit;
//!                                                  │ 1xx heads are passed over (RFC 9110 §15.2)
//! ```

use super::{BodyReader, HeadLimits, HeadSeeker, HttpError, ResponseHead};

/// Appends a request with a body of known length. Control characters in `target` and in header values are left
/// out, so that no value can begin a new line.
pub fn encode_request<'a>(
    out: &mut Vec<u8>,
    method: &str,
    authority: &str,
    target: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    body: &[u8],
) {
    let clean = |out: &mut Vec<u8>, text: &str| {
        out.extend(text.bytes().filter(|byte| *byte >= b' ' && *byte != 0x7f));
    };
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend(target.bytes().filter(|byte| *byte > b' ' && *byte != 0x7f));
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    clean(out, authority);
    for (name, value) in headers {
        out.extend_from_slice(b"\r\n");
        clean(out, name);
        out.extend_from_slice(b": ");
        clean(out, value);
    }
    out.extend_from_slice(b"\r\nContent-Length: ");
    out.extend_from_slice(body.len().to_string().as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
}

/// Takes one answer out of arriving bytes.
#[derive(Debug)]
pub struct AnswerReader {
    limits: HeadLimits,
    body_bytes_max: usize,
    /// The request was a HEAD: whatever the answer declares, no body follows.
    to_head: bool,
    seeker: HeadSeeker,
    head_bytes: Vec<u8>,
    /// Something has come, if only an interim answer.
    begun: bool,
    state: State,
    body: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Head,
    Body(ResponseHead, BodyReader),
    Done(ResponseHead),
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Status line and headers.
    pub head: ResponseHead,
    /// The body.
    pub body: Vec<u8>,
}

impl AnswerReader {
    /// Waits for the answer to a request that was not a HEAD.
    pub fn new(limits: HeadLimits, body_bytes_max: usize) -> Self {
        Self {
            limits,
            body_bytes_max,
            to_head: false,
            seeker: HeadSeeker::default(),
            head_bytes: Vec::new(),
            begun: false,
            state: State::Head,
            body: Vec::new(),
        }
    }

    /// Waits for the answer to a HEAD instead.
    #[must_use]
    pub fn to_head(mut self) -> Self {
        self.to_head = true;
        self
    }

    /// Takes arrived bytes; answers how many belong to this answer. [`is_done`](Self::is_done) tells the rest.
    ///
    /// # Errors
    /// An answer that is not HTTP, or too large. Its connection cannot be used any more.
    pub fn read(&mut self, input: &[u8]) -> Result<usize, HttpError> {
        let mut used = 0;
        self.begun |= !input.is_empty();
        loop {
            match &mut self.state {
                State::Head => {
                    let before = self.head_bytes.len();
                    self.head_bytes.extend_from_slice(&input[used..]);
                    let Some(end) = self.seeker.seek(&self.head_bytes, &self.limits)? else {
                        return Ok(input.len());
                    };
                    let head = ResponseHead::parse(&self.head_bytes[..end], &self.limits)?;
                    used += end - before;
                    self.head_bytes = Vec::new();
                    self.seeker = HeadSeeker::default();
                    if head.status() < 200 {
                        continue;
                    }
                    let body =
                        BodyReader::for_response(head.body(self.to_head)?, self.body_bytes_max)?;
                    self.state = State::Body(head, body);
                }
                State::Body(_, reader) => {
                    used += reader.read(&input[used..], &mut self.body)?;
                    if reader.is_done() {
                        self.finish();
                    }
                    return Ok(used);
                }
                State::Done(_) => return Ok(used),
            }
        }
    }

    /// The connection has ended: that completes an answer whose body lasts until then, and no other.
    pub fn end(&mut self) {
        if let State::Body(head, _) = &self.state
            && head.body(self.to_head) == Ok(super::ResponseBody::UntilClose)
        {
            self.finish();
        }
    }

    /// Whether any byte of the answer has come.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether the answer is whole.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    /// The answer, once it is whole.
    pub fn into_answer(self) -> Option<Answer> {
        match self.state {
            State::Done(head) => Some(Answer {
                head,
                body: self.body,
            }),
            _ => None,
        }
    }

    fn finish(&mut self) {
        if let State::Body(head, _) = std::mem::replace(&mut self.state, State::Head) {
            self.state = State::Done(head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interim_answer_is_the_beginning_of_one() {
        let mut reader = AnswerReader::new(HeadLimits::default(), 64);
        assert!(!reader.has_begun());
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(reader.read(interim), Ok(interim.len()));
        assert!(reader.has_begun(), "somebody has read the request");
    }

    fn read(bytes: &[u8], step: usize) -> Result<(AnswerReader, usize), HttpError> {
        let mut reader = AnswerReader::new(HeadLimits::default(), 64);
        let mut used = 0;
        while used < bytes.len() && !reader.is_done() {
            let end = (used + step).min(bytes.len());
            let n = reader.read(&bytes[used..end])?;
            assert!(n > 0, "progress");
            used += n;
        }
        Ok((reader, used))
    }

    #[test]
    fn answers_in_any_pieces() {
        let all: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1";
        let chunked: &[u8] =
            b"HTTP/1.1 202 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
        for step in 1..all.len() {
            let (reader, used) = read(all, step).expect("an answer");
            assert_eq!(used, all.len() - 8);
            let answer = reader.into_answer().expect("whole");
            assert_eq!(
                (answer.head.status(), answer.body.as_slice()),
                (200, &b"hello"[..])
            );
            let (reader, _) = read(chunked, step).expect("an answer");
            assert_eq!(reader.into_answer().expect("whole").body, b"hello");
        }
    }

    #[test]
    fn an_answer_without_a_length_lasts_until_the_end() {
        let (mut reader, _) = read(b"HTTP/1.0 200 OK\r\n\r\nhi", 3).expect("an answer");
        assert!(!reader.is_done());
        reader.end();
        assert_eq!(reader.into_answer().expect("whole").body, b"hi");
        let (mut reader, _) =
            read(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", 3).expect("ok");
        reader.end();
        assert!(reader.into_answer().is_none(), "cut short is not whole");
    }

    #[test]
    fn the_answer_to_a_head_has_no_body() {
        let all: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nHTTP/1.1";
        let mut reader = AnswerReader::new(HeadLimits::default(), 64).to_head();
        assert_eq!(reader.read(all), Ok(all.len() - 8));
        let answer = reader.into_answer().expect("whole");
        assert_eq!(answer.head.header("content-length"), Some("1000"));
        assert_eq!(answer.body, b"");
    }

    #[test]
    fn too_much_is_refused() {
        assert!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n", 99).is_err());
        assert!(
            read(
                &[b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &[b'x'; 65]].concat(),
                99
            )
            .is_err()
        );
        assert!(read(&[b'x'; 20_000], 999).is_err(), "an endless head");
    }

    #[test]
    fn no_value_begins_a_new_line() {
        let mut out = Vec::new();
        encode_request(
            &mut out,
            "POST",
            "h:1",
            "/a b\r\nX: y",
            [("N", "v\r\nEvil: 1")],
            b"{}",
        );
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "POST /abX:y HTTP/1.1\r\nHost: h:1\r\nN: vEvil: 1\r\nContent-Length: 2\r\n\r\n{}"
        );
    }
}
