//! The keys of a development machine, from one file that its replicas share. Production must never
//! use them: whoever reads the file is the platform.

use std::fmt;
use std::path::Path;

use aws_lc_rs::hmac;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::KeysError;
use crate::entropy;
use crate::envelope::{Aad, DataKey, EnvelopeError, WrappedKey};
use crate::file::{
    self, IssuerEntry, KeyFile, Lock, ReceiptEntry, Secret, SymmetricEntry, VERSION,
};
use crate::signing::{SignError, SigningKey};

/// How long an issuer key is published after its successor began to sign: longer than any token
/// lives (600 s) with the greatest skew (60 s).
const ISSUER_OVERLAP: Duration = Duration::minutes(15);

/// A key that signs tokens, or will, or did.
pub struct IssuerKey {
    key: SigningKey,
    pkcs8: Zeroizing<Vec<u8>>,
    created_at: OffsetDateTime,
    active_from: OffsetDateTime,
}

impl IssuerKey {
    /// The JWK `kid`: the RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        self.key.kid()
    }

    /// The public key's 32 bytes, the JWK's `x`.
    pub const fn public(&self) -> &[u8; 32] {
        self.key.public()
    }

    /// When it was made.
    pub const fn created_at(&self) -> OffsetDateTime {
        self.created_at
    }

    /// From when on it signs.
    pub const fn active_from(&self) -> OffsetDateTime {
        self.active_from
    }

    /// The private key in PKCS#8 (DER), for the JWT code alone.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }
}

impl fmt::Debug for IssuerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerKey")
            .field("kid", &self.kid())
            .field("active_from", &self.active_from)
            .finish_non_exhaustive()
    }
}

/// All keys of a development machine.
pub struct LocalKeys {
    /// At least one, in the order in which they become active.
    issuer: Vec<IssuerKey>,
    receipt: SigningKey,
    key_encryption: DataKey,
    keyed_hash: hmac::Key,
}

impl LocalKeys {
    /// Reads the key file, or makes one with new keys. Of several processes that start at once, one
    /// makes it and the others read it.
    ///
    /// # Errors
    /// When the file is open to others, belongs to another user, is no key file of this version, or
    /// cannot be read or written; when there are no random bytes.
    pub fn open_or_create(path: &Path, now: OffsetDateTime) -> Result<Self, KeysError> {
        if let Some(keys) = file::read(path)? {
            return Self::load(keys);
        }
        let lock = Lock::of(path)?;
        if let Some(keys) = file::read(path)? {
            return Self::load(keys);
        }
        let keys = generate(now)?;
        lock.write(path, &keys)?;
        Self::load(keys)
    }

    /// Adds an issuer key that signs from `active_from` on, forgets those that are no longer
    /// published, and gives all keys as they now are. Choose `active_from` late enough for every
    /// replica to have read the file and every verifier to have fetched the key set.
    ///
    /// # Errors
    /// As for [`Self::open_or_create`], and when the previous rotation is not finished.
    pub fn rotate_issuer(
        path: &Path,
        now: OffsetDateTime,
        active_from: OffsetDateTime,
    ) -> Result<Self, KeysError> {
        let lock = Lock::of(path)?;
        let mut keys = match file::read(path)? {
            Some(keys) => keys,
            None => generate(now)?,
        };
        if keys.issuer.iter().any(|entry| entry.active_from > now) {
            return Err(KeysError::RotationUnderWay);
        }
        keys.issuer.push(issuer_entry(now, active_from.max(now))?);
        let ends: Vec<_> = successors(keys.issuer.iter().map(|entry| entry.active_from)).collect();
        let mut ends = ends.into_iter();
        keys.issuer
            .retain(|_| published(ends.next().flatten(), now));
        lock.write(path, &keys)?;
        Self::load(keys)
    }

    /// The issuer keys to publish: those that sign, will sign, or signed what may still be valid.
    pub fn issuer_keys(&self, now: OffsetDateTime) -> impl Iterator<Item = &IssuerKey> {
        let ends = successors(self.issuer.iter().map(|key| key.active_from));
        self.issuer
            .iter()
            .zip(ends)
            .filter(move |(_, successor)| published(*successor, now))
            .map(|(key, _)| key)
    }

    /// The issuer key that signs now.
    ///
    /// # Errors
    /// When the clock stands before the first key's beginning.
    pub fn issuer_active(&self, now: OffsetDateTime) -> Result<&IssuerKey, KeysError> {
        self.issuer
            .iter()
            .rev()
            .find(|key| key.active_from <= now)
            .ok_or(KeysError::NoActiveIssuer)
    }

    /// The key that signs records, and so receipts.
    pub const fn receipt_key(&self) -> &SigningKey {
        &self.receipt
    }

