//! Reads Rust source as far as walls need it: which paths stand where, and what is test code.

use std::ops::Range;

/// One token of the code: a word, `::`, or a single other character.
#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    at: usize,
}

/// A path as it is meant: `["crate", "hub", "Hub"]`, `["std", "net", "TcpStream"]`, `["mio", "Poll"]`; a glob ends
/// in `*`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// Whether it stands in an item that only tests (or the simulation) compile.
    pub(crate) in_test: bool,
}

/// `mod name;`
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) name: String,
    /// The text of `#[path = "…"]`.
    pub(crate) file: Option<String>,
    pub(crate) in_test: bool,
}

/// One file, read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) paths: Vec<Path>,
    pub(crate) modules: Vec<Declared>,
    /// The lines of `.unwrap()` and of printing macros outside tests.
    pub(crate) unwraps: Vec<usize>,
    pub(crate) prints: Vec<usize>,
    /// The inner attributes, without spaces: `forbid(unsafe_code)`.
    pub(crate) inner_attributes: Vec<String>,
    pub(crate) lines: usize,
}

impl Source {
    /// `module` is where the file hangs in the crate: `["hub", "session"]`. A file whose `mod` line is for tests only
    /// is all `in_test`.
    pub(crate) fn read(source: &str, module: &[String], in_test: bool) -> Self {
        let code = strip(source);
        let tokens = tokens(&code);
        let tests = test_items(&tokens);
        let inner = inline_modules(&tokens);
        let line = |at: usize| 1 + code[..at].matches('\n').count();
        let is_test = |at: usize| in_test || tests.iter().any(|span| span.contains(&at));
        let mut paths = Vec::new();
        for (words, at) in raw_paths(&tokens) {
            let mut here = module.to_vec();
            here.extend(
                inner
                    .iter()
                    .filter(|(span, _)| span.contains(&at))
                    .map(|(_, name)| (*name).to_owned()),
            );
            paths.push(Path {
                segments: resolve(words, here),
                line: line(at),
                in_test: is_test(at),
            });
        }
        let modules = module_files(&tokens, source)
            .into_iter()
            .map(|(name, file, at)| Declared {
                name,
                file,
                in_test: is_test(at),
            });
        let outside_tests = |pattern: &dyn Fn(&[Token<'_>]) -> bool| {
            let found = (0..tokens.len()).filter(|&i| pattern(&tokens[i..]));
            let found = found.filter(|&i| !is_test(tokens[i].at));
            found.map(|i| line(tokens[i].at)).collect::<Vec<_>>()
        };
        Self {
            modules: modules.collect(),
            unwraps: outside_tests(&|rest| starts_with(rest, &[".", "unwrap", "(", ")"])),
            prints: outside_tests(&|rest| match rest {
                [word, bang, ..] => {
                    bang.text == "!"
                        && ["print", "println", "eprint", "eprintln", "dbg"].contains(&word.text)
                }
                _ => false,
            }),
            inner_attributes: inner_attributes(&tokens),
            lines: source.lines().count(),
            paths,
        }
    }
}

/// The source with comments and the insides of literals blanked; every byte keeps its place, every line its number.
pub(crate) fn strip(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => find(bytes, at, b"\n"),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !follows_word(bytes, at) || matches!(bytes[at - 1], b'b' | b'c') => {
                match raw_string_end(bytes, at) {
                    Some(end) => end,
                    None => {
                        at += 1;
                        continue;
                    }
                }
            }
            b'\'' => match char_end(bytes, at) {
                Some(end) => end,
                None => {
                    at += 1; // a lifetime or a label
                    continue;
                }
            },
            _ => {
                at += 1;
                continue;
            }
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).unwrap()
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let found = bytes[from..].windows(what.len()).position(|w| w == what);
    found.map_or(bytes.len(), |found| from + found)
}

fn block_comment_end(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// From the `r` of `r#"…"#`; nothing if it begins no raw string.
fn raw_string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let hashes = bytes[from + 1..].iter().take_while(|&&b| b == b'#').count();
    let open = from + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    Some((find(bytes, open + 1, &close) + close.len()).min(bytes.len()))
}

/// From the quote of a character literal; nothing if the quote begins a lifetime.
fn char_end(bytes: &[u8], from: usize) -> Option<usize> {
    if bytes.get(from + 1) == Some(&b'\\') {
        return Some((find(bytes, from + 3, b"'") + 1).min(bytes.len()));
    }
    let mut end = from + 2;
    while bytes.get(end).is_some_and(|b| b & 0xC0 == 0x80) {
        end += 1;
    }
    (bytes.get(end) == Some(&b'\'')).then_some(end + 1)
}

fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = code[at..].chars().next() {
        let len = if c.is_alphanumeric() || c == '_' {
            let rest = &code[at..];
            rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len())
        } else if code[at..].starts_with("::") {
            2
        } else {
            c.len_utf8()
        };
        if !c.is_whitespace() {
            tokens.push(Token {
                text: &code[at..at + len],
                at,
            });
        }
        at += len;
    }
    tokens
}

