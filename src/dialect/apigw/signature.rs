//! Who has signed a request.
//!
//! ```text
//!  METHOD                       x-ca-signature = base64 of HMAC-SHA256 (or HMAC-SHA1, x-ca-signature-method says which)
//!  accept                       with the secret of the app whose key is x-ca-key, over these lines, joined by LF;
//!  content-md5                  a header that is missing is an empty line
//!  content-type
//!  date
//!  name:value                   of each header that x-ca-signature-headers names, sorted
//!  path?a=1&b                   with parameters of the query and of a form, sorted, first values only, not escaped
//! ```
//!
//! What a signature has to cover, because it would mean something else otherwise: the key, the kind of API, the device of
//! a notification, and the time. A body that is no form is covered by `content-md5`, where a client sends it.
//!
//! | what is wrong | status |
//! | --- | --- |
//! | something is missing, too old, or not covered | 400 |
//! | the key is unknown, the signature or `content-md5` does not fit, the nonce was used before | 403 |

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::hash::BuildHasher;
use std::rc::Rc;

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use super::answer::Refused;
use super::forward::DEVICE;
use super::gateway::Gateway;
use super::request::{ApiRequest, BASE64};
use crate::http::percent_decode;
use crate::hub::Context;

/// The key of an app, and the secret that it signs with; written `KEY=SECRET`. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct AppKey {
    key: Rc<str>,
    secret: String,
}

/// Those who may call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppKeys(pub Vec<AppKey>);

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppKey")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl std::str::FromStr for AppKey {
    type Err = AppKeyError;

    fn from_str(text: &str) -> Result<Self, AppKeyError> {
        let (key, secret) = text.split_once('=').ok_or(AppKeyError)?;
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !is_plain(key) || !is_plain(secret) {
            return Err(AppKeyError);
        }
        Ok(Self {
            key: key.into(),
            secret: secret.to_owned(),
        })
    }
}

/// A text that is no [`AppKey`]. It is not shown: there is a secret in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppKeyError;

impl fmt::Display for AppKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an app key is written KEY=SECRET, in visible ASCII")
    }
}

impl std::error::Error for AppKeyError {}

const fn bad(why: &'static str) -> Refused {
    Refused::new(400, why, "apigw_signature_missing")
}

const fn wrong(why: &'static str) -> Refused {
    Refused::new(403, why, "apigw_signature")
}

impl Gateway {
    /// The key that has signed a request; `None`: nobody has to.
    pub(super) fn check_signature(
        &mut self,
        cx: &Context<'_>,
        request: &ApiRequest,
    ) -> Result<Option<Rc<str>>, Refused> {
        if self.options.app_keys.0.is_empty() {
            return Ok(None);
        }
        let said_key = request
            .header("x-ca-key")
            .ok_or(bad("x-ca-key is missing"))?;
        let mut keys = self.options.app_keys.0.iter();
        let app = keys
            .find(|app| *app.key == *said_key)
            .ok_or(wrong("the key is unknown"))?;
        let said = request
            .header("x-ca-signature")
            .and_then(|text| BASE64.decode(text).ok())
            .ok_or(bad("x-ca-signature is missing, or no base64"))?;
        let list = request.header("x-ca-signature-headers").unwrap_or_default();
        let covered: Vec<&str> = list.split(',').map(str::trim).collect();
        let covers = |name: &str| covered.iter().any(|own| own.eq_ignore_ascii_case(name));
        if !["x-ca-key", "x-ca-websocket_api_type", DEVICE]
            .iter()
            .all(|name| request.header(name).is_none() || covers(name))
        {
            return Err(bad(
                "x-ca-signature-headers leaves out the key, the kind of API or the device",
            ));
        }
        let unix_ms = cx.now().unix_ms;
        let age_ms = self.options.signature_age_ms;
        if age_ms > 0 {
            let time = request.header("x-ca-timestamp");
            let time = time.filter(|_| covers("x-ca-timestamp"));
            let time: Option<u64> = time.and_then(|time| time.parse().ok());
            let time = time.ok_or(bad("x-ca-timestamp is missing, no number, or not signed"))?;
            if time.abs_diff(unix_ms) > age_ms {
                return Err(bad("x-ca-timestamp is too far from now"));
            }
        }
        let text = string_to_sign(request, &covered);
        let secret = app.secret.as_bytes();
        let fits = match request.header("x-ca-signature-method") {
            None | Some("" | "HmacSHA256") => fits::<Hmac<Sha256>>(secret, &text, &said),
            Some("HmacSHA1") => fits::<Hmac<Sha1>>(secret, &text, &said),
            Some(_) => return Err(bad("x-ca-signature-method is unknown")),
        };
        if !fits {
            return Err(wrong("the signature does not fit"));
        }
        if let Some(md5) = request.header("content-md5").filter(|md5| !md5.is_empty())
            && BASE64.decode(md5).ok().as_deref() != Some(&*Md5::digest(&request.body))
        {
            return Err(wrong("content-md5 does not fit the body"));
        }
        let app = app.key.clone();
        if let Some(nonce) = request.header("x-ca-nonce").filter(|_| age_ms > 0) {
            // Both sides of now, or one that is early could come again.
            let until = unix_ms.saturating_add(2 * age_ms);
            if !self.nonces.is_new(&app, nonce, unix_ms, until) {
                return Err(wrong("x-ca-nonce was used before"));
            }
        }
        Ok(Some(app))
    }
}

