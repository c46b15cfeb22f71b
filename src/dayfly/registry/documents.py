"""Documents of dialects: in the store, and whole in memory, since a call's decoding may have to look at one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from ..actions import DeleteDocument, GetDocument, ListDocuments, Page, Performers, PutDocument
from ..clock import Clock
from ..errors import BadInput, Conflict, NameInvalid, NotFound, TooLarge
from ..model.document import Document
from ..store.port import Store
from .registry import Registry

MAX_BYTES = 1 << 20  # of one document as JSON
_KIND = re.compile(r"[a-z][a-z0-9-]{0,30}/[a-z][a-z0-9-]{0,62}\Z")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,512}\Z")


class Documents:
    """Performs the actions on documents. Changes of one document take their turn by `expect`, not by a lock."""

    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._kinds: dict[tuple[str, str], dict[str, Document]] = {}  # (namespace, kind) -> name -> document

    def performers(self) -> Performers:
        """Who performs which action."""
        return {
            PutDocument: self.put,
            GetDocument: self.get,
            ListDocuments: self.list,
            DeleteDocument: self.delete,
        }

    async def load(self) -> None:
        """Read all of them once, at start."""
        for namespace, kind, name, version, body, created, updated in await self._store.fetch("documents_all"):
            document = Document(
                namespace=namespace,
                kind=kind,
                name=name,
                version=version,
                body=msgspec.json.decode(body),
                created=created,
                updated=updated,
            )
            self._kinds.setdefault((namespace, kind), {})[name] = document

    def find(self, namespace: str, kind: str, name: str) -> Document | None:
        known = self._kinds.get((namespace, kind))
        return known.get(name) if known is not None else None

    def all(self, namespace: str, kind: str, prefix: str = "") -> list[Document]:
        """Of one kind, by name."""
        known = self._kinds.get((namespace, kind), {})
        return [known[name] for name in sorted(known) if name.startswith(prefix)]

    def everywhere(self, kind: str) -> Iterator[Document]:
        """Of one kind, in all namespaces."""
        for (_, known), documents in self._kinds.items():
            if known == kind:
                yield from documents.values()

    async def put(self, action: PutDocument) -> Document:
        if _KIND.match(action.kind) is None or _NAME.match(action.name) is None:
            raise NameInvalid(f"{action.kind[:60]!r} {action.name[:100]!r} is not a name for a document")
        if action.namespace not in self._registry.namespaces:
            raise NotFound(f"there is no namespace {action.namespace[:100]!r}", hint="See: dayfly namespace ls")
        try:
            body = msgspec.json.encode(action.body)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadInput(f"a document is JSON: {error}") from None
        if len(body) > MAX_BYTES:
            raise TooLarge(f"the document {action.name[:100]!r} is larger than {MAX_BYTES} bytes", limit=MAX_BYTES)
        before = self._expected(action.namespace, action.kind, action.name, action.expect)
        now = self._clock.now()
        document = Document(
            namespace=action.namespace,
            kind=action.kind,
            name=action.name,
            version=before.version + 1 if before else 1,
            body=msgspec.json.decode(body),  # a copy of our own
            created=before.created if before else now,
            updated=now,
        )
        known = self._kinds.setdefault((action.namespace, action.kind), {})
        known[action.name] = document  # first here, so that of two who expect the same version only one goes on
        try:
            row = msgspec.structs.asdict(document) | {"body": body}
            await self._store.commit(
                ("document_put", row), notes=[("document", f"{action.namespace}/{action.kind}/{action.name}")]
            )
        except BaseException:
            if known.get(action.name) is document:
                if before is None:
                    del known[action.name]
                else:
                    known[action.name] = before
            raise
        return document

    async def get(self, action: GetDocument) -> Document:
        found = self.find(action.namespace, action.kind, action.name)
        if found is None:
            raise NotFound(f"there is no {action.kind} {action.name[:100]!r} in {action.namespace}")
        return found

    async def list(self, action: ListDocuments) -> Page[Document]:
        return Page(items=tuple(self.all(action.namespace, action.kind, action.prefix)))

    async def delete(self, action: DeleteDocument) -> None:
        before = self._expected(action.namespace, action.kind, action.name, action.expect)
        if before is None:
            raise NotFound(f"there is no {action.kind} {action.name[:100]!r} in {action.namespace}")
        known = self._kinds[action.namespace, action.kind]
        del known[action.name]
        row = {"namespace": action.namespace, "kind": action.kind, "name": action.name}
        try:
            await self._store.commit(
                ("document_delete", row), notes=[("document", f"{action.namespace}/{action.kind}/{action.name}")]
            )
        except BaseException:
            known.setdefault(action.name, before)
            raise

    def forget(self, namespace: str) -> None:
        """The namespace is gone, and its documents with it."""
        for key in [key for key in self._kinds if key[0] == namespace]:
            del self._kinds[key]

    def _expected(self, namespace: str, kind: str, name: str, expect: int | None) -> Document | None:
        """The document as it is; raises Conflict if it is not the version that the caller has seen."""
        before = self.find(namespace, kind, name)
        version = before.version if before else 0
        if expect is not None and expect != version:
            raise Conflict(
                f"{kind} {name[:100]!r} has version {version}, not {expect}"
                if version
                else f"there is no {kind} {name[:100]!r}",
                hint="Somebody else has changed it: read it again.",
            )
        return before
