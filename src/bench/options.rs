//! What was typed, checked.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use lexopt::Arg;

use super::filler::Filler;
use super::stamp::STAMP_BYTES;
use super::target::Target;
use crate::config::nearest;

/// One screen of 24 lines and 80 columns.
pub(crate) const HELP: &str = "\
dunlin-bench: loads a WebSocket server, this one or any other, and measures it.

echo    URL  messages that come back      --connections 100 --payload 125
             --pipeline 1 (in one write)  --rate MESSAGES_PER_S
fanout  URL  publications to all on URL   --connections 1000 --payload 200
             --publish ws|post --publish-url URL --publishers 1 --burst 1 --rate
connect URL  connect, upgrade, close      --connections 32 (in parallel)
idle    URL  open and wait                --connections 10000 --duration 5s
churn   URL  echo while connections are   --connections 1000 --rate 500 (per s)
             replaced                     --trickle 1000 (echoes per s)

  --duration 10s | --count N    how long, or exactly how many     --warmup 1s
  --pid PID                     the server: its CPU time, its memory
  --json                        the report as one JSON object, on stdout
  --plot FILE.svg               latencies and throughput as a picture
  --first TEXT                  sent first on each connection; repeats
  --header 'K: V'  --subprotocol NAME                 of the upgrade; repeat
  --deflate                     permessage-deflate, in echo and fanout
  --payload-kind x|json         what fills a message; json with --deflate
  --binary  --timeout 30s  --source ADDR[/N]  --quiet  -h, --help  -V, --version
  --fail-if-p99-above 50ms  --fail-if-lost            else exit 99

Exit: 0 ok, 1 some connections failed, 64 usage, 69 no server, 71 system error
";

/// Which kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Echo,
    Fanout,
    Connect,
    Idle,
    Churn,
}

impl Kind {
    const ALL: [(&str, Self); 5] = [
        ("echo", Self::Echo),
        ("fanout", Self::Fanout),
        ("connect", Self::Connect),
        ("idle", Self::Idle),
        ("churn", Self::Churn),
    ];

    pub(crate) fn name(self) -> &'static str {
        let of = Self::ALL.iter().find(|(_, kind)| *kind == self);
        of.map_or("", |(name, _)| name)
    }
}

/// How long a run lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// Nanoseconds, after the warm-up.
    For(u64),
    /// Exactly so many, without a warm-up.
    Count(u64),
}

/// How a publication reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publish {
    Ws,
    Post,
}

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    pub(crate) connections: usize,
    pub(crate) payload: usize,
    pub(crate) binary: bool,
    pub(crate) filler: Filler,
    pub(crate) deflate: bool,
    pub(crate) pipeline: u64,
    pub(crate) rate: Option<u64>,
    pub(crate) trickle: u64,
    pub(crate) length: Length,
    pub(crate) warmup_ns: u64,
    pub(crate) publish: Publish,
    pub(crate) publish_target: Option<Target>,
    pub(crate) publishers: usize,
    pub(crate) burst: u64,
    pub(crate) first: Vec<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) json: bool,
    pub(crate) plot: Option<PathBuf>,
    pub(crate) source: Option<(Ipv4Addr, u32)>,
    pub(crate) quiet: bool,
    timeout_ns: u64,
    pub(crate) fail_p99_ns: Option<u64>,
    pub(crate) fail_lost: bool,
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    Run(Box<Options>),
    Help,
    Version,
}

const FLAGS: [&str; 26] = [
    "connections",
    "payload",
    "payload-kind",
    "deflate",
    "binary",
    "pipeline",
    "rate",
    "trickle",
    "duration",
    "count",
    "warmup",
    "publish",
    "publish-url",
    "publishers",
    "burst",
    "first",
    "header",
    "subprotocol",
    "pid",
    "json",
    "plot",
    "source",
    "quiet",
    "timeout",
    "fail-if-p99-above",
    "fail-if-lost",
];

