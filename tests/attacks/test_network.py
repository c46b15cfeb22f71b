"""Attacks 28 to 32: functions that reach for what the network must keep from them, in a world made for the test.

The hostile functions say what they saw, but what counts is what the world heard: a service that must not be reached notes who comes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.attack import OURS, OWN_KERNEL, processes
from tests.support.internet import (
    ADDRESS,
    ADDRESS6,
    GATEWAY,
    METADATA,
    METADATA6,
    NAMES,
    OTHER,
    PRIVATE,
    PUBLIC,
    PUBLIC6,
    World,
    missing,
    waited,
    world,
)
from tests.support.machine import needs_node

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

REFUSED = {"EPERM", "EACCES", "EADDRNOTAVAIL", *(["ENOTTY"] if OWN_KERNEL else [])}

# `to`: what to connect to, as [host, port]; `send`: what to send a datagram to; `names`: what to ask for.
PROBE = """
import os, socket

def said(act, *arguments):
    try:
        return act(*arguments)
    except OSError as error:
        return "refused: " + str(error)

def connect(host, port):
    with socket.create_connection((host, port), 4) as connection:
        return connection.makefile().readline().strip() or "closed"

def send(host, port):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        sock.connect((host, port))
        sock.send(b"carried out")
        return sock.recv(100).decode()

def handler(event, context):
    return {
        "to": [said(connect, *one) for one in event.get("to", ())],
        "send": [said(send, *one) for one in event.get("send", ())],
        "names": [said(socket.gethostbyname, name) for name in event.get("names", ())],
    }
"""


@pytest.fixture(scope="module")
def site() -> Iterator[World]:
    with world() as made:
        made.deploy("probe", PROBE)
        yield made


def attack(site: World, name: str = "probe", **event: Any) -> dict[str, list[str]]:
    """What a function got to, while the neighbour is served."""
    with site.neighbour():
        found: dict[str, list[str]] = site.call(name, event)
    return found


def refused(answers: list[str]) -> bool:
    return bool(answers) and all(answer.startswith("refused") for answer in answers)


def test_a_function_reaches_the_internet_behind_the_machines_address(site: World) -> None:
    found = attack(
        site, to=[[PUBLIC, 80], ["example.com", 443]], send=[[OTHER, 9999]], names=["api.example.com", "nowhere.test"]
    )
    assert found["to"] == [f"{PUBLIC} greets {ADDRESS}"] * 2
    assert found["send"] == ["greetings"]
    assert found["names"][0] == PUBLIC
    assert refused(found["names"][1:])


def test_28_the_host_and_its_loopback(site: World) -> None:
    """The machine by each of its names, the control plane's port, the router's ends, and what sounds like loopback."""
    uplink = [f"198.19.{slot}.{host}" for slot in range(3) for host in (1, 2)]
    hosts = [
        "127.0.0.1",
        "0.0.0.0",
        "localhost",
        "::1",
        "::ffff:127.0.0.1",
        "127.1.2.3",
        "169.254.1.1",
        ADDRESS,
        ADDRESS6,
        *uplink,
    ]
    site.machine.heard.clear()
    found = attack(
        site,
        to=[[host, port] for host in hosts for port in (site.port, 5555, 6379)],
        send=[[host, 5556] for host in ("127.0.0.1", ADDRESS, *uplink)],
    )
    assert refused(found["to"])
    assert refused(found["send"])
    assert site.machine.heard == []


def test_29_metadata_services_and_private_networks(site: World) -> None:
    """By address, by a name that points there (rebinding), in IPv6, and in IPv6 that hides an IPv4 address."""
    hosts = [METADATA, *PRIVATE, GATEWAY, METADATA6, PUBLIC6, f"::ffff:{METADATA}", f"64:ff9b::{METADATA}", "fe80::1%eth0"]
    hosts += ["metadata.example.com", "rebind.example.com", "loop.example.com"]
    site.beyond.heard.clear()
    found = attack(
        site,
        to=[[host, 80] for host in hosts],
        send=[[host, 9999] for host in (METADATA, *PRIVATE, "224.0.0.251", "255.255.255.255")],
    )
    assert refused(found["to"])
    assert refused(found["send"])
    assert [heard for heard in site.beyond.heard if heard[1] != 53] == []


NAMESAKE = """
import socket
kept = []

