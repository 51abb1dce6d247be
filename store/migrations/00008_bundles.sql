-- Bundles: in a storm one delivery carries others to the same endpoint and target.

-- +goose Up
-- queue is what a delivery waits in: its endpoint, and its target too while it may yet be bundled. bundle is the key of
-- the delivery that carries it, '' for none; of a carrier, bundled is for how many incidents it goes, itself included.
alter table deliveries add column queue text not null default '';
alter table deliveries add column bundle text not null default '' check (bundle = '' or state <> 'sending');
alter table deliveries add column bundled bigint not null default 0 check (bundled >= 0 and (bundled = 0 or bundle = ''));
update deliveries set queue = endpoint where state in ('queued', 'sending');

-- What is carried waits for its carrier, and not for its endpoint.
drop index deliveries_waiting;
create index deliveries_waiting on deliveries (queue, priority, next_at, incident, seq) where state in ('queued', 'sending') and bundle = '';
create index deliveries_carried on deliveries (bundle, incident) where bundle <> '';
create index deliveries_unsettled on deliveries (bundle, incident) where bundle <> '' and state = 'queued';
