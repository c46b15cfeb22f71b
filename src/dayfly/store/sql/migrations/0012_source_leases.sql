-- Which cell runs the source of a trigger.
CREATE TABLE source_leases (
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    holder    TEXT NOT NULL,
    until     REAL NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;