/// Flags without a value.
const SWITCHES: [&str; 5] = ["binary", "deflate", "json", "quiet", "fail-if-lost"];

/// Flags of one scenario, or of some, that mean nothing elsewhere.
const OWN: [(&str, &[Kind]); 12] = [
    ("payload", &[Kind::Echo, Kind::Fanout, Kind::Churn]),
    ("payload-kind", &[Kind::Echo, Kind::Fanout, Kind::Churn]),
    ("deflate", &[Kind::Echo, Kind::Fanout]),
    ("binary", &[Kind::Echo, Kind::Fanout, Kind::Churn]),
    ("pipeline", &[Kind::Echo]),
    ("rate", &[Kind::Echo, Kind::Fanout, Kind::Churn]),
    ("trickle", &[Kind::Churn]),
    ("publish", &[Kind::Fanout]),
    ("publish-url", &[Kind::Fanout]),
    ("publishers", &[Kind::Fanout]),
    ("burst", &[Kind::Fanout]),
    // Nothing comes while connections are idle, so there is nothing to draw.
    (
        "plot",
        &[Kind::Echo, Kind::Fanout, Kind::Connect, Kind::Churn],
    ),
];

/// What one scenario keeps of a publisher's number in a stamp.
const PUBLISHERS_MAX: usize = 99;

