use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::socket::Socket;
use super::*;
use crate::hub::{ChannelOptions, Context, Handler, Position, Start};
use crate::random::Random;
use crate::server::{On, RouteSettings, WorkerSettings};
use crate::ws::Message;

struct Nobody;

impl Handler for Nobody {
    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
}

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dunlin-history-{}-{n}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn bytes(&self) -> u64 {
        let files = self.files();
        files.iter().map(|f| fs::metadata(f).unwrap().len()).sum()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// A worker and its log.
struct House {
    worker: Worker<Socket>,
    journal: Journal,
    said: Vec<String>,
}

impl House {
    fn open(log: &HistoryLog) -> io::Result<Self> {
        Self::open_at(log, unix_ms())
    }

    fn open_at(log: &HistoryLog, unix_ms: u64) -> io::Result<Self> {
        let mut worker = Worker::new(WorkerSettings::default(), Random::system());
        let settings = RouteSettings {
            channels: vec![
                ChannelOptions::of("*")
                    .history_messages_max(10_000)
                    .history_ms_max(60_000),
            ],
            ..RouteSettings::default()
        };
        let handler = Box::new(Nobody);
        worker.route("/x", On::Every, settings, handler).unwrap();
        worker.turn(Now::new(0, unix_ms));
        let mut journal = Journal::open(log, &mut worker, Now::new(0, unix_ms))?;
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let said = journal.begin(Arc::new(waker));
        Ok(Self {
            worker,
            journal,
            said: said.into_iter().map(|notice| notice.text).collect(),
        })
    }

    fn publish(&mut self, text: &str) -> Position {
        let mut cx = Context::new(&mut self.worker.core.hub, 0, None);
        cx.publish("news", Message::Text(text)).unwrap().position
    }

    fn turn(&mut self) {
        let before = self.journal.look(&mut self.worker);
        let after = self.journal.turn(&mut self.worker);
        let said = before.into_iter().chain(after);
        self.said.extend(said.map(|notice| notice.text));
    }

    /// Everything is written.
    fn finish(&mut self) {
        let said = self.journal.finish(&mut self.worker);
        self.said.extend(said.into_iter().map(|notice| notice.text));
    }

    /// What follows, if nothing is missing.
    fn since(&mut self, position: Position) -> Option<usize> {
        let mut cx = Context::new(&mut self.worker.core.hub, 0, None);
        let history = cx.history("news", Start::Position(position), usize::MAX)?;
        (history.recovered == Some(true)).then_some(history.publications.len())
    }

    fn has_said(&self, part: &str) -> bool {
        self.said.iter().any(|line| line.contains(part))
    }
}

#[test]
fn what_one_server_kept_the_next_one_has() {
    let folder = Folder::new();
    let log = HistoryLog::at(&folder.0);
    let mut first = House::open(&log).unwrap();
    assert!(first.said.is_empty(), "{:?}", first.said);
    let position = first.publish("one");
    first.publish("two");
    first.turn();
    assert!(House::open(&log).is_err(), "it is locked");
    first.finish();
    drop(first);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.0), 0o700);
    assert_eq!(mode(&folder.files()[0]), 0o600);
    let mut second = House::open(&log).unwrap();
    assert!(
        second.has_said("2 publications of 1 channels"),
        "{:?}",
        second.said
    );
    assert_eq!(second.said.len(), 1, "{:?}", second.said);
    assert_eq!(second.since(position), Some(1));
    second.publish("three");
    second.turn();
    second.finish();
    drop(second);
    let mut third = House::open(&log).unwrap();
    assert_eq!(third.since(position), Some(2));
    assert_eq!(
        third.since(Position {
            tag: !position.tag,
            ..position
        }),
        None
    );
}