/// Compared in constant time.
fn fits<M: Mac + KeyInit>(secret: &[u8], text: &str, said: &[u8]) -> bool {
    // HMAC takes keys of any length (RFC 2104 §3).
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(secret) else {
        return false;
    };
    mac.update(text.as_bytes());
    mac.verify_slice(said).is_ok()
}

fn string_to_sign(request: &ApiRequest, covered: &[&str]) -> String {
    let mut text = String::from(request.method);
    text.push('\n');
    let fixed = ["accept", "content-md5", "content-type", "date"];
    for name in fixed {
        text.push_str(request.header(name).unwrap_or_default());
        text.push('\n');
    }
    let mut names = covered.to_vec();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let never = ["x-ca-signature", "x-ca-signature-headers"];
        let mut others = fixed.iter().chain(&never);
        if name.is_empty() || others.any(|other| other.eq_ignore_ascii_case(name)) {
            continue;
        }
        text.push_str(name);
        text.push(':');
        text.push_str(request.header(name).unwrap_or_default());
        text.push('\n');
    }
    text.push_str(&request.said_path);
    let mut parameters = BTreeMap::new();
    let form = request.header("content-type").unwrap_or_default();
    let is_form = form
        .get(..FORM.len())
        .is_some_and(|kind| kind.eq_ignore_ascii_case(FORM));
    let form = std::str::from_utf8(&request.body).ok().filter(|_| is_form);
    for pair in [request.query.as_str(), form.unwrap_or_default()]
        .iter()
        .flat_map(|all| all.split('&'))
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.entry(decoded(name)).or_insert(decoded(value));
    }
    for (at, (name, value)) in parameters.iter().enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        text.push_str(name);
        if !value.is_empty() {
            text.push('=');
            text.push_str(value);
        }
    }
    text
}

const FORM: &str = "application/x-www-form-urlencoded";

/// As it was before it was escaped, if it was.
fn decoded(text: &str) -> String {
    let plain = text.replace('+', " ");
    percent_decode(&plain).map_or_else(|| text.to_owned(), Into::into)
}

/// Numbers that were used once, for as long as a signature with them would be young enough. When there are too many, the
/// oldest are forgotten first.
#[derive(Debug)]
pub(super) struct Nonces {
    max: usize,
    hasher: RandomState,
    known: HashSet<u64>,
    /// Until when each is remembered; all for the same time, so the oldest is in front.
    order: VecDeque<(u64, u64)>,
}

