//! Changes to a host's configuration file: one member is set or taken out, and every other byte stays.
//! What is not understood is left alone, and a file is replaced whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jsonc_parser::cst::{CstObject, CstRootNode};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::super::error::CliError;
use super::super::session::read_text;
use super::hosts::{Host, Server};

/// Configurations that people write are far smaller.
const MAX_BYTES: u64 = 4 << 20;

/// A host's configuration file, as it is found.
#[derive(Debug)]
pub(super) struct HostFile {
    host: Host,
    path: PathBuf,
    /// What it holds; `None` where it is not there.
    text: Option<String>,
}

/// What a change makes of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It holds this.
    Text(String),
    /// It held nothing but ours, and goes.
    Nothing,
    /// It stays as it is.
    Unchanged,
}

impl HostFile {
    /// Reads the file, or finds that there is none.
    pub(super) fn read(host: Host, path: &Path) -> Result<Self, CliError> {
        // A link stays a link: what it leads to is changed.
        let path = match path.canonicalize() {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(source) => return Err(failed("find", path)(source)),
        };
        let text = if path.exists() {
            Some(read_text(&path, MAX_BYTES)?)
        } else {
            None
        };
        Ok(Self { host, path, text })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where its state before the first change is kept.
    pub(super) fn backup(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".before-portcullis");
        PathBuf::from(name)
    }

    /// The file with the server in it.
    pub(super) fn with(&self, name: &str, server: &Server) -> Result<After, CliError> {
        let root = self.parse()?;
        let servers = self.servers(&root)?;
        if let Some(known) = servers.get(name) {
            let value = known.value().and_then(|value| value.to_serde_value());
            if value.as_ref() == Some(&server.json()) {
                return Ok(After::Unchanged);
            }
            if !value.is_some_and(|value| is_ours(&value)) {
                return Err(CliError::Failed(format!(
                    "{} has a server {name} already that is none of Portcullis: choose another name \
                     with --name",
                    self.path.display()
                )));
            }
            known.set_value(server.input());
        } else {
            servers.append(name, server.input());
        }
        Ok(After::Text(root.to_string()))
    }

    /// The file without the server.
    pub(super) fn without(&self, name: &str) -> Result<After, CliError> {
        if self.text.is_none() {
            return Ok(After::Unchanged);
        }
        let root = self.parse()?;
        let servers = self.servers(&root)?;
        let Some(known) = servers.get(name) else {
            return Ok(After::Unchanged);
        };
        let value = known.value().and_then(|value| value.to_serde_value());
        if !value.is_some_and(|value| is_ours(&value)) {
            return Err(CliError::Failed(format!(
                "the server {name} in {} is none of Portcullis, and stays",
                self.path.display()
            )));
        }
        known.remove();
        let left = root.to_serde_value();
        let backup = self.backup();
        if !backup.exists() {
            let empty = serde_json::json!({self.host.member(): {}});
            return Ok(if left == Some(empty) {
                After::Nothing
            } else {
                After::Text(root.to_string())
            });
        }
        // Where nobody has changed anything else meanwhile, the file gets back its every byte.
        let before = read_text(&backup, MAX_BYTES)?;
        let same = self.value_of(&before)?.map(|value| self.normal(value))
            == left.map(|value| self.normal(value));
        Ok(After::Text(if same { before } else { root.to_string() }))
    }

    /// Makes the change. The state before the first one is kept beside the file.
    pub(super) fn apply(&self, after: &After) -> Result<(), CliError> {
        let backup = self.backup();
        match after {
            After::Unchanged => Ok(()),
            After::Nothing => fs::remove_file(&self.path).map_err(failed("remove", &self.path)),
            After::Text(new) => {
                if let Some(old) = &self.text
                    && !backup.exists()
                {
                    self.put(&backup, old).map_err(failed("write", &backup))?;
                }
                if let Some(folder) = self.path.parent() {
                    fs::create_dir_all(folder).map_err(failed("create", folder))?;
                }
                self.put(&self.path, new)
                    .map_err(failed("write", &self.path))
            }
        }
    }

