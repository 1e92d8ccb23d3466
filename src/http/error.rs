//! Every way this room refuses: a status, a label for a counter and a sentence for a person.
//!
//! The rule: an error says which rule was broken and how to keep it, and never repeats what the peer sent,
//! so it may go into logs and answers. After any of them the place of the next message in the byte stream is
//! in doubt: answer, then close the connection.

use std::fmt;

use super::Response;

/// What is wrong with a message. [`status`](Self::status) is the answer to a client; where dunlin itself is the
/// client ([`ResponseHead`](super::ResponseHead)), every variant means that the other server's answer is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpError {
    /// The head is longer than `head_bytes_max`.
    HeadTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// The request target (or the whole first line) is longer than `target_bytes_max` allows.
    TargetTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// More header lines than `headers_max`.
    TooManyHeaders {
        /// The limit.
        max: usize,
    },
    /// The bytes end before the blank line, or go on after it.
    HeadIncomplete,
    /// A line feed without a carriage return in front of it, or the reverse.
    LineEnding,
    /// NUL or another control character.
    ControlByte,
    /// A header line that continues on the next one.
    ObsFold,
    /// More than one blank line in front of a request.
    LeadingBlankLines,
    /// The first line is not three parts with single spaces between.
    RequestLine,
    /// A method that is not a token.
    Method,
    /// A method longer than any that exists.
    MethodTooLong,
    /// `CONNECT`: the client takes this server for a forward proxy.
    NotAProxy,
    /// A target in none of the accepted forms.
    Target,
    /// A target with a fragment.
    TargetFragment,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version,
    /// A header line without a name, without a colon, or with white space where none may be.
    HeaderLine,
    /// HTTP/1.1 without `Host`.
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// A `Host` or authority that is not `host` or `host:port`.
    HostInvalid,
    /// `Content-Length` and `Transfer-Encoding` together.
    LengthAndCoding,
    /// A `Content-Length` that is not one decimal number.
    ContentLength,
    /// Several `Content-Length` lines that differ.
    ContentLengthsDiffer,
    /// A `Content-Length` that does not fit 64 bits.
    ContentLengthOverflow,
    /// A transfer coding other than `chunked`.
    TransferCoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    TransferCodingVersion,
    /// The body is longer than `body_bytes_max`.
    BodyTooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// A chunk does not begin with a hexadecimal size.
    ChunkSize,
    /// The data of a chunk is not followed by CRLF.
    ChunkEnd,
    /// Chunk extensions that are too long or malformed.
    ChunkExtension,
    /// A trailer section that is malformed.
    Trailer,
    /// A trailer section that is too long.
    TrailersTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// An expectation other than `100-continue`.
    Expectation,
    /// The first line of an answer is not a status line.
    StatusLine,
}

impl HttpError {
    /// The status to answer with.
    pub fn status(&self) -> u16 {
        self.row().0
    }

