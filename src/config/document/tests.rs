//! Our tree beside the one that the crate `toml` builds: what either refuses, and where everything stands.

use super::beside::{Entry, Tree, compare};
use super::builder::DEPTH_MAX;
use super::*;
use crate::random::Random;

#[path = "../../../tests/oracles/toml_tree.rs"]
mod toml_tree;

/// Reads a document with both; they agree, or ours is stricter where it says so. Answers what ours found.
#[track_caller]
fn both(text: &str) -> Result<Table, Mistake> {
    let ours = Table::parse(text);
    compare(&ours, &toml_tree::read(text), text);
    ours
}

#[test]
fn what_toml_allows_is_read() {
    for text in [
        "",
        "\u{feff}a = 1",
        "# only a comment",
        "a = 1 # behind\r\n\r\nb = 2\t\n",
        "a=1\n\"b\"=2\n'c'=3\n\"\" = 4\n1 = 5\n-_ = 6\n",
        "\"a.b\" = 1\na.b = 2\n",
        "a . b = 1\na. c = 2\na .\"d e\".'f' = 3",
        "3.14 = 1",
        "\"\\u00e9\\U0001F600\\t\" = 1",
        // Integers and floats.
        "a = +1\nb = -0\nc = 1_000\nd = 0xDEAD_beef\ne = 0o755\nf = 0b1101_0110\ng = 0",
        "a = 99999999999999999999999",
        "a = 1.5\nb = -0.0\nc = 1e6\nd = 6.626E-34\ne = inf\nf = -nan\ng = 9_224.445_991",
        "a = true\nb = false",
        // Strings.
        "a = \"\\b\\t\\n\\f\\r\\\"\\\\\\u0041\\U00000042\"",
        "a = 'C:\\path \"x\"'",
        "a = \"\"\"\nfirst \\\n     still first\n\"two\" \"\"quotes\"\"\"\"\"",
        "a = \"\"\"\\\n  \"\"\"",
        "a = '''\n'one' ''two''\n\\n'''",
        "a = \"\"\"\r\nx\r\ny\"\"\"",
        "a = \"\\e\\x41\"",
        // Arrays.
        "a = []\nb = [1,]\nc = [ # one\n 1, # two\n\n 'x', [true, [1.5]],\n]",
        "a = [{b = 1}, {c = {}}]",
        // Inline tables.
        "a = {}\nb = { c = 1, d.e = 2, d.f = 3 }\n",
        "a = {\n b = 1, # comment\n c = 2,\n}",
        // Tables in pieces.
        "[a]\n[b]\nx = 1\n[ c . \"d\" ]\n",
        "[a.b.c]\nx = 1\n[a]\ny = 2\n",
        "[a.b]\n[a.c]\n[a]\nd.e = 1\nd.f = 2",
        "a.b.c = 1\na.b.d = 2\na.e = 3\n[a.f]\n",
        "[a]\nb.c = 1\n[a.b.d]\nx = 1\n",
        "[[a]]\nx = 1\n[[a]]\n[a.b]\ny = 1\n[[a.c]]\n[[a.c]]\nz = 1\n[[a]]\n",
        "[[a.b]]\n[a]\nx = 1\n",
        "[[a]]\nb.c = 1\nb.d = 2",
    ] {
        if let Err(mistake) = both(text) {
            panic!("{mistake:?}\n{text}");
        }
    }
}

