//! From the parser's events to the tree.

use toml_parser::decoder::{Encoding, ScalarKind, StringBuilder};
use toml_parser::parser::{EventReceiver, parse_document};
use toml_parser::{ErrorSink, Expected, ParseError, Raw, Source, Span};

use super::{Item, Key, Made, Mistake, Table, Toml, clash};

/// How deep arrays and inline tables may stand in each other, and how many parts a key may have. The parser
/// calls itself for each, so there has to be an end.
pub(super) const DEPTH_MAX: usize = 80;

pub(super) fn parse(text: &str) -> Result<Table, Mistake> {
    let source = Source::new(text);
    let tokens = source.lex().collect::<Vec<_>>();
    let mut builder = Builder::new(source);
    let mut refused: Option<ParseError> = None;
    parse_document(&tokens, &mut builder, &mut refused);
    builder.close_header();
    // Both keep what they met first.
    match (builder.mistake, refused.map(|error| mistake(&error))) {
        (None, None) => Ok(builder.root),
        (Some(one), Some(other)) if other.at < one.at => Err(other),
        (Some(mistake), _) | (None, Some(mistake)) => Err(mistake),
    }
}

/// The tree while the parser tells what it sees. It goes on after a mistake, so anything may come then in any
/// order; what is built is thrown away.
struct Builder<'t> {
    source: Source<'t>,
    /// Everything above the last header.
    root: Table,
    /// The header being read or read last; none at the top of the file.
    header: Option<Header>,
    /// What stands below it.
    current: Table,
    /// The parts of the key whose header or value is awaited.
    keys: Vec<Key>,
    /// Arrays and inline tables that are open, the innermost last.
    open: Vec<Open>,
    mistake: Option<Mistake>,
}

struct Header {
    at: usize,
    path: Vec<Key>,
    is_list: bool,
}

struct Open {
    start: usize,
    /// An inline table or, without entries, an array.
    table: Option<Table>,
    items: Vec<Item>,
    /// The key to which it belongs.
    keys: Vec<Key>,
}

impl<'t> Builder<'t> {
    fn new(source: Source<'t>) -> Self {
        Self {
            source,
            root: Table::default(),
            header: None,
            current: Table::default(),
            keys: Vec::new(),
            open: Vec::new(),
            mistake: None,
        }
    }

    fn note(&mut self, result: Result<(), Mistake>) {
        if let Err(mistake) = result {
            self.mistake.get_or_insert(mistake);
        }
    }

    fn raw(&self, span: Span, encoding: Option<Encoding>) -> Raw<'t> {
        let all = self.source.input();
        let text = all.get(span.start()..span.end()).unwrap_or_default();
        Raw::new_unchecked(text, encoding, span)
    }

    fn open_header(&mut self, span: Span, is_list: bool) {
        self.close_header();
        self.keys.clear();
        self.header = Some(Header {
            at: span.start(),
            path: Vec::new(),
            is_list,
        });
    }

    /// The header has been read: what follows belongs to its table.
    fn start_table(&mut self) {
        let path = std::mem::take(&mut self.keys);
        let Some(header) = &mut self.header else {
            return;
        };
        header.path = path;
        if header.is_list {
            return;
        }
        let Some((key, parents)) = header.path.split_last() else {
            return;
        };
        let parent = match self.root.descend(parents, Made::Passed) {
            Ok(parent) => parent,
            Err(mistake) => return self.note(Err(mistake)),
        };
        let Some(index) = parent.position(&key.name) else {
            return;
        };
        // A table that was only passed may be opened now, with what is already in it.
        let (first, old) = parent.entries.remove(index);
        let what = old.value.type_name();
        match old.value {
            Toml::Table(table) if table.made == Made::Passed => {
                self.current = table;
                self.current.made = Made::Opened;
            }
            _ => {
                let mistake = clash(key, first.at, what);
                self.note(Err(mistake));
            }
        }
    }

    /// The table of the last header is complete: it goes where its header says.
    fn close_header(&mut self) {
        let table = std::mem::take(&mut self.current);
        let Some(header) = self.header.take() else {
            self.root = table;
            return;
        };
        let placed = place(&mut self.root, header, table);
        self.note(placed);
    }

    fn open(&mut self, span: Span, is_table: bool) -> bool {
        if self.open.len() >= DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} lists and tables in each other");
            self.note(Err(Mistake::at(span.start(), message)));
            return false;
        }
        let (made, entries) = (Made::Inline, Vec::new());
        self.open.push(Open {
            start: span.start(),
            table: is_table.then_some(Table { entries, made }),
            items: Vec::new(),
            keys: std::mem::take(&mut self.keys),
        });
        true
    }

    fn close(&mut self) {
        let Some(open) = self.open.pop() else { return };
        self.keys = open.keys;
        let value = match open.table {
            Some(table) => Toml::Table(table),
            None => Toml::Array(open.items),
        };
        self.value(open.start, value);
    }

    /// A value is complete: it goes into the array or under the key that waits for it.
    fn value(&mut self, at: usize, value: Toml) {
        let item = Item { at, value };
        let table = match self.open.last_mut() {
            None => &mut self.current,
            Some(open) => match &mut open.table {
                None => return open.items.push(item),
                Some(table) => table,
            },
        };
        let mut path = std::mem::take(&mut self.keys);
        let Some(key) = path.pop() else { return };
        let put = match table.descend(&path, Made::Dotted) {
            Ok(table) => table.insert(key, item),
            Err(mistake) => Err(mistake),
        };
        self.note(put);
    }
}

