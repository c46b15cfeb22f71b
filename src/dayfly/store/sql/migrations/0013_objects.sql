-- Objects in buckets. Their bytes are files, named by `version`.

CREATE TABLE buckets (
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    labels    BLOB NOT NULL, -- JSON
    created   REAL NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;

CREATE TABLE objects (
    namespace    TEXT NOT NULL,
    bucket       TEXT NOT NULL,
    key          TEXT NOT NULL,
    version      TEXT NOT NULL,
    size         INTEGER NOT NULL,
    etag         TEXT NOT NULL,
    content_type TEXT NOT NULL,
    metadata     BLOB NOT NULL, -- JSON
    modified     REAL NOT NULL,
    PRIMARY KEY (namespace, bucket, key)
);
CREATE UNIQUE INDEX objects_by_version ON objects (version);
