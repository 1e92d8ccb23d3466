//! What somebody may do: a user, until when, and names of channels for each kind of action.
//!
//! | written | means |
//! | --- | --- |
//! | `news` | the channel `news` |
//! | `news.*` | every channel whose name begins with `news.` |
//! | `*` | every channel |
//! | `user.{user}` | the channel of the user for whom the grant is made |
//! | `user.{user}.*` | that user's channels |
//!
//! A `*` comes last and counts only where the pattern itself has it: a user who is called `*` gets the channel of that
//! name. **Where something follows `{user}`, a user whose name contains the character that follows gets nothing by
//! that pattern**: `user.{user}.*` would let `ann` read what `ann.b` has, or the other way round.

use std::fmt;

/// What a grant is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Hear what is published from now on, and what was missed since a position.
    Subscribe,
    /// Say something.
    Publish,
    /// See who else is there.
    Presence,
    /// Read what was published before one came.
    History,
    /// Look after the server. It knows no channels: only `*` counts.
    Admin,
}

impl Action {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 5] = [
        Self::Subscribe,
        Self::Publish,
        Self::Presence,
        Self::History,
        Self::Admin,
    ];

    /// The word in claims and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Presence => "presence",
            Self::History => "history",
            Self::Admin => "admin",
        }
    }
}

/// Patterns for each action, as they are written: `{user}` is not replaced yet.
///
/// ```
/// use dunlin::token::{Action, Grant, Rights};
///
/// let rights = Rights::default()
///     .allow(Action::Subscribe, "user.{user}.*")?
///     .allow(Action::Subscribe, "news")?;
/// let grant = Grant::new("ann", &rights);
/// assert!(grant.may(Action::Subscribe, "user.ann.inbox"));
/// assert!(!grant.may(Action::Subscribe, "user.bob.inbox"));
/// assert!(!grant.may(Action::Publish, "news"));
/// # Ok::<(), dunlin::token::PatternError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights([Vec<Template>; 5]);

impl Rights {
    /// Every action on every channel.
    pub fn all() -> Self {
        Self(std::array::from_fn(|_| vec![Template::anything()]))
    }

    /// One more pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn allow(mut self, action: Action, pattern: &str) -> Result<Self, PatternError> {
        self.add(action, pattern)?;
        Ok(self)
    }

    /// As [`allow`](Self::allow), in place.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn add(&mut self, action: Action, pattern: &str) -> Result<(), PatternError> {
        self.0[action as usize].push(Template::parse(pattern)?);
        Ok(())
    }

    /// One more channel, by its name: nothing in it stands for anything else.
    ///
    /// # Errors
    /// [`PatternError`], if no channel can have that name.
    pub fn add_name(&mut self, action: Action, name: &str) -> Result<(), PatternError> {
        check_text(name)?;
        self.0[action as usize].push(Template {
            text: name.into(),
            is_beginning: false,
            has_user: false,
        });
        Ok(())
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a pattern is only of use for somebody who has a name.
    pub fn name_a_user(&self) -> bool {
        self.0.iter().flatten().any(|template| template.has_user)
    }

    /// Everything that `others` allow too.
    pub fn extend(&mut self, others: &Self) {
        for (own, others) in self.0.iter_mut().zip(&others.0) {
            own.extend(others.iter().cloned());
        }
    }

    /// The patterns of an action, as they are written.
    pub fn written(&self, action: Action) -> impl Iterator<Item = String> {
        self.0[action as usize].iter().map(|template| {
            let end = if template.is_beginning { "*" } else { "" };
            format!("{}{end}", template.text)
        })
    }
}

/// A pattern before its user is known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Template {
    /// Without the `*`.
    text: Box<str>,
    is_beginning: bool,
    has_user: bool,
}

const USER: &str = "{user}";
/// As long as a name of a channel may be.
const PATTERN_BYTES_MAX: usize = 255;

impl Template {
    fn anything() -> Self {
        Self {
            text: "".into(),
            is_beginning: true,
            has_user: false,
        }
    }

    fn parse(pattern: &str) -> Result<Self, PatternError> {
        check_text(pattern)?;
        let beginning = pattern.strip_suffix('*');
        let text = beginning.unwrap_or(pattern);
        if text.contains('*') {
            return Err(PatternError::Star);
        }
        let is_beginning = beginning.is_some();
        if is_beginning && text.ends_with(USER) {
            return Err(PatternError::UserStar);
        }
        Ok(Self {
            has_user: text.contains(USER),
            text: text.into(),
            is_beginning,
        })
    }

