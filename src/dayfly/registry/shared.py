"""Equal parts of revisions, held once: ten thousand functions mostly differ in little but their names."""

from __future__ import annotations

import hashlib
import sys
from typing import TypeVar
from weakref import WeakValueDictionary

import msgspec
from msgspec.structs import replace

from ..model.function import Artifact, Config, Function, Revision

_DIGEST = 16  # bytes; as a key, instead of the content itself

T = TypeVar("T", Config, Artifact)


class Shared:
    """What is in use, by content; what nobody uses any more goes by itself."""

    def __init__(self) -> None:
        self._configs: WeakValueDictionary[bytes, Config] = WeakValueDictionary()
        self._artifacts: WeakValueDictionary[bytes, Artifact] = WeakValueDictionary()

    def revision(self, revision: Revision, function: Function) -> Revision:
        """The same revision of this function, of parts that others hold already."""
        return replace(
            revision,
            namespace=function.namespace,
            function=function.name,
            config=_one(self._configs, revision.config),
            artifact=_one(self._artifacts, revision.artifact),
            profile=sys.intern(revision.profile),
        )


def named(function: Function) -> Function:
    """The same function, its namespace and profile held once for all."""
    return replace(function, namespace=sys.intern(function.namespace), profile=sys.intern(function.profile))


def _one(known: WeakValueDictionary[bytes, T], value: T) -> T:
    key = hashlib.blake2b(msgspec.json.encode(value), digest_size=_DIGEST).digest()
    return known.setdefault(key, value)
