-- Records of calls, insert only, one partition a month of the UUIDv7 record id. New tables: no lock
-- that anybody waits for.

-- `canonical` is what `leaf_hash` and `signature` are of; the other columns repeat parts of it for
-- queries. bytea, since jsonb refuses \u0000.
create table records (
  tenant_id    uuid not null,
  id           uuid not null,
  kind         text not null check (kind ~ '^[a-z_]{1,32}$'),
  trace_id     bytea not null check (octet_length(trace_id) = 16),
  intent_id    uuid,
  principal_id uuid,
  tool         text check (char_length(tool) <= 128),
  verdict      text not null check (verdict ~ '^[a-z_]{1,32}$'),
  started_at   timestamptz not null,
  ended_at     timestamptz not null,
  canonical    bytea not null,
  leaf_hash    bytea not null check (octet_length(leaf_hash) = 32),
  signature    bytea not null check (octet_length(signature) between 1 and 512),
  key_id       text not null check (char_length(key_id) between 1 and 200),
  primary key (tenant_id, id)
) partition by range (id);
create index records_trace on records (tenant_id, trace_id);
alter table records enable row level security;
alter table records force  row level security;
create policy tenant_isolation on records to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select on records to portcullis_app;
-- The recorder writes batches of several tenants and can read nothing back.
create policy recorder_insert on records for insert to portcullis_recorder with check (true);
grant insert on records to portcullis_recorder;

-- Ids of no month that has a partition.
create table records_default partition of records default;
alter table records_default enable row level security;
alter table records_default force  row level security;

-- Encrypted arguments and answers, and the salts of the commitments in the record. Retention and
-- erasure may empty these; the records stay. No foreign key: both rows come from one statement, and
-- a check of it would cost the hot path a lock a row.
create table call_inputs (
  tenant_id   uuid not null,
  record_id   uuid not null,
  data_key_id uuid not null,
  salts       bytea not null,
  arguments   bytea not null,
  answer      bytea,
  primary key (tenant_id, record_id)
);
alter table call_inputs enable row level security;
alter table call_inputs force  row level security;
create policy tenant_isolation on call_inputs to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select on call_inputs to portcullis_app;
create policy recorder_insert on call_inputs for insert to portcullis_recorder with check (true);
grant insert on call_inputs to portcullis_recorder;

-- The smallest UUIDv7 of a moment.
create function uuid_v7_floor(at timestamptz) returns uuid
  language sql immutable strict
  set search_path = pg_catalog
as $$
  select (lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0')
          || '00000000000000000000')::uuid
$$;
revoke all on function uuid_v7_floor(timestamptz) from public;

-- Makes what is missing of the month's and the next twelve months' partitions. It runs as the owner,
-- which bypasses nothing. A partition is attached, not created in place: attaching waits for nobody
-- who writes to the other partitions. Nobody has a right on a partition itself, and no policy lets
-- anybody in: records are reached through their parent alone.
create function ensure_record_partitions(from_time timestamptz) returns integer
  language plpgsql security definer
  set search_path = pg_catalog
as $$
declare
  first date := date_trunc('month', from_time at time zone 'UTC')::date;
  month date;
  part  text;
  made  integer := 0;
begin
  -- Two sweepers at once would both see a month missing.
  perform pg_advisory_xact_lock(hashtext('portcullis.ensure_record_partitions'));
  for i in 0..12 loop
    month := (first + make_interval(months => i))::date;
    part := 'records_' || to_char(month, 'YYYY_MM');
    if to_regclass('public.' || part) is null then
      execute format('create table public.%I (like public.records including defaults including constraints)', part);
      execute format('alter table public.%I enable row level security', part);
      execute format('alter table public.%I force row level security', part);
      execute format('alter table public.records attach partition public.%I for values from (%L) to (%L)',
        part,
        public.uuid_v7_floor(month::timestamp at time zone 'UTC'),
        public.uuid_v7_floor((month + interval '1 month')::timestamp at time zone 'UTC'));
      made := made + 1;
    end if;
  end loop;
  return made;
end
$$;
revoke all on function ensure_record_partitions(timestamptz) from public;
grant execute on function ensure_record_partitions(timestamptz) to portcullis_sweeper;
