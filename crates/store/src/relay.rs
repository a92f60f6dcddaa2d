//! Whose turn it is to take administrative changes to the ledger, and which tenants have some waiting.
//!
//! The turn is a session's advisory lock, so it ends with the session, however that ends. It only
//! saves work: two relays at once write each record once all the same, since a record has the id of
//! its change. As the sweeper, this must never see a change itself.

use portcullis_domain::Id;
use portcullis_domain::id::Tenant;
use secrecy::SecretString;
use sqlx::{Connection, PgConnection};

use crate::connect::{self, ConnectError, ConnectOptions};
use crate::error::{StoreError, sort};
use crate::roles;

const DATABASE: &str = "control";
/// The most tenants of one look.
const TENANTS: i64 = 1_000;

/// A session of the control database that has the turn, or waits for it.
#[derive(Debug)]
pub struct RelayTurn {
    session: PgConnection,
    held: bool,
}

impl RelayTurn {
    /// Connects as `portcullis_sweeper`. A session that says nothing for half a minute is ended by
    /// the server, so that a replica that is cut off does not keep the turn.
    ///
    /// # Errors
    /// Refuses every other role; fails where the database cannot be reached.
    pub async fn connect(url: SecretString) -> Result<Self, ConnectError> {
        let options = ConnectOptions {
            max_connections: 1,
            application_name: "portcullis-relay",
            ..ConnectOptions::default()
        };
        let mut session = connect::fresh(DATABASE, &url, &options).await?;
        connect::check_role(DATABASE, roles::SWEEPER, &mut session).await?;
        sqlx::query!("set idle_session_timeout to '30s'")
            .execute(&mut session)
            .await
            .map_err(connect::unavailable(DATABASE))?;
        Ok(Self {
            session,
            held: false,
        })
    }

    /// Takes the turn if no other session has it; says whether this one has it now.
    ///
    /// # Errors
    /// Fails where the database cannot be reached: then the turn is lost as well.
    pub async fn take(&mut self) -> Result<bool, StoreError> {
        if !self.held {
            self.held = sqlx::query_scalar!(
                r#"select pg_try_advisory_lock(hashtext('portcullis.relay_outbox')) as "held!""#
            )
            .fetch_one(&mut self.session)
            .await
            .map_err(sort("take the relay's turn"))?;
        }
        Ok(self.held)
    }

    /// Tenants that have changes waiting for the ledger, at most 1,000.
    ///
    /// # Errors
    /// Fails where the database cannot be reached.
    pub async fn tenants_waiting(&mut self) -> Result<Vec<Id<Tenant>>, StoreError> {
        let found = sqlx::query_scalar!(
            "select distinct tenant_id from outbox where relayed_at is null
             order by tenant_id limit $1",
            TENANTS
        )
        .fetch_all(&mut self.session)
        .await
        .map_err(sort("look for changes that wait for the ledger"))?;
        Ok(found.into_iter().map(Id::from_row).collect())
    }

    /// Ends the session, and with it the turn.
    ///
    /// # Errors
    /// Fails where the database was gone before.
    pub async fn close(self) -> Result<(), StoreError> {
        self.session
            .close()
            .await
            .map_err(sort("end the relay's session"))
    }
}
