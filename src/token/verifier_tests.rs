#![allow(clippy::unwrap_used)]
use super::*;
use crate::token::fuzz::{SECRET, sign, verifier};
use crate::token::{Action, KeyError};

const NOW: u64 = 1_795_170_653;
const HS256: &str = r#"{"alg":"HS256"}"#;

/// RFC 7515 appendix A.1 to A.3, RFC 8037 appendix A.4: algorithm, key, token.
const EXAMPLES: [(Algorithm, &str, &str); 4] = [
    (
        Algorithm::Hs256,
        r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
         eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
         dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    ),
    (
        Algorithm::Rs256,
        r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
        "eyJhbGciOiJSUzI1NiJ9.\
         eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
         cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    ),
    (
        Algorithm::Es256,
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        "eyJhbGciOiJFUzI1NiJ9.\
         eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
         DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
    (
        Algorithm::EdDsa,
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
         hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    ),
];

fn example(of: Algorithm) -> (Vec<VerifyingKey>, &'static str) {
    let (_, jwk, token) = EXAMPLES.iter().find(|(a, ..)| *a == of).unwrap();
    (VerifyingKey::read(of, jwk.as_bytes()).unwrap(), token)
}

#[test]
fn the_examples_of_the_standards() {
    for algorithm in Algorithm::ALL {
        let (keys, token) = example(algorithm);
        assert_eq!(keys[0].algorithm(), algorithm);
        let verifier = Verifier::new(keys).unwrap();
        let (before, at) = (1_300_819_379 + 10, 1_300_819_380 + 10);
        if algorithm == Algorithm::EdDsa {
            // What it signs is no JSON, which is only found out behind a signature that is right.
            assert_eq!(verifier.verify(token, 0).err(), Some(TokenError::Malformed));
        } else {
            let grant = verifier.verify(token, before).unwrap();
            assert_eq!(
                (grant.expires_at(), grant.user()),
                (Some(1_300_819_380), None)
            );
            assert_eq!(verifier.verify(token, at).err(), Some(TokenError::Expired));
        }
        // One bit elsewhere, in each part.
        for (part, expected) in [(1, TokenError::Signature), (2, TokenError::Signature)] {
            let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
            let first = if parts[part].starts_with('A') {
                "B"
            } else {
                "A"
            };
            parts[part].replace_range(..1, first);
            let refused = verifier.verify(&parts.join("."), 0).err();
            assert_eq!(refused, Some(expected), "{algorithm:?} {part}");
        }
    }
}

#[test]
fn the_algorithm_is_the_keys() {
    let all: Vec<VerifyingKey> = Algorithm::ALL
        .into_iter()
        .flat_map(|a| example(a).0)
        .collect();
    let every = Verifier::new(all).unwrap();
    for algorithm in Algorithm::ALL {
        let (_, token) = example(algorithm);
        let taken = every.verify(token, 0).err();
        assert!(
            matches!(taken, None | Some(TokenError::Malformed)),
            "{taken:?}"
        );
        for other in Algorithm::ALL
            .into_iter()
            .filter(|other| *other != algorithm)
        {
            let verifier = Verifier::new(example(other).0).unwrap();
            assert_eq!(verifier.verify(token, 0).err(), Some(TokenError::Algorithm));
        }
    }
    // The public key of one algorithm as the secret of another.
    let (_, jwk, _) = EXAMPLES[1];
    let confused = sign(jwk.as_bytes(), HS256, "{}");
    let verifier = Verifier::new(example(Algorithm::Rs256).0).unwrap();
    assert_eq!(
        verifier.verify(&confused, 0).err(),
        Some(TokenError::Algorithm)
    );
}

#[test]
fn each_thing_that_is_wrong_has_its_answer() {
    let claims = |more: &str| format!("{{\"exp\":{}{more}}}", NOW + 60);
    let good = claims("");
    let signed = |header: &str| sign(SECRET, header, &good);
    let of = |more: &str| sign(SECRET, HS256, &claims(more));
    let fine = of("");
    let parts: Vec<&str> = fine.split('.').collect();
    let joined = |a: &str, b: &str, c: &str| format!("{a}.{b}.{c}");
    let long = format!(",\"x\":\"{}\"", "x".repeat(3000));
    let members: String = (0..64).map(|n| format!(",\"m{n}\":0")).collect();
    let patterns = |n: usize| {
        format!(
            ",\"dunlin\":{{\"subscribe\":[{}]}}",
            vec!["\"a\""; n].join(",")
        )
    };
    let cases: Vec<(String, Option<TokenError>)> = vec![
        (fine.clone(), None),
        (String::new(), Some(TokenError::Malformed)),
        ("a.b".to_owned(), Some(TokenError::Malformed)),
        (format!("{fine}."), Some(TokenError::Malformed)),
        (format!("{fine}.AAAA.AAAA"), Some(TokenError::Malformed)),
        (format!("{fine}="), Some(TokenError::Malformed)),
        (format!(" {fine}"), Some(TokenError::Malformed)),
        (joined("!", parts[1], parts[2]), Some(TokenError::Malformed)),
        (
            joined("e30", parts[1], parts[2]),
            Some(TokenError::Malformed),
        ),
        (
            joined(parts[0], "e30", parts[2]),
            Some(TokenError::Signature),
        ),
        (joined(parts[0], parts[1], ""), Some(TokenError::Signature)),
        (
            joined(parts[0], parts[1], &parts[2][..40]),
            Some(TokenError::Signature),
        ),
        (
            sign(b"another secret of thirty-two bytes or more", HS256, &good),
            Some(TokenError::Signature),
        ),
        (signed(r#"{"alg":"none"}"#), Some(TokenError::Algorithm)),
        (signed(r#"{"alg":"hs256"}"#), Some(TokenError::Algorithm)),
        (signed(r#"{"alg":"HS512"}"#), Some(TokenError::Algorithm)),
        (signed(r#"{"alg":["HS256"]}"#), Some(TokenError::Malformed)),
        (
            signed(r#"{"alg":"HS256","alg":"HS256"}"#),
            Some(TokenError::Malformed),
        ),
        (
            signed(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#),
            Some(TokenError::Critical),
        ),
        (
            signed(r#"{"alg":"HS256","kid":7}"#),
            Some(TokenError::Malformed),
        ),
        (signed(r#"{"alg":"HS256","kid":"any"}"#), None),
        (signed(r#"{"typ":"at+jwt","alg":"HS256"}"#), None),
        (signed("[]"), Some(TokenError::Malformed)),
        (of(r#","exp":1"#), Some(TokenError::Malformed)),
        (of(&members), Some(TokenError::Malformed)),
        (of(&long), Some(TokenError::TooLong)),
        (of(r#","sub":"""#), Some(TokenError::Claims)),
        (of(r#","sub":7"#), Some(TokenError::Claims)),
        (of(r#","sub":"a\n""#), Some(TokenError::Claims)),
        (
            of(&format!(",\"sub\":\"{}\"", "x".repeat(256))),
            Some(TokenError::Claims),
        ),
        (of(&format!(",\"sub\":\"{}\"", "x".repeat(255))), None),
        (of(r#","nbf":"now""#), Some(TokenError::Claims)),
        (of(r#","aud":"us""#), Some(TokenError::Audience)),
        (of(r#","aud":7"#), Some(TokenError::Claims)),
        (of(r#","channels":["a",7]"#), Some(TokenError::Claims)),
        (of(r#","dunlin":[]"#), Some(TokenError::Claims)),
        (
            of(r#","dunlin":{"subscribe":["a*b"]}"#),
            Some(TokenError::Claims),
        ),
        (
            of(r#","dunlin":{"subscribe":["{user}*"]}"#),
            Some(TokenError::Claims),
        ),
        (
            of(r#","dunlin":{"subscribe":["a"],"subscribe":["*"]}"#),
            Some(TokenError::Claims),
        ),
        (of(r#","dunlin":{"admin":["a"]}"#), Some(TokenError::Claims)),
        (of(r#","mercure":"*""#), Some(TokenError::Claims)),
        (of(&patterns(64)), None),
        (of(&patterns(65)), Some(TokenError::Claims)),
        (sign(SECRET, HS256, "{}"), Some(TokenError::Endless)),
        (sign(SECRET, HS256, "7"), Some(TokenError::Malformed)),
    ];
    for (token, expected) in cases {
        assert_eq!(verifier().verify(&token, NOW).err(), expected, "{token}");
    }
    assert!(
        verifier()
            .allow_without_exp()
            .verify(&sign(SECRET, HS256, "{}"), NOW)
            .is_ok()
    );
}

#[test]
fn times_are_exact_to_the_second() {
    let verifier = verifier().leeway_s(5).allow_without_exp();
    let at = |claims: &str, now| verifier.verify(&sign(SECRET, HS256, claims), now).err();
    for (claims, now, expected) in [
        (r#"{"exp":100}"#, 104, None),
        (r#"{"exp":100}"#, 105, Some(TokenError::Expired)),
        (r#"{"exp":100.9}"#, 105, Some(TokenError::Expired)),
        (r#"{"exp":-1}"#, 5, Some(TokenError::Expired)),
        (r#"{"nbf":100}"#, 94, Some(TokenError::NotYet)),
        (r#"{"nbf":100}"#, 95, None),
        (r#"{"iat":100}"#, 94, Some(TokenError::NotYet)),
        (r#"{"iat":100}"#, 95, None),
        (r#"{"exp":18446744073709551615}"#, u64::MAX - 1, None),
        (r#"{"exp":99999999999999999999999,"nbf":0}"#, NOW, None),
    ] {
        assert_eq!(at(claims, now), expected, "{claims} at {now}");
    }
}

#[test]
fn issuer_and_audience() {
    let verifier = verifier()
        .allow_without_exp()
        .issuers(["us"])
        .audiences(["a", "b"]);
    for (claims, expected) in [
        (r#"{"iss":"us","aud":"a"}"#, None),
        (r#"{"iss":"us","aud":["x","b"]}"#, None),
        (r#"{"iss":"us","aud":[]}"#, Some(TokenError::Audience)),
        (r#"{"iss":"us","aud":"c"}"#, Some(TokenError::Audience)),
        (r#"{"iss":"us"}"#, Some(TokenError::Audience)),
        (r#"{"aud":"a"}"#, Some(TokenError::Issuer)),
        (r#"{"iss":"them","aud":"a"}"#, Some(TokenError::Issuer)),
        (r#"{"iss":["us"],"aud":"a"}"#, Some(TokenError::Issuer)),
    ] {
        let refused = verifier.verify(&sign(SECRET, HS256, claims), NOW).err();
        assert_eq!(refused, expected, "{claims}");
    }
}

#[test]
fn what_a_token_says_and_what_all_may() {
    let own = Rights::default()
        .allow(Action::Subscribe, "user.{user}.*")
        .unwrap();
    let verifier = verifier().allow_without_exp().rights(own);
    let claims = r#"{"sub":"ann","channels":["n*"],"mercure":{"subscribe":["m.*"],"payload":{}},
                     "dunlin":{"subscribe":"d","publish":["{user}.out"],"history":["*"],"more":7}}"#;
    let grant = verifier.verify(&sign(SECRET, HS256, claims), NOW).unwrap();
    assert_eq!(grant.user(), Some("ann"));
    for (action, channel, expected) in [
        (Action::Subscribe, "n*", true),
        (Action::Subscribe, "news", false),
        (Action::Subscribe, "m.x", true),
        (Action::Subscribe, "d", true),
        (Action::Subscribe, "user.ann.inbox", true),
        (Action::Subscribe, "user.bob.inbox", false),
        (Action::Publish, "ann.out", true),
        (Action::Publish, "d", false),
        (Action::History, "anything", true),
        (Action::Presence, "d", false),
        (Action::Admin, "", false),
    ] {
        assert_eq!(grant.may(action, channel), expected, "{action:?} {channel}");
    }
    let nobody = verifier.verify(&sign(SECRET, HS256, "{}"), NOW).unwrap();
    assert!(!nobody.may(Action::Subscribe, "user..inbox"));
    let all = r#"{"dunlin":{"admin":"*"}}"#;
    let admin = verifier.verify(&sign(SECRET, HS256, all), NOW).unwrap();
    assert!(admin.may(Action::Admin, ""));
}

#[test]
fn keys_by_their_names() {
    let key = |n: u8| VerifyingKey::secret(&[n; 32]).unwrap();
    let header = |kid: &str| format!("{{\"alg\":\"HS256\"{kid}}}");
    let check = |verifier: &Verifier, n: u8, kid: &str| {
        let token = sign(&[n; 32], &header(kid), "{}");
        verifier.verify(&token, NOW).err()
    };
    let named = vec![key(1).with_kid("one"), key(2).with_kid("two")];
    let verifier = Verifier::new(named.clone()).unwrap().allow_without_exp();
    assert_eq!(check(&verifier, 1, r#","kid":"one""#), None);
    assert_eq!(check(&verifier, 2, r#","kid":"two""#), None);
    assert_eq!(
        check(&verifier, 2, r#","kid":"one""#),
        Some(TokenError::Signature)
    );
    assert_eq!(
        check(&verifier, 1, r#","kid":"on""#),
        Some(TokenError::UnknownKey)
    );
    assert_eq!(
        check(&verifier, 1, ""),
        Some(TokenError::UnknownKey),
        "it says none"
    );
    let mixed = named.into_iter().chain([key(3)]).collect();
    let verifier = Verifier::new(mixed).unwrap().allow_without_exp();
    assert_eq!(check(&verifier, 3, ""), None);
    assert_eq!(
        check(&verifier, 3, r#","kid":"three""#),
        None,
        "a key without a name is for the rest"
    );
    assert_eq!(
        check(&verifier, 3, r#","kid":"one""#),
        Some(TokenError::Signature)
    );
    let alone = Verifier::new(vec![key(1).with_kid("one")])
        .unwrap()
        .allow_without_exp();
    assert_eq!(check(&alone, 1, ""), None, "there is no other");
    assert_eq!(
        check(&alone, 1, r#","kid":"two""#),
        Some(TokenError::UnknownKey)
    );
    // Two for the same tokens would be two signatures for each.
    let same = Verifier::new(vec![key(1), key(2)]).err();
    assert_eq!(same, Some(VerifierError::SameKid(Algorithm::Hs256)));
    let same = Verifier::new(vec![key(1).with_kid("a"), key(2).with_kid("a")]).err();
    assert_eq!(same, Some(VerifierError::SameKid(Algorithm::Hs256)));
    assert_eq!(Verifier::new(Vec::new()).err(), Some(VerifierError::NoKey));
}

#[test]
fn keys_are_read_from_what_tools_write() {
    let ok =
        |algorithm, text: &str| VerifyingKey::read(algorithm, text.as_bytes()).map(|k| k.len());
    for (algorithm, pem) in [
        (Algorithm::Es256, EC),
        (Algorithm::EdDsa, ED),
        (Algorithm::Rs256, RSA),
    ] {
        assert_eq!(ok(algorithm, pem), Ok(1));
        assert_eq!(
            ok(
                algorithm,
                &format!("a comment\r\n{}", pem.replace('\n', "\r\n"))
            ),
            Ok(1)
        );
        for other in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
            if other != algorithm {
                assert_eq!(ok(other, pem), Err(KeyError::OtherAlgorithm));
            }
        }
        let cut = pem.replacen("M", "", 1);
        assert!(ok(algorithm, &cut).is_err());
        let private = pem.replace("PUBLIC", "PRIVATE");
        assert_eq!(ok(algorithm, &private), Err(KeyError::Private));
        assert_eq!(
            ok(algorithm, &pem.replace("PUBLIC KEY", "CERTIFICATE")),
            Err(KeyError::Label)
        );
        assert_eq!(ok(algorithm, "hello"), Err(KeyError::Form));
        assert_eq!(ok(algorithm, ""), Err(KeyError::Form));
    }
    assert_eq!(ok(Algorithm::Rs256, RSA_1024), Err(KeyError::Modulus));
    assert_eq!(ok(Algorithm::Es256, P384), Err(KeyError::Material));
    let set: Vec<&str> = EXAMPLES.iter().map(|(_, jwk, _)| *jwk).collect();
    let set = format!("{{\"keys\":[{}]}}", set.join(","));
    for algorithm in Algorithm::ALL {
        assert_eq!(ok(algorithm, &set), Ok(1));
    }
    let (_, ec, _) = EXAMPLES[2];
    for (jwk, expected) in [
        (
            ec.replace("EC\"", "EC\",\"use\":\"enc\""),
            KeyError::OtherAlgorithm,
        ),
        (
            ec.replace("EC\"", "EC\",\"alg\":\"ES384\""),
            KeyError::OtherAlgorithm,
        ),
        (ec.replace("P-256", "P-384"), KeyError::OtherAlgorithm),
        (ec.replace("EC\"", "EC\",\"d\":\"AA\""), KeyError::Private),
        (ec.replace("f83O", "f83P"), KeyError::Material),
        (ec.replace("f83O", "f8"), KeyError::Form),
        ("{\"keys\":[]}".to_owned(), KeyError::OtherAlgorithm),
        ("{\"keys\":7}".to_owned(), KeyError::Form),
    ] {
        assert_eq!(ok(Algorithm::Es256, &jwk), Err(expected), "{jwk}");
    }
    let named = ec.replace(
        "EC\"",
        "EC\",\"kid\":\"a\",\"alg\":\"ES256\",\"use\":\"sig\"",
    );
    let keys = VerifyingKey::read(Algorithm::Es256, named.as_bytes()).unwrap();
    assert_eq!(keys[0].kid(), Some("a"));
}

#[test]
fn a_secret_is_as_long_as_its_hash() {
    let read = |bytes: usize, end: &str| {
        let text = format!("{}{end}", "s".repeat(bytes));
        VerifyingKey::read(Algorithm::Hs256, text.as_bytes()).map(|k| k.len())
    };
    assert_eq!(read(32, ""), Ok(1));
    assert_eq!(read(32, "\r\n"), Ok(1));
    assert_eq!(read(31, "\n"), Err(KeyError::ShortSecret(31)));
    let key = VerifyingKey::secret(&[7; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "VerifyingKey(HS256)");
    assert_eq!(
        format!("{:?}", verifier()),
        "Verifier([VerifyingKey(HS256)])"
    );
}

const EC: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAED367dJ8i73Cth+CYHeP8Gaqbm0jq\n\
9dIrycrD3PzwoE7UT49ZYofDUoPi0pFibLI19314H7gm6qWlxLg3Mt5J2A==\n\
-----END PUBLIC KEY-----\n\
";
const ED: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MCowBQYDK2VwAyEACFvCpzOqKJVhZoi2b5znyrRXhtpIFjhv//+zCZ87gR0=\n\
-----END PUBLIC KEY-----\n\
";
const RSA: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtj0dGm6DNLBwUMO+EteI\n\
MXOuJgilxbcAdjQFpRJ/IfQ/+dG2FTtoH8FYoo83ddxknd0XIDYXAtzdTfyw4hHb\n\
oi3OA7qKFiFBefJV0nrxRXCoGIWFgkZPFOt14QWJDaRzMo021LhvfBPiXjLC8Gr7\n\
pLprp9qyhdpSPhYNSCtNw+vyJAuSGi4LVhZ8ceb5CHCZZtCGvCy+mqTSuoD0q40Q\n\
DuWzyPsEpxxhok7+JICz/vcPVLu/KbC4zJYFHB2t2BFsjYVLgXc6ZMUzcrqoeqLH\n\
mlbXqq4JqDmtYBYenJIsyWswWUHlCdGMeYzhJnztVCWHZAJFs0dwnJlIciJU0kSb\n\
YQIDAQAB\n\
-----END PUBLIC KEY-----\n\
";
const RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCnfk07s2MjD5IzTbS9JVw5yRqk\n\
8e2uk2jyegiqwhGclONfTugqD7i1oPJ0vQzlk7AFMsU780PFl6u+qwDXfLZDAFF5\n\
NJswdr8DvwcGliXFqtWliMhpad6Jrxc467aHXZ+LL8mJO+gbFWOYKA5lcwTb8XXe\n\
AZ+S3DPcKatQqBlFlwIDAQAB\n\
-----END PUBLIC KEY-----\n\
";
const P384: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEszR/7Z1a3GXRqhMDTOTYZcieuLiMwk5B\n\
SqM/s0TM/+v86npjELT4KfoBHcsjLhiRGVyBd2es+59inOJQ0IqlKZrBIuIVXnwx\n\
2ElNyAPFNhuWfYZeTlfENEj8CuaoAGKp\n\
-----END PUBLIC KEY-----\n\
";
