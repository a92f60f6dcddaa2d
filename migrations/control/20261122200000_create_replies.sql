-- Answers to posts of the management API that came with an idempotency key, and the platform's own
-- administrative changes. New tables: no lock that anybody waits for.

-- A key belongs to the service token that sent it, and only that token's transaction sees it: one
-- token cannot read, claim or block another's keys, not even of its own tenant. `sealed` is encrypted
-- with a key that only the token itself gives; `service_tokens` holds no more than the token's hash.
create table replies (
  token_id    uuid not null references service_tokens (id),
  key         text not null check (octet_length(key) between 1 and 200),
  fingerprint bytea not null check (octet_length(fingerprint) = 32),
  sealed      bytea check (octet_length(sealed) between 1 and 4194304),
  created_at  timestamptz not null,
  primary key (token_id, key)
);
create index replies_age on replies (created_at);
alter table replies enable row level security;
alter table replies force  row level security;
create policy own_token on replies to portcullis_app
  using      (token_id = nullif(current_setting('app.service_token_id', true), '')::uuid)
  with check (token_id = nullif(current_setting('app.service_token_id', true), '')::uuid);
grant select, insert, delete on replies to portcullis_app;
grant update (sealed) on replies to portcullis_app;
-- A key is good for a day; before that even the sweeper cannot see it.
create policy sweeper_old on replies to portcullis_sweeper
  using (created_at < now() - interval '1 day');
grant select, delete on replies to portcullis_sweeper;

-- Changes of what belongs to no tenant: the platform's own service tokens. A platform table: no
-- tenant's transaction sees a row of it. Insert only, as `outbox`.
create table platform_outbox (
  id         uuid primary key,
  actor      text not null check (char_length(actor) between 1 and 200),
  action     text not null check (action ~ '^[a-z_]{1,40}(\.[a-z_]{1,40})+$'),
  subject    text not null check (char_length(subject) between 1 and 400),
  detail     text not null,
  created_at timestamptz not null
);
alter table platform_outbox enable row level security;
alter table platform_outbox force  row level security;
create policy platform_only on platform_outbox to portcullis_app
  using      (nullif(current_setting('app.tenant_id', true), '') is null)
  with check (nullif(current_setting('app.tenant_id', true), '') is null);
grant select, insert on platform_outbox to portcullis_app;
