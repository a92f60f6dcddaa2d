-- Hosts that a switch blocks, and allow-lists of single tools. The checks of `switches` are replaced by
-- wider ones, which every row fulfils: each takes an exclusive lock for one pass over a small table. The
-- column has a constant default, so no row of `egress_allowlists` is rewritten.

alter table switches
  drop constraint switches_kind_check,
  drop constraint switches_check2,
  drop constraint switches_check3,
  add constraint switches_kind_known check (kind in (
    'platform-read-only', 'tenant-read-only', 'tool-quarantine', 'server-quarantine',
    'principal-suspension', 'tenant-freeze', 'egress-block')),
  add constraint switches_dropped_by_whom check (case kind
    when 'platform-read-only' then tenant_id is null
    when 'server-quarantine'  then (tenant_id is null) = by_platform
    when 'egress-block'       then (tenant_id is null) = by_platform
    when 'tenant-freeze'      then tenant_id is not null
    else tenant_id is not null and not by_platform end),
  add constraint switches_target_given check ((target is not null)
    = (kind in ('tool-quarantine', 'server-quarantine', 'principal-suspension', 'egress-block')));

-- By the tool's name, the hosts that it may call beside those of every tool.
alter table egress_allowlists
  add column tools jsonb not null default '{}'
    check (jsonb_typeof(tools) = 'object' and pg_column_size(tools) <= 1048576);
grant update (tools) on egress_allowlists to portcullis_app;
