//! Keys that check signatures (RFC 7518 §3): each has one algorithm, and only that.
//!
//! | algorithm | key | read from |
//! | --- | --- | --- |
//! | `HS256` | a secret of at least 32 bytes (RFC 7518 §3.2) | text, a file, JWK `oct` |
//! | `ES256` | a point of P-256 | PEM, JWK `EC` |
//! | `EdDSA` | a point of Ed25519 (RFC 8037) | PEM, JWK `OKP` |
//! | `RS256` | a modulus of 2,048 to 4,096 bits (RFC 7518 §3.3) | PEM, JWK `RSA` |
//!
//! PEM is a `PUBLIC KEY` (RFC 5280 §4.1), as `openssl pkey -pubout` writes it. A JWK may stand alone or in a set (RFC 7517
//! §5), of which those keys are taken that are of the algorithm. What only the signer should have is refused.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::Verifier as _;
use rsa::BoxedUint;
use rsa::pkcs1v15;
use sha2::Sha256;

use super::json::{self, Object};

/// What a token is signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    Rs256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Es256, Self::EdDsa, Self::Rs256];

    /// The value of `alg` (RFC 7518 §3.1, RFC 8037 §3.1).
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm of that name. Ed25519 has two (RFC 9864 §2.2).
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The JWK type of its keys, and their curve.
    fn kind(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Hs256 => ("oct", None),
            Self::Es256 => ("EC", Some("P-256")),
            Self::EdDsa => ("OKP", Some("Ed25519")),
            Self::Rs256 => ("RSA", None),
        }
    }
}

/// A key that checks signatures. `Debug` does not show it.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Option<Box<str>>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Secret(Box<[u8]>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    Rsa(Box<pkcs1v15::VerifyingKey<Sha256>>),
}

/// RFC 7518 §3.2: as long as the hash.
const SECRET_BYTES_MIN: usize = 32;
/// RFC 7518 §3.3, and what the arithmetic allows.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// Keys in one set.
const KEYS_MAX: usize = 64;

