"""An event for filters to look at."""

from __future__ import annotations

import json
from typing import Any

REQUIRED = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "tests.happened"}


class Seen:
    def __init__(self, data: Any = None, **attributes: str | int | bool) -> None:
        self.attributes = REQUIRED | attributes
        self.data = None if data is None else data if isinstance(data, bytes) else json.dumps(data).encode()

    def attribute(self, name: str) -> str | int | bool | None:
        return self.attributes.get(name)
