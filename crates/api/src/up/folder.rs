//! The data folder: where everything of the local platform lives, and the lock that makes it one
//! process's own.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use sha2::{Digest, Sha256};

use super::account::Account;
use super::error::UpError;
use crate::cli::operator;

/// `sun_path` holds 104 bytes on the tightest system, and PostgreSQL appends `/.s.PGSQL.5432`.
const LONGEST_SOCKET_FOLDER: usize = 85;

/// The cluster's folder within the data folder.
pub(super) const CLUSTER: &str = "postgres";

/// The locked data folder.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// Released by the kernel when the process ends, however it ends.
    _lock: File,
}

impl Folder {
    /// Creates and locks the folder, and checks that the server's user can reach it.
    pub(super) fn open(root: &Path, account: &Account) -> Result<Self, UpError> {
        let root = &std::path::absolute(root).map_err(UpError::file("cannot find", root))?;
        refuse_foreign(root)?;
        check_parents(root, account)?;
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder
            .create(root)
            .map_err(UpError::file("cannot create", root))?;
        let root = root
            .canonicalize()
            .map_err(UpError::file("cannot find", root))?;
        // The server's user passes through but lists nothing; nobody else even passes.
        let mode = if account.is_switched() { 0o711 } else { 0o700 };
        std::fs::set_permissions(&root, Permissions::from_mode(mode))
            .map_err(UpError::file("cannot set the mode of", &root))?;
        account.check_way(&root, &root)?;
        let lock = lock(&root)?;
        let folder = Self { root, _lock: lock };
        own_folder(&folder.secrets())?;
        own_folder(&folder.tls())?;
        Ok(folder)
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }
    /// Passwords of the database roles.
    pub(super) fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }
    /// Certificates and keys of HTTPS.
    pub(super) fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }
    /// The password of one database role.
    pub(super) fn password(&self, role: &str) -> PathBuf {
        self.secrets().join(format!("{role}.password"))
    }
    /// The database cluster.
    pub(super) fn cluster(&self) -> PathBuf {
        self.root.join(CLUSTER)
    }
    /// The server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.root.join("postgres.log")
    }
    /// The platform's keys.
    pub(super) fn keys(&self) -> PathBuf {
        self.root.join("keys.json")
    }
    /// The configuration that `serve` can be started with beside us.
    pub(super) fn config(&self) -> PathBuf {
        self.root.join("portcullis.toml")
    }
    /// The credentials of this machine's operator.
    pub(super) fn operator(&self) -> PathBuf {
        self.root.join(operator::FILE_NAME)
    }

    /// Where the server's socket is.
    pub(super) fn sockets_path(&self, account: &Account) -> PathBuf {
        let near = self.root.join("run");
        if near.as_os_str().len() <= LONGEST_SOCKET_FOLDER {
            return near;
        }
        let digest = Sha256::digest(self.root.as_os_str().as_encoded_bytes());
        let short: String = hex::encode(digest).chars().take(12).collect();
        PathBuf::from(format!("/tmp/portcullis-{}-{short}", account.uid()))
    }

    /// The folder of the server's socket, which exists and belongs to the server's user alone, who
    /// can reach it.
    pub(super) fn sockets(&self, account: &Account) -> Result<PathBuf, UpError> {
        account.check_way(&self.root, &self.root)?;
        let folder = self.sockets_path(account);
        own_folder_of(&folder, account)?;
        Ok(folder)
    }
}

/// Checks the way as far as it exists, before anything is made.
fn check_parents(root: &Path, account: &Account) -> Result<(), UpError> {
    let Some(parent) = root.ancestors().skip(1).find(|folder| folder.exists()) else {
        return Ok(());
    };
    let parent = parent
        .canonicalize()
        .map_err(UpError::file("cannot find", parent))?;
    account.check_way(&parent, root)
}

/// A folder with something else in it is not taken over: its mode would change under its owner.
fn refuse_foreign(root: &Path) -> Result<(), UpError> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(UpError::file("cannot read", root)(error)),
    };
    if entries.count() == 0 || root.join("lock").exists() {
        return Ok(());
    }
    Err(UpError::file("will not use", root)(std::io::Error::other(
        "it is not empty and holds no data of Portcullis; choose another --data-dir",
    )))
}

fn lock(root: &Path) -> Result<File, UpError> {
    let path = root.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(UpError::file("cannot open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Who holds it is a courtesy; that it is held is what counts.
            let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            return Err(UpError::InUse {
                folder: root.to_owned(),
                holder: if known {
                    format!(" (process {})", pid.trim())
                } else {
                    String::new()
                },
            });
        }
        Err(TryLockError::Error(source)) => {
            return Err(UpError::file("cannot lock", &path)(source));
        }
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(UpError::file("cannot write", &path))?;
    Ok(file)
}

/// A folder of mode 0700 that is ours.
fn own_folder(path: &Path) -> Result<(), UpError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(UpError::file("cannot create", path))
}

/// A folder of mode 0700 that belongs to the server's user. In a shared place such as `/tmp` another
/// user may have made one of this name first: that one is refused, not used.
pub(super) fn own_folder_of(path: &Path, account: &Account) -> Result<(), UpError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => account.give(path),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let found = path
                .symlink_metadata()
                .map_err(UpError::file("cannot look at", path))?;
            let ours =
                found.uid() == account.uid().as_raw() || found.uid() == Uid::effective().as_raw();
            if !found.is_dir() || !ours || found.mode() & 0o077 != 0 {
                return Err(UpError::file("will not use", path)(std::io::Error::other(
                    "it is no folder of the server's user alone; remove it",
                )));
            }
            account.give(path)
        }
        Err(error) => Err(UpError::file("cannot create", path)(error)),
    }
}
