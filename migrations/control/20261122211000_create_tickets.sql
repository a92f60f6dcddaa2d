-- Change tickets: what a person has agreed to, one tool with some of its arguments bound to values. A
-- new table: no lock that anybody waits for.

-- `arguments` is the RFC 8785 text of the bound values. Personal data is refused before it gets here:
-- this database holds nobody's customers' data. Only the closing may be updated.
create table tickets (
  tenant_id     uuid not null references tenants (id),
  id            uuid not null,
  tool          text not null,
  arguments     text not null check (octet_length(arguments) between 2 and 4096),
  reason        text not null check (char_length(reason) between 1 and 200),
  opened_by     text not null check (char_length(opened_by) between 1 and 200),
  opened_at     timestamptz not null,
  expires_at    timestamptz not null,
  closed_by     text check (char_length(closed_by) between 1 and 200),
  closed_at     timestamptz,
  closed_reason text check (char_length(closed_reason) between 1 and 200),
  primary key (tenant_id, id),
  foreign key (tenant_id, tool) references tools (tenant_id, name),
  check (expires_at > opened_at),
  check ((closed_by is null) = (closed_at is null)),
  check (closed_reason is null or closed_at is not null)
);
-- What a replica holds of a tenant, and what is counted before another is opened.
create index tickets_open on tickets (tenant_id, expires_at) where closed_at is null;
alter table tickets enable row level security;
alter table tickets force  row level security;
create policy tenant_isolation on tickets to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on tickets to portcullis_app;
grant update (closed_by, closed_at, closed_reason) on tickets to portcullis_app;
