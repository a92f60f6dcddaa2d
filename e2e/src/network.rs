//! A network that nobody else is in: a namespace of one thread and of what it starts, with public
//! addresses on its own interface and no way out.
//!
//! It takes root. Nothing is left of it when the thread ends and its processes are gone.

use std::future::Future;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// What makes a network of one's own, as a skipped test names it.
pub const NEEDS: &str = "root, for a network namespace of its own";

/// Runs something in a network of its own, where these addresses are this machine's and names are asked
/// of the name server at 127.0.0.1.
///
/// # Errors
/// The network cannot be made, which takes root, or what runs in it fails.
pub fn alone<T, F>(addresses: &[IpAddr], run: impl FnOnce() -> F + Send) -> Result<T>
where
    T: Send,
    F: Future<Output = Result<T>>,
{
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(addresses).context("make a network of its own")?;
            // Every thread that the runtime starts is in the network too, and so is every process.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(run())
        });
        thread
            .join()
            .map_err(|_panic| anyhow!("it panicked in its network"))?
    })
}

fn enter(addresses: &[IpAddr]) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    // What is mounted from here on is nobody else's.
    let nothing: Option<&str> = None;
    mount(
        nothing,
        "/",
        nothing,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        nothing,
    )?;
    let names = tempfile::NamedTempFile::new()?;
    std::fs::write(
        names.path(),
        "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    )?;
    let at = Path::new("/etc/resolv.conf");
    mount(Some(names.path()), at, nothing, MsFlags::MS_BIND, nothing)?;
    ip(&["link", "set", "lo", "up"])?;
    for address in addresses {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        ip(&[
            "address",
            "add",
            &format!("{address}/{prefix}"),
            "dev",
            "lo",
        ])?;
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("run ip")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "ip {}: {said}",
        arguments.join(" ")
    );
    Ok(())
}
