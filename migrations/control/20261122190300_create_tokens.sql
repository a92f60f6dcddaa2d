-- Uses of tokens, wrapped data keys, service tokens and the outbox of administrative changes. New
-- tables: no lock that anybody waits for.

-- What a token was bound to at its first use. The binding is a keyed hash, never an address.
create table token_bindings (
  tenant_id  uuid not null references tenants (id),
  iss        text not null check (octet_length(iss) between 1 and 512),
  jti        text not null check (octet_length(jti) between 1 and 512),
  binding    bytea not null check (octet_length(binding) between 1 and 64),
  kind       text not null check (kind ~ '^[a-z0-9-]{1,32}$'),
  created_at timestamptz not null,
  expires_at timestamptz not null,
  primary key (tenant_id, iss, jti)
);
create index token_bindings_expiry on token_bindings (expires_at);
alter table token_bindings enable row level security;
alter table token_bindings force  row level security;
create policy tenant_isolation on token_bindings to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on token_bindings to portcullis_app;
-- A binding outlives its token by fifteen minutes; before that even the sweeper cannot see it.
create policy sweeper_expired on token_bindings to portcullis_sweeper
  using (expires_at < now() - interval '15 minutes');
grant select, delete on token_bindings to portcullis_sweeper;

-- Per-tenant data keys, each wrapped by a key that no database holds.
create table data_keys (
  tenant_id  uuid not null references tenants (id),
  id         uuid not null,
  purpose    text not null check (purpose ~ '^[a-z][a-z0-9_-]{0,39}$'),
  wrapped    bytea not null check (octet_length(wrapped) between 1 and 4096),
  created_at timestamptz not null,
  primary key (tenant_id, id)
);
create unique index data_keys_purpose on data_keys (tenant_id, purpose);
alter table data_keys enable row level security;
alter table data_keys force  row level security;
create policy tenant_isolation on data_keys to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on data_keys to portcullis_app;

-- A platform table: a request of the management API names its token before there is a tenant.
-- Without a tenant the token is the platform's own.
create table service_tokens (
  id           uuid primary key,
  tenant_id    uuid references tenants (id),
  name         text not null check (char_length(name) between 1 and 200),
  role         text not null check (
    role in ('owner', 'operator', 'approver', 'auditor', 'viewer', 'platform')),
  hash         bytea not null check (octet_length(hash) = 32),
  created_by   text not null check (char_length(created_by) between 1 and 200),
  created_at   timestamptz not null,
  expires_at   timestamptz not null,
  revoked_at   timestamptz,
  last_used_at timestamptz,
  -- Only the platform's own tokens see beyond a tenant.
  check ((role = 'platform') = (tenant_id is null))
);
create index service_tokens_tenant on service_tokens (tenant_id);
alter table service_tokens enable row level security;
alter table service_tokens force  row level security;
create policy platform_or_own on service_tokens to portcullis_app
  using      (nullif(current_setting('app.tenant_id', true), '') is null
              or tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (nullif(current_setting('app.tenant_id', true), '') is null
              or tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on service_tokens to portcullis_app;
grant update (revoked_at, last_used_at) on service_tokens to portcullis_app;

-- Administrative changes, each written in the transaction that makes it. Insert only for the
-- replicas, so that a change cannot be talked away afterwards.
create table outbox (
  tenant_id  uuid not null references tenants (id),
  id         uuid not null,
  actor      text not null check (char_length(actor) between 1 and 200),
  action     text not null check (action ~ '^[a-z_]{1,40}(\.[a-z_]{1,40})+$'),
  subject    text not null check (char_length(subject) between 1 and 400),
  detail     text not null,
  created_at timestamptz not null,
  primary key (tenant_id, id)
);
alter table outbox enable row level security;
alter table outbox force  row level security;
create policy tenant_isolation on outbox to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on outbox to portcullis_app;
