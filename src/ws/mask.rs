//! Masking: payload XOR a four-byte key that repeats.
//!
//! The rule: byte `i` of a frame's payload meets byte `i mod 4` of the key, so whoever masks a later piece says
//! where it lies. RFC 6455 §5.3. Masking twice gives the original back.

/// Masks or unmasks `bytes` in place. They begin `offset` bytes into the payload.
///
/// In safe code, of which the compiler makes vector instructions: blocks of 64 bytes, and what is left in steps that
/// halve, so that a short payload needs no loop.
#[inline]
pub fn mask(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    let key = rotated(key, offset);
    let narrow = u32::from_ne_bytes(key);
    let wide = u64::from(narrow) << 32 | u64::from(narrow);
    let (blocks, rest) = bytes.as_chunks_mut::<64>();
    for block in blocks {
        mask_block(block, wide);
    }
    let rest = mask_front::<32>(rest, wide);
    let rest = mask_front::<16>(rest, wide);
    let rest = mask_front::<8>(rest, wide);
    let (words, tail) = rest.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ narrow).to_ne_bytes();
    }
    // Every block holds the key a whole number of times, so the tail begins at its first byte again.
    for (byte, key) in tail.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Masks the first `N` bytes, if there are so many, and gives back what is behind them.
#[inline]
fn mask_front<const N: usize>(bytes: &mut [u8], wide: u64) -> &mut [u8] {
    if bytes.len() < N {
        return bytes;
    }
    let (block, rest) = bytes.split_at_mut(N);
    mask_block(block, wide);
    rest
}

/// A block is a multiple of eight bytes.
#[inline]
fn mask_block(block: &mut [u8], wide: u64) {
    for part in block.as_chunks_mut::<8>().0 {
        *part = (u64::from_ne_bytes(*part) ^ wide).to_ne_bytes();
    }
}

/// The definition, byte by byte: the reference that tests and benches hold [`mask`] against.
pub fn mask_bytewise(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte ^= key[(offset % 4 + i) % 4];
    }
}

/// The key as a piece sees it that begins `offset` bytes into the payload.
#[inline]
fn rotated(key: [u8; 4], offset: usize) -> [u8; 4] {
    // In little-endian order the first byte is the lowest, so rotating right brings the next one to the front.
    let bits = offset as u32 % 4 * 8;
    u32::from_le_bytes(key).rotate_right(bits).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_equals_bytewise_for_all_short_lengths_offsets_and_alignments() {
        let key = [0x37, 0xFA, 0x21, 0x3D];
        let source: Vec<u8> = (0..100_u8).map(|i| i.wrapping_mul(31)).collect();
        for start in 0..9 {
            for len in 0..80 {
                for offset in [0, 1, 2, 3, 4, 5, 7, 125, usize::MAX - 2, usize::MAX] {
                    let mut fast = source.clone();
                    let mut naive = source.clone();
                    mask(&mut fast[start..start + len], key, offset);
                    mask_bytewise(&mut naive[start..start + len], key, offset);
                    assert_eq!(fast, naive, "start {start} len {len} offset {offset}");
                }
            }
        }
    }

    #[test]
    fn pieces_equal_the_whole_at_every_cut() {
        let key = [1, 2, 4, 8];
        let mut whole: Vec<u8> = (0..40).collect();
        let source = whole.clone();
        mask(&mut whole, key, 0);
        for cut in 0..=source.len() {
            let mut pieces = source.clone();
            let (head, tail) = pieces.split_at_mut(cut);
            mask(head, key, 0);
            mask(tail, key, cut);
            assert_eq!(pieces, whole, "cut {cut}");
        }
    }
}
