"""The naming rule of the native interface. Dialects bring their own in their profile."""

from __future__ import annotations

import re

END = r"$(?!\n)"  # of the text. In Python `$` alone also ends before a last newline, and JSON Schema does not know \Z

NAME_PATTERN = rf"^[a-z0-9]([a-z0-9_-]{{0,61}}[a-z0-9])?{END}"  # DNS label, with `_` for Python people; at most 63 characters
ALIAS_PATTERN = rf"^(?![0-9]+$)[A-Za-z0-9_-]{{1,128}}{END}"  # all digits would read as a revision number
ENV_PATTERN = rf"^[A-Za-z_][A-Za-z0-9_]{{0,255}}{END}"
SECRET_PATTERN = rf"^[A-Za-z0-9_.-]{{1,127}}{END}"

DEFAULT_NAMESPACE = "default"

_NAME = re.compile(NAME_PATTERN)
_ALIAS = re.compile(ALIAS_PATTERN)


def valid_name(name: str) -> bool:
    """Whether the name follows the native rule for functions and namespaces."""
    return _NAME.match(name) is not None


def valid_alias(name: str) -> bool:
    """Whether the name can be an alias or a traffic tag."""
    return _ALIAS.match(name) is not None