def handler(event, context):
    for family, name in ((socket.AF_UNIX, "\\0dayfly-test-abstract"), (socket.AF_INET, ("0.0.0.0", 7777))):
        sock = socket.socket(family)
        sock.bind(name)
        sock.listen(8)
        kept.append(sock)
    return socket.gethostbyname(socket.gethostname()) if event.get("name") else None
"""

SCAN = """
import socket

def handler(event, context):
    found = []
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect("\\0dayfly-test-abstract")
        found.append("abstract")
    except OSError:
        pass
    for last in range(1, 100):
        with socket.socket() as sock:
            sock.settimeout(0.2)
            if sock.connect_ex(("198.18.0.%d" % last, 7777)) == 0:
                found.append(last)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.sendto(b"hello", ("198.18.0.%d" % last, 7777))
            except OSError:
                pass
    return found
"""


def test_30_abstract_sockets_and_other_tenants(site: World) -> None:
    """Another tenant's instance listens on all it has, the host has an abstract socket; nobody else gets to either."""

    with socket.socket(socket.AF_UNIX) as of_the_host:
        of_the_host.bind("\0dayfly-test-abstract-of-the-host")
        of_the_host.listen()
        site.deploy("listens", NAMESAKE, "tenant")
        site.call("listens", {}, "tenant")
        site.deploy("scans", SCAN + "    # and the host's\n", network="egress")
        with site.neighbour():
            assert site.call("scans") == []
        site.deploy("scans", SCAN.replace("test-abstract", "test-abstract-of-the-host"))
        assert site.call("scans") == []


FORGE = """
import errno, fcntl, os, socket, struct

def attempt(act, *arguments):
    try:
        return str(act(*arguments))
    except OSError as error:
        return errno.errorcode.get(error.errno)

def own_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        address = struct.pack("16sH2s4s8x", b"eth0", socket.AF_INET, bytes(2), socket.inet_aton("198.18.0.99"))
        fcntl.ioctl(sock, 0x8916, address)

def down():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh22x", b"eth0", 0))

def netlink():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.bind((0, 0))
        index = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex("eth0"), 0, 1)
        sock.send(struct.pack("=IHHII", 16 + len(index), 17, 5, 1, 0) + index)
        (code,) = struct.unpack_from("=i", sock.recv(4096), 16)
        if code:
            raise OSError(-code, "refused")

def spoof():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, 19, 1)  # IP_TRANSPARENT
        sock.bind(("8.8.8.8", 53))

def serve(port):
    sock = socket.socket()
    sock.bind(("0.0.0.0", port))
    sock.listen()
    kept.append(sock)

kept = []

def handler(event, context):
    raw = [(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP), (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
           (socket.AF_PACKET, socket.SOCK_RAW, 3), (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)]
    return {
        "raw": [attempt(socket.socket, *one) for one in raw],
        "interface": [attempt(own_address), attempt(down), attempt(netlink), attempt(spoof)],
        "forward": attempt(open, "/proc/sys/net/ipv4/ip_forward", "w"),
        "mine": attempt(serve, event["port"]),
    }
"""


def test_31_raw_sockets_spoofing_and_the_platforms_port(site: World) -> None:
    """It can make no packet of its own, change nothing about its interface, and what it listens on is its own."""
    site.deploy("forges", FORGE)
    found = attack(site, "forges", port=site.port)
    raw, ping = found["raw"][:-1], found["raw"][-1]
    assert set(raw) <= {"EPERM", "EACCES", "EPROTONOSUPPORT", "EAFNOSUPPORT"}
    assert ping in ("EPERM", "EACCES") or OWN_KERNEL  # which lets everybody ping, under its own address
    assert set(found["interface"]) <= REFUSED
    assert found["forward"] in ("EROFS", "EACCES", "EPERM", "ENOENT")
    assert found["mine"] == "None"  # it may, and nobody comes
    assert site.call("neighbour", {"still": "there"}, "tenant") == {"still": "there"}


