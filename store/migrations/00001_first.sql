-- One text for SQLite and PostgreSQL. Instants are microseconds since 1970, 0 for none; documents are JSON
-- as text; order numbers are given by the program, so that order is the order of commits.

-- +goose Up
create table meta (
    name  text not null primary key,
    value text not null
);

create table counters (
    name  text   not null primary key,
    value bigint not null
);
insert into counters (name, value) values ('incident', 0), ('record', 0);

-- Who may work on what. before_at is alive_at as the present holder found it.
create table leases (
    shard      text   not null primary key,
    owner      text   not null,
    epoch      bigint not null check (epoch > 0),
    expires_at bigint not null,
    alive_at   bigint not null,
    before_at  bigint not null
);

create table seen_requests (
    request text   not null primary key,
    at      bigint not null
);
create index seen_requests_at on seen_requests (at);

-- What the evaluator keeps in memory.
create table alerts (
    rule        text not null,
    fingerprint text not null,
    state       text not null check (state in ('pending', 'firing')),
    value       text not null,
    doc         text not null,
    primary key (rule, fingerprint)
);

create table rule_health (
    rule text not null primary key,
    doc  text not null
);

-- The record: appended, never changed.
create table alert_transitions (
    seq         bigint not null primary key,
    rule        text   not null,
    fingerprint text   not null,
    at          bigint not null,
    doc         text   not null
);
create index alert_transitions_of on alert_transitions (fingerprint, at);
create index alert_transitions_at on alert_transitions (at);

-- From the evaluator to the incidents: a queue.
create table alert_changes (
    seq bigint not null primary key,
    doc text   not null
);

-- place is a hash of escalation and group_key, which may be longer than an index allows.
create table incidents (
    number      bigint not null primary key,
    key         text   not null unique,
    escalation  text   not null,
    group_key   text   not null,
    place       text   not null,
    state       text   not null check (state in ('triggered', 'acknowledged', 'snoozed', 'resolved')),
    next_at     bigint not null,
    resolved_at bigint not null,
    revision    bigint not null,
    doc         text   not null,
    check ((state = 'resolved') = (resolved_at > 0))
);
create unique index incidents_open on incidents (place) where state <> 'resolved';
create index incidents_due on incidents (next_at) where next_at > 0;
create index incidents_ended on incidents (resolved_at) where state = 'resolved';

create table incident_alerts (
    incident    bigint not null references incidents (number) on delete cascade,
    fingerprint text   not null,
    seq         bigint not null,
    state       text   not null check (state in ('firing', 'resolved')),
    doc         text   not null,
    primary key (incident, fingerprint)
);
create index incident_alerts_firing on incident_alerts (fingerprint) where state = 'firing';

create table timeline (
    incident bigint not null references incidents (number) on delete cascade,
    seq      bigint not null,
    at       bigint not null,
    kind     text   not null,
    doc      text   not null,
    primary key (incident, seq)
);

create table deliveries (
    key              text   not null primary key,
    incident         bigint not null references incidents (number) on delete cascade,
    seq              bigint not null,
    endpoint         text   not null,
    kind             text   not null check (kind in ('triggered', 'updated', 'acknowledged', 'resolved', 'message', 'edit', 'reply')),
    round            bigint not null,
    tier             bigint not null,
    target           text   not null,
    person           text   not null,
    priority         bigint not null,
    body             bytea,
    state            text   not null check (state in ('queued', 'sending', 'delivered', 'refused', 'dropped')),
    epoch            bigint not null,
    attempts         bigint not null check (attempts >= 0),
    created_at       bigint not null,
    next_at          bigint not null,
    first_attempt_at bigint not null,
    done_at          bigint not null,
    status           bigint not null,
    error            text   not null,
    excerpt          text   not null,
    remote           text   not null,
    revision         bigint not null,
    check ((state in ('delivered', 'refused', 'dropped')) = (done_at > 0)),
    check (state not in ('sending', 'delivered', 'refused') or attempts > 0),
    check ((attempts > 0) = (first_attempt_at > 0))
);
create unique index deliveries_order on deliveries (incident, seq);
create unique index deliveries_sending on deliveries (incident, endpoint) where state = 'sending';
create index deliveries_waiting on deliveries (endpoint, priority, next_at, incident, seq) where state in ('queued', 'sending');
create index deliveries_unfinished on deliveries (incident, endpoint, seq) where state in ('queued', 'sending');
create index deliveries_next on deliveries (next_at) where state = 'queued';
create index deliveries_done on deliveries (endpoint, done_at) where state = 'delivered';
