"""AWS Lambda, as boto3, the aws CLI and SAM speak to it; with the few calls of other services that these make on the way.

One endpoint for all services, as local implementations have it (port 4566): requests of Lambda have paths of their own, all others come to
`/` and are told apart by the scope of their signature.
"""

from __future__ import annotations

from ..hook import Dialect, Mount, View
from .dialect import aws
from .urlcalls import function_urls


def dialect(view: View) -> Dialect:
    """All services."""
    return aws(view)


def further(view: View, listener: str) -> tuple[Mount, ...]:
    """Function URLs have host names of their own: `<id>.lambda-url.<region>.localhost`."""
    return (Mount(dialect=function_urls(view), hosts=("*.localhost",), listener=listener),)
