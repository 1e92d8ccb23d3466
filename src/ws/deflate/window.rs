//! What a worker keeps of peers that keep their context: the end of what each has sent, inflated.
//!
//! The rule: a window comes into being with a peer's first compressed message, grows with what it sends up to the
//! size that was agreed, and goes with its session. An inflater's whole state would be 47 KiB; the window alone is
//! enough to bring the shared inflater to where this peer's compressor is. RFC 7692 §7.2.2.

use std::collections::HashMap;

/// The windows of one worker, by session.
#[derive(Debug, Default)]
pub struct Windows {
    by_key: HashMap<u32, Vec<u8>>,
    bytes: usize,
}

impl Windows {
    /// Bytes kept, all windows together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Windows kept.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether something is kept of this peer.
    pub fn has(&self, key: u32) -> bool {
        self.by_key.contains_key(&key)
    }

    /// Bytes kept of this peer.
    pub fn bytes_of(&self, key: u32) -> usize {
        self.by_key.get(&key).map_or(0, Vec::capacity)
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The peer is gone.
    pub fn remove(&mut self, key: u32) {
        if let Some(window) = self.by_key.remove(&key) {
            self.bytes -= window.capacity();
        }
    }

    /// What the peer may refer back to.
    pub(super) fn get(&self, key: u32) -> &[u8] {
        self.by_key.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Adds what the peer has just sent, and forgets what it cannot refer back to any more.
    pub(super) fn push(&mut self, key: u32, message: &[u8], bytes_max: usize) {
        let window = self.by_key.entry(key).or_default();
        self.bytes -= window.capacity();
        let message = message
            .get(message.len().saturating_sub(bytes_max)..)
            .unwrap_or_default();
        let excess = (window.len() + message.len()).saturating_sub(bytes_max);
        window.drain(..excess.min(window.len()));
        // Twice what is needed at most, and never more than there is use for.
        let needed = window.len() + message.len();
        if needed > window.capacity() {
            let room = needed.next_power_of_two().min(bytes_max);
            window.reserve_exact(room - window.len());
        }
        window.extend_from_slice(message);
        self.bytes += window.capacity();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_the_last_bytes_and_no_more() {
        let mut windows = Windows::default();
        let mut all = Vec::new();
        for (n, len) in [3, 0, 200, 511, 512, 513, 5000, 1, 100]
            .into_iter()
            .enumerate()
        {
            let message = vec![n as u8; len];
            all.extend_from_slice(&message);
            windows.push(7, &message, 512);
            let expected = &all[all.len().saturating_sub(512)..];
            assert_eq!(windows.get(7), expected);
            assert!(windows.bytes() <= 512 && windows.bytes() >= expected.len());
        }
        windows.push(8, b"other", 512);
        assert_eq!((windows.get(8), windows.len()), (&b"other"[..], 2));
        windows.remove(7);
        windows.remove(8);
        windows.remove(8);
        assert_eq!((windows.bytes(), windows.is_empty()), (0, true));
        assert_eq!(windows.get(7), b"");
    }
}
