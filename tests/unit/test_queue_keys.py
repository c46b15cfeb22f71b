"""Items with equal keys: whatever happens to them, in whatever order, they go out in the order in which they came in."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from dayfly.events.items import Item, New, puts
from dayfly.events.keyed import go_along
from dayfly.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio
LANE = {"namespace": "n", "lane": "q:x"}
ACTS = (
    "put",
    "put",
    "put",
    "lease",
    "lease",
    "queue_ack",
    "queue_end",
    "queue_retry",
    "queue_release",
    "queue_unlease",
    "expire",
    "cancel",
)


class World:
    def __init__(self, store: SqliteStore, path: Path, seed: int) -> None:
        self.store = store
        self.reader = sqlite3.connect(path)
        self.dice = random.Random(seed)
        self.now = 1000.0
        self.made = 0
        self.out: list[Item] = []

    def open(self, key: str) -> list[tuple[str, str]]:
        """(id, state) of what is not over, in the order in which it came."""
        query = "SELECT id, state FROM queue WHERE key = ? AND state IN ('queued', 'leased', 'blocked') ORDER BY seq"
        return self.reader.execute(query, (key,)).fetchall()

    async def step(self) -> None:
        self.now += 1.0
        act = self.dice.choice(ACTS)
        if act == "put":
            late = self.dice.choice((0.0, 0.0, 0.0, 20.0))
            item = New(f"{self.made:032x}", "n", "q:x", self.now + late, self.now, b"", key=self.dice.choice("ab"))
            self.made += 1
            await self.store.commit(*puts(item))
        elif act == "lease":
            await self.lease()
        elif act == "expire":
            await self.store.commit(("queue_expire", {"now": self.now}))
        elif act == "cancel":
            row = {"id": f"{self.dice.randrange(self.made + 1):032x}", "ended": self.now, "last_error": ""}
            await self.store.commit(("queue_cancel", row))
        elif self.out:
            item = self.out.pop(self.dice.randrange(len(self.out)))
            row = {"id": item.id, "epoch": item.epoch, "now": self.now, "due": self.now + self.dice.randint(0, 5)}
            row |= {"state": "done", "attempt": 1, "ended": self.now, "last_error": "", "condition": "", "deferrals": 0}
            await self.store.commit((act, row))

    async def lease(self) -> None:
        before = {key: self.open(key) for key in "ab"}
        lease = {"holder": "receiver", "until": self.now + 10, "now": self.now, "limit": self.dice.randint(1, 3)} | LANE
        [effect] = await self.store.commit(("queue_lease", lease))
        heads = [Item(*row[1:]) for row in effect.rows]
        more = await go_along(self.store, lease, heads, self.dice.randint(0, 4), lambda _: self.dice.random() < 0.8)
        self.out += heads + more
        for key in "ab":
            mine = [item.id for item in sorted(heads + more) if item.key == key]
            if mine:
                assert all(state != "leased" for _, state in before[key])
                assert mine == [id for id, _ in before[key]][: len(mine)]

    def check(self) -> None:
        for key in "ab":
            states = [state for _, state in self.open(key)]
            if "leased" in states:
                assert "queued" not in states, states
            else:
                assert states == ["queued"] * bool(states) + ["blocked"] * (len(states) - 1), states


@pytest.mark.parametrize("seed", range(12))
async def test_of_a_key_either_some_are_out_or_the_first_may_go(tmp_path: Path, seed: int) -> None:
    store = SqliteStore(tmp_path / "d.db")
    await store.open()
    world = World(store, tmp_path / "d.db", seed)
    try:
        for _ in range(250):
            await world.step()
            world.check()
    finally:
        world.reader.close()
        await store.close()
