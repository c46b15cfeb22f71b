-- The audit log.

-- name: audit_add
INSERT INTO audit (namespace, time, body) VALUES (:namespace, :time, :body);

-- name: audit_of
SELECT seq, body FROM audit
WHERE (:namespace = '*' OR namespace = :namespace) AND time >= :since AND seq < :before
ORDER BY seq DESC LIMIT :limit;

-- name: audit_trim
DELETE FROM audit WHERE seq <= (SELECT max(seq) FROM audit) - :keep;
