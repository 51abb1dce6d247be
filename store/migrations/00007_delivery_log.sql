-- The log of deliveries, newest first.

-- +goose Up
create index deliveries_newest on deliveries (created_at, incident, seq);