def test_32_nothing_is_carried_out_without_a_network(site: World) -> None:
    """No connection, no datagram, no question about a name that holds the secret, not to the platform either."""
    site.deploy("shut", PROBE, network="none")
    site.beyond.heard.clear()
    site.beyond.questions.clear()
    found = attack(
        site,
        "shut",
        to=[[PUBLIC, 443], ["169.254.1.1", 80], ["169.254.1.1", 53]],
        send=[[NAMES, 53], [PUBLIC, 9999], ["169.254.1.1", 53]],
        names=["carries.secret.example.com"],
    )
    assert all(map(refused, found.values()))
    assert (site.beyond.heard, site.beyond.questions) == ([], [])


def test_32_an_allow_list_is_all_there_is(site: World) -> None:
    """By name, by another port, by the address of a name that is not on the list, by questions."""
    site.deploy(
        "listed",
        PROBE,
        allow=["api.example.com:443", f"{OTHER}:5432", "*.other.test:*", "rebind.example.com:80"],
        network="allow",
    )
    assert attack(site, "listed", to=[["api.example.com", 443], [OTHER, 5432]])["to"] == [
        f"{PUBLIC} greets {ADDRESS}",
        f"{OTHER} greets {ADDRESS}",
    ]
    site.beyond.heard.clear()
    site.beyond.questions.clear()
    found = attack(
        site,
        "listed",
        to=[
            ["api.example.com", 80],
            [OTHER, 443],
            [PUBLIC, 80],
            ["example.com", 443],
            ["rebind.example.com", 80],
            [METADATA, 443],
        ],
        send=[[NAMES, 53], [PUBLIC, 9999]],
        names=["carries.secret.example.com", "other.test"],
    )
    assert all(map(refused, found.values()))
    assert [heard for heard in site.beyond.heard if heard[2] == ADDRESS and heard[1] != 53] == []
    assert set(site.beyond.questions) <= {"api.example.com", "rebind.example.com"}


def test_a_list_is_of_one_function_alone(site: World) -> None:
    """What one function has resolved opens nothing to another one."""
    site.deploy("first", PROBE, network="allow", allow=["api.example.com:443"])
    site.deploy("second", PROBE, network="allow", allow=["other.test:443"])
    assert not refused(attack(site, "first", to=[["api.example.com", 443]])["to"])
    assert refused(attack(site, "second", to=[[PUBLIC, 443]])["to"])


NODE_PROBE = """
const net = require('net');
const connect = ([host, port]) => new Promise((resolve) => {
  const socket = net.connect({ host, port, timeout: 4000 });
  socket.on('data', (data) => { resolve(String(data).trim()); socket.destroy(); });
  socket.on('timeout', () => { resolve('refused: silent'); socket.destroy(); });
  socket.on('error', (error) => resolve('refused: ' + error.code));
});
exports.handler = async (event) => Promise.all(event.to.map(connect));
"""


@needs_node
@pytest.mark.skipif(not OURS, reason="a sandbox that another program makes is finished when it starts")
def test_an_instance_that_was_started_ahead_of_need_gets_the_limits_of_its_function(site: World) -> None:
    """Node waits in a sandbox before anybody knows for whom: what it may reach is set when that is known."""
    node = {"runtime": "nodejs", "memory_mb": 128}
    site.deploy("first", NODE_PROBE, **node)
    assert site.call("first", {"to": [[OTHER, 443]]}) == [f"{OTHER} greets {ADDRESS}"]
    waited(lambda: len(processes("node/main.cjs")) >= 2)
    site.deploy("second", NODE_PROBE, network="allow", allow=["api.example.com:443"], **node)
    found = site.call("second", {"to": [["api.example.com", 443], [OTHER, 443], [PUBLIC, 80], [METADATA, 80]]})
    assert found[0] == f"{PUBLIC} greets {ADDRESS}"
    assert refused(found[1:])
    site.deploy("third", NODE_PROBE, network="none", **node)
    assert refused(site.call("third", {"to": [[OTHER, 443], ["169.254.1.1", 80]]}))


def test_mail_goes_through_a_provider(site: World) -> None:
    site.beyond.heard.clear()
    assert refused(attack(site, to=[[PUBLIC, 25]])["to"])
    assert site.beyond.heard == []


