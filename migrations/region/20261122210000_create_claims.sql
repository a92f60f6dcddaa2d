-- Durable idempotency of mutating calls. New tables: no lock that anybody waits for. The new rights on
-- records and call_inputs are a catalog change of a moment.

-- One row a (tenant, principal, tool, idempotency key), in the tenant's home pool, whichever pool runs
-- the call: a changed route cannot give one key two effects. Key and arguments stand here as keyed
-- hashes alone. A row is leased once: whoever completes it has to find it still claimed, so its id is
-- the fence. `outcome_id` is minted with the claim: the primary key of records then lets exactly one
-- terminal record in, whoever writes it.
create table claims (
  tenant_id       uuid not null,
  principal_id    uuid not null,
  tool            text not null check (char_length(tool) between 1 and 128),
  key_hash        bytea not null check (octet_length(key_hash) = 32),
  id              uuid not null,
  fingerprint     bytea not null check (octet_length(fingerprint) = 32),
  intent_id       uuid not null,
  outcome_id      uuid not null,
  -- The canonical intent, where it is recorded in another pool and may not have arrived there.
  intent          bytea,
  pool            text not null check (pool in ('eu-west', 'us-east')),
  -- Whether the effect is in a transaction of the pool, so that a crash left none.
  transactional   boolean not null,
  state           text not null check (state in ('claimed', 'done', 'unknown')),
  replica_id      uuid not null,
  lease_until     timestamptz not null,
  created_at      timestamptz not null,
  completed_at    timestamptz,
  resolved_by     text check (char_length(resolved_by) between 1 and 200),
  resolved_reason text check (char_length(resolved_reason) between 1 and 1000),
  primary key (tenant_id, principal_id, tool, key_hash),
  unique (tenant_id, id),
  check ((state = 'claimed') = (completed_at is null)),
  check ((resolved_by is null) = (resolved_reason is null)),
  check (resolved_by is null or state = 'done')
);
create index claims_leases on claims (lease_until) where state = 'claimed';
create index claims_done on claims (completed_at) where state = 'done';
create index claims_unknown on claims (tenant_id, id) where state = 'unknown';
alter table claims enable row level security;
alter table claims force  row level security;
create policy tenant_isolation on claims to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert, delete on claims to portcullis_app;
grant update (state, lease_until, completed_at, resolved_by, resolved_reason) on claims
  to portcullis_app;
-- The sweeper finds what nobody holds any more and removes what is a day old. It sees ids, states and
-- times of such rows and nothing else; an unknown claim is never its business.
create policy sweeper_old on claims for select to portcullis_sweeper
  using ((state = 'claimed' and lease_until < now())
         or (state = 'done' and completed_at < now() - interval '24 hours'));
create policy sweeper_remove on claims for delete to portcullis_sweeper
  using (state = 'done' and completed_at < now() - interval '24 hours');
grant select (tenant_id, id, state, lease_until, completed_at) on claims to portcullis_sweeper;
grant delete on claims to portcullis_sweeper;

-- The redacted answer of a completed call, encrypted with the tenant's data key, in the pool that ran
-- it: an answer does not leave its jurisdiction. It outlives its claim by an hour, so that a claim
-- never points at an answer that was just removed.
create table stored_answers (
  tenant_id   uuid not null,
  outcome_id  uuid not null,
  data_key_id uuid not null,
  answer      bytea not null,
  stored_at   timestamptz not null,
  primary key (tenant_id, outcome_id)
);
create index stored_answers_age on stored_answers (stored_at);
alter table stored_answers enable row level security;
alter table stored_answers force  row level security;
create policy tenant_isolation on stored_answers to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on stored_answers to portcullis_app;
create policy sweeper_old on stored_answers for select to portcullis_sweeper
  using (stored_at < now() - interval '25 hours');
create policy sweeper_remove on stored_answers for delete to portcullis_sweeper
  using (stored_at < now() - interval '25 hours');
grant select (tenant_id, outcome_id, stored_at) on stored_answers to portcullis_sweeper;
grant delete on stored_answers to portcullis_sweeper;

-- The record of a mutating call commits together with its claim and, for native tools, its effect: as
-- the role that serves, under its tenant's policy.
grant insert on records, call_inputs to portcullis_app;
