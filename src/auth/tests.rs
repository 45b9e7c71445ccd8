//! Tokens as issuers make them, and as nobody should.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pem::Pem;
use serde_json::{Value, json};

use super::*;
use crate::domain::{Pattern, Timestamp, TopicName};
use crate::fuzz::Target;

const SECRET: &[u8] = b"a-secret-of-more-than-32-bytes-padded-without-spaces";
const NOW_SECONDS: u64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW_SECONDS * 1_000)
}

/// A private key and its public one, in PEM.
struct Pair {
    private: String,
    public: String,
}

impl Pair {
    fn new(private: &[u8], public: &[u8]) -> Self {
        Self {
            private: pem::encode(&Pem::new("PRIVATE KEY", private)),
            public: pem::encode(&Pem::new("PUBLIC KEY", public)),
        }
    }

    fn ed() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a key");
        Self::new(document.as_ref(), public.as_ref())
    }

    fn ec() -> Self {
        let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(signing, document.as_ref()).expect("a key");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a key");
        Self::new(document.as_ref(), public.as_ref())
    }

    fn rsa() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let private: Pkcs8V1Der<'_> = pair.as_der().expect("a key");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a key");
        Self::new(private.as_ref(), public.as_ref())
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(self.public.as_bytes()).expect("a public key")
    }

    fn sign(&self, token: &NewToken) -> String {
        SigningKey::from_pem(self.private.as_bytes()).expect("a private key").sign(token).expect("signed")
    }
}

fn authority(keys: KeySet) -> Authority {
    Authority::new(keys, Policy::default(), Rights::default())
}

fn by_secret() -> Authority {
    authority(KeySet::secret(SECRET).expect("a secret"))
}

fn new_token() -> NewToken {
    NewToken {
        subject: Some("ada".to_owned()),
        token: Some("t-1".to_owned()),
        issued_at: now(),
        expires_at: now().plus(Duration::from_secs(60)),
        publish: vec![Pattern::parse("chat:{sub}").expect("a pattern")],
        subscribe: vec![Pattern::parse("news:**").expect("a pattern")],
        ..NewToken::default()
    }
}

/// Any bytes as a token, and as claims that somebody with the secret has signed.
#[test]
fn fuzz_tokens() {
    let unproven = |algorithm: &str| {
        let parts =
            [format!(r#"{{"alg":"{algorithm}","kid":"a"}}"#), format!(r#"{{"exp":{NOW_SECONDS}}}"#), "x".repeat(64)];
        parts.map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".").into_bytes()
    };
    let by_hand =
        sign(&Header::default(), &json!({ "exp": NOW_SECONDS + 9, "repl": { "publish": ["a:**"], "data": {} } }));
    let tokens = vec![unproven("EdDSA"), unproven("ES256"), by_hand.into_bytes()];
    let authority = by_secret();
    Target::new("tokens", tokens).run(|input| {
        let _ = authority.verify(&String::from_utf8_lossy(input), now());
    });
    let claims = json!({
        "sub": "ada", "jti": "t", "iat": NOW_SECONDS, "nbf": NOW_SECONDS, "exp": NOW_SECONDS + 60, "aud": ["a"], "iss": "b",
        "repl": { "publish": ["{sub}"], "subscribe": ["a:*"], "manage": [], "admin": true, "presence": ["*"], "data": {"a": [1]} },
    });
    let header = r#"{"alg":"HS256","typ":"JWT","kid":"a"}"#;
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    // Those that are good are remembered, so many of them; now and then there has to be more room for that.
    Target {
        cost: 4,
        allocated_max: (8 << 20, 64),
        ..Target::new("signed claims", vec![claims.to_string().into_bytes()])
    }
    .run(|input| {
        let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(input));
        let tag = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
        let _ = authority.verify(&format!("{signed}.{tag}"), now());
    });
}

/// Signs any claims with the secret.
fn sign(header: &Header, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(SECRET)).expect("signed")
}

/// What becomes of claims that the secret proves.
fn judge(claims: &Value) -> Result<(), TokenError> {
    by_secret().verify(&sign(&Header::default(), claims), now()).map(|_| ())
}

