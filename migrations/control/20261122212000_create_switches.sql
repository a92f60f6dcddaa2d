-- Kill switches, the replicas that have to hear of them, and whether a tenant wants two people to lift
-- one. New tables; the column has a constant default, so no row of `tenants` is rewritten and its lock
-- is held for an instant.

alter table tenants add column two_person_lift boolean not null default false;
grant update (two_person_lift) on tenants to portcullis_app;

-- A platform table: a row without a tenant stops calls of every tenant, so each tenant's transaction
-- reads it. What the platform dropped, `by_platform`, no tenant can write, not even on its own calls.
create table switches (
  id                uuid primary key,
  tenant_id         uuid references tenants (id),
  by_platform       boolean not null,
  kind              text not null check (kind in (
    'platform-read-only', 'tenant-read-only', 'tool-quarantine', 'server-quarantine',
    'principal-suspension', 'tenant-freeze')),
  target            text check (char_length(target) between 1 and 200),
  reason            text not null check (char_length(reason) between 3 and 500),
  dropped_by        text not null check (char_length(dropped_by) between 1 and 200),
  dropped_at        timestamptz not null,
  expires_at        timestamptz check (expires_at > dropped_at),
  lift_requested_by text check (char_length(lift_requested_by) between 1 and 200),
  lift_requested_at timestamptz,
  lifted_by         text check (char_length(lifted_by) between 1 and 200),
  lifted_at         timestamptz,
  lift_reason       text check (char_length(lift_reason) between 3 and 500),
  -- Of the last flip, and when that was by the clock of this database; both are written last.
  epoch             bigint not null default 0,
  raised_at         timestamptz,
  check (tenant_id is not null or by_platform),
  check (case kind
    when 'platform-read-only' then tenant_id is null
    when 'server-quarantine'  then (tenant_id is null) = by_platform
    when 'tenant-freeze'      then tenant_id is not null
    else tenant_id is not null and not by_platform end),
  check ((target is not null)
         = (kind in ('tool-quarantine', 'server-quarantine', 'principal-suspension'))),
  check ((lift_requested_by is null) = (lift_requested_at is null)),
  check ((lifted_at is null) = (lifted_by is null)),
  check ((lifted_at is null) = (lift_reason is null))
);
create unique index switches_one_live on switches (tenant_id, by_platform, kind, target)
  nulls not distinct where lifted_at is null;
create index switches_expiry on switches (expires_at) where lifted_at is null;
create index switches_tenant on switches (tenant_id, id);
alter table switches enable row level security;
alter table switches force  row level security;
create policy platform_or_own on switches to portcullis_app
  using      (nullif(current_setting('app.tenant_id', true), '') is null
              or (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid
                  and not by_platform))
  with check (nullif(current_setting('app.tenant_id', true), '') is null
              or (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid
                  and not by_platform));
create policy platform_readable on switches for select to portcullis_app
  using (tenant_id is null or tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on switches to portcullis_app;
grant update (lift_requested_by, lift_requested_at, lifted_by, lifted_at, lift_reason, epoch, raised_at)
  on switches to portcullis_app;

-- A platform table: no tenant's transaction sees which replicas there are. Each poll of a replica
-- writes its row, in place: no index but the key, and room in the page.
create table replicas (
  id              uuid primary key,
  started_at      timestamptz not null,
  -- What it has taken in, and since when; null until it has taken anything in.
  confirmed_epoch bigint,
  reached_at      timestamptz not null,
  confirmed_at    timestamptz not null
) with (fillfactor = 50);
alter table replicas enable row level security;
alter table replicas force  row level security;
create policy platform_only on replicas to portcullis_app
  using      (nullif(current_setting('app.tenant_id', true), '') is null)
  with check (nullif(current_setting('app.tenant_id', true), '') is null);
grant select, insert, delete on replicas to portcullis_app;
grant update (confirmed_epoch, reached_at, confirmed_at) on replicas to portcullis_app;
