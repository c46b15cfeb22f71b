"""Files that appear in a real folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dayfly.errors import BadInput
from tests.support.sources import Sourced

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


async def subjects(world: Sourced, count: int) -> list[str]:
    """The files that were told of, once there are so many."""
    found: list[str] = []

    async def enough() -> bool:
        nonlocal found
        found = [event.subject for event in await world.accepted()]
        return len(found) >= count

    while not await enough():
        await world.until(lambda: True)
    return found


async def test_a_file_that_is_written_or_moved_in_is_told_of_once(folder: Path, tmp_path: Path) -> None:
    (folder / "there.txt").write_text("before")
    async with Sourced(tmp_path / "db") as world:
        await world.trigger("files", path=str(folder), pattern="*.txt", settle_s=0.05)
        await world.running()
        assert await subjects(world, 1) == ["there.txt"]
        (folder / "other.csv").write_text("no")
        (folder / "new.txt").write_text("hello")
        assert await subjects(world, 2) == ["there.txt", "new.txt"]
        (tmp_path / "aside").write_text("whole")
        os.rename(tmp_path / "aside", folder / "moved.txt")
        assert await subjects(world, 3) == ["there.txt", "new.txt", "moved.txt"]
        await world.until(lambda: len(world.calls) == 3)
        assert json.loads(world.events[1].data or b"")["size"] == 5
    (folder / "while-down.txt").write_text("x")
    async with Sourced(tmp_path / "db") as world:
        await world.running()
        assert await subjects(world, 4) == ["there.txt", "new.txt", "moved.txt", "while-down.txt"]


async def test_a_file_is_not_told_of_before_it_is_whole(folder: Path) -> None:
    async with Sourced() as world:
        await world.trigger("files", path=str(folder), settle_s=0.3, content=True)
        await world.running()
        with open(folder / "big", "wb") as file:  # noqa: ASYNC230
            for _ in range(20):
                file.write(b"x" * 1000)
                file.flush()
                await world.store.fetch("events_last")
        assert await subjects(world, 1) == ["big"]
        [event] = await world.accepted()
        assert event.data == b"x" * 20_000


@pytest.mark.parametrize("after", ["delete", "move"])
async def test_files_can_be_put_away(folder: Path, tmp_path: Path, after: str) -> None:
    async with Sourced() as world:
        more: dict[str, Any] = {"move_to": str(tmp_path / "done")} if after == "move" else {}
        await world.trigger("files", path=str(folder), after=after, recursive=True, settle_s=0.05, content=True, **more)
        await world.running()
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_text("1")
        assert await subjects(world, 1) == ["deep/a"]
        await world.until(lambda: not (folder / "deep" / "a").exists())
        if after == "move":
            assert (tmp_path / "done" / "deep" / "a").read_text() == "1"


async def test_links_are_not_followed_and_old_files_can_be_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "old").write_text("old")
    (tmp_path / "secret").write_text("secret")
    async with Sourced() as world:
        await world.trigger("files", path=str(folder), existing=False, settle_s=0.05, content=True)
        await world.running()
        (folder / "link").symlink_to(tmp_path / "secret")
        (folder / "new").write_text("new")
        assert await subjects(world, 1) == ["new"]


async def test_a_folder_that_is_missing_shows_and_is_found_once_it_is_there(tmp_path: Path) -> None:
    async with Sourced() as world:
        await world.trigger("files", path=str(tmp_path / "later"), settle_s=0.05)
        await world.until(lambda: (health := world.runner.health("default", "t")) and "no folder" in health.error)
        (tmp_path / "later").mkdir()
        (tmp_path / "later" / "a").write_text("1")
        assert await subjects(world, 1) == ["a"]


@pytest.mark.parametrize(
    "settings",
    [{}, {"path": "relative"}, {"path": "/a/../etc"}, {"path": "/a", "after": "move"}, {"path": "/a", "move_to": "/b"}],
)
async def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    async with Sourced() as world:
        with pytest.raises(BadInput):
            await world.trigger("files", **settings)