impl VerifyingKey {
    /// A secret that the signer has too.
    ///
    /// # Errors
    /// [`KeyError::ShortSecret`].
    pub fn secret(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::ShortSecret(secret.len()));
        }
        Ok(Self::of(Material::Secret(secret.into())))
    }

    /// What a file says: PEM, a JWK, a set of JWKs, or for `HS256` anything else as the secret itself, without the
    /// line's end.
    ///
    /// # Errors
    /// Why there is no key of that algorithm in it.
    pub fn read(algorithm: Algorithm, text: &[u8]) -> Result<Vec<Self>, KeyError> {
        let trimmed = text.trim_ascii();
        if trimmed.starts_with(b"{") {
            return Self::from_jwks(algorithm, trimmed);
        }
        if algorithm == Algorithm::Hs256 {
            let line = text.strip_suffix(b"\n").unwrap_or(text);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            return Ok(vec![Self::secret(line)?]);
        }
        let text = std::str::from_utf8(trimmed).map_err(|_| KeyError::Form)?;
        let der = from_pem(text)?;
        Ok(vec![Self::from_spki(algorithm, &der)?])
    }

    /// The same with a name, for tokens that say which key they are for.
    pub fn with_kid(mut self, kid: &str) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// The name.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The algorithm, which no token can change.
    pub fn algorithm(&self) -> Algorithm {
        match &self.material {
            Material::Secret(_) => Algorithm::Hs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
            Material::Rsa(_) => Algorithm::Rs256,
        }
    }

    /// Whether this signature is over that text.
    pub(super) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(secret) => {
                let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
                    return false;
                };
                mac.update(text);
                mac.verify_slice(signature).is_ok()
            }
            Material::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(text, &signature).is_ok()),
            Material::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(text, &signature).is_ok()),
            Material::Rsa(key) => pkcs1v15::Signature::try_from(signature)
                .is_ok_and(|signature| key.verify(text, &signature).is_ok()),
        }
    }

    fn of(material: Material) -> Self {
        Self {
            kid: None,
            material,
        }
    }

    fn p256(point: &[u8]) -> Result<Self, KeyError> {
        let key =
            p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| KeyError::Material)?;
        Ok(Self::of(Material::P256(Box::new(key))))
    }

    fn ed25519(point: &[u8]) -> Result<Self, KeyError> {
        let bytes = point.try_into().map_err(|_| KeyError::Material)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Material)?;
        if key.is_weak() {
            return Err(KeyError::Material);
        }
        Ok(Self::of(Material::Ed25519(Box::new(key))))
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let modulus = modulus.get(zeros..).unwrap_or_default();
        if !MODULUS_BYTES.contains(&modulus.len())
            || modulus.first().is_none_or(|first| *first < 0x80)
        {
            return Err(KeyError::Modulus);
        }
        if exponent.len() > 8 {
            return Err(KeyError::Material);
        }
        let number = BoxedUint::from_be_slice_vartime;
        let key = rsa::RsaPublicKey::new(number(modulus), number(exponent));
        let key = key.map_err(|_| KeyError::Material)?;
        Ok(Self::of(Material::Rsa(Box::new(
            pkcs1v15::VerifyingKey::new(key),
        ))))
    }

    fn from_jwks(algorithm: Algorithm, text: &[u8]) -> Result<Vec<Self>, KeyError> {
        let object = Object::parse(text).map_err(|_| KeyError::Form)?;
        let Some(keys) = object.get("keys") else {
            let key = Self::from_jwk(algorithm, &object)?;
            return Ok(vec![key.ok_or(KeyError::OtherAlgorithm)?]);
        };
        let mut found = Vec::new();
        for item in json::items(keys).ok_or(KeyError::Form)? {
            let item = item.map_err(|_| KeyError::Form)?;
            let object = Object::parse(item.as_bytes()).map_err(|_| KeyError::Form)?;
            found.extend(Self::from_jwk(algorithm, &object)?);
            if found.len() > KEYS_MAX {
                return Err(KeyError::TooMany);
            }
        }
        if found.is_empty() {
            return Err(KeyError::OtherAlgorithm);
        }
        Ok(found)
    }

    /// `None`: it is of another algorithm, or not for signatures.
    fn from_jwk(algorithm: Algorithm, jwk: &Object<'_>) -> Result<Option<Self>, KeyError> {
        let text = |name| match jwk.get(name) {
            None => Ok(None),
            Some(value) => json::string(value).map(Some).ok_or(KeyError::Form),
        };
        let bytes = |name| {
            let encoded = text(name)?.ok_or(KeyError::Form)?;
            base64url(&encoded).ok_or(KeyError::Form)
        };
        let (kind, curve) = algorithm.kind();
        let names = text("alg")?;
        let is_ours = text("kty")?.as_deref() == Some(kind)
            && text("crv")?.as_deref() == curve
            && names.is_none_or(|name| Algorithm::named(&name) == Some(algorithm))
            && text("use")?.is_none_or(|used| used == "sig");
        if !is_ours {
            return Ok(None);
        }
        if algorithm != Algorithm::Hs256 && jwk.get("d").is_some() {
            return Err(KeyError::Private);
        }
        let key = match algorithm {
            Algorithm::Hs256 => Self::secret(&bytes("k")?)?,
            Algorithm::Es256 => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                if (x.len(), y.len()) != (32, 32) {
                    return Err(KeyError::Material);
                }
                Self::p256(&[&[4], &x[..], &y[..]].concat())?
            }
            Algorithm::EdDsa => Self::ed25519(&bytes("x")?)?,
            Algorithm::Rs256 => Self::rsa(&bytes("n")?, &bytes("e")?)?,
        };
        Ok(Some(match text("kid")? {
            Some(kid) => key.with_kid(&kid),
            None => key,
        }))
    }

    /// SubjectPublicKeyInfo (RFC 5280 §4.1, RFC 5480, RFC 8410, RFC 8017 §A.1.1).
    fn from_spki(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        let mut all = Der(der);
        let mut outer = Der(all.take(SEQUENCE)?);
        let identifier = outer.take(SEQUENCE)?;
        let bits = outer.take(BIT_STRING)?;
        let [0, key @ ..] = bits else {
            return Err(KeyError::Form);
        };
        if !(all.0.is_empty() && outer.0.is_empty()) {
            return Err(KeyError::Form);
        }
        match (algorithm, identifier) {
            (Algorithm::Es256, ID_P256) => Self::p256(key),
            (Algorithm::EdDsa, ID_ED25519) => Self::ed25519(key),
            (Algorithm::Rs256, ID_RSA) => {
                let mut numbers = Der(key);
                let mut numbers = Der(numbers.take(SEQUENCE)?);
                let (modulus, exponent) = (numbers.take(INTEGER)?, numbers.take(INTEGER)?);
                Self::rsa(modulus, exponent)
            }
            (_, ID_P256 | ID_ED25519 | ID_RSA) => Err(KeyError::OtherAlgorithm),
            _ => Err(KeyError::Material),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the secret itself.
        write!(f, "VerifyingKey({})", self.algorithm().name())
    }
}

