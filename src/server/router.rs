//! Listener and path → route.
//!
//! Templates are those of Jakarta WebSocket §4.1.1 (RFC 6570 level 1): segment by segment from the left, a
//! literal beats a variable, the number of segments is equal, a variable never matches nothing. Beyond that a last
//! segment `{name*}` is whatever follows, however many segments that are; it comes after everything else.
//!
//! | template | `/a/b/c` | `/a/x/c` | `/a/x/y` | `/a/` | `/a` |
//! | --- | --- | --- | --- | --- | --- |
//! | `/a/b/c` | **1st** | – | – | – | – |
//! | `/a/{x}/c` | 2nd | **1st** | – | – | – |
//! | `/a/{x}/{y}` | 3rd | 2nd | **1st** | – | – |
//! | `/a/{x*}` | 4th | 3rd | 2nd | **1st** | – |

use std::fmt;

use crate::http::percent_decode;
use crate::hub::Params;

/// Which listeners a route is served on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum On {
    /// All of them.
    #[default]
    Every,
    /// Those with these numbers.
    Listeners(Vec<u16>),
}

impl On {
    fn includes(&self, listener: u16) -> bool {
        match self {
            Self::Every => true,
            Self::Listeners(list) => list.contains(&listener),
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Every, _) | (_, Self::Every) => true,
            (Self::Listeners(a), Self::Listeners(b)) => a.iter().any(|l| b.contains(l)),
        }
    }
}

/// The routing table, most specific template first.
#[derive(Debug, Default)]
pub(crate) struct Router {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    template: Template,
    on: On,
    route: u16,
}

#[derive(Debug, PartialEq, Eq)]
struct Template {
    segments: Vec<Segment>,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Variable(Box<str>),
    /// All that follows; only at the end.
    Rest(Box<str>),
}

/// Why a path has no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// A percent escape that is not one, or that does not decode to UTF-8.
    BadEscape,
    NotFound,
}

impl Router {
    pub(crate) fn add(&mut self, template: &str, on: On, route: u16) -> Result<(), RouteError> {
        let parsed = Template::parse(template)?;
        let same = self
            .entries
            .iter()
            .any(|e| e.on.overlaps(&on) && e.template.is_equivalent(&parsed));
        if same {
            return Err(RouteError::Duplicate(template.to_owned()));
        }
        let at = self
            .entries
            .partition_point(|e| e.template.rank() <= parsed.rank());
        self.entries.insert(
            at,
            Entry {
                template: parsed,
                on,
                route,
            },
        );
        Ok(())
    }

    /// The route for a raw (still percent-encoded) path.
    pub(crate) fn find(&self, listener: u16, path: &str) -> Result<(u16, Params), NoRoute> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let mut segments = Vec::with_capacity(4);
        for raw in path.split('/') {
            segments.push(percent_decode(raw).ok_or(NoRoute::BadEscape)?);
        }
        let entry = self
            .entries
            .iter()
            .find(|e| e.on.includes(listener) && e.template.matches(&segments));
        let entry = entry.ok_or(NoRoute::NotFound)?;
        let mut params = Params::default();
        for (at, segment) in entry.template.segments.iter().enumerate() {
            let (name, value) = match segment {
                Segment::Literal(_) => continue,
                Segment::Variable(name) => (name, segments[at].to_string()),
                Segment::Rest(name) => (name, segments[at..].join("/")),
            };
            params.0.push((name.clone(), value));
        }
        Ok((entry.route, params))
    }
}

