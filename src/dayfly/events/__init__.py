"""Calls and events that nobody waits for: durable before they are acknowledged, then delivered at least once."""
