"""PostgreSQL: an outbox table, or notifications."""
