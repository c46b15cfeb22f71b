"""Packages as callers bring and read them, and how long those are kept that nothing needs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..actions import Performers, PutPackage, ReadArchive, ReadPackage
from ..build.packages import PackageStore
from ..clock import Clock
from ..model.document import Document
from ..model.package import Archive, Package
from .documents import Documents
from .registry import Registry

TIDY_EVERY = 1800.0  # seconds

Needs = Mapping[str, Callable[[Document], Iterable[str]]]  # by kinds of documents: the packages that one of them speaks of

log = logging.getLogger(__name__)


class Uploads:
    """`needs`: of each dialect."""

    def __init__(
        self, store: PackageStore, registry: Registry, documents: Documents, needs: Sequence[Needs], clock: Clock
    ) -> None:
        self._store = store
        self._registry = registry
        self._documents = documents
        self._needs = needs
        self._clock = clock

    def performers(self) -> Performers:
        """Who performs which action."""
        return {PutPackage: self.put, ReadPackage: self.read, ReadArchive: self.archive}

    async def put(self, action: PutPackage) -> Package:
        return await self._store.put(action.data, action.filename, keep=action.keep)

    async def read(self, action: ReadPackage) -> dict[str, bytes]:
        route = self._registry.route(action.namespace, action.name)
        revision = self._registry.resolve(action.namespace, action.name, str(action.revision or route.function.latest))
        return await asyncio.to_thread(self._store.read, revision.artifact.digest)

    async def archive(self, action: ReadArchive) -> Archive:
        return await asyncio.to_thread(self._store.archive, action.digest, action.sha256)

    async def keep_tidy(self) -> None:
        """`tidy` once in a while, until it is cancelled."""
        while True:
            await self._clock.sleep(TIDY_EVERY)
            try:
                await self.tidy()
            except OSError:
                log.exception("packages could not be tidied")

    async def tidy(self) -> None:
        """Throw away packages that no revision mounts and no document speaks of. Raises OSError."""
        spoken_of = (
            digest
            for needs in self._needs
            for kind, digests in needs.items()
            for document in self._documents.everywhere(kind)
            for digest in digests(document)
        )
        await self._store.collect(self._registry.artifacts(), spoken_of)
