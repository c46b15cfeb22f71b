-- Sums of events are made by the housekeeping, a bite at a time: an event that is accepted writes a page less.
CREATE TABLE events_counted (
    seq INTEGER NOT NULL -- events up to this number are in event_sums
);
INSERT INTO events_counted (seq) SELECT coalesce(max(seq), 0) FROM events;
DROP TRIGGER events_in;
CREATE TRIGGER events_in AFTER INSERT ON events WHEN new.seq <= (SELECT seq FROM events_counted) BEGIN -- it was late
    INSERT INTO event_sums (namespace, channel, bytes) VALUES (new.namespace, new.channel, length(new.body))
    ON CONFLICT (namespace, channel) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
DROP TRIGGER events_out;
CREATE TRIGGER events_out AFTER DELETE ON events WHEN old.seq <= (SELECT seq FROM events_counted) BEGIN
    UPDATE event_sums SET bytes = bytes - length(old.body) WHERE namespace = old.namespace AND channel = old.channel;
END;
