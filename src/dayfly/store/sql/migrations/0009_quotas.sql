-- What a namespace may use at most. No row, or 0 in it: no bound.
CREATE TABLE quotas (
    namespace TEXT PRIMARY KEY,
    body      BLOB NOT NULL -- model.quota.Quota as JSON
) WITHOUT ROWID;
