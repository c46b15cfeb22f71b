"""A server in miniature that is made to be killed: it enqueues, delivers, records and logs as fast as it can.

Every line it prints is a promise: `+id` once an asynchronous call is accepted, `=key id` once a call under an idempotency key is.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys

from dayfly.actions import Invoke
from dayfly.clock import SystemClock
from dayfly.events.queue import AsyncQueue
from dayfly.model.call import Invocation, Mode, Result, Status, Timings
from dayfly.model.ids import new_id
from dayfly.model.log import LogLine
from dayfly.observe.logs import LogStore
from dayfly.observe.recorder import Recorder
from dayfly.store.sqlite import SqliteStore
from tests.support.events import delivery_of_calls

PUBLISHERS = 16


def promise(text: str) -> None:
    os.write(1, text.encode() + b"\n")


async def main(path: str, seed: int) -> None:
    rng = random.Random(seed)
    clock = SystemClock()
    store = SqliteStore(path)
    await store.open()
    recorder, logs, queue = Recorder(store, clock), LogStore(store, clock), AsyncQueue(store, clock)
    await recorder.open()
    await logs.open()

    def record(id: str, function: str, mode: Mode) -> None:
        recorder.record(
            Invocation(
                id=id,
                namespace="default",
                function=function,
                revision=1,
                mode=mode,
                status=rng.choice((Status.OK, Status.OK, Status.ERROR, Status.REJECTED)),
                cold=rng.random() < 0.1,
                started=clock.now() - rng.choice((0.0, 3600.0)),
                timings=Timings(),
                billed_ms=rng.randrange(1, 1000),
                memory_mb=rng.choice((128, 256, 1024)),
                cpu_us=rng.randrange(1000),
            )
        )
        line = LogLine(
            time=clock.now(),
            namespace="default",
            function=function,
            revision=1,
            instance="i",
            invocation=id,
            stream="stdout",
            text="x" * rng.randrange(200),
        )
        logs.append([line])

    async def run(invoke: Invoke) -> Result:
        await asyncio.sleep(0)
        record(invoke.invocation, invoke.function, Mode.ASYNC)
        return Result(invocation=invoke.invocation)

    delivery = delivery_of_calls(queue, run)
    await delivery.start()

    async def publish(number: int) -> None:
        while True:
            function = f"f{rng.randrange(5)}"
            invoke = Invoke(namespace="default", function=function, body=rng.randbytes(rng.randrange(2000)))
            promise("+" + await queue.enqueue(invoke))
            if rng.random() < 0.2:
                key = f"{seed}-{rng.randrange(100)}"
                keyed = Invoke(namespace="default", function="keyed", idempotency_key=key)
                promise(f"={key} " + await queue.enqueue(keyed))
            for _ in range(20):
                record(new_id(), function, Mode.SYNC)

    await asyncio.gather(*(publish(i) for i in range(PUBLISHERS)))


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
