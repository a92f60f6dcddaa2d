//! The credentials of this machine's operator: service tokens, and the client secrets of the demo's
//! programs. They are made where the file lacks them or holds ones that no longer work.

use std::collections::BTreeMap;
use std::path::PathBuf;

use portcullis_domain::id::{Id, Principal};
use portcullis_domain::{Clock, PrincipalName};
use portcullis_keys::entropy;
use portcullis_store::service_tokens::{NewServiceToken, ServiceTokenRow};
use portcullis_store::{ControlTx, clients, epoch, service_tokens};
use secrecy::{ExposeSecret, SecretString};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::super::authority::TlsFiles;
use super::super::error::UpError;
use super::super::folder::Folder;
use super::tenant::{Made, note};
use super::{ACTOR, mint};
use crate::cli::OperatorFile;
use crate::cli::SecretFileError;
use crate::cli::connection::Connection;
use crate::cli::operator::{ClientCredentials, TenantCredentials};
use crate::cli::secret_file::Exposed;
use crate::credential::{self, NewSecret};
use crate::platform::write_private;
use crate::serve::Stores;

/// How long a service token of this machine works.
const LIFETIME: Duration = Duration::days(365);
/// A token with less left than this is replaced.
const RENEWED: Duration = Duration::days(30);

/// The file, or an empty one.
pub(super) fn load(folder: &Folder, origin: &str) -> Result<OperatorFile, UpError> {
    let mut file = match OperatorFile::load(&folder.operator()) {
        Ok(file) => file,
        Err(SecretFileError::Absent { .. }) => OperatorFile {
            server: String::new(),
            ca_file: None,
            platform_token: SecretString::default(),
            tenants: BTreeMap::new(),
        },
        Err(error) => return Err(error.into()),
    };
    origin.clone_into(&mut file.server);
    let https = origin.starts_with("https:");
    file.ca_file = https.then(|| TlsFiles::of(folder).authority);
    Ok(file)
}

/// Writes the file.
pub(super) fn save(folder: &Folder, file: &OperatorFile) -> Result<(), UpError> {
    Ok(file.save(&folder.operator())?)
}

fn works(row: &ServiceTokenRow, token: &SecretString, now: OffsetDateTime) -> bool {
    row.revoked_at.is_none()
        && now < row.expires_at.saturating_sub(RENEWED)
        && credential::matches(token.expose_secret(), &row.hash)
}

async fn find(stores: &Stores, token: &SecretString) -> Result<Option<ServiceTokenRow>, UpError> {
    let Some(id) = credential::service_token_id(token.expose_secret()) else {
        return Ok(None);
    };
    let mut tx = stores.control.platform().await?;
    Ok(service_tokens::by_id(&mut tx, id).await?)
}

fn secret() -> Result<Zeroizing<[u8; 32]>, UpError> {
    Ok(Zeroizing::new(entropy::random()?))
}

/// Makes sure that the platform's token works.
pub(super) async fn platform_token(
    file: &mut OperatorFile,
    stores: &Stores,
    clock: &dyn Clock,
) -> Result<(), UpError> {
    let now = clock.now();
    let found = find(stores, &file.platform_token).await?;
    if found.is_some_and(|row| row.tenant.is_none() && works(&row, &file.platform_token, now)) {
        return Ok(());
    }
    let id = mint(clock)?;
    let made = NewSecret::service_token(id, secret()?);
    let new = NewServiceToken {
        id,
        name: "operator of this machine",
        role: "platform",
        hash: made.hash,
        created_by: ACTOR,
        expires_at: now.saturating_add(LIFETIME),
    };
    let mut tx = stores.control.platform().await?;
    service_tokens::create_platform(&mut tx, &new, now).await?;
    tx.commit().await?;
    file.platform_token = made.text;
    Ok(())
}

