-- An event keeps what it was delivered to, and the id of the invocation record that it left, where its broker keeps such.
ALTER TABLE events ADD COLUMN deliveries BLOB NOT NULL DEFAULT x''; -- JSON: [[trigger, delivery], ...]
ALTER TABLE events ADD COLUMN record TEXT NOT NULL DEFAULT '';
CREATE INDEX events_by_record ON events (record) WHERE record <> '';
