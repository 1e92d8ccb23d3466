//! Sessions whose channels have policies of their own.

use crate::{App, world_with};
use dunlin::hub::{ChannelOptions, SessionLimits, SlowPolicy};
use dunlin::server::{On, RouteSettings, WorkerSettings};
use dunlin::sim::{Client, World};
use dunlin::{Context, Handler, Message};

/// A client subscribed to `news` that stands still with one byte of a first message taken, and a publisher.
fn standing(world: &mut World) -> (Client, Client) {
    let mut slow = world.connect("/app");
    slow.send_text("join news");
    let mut publisher = world.connect("/app");
    slow.stop_reading();
    slow.window(1);
    publisher.send_text("pub news first");
    (slow, publisher)
}

/// A client subscribed to `news` and more, with one byte of a first message of `news` taken; each channel has the policy
/// of its name, and the route's is to close.
fn standing_in_a_mixture(limits: impl FnOnce(&mut SessionLimits)) -> (World, Client, Client) {
    let mut world = world_with(
        |_| {},
        |s| {
            limits(&mut s.session);
            s.messages_per_second = 0;
            s.channels = vec![
                ChannelOptions::of("tick.*").slow(SlowPolicy::Latest),
                ChannelOptions::of("log.*").slow(SlowPolicy::DropOldest),
                ChannelOptions::of("log.audit").slow(SlowPolicy::Close),
            ];
        },
    );
    let (mut slow, publisher) = standing(&mut world);
    for channel in ["tick.a", "tick.b", "log.a", "log.audit"] {
        slow.send_text(&format!("join {channel}"));
    }
    (world, slow, publisher)
}

fn read_on(slow: &mut Client) -> Vec<String> {
    slow.window(1 << 16);
    slow.resume_reading();
    slow.expect_text("first");
    slow.texts()
}

#[test]
fn in_a_mixture_each_channel_keeps_its_promise() {
    let (world, mut slow, mut publisher) = standing_in_a_mixture(|s| s.outbox_frames_max = 6);
    for n in 0..20 {
        publisher.send_text(&format!("pub tick.a a{n}"));
        publisher.send_text(&format!("pub log.a log{n}"));
        publisher.send_text(&format!("pub tick.b b{n}"));
        if n == 3 || n == 17 {
            publisher.send_text(&format!("pub log.audit audit{n}"));
        }
    }
    assert_eq!(world.refused("slow_consumer"), 0);
    let got = read_on(&mut slow);
    // Five beside the first, which is half on the wire: what must stay, the newest ticks, and the log that fits.
    let logs = got.iter().filter(|text| text.starts_with("log")).count();
    assert!(got[0].starts_with("gap "), "in front of all: {got:?}");
    assert_eq!(got[0], format!("gap {}", 20 - logs), "{got:?}");
    let place = |text: &str| got.iter().position(|t| t == text).expect(text);
    assert!(place("audit3") < place("audit17"), "{got:?}");
    assert!(place("a19") < place("b19"), "{got:?}");
    let ticks = got
        .iter()
        .filter(|text| text.starts_with(['a', 'b']) && !text.starts_with("au"));
    assert!(ticks.count() <= 4, "{got:?}");
    publisher.send_text("pub log.a next");
    slow.expect_text("next");
    assert_eq!(world.queued_bytes(), 0);
}

#[test]
fn in_a_mixture_nobody_is_closed_for_what_may_be_dropped() {
    let (world, mut slow, mut publisher) = standing_in_a_mixture(|s| s.outbox_frames_max = 4);
    for n in 0..100 {
        publisher.send_text(&format!("pub log.a {n}"));
    }
    for n in 0..100 {
        publisher.send_text(&format!("pub tick.a {n}"));
    }
    assert_eq!(world.refused("slow_consumer"), 0);
    // The marker counts where it stands, and has taken the place of one more.
    assert_eq!(read_on(&mut slow), ["gap 98", "98", "99", "99"]);
}