/// Makes sure that a tenant's token and its programs' secrets work.
pub(super) async fn tenant_credentials(
    file: &mut OperatorFile,
    made: &Made,
    stores: &Stores,
    clock: &dyn Clock,
) -> Result<(), UpError> {
    let now = clock.now();
    let mut kept = file.tenants.remove(made.slug);
    let row = match &kept {
        Some(kept) => find(stores, &kept.owner_token).await?,
        None => None,
    };
    let token = kept.as_ref().map(|kept| kept.owner_token.clone());
    let token = token.filter(|token| {
        row.is_some_and(|row| row.tenant == Some(made.tenant) && works(&row, token, now))
    });
    let mut tx = stores.control.begin(made.tenant).await?;
    let mut changed = false;
    let owner_token = if let Some(token) = token {
        token
    } else {
        changed = true;
        owner_token(&mut tx, clock).await?
    };
    let mut held = BTreeMap::new();
    for (name, id) in &made.clients {
        let old = kept.as_mut().and_then(|kept| kept.clients.remove(name));
        let credentials = match old {
            Some(old) if still_held(&mut tx, &old, *id, now).await? => old,
            Some(_) | None => {
                changed = true;
                client(&mut tx, name, *id, clock).await?
            }
        };
        held.insert(name.clone(), credentials);
    }
    if changed {
        epoch::bump(&mut tx, "credentials", now).await?;
        tx.commit().await?;
    }
    // Credentials of principals that the operator made by himself stay, too.
    held.extend(kept.into_iter().flat_map(|kept| kept.clients));
    let credentials = TenantCredentials {
        owner_token,
        clients: held,
    };
    file.tenants.insert(made.slug.to_owned(), credentials);
    Ok(())
}

async fn owner_token(tx: &mut ControlTx, clock: &dyn Clock) -> Result<SecretString, UpError> {
    let now = clock.now();
    let id = mint(clock)?;
    let made = NewSecret::service_token(id, secret()?);
    let new = NewServiceToken {
        id,
        name: "operator of this machine",
        role: "owner",
        hash: made.hash,
        created_by: ACTOR,
        expires_at: now.saturating_add(LIFETIME),
    };
    service_tokens::create(tx, &new, now).await?;
    note(tx, clock, "service_token.create", &id.to_string()).await?;
    Ok(made.text)
}

async fn still_held(
    tx: &mut ControlTx,
    old: &ClientCredentials,
    id: Id<Principal>,
    now: OffsetDateTime,
) -> Result<bool, UpError> {
    let live = clients::live_secrets(tx, id, now).await?;
    let text = old.client_secret.expose_secret();
    Ok(old.client_id == id && live.iter().any(|row| credential::matches(text, &row.hash)))
}

async fn client(
    tx: &mut ControlTx,
    name: &PrincipalName,
    principal: Id<Principal>,
    clock: &dyn Clock,
) -> Result<ClientCredentials, UpError> {
    let made = NewSecret::client_secret(secret()?);
    let id = mint(clock)?;
    clients::create_secret(tx, id, principal, &made.hash, None, clock.now()).await?;
    note(tx, clock, "client_secret.create", name.as_str()).await?;
    Ok(ClientCredentials {
        client_id: principal,
        client_secret: made.text,
    })
}

/// Writes a file of `curl` options with a program's client id and secret, so that neither stands on
/// a command line or on the screen.
pub(super) fn curl_file(
    folder: &Folder,
    tenant: &str,
    name: &PrincipalName,
    file: &OperatorFile,
) -> Result<PathBuf, UpError> {
    let path = folder
        .secrets()
        .join(format!("{tenant}.{}.curl", name.as_str().replace(':', "-")));
    let held = file
        .tenants
        .get(tenant)
        .and_then(|tenant| tenant.clients.get(name));
    if let Some(held) = held {
        let secret = held.client_secret.expose_secret();
        let text = Zeroizing::new(format!("user = \"{}:{secret}\"\n", held.client_id));
        write_private(&path, text.as_bytes()).map_err(UpError::file("cannot write", &path))?;
    }
    Ok(path)
}

/// Writes a program's connection file, which a host's configuration names.
pub(super) fn connection_file(
    folder: &Folder,
    tenant: &str,
    name: &PrincipalName,
    file: &OperatorFile,
) -> Result<PathBuf, UpError> {
    let path = folder
        .secrets()
        .join(format!("{tenant}.{}.json", name.as_str().replace(':', "-")));
    let held = file.tenants.get(tenant);
    if let Some(held) = held.and_then(|tenant| tenant.clients.get(name)) {
        let url = format!("{}/t/{tenant}/mcp", file.server.trim_end_matches('/'));
        let connection = Connection {
            url: url.parse().map_err(UpError::PublicUrl)?,
            client_id: held.client_id,
            client_secret: Some(Exposed(held.client_secret.clone())),
            private_key_file: None,
            ca_file: file.ca_file.clone(),
        };
        connection.save(&path)?;
    }
    Ok(path)
}
