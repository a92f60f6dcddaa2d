//! `portcullis up`: the whole platform on one machine, for trying it and for building on it.
//!
//! It makes a private PostgreSQL cluster, databases, roles, keys and demo data where they are
//! missing, serves, and stops everything it started. It must never touch a cluster outside its data
//! folder, never listen for databases on a network, and never print a secret.

mod account;
mod authority;
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
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use portcullis_domain::Clock;
use portcullis_keys::entropy;
use tokio_util::sync::CancellationToken;
use uuid::Builder;

use crate::config::{self, Config, Environment};
use crate::platform::{self, SystemClock, write_private};
use crate::serve::{self, Listeners, Replica, ServeError, Stores};
use account::Account;
use authority::TlsFiles;
use folder::Folder;
use instructions::Ready;
use postgres::{Binaries, Cluster};
use settings::Places;

/// What `portcullis up` takes.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// Where the data lives [default: `$XDG_DATA_HOME/portcullis`; for root `/var/lib/portcullis`]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8420")]
    listen: SocketAddr,
    /// The address to listen on for HTTPS [default: this machine, the port after that of --listen]
    #[arg(long, value_name = "ADDRESS")]
    https_listen: Option<SocketAddr>,
    /// The address of metrics and health in detail [default: this machine, two ports after that of --listen]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// Be known by the HTTPS address: it becomes the issuer and the audience of tokens
    #[arg(long)]
    https: bool,
}

impl UpArgs {
    fn places(&self) -> Places {
        let near = |after: u16| {
            let ip = match self.listen.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            // After the last port there is none: any free one then, as for port 0.
            let after = self.listen.port().checked_add(after).unwrap_or_default();
            let port = if self.listen.port() == 0 { 0 } else { after };
            SocketAddr::new(ip, port)
        };
        Places {
            listen: self.listen,
            https: self.https_listen.unwrap_or_else(|| near(1)),
            https_is_chosen: self.https_listen.is_some(),
            admin: self.admin_listen.unwrap_or_else(|| near(2)),
            admin_is_chosen: self.admin_listen.is_some(),
            by_https: self.https,
        }
    }
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
    let places = args.places();
    let root = args.data_dir.or(default).ok_or(UpError::NoHome)?;
    let account = Account::choose(&root.join(folder::CLUSTER))?;
    let folder = Folder::open(&root, &account)?;
    authority::ensure(&folder, &SystemClock)?;
    let (config, listeners) = configure(&folder, places, &account, &environment)?;
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
            admin: config.addresses().admin.map(|at| format!("http://{at}")),
            https: config.addresses().https.map(|at| format!("https://{at}")),
            ca_file: TlsFiles::of(&folder).authority,
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
        Ok(replica.serve(listeners, shutdown.clone()).await?)
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
    mut places: Places,
    account: &Account,
    environment: &Environment,
) -> Result<(Config, Listeners), UpError> {
    let sockets = folder.sockets_path(account);
    let read = |places| config::parse(&settings::text(folder, &sockets, places, true), environment);
    let mut config = read(places)?;
    let listeners = loop {
        match serve::listen(&mut config) {
            // Nobody asked for this port.
            Err(ServeError::AddressTaken { address }) if places.give_up(address) => {
                config = read(places)?;
            }
            listening => break listening?,
        }
    };
    let given = config.addresses();
    places.listen = given.listen;
    places.https = given.https.unwrap_or(places.https);
    places.admin = given.admin.unwrap_or(places.admin);
    let mut config = read(places)?;
    // Variables of the environment may have asked for port 0.
    config.server.listen = places.listen;
    if let Some(tls) = &mut config.server.tls {
        tls.listen = Some(places.https);
    }
    config.admin.listen = Some(places.admin);
    let text = settings::text(folder, &sockets, places, false);
    write_private(&folder.config(), text.as_bytes())
        .map_err(UpError::file("cannot write", folder.config()))?;
    Ok((config, listeners))
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
