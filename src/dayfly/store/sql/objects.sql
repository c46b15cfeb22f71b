-- Buckets and objects.

-- name: bucket_put
INSERT INTO buckets (namespace, name, labels, created) VALUES (:namespace, :name, :labels, :created)
ON CONFLICT (namespace, name) DO UPDATE SET labels = excluded.labels;

-- name: bucket_get
SELECT labels, created FROM buckets WHERE namespace = :namespace AND name = :name;

-- name: buckets_list
SELECT name, labels, created FROM buckets
WHERE namespace = :namespace AND name >= :prefix AND name < :prefix || char(1114111) ORDER BY name;

-- name: bucket_delete
DELETE FROM buckets WHERE namespace = :namespace AND name = :name
AND NOT EXISTS (SELECT 1 FROM objects WHERE namespace = :namespace AND bucket = :name);

-- name: bucket_there
UPDATE buckets SET created = created WHERE namespace = :namespace AND name = :bucket;

-- name: bucket_there_expecting
UPDATE buckets SET created = created WHERE namespace = :namespace AND name = :bucket
AND coalesce((SELECT etag FROM objects WHERE namespace = :namespace AND bucket = :bucket AND key = :key), '') = :expect;

-- name: object_delete
DELETE FROM objects WHERE namespace = :namespace AND bucket = :bucket AND key = :key RETURNING version, size;

-- name: object_put
INSERT INTO objects (namespace, bucket, key, version, size, etag, content_type, metadata, modified)
VALUES (:namespace, :bucket, :key, :version, :size, :etag, :content_type, :metadata, :modified);

-- name: object_get
SELECT key, version, size, etag, content_type, metadata, modified FROM objects
WHERE namespace = :namespace AND bucket = :bucket AND key = :key;

-- name: objects_list
SELECT key, version, size, etag, content_type, metadata, modified FROM objects
WHERE namespace = :namespace AND bucket = :bucket AND key > :after AND key >= :prefix AND key < :prefix || char(1114111)
ORDER BY key LIMIT :limit;

-- name: objects_sizes
SELECT namespace, sum(size) FROM objects GROUP BY namespace;

-- name: objects_versions
SELECT version FROM objects WHERE version >= :first AND version < :last;

-- name: objects_forget
DELETE FROM objects WHERE namespace = :namespace RETURNING version, size;

-- name: buckets_forget
DELETE FROM buckets WHERE namespace = :namespace;
