//! What holds for some channels and not for others: options by name.
//!
//! A rule names channels (`ticks.eur`), or the beginning of names (`ticks.*`, `*`), and says something about them. For
//! each option the longest rule counts that matches and says anything about it; a name beats every beginning. What no
//! rule says is the route's.
//!
//! **The rules belong to the name space**, because its channels do: a channel is one thing, whichever route its
//! subscribers have come by. They are looked through when a channel comes into being, and the channel keeps the answer.

use super::SlowPolicy;
use super::channel::CHANNEL_NAME_BYTES_MAX;

/// What holds for the channels with certain names.
///
/// ```
/// use dunlin::hub::{ChannelOptions, SlowPolicy};
/// use dunlin::server::RouteSettings;
///
/// let settings = RouteSettings {
///     channels: vec![ChannelOptions::of("ticks.*").slow(SlowPolicy::Latest)],
///     ..RouteSettings::default()
/// };
/// # assert_eq!(settings.channels[0].check(), Ok(()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelOptions {
    /// The name of a channel, or the beginning of names and a `*`.
    pub names: String,
    /// What becomes of sessions for which its publications pile up; `None`: what their routes say.
    pub slow: Option<SlowPolicy>,
}

impl ChannelOptions {
    /// Options for the channel `names`, or, if that ends with `*`, for all that begin like it. They say nothing yet.
    pub fn of(names: impl Into<String>) -> Self {
        Self {
            names: names.into(),
            slow: None,
        }
    }

    /// What becomes of sessions for which its publications pile up.
    #[must_use]
    pub fn slow(mut self, slow: SlowPolicy) -> Self {
        self.slow = Some(slow);
        self
    }

    /// Whether the names are some that a channel may have.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), &'static str> {
        let beginning = self.names.strip_suffix('*').unwrap_or(&self.names);
        if self.names.is_empty() {
            Err("a name is missing: `*` stands for all of them")
        } else if beginning.contains('*') {
            Err("a `*` stands for the rest of a name, so it comes last")
        } else if beginning.len() > CHANNEL_NAME_BYTES_MAX {
            Err("no channel has so long a name")
        } else if beginning.contains(char::is_control) {
            Err("no channel has control characters in its name")
        } else {
            Ok(())
        }
    }

    /// How much of a name it has in common with these; `None`: it is none of them.
    fn matches(&self, name: &str) -> Option<usize> {
        match self.names.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning).then_some(beginning.len()),
            None => (self.names == name).then_some(usize::MAX),
        }
    }
}

/// The rules of one name space.
#[derive(Debug, Default)]
pub(super) struct ChannelRules(Vec<ChannelOptions>);

/// Two rules for the same names say different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contradiction;

impl ChannelRules {
    /// Adds a rule, unless it is there already.
    pub(super) fn add(&mut self, rule: &ChannelOptions) -> Result<(), Contradiction> {
        match self.0.iter().find(|known| known.names == rule.names) {
            Some(known) if known == rule => Ok(()),
            Some(_) => Err(Contradiction),
            None => {
                self.0.push(rule.clone());
                Ok(())
            }
        }
    }

    /// What becomes of sessions for which publications to the channel `name` pile up.
    pub(super) fn slow(&self, name: &str) -> Option<SlowPolicy> {
        let saying = self.0.iter().filter(|rule| rule.slow.is_some());
        let matching = saying.filter_map(|rule| Some((rule.matches(name)?, rule.slow)));
        let longest = matching.max_by_key(|(length, _)| *length);
        longest.and_then(|(_, slow)| slow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_rule_that_says_something_counts() {
        let mut rules = ChannelRules::default();
        assert_eq!(rules.slow("a"), None);
        for rule in [
            ChannelOptions::of("ticks.*").slow(SlowPolicy::Latest),
            ChannelOptions::of("ticks.eur").slow(SlowPolicy::Close),
            ChannelOptions::of("ticks.eur.*"),
            ChannelOptions::of("*").slow(SlowPolicy::DropOldest),
            ChannelOptions::of("ticks.u*").slow(SlowPolicy::DropOldest),
        ] {
            assert_eq!(rule.check(), Ok(()));
            assert_eq!(rules.add(&rule), Ok(()));
            assert_eq!(rules.add(&rule), Ok(()), "said twice is said once");
        }
        for (name, slow) in [
            ("ticks.eur", SlowPolicy::Close),
            ("ticks.eur.chf", SlowPolicy::Latest),
            ("ticks.", SlowPolicy::Latest),
            ("ticks.usd", SlowPolicy::DropOldest),
            ("ticks", SlowPolicy::DropOldest),
        ] {
            assert_eq!(rules.slow(name), Some(slow), "{name}");
        }
        let other = ChannelOptions::of("*").slow(SlowPolicy::Close);
        assert_eq!(rules.add(&other), Err(Contradiction));
    }

    #[test]
    fn names_that_no_channel_has_are_refused() {
        for good in ["*", "a", "a*", "a.b*", &"x".repeat(255)] {
            assert_eq!(ChannelOptions::of(good).check(), Ok(()), "{good}");
        }
        for bad in ["", "**", "a*b", "*a", "a\nb", &"x".repeat(256)] {
            assert!(ChannelOptions::of(bad).check().is_err(), "{bad}");
        }
    }
}
