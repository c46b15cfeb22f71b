"""What an event function gets as its event, out of an HTTP request."""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

from ..actions import Invoke
from ..errors import BadInput, UnsupportedMedia

_check_json = msgspec.json.Decoder(msgspec.Raw).decode


def event_body(invoke: Invoke) -> None:
    """Make `invoke.body` the JSON text of the event, in place.

    An empty body becomes an object made of the query's parameters (texts; the last of a repeated name wins). Raises
    UnsupportedMedia if the content type is not JSON, BadInput if the body is not JSON.
    """
    body = invoke.body
    if not body:
        query = invoke.http.query if invoke.http is not None else ""
        invoke.body = msgspec.json.encode(dict(parse_qsl(query, keep_blank_values=True))) if query else b"{}"
        return
    kind = invoke.content_type
    if kind and kind != "application/json":
        plain = kind.partition(";")[0].strip().lower()
        if plain not in ("application/json", "text/json", "application/x-www-form-urlencoded") and not plain.endswith("+json"):
            raise UnsupportedMedia(
                f"the function takes an event, which is JSON, and the body is {plain[:100]}",
                hint="Send content-type: application/json, or deploy the function with --http to get the raw request.",
            )
    try:
        _check_json(body)
    except msgspec.DecodeError as error:
        raise BadInput(f"the body is not JSON: {error}", hint='Send one JSON value, e.g. {"name": "Ada"}.') from None
    except RecursionError:
        raise BadInput(
            "the body is JSON nested deeper than anybody can read", hint="Nest at most some hundred levels."
        ) from None
    except UnicodeDecodeError:
        raise BadInput("the body is not JSON: it is not UTF-8") from None
