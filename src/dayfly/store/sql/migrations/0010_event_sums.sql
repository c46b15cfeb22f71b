-- How much a channel of events holds, kept beside the rows, so that nobody has to count.
CREATE TABLE event_sums (
    namespace TEXT NOT NULL,
    channel   TEXT NOT NULL,
    bytes     INTEGER NOT NULL,
    PRIMARY KEY (namespace, channel)
) WITHOUT ROWID;
INSERT INTO event_sums (namespace, channel, bytes) SELECT namespace, channel, sum(length(body)) FROM events GROUP BY 1, 2;
CREATE TRIGGER events_in AFTER INSERT ON events BEGIN
    INSERT INTO event_sums (namespace, channel, bytes) VALUES (new.namespace, new.channel, length(new.body))
    ON CONFLICT (namespace, channel) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER events_out AFTER DELETE ON events BEGIN
    UPDATE event_sums SET bytes = bytes - length(old.body) WHERE namespace = old.namespace AND channel = old.channel;
END;
