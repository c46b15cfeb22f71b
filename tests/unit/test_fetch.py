"""Where targets must not lead: to this machine, the private network, the metadata service, however it is written."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from typing import Any

import pytest

from dayfly import errors
from dayfly.events.fetch import Fetcher, reachable

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "address",
    (
        "127.0.0.1 127.9.9.9 0.0.0.0 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 224.0.0.1 255.255.255.255 "
        "::1 :: fe80::1 fd00:ec2::254 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: ff02::1"
    ).split(),
)
def test_addresses_that_are_not_on_the_internet_are_refused(address: str) -> None:
    assert not reachable(ipaddress.ip_address(address))
    with pytest.raises(errors.Forbidden, match="private to this server"):
        Fetcher().check(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111"])
def test_others_are_not(address: str) -> None:
    Fetcher().check(address)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An HTTP server that says what it was asked."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    size = next((int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0)
    body = await reader.readexactly(size)
    if head.startswith("OPTIONS /open"):
        writer.write(b"HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: *\r\nWebHook-Allowed-Rate: 100\r\ncontent-length: 0\r\n\r\n")
    elif head.startswith("OPTIONS /known") and "webhook-request-origin: dayfly.example\r\n" in head:
        writer.write(b"HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: Dayfly.example\r\ncontent-length: 0\r\n\r\n")
    elif head.startswith("POST /away"):
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
    elif head.startswith("POST /never"):
        await reader.read()  # until the other side has given up
    else:
        told = head.encode() + body
        writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: %d\r\nretry-after: 7\r\n\r\n" % len(told) + told)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.fixture
async def port() -> Any:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.sleep(0)


async def test_what_the_operator_opened_is_reached(port: int) -> None:
    fetcher = Fetcher(["127.0.0.0/8"])
    headers = (("ce-id", "1"), ("host", "elsewhere"), ("transfer-encoding", "chunked"))
    result = await fetcher.post(f"http://127.0.0.1:{port}/hook?x=1", headers, b"data", 5.0)
    assert (result.status, dict(result.headers)["retry-after"]) == (201, "7")
    text = result.body.decode()
    assert text.startswith("POST /hook?x=1 HTTP/1.1\r\n")
    assert text.endswith("data")
    assert f"host: 127.0.0.1:{port}" in text
    assert "elsewhere" not in text
    assert "chunked" not in text
    assert (await fetcher.post(f"http://127.0.0.1:{port}/away", (), b"", 5.0)).status == 302  # and no step further
    with pytest.raises(errors.TimedOut):
        await fetcher.post(f"http://127.0.0.1:{port}/never", (), b"", 0.05)
    with pytest.raises(errors.Unavailable):
        await fetcher.post("http://127.0.0.1:1/", (), b"", 5.0)
    await fetcher.close()


async def test_an_address_is_asked_for_leave_and_silence_is_no_consent(port: int) -> None:
    fetcher = Fetcher(["127.0.0.0/8"])
    here = f"http://127.0.0.1:{port}"
    await fetcher.ask_leave(f"{here}/open", "dayfly.example")
    await fetcher.ask_leave(f"{here}/known", "dayfly.example")
    with pytest.raises(errors.Forbidden, match=r"does not let other\.example post there"):
        await fetcher.ask_leave(f"{here}/known", "other.example")
    with pytest.raises(errors.Forbidden):
        await fetcher.ask_leave(f"{here}/hook", "dayfly.example")  # answers 201 to everything
    with pytest.raises(errors.Forbidden, match="private to this server"):
        await Fetcher().ask_leave(f"{here}/open", "dayfly.example")
    await fetcher.close()


async def test_what_is_not_opened_is_not_reached_by_any_name(port: int) -> None:
    fetcher = Fetcher()
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"):
        with pytest.raises(errors.Forbidden):  # not a failure that another attempt would mend
            await fetcher.post(f"http://{host}:{port}/", (), b"", 5.0)
    await fetcher.close()


async def test_a_name_is_resolved_once_and_that_address_is_the_one_connected_to(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the second answer would be the machine itself. There is no second question."""
    asked: list[str] = []

    async def resolve(host: str, port: int, **_: Any) -> Any:
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    connected: list[str] = []

    async def connect(self: Any, host: str, port: int, **_: Any) -> Any:
        connected.append(host)
        raise OSError("no network here")

    import httpcore2

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(errors.Unavailable):
        await Fetcher().post(f"http://rebound.example:{port}/", (), b"", 5.0)
    assert asked == ["rebound.example"]
    assert connected == ["93.184.216.34"]