impl Options {
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Asked, String> {
        let mut words = Vec::new();
        let mut typed: Vec<(String, String)> = Vec::new();
        while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
            let name = match arg {
                Arg::Value(word) => {
                    words.push(text(word)?);
                    continue;
                }
                Arg::Short('h') | Arg::Long("help") => return Ok(Asked::Help),
                Arg::Short('V') | Arg::Long("version") => return Ok(Asked::Version),
                Arg::Short(other) => return Err(format!("unknown flag -{other}")),
                Arg::Long(name) => name.to_owned(),
            };
            if !FLAGS.contains(&name.as_str()) {
                let near = nearest(&name, &FLAGS);
                let hint = near.map(|near| format!(", did you mean --{near}?"));
                return Err(format!("unknown flag --{name}{}", hint.unwrap_or_default()));
            }
            let is_switch = SWITCHES.contains(&name.as_str());
            let value = if is_switch {
                String::new()
            } else {
                let value = parser.value();
                text(value.map_err(|_| format!("--{name} wants a value"))?)?
            };
            typed.push((name, value));
        }
        let mut words = words.into_iter();
        let Some(word) = words.next() else {
            return Err("which load? There are echo, fanout, connect, idle and churn".to_owned());
        };
        let Some((_, kind)) = Kind::ALL.iter().find(|(name, _)| *name == word) else {
            let names = Kind::ALL.map(|(name, _)| name);
            let hint = nearest(&word, &names).map_or_else(
                || format!(": there are {}", names.join(", ")),
                |near| format!(", did you mean {near:?}?"),
            );
            return Err(format!("unknown load {word:?}{hint}"));
        };
        let Some(url) = words.next() else {
            let name = kind.name();
            return Err(format!(
                "{name} wants a URL: dunlin-bench {name} ws://localhost:2661/echo"
            ));
        };
        if let Some(word) = words.next() {
            return Err(format!("{word:?} is one word too many"));
        }
        let mut options = Self::defaults(*kind, Target::parse(&url, "ws")?);
        options.take(typed)?;
        options.check()?;
        Ok(Asked::Run(Box::new(options)))
    }

    fn defaults(kind: Kind, target: Target) -> Self {
        let (connections, seconds) = match kind {
            Kind::Echo => (100, 10),
            Kind::Fanout | Kind::Churn => (1000, 10),
            Kind::Connect => (32, 10),
            Kind::Idle => (10_000, 5),
        };
        Self {
            kind,
            target,
            connections,
            payload: if kind == Kind::Fanout { 200 } else { 125 },
            binary: false,
            filler: Filler::X,
            deflate: false,
            pipeline: 1,
            rate: (kind == Kind::Churn).then_some(500),
            trickle: 1000,
            length: Length::For(seconds * 1_000_000_000),
            warmup_ns: if kind == Kind::Idle { 0 } else { 1_000_000_000 },
            publish: Publish::Ws,
            publish_target: None,
            publishers: 1,
            burst: 1,
            first: Vec::new(),
            headers: Vec::new(),
            subprotocols: Vec::new(),
            pid: None,
            json: false,
            plot: None,
            source: None,
            quiet: false,
            timeout_ns: 30_000_000_000,
            fail_p99_ns: None,
            fail_lost: false,
        }
    }

    fn take(&mut self, typed: Vec<(String, String)>) -> Result<(), String> {
        let (mut length, mut filler) = (None, None);
        for (name, value) in typed {
            if let Some((_, kinds)) = OWN.iter().find(|(flag, _)| *flag == name)
                && !kinds.contains(&self.kind)
            {
                let whose: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                return Err(format!("--{name} is a flag of {}", whose.join(", ")));
            }
            let number = || number(&name, &value);
            let duration = || duration(&name, &value);
            match name.as_str() {
                "connections" => self.connections = at_least_one(&name, number()?)? as usize,
                "payload" => self.payload = number()? as usize,
                "payload-kind" => {
                    filler = Some(match value.as_str() {
                        "x" => Filler::X,
                        "json" => Filler::Json,
                        _ => return Err(format!("--payload-kind is x or json, not {value:?}")),
                    });
                }
                "deflate" => self.deflate = true,
                "binary" => self.binary = true,
                "pipeline" => self.pipeline = at_least_one(&name, number()?)?,
                "rate" => self.rate = Some(at_least_one(&name, number()?)?),
                "trickle" => self.trickle = at_least_one(&name, number()?)?,
                "duration" | "count" => {
                    let new = if name == "count" {
                        Length::Count(at_least_one(&name, number()?)?)
                    } else {
                        Length::For(at_least_one(&name, duration()?)?)
                    };
                    if length.replace(new).is_some() {
                        return Err("either --duration or --count, and once".to_owned());
                    }
                }
                "warmup" => self.warmup_ns = duration()?,
                "publish" => {
                    self.publish = match value.as_str() {
                        "ws" => Publish::Ws,
                        "post" => Publish::Post,
                        _ => return Err(format!("--publish is ws or post, not {value:?}")),
                    }
                }
                "publish-url" => {
                    self.publish = Publish::Post;
                    self.publish_target = Some(Target::parse(&value, "http")?);
                }
                "publishers" => self.publishers = at_least_one(&name, number()?)? as usize,
                "burst" => self.burst = at_least_one(&name, number()?)?,
                "first" => self.first.push(value),
                "header" => {
                    let Some((key, value)) = value.split_once(':') else {
                        return Err(format!("--header is 'NAME: VALUE', not {value:?}"));
                    };
                    let pair = (key.trim().to_owned(), value.trim().to_owned());
                    self.headers.push(pair);
                }
                "subprotocol" => self.subprotocols.push(value),
                "pid" => {
                    let pid = u32::try_from(number()?);
                    self.pid = Some(pid.map_err(|_| format!("--pid {value} is no process"))?);
                }
                "json" => self.json = true,
                "plot" => self.plot = Some(value.into()),
                "source" => self.source = Some(source(&value)?),
                "quiet" => self.quiet = true,
                "timeout" => self.timeout_ns = at_least_one(&name, duration()?)?,
                "fail-if-p99-above" => self.fail_p99_ns = Some(duration()?),
                _ => self.fail_lost = true,
            }
        }
        if let Some(length) = length {
            self.length = length;
        }
        // A run of one letter would shrink to nothing.
        let usual = if self.deflate {
            Filler::Json
        } else {
            Filler::X
        };
        self.filler = filler.unwrap_or(usual);
        Ok(())
    }

    /// What single flags do not show.
    fn check(&mut self) -> Result<(), String> {
        let needs_stamp = match self.kind {
            Kind::Fanout | Kind::Churn => true,
            Kind::Echo => self.rate.is_some(),
            Kind::Connect | Kind::Idle => false,
        };
        if needs_stamp && self.payload < STAMP_BYTES {
            return Err(format!(
                "--payload {} is too short: {STAMP_BYTES} bytes tell messages apart",
                self.payload
            ));
        }
        if self.kind == Kind::Echo && self.rate.is_some() && self.pipeline > 1 {
            return Err("--pipeline is for runs without --rate".to_owned());
        }
        if matches!(self.kind, Kind::Idle | Kind::Churn) && matches!(self.length, Length::Count(_))
        {
            return Err(format!("{} lasts for a --duration", self.kind.name()));
        }
        if self.publishers > PUBLISHERS_MAX {
            return Err(format!("--publishers is at most {PUBLISHERS_MAX}"));
        }
        if self.publish == Publish::Post && self.publish_target.is_none() {
            return Err("--publish post wants --publish-url http://HOST:PORT/PATH".to_owned());
        }
        if self.publish == Publish::Ws {
            self.publish_target = None;
        }
        if self.is_browser() {
            let host = format!("http://{}", self.target.authority);
            for (name, value) in BROWSER_HEADERS {
                let is_given = |given: &(String, String)| given.0.eq_ignore_ascii_case(name);
                if !self.headers.iter().any(is_given) {
                    let value = if *name == "Origin" { &host } else { *value };
                    self.headers.push(((*name).to_owned(), value.to_owned()));
                }
            }
        }
        Ok(())
    }

    /// How long anyone may let us wait.
    pub(crate) fn timeout_ns(&self) -> u64 {
        self.timeout_ns
    }

    /// Whether the handshake looks like a browser's: where handshakes are what is measured.
    pub(crate) fn is_browser(&self) -> bool {
        self.kind == Kind::Connect
    }

    /// Whether what a connection costs in memory is what is measured.
    pub(crate) fn counts_memory(&self) -> bool {
        self.kind == Kind::Idle
    }

    /// Files that the run needs beside those of every program.
    pub(crate) fn files(&self) -> usize {
        let publishers = if self.kind == Kind::Fanout {
            self.publishers
        } else {
            0
        };
        self.connections + publishers + OTHER_FILES
    }
}

