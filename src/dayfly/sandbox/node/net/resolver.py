"""Names for instances: a small forwarder at the address every instance asks.

It stands on the node's side because the machine's own resolver is often out of an instance's reach (127.0.0.53, or private), and because
an allow-list of names has to be kept where names are resolved. Instances that may connect everywhere have their questions passed on as
they are. For one with an allow-list only the names on it are asked for, so nothing leaks through questions, and the addresses
that come back are opened to that instance alone, for as long as the answer holds. Which addresses may be reached at all is decided on
packets, so a name that points into a private network opens nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from . import rules
from .router import Network, Pair

if TYPE_CHECKING:
    import dns.message

ANSWER_TIMEOUT = 2.0  # seconds for each of the machine's resolvers
AT_ONCE = 512  # questions under way
AT_ONCE_EACH = 32  # of one instance
LEAST_HELD = 60  # seconds that an address is open at least: what has just been resolved is connected to a little later
MOST_HELD = 3600
MOST_ADDRESSES = 32  # of one answer that are opened
MAX_QUESTION = 1232  # bytes

_UPSTREAM = Path("/etc/resolv.conf")


class Resolver:
    """`find`: the pair with this address, if an instance has it."""

    def __init__(self, network: Network, find: Callable[[str], Pair | None]) -> None:
        self._network = network
        self._find = find
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: dict[str, int] = {}

    async def open(self) -> None:
        """Answer from now on. Raises OSError."""
        loop = asyncio.get_running_loop()
        listening = self._network.listen(socket.SOCK_DGRAM, rules.DNS_PORT)
        transport, _ = await loop.create_datagram_endpoint(lambda: _Questions(self), sock=listening)
        self._transport = transport
        self._server = await asyncio.start_server(self._stream, sock=self._network.listen(socket.SOCK_STREAM, rules.DNS_PORT))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    def asked(self, question: bytes, peer: tuple[str, int]) -> None:
        """A datagram of an instance. Too many at once: it gets no answer, and asks again."""
        if len(self._tasks) < AT_ONCE and len(question) <= MAX_QUESTION:
            task = asyncio.ensure_future(self._reply(question, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reply(self, question: bytes, peer: tuple[str, int]) -> None:
        answer = await self._answer(question, peer[0], stream=False)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, peer)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question over TCP: what was too long for a datagram."""
        try:
            async with asyncio.timeout(3 * ANSWER_TIMEOUT):
                (length,) = struct.unpack(">H", await reader.readexactly(2))
                question = await reader.readexactly(length)
                answer = await self._answer(question, writer.get_extra_info("peername")[0], stream=True)
                if answer is not None:
                    writer.write(struct.pack(">H", len(answer)) + answer)
                    await writer.drain()
        except (OSError, EOFError, TimeoutError):
            pass
        finally:
            writer.close()

    async def _answer(self, question: bytes, address: str, *, stream: bool) -> bytes | None:
        pair = self._find(address)
        if pair is None or self._asking.get(address, 0) >= AT_ONCE_EACH:
            return None
        self._asking[address] = self._asking.get(address, 0) + 1
        try:
            if pair.allowed is None:
                answer = await ask(question, stream=stream)
            else:
                answer = await self._allowed(question, pair, stream=stream)
            return answer or failure(question)
        finally:
            self._asking[address] -= 1
            if not self._asking[address]:
                del self._asking[address]

    async def _allowed(self, question: bytes, pair: Pair, *, stream: bool) -> bytes | None:
        """The answer for an instance with an allow-list; addresses it names are open when it gets there."""
        import dns.exception
        import dns.message
        import dns.opcode
        import dns.rcode

        try:
            asked = dns.message.from_wire(question)
        except dns.exception.DNSException:
            return None
        if asked.opcode() != dns.opcode.QUERY or len(asked.question) != 1:
            return None
        name = asked.question[0].name.to_text(omit_final_dot=True).lower()
        if not any(entry.names(name) for entry in pair.allowed or ()):
            refusal = dns.message.make_response(asked)
            refusal.set_rcode(dns.rcode.NXDOMAIN)  # of all refusals the one that programs give up on at once
            return refusal.to_wire()
        # Asked anew: what else the question held, options and further records, stays here.
        query = dns.message.make_query(asked.question[0].name, asked.question[0].rdtype, id=asked.id, use_edns=0)
        answer = await ask(query.to_wire(), stream=stream)
        if answer is None:
            return None
        try:
            found = dns.message.from_wire(answer)
        except dns.exception.DNSException:
            return None
        addresses, seconds = _addresses(found)
        if addresses and self._find(pair.address) is pair:  # its instance may have gone meanwhile
            try:
                self._network.learn(pair, name, addresses, seconds, asyncio.get_running_loop().time())
            except OSError:
                return None
        return answer


class _Questions(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._resolver.asked(data, addr)


class _Answer(asyncio.DatagramProtocol):
    """Takes the one datagram that answers a question."""

    def __init__(self, question: bytes) -> None:
        self._number = question[:2]
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:2] == self._number and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


def failure(question: bytes) -> bytes | None:
    """Says to a question that it cannot be answered now (SERVFAIL), without reading more of it than the header."""
    if len(question) < 12:
        return None
    flags = (question[2] & 0x79) | 0x80, 0x82  # an answer to the same kind of question; recursion is available
    return question[:2] + bytes(flags) + question[4:6] + bytes(6) + question[12:]


async def ask(question: bytes, *, stream: bool) -> bytes | None:
    """What the machine's resolvers answer, the first that does."""
    for server in upstream():
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await (_ask_stream if stream else _ask_datagram)(question, server)
        except (OSError, EOFError, TimeoutError):
            continue
    return None


async def _ask_datagram(question: bytes, server: str) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Answer(question), remote_addr=(server, 53))
    try:
        transport.sendto(question)
        return await protocol.answer
    finally:
        transport.close()


async def _ask_stream(question: bytes, server: str) -> bytes:
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(struct.pack(">H", len(question)) + question)
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        return await reader.readexactly(length)
    finally:
        writer.close()


def upstream(path: Path = _UPSTREAM) -> list[str]:
    """The machine's resolvers, as it names them now."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return []
    found = []
    for words in lines:
        if len(words) > 1 and words[0] == "nameserver":
            try:
                found.append(str(ipaddress.ip_address(words[1])))
            except ValueError:
                continue
    return found[:3]


def _addresses(answer: dns.message.Message) -> tuple[list[str], int]:
    """The IPv4 addresses in an answer, and for how many seconds they are open."""
    import dns.rdatatype

    addresses: list[str] = []
    seconds = MOST_HELD
    for group in answer.answer:
        seconds = min(seconds, group.ttl)
        if group.rdtype == dns.rdatatype.A:
            addresses += [record.to_text() for record in group]
    return addresses[:MOST_ADDRESSES], max(LEAST_HELD, seconds)
