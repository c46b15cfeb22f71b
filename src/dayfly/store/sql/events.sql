-- Brokers, triggers, queues; accepted events.

-- name: catalog_all
SELECT kind, namespace, name, body FROM catalog;

-- name: catalog_one
SELECT body FROM catalog WHERE kind = :kind AND namespace = :namespace AND name = :name;

-- name: catalog_put
INSERT INTO catalog (kind, namespace, name, body, updated) VALUES (:kind, :namespace, :name, :body, :updated)
ON CONFLICT (kind, namespace, name) DO UPDATE SET body = excluded.body, updated = excluded.updated;

-- name: catalog_delete
DELETE FROM catalog WHERE kind = :kind AND namespace = :namespace AND name = :name;

-- name: checkpoint_put
INSERT INTO checkpoints (namespace, name, body, updated) VALUES (:namespace, :name, :body, :updated)
ON CONFLICT (namespace, name) DO UPDATE SET body = excluded.body, updated = excluded.updated;

-- name: checkpoint_one
SELECT body FROM checkpoints WHERE namespace = :namespace AND name = :name;

-- name: checkpoint_delete
DELETE FROM checkpoints WHERE namespace = :namespace AND name = :name;

-- name: source_lease_take
INSERT INTO source_leases (namespace, name, holder, until) VALUES (:namespace, :name, :holder, :until)
ON CONFLICT (namespace, name) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE holder = excluded.holder OR until < :now;

-- name: source_lease_keep
UPDATE source_leases SET until = :until WHERE namespace = :namespace AND name = :name AND holder = :holder;

-- name: source_lease_give
DELETE FROM source_leases WHERE namespace = :namespace AND name = :name AND holder = :holder;

-- name: events_last
SELECT coalesce(max(seq), 0) FROM events;

-- name: event_forget_once
-- What was accepted before the window of deduplication does not stand in the way any more.
UPDATE events SET once = NULL WHERE namespace = :namespace AND channel = :channel AND once = :once AND received <= :expired;

-- name: event_put
INSERT INTO events (seq, namespace, channel, id, type, received, once, body, deliveries, record)
VALUES (:seq, :namespace, :channel, :id, :type, :received, :once, :body, :deliveries, :record)
ON CONFLICT (namespace, channel, once) WHERE once IS NOT NULL DO NOTHING;

-- name: event_type_put
INSERT INTO event_types (namespace, broker, type, source, dataschema, first, last, count)
VALUES (:namespace, :broker, :type, :source, :dataschema, :first, :last, :count)
ON CONFLICT (namespace, broker, type) DO UPDATE SET
    source = excluded.source, dataschema = excluded.dataschema, last = excluded.last, count = count + excluded.count;

-- name: event_types_of
SELECT broker, type, source, dataschema, first, last, count FROM event_types
WHERE namespace = :namespace AND (:broker = '' OR broker = :broker) ORDER BY broker, type;

-- name: events_by_id
SELECT seq, namespace, channel, received, body, deliveries, record FROM events WHERE namespace = :namespace AND id = :id ORDER BY seq DESC;

-- name: event_at
SELECT seq, namespace, channel, received, body, deliveries, record FROM events WHERE seq = :seq;

-- name: event_of_record
SELECT seq, namespace, channel, received, body, deliveries, record FROM events WHERE record = :record AND record <> '';

-- name: events_newest
SELECT seq, namespace, channel, received, body, deliveries, record FROM events
WHERE namespace = :namespace AND (:channel = '' OR channel = :channel) AND (:type = '' OR type = :type)
AND seq < :before AND received >= :since ORDER BY seq DESC LIMIT :limit;

-- name: events_after
SELECT seq, namespace, channel, received, body, deliveries, record FROM events
WHERE namespace = :namespace AND (:channel = '' OR channel = :channel) AND (:type = '' OR type = :type)
AND seq > :after AND received >= :since ORDER BY seq LIMIT :limit;

-- name: events_old
-- The oldest events of a channel with their sizes, up to a bite.
SELECT seq, received, length(body) FROM events WHERE namespace = :namespace AND channel = :channel ORDER BY seq LIMIT :bite;

-- name: events_sum
-- Adds up the next events that are not counted yet.
INSERT INTO event_sums (namespace, channel, bytes)
SELECT namespace, channel, sum(length(body)) FROM events
WHERE seq > (SELECT seq FROM events_counted) AND seq <= (SELECT seq FROM events_counted) + :bite GROUP BY namespace, channel
ON CONFLICT (namespace, channel) DO UPDATE SET bytes = bytes + excluded.bytes;

-- name: events_counted
-- Back, too: numbers are given again when the newest events are gone and the server starts.
UPDATE events_counted SET seq = min(seq + :bite, (SELECT coalesce(max(seq), 0) FROM events))
WHERE seq <> (SELECT coalesce(max(seq), 0) FROM events);

-- name: events_channels
SELECT namespace, channel, bytes FROM event_sums WHERE bytes > 0;

-- name: events_forget
-- Up to a number, but none that is still to be delivered or is dead.
DELETE FROM events WHERE namespace = :namespace AND channel = :channel AND seq <= :upto AND NOT EXISTS (
    SELECT 1 FROM queue WHERE queue.event = events.seq AND queue.state IN ('queued', 'leased', 'blocked', 'dead')
);

-- name: events_delete_channel
DELETE FROM events WHERE namespace = :namespace AND channel = :channel AND NOT EXISTS (
    SELECT 1 FROM queue WHERE queue.event = events.seq AND queue.state IN ('queued', 'leased', 'blocked', 'dead')
);

-- name: catalog_forget
DELETE FROM catalog WHERE namespace = :namespace;

-- name: checkpoints_forget
DELETE FROM checkpoints WHERE namespace = :namespace;

-- name: queue_forget_namespace
DELETE FROM queue WHERE namespace = :namespace;

-- name: events_forget_namespace
DELETE FROM events WHERE namespace = :namespace;
