//! Lists of web pages' origins.

use super::table::{ANY_ORIGIN, SAME_ORIGIN};
use crate::server::Origins;

/// Origins that are compared as they are.
pub(super) fn origins(list: &[String]) -> Result<Origins, String> {
    let alone = |word: &str| list.len() == 1 && list.iter().any(|origin| origin == word);
    if alone(ANY_ORIGIN) {
        return Ok(Origins::Any);
    }
    if alone(SAME_ORIGIN) {
        return Ok(Origins::Same);
    }
    for origin in list {
        if origin == ANY_ORIGIN || origin == SAME_ORIGIN {
            return Err(format!(
                "`origins`: {origin:?} stands alone, without others beside it"
            ));
        }
        let host = origin.split_once("://").map(|(_, host)| host);
        if origin != "null"
            && host.is_none_or(|host| host.is_empty() || host.contains(['/', '*', ' ']))
        {
            return Err(format!(
                "`origins`: {origin:?} is no origin: write \"https://example.org\" (scheme and host, \
                 no path), \"null\", \"*\" for every page or \"same\" for this server's own"
            ));
        }
    }
    Ok(Origins::List(list.to_vec()))
}

/// Origins as Ethereum nodes read them: scheme and port count where they are written.
pub(super) fn origin_rules(list: &[String]) -> Result<Origins, String> {
    if let [word] = list
        && [ANY_ORIGIN, SAME_ORIGIN].contains(&word.as_str())
    {
        return origins(list);
    }
    for rule in list {
        let host = rule
            .split_once("://")
            .map_or(rule.as_str(), |(_, host)| host);
        if host.is_empty() || host.contains(['/', '*', ' ']) {
            return Err(format!(
                "`origins`: {rule:?} is no rule for origins: write \"https://example.org\" (every port), \
                 \"https://example.org:8443\", \"example.org\" (every scheme), or \"*\" alone for every page"
            ));
        }
    }
    Ok(Origins::Rules(list.to_vec()))
}