FLOOD = """
import socket

def handler(event, context):
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    kept = []
    try:
        while len(kept) < 3000:
            kept.append(socket.create_connection((event["host"], 80), 4))
    except OSError as error:
        return [len(kept), str(error)]
    return [len(kept), ""]
"""


def test_connections_are_bounded(site: World) -> None:
    """To the world, and to the platform; a neighbour connects all the while."""
    site.deploy("floods", FLOOD, memory_mb=128)
    count, error = attack(site, "floods", host=PUBLIC)
    assert error, "it could go on for ever"
    assert count <= 1024
    count, error = attack(site, "floods", host="169.254.1.1")
    assert error
    assert count <= 128


def test_a_cap_holds_in_both_directions_and_is_not_the_functions_to_lift(site: World) -> None:
    """A token bucket at the end that is the router's, and one at the instance's; the instance's belongs to the machine."""
    site.deploy("capped", PROBE, bandwidth_mbit=8.0)
    site.deploy("forges", FORGE, bandwidth_mbit=8.0)
    assert site.call("capped", {"to": [[PUBLIC, 80]]})["to"] == [f"{PUBLIC} greets {ADDRESS}"]
    assert set(site.call("forges", {"port": 80})["interface"]) <= REFUSED
    queues = "".join(run_in(namespace, "tc", "qdisc", "show", check=False) for namespace in networks_of(site.nodes()[0]))
    assert (
        queues.count("tbf") == queues.count("rate 8Mbit") == 4
    )  # in those that last; what is held ahead of need comes and goes


def networks_of(pid: int) -> list[str]:
    """The network namespaces that a process holds."""
    held = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            held[os.readlink(entry)] = str(entry)
    return [path for link, path in held.items() if link.startswith("net:")]


CALLER = """
import json, os, urllib.error, urllib.request

def ask(method, path, body=None, token=None):
    token = os.environ["DAYFLY_TOKEN"] if token is None else token
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = "Bearer " + token
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(os.environ["DAYFLY_URL"] + path, data, headers, method=method), timeout=30) as answer:
            return [answer.status, json.load(answer)]
    except urllib.error.HTTPError as error:
        return [error.code, None]

def handler(event, context):
    if "circle" in event:
        status, answer = ask("POST", "/fn/default/caller", event)
        return answer if status == 200 else [status, context.depth]
    return [ask(*one) for one in event["do"]]
"""


def test_a_function_calls_the_platform_as_itself_and_no_more(site: World) -> None:
    """Its own namespace's functions; nothing to read, nothing to change, nothing of another tenant, nothing without its token."""
    site.deploy("caller", CALLER)
    site.deploy("echo", "def handler(event, context):\n    return [event, context.depth]\n")
    own, other = "/v1/namespaces/default", "/v1/namespaces/tenant"
    with site.neighbour():
        good, *rest = site.call(
            "caller",
            {
                "do": [
                    ["POST", "/fn/default/echo", {"a": 1}],
                    ["POST", "/fn/tenant/neighbour", {}],
                    ["POST", "/fn/default/echo", {}, ""],
                    ["POST", "/fn/default/echo", {}, "dft_" + "x" * 43],
                    ["GET", f"{own}/functions"],
                    ["GET", f"{own}/secrets"],
                    ["GET", f"{own}/instances"],
                    ["GET", f"{other}/functions"],
                    ["DELETE", f"{own}/functions/echo"],
                    ["PUT", f"{own}/secrets/mine", {"value": "x"}],
                    ["POST", f"{own}/keys", {"name": "mine", "roles": ["owner"]}],
                    ["GET", "/metrics"],
                ]
            },
        )
    assert good == [200, [{"a": 1}, 1]]
    assert {status for status, _ in rest} <= {401, 403}, rest


def test_functions_that_call_each_other_in_a_circle_end(site: World) -> None:
    site.deploy("caller", CALLER, memory_mb=32, max_instances=40)
    with site.neighbour():
        status, depth = site.call("caller", {"circle": True})
    assert status == 429
    assert depth == 32


