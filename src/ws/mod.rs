//! RFC 6455 over byte slices, for both ends of a connection.
//!
//! The rule of this room: **bytes in, meaning out, nothing else**. No sockets, no clocks, no timers, no locks; it
//! imports nothing of the rest of the crate. What a peer may send is decided here and ends, at worst, in a value:
//! a [`ProtocolError`] that knows its close code, or a [`Refusal`] that knows its HTTP status. "Not enough bytes
//! yet" is `Ok(None)`, never an error.
//!
//! ```text
//!   opening handshake      frames, messages            closing handshake
//!   handshake.rs           frame.rs     one header     closing.rs
//!   subprotocol.rs         decoder.rs   bytes → events   codes and states
//!   client.rs              assembly.rs  split messages
//!   token.rs               utf8.rs      text as it arrives
//!   deflate/ (a feature)   mask.rs      XOR, eight bytes at a time
//!                          encode.rs    events → bytes
//!                          message.rs, error.rs: the words for both
//! ```
//!
//! Read [`WebSocket`] first: everything else serves it, or prepares it, or answers it.
//!
//! # Example
//!
//! A client's masked "Hello" (RFC 6455 §5.7) read by a server, and the reply written:
//!
//! ```
//! use dunlin::ws::{Event, Limits, Message, Role, WebSocket, encode_message};
//!
//! let mut socket = WebSocket::new(Role::Server);
//! let mut bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
//! let mut input = &mut bytes[..];
//! let mut reply = Vec::new();
//! while let Some(event) = socket.next_event(&Limits::default(), &mut input)? {
//!     if let Event::Message(message) = event {
//!         assert_eq!(message, Message::Text("Hello"));
//!         encode_message(&mut reply, message, None);
//!     }
//! }
//! assert_eq!(reply, b"\x81\x05Hello");
//! # Ok::<(), dunlin::ws::ProtocolError>(())
//! ```

mod assembly;
mod client;
mod closing;
mod decoder;
#[cfg(feature = "deflate")]
pub mod deflate;
mod encode;
mod error;
mod frame;
#[cfg(any(test, feature = "sim"))]
#[doc(hidden)]
pub mod fuzz;
mod handshake;
mod mask;
mod message;
mod subprotocol;
mod token;
mod utf8;

#[cfg(feature = "deflate")]
pub use client::check_response_deflating;
pub use client::{AnswerError, check_response, client_key, write_request};
pub use closing::{CloseCode, Closing, echo_code};
pub use decoder::{Limits, WebSocket};
pub use encode::{
    encode_close, encode_frame, encode_message, encode_text_header, write_short_message,
};
pub use error::ProtocolError;
pub use frame::{CONTROL_BYTES_MAX, FrameHeader, HEADER_BYTES_MAX, OpCode, Role};
pub use handshake::{
    Offer, Refusal, UpgradeRequest, accept_key, append_base64, check, wants_upgrade,
    write_switching_protocols,
};
pub use mask::{mask, mask_bytewise};
pub use message::{Event, Message};
pub use subprotocol::{BEARER_SUBPROTOCOL, Subprotocols, offered_subprotocols};
