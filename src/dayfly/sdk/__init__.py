"""What user functions import. Inside a sandbox the same class is `dayfly_sdk.Response`; this is for tests on your own machine."""

from __future__ import annotations

from ..runtime.python.sdk import Response

__all__ = ["Response"]