#[test]
fn what_toml_forbids_is_refused() {
    for text in [
        "a",
        "a =",
        "= 1",
        "a = 1 b = 2",
        "a = 1, b = 2",
        "a = b",
        "a\n= 1",
        "a =\n1",
        ".a = 1",
        "a. = 1",
        "a..b = 1",
        "é = 1",
        "\"\"\"a\"\"\" = 1",
        "'''a''' = 1",
        "[a",
        "[a]]",
        "[[a]",
        "[]",
        "[[]]",
        "[a] x = 1",
        "[a.]",
        "[ [a] ]",
        "[a\n]",
        // Scalars.
        "a = 01",
        "a = 1_",
        "a = _1",
        "a = 1__0",
        "a = 0xg",
        "a = 0X1",
        "a = +0x1",
        "a = 0b2",
        "a = 0o8",
        "a = 1.",
        "a = .5",
        "a = 1.e5",
        "a = 1e",
        "a = 1._5",
        "a = +",
        "a = Inf",
        "a = True",
        "a = tru",
        "a = \"x",
        "a = 'x",
        "a = \"x\ny\"",
        "a = 'x\ny'",
        "a = \"\"\"x",
        "a = '''x",
        "a = \"\\q\"",
        "a = \"\\u12\"",
        "a = \"\\uD800\"",
        "a = \"\\U00110000\"",
        "a = \"\u{1}\"",
        "a = '\u{7f}'",
        "a = \"\"\"\u{0}\"\"\"",
        "# \u{1}",
        "a = 1 # \u{7f}",
        "a = 1\rb = 2",
        "\u{0}",
        "a = \"\"\"\"\"\"\"\"\"",
        // Arrays and inline tables.
        "a = [",
        "a = [1",
        "a = [,]",
        "a = [1,,2]",
        "a = [1 2]",
        "a = [b = 1]",
        "a = ]",
        "a = {",
        "a = {b}",
        "a = {b = }",
        "a = {,}",
        "a = {b = 1,,}",
        "a = {b = 1 c = 2}",
        "a = {b = 1, b = 2}",
        "a = {b = 1, b.c = 2}",
        "a = {b = {c = 1}, b.d = 2}",
        "a = {b.c = 1, b = 2}",
        // What is here for the second time.
        "a = 1\na = 2",
        "a = 1\n\"a\" = 2",
        "a = 1\n'\\u0061' = 2\na = 3",
        "a = 1\na.b = 2",
        "a.b = 1\na = 2",
        "a.b = 1\na.b.c = 2",
        "[a]\n[a]",
        "[a]\nx = 1\n[b]\n[a]",
        "[a.b]\n[a]\n[a]",
        "a = 1\n[a]",
        "a = 1\n[a.b]",
        "a = 1\n[[a]]",
        "[a]\nb = 1\n[a.b]",
        "[a]\nb = 1\n[[a.b]]",
        "[a]\n[[a]]",
        "[[a]]\n[a]",
        "a = []\n[[a]]",
        "a = [{}]\n[[a]]",
        "a = [{}]\n[a.b]",
        "a = {}\n[a]",
        "a = {}\n[a.b]",
        "a = {}\na.b = 1",
        "a = {b.c = 1}\na.b.d = 1",
        "a.b = 1\n[a]",
        "[a]\nb.c = 1\n[a.b]",
        "[a]\nb.c = 1\n[[a.b]]",
        "[a.b.c]\nx = 1\n[a]\nb.c.y = 1",
        "[a.b]\n[a]\nb.c = 1",
        "[[a.b]]\n[a]\nb.y = 1",
        "[a.b]\n[[a]]",
    ] {
        if let Ok(table) = both(text) {
            panic!("{table:?}\n{text}");
        }
    }
}

#[test]
fn what_no_setting_is_gets_a_sentence() {
    for text in [
        "a = 1979-05-27",
        "a = [07:32:00]",
        "b = 1\na.c = { d = 1979-05-27 07:32:00.999Z }",
        "a = 1979-13-01",
    ] {
        let mistake = both(text).unwrap_err();
        assert_eq!(mistake.message, "a date, and no setting is one");
        assert!(text[mistake.at..].starts_with(['1', '0']), "{text}");
    }
    // TOML forbids it, `toml` reads it.
    let mistake = both("[[a.b]]\n[a]\nb.c.d = 1").unwrap_err();
    assert_eq!(mistake.message, "`b` is already a list of tables");
}

#[test]
fn both_places_of_what_is_written_twice_are_known() {
    for (text, at, first, message) in [
        ("a = 1\nb = 1\na = 2", 12, 0, "`a` is already a number"),
        ("[x]\n[a]\n[x]", 9, 1, "`x` is already a table"),
        ("[[x]]\n[x]", 7, 2, "`x` is already a list of tables"),
        ("a.b = ''\na.b.c = 1", 11, 2, "`b` is already a string"),
        ("a = {}\n[a.b]", 8, 0, "`a` is already an inline table"),
        ("a = {b = 1, b = 2}", 12, 5, "`b` is already a number"),
    ] {
        let mistake = both(text).unwrap_err();
        let found = (mistake.at, mistake.first, mistake.message.as_str());
        assert_eq!(found, (at, Some(first), message), "{text}");
    }
    // The first mistake of the file is told, whoever finds it.
    let mistake = both("a = 1\na = 2\nb = \n").unwrap_err();
    assert_eq!((mistake.at, mistake.first), (6, Some(0)));
    let mistake = both("b = \na = 1\na = 2\n").unwrap_err();
    assert_eq!((mistake.at, mistake.first), (4, None));
}

