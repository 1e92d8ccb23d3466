//! The other side of links.

use super::House;
use crate::hub::{Context, LinkEnd, LinkEvent, LinkId, LinkTarget};
use crate::ws::Message;

/// A link that a handler has asked for.
#[derive(Debug, Clone)]
pub(in super::super) struct Dialled {
    pub(in super::super) link: LinkId,
    pub(super) route: u16,
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests"))]
    pub(in super::super) target: LinkTarget,
    pub(super) is_websocket: bool,
}

impl House {
    /// The links asked for since the last time, in order.
    pub(in super::super) fn dialled(&mut self) -> Vec<Dialled> {
        let all = self.dialled.drain(..).map(|(link, route, dial)| Dialled {
            link,
            route,
            is_websocket: matches!(*dial.target, LinkTarget::WebSocket(_)),
            target: (*dial.target).clone(),
        });
        all.collect()
    }

    /// The other server is there.
    pub(in super::super) fn link_opens(&mut self, dialled: &Dialled) {
        self.hub.links().set_key(dialled.link, dialled.link.index);
        self.hub.links().set_open(dialled.link);
        self.tell_link(dialled, LinkEvent::Open);
    }

    /// It says something.
    pub(in super::super) fn link_says(&mut self, dialled: &Dialled, text: &str) {
        self.tell_link(dialled, LinkEvent::Message(Message::Text(text)));
    }

    /// It is gone, or was never there.
    pub(in super::super) fn link_ends(&mut self, dialled: &Dialled, end: LinkEnd) {
        self.hub.links().remove(dialled.link);
        self.tell_link(dialled, LinkEvent::Closed(end));
    }

    fn tell_link(&mut self, dialled: &Dialled, event: LinkEvent<'_>) {
        let mut cx = Context::new(&mut self.hub, dialled.route, None);
        self.handlers[dialled.route as usize].on_link(&mut cx, dialled.link, event);
        self.settle();
    }

    /// What it was sent since the last time, one message each.
    pub(in super::super) fn link_sent(&mut self, dialled: &Dialled) -> Vec<String> {
        let bytes = self.hub.links().output(dialled.link).to_vec();
        self.hub.links().advance(dialled.link, bytes.len());
        if dialled.is_websocket {
            return unmasked(&bytes);
        }
        let text = String::from_utf8(bytes).expect("values are UTF-8");
        text.lines().map(str::to_owned).collect()
    }
}

/// The texts in masked frames of whole messages.
fn unmasked(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let [0x81, length, rest @ ..] = bytes {
        let (len, rest) = match length & 0x7f {
            126 => (u16::from_be_bytes([rest[0], rest[1]]) as usize, &rest[2..]),
            127 => {
                let long: [u8; 8] = rest[..8].try_into().expect("eight bytes");
                (u64::from_be_bytes(long) as usize, &rest[8..])
            }
            len => (len as usize, rest),
        };
        let (mask, rest) = rest.split_at(4);
        let (payload, rest) = rest.split_at(len);
        let plain = payload.iter().zip(mask.iter().cycle());
        let plain = plain.map(|(byte, mask)| byte ^ mask).collect();
        texts.push(String::from_utf8(plain).expect("text is UTF-8"));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a frame, or no text");
    texts
}
