"""S3, as far as tools for functions use it: buckets, objects and uploads in parts, over the core's objects."""
