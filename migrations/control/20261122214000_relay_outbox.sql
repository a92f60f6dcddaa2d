-- The relay takes administrative changes to the ledger and marks each here once its record is
-- durable. That mark is the one thing of a change that can ever be written; it cannot be talked away.
-- Lock: access exclusive on both tables for a catalog change only, and a share lock while the partial
-- indexes are built; both tables hold administrative changes alone, so they are short.
alter table outbox add column relayed_at timestamptz;
create index outbox_waiting on outbox (tenant_id, id) where relayed_at is null;
grant update (relayed_at) on outbox to portcullis_app;

alter table platform_outbox add column relayed_at timestamptz;
create index platform_outbox_waiting on platform_outbox (id) where relayed_at is null;
grant update (relayed_at) on platform_outbox to portcullis_app;

-- The sweeper learns which tenants have changes waiting, and nothing of the changes.
create policy sweeper_waiting on outbox for select to portcullis_sweeper
  using (relayed_at is null);
grant select (tenant_id, relayed_at) on outbox to portcullis_sweeper;
