-- Keys let callers in. What is shown is not here: a digest recognises it; the secret of a pair, which signs, is encrypted.

CREATE TABLE keys (
    id     TEXT PRIMARY KEY,
    body   BLOB NOT NULL, -- model.identity.Key as JSON
    digest BLOB NOT NULL, -- SHA-256 of what is shown; empty for a pair
    sealed BLOB NOT NULL -- secret of a pair, see auth.seal; else empty
) WITHOUT ROWID;