#[test]
fn a_torn_end_is_cut_off_and_said() {
    let folder = Folder::new();
    let log = HistoryLog::at(&folder.0);
    let mut first = House::open(&log).unwrap();
    let position = first.publish("one");
    first.publish("two");
    first.turn();
    first.finish();
    drop(first);
    let file = folder.files().pop().unwrap();
    let whole = fs::read(&file).unwrap();
    for cut in [1, 40, 90] {
        fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        let mut second = House::open(&log).unwrap();
        assert!(second.has_said("no whole record"), "{:?}", second.said);
        // The last record says where the channel stands; the one in front of it is the second publication.
        let left = if cut == 90 { 0 } else { 1 };
        assert_eq!(second.since(position), Some(left), "{cut}");
        drop(second);
        let again = House::open(&log).unwrap();
        assert!(!again.has_said("no whole record"), "{:?}", again.said);
    }
    fs::write(&file, b"dunlin").unwrap();
    let strange = House::open(&log).unwrap();
    assert!(strange.has_said("is no segment"), "{:?}", strange.said);
}

#[test]
fn the_log_has_no_more_bytes_than_it_may() {
    let folder = Folder::new();
    let log = HistoryLog {
        disk_bytes_max: 64 << 10,
        sync_ms: 0,
        ..HistoryLog::at(&folder.0)
    };
    let text = "x".repeat(1_000);
    let mut positions = Vec::new();
    for _ in 0..3 {
        let mut house = House::open(&log).unwrap();
        for _ in 0..60 {
            positions.push(house.publish(&text));
            positions.push(house.publish(&text));
            house.turn();
        }
        house.finish();
        assert!(folder.bytes() <= 64 << 10, "{}", folder.bytes());
        assert!(folder.bytes() >= 40 << 10, "{}", folder.bytes());
        // Larger than everything: it is missing, and said to be.
        drop(house);
    }
    let mut last = House::open(&log).unwrap();
    let count = positions.len();
    assert_eq!(last.since(positions[count - 30]), Some(29));
    assert_eq!(last.since(positions[count - 100]), None);
    last.publish(&"y".repeat(70_000));
    let behind = last.publish("small");
    last.turn();
    last.finish();
    assert!(last.has_said("larger than the log"), "{:?}", last.said);
    drop(last);
    let mut after = House::open(&log).unwrap();
    assert_eq!(after.since(behind), Some(0));
    assert_eq!(after.since(positions[count - 1]), None);
}

#[test]
fn what_is_too_old_is_removed_and_the_position_stays() {
    let folder = Folder::new();
    let log = HistoryLog::at(&folder.0);
    let mut first = House::open_at(&log, unix_ms() - 120_000).unwrap();
    let position = first.publish("one");
    first.turn();
    first.finish();
    drop(first);
    let old = folder.files();
    let mut second = House::open(&log).unwrap();
    assert_eq!(second.since(position), Some(0), "it still means something");
    assert_eq!(
        folder.files(),
        old,
        "nothing is removed before it is said again"
    );
    second.turn();
    second.finish();
    let now = folder.files();
    assert!(now.len() == 1 && now != old, "{old:?} and {now:?}");
    drop(second);
    let mut third = House::open(&log).unwrap();
    assert_eq!(third.since(position), Some(0));
}

#[test]
fn a_disk_that_fails_is_said_and_tried_again() {
    let folder = Folder::new();
    let log = HistoryLog::at(&folder.0);
    let mut house = House::open(&log).unwrap();
    fs::remove_dir(&folder.0).unwrap();
    let position = house.publish("one");
    house.publish("two");
    let until = Instant::now() + Duration::from_secs(60);
    while !house.has_said("publications go on") {
        house.turn();
        assert!(Instant::now() < until, "{:?}", house.said);
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(house.since(position), Some(1), "it is kept all the same");
    fs::create_dir(&folder.0).unwrap();
    while !house.has_said("logged again") {
        house.turn();
        assert!(Instant::now() < until, "{:?}", house.said);
        thread::sleep(Duration::from_millis(5));
    }
    house.finish();
    drop(house);
    let mut next = House::open(&log).unwrap();
    assert_eq!(next.since(position), Some(1));
    drop(next);
    // One that fails until the end loses what it had, and the end does not wait for it.
    let mut house = House::open(&log).unwrap();
    fs::remove_dir_all(&folder.0).unwrap();
    house.publish("three");
    house.turn();
    house.finish();
    assert!(house.has_said("not in the log"), "{:?}", house.said);
}
