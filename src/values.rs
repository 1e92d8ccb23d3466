//! JSON text cut into values: where one ends in a stream without any other mark, and what is wrong with one that is
//! none.
//!
//! A Unix socket that speaks JSON-RPC carries values one after the other, with or without white space between them.
//! [`Scanner`] walks over bytes once, however they were cut, by the grammar of RFC 8259; [`Values`] keeps what is
//! unfinished and lends what is whole. The words for what is wrong are those of Go's `encoding/json`, which clients of
//! Ethereum nodes know.
//!
//! ```text
//!   Begin ──▶ literal, number, string ───────────────┐
//!     │ { [         ▲      ▲                          ▼
//!     └──▶ Key ─▶ Colon ─▶ Begin … ─▶ After ──▶ (End of the outermost value)
//!           ▲                            │ ,
//!           └────────────────────────────┘
//! ```
//!
//! ```
//! use dunlin::values::Values;
//!
//! let mut values = Values::new(1024);
//! let mut input: &[u8] = b"{\"id\":1} [2";
//! assert_eq!(values.next(&mut input), Ok(Some(&b"{\"id\":1}"[..])));
//! assert_eq!(values.next(&mut input), Ok(None), "the rest is kept");
//! let mut input: &[u8] = b"]\n";
//! assert_eq!(values.next(&mut input), Ok(Some(&b"[2]"[..])));
//! ```

use std::fmt;

/// How deep arrays and objects may be nested: as deep as serde_json goes.
pub const DEPTH_MAX: u8 = 127;

/// Walks over one JSON value.
#[derive(Debug, Clone)]
pub struct Scanner {
    state: State,
    depth: u8,
    /// One bit per open bracket, the innermost lowest: it is an object.
    objects: u128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// White space, then a value.
    Begin,
    /// Behind `[`: a value or `]`.
    BeginOrEnd,
    /// Behind `{`: a key or `}`.
    KeyOrEnd,
    /// Behind `,` in an object.
    Key,
    Colon,
    /// Behind a value.
    After,
    /// In a string, which is a key if it says so.
    Text(bool),
    Escape(bool),
    /// So many digits of `\uXXXX` are still to come.
    Hex(bool, u8),
    /// Behind `-`.
    Minus,
    /// Behind a leading `0`.
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    /// In `true`, `false` or `null`: which, and how many letters have come.
    Literal(&'static str, u8),
}

/// What is wrong with a text, in the words of Go's `encoding/json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A byte that cannot stand there.
    Byte(u8, Place),
    /// Nested deeper than [`DEPTH_MAX`].
    Depth,
    /// It ends too early.
    End,
}

/// Where a byte cannot stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `looking for beginning of value`, and so on.
    At(&'static str),
    /// In a literal, where this letter was expected.
    Literal(&'static str, char),
}

const BEGINNING: Place = Place::At("looking for beginning of value");

/// How far a look at some bytes has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanned {
    /// The value goes on, or has not begun.
    More,
    /// It ends behind so many of these bytes.
    Whole(usize),
    /// The byte at this place is wrong.
    Wrong(usize, Fault),
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            state: State::Begin,
            depth: 0,
            objects: 0,
        }
    }
}

