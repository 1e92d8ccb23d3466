//! Bytes to messages, without looking at what is not needed.
//!
//! The rule: a load tool must cost less than the server it loads. So a message is not assembled: its header says how
//! long it is, its first bytes say which one it is, and the rest is stepped over. UTF-8 is not checked; what a
//! server may never send (a mask, a reserved bit, a fragment out of turn) is a fault all the same. RFC 6455 §5.1–5.5.
//! A compressed message is held and told as it came: whoever wants to know what is in it inflates it (`deflate.rs`).
//!
//! ```text
//!   ┌─ between frames ─┐  header whole  ┌─ data, whole in the read, FIN: told as it lies ─┐
//!   │ up to 13 bytes   │ ──────────────▶├─ data, cut or a fragment: its start is held ────┤
//!   │ of a header held │                └─ control: its payload is held ──────────────────┤
//!   └──────────────────┘◀───────────────────────── last byte of the frame ────────────────┘
//! ```

use super::deflate::{MESSAGE_BYTES_MAX, RSV1};
use crate::ws::{FrameHeader, HEADER_BYTES_MAX, OpCode, ProtocolError};

/// As much of a message as anyone looks at: servers may put something of theirs in front of what was published.
pub(crate) const START_BYTES: usize = 256;

/// What a server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// A whole message has come.
    Message {
        /// Its first bytes, at most [`START_BYTES`].
        start: &'a [u8],
        /// How long it is.
        length: u64,
    },
    /// A whole compressed message has come; its payload. RFC 7692 §6.
    Compressed(&'a [u8]),
    /// A ping that wants this back.
    Ping(&'a [u8]),
    /// The close frame; 1005 stands for one without a code.
    Close(u16),
}

/// Walks the frames of one connection.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    /// The beginning of a header that the read has cut.
    cut: Vec<u8>,
    /// The frame that has begun, and how many bytes of its payload are still to come.
    frame: Option<(FrameHeader, u64)>,
    /// The length so far of a message that has begun.
    message: Option<u64>,
    /// The first bytes of that message; all of them, if it is compressed.
    start: Vec<u8>,
    is_compressed: bool,
    /// Whether the server may compress.
    may_compress: bool,
    /// The payload so far of a control frame, which may stand between the fragments of a message.
    control: Vec<u8>,
}

impl FrameReader {
    /// From here on messages may be compressed: that was agreed.
    pub(crate) fn allow_compressed(&mut self) {
        self.may_compress = true;
    }

