"""Objects in buckets: their bytes are files (`blobs`), what is known of them stands in the store (`buckets`)."""
