//! The walls, as tables, and what stands on the wrong side of them.

use crate::scan::{Path, Source};

/// What a room may know of the rest of the house, of `std`, and of what a wall is for.
struct Room {
    name: &'static str,
    /// Rooms it may use, beside itself.
    rooms: &'static [&'static str],
    /// Modules of `std` it must never use …
    std_never: &'static [&'static str],
    /// … except for these.
    std_even_so: &'static [&'static str],
}

const OUTSIDE: &[&str] = &[
    "env", "fs", "io", "net", "os", "path", "process", "sync", "thread", "time",
];
/// Addresses are plain values; what opens a socket is not.
const ADDRESSES: &[&str] = &[
    "net::IpAddr",
    "net::Ipv4Addr",
    "net::Ipv6Addr",
    "net::SocketAddr",
];

/// What the front door has read once for all routes is a value too; what waits for another thread is not.
const SHARED: &str = "sync::Arc";

/// DESIGN: rooms that turn bytes into meaning know nothing of ours; `server` and `dialect` meet in `hub`.
const ROOMS: &[Room] = &[
    Room {
        name: "ws",
        rooms: &[],
        std_never: OUTSIDE,
        std_even_so: &[],
    },
    Room {
        name: "http",
        rooms: &[],
        std_never: OUTSIDE,
        std_even_so: ADDRESSES,
    },
    Room {
        name: "hub",
        rooms: &[
            "ws", "http", "time", "metrics", "random", "token", "values", "journal",
        ],
        std_never: OUTSIDE,
        std_even_so: &[
            "net::IpAddr",
            "net::Ipv4Addr",
            "net::Ipv6Addr",
            "net::SocketAddr",
            SHARED,
        ],
    },
    Room {
        name: "dialect",
        rooms: &[
            "hub", "ws", "http", "time", "metrics", "random", "token", "values",
        ],
        std_never: OUTSIDE,
        std_even_so: &[],
    },
    Room {
        name: "server",
        rooms: &[
            "hub", "ws", "http", "time", "metrics", "random", "token", "values", "journal",
        ],
        std_never: &[
            "env", "fs", "net", "os", "path", "process", "sync", "thread", "time",
        ],
        std_even_so: &[
            "net::IpAddr",
            "net::Ipv4Addr",
            "net::Ipv6Addr",
            "net::SocketAddr",
            SHARED,
        ],
    },
    Room {
        name: "net",
        rooms: &[
            "server", "hub", "ws", "http", "time", "metrics", "random", "token", "values",
            "journal",
        ],
        std_never: &[],
        std_even_so: &[],
    },
    Room {
        name: "sim",
        rooms: &[
            "server", "hub", "ws", "http", "time", "metrics", "random", "token", "values",
        ],
        std_never: &["fs", "net", "os", "process", "sync", "thread", "time"],
        std_even_so: ADDRESSES,
    },
    // The leaves: anyone may use them, they use nobody.
    Room {
        name: "time",
        rooms: &[],
        std_never: OUTSIDE,
        std_even_so: &[],
    },
    Room {
        name: "metrics",
        rooms: &[],
        std_never: OUTSIDE,
        std_even_so: &[],
    },
    Room {
        name: "random",
        rooms: &[],
        std_never: OUTSIDE,
        std_even_so: &[],
    },
    // This one knows the grammar of JSON, which is a leaf itself.
    Room {
        name: "token",
        rooms: &["values"],
        std_never: OUTSIDE,
        std_even_so: &[SHARED],
    },
    Room {
        name: "journal",
        rooms: &[],
        std_never: OUTSIDE,
        std_even_so: &[],
    },
    Room {
        name: "values",
        rooms: &[],
        std_never: OUTSIDE,
        std_even_so: &[],
    },
];

/// The front door may use anything.
const FRONT_DOOR: &[&str] = &["main", "bin", "lib", "cli", "config", "log", "bench"];

