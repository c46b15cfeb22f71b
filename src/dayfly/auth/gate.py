"""The one decision at the door: who sends this request?

Without a login (loopback only) everybody on this machine is `LOCAL`. What keeps web pages out then, since a browser on this machine
reaches us too, are rules on what only browsers send. For calls of functions (`authenticate`):

* the Host header must be a name that cannot be rebound (see `hosts`);
* a request that may change something, or opens a websocket, must not come from a foreign page: its Origin has to be a name of this
  machine, and Sec-Fetch-Site must not say `cross-site`;
* no service worker: functions share one origin, and it would sit between the browser and all of them.

A page that a function serves is no foreign page, though: it shares its origin with the control API. So everything but calls
(`control`) is refused to all pages. Whoever types an address, follows a link to it, or uses no browser gets through; what
carries an Origin, or a Sec-Fetch-Site other than `none` without being a plain navigation, was sent by a page. That no page reads what
a navigation brings is for the answer to say (`Content-Security-Policy: sandbox`, which gives it an origin of its own). Browsers
leave Sec-Fetch-* out for plain http on names other than loopback ones; the Referer is then all there is, and a page can hide
it: a server with such a name should ask for a token.

With a login the caller shows `Authorization: Bearer dft_...`. Browsers never add that by themselves, so no rule is needed. Where nobody
has to log in, a token still tells who somebody is to the control API: right, it is above the rules for pages; wrong, it is refused.

The same function serves the gateway's fast lane: it makes one pass over the headers, and answers it gave before come from a small memory.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import Forbidden, Unauthenticated
from ..model.identity import ANONYMOUS, LOCAL, STRANGER, Identity
from .hosts import host_name, is_loopback
from .tokens import Keyring

Headers = Iterable[tuple[bytes, bytes]]  # names in lower case

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
REMEMBERED = 256  # names of hosts and peers whose answer is kept


class Gate:
    """`keyring`: the tokens, if there are any; `login`: whether everybody must show one of them.

    `hosts`: further names of this server; `*.name` stands for all below a name.
    """

    def __init__(self, keyring: Keyring | None = None, *, login: bool = True, hosts: Iterable[str] = ()) -> None:
        self.credentials = keyring if keyring is not None else Keyring()  # for dialects that authenticate in their own way
        self._login = login and keyring is not None
        names = [name for host in hosts if (name := host_name(host))]
        self._told = frozenset(names)
        self._below = tuple(name[1:] for name in names if name.startswith("*."))
        self._ours: set[str] = set()  # authorities (with port) that were found to be ours
        self._near = {""}  # peers that were found to be on this machine; a Unix socket has no address

    @property
    def asks_login(self) -> bool:
        """Whether callers show this server's own token."""
        return self._login

    def authenticate(self, headers: Headers, host: str, peer: str, method: str) -> Identity:
        """Who calls a function. `host` is the Host header, `peer` the client's address.

        With a login it is ANONYMOUS or STRANGER who shows no token or a foreign one: the function may be public. Raises
        errors.Unauthenticated (several tokens, or none from another machine) or errors.Forbidden (sent by a foreign web page).
        """
        if self._login:
            return self._by_token(headers)
        if peer not in self._near and not self._remember_peer(peer):
            raise Unauthenticated(
                "This server needs no login from its own machine, and takes no requests from others.",
                hint="Start it with a token to serve other machines.",
            )
        if host not in self._ours and not self._remember_host(host):
            raise Forbidden(
                f"The Host header {host[:100]!r} is not a name of this machine (a guard against DNS rebinding).",
                hint="Use http://127.0.0.1 or http://localhost, or tell the server this name.",
            )
        changes = method not in SAFE_METHODS
        origin = site = b""
        for name, value in headers:
            if name == b"origin":
                origin = value
            elif name == b"sec-fetch-site":
                site = value
            elif name == b"upgrade":
                changes = True
            elif name == b"service-worker":
                raise Forbidden(
                    "All functions of this server share one origin, and a service worker would stand before each of them.",
                    hint="Start the server with a token, or serve the page from elsewhere.",
                )
        if changes and (origin or site):
            self._refuse_foreign(origin, site)
        return LOCAL

    def control(self, headers: Headers, host: str, peer: str, method: str) -> Identity:
        """Who uses the control API: everything that is not the call of a function. Arguments as of `authenticate`.

        Raises errors.Unauthenticated (no or wrong token) or errors.Forbidden (sent by any web page).
        """
        fields = dict(headers)
        if self._login or fields.get(b"authorization", b"")[:7].lower() == b"bearer ":
            known = self._by_token(headers)
            if known is ANONYMOUS or known is STRANGER:
                raise unknown(known, login=self._login)
            return known
        identity = self.authenticate(headers, host, peer, method)
        if _by_page(fields, method):
            raise Forbidden(
                "A web page sent this request. The control API of a server without a login takes none from pages, since functions"
                " can serve pages, too.",
                hint="Use the command line, or show a token: Authorization: Bearer dft_...",
            )
        return identity

    def _by_token(self, headers: Headers) -> Identity:
        shown = b""
        for name, value in headers:
            if name == b"authorization":
                if shown:
                    raise Unauthenticated("The request carries more than one Authorization header.")
                shown = value
        if not shown:
            return ANONYMOUS
        scheme, _, token = shown.partition(b" ")
        if scheme.lower() != b"bearer":
            return STRANGER
        return self.credentials.identify(token.strip()) or STRANGER

    def _refuse_foreign(self, origin: bytes, site: bytes) -> None:
        if site == b"cross-site":
            raise Forbidden("A web page of another site sent this request (Sec-Fetch-Site: cross-site).")
        if origin:
            scheme, slashes, authority = origin.decode("latin-1").partition("://")
            if not slashes or scheme not in ("http", "https") or not self._is_ours(authority):
                raise Forbidden(
                    f"A web page of another origin sent this request (Origin: {origin.decode('latin-1')[:100]}).",
                    hint="Serve the page from this machine, or start the server with a token.",
                )

    def _is_ours(self, authority: str) -> bool:
        name = host_name(authority)
        return name in self._told or name.endswith(self._below) or is_loopback(name)

    def _remember_host(self, host: str) -> bool:
        if not self._is_ours(host):
            return False
        if len(self._ours) < REMEMBERED:
            self._ours.add(host)
        return True

    def _remember_peer(self, peer: str) -> bool:
        if not is_loopback(peer):
            return False
        if len(self._near) < REMEMBERED:
            self._near.add(peer)
        return True


def unknown(identity: Identity, *, login: bool = True) -> Unauthenticated:
    """What ANONYMOUS or STRANGER is told."""
    if identity is ANONYMOUS:
        return Unauthenticated(
            "This server asks for a token, and the request carries none.",
            hint="Send `Authorization: Bearer dft_...`, or set DAYFLY_TOKEN for the command line.",
        )
    return Unauthenticated(
        "The token is not one of this server's.",
        hint="Look for the file `token` in the server's data directory."
        if login
        else "This server asks for none: leave it out (unset DAYFLY_TOKEN).",
    )


def _by_page(fields: dict[bytes, bytes], method: str) -> bool:
    """Whether a page sent this, as far as browsers say. Following a link is the user's doing."""
    if b"origin" in fields:
        return True
    if site := fields.get(b"sec-fetch-site"):
        return site != b"none" and (method not in SAFE_METHODS or fields.get(b"sec-fetch-dest") != b"document")
    referer = fields.get(b"referer", b"")
    return bool(referer) and not referer.partition(b"://")[2].partition(b"/")[2].startswith(b"v1")
