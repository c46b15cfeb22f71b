"""Apache OpenWhisk's REST API, version 1: actions, packages, triggers, rules, activations and web actions.

Every action is a function, so it is visible and callable in all other ways, too. What OpenWhisk says of an action beside that (parameters,
annotations, its version) is a document.
"""

from __future__ import annotations

from .routes import dialect

__all__ = ["dialect"]