fn starts_with(tokens: &[Token<'_>], words: &[&str]) -> bool {
    tokens.len() >= words.len() && tokens.iter().zip(words).all(|(t, w)| t.text == *w)
}

fn is_word(token: &Token<'_>) -> bool {
    token
        .text
        .starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The index behind the bracket that closes the one at `open`.
fn behind_bracket(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

/// Where items stand that carry `#[cfg(test)]` or `#[cfg(any(test, …))]`.
fn test_items(tokens: &[Token<'_>]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    for start in 0..tokens.len() {
        if !starts_with(&tokens[start..], &["#", "[", "cfg", "("]) {
            continue;
        }
        let mut at = behind_bracket(tokens, start + 1);
        let condition = &tokens[start..at];
        let names = |word| condition.iter().any(|token| token.text == word);
        if !names("test") || names("not") {
            continue;
        }
        while starts_with(&tokens[at..], &["#", "["]) {
            at = behind_bracket(tokens, at + 1);
        }
        while at < tokens.len() {
            match tokens[at].text {
                "(" | "[" => at = behind_bracket(tokens, at),
                "{" => {
                    at = behind_bracket(tokens, at);
                    break;
                }
                ";" | "}" => {
                    at += 1;
                    break;
                }
                _ => at += 1,
            }
        }
        let end = tokens.get(at).map_or(usize::MAX, |token| token.at);
        spans.push(tokens[start].at..end);
    }
    spans
}

/// `mod name { … }`, outer ones first.
fn inline_modules<'a>(tokens: &[Token<'a>]) -> Vec<(Range<usize>, &'a str)> {
    let mut found = Vec::new();
    for i in 0..tokens.len() {
        if let [keyword, name, open, ..] = &tokens[i..]
            && keyword.text == "mod"
            && is_word(name)
            && open.text == "{"
        {
            let end = behind_bracket(tokens, i + 2);
            let end = tokens.get(end).map_or(usize::MAX, |token| token.at);
            found.push((open.at..end, name.text));
        }
    }
    found
}

/// `mod name;` with the file that a `#[path]` in front of it names.
fn module_files(tokens: &[Token<'_>], source: &str) -> Vec<(String, Option<String>, usize)> {
    let mut found = Vec::new();
    for i in 0..tokens.len() {
        let [keyword, name, end, ..] = &tokens[i..] else {
            break;
        };
        if keyword.text != "mod" || !is_word(name) || end.text != ";" {
            continue;
        }
        // The attributes stand between the end of the item before and this one.
        let before = tokens[..i]
            .iter()
            .rposition(|t| matches!(t.text, ";" | "{" | "}"));
        let from = before.map_or(0, |i| tokens[i].at);
        let attributes = &source[from..keyword.at];
        let file = attributes.split_once("#[path").and_then(|(_, rest)| {
            let (_, rest) = rest.split_once('"')?;
            Some(rest.split_once('"')?.0.to_owned())
        });
        found.push((name.text.to_owned(), file, keyword.at));
    }
    found
}

fn inner_attributes(tokens: &[Token<'_>]) -> Vec<String> {
    let starts = (0..tokens.len()).filter(|&i| starts_with(&tokens[i..], &["#", "!", "["]));
    let texts = starts.map(|i| {
        let end = behind_bracket(tokens, i + 2);
        let words = tokens[i + 3..end - 1].iter().map(|token| token.text);
        words.collect::<String>()
    });
    texts.collect()
}

/// Every path as it is written: leaves of `use` trees in full, and paths in code.
fn raw_paths<'a>(tokens: &[Token<'a>]) -> Vec<(Vec<&'a str>, usize)> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let token = tokens[i];
        if token.text == "use" && tokens.get(i + 1).is_some_and(|next| next.text != "<") {
            i = use_tree(tokens, i + 1, &[], &mut found);
            continue;
        }
        if starts_with(&tokens[i..], &["extern", "crate"]) {
            found.extend(tokens.get(i + 2).map(|name| (vec![name.text], name.at)));
            i += 3;
            continue;
        }
        let follows = i.checked_sub(1).map_or("", |before| tokens[before].text);
        let continues = follows == "." || (follows == "::" && i >= 2 && ends_path(&tokens[i - 2]));
        if is_word(&token) && !continues {
            let mut words = vec![token.text];
            while tokens.get(i + 1).is_some_and(|next| next.text == "::")
                && tokens.get(i + 2).is_some_and(is_word)
            {
                words.push(tokens[i + 2].text);
                i += 2;
            }
            if words.len() > 1 {
                found.push((words, token.at));
            }
        }
        i += 1;
    }
    found
}

/// Whether a `::` behind this token continues something, rather than beginning a path of its own.
fn ends_path(token: &Token<'_>) -> bool {
    (is_word(token) && !["return", "in", "as", "dyn", "mut", "impl"].contains(&token.text))
        || token.text == ">"
}

/// Reads one tree of a `use` from `at`; gives the index behind it.
fn use_tree<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    prefix: &[&'a str],
    found: &mut Vec<(Vec<&'a str>, usize)>,
) -> usize {
    let mut words = prefix.to_vec();
    let start = tokens.get(at).map_or(0, |token| token.at);
    while let Some(token) = tokens.get(at) {
        match token.text {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = use_tree(tokens, at, &words, found);
                    if tokens.get(at).is_some_and(|token| token.text == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "as" => at += 2,
            "self" if !prefix.is_empty() => at += 1,
            "*" => {
                words.push("*");
                at += 1;
            }
            _ if is_word(token) => {
                words.push(token.text);
                at += 1;
            }
            _ => break,
        }
    }
    found.push((words, start));
    at.max(1)
}

/// `super`, `self` and `crate` worked out; `dunlin` is this crate by its name.
fn resolve(words: Vec<&str>, here: Vec<String>) -> Vec<String> {
    let mut segments: Vec<String> = Vec::new();
    let mut at = here;
    let mut relative = true;
    for (i, word) in words.into_iter().enumerate() {
        match word {
            "crate" | "dunlin" if i == 0 => {
                relative = false;
                segments.push("crate".to_owned());
            }
            "self" | "super" if relative && (i == 0 || word == "super") => {
                if word == "super" {
                    at.pop();
                }
                segments = vec!["crate".to_owned()];
                segments.extend(at.iter().cloned());
            }
            word => {
                relative = false;
                segments.push(word.to_owned());
            }
        }
    }
    segments
}
