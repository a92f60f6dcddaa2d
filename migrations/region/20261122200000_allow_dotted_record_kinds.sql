-- Record kinds are named as evidence names them: `call.outcome`, `refusal.count`.
-- Lock: access exclusive on records and its partitions, for a catalog change only; the new check is
-- validated afterwards without blocking writers.
alter table records drop constraint records_kind_check;
alter table records add constraint records_kind_check
  check (kind ~ '^[a-z_]{1,32}(\.[a-z_]{1,32})?$');
