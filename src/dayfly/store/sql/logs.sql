-- Lines of log.

-- name: logs_put
-- One statement for a whole slice, from a JSON array (see invocations_put).
INSERT INTO logs (seq, namespace, function, invocation, time, body)
SELECT :first + key, value ->> 'namespace', value ->> 'function', value ->> 'invocation', value ->> 'time', value
FROM json_each(:rows);

-- name: logs_count
UPDATE sums SET value = value + (SELECT coalesce(sum(length(body)), 0) FROM logs WHERE seq >= :first) WHERE name = 'log_bytes';

-- name: logs_last
SELECT coalesce(max(seq), 0) FROM logs;

-- name: logs_bytes
SELECT value FROM sums WHERE name = 'log_bytes';

-- name: logs_of_namespace
SELECT seq, body FROM logs NOT INDEXED
WHERE seq > :after AND namespace = :namespace AND time >= :since ORDER BY seq LIMIT :limit;

-- name: logs_of_function
SELECT seq, body FROM logs INDEXED BY logs_by_function
WHERE namespace = :namespace AND function = :function AND seq > :after AND time >= :since ORDER BY seq LIMIT :limit;

-- name: logs_of_invocation
SELECT seq, body FROM logs INDEXED BY logs_by_invocation
WHERE invocation = :invocation AND invocation <> '' AND seq > :after AND namespace = :namespace
  AND (:function = '' OR function = :function) AND time >= :since
ORDER BY seq LIMIT :limit;

-- name: logs_tail_of_namespace
SELECT seq, body FROM logs NOT INDEXED WHERE namespace = :namespace ORDER BY seq DESC LIMIT :limit;

-- name: logs_tail_of_function
SELECT seq, body FROM logs INDEXED BY logs_by_function
WHERE namespace = :namespace AND function = :function ORDER BY seq DESC LIMIT :limit;

-- name: logs_prune
-- Of the oldest `bite` lines, those too old, or all of them if there is too much.
DELETE FROM logs WHERE seq IN (
    SELECT seq FROM (SELECT seq, time FROM logs ORDER BY seq LIMIT :bite)
    WHERE time < :oldest OR (SELECT value FROM sums WHERE name = 'log_bytes') > :keep
);
