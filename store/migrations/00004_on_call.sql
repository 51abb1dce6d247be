-- What people decide about schedules, and who was announced to be on call.

-- +goose Up
create table overrides (
    id       text   not null primary key,
    schedule text   not null,
    from_at  bigint not null,
    to_at    bigint not null,
    doc      text   not null,
    check (from_at <= to_at)
);
create index overrides_ended on overrides (to_at);

-- The latest handoff of each schedule. schedule is a hash of its name where that is longer than an index allows.
create table handoffs (
    schedule text not null primary key,
    doc      text not null
);

-- overrides_version grows with every change of an override.
insert into counters (name, value) values ('overrides_version', 0);
