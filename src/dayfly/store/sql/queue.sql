-- The queue of asynchronous calls. States: queued, leased, done, dead, cancelled.

-- name: queue_put
INSERT INTO queue (id, namespace, function, due, created) VALUES (:id, :namespace, :function, :due, :created);

-- name: queue_put_call
INSERT INTO queue_calls (id, body) VALUES (:id, :body);

-- name: queue_claim_key
-- The first call under a key claims it for the window; whoever comes later finds the first one's id here.
INSERT INTO idempotency (namespace, function, key, id, created) VALUES (:namespace, :function, :key, :id, :created)
ON CONFLICT (namespace, function, key) DO UPDATE SET id = excluded.id, created = excluded.created
WHERE created <= :expired;

-- name: queue_put_claimed
INSERT INTO queue (id, namespace, function, due, created)
SELECT :id, :namespace, :function, :due, :created FROM idempotency
WHERE namespace = :namespace AND function = :function AND key = :key AND id = :id;

-- name: queue_put_claimed_call
INSERT INTO queue_calls (id, body)
SELECT :id, :body FROM idempotency WHERE namespace = :namespace AND function = :function AND key = :key AND id = :id;

-- name: queue_claimant
SELECT id FROM idempotency WHERE namespace = :namespace AND function = :function AND key = :key;

-- name: queue_one
SELECT id, namespace, function, state, attempt, due, created, ended, last_error FROM queue WHERE id = :id;

-- name: queue_depth
SELECT count(*) FROM queue WHERE state = 'queued';

-- name: queue_depth_function
SELECT count(*) FROM queue WHERE state = 'queued' AND namespace = :namespace AND function = :function;

-- name: queue_lanes
-- The earliest item of every function that has one: a skip scan along queue_due, whose cost grows with functions, not with items.
WITH RECURSIVE first (seq) AS (
    SELECT * FROM (SELECT seq FROM queue WHERE state = 'queued' ORDER BY namespace, function, due LIMIT 1)
    UNION ALL
    SELECT coalesce(
        (SELECT n.seq FROM queue AS n
         WHERE n.state = 'queued' AND n.namespace = q.namespace AND n.function > q.function ORDER BY n.function, n.due LIMIT 1),
        (SELECT n.seq FROM queue AS n
         WHERE n.state = 'queued' AND n.namespace > q.namespace ORDER BY n.namespace, n.function, n.due LIMIT 1)
    )
    FROM first JOIN queue AS q ON q.seq = first.seq
)
SELECT namespace, function, due FROM first JOIN queue USING (seq);

-- name: queue_lease
-- Take the items of one function that have been due longest.
UPDATE queue SET state = 'leased', lease = :lease, lease_epoch = lease_epoch + 1, lease_until = :until
WHERE seq IN (
    SELECT seq FROM queue
    WHERE state = 'queued' AND namespace = :namespace AND function = :function AND due <= :now
    ORDER BY due, seq LIMIT :limit
);

-- name: queue_leased
SELECT q.id, q.lease_epoch, q.attempt, q.deferrals, q.created, c.body
FROM queue AS q INDEXED BY queue_leased JOIN queue_calls AS c ON c.id = q.id
WHERE q.state = 'leased' AND q.lease = :lease ORDER BY q.due, q.seq;

-- name: queue_next_due
SELECT min(due) FROM queue WHERE state = 'queued' AND namespace = :namespace AND function = :function;

-- name: queue_renew
UPDATE queue SET lease_until = :until WHERE state = 'leased' AND id = :id AND lease_epoch = :epoch;

-- name: queue_expired
-- Functions that hold items whose lease nobody has renewed.
SELECT DISTINCT namespace, function FROM queue INDEXED BY queue_lease_until WHERE state = 'leased' AND lease_until < :now;

-- name: queue_expire
UPDATE queue SET state = 'queued', lease = '', due = :now WHERE state = 'leased' AND lease_until < :now;

-- name: queue_reclaim
-- Leases of a server that is no more: due again at once.
UPDATE queue SET state = 'queued', lease = '', due = min(due, :now) WHERE state = 'leased';

-- name: queue_retry
UPDATE queue SET state = 'queued', lease = '', attempt = :attempt, deferrals = :deferrals, due = :due, last_error = :last_error
WHERE id = :id AND state = 'leased' AND lease_epoch = :epoch;

-- name: queue_end
UPDATE queue SET state = :state, lease = '', attempt = :attempt, ended = :ended, last_error = :last_error
WHERE id = :id AND state = 'leased' AND lease_epoch = :epoch;

-- name: queue_ended_by
SELECT 1 FROM queue WHERE id = :id AND lease_epoch = :epoch AND ended > 0;

-- name: queue_cancel
UPDATE queue SET state = 'cancelled', lease = '', lease_epoch = lease_epoch + 1, ended = :ended, last_error = :last_error
WHERE id = :id AND state IN ('queued', 'leased');

-- name: queue_redrive
UPDATE queue SET state = 'queued', attempt = 0, deferrals = 0, due = :now, created = :now, ended = 0, last_error = ''
WHERE id = :id AND state = 'dead';

-- name: queue_dead
SELECT id, namespace, function, state, attempt, due, created, ended, last_error FROM queue
WHERE state = 'dead' AND ended < :before AND namespace = :namespace AND (:function = '' OR function = :function)
ORDER BY ended DESC LIMIT :limit;

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
