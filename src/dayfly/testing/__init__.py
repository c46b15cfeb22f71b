"""What tests need, ours and our users': a platform in memory, a clock that stands still. A public feature."""