impl Scanner {
    /// Walks on over `bytes`.
    pub fn scan(&mut self, bytes: &[u8]) -> Scanned {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let State::Text(_) = self.state {
                // Most of a text is in strings, and most bytes there are ordinary.
                let rest = bytes.get(at..).unwrap_or_default();
                let plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
                let skip = rest.iter().take_while(|byte| plain(byte)).count();
                if skip > 0 {
                    at += skip;
                    continue;
                }
            }
            match self.step(byte) {
                Ok(Step::On) => at += 1,
                Ok(Step::EndBehind) => return Scanned::Whole(at + 1),
                Ok(Step::EndBefore) => return Scanned::Whole(at),
                Err(fault) => return Scanned::Wrong(at, fault),
            }
        }
        Scanned::More
    }

    /// Whether nothing but white space has come.
    pub fn is_fresh(&self) -> bool {
        self.state == State::Begin && self.depth == 0
    }

    /// Whether what has come would be whole if nothing followed: a number says only by what comes behind it that it
    /// is one.
    fn may_end(&self) -> bool {
        let is_number = matches!(
            self.state,
            State::Zero | State::Digits | State::Fraction | State::ExponentDigits
        );
        self.depth == 0 && is_number
    }

    fn step(&mut self, byte: u8) -> Result<Step, Fault> {
        let wrong = |place| Err(Fault::Byte(byte, Place::At(place)));
        let is_space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.state = match self.state {
            State::Begin | State::BeginOrEnd | State::KeyOrEnd | State::Key | State::Colon
                if is_space =>
            {
                return Ok(Step::On);
            }
            State::BeginOrEnd if byte == b']' => return self.close(),
            State::Begin | State::BeginOrEnd => return self.begin(byte),
            State::KeyOrEnd if byte == b'}' => return self.close(),
            State::KeyOrEnd | State::Key => match byte {
                b'"' => State::Text(true),
                _ => return wrong("looking for beginning of object key string"),
            },
            State::Colon => match byte {
                b':' => State::Begin,
                _ => return wrong("after object key"),
            },
            State::After => return self.after(byte),
            State::Text(is_key) => match byte {
                b'"' if is_key => State::Colon,
                b'"' => return self.ended(),
                b'\\' => State::Escape(is_key),
                0..=0x1f => return wrong("in string literal"),
                _ => State::Text(is_key),
            },
            State::Escape(is_key) => match byte {
                b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => State::Text(is_key),
                b'u' => State::Hex(is_key, 4),
                _ => return wrong("in string escape code"),
            },
            State::Hex(is_key, left) => match (byte.is_ascii_hexdigit(), left) {
                (true, 1) => State::Text(is_key),
                (true, _) => State::Hex(is_key, left - 1),
                (false, _) => return wrong("in \\u hexadecimal character escape"),
            },
            State::Minus => match byte {
                b'0' => State::Zero,
                b'1'..=b'9' => State::Digits,
                _ => return wrong("in numeric literal"),
            },
            State::Zero | State::Digits => match byte {
                b'0'..=b'9' if self.state == State::Digits => State::Digits,
                b'.' => State::Point,
                b'e' | b'E' => State::Exponent,
                _ => return self.ended_before(byte),
            },
            State::Point => match byte {
                b'0'..=b'9' => State::Fraction,
                _ => return wrong("after decimal point in numeric literal"),
            },
            State::Fraction => match byte {
                b'0'..=b'9' => State::Fraction,
                b'e' | b'E' => State::Exponent,
                _ => return self.ended_before(byte),
            },
            State::Exponent if matches!(byte, b'+' | b'-') => State::ExponentSign,
            State::Exponent | State::ExponentSign => match byte {
                b'0'..=b'9' => State::ExponentDigits,
                _ => return wrong("in exponent of numeric literal"),
            },
            State::ExponentDigits => match byte {
                b'0'..=b'9' => State::ExponentDigits,
                _ => return self.ended_before(byte),
            },
            State::Literal(word, seen) => {
                let letters = word.as_bytes();
                match letters.get(usize::from(seen)) {
                    Some(letter) if *letter == byte => {
                        if usize::from(seen) + 1 == letters.len() {
                            return self.ended();
                        }
                        State::Literal(word, seen + 1)
                    }
                    Some(letter) => {
                        let place = Place::Literal(word, char::from(*letter));
                        return Err(Fault::Byte(byte, place));
                    }
                    None => return self.ended(),
                }
            }
        };
        Ok(Step::On)
    }

    fn begin(&mut self, byte: u8) -> Result<Step, Fault> {
        self.state = match byte {
            b'{' => return self.open(true),
            b'[' => return self.open(false),
            b'"' => State::Text(false),
            b'-' => State::Minus,
            b'0' => State::Zero,
            b'1'..=b'9' => State::Digits,
            b't' => State::Literal("true", 1),
            b'f' => State::Literal("false", 1),
            b'n' => State::Literal("null", 1),
            _ => return Err(Fault::Byte(byte, BEGINNING)),
        };
        Ok(Step::On)
    }

    fn open(&mut self, is_object: bool) -> Result<Step, Fault> {
        if self.depth == DEPTH_MAX {
            return Err(Fault::Depth);
        }
        self.depth += 1;
        self.objects = (self.objects << 1) | u128::from(is_object);
        self.state = if is_object {
            State::KeyOrEnd
        } else {
            State::BeginOrEnd
        };
        Ok(Step::On)
    }

    fn close(&mut self) -> Result<Step, Fault> {
        self.depth -= 1;
        self.objects >>= 1;
        self.ended()
    }

    /// A value ends with this byte.
    fn ended(&mut self) -> Result<Step, Fault> {
        if self.depth == 0 {
            *self = Self::default();
            return Ok(Step::EndBehind);
        }
        self.state = State::After;
        Ok(Step::On)
    }

    /// A number ends before this byte.
    fn ended_before(&mut self, byte: u8) -> Result<Step, Fault> {
        if self.depth == 0 {
            *self = Self::default();
            return Ok(Step::EndBefore);
        }
        self.after(byte)
    }

    fn after(&mut self, byte: u8) -> Result<Step, Fault> {
        let in_object = self.objects & 1 == 1;
        self.state = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => State::After,
            b',' if in_object => State::Key,
            b',' => State::Begin,
            b'}' if in_object => return self.close(),
            b']' if !in_object => return self.close(),
            _ => {
                let place = if in_object {
                    "after object key:value pair"
                } else {
                    "after array element"
                };
                return Err(Fault::Byte(byte, Place::At(place)));
            }
        };
        Ok(Step::On)
    }
}

