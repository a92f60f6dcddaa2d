//! `portcullis principal key`: the private key is made here and stays here; the server gets the public one.

use std::path::PathBuf;

use clap::Subcommand;
use portcullis_domain::id::{ClientKey as KeyKind, Id};
use portcullis_wire::api::{ClientKey, CreateKey};

use super::Which;
use crate::cli::credentials::PrivateKey;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::session::{Session, read_text};

/// A JWK is far smaller.
const MAX_JWK_BYTES: u64 = 16 << 10;

/// What can be done with a client's keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make an Ed25519 key, write it to a new file and register its public half
    Create {
        /// Which principal
        #[command(flatten)]
        which: Which,
        /// The new file for the private key (PKCS#8 PEM, mode 0600)
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// How long it works, e.g. 90d [default: until revoked]
        #[arg(long, value_name = "LIFETIME")]
        expires_in: Option<humantime::Duration>,
    },
    /// Register a public key that somebody else has made
    Add {
        /// Which principal
        #[command(flatten)]
        which: Which,
        /// The public key as a JWK: Ed25519, P-256, or RSA with its `alg`
        #[arg(long, value_name = "FILE")]
        jwk: PathBuf,
        /// How long it works, e.g. 90d [default: until revoked]
        #[arg(long, value_name = "LIFETIME")]
        expires_in: Option<humantime::Duration>,
    },
    /// Show which keys a principal has
    List(Which),
    /// Make a key stop working
    Revoke {
        /// Which principal
        #[command(flatten)]
        which: Which,
        /// The key's id
        id: Id<KeyKind>,
    },
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached, or a file cannot be used.
pub(super) async fn run(command: KeyCommand, mut session: Session<'_>) -> Result<(), CliError> {
    match command {
        KeyCommand::Create {
            which,
            out,
            expires_in,
        } => {
            let key = PrivateKey::generate()?;
            let body = body(key.jwk(), expires_in, &session)?;
            let client = session.client(Some(&which.tenant))?;
            // Written first: a key that is registered and lost would be of no use to anybody.
            key.write(&out)?;
            let registered: ClientKey = client.post(&which.keys(), &body).await?.value;
            session.output.value(&registered, card)?;
            session.output.hint(&format!(
                "Next: portcullis token --tenant {} --client-id CLIENT_ID --private-key {}",
                which.tenant,
                out.display()
            ))
        }
        KeyCommand::Add {
            which,
            jwk,
            expires_in,
        } => {
            let text = read_text(&jwk, MAX_JWK_BYTES)?;
            let Ok(value) = serde_json::from_str(&text) else {
                return Err(CliError::Usage(format!(
                    "{} holds no JSON: name a file with one public key as a JWK (RFC 7517)",
                    jwk.display()
                )));
            };
            let body = body(value, expires_in, &session)?;
            let client = session.client(Some(&which.tenant))?;
            let registered: ClientKey = client.post(&which.keys(), &body).await?.value;
            session.output.value(&registered, card)
        }
        KeyCommand::List(which) => {
            let client = session.client(Some(&which.tenant))?;
            let list: Vec<ClientKey> = client.list(&which.keys(), &[], usize::MAX).await?;
            let head = ["ID", "KID", "CREATED", "EXPIRES", "REVOKED", "LAST USED"];
            session.output.list(&list, head, |key| {
                [
                    key.id.to_string(),
                    key.kid.clone(),
                    output::time(Some(key.created_at)),
                    output::time(key.expires_at),
                    output::time(key.revoked_at),
                    output::time(key.last_used_at),
                ]
            })
        }
        KeyCommand::Revoke { which, id } => {
            let client = session.client(Some(&which.tenant))?;
            let id = id.to_string();
            let path = [&which.keys()[..], &[&id]].concat();
            client.delete(&path).await?;
            session.output.hint(&format!("Revoked {id}"))
        }
    }
}

fn body(
    jwk: serde_json::Value,
    expires_in: Option<humantime::Duration>,
    session: &Session<'_>,
) -> Result<CreateKey, CliError> {
    let expires_at = expires_in.map(|lifetime| session.end_of(lifetime));
    Ok(CreateKey {
        jwk,
        expires_at: expires_at.transpose()?,
    })
}

fn card(key: &ClientKey) -> String {
    output::pairs(&[
        ("id", key.id.to_string()),
        ("kid", key.kid.clone()),
        ("created", output::time(Some(key.created_at))),
        ("expires", output::time(key.expires_at)),
    ])
}
