//! PostgreSQL in a container, with what the embedded one of a platform holds: the same roles,
//! passwords, databases and rows.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use crate::database::Database;
use crate::platform::Platform;

const IMAGE: &str = "postgres";
const TAG: &str = "17-trixie";
const PORT: u16 = 5432;
/// The superuser of an empty server, who takes the roles of the other one in.
const FIRST: &str = "postgres";
/// Of a server on this machine alone, that holds nothing before it is gone.
const FIRST_PASSWORD: &str = "postgres";
/// What says which PostgreSQL to use: `container`, `embedded`, or whichever is there.
const CHOICE: &str = "E2E_POSTGRES";

/// A running container. Dropping it removes it.
#[derive(Debug)]
pub struct Postgres {
    address: SocketAddr,
    _container: ContainerAsync<GenericImage>,
}

impl Postgres {
    /// Starts a server where an engine answers; none where none does and none is asked for.
    ///
    /// # Errors
    /// A container is asked for and cannot be had.
    pub async fn if_wanted() -> Result<Option<Self>> {
        let choice = std::env::var_os(CHOICE);
        let wanted = match choice.as_deref().and_then(OsStr::to_str) {
            Some("container") => true,
            Some("embedded") => false,
            None | Some("") => engine_answers(),
            Some(other) => bail!("{CHOICE} is container or embedded, not {other}"),
        };
        if wanted {
            Self::start().await.map(Some)
        } else {
            Ok(None)
        }
    }

    async fn start() -> Result<Self> {
        let image = GenericImage::new(IMAGE, TAG)
            .with_exposed_port(PORT.tcp())
            .with_wait_for(WaitFor::message_on_stderr(
                "database system is ready to accept connections",
            ))
            .with_env_var("POSTGRES_PASSWORD", FIRST_PASSWORD)
            .with_cmd(["postgres", "-c", "max_connections=400"]);
        let container = image.start().await;
        let container = container.with_context(|| format!("start {IMAGE}:{TAG}"))?;
        let port = container.get_host_port_ipv4(PORT.tcp()).await?;
        Ok(Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            _container: container,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes in everything that a platform's embedded server holds.
    ///
    /// # Errors
    /// It cannot be dumped or restored.
    pub fn take_over(&self, platform: &Platform) -> Result<()> {
        let dump = platform.database(FIRST).dump_all()?;
        let mut restore = Command::new("psql");
        restore
            .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"])
            .args(["--host", &self.address.ip().to_string()])
            .args(["--port", &self.address.port().to_string()])
            .args(["--username", FIRST, "--dbname", FIRST])
            .env("PGPASSWORD", FIRST_PASSWORD)
            .stdin(Stdio::from(dump))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let output = restore.output().context("run psql")?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "restore: {words}");
        Ok(())
    }

    /// A database of it, as the superuser of the platform that it took over.
    pub fn database(&self, platform: &Platform, name: &str) -> Database {
        Database::at(self.address, platform.data(), name)
    }
}

/// Whether a container engine answers on this machine.
fn engine_answers() -> bool {
    let asked = Command::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}
