"""OpenID Connect against an issuer that the test runs itself: a server with its key set, and tokens good and bad."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from dayfly.auth.oidc import Oidc, read
from dayfly.auth.tokens import new_token
from dayfly.errors import BadInput
from tests.support.site import Site, running

jwt = pytest.importorskip("joserfc.jwt", reason="the extra `oidc` is not installed")
jwk = pytest.importorskip("joserfc.jwk")
pytestmark = pytest.mark.anyio

ISSUER, AUDIENCE = "https://login.example", "dayfly"


class Provider:
    """Signs tokens; its address serves the public keys that it has now."""

    def __init__(self) -> None:
        self.keys = {
            "one": jwk.RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}),
            "ec": jwk.ECKey.generate_key("P-256", {"kid": "ec"}),
        }
        self.asked = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                body = json.dumps({"keys": [key.as_dict(private=False) for key in provider.keys.values()]}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks"

    def token(
        self, kid: str = "one", alg: str = "", key: Any = None, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        key = key or self.keys[kid]
        alg = alg or ("ES256" if key.key_type == "EC" else "RS256")
        full = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 600, "groups": ["devs"], **claims}
        full = {name: value for name, value in full.items() if value is not None}
        return str(jwt.encode({"alg": alg, "kid": kid, **(header or {})}, full, key, algorithms=[alg]))


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()
    made.server.server_close()


def settings(folder: Path, provider: Provider, **more: Any) -> Path:
    path = folder / "oidc.json"
    path.write_text(
        json.dumps(
            {
                "issuer": ISSUER,
                "audience": AUDIENCE,
                "jwks": provider.url,
                "grants": {"devs": {"default": ["deployer"]}, "ops": {"*": ["owner"]}, "*": {"default": ["viewer"]}},
                **more,
            }
        )
    )
    return path


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str, provider: Provider) -> AsyncIterator[Site]:
    data = tmp_path_factory.mktemp("o")
    async with running(data, token=new_token(), oidc=settings(data, provider)) as made:
        yield made


async def status(
    site: Site, token: str, method: str = "GET", path: str = "/v1/namespaces/default/functions", **options: Any
) -> int:
    async with httpx2.AsyncClient(base_url=site.url) as client:
        answer = await client.request(method, path, headers={"authorization": f"Bearer {token}"}, **options)
        return answer.status_code


@pytest.mark.parametrize("kid", ["one", "ec"])
async def test_the_groups_of_a_token_are_its_roles(site: Site, provider: Provider, kid: str) -> None:
    deploy = {"json": {"code": {"files": {"handler.py": "def handler(event, context):\n    return 1\n"}}}}
    at = "/v1/namespaces/default/functions/f"
    assert await status(site, provider.token(kid), "PUT", at, **deploy) in (200, 201)
    assert await status(site, provider.token(kid), "POST", "/fn/default/f", json={}) == 200
    assert await status(site, provider.token(kid, groups=[]), "GET", at) == 200, "everybody may look"
    assert await status(site, provider.token(kid, groups="none"), "PUT", at, **deploy) == 403
    assert await status(site, provider.token(kid, groups=["*"]), "PUT", at, **deploy) == 403, "a group cannot be called `*`"
    assert await status(site, provider.token(kid, groups=["devs"]), "GET", "/v1/namespaces/default/keys") == 403
    assert await status(site, provider.token(kid, groups=["ops"]), "GET", "/v1/namespaces/*/keys") == 200
    audit = (
        await site.http.get("/v1/namespaces/default/audit", headers={"authorization": f"Bearer {site.server.token}"})
    ).json()
    assert f"oidc:{ISSUER}#ada" in {record["identity_id"] for record in audit["items"]}


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "never"},
        {"nbf": 99999999999},
        {"sub": None},
    ],
)
async def test_claims_that_are_not_for_us(site: Site, provider: Provider, claims: dict[str, Any]) -> None:
    assert await status(site, provider.token(**claims)) == 401


async def test_signatures_that_prove_nothing(site: Site, provider: Provider) -> None:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    good = provider.token()
    head, body, signature = good.split(".")
    public = provider.keys["one"].as_pem(private=False)
    shared = f"{part({'alg': 'HS256', 'kid': 'one'})}.{body}"
    shared += "." + base64.urlsafe_b64encode(hmac.digest(public, shared.encode(), "sha256")).rstrip(b"=").decode()
    stranger = jwk.RSAKey.generate_key(2048, {"kid": "one"})
    forged = {
        "no algorithm": f"{part({'alg': 'none'})}.{body}.",
        "no algorithm, capitals": f"{part({'alg': 'NONE', 'kid': 'one'})}.{body}.",
        "the public key as a shared secret": shared,
        "another key under the same name": provider.token(key=stranger),
        "an algorithm that is not listed": provider.token(alg="RS512"),
        "a key that comes along": provider.token(key=stranger, header={"jwk": stranger.as_dict(private=False)}),
        "a signature of something else": f"{head}.{part({'iss': ISSUER, 'aud': AUDIENCE, 'sub': 'eve', 'exp': 9999999999})}.{signature}",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "nonsense": "eyJ.eyJ.eyJ",
        "depth": part({"alg": "RS256", "kid": "one"})
        + "."
        + base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=")
        + ".AA",
        "length": "ey" + "A" * 60_000,
    }
    for name, token in forged.items():
        assert await status(site, token) in (401, 431), name
    assert await status(site, good) == 200


async def test_a_new_key_of_the_issuer_is_fetched_and_not_more_often_than_allowed(tmp_path: Path, provider: Provider) -> None:
    now = time.time()
    oidc = Oidc(read(settings(tmp_path, provider)), now=lambda: now)
    await oidc.open()
    asked = provider.asked
    provider.keys["two"] = jwk.RSAKey.generate_key(2048, {"kid": "two"})
    token = provider.token("two").encode()
    for _ in range(100):
        assert oidc.identify(token) is None
    assert oidc._fetching is None, "no sooner than half a minute after the last time"
    now += 31
    assert oidc.identify(token) is None
    assert oidc._fetching is not None
    await oidc._fetching
    assert provider.asked == asked + 1
    found = oidc.identify(token)
    assert found is not None
    assert found.id == f"oidc:{ISSUER}#ada"
    now += 600
    assert oidc.identify(token) is None, "it is over"
    del provider.keys["two"]
    oidc.close()


def test_settings_that_would_open_the_door(tmp_path: Path, provider: Provider) -> None:
    for more in (
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"algorithms": []},
        {"jwks": "http://login.example/jwks"},
        {"audience": ""},
        {"x": 1},
    ):
        with pytest.raises(BadInput):
            read(settings(tmp_path, provider, **more))


async def test_a_server_whose_issuer_cannot_be_reached_says_so_at_the_start(tmp_path: Path, provider: Provider) -> None:
    empty = tmp_path / "keys.json"
    await anyio.Path(empty).write_text('{"keys": []}')
    for where in (str(empty), str(tmp_path / "missing"), "http://127.0.0.1:9/"):
        oidc = Oidc(read(settings(tmp_path, provider, jwks=where)), now=time.time)
        with pytest.raises(BadInput, match="cannot be read"):
            await oidc.open()