enum Step {
    On,
    EndBehind,
    EndBefore,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(byte, place) => {
                f.write_str("invalid character ")?;
                write_quoted(f, *byte)?;
                match place {
                    Place::At(place) => write!(f, " {place}"),
                    Place::Literal(word, letter) => {
                        write!(f, " in literal {word} (expecting '{letter}')")
                    }
                }
            }
            Self::Depth => f.write_str("exceeded max depth"),
            Self::End => f.write_str("unexpected EOF"),
        }
    }
}

impl std::error::Error for Fault {}

/// As Go writes a byte between quotes: it takes it for a character of Latin-1.
fn write_quoted(f: &mut fmt::Formatter<'_>, byte: u8) -> fmt::Result {
    match byte {
        b'\'' => f.write_str(r"'\''"),
        b'\\' => f.write_str(r"'\\'"),
        0x07 => f.write_str(r"'\a'"),
        0x08 => f.write_str(r"'\b'"),
        0x0c => f.write_str(r"'\f'"),
        b'\n' => f.write_str(r"'\n'"),
        b'\r' => f.write_str(r"'\r'"),
        b'\t' => f.write_str(r"'\t'"),
        0x0b => f.write_str(r"'\v'"),
        0x00..=0x1f | 0x7f => write!(f, r"'\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => write!(f, r"'\u{byte:04x}'"),
        _ => write!(f, "'{}'", char::from(byte)),
    }
}

/// Whether a text is one JSON value, with nothing but white space around it.
pub fn is_value(text: &[u8]) -> bool {
    let mut scanner = Scanner::default();
    match scanner.scan(text) {
        Scanned::Whole(end) => {
            let rest = text.get(end..).unwrap_or_default();
            rest.iter()
                .all(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'))
        }
        Scanned::Wrong(..) => false,
        Scanned::More => scanner.may_end(),
    }
}

/// Appends a text as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|b| matches!(b, 0..0x20 | b'"' | b'\\'))
    {
        let (plain, behind) = rest.split_at(at);
        out.extend_from_slice(plain);
        match behind.first() {
            Some(b'\n') => out.extend_from_slice(b"\\n"),
            Some(b'\r') => out.extend_from_slice(b"\\r"),
            Some(b'\t') => out.extend_from_slice(b"\\t"),
            Some(byte @ (b'"' | b'\\')) => out.extend_from_slice(&[b'\\', *byte]),
            Some(byte) => {
                let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
            None => {}
        }
        rest = behind.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// What is wrong with the first value of a text; what stands behind it does not count. `None`: nothing.
pub fn fault(text: &[u8]) -> Option<Fault> {
    let mut scanner = Scanner::default();
    match scanner.scan(text) {
        Scanned::Whole(_) => None,
        Scanned::Wrong(_, fault) => Some(fault),
        Scanned::More if scanner.may_end() => None,
        Scanned::More => Some(Fault::End),
    }
}

/// Cuts a stream into values.
#[derive(Debug)]
pub struct Values {
    scanner: Scanner,
    /// The beginning of a value whose end has not come, or the value that was lent last.
    partial: Vec<u8>,
    /// `partial` was lent, and goes with the next look.
    lent: bool,
    bytes_max: usize,
    /// What came was no JSON: where the next value would begin nobody knows.
    broken: bool,
}

/// A value is longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// As long as it may be, in bytes.
    pub bytes_max: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value is longer than {} bytes", self.bytes_max)
    }
}

impl std::error::Error for TooLong {}

impl Values {
    /// Nothing has come.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            scanner: Scanner::default(),
            partial: Vec::new(),
            lent: false,
            bytes_max,
            broken: false,
        }
    }

    /// The next value in `input`, which is moved behind it; `None`: all of it was taken, and more is needed. A text
    /// that is no JSON is lent up to the byte that is wrong, once, and everything behind it is thrown away.
    ///
    /// # Errors
    /// [`TooLong`], as soon as so many bytes have come.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b [u8],
    ) -> Result<Option<&'a [u8]>, TooLong> {
        if std::mem::take(&mut self.lent) {
            // What it grew to was needed once.
            self.partial = Vec::new();
        }
        if self.partial.is_empty() && self.scanner.is_fresh() {
            let is_space = |byte: &&u8| matches!(**byte, b' ' | b'\t' | b'\r' | b'\n');
            let spaces = input.iter().take_while(is_space).count();
            *input = input.get(spaces..).unwrap_or_default();
        }
        if self.broken || input.is_empty() {
            *input = &[];
            return Ok(None);
        }
        let taken = match self.scanner.scan(input) {
            Scanned::Whole(taken) => taken,
            Scanned::Wrong(at, _) => {
                self.broken = true;
                at + 1
            }
            Scanned::More => {
                self.check_length(input.len())?;
                self.partial.extend_from_slice(input);
                *input = &[];
                return Ok(None);
            }
        };
        self.check_length(taken)?;
        let (value, rest) = input.split_at_checked(taken).unwrap_or((*input, &[]));
        *input = rest;
        if self.partial.is_empty() {
            return Ok(Some(value));
        }
        self.partial.extend_from_slice(value);
        self.lent = true;
        Ok(Some(&self.partial))
    }

    fn check_length(&self, more: usize) -> Result<(), TooLong> {
        let bytes_max = self.bytes_max;
        if self.partial.len() + more > bytes_max {
            return Err(TooLong { bytes_max });
        }
        Ok(())
    }

    /// Whether a value has begun whose end has not come.
    pub fn is_mid_value(&self) -> bool {
        !self.lent && !self.partial.is_empty()
    }

    /// Bytes that are kept.
    pub fn buffered_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// Throws away what is kept; nothing more is cut.
    pub fn discard(&mut self) {
        self.partial = Vec::new();
        self.broken = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a stream that comes in pieces of `size` bytes.
    fn cut(text: &str, size: usize) -> Vec<String> {
        let mut values = Values::new(1000);
        let mut all = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            let mut input = piece;
            while let Some(value) = values.next(&mut input).expect("short enough") {
                all.push(String::from_utf8_lossy(value).into_owned());
            }
            assert!(input.is_empty());
        }
        all
    }

    #[test]
    fn et_16_values_are_found_however_they_were_cut() {
        let text = r#"{"a":[1,2,{"b":"}\"]"}]} [] "x" 1 -2.5e+3 true{}null
            [{"\u00e9\\":[[]]}]0 "#;
        let expected = [
            r#"{"a":[1,2,{"b":"}\"]"}]}"#,
            "[]",
            "\"x\"",
            "1",
            "-2.5e+3",
            "true",
            "{}",
            "null",
            r#"[{"\u00e9\\":[[]]}]"#,
            "0",
        ];
        for size in 1..text.len() {
            assert_eq!(cut(text, size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_json_comes_up_to_the_byte_that_is_wrong() {
        for size in 1..20 {
            assert_eq!(cut("{} {\"a\" 1} {}", size), ["{}", "{\"a\" 1"]);
            assert_eq!(cut("[1]]{}", size), ["[1]", "]"]);
        }
    }

    #[test]
    fn faults_have_the_words_of_go() {
        let words = |text: &str| fault(text.as_bytes()).map(|f| f.to_string());
        let cases = [
            (
                "'",
                r"invalid character '\'' looking for beginning of value",
            ),
            ("}", "invalid character '}' looking for beginning of value"),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            (
                "{1}",
                "invalid character '1' looking for beginning of object key string",
            ),
            ("{\"a\",", "invalid character ',' after object key"),
            (
                "{\"a\":1]",
                "invalid character ']' after object key:value pair",
            ),
            ("[1}", "invalid character '}' after array element"),
            ("\"\n", r"invalid character '\n' in string literal"),
            ("\"\\x", "invalid character 'x' in string escape code"),
            (
                "\"\\u00g",
                "invalid character 'g' in \\u hexadecimal character escape",
            ),
            ("-a", "invalid character 'a' in numeric literal"),
            (
                "1.e",
                "invalid character 'e' after decimal point in numeric literal",
            ),
            (
                "1e+}",
                "invalid character '}' in exponent of numeric literal",
            ),
            (
                "nulx",
                "invalid character 'x' in literal null (expecting 'l')",
            ),
            (
                "\u{e9}",
                "invalid character 'Ã' looking for beginning of value",
            ),
            (
                "\u{0}",
                r"invalid character '\x00' looking for beginning of value",
            ),
            ("", "unexpected EOF"),
            ("{\"a\":", "unexpected EOF"),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).as_deref(), Some(expected), "{text:?}");
        }
        for good in ["1", " {} ", "[] x", "1.5e3", "\"\\u00E9\""] {
            assert_eq!(words(good), None, "{good:?}");
        }
        let deep = |depth: u8| "[".repeat(depth.into()) + &"]".repeat(depth.into());
        assert_eq!(words(&deep(DEPTH_MAX)), None);
        assert_eq!(
            words(&deep(DEPTH_MAX + 1)).as_deref(),
            Some("exceeded max depth")
        );
    }

    #[test]
    fn a_value_may_be_as_long_as_its_limit() {
        let mut values = Values::new(5);
        let mut input: &[u8] = b"[1,2][1,23]";
        assert_eq!(values.next(&mut input), Ok(Some(&b"[1,2]"[..])));
        assert_eq!(values.next(&mut input), Err(TooLong { bytes_max: 5 }));
        let mut values = Values::new(5);
        let mut input: &[u8] = b"[1,2";
        assert_eq!(values.next(&mut input), Ok(None));
        assert!(values.is_mid_value());
        let mut input: &[u8] = b"3 ";
        assert_eq!(values.next(&mut input), Err(TooLong { bytes_max: 5 }));
    }
}
