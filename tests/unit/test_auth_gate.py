"""Who gets in: loopback without a login, web pages that try to use it, and tokens."""

from __future__ import annotations

import pytest

from dayfly.auth.gate import REMEMBERED, Gate
from dayfly.auth.hosts import host_name, is_loopback
from dayfly.auth.tokens import Keyring, new_token
from dayfly.errors import DayflyError, Forbidden, Unauthenticated
from dayfly.model.identity import ANONYMOUS, LOCAL, OWNS_ALL, STRANGER, Identity, Role

NEAR = "127.0.0.1"


def enter(
    gate: Gate, *headers: tuple[str, str], host: str = "localhost:8000", peer: str = NEAR, method: str = "GET"
) -> Identity:
    return gate.authenticate([(name.encode(), value.encode()) for name, value in headers], host, peer, method)


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8000", "localhost"),
        ("localhost.:8000", "localhost"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1", ""),
        ("[::1]x", ""),
        ("localhost:80@evil.example", ""),
        ("localhost:x", ""),
        ("a:1:2", ""),
        ("", ""),
    ],
)
def test_the_name_in_a_host_header(authority, name):
    assert host_name(authority) == name


@pytest.mark.parametrize("name", ["localhost", "hello.localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_names_that_always_mean_this_machine(name):
    assert is_loopback(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "notlocalhost",
        "0.0.0.0",
        "128.0.0.1",
        "127.0.0.1.nip.example",
        "2130706433",
    ],
)
def test_names_that_may_mean_another_machine(name):
    assert not is_loopback(name)


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "hello.localhost:8000"])
def test_nobody_has_to_log_in_on_loopback(host):
    gate = Gate()
    assert enter(gate, host=host) is LOCAL
    assert enter(gate, host=host) is LOCAL  # from memory


@pytest.mark.parametrize("host", ["", "evil.example", "evil.example:8000", "localhost.evil.example", "192.168.0.7:8000"])
def test_a_name_that_can_be_rebound_is_refused(host):
    with pytest.raises(Forbidden, match="DNS rebinding"):
        enter(Gate(), host=host)


def test_names_that_the_operator_vouches_for_are_ours():
    gate = Gate(hosts=["Faas.Example", "other.example:8000"])
    assert enter(gate, host="faas.example:8000") is LOCAL
    assert enter(gate, ("origin", "https://faas.example"), host="faas.example", method="POST") is LOCAL
    with pytest.raises(Forbidden):
        enter(gate, host="x.faas.example")


def test_a_star_stands_for_all_names_below():
    gate = Gate(hosts=["*.fn.example"])
    assert enter(gate, host="hello.default.fn.example:8000") is LOCAL
    for host in ("fn.example", "xfn.example", "fn.example.evil.example", "*.evil.example"):
        with pytest.raises(Forbidden):
            enter(gate, host=host)


@pytest.mark.parametrize("peer", ["192.168.0.7", "10.0.0.1", "2001:db8::1", "garbage"])
def test_other_machines_are_refused_where_nobody_logs_in(peer):
    with pytest.raises(Unauthenticated, match="its own machine"):
        enter(Gate(), peer=peer)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.0.0.9", "::1", ""])  # a Unix socket has no peer address
def test_this_machine_is_let_in(peer):
    assert enter(Gate(), peer=peer) is LOCAL


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "BREW"])
@pytest.mark.parametrize(
    "headers",
    [
        [("origin", "https://evil.example")],
        [("origin", "null")],
        [("origin", "https://localhost.evil.example")],
        [("origin", "file://")],
        [("origin", "chrome-extension://localhost")],
        [("sec-fetch-site", "cross-site")],
        [("origin", "http://localhost:8000"), ("sec-fetch-site", "cross-site")],
    ],
)
def test_a_foreign_page_changes_nothing(method, headers):
    with pytest.raises(Forbidden, match="web page"):
        enter(Gate(), *headers, method=method)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("origin", "http://localhost:8000"), ("sec-fetch-site", "same-origin")],
        [("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")],
        [("sec-fetch-site", "none")],
    ],
)
def test_our_own_pages_may_change_things(headers):
    assert enter(Gate(), *headers, method="POST") is LOCAL


def test_following_a_link_to_us_is_no_attack():
    assert enter(Gate(), ("sec-fetch-site", "cross-site"), method="GET") is LOCAL


def test_a_foreign_page_opens_no_websocket():
    with pytest.raises(Forbidden):
        enter(Gate(), ("upgrade", "websocket"), ("origin", "https://evil.example"), method="GET")


def test_memory_of_hosts_is_bounded():
    gate = Gate()
    for number in range(REMEMBERED + 50):
        assert enter(gate, host=f"x{number}.localhost", peer=f"127.0.{number // 250}.{number % 250}") is LOCAL
    assert len(gate._ours) == REMEMBERED
    assert len(gate._near) <= REMEMBERED


def test_no_function_installs_a_service_worker():
    with pytest.raises(Forbidden, match="service worker"):
        enter(Gate(), ("service-worker", "script"), ("sec-fetch-site", "same-origin"))


