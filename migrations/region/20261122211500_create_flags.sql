-- Feature flags, which the native tools set and read, and the history of each. New tables: no lock
-- that anybody waits for.

create table flags (
  tenant_id   uuid not null,
  env         text not null check (env in ('dev', 'staging', 'prod')),
  name        text not null check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
  rollout_pct numeric(5, 2) not null check (rollout_pct between 0 and 100),
  updated_at  timestamptz not null,
  primary key (tenant_id, env, name)
);
alter table flags enable row level security;
alter table flags force  row level security;
create policy tenant_isolation on flags to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on flags to portcullis_app;
grant update (rollout_pct, updated_at) on flags to portcullis_app;

-- Insert only. One call has one record of its intent, and so changes one flag once, whoever tries to
-- run it again. Principal and ticket live in the control database; the record lies in the tenant's
-- home pool.
create table flag_changes (
  tenant_id    uuid not null,
  record_id    uuid not null,
  env          text not null,
  name         text not null,
  from_pct     numeric(5, 2) check (from_pct between 0 and 100),
  to_pct       numeric(5, 2) not null check (to_pct between 0 and 100),
  principal_id uuid not null,
  ticket_id    uuid,
  changed_at   timestamptz not null,
  primary key (tenant_id, record_id),
  foreign key (tenant_id, env, name) references flags (tenant_id, env, name)
);
create index flag_changes_flag on flag_changes (tenant_id, env, name, changed_at, record_id);
alter table flag_changes enable row level security;
alter table flag_changes force  row level security;
create policy tenant_isolation on flag_changes to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on flag_changes to portcullis_app;
