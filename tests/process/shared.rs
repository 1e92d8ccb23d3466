//! One process for all viewers: files that are followed, restarts, latecomers.

use std::process::{Command, Stdio};

use dunlin::net::{Client, Received};

use crate::machine::{children, eventually};
use crate::program::{Served, TempFile, dunlin};
use crate::rig::{Rig, append, say, text, to_the_end};

fn tail(file: &TempFile) -> Rig {
    Rig::flags(&["--tail", &format!("log={}", file.as_str())])
}

#[test]
fn ts_9_a_thousand_viewers_of_one_file_get_each_line_once() {
    let file = TempFile::new("viewed", "first\n");
    let rig = tail(&file);
    let mut viewers: Vec<Client> = (0..1000).map(|_| rig.connect("/tail/log")).collect();
    for viewer in &mut viewers {
        assert_eq!(text(viewer), "first");
    }
    for round in 0..20 {
        let lines: String = (0..5).map(|n| format!("line {round} {n}\n")).collect();
        append(file.as_str(), &lines);
    }
    for viewer in &mut viewers {
        for line in 0..100 {
            assert_eq!(text(viewer), format!("line {} {}", line / 5, line % 5));
        }
    }
    assert_eq!(children(rig.pid()).len(), 1, "one process for all");
}

#[test]
fn ts_11_a_file_that_is_rotated_or_truncated_is_followed() {
    let file = TempFile::new("rotated", "old\n");
    let moved = TempFile(file.0.with_extension("1"));
    let rig = tail(&file);
    let mut viewer = rig.connect("/tail/log");
    assert_eq!(text(&mut viewer), "old");
    std::fs::rename(&file.0, &moved.0).unwrap();
    append(file.as_str(), "new file\n");
    assert_eq!(text(&mut viewer), "new file");
    append(file.as_str(), "and more of it\n");
    assert_eq!(text(&mut viewer), "and more of it");
    // A copy was made and the file emptied; `tail` looks at it about once a second.
    std::fs::File::create(&file.0).unwrap();
    let mut emptied = false;
    let line = eventually("it goes on", || {
        if !emptied {
            emptied = true;
            append(file.as_str(), "short\n");
        }
        Some(text(&mut viewer))
    });
    assert_eq!(line, "short");
}

#[test]
fn latecomers_get_the_last_lines_and_then_what_comes() {
    let file = TempFile::new("kept", "");
    let rig = tail(&file);
    let mut early = rig.connect("/tail/log");
    for number in 0..25 {
        append(file.as_str(), &format!("{number}\n"));
        assert_eq!(text(&mut early), number.to_string());
    }
    let mut late = rig.connect("/tail/log");
    append(file.as_str(), "25\n");
    for number in 15..=25 {
        assert_eq!(text(&mut late), number.to_string());
    }
    assert_eq!(text(&mut early), "25");
}

#[test]
fn a_shared_process_is_started_again_after_a_failure_and_not_after_success() {
    let state = TempFile::path("runs");
    let script = format!(
        "echo x >>{0}; n=$(wc -l <{0}); echo run $n; [ $n -lt 3 ] && exit 1; exit 0",
        state.as_str()
    );
    let lines = format!("shell = true\nmode = \"shared\"\ncommand = '''{script}'''");
    let rig = Rig::route("/runs", &lines);
    let (texts, code) = to_the_end(&mut rig.connect("/runs"));
    assert_eq!(texts, ["run 1", "run 2", "run 3"]);
    assert_eq!(code, 1000);
    rig.served.running.err_line("kind=process_ended");
    // The next viewer starts it again.
    let (texts, _) = to_the_end(&mut rig.connect("/runs"));
    assert_eq!(texts, ["run 4"]);
    rig.has_no_children();
}

#[test]
fn viewers_speak_only_where_they_may() {
    let lines = "mode = \"shared\"\ncommand = \"cat\"";
    let rig = Rig::route("/x", &format!("{lines}\nclients_write = true"));
    let (mut one, mut other) = (rig.connect("/x"), rig.connect("/x"));
    say(&mut one, "heard by all");
    assert_eq!(text(&mut one), "heard by all");
    assert_eq!(text(&mut other), "heard by all");
    // Without an input, `cat` has nothing to say and ends.
    let rig = Rig::route("/x", lines);
    let mut viewer = rig.connect("/x");
    say(&mut viewer, "nobody hears this");
    assert_eq!(to_the_end(&mut viewer), (Vec::new(), 1000));
}

#[test]
fn a_process_that_nobody_watches_is_ended() {
    let lines = "mode = \"shared\"\nlinger_ms = 1\nshell = true\ncommand = 'echo here; sleep 1000'";
    let rig = Rig::route("/x", lines);
    let mut viewer = rig.connect("/x");
    assert_eq!(text(&mut viewer), "here");
    drop(viewer);
    rig.has_no_children();
    assert_eq!(text(&mut rig.connect("/x")), "here");
}

const LINES: u64 = 60_000;

#[test]
fn slow_viewers_miss_lines_and_are_told() {
    // More than the kernel's buffers can take on the way to somebody who reads nothing.
    let padding = "x".repeat(1000);
    let lines = format!(
        "mode = \"shared\"\noutbox_frames_max = 64\ncommand = 'seq -f \"%.0f {padding}\" {LINES}'"
    );
    let rig = Rig::route("/x", &lines);
    let mut viewer = rig.connect("/x");
    // It runs; from now on nothing is read until it has ended.
    assert!(text(&mut viewer).starts_with("1 "));
    rig.has_no_children();
    let (texts, code) = to_the_end(&mut viewer);
    assert_eq!(code, 1000);
    let (mut seen, mut missed, mut last) = (1, 0, Some(1));
    for line in &texts {
        let first = line.split(' ').next().unwrap();
        if let Some(dropped) = first.strip_prefix('[') {
            missed += dropped.parse::<u64>().unwrap();
        } else {
            seen += 1;
            let number: u64 = first.parse().unwrap();
            assert!(last < Some(number), "{last:?} {number}");
            last = Some(number);
        }
    }
    assert_eq!(
        seen + missed,
        LINES,
        "{seen} lines and {missed} that were told to be missing"
    );
    assert!(missed > 0, "nothing was dropped: the test shows nothing");
}

#[test]
fn a_pipe_into_pub_needs_no_route() {
    let file = TempFile::new("piped", "");
    let served = Served::start(&[]);
    let subscriber = served.sub("logs");
    let mut tail = Command::new("tail")
        .args(["-f", file.as_str()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let url = served.base("main");
    let mut command = dunlin(&["pub", "--url", &url, "logs", "-"]);
    command.stdin(tail.stdout.take().unwrap());
    let mut publisher = command.stdout(Stdio::null()).spawn().unwrap();
    append(file.as_str(), "one\n");
    assert_eq!(subscriber.line(), "one");
    append(file.as_str(), "two\n");
    assert_eq!(subscriber.line(), "two");
    tail.kill().unwrap();
    tail.wait().unwrap();
    publisher.wait().unwrap();
}

#[test]
fn a_viewer_of_raw_bytes_gets_them_as_they_are() {
    let lines = "mode = \"shared\"\nbinary = true\ncommand = 'printf \"\\\\377\\\\000\"'";
    let rig = Rig::route("/x", lines);
    let mut viewer = rig.connect("/x");
    assert_eq!(
        viewer.receive().unwrap(),
        Received::Binary(b"\xff\0".to_vec())
    );
}