#[test]
fn depth_has_a_limit() {
    let lists = |n: usize| format!("a = {}1{}", "[".repeat(n), "]".repeat(n));
    assert!(both(&lists(DEPTH_MAX)).is_ok());
    assert!(both(&lists(DEPTH_MAX + 1)).is_err());
    assert!(both(&lists(100_000)).is_err());
    assert!(both(&format!("a = {}", "{a = ".repeat(100_000))).is_err());
    let key = |parts: usize| format!("{}z = 1", "a.".repeat(parts - 1));
    assert!(both(&key(DEPTH_MAX)).is_ok());
    assert!(both(&key(DEPTH_MAX + 1)).is_err());
    let header = |parts: usize| format!("[{}z]", "a.".repeat(parts - 1));
    assert!(both(&header(DEPTH_MAX)).is_ok());
    assert!(both(&header(DEPTH_MAX + 1)).is_err());
}

/// Documents of few names, so that they meet each other often.
struct Writer(Random);

impl Writer {
    fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn key(&mut self) -> String {
        let mut key = self.one(&["a", "b", "c", "\"a\"", "'b'", "d"]).to_owned();
        for _ in 0..self.below(5).saturating_sub(2) {
            key += self.one(&[".", ".", " . "]);
            key += self.one(&["a", "b", "c"]);
        }
        key
    }

    fn value(&mut self, depth: usize) -> String {
        let kinds = if depth < 3 { 7 } else { 5 };
        match self.below(kinds) {
            0 => self.one(&["1", "-17", "0xff", "1_000", "0b1", "+0o7"]),
            1 => self.one(&["1.5", "nan", "true", "false", "1e3", "2000-01-01"]),
            2 | 3 => self.one(&["'x'", "\"\\n\"", "\"\"\"a\nb\"\"\"", "'''\nq'''", "\"\""]),
            4 => self.one(&[
                "[]",
                "{}",
                "[1, 2]",
                "['x',\n# c\n'y']",
                "01",
                "\"\\u00e9é\"",
            ]),
            5 => {
                let items: Vec<_> = (0..self.below(4)).map(|_| self.value(depth + 1)).collect();
                return format!("[{}]", items.join(", "));
            }
            _ => {
                let entry = |w: &mut Self| format!("{} = {}", w.key(), w.value(depth + 1));
                let entries: Vec<_> = (0..self.below(4)).map(|_| entry(self)).collect();
                return format!("{{ {} }}", entries.join(", "));
            }
        }
        .to_owned()
    }

    fn document(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.below(8) {
            text += &match self.below(6) {
                0 => format!("[{}]", self.key()),
                1 => format!("[[{}]]", self.key()),
                2 => self.one(&["", "# c", "  "]).to_owned(),
                _ => format!("{} = {}", self.key(), self.value(0)),
            };
            text += self.one(&["\n", "\n", "\n", "\r\n", " # c\n"]);
        }
        text
    }

    /// Takes a character out, or puts one in that means something.
    fn spoil(&mut self, text: &mut String) {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        if places.is_empty() {
            return;
        }
        let at = places[self.below(places.len())];
        if self.below(2) == 0 {
            text.remove(at);
        } else {
            let marks = "\"'[]{}=.,#\\\n\r\t 0_-x+e\u{0}é\u{7f}\u{2028}";
            let mark = marks.chars().nth(self.below(marks.chars().count()));
            text.insert(at, mark.unwrap());
        }
    }
}

#[test]
fn whatever_is_written_is_read_alike() {
    let mut writer = Writer(Random::seeded(20));
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut text = writer.document();
        for _ in 0..3 {
            match both(&text) {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
            writer.spoil(&mut text);
        }
    }
    // Otherwise the documents would say little.
    assert!(read > 10_000 && refused > 10_000, "{read} {refused}");
}
