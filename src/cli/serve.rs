//! `dunlin serve` and `dunlin check`: the same configuration, read by the same code.

use std::io::{self, IsTerminal};

use super::Exit;
use super::args::Args;
use super::sandbox;
use super::start_up::start_up;
use super::terminal::{colours, say, show};
use crate::config::{Config, Input};
use crate::log::{Format, Level, Log};
use crate::net::{Address, ServerError};

/// Reads and checks the configuration; says what is wrong with it.
fn load(args: &Args) -> Result<Config, Exit> {
    // A variable that is not UTF-8 is none of ours.
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let file = args.config.clone().or_else(|| {
        let of_environment = environment.iter().find(|(name, _)| name == "DUNLIN_CONFIG");
        of_environment.map(|(_, path)| path.into())
    });
    let input = Input {
        file,
        environment,
        flags: args.settings.clone(),
    };
    Config::load(&input).map_err(|problems| {
        for problem in &problems {
            say(&problem.to_string());
        }
        if problems.iter().any(|problem| problem.is_missing_file) {
            Exit::NoInput
        } else {
            Exit::Config
        }
    })
}

pub(super) fn check(args: &Args) -> Exit {
    match load(args) {
        Ok(config) => {
            show(&if args.print_config {
                config.print()
            } else {
                "ok\n".to_owned()
            });
            Exit::Ok
        }
        Err(exit) => exit,
    }
}

pub(super) fn serve(args: &Args) -> Exit {
    if args.print_config {
        return check(args);
    }
    let config = match load(args) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let log = Log::start(config.log, colours(&io::stderr()), io::stderr());
    let exit = run(&config, &log);
    log.finish();
    exit
}

fn run(config: &Config, log: &Log) -> Exit {
    let sink = log.sink();
    let bound = config
        .server()
        .on_notice(move |notice| sink.notice(notice))
        .bind()
        .and_then(|mut bound| {
            bound.watch_signals()?;
            Ok(bound)
        });
    let bound = match bound {
        Ok(bound) => bound,
        Err(error) => return fail(config, log, &error),
    };
    let lines = start_up(config, &bound.addresses());
    show(&lines.render(colours(&io::stdout()), io::stdout().is_terminal()));
    let version = env!("CARGO_PKG_VERSION");
    let (routes, places) = (lines.routes(), lines.places());
    // Nobody was served yet, everything is open, and no thread was started.
    let sandbox = match sandbox::enter(config, &bound) {
        Ok(sandbox) => sandbox,
        Err(why) => return refuse(config, log, &why, Exit::System),
    };
    let text = format!("dunlin {version} serves {routes} routes on {places}; {sandbox}");
    log.line(Level::Info, "start", text);
    for (number, address) in bound.skipped() {
        let name = config.listeners.iter().find(|l| l.number == *number);
        let name = name.map_or("", |l| l.name.as_str());
        let text = format!(
            "{address} is taken, so the listener {name} is not served: --{name} ADDR moves it, --{name} off does without it"
        );
        log.line(Level::Warn, "start", text);
    }
    match bound.run() {
        Ok(()) => {
            log.line(Level::Info, "stop", "dunlin has stopped".to_owned());
            Exit::Ok
        }
        Err(error) => fail(config, log, &error),
    }
}

/// The name of the listener with this address.
fn listener<'c>(config: &'c Config, address: &str) -> &'c str {
    let named = |a: &Address| a.to_string() == address;
    let mut found = config.listeners.iter();
    found
        .find(|l| l.addresses.iter().any(named))
        .map_or("", |l| l.name.as_str())
}

/// Says why the server does not run, and which exit code that is.
fn fail(config: &Config, log: &Log, error: &ServerError) -> Exit {
    let (exit, way_out) = match error {
        ServerError::Address(_) | ServerError::Route(_) => (Exit::Config, ""),
        ServerError::Bind(address, error) => match error.kind() {
            io::ErrorKind::AddrInUse => (
                Exit::Unavailable,
                match listener(config, address) {
                    "control" => {
                        " (this listener moves with --control ADDR, port 0 takes any; --control off does without it)"
                    }
                    "tapr" => {
                        " (this listener moves with --tapr ADDR or `listen` in [tapr], port 0 takes any; --tapr off does without it)"
                    }
                    _ => " (choose another with --listen ADDR; port 0 takes any)",
                },
            ),
            io::ErrorKind::AddrNotAvailable => (
                Exit::Unavailable,
                " (this machine has no such address; *:PORT takes all it has)",
            ),
            io::ErrorKind::PermissionDenied => (
                Exit::System,
                " (ports below 1024 need the capability CAP_NET_BIND_SERVICE)",
            ),
            _ => (Exit::System, ""),
        },
        #[cfg(feature = "history-log")]
        ServerError::Log(..) => (
            Exit::System,
            " (`history_path` names the folder: one of this user's own, for one server alone)",
        ),
        ServerError::Loop(_) => (Exit::System, ""),
    };
    refuse(config, log, &format!("{error}{way_out}"), exit)
}

fn refuse(config: &Config, log: &Log, why: &str, exit: Exit) -> Exit {
    match config.log.format {
        // Whoever collects JSON lines looks for it there.
        Format::Json if config.log.level != Level::Off => {
            log.line(Level::Error, "start", why.to_owned());
        }
        _ => say(&format!("dunlin: {why}")),
    }
    exit
}
