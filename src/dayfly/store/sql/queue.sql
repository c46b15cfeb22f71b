-- The queue of everything that is delivered. States: queued, blocked (others with the same key go first), leased, done, dead, cancelled.

-- name: queue_put
-- What an event brings is put if that was accepted, and not known before.
INSERT INTO queue (id, namespace, lane, function, key, event, due, created, state)
SELECT
    :id, :namespace, :lane, :function, :key, :event, :due, :created,
    CASE WHEN :key <> '' AND EXISTS (
        SELECT 1 FROM queue WHERE namespace = :namespace AND lane = :lane AND key = :key AND key <> ''
        AND state IN ('queued', 'leased', 'blocked')
    ) THEN 'blocked' ELSE 'queued' END
WHERE :of IS NULL OR EXISTS (SELECT 1 FROM events WHERE seq = :of);

-- name: queue_put_leased
-- For a delivery that begins as soon as this is on disk.
INSERT INTO queue (id, namespace, lane, function, event, due, created, state, lease, lease_epoch, lease_until, first)
SELECT :id, :namespace, :lane, :function, :event, :due, :created, 'leased', 'delivery', 1, :until, :created
WHERE :of IS NULL OR EXISTS (SELECT 1 FROM events WHERE seq = :of);

-- name: queue_put_call
INSERT INTO queue_calls (id, body) SELECT :id, :body WHERE :of IS NULL OR EXISTS (SELECT 1 FROM queue WHERE id = :id);

-- name: queue_claim_key
-- The first item under a key claims it for the window; whoever comes later finds the first one's id here.
INSERT INTO idempotency (namespace, function, key, id, created) VALUES (:namespace, :lane, :once, :id, :created)
ON CONFLICT (namespace, function, key) DO UPDATE SET id = excluded.id, created = excluded.created
WHERE created <= :expired;

-- name: queue_claim_event
-- The same for a delivery, if its event was accepted.
INSERT INTO idempotency (namespace, function, key, id, created)
SELECT :namespace, :lane, :once, :id, :created FROM queue WHERE id = :id
ON CONFLICT (namespace, function, key) DO UPDATE SET id = excluded.id, created = excluded.created
WHERE created <= :expired;

-- name: queue_drop_repeated
-- A delivery whose claim another one has.
UPDATE queue SET
    state = 'cancelled', ended = :created, condition = 'Cancelled',
    last_error = 'it came before, as ' || (
        SELECT id FROM idempotency WHERE namespace = :namespace AND function = :lane AND key = :once
    )
WHERE id = :id AND NOT EXISTS (
    SELECT 1 FROM idempotency WHERE namespace = :namespace AND function = :lane AND key = :once AND id = :id
);

-- name: queue_forget_claims
DELETE FROM idempotency WHERE namespace = :namespace AND function = :lane;

-- name: queue_put_claimed
INSERT INTO queue (id, namespace, lane, function, key, due, created, state)
SELECT
    :id, :namespace, :lane, :function, :key, :due, :created,
    CASE WHEN :key <> '' AND EXISTS (
        SELECT 1 FROM queue WHERE namespace = :namespace AND lane = :lane AND key = :key AND key <> ''
        AND state IN ('queued', 'leased', 'blocked')
    ) THEN 'blocked' ELSE 'queued' END
FROM idempotency WHERE namespace = :namespace AND function = :lane AND key = :once AND id = :id;

-- name: queue_put_claimed_call
INSERT INTO queue_calls (id, body)
SELECT :id, :body FROM idempotency WHERE namespace = :namespace AND function = :lane AND key = :once AND id = :id;

-- name: queue_claimant
SELECT id FROM idempotency WHERE namespace = :namespace AND function = :lane AND key = :once;

-- name: queue_one
SELECT id, namespace, lane, function, state, attempt, due, created, ended, last_error, condition, event FROM queue WHERE id = :id;

-- name: queue_listed
-- Items in these states of which it is known what function they call, newest first.
SELECT id, namespace, lane, function, state, attempt, due, created, ended, last_error, condition, event
FROM queue INDEXED BY queue_listed
WHERE
    state IN ('queued', 'leased', 'blocked', 'dead') AND namespace = :namespace AND id < :before AND id >= :since
    AND function <> '' AND :function IN ('', function) AND state IN (SELECT value FROM json_each(:states))
ORDER BY id DESC LIMIT :limit;

-- name: queue_depth
SELECT count(*) FROM queue WHERE state = 'queued';

-- name: queue_depth_function
SELECT count(*) FROM queue WHERE state = 'queued' AND namespace = :namespace AND lane = :lane;

-- name: queue_lanes
-- The earliest item of every lane that has one: a skip scan along queue_due, whose cost grows with lanes, not with items.
WITH RECURSIVE first (seq) AS (
    SELECT * FROM (SELECT seq FROM queue WHERE state = 'queued' ORDER BY namespace, lane, due LIMIT 1)
    UNION ALL
    SELECT coalesce(
        (SELECT n.seq FROM queue AS n
         WHERE n.state = 'queued' AND n.namespace = q.namespace AND n.lane > q.lane ORDER BY n.lane, n.due LIMIT 1),
        (SELECT n.seq FROM queue AS n
         WHERE n.state = 'queued' AND n.namespace > q.namespace ORDER BY n.namespace, n.lane, n.due LIMIT 1)
    )
    FROM first JOIN queue AS q ON q.seq = first.seq
)
SELECT namespace, lane, due FROM first JOIN queue USING (seq);

