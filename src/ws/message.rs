//! What arrives: messages, control frames, and the events that carry them.
//!
//! The rule: both are borrowed. They are lent until the next call and copied only by who wants to keep them.

use super::closing::CloseCode;
use super::frame::OpCode;

/// A whole message, whatever frames it came in. RFC 6455 §5.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// UTF-8 text.
    Text(&'a str),
    /// Bytes with a meaning of their own.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The payload, whichever kind it is.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The opcode of the frame that carries it.
    pub fn opcode(&self) -> OpCode {
        match self {
            Self::Text(_) => OpCode::Text,
            Self::Binary(_) => OpCode::Binary,
        }
    }

    /// The payload's length in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// True for the empty message, which is a message all the same.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What [`WebSocket::next_event`](super::WebSocket::next_event) takes out of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// A ping: a pong with the same payload is due. RFC 6455 §5.5.2.
    Ping(&'a [u8]),
    /// A pong, asked for or not. RFC 6455 §5.5.3.
    Pong(&'a [u8]),
    /// The close frame, with its code and reason; [`CloseCode::NO_STATUS`] and `""` for an empty one. The last event.
    Close(CloseCode, &'a str),
}