    /// The pattern for a user; `None`: it says nothing of that one.
    fn of(&self, user: &str) -> Option<Pattern> {
        let text = if self.has_user {
            if user.is_empty() {
                return None;
            }
            let mut behind = self.text.split(USER).skip(1);
            let is_ambiguous = |part: &str| part.chars().next().is_some_and(|c| user.contains(c));
            if behind.any(is_ambiguous) {
                return None;
            }
            self.text.replace(USER, user).into()
        } else {
            self.text.clone()
        };
        Some(Pattern {
            text,
            is_beginning: self.is_beginning,
        })
    }
}

fn check_text(pattern: &str) -> Result<(), PatternError> {
    if pattern.is_empty() {
        Err(PatternError::Empty)
    } else if pattern.len() > PATTERN_BYTES_MAX {
        Err(PatternError::TooLong)
    } else if pattern.contains(char::is_control) {
        Err(PatternError::Control)
    } else {
        Ok(())
    }
}

/// A name or the beginning of names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    text: Box<str>,
    is_beginning: bool,
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        if self.is_beginning {
            name.starts_with(&*self.text)
        } else {
            *self.text == *name
        }
    }

    /// Whether every name that begins with `beginning` matches.
    fn covers(&self, beginning: &str) -> bool {
        self.is_beginning && beginning.starts_with(&*self.text)
    }
}

/// What somebody may do, and until when. `Debug` shows no names: who it is is nobody's business.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    user: Box<str>,
    expires: Option<u64>,
    until: Option<u64>,
    issued: Option<u64>,
    is_signed: bool,
    rights: [Box<[Pattern]>; 5],
}

impl Grant {
    /// These rights for `user`, for good; an empty name is nobody's.
    pub fn new(user: &str, rights: &Rights) -> Self {
        let of_user =
            |templates: &Vec<Template>| templates.iter().filter_map(|t| t.of(user)).collect();
        Self {
            user: user.into(),
            expires: None,
            until: None,
            issued: None,
            is_signed: false,
            rights: rights.0.each_ref().map(of_user),
        }
    }

    /// The same until a second since 1970; it is taken for so many seconds longer, as clocks differ.
    pub fn expires(mut self, expires: u64, leeway: u64) -> Self {
        self.expires = Some(expires);
        self.until = Some(expires.saturating_add(leeway));
        self
    }

    /// The same out of a signed token, made at that second if it says so.
    pub fn signed(mut self, issued: Option<u64>) -> Self {
        self.is_signed = true;
        self.issued = issued;
        self
    }

    /// Whether it comes from a signed token: that can be revoked, while a key is taken out of the configuration.
    pub fn is_signed(&self) -> bool {
        self.is_signed
    }

    /// For whom it is.
    pub fn user(&self) -> Option<&str> {
        Some(&*self.user).filter(|user| !user.is_empty())
    }

    /// The second it ends, as it was said.
    pub fn expires_at(&self) -> Option<u64> {
        self.expires
    }

    /// The first second in which it is not taken any more.
    pub fn taken_until(&self) -> Option<u64> {
        self.until
    }

    /// The second it was made, as far as it says.
    pub fn issued_at(&self) -> Option<u64> {
        self.issued
    }

    /// Whether its time is over.
    pub fn is_over(&self, unix_seconds: u64) -> bool {
        self.until.is_some_and(|until| unix_seconds >= until)
    }

    /// Whether it allows this with that channel.
    pub fn may(&self, action: Action, channel: &str) -> bool {
        if action == Action::Admin {
            return self.may_all(action, "");
        }
        let patterns = &self.rights[action as usize];
        patterns.iter().any(|pattern| pattern.matches(channel))
    }

    /// Whether it allows this with every channel whose name begins like that; `""`: with all there are.
    pub fn may_all(&self, action: Action, beginning: &str) -> bool {
        let patterns = &self.rights[action as usize];
        patterns.iter().any(|pattern| pattern.covers(beginning))
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        let patterns = self.rights.iter().flat_map(|patterns| patterns.iter());
        let texts: usize = patterns.map(|p| p.text.len() + size_of::<Pattern>()).sum();
        size_of::<Self>() + self.user.len() + texts
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Why a pattern is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternError {
    /// There is nothing.
    Empty,
    /// Longer than names of channels.
    TooLong,
    /// A control character.
    Control,
    /// A `*` that is not at the end.
    Star,
    /// A `*` right behind `{user}`.
    UserStar,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a name is missing: `*` stands for all of them",
            Self::TooLong => "no channel has so long a name",
            Self::Control => "no channel has control characters in its name",
            Self::Star => "a `*` stands for the rest of a name, so it comes last",
            Self::UserStar => "a `*` right behind `{user}` would be every user whose name begins like that: put a dot between",
        })
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn grant(user: &str, patterns: &[&str]) -> Grant {
        let mut rights = Rights::default();
        for pattern in patterns {
            rights.add(Action::Subscribe, pattern).unwrap();
        }
        Grant::new(user, &rights)
    }