#[test]
fn a_token_of_each_algorithm_speaks_for_its_subject() {
    let (ed, ec, rsa) = (Pair::ed(), Pair::ec(), Pair::rsa());
    let secret = SigningKey::from_secret(SECRET).expect("a secret").sign(&new_token()).expect("signed");
    let keys = [ed.keys(), ec.keys(), rsa.keys(), KeySet::secret(SECRET).expect("a secret")];
    let all = authority(keys.into_iter().try_fold(KeySet::default(), KeySet::and).expect("four keys"));
    let tokens = [ed.sign(&new_token()), ec.sign(&new_token()), rsa.sign(&new_token()), secret];
    for token in &tokens {
        let principal = all.verify(token, now()).expect("a token");
        assert_eq!(
            (principal.bearer.subject.as_deref(), principal.bearer.token.as_deref()),
            (Some("ada"), Some("t-1"))
        );
        assert_eq!(principal.expires_at, Some(now().plus(Duration::from_secs(60))));
        let topic = TopicName::parse("chat:ada").expect("a name");
        assert!(principal.rights.allow(Action::Publish, &topic) && !principal.rights.allow(Action::Subscribe, &topic));
    }
    // Each by its own key only.
    for (token, keys) in tokens.iter().zip([ec.keys(), rsa.keys(), ed.keys(), ed.keys()]) {
        assert_eq!(authority(keys).verify(token, now()), Err(TokenError::UnknownKey));
    }
    assert_eq!(authority(Pair::ed().keys()).verify(&tokens[0], now()), Err(TokenError::Signature));
}

#[test]
fn a_public_key_is_no_secret_and_a_token_does_not_choose_its_algorithm() {
    let rsa = Pair::rsa();
    // Who knows the public key signs with it as if it were a secret.
    let claims = json!({ "exp": NOW_SECONDS + 60, "repl": { "admin": true } });
    for secret in [rsa.public.as_bytes(), rsa.public.trim().as_bytes()] {
        let key = EncodingKey::from_secret(secret);
        let forged = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("signed");
        assert_eq!(authority(rsa.keys()).verify(&forged, now()), Err(TokenError::UnknownKey));
        assert_eq!(KeySet::secret(secret).map(|_| ()), Err(KeyError::NotSecret));
    }
    // `{"alg":"none"}` and `{"alg":"NONE","typ":"JWT"}`, with and without a signature.
    let payload = sign(&Header::default(), &claims).split('.').nth(1).expect("claims").to_owned();
    for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOT05FIiwidHlwIjoiSldUIn0"] {
        for signature in ["", "AAAA"] {
            let unsigned = format!("{header}.{payload}.{signature}");
            assert_eq!(by_secret().verify(&unsigned, now()), Err(TokenError::Algorithm));
        }
    }
    let longer = sign(&Header::new(Algorithm::HS512), &claims);
    assert_eq!(by_secret().verify(&longer, now()), Err(TokenError::Algorithm));
    // A key that travels in the header is nobody's.
    let mut header = Header { kid: Some("mine".to_owned()), ..Header::default() };
    header.jku = Some("https://evil.example/jwks.json".to_owned());
    let other = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(b"mine")).expect("signed");
    assert_eq!(by_secret().verify(&other, now()), Err(TokenError::Signature));
    header.crit = Some(vec!["b64".to_owned()]);
    assert_eq!(by_secret().verify(&sign(&header, &claims), now()), Err(TokenError::Critical));
}

#[test]
fn a_token_has_an_end_that_is_near() {
    let exp = |seconds: u64| judge(&json!({ "exp": seconds }));
    assert_eq!(exp(NOW_SECONDS + 1), Ok(()));
    assert_eq!(exp(NOW_SECONDS), Err(ClaimError::Expired.into()));
    assert_eq!(exp(NOW_SECONDS + 86_400), Ok(()));
    let max = Duration::from_secs(86_400);
    assert_eq!(exp(NOW_SECONDS + 86_411), Err(ClaimError::TooLong { max }.into()));
    assert_eq!(exp(1 << 50), Err(ClaimError::TooLong { max }.into()));
    assert_eq!(judge(&json!({})), Err(ClaimError::NoExpiry.into()));
    assert_eq!(judge(&json!({ "exp": -1 })), Err(TokenError::Malformed));
    assert_eq!(judge(&json!({ "exp": "tomorrow" })), Err(TokenError::Malformed));
    assert_eq!(judge(&json!({ "exp": NOW_SECONDS as f64 + 0.5 })), Ok(()));
    // Clocks differ by some seconds.
    let nbf = |seconds: u64| judge(&json!({ "exp": NOW_SECONDS + 60, "nbf": seconds }));
    assert_eq!((nbf(NOW_SECONDS + 10), nbf(NOW_SECONDS + 11)), (Ok(()), Err(ClaimError::NotYet.into())));
}

