//! One frame header: what stands in front of every payload, and nothing about state.
//!
//! The rule: [`FrameHeader::parse`] refuses whatever is wrong in *every* situation (RFC 6455 §5.2, §5.5); what
//! depends on the role, on a negotiated extension or on the frames before is the decoder's to judge.
//!
//! ```text
//!   byte 0              byte 1             then
//!  ┌───┬─────┬────────┬──────┬────────────┬─────────────────────┬──────────────┐
//!  │FIN│RSV 3│opcode 4│MASK 1│ length 7   │ length 0, 16 or 64  │ key 0 or 32  │ payload …
//!  └───┴─────┴────────┴──────┴────────────┴─────────────────────┴──────────────┘
//! ```

use super::error::ProtocolError;

/// The longest header: two bytes, a 64-bit length, a masking key.
pub const HEADER_BYTES_MAX: usize = 14;

/// The longest payload of a control frame. RFC 6455 §5.5.
pub const CONTROL_BYTES_MAX: usize = 125;

/// Which end of the connection this is. RFC 6455 §5.1: a client masks all its frames, a server none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Expects masked frames, sends unmasked ones.
    Server,
    /// Expects unmasked frames, sends masked ones.
    Client,
}

/// What a frame is for. RFC 6455 §5.2, §11.8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpCode {
    /// A further fragment of the message that has begun.
    Continuation = 0x0,
    /// A text message or its first fragment.
    Text = 0x1,
    /// A binary message or its first fragment.
    Binary = 0x2,
    /// The close frame.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping, or shows life unasked.
    Pong = 0xA,
}

impl OpCode {
    /// The opcode with these four bits, unless it is a reserved one.
    #[inline]
    pub fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// True for close, ping and pong: never fragmented, at most [`CONTROL_BYTES_MAX`]. RFC 6455 §5.5.
    #[inline]
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The header of one frame. RFC 6455 §5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// This frame ends its message.
    pub fin: bool,
    /// The three reserved bits, RSV1 highest (`0b100`).
    pub rsv: u8,
    /// What the frame is for.
    pub opcode: OpCode,
    /// The masking key, present in what clients send. RFC 6455 §5.3.
    pub mask: Option<[u8; 4]>,
    /// The payload's length in bytes, below 2^63.
    pub len: u64,
}

impl FrameHeader {
    /// Reads a header from the start of `bytes` and tells how many bytes it took.
    ///
    /// `Ok(None)` asks for more. What the first two bytes show is refused with the first two bytes, what the
    /// length shows without waiting for the key.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let fin = first & 0x80 != 0;
        let opcode = OpCode::from_bits(first & 0x0F).ok_or(ProtocolError::ReservedOpCode)?;
        let short = second & 0x7F;
        if opcode.is_control() {
            // RFC 6455 §5.5: control frames are whole and short.
            if !fin {
                return Err(ProtocolError::FragmentedControl);
            }
            if usize::from(short) > CONTROL_BYTES_MAX {
                return Err(ProtocolError::ControlTooLong);
            }
        }
        let Some((len, rest)) = parse_length(short, rest)? else {
            return Ok(None);
        };
        let (mask, rest) = if second & 0x80 == 0 {
            (None, rest)
        } else {
            match rest.split_first_chunk::<4>() {
                Some((key, rest)) => (Some(*key), rest),
                None => return Ok(None),
            }
        };
        let header = FrameHeader {
            fin,
            rsv: first >> 4 & 0x7,
            opcode,
            mask,
            len,
        };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// Writes the header to the start of `out` and tells how many bytes it took.
    ///
    /// The length takes the shortest of its three forms. RFC 6455 §5.2.
    #[inline]
    pub fn encode(&self, out: &mut [u8; HEADER_BYTES_MAX]) -> usize {
        debug_assert!(self.len <= LENGTH_MAX, "a length has 63 bits");
        out[0] = u8::from(self.fin) << 7 | (self.rsv & 0x7) << 4 | self.opcode as u8;
        let mut taken = match self.len {
            short @ 0..=0x7D => {
                out[1] = short as u8;
                2
            }
            medium @ 0x7E..=0xFFFF => {
                out[1] = LENGTH_16;
                out[2..4].copy_from_slice(&(medium as u16).to_be_bytes());
                4
            }
            long => {
                out[1] = LENGTH_64;
                out[2..10].copy_from_slice(&long.to_be_bytes());
                10
            }
        };
        if let Some(key) = self.mask {
            out[1] |= 0x80;
            out[taken..taken + 4].copy_from_slice(&key);
            taken += 4;
        }
        taken
    }
}

