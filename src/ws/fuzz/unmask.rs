//! Masking against its definition.

use super::super::{mask, mask_bytewise};

/// Bytes in front of the payload: it begins at every alignment that a vector instruction knows.
const ALIGNMENTS: usize = 64;

/// Oracle: the fast way equals RFC 6455 §5.3 byte by byte, at every offset and alignment, whole and in any pieces, and
/// twice is the original.
///
/// Bytes 0 to 3 are the key, 4 to 11 where the bytes begin in the payload, 12 the alignment, 13 the cuts; the rest is
/// the payload.
pub fn unmask(data: &[u8]) {
    let Some((&[k0, k1, k2, k3, rest @ ..], payload)) = data.split_first_chunk::<14>() else {
        return;
    };
    let (key, [offset @ .., alignment, cut]) = ([k0, k1, k2, k3], rest);
    let offset = u64::from_le_bytes(offset) as usize;
    let expected = by_definition(payload, key, offset);

    let mut naive = payload.to_vec();
    mask_bytewise(&mut naive, key, offset);
    assert_eq!(naive, expected, "the reference is the definition");

    let before = usize::from(alignment) % ALIGNMENTS;
    let mut room = vec![0xA5; before];
    room.extend_from_slice(payload);
    room.extend_from_slice(&[0x5A; ALIGNMENTS]);
    let end = before + payload.len();
    mask(&mut room[before..end], key, offset);
    assert_eq!(room[before..end], expected, "at alignment {before}");
    assert!(
        room[..before].iter().all(|byte| *byte == 0xA5)
            && room[end..].iter().all(|byte| *byte == 0x5A),
        "what lies around it is not touched"
    );
    mask(&mut room[before..end], key, offset);
    assert_eq!(&room[before..end], payload, "twice is the original");

    // Two pieces at any place, and many of one length.
    let at = usize::from(cut) * (payload.len() + 1) / 256;
    let (head, tail) = room[before..end].split_at_mut(at);
    mask(head, key, offset);
    mask(tail, key, offset.wrapping_add(at));
    assert_eq!(room[before..end], expected, "cut at {at}");
    let mut pieces = payload.to_vec();
    let len = usize::from(cut).max(1);
    for (n, piece) in pieces.chunks_mut(len).enumerate() {
        mask(piece, key, offset.wrapping_add(n * len));
    }
    assert_eq!(pieces, expected, "in pieces of {len}");
}

/// "Octet i of the transformed data is the XOR of octet i of the original data with octet at index i modulo 4 of the
/// masking key", where `i` counts from the payload's beginning. An offset beyond a machine word wraps, and four
/// divides the word.
fn by_definition(payload: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
    let octet = |(i, byte): (usize, &u8)| byte ^ key[offset.wrapping_add(i) % 4];
    payload.iter().enumerate().map(octet).collect()
}
