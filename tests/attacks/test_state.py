"""Attacks 33 to 36: what one call, one sibling or one tenant leaves to the next; frames that are forged."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.attacks.attack import OURS, TENANT_CODE, TENANT_SECRET, Victim, attack, needs_jail
from tests.support.neighbour import neighbour
from tests.support.site import Site

pytestmark = [pytest.mark.anyio, needs_jail]

# All memory of the process that can be read, searched for the pieces given: what a fork inherited is in it, also what was freed.
SCAN = """
import gc
pieces = [(head + tail).encode() for head, tail in event]
for number in range(len(event)): event[number] = None
found, looked = set(), 0
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        where, rights, *_ = line.split()
        if rights[0] != "r" or "[v" in line: continue
        low, high = (int(part, 16) for part in where.split("-"))
        try:
            memory.seek(low)
            held = memory.read(high - low)
        except (OSError, OverflowError, ValueError):
            continue
        looked += len(held)
        # its own copy stands beside the others in one list of bytes objects, and is not counted
        for number, piece in enumerate(pieces):
            at = held.find(piece)
            while at >= 0:
                if low + at - 32 != id(piece): found.add(number)
                at = held.find(piece, at + 1)
        del held
names = [name for name in map(str, os.environ) if "SECRET" in name]
objects = [type(o).__name__ for o in gc.get_objects() if type(o).__name__ == "Zygote" and (o.children or o.pids)]
return [sorted(found), looked > 1 << 20, names, objects]
"""


async def test_33_secrets_of_one_function_in_another(site: Site) -> None:
    """In the environment, among live objects, and in every page of memory that the fork handed down, freed or not."""
    for name in ("a", "b", "c"):  # the more the zygote has heard of the victim, the more could be left
        await site.api("POST", f"/functions/{Victim.NAME}/recycle")
        assert (await site.call(Victim.NAME, name)).status_code == 200
    pieces = [[piece[:6], piece[6:]] for piece in (TENANT_SECRET, TENANT_CODE, Victim.NAME, "kill_quietly")]
    answer = await attack(site, "scans-memory", SCAN, pieces, memory_mb=256)
    assert answer.status_code == 200, answer.text
    found, looked, names, objects = answer.json()
    assert looked
    assert found == [3] or not OURS, (
        "but for a name out of the zygote's own code, which shows that the search finds what is there"
    )
    assert not {0, 1, 2} & set(found)
    assert (names, objects) == ([], [])


LEAVES = """
import threading
seen = []

def handler(event, context):
    before = [list(seen), sorted(os.listdir("/tmp")), threading.active_count(), os.environ.get("LEFT")]
    seen.append(event)
    open("/tmp/left", "w").write(str(event))
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    os.environ["LEFT"] = str(event)
    return before
"""


async def test_34_what_one_call_leaves_to_the_next(site: Site) -> None:
    """By default an instance keeps what its function keeps (docs/isolation.md says so); per invocation nothing is left."""
    await attack(site, "leaves", LEAVES, "first")
    assert (await site.call("leaves", "second")).json() == [["first"], ["left"], 2, "first"]

    await attack(site, "leaves-once", LEAVES, "first", isolation="per-invocation")
    for number in range(4):
        assert (await site.call("leaves-once", number)).json() == [[], [], 1, None]
    async with neighbour(site):
        together = await asyncio.gather(*(site.call("leaves-once", number) for number in range(6)))
    assert [answer.json() for answer in together] == [[[], [], 1, None]] * 6


async def test_34_per_invocation_a_failed_call_ends_its_instance_too(site: Site) -> None:
    code = LEAVES.replace("return before", "raise ValueError(repr(before))")
    await attack(site, "leaves-failing", code, "first", isolation="per-invocation")
    assert "[[], [], 1, None]" in (await site.call("leaves-failing", "second")).text


SAME = """
import random, secrets, ssl, tempfile, uuid, hashlib

