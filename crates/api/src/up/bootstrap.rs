//! From an empty cluster to databases of this version: roles, databases, migrations. Every step
//! finds what is there and makes only what is missing.

use std::path::Path;

use portcullis_domain::Pool;
use portcullis_store::roles::{self, Passwords};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::error::{UpError, demo};
use super::folder::Folder;
use super::passwords::password;
use super::postgres::SUPERUSER;
use super::settings;
use crate::config::Config;
use crate::serve;

/// Makes roles, databases and tables.
pub(super) async fn bootstrap(
    folder: &Folder,
    sockets: &Path,
    superuser: &SecretString,
    config: &Config,
) -> Result<(), UpError> {
    let administrator = administrator(sockets, superuser)?;
    roles::bootstrap(&administrator, &role_passwords(folder)?).await?;
    roles::create_database(&administrator, settings::CONTROL).await?;
    for pool in Pool::ALL {
        roles::create_database(&administrator, &settings::region(pool)).await?;
    }
    Ok(serve::migrate(config).await?)
}

/// The passwords of the four roles, made where there are none yet.
pub(super) fn role_passwords(folder: &Folder) -> Result<Passwords, UpError> {
    Ok(Passwords {
        owner: password(folder, "owner")?,
        app: password(folder, "app")?,
        recorder: password(folder, "recorder")?,
        sweeper: password(folder, "sweeper")?,
    })
}

fn administrator(sockets: &Path, password: &SecretString) -> Result<SecretString, UpError> {
    let url = settings::url(sockets, SUPERUSER, "postgres");
    let mut url = Url::parse(&url).map_err(demo)?;
    // The URL has a host, so it takes a password.
    let _ = url.set_password(Some(password.expose_secret()));
    Ok(SecretString::from(url.to_string()))
}
