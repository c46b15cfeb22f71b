"""What a server and a node agent say to each other.

Each message is one msgpack object behind its length (u32, little-endian), on a stream. Requests that want an answer carry a number
and the answer repeats it; what happens by itself (an exit, lines of log) is pushed. No message holds a descriptor or assumes a shared
process: an instance is named by its id, its socket by an address. So the same conversation can later run between machines.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec
from msgspec import Struct

from ..port import BoxSpec, JobSpec

VERSION: Final = 2  # of this protocol; a server replaces an agent that speaks another
MAX_MESSAGE: Final = 64 << 20  # bytes

# --- server to agent ------------------------------------------------------------------------------------------------


class Hello(Struct, frozen=True, tag="hello"):
    """First message of a server. Answer: Welcome or Refused."""

    version: int
    isolation: str
    pid: int
    tenants: bool = False  # each namespace gets zygotes of its own


class Create(Struct, frozen=True, tag="create"):
    """Start an instance. What follows: Created, in the end Exited; only Exited if it cannot be started."""

    spec: BoxSpec


class Destroy(Struct, frozen=True, tag="destroy"):
    """End an instance, `after` seconds from now unless it ends by itself before. What follows: Exited."""

    id: str
    after: float = 0.0


class Pause(Struct, frozen=True, tag="pause"):
    """Freeze the instance's processes. Answer: Done or Failed."""

    number: int
    id: str


class Resume(Struct, frozen=True, tag="resume"):
    """Answer: Done or Failed."""

    number: int
    id: str


class StatsRequest(Struct, frozen=True, tag="stats-request"):
    """Answer: StatsReply or Failed."""

    number: int
    id: str


class SurvivorsRequest(Struct, frozen=True, tag="survivors-request"):
    """Which instances are alive? Answer: Survivors."""

    number: int


class Flush(Struct, frozen=True, tag="flush"):
    """Hand over what instances have printed until now. What follows: Logs, then Done."""

    number: int


class Run(Struct, frozen=True, tag="run"):
    """Run a command. What follows: JobOutput any number of times, then JobDone or Failed."""

    number: int
    job: JobSpec


class StopJob(Struct, frozen=True, tag="stop-job"):
    """Kill a command; its JobDone follows."""

    number: int


class Shutdown(Struct, frozen=True, tag="shutdown"):
    """Destroy everything and end. Answer: Done, when nothing is left."""

    number: int


# --- agent to server ------------------------------------------------------------------------------------------------


class Welcome(Struct, frozen=True, tag="welcome"):
    pid: int
    version: int = VERSION
    isolation: str = ""


class Refused(Struct, frozen=True, tag="refused"):
    """This agent does not serve this server."""

    reason: str
    version: int = VERSION
    isolation: str = ""
    served: int = 0  # process id of the server that has the agent now; 0: none has


class Created(Struct, frozen=True, tag="created"):
    """The instance's socket takes connections; its process may still be on the way."""

    id: str
    socket: str


class Exited(Struct, frozen=True, tag="exited"):
    """The instance is gone: no process, no socket, no cgroup. The last thing said of it.

    `reason`: asked (it was told to go), status, signal, oom, start (it could not be started).
    """

    id: str
    reason: str
    detail: str = ""  # in words: "exit status 3", "killed by SIGSEGV", "out of memory: more than 128 MiB"
    status: int = 0
    signal: int = 0
    oom: bool = False
    peak_kb: int = 0
    cpu_us: int = 0


class Line(Struct, frozen=True, array_like=True):
    time: float  # seconds since the epoch
    stream: str  # stdout, stderr or platform
    invocation: str
    text: str


class Lines(Struct, frozen=True, array_like=True):
    """Lines of one instance, in order within each stream."""

    id: str
    namespace: str
    function: str
    revision: int
    lines: list[Line]


class Logs(Struct, frozen=True, tag="logs"):
    batch: list[Lines]


class Done(Struct, frozen=True, tag="done"):
    number: int


class Failed(Struct, frozen=True, tag="failed"):
    number: int
    reason: str


class StatsReply(Struct, frozen=True, tag="stats"):
    number: int
    memory_kb: int
    cpu_us: int
    pids: int


class Survivor(Struct, frozen=True):
    spec: BoxSpec
    socket: str


class Survivors(Struct, frozen=True, tag="survivors"):
    number: int
    instances: list[Survivor]


class JobOutput(Struct, frozen=True, tag="job-output"):
    number: int
    text: str


class JobDone(Struct, frozen=True, tag="job-done"):
    number: int
    status: int
    output: str
    seconds: float


Request = Hello | Create | Destroy | Pause | Resume | StatsRequest | SurvivorsRequest | Flush | Run | StopJob | Shutdown
Event = Welcome | Refused | Created | Exited | Logs | Done | Failed | StatsReply | Survivors | JobOutput | JobDone

# --- bytes ----------------------------------------------------------------------------------------------------------

_LENGTH = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_event = msgspec.msgpack.Decoder(Event).decode


class MalformedMessage(Exception):
    """The other side does not speak this protocol."""


def pack(message: Request | Event) -> bytes:
    """One message with its length in front."""
    data = _encode(message)
    return _LENGTH.pack(len(data)) + data


class Splitter:
    """Cuts a stream into messages. Keeps at most one message of MAX_MESSAGE bytes."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """All messages that are complete. Raises MalformedMessage on a length over the limit."""
        buffer = self._buffer
        buffer += data
        messages = []
        at = 0
        while len(buffer) - at >= 4:
            (length,) = _LENGTH.unpack_from(buffer, at)
            if length > MAX_MESSAGE:
                raise MalformedMessage(f"a message of {length} bytes is over the limit of {MAX_MESSAGE}")
            if len(buffer) - at - 4 < length:
                break
            messages.append(bytes(buffer[at + 4 : at + 4 + length]))
            at += 4 + length
        del buffer[:at]
        return messages
