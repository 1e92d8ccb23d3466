//! `[tokens]` and `[[token_key]]`: whose signed tokens are taken (feature `jwt`).
//!
//! ```toml
//! [tokens]
//! audiences = ["wss://news.example"]
//! subscribe = ["user.{user}.*"]     # what every token allows, beside what it says itself
//!
//! [[token_key]]
//! algorithm = "ES256"               # HS256, ES256, EdDSA, RS256: what the token says must be the same
//! file = "/etc/dunlin/issuer.pem"   # PEM, a JWK or a set of them; or for HS256 `secret` = "…"
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use super::Problem;
use super::build::Build;
use super::document::Table;
use super::record::{File, Origin, unknown};
use super::table::macros::{list, number, switch};
use super::table::{Global, MS, Setting};
use super::value::{COVERED, Kind, Value, quoted};
use crate::token::{Action, Algorithm, Rights, Verifier, VerifyingKey};

/// The list of tables.
pub(super) const TOKEN_KEY: &str = "token_key";
/// The table of what holds for all of them.
pub(super) const SECTION: &str = "tokens";
const ALGORITHM: &str = "algorithm";
const KID: &str = "kid";
const SECRET: &str = "secret";
const FILE: &str = "file";
const NAMES: [&str; 4] = [ALGORITHM, KID, SECRET, FILE];

/// What claims are held against, and what every token allows.
#[derive(Debug, Clone)]
pub(crate) struct TokenSettings {
    issuers: Vec<String>,
    audiences: Vec<String>,
    leeway_ms: u64,
    bytes_max: usize,
    allow_without_exp: bool,
    subscribe: Vec<String>,
    publish: Vec<String>,
    presence: Vec<String>,
    history: Vec<String>,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway_ms: Verifier::LEEWAY_S * 1000,
            bytes_max: Verifier::BYTES_MAX,
            allow_without_exp: false,
            subscribe: Vec::new(),
            publish: Vec::new(),
            presence: Vec::new(),
            history: Vec::new(),
        }
    }
}

/// The settings of `[tokens]`.
pub(super) const SETTINGS: &[Setting<Global>] = &[
    list!("tokens", "issuers", Kind::List, tokens.issuers),
    list!("tokens", "audiences", Kind::List, tokens.audiences),
    number!("tokens", "leeway_ms", 0, MS, tokens.leeway_ms),
    number!("tokens", "token_bytes_max", 64, 1 << 20, tokens.bytes_max),
    switch!("tokens", "allow_without_exp", tokens.allow_without_exp),
    list!("tokens", "subscribe", Kind::List, tokens.subscribe),
    list!("tokens", "publish", Kind::List, tokens.publish),
    list!("tokens", "presence", Kind::List, tokens.presence),
    list!("tokens", "history", Kind::List, tokens.history),
];

/// One table of the list. No `Debug` of the secret.
pub(crate) struct TokenKeyRecord {
    algorithm: Algorithm,
    kid: Option<String>,
    secret: Option<String>,
    pub(super) file: Option<PathBuf>,
    pub(super) origin: Origin,
}

impl std::fmt::Debug for TokenKeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKeyRecord({})", self.origin)
    }
}

impl TokenKeyRecord {
    /// What it says, as it is written in TOML, with the secret covered.
    pub(super) fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries = vec![(ALGORITHM, quoted(self.algorithm.name()))];
        entries.extend(self.kid.iter().map(|kid| (KID, quoted(kid))));
        entries.extend(self.secret.iter().map(|_| (SECRET, quoted(COVERED))));
        let files = self.file.iter();
        entries.extend(files.map(|path| (FILE, quoted(&path.display().to_string()))));
        entries
    }

    fn read(&self) -> Result<Vec<VerifyingKey>, String> {
        let keys = match (&self.secret, &self.file) {
            (Some(secret), _) => {
                vec![VerifyingKey::secret(secret.as_bytes()).map_err(|e| e.to_string())?]
            }
            (None, Some(path)) => {
                let text = std::fs::read(path)
                    .map_err(|error| format!("cannot read the key {}: {error}", path.display()))?;
                VerifyingKey::read(self.algorithm, &text)
                    .map_err(|error| format!("the key {}: {error}", path.display()))?
            }
            (None, None) => Vec::new(),
        };
        match &self.kid {
            None => Ok(keys),
            Some(_) if keys.len() > 1 => Err(format!(
                "`{KID}` names one key, and there are several in the file"
            )),
            Some(kid) => Ok(keys.into_iter().map(|key| key.with_kid(kid)).collect()),
        }
    }
}

