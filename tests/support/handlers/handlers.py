"""Handlers for the contract tests of sandboxes: well-behaved and hostile ones."""

import asyncio
import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import time

if sys.argv and os.environ.get("DAYFLY_FUNCTION"):
    print("loaded")


def echo(event, context):
    return event


def raw(request, context):
    return {
        "status": 201,
        "headers": {"x-seen": request.headers.get("x-give", ""), "content-type": "application/octet-stream"},
        "body": request.method.encode() + b" " + request.path.encode() + b"?" + request.query.encode() + b" " + request.body,
    }


def size(request, context):
    return {"status": 200, "body": {"size": len(request.body)}}


def big(event, context):
    return b"x" * event


def stream(event, context):
    for number in range(event):
        yield f"{number}\n"


async def stream_slowly(event, context):
    yield "first\n"
    await asyncio.sleep(3600)


def fails(event, context):
    raise ValueError("no such luck")


def exits(event, context):
    sys.exit(3)


def exits_hard(event, context):
    os._exit(4)


def kills_itself(event, context):
    os.kill(os.getpid(), signal.SIGKILL)  # without effect on process 1 of a namespace, hence:
    ctypes.string_at(0)


def sleeps(event, context):
    time.sleep(3600)


async def waits(event, context):
    await asyncio.sleep(3600)


async def meets(event, context, seen=[]):  # noqa: B006 - what lasts between calls is the point
    """Two calls that run at the same time see each other; one alone never returns."""
    seen.append(event)
    while len(seen) < 2:
        await asyncio.sleep(0.001)
    return sorted(seen)


def forks(event, context):
    """Leave children behind: plain, in a session of its own, and a daemon forked twice."""
    pids = [subprocess.Popen(["sleep", "3600"]).pid, subprocess.Popen(["sleep", "3600"], start_new_session=True).pid]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        grandchild = os.fork()
        if grandchild == 0:
            time.sleep(3600)
        os.write(write, struct.pack("<i", grandchild))
        os._exit(0)
    os.waitpid(child, 0)
    return pids + list(struct.unpack("<i", os.read(read, 4)))


def prints(event, context):
    print(f"out {event}")
    print(f"err {event}", file=sys.stderr)
    return [context.invocation_id]


def floods(event, context):
    line = "x" * 1000
    for _ in range(event):
        print(line)
    print("end of flood", flush=True)
    return "done"


def long_line(event, context):
    print("y" * event)


def eats(event, context):
    kept = []
    while True:
        kept.append(b"z" * (1 << 20))


def pid(event, context):
    return os.getpid()


def takes_a_while(event, context):
    print("begun")
    time.sleep(event)
    return [event]


def inherited(event, context):
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}").partition(":")[0])
        except OSError:
            pass  # the one that listed the folder
    return {"fds": sorted(found), "env": sorted(os.environ)}


def version(event, context):
    return list(sys.version_info[:2])


def forges(event, context):
    """Write bytes of one's own into the connection to the gateway."""
    for fd in range(3, 64):
        try:
            found = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
        with found:
            try:
                found.getpeername()
                found.sendall(bytes(event))
            except OSError:
                continue
    time.sleep(3600)


def hangs_up(event, context):
    """Close the connection without ending."""
    for fd in range(3, 64):
        try:
            found = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
        with found:
            try:
                found.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
    time.sleep(3600)


def hash_of(event, context):
    return hash(event)
