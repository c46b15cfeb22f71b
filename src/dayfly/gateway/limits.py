"""What a client may send, and how slowly. One set for both lanes, because an attacker picks the lane."""

from __future__ import annotations

from msgspec import Struct


class EdgeLimits(Struct, frozen=True, kw_only=True):
    url_bytes: int = 16 << 10
    header_bytes: int = 64 << 10  # names and values of one request together
    header_count: int = 200
    body_bytes: int = 6 << 20  # of a call; a profile may say less
    buffered_body: int = 64 << 10  # a body up to this size is collected before the call begins
    collected_bytes: int = 256 << 20  # bodies of all requests together that are being collected
    head_timeout_s: float = 10.0  # from the first byte of a request to the end of its head
    body_timeout_s: float = 30.0  # between two pieces of a body
    body_rate: int = 128  # bytes a second that a body must come with, over all after the first `body_timeout_s`; 0: any
    write_timeout_s: float = 60.0  # a client that takes nothing of its answer
    idle_timeout_s: float = 75.0  # a kept-alive connection without a request
    handshake_timeout_s: float = 10.0  # TLS
    connections: int = 20_000  # of all listeners; nearly full, they let go of those that are idle for longest
    peer_connections: int = 5_000  # of them from one address (IPv6: from one network of 64 bits)
    pipelined: int = 16  # requests of one connection that wait for their turn
