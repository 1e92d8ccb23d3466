//! `chat`: whoever is in the room hears everything said in it, the speaker too.
//!
//! | route | the room |
//! | --- | --- |
//! | `/chat/{group}` | all sessions of that group |
//! | `/pair/{a}/{b}` | the conversation of two names; `/pair/{b}/{a}` is the same one |
//!
//! ```text
//!   upgrade ── name refused ──▶ 400          what is said is delivered from the moment of connection,
//!      │  └─── no room left ──▶ 503          also to a member who has not said anything yet
//!      ▼
//!   member ── message ──▶ every member, text as text, binary as binary
//!      │
//!      └── leaves ──▶ with `presence`, the others get `receiver_count => N`
//! ```
//!
//! What the server cannot take for lack of memory ends the speaker's connection with 1013: there is no error among
//! the messages of a chat, and silence would be taken for success.

use crate::hub::{CloseInfo, Context, Handler, Locals, Request, Upgrade, check_channel_name};
use crate::ws::{CloseCode, Message};

use super::unavailable;

/// How [`Chat`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChatOptions {
    /// Say `receiver_count => N` as text when somebody joins or leaves; N is the number of members after the
    /// change. On a join everybody gets it, the newcomer included, so each member always knows the number.
    /// Off: members of a room usually agree on a format, and this line is not in it.
    pub presence: bool,
}

/// Group chat and conversations of two.
#[derive(Debug, Default)]
pub struct Chat {
    options: ChatOptions,
    /// The room of each member.
    rooms: Locals<Box<str>>,
}

impl Chat {
    /// A chat with these options.
    pub fn new(options: ChatOptions) -> Self {
        Self {
            options,
            rooms: Locals::default(),
        }
    }
}

impl Handler for Chat {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        let room = match room_of(request) {
            Ok(room) => room,
            Err(why) => return Upgrade::refuse(400, &why),
        };
        if let Err(why) = cx.subscribe(&room) {
            return Upgrade::Refuse(unavailable(&why.to_string()));
        }
        self.rooms.insert(cx, room.into());
        Upgrade::accept()
    }

    fn on_open(&mut self, cx: &mut Context<'_>) {
        if let Some(room) = self.rooms.get(cx).filter(|_| self.options.presence) {
            announce(cx, room);
        }
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let Some(room) = self.rooms.get(cx) else {
            return;
        };
        if let Err(why) = cx.publish(room, message) {
            cx.close(CloseCode::TRY_LATER, &why.to_string());
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
        if let Some(room) = self.rooms.remove(cx) {
            cx.unsubscribe(&room);
            if self.options.presence {
                announce(cx, &room);
            }
        }
    }

    fn space(&self) -> &str {
        "chat"
    }
}

/// The channel of the request's room, or why there is none.
fn room_of(request: &Request<'_>) -> Result<String, String> {
    let name = |variable: &str| {
        let value = request.param(variable).unwrap_or_default();
        check_channel_name(value)
            .map(|()| value)
            .map_err(|why| format!("{variable}: {why}"))
    };
    if request.param("a").is_none() {
        return name("group").map(str::to_owned);
    }
    let (a, b) = (name("a")?, name("b")?);
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    Ok(format!("{first}{PAIR_SEPARATOR}{second}"))
}

fn announce(cx: &mut Context<'_>, room: &str) {
    let text = format!("receiver_count => {}", cx.subscribers(room));
    // A full house does without the announcement: nobody asked for it, and the next one carries the number.
    _ = cx.publish(room, Message::Text(&text));
}