impl Template {
    fn parse(text: &str) -> Result<Self, RouteError> {
        let bad = |why| RouteError::BadTemplate(text.to_owned(), why);
        let path = text
            .strip_prefix('/')
            .ok_or(bad("it does not begin with '/'"))?;
        let mut segments = Vec::new();
        for part in path.split('/') {
            if let Some(inner) = part.strip_prefix('{') {
                let name = inner
                    .strip_suffix('}')
                    .ok_or(bad("a variable does not end with '}'"))?;
                let (name, is_rest) = match name.strip_suffix('*') {
                    Some(name) => (name, true),
                    None => (name, false),
                };
                let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                if name.is_empty() || !plain {
                    return Err(bad(
                        "a variable's name is not made of letters, digits and '_'",
                    ));
                }
                if segments
                    .iter()
                    .any(|s| matches!(s, Segment::Variable(n) if **n == *name))
                {
                    return Err(bad("two variables have the same name"));
                }
                segments.push(match is_rest {
                    true => Segment::Rest(name.into()),
                    false => Segment::Variable(name.into()),
                });
            } else if part.contains(['{', '}', '?', '#']) {
                return Err(bad(
                    "a segment is either a literal or one variable in braces",
                ));
            } else {
                let literal = percent_decode(part).ok_or(bad("a percent escape is broken"))?;
                segments.push(Segment::Literal(literal.into_owned()));
            }
        }
        let before_last = segments.len() - 1; // A split has one part at least.
        if segments
            .iter()
            .take(before_last)
            .any(|s| matches!(s, Segment::Rest(_)))
        {
            return Err(bad("a variable with '*' does not stand at the end"));
        }
        if segments.len() > 1
            && segments
                .iter()
                .any(|s| *s == Segment::Literal(String::new()))
        {
            return Err(bad("a segment is empty"));
        }
        Ok(Self { segments })
    }

    fn matches(&self, path: &[std::borrow::Cow<'_, str>]) -> bool {
        let is_as_long = match self.segments.last() {
            Some(Segment::Rest(_)) => self.segments.len() <= path.len(),
            _ => self.segments.len() == path.len(),
        };
        is_as_long
            && self
                .segments
                .iter()
                .zip(path)
                .all(|(segment, value)| match segment {
                    Segment::Literal(literal) => literal == value,
                    Segment::Variable(_) => !value.is_empty(),
                    Segment::Rest(_) => true,
                })
    }

    /// They match the same paths.
    fn is_equivalent(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len()
            && self
                .segments
                .iter()
                .zip(&other.segments)
                .all(|pair| match pair {
                    (Segment::Literal(a), Segment::Literal(b)) => a == b,
                    (Segment::Variable(_), Segment::Variable(_)) => true,
                    (Segment::Rest(_), Segment::Rest(_)) => true,
                    _ => false,
                })
    }

    /// Smaller is tried first: literals before variables, from the left.
    fn rank(&self) -> Vec<u8> {
        let rank = |segment: &Segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Variable(_) => 1,
            Segment::Rest(_) => 2,
        };
        self.segments.iter().map(rank).collect()
    }
}

/// Why a route cannot be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteError {
    /// The template, and what is wrong with it.
    BadTemplate(String, &'static str),
    /// Another route matches the same paths on the same listener.
    Duplicate(String),
    /// Options for channels of these names, and what is wrong with them.
    BadChannels(String, &'static str),
    /// More than 65,535 routes.
    TooMany,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadTemplate(template, why) => write!(f, "route template {template:?}: {why}"),
            Self::Duplicate(template) => {
                write!(
                    f,
                    "route template {template:?} matches the same paths as another on that listener"
                )
            }
            Self::BadChannels(names, why) => write!(f, "options for channels {names:?}: {why}"),
            Self::TooMany => f.write_str("more than 65535 routes"),
        }
    }
}

