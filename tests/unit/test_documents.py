"""Documents: compare and swap, bounds, and what is left after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from dayfly.actions import DeleteDocument, GetDocument, ListDocuments, PutDocument
from dayfly.errors import BadInput, Conflict, NameInvalid, NotFound, TooLarge
from dayfly.registry.documents import Documents
from dayfly.registry.registry import Registry
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    made = SqliteStore(None)
    await made.open()
    await made.commit(("namespace_put", {"name": "default", "created": 0.0}))
    yield made
    await made.close()


async def documents_of(store: SqliteStore) -> Documents:
    registry = Registry(store)
    await registry.load()
    documents = Documents(store, registry, FakeClock())
    await documents.load()
    return documents


def put(name: str = "a", expect: int | None = None, kind: str = "x/thing", **body: object) -> PutDocument:
    return PutDocument(kind=kind, name=name, body=body, expect=expect)


async def test_versions_count_and_outlive_a_restart(store: SqliteStore) -> None:
    documents = await documents_of(store)
    assert (await documents.put(put(n=1))).version == 1
    second = await documents.put(put(n=2, expect=1))
    assert second.version == 2
    again = await documents_of(store)
    assert await again.get(GetDocument(kind="x/thing", name="a")) == second
    await again.delete(DeleteDocument(kind="x/thing", name="a"))
    assert (await documents_of(store)).find("default", "x/thing", "a") is None


async def test_of_two_who_have_seen_the_same_version_one_goes_on(store: SqliteStore) -> None:
    documents = await documents_of(store)
    for expect in (0, 1):
        tries = await asyncio.gather(*(documents.put(put(n=n, expect=expect)) for n in range(5)), return_exceptions=True)
        assert [type(one) for one in tries].count(Conflict) == 4
    with pytest.raises(Conflict):
        await documents.delete(DeleteDocument(kind="x/thing", name="a", expect=1))


async def test_lists_are_by_name_and_prefix(store: SqliteStore) -> None:
    documents = await documents_of(store)
    for name in ("b/2", "a", "b/1"):
        await documents.put(put(name))
    await documents.put(put("b/3", kind="x/other"))
    assert [one.name for one in (await documents.list(ListDocuments(kind="x/thing", prefix="b/"))).items] == ["b/1", "b/2"]


async def test_what_is_no_document(store: SqliteStore) -> None:
    documents = await documents_of(store)
    for kind, name in (("thing", "a"), ("X/thing", "a"), ("x/thing", ""), ("x/thing", "a\n"), ("x/thing", "a" * 513)):
        with pytest.raises(NameInvalid):
            await documents.put(put(name, kind=kind))
    with pytest.raises(BadInput):
        await documents.put(put(n=object()))
    with pytest.raises(TooLarge):
        await documents.put(put(n="x" * (1 << 20)))
    with pytest.raises(NotFound):
        await documents.put(PutDocument(namespace="nowhere", kind="x/thing", name="a", body={}))
    with pytest.raises(NotFound):
        await documents.delete(DeleteDocument(kind="x/thing", name="a"))
