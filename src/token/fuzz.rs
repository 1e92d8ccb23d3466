//! The body of this room's fuzz target, and what tests sign tokens with.

use super::json::{self, Object};
use super::{Action, Rights, TokenError, Verifier, VerifyingKey, key};

/// The secret of [`sign`] that [`verifier`] knows.
pub const SECRET: &[u8] = b"thirty-two bytes that everybody knows";
/// The second at which the target looks.
const NOW: u64 = 1_795_170_653;

/// A token signed with `HS256`, with any header at all.
pub fn sign(secret: &[u8], header: &str, payload: &str) -> String {
    key::sign_hs256(secret, header.as_bytes(), payload.as_bytes())
}

/// A verifier that knows [`SECRET`].
pub fn verifier() -> Verifier {
    let key = VerifyingKey::secret(SECRET).expect("long enough");
    Verifier::new(vec![key]).expect("one key")
}

/// Names and values of an object's members as this room reads them, each value as it is written, and its text if it is a
/// string; `None`: it is refused.
pub fn members(text: &[u8]) -> Option<Vec<(String, String, Option<String>)>> {
    let object = Object::parse(text).ok()?;
    let members = object.members().map(|(name, value)| {
        let text = json::string(value).map(|text| text.into_owned());
        (name.to_owned(), value.to_owned(), text)
    });
    Some(members.collect())
}

/// Oracle: nothing is taken without the right signature, whatever it says; what is signed and taken has begun, has not
/// ended, is for somebody whose name can be one, and allows nothing that it does not say.
///
/// The first byte says what the rest is: a token, the claims of a signed one, its header, or a key's file.
pub fn token(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else {
        return;
    };
    let verifier = verifier();
    match how % 4 {
        0 => {
            let Ok(text) = std::str::from_utf8(rest) else {
                return;
            };
            if let Ok(grant) = verifier.verify(text, NOW) {
                let signed = text.rsplit_once('.').expect("three parts").0;
                let again = key::signature_hs256(SECRET, signed.as_bytes());
                assert!(text.ends_with(&again), "taken with another signature");
                assert!(!grant.is_over(NOW));
            }
        }
        1 => claims(rest),
        2 => {
            let token = key::sign_hs256(SECRET, rest, b"{\"exp\":9999999999}");
            match verifier.verify(&token, NOW) {
                Ok(_) => {
                    let header = Object::parse(rest).expect("a header that was taken");
                    let algorithm = header.get("alg").and_then(json::string);
                    assert_eq!(algorithm.as_deref(), Some("HS256"));
                    assert_eq!(header.get("crit"), None);
                }
                Err(error) => assert_ne!(error, TokenError::Signature, "it was signed"),
            }
        }
        _ => {
            for algorithm in super::Algorithm::ALL {
                for key in VerifyingKey::read(algorithm, rest).into_iter().flatten() {
                    assert_eq!(key.algorithm(), algorithm);
                    assert!(!key.verifies(b"text", b""));
                }
            }
        }
    }
}

fn claims(payload: &[u8]) {
    let token = key::sign_hs256(SECRET, b"{\"alg\":\"HS256\"}", payload);
    let own = Rights::default()
        .allow(Action::Presence, "own.*")
        .expect("a pattern");
    let verifier = verifier().bytes_max(usize::MAX).rights(own);
    let grant = match verifier.verify(&token, NOW) {
        Ok(grant) => grant,
        Err(error) => {
            let is_of_header = matches!(error, TokenError::Signature | TokenError::Algorithm);
            assert!(!is_of_header, "it was signed");
            return;
        }
    };
    let claims = Object::parse(payload).expect("claims that were taken");
    assert!(!grant.is_over(NOW) && grant.is_signed());
    assert!(grant.taken_until().is_some_and(|until| until > NOW));
    assert_eq!(claims.get("aud"), None, "nobody here has a name");
    if let Some(user) = grant.user() {
        assert!(user.len() <= 255 && !user.contains(char::is_control));
    }
    assert!(
        grant.may(Action::Presence, "own.x"),
        "what every token allows"
    );
    let says_something = ["dunlin", "mercure", "channels"]
        .iter()
        .any(|c| claims.get(c).is_some());
    for action in [
        Action::Subscribe,
        Action::Publish,
        Action::History,
        Action::Admin,
    ] {
        assert!(
            says_something || !grant.may(action, "a"),
            "allowed by nobody"
        );
    }
    if claims.get("dunlin").is_none() {
        assert!(!grant.may(Action::Admin, ""));
    }
}
