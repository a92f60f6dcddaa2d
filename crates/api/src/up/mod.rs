//! `portcullis up`: the whole platform on one machine, for trying it and for building on it.
//!
//! It makes a private PostgreSQL cluster, databases, roles, keys and demo data where they are
//! missing, serves, and stops everything it started. It must never touch a cluster outside its data
//! folder, never listen for databases on a network, and never print a secret.

mod account;
mod bootstrap;
mod error;
mod folder;
mod instructions;
mod passwords;
mod postgres;
mod seed;
mod settings;

pub use error::UpError;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use portcullis_domain::Clock;
use portcullis_keys::entropy;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Builder;

use crate::config::{self, Config, Environment};
use crate::platform::{self, SystemClock, write_private};
use crate::serve::{self, Replica, Stores};
use account::Account;
use folder::Folder;
use instructions::Ready;
use postgres::{Binaries, Cluster};

/// What `portcullis up` takes.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// Where the data lives [default: `$XDG_DATA_HOME/portcullis`; for root `/var/lib/portcullis`]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8420")]
    listen: SocketAddr,
}

/// Starts the platform and serves until `shutdown`. Where `json` is asked for, one line of JSON tells
/// programs that it serves; otherwise people are told what to try.
///
/// Call it on the main thread: the database server asks the kernel to be stopped when the thread
/// that started it ends.
///
/// # Errors
/// One clear line with what to do; see [`UpError`].
pub async fn run(args: UpArgs, json: bool, shutdown: CancellationToken) -> Result<(), UpError> {
    let environment = Environment::of_process()?;
    let default = config::default_data_folder();
    let operator_is_default = args.data_dir.is_none() || args.data_dir == default;
    let root = args.data_dir.or(default).ok_or(UpError::NoHome)?;
    let account = Account::choose(&root.join(folder::CLUSTER))?;
    let folder = Folder::open(&root, &account)?;
    let (config, listener) = configure(&folder, args.listen, &account, &environment)?;
    platform::install_logs(&config.telemetry)?;
    let binaries = Binaries::find(&folder.cluster(), &config::search_path())?;
    // Once more: installing the server may have made the user that shall run it.
    let account = Account::choose(&folder.cluster())?;
    let sockets = folder.sockets(&account)?;
    let superuser = passwords::password(&folder, "admin")?;
    let mut cluster = Cluster::start(&folder, &account, &binaries, &superuser, &sockets).await?;
    let work = async {
        bootstrap::bootstrap(&folder, &sockets, &superuser, &config).await?;
        let stores = Stores::connect(&config).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tenants = seed::seed(&folder, &stores, &config, &clock).await?;
        let ready = Ready {
            origin: config.server.origin().to_owned(),
            listen: config.server.listen.to_string(),
            data: folder.root().to_owned(),
            config: folder.config(),
            operator: folder.operator(),
            operator_is_default,
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("portcullis")),
            tenants,
            keys: [new_key()?, new_key()?],
        };
        let replica = Replica::compose(config, stores)?;
        tell(&ready, json)?;
        replica.serve(listener, shutdown.clone()).await;
        Ok(())
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        error = cluster.gone() => Err(error),
    };
    cluster.stop().await?;
    outcome
}

/// An idempotency key that nobody has used.
fn new_key() -> Result<String, UpError> {
    let random = Builder::from_random_bytes(entropy::random()?);
    Ok(random.into_uuid().to_string())
}

/// Listens first, so that a taken port is told before anything is made, and writes the configuration
/// with the port that was really given.
fn configure(
    folder: &Folder,
    listen: SocketAddr,
    account: &Account,
    environment: &Environment,
) -> Result<(Config, TcpListener), UpError> {
    let sockets = folder.sockets_path(account);
    let read = |listen| {
        let text = settings::text(folder, &sockets, listen);
        config::parse(&text, environment).map(|config| (config, text))
    };
    let (config, _) = read(listen)?;
    let listener = serve::listen(config.server.listen)?;
    let listen = listener.local_addr().map_err(UpError::Address)?;
    let (mut config, text) = read(listen)?;
    config.server.listen = listen;
    write_private(&folder.config(), text.as_bytes())
        .map_err(UpError::file("cannot write", folder.config()))?;
    Ok((config, listener))
}

fn tell(ready: &Ready, json: bool) -> Result<(), UpError> {
    let mut out = std::io::stdout().lock();
    let told = if json {
        writeln!(out, "{}", ready.json())
    } else {
        write!(out, "{}", ready.text())
    };
    told.and_then(|()| out.flush()).map_err(UpError::Output)
}
