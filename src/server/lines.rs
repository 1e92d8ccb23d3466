//! Cuts the output of a program into lines.
//!
//! A line is lent from the input where it lies there whole; only one that a read has cut is copied. One that is longer
//! than may be comes in pieces of whole characters, or is an error, as the link wishes.

/// More room than this is given back once a line is through.
const CAPACITY_KEPT: usize = 4 << 10;

/// What has come of a line so far.
#[derive(Debug)]
pub(super) struct Lines {
    /// Most bytes of a line.
    max: usize,
    cut: bool,
    partial: Vec<u8>,
    /// So much of `partial` was lent and goes with the next call.
    lent: usize,
}

/// A line is longer than may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Lines {
    pub(super) fn new(max: usize, cut: bool) -> Self {
        Self {
            // A character has four bytes at most, and each piece has one at least.
            max: max.max(4),
            cut,
            partial: Vec::new(),
            lent: 0,
        }
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// The next line or piece of one, without its end. `None`: `input` is used up.
    pub(super) fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b [u8],
    ) -> Result<Option<&'a [u8]>, TooLong> {
        self.forget_lent();
        let end = input.iter().position(|byte| *byte == b'\n');
        let (line, rest) = match end {
            Some(at) => (&input[..at], &input[at + 1..]),
            None => (*input, &[][..]),
        };
        let len = self.partial.len() + line.len();
        let last = line.last().or(self.partial.last());
        if len <= self.max || len == self.max + 1 && last == Some(&b'\r') {
            *input = rest;
            if end.is_some() && self.partial.is_empty() {
                return Ok(Some(without_return(line)));
            }
            self.partial.extend_from_slice(line);
            if end.is_none() {
                return Ok(None);
            }
            self.lent = self.partial.len();
            return Ok(Some(without_return(&self.partial)));
        }
        if !self.cut {
            return Err(TooLong);
        }
        let missing = self.max.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&input[..missing]);
        *input = &input[missing..];
        self.lent = whole_characters(&self.partial[..self.max]);
        Ok(Some(&self.partial[..self.lent]))
    }

    /// The output has ended: a last line that had no end.
    pub(super) fn rest(&mut self) -> Option<&[u8]> {
        self.forget_lent();
        self.lent = self.partial.len();
        (self.lent > 0).then_some(&self.partial)
    }

    fn forget_lent(&mut self) {
        if self.lent > 0 {
            self.partial.drain(..self.lent);
            self.lent = 0;
            self.partial.shrink_to(CAPACITY_KEPT);
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// How much of a text is left if no character may be cut at its end. What is no text is not shortened.
fn whole_characters(text: &[u8]) -> usize {
    for (back, byte) in text.iter().rev().take(3).enumerate() {
        let needs = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        let has = back + 1;
        return text.len() - if needs > has { has } else { 0 };
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an output that is read in pieces of `size` bytes.
    fn cut(output: &[u8], max: usize, size: usize) -> Vec<Vec<u8>> {
        let mut lines = Lines::new(max, true);
        let mut all = Vec::new();
        for mut chunk in output.chunks(size) {
            while let Some(line) = lines.next(&mut chunk).expect("long lines are cut") {
                all.push(line.to_vec());
            }
        }
        all.extend(lines.rest().map(<[u8]>::to_vec));
        all
    }

    #[test]
    fn lines_are_the_same_however_they_are_read() {
        let output = b"one\ntwo\r\n\n\r\nlong line\rwith a return\nlast";
        let expected = ["one", "two", "", "", "long line\rwith a return", "last"];
        for size in 1..=output.len() {
            assert_eq!(
                cut(output, 100, size),
                expected.map(str::as_bytes),
                "{size}"
            );
        }
        assert!(cut(b"", 100, 1).is_empty());
        assert_eq!(cut(b"a\n", 100, 2), [b"a"], "no line behind the last end");
    }

    #[test]
    fn long_lines_come_in_pieces_of_whole_characters() {
        let output = "12345\r\n123456\nää€ß\n1234\n".as_bytes();
        let expected = ["12345", "12345", "6", "ää", "€ß", "1234"];
        for size in 1..=output.len() {
            assert_eq!(cut(output, 5, size), expected.map(str::as_bytes), "{size}");
        }
        // What is no text is cut where the limit is.
        assert_eq!(
            cut(&[0x80; 9], 4, 9)
                .iter()
                .map(Vec::len)
                .collect::<Vec<_>>(),
            [4, 4, 1]
        );
    }

    #[test]
    fn long_lines_are_an_error_where_they_are_not_cut() {
        let mut lines = Lines::new(4, false);
        let mut input = &b"1234\r\n12345\n"[..];
        assert_eq!(lines.next(&mut input), Ok(Some(&b"1234"[..])));
        assert_eq!(lines.next(&mut input), Err(TooLong));
        // As soon as it is too long, and not when its end is seen.
        let mut input = &b"12345"[..];
        assert_eq!(Lines::new(4, false).next(&mut input), Err(TooLong));
    }

    #[test]
    fn an_endless_line_holds_no_more_than_a_message() {
        let mut lines = Lines::new(100, true);
        for _ in 0..1000 {
            let mut input = &[b'x'; 77][..];
            while lines.next(&mut input).expect("it is cut").is_some() {}
        }
        assert!(
            lines.buffered_bytes() <= CAPACITY_KEPT,
            "{}",
            lines.buffered_bytes()
        );
    }
}
