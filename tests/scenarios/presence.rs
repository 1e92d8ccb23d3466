//! Who is in a channel, through the real worker: users whose connections break and come back, crowds, an application
//! that is told of channels and is down meanwhile.

use dunlin::dialect::{PubSub, PubSubCallback, PubSubOptions};
use dunlin::hub::{ChannelOptions, PresenceChange};
use dunlin::server::{RouteSettings, WorkerSettings};
use dunlin::sim::{AppHandle, Client, Connect, Deed, World};
use dunlin::{CloseInfo, Context, Handler, Message, Outcome, Reply, Request, Ticket, Upgrade};
use serde_json::Value;

/// `pubsub` behind an authentication that believes what it is told.
struct Named(PubSub);

impl Handler for Named {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        if let Some(user) = request.header("X-User") {
            assert_eq!(cx.set_user(user), Ok(()));
        }
        self.0.on_upgrade(cx, request)
    }
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        self.0.on_message(cx, message);
    }
    fn on_close(&mut self, cx: &mut Context<'_>, close: CloseInfo<'_>) {
        self.0.on_close(cx, close);
    }
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Reply {
        self.0.on_request(cx, request)
    }
    fn on_outcome(&mut self, cx: &mut Context<'_>, ticket: Ticket, outcome: Outcome<'_>) {
        self.0.on_outcome(cx, ticket, outcome);
    }
    fn on_presence(&mut self, cx: &mut Context<'_>, channel: &str, change: PresenceChange<'_>) {
        self.0.on_presence(cx, channel, change);
    }
    fn space(&self) -> &str {
        self.0.space()
    }
}

fn world_with(settings: WorkerSettings) -> (World, AppHandle) {
    let mut world = World::new(settings);
    let route = RouteSettings {
        channels: vec![
            ChannelOptions::of("room.*").presence(true),
            ChannelOptions::of("live.*").callback(true),
        ],
        ..RouteSettings::default()
    };
    let callback = PubSubCallback {
        target: Some("http://app/hook".parse().unwrap()),
        ..PubSubCallback::default()
    };
    let pubsub = PubSub::new(PubSubOptions::default()).callback(callback);
    world.route_with("/ch/{channel}", route, || Named(pubsub));
    let app = world.app();
    (world, app)
}

fn world() -> (World, AppHandle) {
    world_with(WorkerSettings::default())
}

fn user(world: &mut World, channel: &str, name: &str) -> Client {
    world.connect(Connect::to(&format!("/ch/{channel}")).header("X-User", name))
}

