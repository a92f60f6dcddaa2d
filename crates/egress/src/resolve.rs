//! Who is asked for the addresses of a name.
//!
//! The platform's own resolver, configured as the system is, but for the search list: a name is
//! always the whole name. An answer is used for one request; nothing here decides whether it may be.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::sync::OnceCell;

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The system's configuration names no usable name server.
    #[error("the resolver cannot be set up from the system's configuration")]
    Setup(#[source] Box<NetError>),
    /// The question was not answered.
    #[error("the name has no address, or its name server did not answer")]
    Lookup(#[source] Box<NetError>),
}

/// What looking a name up comes to.
pub type ResolveFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send + 'a>>;

/// Finds the addresses of a name, of both families.
pub trait Resolve: Send + Sync + fmt::Debug {
    /// Asks once.
    fn resolve<'a>(&'a self, name: &'a str) -> ResolveFuture<'a>;
}

/// Asks the name servers of the system, without its search list, or those that it is given.
#[derive(Default)]
pub struct SystemResolver {
    servers: Vec<SocketAddr>,
    resolver: OnceCell<TokioResolver>,
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemResolver")
    }
}

impl SystemResolver {
    /// Reads the system's configuration at its first question, not before: a replica whose network
    /// comes up late can still start.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks these name servers in place of the system's, where there are any.
    pub fn asking(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            resolver: OnceCell::new(),
        }
    }

    fn config(&self) -> ResolverConfig {
        let servers = self.servers.iter().map(|server| {
            let [mut udp, mut tcp] = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            udp.port = server.port();
            tcp.port = server.port();
            NameServerConfig::new(server.ip(), true, vec![udp, tcp])
        });
        ResolverConfig::from_name_servers(servers.collect())
    }

    async fn resolver(&self) -> Result<&TokioResolver, ResolveError> {
        let set_up = || async {
            let mut builder = if self.servers.is_empty() {
                TokioResolver::builder_tokio()?
            } else {
                let provider = TokioRuntimeProvider::default();
                TokioResolver::builder_with_config(self.config(), provider)
            };
            // Both families are asked for: an address that was not seen cannot be checked.
            builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            builder.build()
        };
        self.resolver
            .get_or_try_init(set_up)
            .await
            .map_err(|error| ResolveError::Setup(Box::new(error)))
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> ResolveFuture<'a> {
        Box::pin(async move {
            let resolver = self.resolver().await?;
            // The final dot says that this is the whole name.
            let answer = resolver
                .lookup_ip(format!("{name}."))
                .await
                .map_err(|error| ResolveError::Lookup(Box::new(error)))?;
            Ok(answer.iter().collect())
        })
    }
}