    /// Signs with the key of records.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn sign_receipt(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        self.receipt.sign(message)
    }

    /// HMAC-SHA-256 under a key of the platform: for values such as addresses, which a plain hash
    /// would not hide. One purpose's hashes tell nothing of another's.
    pub fn keyed_hash(&self, purpose: &str, data: &[u8]) -> [u8; 32] {
        let length = u64::try_from(purpose.len()).unwrap_or(u64::MAX);
        let mut context = hmac::Context::with_key(&self.keyed_hash);
        context.update(&length.to_be_bytes());
        context.update(purpose.as_bytes());
        context.update(data);
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        hash
    }

    /// Encrypts a tenant's data key for storage.
    ///
    /// # Errors
    /// When there are no random bytes, or the library fails.
    pub fn wrap(&self, aad: &Aad<'_>, key: &DataKey) -> Result<WrappedKey, EnvelopeError> {
        self.key_encryption.wrap(aad, key)
    }

    /// Decrypts a tenant's data key.
    ///
    /// # Errors
    /// When it was wrapped by another key, for another tenant, use or row, or was changed.
    pub fn unwrap(&self, aad: &Aad<'_>, key: &WrappedKey) -> Result<DataKey, EnvelopeError> {
        self.key_encryption.unwrap(aad, key)
    }

    fn load(keys: KeyFile) -> Result<Self, KeysError> {
        let issuer = keys
            .issuer
            .iter()
            .map(load_issuer)
            .collect::<Result<Vec<_>, _>>()?;
        let ordered = issuer
            .iter()
            .is_sorted_by(|first, second| first.active_from < second.active_from);
        if issuer.is_empty() || !ordered {
            return Err(KeysError::Inconsistent { key: "issuer" });
        }
        let receipt = signing_key("receipt", &keys.receipt.kid, &keys.receipt.seed)?;
        Ok(Self {
            issuer,
            receipt,
            key_encryption: DataKey::from_bytes(keys.key_encryption.key.0)?,
            keyed_hash: hmac::Key::new(hmac::HMAC_SHA256, keys.keyed_hash.key.0.as_slice()),
        })
    }
}

impl fmt::Debug for LocalKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKeys")
            .field("issuer", &self.issuer)
            .field("receipt", &self.receipt)
            .finish_non_exhaustive()
    }
}

/// For each key in order, when its successor begins.
fn successors(
    begins: impl Iterator<Item = OffsetDateTime> + Clone,
) -> impl Iterator<Item = Option<OffsetDateTime>> {
    begins.skip(1).map(Some).chain(std::iter::once(None))
}

fn published(successor: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    successor.is_none_or(|begins| now < begins.saturating_add(ISSUER_OVERLAP))
}

fn load_issuer(entry: &IssuerEntry) -> Result<IssuerKey, KeysError> {
    let key = signing_key("issuer", &entry.kid, &entry.seed)?;
    let pkcs8 = key.pkcs8().map_err(refused("issuer"))?;
    Ok(IssuerKey {
        key,
        pkcs8,
        created_at: entry.created_at,
        active_from: entry.active_from,
    })
}

fn signing_key(name: &'static str, kid: &str, seed: &Secret) -> Result<SigningKey, KeysError> {
    let key = SigningKey::from_seed(&seed.0).map_err(refused(name))?;
    if key.kid() == kid {
        Ok(key)
    } else {
        Err(KeysError::Inconsistent { key: name })
    }
}

fn refused(key: &'static str) -> impl FnOnce(SignError) -> KeysError {
    move |source| KeysError::Refused { key, source }
}

fn secret() -> Result<Secret, KeysError> {
    let mut bytes = Zeroizing::new([0; 32]);
    entropy::fill(bytes.as_mut_slice())?;
    Ok(Secret(bytes))
}

fn kid_of(name: &'static str, seed: &Secret) -> Result<String, KeysError> {
    let key = SigningKey::from_seed(&seed.0).map_err(refused(name))?;
    Ok(key.kid().to_owned())
}

fn issuer_entry(
    now: OffsetDateTime,
    active_from: OffsetDateTime,
) -> Result<IssuerEntry, KeysError> {
    let seed = secret()?;
    Ok(IssuerEntry {
        kid: kid_of("issuer", &seed)?,
        created_at: now,
        active_from,
        seed,
    })
}

fn generate(now: OffsetDateTime) -> Result<KeyFile, KeysError> {
    let receipt = secret()?;
    let symmetric = || -> Result<SymmetricEntry, KeysError> {
        Ok(SymmetricEntry {
            created_at: now,
            key: secret()?,
        })
    };
    Ok(KeyFile {
        v: VERSION,
        issuer: vec![issuer_entry(now, now)?],
        receipt: ReceiptEntry {
            kid: kid_of("receipt", &receipt)?,
            created_at: now,
            seed: receipt,
        },
        key_encryption: symmetric()?,
        keyed_hash: symmetric()?,
    })
}
