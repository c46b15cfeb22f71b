"""What dialects may look at without waiting: this cell's own copy (`dialects.hook.View`)."""

from __future__ import annotations

from ..errors import NotFound
from ..model.document import Document
from ..model.function import Function, Revision
from .documents import Documents
from .registry import Registry


class RegistryView:
    def __init__(self, registry: Registry, documents: Documents) -> None:
        self._registry = registry
        self._documents = documents

    def function(self, namespace: str, name: str) -> Function | None:
        route = self._registry.find(namespace, name)
        return route.function if route is not None else None

    def functions(self, namespace: str) -> list[Function]:
        return self._registry.functions(namespace)

    def revision(self, namespace: str, name: str, qualifier: str = "") -> Revision | None:
        try:
            return self._registry.resolve(namespace, name, qualifier)
        except NotFound:
            return None

    def document(self, namespace: str, kind: str, name: str) -> Document | None:
        return self._documents.find(namespace, kind, name)

    def documents(self, namespace: str, kind: str, prefix: str = "") -> list[Document]:
        return self._documents.all(namespace, kind, prefix)
