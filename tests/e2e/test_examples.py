"""Each example: packed as the command line packs it, deployed with its dependencies installed for real, called, its answer checked."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dayfly.build.detect import detect
from dayfly.build.pack import pack
from dayfly.sandbox.node.interpreters import find, runtimes
from tests.support.machine import needs_node
from tests.support.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


async def deploy(site: Site, example: str, folder: Path | None = None, **config: Any) -> None:
    """Pack, upload and put, as `dayfly deploy examples/EXAMPLE --name EXAMPLE` does."""
    folder = folder or EXAMPLES / example
    found = detect(folder, runtimes=runtimes())
    package = await site.api("POST", "/packages", content=pack(folder), headers={"content-type": "application/zip"})
    body = {
        "code": {"package": package["digest"]},
        "config": {"runtime": found.runtime, "handler": found.handler, **config},
    }
    await site.api("PUT", f"/functions/{example}", json=body, timeout=240)


def session(readme: str) -> list[tuple[str, str]]:
    """(command, expected output) of the lines that are indented by four; commands begin with a dollar sign."""
    found: list[tuple[str, str]] = []
    for line in re.findall(r"^    (.*)$", readme, re.MULTILINE):
        if line.startswith("$ "):
            found.append((line[2:], ""))
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return found


@pytest.mark.parametrize("example", sorted(folder.name for folder in EXAMPLES.iterdir()))
async def test_what_its_readme_says_happens(site: Site, example: str, tmp_path: Path) -> None:
    commands = session((EXAMPLES / example / "README.md").read_text())
    script = "\n".join(command for command, _ in commands).replace("http://127.0.0.1:8000", site.url)
    for tool in ("curl", "openssl", "go"):
        if re.search(rf"\b{tool} ", script) and shutil.which(tool) is None:
            pytest.skip(f"this machine has no {tool}")
    if any((EXAMPLES / example).glob("*.js")) and "node" not in find():
        pytest.skip("there is no Node on this machine")
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    shutil.copy(EXAMPLES.parent / "LICENSE", tmp_path)
    environment = os.environ | {
        "DAYFLY_URL": site.url,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GOTOOLCHAIN": "local",
    }
    marked = "".join(f"{line}\nprintf '\\n\\001\\n'\n" for line in script.splitlines())
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", marked, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complaints = await shell.communicate()
    answers = said.decode().replace("\r", "").split("\n\001\n")
    for (command, expected), answer in zip(commands, answers, strict=False):
        pattern = ".*".join(map(re.escape, expected.strip().split("...")))
        assert not expected or re.fullmatch(pattern, answer.strip(), re.DOTALL), f"{command}\n{answer}\n{complaints.decode()}"
    assert any(expected for _, expected in commands)


async def test_hello(site: Site) -> None:
    await deploy(site, "hello")
    assert (await site.call("hello", {"name": "Ada"})).json() == {"hello": "Ada"}
    assert (await site.call("hello")).json() == {"hello": "world"}


async def test_wordcount_streams_and_ends_with_the_top_words(site: Site) -> None:
    await deploy(site, "wordcount", flavour="http")
    text = (EXAMPLES.parent / "LICENSE").read_bytes() * 60  # 680 KB: several chunks
    async with site.http.stream("POST", "/fn/default/wordcount", content=text) as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        states = [json.loads(line) async for line in response.aiter_lines()]
    *running, last = states
    words = re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", text.decode().lower())
    assert last["words"] == len(words)
    assert last["lines"] == text.count(b"\n")
    assert last["distinct"] == len(set(words))
    assert last["top"][0] == ["the", words.count("the")]
    assert len(running) > 1
    assert [state["words"] for state in running] == sorted(state["words"] for state in running)


async def test_wordcount_of_a_text_without_a_newline_at_its_end(site: Site) -> None:
    await deploy(site, "wordcount", flavour="http")
    response = await site.http.post("/fn/default/wordcount", content="Ça va? Ça va,\nc'est l'été".encode())
    last = json.loads(response.text.splitlines()[-1])
    assert last == {"lines": 2, "words": 6, "distinct": 4, "top": [["ça", 2], ["va", 2], ["c'est", 1], ["l'été", 1]]}


async def test_thumbnail_of_a_photo(site: Site) -> None:
    await deploy(site, "thumbnail", flavour="http")
    photo = (EXAMPLES / "thumbnail" / "rocket.jpg").read_bytes()
    response = await site.http.post("/fn/default/thumbnail?size=160", content=photo, headers={"content-type": "image/jpeg"})
    assert (response.status_code, response.headers["content-type"]) == (200, "image/jpeg"), response.text
    small = Image.open(io.BytesIO(response.content)).convert("RGB")
    assert small.size == (160, 107)
    expected = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB").resize(small.size), dtype=float)
    assert abs(np.asarray(small, dtype=float) - expected).mean() < 6  # it shows the same
    assert len(response.content) < 12_000
    refused = await site.http.post("/fn/default/thumbnail", content=b"not an image")
    assert refused.status_code == 415
    assert (await site.http.post("/fn/default/thumbnail?size=9999", content=photo)).status_code == 400


async def test_pagerank_agrees_with_linear_algebra(site: Site) -> None:
    await deploy(site, "pagerank")
    answer = (await site.call("pagerank", {"nodes": 10_000, "seed": 42, "top": 3})).json()
    assert (answer["nodes"], answer["edges"], answer["sum"]) == (10_000, 48_822, 1.0)
    assert (await site.call("pagerank", {"seed": 42, "top": 3})).json() == answer
    edges = [[0, 1], [0, 2], [1, 2], [2, 0], [3, 2], [3, 4]]  # 4 links nowhere
    matrix = np.zeros((5, 5))
    for source, target in edges:
        matrix[target, source] = 1
    sums = matrix.sum(axis=0)
    google = 0.85 * np.where(sums > 0, matrix / np.where(sums > 0, sums, 1), 1 / 5) + 0.15 / 5
    values, vectors = np.linalg.eig(google)
    ranks = np.real(vectors[:, np.argmax(np.real(values))])
    ranks /= ranks.sum()
    found = (await site.call("pagerank", {"edges": edges})).json()
    assert {node: pytest.approx(rank, abs=1e-6) for node, rank in found["top"]} == dict(enumerate(ranks))


async def test_markdown_renders_and_escapes(site: Site) -> None:
    await deploy(site, "markdown", flavour="http")
    text = "# Hi *there*\n\n| a | b |\n|---|---|\n| 1 | <script>x</script> |\n"
    response = await site.http.post("/fn/default/markdown", content=text)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>Hi <em>there</em></h1>" in response.text
    assert "<td>1</td>" in response.text
    assert "<script>" not in response.text
    assert "&lt;script&gt;" in response.text


async def test_report_as_pdf_and_csv(site: Site) -> None:
    await deploy(site, "report")
    event = json.loads((EXAMPLES / "report" / "sales.json").read_text())
    response = await site.call("report", event)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/pdf"), response.text
    assert response.content.startswith(b"%PDF-")
    assert response.content.rstrip().endswith(b"%%EOF")
    assert b"/Title (Sales, third quarter)" in response.content
    table = await site.call("report", {**event, "format": "csv"})
    assert table.text.splitlines()[:3] == ["region,orders,revenue", "Nord,1204,48201.5", "Süd,987,39554.25"]
    assert (await site.call("report", {"rows": []})).status_code == 400


@needs_node
async def test_webhook_verifies_the_signature(site: Site) -> None:
    secret = "It's a Secret to Everybody"
    await site.http.put("/v1/namespaces/default/secrets/webhook-secret", json={"value": secret})
    await deploy(site, "webhook", flavour="http", secrets={"WEBHOOK_SECRET": "webhook-secret"})
    url = "/fn/default/webhook"
    push = {"ref": "refs/heads/main", "commits": [{}, {}], "repository": {"full_name": "a/b"}, "pusher": {"name": "ada"}}
    body = json.dumps(push).encode()
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"x-hub-signature-256": signature, "x-github-event": "push"}
    answer = await site.http.post(url, content=body, headers=headers)
    assert answer.json() == {"event": "push", "summary": "2 commits to refs/heads/main of a/b by ada"}
    assert (await site.http.post(url, content=body + b" ", headers=headers)).status_code == 401
    assert (await site.http.post(url, content=body)).status_code == 401
    assert (await site.http.get(url)).status_code == 405
    # the pair that GitHub's documentation gives: rightly signed, though not JSON
    published = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    known = await site.http.post(url, content=b"Hello, World!", headers={"x-hub-signature-256": published})
    assert known.status_code == 400


async def test_a_bootstrap_in_go(site: Site, tmp_path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("this machine has no go compiler")
    folder = tmp_path / "bootstrap-go"
    shutil.copytree(EXAMPLES / "bootstrap-go", folder)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    build = await asyncio.create_subprocess_exec(go, "build", "-o", "bootstrap", ".", cwd=folder, env=environment)
    assert await build.wait() == 0
    await deploy(site, "bootstrap-go", folder, flavour="http")
    answer = await site.http.post("/fn/default/bootstrap-go/any/path", json={"name": "Ada"})
    assert answer.json() == {
        "hello": "ADA",
        "path": "/any/path",
        "invocation": answer.headers["dayfly-invocation-id"],
    }
    assert (await site.http.post("/fn/default/bootstrap-go", content=b"{")).status_code == 400


async def test_a_bootstrap_without_a_compiler(site: Site) -> None:
    await deploy(site, "bootstrap-python", flavour="http", max_instances=1, concurrency=8)
    url = "/fn/default/bootstrap-python"
    assert (await site.http.put(f"{url}/milk", content="2 litres")).status_code == 201
    assert (await site.http.get(f"{url}/")).json() == {"milk": "2 litres"}
    assert (await site.http.get(f"{url}/eggs")).status_code == 404
    assert (await site.http.delete(f"{url}/milk")).json() == {"milk": "2 litres"}
    assert (await site.http.get(url)).json() == {}
