-- Tenants and the platform's epoch. New tables in a new database: no lock that anybody waits for.

-- Nobody connects but the roles that have work here.
do $$
begin
  execute format('revoke all on database %I from public', current_database());
  execute format('grant connect on database %I to portcullis_app, portcullis_sweeper', current_database());
end
$$;
revoke all on schema public from public;
grant usage on schema public to portcullis_app, portcullis_sweeper;

-- A platform table: the slug of a URL is looked up before there is a tenant. Inside a tenant's
-- transaction only its own row is there.
create table tenants (
  id         uuid primary key,
  slug       text not null unique check (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  name       text not null check (char_length(name) between 1 and 200),
  home_pool  text not null check (home_pool in ('eu-west', 'us-east')),
  region     text not null check (region in ('EU', 'US')),
  replay     text not null check (replay in ('network', 'one-time', 'sender-constrained')),
  version    bigint not null default 1,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
alter table tenants enable row level security;
alter table tenants force  row level security;
create policy platform_or_own on tenants to portcullis_app
  using      (nullif(current_setting('app.tenant_id', true), '') is null
              or id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (nullif(current_setting('app.tenant_id', true), '') is null
              or id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on tenants to portcullis_app;
-- The slug and the home are fixed: tokens, URLs and the place of the data hang on them.
grant update (name, replay, version, updated_at) on tenants to portcullis_app;

-- One row, updated last in each changing transaction, so that the order of commits is the order
-- of epochs. It holds nothing of any tenant and has no row-level security.
create table epoch (
  singleton boolean primary key default true check (singleton),
  epoch     bigint not null
);
insert into epoch (epoch) values (0);
grant select, update (epoch) on epoch to portcullis_app;

-- A platform table: every replica reads every change.
create table epoch_log (
  epoch     bigint primary key,
  tenant_id uuid references tenants (id),
  kind      text not null check (kind ~ '^[a-z_]{1,40}$'),
  at        timestamptz not null
);
alter table epoch_log enable row level security;
alter table epoch_log force  row level security;
create policy platform_or_own on epoch_log to portcullis_app
  using      (nullif(current_setting('app.tenant_id', true), '') is null
              or tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (nullif(current_setting('app.tenant_id', true), '') is null
              or tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on epoch_log to portcullis_app;
-- Replicas confirm within seconds; whoever was away longer loads everything anew.
create policy sweeper_old on epoch_log to portcullis_sweeper
  using (at < now() - interval '1 day');
grant select, delete on epoch_log to portcullis_sweeper;
