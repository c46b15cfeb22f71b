-- Secrets are encrypted (auth.seal). Those of an older version are, too, at the next start. The empty namespace is the server's own.
ALTER TABLE secrets ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
