"""Where instances live: the port and its implementations."""
