//! permessage-deflate at the far end: a peer that offers it, inflates what it gets and compresses what it says.

use crate::http::ResponseHead;
use crate::ws::deflate::{Agreement, ClientOffer, Compressor, HEADER, Inflater, Windows};
use crate::ws::{AnswerError, Message, OpCode, check_response, check_response_deflating};

/// One peer's half of it.
#[derive(Debug, Default)]
pub(crate) struct Far {
    pub(crate) offer: Option<ClientOffer>,
    pub(crate) agreed: Option<Agreement>,
    pub(crate) inflater: Inflater,
    pub(crate) windows: Windows,
    compressor: Compressor,
}

impl Far {
    /// The header line of the offer.
    pub(crate) fn header(&self) -> Option<(&'static str, String)> {
        Some((HEADER, self.offer?.to_string()))
    }

    /// Checks the 101, with the answer to the offer if there was one.
    pub(crate) fn check(
        &mut self,
        head: &ResponseHead,
        key: &str,
        offered: &[&str],
    ) -> Result<Option<String>, AnswerError> {
        let Some(offer) = &self.offer else {
            return check_response(101, head.headers(), key, offered);
        };
        let (chosen, agreed) = check_response_deflating(101, head.headers(), key, offered, offer)?;
        self.agreed = agreed;
        Ok(chosen)
    }

    /// A whole message as this peer sends it: compressed where that was agreed and helps.
    pub(crate) fn encode(
        &mut self,
        opcode: OpCode,
        payload: &[u8],
        mask: [u8; 4],
    ) -> Option<Vec<u8>> {
        let agreed = self.agreed?;
        if opcode != OpCode::Text && opcode != OpCode::Binary {
            return None;
        }
        let mut out = Vec::new();
        // What it says may be no text at all, so it is compressed as bytes and named afterwards.
        let message = Message::Binary(payload);
        self.compressor
            .encode_message(&mut out, message, agreed.send_bits, 6, Some(mask));
        let first = out.first_mut()?;
        *first = *first & 0xF0 | opcode as u8;
        Some(out)
    }
}