#[test]
fn with_inboxes_everybody_writes_to_all_and_reads_his_own() {
    let policy = Policy { inboxes: true, ..Policy::default() };
    let authority = Authority::new(KeySet::secret(SECRET).expect("a secret"), policy, Rights::default());
    let rights = |claims: Value| {
        let principal = authority.verify(&sign(&Header::default(), &claims), now()).expect("accepted");
        let Rights { publish, subscribe, .. } = &principal.rights;
        [publish, subscribe].map(|patterns| patterns.iter().map(Pattern::to_string).collect::<Vec<_>>())
    };
    let exp = NOW_SECONDS + 60;
    let ada = rights(json!({ "exp": exp, "sub": "ada", "repl": {"subscribe": ["chat:*"]} }));
    assert_eq!(ada, [vec!["inbox:*"], vec!["chat:*", "inbox:ada"]]);
    // Who can't be a level of a name has no inbox, and nobody's token is one.
    assert_eq!(rights(json!({ "exp": exp, "sub": "a:*" })), [vec!["inbox:*"], vec![]]);
    assert_eq!(rights(json!({ "exp": exp, "sub": "*" })), [vec!["inbox:*"], vec![]]);
    assert_eq!(rights(json!({ "exp": exp })), [Vec::<&str>::new(), vec![]]);
}

#[test]
fn a_token_for_or_from_somebody_else_is_refused() {
    let policy = Policy {
        audience: Some("repl".to_owned()),
        issuer: Some("https://id.example".to_owned()),
        ..Policy::default()
    };
    let authority = Authority::new(KeySet::secret(SECRET).expect("a secret"), policy, Rights::default());
    let check = |aud: Value, iss: Value| {
        let claims = json!({ "exp": NOW_SECONDS + 60, "aud": aud, "iss": iss });
        authority.verify(&sign(&Header::default(), &claims), now()).map(|_| ())
    };
    let (ours, theirs) = (json!("https://id.example"), json!("https://evil.example"));
    assert_eq!(check(json!("repl"), ours.clone()), Ok(()));
    assert_eq!(check(json!(["other", "repl"]), ours.clone()), Ok(()));
    for audience in [json!("other"), json!([]), Value::Null] {
        assert_eq!(check(audience, ours.clone()), Err(ClaimError::Audience.into()));
    }
    for issuer in [theirs, Value::Null] {
        assert_eq!(check(json!("repl"), issuer), Err(ClaimError::Issuer.into()));
    }
}

#[test]
fn a_token_is_good_as_a_whole_or_not_at_all() {
    let rights = |rights: Value| judge(&json!({ "exp": NOW_SECONDS + 60, "sub": "ada", "repl": rights }));
    assert_eq!(rights(json!({ "publish": ["a"], "subscribe": ["inbox:{sub}"], "manage": [], "admin": true })), Ok(()));
    assert_eq!(rights(json!({ "publsh": ["a"] })), Err(TokenError::Malformed));
    assert_eq!(rights(json!({ "publish": "a" })), Err(TokenError::Malformed));
    assert!(matches!(rights(json!({ "publish": ["a", "b*"] })), Err(TokenError::Claim(ClaimError::Pattern { .. }))));
    let name = |claim: &'static str, value: &str| judge(&json!({ "exp": NOW_SECONDS + 60, claim: value }));
    for claim in ["sub", "jti"] {
        assert_eq!(name(claim, &"x".repeat(255)), Ok(()));
        for value in ["", "a\nb", &"x".repeat(256)] {
            assert_eq!(name(claim, value), Err(ClaimError::Name { claim }.into()));
        }
    }
}

#[test]
fn what_was_changed_on_the_way_or_is_no_token_is_refused() {
    let token = sign(&Header::default(), &json!({ "exp": NOW_SECONDS + 60, "sub": "ada" }));
    let authority = by_secret();
    authority.verify(&token, now()).expect("a token");
    let signature_at = token.rfind('.').expect("three parts") + 1;
    for at in (0..token.len()).filter(|at| *at + 1 != token.len()) {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("ASCII");
        let error = authority.verify(&changed, now()).expect_err(&changed);
        assert!(at < signature_at || error == TokenError::Signature, "{at}: {error}");
    }
    for text in ["", ".", "..", "...", "a.b.c", "a", &token[1..], &token[..signature_at - 1], &format!("{token}.")] {
        assert!(authority.verify(text, now()).is_err(), "{text}");
    }
    assert_eq!(authority.verify(&"a".repeat(TOKEN_BYTES_MAX + 1), now()), Err(TokenError::TooLarge));
}

