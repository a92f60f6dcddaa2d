-- Principals, what they prove themselves with, what they may ask for and how much of it. New tables:
-- no lock that anybody waits for.

create table principals (
  tenant_id  uuid not null references tenants (id),
  id         uuid not null,
  name       text not null check (char_length(name) between 1 and 128),
  type       text not null check (type in ('agent', 'user', 'service')),
  region     text not null check (region in ('EU', 'US')),
  status     text not null check (status in ('active', 'suspended')),
  version    bigint not null default 1,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id),
  unique (tenant_id, name),
  check (name like type || ':%')
);
alter table principals enable row level security;
alter table principals force  row level security;
create policy tenant_isolation on principals to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on principals to portcullis_app;
grant update (status, version, updated_at) on principals to portcullis_app;

-- A platform table: a token request names its client before there is a tenant.
create table oauth_clients (
  client_id  uuid primary key,
  tenant_id  uuid not null,
  foreign key (tenant_id, client_id) references principals (tenant_id, id)
);
alter table oauth_clients enable row level security;
alter table oauth_clients force  row level security;
create policy platform_or_own on oauth_clients to portcullis_app
  using      (nullif(current_setting('app.tenant_id', true), '') is null
              or tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (nullif(current_setting('app.tenant_id', true), '') is null
              or tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on oauth_clients to portcullis_app;

-- Secrets are 32 random bytes, so a plain SHA-256 of them cannot be guessed backwards.
create table client_secrets (
  tenant_id    uuid not null,
  id           uuid not null,
  principal_id uuid not null,
  hash         bytea not null check (octet_length(hash) = 32),
  created_at   timestamptz not null,
  expires_at   timestamptz,
  revoked_at   timestamptz,
  last_used_at timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, principal_id) references principals (tenant_id, id)
);
create index client_secrets_principal on client_secrets (tenant_id, principal_id);
alter table client_secrets enable row level security;
alter table client_secrets force  row level security;
create policy tenant_isolation on client_secrets to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on client_secrets to portcullis_app;
grant update (revoked_at, last_used_at) on client_secrets to portcullis_app;

create table grants (
  tenant_id    uuid not null,
  id           uuid not null,
  principal_id uuid not null,
  scope        text not null check (char_length(scope) between 1 and 200),
  purpose      text check (char_length(purpose) between 1 and 200),
  granted_by   text not null check (char_length(granted_by) between 1 and 200),
  created_at   timestamptz not null,
  expires_at   timestamptz,
  revoked_at   timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, principal_id) references principals (tenant_id, id)
);
create index grants_principal on grants (tenant_id, principal_id);
alter table grants enable row level security;
alter table grants force  row level security;
create policy tenant_isolation on grants to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on grants to portcullis_app;
grant update (revoked_at) on grants to portcullis_app;

-- What the whole tenant may use.
create table tenant_limits (
  tenant_id            uuid primary key references tenants (id),
  rpm                  bigint not null check (rpm between 1 and 10000000),
  burst                bigint not null check (burst between 1 and 10000000),
  concurrency          bigint not null check (concurrency between 1 and 100000),
  daily_cost_micro_usd bigint not null check (daily_cost_micro_usd >= 0),
  max_plan_depth       bigint not null check (max_plan_depth between 0 and 4294967295),
  max_retries          bigint not null check (max_retries between 0 and 4294967295),
  version              bigint not null default 1,
  updated_at           timestamptz not null
);
alter table tenant_limits enable row level security;
alter table tenant_limits force  row level security;
create policy tenant_isolation on tenant_limits to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on tenant_limits to portcullis_app;
grant update (rpm, burst, concurrency, daily_cost_micro_usd, max_plan_depth, max_retries, version,
              updated_at) on tenant_limits to portcullis_app;

-- What one principal may use.
create table principal_limits (
  tenant_id            uuid not null,
  principal_id         uuid not null,
  rpm                  bigint not null check (rpm between 1 and 10000000),
  burst                bigint not null check (burst between 1 and 10000000),
  concurrency          bigint not null check (concurrency between 1 and 100000),
  daily_cost_micro_usd bigint not null check (daily_cost_micro_usd >= 0),
  max_plan_depth       bigint not null check (max_plan_depth between 0 and 4294967295),
  max_retries          bigint not null check (max_retries between 0 and 4294967295),
  version              bigint not null default 1,
  updated_at           timestamptz not null,
  primary key (tenant_id, principal_id),
  foreign key (tenant_id, principal_id) references principals (tenant_id, id)
);
alter table principal_limits enable row level security;
alter table principal_limits force  row level security;
create policy tenant_isolation on principal_limits to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on principal_limits to portcullis_app;
grant update (rpm, burst, concurrency, daily_cost_micro_usd, max_plan_depth, max_retries, version,
              updated_at) on principal_limits to portcullis_app;
