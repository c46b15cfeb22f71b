"""A module that cannot be loaded."""

answer = 42

raise KeyError("the configuration is missing")
