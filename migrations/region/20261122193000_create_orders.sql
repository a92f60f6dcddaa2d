-- A region's database: whose pool it is, and the orders that the native tools read. New tables in a
-- new database: no lock that anybody waits for.

-- Nobody connects but the roles that have work here.
do $$
begin
  execute format('revoke all on database %I from public', current_database());
  execute format('grant connect on database %I to portcullis_app, portcullis_recorder, portcullis_sweeper', current_database());
end
$$;
revoke all on schema public from public;
grant usage on schema public to portcullis_app, portcullis_recorder, portcullis_sweeper;

-- Which pool this database is, written once when it is migrated. A replica that is told another
-- pool refuses to start, and data of another jurisdiction cannot be inserted.
create table pool_identity (
  singleton    boolean primary key default true check (singleton),
  pool         text not null check (pool in ('eu-west', 'us-east')),
  jurisdiction text not null check (jurisdiction in ('EU', 'US'))
);
grant select on pool_identity to portcullis_app, portcullis_recorder;

create table orders (
  tenant_id     uuid not null,
  id            text not null check (char_length(id) between 1 and 64),
  customer_id   text not null check (char_length(customer_id) between 1 and 64),
  customer_name text not null,
  email         text not null,
  phone         text not null,
  jurisdiction  text not null check (jurisdiction in ('EU', 'US')),
  total_cents   bigint not null check (total_cents >= 0),
  currency      text not null check (currency ~ '^[A-Z]{3}$'),
  status        text not null check (status ~ '^[a-z_]{1,32}$'),
  placed_on     date not null,
  note          text not null default '',
  primary key (tenant_id, id)
);
create index orders_placed on orders (tenant_id, placed_on, id);
alter table orders enable row level security;
alter table orders force  row level security;
create policy tenant_isolation on orders to portcullis_app
  using      (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
-- Personal data never enters a database of another jurisdiction, whoever asks.
create policy own_jurisdiction on orders as restrictive for insert to portcullis_app
  with check (jurisdiction = (select p.jurisdiction from pool_identity p));
grant select, insert on orders to portcullis_app;
