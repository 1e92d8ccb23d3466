//! permessage-deflate: messages compressed one by one. RFC 7692.
//!
//! The rule: **our side keeps no context.** What we send is compressed by itself, so one compressor serves every
//! connection of a worker and a publication is compressed once for all; what we receive goes through one inflater.
//! Only a client that keeps *its* context (which it may, RFC 7692 §7.1.1.2) costs memory: the end of what it has
//! sent, at most 32 KiB, from its first compressed message on. The inflater is limited *while* it inflates.
//!
//! | file | subject |
//! | --- | --- |
//! | `negotiate.rs` | offers and answers in the opening handshake |
//! | `inflate.rs` | a compressed payload to a message |
//! | `window.rs` | what is kept of clients that keep their context |
//! | `compress.rs` | a message to a compressed frame |
//! | `small.rs`, `huffman.rs` | the compressor for small messages |
//!
//! ```text
//!   offer ─▶ negotiate ─▶ Agreement ─┬─▶ WebSocket::with_deflate ─▶ next_event_inflating(… Inflater, Windows …)
//!                                    └─▶ Compressor::encode_message(… window bits …)
//! ```

mod compress;
mod huffman;
mod inflate;
mod negotiate;
mod small;
mod window;

pub use compress::Compressor;
pub use inflate::Inflater;
pub(super) use inflate::{Context as InflateContext, wire_bytes_max};
pub use negotiate::{Agreement, ClientOffer, Settings, negotiate};
pub use window::Windows;

/// The extension's name. RFC 7692 §7.
pub const NAME: &str = "permessage-deflate";

/// The header in which it is negotiated. RFC 6455 §9.1.
pub const HEADER: &str = "Sec-WebSocket-Extensions";

/// RSV1, of the three reserved bits: the message is compressed. RFC 7692 §6.
pub(super) const RSV1: u8 = 0b100;

/// The smallest window that zlib can keep to: its raw deflate of 8 bits is one of 9.
pub const WINDOW_BITS_MIN: u8 = 9;
/// The largest one there is, and the one that counts where nobody said otherwise. RFC 7692 §7.1.2.
pub const WINDOW_BITS_MAX: u8 = 15;

/// What a sync flush ends with; it does not travel. RFC 7692 §7.2.1.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
