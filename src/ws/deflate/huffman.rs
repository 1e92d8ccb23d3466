//! Prefix codes for one deflate block: how long each is, what it is, and how a block describes them.
//!
//! The rule: lengths come from counts alone (Huffman), are cut to what the format allows, and give the codes by
//! themselves (RFC 1951 §3.2.2). A description is worked out before anything is written, so that its size can be
//! weighed against the fixed codes, which need none.

/// Codes of a block: lengths first, then by [`number`](Codes::number) the codes themselves, first bit lowest.
pub(super) struct Codes {
    pub(super) literal_lengths: [u8; 286],
    pub(super) distance_lengths: [u8; 30],
    literals: [u16; 286],
    distances: [u16; 30],
}

impl Default for Codes {
    fn default() -> Self {
        Self {
            literal_lengths: [0; 286],
            distance_lengths: [0; 30],
            literals: [0; 286],
            distances: [0; 30],
        }
    }
}

/// RFC 1951 §3.2.6.
pub(super) static FIXED: Codes = fixed();

const fn fixed() -> Codes {
    let mut literal_lengths = [8; 286];
    let mut n = 144;
    while n < 256 {
        literal_lengths[n] = 9;
        n += 1;
    }
    while n < 280 {
        literal_lengths[n] = 7;
        n += 1;
    }
    Codes {
        // Two codes more belong to the set, but not to any length.
        literals: numbered(&literal_lengths, 8, 2),
        distances: numbered(&[5; 30], 5, 2),
        literal_lengths,
        distance_lengths: [5; 30],
    }
}

impl Codes {
    /// Gives each symbol the code that follows from the lengths.
    pub(super) fn number(&mut self) {
        self.literals = numbered(&self.literal_lengths, 0, 0);
        self.distances = numbered(&self.distance_lengths, 0, 0);
    }

    #[inline]
    pub(super) fn literal(&self, symbol: usize) -> (u16, u8) {
        match (self.literals.get(symbol), self.literal_lengths.get(symbol)) {
            (Some(code), Some(len)) => (*code, *len),
            _ => (0, 0),
        }
    }

    #[inline]
    pub(super) fn distance(&self, symbol: usize) -> (u16, u8) {
        match (
            self.distances.get(symbol),
            self.distance_lengths.get(symbol),
        ) {
            (Some(code), Some(len)) => (*code, *len),
            _ => (0, 0),
        }
    }

    /// Bits of a message with these counts.
    pub(super) fn bits(&self, literals: &[u16; 286], distances: &[u16; 30]) -> usize {
        weigh(literals, &self.literal_lengths) + weigh(distances, &self.distance_lengths)
    }
}

fn weigh(counts: &[u16], lengths: &[u8]) -> usize {
    let each = counts.iter().zip(lengths);
    each.map(|(&count, &len)| u32::from(count) * u32::from(len))
        .sum::<u32>() as usize
}

/// The codes of these lengths, in the order of length and symbol; turned round, because a code's first bit is its
/// highest and travels first. `more` codes of length `more_len` are counted for symbols that do not occur.
const fn numbered<const N: usize>(lengths: &[u8; N], more_len: usize, more: u16) -> [u16; N] {
    let mut of_length = [0_u16; 16];
    of_length[more_len] = more;
    let mut n = 0;
    while n < N {
        of_length[(lengths[n] & 15) as usize] += 1;
        n += 1;
    }
    of_length[0] = 0;
    let mut next = [0_u16; 16];
    let mut len = 1;
    while len < 16 {
        next[len] = (next[len - 1] + of_length[len - 1]) << 1;
        len += 1;
    }
    let mut codes = [0; N];
    n = 0;
    while n < N {
        let len = (lengths[n] & 15) as usize;
        if len > 0 {
            codes[n] = next[len].reverse_bits() >> (16 - len);
            next[len] += 1;
        }
        n += 1;
    }
    codes
}