    /// A label for a counter, in snake_case.
    pub fn name(&self) -> &'static str {
        self.row().1
    }

    /// Header lines that belong into the answer.
    pub fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            // RFC 9110 §15.5.6: a 405 lists what is allowed.
            Self::NotAProxy => &[("Allow", "GET, HEAD, OPTIONS, POST")],
            _ => &[],
        }
    }

    /// The answer: status, sentence and header lines. Send it, then close.
    pub fn to_response(&self) -> Response {
        let start = Response::problem(self.status(), &self.to_string());
        self.headers()
            .iter()
            .fold(start, |response, &(name, value)| {
                response.header(name, value)
            })
    }

    fn row(&self) -> (u16, &'static str) {
        match self {
            Self::HeadTooLong { .. } => (431, "head_too_long"),
            Self::TargetTooLong { .. } => (414, "target_too_long"),
            Self::TooManyHeaders { .. } => (431, "too_many_headers"),
            Self::HeadIncomplete => (400, "head_incomplete"),
            Self::LineEnding => (400, "line_ending"),
            Self::ControlByte => (400, "control_byte"),
            Self::ObsFold => (400, "obs_fold"),
            Self::LeadingBlankLines => (400, "leading_blank_lines"),
            Self::RequestLine => (400, "request_line"),
            Self::Method => (400, "method"),
            Self::MethodTooLong => (501, "method_too_long"),
            Self::NotAProxy => (405, "not_a_proxy"),
            Self::Target => (400, "target"),
            Self::TargetFragment => (400, "target_fragment"),
            Self::Version => (505, "version"),
            Self::HeaderLine => (400, "header_line"),
            Self::HostMissing => (400, "host_missing"),
            Self::HostRepeated => (400, "host_repeated"),
            Self::HostInvalid => (400, "host_invalid"),
            Self::LengthAndCoding => (400, "length_and_coding"),
            Self::ContentLength => (400, "content_length"),
            Self::ContentLengthsDiffer => (400, "content_lengths_differ"),
            Self::ContentLengthOverflow => (413, "content_length_overflow"),
            Self::TransferCoding => (501, "transfer_coding"),
            Self::TransferCodingVersion => (400, "transfer_coding_version"),
            Self::BodyTooLarge { .. } => (413, "body_too_large"),
            Self::ChunkSize => (400, "chunk_size"),
            Self::ChunkEnd => (400, "chunk_end"),
            Self::ChunkExtension => (400, "chunk_extension"),
            Self::Trailer => (400, "trailer"),
            Self::TrailersTooLong { .. } => (431, "trailers_too_long"),
            Self::Expectation => (417, "expectation"),
            Self::StatusLine => (502, "status_line"),
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match self {
            Self::HeadTooLong { bytes_max } => {
                return write!(
                    f,
                    "the head is longer than {bytes_max} bytes; send fewer or shorter headers"
                );
            }
            Self::TargetTooLong { bytes_max } => {
                return write!(
                    f,
                    "the request target is longer than {bytes_max} bytes; move data into the body"
                );
            }
            Self::TooManyHeaders { max } => {
                return write!(f, "there are more than {max} header lines; send fewer");
            }
            Self::BodyTooLarge { bytes_max } => {
                return write!(
                    f,
                    "the body is longer than {bytes_max} bytes; send less at a time"
                );
            }
            Self::TrailersTooLong { bytes_max } => {
                return write!(
                    f,
                    "the trailers are longer than {bytes_max} bytes; send them as headers or not at all"
                );
            }
            Self::HeadIncomplete => "the head must be complete and end with one blank line",
            Self::LineEnding => "lines must end in CRLF; a lone CR or LF was found",
            Self::ControlByte => {
                "control characters may not appear in a head; percent-encode or drop them"
            }
            Self::ObsFold => "header lines may not be folded; write each header on one line",
            Self::LeadingBlankLines => "at most one blank line may stand before a request",
            Self::RequestLine => {
                "the request line must be: method, target, version, with single spaces between"
            }
            Self::Method => "the method must be a token such as GET",
            Self::MethodTooLong => {
                "the method is longer than 32 bytes; use a known one such as GET"
            }
            Self::NotAProxy => {
                "this server is not a forward proxy; request a path instead of using CONNECT"
            }
            Self::Target => {
                "the target must be a path, an http or ws URL, or * with OPTIONS, without spaces"
            }
            Self::TargetFragment => {
                "the target may not contain a fragment; leave out everything from # on"
            }
            Self::Version => "only HTTP/1.1 and HTTP/1.0 are spoken here",
            Self::HeaderLine => {
                "a header line must be: name, colon, value, with no white space before the colon"
            }
            Self::HostMissing => "HTTP/1.1 needs a Host header",
            Self::HostRepeated => "the Host header may appear only once",
            Self::HostInvalid => {
                "the Host header (or the target's authority) must be host or host:port"
            }
            Self::LengthAndCoding => {
                "Content-Length and Transfer-Encoding may not be used together"
            }
            Self::ContentLength => "Content-Length must be one decimal number",
            Self::ContentLengthsDiffer => {
                "Content-Length was given more than once with different values"
            }
            Self::ContentLengthOverflow => {
                "Content-Length is far above any limit; send less at a time"
            }
            Self::TransferCoding => "the only transfer coding understood is chunked",
            Self::TransferCodingVersion => {
                "Transfer-Encoding needs HTTP/1.1; use Content-Length with HTTP/1.0"
            }
            Self::ChunkSize => "a chunk must begin with its size in hexadecimal and CRLF",
            Self::ChunkEnd => "the data of a chunk must be followed by CRLF",
            Self::ChunkExtension => "chunk extensions are malformed or too long; leave them out",
            Self::Trailer => {
                "trailers must be header lines that end in CRLF, without control characters"
            }
            Self::Expectation => "the only expectation understood is 100-continue",
            Self::StatusLine => "the answer does not begin with an HTTP/1.1 status line",
        };
        f.write_str(sentence)
    }
}

impl std::error::Error for HttpError {}

#[cfg(test)]
mod tests {
    use super::*;
    use HttpError::*;

    const ALL: [HttpError; 33] = [
        HeadTooLong { bytes_max: 7 },
        TargetTooLong { bytes_max: 7 },
        TooManyHeaders { max: 7 },
        HeadIncomplete,
        LineEnding,
        ControlByte,
        ObsFold,
        LeadingBlankLines,
        RequestLine,
        Method,
        MethodTooLong,
        NotAProxy,
        Target,
        TargetFragment,
        Version,
        HeaderLine,
        HostMissing,
        HostRepeated,
        HostInvalid,
        LengthAndCoding,
        ContentLength,
        ContentLengthsDiffer,
        ContentLengthOverflow,
        TransferCoding,
        TransferCodingVersion,
        BodyTooLarge { bytes_max: 7 },
        ChunkSize,
        ChunkEnd,
        ChunkExtension,
        Trailer,
        TrailersTooLong { bytes_max: 7 },
        Expectation,
        StatusLine,
    ];

    #[test]
    fn labels_are_distinct_and_fit_a_counter() {
        let labels: std::collections::BTreeSet<_> = ALL.iter().map(HttpError::name).collect();
        assert_eq!(labels.len(), ALL.len());
        assert!(
            labels
                .iter()
                .all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        );
    }

    #[test]
    fn every_refusal_has_an_answer_with_a_sentence() {
        for error in ALL {
            let response = error.to_response();
            assert_eq!(response.status, error.status());
            assert!(
                !super::super::reason_phrase(error.status()).is_empty(),
                "{error:?}"
            );
            let body = String::from_utf8_lossy(&response.body).into_owned();
            assert!(body.contains(&error.to_string()), "{body}");
            // A limit that is named is named with its value.
            assert_eq!(
                format!("{error:?}").contains("max: 7"),
                error.to_string().contains(" 7 "),
                "{error}"
            );
        }
        let allowed = ("Allow".into(), "GET, HEAD, OPTIONS, POST".into());
        assert!(NotAProxy.to_response().headers.contains(&allowed));
    }
}
