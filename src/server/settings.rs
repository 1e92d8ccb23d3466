//! Every limit and time-out of the server, with its default and the reason for it.

use crate::http::HeadLimits;
use crate::hub::{ChannelOptions, HubLimits, SessionLimits};
#[cfg(feature = "deflate")]
use crate::ws::deflate::Settings as Deflate;
use crate::ws::{CloseCode, Limits as WsLimits, Subprotocols};

use super::access::{Keys, Origins};
use super::proxies::ProxySettings;

/// Limits that hold for the whole worker.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Request heads.
    pub head: HeadLimits,
    /// From accept to the end of the opening handshake, in total and not per read, in milliseconds.
    /// A slow-loris client gets no second chance by sending a byte now and then.
    pub handshake_timeout_ms: u64,
    /// From the first byte of a later request to the end of its body, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long a connection may stay without a request, in milliseconds (nginx's default).
    pub keep_alive_ms: u64,
    /// How long a handler may put off an answer before the client gets 504, in milliseconds.
    pub reply_timeout_ms: u64,
    /// How long the peer may take for its part of a closing handshake before the transport is cut, in milliseconds:
    /// for its close frame, and for any byte of what is still on its way to it.
    pub close_timeout_ms: u64,
    /// How long everything that was queued before a close may take to be written, in milliseconds, however steadily the
    /// peer reads.
    pub close_flush_timeout_ms: u64,
    /// How long a drain may take, in milliseconds.
    pub drain_timeout_ms: u64,
    /// Most connections at once; the next one gets 503.
    pub connections_max: usize,
    /// Limits per peer address.
    pub address: AddressLimits,
    /// Whose word is taken for who the client is.
    pub proxies: ProxySettings,
    /// Size of the one receive buffer. Large reads make pipelined traffic cheap, and a message that lies in it whole is
    /// lent to its handler from there; untouched pages cost nothing.
    pub receive_buffer_bytes: usize,
    /// Calls to applications.
    pub calls: CallSettings,
    /// Limits of the hub.
    pub hub: HubLimits,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            head: HeadLimits::default(),
            handshake_timeout_ms: 10_000,
            request_timeout_ms: 10_000,
            keep_alive_ms: 75_000,
            reply_timeout_ms: 30_000,
            close_timeout_ms: 5_000,
            close_flush_timeout_ms: 30_000,
            drain_timeout_ms: 30_000,
            connections_max: 960,
            address: AddressLimits::default(),
            proxies: ProxySettings::default(),
            receive_buffer_bytes: (1 << 20) + (64 << 10),
            calls: CallSettings::default(),
            hub: HubLimits::default(),
        }
    }
}

/// Limits of calls to applications.
#[derive(Debug, Clone, Copy)]
pub struct CallSettings {
    /// Most connections to applications.
    pub connections_max: usize,
    /// Calls that may wait before sessions that cause more are not read from any more.
    pub queue_max: usize,
    /// Bytes of their bodies.
    pub queue_bytes_max: usize,
    /// Most bytes of an answer's body.
    pub answer_bytes_max: usize,
    /// How long connecting may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long a connection is kept open without a call, in milliseconds.
    pub idle_ms: u64,
}

impl Default for CallSettings {
    fn default() -> Self {
        Self {
            connections_max: 32,
            queue_max: 1024,
            queue_bytes_max: 1 << 20,
            answer_bytes_max: 64 << 10,
            connect_timeout_ms: 5_000,
            idle_ms: 30_000,
        }
    }
}

/// Limits per peer address; IPv6 peers count by /64. Zero switches a limit off.
#[derive(Debug, Clone, Copy)]
pub struct AddressLimits {
    /// Connections at once.
    pub connections_max: u32,
    /// Opening handshakes per second.
    pub handshakes_per_second: u32,
    /// Opening handshakes in a row before the rate counts.
    pub handshakes_burst: u32,
    /// Failed authentications per minute.
    pub auth_failures_per_minute: u32,
    /// Loopback peers and Unix sockets are not limited: behind a local proxy everybody has that address. Trusted
    /// proxies never are; the clients they name are.
    pub exempt_local: bool,
    /// Only count and tell who would be refused: for finding values that fit.
    pub dry_run: bool,
}

