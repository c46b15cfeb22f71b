"""The naming rule of the native interface. Dialects bring their own in their profile."""

from __future__ import annotations

import re

NAME_PATTERN = r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$"  # DNS label, with `_` for Python people; at most 63 characters
ALIAS_PATTERN = r"^(?![0-9]+$)[A-Za-z0-9_-]{1,63}$"  # all digits would read as a revision number
ENV_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,255}$"
SECRET_PATTERN = r"^[A-Za-z0-9_.-]{1,127}$"

DEFAULT_NAMESPACE = "default"

_NAME = re.compile(NAME_PATTERN.replace("$", r"\Z"))
_ALIAS = re.compile(ALIAS_PATTERN.replace("$", r"\Z"))


def valid_name(name: str) -> bool:
    """Whether the name follows the native rule for functions and namespaces."""
    return _NAME.match(name) is not None


def valid_alias(name: str) -> bool:
    """Whether the name can be an alias or a traffic tag."""
    return _ALIAS.match(name) is not None
