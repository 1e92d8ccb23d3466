//! What was typed. Nothing is opened or checked beyond its form here.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg;

use crate::config::nearest;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Serve,
    Check,
    /// A channel or a URL.
    Sub(String),
    /// The channel, and the text if there is one; else stdin.
    Pub(String, Option<String>),
    Conns(Filter),
    /// The id, the code, the reason.
    Close(String, Option<String>, String),
    Help,
    Version,
}

/// Which connections to list, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Filter {
    pub(crate) user: Option<String>,
    pub(crate) channel: Option<String>,
    pub(crate) json: bool,
}

/// The command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) command: Command,
    pub(crate) config: Option<PathBuf>,
    /// Flags that stand for settings: as typed, the setting, the values.
    pub(crate) settings: Vec<(&'static str, &'static str, Vec<String>)>,
    pub(crate) print_config: bool,
    pub(crate) url: Option<String>,
    pub(crate) verbose: bool,
}

/// Flags that only builds with processes understand.
const EXEC: &str = "--exec";
const TAIL: &str = "--tail";

/// Flags that stand for settings.
const SETTINGS: [(&str, &str, &str); 10] = [
    ("listen", "--listen", "listen"),
    ("control", "--control", "control"),
    ("tapr", "--tapr", "tapr.listen"),
    ("exec", EXEC, "exec"),
    ("tail", TAIL, "tail"),
    ("key", "--key", "keys"),
    ("keys-file", "--keys-file", "keys_file"),
    ("log-format", "--log-format", "log.format"),
    ("log-level", "--log-level", "log.level"),
    ("sandbox", "--sandbox", "sandbox"),
];
const OTHERS: [&str; 9] = [
    "config",
    "print-config",
    "url",
    "user",
    "channel",
    "json",
    "verbose",
    "help",
    "version",
];
const COMMANDS: [&str; 8] = [
    "serve", "check", "sub", "pub", "conns", "close", "help", "version",
];
/// Flags of each group of commands, beside those of all.
const SERVER_FLAGS: [&str; 11] = [
    "listen",
    "control",
    "tapr",
    "exec",
    "tail",
    "keys-file",
    "log-format",
    "log-level",
    "sandbox",
    "config",
    "print-config",
];
const CLIENT_FLAGS: [&str; 2] = ["url", "verbose"];
const LIST_FLAGS: [&str; 3] = ["user", "channel", "json"];

