-- What a connector needs to know of a tool, and the hosts that a tenant's tools may call. New tables:
-- no lock that anybody waits for.

-- One beside each version of a tool whose connector needs it. Immutable like the version: there is no
-- right to update one. The hash is of the canonical text.
create table tool_configs (
  tenant_id uuid not null,
  tool_id   uuid not null,
  version   bigint not null check (version > 0),
  sha256    bytea not null check (octet_length(sha256) = 32),
  config    text not null check (octet_length(config) <= 65536),
  primary key (tenant_id, tool_id, version),
  foreign key (tenant_id, tool_id, version) references tool_versions (tenant_id, tool_id, version)
);
alter table tool_configs enable row level security;
alter table tool_configs force  row level security;
create policy tenant_isolation on tool_configs to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on tool_configs to portcullis_app;

-- Without a row, a tenant's tools may call nobody.
create table egress_allowlists (
  tenant_id  uuid not null references tenants (id),
  hosts      text[] not null check (cardinality(hosts) <= 1000),
  version    bigint not null default 1,
  updated_at timestamptz not null,
  primary key (tenant_id)
);
alter table egress_allowlists enable row level security;
alter table egress_allowlists force  row level security;
create policy tenant_isolation on egress_allowlists to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on egress_allowlists to portcullis_app;
grant update (hosts, version, updated_at) on egress_allowlists to portcullis_app;
