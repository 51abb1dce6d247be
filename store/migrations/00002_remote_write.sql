-- What the far end of remote_write could not take yet: a queue of encoded series, in the order in which
-- they were evaluated. Its bound is kept by the program.

-- +goose Up
create table remote_writes (
    seq     bigint not null primary key,
    at      bigint not null,
    samples bigint not null check (samples > 0),
    body    bytea  not null
);
insert into counters (name, value) values ('remote_write', 0);