/// Standard streams, the poll, files in /proc, a plot.
const OTHER_FILES: usize = 16;

/// What a browser of today sends beside what RFC 6455 asks for.
const BROWSER_HEADERS: &[(&str, &str)] = &[
    ("Origin", ""),
    ("Pragma", "no-cache"),
    ("Cache-Control", "no-cache"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-US,en;q=0.9"),
    (
        "Sec-WebSocket-Extensions",
        "permessage-deflate; client_max_window_bits",
    ),
];

fn text(word: OsString) -> Result<String, String> {
    word.into_string()
        .map_err(|word| format!("{word:?} is not UTF-8"))
}

fn at_least_one(name: &str, value: u64) -> Result<u64, String> {
    if value == 0 {
        return Err(format!("--{name} is at least 1"));
    }
    Ok(value)
}

/// `1000`, `10k`, `1M`, `64KiB`.
fn number(name: &str, text: &str) -> Result<u64, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = match unit {
        "" => Some(1),
        "k" => Some(1000),
        "M" => Some(1_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        _ => None,
    };
    let digits = digits.replace('_', "").parse::<u64>().ok();
    digits
        .zip(factor)
        .and_then(|(digits, factor)| digits.checked_mul(factor))
        .ok_or_else(|| format!("--{name} wants a number, not {text:?}"))
}

/// `10s`, `250ms`, `50us`, `1m`, in nanoseconds; a bare number is seconds.
fn duration(name: &str, text: &str) -> Result<u64, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = match unit {
        "us" => Some(1e3),
        "ms" => Some(1e6),
        "" | "s" => Some(1e9),
        "m" => Some(60e9),
        _ => None,
    };
    let value = digits.parse::<f64>().ok().zip(factor);
    match value {
        Some((digits, factor)) if digits * factor < 1e18 => Ok((digits * factor) as u64),
        _ => Err(format!(
            "--{name} wants a time (10s, 250ms, 50us), not {text:?}"
        )),
    }
}

