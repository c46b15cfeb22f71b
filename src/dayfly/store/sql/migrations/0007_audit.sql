-- Who changed what, when, from where, and what came of it. Appended, read backwards, cut off at the old end.

CREATE TABLE audit (
    seq       INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    time      REAL NOT NULL,
    body      BLOB NOT NULL -- model.audit.AuditRecord as JSON
);
CREATE INDEX audit_by_namespace ON audit (namespace, seq);
