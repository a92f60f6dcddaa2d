//! Finding the server's binaries among those that the system has.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::error::UpError;
use super::install;

/// The versions that Portcullis is tested with.
const OLDEST: u32 = 15;
const NEWEST: u32 = 17;

/// The folder of one PostgreSQL server's binaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::up) struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
    /// Finds a server, or installs Debian's where we may. A cluster that exists needs the version
    /// that made it.
    pub(in crate::up) fn find(cluster: &Path, search: &[PathBuf]) -> Result<Self, UpError> {
        let needed = version_of(cluster)?;
        if let Some(found) = Self::best(search, needed) {
            return Ok(found);
        }
        let remedy = install::install(needed)?;
        Self::best(search, needed).ok_or_else(|| UpError::NoPostgres {
            wanted: needed.map_or_else(
                || format!("{OLDEST} to {NEWEST}"),
                |major| major.to_string(),
            ),
            remedy,
        })
    }

    fn best(search: &[PathBuf], needed: Option<u32>) -> Option<Self> {
        candidates(search)
            .into_iter()
            .filter_map(|folder| Self::at(&folder))
            .filter(|found| match needed {
                Some(major) => found.major == major,
                None => (OLDEST..=NEWEST).contains(&found.major),
            })
            .max_by_key(|found| found.major)
    }

    /// The server in a folder, if there is a whole one.
    fn at(folder: &Path) -> Option<Self> {
        // `postgres` finds its libraries from where it really is, not from a link to it.
        let server = folder.join("postgres").canonicalize().ok()?;
        let folder = server.parent()?.to_owned();
        if !folder.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(&server).arg("--version").output().ok()?;
        let major = major_of(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { folder, major })
    }

    /// The path of one binary.
    pub(in crate::up) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Of `postgres (PostgreSQL) 15.18 (Debian …)`, the 15.
fn major_of(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The version that made a cluster, if there is one.
fn version_of(cluster: &Path) -> Result<Option<u32>, UpError> {
    let path = cluster.join("PG_VERSION");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(UpError::file("cannot read", path)(error)),
    }
}

/// Where servers are: the search path, Debian, Red Hat, Homebrew, and what `pg_config` says.
fn candidates(search: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders = search.to_vec();
    folders.extend(children("/usr/lib/postgresql", "", "bin"));
    folders.extend(children("/usr", "pgsql-", "bin"));
    for prefix in ["/opt/homebrew/opt", "/usr/local/opt"] {
        folders.extend(children(prefix, "postgresql@", "bin"));
    }
    let asked = search
        .iter()
        .map(|folder| folder.join("pg_config"))
        .find(|path| path.is_file())
        .and_then(|path| Command::new(path).arg("--bindir").output().ok());
    if let Some(output) = asked {
        let folder = String::from_utf8_lossy(&output.stdout);
        folders.push(PathBuf::from(folder.trim()));
    }
    folders
}

fn children(folder: &str, front: &str, inner: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(front))
        .map(|entry| entry.path().join(inner))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn server(folder: &Path, version: &str) {
        std::fs::create_dir_all(folder).unwrap();
        for name in ["postgres", "initdb"] {
            let path = folder.join(name);
            let text = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n");
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(
            major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0)\n"),
            Some(15)
        );
        assert_eq!(major_of("postgres (PostgreSQL) 17beta1"), Some(17));
        assert_eq!(major_of("mysqld  Ver 8"), None);
    }

    #[test]
    fn a_server_that_is_too_old_or_too_new_is_not_taken() {
        let place = tempfile::tempdir().unwrap();
        for version in ["14.9", "16.2", "18.0"] {
            server(&place.path().join(version), version);
        }
        let found: Vec<_> = ["14.9", "16.2", "18.0"]
            .map(|version| Binaries::at(&place.path().join(version)).unwrap().major)
            .into();
        assert_eq!(found, [14, 16, 18]);
        let search = [place.path().join("14.9"), place.path().join("18.0")];
        let best = Binaries::best(&search, None);
        // What else this machine has may be found, but never these two.
        assert!(best.is_none_or(|found| (OLDEST..=NEWEST).contains(&found.major)));
    }

    #[test]
    fn a_cluster_is_only_opened_by_the_version_that_made_it() {
        let place = tempfile::tempdir().unwrap();
        let (old, new) = (place.path().join("a"), place.path().join("b"));
        server(&old, "16.2");
        server(&new, "17.1");
        let found = Binaries::best(&[new, old.clone()], Some(16)).unwrap();
        assert_eq!(found.folder, old.canonicalize().unwrap());
    }

    #[test]
    fn a_folder_without_initdb_is_no_server() {
        let place = tempfile::tempdir().unwrap();
        server(place.path(), "16.2");
        std::fs::remove_file(place.path().join("initdb")).unwrap();
        assert_eq!(Binaries::at(place.path()), None);
    }
}
