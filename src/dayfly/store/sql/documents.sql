-- What dialects keep: small, read whole at start and held in memory by every cell.

-- name: document_put
INSERT INTO documents (namespace, kind, name, version, body, created, updated)
VALUES (:namespace, :kind, :name, :version, :body, :created, :updated)
ON CONFLICT (namespace, kind, name) DO UPDATE SET version = excluded.version, body = excluded.body, updated = excluded.updated;

-- name: document_delete
DELETE FROM documents WHERE namespace = :namespace AND kind = :kind AND name = :name;

-- name: documents_delete
DELETE FROM documents WHERE namespace = :namespace;

-- name: documents_all
SELECT namespace, kind, name, version, body, created, updated FROM documents;
