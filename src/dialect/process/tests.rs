//! Processes without processes: the house plays them.
#![allow(clippy::unwrap_used)]

use super::shared::STEADY_MS;
use super::*;
use crate::dialect::testing::{House, Id};
use crate::hub::Exit;

fn texts(house: &mut House, guest: Id) -> Vec<String> {
    let got = house.got(guest);
    got.iter().map(|got| got.text().to_owned()).collect()
}

fn options() -> ProcessOptions {
    ProcessOptions {
        arguments: vec!["program".to_owned()],
        ..ProcessOptions::default()
    }
}

fn program(target: &LinkTarget) -> &Program {
    match target {
        LinkTarget::Process(program) => program,
        other => panic!("{other}"),
    }
}

#[test]
fn each_client_has_a_process_of_its_own() {
    let mut house = House::new();
    let route = house.route("/x", ProcessPerClient::new(options()));
    let guests = [0, 1].map(|_| house.join(route, "/x", &[]));
    let processes = house.dialled();
    assert_eq!(processes.len(), 2);
    // What is said before it has started waits for it.
    house.text(guests[0], "early");
    for process in &processes {
        house.link_opens(process);
    }
    assert_eq!(house.link_sent(&processes[0]), ["early"]);
    house.link_says(&processes[1], "for the second");
    assert_eq!(texts(&mut house, guests[0]), [""; 0]);
    assert_eq!(texts(&mut house, guests[1]), ["for the second"]);
    house.link_ends(&processes[1], LinkEnd::Exited(Exit::Code(3)));
    assert_eq!(house.closed(guests[1]), Some(CloseCode::NORMAL));
    house.leave(guests[0]);
    house.link_ends(&processes[0], LinkEnd::Ours);
    house.is_empty();
}

#[test]
fn a_process_that_does_not_read_costs_its_client_the_connection() {
    let mut house = House::new();
    let route = house.route("/x", ProcessPerClient::new(options()));
    let guest = house.join(route, "/x", &[]);
    let long = "x".repeat(400 << 10);
    for _ in 0..2 {
        house.text(guest, &long);
        assert_eq!(house.closed(guest), None);
    }
    house.text(guest, &long);
    assert_eq!(house.closed(guest), Some(CloseCode::TRY_LATER));
}

#[test]
fn what_clients_send_cannot_leave_its_variable() {
    let mut house = House::new();
    let handler = ProcessPerClient::new(ProcessOptions {
        inherited: vec![("PATH".to_owned(), "/bin".to_owned())],
        ..options()
    });
    let route = house.route("/x", handler);
    let headers = [
        ("X-A", "a\tb"),
        ("x-a", "c"),
        ("X!B", "d"),
        ("X_A", "e"),
        ("PROXY", "f"),
    ];
    let guest = house.upgrade_with(route, "/x%00%0a%7f?q", &headers, &[]);
    assert!(guest.is_ok());
    let [process] = &house.dialled()[..] else {
        panic!("one process");
    };
    let variables = &program(&process.target).environment;
    let value = |name: &str| {
        let mut all = variables.iter().filter(|(n, _)| n == name);
        let value = all.next().map(|(_, value)| value.as_str());
        assert!(all.next().is_none(), "{name} is there twice");
        value
    };
    assert_eq!(value("PATH"), Some("/bin"));
    assert_eq!(value("HTTP_X_A"), Some("a b, c"));
    assert_eq!(value("HTTP_X_B"), Some("d"));
    assert_eq!(value("PATH_INFO"), Some("/x   "));
    assert_eq!(value("HTTP_PROXY"), None);
    assert!(
        variables
            .iter()
            .all(|(_, value)| !value.contains(char::is_control))
    );
}

#[test]
fn a_shared_process_is_started_again_later_and_later() {
    let mut house = House::new();
    let route = house.route("/x", SharedProcess::new(options()));
    let guest = house.join(route, "/x", &[]);
    for ms in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
        let [process] = &house.dialled()[..] else {
            panic!("one process");
        };
        house.link_ends(process, LinkEnd::Unreachable);
        house.pass(ms - 1);
        assert!(house.dialled().is_empty(), "{ms}");
        house.pass(1);
    }
    // One that has run for a while begins anew.
    let [process] = &house.dialled()[..] else {
        panic!("one process");
    };
    house.link_opens(process);
    house.link_says(process, "line");
    house.pass(STEADY_MS);
    house.link_ends(process, LinkEnd::Exited(Exit::Signal(9)));
    house.pass(500);
    assert_eq!(house.dialled().len(), 1);
    assert_eq!(texts(&mut house, guest), ["line"]);
    assert_eq!(house.closed(guest), None);
    house.is_empty();
}

#[test]
fn latecomers_get_what_was_kept() {
    let mut house = House::new();
    let handler = SharedProcess::new(ProcessOptions {
        keep_lines: 3,
        keep_bytes: 10,
        ..options()
    });
    let route = house.route("/x", handler);
    let first = house.join(route, "/x", &[]);
    let [process] = &house.dialled()[..] else {
        panic!("one process");
    };
    house.link_opens(process);
    for line in ["1", "2", "3", "4"] {
        house.link_says(process, line);
    }
    let second = house.join(route, "/x", &[]);
    house.link_says(process, "1234567");
    let third = house.join(route, "/x", &[]);
    assert_eq!(texts(&mut house, first), ["1", "2", "3", "4", "1234567"]);
    assert_eq!(texts(&mut house, second), ["2", "3", "4", "1234567"]);
    assert_eq!(texts(&mut house, third), ["3", "4", "1234567"]);
    // Nobody watches any more: it is ended, and somebody who comes meanwhile gets the next one.
    for guest in [first, second, third] {
        house.leave(guest);
    }
    house.pass(60_000);
    assert!(house.hub.links().is_leaving(process.link));
    let fourth = house.join(route, "/x", &[]);
    assert!(house.dialled().is_empty());
    house.link_ends(process, LinkEnd::Ours);
    assert_eq!(house.dialled().len(), 1);
    assert!(texts(&mut house, fourth).is_empty());
}

#[test]
fn command_lines_are_words() {
    for (line, words) in [
        ("a", &["a"][..]),
        (
            "  tail -n 10\t-F 'a b'  ",
            &["tail", "-n", "10", "-F", "a b"],
        ),
        (r#""a \"b\" \\ \n" c\ d"#, &[r#"a "b" \ \n"#, "c d"]),
        (r"'it'\''s'", &["it's"]),
        (
            "grep '|' \";\" \\& a|b $HOME *",
            &["grep", "|", ";", "&", "a|b", "$HOME", "*"],
        ),
        ("printf ''", &["printf", ""]),
    ] {
        assert_eq!(split_command(line).unwrap(), words, "{line}");
    }
    for (line, error) in [
        ("", CommandError::Empty),
        (" \n ", CommandError::Empty),
        ("a 'b", CommandError::Unfinished('\'')),
        ("a \"b\\", CommandError::Unfinished('"')),
        ("a\\", CommandError::Unfinished('\\')),
        ("a | b", CommandError::NeedsShell("|".to_owned())),
        ("a 2>&1", CommandError::NeedsShell("2>&1".to_owned())),
        ("a\0", CommandError::Nul),
    ] {
        assert_eq!(split_command(line), Err(error), "{line:?}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let mut program = Program::new(vec!["ssh".to_owned(), "geheim".to_owned()]);
    program.environment = vec![("KEY".to_owned(), "geheim".to_owned())];
    let target = LinkTarget::Process(program);
    assert_eq!(target.to_string(), "process ssh");
    assert!(!format!("{target:?}").contains("geheim"));
}