impl Nonces {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            hasher: RandomState::new(),
            known: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    fn is_new(&mut self, app: &str, nonce: &str, now_ms: u64, until_ms: u64) -> bool {
        while let Some((until, hash)) = self.order.front().copied()
            && (until <= now_ms || self.order.len() >= self.max.max(1))
        {
            self.order.pop_front();
            self.known.remove(&hash);
        }
        let hash = self.hasher.hash_one((app, nonce));
        let is_new = self.known.insert(hash);
        if is_new {
            self.order.push_back((until_ms, hash));
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request() -> ApiRequest {
        let headers = [
            ("accept", "application/json; charset=utf-8"),
            (
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            ),
            ("date", "Wed, 09 May 2018 13:30:29 GMT"),
            ("x-ca-key", "12344133"),
            ("x-ca-nonce", "c9f15cbf-f4ac-4a6c-b54d-f51abf4b5b44"),
            ("x-ca-seq", "0"),
            ("x-ca-timestamp", "1525872629832"),
            ("x-ca-websocket_api_type", "REGISTER"),
        ];
        ApiRequest {
            method: "POST",
            host: String::new(),
            said_path: "/register".to_owned(),
            path: "/register".to_owned(),
            query: String::new(),
            headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
            body: b"username=xiaoming&password=123456789".to_vec(),
        }
    }

    const COVERED: [&str; 5] = [
        "x-ca-timestamp",
        "x-ca-key",
        "x-ca-nonce",
        "x-ca-seq",
        "x-ca-websocket_api_type",
    ];

    #[test]
    fn the_published_example_fits() {
        let text = string_to_sign(&request(), &COVERED);
        let said = |base64: &str| BASE64.decode(base64).unwrap();
        let sha256 = said("/6+1h0bU3Mgck3jYsFjI+EXnooMJAJehmNgX3lh1RBE=");
        assert!(fits::<Hmac<Sha256>>(b"secret123", &text, &sha256), "{text}");
        let sha1 = said("gtkBr+S6YSvwLMuHzFUHosDju64=");
        assert!(fits::<Hmac<Sha1>>(b"secret123", &text, &sha1));
        assert!(!fits::<Hmac<Sha256>>(b"secret124", &text, &sha256));
        assert!(!fits::<Hmac<Sha256>>(b"secret123", &text, &sha256[1..]));
        assert!(!fits::<Hmac<Sha256>>(b"secret123", &text, b""));
    }

    #[test]
    fn parameters_are_sorted_and_not_escaped() {
        let mut request = request();
        request.query = "b=%26+1&a&c=&b=2&%61a=x".to_owned();
        request.body = b"z=%E4%BD%A0&b=3".to_vec();
        let text = string_to_sign(&request, &[]);
        assert_eq!(
            text.lines().last(),
            Some("/register?a&aa=x&b=& 1&c&z=\u{4f60}")
        );
    }

    #[test]
    fn nonces_are_used_once() {
        let mut nonces = Nonces::new(2);
        assert!(nonces.is_new("a", "1", 0, 10));
        assert!(!nonces.is_new("a", "1", 9, 19));
        assert!(nonces.is_new("b", "1", 9, 19));
        assert!(nonces.is_new("a", "1", 10, 20), "its time is over");
        assert!(nonces.is_new("a", "2", 11, 21));
        assert_eq!(nonces.order.len(), 2);
    }

    #[test]
    fn keys_are_read_and_not_shown() {
        let key: AppKey = "12344133=secret=123".parse().unwrap();
        assert_eq!((&*key.key, &*key.secret), ("12344133", "secret=123"));
        assert!(!format!("{key:?}").contains("secret"));
        for bad in ["", "a", "a=", "=b", "a b=c", "a=b c"] {
            assert_eq!(bad.parse::<AppKey>(), Err(AppKeyError), "{bad}");
        }
    }
}
