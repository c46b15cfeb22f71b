-- The registry: small tables, read whole at start and kept in memory by every cell.

CREATE TABLE namespaces (
    name    TEXT PRIMARY KEY,
    created REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE functions (
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    body      BLOB NOT NULL, -- model.function.Function as JSON
    updated   REAL NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;

CREATE TABLE revisions (
    namespace TEXT NOT NULL,
    function  TEXT NOT NULL,
    number    INTEGER NOT NULL,
    digest    TEXT NOT NULL,
    body      BLOB NOT NULL, -- model.function.Revision as JSON
    created   REAL NOT NULL,
    PRIMARY KEY (namespace, function, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX revisions_by_digest ON revisions (namespace, function, digest);

CREATE TABLE secrets (
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    value     BLOB NOT NULL,
    updated   REAL NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;

-- Records. Rows come in by the hundred, in one statement, from a JSON array; the columns beside `body` are what is searched for.

CREATE TABLE invocations (
    seq       INTEGER PRIMARY KEY, -- order of recording, given by the recorder; retention cuts at the low end
    id        TEXT NOT NULL,
    namespace TEXT NOT NULL,
    function  TEXT NOT NULL,
    status    TEXT NOT NULL,
    body      TEXT NOT NULL -- model.call.Invocation as JSON
);
CREATE INDEX invocations_by_id ON invocations (id);
CREATE INDEX invocations_by_function ON invocations (namespace, function, id); -- ids are ordered by time

CREATE TABLE usage (
    namespace   TEXT NOT NULL,
    function    TEXT NOT NULL,
    hour        INTEGER NOT NULL, -- hours since the epoch, of the start of the call
    requests    INTEGER NOT NULL,
    billed_ms   INTEGER NOT NULL,
    mb_ms       INTEGER NOT NULL, -- configured MiB x billed ms: GB-seconds without rounding
    cpu_us      INTEGER NOT NULL,
    errors      INTEGER NOT NULL,
    cold_starts INTEGER NOT NULL,
    PRIMARY KEY (namespace, function, hour)
) WITHOUT ROWID;

CREATE TABLE logs (
    seq        INTEGER PRIMARY KEY,
    namespace  TEXT NOT NULL,
    function   TEXT NOT NULL,
    invocation TEXT NOT NULL,
    time       REAL NOT NULL,
    body       TEXT NOT NULL -- model.log.LogLine as JSON
);
CREATE INDEX logs_by_function ON logs (namespace, function, seq, time);
CREATE INDEX logs_by_invocation ON logs (invocation, seq) WHERE invocation <> '';

-- The queue of asynchronous calls. What is big (call, answer) stands apart, so that a change of state rewrites a small row.

CREATE TABLE queue (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    namespace   TEXT NOT NULL,
    function    TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'queued', -- queued | leased | done | dead | cancelled
    attempt     INTEGER NOT NULL DEFAULT 0, -- attempts that count, ended
    deferrals   INTEGER NOT NULL DEFAULT 0, -- throttled or no capacity, in a row
    due         REAL NOT NULL,
    lease       TEXT NOT NULL DEFAULT '', -- who holds it
    lease_epoch INTEGER NOT NULL DEFAULT 0, -- fencing token: grows with every lease and every cancel
    lease_until REAL NOT NULL DEFAULT 0,
    created     REAL NOT NULL,
    ended       REAL NOT NULL DEFAULT 0,
    last_error  TEXT NOT NULL DEFAULT ''
);
CREATE INDEX queue_due ON queue (namespace, function, due, seq) WHERE state = 'queued';
CREATE INDEX queue_leased ON queue (lease) WHERE state = 'leased';
CREATE INDEX queue_lease_until ON queue (lease_until) WHERE state = 'leased';
CREATE INDEX queue_ended ON queue (state, ended) WHERE state IN ('done', 'dead', 'cancelled');

CREATE TABLE queue_calls (
    id   TEXT PRIMARY KEY,
    body BLOB NOT NULL -- actions.Invoke as MessagePack
);

CREATE TABLE queue_results (
    seq  INTEGER PRIMARY KEY,
    id   TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL -- model.call.Result as MessagePack
);

CREATE TABLE idempotency (
    namespace TEXT NOT NULL,
    function  TEXT NOT NULL,
    key       TEXT NOT NULL,
    id        TEXT NOT NULL,
    created   REAL NOT NULL,
    PRIMARY KEY (namespace, function, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_created ON idempotency (created);

-- Sums kept beside the rows they describe, so that nobody has to count.

CREATE TABLE sums (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO sums (name, value) VALUES ('log_bytes', 0), ('queue_bytes', 0), ('queue_result_bytes', 0), ('queue_ended', 0);

CREATE TRIGGER logs_out AFTER DELETE ON logs BEGIN
    UPDATE sums SET value = value - length(old.body) WHERE name = 'log_bytes';
END;
CREATE TRIGGER queue_calls_in AFTER INSERT ON queue_calls BEGIN
    UPDATE sums SET value = value + length(new.body) WHERE name = 'queue_bytes';
END;
CREATE TRIGGER queue_calls_out AFTER DELETE ON queue_calls BEGIN
    UPDATE sums SET value = value - length(old.body) WHERE name = 'queue_bytes';
END;
CREATE TRIGGER queue_results_in AFTER INSERT ON queue_results BEGIN
    UPDATE sums SET value = value + length(new.body) WHERE name = 'queue_result_bytes';
END;
CREATE TRIGGER queue_results_out AFTER DELETE ON queue_results BEGIN
    UPDATE sums SET value = value - length(old.body) WHERE name = 'queue_result_bytes';
END;

-- A call that is over needs its body no more; a dead one keeps it, to be looked into and redriven.
CREATE TRIGGER queue_over AFTER UPDATE OF state ON queue WHEN new.ended > 0 AND old.ended = 0 BEGIN
    UPDATE sums SET value = value + 1 WHERE name = 'queue_ended';
    DELETE FROM queue_calls WHERE id = new.id AND new.state <> 'dead';
END;
CREATE TRIGGER queue_reopened AFTER UPDATE OF state ON queue WHEN new.ended = 0 AND old.ended > 0 BEGIN
    UPDATE sums SET value = value - 1 WHERE name = 'queue_ended';
    DELETE FROM queue_results WHERE id = new.id;
END;
CREATE TRIGGER queue_forgotten AFTER DELETE ON queue BEGIN
    UPDATE sums SET value = value - (old.ended > 0) WHERE name = 'queue_ended';
    DELETE FROM queue_calls WHERE id = old.id;
    DELETE FROM queue_results WHERE id = old.id;
END;