impl File<'_> {
    pub(super) fn read_token_key(&mut self, at: usize, table: &Table) {
        let origin = self.origin(at);
        for (key, _) in table.entries() {
            let name = key.name.as_str();
            if !NAMES.contains(&name) {
                let message = unknown("key", name, &NAMES, " in [[token_key]]");
                return self.problem(key.at, message);
            }
        }
        let place = |name: &str| table.get(name).map_or(at, |item| item.at);
        let Some(algorithm) = self.string(at, table, ALGORITHM) else {
            return;
        };
        let names = Algorithm::ALL.map(Algorithm::name);
        let Some(algorithm) = Algorithm::ALL.into_iter().find(|a| a.name() == algorithm) else {
            let message = unknown("algorithm", &algorithm, &names, "");
            let all = names.join(", ");
            return self.problem(place(ALGORITHM), format!("{message}; there are {all}"));
        };
        let mut optional = |name| match table.get(name) {
            None => Some(None),
            Some(_) => self.string(at, table, name).map(Some),
        };
        let (Some(kid), Some(secret), Some(file)) =
            (optional(KID), optional(SECRET), optional(FILE))
        else {
            return;
        };
        let message = match (&secret, &file) {
            (None, None) => format!("`{FILE}` (or `{SECRET}` for HS256) is missing here"),
            (Some(_), Some(_)) => format!("either `{SECRET}` or `{FILE}`"),
            (Some(secret), None) if secret == COVERED => {
                format!(
                    "{COVERED:?} stands for a secret that --print-config did not show: put it there"
                )
            }
            (Some(_), None) if algorithm != Algorithm::Hs256 => {
                format!("`{SECRET}` is for HS256: a public key stands in a `{FILE}`")
            }
            _ => {
                return self.add_token_key(TokenKeyRecord {
                    algorithm,
                    kid,
                    secret,
                    file: file.map(PathBuf::from),
                    origin,
                });
            }
        };
        let at = if secret.is_some() { place(SECRET) } else { at };
        self.problem(at, message);
    }
}

impl Build<'_> {
    /// What checks the tokens of everybody, if there is a key.
    pub(super) fn verifier(&mut self, settings: &TokenSettings) -> Option<Arc<Verifier>> {
        let record = self.record;
        let mut keys = Vec::new();
        for written in &record.token_keys {
            match written.read() {
                Ok(read) => keys.extend(read),
                Err(message) => self.problem(written.origin.clone(), message),
            }
        }
        let mut rights = Rights::default();
        let lists = [
            (Action::Subscribe, &settings.subscribe),
            (Action::Publish, &settings.publish),
            (Action::Presence, &settings.presence),
            (Action::History, &settings.history),
        ];
        for (action, patterns) in lists {
            for pattern in patterns {
                if let Err(why) = rights.add(action, pattern) {
                    let name = action.name();
                    let origin = record.settings.origin(SECTION, name);
                    self.problem(origin, format!("`{name}`: {pattern:?}: {why}"));
                }
            }
        }
        let last = record.token_keys.last()?;
        match Verifier::new(keys) {
            Ok(verifier) => {
                let verifier = verifier
                    .issuers(settings.issuers.iter().cloned())
                    .audiences(settings.audiences.iter().cloned())
                    .leeway_s(settings.leeway_ms.div_ceil(1000))
                    .bytes_max(settings.bytes_max)
                    .rights(rights);
                Some(Arc::new(if settings.allow_without_exp {
                    verifier.allow_without_exp()
                } else {
                    verifier
                }))
            }
            Err(error) => {
                // Those that could not be read have been told.
                if !self.has_problem_at(&record.token_keys) {
                    self.problem(last.origin.clone(), error.to_string());
                }
                None
            }
        }
    }

    fn has_problem_at(&self, keys: &[TokenKeyRecord]) -> bool {
        let at = |origin: &Origin| keys.iter().any(|key| key.origin == *origin);
        self.problems()
            .iter()
            .any(|problem: &Problem| at(&problem.origin))
    }
}
