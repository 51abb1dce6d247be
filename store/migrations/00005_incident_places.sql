-- The last incident of a place: it may go on, or have been merged into another.

-- +goose Up
create index incidents_place on incidents (place, number);
