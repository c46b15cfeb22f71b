"""The nouns of the platform as plain immutable data. No I/O here, and nothing of ours is imported."""
