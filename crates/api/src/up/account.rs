//! Who runs the database server: whoever started us, but never root, which PostgreSQL refuses.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::unistd::{Gid, Uid, User, chown};
use tokio::process::Command;

use super::error::UpError;

/// The user that the server's processes run as.
#[derive(Debug, Clone)]
pub(super) struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    switched: bool,
}

impl Account {
    /// The present user; for root, whoever owns the cluster, else `postgres`, else `nobody`.
    pub(super) fn choose(cluster: &Path) -> Result<Self, UpError> {
        let uid = Uid::effective();
        if !uid.is_root() {
            return Ok(Self {
                name: uid.to_string(),
                uid,
                gid: Gid::effective(),
                switched: false,
            });
        }
        let owner = cluster
            .metadata()
            .ok()
            .map(|found| Uid::from_raw(found.uid()));
        let owner = owner.filter(|uid| !uid.is_root());
        let owner = owner.and_then(|uid| User::from_uid(uid).ok().flatten());
        owner
            .or_else(|| {
                ["postgres", "nobody"]
                    .into_iter()
                    .find_map(|name| User::from_name(name).ok().flatten())
            })
            .map(|user| Self {
                name: user.name,
                uid: user.uid,
                gid: user.gid,
                switched: true,
            })
            .ok_or(UpError::NoAccount)
    }

    /// Whether it is another user than ours.
    pub(super) const fn is_switched(&self) -> bool {
        self.switched
    }

    /// The numeric user id.
    pub(super) const fn uid(&self) -> Uid {
        self.uid
    }

    /// A program to be run as this user, with nothing of our environment: variables such as
    /// `PGDATA` or `LC_ALL` would change what the server does.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null());
        if self.switched {
            // As root this also empties the supplementary groups.
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        command
    }

    /// Hands a file or folder of ours to this user.
    pub(super) fn give(&self, path: &Path) -> Result<(), UpError> {
        if !self.switched {
            return Ok(());
        }
        chown(path, Some(self.uid), Some(self.gid))
            .map_err(std::io::Error::from)
            .map_err(UpError::file("cannot give to the server's user", path))
    }

    fn may_enter(&self, folder: &Metadata) -> bool {
        let mode = folder.mode();
        if folder.uid() == self.uid.as_raw() {
            mode & 0o100 != 0
        } else if folder.gid() == self.gid.as_raw() {
            mode & 0o010 != 0
        } else {
            mode & 0o001 != 0
        }
    }

    /// Checks that this user can walk to `folder`, which exists, on the way to `goal`.
    pub(super) fn check_way(&self, folder: &Path, goal: &Path) -> Result<(), UpError> {
        if !self.switched {
            return Ok(());
        }
        let mut way: Vec<&Path> = folder.ancestors().collect();
        way.reverse();
        for step in way {
            let metadata = step
                .metadata()
                .map_err(UpError::file("cannot look at", step))?;
            if !self.may_enter(&metadata) {
                return Err(UpError::Unreachable {
                    account: self.name.clone(),
                    blocked: step.to_owned(),
                    folder: PathBuf::from(goal),
                });
            }
        }
        Ok(())
    }
}
