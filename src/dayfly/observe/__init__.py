"""What happened: invocations, usage, logs and metrics, keyed by invocation id. All of it is written after the answer."""