/// The best lengths for these counts, none above `max`. A symbol that does not occur gets 0, a lonely one 1.
pub(super) fn code_lengths<const N: usize>(counts: &[u16; N], max: usize, lengths: &mut [u8; N]) {
    *lengths = [0; N];
    // By count, then by symbol: one number each.
    let mut used = [0_u32; N];
    let mut leaves = 0;
    for (row, eight) in counts.chunks(8).enumerate() {
        // Most symbols do not occur, and neither do their neighbours.
        if eight.iter().all(|&count| count == 0) {
            continue;
        }
        for (symbol, &count) in (row * 8..).zip(eight) {
            if count > 0
                && let Some(place) = used.get_mut(leaves)
            {
                *place = u32::from(count) << 16 | symbol as u32;
                leaves += 1;
            }
        }
    }
    let used = used.get_mut(..leaves).unwrap_or_default();
    used.sort_unstable();
    let mut of_length = depths::<N>(used);
    // Too deep ones are lifted, and what that takes is taken from the next that can give.
    let deep: u16 = of_length.iter().skip(max + 1).sum();
    of_length[max] += deep;
    let mut room: i32 = 1 << max;
    for (len, &count) in of_length.iter().enumerate().take(max + 1).skip(1) {
        room -= i32::from(count) << (max - len);
    }
    while room < 0 {
        of_length[max] -= 1;
        for len in (1..max).rev() {
            if of_length[len] > 0 {
                of_length[len] -= 1;
                of_length[len + 1] += 2;
                break;
            }
        }
        room += 1;
    }
    // The rarest get the longest.
    let mut rarest = used.iter();
    for len in (1..=max).rev() {
        for _ in 0..of_length[len] {
            if let Some(&one) = rarest.next()
                && let Some(place) = lengths.get_mut((one & 0xFFFF) as usize)
            {
                *place = len as u8;
            }
        }
    }
}

/// How many leaves are how deep in the tree of these, sorted by count: the two least are joined until one is left.
fn depths<const N: usize>(used: &[u32]) -> [u16; 33] {
    let mut of_length = [0_u16; 33];
    let leaves = used.len();
    if leaves < 2 {
        of_length[1] = leaves as u16;
        return of_length;
    }
    // Joined nodes come out in the order of their weight too, so the least is at the front of one of two rows.
    let mut weights = [0_u32; N];
    let mut parents = [[0_u16; N]; 2];
    let (mut leaf, mut joined) = (0, 0);
    for new in 0..leaves - 1 {
        for _ in 0..2 {
            let own = used.get(leaf).map(|one| one >> 16);
            let built = weights.get(joined).copied().filter(|_| joined < new);
            let (row, at, weight) = match (own, built) {
                (Some(own), Some(built)) if own <= built => (0, leaf, own),
                (_, Some(built)) => (1, joined, built),
                (Some(own), None) => (0, leaf, own),
                (None, None) => continue,
            };
            if let Some(place) = parents[row].get_mut(at) {
                *place = new as u16;
            }
            if let Some(place) = weights.get_mut(new) {
                *place += weight;
            }
            if row == 0 {
                leaf += 1;
            } else {
                joined += 1;
            }
        }
    }
    // From the root down: a node is one deeper than its parent.
    let mut depth = [0_u8; N];
    for node in (0..leaves - 2).rev() {
        let parent = usize::from(parents[1].get(node).copied().unwrap_or_default());
        let above = depth.get(parent).copied().unwrap_or_default();
        if let Some(place) = depth.get_mut(node) {
            *place = above + 1;
        }
    }
    for parent in parents[0].iter().take(leaves) {
        let above = depth.get(usize::from(*parent)).copied().unwrap_or_default();
        if let Some(count) = of_length.get_mut(usize::from(above) + 1) {
            *count += 1;
        }
    }
    of_length
}

/// How a block tells its codes: their lengths, run by run, in a code of their own. RFC 1951 §3.2.7.
pub(super) struct Description {
    /// Symbol, extra bits, their number.
    runs: [(u8, u8, u8); 316],
    used: usize,
    literals: usize,
    distances: usize,
    lengths: [u8; 19],
    told: usize,
    bits: usize,
}

/// In which order the lengths of that code are told.
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