-- name: queue_lease
-- Take the items of one lane that have been due longest.
UPDATE queue SET
    state = 'leased', lease = :holder, lease_epoch = lease_epoch + 1, lease_until = :until,
    first = CASE WHEN first = 0 THEN :now ELSE first END
WHERE seq IN (
    SELECT seq FROM queue
    WHERE state = 'queued' AND namespace = :namespace AND lane = :lane AND due <= :now
    ORDER BY due, seq LIMIT :limit
)
RETURNING
    due, seq, id, lease_epoch, attempt, deferrals, created, first, key,
    coalesce(
        -- What RETURNING names has no type by itself, and no index would be used.
        (SELECT body FROM queue_calls WHERE queue_calls.id = CAST(queue.id AS TEXT)),
        (SELECT body FROM events WHERE events.seq = queue.event),
        x''
    );

-- name: queue_lease_key
-- Those that wait behind leased ones with the same key, in their order, up to the first that is not due.
UPDATE queue SET
    state = 'leased', lease = :holder, lease_epoch = lease_epoch + 1, lease_until = :until,
    first = CASE WHEN first = 0 THEN :now ELSE first END
WHERE seq IN (
    SELECT seq FROM (
        SELECT seq, max(due) OVER (ORDER BY seq) AS latest FROM (
            SELECT seq, due FROM queue
            WHERE namespace = :namespace AND lane = :lane AND key = :key AND key <> '' AND state IN ('queued', 'leased', 'blocked')
            AND state = 'blocked' ORDER BY seq LIMIT :limit
        )
    ) WHERE latest <= :now
)
RETURNING
    due, seq, id, lease_epoch, attempt, deferrals, created, first, key,
    coalesce(
        (SELECT body FROM queue_calls WHERE queue_calls.id = CAST(queue.id AS TEXT)),
        (SELECT body FROM events WHERE events.seq = queue.event),
        x''
    );

-- name: queue_next_due
SELECT min(due) FROM queue WHERE state = 'queued' AND namespace = :namespace AND lane = :lane;

-- name: queue_renew
UPDATE queue SET lease_until = :until WHERE state = 'leased' AND id = :id AND lease_epoch = :epoch;

-- name: queue_expired
-- Whether somebody holds items whose lease nobody has renewed.
SELECT 1 FROM queue INDEXED BY queue_lease_until WHERE state = 'leased' AND lease_until < :now LIMIT 1;

-- name: queue_expire
UPDATE queue SET state = 'queued', lease = '', due = min(due, :now) WHERE state = 'leased' AND lease_until < :now;

-- name: queue_expire_lane
-- The same for one lane.
UPDATE queue SET state = 'queued', lease = '', due = min(due, :now)
WHERE state = 'leased' AND lease_until < :now AND namespace = :namespace AND lane = :lane;

-- name: queue_next_expiry
SELECT min(lease_until) FROM queue WHERE state = 'leased' AND namespace = :namespace AND lane = :lane;

-- name: queue_reclaim
-- Leases of a server that is no more: due again at once. Those of receivers outside stay.
UPDATE queue SET state = 'queued', lease = '', due = min(due, :now) WHERE state = 'leased' AND lease <> 'receiver';

-- name: queue_retry
UPDATE queue SET state = 'queued', lease = '', attempt = :attempt, deferrals = :deferrals, due = :due, last_error = :last_error
WHERE id = :id AND state = 'leased' AND lease_epoch = :epoch;

-- name: queue_end
UPDATE queue SET state = :state, lease = '', attempt = :attempt, ended = :ended, last_error = :last_error, condition = :condition
WHERE id = :id AND state = 'leased' AND lease_epoch = :epoch;


-- name: queue_cancel
UPDATE queue SET
    state = 'cancelled', lease = '', lease_epoch = lease_epoch + 1, ended = :ended, last_error = :last_error, condition = 'Cancelled'
WHERE id = :id AND state IN ('queued', 'leased', 'blocked');

-- name: queue_cancel_lane
UPDATE queue SET
    state = 'cancelled', lease = '', lease_epoch = lease_epoch + 1, ended = :ended, last_error = :last_error, condition = 'Cancelled'
WHERE namespace = :namespace AND lane = :lane AND state IN ('queued', 'leased', 'blocked');

-- name: queue_redrive
UPDATE queue SET
    attempt = 0, deferrals = 0, due = :now, created = :now, ended = 0, last_error = '', condition = '',
    state = CASE WHEN key <> '' AND EXISTS (
        SELECT 1 FROM queue AS other WHERE other.namespace = queue.namespace AND other.lane = queue.lane AND other.key = queue.key
        AND other.key <> '' AND other.state IN ('queued', 'leased', 'blocked')
    ) THEN 'blocked' ELSE 'queued' END