/// The kinds of messages, and whom they are about.
fn told(client: &mut Client) -> Vec<String> {
    let texts = client.texts();
    let told = texts.iter().map(|text| {
        let json: Value = serde_json::from_str(text).unwrap();
        let kind = json["type"].as_str().unwrap();
        match json["user"].as_str() {
            Some(user) => format!("{kind} {user}"),
            None => format!("{kind} {}/{}", json["users"], json["connections"]),
        }
    });
    told.collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_connection_that_breaks_is_missed_after_the_grace_time() {
    let (mut world, _) = world();
    let mut watch = world.connect("/ch/room.1?presence");
    assert_eq!(told(&mut watch), ["presence 0/1"]);
    let mut ann = user(&mut world, "room.1", "ann");
    let mut bob = user(&mut world, "room.1", "bob");
    assert_eq!(told(&mut watch), ["join ann", "join bob"]);
    ann.reset();
    bob.close(1000, "");
    world.advance_ms(4_500);
    assert_eq!(told(&mut watch), NOTHING);
    let _ann = user(&mut world, "room.1", "ann");
    world.advance_ms(2_000);
    assert_eq!(told(&mut watch), ["leave bob"], "ann is back");
    let page = world.request("GET /ch/room.1?presence HTTP/1.1\r\nHost: sim\r\n\r\n");
    let json: Value = serde_json::from_str(&page.text()).unwrap();
    assert_eq!(
        (&json["users"], &json["connections"]),
        (&1.into(), &2.into())
    );
    world.check_invariants();
}

#[test]
fn a_crowd_leaves_at_once_and_nobody_waits_for_that() {
    let (mut world, _) = world();
    let mut watch = world.connect("/ch/room.1?presence");
    let mut crowd: Vec<Client> = (0..900)
        .map(|n| user(&mut world, "room.1", &format!("u{n}")))
        .collect();
    let heard = told(&mut watch);
    assert_eq!(heard[0], "presence 0/1");
    assert_eq!(
        heard[1..].iter().filter(|t| t.starts_with("join")).count(),
        99,
        "then counts"
    );
    world.advance_ms(2_000);
    assert_eq!(told(&mut watch).last().unwrap(), "presence 900/901");
    for client in &mut crowd {
        client.reset();
    }
    let mut bystander = user(&mut world, "quiet", "zoe");
    world.advance_ms(8_000);
    assert_eq!(told(&mut watch).last().unwrap(), "presence 0/1");
    bystander.ping(b"there?");
    assert_eq!(bystander.pongs().len(), 1);
    assert_eq!(world.metrics().presence_left_total, 900);
    drop(crowd);
    watch.close(1000, "");
    bystander.close(1000, "");
    world.advance_ms(10_000);
    assert_eq!((world.channels(), world.used_bytes()), (0, 0));
    world.check_idle();
}

#[test]
fn only_so_many_may_come_back() {
    let mut settings = WorkerSettings::default();
    settings.hub.presence_leaving_max = 2;
    let (mut world, _) = world_with(settings);
    let mut watch = world.connect("/ch/room.1?presence");
    let mut three: Vec<Client> = (0..3)
        .map(|n| user(&mut world, "room.1", &format!("u{n}")))
        .collect();
    told(&mut watch);
    for client in &mut three {
        client.reset();
    }
    assert_eq!(told(&mut watch), ["leave u2"]);
    world.advance_ms(7_000);
    assert_eq!(told(&mut watch), ["leave u0", "leave u1"]);
}

#[test]
fn without_a_grace_time_everybody_leaves_at_once() {
    let mut settings = WorkerSettings::default();
    settings.hub.presence_grace_ms = 0;
    let (mut world, _) = world_with(settings);
    let mut watch = world.connect("/ch/room.1?presence");
    let mut ann = user(&mut world, "room.1", "ann");
    ann.close(1000, "");
    world.advance_ms(1_000);
    assert_eq!(told(&mut watch), ["presence 0/1", "join ann", "leave ann"]);
}

#[test]
fn a_slow_watcher_is_treated_like_any_slow_reader() {
    let (mut world, _) = world();
    let mut slow = world.connect("/ch/room.1?presence");
    assert_eq!(told(&mut slow), ["presence 0/1"]);
    slow.stop_reading();
    slow.window(1);
    let mut others = Vec::new();
    for n in 0..1100 {
        let mut client = world.connect("/ch/room.1");
        if n >= 90 {
            client.close(1000, "");
        }
        others.push(client);
        if world.refused("slow_consumer") > 0 {
            break;
        }
    }
    assert_eq!(world.refused("slow_consumer"), 1);
    slow.window(1 << 20);
    slow.resume_reading();
    assert!(slow.next().is_some(), "a half-written frame is finished");
    slow.expect_close(1013);
}

/// What the application was told, in order.
fn events(app: &AppHandle) -> Vec<String> {
    let asked = app.asked();
    let events = asked.iter().map(|asked| {
        assert_eq!((&*asked.method, &*asked.path), ("POST", "/hook"));
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        assert!(body["time_ms"].is_u64());
        let event = &body["events"][0];
        let (name, channel) = (&event["name"], &event["channel"]);
        format!("{} {}", channel.as_str().unwrap(), name.as_str().unwrap())
    });
    events.collect()
}

#[test]
fn an_application_that_was_down_is_told_how_it_is_now() {
    let (mut world, app) = world();
    app.down();
    let mut one = world.connect("/ch/live.1");
    let mut two = world.connect("/ch/live.2");
    for _ in 0..5 {
        two.close(1000, "");
        world.advance_ms(1_000);
        two = world.connect("/ch/live.2");
    }
    one.close(1000, "");
    world.advance_ms(60_000);
    assert_eq!(events(&app), NOTHING);
    app.up();
    world.advance_ms(60_000);
    assert_eq!(
        events(&app),
        [
            "live.1 channel_occupied",
            "live.2 channel_occupied",
            "live.1 channel_vacated"
        ]
    );
    two.close(1000, "");
    world.advance_ms(60_000);
    assert_eq!(events(&app).last().unwrap(), "live.2 channel_vacated");
    assert_eq!(world.refused("pubsub_callback_failed"), 0);
    world.check_idle();
}

#[test]
fn an_application_that_does_not_answer_is_told_again() {
    let (mut world, app) = world();
    let mut failures = 2;
    app.behave(move |_| {
        failures -= i32::from(failures > 0);
        Deed::ok("{}").after_ms(if failures > 0 { 60_000 } else { 10 })
    });
    let mut one = world.connect("/ch/live.1");
    world.advance_ms(30_000);
    assert_eq!(events(&app), ["live.1 channel_occupied"; 2]);
    one.reset();
    world.advance_ms(30_000);
    assert_eq!(events(&app).len(), 3);
    assert_eq!(world.refused("pubsub_callback_failed"), 0);
    world.check_idle();
}

/// A library's handler: it keeps a diary of who comes and goes.
#[derive(Default)]
struct Diary(std::rc::Rc<std::cell::RefCell<Vec<String>>>);

impl Handler for Diary {
    fn on_upgrade(&mut self, cx: &mut Context<'_>, request: &Request<'_>) -> Upgrade {
        let user = request.query("user").unwrap();
        assert!(cx.subscribe("hall").is_ok() && cx.set_user(&user).is_ok());
        assert!(cx.set_member_info("hall", "anything"));
        if user == "nobody" {
            return Upgrade::refuse(403, "nobody may not");
        }
        Upgrade::accept()
    }
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        assert!(cx.unsubscribe("hall"));
        cx.send(message);
    }
    fn on_presence(&mut self, cx: &mut Context<'_>, channel: &str, change: PresenceChange<'_>) {
        let users = cx.presence(channel).map(|view| view.users());
        let said = match change {
            PresenceChange::Joined(m) => format!("+{} {:?}", m.user.unwrap(), m.info),
            PresenceChange::Left(m) => format!("-{}", m.user.unwrap()),
            change => format!("{change:?}"),
        };
        self.0
            .borrow_mut()
            .push(format!("{channel} {users:?} {said}"));
    }
}

#[test]
fn a_handler_of_ones_own_is_told_too() {
    let mut world = World::new(WorkerSettings::default());
    let diary = Diary::default();
    let pages = diary.0.clone();
    let settings = RouteSettings {
        channels: vec![ChannelOptions::of("hall").presence(true).callback(true)],
        ..RouteSettings::default()
    };
    world.route_with("/hall", settings, || diary);
    world.connect_refused("/hall?user=nobody");
    assert_eq!(
        pages.take(),
        ["hall Some(0) Occupied", "hall Some(0) Vacated"]
    );
    let mut ann = world.connect("/hall?user=ann");
    let mut same = world.connect("/hall?user=ann");
    assert_eq!(
        pages.take(),
        [
            "hall Some(1) Occupied",
            "hall Some(1) +ann Some(\"anything\")"
        ]
    );
    ann.send_text("off");
    same.close(1000, "");
    world.advance_ms(7_000);
    assert_eq!(pages.take(), ["hall Some(1) Vacated", "hall Some(0) -ann"]);
}
