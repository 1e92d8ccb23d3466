//! The mechanism alone: a handler of our own, one process per client, no dialect.

use std::collections::HashMap;
use std::rc::Rc;
use std::thread::JoinHandle;

use dunlin::hub::{Dial, Framing, LinkEnd, LinkEvent, LinkId, LinkTarget, Program};
use dunlin::net::{Client, Handle, Received};
use dunlin::{CloseInfo, ConnId, Context, Handler, Message, Server};

use crate::machine::{eventually, state};

struct Relay {
    program: Program,
    /// While more than this waits for a client, its process is not read from.
    pause_bytes: usize,
    links: HashMap<LinkId, ConnId>,
}

impl Relay {
    fn of(&self, cx: &Context<'_>) -> Option<LinkId> {
        let mut all = self.links.iter();
        all.find(|(_, id)| Some(**id) == cx.id()).map(|(l, _)| *l)
    }
}

impl Handler for Relay {
    fn on_open(&mut self, cx: &mut Context<'_>) {
        let target = LinkTarget::Process(self.program.clone());
        let dial = Dial {
            message_bytes_max: 1000,
            ..Dial::new(Rc::new(target))
        };
        let link = cx.dial(dial);
        self.links.insert(link, cx.id().unwrap());
    }
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
        let link = self.of(cx).unwrap();
        match message {
            Message::Text("leave") => cx.link_close(link),
            _ => assert!(cx.link_send(link, message)),
        }
    }
    fn on_drained(&mut self, cx: &mut Context<'_>) {
        if let Some(link) = self.of(cx) {
            cx.link_pause(link, false);
        }
    }
    fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
        if let Some(link) = self.of(cx) {
            cx.link_close(link);
        }
    }
    fn on_link(&mut self, cx: &mut Context<'_>, link: LinkId, event: LinkEvent<'_>) {
        let client = self.links[&link];
        match event {
            LinkEvent::Open => {}
            LinkEvent::Message(message) => {
                cx.send_to(client, message);
                if cx.buffered_of(client) > self.pause_bytes && cx.tell_when_drained(client) {
                    cx.link_pause(link, true);
                }
            }
            LinkEvent::Closed(end) => {
                self.links.remove(&link);
                cx.send_to(client, Message::Text(&format!("{end:?}")));
            }
        }
    }
}

