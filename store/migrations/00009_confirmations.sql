-- Far ends that say later whether a delivery arrived. 'waiting' makes a row whose state is 'delivered' one that was
-- accepted only: SQLite cannot give the check on state another value.

-- +goose Up
alter table deliveries add column confirm text not null default '' check (confirm in ('', 'waiting', 'confirmed', 'failed'));
