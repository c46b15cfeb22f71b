-- Brokers, triggers, queues and the delivery policies of asynchronous calls: small, read whole at start, kept in memory by every cell.

CREATE TABLE catalog (
    kind      TEXT NOT NULL, -- broker | trigger | queue | async
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    body      BLOB NOT NULL, -- the noun as JSON
    updated   REAL NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;

-- Where the source of a trigger has come to.
CREATE TABLE checkpoints (
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    body      BLOB NOT NULL, -- the source's own
    updated   REAL NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;

-- Accepted events. A channel is a broker (b:NAME) or a trigger whose source they came from (t:NAME).
CREATE TABLE events (
    seq       INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    channel   TEXT NOT NULL,
    id        TEXT NOT NULL,
    type      TEXT NOT NULL,
    received  REAL NOT NULL,
    once      TEXT, -- source and id while a second one is refused
    body      BLOB NOT NULL -- model.event.Event as MessagePack
);
CREATE UNIQUE INDEX events_once ON events (namespace, channel, once) WHERE once IS NOT NULL;
CREATE INDEX events_by_channel ON events (namespace, channel, seq);
CREATE INDEX events_by_id ON events (namespace, id, seq);

CREATE TABLE event_types (
    namespace  TEXT NOT NULL,
    broker     TEXT NOT NULL,
    type       TEXT NOT NULL,
    source     TEXT NOT NULL,
    dataschema TEXT NOT NULL,
    first      REAL NOT NULL,
    last       REAL NOT NULL,
    count      INTEGER NOT NULL,
    PRIMARY KEY (namespace, broker, type)
) WITHOUT ROWID;

-- The queue now holds everything that is delivered. A lane is what is served in turn and has one policy: asynchronous calls of a
-- function (f:NAME), deliveries of a trigger (t:NAME), messages of a queue (q:NAME), posts to a host (h:NAME).

ALTER TABLE queue ADD COLUMN lane TEXT NOT NULL DEFAULT '';
ALTER TABLE queue ADD COLUMN key TEXT NOT NULL DEFAULT ''; -- what is equal here is delivered in order; a later one is 'blocked'
ALTER TABLE queue ADD COLUMN event INTEGER; -- events.seq, where the payload is an event
ALTER TABLE queue ADD COLUMN condition TEXT NOT NULL DEFAULT ''; -- why it ended
ALTER TABLE queue ADD COLUMN first REAL NOT NULL DEFAULT 0; -- first lease
UPDATE queue SET lane = 'f:' || function;

DROP INDEX queue_due;
CREATE INDEX queue_due ON queue (namespace, lane, due, seq) WHERE state = 'queued';
CREATE INDEX queue_dead ON queue (namespace, lane, ended) WHERE state = 'dead';
CREATE INDEX queue_keys ON queue (namespace, lane, key, seq) WHERE key <> '' AND state IN ('queued', 'leased', 'blocked');
CREATE INDEX queue_events ON queue (event) WHERE event IS NOT NULL;
CREATE INDEX queue_held ON queue (namespace, lane) WHERE state = 'leased';

-- The next of a key may go when the one before it has ended, however that was.
CREATE TRIGGER queue_next_of_key AFTER UPDATE OF state ON queue
WHEN new.key <> '' AND new.ended > 0 AND old.ended = 0 AND old.state <> 'blocked' BEGIN
    UPDATE queue SET state = 'queued' WHERE seq = (
        SELECT min(seq) FROM queue
        WHERE namespace = new.namespace AND lane = new.lane AND key = new.key AND key <> ''
        AND state IN ('queued', 'leased', 'blocked')
    ) AND state = 'blocked';
END;
CREATE TRIGGER queue_next_of_key_deleted AFTER DELETE ON queue
WHEN old.key <> '' AND old.state IN ('queued', 'leased') BEGIN
    UPDATE queue SET state = 'queued' WHERE seq = (
        SELECT min(seq) FROM queue
        WHERE namespace = old.namespace AND lane = old.lane AND key = old.key AND key <> ''
        AND state IN ('queued', 'leased', 'blocked')
    ) AND state = 'blocked';
END;

-- What a call was given is kept as long as its item, up to a size: for replays.

INSERT INTO sums (name, value) VALUES ('queue_input_bytes', 0);

DROP TRIGGER queue_calls_out;
CREATE TRIGGER queue_calls_out AFTER DELETE ON queue_calls BEGIN
    UPDATE sums SET value = value - length(old.body) WHERE name = CASE
        WHEN (SELECT state FROM queue WHERE id = old.id) IN ('done', 'cancelled') THEN 'queue_input_bytes' ELSE 'queue_bytes' END;
END;

DROP TRIGGER queue_over;
CREATE TRIGGER queue_over AFTER UPDATE OF state ON queue WHEN new.ended > 0 AND old.ended = 0 BEGIN
    UPDATE sums SET value = value + 1 WHERE name = 'queue_ended';
    UPDATE sums SET value = value + CASE name WHEN 'queue_bytes' THEN -1 ELSE 1 END
        * (SELECT coalesce(sum(length(body)), 0) FROM queue_calls WHERE id = new.id)
    WHERE name IN ('queue_bytes', 'queue_input_bytes') AND new.state <> 'dead';
END;

DROP TRIGGER queue_forgotten;
CREATE TRIGGER queue_forgotten BEFORE DELETE ON queue BEGIN
    UPDATE sums SET value = value - (old.ended > 0) WHERE name = 'queue_ended';
    DELETE FROM queue_calls WHERE id = old.id;
    DELETE FROM queue_results WHERE id = old.id;
END;

-- What synchronous calls were given, where that is recorded.
CREATE TABLE inputs (
    seq  INTEGER PRIMARY KEY,
    id   TEXT NOT NULL,
    body BLOB NOT NULL -- actions.Invoke as MessagePack
);
CREATE INDEX inputs_by_id ON inputs (id);
INSERT INTO sums (name, value) VALUES ('input_bytes', 0);
CREATE TRIGGER inputs_in AFTER INSERT ON inputs BEGIN
    UPDATE sums SET value = value + length(new.body) WHERE name = 'input_bytes';
END;
CREATE TRIGGER inputs_out AFTER DELETE ON inputs BEGIN
    UPDATE sums SET value = value - length(old.body) WHERE name = 'input_bytes';
END;
