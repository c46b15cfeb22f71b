-- What has not ended, or ended as a dead letter, is listed among the calls, newest first, however much has ended since.

CREATE INDEX queue_listed ON queue (namespace, id) WHERE state IN ('queued', 'leased', 'blocked', 'dead');
