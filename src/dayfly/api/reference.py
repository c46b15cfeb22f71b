"""The API reference as one HTML page: rendered from the OpenAPI description, without scripts or anything loaded from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html import escape
from itertools import groupby
from typing import Any

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code { font: 14px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
summary { cursor: pointer; padding: .3rem 0; }
summary b { display: inline-block; min-width: 4.5rem; }
details { border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
details div { padding: 0 0 .8rem 1.2rem; }
table { border-collapse: collapse; } td { padding: .1rem .8rem .1rem 0; vertical-align: top; }
"""

HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
}


def render(description: dict[str, Any]) -> str:
    """The page for an OpenAPI description."""
    return "".join(_page(description))


def _page(description: dict[str, Any]) -> Iterator[str]:
    info = description["info"]
    title = escape(f"{info['title']} {info['version']}")
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<h1>{title}</h1><p>{escape(info['description'])} "
    yield 'The same as <a href="/v1/openapi.json">OpenAPI 3.1</a>.</p>'
    about = {tag["name"]: tag["description"] for tag in description["tags"]}
    operations = [
        (operation["tags"][0], method, path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    order = list(about)
    operations.sort(key=lambda row: order.index(row[0]))
    for tag, rows in groupby(operations, key=lambda row: str(row[0])):
        yield f'<h2 id="{tag}">{tag.capitalize()}</h2><p>{escape(about[tag])}</p>'
        for _, method, path, operation in rows:
            yield f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code></summary><div>"
            yield f"<p>{escape(operation['summary'])}.</p>{_parameters(operation)}{_body(operation)}"
            yield f"<table>{_responses(operation)}</table></div></details>"
    yield "</html>\n"


def _parameters(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code><td>{p['in']}<td>{escape(p['description'])}" for p in operation["parameters"]
    )
    return f"<table>{rows}</table>" if rows else ""


def _body(operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    return "".join(f"<p>Body: <code>{media}</code> {_shape(of)}</p>" for media, of in content.items())


def _responses(operation: dict[str, Any]) -> str:
    return "".join(
        f"<tr><td>{status}<td>{escape(response['description'])}<td>{_shape(next(iter(response.get('content', {}).values()), {}))}"
        for status, response in operation["responses"].items()
    )


def _shape(content: dict[str, Any]) -> str:
    reference = content.get("schema", {}).get("$ref", "")
    return f"<code>{escape(reference.rpartition('/')[2])}</code>" if reference else ""
