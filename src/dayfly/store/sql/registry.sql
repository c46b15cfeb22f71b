-- Namespaces, functions, revisions, secrets.

-- name: namespace_put
INSERT INTO namespaces (name, created) VALUES (:name, :created) ON CONFLICT DO NOTHING;

-- name: namespaces_all
SELECT name, created FROM namespaces ORDER BY name;

-- name: namespace_delete
DELETE FROM namespaces WHERE name = :name;

-- name: function_put
INSERT INTO functions (namespace, name, body, updated) VALUES (:namespace, :name, :body, :updated)
ON CONFLICT (namespace, name) DO UPDATE SET body = excluded.body, updated = excluded.updated;

-- name: function_delete
DELETE FROM functions WHERE namespace = :namespace AND name = :name;

-- name: functions_all
SELECT namespace, name, body, updated FROM functions ORDER BY namespace, name;

-- name: function_one
SELECT namespace, name, body, updated FROM functions WHERE namespace = :namespace AND name = :name;

-- name: revision_put
INSERT INTO revisions (namespace, function, number, digest, body, created)
VALUES (:namespace, :function, :number, :digest, :body, :created);

-- name: revisions_all
SELECT namespace, function, number, digest, body, created FROM revisions ORDER BY namespace, function, number;

-- name: revisions_of
SELECT namespace, function, number, digest, body, created FROM revisions
WHERE namespace = :namespace AND function = :function ORDER BY number DESC;

-- name: revision_delete
DELETE FROM revisions WHERE namespace = :namespace AND function = :function AND number = :number;

-- name: revisions_delete
DELETE FROM revisions WHERE namespace = :namespace AND function = :function;

-- name: secret_put
INSERT INTO secrets (namespace, name, value, updated, sealed) VALUES (:namespace, :name, :value, :updated, 1)
ON CONFLICT (namespace, name) DO UPDATE SET value = excluded.value, updated = excluded.updated, sealed = 1;

-- name: secret_delete
DELETE FROM secrets WHERE namespace = :namespace AND name = :name;

-- name: secrets_of
SELECT name, updated FROM secrets WHERE namespace = :namespace ORDER BY name;

-- name: secrets_all
SELECT namespace, name, value, updated, sealed FROM secrets ORDER BY namespace, name;

-- name: secret_reseal
UPDATE secrets SET value = :new WHERE namespace = :namespace AND name = :name AND value = :old;

-- name: secrets_delete
DELETE FROM secrets WHERE namespace = :namespace;
