//! Limits that the hub enforces, with their defaults.

use super::SlowPolicy;

/// Limits of one route's sessions, as far as the hub enforces them.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Most bytes that may wait in one outbox.
    pub outbox_bytes_max: usize,
    /// Bytes that may wait no longer than `outbox_soft_ms`.
    pub outbox_soft_bytes: usize,
    /// How long an outbox may stay above its soft limit, in milliseconds.
    pub outbox_soft_ms: u64,
    /// Most frames that may wait in one outbox.
    pub outbox_frames_max: usize,
    /// What happens beyond, for replies and for channels that have no policy of their own.
    pub slow: SlowPolicy,
    /// Most channels one session may be subscribed to.
    pub subscriptions_max: usize,
    /// Bad messages (not JSON, unknown command) a session may send per minute: at most 254, or 0 for any number.
    pub bad_messages_per_minute: u32,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            outbox_bytes_max: 1 << 20,
            outbox_soft_bytes: 256 << 10,
            outbox_soft_ms: 10_000,
            outbox_frames_max: 1024,
            slow: SlowPolicy::Close,
            subscriptions_max: 128,
            bad_messages_per_minute: 20,
        }
    }
}

/// Limits of the whole hub.
#[derive(Debug, Clone, Copy)]
pub struct HubLimits {
    /// Most channels. Those that only keep publications give way to those with a subscriber.
    pub channels_max: usize,
    /// Most bytes that peers may make the server keep, all together: queued frames (a shared one counts once), windows
    /// of clients that compress, bodies of calls, what waits for links, unfinished messages and requests, answers that are
    /// not read.
    pub memory_budget_bytes: usize,
    /// Most bytes of what channels keep, all together. It counts into the memory budget, and gives way to all else there.
    pub history_budget_bytes: usize,
    /// How long a user may be without a connection before it has left a channel that keeps who is in, in milliseconds.
    /// 5,000: a page that is loaded anew, or a network that changes.
    pub presence_grace_ms: u64,
    /// Most users that may be about to leave, all channels together: those beyond leave at once.
    pub presence_leaving_max: usize,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            channels_max: 100_000,
            memory_budget_bytes: 64 << 20,
            history_budget_bytes: 16 << 20,
            presence_grace_ms: 5_000,
            presence_leaving_max: 10_000,
        }
    }
}