impl Default for AddressLimits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            handshakes_per_second: 50,
            handshakes_burst: 200,
            auth_failures_per_minute: 10,
            exempt_local: true,
            dry_run: false,
        }
    }
}

/// Settings of one route.
#[derive(Debug, Clone)]
pub struct RouteSettings {
    /// Outbox, subscriptions, bad messages.
    pub session: SessionLimits,
    /// What holds for some of its channels and not for others. Handlers with the same name space share their channels, so
    /// what one of their routes says holds for all of them.
    pub channels: Vec<ChannelOptions>,
    /// Message, frame and fragment limits (RFC 6455 §10.4).
    pub ws: WsLimits,
    /// permessage-deflate (RFC 7692).
    #[cfg(feature = "deflate")]
    pub deflate: Deflate,
    /// How long one message may stay unfinished, in milliseconds.
    pub message_timeout_ms: u64,
    /// How long a client may take for its first message, in milliseconds; 0: it may never say anything, as subscribers do
    /// whose path says what they want.
    pub first_command_timeout_ms: u64,
    /// Messages per second; 0 switches the rate off.
    pub messages_per_second: u32,
    /// Messages in a row before the rate counts.
    pub messages_burst: u32,
    /// The close code when the rate is exceeded.
    pub rate_code: CloseCode,
    /// Control frames per second.
    pub control_per_second: u32,
    /// Control frames in a row before the rate counts.
    pub control_burst: u32,
    /// Most bytes of a request body.
    pub body_bytes_max: usize,
    /// Silence before a ping is sent, in milliseconds; 0 switches pings off.
    pub ping_after_ms: u64,
    /// Silence after the ping before the connection is dropped, in milliseconds.
    pub ping_grace_ms: u64,
    /// How often a response that does not end says that it has not, in milliseconds; 0: never. Proxies give up after 30
    /// to 60 s of silence. Whoever has taken none of it after `ping_grace_ms` is dropped.
    pub stream_keep_alive_ms: u64,
    /// How long a poll waits for a message, in milliseconds: less than proxies wait for an answer.
    pub poll_timeout_ms: u64,
    /// What a reader of server-sent events is told to wait before it comes back, in milliseconds.
    pub stream_retry_ms: u64,
    /// Which offered subprotocol is answered.
    pub subprotocols: Subprotocols,
    /// Which web pages may connect.
    pub origins: Origins,
    /// Keys that open the route; none means open to all.
    pub keys: Keys,
    /// The code a drain closes with: 1012 tells clients to come back.
    pub drain_code: CloseCode,
}

impl Default for RouteSettings {
    fn default() -> Self {
        Self {
            session: SessionLimits::default(),
            channels: Vec::new(),
            ws: WsLimits::for_message_bytes(1 << 20),
            #[cfg(feature = "deflate")]
            deflate: Deflate::default(),
            message_timeout_ms: 30_000,
            first_command_timeout_ms: 0,
            messages_per_second: 100,
            messages_burst: 500,
            rate_code: CloseCode::POLICY,
            control_per_second: 20,
            control_burst: 100,
            body_bytes_max: 1 << 20,
            ping_after_ms: 25_000,
            ping_grace_ms: 10_000,
            stream_keep_alive_ms: 15_000,
            poll_timeout_ms: 25_000,
            stream_retry_ms: 3_000,
            subprotocols: Subprotocols::EchoFirst,
            origins: Origins::Any,
            keys: Keys::default(),
            drain_code: CloseCode::RESTART,
        }
    }
}

impl RouteSettings {
    /// The message limit, with the fragment limit that goes with it.
    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.ws = WsLimits::for_message_bytes(bytes);
        self
    }
}