impl std::error::Error for RouteError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(templates: &[&str]) -> Router {
        let mut router = Router::default();
        for (n, template) in templates.iter().enumerate() {
            router
                .add(template, On::Every, n as u16)
                .expect("a good template");
        }
        router
    }

    #[test]
    fn lib_1_the_precedence_table_of_the_specification() {
        // In both orders: precedence is the templates', not the order of registration.
        let table = ["/a/{x}/{y}", "/a/{x}/c", "/a/b/c", "/a/{x}", "/"];
        let r = router(&table);
        let found = |path: &str| r.find(0, path).map(|(n, _)| table[n as usize]);
        assert_eq!(found("/a/b/c"), Ok("/a/b/c"));
        assert_eq!(found("/a/d/c"), Ok("/a/{x}/c"));
        assert_eq!(found("/a/b/d"), Ok("/a/{x}/{y}"));
        assert_eq!(found("/a/b"), Ok("/a/{x}"));
        assert_eq!(found("/"), Ok("/"));
        for none in [
            "/a", "/a/", "/a//c", "/a/b/c/d", "/b/b/c", "/A/b/c", "/a/b/",
        ] {
            assert_eq!(found(none), Err(NoRoute::NotFound), "{none}");
        }
    }

    #[test]
    fn whatever_follows_comes_last() {
        let table = ["/{all*}", "/a/{rest*}", "/a/{x}", "/a/{x}/c", "/"];
        let r = router(&table);
        let found = |path: &str| {
            let (route, params) = r.find(0, path).expect("a route");
            let rest = params.get("all").or(params.get("rest"));
            (table[route as usize], rest.map(str::to_owned))
        };
        let rest = |text: &str| Some(text.to_owned());
        assert_eq!(found("/"), ("/", None));
        assert_eq!(found("/a"), ("/{all*}", rest("a")));
        assert_eq!(found("/a/"), ("/a/{rest*}", rest("")));
        assert_eq!(found("/a/b"), ("/a/{x}", None));
        assert_eq!(found("/a/b/c"), ("/a/{x}/c", None));
        assert_eq!(found("/a/b/d%20e"), ("/a/{rest*}", rest("b/d e")));
        assert_eq!(found("/b//c"), ("/{all*}", rest("b//c")));
        let mut r = router(&["/{all*}"]);
        assert!(r.find(0, "/").is_ok());
        let again = r.add("/{other*}", On::Every, 1);
        assert_eq!(again, Err(RouteError::Duplicate("/{other*}".to_owned())));
    }

    #[test]
    fn hl_8_values_are_percent_decoded() {
        let r = router(&["/chat/{group}", "/ch\u{e0}t/{group}"]);
        let value = |path: &str| {
            r.find(0, path)
                .map(|(_, p)| p.get("group").map(str::to_owned))
        };
        assert_eq!(
            value("/chat/t%C3%A0u%20h%E1%BB%8Fa"),
            Ok(Some("tàu hỏa".to_owned()))
        );
        assert_eq!(value("/chat/a%2Fb"), Ok(Some("a/b".to_owned())));
        assert_eq!(
            value("/ch%C3%A0t/x"),
            Ok(Some("x".to_owned())),
            "a literal is compared decoded"
        );
        assert_eq!(value("/chat/a%2"), Err(NoRoute::BadEscape));
        assert_eq!(value("/chat/%FF"), Err(NoRoute::BadEscape));
    }

    #[test]
    fn equivalent_templates_are_an_error_on_one_listener() {
        let mut r = router(&["/a/{x}"]);
        assert_eq!(
            r.add("/a/{y}", On::Every, 1),
            Err(RouteError::Duplicate("/a/{y}".to_owned()))
        );
        let mut r = Router::default();
        r.add("/ws", On::Listeners(vec![0]), 0).expect("first");
        r.add("/ws", On::Listeners(vec![1]), 1)
            .expect("another listener");
        assert_eq!(r.find(0, "/ws").map(|f| f.0), Ok(0));
        assert_eq!(r.find(1, "/ws").map(|f| f.0), Ok(1));
        assert_eq!(r.find(2, "/ws").map(|f| f.0), Err(NoRoute::NotFound));
        for bad in [
            "a",
            "/{",
            "/{}",
            "/{a}b",
            "/a{b}",
            "/{x}/{x}",
            "/a//b",
            "/%zz",
            "/{a-b}",
            "/{*}",
            "/{a*}/b",
            "/{a*}/{b*}",
            "/{x}/{x*}",
        ] {
            assert!(
                matches!(r.add(bad, On::Every, 9), Err(RouteError::BadTemplate(..))),
                "{bad}"
            );
        }
    }
}