    /// Tells everything that these bytes complete.
    pub(crate) fn read(
        &mut self,
        mut bytes: &[u8],
        mut tell: impl FnMut(Incoming<'_>),
    ) -> Result<(), ProtocolError> {
        while !bytes.is_empty() {
            if self.frame.is_some() {
                bytes = self.go_on(bytes, &mut tell);
                continue;
            }
            let Some((header, taken)) = self.header(bytes)? else {
                return Ok(());
            };
            bytes = bytes.get(taken..).unwrap_or_default();
            self.check(&header)?;
            let whole = usize::try_from(header.len)
                .ok()
                .and_then(|length| bytes.split_at_checked(length));
            let is_message = header.fin && matches!(header.opcode, OpCode::Text | OpCode::Binary);
            if let (true, Some((payload, rest))) = (is_message, whole) {
                if header.rsv == 0 {
                    tell(Incoming::Message {
                        start: &payload[..payload.len().min(START_BYTES)],
                        length: header.len,
                    });
                } else {
                    tell(Incoming::Compressed(payload));
                }
                bytes = rest;
                continue;
            }
            if header.opcode.is_control() {
                self.control.clear();
            } else if header.opcode != OpCode::Continuation {
                self.start.clear();
                self.is_compressed = header.rsv != 0;
                self.message = Some(0);
            }
            self.frame = Some((header, header.len));
            bytes = self.go_on(bytes, &mut tell);
        }
        Ok(())
    }

    /// The next header and how many of `bytes` it takes.
    fn header(&mut self, bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
        if self.cut.is_empty() {
            let parsed = FrameHeader::parse(bytes)?;
            if parsed.is_none() {
                self.cut.extend_from_slice(bytes);
            }
            return Ok(parsed);
        }
        let before = self.cut.len();
        let more = bytes.len().min(HEADER_BYTES_MAX - before);
        self.cut.extend_from_slice(&bytes[..more]);
        match FrameHeader::parse(&self.cut)? {
            Some((header, length)) => {
                self.cut.clear();
                Ok(Some((header, length - before)))
            }
            None => Ok(None),
        }
    }

    /// What no server may send, whatever came before.
    fn check(&self, header: &FrameHeader) -> Result<(), ProtocolError> {
        if header.mask.is_some() {
            return Err(ProtocolError::Masked);
        }
        let is_data = matches!(header.opcode, OpCode::Text | OpCode::Binary);
        let may_be = self.may_compress && is_data && header.rsv == RSV1;
        if header.rsv != 0 && !may_be {
            return Err(ProtocolError::ReservedBits);
        }
        let is_held = may_be || (header.opcode == OpCode::Continuation && self.is_compressed);
        let length = self.message.unwrap_or_default().saturating_add(header.len);
        if is_held && length > MESSAGE_BYTES_MAX as u64 {
            return Err(ProtocolError::MessageTooBig);
        }
        match (header.opcode, self.message) {
            (OpCode::Continuation, None) => Err(ProtocolError::UnexpectedContinuation),
            (OpCode::Text | OpCode::Binary, Some(_)) => Err(ProtocolError::ExpectedContinuation),
            _ => Ok(()),
        }
    }

    /// Takes the payload of the frame that has begun; answers what lies behind it.
    fn go_on<'a>(&mut self, bytes: &'a [u8], tell: &mut impl FnMut(Incoming<'_>)) -> &'a [u8] {
        let Some((header, left)) = &mut self.frame else {
            return bytes;
        };
        let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (piece, rest) = bytes.split_at(taken);
        *left -= taken as u64;
        let (header, is_whole) = (*header, *left == 0);
        if header.opcode.is_control() {
            self.control.extend_from_slice(piece);
        } else {
            let most = if self.is_compressed {
                MESSAGE_BYTES_MAX
            } else {
                START_BYTES
            };
            let room = most.saturating_sub(self.start.len());
            self.start
                .extend_from_slice(&piece[..piece.len().min(room)]);
        }
        if is_whole {
            self.frame = None;
            self.finish(&header, tell);
        }
        rest
    }

    /// The last byte of a frame has come.
    fn finish(&mut self, header: &FrameHeader, tell: &mut impl FnMut(Incoming<'_>)) {
        match header.opcode {
            OpCode::Ping => tell(Incoming::Ping(&self.control)),
            OpCode::Pong => {}
            OpCode::Close => {
                let code = self.control.first_chunk::<2>();
                tell(Incoming::Close(
                    code.map_or(1005, |code| u16::from_be_bytes(*code)),
                ));
            }
            OpCode::Continuation | OpCode::Text | OpCode::Binary => {
                let length = self.message.unwrap_or_default() + header.len;
                self.message = (!header.fin).then_some(length);
                if header.fin && self.is_compressed {
                    tell(Incoming::Compressed(&self.start));
                } else if header.fin {
                    tell(Incoming::Message {
                        start: &self.start,
                        length,
                    });
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ws::{CloseCode, encode_close, encode_frame};

    fn told(bytes: &[u8], cut: usize) -> Result<Vec<String>, ProtocolError> {
        told_by(FrameReader::default(), bytes, cut)
    }

    fn told_by(
        mut reader: FrameReader,
        bytes: &[u8],
        cut: usize,
    ) -> Result<Vec<String>, ProtocolError> {
        let mut all = Vec::new();
        for piece in bytes.chunks(cut) {
            reader.read(piece, |incoming| {
                all.push(match incoming {
                    Incoming::Message { start, length } => {
                        format!("{length} {}", start.escape_ascii())
                    }
                    other => format!("{other:?}"),
                });
            })?;
        }
        Ok(all)
    }

    #[test]
    fn every_cut_tells_the_same() {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, OpCode::Text, b"one", None);
        encode_frame(&mut bytes, OpCode::Text, b"", None);
        bytes.extend_from_slice(b"\x01\x02tw"); // a fragment, a ping inside the message, the end
        encode_frame(&mut bytes, OpCode::Ping, b"!", None);
        bytes.extend_from_slice(b"\x80\x01o");
        encode_frame(&mut bytes, OpCode::Binary, &[b'x'; 70_000], None);
        encode_frame(&mut bytes, OpCode::Pong, b"", None);
        encode_close(&mut bytes, CloseCode::AWAY, "bye", None);
        let long = format!("70000 {}", "x".repeat(START_BYTES));
        let expected = ["3 one", "0 ", "Ping([33])", "3 two", &long, "Close(1001)"];
        for cut in [1, 2, 3, 5, 7, 64, 1000, bytes.len()] {
            assert_eq!(told(&bytes, cut).unwrap(), expected, "cut {cut}");
        }
    }

    #[test]
    fn what_is_compressed_is_told_as_it_came() {
        let long = [b'z'; 700];
        let mut bytes = b"\xc1\x02ab\x81\x01p\x42\x01c\x89\x01!\x00\x01d\x80\x01e".to_vec();
        encode_frame(&mut bytes, OpCode::Text, &long, None);
        let at = bytes.len() - 704;
        bytes[at] |= RSV1 << 4;
        let long = format!("Compressed({:?})", &long[..]);
        let expected = [
            "Compressed([97, 98])",
            "1 p",
            "Ping([33])",
            "Compressed([99, 100, 101])",
            &long,
        ];
        for cut in [1, 2, 3, 64, bytes.len()] {
            let mut reader = FrameReader::default();
            reader.allow_compressed();
            assert_eq!(told_by(reader, &bytes, cut).unwrap(), expected, "cut {cut}");
        }
        for bytes in [&b"\xc9\x01x"[..], b"\xa1\x01x", b"\x41\x01x\xc0\x01x"] {
            let mut reader = FrameReader::default();
            reader.allow_compressed();
            let told = told_by(reader, bytes, bytes.len());
            assert_eq!(told, Err(ProtocolError::ReservedBits));
        }
    }

    #[test]
    fn what_no_server_may_send_is_a_fault() {
        for (bytes, error) in [
            (&b"\x81\x81\0\0\0\0x"[..], ProtocolError::Masked),
            (b"\xc1\x01x", ProtocolError::ReservedBits),
            (b"\x80\x01x", ProtocolError::UnexpectedContinuation),
            (b"\x01\x01x\x81\x01y", ProtocolError::ExpectedContinuation),
        ] {
            assert_eq!(told(bytes, 1), Err(error));
            assert_eq!(told(bytes, bytes.len()), Err(error));
        }
    }
}
