"""A page that a function serves shares its origin with the control API, and still gets nothing from it without a token."""

from __future__ import annotations

import pytest

from tests.support.site import Site

pytestmark = pytest.mark.anyio

PAGE = """
def handler(request, context):
    return {"status": 200, "headers": {"content-type": "text/html"}, "body": "<script>fetch('/v1/namespaces')</script>"}
"""
FUNCTIONS = "/v1/namespaces/default/functions"


async def test_the_script_of_a_page_reaches_functions_but_not_the_control_api(site: Site) -> None:
    await site.deploy("page", PAGE, flavour="http")
    referer = {"referer": f"{site.url}/fn/default/page"}
    typed = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    script = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty", **referer}
    changing = {**script, "origin": site.url}

    assert (await site.http.get("/fn/default/page", headers=typed)).headers["content-type"] == "text/html"
    assert (await site.http.post("/fn/default/page", headers=changing, content=b"")).status_code == 200

    for path in ("/v1", "/v1/namespaces", FUNCTIONS, f"{FUNCTIONS}/page", "/metrics"):
        refused = await site.http.get(path, headers=script)
        assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json"), path
        assert (
            await site.http.get(path, headers={**typed, "sec-fetch-dest": "iframe", "sec-fetch-site": "same-origin"})
        ).is_error
    refused = await site.http.delete(f"{FUNCTIONS}/page", headers=changing)
    assert refused.status_code == 403
    assert (
        await site.http.delete(f"{FUNCTIONS}/page", headers={**changing, "authorization": "Bearer guess"})
    ).status_code == 401

    assert (await site.http.get(f"{FUNCTIONS}/page")).status_code == 200


async def test_a_browser_opens_the_documentation_and_what_is_typed(site: Site) -> None:
    typed = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    clicked = {**typed, "sec-fetch-site": "same-origin", "referer": f"{site.url}/v1/docs"}
    docs = await site.http.get("/v1/docs", headers=typed)
    assert docs.status_code == 200
    assert "sandbox" not in docs.headers["content-security-policy"]
    for path in ("/v1/openapi.json", "/v1/namespaces"):
        for headers in (typed, clicked):
            answer = await site.http.get(path, headers=headers)
            assert answer.status_code == 200
            assert answer.headers["content-security-policy"].startswith("sandbox"), "another page could read it"


async def test_functions_install_no_service_workers(site: Site) -> None:
    await site.deploy("worker", PAGE, flavour="http")
    headers = {"service-worker": "script", "sec-fetch-site": "same-origin", "sec-fetch-dest": "serviceworker"}
    answer = await site.http.get("/fn/default/worker", headers=headers)
    assert (answer.status_code, answer.headers["dayfly-error"]) == (403, "platform")