#[test]
fn a_token_that_is_remembered_expires_and_goes_with_its_key() {
    let authority = by_secret();
    let token = sign(&Header::default(), &json!({ "exp": NOW_SECONDS + 60 }));
    let later = |seconds: u64| Timestamp::from_millis((NOW_SECONDS + seconds) * 1_000);
    authority.verify(&token, now()).expect("a token");
    authority.verify(&token, later(59)).expect("remembered");
    assert_eq!(authority.verify(&token, later(60)), Err(ClaimError::Expired.into()));
    authority.set_keys(KeySet::default());
    assert_eq!(authority.verify(&token, now()), Err(TokenError::UnknownKey));
    authority.set_keys(KeySet::secret(SECRET).expect("a secret"));
    authority.verify(&token, now()).expect("a token again");
}

#[test]
fn a_set_of_keys_has_what_tokens_are_signed_with_and_passes_over_the_rest() {
    // RFC 8037, appendix A.2, and RFC 7517, appendix A.1.
    let ed = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let ec = json!({ "kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" });
    let oct = json!({ "kty": "oct", "kid": "s", "k": "A".repeat(64) });
    let count =
        |set: &KeySet| [Algorithm::EdDSA, Algorithm::ES256, Algorithm::HS256].map(|a| set.candidates(a, None).count());
    let parse = |keys: &[&Value]| KeySet::parse(json!({ "keys": keys }).to_string().as_bytes());
    let set = parse(&[&ed, &ec, &oct]).expect("three keys");
    assert_eq!(count(&set), [1, 1, 1]);
    assert_eq!(count(&set.clone().public()), [1, 1, 0]);
    assert_eq!(set.candidates(Algorithm::EdDSA, Some("ed")).count(), 1);
    assert_eq!(set.candidates(Algorithm::EdDSA, Some("ec")).count(), 0);
    assert_eq!(KeySet::parse(ed.to_string().as_bytes()).map(|set| count(&set)), Ok([1, 0, 0]));

    let with = |key: &Value, name: &str, value: &str| {
        let mut key = key.clone();
        key[name] = value.into();
        key
    };
    for other in [
        with(&ed, "use", "enc"),
        with(&ec, "alg", "ES384"),
        with(&ec, "crv", "P-384"),
        with(&ed, "crv", "X25519"),
        with(&oct, "k", "AAAA"),
        json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }),
        json!({ "kty": "new" }),
        json!(1),
    ] {
        assert_eq!(parse(&[&other]).map(|_| ()), Err(KeyError::Unsupported), "{other}");
        assert_eq!(parse(&[&other, &ed]).map(|set| count(&set)), Ok([1, 0, 0]), "{other}");
    }
    assert_eq!(parse(&[&with(&ed, "d", "secret")]).map(|_| ()), Err(KeyError::Private));
    assert_eq!(parse(&vec![&ed; 65]).map(|_| ()), Err(KeyError::TooMany));
}

#[test]
fn what_is_no_key_is_refused_with_a_reason() {
    let (ed, rsa) = (Pair::ed(), Pair::rsa());
    for private in [&ed.private, &rsa.private] {
        assert_eq!(KeySet::parse(private.as_bytes()).map(|_| ()), Err(KeyError::Private));
    }
    for text in [&b""[..], b"hello", b"\xff"] {
        assert_eq!(KeySet::parse(text).map(|_| ()), Err(KeyError::Format));
    }
    let damaged = ed.public.replace("MC", "MD");
    assert_eq!(KeySet::parse(damaged.as_bytes()).map(|_| ()), Err(KeyError::Unsupported));
    assert_eq!(KeySet::secret(b"short\n").map(|_| ()), Err(KeyError::Short { len_bytes: 5 }));
    let ssh = format!("ssh-ed25519 {} a@b", "A".repeat(68));
    for text in [ssh.as_bytes(), br#"{"keys":[],"padding":"0123456789abcdef"}"#] {
        assert_eq!(KeySet::secret(text).map(|_| ()), Err(KeyError::NotSecret));
    }
    assert!(SigningKey::from_pem(ed.public.as_bytes()).is_err());
}

#[test]
fn neither_keys_nor_tokens_are_shown() {
    let authority = by_secret();
    let token = sign(&Header::default(), &json!({ "exp": NOW_SECONDS + 60, "sub": "ada" }));
    authority.verify(&token, now()).expect("a token");
    let shown = format!("{authority:?} {:?}", SigningKey::from_secret(SECRET));
    assert!(!shown.contains("padded") && !shown.contains(&token[40..]), "{shown}");
}