def handler(event, context):
    first = uuid.uuid1()
    return {"instance": os.environ["DAYFLY_INSTANCE"], "random": random.random(), "system": secrets.token_hex(16),
            "uuid1": str(first), "node": first.node, "uuid4": str(uuid.uuid4()), "ssl": ssl.RAND_bytes(16).hex(),
            "tempfile": tempfile.mktemp(), "urandom": os.urandom(16).hex(), "stack": id(first)}
"""


async def test_35_siblings_share_no_randomness(site: Site) -> None:
    await attack(site, "draws", SAME, isolation="per-invocation")
    async with neighbour(site):
        drawn = [answer.json() for answer in await asyncio.gather(*(site.call("draws") for _ in range(4)))]
    assert len({one["instance"] for one in drawn}) == 4
    for kind in ("random", "system", "uuid1", "uuid4", "ssl", "tempfile", "urandom"):
        assert len({one[kind] for one in drawn}) == 4, kind


FORGE = """
import json
def frame(kind, stream, payload=b"", length=None):
    return struct.pack("<IIB", len(payload) if length is None else length, stream, kind) + payload

def gateway():
    for fd in range(3, 64):
        try:
            link = socket.socket(fileno=os.dup(fd))
            if link.family == socket.AF_UNIX and link.getpeername() is not None and not link.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return link
            link.close()
        except OSError:
            pass

def handler(event, context):
    END, OK, DATA = 0x80, 3, 2
    link = gateway()
    link.sendall({
        "oversize": frame(DATA, 1, length=0xFFFFFFFF),
        "oversize-head": frame(OK, 1, b"{}", length=(256 << 10) + 1),
        "unknown-kind": frame(77, 1),
        "gateway-kind": frame(1 | END, 1, b"{}"),
        "other-stream": frame(OK | END, 4711, b"{}"),
        "stream-zero": frame(OK | END, 0, b"{}"),
        "twice": frame(OK | END, 1, b"{}") * 2,
        "data-first": frame(DATA | END, 1, b"x"),
        "ready-again": frame(6, 0, b'{"init_s":0}'),
        "bad-json": frame(OK | END, 1, b"{"),
        "deep-json": frame(OK | END, 1, b'{"x":' + b"[" * 50000 + b"]" * 50000 + b"}"),
        "bad-status": frame(OK | END, 1, b'{"status":1e9}'),
        "split-header": frame(OK | END, 1, json.dumps({"headers": [["a", "b\\r\\nset-cookie: x=1"]]}).encode()),
        "never": b"",
    }[event])
    time.sleep(30)
"""


@pytest.mark.parametrize(
    "kind",
    ["oversize", "oversize-head", "unknown-kind", "gateway-kind", "other-stream", "stream-zero", "twice", "data-first", "ready-again",
     "bad-json", "deep-json", "bad-status", "split-header", "never"],
)  # fmt: skip
async def test_36_forged_frames(site: Site, kind: str) -> None:
    answer = await attack(site, "forges", FORGE, kind, timeout_s=1)
    assert answer.status_code in ({200, 502} if kind == "twice" else {504} if kind in ("never", "ready-again") else {502}), (
        answer.text
    )
    assert "set-cookie" not in answer.headers
    assert answer.headers["dayfly-invocation-id"]


async def test_36_an_answer_for_another_call_reaches_that_instances_own_calls_only(site: Site) -> None:
    """Streams belong to a connection, and a connection to an instance: a function can lie to its own callers, and to no other's."""
    code = FORGE.replace(
        "link.sendall({", "link.sendall(b''.join(frame(OK | END, n, b'{}') for n in range(1, 9))); return link.sendall({"
    )
    async with neighbour(site):
        await attack(site, "answers-all", code, "never", timeout_s=2, concurrency=4)
        answers = await asyncio.gather(*(site.call("answers-all", "never") for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {200, 502, 504}
    assert json.loads((await site.call(Victim.NAME)).text) == len(TENANT_SECRET)