    /// Whether the file, as it is now, still names a server of ours.
    pub(super) fn holds_ours(&self) -> Result<bool, CliError> {
        Ok(!Self::read(self.host, &self.path)?.ours()?.is_empty())
    }

    /// The servers of ours that it names.
    pub(super) fn ours(&self) -> Result<Vec<(String, Value)>, CliError> {
        let value = self.parse()?.to_serde_value();
        let servers = value
            .as_ref()
            .and_then(|value| value.get(self.host.member()));
        let servers = servers.and_then(Value::as_object).into_iter().flatten();
        Ok(servers
            .filter(|(_, server)| is_ours(server))
            .map(|(name, server)| (name.clone(), server.clone()))
            .collect())
    }

    /// Takes the kept state away, once it has been given back.
    pub(super) fn forget(&self) -> Result<(), CliError> {
        let backup = self.backup();
        match fs::remove_file(&backup) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(failed("remove", &backup)(source)),
        }
    }

    /// Writes a file beside and moves it into place, with the rights of the one that was there.
    fn put(&self, path: &Path, text: &str) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        if let Ok(known) = fs::metadata(&self.path) {
            file.as_file().set_permissions(known.permissions())?;
        }
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    fn parse(&self) -> Result<CstRootNode, CliError> {
        self.parsed(self.text.as_deref().unwrap_or("{}\n"))
    }

    fn parsed(&self, text: &str) -> Result<CstRootNode, CliError> {
        // Some hosts leave an empty file behind.
        let text = if text.trim().is_empty() { "{}\n" } else { text };
        let broken = |line: usize, column: usize| {
            CliError::Failed(format!(
                "{} is not in its form (line {line}, column {column}), and was left as it is: mend it \
                 first",
                self.path.display()
            ))
        };
        if !self.host.takes_comments() {
            // The editor of files is milder than their readers.
            serde_json::from_str::<IgnoredAny>(text)
                .map_err(|error| broken(error.line(), error.column()))?;
        }
        CstRootNode::parse(text, &self.host.syntax())
            .map_err(|error| broken(error.line_display(), error.column_display()))
    }

    fn value_of(&self, text: &str) -> Result<Option<Value>, CliError> {
        Ok(self.parsed(text)?.to_serde_value())
    }

    /// A configuration in which an absent list of servers and an empty one are the same.
    fn normal(&self, mut value: Value) -> Value {
        let member = self.host.member();
        if let Some(members) = value.as_object_mut()
            && members
                .get(member)
                .and_then(Value::as_object)
                .is_some_and(serde_json::Map::is_empty)
        {
            members.remove(member);
        }
        value
    }

    fn servers(&self, root: &CstRootNode) -> Result<CstObject, CliError> {
        let member = self.host.member();
        let found = root
            .object_value_or_create()
            .and_then(|object| object.object_value_or_create(member));
        found.ok_or_else(|| {
            CliError::Failed(format!(
                "{} holds something else than an object where its servers belong (`{member}`), and was \
                 left as it is: mend it first",
                self.path.display()
            ))
        })
    }
}

