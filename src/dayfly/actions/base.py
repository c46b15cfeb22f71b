"""What all actions share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from msgspec import Struct

from ..model.names import DEFAULT_NAMESPACE

T = TypeVar("T")
Performer = Callable[[Any], Awaitable[Any]]  # of one action; gives its outcome
Performers = dict[type, Performer]  # by the class of action


class Action(Struct, frozen=True, kw_only=True):
    """Base of all actions."""

    namespace: str = DEFAULT_NAMESPACE


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """A piece of a list; `cursor` is empty on the last one."""

    items: tuple[T, ...]
    cursor: str = ""
