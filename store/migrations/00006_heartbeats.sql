-- Dead man's switches. beat_at is written by whoever hears a beat, doc by who watches, under a lease.

-- +goose Up
create table heartbeats (
    name    text   not null primary key,
    beat_at bigint not null,
    doc     text   not null
);