impl Description {
    pub(super) fn of(codes: &Codes) -> Self {
        let upto = |lengths: &[u8], least: usize| {
            let last = lengths.iter().rposition(|&len| len > 0);
            last.map_or(least, |last| (last + 1).max(least))
        };
        let mut new = Self {
            runs: [(0, 0, 0); 316],
            used: 0,
            literals: upto(&codes.literal_lengths, 257),
            distances: upto(&codes.distance_lengths, 1),
            lengths: [0; 19],
            told: 0,
            bits: 0,
        };
        let mut all = [0_u8; 316];
        let own = codes.literal_lengths.iter().take(new.literals);
        let distances = codes.distance_lengths.iter().take(new.distances);
        for (place, len) in all.iter_mut().zip(own.chain(distances)) {
            *place = *len;
        }
        let mut rest = all.get(..new.literals + new.distances).unwrap_or_default();
        let mut counts = [0_u16; 19];
        while let Some(&len) = rest.first() {
            let run = rest
                .iter()
                .take(138)
                .take_while(|&&other| other == len)
                .count();
            let taken = match (len, run) {
                (0, 11..) => new.push(&mut counts, (18, (run - 11) as u8, 7), run),
                (0, 3..) => new.push(&mut counts, (17, (run - 3) as u8, 3), run),
                (_, 4..) if len > 0 => {
                    let again = (run - 1).min(6);
                    new.push(&mut counts, (len, 0, 0), 1);
                    new.push(&mut counts, (16, (again - 3) as u8, 2), 1 + again)
                }
                _ => new.push(&mut counts, (len, 0, 0), 1),
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        // That code has to be complete, so it has two symbols at least.
        if counts.iter().filter(|&&count| count > 0).count() < 2 {
            counts[if counts[0] == 0 { 0 } else { 1 }] = 1;
        }
        code_lengths(&counts, 7, &mut new.lengths);
        let last = ORDER.iter().rposition(|&symbol| new.lengths[symbol] > 0);
        new.told = last.map_or(4, |last| (last + 1).max(4));
        let runs = new.runs.iter().take(new.used);
        let extra: usize = runs.map(|run| usize::from(run.2)).sum();
        new.bits = 14 + 3 * new.told + extra + weigh(&counts, &new.lengths);
        new
    }

    fn push(&mut self, counts: &mut [u16; 19], run: (u8, u8, u8), taken: usize) -> usize {
        if let Some(place) = self.runs.get_mut(self.used) {
            *place = run;
            self.used += 1;
        }
        counts[usize::from(run.0)] += 1;
        taken
    }

    /// How many bits it takes.
    pub(super) fn bits(&self) -> usize {
        self.bits
    }

    pub(super) fn write(&self, mut put: impl FnMut(u32, u32)) {
        put((self.literals - 257) as u32, 5);
        put((self.distances - 1) as u32, 5);
        put((self.told - 4) as u32, 4);
        for &symbol in ORDER.iter().take(self.told) {
            put(u32::from(self.lengths[symbol]), 3);
        }
        let codes = numbered(&self.lengths, 0, 0);
        for &(symbol, extra, extra_bits) in self.runs.iter().take(self.used) {
            let symbol = usize::from(symbol);
            put(u32::from(codes[symbol]), u32::from(self.lengths[symbol]));
            put(u32::from(extra), u32::from(extra_bits));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of the code space, in units of the longest code.
    fn room(lengths: &[u8], max: u32) -> i64 {
        let taken = lengths.iter().filter(|&&len| len > 0);
        (1 << max)
            - taken
                .map(|&len| 1_i64 << (max - u32::from(len)))
                .sum::<i64>()
    }

    #[test]
    fn codes_are_complete_and_the_rarer_symbol_has_the_longer_one() {
        let mut state = 1_u32;
        for round in 0..300_u32 {
            let mut counts = [0_u16; 286];
            for count in &mut counts {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let keep = (state >> 9) % 7 < round % 7;
                *count = if keep {
                    ((state >> 16) % (1 + round * 3)) as u16
                } else {
                    0
                };
            }
            let used = counts.iter().filter(|&&count| count > 0).count();
            for max in [9, 15] {
                let mut lengths = [0; 286];
                code_lengths(&counts, max, &mut lengths);
                assert!(lengths.iter().all(|&len| usize::from(len) <= max));
                match used {
                    0 | 1 => {}
                    _ => assert_eq!(room(&lengths, max as u32), 0, "{counts:?}"),
                }
                for (a, b) in counts.iter().zip(&lengths) {
                    assert_eq!(*a > 0, *b > 0);
                    for (c, d) in counts.iter().zip(&lengths) {
                        assert!(*c == 0 || *a == 0 || a >= c || b >= d);
                    }
                }
            }
        }
    }

    #[test]
    fn counts_that_grow_like_fibonacci_are_cut_to_the_longest_code() {
        let mut counts = [0_u16; 30];
        let (mut a, mut b) = (1_u16, 1_u16);
        for count in counts.iter_mut().take(22) {
            *count = a;
            (a, b) = (b, a + b);
        }
        let mut lengths = [0; 30];
        code_lengths(&counts, 15, &mut lengths);
        assert_eq!(room(&lengths, 15), 0);
        assert_eq!(lengths.iter().max(), Some(&15));
    }

    #[test]
    fn the_fixed_codes_are_those_of_the_table() {
        // RFC 1951 §3.2.6: symbol, bits as they stand there.
        for (symbol, bits, len) in [
            (0, 0b0011_0000_u16, 8),
            (143, 0b1011_1111, 8),
            (144, 0b1_1001_0000, 9),
            (255, 0b1_1111_1111, 9),
            (256, 0, 7),
            (279, 0b001_0111, 7),
            (280, 0b1100_0000, 8),
        ] {
            let turned = bits.reverse_bits() >> (16 - len);
            assert_eq!(FIXED.literal(symbol), (turned, len as u8), "{symbol}");
        }
        assert_eq!(FIXED.distance(1), (0b10000, 5));
    }
}
