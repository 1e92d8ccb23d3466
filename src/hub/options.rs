//! What holds for some channels and not for others: options by name.
//!
//! A rule names channels (`ticks.eur`), or the beginning of names (`ticks.*`, `*`), and says something about them. For
//! each option the longest rule counts that matches and says anything about it; a name beats every beginning. What no
//! rule says is the route's.
//!
//! **The rules belong to the name space**, because its channels do: a channel is one thing, whichever route its
//! subscribers have come by. They are looked through when a channel comes into being, and the channel keeps the answer.

use super::channel::{CHANNEL_NAME_BYTES_MAX, INTERNAL_NAME_BYTES_MAX};
#[cfg(feature = "wildcards")]
use super::patterns::{beginning_of, has, has_some};
use super::{Context, HistoryOptions, SlowPolicy};

/// Options in one line each: the field, the method that says it, and that a longer rule outdoes a shorter one.
macro_rules! channel_options {
    ($($(#[$about:meta])* $name:ident: $kind:ty,)+) => {
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
            $($(#[$about])* pub $name: Option<$kind>,)+
        }

        impl ChannelOptions {
            /// Options for the channel `names`, or, if that ends with `*`, for all that begin like it. They say nothing
            /// yet.
            pub fn of(names: impl Into<String>) -> Self {
                Self { names: names.into(), $($name: None,)+ }
            }

            $(
                $(#[$about])*
                #[must_use]
                pub fn $name(mut self, $name: $kind) -> Self {
                    self.$name = Some($name);
                    self
                }
            )+

            /// Takes over what a longer rule says.
            fn overlay(&mut self, longer: &Self) {
                $(if longer.$name.is_some() {
                    self.$name.clone_from(&longer.$name);
                })+
            }
        }
    };
}

/// Who may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Everybody whom the route lets in.
    Anyone,
    /// Sessions that have a user.
    Users,
    /// Nobody: what is published there is for those whom a handler subscribes, and for pages.
    Nobody,
}

channel_options! {
    /// What becomes of sessions for which its publications pile up; `None`: what their routes say.
    slow: SlowPolicy,
    /// Most publications that each keeps; 0: none. Sessions that read slowly catch up from there, unless `slow` says
    /// otherwise.
    history_messages_max: u32,
    /// Most bytes of them, as they are encoded.
    history_bytes_max: usize,
    /// How long one is kept, in milliseconds.
    history_ms_max: u64,
    /// Who may subscribe; `None`: anyone. It is up to its handler.
    subscribe: Who,
    /// Clients may publish what they say to their session; `None`: what the handler does otherwise. It is up to its handler.
    publish: bool,
    /// Keep who is in: `Context::presence` (feature `presence`), and its handler is told of changes.
    presence: bool,
    /// Tell its handler when it gets its first subscriber and when it loses its last.
    callback: bool,
    /// Tell every subscriber who comes and goes, and not only those who ask for it. It is up to its handler.
    join_leave: bool,
    /// Whether what they keep is logged too, if the server has a log, so that a restart keeps it; `None`: it is.
    history_durable: bool,
}

impl ChannelOptions {
    /// What the channels keep; `None`: nothing.
    pub(super) fn history(&self) -> Option<HistoryOptions> {
        let messages_max = self.history_messages_max.filter(|max| *max > 0)?;
        let default = HistoryOptions::of(messages_max);
        Some(HistoryOptions {
            messages_max,
            bytes_max: self.history_bytes_max.unwrap_or(default.bytes_max),
            age_ms_max: self.history_ms_max.unwrap_or(default.age_ms_max),
            #[cfg(feature = "history-log")]
            durable: self.history_durable.unwrap_or(true),
        })
    }

    /// Whether the names are some that a channel may have.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), &'static str> {
        let beginning = self.names.strip_suffix('*').unwrap_or(&self.names);
        if beginning.len() > CHANNEL_NAME_BYTES_MAX {
            Err("no channel has so long a name")
        } else if beginning.contains(char::is_control) {
            Err("no channel has control characters in its name")
        } else {
            self.check_internal()
        }
    }

    /// The same for names that a handler makes of those that it was told.
    pub(crate) fn check_internal(&self) -> Result<(), &'static str> {
        let beginning = self.names.strip_suffix('*').unwrap_or(&self.names);
        if self.names.is_empty() {
            Err("a name is missing: `*` stands for all of them")
        } else if beginning.contains('*') {
            Err("a `*` stands for the rest of a name, so it comes last")
        } else if beginning.len() > INTERNAL_NAME_BYTES_MAX {
            Err("no channel has so long a name")
        } else if cfg!(not(feature = "presence"))
            && [self.presence, self.join_leave, self.callback].contains(&Some(true))
        {
            Err("this build knows nobody in channels: build it with the feature `presence`")
        } else {
            Ok(())
        }
    }

    /// Whether the channel `name` is one of these.
    fn matches(&self, name: &str) -> bool {
        match self.names.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => self.names == name,
        }
    }

    /// How much of a name they fix: all of it, or its beginning.
    fn length(&self) -> usize {
        let beginning = self.names.strip_suffix('*');
        beginning.map_or(usize::MAX, str::len)
    }
}

