//! The log of histories (feature `history-log`): settings of the whole server.

use super::table::macros::number;
use super::table::{Global, MS, Setting, TOTAL_BYTES};
use super::value::{Kind, Value};

/// The folder; empty: there is no log.
pub(super) const PATH: Setting<Global> = Setting {
    section: "",
    name: "history_path",
    kind: Kind::Text,
    get: |s| Value::Text(s.history_log.path.display().to_string()),
    set: |s, value| {
        s.history_log.path = value.text().into();
        true
    },
};

pub(super) const SYNC_MS: Setting<Global> =
    number!("", "history_sync_ms", 0, MS, history_log.sync_ms);

/// Four segments that hold something.
pub(super) const DISK_BYTES_MAX: Setting<Global> = number!(
    "",
    "history_disk_bytes_max",
    65_536,
    TOTAL_BYTES,
    history_log.disk_bytes_max
);
