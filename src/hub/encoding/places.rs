//! Publications with their places: JSON objects that say at their end where they stand in each channel they went to.
//!
//! ```text
//!   {"type":"new_block",…}                                                                      as it was published
//!   {"type":"new_block",…,"positions":[{"chain_name":"sc","position":"4f1c2a90.2.0c33b8f4","previous":"4f1c2a90.1.7a0d55e1"}]}
//! ```
//!
//! A place is named by the words that its publisher has for the channel (`"chain_name":"sc"`), and says where the
//! publication before it stood, unless it is the first of its channel's life.

use crate::hub::Position;

/// The beginning of the list. No string of JSON has an unescaped quotation mark in it, so this stands nowhere inside one.
const PLACES: &[u8] = b",\"positions\":[";

/// Appends an object, its last member being the places; `false`: it is no object that has members.
pub(in crate::hub) fn append_placed<'a>(
    out: &mut Vec<u8>,
    object: &str,
    places: impl Iterator<Item = (&'a str, Position, Position)>,
) -> bool {
    let Some(open) = object.strip_suffix('}') else {
        return false;
    };
    out.extend_from_slice(open.as_bytes());
    out.extend_from_slice(PLACES);
    for (at, (label, position, previous)) in places.enumerate() {
        out.extend_from_slice(if at == 0 { b"{" } else { b",{" });
        out.extend_from_slice(label.as_bytes());
        out.extend_from_slice(b",\"position\":\"");
        position.append_to(out);
        if previous.offset > 0 {
            out.extend_from_slice(b"\",\"previous\":\"");
            previous.append_to(out);
        }
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b"]}");
    true
}

/// Whether a message says where it stands.
#[cfg(feature = "history-log")]
pub(in crate::hub) fn has_places(message: &[u8]) -> bool {
    message.ends_with(b"\"}]}") && message.windows(PLACES.len()).any(|part| part == PLACES)
}
