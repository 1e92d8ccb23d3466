//! What is measured, and how good dunlin wants to be.

use crate::instructions::{COUNTS, Count};

/// What a server is made to do.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// 100 connections, each with so many messages outstanding.
    Echo { payload: usize, depth: usize },
    /// Publications of 200 bytes, the next burst when everybody has the one before.
    Fan { subscribers: usize, burst: usize },
    /// Echo with permessage-deflate, of JSON. Eight outstanding, so that sixteen different messages go round and what
    /// the kernel takes is shared.
    EchoDeflate { payload: usize },
    /// Publications of JSON to 1,000 in bursts of 16, with and without permessage-deflate.
    FanDeflate { payload: usize, deflate: bool },
    /// Publications of 200 bytes at a rate.
    Offered { subscribers: usize, rate: usize },
    /// Connections that come, are upgraded, and go.
    Connect,
    /// Connections that say nothing, with or without a subscription.
    Idle {
        connections: usize,
        subscribed: bool,
    },
    /// From the start of the program to its first answer.
    Start,
    /// Instructions, under callgrind.
    Count(&'static Count),
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Nanoseconds,
    Microseconds,
    Bytes,
    PerSecond,
    Instructions,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// At most so many times what raw takes, uWebSockets, or the best of the peers.
    Raw(f64),
    Uws(f64),
    BestPeer(f64),
    /// At most so many times what dunlin itself takes in the case of that name.
    Itself(f64, &'static str),
    AtMost(f64),
    AtLeast(f64),
}

/// A figure of a case.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub key: &'static str,
    pub title: &'static str,
    pub unit: Unit,
    pub goals: &'static [Goal],
}

#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub title: &'static str,
    pub work: Work,
    pub metrics: &'static [Metric],
}

const fn cpu(title: &'static str, goals: &'static [Goal]) -> Metric {
    Metric {
        key: "cpu_ns",
        title,
        unit: Unit::Nanoseconds,
        goals,
    }
}

macro_rules! echo {
    ($name:literal, $title:literal, $payload:expr, $depth:expr, $($goal:expr),*) => {
        Case {
            name: $name,
            title: $title,
            work: Work::Echo { payload: $payload, depth: $depth },
            metrics: &[cpu("CPU per message", &[$($goal),*])],
        }
    };
}

macro_rules! fan {
    ($name:literal, $title:literal, $subscribers:expr, $burst:expr, $($goal:expr),*) => {
        Case {
            name: $name,
            title: $title,
            work: Work::Fan { subscribers: $subscribers, burst: $burst },
            metrics: &[cpu("CPU per delivery", &[$($goal),*])],
        }
    };
}

/// What a message takes on the wire: whoever compresses less has less to do.
const WIRE_BYTES: Metric = Metric {
    key: "wire_bytes",
    title: "compressed message",
    unit: Unit::Bytes,
    goals: &[],
};

macro_rules! echo_deflate {
    ($name:literal, $title:literal, $payload:expr) => {
        Case {
            name: $name,
            title: $title,
            work: Work::EchoDeflate { payload: $payload },
            metrics: &[cpu("CPU per message", &[BestPeer(0.9)]), WIRE_BYTES],
        }
    };
}

macro_rules! count {
    ($at:literal, $title:literal, $($goal:expr)?) => {
        Case {
            name: COUNTS[$at].name,
            title: COUNTS[$at].title,
            work: Work::Count(&COUNTS[$at]),
            metrics: &[Metric {
                key: "instructions",
                title: $title,
                unit: Unit::Instructions,
                goals: &[$(Goal::AtMost($goal))?],
            }],
        }
    };
}

use Goal::{AtLeast, AtMost, BestPeer, Itself, Raw, Uws};

