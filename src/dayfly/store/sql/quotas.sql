-- Quotas.

-- name: quota_put
INSERT INTO quotas (namespace, body) VALUES (:namespace, :body)
ON CONFLICT (namespace) DO UPDATE SET body = excluded.body;

-- name: quotas_all
SELECT namespace, body FROM quotas ORDER BY namespace;

-- name: quota_delete
DELETE FROM quotas WHERE namespace = :namespace;

-- name: quota_queued
SELECT count(*) FROM queue WHERE namespace = :namespace AND state IN ('queued', 'leased', 'blocked');
