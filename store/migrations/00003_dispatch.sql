-- What takes Alertmanager's place: the log of what was received, and what the dispatcher made of it.

-- +goose Up
-- Appended by whoever receives, consumed in order by the dispatcher, trimmed by its checkpoints.
create table received (
    seq  bigint not null primary key,
    at   bigint not null,
    body bytea  not null
);

-- The checkpoint: alerts as the dispatcher had them in memory.
create table active_alerts (
    fingerprint bigint not null primary key,
    body        bytea  not null
);

-- key is a hash of the group's, which may be longer than an index allows.
create table route_groups (
    key text not null primary key,
    doc text not null
);

-- Notifications of groups. notice and alerts are there until the delivery is finished.
create table group_deliveries (
    key              text   not null primary key,
    seq              bigint not null,
    endpoint         text   not null,
    receiver         text   not null,
    group_hash       text   not null,
    state            text   not null check (state in ('queued', 'sending', 'delivered', 'refused', 'dropped')),
    attempts         bigint not null check (attempts >= 0),
    created_at       bigint not null,
    next_at          bigint not null,
    first_attempt_at bigint not null,
    done_at          bigint not null,
    status           bigint not null,
    error            text   not null,
    excerpt          text   not null,
    doc              text   not null,
    notice           text,
    alerts           bytea,
    check ((state in ('delivered', 'refused', 'dropped')) = (done_at > 0)),
    check ((done_at > 0) = (notice is null)),
    check ((done_at > 0) = (alerts is null))
);
create unique index group_deliveries_order on group_deliveries (seq);
create index group_deliveries_of_receiver on group_deliveries (receiver, seq);
create index group_deliveries_of_group on group_deliveries (group_hash, seq);
create index group_deliveries_unfinished on group_deliveries (seq) where done_at = 0;
create index group_deliveries_done on group_deliveries (done_at) where done_at > 0;

create table silences (
    id      text   not null primary key,
    ends_at bigint not null,
    doc     text   not null
);
create index silences_ended on silences (ends_at);

-- received, group_delivery: the last numbers given. dispatched: the consequences of the log up to here are
-- committed. trimmed: the log up to here is in active_alerts. silences: grows with every change of one.
insert into counters (name, value) values ('received', 0), ('group_delivery', 0), ('dispatched', 0), ('trimmed', 0), ('silences', 0);
