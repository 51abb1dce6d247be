-- Drills: incidents that are none, what they found out about people's contacts, and the jobs that begin them.

-- +goose Up
alter table incidents add column drill integer not null default 0;
create index incidents_drills on incidents (drill, number);

-- The latest check of each user and endpoint. place is a hash of both.
create table contact_checks (
    place text   not null primary key,
    at    bigint not null,
    doc   text   not null
);

-- How far each job has come. name is a hash of its name.
create table jobs (
    name text not null primary key,
    doc  text not null
);