struct Running {
    port: u16,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(program: Program, pause_bytes: usize) -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let relay = Relay {
                program,
                pause_bytes,
                links: HashMap::new(),
            };
            let server = Server::new().listen("127.0.0.1:0").route("/", || relay);
            let bound = server.bind().unwrap();
            let (port, handle) = (bound.port(0).unwrap(), bound.handle());
            sender.send((port, handle)).unwrap();
            bound.run().unwrap();
        });
        let (port, handle) = receiver.recv().unwrap();
        Self {
            port,
            handle,
            thread: Some(thread),
        }
    }

    fn connect(&self) -> Client {
        let url = format!("ws://127.0.0.1:{}/", self.port);
        Client::connect(&url, &[]).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn shell(script: &str) -> Program {
    Program::new(["/bin/sh", "-c", script].map(str::to_owned).to_vec())
}

fn text(client: &mut Client) -> String {
    match client.receive().unwrap() {
        Received::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

fn pid(client: &mut Client) -> u32 {
    text(client).parse().unwrap()
}

fn says(program: Program) -> Vec<String> {
    let server = Running::start(program, usize::MAX);
    let mut client = server.connect();
    let mut all = Vec::new();
    loop {
        all.push(text(&mut client));
        if all
            .last()
            .is_some_and(|last| last.contains("(") || !last.starts_with("out"))
        {
            return all;
        }
    }
}

#[test]
fn what_a_process_says_is_heard_to_its_last_byte_and_then_how_it_ended() {
    let expected = ["out 1", "out 2", "Exited(Code(3))"];
    assert_eq!(says(shell("echo out 1; printf 'out 2'; exit 3")), expected);
    assert_eq!(says(shell("kill -9 $$")), ["Exited(Signal(9))"]);
    assert_eq!(says(shell("exit 0")), ["Exited(Code(0))"]);
    // Nobody may have read its input, and it ends all the same.
    let mut program = shell("echo out; exec cat");
    program.hears = false;
    assert_eq!(says(program), ["out", "Exited(Code(0))"]);
    let mut nobody = shell("");
    nobody.arguments[0] = "/no/such/program".to_owned();
    assert_eq!(says(nobody), [format!("{:?}", LinkEnd::Unreachable)]);
    let mut nowhere = shell("echo out");
    nowhere.folder = Some("/no/such/folder".to_owned());
    assert_eq!(says(nowhere), [format!("{:?}", LinkEnd::Unreachable)]);
}

#[test]
fn a_process_has_the_environment_it_was_given_and_nothing_else() {
    let mut program = shell("echo \"out $GIVEN $HOME$CARGO_MANIFEST_DIR\"; pwd");
    program.environment = vec![("GIVEN".to_owned(), "a b".to_owned())];
    program.folder = Some("/usr".to_owned());
    assert_eq!(says(program), ["out a b ", "/usr"]);
}

#[test]
fn input_comes_line_by_line_and_ends_when_the_link_does() {
    let script = "while read -r line; do echo \"<$line>\"; done; echo end >&2; exit 7";
    let server = Running::start(shell(script), usize::MAX);
    let mut client = server.connect();
    client.send(Message::Text("hello")).unwrap();
    client.send(Message::Text("a\nb")).unwrap();
    client.send(Message::Text("")).unwrap();
    let got: Vec<String> = (0..4).map(|_| text(&mut client)).collect();
    assert_eq!(got, ["<hello>", "<a>", "<b>", "<>"]);
    client.send(Message::Binary(b"raw")).unwrap();
    client.send(Message::Text("")).unwrap();
    assert_eq!(text(&mut client), "<raw>");
    client.send(Message::Text("leave")).unwrap();
    assert_eq!(text(&mut client), "Ours");
}

#[test]
fn chunks_are_what_was_read() {
    let mut program = shell("printf '\\377\\n\\000'");
    program.output = Framing::Chunks;
    let server = Running::start(program, usize::MAX);
    let mut client = server.connect();
    assert_eq!(
        client.receive().unwrap(),
        Received::Binary(b"\xff\n\0".to_vec())
    );
    assert_eq!(text(&mut client), "Exited(Code(0))");
}

#[test]
fn long_lines_are_cut_or_end_the_process() {
    let script = "head -c 2500 /dev/zero | tr '\\000' x; echo";
    let server = Running::start(shell(script), usize::MAX);
    let mut client = server.connect();
    let lengths: Vec<usize> = (0..3).map(|_| text(&mut client).len()).collect();
    assert_eq!(lengths, [1000, 1000, 500]);
    let mut strict = shell("head -c 1001 /dev/zero | tr '\\000' x; sleep 1000");
    strict.output = Framing::Lines { cut: false };
    assert_eq!(says(strict), ["Protocol"]);
}

#[test]
fn signals_come_in_order_to_the_whole_group_and_nothing_is_left() {
    // It ignores the end of its input and the first two signals; a child of its own ignores everything but the last.
    let script = "trap 'echo int' INT; trap 'echo term' TERM; \
                  (trap '' INT TERM; echo $(exec sh -c 'echo $PPID'); exec sleep 1000) & \
                  echo $$; while :; do sleep 0.01; done";
    let server = Running::start(shell(script), usize::MAX);
    let mut client = server.connect();
    let pids = [pid(&mut client), pid(&mut client)];
    assert!(pids.iter().all(|pid| state(*pid).is_some()));
    client.send(Message::Text("leave")).unwrap();
    assert_eq!(text(&mut client), "Ours");
    for pid in pids {
        eventually("a process is gone", || state(pid).is_none().then_some(()));
    }
}

#[test]
fn a_process_that_closes_its_output_and_goes_on_is_ended() {
    let script = "echo $$; exec <&- >&-; while :; do sleep 1; done";
    let server = Running::start(shell(script), usize::MAX);
    let mut client = server.connect();
    let pid = pid(&mut client);
    assert!(text(&mut client).starts_with("Exited(Signal("));
    eventually("it is gone", || state(pid).is_none().then_some(()));
}

#[test]
fn a_client_that_does_not_read_makes_the_process_wait() {
    let folder = std::env::temp_dir().join(format!("dunlin-pressure-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let progress = folder.join("progress");
    // Each line of 100 bytes is noted after it was written.
    let script = format!(
        "i=0; while [ $i -lt 200000 ]; do printf '%099d\\n' $i; i=$((i+1)); \
         [ $((i % 100)) = 0 ] && echo $i >{}; done; exit 0",
        progress.display()
    );
    let server = Running::start(shell(&script), 16 << 10);
    let mut client = server.connect();
    let written = || std::fs::read_to_string(&progress).ok()?.trim().parse().ok();
    let mut last: u64 = 0;
    let mut still = 0;
    let stuck_at = eventually("the process waits", || {
        let now: u64 = written()?;
        still = if now == last { still + 1 } else { 0 };
        last = now;
        (still > 100).then_some(now)
    });
    assert!(
        stuck_at < 150_000,
        "it wrote {stuck_at} lines that nobody has read"
    );
    for number in 0..200_000 {
        assert_eq!(text(&mut client), format!("{number:099}"));
    }
    assert_eq!(text(&mut client), "Exited(Code(0))");
    std::fs::remove_dir_all(&folder).unwrap();
}