/// Whether a server was written by us: it starts the bridge.
fn is_ours(server: &Value) -> bool {
    let first = server.pointer("/args/0").and_then(Value::as_str);
    let second = server.pointer("/args/1").and_then(Value::as_str);
    (first, second) == (Some("stdio"), Some("--connection"))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = path.to_owned();
    move |source| CliError::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "{\n\t\"theme\": \"dark\",\n\t\"mcpServers\": {\n\t\t\"other\": {\"command\": \"x\"}\n\t}\n}\n";

    fn server(host: Host) -> Server {
        host.server(Path::new("/bin/portcullis"), Path::new("/c/acme.json"))
    }

    fn text(after: After) -> String {
        match after {
            After::Text(text) => text,
            After::Nothing | After::Unchanged => panic!("{after:?}"),
        }
    }

    fn connect(host: Host, path: &Path) {
        let file = HostFile::read(host, path).unwrap();
        file.apply(&file.with("p", &server(host)).unwrap()).unwrap();
    }

    fn undo(host: Host, path: &Path) {
        let file = HostFile::read(host, path).unwrap();
        file.apply(&file.without("p").unwrap()).unwrap();
        file.forget().unwrap();
    }

    #[test]
    fn what_else_is_in_the_file_stays_and_undoing_gives_back_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        for old in [OLD, "{}", "{ \"a\": 1 }", "{\r\n}\r\n", "\n"] {
            fs::write(&path, old).unwrap();
            connect(Host::Claude, &path);
            let new: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(new["mcpServers"]["p"]["args"][2], "/c/acme.json");
            if old == OLD {
                assert_eq!(new["theme"], "dark");
                assert_eq!(new["mcpServers"]["other"]["command"], "x");
            }
            // A second time changes nothing, the backup included.
            connect(Host::Claude, &path);
            undo(Host::Claude, &path);
            assert_eq!(fs::read_to_string(&path).unwrap(), old);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn comments_of_an_editors_file_survive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        let old = "// mine\n{\n  // the theme\n  \"theme\": \"dark\", // so\n}\n";
        fs::write(&path, old).unwrap();
        connect(Host::Zed, &path);
        let new = fs::read_to_string(&path).unwrap();
        for kept in ["// mine", "// the theme", "// so", "context_servers"] {
            assert!(new.contains(kept), "{new}");
        }
        undo(Host::Zed, &path);
        assert_eq!(fs::read_to_string(&path).unwrap(), old);
    }

    #[test]
    fn what_was_changed_meanwhile_is_not_undone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        fs::write(&path, OLD).unwrap();
        connect(Host::Cursor, &path);
        let new = fs::read_to_string(&path).unwrap();
        fs::write(&path, new.replace("dark", "light")).unwrap();
        undo(Host::Cursor, &path);
        let left: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(left["theme"], "light");
        assert!(left["mcpServers"]["p"].is_null() && left["mcpServers"]["other"].is_object());
    }

    #[test]
    fn a_file_that_we_made_goes_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/down/mcp.json");
        connect(Host::Vscode, &path);
        let made: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(made["servers"]["p"]["type"], "stdio");
        undo(Host::Vscode, &path);
        assert!(!path.exists());
        undo(Host::Vscode, &path);
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        for broken in [
            "{",
            "{\"mcpServers\": []}",
            "{\"mcpServers\": {\"p\": {\"command\": \"theirs\", \"args\": [\"x\"]}}}",
            "[]",
            "{} // a comment",
            "{\"a\": 1,}",
            "{'a': 1}",
        ] {
            fs::write(&path, broken).unwrap();
            let file = HostFile::read(Host::Claude, &path).unwrap();
            file.with("p", &server(Host::Claude)).unwrap_err();
            assert_eq!(fs::read_to_string(&path).unwrap(), broken);
        }
        let file = HostFile::read(Host::Claude, &path).unwrap();
        file.without("p").unwrap_err();
    }

    #[test]
    fn a_link_stays_a_link_and_rights_stay_as_they_are() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (
            folder.path().join("real.json"),
            folder.path().join("c.json"),
        );
        fs::write(&real, OLD).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        connect(Host::Claude, &link);
        assert!(link.symlink_metadata().unwrap().is_symlink());
        let mode = fs::metadata(&real).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(fs::read_to_string(&real).unwrap().contains("acme.json"));
    }

    #[test]
    fn another_connection_of_ours_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        connect(Host::Claude, &path);
        let file = HostFile::read(Host::Claude, &path).unwrap();
        let other = Host::Claude.server(Path::new("/bin/portcullis"), Path::new("/c/other.json"));
        let new = text(file.with("p", &other).unwrap());
        assert!(
            new.contains("other.json") && !new.contains("acme.json"),
            "{new}"
        );
    }
}
