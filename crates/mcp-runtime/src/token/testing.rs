//! For tests of this crate: issuers whose private keys are known, tokens of any shape, and bindings
//! kept in memory with the database's semantics. Never compiled into the platform.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration as StdDuration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, FORWARDED};
use http::{HeaderMap, HeaderValue};
use portcullis_domain::id::{Id, Tenant};
use portcullis_domain::{Clock, ManualClock, ReplayMode};
use portcullis_keys::LocalKeys;
use serde_json::{Value, json};

use super::{
    Binding, BindingKind, BindingStore, BindingStoreError, Checked, IssuerKeys, NetworkPrefix,
    Presented, RsaScheme, TenantKey, TokenError, TokenVerifier, TrustedProxies, UnknownKey, Use,
    VerificationKey, VerifiedToken, VerifierParts,
};

/// The time at which tests begin.
pub(crate) const NOW: i64 = 1_760_000_000;
/// The issuer whose keys the tests hold.
pub(crate) const ISSUER: &str = "https://gate.example.com";
/// A tenant's MCP URL.
pub(crate) const AUDIENCE: &str = "https://gate.example.com/t/acme/mcp";

/// A private key of a test.
pub(crate) enum PrivateKey {
    /// Ed25519.
    Ed(Ed25519KeyPair),
    /// P-256.
    Ec(EcdsaKeyPair),
    /// RSA with one of its paddings.
    Rsa(RsaKeyPair, RsaScheme),
}

impl PrivateKey {
    pub(crate) fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn rsa(scheme: RsaScheme) -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap(), scheme)
    }

    /// The name of its algorithm.
    pub(crate) fn alg(&self) -> &'static str {
        self.public().algorithm().as_str()
    }

    /// The public half's bytes, which an attacker knows.
    pub(crate) fn public_bytes(&self) -> Vec<u8> {
        match self {
            Self::Ed(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Self::Rsa(pair, _) => pair.public_key().as_ref().to_vec(),
        }
    }

    pub(crate) fn public(&self) -> VerificationKey {
        match self {
            Self::Ed(pair) => {
                VerificationKey::ed25519(&pair.public_key().as_ref().try_into().unwrap())
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (&point[1..33], &point[33..]);
                VerificationKey::es256(&x.try_into().unwrap(), &y.try_into().unwrap())
            }
            Self::Rsa(pair, scheme) => {
                let public = pair.public_key();
                let modulus = public.modulus().big_endian_without_leading_zero();
                let exponent = public.exponent().big_endian_without_leading_zero();
                VerificationKey::rsa(*scheme, modulus, exponent).unwrap()
            }
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Rsa(pair, scheme) => {
                let encoding: &'static dyn RsaEncoding = match scheme {
                    RsaScheme::Pkcs1 => &RSA_PKCS1_SHA256,
                    RsaScheme::Pss => &RSA_PSS_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
        }
    }

    /// A token of any two JSON texts, signed by this key.
    pub(crate) fn token(&self, header: &str, payload: &str) -> String {
        let input = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let signature = self.sign(input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// One key of each algorithm; `kid` is the algorithm's name in lower case.
pub(crate) static KEYS: LazyLock<HashMap<&'static str, PrivateKey>> = LazyLock::new(|| {
    HashMap::from([
        ("eddsa", PrivateKey::ed()),
        ("es256", PrivateKey::ec()),
        ("rs256", PrivateKey::rsa(RsaScheme::Pkcs1)),
        ("ps256", PrivateKey::rsa(RsaScheme::Pss)),
    ])
});

/// Issuers by name, with the tenants that trust them: none means every tenant.
#[derive(Debug, Default)]
pub(crate) struct TestIssuers {
    keys: Mutex<HashMap<(String, String), Arc<VerificationKey>>>,
}

impl TestIssuers {
    /// [`ISSUER`] with all of [`KEYS`].
    pub(crate) fn standard() -> Self {
        let issuers = Self::default();
        for (kid, key) in &*KEYS {
            issuers.add(ISSUER, kid, key);
        }
        issuers
    }

    pub(crate) fn add(&self, issuer: &str, kid: &str, key: &PrivateKey) {
        self.keys
            .lock()
            .unwrap()
            .insert((issuer.to_owned(), kid.to_owned()), Arc::new(key.public()));
    }

    pub(crate) fn withdraw(&self, issuer: &str, kid: &str) {
        self.keys
            .lock()
            .unwrap()
            .remove(&(issuer.to_owned(), kid.to_owned()));
    }
}

impl IssuerKeys for TestIssuers {
    fn find(
        &self,
        _tenant: Id<Tenant>,
        issuer: &str,
        kid: &str,
    ) -> Result<Arc<VerificationKey>, UnknownKey> {
        let keys = self.keys.lock().unwrap();
        if !keys.keys().any(|(known, _)| known == issuer) {
            return Err(UnknownKey::Issuer);
        }
        keys.get(&(issuer.to_owned(), kid.to_owned()))
            .map(Arc::clone)
            .ok_or(UnknownKey::KeyId)
    }
}

type TokenId = (Id<Tenant>, String, String);

/// Bindings in memory: one first use a token id.
#[derive(Debug, Default)]
pub(crate) struct MemoryBindings {
    rows: Mutex<HashMap<TokenId, (BindingKind, [u8; 32])>>,
    asked: AtomicUsize,
    broken: AtomicBool,
    stuck: AtomicBool,
}

impl MemoryBindings {
    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    /// Answers never come.
    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::SeqCst);
    }
}