/// A control character cannot stand in a group's name, so no group is ever a pair.
const PAIR_SEPARATOR: char = '\u{1f}';

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dialect::testing::{Got, House, Id};

    fn house(presence: bool) -> (House, usize) {
        let mut house = House::new();
        let chat = house.route("/chat", Chat::new(ChatOptions { presence }));
        (house, chat)
    }

    fn join(house: &mut House, route: usize, group: &str) -> Id {
        house.join(route, "/chat/x", &[("group", group)])
    }

    #[test]
    fn hl_3_a_group_hears_and_another_does_not() {
        let (mut house, chat) = house(false);
        let a = join(&mut house, chat, "room");
        let b = join(&mut house, chat, "room");
        let c = join(&mut house, chat, "other");
        house.text(a, "hi");
        house.binary(b, &[1, 2]);
        for member in [a, b] {
            assert_eq!(
                house.got(member),
                [Got::Text("hi".into()), Got::Binary(vec![1, 2])]
            );
        }
        assert_eq!(house.got(c), []);
    }

    #[test]
    fn hl_4_a_silent_newcomer_receives() {
        let (mut house, chat) = house(false);
        let a = join(&mut house, chat, "room");
        let b = join(&mut house, chat, "room");
        house.text(a, "hi");
        house.text(a, "");
        assert_eq!(
            house.got(b),
            [Got::Text("hi".into()), Got::Text(String::new())]
        );
    }

    #[test]
    fn hl_5_a_pair_is_unordered_and_never_a_group() {
        let (mut house, chat) = house(false);
        let alice = house.join(chat, "/pair/alice/bob", &[("a", "alice"), ("b", "bob")]);
        let bob = house.join(chat, "/pair/bob/alice", &[("a", "bob"), ("b", "alice")]);
        let eve = house.join(chat, "/pair/bob/eve", &[("a", "bob"), ("b", "eve")]);
        house.text(bob, "hi");
        assert_eq!(house.got(alice), [Got::Text("hi".into())]);
        assert_eq!(house.got(bob), [Got::Text("hi".into())]);
        assert_eq!(house.got(eve), []);
        let refused = house.upgrade(chat, "/chat/x", &[("group", "alice\u{1f}bob")]);
        assert_eq!(refused.unwrap_err().status, 400);
    }

    #[test]
    fn hl_6_presence_counts_members_after_the_change() {
        let (mut house, chat) = house(true);
        let a = join(&mut house, chat, "room");
        assert_eq!(house.got(a), [Got::Text("receiver_count => 1".into())]);
        let b = join(&mut house, chat, "room");
        for member in [a, b] {
            assert_eq!(house.got(member), [Got::Text("receiver_count => 2".into())]);
        }
        house.leave(b);
        assert_eq!(house.got(a), [Got::Text("receiver_count => 1".into())]);
        house.leave(a);
        house.is_empty();
    }

    #[test]
    fn hl_7_a_slow_member_is_told_and_the_others_hear_on() {
        let (mut house, chat) = house(false);
        let a = join(&mut house, chat, "room");
        let slow = join(&mut house, chat, "room");
        for n in 0..1025 {
            house.text(a, &n.to_string());
            assert_eq!(house.got(a), [Got::Text(n.to_string())]);
        }
        assert_eq!(house.closed(slow), Some(CloseCode::TRY_LATER));
        assert_eq!(house.closed(a), None);
    }

    #[test]
    fn hl_8_names_are_checked_as_decoded() {
        let (mut house, chat) = house(false);
        let a = join(&mut house, chat, "tàu hỏa/1");
        house.text(a, "hi");
        assert_eq!(house.got(a), [Got::Text("hi".into())]);
        for bad in ["", "a\nb", &"x".repeat(256)] {
            let refused = house
                .upgrade(chat, "/chat/x", &[("group", bad)])
                .unwrap_err();
            assert_eq!(refused.status, 400);
            let body = String::from_utf8(refused.body).unwrap();
            assert!(body.contains("group: the channel name"), "{body}");
        }
        assert_eq!(house.hub.sessions(), 1);
    }

    #[test]
    fn a_refused_message_is_never_silent() {
        let mut house = House::with_budget(100);
        let chat = house.route("/chat", Chat::default());
        let a = join(&mut house, chat, "room");
        house.text(a, &"x".repeat(101));
        assert_eq!(house.closed(a), Some(CloseCode::TRY_LATER));
    }
}
