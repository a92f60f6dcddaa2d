-- The epoch that an administrative change began, for its record in the ledger. The statement that
-- raises the epoch writes it into the changes of its own transaction, so that it is never guessed.
-- Lock: access exclusive on both tables for a catalog change only.
alter table outbox add column epoch bigint check (epoch > 0);
grant update (epoch) on outbox to portcullis_app;

alter table platform_outbox add column epoch bigint check (epoch > 0);
grant update (epoch) on platform_outbox to portcullis_app;