impl Context<'_> {
    /// What the options say of a channel of this space, whether it is there or not.
    pub fn channel_options(&self, channel: &str) -> ChannelOptions {
        self.hub.channels.options(self.space(), channel)
    }

    /// Who may subscribe to the channels that a pattern has, with the names that each rule is about: the longest rule that
    /// is about all of them, and every other that is about some.
    #[cfg(feature = "wildcards")]
    pub fn who_may_subscribe(&self, pattern: &str) -> Vec<(&str, Who)> {
        let rules = self.hub.channels.rules_of(self.space());
        rules.map_or_else(Vec::new, |rules| rules.who_may_subscribe(pattern))
    }
}

/// The rules of one name space.
#[derive(Debug, Default)]
pub(super) struct ChannelRules {
    /// The shorter first.
    rules: Vec<ChannelOptions>,
    /// The first route that had any.
    pub(super) route: Option<u16>,
}

/// Two rules for the same names say different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contradiction;

impl ChannelRules {
    /// Adds a rule, unless it is there already.
    pub(super) fn add(&mut self, rule: &ChannelOptions, route: u16) -> Result<(), Contradiction> {
        self.route.get_or_insert(route);
        match self.rules.iter().find(|known| known.names == rule.names) {
            Some(known) if known == rule => Ok(()),
            Some(_) => Err(Contradiction),
            None => {
                let at = self.rules.partition_point(|r| r.length() <= rule.length());
                self.rules.insert(at, rule.clone());
                Ok(())
            }
        }
    }

    /// What they say about who may subscribe to the channels that a pattern has: the longest rule that is about all of them,
    /// and each that is about some.
    #[cfg(feature = "wildcards")]
    fn who_may_subscribe(&self, pattern: &str) -> Vec<(&str, Who)> {
        let all = beginning_of(pattern);
        let is_about_all = |rule: &ChannelOptions| {
            let beginning = rule.names.strip_suffix('*');
            beginning.is_some_and(|beginning| all.starts_with(beginning))
        };
        let is_about_some = |rule: &ChannelOptions| match rule.names.strip_suffix('*') {
            Some(beginning) => has_some(pattern, beginning),
            None => has(pattern, &rule.names),
        };
        let rules = self.rules.iter();
        let said = rules.filter_map(|rule| Some((rule, rule.subscribe?)));
        let longest = said.clone().rfind(|(rule, _)| is_about_all(rule));
        let some = said.filter(|(rule, _)| !is_about_all(rule) && is_about_some(rule));
        let all = longest.into_iter().chain(some);
        all.map(|(rule, who)| (&*rule.names, who)).collect()
    }

    /// What they say together about the channel `name`.
    pub(super) fn of(&self, name: &str) -> ChannelOptions {
        let mut said = ChannelOptions::of("");
        for rule in self.rules.iter().filter(|rule| rule.matches(name)) {
            said.overlay(rule);
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_rule_that_says_something_counts() {
        let mut rules = ChannelRules::default();
        assert_eq!(rules.of("a").slow, None);
        for rule in [
            ChannelOptions::of("ticks.*").slow(SlowPolicy::Latest),
            ChannelOptions::of("ticks.eur").slow(SlowPolicy::Close),
            ChannelOptions::of("ticks.eur.*"),
            ChannelOptions::of("*").slow(SlowPolicy::DropOldest),
            ChannelOptions::of("ticks.u*").slow(SlowPolicy::DropOldest),
        ] {
            assert_eq!(rule.check(), Ok(()));
            assert_eq!(rules.add(&rule, 0), Ok(()));
            assert_eq!(rules.add(&rule, 0), Ok(()), "said twice is said once");
        }
        for (name, slow) in [
            ("ticks.eur", SlowPolicy::Close),
            ("ticks.eur.chf", SlowPolicy::Latest),
            ("ticks.", SlowPolicy::Latest),
            ("ticks.usd", SlowPolicy::DropOldest),
            ("ticks", SlowPolicy::DropOldest),
        ] {
            assert_eq!(rules.of(name).slow, Some(slow), "{name}");
        }
        let other = ChannelOptions::of("*").slow(SlowPolicy::Close);
        assert_eq!(rules.add(&other, 1), Err(Contradiction));
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
