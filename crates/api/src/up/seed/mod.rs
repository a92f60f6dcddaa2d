//! The demo: two tenants with people, agents, tools, policy and invented orders, and the credentials
//! of this machine's operator. What is there already stays as it is.

mod operator;
mod orders;
mod tenant;

use std::sync::Arc;

use portcullis_domain::id::{Id, Kind};
use portcullis_domain::{Clock, Pool};
use portcullis_keys::entropy;
use portcullis_store::RegionStore;
use portcullis_store::orders::OrderRow;

use super::error::UpError;
use super::folder::Folder;
use super::instructions::ReadyTenant;
use crate::cli::OperatorFile;
use crate::config::Config;
use crate::serve::{self, Stores};
use tenant::{DEMO, Demo, Made};

/// How many orders go into one statement.
const BATCH: usize = 2_000;
/// Who the records of administrative changes name.
const ACTOR: &str = "system:up";

/// Makes what is missing of the demo; gives what there is to try.
pub(super) async fn seed(
    folder: &Folder,
    stores: &Stores,
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<ReadyTenant>, UpError> {
    let api = serve::api_state(config, stores, clock);
    let clock = clock.as_ref();
    let mut file = operator::load(folder, config.server.origin())?;
    operator::platform_token(&mut file, stores, clock).await?;
    let mut ready = Vec::new();
    for demo in &DEMO {
        let made = tenant::ensure(demo, stores, &api, clock).await?;
        for (pool, region) in &stores.regions {
            ensure_orders(demo, *pool, region, &made).await?;
        }
        operator::tenant_credentials(&mut file, &made, stores, clock).await?;
        ready.extend(ready_tenant(folder, demo, &made, &file)?);
    }
    operator::save(folder, &file)?;
    Ok(ready)
}

fn count(demo: &Demo, pool: Pool) -> u32 {
    if pool == demo.home {
        orders::AT_HOME
    } else {
        orders::ABROAD
    }
}

async fn ensure_orders(
    demo: &Demo,
    pool: Pool,
    region: &RegionStore,
    made: &Made,
) -> Result<(), UpError> {
    let count = count(demo, pool);
    // All of them came in one transaction: the last one stands for all.
    let last = orders::id_of(demo.slug, pool, count.saturating_sub(1));
    let found = portcullis_store::orders::by_id(region, made.tenant, &last).await?;
    if found.is_some() {
        return Ok(());
    }
    let mut tx = region.begin(made.tenant).await?;
    let rows: Vec<OrderRow> = orders::orders(demo.slug, pool, count)
        .into_iter()
        .map(|order| row(order, pool))
        .collect();
    for batch in rows.chunks(BATCH) {
        portcullis_store::orders::insert(&mut tx, batch).await?;
    }
    Ok(tx.commit().await?)
}

fn row(order: orders::Order, pool: Pool) -> OrderRow {
    OrderRow {
        id: order.id,
        customer_id: order.customer_id,
        customer_name: order.customer_name,
        email: order.email,
        phone: order.phone,
        jurisdiction: pool.jurisdiction().as_str().to_owned(),
        total_cents: order.total_cents,
        currency: order.currency.to_owned(),
        status: order.status.to_owned(),
        placed_on: order.placed_on,
        note: order.note,
    }
}

fn ready_tenant(
    folder: &Folder,
    demo: &Demo,
    made: &Made,
    file: &OperatorFile,
) -> Result<Option<ReadyTenant>, UpError> {
    let Some((name, client_id)) = made.agent() else {
        return Ok(None);
    };
    let curl_file = operator::curl_file(folder, demo.slug, name, file)?;
    let connection_file = operator::connection_file(folder, demo.slug, name, file)?;
    Ok(Some(ReadyTenant {
        slug: demo.slug.to_owned(),
        home: demo.home.as_str(),
        principal: name.to_string(),
        client_id: client_id.to_string(),
        curl_file,
        connection_file,
        order: orders::id_of(demo.slug, demo.home, 0),
    }))
}

/// A fresh id.
fn mint<K: Kind>(clock: &dyn Clock) -> Result<Id<K>, UpError> {
    Ok(Id::mint(clock.now(), entropy::random()?))
}