fn place(root: &mut Table, header: Header, table: Table) -> Result<(), Mistake> {
    let (at, mut path) = (header.at, header.path);
    let Some(key) = path.pop() else { return Ok(()) };
    let parent = root.descend(&path, Made::Passed)?;
    let value = Toml::Table(table);
    let item = Item { at, value };
    if !header.is_list {
        return parent.insert(key, item);
    }
    let Some(index) = parent.position(&key.name) else {
        let value = Toml::Tables(vec![item]);
        return parent.insert(key, Item { at, value });
    };
    let (first, old) = &mut parent.entries[index];
    if let Toml::Tables(tables) = &mut old.value {
        tables.push(item);
        return Ok(());
    }
    Err(clash(&key, first.at, old.value.type_name()))
}

impl EventReceiver for Builder<'_> {
    fn std_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.open_header(span, false);
    }

    fn std_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.start_table();
    }

    fn array_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.open_header(span, true);
    }

    fn array_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.start_table();
    }

    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open(span, true)
    }

    fn inline_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.close();
    }

    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open(span, false)
    }

    fn array_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.close();
    }

    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let (at, mut decoded) = (span.start(), Decoded::default());
        self.raw(span, encoding).decode_key(&mut decoded, error);
        if self.keys.len() >= DEPTH_MAX {
            let message = format!("a key of more than {DEPTH_MAX} parts");
            self.note(Err(Mistake::at(at, message)));
        }
        let name = decoded.0;
        self.keys.push(Key { at, name });
    }

    fn scalar(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let mut text = Decoded::default();
        let kind = self.raw(span, encoding).decode_scalar(&mut text, error);
        let value = match kind {
            ScalarKind::String => Toml::String(text.0),
            ScalarKind::Boolean(on) => Toml::Boolean(on),
            ScalarKind::Integer(radix) => Toml::Integer {
                digits: text.0,
                radix: radix.value(),
            },
            ScalarKind::Float => Toml::Float,
            ScalarKind::DateTime => {
                let message = "a date, and no setting is one".to_owned();
                return self.note(Err(Mistake::at(span.start(), message)));
            }
        };
        self.value(span.start(), value);
    }

    fn comment(&mut self, span: Span, error: &mut dyn ErrorSink) {
        self.raw(span, None).decode_comment(error);
    }

    fn newline(&mut self, span: Span, error: &mut dyn ErrorSink) {
        self.raw(span, None).decode_newline(error);
    }
}

/// The parser's own words.
fn mistake(error: &ParseError) -> Mistake {
    let mut message = error.description().to_owned();
    for (n, expected) in error.expected().unwrap_or_default().iter().enumerate() {
        message += if n == 0 { ", expected " } else { ", " };
        match expected {
            Expected::Literal("\n") => message += "newline",
            Expected::Literal(text) => message += &format!("`{text}`"),
            Expected::Description(text) => message += text,
            _ => message += "something else",
        }
    }
    Mistake::at(error.unexpected().map_or(0, |span| span.start()), message)
}

/// Where the parser puts a string that it decodes; it allocates nothing itself.
#[derive(Default)]
struct Decoded(String);

impl<'t> StringBuilder<'t> for Decoded {
    fn clear(&mut self) {
        self.0.clear();
    }

    fn push_str(&mut self, append: &'t str) -> bool {
        self.0.push_str(append);
        true
    }

    fn push_char(&mut self, append: char) -> bool {
        self.0.push(append);
        true
    }
}
