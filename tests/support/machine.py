"""What a test asks of the machine that it runs on."""

from __future__ import annotations

import pytest

from dayfly.sandbox.node.interpreters import find

needs_node = pytest.mark.skipif("node" not in find(), reason="there is no Node on this machine")