impl Args {
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Self, String> {
        let mut args = Self {
            command: Command::Serve,
            config: None,
            settings: Vec::new(),
            print_config: false,
            url: None,
            verbose: false,
        };
        let mut words: Vec<String> = Vec::new();
        let mut typed: Vec<String> = Vec::new();
        let mut command = None;
        let mut filter = Filter::default();
        while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
            let name = match arg {
                Arg::Value(word) => {
                    let word = string(word)?;
                    match &command {
                        None => command = Some(command_named(word)?),
                        Some(_) => words.push(word),
                    }
                    continue;
                }
                Arg::Long(name) => name.to_owned(),
                Arg::Short('h') => "help".to_owned(),
                Arg::Short('V') => "version".to_owned(),
                Arg::Short('v') => "verbose".to_owned(),
                Arg::Short('c') => "config".to_owned(),
                Arg::Short(other) => return Err(format!("unknown flag -{other}")),
            };
            match name.as_str() {
                "help" => {
                    return Ok(Self {
                        command: Command::Help,
                        ..args
                    });
                }
                "version" => {
                    return Ok(Self {
                        command: Command::Version,
                        ..args
                    });
                }
                "verbose" => args.verbose = true,
                "json" => filter.json = true,
                "user" => filter.user = Some(string(value(&mut parser, &name)?)?),
                "channel" => filter.channel = Some(string(value(&mut parser, &name)?)?),
                "print-config" => args.print_config = true,
                "config" => args.config = Some(value(&mut parser, &name)?.into()),
                "url" => args.url = Some(string(value(&mut parser, &name)?)?),
                _ => {
                    let setting = SETTINGS.iter().find(|(flag, ..)| *flag == name);
                    let Some((_, flag, setting)) = setting else {
                        return Err(unknown_flag(&name));
                    };
                    if [EXEC, TAIL].contains(flag) && !cfg!(feature = "process") {
                        return Err(format!(
                            "{flag} starts programs, and this build cannot: \
                             `cargo build --release --features process` can"
                        ));
                    }
                    let value = string(value(&mut parser, &name)?)?;
                    match args.settings.iter_mut().find(|(f, ..)| f == flag) {
                        Some((.., values)) => values.push(value),
                        None => args.settings.push((flag, setting, vec![value])),
                    }
                }
            }
            typed.push(name);
        }
        args.command = match command.as_deref() {
            None | Some("serve") => Command::Serve,
            Some("check") => Command::Check,
            Some("sub") => {
                if words.is_empty() {
                    return Err("sub wants a channel or a URL: dunlin sub news".to_owned());
                }
                Command::Sub(words.remove(0))
            }
            Some("pub") => {
                if words.is_empty() {
                    return Err("pub wants a channel: dunlin pub news hello".to_owned());
                }
                let channel = words.remove(0);
                let text = std::mem::take(&mut words).join(" ");
                Command::Pub(channel, (!text.is_empty() && text != "-").then_some(text))
            }
            Some("conns") => Command::Conns(filter),
            Some("close") => {
                if words.is_empty() {
                    return Err(
                        "close wants an id: dunlin close 0-2-5 (dunlin conns lists them)"
                            .to_owned(),
                    );
                }
                let id = words.remove(0);
                let code = (!words.is_empty()).then(|| words.remove(0));
                let reason = std::mem::take(&mut words).join(" ");
                Command::Close(id, code, reason)
            }
            Some("help") => Command::Help,
            _ => Command::Version,
        };
        if let Some(word) = words.first() {
            return Err(format!("{word:?} is one word too many"));
        }
        let (is_server, is_list) = match args.command {
            Command::Sub(_) | Command::Pub(..) | Command::Close(..) => (false, false),
            Command::Conns(_) => (false, true),
            _ => (true, false),
        };
        let foreign = |name: &str| {
            let of = |flags: &[&str]| flags.contains(&name);
            match () {
                () if !is_server && of(&SERVER_FLAGS) => Some("serve and check"),
                () if is_server && of(&CLIENT_FLAGS) => Some("sub, pub, conns and close"),
                () if !is_list && of(&LIST_FLAGS) => Some("conns"),
                () => None,
            }
        };
        if let Some((name, whose)) = typed.iter().find_map(|name| Some((name, foreign(name)?))) {
            return Err(format!("--{name} is a flag of {whose}"));
        }
        Ok(args)
    }

    /// The last of `--key`.
    pub(crate) fn key(&self) -> Option<&str> {
        let (.., values) = self.settings.iter().find(|(flag, ..)| *flag == "--key")?;
        values.last().map(String::as_str)
    }
}

fn command_named(word: String) -> Result<String, String> {
    if COMMANDS.contains(&word.as_str()) {
        return Ok(word);
    }
    let near = nearest(&word, &COMMANDS);
    let hint = near.map_or_else(
        || format!(": there are {}", COMMANDS.join(", ")),
        |near| format!(", did you mean {near:?}?"),
    );
    Err(format!("unknown command {word:?}{hint}"))
}

fn unknown_flag(name: &str) -> String {
    let names = SETTINGS.iter().map(|(flag, ..)| *flag).chain(OTHERS);
    let near = nearest(name, &names.collect::<Vec<_>>());
    let hint = near
        .map(|near| format!(", did you mean --{near}?"))
        .unwrap_or_default();
    format!("unknown flag --{name}{hint}")
}