/// id-ecPublicKey, prime256v1.
const ID_P256: &[u8] = &[
    6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7,
];
/// id-Ed25519.
const ID_ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];
/// rsaEncryption, NULL.
const ID_RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 3;
const INTEGER: u8 = 2;

/// As much of DER (X.690) as a public key needs: a tag, a length, the bytes.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn take(&mut self, tag: u8) -> Result<&'a [u8], KeyError> {
        let [its_tag, length, rest @ ..] = self.0 else {
            return Err(KeyError::Form);
        };
        let (length, rest) = match (*length, rest) {
            (short @ 0..=0x7f, rest) => (usize::from(short), rest),
            (0x81, [length, rest @ ..]) => (usize::from(*length), rest),
            (0x82, [high, low, rest @ ..]) => {
                (usize::from(u16::from_be_bytes([*high, *low])), rest)
            }
            _ => return Err(KeyError::Form),
        };
        let (value, rest) = rest.split_at_checked(length).ok_or(KeyError::Form)?;
        if *its_tag != tag {
            return Err(KeyError::Form);
        }
        self.0 = rest;
        Ok(value)
    }
}

/// The bytes of a PEM `PUBLIC KEY` (RFC 7468 §13).
fn from_pem(text: &str) -> Result<Vec<u8>, KeyError> {
    let mut lines = text.lines().map(str::trim);
    let label = lines
        .find_map(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .ok_or(KeyError::Form)?;
    match label {
        "PUBLIC KEY" => {}
        _ if label.ends_with("PRIVATE KEY") => return Err(KeyError::Private),
        _ => return Err(KeyError::Label),
    }
    let mut encoded = String::new();
    for line in lines {
        if line == "-----END PUBLIC KEY-----" {
            return decoded(&STANDARD, &encoded).ok_or(KeyError::Form);
        }
        encoded.push_str(line);
    }
    Err(KeyError::Form)
}

/// RFC 7515 §2: base64url without padding, and only one text for the same bytes.
pub(super) fn base64url(text: &str) -> Option<Vec<u8>> {
    decoded(&URL_SAFE_NO_PAD, text)
}

fn decoded(engine: &GeneralPurpose, text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; text.len() / 4 * 3 + 3];
    let length = engine.decode_slice(text, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

/// A signed token, for tests: those who make tokens are elsewhere.
#[cfg(any(test, feature = "sim"))]
pub(super) fn sign_hs256(secret: &[u8], header: &[u8], payload: &[u8]) -> String {
    let signed = format!("{}.{}", encoded(header), encoded(payload));
    let signature = signature_hs256(secret, signed.as_bytes());
    format!("{signed}.{signature}")
}

/// The third part of such a token.
#[cfg(any(test, feature = "sim"))]
pub(super) fn signature_hs256(secret: &[u8], signed: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length is fine");
    mac.update(signed);
    encoded(&mac.finalize().into_bytes())
}

#[cfg(any(test, feature = "sim"))]
fn encoded(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len() * 2 + 4];
    let length = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
    text.truncate(length.expect("there is room"));
    String::from_utf8(text).expect("base64 is ASCII")
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// A secret of so many bytes.
    ShortSecret(usize),
    /// Neither PEM nor a JWK, or one that is broken.
    Form,
    /// PEM with another label.
    Label,
    /// It could sign.
    Private,
    /// A key of another algorithm.
    OtherAlgorithm,
    /// RSA of a size that is not taken.
    Modulus,
    /// No point of the curve, or a number that no key has.
    Material,
    /// More keys than may be.
    TooMany,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortSecret(bytes) => write!(
                f,
                "the secret has {bytes} bytes, and HS256 wants at least {SECRET_BYTES_MIN} (RFC 7518 §3.2)"
            ),
            Self::Form => f.write_str("this is neither a PEM public key nor a JWK or a set of them"),
            Self::Label => f.write_str(
                "this PEM is no PUBLIC KEY: `openssl pkey -pubin -pubout` or `openssl x509 -pubkey -noout` writes one",
            ),
            Self::Private => f.write_str(
                "this is a private key, and a server that only checks tokens must not have it: `openssl pkey -pubout` \
                 writes the public one",
            ),
            Self::OtherAlgorithm => f.write_str("there is no key of this algorithm in it"),
            Self::Modulus => f.write_str("RSA keys have 2,048 to 4,096 bits here (RFC 7518 §3.3)"),
            Self::Material => f.write_str("the key is none that this algorithm can have"),
            Self::TooMany => write!(f, "more than {KEYS_MAX} keys"),
        }
    }
}

impl std::error::Error for KeyError {}
