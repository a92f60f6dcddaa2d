//! `portcullis tenant`.

use clap::Subcommand;
use http::Method;
use portcullis_domain::{Pool, ReplayMode};
use portcullis_wire::api::{CreateTenant, Tenant, UpdateTenant};

use super::error::CliError;
use super::output;
use super::session::Session;

/// What can be done with tenants.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the tenants that these credentials may see
    List,
    /// Create a tenant
    Create {
        /// Its name in URLs; it never changes
        slug: String,
        /// Its name for people [default: the slug]
        #[arg(long)]
        name: Option<String>,
        /// Where its data lives, eu-west or us-east; it never changes
        #[arg(long, value_name = "POOL")]
        home: Pool,
        /// What a second use of an access token means: network, one-time or sender-constrained
        #[arg(long, value_name = "MODE", default_value_t)]
        replay: ReplayMode,
    },
    /// Show one tenant
    Show {
        /// Its slug or id
        tenant: String,
    },
    /// Change a tenant
    Update {
        /// Its slug or id
        tenant: String,
        /// Its name for people
        #[arg(long)]
        name: Option<String>,
        /// What a second use of an access token means: network, one-time or sender-constrained
        #[arg(long, value_name = "MODE")]
        replay: Option<ReplayMode>,
        /// Whether it takes two people to lift a kill switch: true or false
        #[arg(long, value_name = "BOOL")]
        two_person_lift: Option<bool>,
    },
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached.
pub async fn run(command: Command, mut session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::List => {
            let client = session.client(None)?;
            let tenants: Vec<Tenant> = client.list(&["tenants"], &[], usize::MAX).await?;
            let head = ["SLUG", "ID", "HOME", "REPLAY", "NAME"];
            session.output.list(&tenants, head, |tenant| {
                [
                    tenant.slug.clone(),
                    tenant.id.to_string(),
                    tenant.home_pool.to_string(),
                    tenant.replay.to_string(),
                    tenant.name.clone(),
                ]
            })
        }
        Command::Create {
            slug,
            name,
            home,
            replay,
        } => {
            let client = session.client(None)?;
            let body = CreateTenant {
                name: name.unwrap_or_else(|| slug.clone()),
                slug,
                home_pool: home,
                replay,
            };
            let tenant: Tenant = client.post(&["tenants"], &body).await?.value;
            session.output.value(&tenant, card)?;
            session.output.hint(&format!(
                "Next: portcullis service-token create --tenant {} --role owner --save",
                tenant.slug
            ))
        }
        Command::Show { tenant } => {
            let client = session.client(Some(&tenant))?;
            let tenant: Tenant = client.get(&["tenants", &tenant]).await?.value;
            session.output.value(&tenant, card)
        }
        Command::Update {
            tenant,
            name,
            replay,
            two_person_lift,
        } => {
            let body = UpdateTenant {
                name,
                replay,
                two_person_lift,
            };
            update(&tenant, &body, session).await
        }
    }
}

async fn update(
    tenant: &str,
    body: &UpdateTenant,
    mut session: Session<'_>,
) -> Result<(), CliError> {
    let client = session.client(Some(tenant))?;
    let path = ["tenants", tenant];
    let present = client.get::<Tenant>(&path).await?;
    let etag = present.etag.as_deref();
    let changed = client.change(Method::PATCH, &path, etag, body).await?;
    session.output.value(&changed.value, card)
}

fn card(tenant: &Tenant) -> String {
    output::pairs(&[
        ("slug", tenant.slug.clone()),
        ("id", tenant.id.to_string()),
        ("name", tenant.name.clone()),
        ("home", tenant.home_pool.to_string()),
        ("region", tenant.region.to_string()),
        ("replay", tenant.replay.to_string()),
        ("two-person lift", tenant.two_person_lift.to_string()),
        ("mcp url", tenant.mcp_url.clone()),
        ("created", output::time(Some(tenant.created_at))),
    ])
}
