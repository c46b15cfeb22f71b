"""The open-loop generator: every request counts from when it should have started, also when the server stalls."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from bench.openloop import Schedule, complete, drive, summarise


def play(rate: float, seconds: float, service: list[float]) -> list[float]:
    """One server, one connection: request n takes service[n] seconds. Latencies in milliseconds."""
    schedule = Schedule(rate, seconds, begin=100.0)
    now, number = 100.0, 0
    while not schedule.done:
        intended = schedule.start(now)
        if intended is None:
            now += schedule.wait(now)
            continue
        now += service[number]
        number += 1
        schedule.answered(intended, now)
    return [round(1000 * latency, 3) for latency in schedule.latencies]


def test_a_server_that_keeps_up_shows_its_service_time() -> None:
    assert play(100, 0.05, [0.002] * 5) == [2, 2, 2, 2, 2]


def test_a_stall_delays_everybody_who_would_have_asked_meanwhile() -> None:
    # 100 a second; the second request takes 50 ms: the four that were due meanwhile waited, too
    assert play(100, 0.08, [0.001, 0.05, *[0.001] * 6]) == [1, 50, 41, 32, 23, 14, 5, 1]


def test_an_overloaded_server_falls_behind_without_end() -> None:
    latencies = play(1000, 0.1, [0.002] * 100)
    assert latencies == sorted(latencies)
    assert latencies[-1] == pytest.approx(101)


def test_no_request_is_skipped_or_started_early() -> None:
    schedule = Schedule(10, 1, begin=0.0)
    assert schedule.start(-0.001) is None
    assert schedule.wait(-0.5) == 0.5
    started = [schedule.start(0.35) for _ in range(5)]
    assert started == [0.0, 0.1, 0.2, pytest.approx(0.3), None]
    assert schedule.wait(0.35) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", False),
        (b"HTTP/1.1 200 OK\r\ncontent-le", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
)
def test_responses_end_where_their_length_says(data: bytes, whole: bool) -> None:
    assert complete(data) is whole


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    """Answers each request in two pieces; every tenth with 500."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(sock: socket.socket) -> None:
        with sock:
            count = 0
            while sock.recv(4096):
                count += 1
                status = b"500 No" if count % 10 == 0 else b"200 OK"
                sock.sendall(b"HTTP/1.1 " + status + b"\r\ncontent-length: 4\r\n\r\nab")
                sock.sendall(b"cd")

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_it_drives_a_real_server_and_counts_its_failures(server: tuple[str, int]) -> None:
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    schedule = drive(server, request, rate=500, seconds=0.2, connections=1)
    assert len(schedule.latencies) == 100
    assert schedule.failures == 10
    assert min(schedule.latencies) > 0


def test_percentiles_are_in_milliseconds() -> None:
    seen = summarise(1000, [number / 1000 for number in range(1, 1001)])
    assert (seen.p50, seen.p99, seen.p999, seen.worst) == (500, 990, 999, 1000)
