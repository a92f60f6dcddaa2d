//! What the compiler knows of the databases: one file a query in `.sqlx`.
//!
//! The query macros write these files themselves when they may ask a database. So this starts one,
//! applies the migrations of both kinds to it (their tables have different names), and lets the
//! compiler ask.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::scratch::Scratch;
use crate::tools::must;
use crate::{cargo, root};

/// Renews the files, or checks that they are as they would be made now.
pub(crate) fn run(check: bool) -> Result<()> {
    let kept = root().join(".sqlx");
    let scratch = Scratch::start()?;
    migrate(&scratch)?;
    let fresh = crate::tools::target()?.join("sqlx-prepare");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh)?;
    }
    std::fs::create_dir_all(&fresh)?;
    compile(&scratch.url("prepare"), &fresh)?;
    let (fresh, old) = (queries(&fresh)?, queries(&kept)?);
    if fresh.is_empty() {
        bail!("the compiler wrote no queries at all");
    }
    if check {
        return compare(&fresh, &old);
    }
    std::fs::create_dir_all(&kept)?;
    for name in old.keys().filter(|name| !fresh.contains_key(*name)) {
        std::fs::remove_file(kept.join(name))?;
    }
    for (name, text) in &fresh {
        std::fs::write(kept.join(name), text)?;
    }
    Ok(())
}

fn migrate(scratch: &Scratch) -> Result<()> {
    for role in ["owner", "app", "recorder", "sweeper"] {
        scratch.run(
            "postgres",
            &format!("create role portcullis_{role} nologin"),
        )?;
    }
    scratch.run("postgres", "create database prepare")?;
    for kind in ["control", "region"] {
        for file in sorted(&root().join("migrations").join(kind))? {
            scratch.run_file("prepare", &file)?;
        }
    }
    Ok(())
}

/// Lets the query macros ask the database and write what they learn into `folder`.
fn compile(url: &str, folder: &Path) -> Result<()> {
    // Cargo does not know that the macros read a database: a file that looks changed makes it
    // compile anew. Afterwards it has to look changed again, for the next ordinary build.
    touch()?;
    let outcome = must(
        cargo()
            .args([
                "check",
                "--quiet",
                "--package",
                "portcullis-store",
                "--all-targets",
            ])
            .env("SQLX_OFFLINE", "false")
            .env("DATABASE_URL", url)
            .env("SQLX_OFFLINE_DIR", folder),
    );
    touch()?;
    outcome
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file's time of change is the system's own"
)]
fn touch() -> Result<()> {
    let file = std::fs::File::options()
        .append(true)
        .open(root().join("crates/store/src/lib.rs"))?;
    file.set_modified(SystemTime::now())?;
    Ok(())
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    Ok(files)
}

fn queries(folder: &Path) -> Result<BTreeMap<String, String>> {
    if !folder.exists() {
        return Ok(BTreeMap::new());
    }
    std::fs::read_dir(folder)?
        .map(|entry| {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Ok((name, std::fs::read_to_string(entry.path())?))
        })
        .collect()
}

fn compare(fresh: &BTreeMap<String, String>, kept: &BTreeMap<String, String>) -> Result<()> {
    let names = fresh.keys().chain(kept.keys());
    let mut differ: Vec<_> = names
        .filter(|name| fresh.get(*name) != kept.get(*name))
        .collect();
    differ.sort();
    differ.dedup();
    if differ.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of {} files of .sqlx are not what the migrations and queries give; run \
         `cargo xtask prepare` and commit the result",
        differ.len(),
        fresh.len()
    )
}