/// Where each external crate may be named: one room or one file. `bench` is a program of its own that shares the
/// house: a load generator has a loop and sockets that are not the server's.
const CRATES: &[(&str, &[&str])] = &[
    (
        "base64",
        &["src/ws/handshake", "src/dialect/apigw", "src/token/key"],
    ),
    ("crc32fast", &["src/journal"]),
    ("ed25519_dalek", &["src/token/key"]),
    ("getrandom", &["src/random"]),
    ("hdrhistogram", &["src/bench"]),
    (
        "hmac",
        &[
            "src/dialect/tapr/signature",
            "src/dialect/apigw/signature",
            "src/token/key",
        ],
    ),
    ("httparse", &["src/http/head"]),
    ("indicatif", &["src/bench/progress"]),
    ("landlock", &["src/net/sandbox"]),
    ("lexopt", &["src/cli", "src/bench"]),
    ("libc", &["src/net/sandbox"]),
    ("md5", &["src/dialect/tapr", "src/dialect/apigw/signature"]),
    ("mio", &["src/net", "src/bench"]),
    ("p256", &["src/token/key"]),
    ("rlimit", &["src/net"]),
    ("rsa", &["src/token/key"]),
    (
        "rustix",
        &["src/net/sandbox", "src/net/process", "src/net/journal"],
    ),
    ("seccompiler", &["src/net/sandbox"]),
    ("serde", &["src/dialect", "src/config"]),
    (
        "serde_json",
        &["src/dialect", "src/config", "src/cli/client"],
    ),
    ("sha1", &["src/ws/handshake", "src/dialect/apigw/signature"]),
    (
        "sha2",
        &[
            "src/dialect/tapr/signature",
            "src/dialect/apigw/signature",
            "src/token/key",
        ],
    ),
    ("signal_hook", &["src/net/signals"]),
    ("signal_hook_mio", &["src/net/signals"]),
    ("simdutf8", &["src/ws/utf8"]),
    (
        "slab",
        &[
            "src/hub",
            "src/server",
            "src/dialect/apigw",
            "src/dialect/jsonrpc",
        ],
    ),
    ("socket2", &["src/net/listener", "src/bench/target"]),
    ("subtle", &["src/token/gate"]),
    ("toml_parser", &["src/config/document"]),
    ("zlib_rs", &["src/ws/deflate"]),
];

/// Where the real clock may be read.
const CLOCK: &[&str] = &["net", "main", "cli", "config", "log", "bench"];

/// A file that is longer has two subjects.
pub(crate) const LINES_MAX: usize = 700;

/// A broken wall: the line, and the rule in a sentence.
pub(crate) type Broken = (usize, String);

/// The room of `src/hub/session.rs` is `hub`.
pub(crate) fn room(file: &str) -> &str {
    let inside = file.strip_prefix("src/").unwrap_or(file);
    let room = inside.split('/').next().unwrap_or(inside);
    room.strip_suffix(".rs").unwrap_or(room)
}

/// Whether `file` is the place `src/net`: the file `src/net.rs` or one below the folder.
fn is_in(file: &str, place: &str) -> bool {
    file.strip_prefix(place)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Names of the external crates in `Cargo.toml` as code spells them.
pub(crate) fn dependencies(cargo_toml: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in cargo_toml.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("dev-");
        } else if inside && let Some((name, _)) = line.split_once('=') {
            let name = name.trim().trim_matches('"');
            match name {
                _ if name.starts_with('#') => {}
                // Its library has another name than its package.
                "md-5" => names.push("md5".to_owned()),
                _ => names.push(name.replace('-', "_")),
            }
        }
    }
    names
}

