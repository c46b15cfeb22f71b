"""Who is attached to the node's network: instances and their pairs, with what each may reach."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ....clock import Clock
from ....model.network import Network as Reach
from ....model.network import parse
from ...port import BoxSpec
from ..reserve import Reserve
from .resolver import Resolver
from .router import Network, Pair

READY = 12  # pairs kept ready: more than start at a time


class Attachments:
    """`executor`: one thread, in which pairs are made."""

    def __init__(self, network: Network, *, clock: Clock, executor: ThreadPoolExecutor) -> None:
        self._network = network
        self._executor = executor
        self._ready: Reserve[str, Pair] = Reserve(
            lambda _: network.make(), network.release, depth=READY, clock=clock, executor=executor
        )
        self._attached: dict[str, Pair] = {}  # by address
        self._resolver = Resolver(network, self._attached.get)

    async def open(self) -> None:
        """Names are answered from now on. Raises OSError."""
        await self._resolver.open()

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
        self._network.release(pair)

    def close(self) -> None:
        self._ready.close()

    def end(self) -> None:
        """Take the network away, when nobody is attached any more and nothing is being made."""
        self._resolver.close()
        self._network.close()
