"""Who is attached to the node's network: instances and their pairs, with what each may reach."""

from __future__ import annotations

import asyncio
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ....clock import Clock
from ....model.network import Network as Reach
from ....model.network import parse
from ...addresses import reachable
from ...port import BoxSpec
from ..reserve import Reserve
from .resolver import Resolver
from .router import Network, Pair
from .rules import SERVICES_PORT

READY = 12  # pairs kept ready: more than start at a time


class Attachments:
    """`executor`: one thread, in which pairs are made."""

    def __init__(self, network: Network, *, clock: Clock, executor: ThreadPoolExecutor) -> None:
        self._network = network
        self._executor = executor
        self._ready: Reserve[str, Pair] = Reserve(
            lambda _: network.make(),
            network.release,
            depth=READY,
            clock=clock,
            executor=executor,
            as_new=network.untouched,
        )
        self._attached: dict[str, Pair] = {}  # by address
        self._resolver = Resolver(network, self._attached.get)

    async def open(self, door: Path) -> None:
        """Names are answered from now on, and whoever connects to `door`, a Unix socket, gets the one that instances call the
        platform at: who serves it need not be able to make it. Raises OSError."""
        await self._resolver.open()
        self._services = self._network.listen(socket.SOCK_STREAM, SERVICES_PORT, "")
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with reachable(door) as address:
            self._door.bind(address)
        os.chmod(door, 0o600)
        self._door.listen(4)
        self._door.setblocking(False)
        asyncio.get_running_loop().add_reader(self._door, self._hand_out)

    def _hand_out(self) -> None:
        try:
            visitor, _ = self._door.accept()
        except BlockingIOError:
            return
        with visitor:
            try:
                socket.send_fds(visitor, [b"s"], [self._services.fileno()])
            except OSError:
                pass  # it has left again

    def take(self) -> Pair:
        """A pair for an instance that is about to start. Raises OSError."""
        pair = self._ready.take("") or self._executor.submit(self._network.make).result()
        self._attached[pair.address] = pair
        return pair

    def fit(self, pair: Pair, spec: BoxSpec) -> None:
        """Let it reach what this function may. Raises OSError, or ValueError if the allow-list cannot be read."""
        if spec.network == Reach.ALLOW:
            self._network.restrict(pair, tuple(parse(entry) for entry in spec.allow))
        if spec.bandwidth_mbit:
            self._network.cap(pair, spec.bandwidth_mbit)

    def release(self, pair: Pair) -> None:
        """Its instance is gone."""
        del self._attached[pair.address]
        self._ready.give_back("", pair)

    def close(self) -> None:
        self._ready.close()

    def end(self) -> None:
        """Take the network away, when nobody is attached any more and nothing is being made."""
        self._resolver.close()
        asyncio.get_running_loop().remove_reader(self._door)
        self._door.close()
        self._services.close()
        self._network.close()
