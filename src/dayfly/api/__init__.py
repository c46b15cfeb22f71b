"""The native control API under `/v1`: REST, server-sent events, OpenAPI 3.1.

One file a resource, and in it a table of `Endpoint`s. Routing, validation, the answers and the OpenAPI description all come from these
tables, so they cannot disagree.
"""

from .app import create_app

__all__ = ["create_app"]
