"""The audit log: every change with who, what, when, from where, and what came of it; no value of a secret."""

from __future__ import annotations

from typing import Any

import pytest

from dayfly import actions as a
from dayfly.auth.audit import FAILURES, Audit
from dayfly.auth.policy import CHANGES, OWNS
from dayfly.errors import Forbidden, NotFound
from dayfly.model.identity import LOCAL, Identity
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock
from tests.support.site import Site

pytestmark = pytest.mark.anyio


async def read(site: Site, **query: Any) -> list[Any]:
    return (await site.api("GET", "/audit", params=query))["items"]


async def test_changes_are_written_down_with_who_and_from_where_and_looks_are_not(site: Site) -> None:
    await site.api("PUT", "/secrets/audited", json={"value": "never to be seen"})
    await site.deploy("audited", "def handler(event, context):\n    return 1\n", env={"TOKEN": "nor this"})
    made = await site.api("POST", "/keys", json={"name": "auditor", "roles": ["viewer"]})
    shown = {"authorization": f"Bearer {made['secret']}"}
    assert (await site.http.delete("/v1/namespaces/default/functions/audited", headers=shown)).status_code == 403
    await site.call("audited")
    await site.api("GET", "/functions")
    records = await read(site, limit=4)
    refused, key, function, secret = records
    assert (refused["action"], refused["identity"], refused["outcome"]) == ("DeleteFunction", "auditor", "forbidden")
    assert refused["identity_id"] == made["key"]["id"]
    assert (key["action"], key["target"], key["detail"]["roles"]) == ("CreateKey", "auditor", ["viewer"])
    assert (function["action"], function["target"], function["outcome"]) == ("PutFunction", "audited", "done")
    assert (secret["action"], secret["target"], secret["identity"], secret["peer"]) == (
        "PutSecret",
        "audited",
        "local",
        "127.0.0.1",
    )
    text = repr(records)
    for value in ("never to be seen", "nor this", made["secret"]):
        assert value not in text
    assert (await site.http.get("/v1/namespaces/default/audit", headers=shown)).status_code == 403, "it is the owner's"


async def test_the_log_is_read_page_by_page(site: Site) -> None:
    for number in range(5):
        await site.api("PUT", f"/secrets/page{number}", json={"value": "x"})
    first = await site.api("GET", "/audit", params={"limit": 2})
    second = await site.api("GET", "/audit", params={"limit": 2, "cursor": first["cursor"]})
    assert [record["target"] for page in (first, second) for record in page["items"]] == ["page4", "page3", "page2", "page1"]


def test_every_change_is_audited() -> None:
    from dayfly.auth.audit import _AUDITED

    assert _AUDITED | {a.ListKeys, a.ReadAudit} >= CHANGES | OWNS


async def test_refusals_cannot_push_the_changes_of_others_out() -> None:
    store, clock = SqliteStore(None), FakeClock()
    await store.open()
    audit = Audit(store, clock)

    async def perform(action: Any, identity: Identity) -> None:
        if action.name == "refused":
            raise Forbidden("no")
        if action.name == "missing":
            raise NotFound("no")

    guarded = audit.guard(perform)
    await guarded(a.DeleteFunction(name="mine"), LOCAL)
    for _ in range(1000):
        with pytest.raises(Forbidden):
            await guarded(a.DeleteFunction(name="refused"), Identity(name="eve"))
    page = await audit.read(a.ReadAudit(limit=1000))
    assert [record.target for record in page.items] == ["refused"] * int(FAILURES) + ["mine"]
    assert audit.dropped == 1000 - FAILURES
    clock.advance(1)
    with pytest.raises(NotFound):
        await guarded(a.DeleteFunction(name="missing"), LOCAL)
    assert (await audit.read(a.ReadAudit(limit=1))).items[0].outcome == "not-found"
    await store.close()
