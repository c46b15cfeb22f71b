"""The view of somebody: what is deployed where they may look, and nothing of the rest."""

from __future__ import annotations

from ...errors import Forbidden
from ...model.document import Document
from ...model.function import Function, Revision
from ...model.identity import ANONYMOUS, Identity
from ..hook import View


class Visible:
    """A View. Raises Forbidden for a namespace in which the identity may not look; a function sees itself."""

    def __init__(self, view: View, identity: Identity | None) -> None:
        self._view = view
        self._identity = identity or ANONYMOUS

    def function(self, namespace: str, name: str) -> Function | None:
        return self._for(namespace, name).function(namespace, name)

    def functions(self, namespace: str) -> list[Function]:
        return self._for(namespace).functions(namespace)

    def revision(self, namespace: str, name: str, qualifier: str = "") -> Revision | None:
        return self._for(namespace, name).revision(namespace, name, qualifier)

    def document(self, namespace: str, kind: str, name: str) -> Document | None:
        return self._for(namespace, name).document(namespace, kind, name)

    def documents(self, namespace: str, kind: str, prefix: str = "") -> list[Document]:
        return self._for(namespace).documents(namespace, kind, prefix)

    def _for(self, namespace: str, name: str = "") -> View:
        who = self._identity
        if not who.looks(namespace) and not (who.instance and who.id == f"function:{namespace}/{name}"):
            raise Forbidden(f"{who.name} may not look at what is deployed in namespace {namespace!r}.")
        return self._view
