//! The command line.
//!
//! | file | subject |
//! | --- | --- |
//! | `args.rs` | what was typed, recorded |
//! | `serve.rs` | `dunlin serve`, `dunlin check`, `--print-config` |
//! | `sandbox.rs` | what a started server gives up, by its configuration |
//! | `start_up.rs` | the lines a started server prints |
//! | `client.rs` | `dunlin sub`, `dunlin pub` |
//! | `admin.rs` | `dunlin conns`, `dunlin close` |
//! | `terminal.rs` | colour, and printing without panics |
//!
//! Results go to stdout, everything else to stderr. Exit codes are those of `sysexits.h`, see [`Exit`].

mod admin;
mod args;
mod client;
mod sandbox;
mod serve;
mod start_up;
mod terminal;

use std::env::consts::{ARCH, OS};
use std::ffi::OsString;
use std::process::ExitCode;

use args::{Args, Command};
pub(crate) use terminal::{say, show};

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// The server has refused it.
    Refused = 1,
    /// The command line makes no sense.
    Usage = 64,
    /// A file that was named is not there.
    NoInput = 66,
    /// No server there, or the address is taken.
    Unavailable = 69,
    /// A fault of the program.
    Internal = 70,
    /// The system has refused something.
    System = 71,
    /// The configuration makes no sense.
    Config = 78,
    /// A measurement has missed its threshold.
    Threshold = 99,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    on_panic();
    run().into()
}

/// A fault of the program is said in one line and ends it with its own code.
pub(crate) fn on_panic() {
    std::panic::set_hook(Box::new(|info| {
        say(&format!("dunlin: internal error: {info}"));
        std::process::exit(Exit::Internal as i32);
    }));
}

fn run() -> Exit {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "bench") {
        return bench(words);
    }
    let args = match Args::parse(lexopt::Parser::from_env()) {
        Ok(args) => args,
        Err(message) => {
            say(&format!("dunlin: {message}\nTry `dunlin --help`."));
            return Exit::Usage;
        }
    };
    match args.command {
        Command::Help => {
            show(HELP);
            if cfg!(feature = "bench") {
                show("dunlin bench --help: load a WebSocket server and measure it\n");
            }
            Exit::Ok
        }
        Command::Version => {
            show(&version());
            Exit::Ok
        }
        Command::Serve => serve::serve(&args),
        Command::Check => serve::check(&args),
        Command::Sub(ref target) => client::sub(&args, target),
        Command::Pub(ref channel, ref text) => client::publish(&args, channel, text.as_deref()),
        Command::Conns(ref filter) => admin::conns(&args, filter),
        Command::Close(ref id, ref code, ref reason) => {
            admin::close(&args, id, code.as_deref(), reason)
        }
    }
}

#[cfg(feature = "bench")]
fn bench(words: impl Iterator<Item = OsString>) -> Exit {
    crate::bench::run(lexopt::Parser::from_args(words))
}

/// The load tool is as large as a tenth of the server and none of its business: it is built when asked for.
#[cfg(not(feature = "bench"))]
fn bench(_: impl Iterator<Item = OsString>) -> Exit {
    say(
        "dunlin: bench is not in this build: `cargo build --release --features bench` makes it and `dunlin-bench`",
    );
    Exit::Usage
}

/// One screen of 24 lines and 80 columns.
const HELP: &str = "\
dunlin: a WebSocket server and gateway. Without arguments it serves localhost.

dunlin [serve] [OPTIONS]         serve; print each URL and what is spoken there
dunlin check   [OPTIONS]         read and check everything, bind nothing
dunlin sub CHANNEL|URL           print each message as it comes
dunlin pub CHANNEL [TEXT...|-]   publish TEXT, or each line of stdin
dunlin conns [--user U] [--channel C] [--json]    list connections
dunlin close ID [CODE [REASON]]                   close one [1000]

  -c, --config FILE     TOML; DUNLIN_* variables and flags come on top of it
      --listen ADDR     IP:PORT localhost:PORT *:PORT unix:PATH [localhost:2661]
      --control ADDR    publishing, health, metrics; or off     [localhost:2662]
      --tapr ADDR       the tapr gateway; or off               [localhost:40010]
      --exec NAME=CMD   a program per client, at /exec/NAME   --tail NAME=FILE
      --key KEY         opens the routes   --keys-file FILE  one per line
      --log-format F    text, json      --log-level L     off, error, warn, info
      --print-config    the settings in force   --sandbox S  true false required
      --url BASE        clients: the server [$DUNLIN_URL, ws://localhost:2661]
                        conns, close: its control listener      [localhost:2662]
  -v, --verbose         clients: say what happens     -h, --help   -V, --version

--listen, --control, --tapr, --exec, --tail, --key repeat. Clients: $DUNLIN_KEY.
Exit: 0 ok, 1 refused by the server, 64 usage, 66 missing file, 69 no server or
address in use, 70 internal error, 71 system error, 78 configuration
";

fn version() -> String {
    let environment = [
        (cfg!(target_env = "gnu"), "-gnu"),
        (cfg!(target_env = "musl"), "-musl"),
    ]
    .into_iter()
    .find_map(|(on, name)| on.then_some(name))
    .unwrap_or_default();
    format!(
        "dunlin {}\nfeatures: {}\ntarget: {ARCH}-{OS}{environment}\n",
        env!("CARGO_PKG_VERSION"),
        crate::metrics::features(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_one_screen() {
        assert!(HELP.lines().count() <= 24, "{}", HELP.lines().count());
        for line in HELP.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