/// Every wall that this file breaks.
pub(crate) fn check(file: &str, source: &Source) -> Vec<Broken> {
    let name = room(file);
    let mut broken = Vec::new();
    let walls = ROOMS.iter().find(|walls| walls.name == name);
    if walls.is_none() && !FRONT_DOOR.contains(&name) {
        let why = format!("`{name}` is no room: give it a row in tests/layers/rules.rs");
        broken.push((1, why));
    }
    for path in &source.paths {
        if let Some(walls) = walls {
            broken.extend(check_rooms(walls, path));
            broken.extend(check_std(walls, path));
        }
        broken.extend(check_crate(file, path));
        broken.extend(check_clock(name, path));
    }
    if source.lines > LINES_MAX {
        let why = format!(
            "{} lines: a file has at most {LINES_MAX}, split it by subject",
            source.lines
        );
        broken.push((LINES_MAX + 1, why));
    }
    let is_root = ["src/lib.rs", "src/main.rs"].contains(&file) || file.starts_with("src/bin/");
    if is_root && !source.inner_attributes.iter().any(|a| a == FORBID) {
        broken.push((1, format!("a root of the crate must say #![{FORBID}]")));
    }
    for &line in &source.unwraps {
        let why = "`.unwrap()` outside tests: say in `expect` why it cannot fail, or handle it";
        broken.push((line, why.to_owned()));
    }
    // The simulation may: it runs in tests and drives no real socket.
    if walls.is_some() && name != "sim" {
        for &line in &source.prints {
            let why = format!("`{name}` must not print: a stuck pipe would stop the loop");
            broken.push((line, why));
        }
    }
    broken.sort();
    broken.dedup();
    broken
}

const FORBID: &str = "forbid(unsafe_code)";

fn check_rooms(walls: &Room, path: &Path) -> Option<Broken> {
    let segments = &path.segments;
    if segments[0] != "crate" {
        return None;
    }
    let name = walls.name;
    let Some(target) = segments.get(1).filter(|target| *target != "*") else {
        let why = format!("`{name}` must name the rooms it uses, not take the whole crate");
        return Some((path.line, why));
    };
    if target == name || walls.rooms.contains(&target.as_str()) {
        return None;
    }
    let is_room = ROOMS.iter().any(|room| room.name == target) || FRONT_DOOR.contains(&&target[..]);
    let why = if is_room {
        format!("`{name}` must not know `{target}`: {}", segments.join("::"))
    } else {
        format!(
            "`{name}` must name the room where `{target}` lives, not the root: {}",
            segments.join("::")
        )
    };
    Some((path.line, why))
}

fn check_std(walls: &Room, path: &Path) -> Option<Broken> {
    let segments = &path.segments;
    if path.in_test || !matches!(&segments[0][..], "std" | "core" | "alloc") {
        return None;
    }
    let name = walls.name;
    let Some(module) = segments.get(1).filter(|module| *module != "*") else {
        let why = format!("`{name}` must name what it uses of `std`, not all of it");
        return Some((path.line, why));
    };
    let rest = segments[1..].join("::");
    let even_so = walls.std_even_so.iter().any(|allowed| {
        rest.strip_prefix(allowed)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    if even_so || !walls.std_never.contains(&module.as_str()) {
        return None;
    }
    let why = format!("`{name}` must never use `std::{module}`: std::{rest}");
    Some((path.line, why))
}

fn check_crate(file: &str, path: &Path) -> Option<Broken> {
    let (name, places) = CRATES.iter().find(|(name, _)| *name == path.segments[0])?;
    if path.in_test || places.iter().any(|place| is_in(file, place)) {
        return None;
    }
    let why = format!("the crate `{name}` lives in {} only", places.join(", "));
    Some((path.line, why))
}

fn check_clock(name: &str, path: &Path) -> Option<Broken> {
    let [.., clock, now] = &path.segments[..] else {
        return None;
    };
    if path.in_test || now != "now" || !matches!(&clock[..], "Instant" | "SystemTime") {
        return None;
    }
    if CLOCK.contains(&name) {
        return None;
    }
    let why = format!("`{name}` must not read the clock: time comes in as a value");
    Some((path.line, why))
}

/// Crates without a place, places without a crate, and crates nobody names.
pub(crate) fn check_dependencies(cargo_toml: &str, used: &[String]) -> Vec<String> {
    let dependencies = dependencies(cargo_toml);
    let mut broken = Vec::new();
    for name in &dependencies {
        if !CRATES.iter().any(|(known, _)| known == name) {
            broken.push(format!(
                "the crate `{name}` has no room: give it a line in tests/layers/rules.rs"
            ));
        }
        if !used.contains(name) {
            broken.push(format!("the crate `{name}` is a dependency nobody names"));
        }
    }
    for (name, _) in CRATES {
        if !dependencies.iter().any(|known| known == name) {
            broken.push(format!(
                "tests/layers/rules.rs has a place for `{name}`, which is no dependency"
            ));
        }
    }
    broken
}
