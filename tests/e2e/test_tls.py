"""TLS with a certificate that the server makes, and with one that is given."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path

import httpx2
import pytest

from dayfly.errors import BadInput
from dayfly.gateway import tls
from tests.support.site import running

pytestmark = pytest.mark.anyio

NOW = datetime.datetime.now(datetime.UTC)


async def test_who_trusts_the_certificate_calls_over_tls_on_both_lanes(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("t")
    async with running(data, tls_self_signed=True) as site:
        trust = ssl.create_default_context(cafile=str(data / "tls" / "cert.pem"))
        async with httpx2.AsyncClient(base_url=f"https://localhost:{site.server.port}", verify=trust) as client:
            body = {"code": {"files": {"handler.py": "def handler(event, context):\n    return len(event)\n"}}}
            assert (await client.put("/v1/namespaces/default/functions/f", json=body)).status_code == 201
            assert (await client.post("/fn/default/f", json="x" * 100_000)).text == "100000"
        async with httpx2.AsyncClient(base_url=f"https://localhost:{site.server.port}") as stranger:
            with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await stranger.get("/healthz")
        # A client that speaks TLS 1.0 at most is told no, and so is one that speaks plain HTTP.
        hello = bytes.fromhex("160301002f0100002b0301" + "00" * 32 + "000004002f000a" + "0100")
        for first in (hello, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
            writer.write(first)
            answer = await asyncio.wait_for(reader.read(), 10)
            assert answer[:1] in (b"", b"\x15"), "an alert, or nothing"
            writer.close()


def test_the_certificate_is_made_once_and_again_when_it_is_not_good_any_more(tmp_path: Path) -> None:
    certificate, key = tls.self_signed(tmp_path / "tls", ["faas.example"], NOW)
    assert key.stat().st_mode & 0o777 == 0o600
    first = tls.fingerprint(certificate)
    tls.self_signed(tmp_path / "tls", ["faas.example"], NOW)
    assert tls.fingerprint(certificate) == first
    tls.self_signed(tmp_path / "tls", ["other.example"], NOW)
    second = tls.fingerprint(certificate)
    assert second != first
    tls.self_signed(tmp_path / "tls", ["other.example"], NOW + tls.LIFETIME - tls.RENEW + datetime.timedelta(days=1))
    assert tls.fingerprint(certificate) != second


def test_what_is_no_certificate_is_refused_with_a_reason(tmp_path: Path) -> None:
    certificate, _ = tls.self_signed(tmp_path / "a", [], NOW)
    _, other_key = tls.self_signed(tmp_path / "b", [], NOW)
    (tmp_path / "nonsense").write_text("nonsense")
    for pair in ((certificate, other_key), (certificate, tmp_path / "missing"), (tmp_path / "nonsense", other_key)):
        with pytest.raises(BadInput, match="TLS cannot be served"):
            tls.check(*pair)
