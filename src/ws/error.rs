//! What a peer can do wrong once the connection is open.
//!
//! The rule: every fault is the peer's, has one close code, one sentence that fits into a close frame, and one
//! label for a counter.

use super::closing::CloseCode;
use std::fmt;

/// A breach of RFC 6455, or of a limit, by the peer. It ends the connection with [`close_code`](Self::close_code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProtocolError {
    /// A reserved bit without an extension that gives it a meaning. RFC 6455 §5.2.
    ReservedBits,
    /// An opcode that has no meaning yet. RFC 6455 §5.2.
    ReservedOpCode,
    /// A client's frame without a mask. RFC 6455 §5.1.
    Unmasked,
    /// A server's frame with a mask. RFC 6455 §5.1.
    Masked,
    /// A control frame without FIN. RFC 6455 §5.5.
    FragmentedControl,
    /// A control frame of more than 125 bytes. RFC 6455 §5.5.
    ControlTooLong,
    /// A continuation where no message has begun. RFC 6455 §5.4.
    UnexpectedContinuation,
    /// A new message inside a fragmented one. RFC 6455 §5.4.
    ExpectedContinuation,
    /// A length in more bytes than it needs. RFC 6455 §5.2.
    LengthNotMinimal,
    /// A 64-bit length with its top bit set. RFC 6455 §5.2.
    LengthTopBit,
    /// A frame announced beyond the limit. RFC 6455 §10.4.
    FrameTooBig,
    /// A message announced beyond the limit. RFC 6455 §10.4.
    MessageTooBig,
    /// A compressed message that became larger than the limit while it was inflated. RFC 7692 §8.2.
    #[cfg(feature = "deflate")]
    InflatedTooBig,
    /// A compressed message that is no deflate stream. RFC 7692 §7.2.2.
    #[cfg(feature = "deflate")]
    Deflate,
    /// A message in more frames than the limit. RFC 6455 §10.4.
    TooManyFragments,
    /// A text message that is not UTF-8. RFC 6455 §8.1.
    InvalidUtf8,
    /// A close frame with half a code. RFC 6455 §5.5.1.
    ClosePayloadTooShort,
    /// A close code that may not travel. RFC 6455 §7.4.
    IllegalCloseCode(CloseCode),
    /// A close reason that is not UTF-8. RFC 6455 §5.5.1.
    InvalidCloseReason,
}

impl ProtocolError {
    /// The code to close the connection with. RFC 6455 §7.4.1.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::FrameTooBig | Self::MessageTooBig => CloseCode::TOO_BIG,
            #[cfg(feature = "deflate")]
            Self::InflatedTooBig => CloseCode::TOO_BIG,
            #[cfg(feature = "deflate")]
            Self::Deflate => CloseCode::INVALID_DATA,
            Self::TooManyFragments => CloseCode::POLICY,
            Self::InvalidUtf8 | Self::InvalidCloseReason => CloseCode::INVALID_DATA,
            _ => CloseCode::PROTOCOL,
        }
    }

    /// A stable label for counters and logs.
    pub fn name(&self) -> &'static str {
        self.texts().0
    }

    /// Label and sentence of each fault: one table, so that neither is forgotten.
    fn texts(&self) -> (&'static str, &'static str) {
        match self {
            Self::ReservedBits => ("reserved_bits", "reserved bit set without an extension"),
            Self::ReservedOpCode => ("reserved_opcode", "reserved opcode"),
            Self::Unmasked => ("unmasked", "client frame is not masked"),
            Self::Masked => ("masked", "server frame is masked"),
            Self::FragmentedControl => ("fragmented_control", "fragmented control frame"),
            Self::ControlTooLong => ("control_too_long", "control frame of more than 125 bytes"),
            Self::UnexpectedContinuation => (
                "unexpected_continuation",
                "continuation without a message to continue",
            ),
            Self::ExpectedContinuation => (
                "expected_continuation",
                "new message inside a fragmented message",
            ),
            Self::LengthNotMinimal => ("length_not_minimal", "length not in its shortest form"),
            Self::LengthTopBit => ("length_top_bit", "top bit of the 64-bit length set"),
            Self::FrameTooBig => ("frame_too_big", "frame larger than allowed here"),
            Self::MessageTooBig => ("message_too_big", "message larger than allowed here"),
            #[cfg(feature = "deflate")]
            Self::InflatedTooBig => (
                "inflated_too_big",
                "message larger than allowed here once inflated",
            ),
            #[cfg(feature = "deflate")]
            Self::Deflate => ("deflate", "compressed message is not a deflate stream"),
            Self::TooManyFragments => ("too_many_fragments", "message in too many fragments"),
            Self::InvalidUtf8 => ("invalid_utf8", "text is not UTF-8"),
            Self::ClosePayloadTooShort => ("close_payload_too_short", "close payload of one byte"),
            Self::IllegalCloseCode(_) => {
                ("illegal_close_code", "close code not allowed in a frame")
            }
            Self::InvalidCloseReason => ("invalid_close_reason", "close reason is not UTF-8"),
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.texts().1)?;
        match self {
            Self::IllegalCloseCode(code) => write!(f, ": {code}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const ALL: &[ProtocolError] = &[
        ProtocolError::ReservedBits,
        ProtocolError::ReservedOpCode,
        ProtocolError::Unmasked,
        ProtocolError::Masked,
        ProtocolError::FragmentedControl,
        ProtocolError::ControlTooLong,
        ProtocolError::UnexpectedContinuation,
        ProtocolError::ExpectedContinuation,
        ProtocolError::LengthNotMinimal,
        ProtocolError::LengthTopBit,
        ProtocolError::FrameTooBig,
        ProtocolError::MessageTooBig,
        #[cfg(feature = "deflate")]
        ProtocolError::InflatedTooBig,
        #[cfg(feature = "deflate")]
        ProtocolError::Deflate,
        ProtocolError::TooManyFragments,
        ProtocolError::InvalidUtf8,
        ProtocolError::ClosePayloadTooShort,
        ProtocolError::IllegalCloseCode(CloseCode(u16::MAX)),
        ProtocolError::InvalidCloseReason,
    ];

    #[test]
    fn each_fault_has_its_own_label_and_a_reason_that_fits_a_close_frame() {
        let mut labels = HashSet::new();
        for error in ALL {
            assert!(labels.insert(error.name()), "{error:?} shares its label");
            assert!(
                error
                    .name()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte))
            );
            assert!(!error.to_string().is_empty() && error.to_string().len() <= 123);
            assert!([1002, 1007, 1008, 1009].contains(&error.close_code().0));
        }
    }
}