WHERE id = :id AND state = 'dead';

-- name: queue_dead
SELECT id, namespace, lane, function, state, attempt, due, created, ended, last_error, condition, event FROM queue
WHERE state = 'dead' AND ended < :before AND namespace = :namespace AND (:lane = '' OR lane = :lane)
ORDER BY ended DESC, seq DESC LIMIT :limit;

-- name: queue_purge_dead
DELETE FROM queue WHERE id = :id AND namespace = :namespace AND state = 'dead';

-- name: queue_count_lane
SELECT 'queued', count(*), min(created) FROM queue WHERE namespace = :namespace AND lane = :lane AND state = 'queued' AND due <= :now
UNION ALL
SELECT 'later', count(*), min(created) FROM queue WHERE namespace = :namespace AND lane = :lane AND state = 'queued' AND due > :now
UNION ALL
SELECT 'blocked', count(*), min(created) FROM queue
WHERE namespace = :namespace AND lane = :lane AND key <> '' AND state = 'blocked'
UNION ALL
SELECT 'leased', count(*), min(created) FROM queue WHERE namespace = :namespace AND lane = :lane AND state = 'leased'
UNION ALL
SELECT 'dead', count(*), min(created) FROM queue WHERE namespace = :namespace AND lane = :lane AND state = 'dead';

-- name: queue_delete_lane
-- Everything of a lane, in bites.
DELETE FROM queue WHERE seq IN (
    SELECT seq FROM queue WHERE namespace = :namespace AND lane = :lane AND (:dead OR state <> 'dead') LIMIT :bite
);

-- name: queue_keep_result
INSERT INTO queue_results (id, body)
SELECT id, :body FROM queue WHERE id = :id AND lease_epoch = :epoch AND state IN ('done', 'dead')
ON CONFLICT DO NOTHING;

-- name: queue_result
SELECT body FROM queue_results WHERE id = :id;

-- name: queue_sums
SELECT name, value FROM sums WHERE name LIKE 'queue_%';

-- name: queue_drop_results
-- The oldest answers, until so many bytes are gone.
DELETE FROM queue_results WHERE seq IN (
    SELECT seq FROM (
        SELECT seq, sum(size) OVER (ORDER BY seq) - size AS before
        FROM (SELECT seq, length(body) AS size FROM queue_results ORDER BY seq LIMIT :bite)
    ) WHERE before < :excess
);

-- name: queue_drop_inputs
-- What calls that have ended were given, the oldest first, until so many bytes are gone.
DELETE FROM queue_calls WHERE rowid IN (
    SELECT rowid FROM (
        SELECT rowid, sum(size) OVER (ORDER BY rowid) - size AS before FROM (
            SELECT c.rowid, length(c.body) AS size FROM queue_calls AS c JOIN queue AS q ON q.id = c.id
            WHERE q.state IN ('done', 'cancelled') ORDER BY c.rowid LIMIT :bite
        )
    ) WHERE before < :excess
);

-- name: queue_forget
-- Ended items of one state, the oldest first.
DELETE FROM queue WHERE seq IN (
    SELECT seq FROM queue WHERE state = :state AND state IN ('done', 'dead', 'cancelled') AND ended < :before
    ORDER BY ended LIMIT :bite
);

-- name: queue_forget_keys
DELETE FROM idempotency WHERE (namespace, function, key) IN (
    SELECT namespace, function, key FROM idempotency WHERE created <= :expired ORDER BY created LIMIT :bite
);

-- name: queue_call
SELECT body FROM queue_calls WHERE id = :id;

-- name: queue_depth_leased
SELECT count(*) FROM queue WHERE state = 'leased';

-- name: queue_give_back
-- An item that was put as leased, and whose delivery does not begin.
UPDATE queue SET state = 'queued', lease = '' WHERE id = :id AND state = 'leased' AND lease_epoch = 1;

-- name: queue_unlease
UPDATE queue SET state = 'queued', lease = '' WHERE id = :id AND state = 'leased' AND lease_epoch = :epoch;

-- name: queue_ack
DELETE FROM queue WHERE id = :id AND state = 'leased' AND lease_epoch = :epoch;

-- name: queue_extend
UPDATE queue SET lease_until = :until WHERE id = :id AND state = 'leased' AND lease_epoch = :epoch AND lease_until >= :now;

-- name: queue_release
-- A receiver gives it back.
UPDATE queue SET state = 'queued', lease = '', due = :now WHERE id = :id AND state = 'leased' AND lease_epoch = :epoch;

-- name: queue_states
SELECT state, count(*) FROM queue GROUP BY state;

-- name: queue_lags
-- Answered by queue_due alone.
SELECT namespace, lane, count(*), min(due) FROM queue WHERE state = 'queued' GROUP BY namespace, lane;

-- name: queue_shift_due
UPDATE queue SET due = due + :jump WHERE state = 'queued' AND due > :before;

-- name: queue_shift_leases
UPDATE queue SET lease_until = lease_until + :jump WHERE state = 'leased';