fn value(parser: &mut lexopt::Parser, name: &str) -> Result<OsString, String> {
    parser
        .value()
        .map_err(|_| format!("--{name} wants a value{}", values_of(name)))
}

/// The values of a flag that has few.
fn values_of(name: &str) -> &'static str {
    match name {
        "sandbox" => ": true, false or required",
        "log-format" => ": text or json",
        "log-level" => ": off, error, warn or info",
        _ => "",
    }
}

fn string(text: OsString) -> Result<String, String> {
    text.into_string()
        .map_err(|text| format!("{text:?} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, String> {
        Args::parse(lexopt::Parser::from_args(words))
    }

    #[test]
    fn commands_and_their_words() {
        let command = |words: &[&str]| parse(words).unwrap().command;
        assert_eq!(command(&[]), Command::Serve);
        assert_eq!(command(&["serve"]), Command::Serve);
        assert_eq!(command(&["check", "-c", "x.toml"]), Command::Check);
        assert_eq!(command(&["sub", "news"]), Command::Sub("news".into()));
        let text = |words: &[&str]| match command(words) {
            Command::Pub(_, text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            text(&["pub", "news", "two", "words"]),
            Some("two words".into())
        );
        assert_eq!(text(&["pub", "news", "--", "-v"]), Some("-v".into()));
        assert_eq!(text(&["pub", "news", "-"]), None);
        assert_eq!(text(&["pub", "news"]), None);
        let filter = Filter {
            user: Some("ann".into()),
            channel: None,
            json: true,
        };
        assert_eq!(
            command(&["conns", "--user=ann", "--json"]),
            Command::Conns(filter)
        );
        let close = |code: Option<&str>, reason: &str| {
            Command::Close("0-2-5".into(), code.map(str::to_owned), reason.into())
        };
        assert_eq!(command(&["close", "0-2-5"]), close(None, ""));
        assert_eq!(
            command(&["close", "0-2-5", "4000", "signed", "out"]),
            close(Some("4000"), "signed out")
        );
        assert_eq!(command(&["sub", "--help"]), Command::Help);
        assert_eq!(command(&["-V"]), Command::Version);
    }

    #[test]
    fn flags_repeat_and_stay_in_order() {
        let args = parse(&[
            "--listen",
            "*:1",
            "--listen=localhost:2",
            "--key",
            "a",
            "--key",
            "b",
        ])
        .unwrap();
        let listen = vec!["*:1".to_owned(), "localhost:2".to_owned()];
        assert_eq!(args.settings[0], ("--listen", "listen", listen));
        assert_eq!(args.key(), Some("b"));
    }

    #[test]
    fn mistakes_name_the_way_out() {
        let error = |words: &[&str]| parse(words).unwrap_err();
        assert_eq!(
            error(&["--lisen", "x"]),
            "unknown flag --lisen, did you mean --listen?"
        );
        assert_eq!(error(&["-x"]), "unknown flag -x");
        assert_eq!(
            error(&["serv"]),
            "unknown command \"serv\", did you mean \"serve\"?"
        );
        assert_eq!(error(&["--listen"]), "--listen wants a value");
        assert_eq!(
            error(&["--sandbox"]),
            "--sandbox wants a value: true, false or required"
        );
        assert_eq!(
            error(&["sub"]),
            "sub wants a channel or a URL: dunlin sub news"
        );
        assert_eq!(error(&["sub", "a", "b"]), "\"b\" is one word too many");
        assert_eq!(
            error(&["sub", "a", "--listen", "x"]),
            "--listen is a flag of serve and check"
        );
        assert_eq!(
            error(&["serve", "--url", "x"]),
            "--url is a flag of sub, pub, conns and close"
        );
        assert_eq!(error(&["sub", "--json", "x"]), "--json is a flag of conns");
        assert_eq!(
            error(&["close"]),
            "close wants an id: dunlin close 0-2-5 (dunlin conns lists them)"
        );
        assert_eq!(error(&["conns", "x"]), "\"x\" is one word too many");
    }
}
