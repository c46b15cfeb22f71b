-- Keys.

-- name: key_put
INSERT INTO keys (id, body, digest, sealed) VALUES (:id, :body, :digest, :sealed)
ON CONFLICT (id) DO UPDATE SET body = excluded.body, digest = excluded.digest, sealed = excluded.sealed;

-- name: keys_all
SELECT id, body, digest, sealed FROM keys ORDER BY id;

-- name: key_one
SELECT id, body, digest, sealed FROM keys WHERE id = :id;

-- name: key_reseal
UPDATE keys SET sealed = :new WHERE id = :id AND sealed = :old;

-- name: key_delete
DELETE FROM keys WHERE id = :id;