RUMOUR = (
    CALLER.split("def handler")[0].replace("application/json", "application/cloudevents+json")
    + """
def handler(event, context):
    claims = {"dayflyhops": 0, "dayflyroot": "somebody-elses"}
    event = {"specversion": "1.0", "id": str(context.depth), "source": "/rumour", "type": "rumour", **claims}
    status, _ = ask("POST", "/events/default/rumours", event)
    if status == 429:
        print("told", context.depth, "times")
    elif status != 202:
        print("unexpected", status)
"""
)


def test_a_function_that_publishes_what_triggers_it_ends(site: World) -> None:
    """Depth goes with events, whatever the function writes into them."""
    api = "/v1/namespaces/default"
    site.deploy("rumour", RUMOUR, memory_mb=32)
    assert site.request("PUT", f"{api}/brokers/rumours", {})[0] in (200, 201)
    trigger = {"broker": "rumours", "target": {"kind": "function", "name": "rumour"}}
    assert site.request("PUT", f"{api}/triggers/rumour", trigger)[0] in (200, 201)

    def said() -> list[str]:
        return [line["text"] for line in site.request("GET", f"{api}/logs?function=rumour")[1]["items"]]

    def calls() -> list[object]:
        return list(site.request("GET", f"{api}/invocations?function=rumour")[1]["items"])

    with site.neighbour():
        site.call("rumour")
        waited(lambda: bool(said()) and len(calls()) >= 33)
    assert said() == ["told 32 times"]
    assert len(calls()) == 33


def test_a_token_ends_with_its_instance(site: World) -> None:
    site.deploy("tells", "import os\n\ndef handler(event, context):\n    return [os.environ['DAYFLY_TOKEN']]\n")
    site.deploy("caller", CALLER)
    (token,) = site.call("tells")
    assert site.call("caller", {"do": [["POST", "/fn/default/tells", {}, token]]})[0][0] == 200
    site.request("POST", "/v1/namespaces/default/functions/tells/recycle", {})
    assert site.call("caller", {"do": [["POST", "/fn/default/tells", {}, token]]})[0][0] == 401


def test_a_node_that_dies_takes_no_network_with_it_for_good(site: World) -> None:
    """The next one has a router of its own, and the server answers functions there."""
    site.deploy("caller", CALLER)
    site.deploy("probe", PROBE)
    site.deploy("echo", "def handler(event, context):\n    return event\n")
    (node,) = site.nodes()
    os.kill(node, 9)
    waited(lambda: site.nodes() not in ([], [node]))  # its instances go with it, and calls that they have begun
    event = {"do": [["POST", "/fn/default/echo", {"a": 1}]]}
    waited(lambda: site.request("POST", "/fn/default/caller", event) == (200, [[200, {"a": 1}]]))
    assert site.call("probe", {"to": [[PUBLIC, 80]]})["to"] == [f"{PUBLIC} greets {ADDRESS}"]


def on_machine(site: World, *command: str) -> str:
    return run_in(f"/proc/{os.getpid()}/fd/{site.machine.namespace}", *command)


def run_in(namespace: str, *command: str, check: bool = True) -> str:
    return subprocess.run(["nsenter", f"--net={namespace}", *command], capture_output=True, text=True, check=check).stdout


def test_nothing_is_left_of_a_node_that_ends_nor_of_one_that_was_killed() -> None:
    """The machine's interface, table and forwarding come and go with the node; what a killed one leaves, the next takes away."""
    with world() as site:
        assert on_machine(site, "cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
        site.stop(kill=True)
        waited(lambda: "df" not in on_machine(site, "ip", "-brief", "link"))  # the kernel takes its time
        site.start()
        site.deploy("probe", PROBE)
        assert site.call("probe", {"to": [[PUBLIC, 80]]})["to"] == [f"{PUBLIC} greets {ADDRESS}"]
        if os.path.exists("/usr/sbin/nft"):
            assert on_machine(site, "nft", "list", "tables").count("dayfly_") == 1
        site.stop()
        assert "df" not in on_machine(site, "ip", "-brief", "link")
        assert on_machine(site, "cat", "/proc/sys/net/ipv4/ip_forward") == "0\n"
        if os.path.exists("/usr/sbin/nft"):
            assert on_machine(site, "nft", "list", "ruleset") == ""
