-- The catalog and the policy of each tenant. New tables: no lock that anybody waits for.

create table tools (
  tenant_id       uuid not null references tenants (id),
  id              uuid not null,
  name            text not null check (name ~ '^[A-Za-z0-9_.-]{1,128}$'),
  connector       text not null check (connector ~ '^[a-z][a-z0-9_.-]{0,63}$'),
  enabled         boolean not null,
  current_version bigint not null check (current_version > 0),
  version         bigint not null default 1,
  created_at      timestamptz not null,
  updated_at      timestamptz not null,
  primary key (tenant_id, id),
  unique (tenant_id, name)
);
alter table tools enable row level security;
alter table tools force  row level security;
create policy tenant_isolation on tools to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on tools to portcullis_app;
grant update (connector, enabled, current_version, version, updated_at) on tools to portcullis_app;

-- Immutable: there is no right to update one. The hash is of the canonical text.
create table tool_versions (
  tenant_id  uuid not null,
  tool_id    uuid not null,
  version    bigint not null check (version > 0),
  sha256     bytea not null check (octet_length(sha256) = 32),
  definition text not null,
  created_by text not null check (char_length(created_by) between 1 and 200),
  created_at timestamptz not null,
  primary key (tenant_id, tool_id, version),
  foreign key (tenant_id, tool_id) references tools (tenant_id, id)
);
alter table tool_versions enable row level security;
alter table tool_versions force  row level security;
create policy tenant_isolation on tool_versions to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on tool_versions to portcullis_app;

-- The text of a version is immutable: only its status may be updated.
create table policy_versions (
  tenant_id     uuid not null references tenants (id),
  id            uuid not null,
  number        bigint not null check (number > 0),
  source        text not null,
  sha256        bytea not null check (octet_length(sha256) = 32),
  status        text not null check (status in ('draft', 'published', 'superseded')),
  created_by    text not null check (char_length(created_by) between 1 and 200),
  created_at    timestamptz not null,
  published_by  text check (char_length(published_by) between 1 and 200),
  published_at  timestamptz,
  superseded_at timestamptz,
  primary key (tenant_id, id),
  unique (tenant_id, number),
  check ((status = 'draft') = (published_at is null)),
  check ((published_at is null) = (published_by is null)),
  check ((status = 'superseded') = (superseded_at is not null))
);
create unique index policy_versions_one_published on policy_versions (tenant_id)
  where status = 'published';
alter table policy_versions enable row level security;
alter table policy_versions force  row level security;
create policy tenant_isolation on policy_versions to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on policy_versions to portcullis_app;
grant update (status, published_by, published_at, superseded_at) on policy_versions
  to portcullis_app;