class TestControl:
    """The control API of a server without a login."""

    @staticmethod
    def control(*headers: tuple[str, str], method: str = "GET", gate: Gate | None = None, **where: str) -> Identity:
        sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        place = {"host": "localhost:8000", "peer": NEAR, **where}
        return (gate or Gate()).control(sent, place["host"], place["peer"], method)

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
    @pytest.mark.parametrize(
        "headers",
        [
            [],  # the command line, curl, any HTTP library
            [("sec-fetch-mode", "cors"), ("accept-language", "*")],  # fetch of Node
            [("sec-fetch-site", "none"), ("sec-fetch-dest", "document")],  # typed into a browser
            [("authorization", "Basic dXNlcjpwYXNz")],
        ],
    )
    def test_whoever_is_no_page_gets_through(self, method, headers):
        assert self.control(*headers, method=method) is LOCAL

    @pytest.mark.parametrize("site", ["same-origin", "same-site", "cross-site"])
    def test_following_a_link_is_allowed(self, site):
        link = [("sec-fetch-site", site), ("sec-fetch-dest", "document"), ("referer", "http://localhost:8000/v1/docs")]
        assert self.control(*link) is LOCAL
        with pytest.raises(Forbidden):
            self.control(*link, method="POST")  # a form

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
    @pytest.mark.parametrize(
        "headers",
        [
            [("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "empty")],  # fetch, XMLHttpRequest, EventSource
            [("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "empty"), ("referer", "http://localhost:8000/v1/docs")],
            [("sec-fetch-site", "same-origin")],
            [("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "iframe")],
            [("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "script")],
            [("sec-fetch-site", "same-site"), ("sec-fetch-dest", "image")],
            [("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "empty")],
            [("origin", "http://localhost:8000")],
            [("origin", "http://localhost:8000"), ("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "document")],
            [("origin", "http://localhost:8000"), ("sec-fetch-site", "none")],
            [("origin", "null")],
            [("referer", "http://localhost:8000/fn/default/page")],  # a browser without Sec-Fetch-*
            [("referer", "http://localhost:8000")],
            [("referer", "http://[broken\xff")],
        ],
    )
    def test_no_page_gets_through_not_even_our_own(self, method, headers):
        with pytest.raises(Forbidden, match="web page"):
            self.control(*headers, method=method)

    def test_the_rules_for_calls_hold_too(self):
        with pytest.raises(Forbidden, match="DNS rebinding"):
            self.control(host="evil.example")
        with pytest.raises(Unauthenticated, match="its own machine"):
            self.control(peer="10.0.0.1")

    page = (("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site"), ("sec-fetch-dest", "empty"))

    def test_a_page_with_a_token_is_whose_token_it_is(self):
        token, alice = new_token(), Identity(name="alice", grants=OWNS_ALL)
        gate = Gate(Keyring({token: alice}), login=False)
        assert self.control(("authorization", f"Bearer {token}"), *self.page, method="PUT", gate=gate) is alice
        assert self.control(gate=gate) is LOCAL
        assert enter(gate, ("authorization", "Bearer of the function's own")) is LOCAL
        with pytest.raises(Forbidden, match="web page"):
            self.control(*self.page, gate=gate)

    @pytest.mark.parametrize("gate", [Gate(), Gate(login=False), Gate(Keyring({new_token(): LOCAL}), login=False)])
    def test_a_wrong_token_is_worse_than_none(self, gate):
        assert self.control(gate=gate) is LOCAL
        for headers in ((), self.page):
            with pytest.raises(Unauthenticated, match="not one of this server's"):
                self.control(("authorization", f"bearer {new_token()}"), *headers, gate=gate)

    def test_with_a_login_only_the_token_counts(self):
        token = new_token()
        gate = Gate(Keyring({token: LOCAL}))
        assert self.control(("authorization", f"Bearer {token}"), *self.page, method="PUT", gate=gate) is LOCAL
        with pytest.raises(Unauthenticated):
            self.control(gate=gate)


class TestWithTokens:
    token = new_token()
    alice = Identity(name="alice", grants={"a": (Role.DEPLOYER,)})
    gate = Gate(Keyring({token: alice, new_token(): LOCAL}))

    def test_the_token_says_who_it_is(self):
        assert enter(self.gate, ("authorization", f"Bearer {self.token}")) is self.alice
        assert enter(self.gate, ("authorization", f"bearer  {self.token}")) is self.alice

    def test_a_token_works_from_anywhere(self):
        shown = ("authorization", f"Bearer {self.token}")
        origin = ("origin", "https://console.example")
        assert enter(self.gate, shown, origin, host="faas.example", peer="10.0.0.1", method="POST") is self.alice

    @pytest.mark.parametrize(
        "headers",
        [
            [],
            [("authorization", "")],
            [("authorization", "Bearer")],
            [("authorization", "Bearer ")],
            [("authorization", f"Bearer {token}x")],
            [("authorization", f"Bearer {token[:-1]}")],
            [("authorization", f"Basic {token}")],
            [("authorization", token)],
            [("authorization", f"Bearer {new_token()}")],
            [("authorization", "Bearer \xff\xfe")],
            [("authorization", f"Bearer {token}"), ("authorization", "Bearer other")],
            [("cookie", f"token={token}")],
        ],
    )
    def test_anything_else_is_nobody_even_from_loopback(self, headers):
        shown = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        with pytest.raises(Unauthenticated) as refusal:
            self.gate.control(shown, "localhost:8000", NEAR, "GET")
        assert self.token not in repr(refusal.value.problem())
        if [name for name, _ in headers].count("authorization") < 2:
            caller = enter(self.gate, *headers)  # who may call public functions
            assert caller is (STRANGER if any(name == "authorization" and value for name, value in headers) else ANONYMOUS)
            assert (caller.grants, caller.id) == ({}, "")
        else:
            with pytest.raises(Unauthenticated):
                enter(self.gate, *headers)

    def test_a_refusal_says_what_to_do(self):
        with pytest.raises(DayflyError) as refusal:
            self.gate.control([], "localhost:8000", NEAR, "GET")
        assert "DAYFLY_TOKEN" in refusal.value.hint


def test_a_keyring_keeps_no_token():
    token = new_token()
    assert token not in repr(vars(Keyring({token: LOCAL})))