/// `127.0.0.2`, `127.0.0.2/10`: so many addresses from there on.
fn source(value: &str) -> Result<(Ipv4Addr, u32), String> {
    let (address, count) = value.split_once('/').unwrap_or((value, "1"));
    let address = address.parse().ok();
    let count = count.parse().ok().filter(|count| *count > 0);
    address
        .zip(count)
        .ok_or_else(|| format!("--source is ADDRESS or ADDRESS/COUNT, not {value:?}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words = line.split_whitespace();
        match Options::parse(lexopt::Parser::from_args(words))? {
            Asked::Run(options) => Ok(*options),
            other => Err(format!("{other:?}")),
        }
    }

    const URL: &str = "ws://127.0.0.1:1/echo";

    #[test]
    fn help_is_one_screen() {
        assert!(HELP.lines().count() <= 24, "{}", HELP.lines().count());
        for line in HELP.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for flag in FLAGS {
            assert!(HELP.contains(&format!("--{flag}")), "{flag}");
        }
    }

    #[test]
    fn values_have_units() {
        let options = parse(&format!(
            "echo {URL} --payload 1KiB --count 10k --timeout 250ms --source 127.0.0.5/3"
        ));
        let options = options.unwrap();
        assert_eq!(options.payload, 1024);
        assert_eq!(options.length, Length::Count(10_000));
        assert_eq!(options.timeout_ns, 250_000_000);
        assert_eq!(options.source, Some((Ipv4Addr::new(127, 0, 0, 5), 3)));
    }

    #[test]
    fn what_is_compressed_is_worth_it() {
        for (flags, filler) in [
            ("", Filler::X),
            ("--deflate", Filler::Json),
            ("--payload-kind json", Filler::Json),
            ("--payload-kind x --deflate", Filler::X),
        ] {
            let options = parse(&format!("echo {URL} {flags}")).unwrap();
            assert_eq!(options.filler, filler, "{flags}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (line, why) in [
            ("", "which load?"),
            ("ecko ws://h:1/", "did you mean \"echo\"?"),
            ("echo", "wants a URL"),
            ("echo http://127.0.0.1:1/", "ws://HOST:PORT/PATH"),
            ("echo URL --burst 3", "a flag of fanout"),
            ("echo URL --conections 3", "did you mean --connections?"),
            ("echo URL --connections 0", "at least 1"),
            ("echo URL --payload x", "wants a number"),
            ("echo URL --duration 3s --count 3", "either"),
            ("echo URL --rate 3 --payload 36", "too short"),
            ("echo URL --rate 3 --pipeline 2", "without --rate"),
            ("idle URL --count 3", "lasts for a --duration"),
            ("fanout URL --publish post", "wants --publish-url"),
            ("fanout URL --publish mail", "ws or post"),
            ("fanout URL --publishers 100", "at most 99"),
            ("echo URL --payload-kind y", "x or json"),
            ("churn URL --deflate", "a flag of echo, fanout"),
            ("echo URL more", "one word too many"),
            ("echo URL --header x", "NAME: VALUE"),
        ] {
            let error = parse(&line.replace("URL", URL)).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn a_connecting_browser_may_be_told_what_to_say() {
        let options = parse(&format!("connect {URL} --header User-Agent:x")).unwrap();
        let agents = options.headers.iter().filter(|(n, _)| n == "User-Agent");
        assert_eq!(agents.map(|(_, v)| &v[..]).collect::<Vec<_>>(), ["x"]);
        let origin = options.headers.iter().find(|(name, _)| name == "Origin");
        assert_eq!(origin.unwrap().1, "http://127.0.0.1:1");
    }
}
