CREATE TABLE documents (
    namespace TEXT NOT NULL,
    kind      TEXT NOT NULL, -- dialect/thing
    name      TEXT NOT NULL,
    version   INTEGER NOT NULL,
    body      BLOB NOT NULL, -- JSON
    created   REAL NOT NULL,
    updated   REAL NOT NULL,
    PRIMARY KEY (namespace, kind, name)
) WITHOUT ROWID;