    #[test]
    fn patterns_match_names_and_beginnings() {
        for (pattern, user, name, expected) in [
            ("a", "", "a", true),
            ("a", "", "ab", false),
            ("a", "", "", false),
            ("a.*", "", "a.b", true),
            ("a.*", "", "a.", true),
            ("a.*", "", "a", false),
            ("*", "", "anything", true),
            ("u.{user}", "ann", "u.ann", true),
            ("u.{user}", "ann", "u.{user}", false),
            ("u.{user}", "", "u.", false),
            ("u.{user}", "", "u.{user}", false),
            ("u.{user}.*", "ann", "u.ann.x", true),
            ("u.{user}.*", "ann", "u.anna.x", false),
            // Names of users that would be more than names.
            ("u.{user}", "*", "u.*", true),
            ("u.{user}", "*", "u.ann", false),
            ("u.{user}.*", "*", "u.ann.x", false),
            ("u.{user}.*", "ann.b", "u.ann.b.x", false),
            ("u.{user}.*", "{user}", "u.{user}.x", true),
            ("{user}/{user}", "a", "a/a", true),
            ("{user}/{user}", "a/b", "a/b/a/b", false),
            ("u.{user}", "ann.b", "u.ann.b", true),
        ] {
            let grant = grant(user, &[pattern]);
            assert_eq!(
                grant.may(Action::Subscribe, name),
                expected,
                "{pattern} {user} {name}"
            );
            assert!(!grant.may(Action::Publish, name));
        }
    }

    #[test]
    fn administration_takes_the_whole_of_it() {
        let mut rights = Rights::default();
        rights.add(Action::Admin, "a*").unwrap();
        assert!(!Grant::new("", &rights).may(Action::Admin, "a"));
        rights.add(Action::Admin, "*").unwrap();
        assert!(Grant::new("", &rights).may(Action::Admin, "a"));
        assert!(
            Action::ALL
                .iter()
                .all(|a| Grant::new("", &Rights::all()).may_all(*a, ""))
        );
    }

    #[test]
    fn a_beginning_is_covered_by_a_shorter_one() {
        let grant = grant("", &["a.b*"]);
        for (beginning, expected) in [("a.b", true), ("a.bc", true), ("a.", false), ("", false)] {
            assert_eq!(
                grant.may_all(Action::Subscribe, beginning),
                expected,
                "{beginning}"
            );
        }
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for (pattern, why) in [
            ("", PatternError::Empty),
            ("a*b", PatternError::Star),
            ("**", PatternError::Star),
            ("u.{user}*", PatternError::UserStar),
            ("a\n", PatternError::Control),
            (&"x".repeat(256), PatternError::TooLong),
        ] {
            let refused = Rights::default().allow(Action::Publish, pattern);
            assert_eq!(refused.err(), Some(why), "{pattern}");
        }
        assert!(
            Rights::default()
                .allow(Action::Publish, &"x".repeat(255))
                .is_ok()
        );
    }

    #[test]
    fn a_name_stands_for_itself() {
        let mut rights = Rights::default();
        rights.add_name(Action::Subscribe, "a*").unwrap();
        rights.add_name(Action::Subscribe, "{user}").unwrap();
        let grant = Grant::new("ann", &rights);
        for (name, expected) in [
            ("a*", true),
            ("ab", false),
            ("{user}", true),
            ("ann", false),
        ] {
            assert_eq!(grant.may(Action::Subscribe, name), expected, "{name}");
        }
    }

    #[test]
    fn time_ends_at_the_second() {
        let grant = grant("", &[]).expires(100, 5);
        assert!(!grant.is_over(104));
        assert!(grant.is_over(105));
        assert_eq!(grant.expires_at(), Some(100));
        assert!(!Grant::new("", &Rights::all()).is_over(u64::MAX));
        let far = Grant::new("", &Rights::all()).expires(u64::MAX, 5);
        assert!(!far.is_over(u64::MAX - 1));
    }

    #[test]
    fn nobody_reads_a_name_in_a_log() {
        let grant = grant("ann", &["secret"]);
        let shown = format!("{grant:?}");
        assert!(
            !shown.contains("ann") && !shown.contains("secret"),
            "{shown}"
        );
    }
}
