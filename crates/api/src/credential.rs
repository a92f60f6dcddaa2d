//! Secrets that the platform makes for its clients: client secrets (`pcs_…`) and service tokens
//! (`pst_…`).
//!
//! Both are 32 random bytes in base64url, so that a plain SHA-256 over the whole text cannot be
//! guessed backwards. Only the hash is stored; the text is shown once and never logged.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::id::{Id, ServiceToken};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const CLIENT_SECRET: &str = "pcs_";
const SERVICE_TOKEN: &str = "pst_";
/// 32 bytes in base64url without padding.
const BODY_LENGTH: usize = 43;
/// The digits of an id.
const ID_LENGTH: usize = 32;

/// A secret just made: its text for whoever asked for it, its hash for the database.
#[derive(Debug)]
pub struct NewSecret {
    /// What its holder shows.
    pub text: SecretString,
    /// What the database keeps.
    pub hash: [u8; 32],
}

impl NewSecret {
    fn of(text: Zeroizing<String>) -> Self {
        Self {
            hash: hash(&text),
            text: SecretString::from(text.as_str()),
        }
    }

    /// An OAuth client secret: `pcs_` and 43 characters.
    pub fn client_secret(random: Zeroizing<[u8; 32]>) -> Self {
        let body = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
        Self::of(Zeroizing::new(format!("{CLIENT_SECRET}{}", *body)))
    }

    /// A service token: `pst_`, the 32 digits of its id, `_` and 43 characters.
    pub fn service_token(id: Id<ServiceToken>, random: Zeroizing<[u8; 32]>) -> Self {
        let body = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
        let digits = id.as_uuid().simple();
        Self::of(Zeroizing::new(format!("{SERVICE_TOKEN}{digits}_{}", *body)))
    }
}

/// What the database keeps of a secret: SHA-256 over the whole text, prefix included.
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Whether a shown secret is the one whose hash is stored. Takes the same time wherever the two
/// differ.
pub fn matches(text: &str, stored: &[u8]) -> bool {
    hash(text).ct_eq(stored).into()
}

/// Whether a text has the form of a client secret.
pub fn is_client_secret(text: &str) -> bool {
    text.strip_prefix(CLIENT_SECRET).is_some_and(is_body)
}

/// The id that a service token names; `None` where the text has not the form of one.
pub fn service_token_id(text: &str) -> Option<Id<ServiceToken>> {
    let rest = text.strip_prefix(SERVICE_TOKEN)?;
    let (digits, body) = rest.split_at_checked(ID_LENGTH)?;
    let body = body.strip_prefix('_')?;
    if !is_body(body) {
        return None;
    }
    // The id's own parser refuses other spellings.
    format!("svt_{digits}").parse().ok()
}

fn is_body(text: &str) -> bool {
    text.len() == BODY_LENGTH
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use uuid::Uuid;

    fn token() -> (Id<ServiceToken>, NewSecret) {
        let id = Id::from_row(Uuid::from_u128(7));
        (id, NewSecret::service_token(id, Zeroizing::new([9; 32])))
    }

    #[test]
    fn a_service_token_names_its_id_and_matches_its_hash() {
        let (id, made) = token();
        let text = made.text.expose_secret();
        assert_eq!(service_token_id(text), Some(id));
        assert!(matches(text, &made.hash));
        assert_eq!(text.len(), 4 + 32 + 1 + 43);
    }

    #[test]
    fn a_client_secret_has_its_form_and_matches_its_hash() {
        let made = NewSecret::client_secret(Zeroizing::new([9; 32]));
        let text = made.text.expose_secret();
        assert!(is_client_secret(text) && matches(text, &made.hash));
        assert_eq!(text.len(), 4 + 43);
    }

    #[test]
    fn another_secret_a_longer_one_and_a_cut_hash_do_not_match() {
        let (_, made) = token();
        let text = made.text.expose_secret();
        assert!(!matches(&format!("{text}A"), &made.hash));
        assert!(!matches(&text.replace('C', "D"), &made.hash));
        assert!(!matches(text, &made.hash[..31]));
        assert!(!matches(text, b""));
    }

    #[test]
    fn texts_of_another_form_name_no_token() {
        let (_, made) = token();
        let text = made.text.expose_secret();
        for bad in [
            "",
            "pst_",
            &text.replace("pst_", "pcs_"),
            text.strip_suffix(char::is_alphanumeric).unwrap(),
            &format!("{text}A"),
            &format!(" {text}"),
            &text.replace("0000000007", "000000000G"),
            &text.replace("CQkJ", "é"),
        ] {
            assert_eq!(service_token_id(bad), None, "{bad}");
        }
        assert!(!is_client_secret(text));
        assert!(!is_client_secret("pcs_short"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let (_, made) = token();
        let shown = format!("{made:?}");
        assert!(!shown.contains("CQkJ"), "{shown}");
    }
}