#[test]
fn in_a_mixture_a_message_that_must_stay_and_finds_no_room_closes() {
    for more in [0, 1] {
        let (world, mut slow, mut publisher) = standing_in_a_mixture(|s| s.outbox_frames_max = 4);
        publisher.send_text("pub log.a gone");
        publisher.send_text("pub tick.a old");
        for n in 0..2 + more {
            publisher.send_text(&format!("pub log.audit {n}"));
        }
        publisher.send_text("pub tick.a new");
        assert_eq!(world.refused("slow_consumer"), more);
        if more == 0 {
            assert_eq!(read_on(&mut slow), ["gap 1", "0", "1", "new"]);
        } else {
            slow.window(1 << 16);
            slow.resume_reading();
            slow.expect_text("first");
            slow.expect_close(1013);
        }
    }
}

#[test]
fn in_a_mixture_the_soft_limit_takes_what_may_go() {
    let (mut world, mut slow, mut publisher) = standing_in_a_mixture(|s| {
        s.outbox_soft_bytes = 1_000;
    });
    publisher.send_text(&format!("pub log.a {}", "l".repeat(2_000)));
    publisher.send_text("pub log.audit kept");
    world.advance_ms(11_000);
    publisher.send_text("pub log.a late");
    assert_eq!(world.refused("slow_consumer"), 0);
    // The newest fits again, and is not dropped with the one that was too much.
    assert_eq!(read_on(&mut slow), ["gap 1", "kept", "late"]);
}

#[test]
fn replies_have_the_policy_of_the_route() {
    let (world, mut slow, mut publisher) = standing_in_a_mixture(|s| s.outbox_frames_max = 3);
    slow.send_text("a reply");
    for n in 0..50 {
        publisher.send_text(&format!("pub tick.a {n}"));
        publisher.send_text(&format!("pub log.a {n}"));
    }
    assert_eq!(world.refused("slow_consumer"), 0);
    let got = read_on(&mut slow);
    assert_eq!(got[1..], ["a reply", "49"], "{got:?}");
}

#[test]
fn a_publication_to_several_channels_has_the_strictest_policy() {
    struct Union;
    impl Handler for Union {
        fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
            let Message::Text(text) = message else { return };
            match text.split_once(' ') {
                Some(("join", channel)) => assert!(cx.subscribe(channel).is_ok()),
                Some((channels, text)) => {
                    let channels: Vec<&str> = channels.split(',').collect();
                    let message = Message::Text(text);
                    cx.publish_in(cx.space(), &channels, message).unwrap();
                }
                None => {}
            }
        }
    }
    for (channels, closes) in [("a,b,nobody", true), ("a,nobody", false), ("a,a2", true)] {
        let mut world = World::new(WorkerSettings::default());
        let mut route = RouteSettings::default();
        route.session.outbox_frames_max = 3;
        route.channels = vec![
            ChannelOptions::of("a*").slow(SlowPolicy::Latest),
            ChannelOptions::of("b").slow(SlowPolicy::Close),
        ];
        world.route_with("/", route, || Union);
        let mut other = world.connect("/");
        other.send_texts(["join b", "join a2"]);
        let mut slow = world.connect("/");
        slow.send_text("join a");
        slow.stop_reading();
        slow.window(1);
        other.send_text("a first");
        for n in 0..5 {
            other.send_text(&format!("{channels} {n}"));
        }
        // One that reaches two channels with `latest` may be the newest of either, and is not replaced.
        assert_eq!(
            world.refused("slow_consumer"),
            u64::from(closes),
            "{channels}"
        );
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    use dunlin::Server;
    let server = |names: &str, slow| {
        let route = |slow| RouteSettings {
            channels: vec![ChannelOptions::of(names).slow(slow)],
            ..RouteSettings::default()
        };
        let (one, other) = (route(SlowPolicy::Latest), route(slow));
        let server = Server::new().route_with("/a", On::Every, one, App::default);
        let bound = server
            .route_with("/b", On::Every, other, App::default)
            .bind();
        bound.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(server("a*", SlowPolicy::Latest), Ok(()));
    let error = server("a*", SlowPolicy::Close).unwrap_err();
    assert!(
        error.contains("another route with the same channels"),
        "{error}"
    );
    let error = server("a*b", SlowPolicy::Latest).unwrap_err();
    assert!(error.contains("comes last"), "{error}");
}