/// All cases, in the order of the tables.
pub const CASES: &[Case] = &[
    echo!(
        "echo-125",
        "echo, 125 B, one outstanding",
        125,
        1,
        Raw(1.02),
        Uws(0.98)
    ),
    echo!(
        "echo-125-32",
        "echo, 125 B, 32 outstanding",
        125,
        32,
        Raw(1.20),
        Uws(0.65)
    ),
    echo!(
        "echo-1k-32",
        "echo, 1 KiB, 32 outstanding",
        1024,
        32,
        Raw(1.25),
        Uws(0.65)
    ),
    echo!(
        "echo-16k-32",
        "echo, 16 KiB, 32 outstanding",
        16 * 1024,
        32,
        Raw(1.3),
        Uws(0.85)
    ),
    echo!(
        "echo-1m",
        "echo, 1 MiB, one outstanding",
        1024 * 1024,
        1,
        Raw(1.35),
        Uws(0.70)
    ),
    fan!(
        "fan-1000",
        "fan-out to 1,000, one at a time",
        1000,
        1,
        Raw(1.03),
        Uws(0.92)
    ),
    fan!(
        "fan-5000",
        "fan-out to 5,000, one at a time",
        5000,
        1,
        Raw(1.0),
        Uws(0.80)
    ),
    fan!(
        "fan-1000-16",
        "fan-out to 1,000, bursts of 16",
        1000,
        16,
        Raw(0.10),
        Uws(0.70)
    ),
    fan!(
        "fan-5000-16",
        "fan-out to 5,000, bursts of 16",
        5000,
        16,
        Uws(0.65)
    ),
    Case {
        name: "offered-1m",
        title: "1 M deliveries/s offered to 2,000",
        work: Work::Offered {
            subscribers: 2000,
            rate: 500,
        },
        metrics: &[
            Metric {
                key: "per_second",
                title: "deliveries per second",
                unit: Unit::PerSecond,
                goals: &[AtLeast(990_000.0)],
            },
            Metric {
                key: "p99_us",
                title: "p99, publication due to delivery",
                unit: Unit::Microseconds,
                goals: &[AtMost(50_000.0)],
            },
            cpu("CPU per delivery", &[]),
        ],
    },
    echo_deflate!(
        "deflate-echo-125",
        "echo, 125 B of JSON, 8 outstanding",
        125
    ),
    echo_deflate!(
        "deflate-echo-1k",
        "echo, 1 KiB of JSON, 8 outstanding",
        1024
    ),
    echo_deflate!(
        "deflate-echo-16k",
        "echo, 16 KiB of JSON, 8 outstanding",
        16 * 1024
    ),
    Case {
        name: "deflate-off-fan",
        title: "fan-out of 2,000 B of JSON to 1,000, bursts of 16, uncompressed",
        work: Work::FanDeflate {
            payload: 2000,
            deflate: false,
        },
        metrics: &[cpu("CPU per delivery", &[])],
    },
    Case {
        name: "deflate-fan",
        title: "the same, compressed",
        work: Work::FanDeflate {
            payload: 2000,
            deflate: true,
        },
        metrics: &[
            cpu(
                "CPU per delivery",
                &[Itself(1.15, "deflate-off-fan"), BestPeer(0.5)],
            ),
            WIRE_BYTES,
        ],
    },
    Case {
        name: "connect",
        title: "connect, upgrade, close",
        work: Work::Connect,
        metrics: &[cpu("CPU per connection", &[BestPeer(0.97)])],
    },
    Case {
        name: "idle-10000",
        title: "10,000 idle connections",
        work: Work::Idle {
            connections: 10_000,
            subscribed: false,
        },
        metrics: &[Metric {
            key: "bytes",
            title: "resident bytes per connection",
            unit: Unit::Bytes,
            goals: &[AtMost(128.0)],
        }],
    },
    Case {
        name: "idle-10000-subscribed",
        title: "10,000 idle connections with one subscription",
        work: Work::Idle {
            connections: 10_000,
            subscribed: true,
        },
        metrics: &[Metric {
            key: "bytes",
            title: "resident bytes per connection",
            unit: Unit::Bytes,
            goals: &[AtMost(200.0)],
        }],
    },
    Case {
        name: "idle-19000",
        title: "19,000 idle connections",
        work: Work::Idle {
            connections: 19_000,
            subscribed: false,
        },
        metrics: &[Metric {
            key: "rss_bytes",
            title: "resident bytes of the process",
            unit: Unit::Bytes,
            goals: &[AtMost(4.0 * 1024.0 * 1024.0)],
        }],
    },
    Case {
        name: "start",
        title: "start",
        work: Work::Start,
        metrics: &[
            Metric {
                key: "start_us",
                title: "from exec to the first 101",
                unit: Unit::Microseconds,
                goals: &[Raw(1.05)],
            },
            Metric {
                key: "rss_bytes",
                title: "resident bytes then",
                unit: Unit::Bytes,
                goals: &[],
            },
        ],
    },
    count!(0, "instructions per message", 700.0),
    count!(1, "instructions per message", 400.0),
    count!(2, "instructions per message", 750.0),
    count!(3, "instructions per delivery",),
];
