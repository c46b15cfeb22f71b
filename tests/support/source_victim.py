"""A server's part that has to do with sources, in a process of its own, to be killed: DATABASE. Its triggers are in the database."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from tests.support.sources import Sourced


async def main(path: Path) -> None:
    async with Sourced(path) as world:
        await world.running()
        print("running", flush=True)
        await asyncio.Event().wait()


uvloop.run(main(Path(sys.argv[1])))
