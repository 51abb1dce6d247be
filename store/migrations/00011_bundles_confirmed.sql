-- Far ends that say later whether a bundle arrived.

-- +goose Up
create index deliveries_unconfirmed on deliveries (bundle, incident) where bundle <> '' and confirm = 'waiting';
