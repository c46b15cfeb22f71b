-- Items with the same key go together: several may be leased at once, the first of them and those behind it. While any is leased, none
-- is 'queued'; when none is, the first is, and the others are 'blocked'.
CREATE INDEX queue_held_keys ON queue (namespace, lane, key) WHERE state = 'leased' AND key <> '';

DROP TRIGGER queue_next_of_key;
CREATE TRIGGER queue_next_of_key AFTER UPDATE OF state ON queue
WHEN new.key <> '' AND new.ended > 0 AND old.ended = 0 AND old.state <> 'blocked' AND NOT EXISTS (
    SELECT 1 FROM queue WHERE namespace = new.namespace AND lane = new.lane AND key = new.key AND key <> '' AND state = 'leased'
) BEGIN
    UPDATE queue SET state = 'queued' WHERE seq = (
        SELECT min(seq) FROM queue
        WHERE namespace = new.namespace AND lane = new.lane AND key = new.key AND key <> ''
        AND state IN ('queued', 'leased', 'blocked')
    ) AND state = 'blocked';
END;

DROP TRIGGER queue_next_of_key_deleted;
CREATE TRIGGER queue_next_of_key_deleted AFTER DELETE ON queue
WHEN old.key <> '' AND old.state IN ('queued', 'leased') AND NOT EXISTS (
    SELECT 1 FROM queue WHERE namespace = old.namespace AND lane = old.lane AND key = old.key AND key <> '' AND state = 'leased'
) BEGIN
    UPDATE queue SET state = 'queued' WHERE seq = (
        SELECT min(seq) FROM queue
        WHERE namespace = old.namespace AND lane = old.lane AND key = old.key AND key <> ''
        AND state IN ('queued', 'leased', 'blocked')
    ) AND state = 'blocked';
END;

-- One that comes back, to be delivered again, goes behind what is before it, and waits for those that went with it.
CREATE TRIGGER queue_back_of_key AFTER UPDATE OF state ON queue
WHEN new.key <> '' AND new.state = 'queued' AND old.state = 'leased' BEGIN
    UPDATE queue SET state = 'blocked' WHERE seq = new.seq AND (EXISTS (
        SELECT 1 FROM queue
        WHERE namespace = new.namespace AND lane = new.lane AND key = new.key AND key <> ''
        AND state IN ('queued', 'leased', 'blocked') AND seq < new.seq
    ) OR EXISTS (
        SELECT 1 FROM queue WHERE namespace = new.namespace AND lane = new.lane AND key = new.key AND key <> '' AND state = 'leased'
    ));
    UPDATE queue SET state = 'queued' WHERE seq = (
        SELECT min(seq) FROM queue
        WHERE namespace = new.namespace AND lane = new.lane AND key = new.key AND key <> ''
        AND state IN ('queued', 'leased', 'blocked')
    ) AND state = 'blocked' AND NOT EXISTS (
        SELECT 1 FROM queue WHERE namespace = new.namespace AND lane = new.lane AND key = new.key AND key <> '' AND state = 'leased'
    );
END;
