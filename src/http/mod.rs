//! HTTP/1.1 over byte slices: as much of it as a WebSocket gateway needs, and no more.
//!
//! This room turns bytes into meaning and meaning into bytes. It never reads a socket, looks at a clock or
//! logs; it imports nothing else of this crate. Its rule: *where two readers of the same bytes could disagree,
//! refuse*. So lines end in CRLF or the request is bad, lengths are digits, and a message states its length once.
//!
//! ```text
//!  bytes ──HeadSeeker──► end of head ──Head::parse──► Head ──body()──► BodyLength
//!                                                                          │
//!  bytes ──────────────────────────────────────────BodyReader::read────────┴──► body
//!
//!  Response ──encode──► bytes                        (HttpError ──to_response──► Response)
//! ```
//!
//! | file | what it holds |
//! | --- | --- |
//! | `seek` | [`HeadLimits`], [`HeadSeeker`]: where does a head end? |
//! | `head` | [`Head`]: a parsed request head; the only file that knows the tokeniser |
//! | `target` | the forms of a request target, the grammar of an authority |
//! | `fields` | header lines as spans, token lists, the look-ups shared by both sides |
//! | `forwarded` | [`forwarded_nodes`]: who proxies took a request from |
//! | `framing` | [`BodyLength`], [`ResponseBody`]: how long is the body? |
//! | `body` | [`BodyReader`]: the body out of arriving bytes |
//! | `proxy` | [`read_proxy_header`]: the PROXY protocol in front of a first request |
//! | `response` | [`Response`], [`EncodeOptions`]: what is sent back |
//! | `response_head` | [`ResponseHead`]: the client side, for callbacks and the command line |
//! | `client` | [`AnswerReader`], [`encode_request`]: one exchange from the other side |
//! | `error` | [`HttpError`]: every refusal with its status, label and sentence |
//! | `text` | percent-encoding and JSON escapes |
//!
//! Read [`Head`] first.
//!
//! ```
//! use dunlin::http::{BodyLength, Head, HeadLimits, HeadSeeker};
//!
//! let received = b"GET /ch/news?last=3 HTTP/1.1\r\nHost: example.org\r\n\r\n";
//! let limits = HeadLimits::default();
//! let end = HeadSeeker::default().seek(received, &limits)?.expect("the head is whole");
//! let head = Head::parse(&received[..end], &limits)?;
//! assert_eq!((head.method(), head.path()), ("GET", "/ch/news"));
//! assert_eq!(head.query_param("last").as_deref(), Some("3"));
//! assert_eq!(head.body()?, BodyLength::None);
//! # Ok::<(), dunlin::http::HttpError>(())
//! ```

mod body;
mod client;
mod error;
mod fields;
mod forwarded;
mod framing;
#[cfg(any(test, feature = "sim"))]
#[doc(hidden)]
pub mod fuzz;
mod head;
mod proxy;
mod response;
mod response_head;
mod seek;
mod target;
mod text;

pub use body::BodyReader;
pub use client::{Answer, AnswerReader, encode_request};
pub use error::HttpError;
pub use forwarded::{ForwardedHeader, ForwardedNode, MalformedNode, forwarded_nodes};
pub use framing::{BodyLength, ResponseBody};
pub use head::Head;
pub use proxy::{PROXY_HEADER_BYTES_MAX, ProxyError, ProxySource, read_proxy_header};
pub use response::{CONTINUE, EncodeOptions, Response, reason_phrase};
pub use response_head::ResponseHead;
pub use seek::{HeadLimits, HeadSeeker};
pub use text::{json_escape, percent_decode, percent_encode};
