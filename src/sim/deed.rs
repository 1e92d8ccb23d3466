//! What the application behind a world does with one request.

/// What the application does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// How it ends.
    pub end: End,
    /// Milliseconds before it begins to answer, or breaks off.
    pub after_ms: u64,
    /// The status of an answer.
    pub status: u16,
    /// Its body.
    pub body: String,
    /// How the end of the body is told.
    pub framing: Framing,
    /// `false`: it says `Connection: close` and ends the connection behind the answer.
    pub keep: bool,
    /// It writes so many bytes at a time.
    pub piece: usize,
}

/// How the application ends what it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With an answer.
    Answer,
    /// It never answers.
    Never,
    /// It resets the connection and has never read the request.
    ResetUnread,
    /// It has read the request and resets the connection.
    Reset,
    /// It has read the request and ends the connection in order.
    Hangup,
    /// It ends the connection in the middle of the answer.
    Cut,
    /// It answers something that is not HTTP.
    Junk,
    /// It answers with headers that have no end.
    EndlessHead,
}

/// How the end of an answer's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// By the end of the connection.
    Close,
}

impl Deed {
    /// Answers at once, with a status and nothing else.
    pub fn status(status: u16) -> Self {
        Self {
            end: End::Answer,
            after_ms: 0,
            status,
            body: String::new(),
            framing: Framing::Length,
            keep: true,
            piece: usize::MAX,
        }
    }

    /// Answers 200 with this body.
    pub fn ok(body: &str) -> Self {
        Self {
            body: body.to_owned(),
            ..Self::status(200)
        }
    }

    /// Ends like this instead of with an answer.
    pub fn broken(end: End) -> Self {
        Self {
            end,
            ..Self::status(200)
        }
    }

    /// Takes so long before.
    #[must_use]
    pub fn after_ms(self, after_ms: u64) -> Self {
        Self { after_ms, ..self }
    }

    /// What it writes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self.end {
            End::Answer | End::Cut => {}
            End::Junk => return b"what is it?\r\n\r\n".to_vec(),
            End::EndlessHead => {
                return [&b"HTTP/1.1 200 OK\r\n"[..], &b"X: y\r\n".repeat(20_000)].concat();
            }
            End::Never | End::ResetUnread | End::Reset | End::Hangup => return Vec::new(),
        }
        let (status, body) = (self.status, &self.body);
        let mut head = format!("HTTP/1.1 {status} As It Is\r\n");
        if !self.keep {
            head += "Connection: close\r\n";
        }
        let text = match self.framing {
            _ if status == 204 => head + "\r\n",
            Framing::Length => format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
            Framing::Close => format!("{head}\r\n{body}"),
            Framing::Chunked => {
                let mut text = head + "Transfer-Encoding: chunked\r\n\r\n";
                let (one, two) = body.split_at(body.len() / 2);
                for chunk in [one, two].into_iter().filter(|c| !c.is_empty()) {
                    text += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
                }
                text + "0\r\n\r\n"
            }
        };
        let mut bytes = text.into_bytes();
        if self.end == End::Cut {
            bytes.truncate(bytes.len() - 1);
        }
        bytes
    }

    /// Whether the connection ends behind it.
    pub(crate) fn ends_connection(&self) -> bool {
        !self.keep
            || self.end != End::Answer
            || (self.framing == Framing::Close && self.status != 204)
    }
}
