-- Invocations and the usage ledger.

-- name: invocations_put
-- One statement for a whole slice: the rows come as a JSON array, so the interpreter's lock is let go once, not once a row.
INSERT INTO invocations (seq, id, namespace, function, status, body)
SELECT :first + key, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
FROM json_each(:rows);

-- name: invocations_last
SELECT coalesce(max(seq), 0) FROM invocations;

-- name: invocations_of_id
SELECT seq, id, namespace, function, status, body FROM invocations WHERE id = :id ORDER BY seq DESC LIMIT :limit;

-- name: invocations_list
SELECT seq, id, namespace, function, status, body FROM invocations INDEXED BY invocations_by_id
WHERE (id, seq) < (:before, :before_seq) AND id >= :since AND namespace = :namespace
  AND (:status = '' OR status = :status)
ORDER BY id DESC, seq DESC LIMIT :limit;

-- name: invocations_list_function
SELECT seq, id, namespace, function, status, body FROM invocations INDEXED BY invocations_by_function
WHERE namespace = :namespace AND function = :function
  AND (id, seq) < (:before, :before_seq) AND id >= :since
  AND (:status = '' OR status = :status)
ORDER BY id DESC, seq DESC LIMIT :limit;

-- name: invocations_prune
-- Of the oldest `bite` rows, those beyond the limit of rows or of age.
DELETE FROM invocations WHERE seq IN (
    SELECT seq FROM (SELECT seq, id FROM invocations ORDER BY seq LIMIT :bite) WHERE seq <= :seq OR id < :id
);

-- name: usage_add
INSERT INTO usage (namespace, function, hour, requests, billed_ms, mb_ms, cpu_us, errors, cold_starts)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8
FROM json_each(:rows) WHERE true
ON CONFLICT (namespace, function, hour) DO UPDATE SET
    requests = requests + excluded.requests,
    billed_ms = billed_ms + excluded.billed_ms,
    mb_ms = mb_ms + excluded.mb_ms,
    cpu_us = cpu_us + excluded.cpu_us,
    errors = errors + excluded.errors,
    cold_starts = cold_starts + excluded.cold_starts;

-- name: usage_sum
SELECT coalesce(sum(requests), 0), coalesce(sum(billed_ms), 0), coalesce(sum(mb_ms), 0), coalesce(sum(cpu_us), 0),
       coalesce(sum(errors), 0), coalesce(sum(cold_starts), 0)
FROM usage
WHERE namespace = :namespace AND (:function = '' OR function = :function) AND hour >= :first AND hour < :end;

-- name: inputs_put
INSERT INTO inputs (namespace, function, first, last, body) VALUES (:namespace, :function, :first, :last, :body);

-- name: inputs_of_call
-- Rows that may hold a call, the oldest first: few, because those of one function hardly overlap.
SELECT seq, body FROM inputs INDEXED BY inputs_by_call
WHERE namespace = :namespace AND last >= :id AND first <= :id AND seq > :after ORDER BY seq LIMIT 8;

-- name: inputs_forget
DELETE FROM inputs WHERE namespace = :namespace AND (:function = '' OR function = :function);

-- name: inputs_prune
-- Of the oldest `bite` rows, those beyond the limit of bytes or of age.
DELETE FROM inputs WHERE seq IN (
    SELECT seq FROM (
        SELECT seq, last, sum(size) OVER (ORDER BY seq) - size AS before
        FROM (SELECT seq, last, length(body) AS size FROM inputs ORDER BY seq LIMIT :bite)
    ) WHERE last < :oldest OR before < (SELECT value - :keep FROM sums WHERE name = 'input_bytes')
);
