//! What a pattern may be, and which names it has.

use super::super::channel::{NameError, check_channel_name, is_pattern};

/// Most segments of a pattern: what a publication looks at doubles with each.
pub const PATTERN_SEGMENTS_MAX: usize = 8;

/// Checks a pattern that a client chose: a channel name of at most [`PATTERN_SEGMENTS_MAX`] segments, none of them empty,
/// at least one of them `*` or, at the end, `>`.
///
/// # Errors
/// [`NameError`], whose text says which rule is broken.
///
/// ```
/// use dunlin::hub::check_pattern;
/// assert_eq!(check_pattern("news.*.eu.>"), Ok(()));
/// assert!(check_pattern("news.>.eu").is_err());
/// ```
pub fn check_pattern(pattern: &str) -> Result<(), NameError> {
    check_channel_name(pattern)?;
    let mut segments = pattern.split('.').peekable();
    let mut count = 0;
    while let Some(segment) = segments.next() {
        count += 1;
        let why = match segment {
            "" => "a segment of the pattern is empty",
            ">" if segments.peek().is_some() => {
                "a `>` stands for the rest of a name, so it comes last"
            }
            "*" | ">" => continue,
            _ if segment.contains(['*', '>']) => "a `*` or `>` in a pattern is a whole segment",
            _ => continue,
        };
        return Err(NameError::Pattern(why));
    }
    if count > PATTERN_SEGMENTS_MAX {
        return Err(NameError::Pattern("a pattern has at most 8 segments"));
    }
    match is_pattern(pattern) {
        true => Ok(()),
        false => Err(NameError::Pattern("a pattern has a segment `*` or `>`")),
    }
}

/// How all names begin that a pattern has. There is nothing longer: any segment may follow, the empty one too.
pub(in super::super) fn beginning_of(pattern: &str) -> &str {
    let mut at = 0;
    for segment in pattern.split('.') {
        if matches!(segment, "*" | ">") {
            break;
        }
        at += segment.len() + 1;
    }
    pattern.get(..at).unwrap_or(pattern)
}

/// Whether a pattern has a name.
pub(in super::super) fn has(pattern: &str, name: &str) -> bool {
    let mut names = name.split('.');
    let mut segments = pattern.split('.').peekable();
    while let Some(segment) = segments.next() {
        let is_rest = segment == ">" && segments.peek().is_none();
        match names.next() {
            None => return false,
            Some(_) if is_rest => return true,
            Some(name) if segment != "*" && segment != name => return false,
            Some(_) => {}
        }
    }
    names.next().is_none()
}

/// Whether a pattern has some name that begins so.
pub(in super::super) fn has_some(pattern: &str, beginning: &str) -> bool {
    let mut begun = beginning.split('.').peekable();
    let mut segments = pattern.split('.');
    while let Some(part) = begun.next() {
        let is_whole = begun.peek().is_some();
        match segments.next() {
            None => return false,
            Some(">") => return true,
            Some("*") => {}
            Some(segment) if is_whole && segment != part => return false,
            Some(segment) if !segment.starts_with(part) => return false,
            Some(_) => {}
        }
    }
    true
}
