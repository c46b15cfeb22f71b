-- Workflows under way. Read whole at start, only ever written after that.

-- name: workflows_all
SELECT id, top, body FROM workflows ORDER BY id;

-- name: workflow_events_all
SELECT id, body FROM workflow_events ORDER BY id, number;

-- name: workflow_put
INSERT OR REPLACE INTO workflows (id, top, body) VALUES (:id, :top, :body);

-- name: workflow_event_put
INSERT OR REPLACE INTO workflow_events (id, number, body) VALUES (:id, :number, :body);

-- name: workflow_delete
DELETE FROM workflows WHERE id = :id;

-- name: workflow_events_delete
DELETE FROM workflow_events WHERE id = :id;
