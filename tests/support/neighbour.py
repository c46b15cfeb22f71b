"""A function of somebody else that is called all the while and must always answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.site import Site

SOURCE = "def handler(event, context):\n    return event\n"


@asynccontextmanager
async def neighbour(site: Site) -> AsyncIterator[None]:
    """Call it from here to the end of the block, and at least twice after what happened in it."""
    await site.deploy("neighbour", SOURCE)
    stop = False
    answered = 0

    async def keep_calling() -> None:
        nonlocal answered
        while not stop:
            answer = await site.call("neighbour", {"n": answered})
            assert (answer.status_code, answer.json()) == (200, {"n": answered}), answer.text
            answered += 1
            await asyncio.sleep(0.005)

    task = asyncio.ensure_future(keep_calling())
    try:
        yield
    finally:
        before = answered
        while answered < before + 2 and not task.done():
            await asyncio.sleep(0.005)
        stop = True
        await task
    assert answered >= 2