/// The length proper, behind its seven-bit form. RFC 6455 §5.2: shortest form only, top bit zero.
#[inline]
fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    let (len, least, rest) = match short {
        LENGTH_16 => match rest.split_first_chunk::<2>() {
            Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), 0x7E, rest),
            None => return Ok(None),
        },
        LENGTH_64 => match rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => (u64::from_be_bytes(*bytes), 0x1_0000, rest),
            None => return Ok(None),
        },
        _ => (u64::from(short), 0, rest),
    };
    if len > LENGTH_MAX {
        return Err(ProtocolError::LengthTopBit);
    }
    if len < least {
        return Err(ProtocolError::LengthNotMinimal);
    }
    Ok(Some((len, rest)))
}

/// In the seven-bit field: a 16-bit length follows.
const LENGTH_16: u8 = 0x7E;
/// In the seven-bit field: a 64-bit length follows.
const LENGTH_64: u8 = 0x7F;
/// The greatest length a frame can announce.
const LENGTH_MAX: u64 = i64::MAX as u64;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn header(len: u64) -> FrameHeader {
        FrameHeader {
            fin: true,
            rsv: 0,
            opcode: OpCode::Binary,
            mask: None,
            len,
        }
    }

    fn encoded(header: FrameHeader) -> Vec<u8> {
        let mut out = [0; HEADER_BYTES_MAX];
        let taken = header.encode(&mut out);
        out[..taken].to_vec()
    }

    #[test]
    fn encoding_then_parsing_gives_the_header_back() {
        let lengths = [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, 1 << 40, LENGTH_MAX];
        for len in lengths {
            for mask in [None, Some([1, 2, 3, 4])] {
                for rsv in 0..8 {
                    for fin in [false, true] {
                        let header = FrameHeader {
                            fin,
                            rsv,
                            mask,
                            ..header(len)
                        };
                        let bytes = encoded(header);
                        assert_eq!(FrameHeader::parse(&bytes), Ok(Some((header, bytes.len()))));
                    }
                }
            }
        }
    }

    #[test]
    fn a_shorter_prefix_asks_for_more() {
        for len in [5, 300, 70_000] {
            let bytes = encoded(FrameHeader {
                mask: Some([9; 4]),
                ..header(len)
            });
            for cut in 0..bytes.len() {
                assert_eq!(
                    FrameHeader::parse(&bytes[..cut]),
                    Ok(None),
                    "{len} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn length_forms_are_the_shortest() {
        assert_eq!(encoded(header(125)).len(), 2);
        assert_eq!(encoded(header(126)).len(), 4);
        assert_eq!(encoded(header(0xFFFF)).len(), 4);
        assert_eq!(encoded(header(0x1_0000)).len(), 10);
        let error = Err(ProtocolError::LengthNotMinimal);
        assert_eq!(FrameHeader::parse(&[0x82, 0x7E, 0x00, 0x7D]), error);
        assert_eq!(
            FrameHeader::parse(&[0x82, 0x7F, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]),
            error
        );
        let top = [0x82, 0x7F, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(FrameHeader::parse(&top), Err(ProtocolError::LengthTopBit));
    }

    #[test]
    fn two_bytes_show_reserved_opcodes_and_bad_control_frames() {
        for bits in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
            let parsed = FrameHeader::parse(&[0x80 | bits, 0x80]);
            assert_eq!(parsed, Err(ProtocolError::ReservedOpCode));
        }
        for bits in [0x8, 0x9, 0xA] {
            let parsed = FrameHeader::parse(&[bits, 0x80]);
            assert_eq!(parsed, Err(ProtocolError::FragmentedControl));
            for length in [126, 127] {
                let parsed = FrameHeader::parse(&[0x80 | bits, 0x80 | length]);
                assert_eq!(parsed, Err(ProtocolError::ControlTooLong));
            }
        }
    }
}