impl BindingStore for MemoryBindings {
    fn bind(&self, binding: Binding) -> BoxFuture<'_, Result<Use, BindingStoreError>> {
        async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.stuck.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            // Others run between the question and the answer, as with a database.
            tokio::task::yield_now().await;
            if self.broken.load(Ordering::SeqCst) {
                return Err(BindingStoreError::Store("the connection is closed".into()));
            }
            let id = (binding.tenant, binding.issuer, binding.token_id);
            let mut rows = self.rows.lock().unwrap();
            let asked = (binding.kind, binding.hash);
            match rows.get(&id) {
                Some(bound) if *bound == asked => Ok(Use::Same),
                Some(_) => Ok(Use::Different),
                None => {
                    rows.insert(id, asked);
                    Ok(Use::First)
                }
            }
        }
        .boxed()
    }
}

/// A tenant that compares whole addresses, as tests on one machine need.
pub(crate) fn acme(replay: ReplayMode) -> TenantKey {
    TenantKey {
        id: Id::mint(time::OffsetDateTime::UNIX_EPOCH, [1; 10]),
        audience: AUDIENCE.to_owned(),
        replay,
        prefix: NetworkPrefix::new(32, 128).unwrap(),
    }
}

/// Claims of a sound token, issued now.
pub(crate) fn claims(token_id: &str) -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "agent:copilot",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 600,
        "jti": token_id,
        "scope": "orders.read",
    })
}

/// A header for one of [`KEYS`].
pub(crate) fn header(kid: &str) -> String {
    json!({"typ": "at+jwt", "alg": KEYS[kid].alg(), "kid": kid}).to_string()
}

/// A sound token of [`ISSUER`].
pub(crate) fn token(token_id: &str) -> String {
    token_of(&claims(token_id))
}

/// A token with these claims, signed by [`ISSUER`].
pub(crate) fn token_of(claims: &Value) -> String {
    KEYS["eddsa"].token(&header("eddsa"), &claims.to_string())
}

/// The keys of one test process.
pub(crate) fn local_keys() -> Arc<LocalKeys> {
    let place = tempfile::tempdir().unwrap();
    let now = ManualClock::at(NOW).now();
    Arc::new(LocalKeys::open_or_create(&place.path().join("keys.json"), now).unwrap())
}

/// Replicas of one platform: a verifier each, one clock, one database.
pub(crate) struct Platform {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) issuers: Arc<TestIssuers>,
    pub(crate) bindings: Arc<MemoryBindings>,
    pub(crate) replicas: Vec<Arc<TokenVerifier>>,
}

impl Platform {
    pub(crate) fn new(replicas: usize) -> Self {
        Self::behind(replicas, TrustedProxies::default())
    }

    pub(crate) fn behind(replicas: usize, proxies: TrustedProxies) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let issuers = Arc::new(TestIssuers::standard());
        let bindings = Arc::new(MemoryBindings::default());
        let keys = local_keys();
        let replica = || {
            Arc::new(TokenVerifier::new(VerifierParts {
                issuers: Arc::<TestIssuers>::clone(&issuers),
                bindings: Arc::<MemoryBindings>::clone(&bindings),
                keys: Arc::clone(&keys),
                clock: Arc::<ManualClock>::clone(&clock),
                proxies: proxies.clone(),
                cache_entries: 1024,
                binding_timeout: StdDuration::from_secs(2),
            }))
        };
        let replicas = (0..replicas).map(|_| replica()).collect();
        Self {
            clock,
            issuers,
            bindings,
            replicas,
        }
    }

    /// A request with a token at one replica.
    pub(crate) async fn present(
        &self,
        replica: usize,
        token: &str,
        peer: &str,
        tenant: &TenantKey,
    ) -> Result<Arc<VerifiedToken>, TokenError> {
        let headers = headers(token, None);
        let peer: IpAddr = peer.parse().unwrap();
        accept(
            &self.replicas[replica],
            &Presented::of(&headers, peer),
            tenant,
        )
        .await
    }
}

/// Checks a token and binds it, as room 1 does for whoever may call.
pub(crate) async fn accept(
    replica: &TokenVerifier,
    presented: &Presented<'_>,
    tenant: &TenantKey,
) -> Result<Arc<VerifiedToken>, TokenError> {
    match replica.check(presented, tenant)? {
        Checked::Known(token) => Ok(token),
        Checked::New(unbound) => replica.bind(*unbound).await,
    }
}

/// The headers of a request with a token.
pub(crate) fn headers(token: &str, forwarded: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    headers.insert(AUTHORIZATION, value);
    if let Some(chain) = forwarded {
        headers.insert(FORWARDED, HeaderValue::from_str(chain).unwrap());
    }
    headers
}
