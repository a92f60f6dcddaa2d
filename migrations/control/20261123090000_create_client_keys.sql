-- Public keys of clients for private_key_jwt (RFC 7523), and the end of a client secret that a newer
-- one replaces. A new table and a new grant: no lock that anybody waits for.

create table client_keys (
  tenant_id    uuid not null,
  id           uuid not null,
  principal_id uuid not null,
  kid          text not null check (octet_length(kid) between 1 and 128),
  jwk          text not null check (octet_length(jwk) between 1 and 4096),
  created_at   timestamptz not null,
  expires_at   timestamptz,
  revoked_at   timestamptz,
  last_used_at timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, principal_id) references principals (tenant_id, id),
  unique (tenant_id, principal_id, kid)
);
alter table client_keys enable row level security;
alter table client_keys force  row level security;
create policy tenant_isolation on client_keys to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
grant select, insert on client_keys to portcullis_app;
grant update (revoked_at, last_used_at) on client_keys to portcullis_app;

grant update (expires_at) on client_secrets to portcullis_app;
