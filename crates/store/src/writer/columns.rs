//! A batch of records as the columns of one statement.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::NewCallInputs;
use super::queue::Pending;
use super::session::Attempt;

/// A batch, turned by ninety degrees for `unnest`.
#[derive(Default)]
pub(super) struct Columns<'a> {
    tenant: Vec<Uuid>,
    id: Vec<Uuid>,
    kind: Vec<&'a str>,
    trace: Vec<&'a [u8]>,
    intent: Vec<Option<Uuid>>,
    principal: Vec<Option<Uuid>>,
    tool: Vec<Option<&'a str>>,
    verdict: Vec<&'a str>,
    started: Vec<OffsetDateTime>,
    ended: Vec<OffsetDateTime>,
    canonical: Vec<&'a [u8]>,
    leaf: Vec<&'a [u8]>,
    signature: Vec<&'a [u8]>,
    key: Vec<&'a str>,
    inputs: InputColumns<'a>,
}

#[derive(Default)]
struct InputColumns<'a> {
    tenant: Vec<Uuid>,
    record: Vec<Uuid>,
    data_key: Vec<Uuid>,
    salts: Vec<&'a [u8]>,
    arguments: Vec<&'a [u8]>,
    answer: Vec<Option<&'a [u8]>>,
}

impl<'a> InputColumns<'a> {
    fn push(&mut self, tenant: Uuid, record: Uuid, inputs: &'a NewCallInputs) {
        self.tenant.push(tenant);
        self.record.push(record);
        self.data_key.push(inputs.data_key.as_uuid());
        self.salts.push(&inputs.salts);
        self.arguments.push(&inputs.arguments);
        self.answer.push(inputs.answer.as_deref());
    }
}

impl<'a> Columns<'a> {
    pub(super) fn of(batch: &'a [Pending]) -> Self {
        let mut columns = Self::default();
        for pending in batch {
            let tenant = pending.record.tenant.as_uuid();
            let record = &pending.record.record;
            columns.tenant.push(tenant);
            columns.id.push(record.id.as_uuid());
            columns.kind.push(&record.kind);
            columns.trace.push(record.trace_id.as_bytes());
            columns.intent.push(record.intent.map(|id| id.as_uuid()));
            columns
                .principal
                .push(record.principal.map(|id| id.as_uuid()));
            columns.tool.push(record.tool.as_deref());
            columns.verdict.push(&record.verdict);
            columns.started.push(record.started_at);
            columns.ended.push(record.ended_at);
            columns.canonical.push(&record.canonical);
            columns.leaf.push(&record.leaf_hash);
            columns.signature.push(&record.signature);
            columns.key.push(&record.key_id);
            if let Some(inputs) = &pending.record.inputs {
                columns.inputs.push(tenant, record.id.as_uuid(), inputs);
            }
        }
        columns
    }

    pub(super) async fn insert(
        &self,
        attempt: Attempt,
        connection: &mut PgConnection,
    ) -> Result<(), sqlx::Error> {
        match attempt {
            Attempt::First => self.insert_new(connection).await,
            Attempt::Again => self.insert_missing(connection).await,
        }
    }

    /// Plain inserts without `returning`: row-level security would read rows of other tenants for it.
    #[expect(
        clippy::as_conversions,
        reason = "how sqlx is told to take borrowed columns; it converts nothing"
    )]
    async fn insert_new(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "with written as (
               insert into records (tenant_id, id, kind, trace_id, intent_id, principal_id, tool,
                                    verdict, started_at, ended_at, canonical, leaf_hash, signature,
                                    key_id)
               select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::uuid[],
                                    $6::uuid[], $7::text[], $8::text[], $9::timestamptz[],
                                    $10::timestamptz[], $11::bytea[], $12::bytea[], $13::bytea[],
                                    $14::text[]))
             insert into call_inputs (tenant_id, record_id, data_key_id, salts, arguments, answer)
             select * from unnest($15::uuid[], $16::uuid[], $17::uuid[], $18::bytea[], $19::bytea[],
                                  $20::bytea[])",
            &self.tenant,
            &self.id,
            &self.kind as &[&str],
            &self.trace as &[&[u8]],
            &self.intent as &[Option<Uuid>],
            &self.principal as &[Option<Uuid>],
            &self.tool as &[Option<&str>],
            &self.verdict as &[&str],
            &self.started,
            &self.ended,
            &self.canonical as &[&[u8]],
            &self.leaf as &[&[u8]],
            &self.signature as &[&[u8]],
            &self.key as &[&str],
            &self.inputs.tenant,
            &self.inputs.record,
            &self.inputs.data_key,
            &self.inputs.salts as &[&[u8]],
            &self.inputs.arguments as &[&[u8]],
            &self.inputs.answer as &[Option<&[u8]>]
        )
        .execute(connection)
        .await
        .map(drop)
    }

    /// The same for rows that may be there already. Without a conflict target it needs no right to
    /// read.
    #[expect(
        clippy::as_conversions,
        reason = "how sqlx is told to take borrowed columns; it converts nothing"
    )]
    async fn insert_missing(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "with written as (
               insert into records (tenant_id, id, kind, trace_id, intent_id, principal_id, tool,
                                    verdict, started_at, ended_at, canonical, leaf_hash, signature,
                                    key_id)
               select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::uuid[],
                                    $6::uuid[], $7::text[], $8::text[], $9::timestamptz[],
                                    $10::timestamptz[], $11::bytea[], $12::bytea[], $13::bytea[],
                                    $14::text[])
               on conflict do nothing)
             insert into call_inputs (tenant_id, record_id, data_key_id, salts, arguments, answer)
             select * from unnest($15::uuid[], $16::uuid[], $17::uuid[], $18::bytea[], $19::bytea[],
                                  $20::bytea[])
             on conflict do nothing",
            &self.tenant,
            &self.id,
            &self.kind as &[&str],
            &self.trace as &[&[u8]],
            &self.intent as &[Option<Uuid>],
            &self.principal as &[Option<Uuid>],
            &self.tool as &[Option<&str>],
            &self.verdict as &[&str],
            &self.started,
            &self.ended,
            &self.canonical as &[&[u8]],
            &self.leaf as &[&[u8]],
            &self.signature as &[&[u8]],
            &self.key as &[&str],
            &self.inputs.tenant,
            &self.inputs.record,
            &self.inputs.data_key,
            &self.inputs.salts as &[&[u8]],
            &self.inputs.arguments as &[&[u8]],
            &self.inputs.answer as &[Option<&[u8]>]
        )
        .execute(connection)
        .await
        .map(drop)
    }
}
