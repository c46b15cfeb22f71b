CREATE TABLE workflows (
    id   TEXT PRIMARY KEY, -- of the invocation
    top  INTEGER NOT NULL, -- whether no other workflow has begun it
    body BLOB NOT NULL -- actions.Invoke as msgpack
) WITHOUT ROWID;

CREATE TABLE workflow_events (
    id     TEXT NOT NULL,
    number INTEGER NOT NULL,
    body   BLOB NOT NULL, -- workflows.state.Event as msgpack
    PRIMARY KEY (id, number)
) WITHOUT ROWID;
