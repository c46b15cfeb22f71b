"""Allow-lists as text, and what the resolver of instances makes of questions."""

from __future__ import annotations

from pathlib import Path

import dns.message
import dns.rcode
import pytest

from dayfly.errors import BadInput
from dayfly.model.function import Config
from dayfly.model.network import ANY_PORT, Network, parse
from dayfly.model.profile import NATIVE
from dayfly.registry.deploy import check_config
from dayfly.sandbox.node.net import rules
from dayfly.sandbox.node.net.resolver import failure, upstream


@pytest.mark.parametrize(
    ("text", "names", "others"),
    [
        ("api.example.com:443", ["api.example.com"], ["example.com", "x.api.example.com", "api.example.com.evil.test"]),
        ("API.Example.com.:443", ["api.example.com"], []),
        (
            "*.example.com:443",
            ["api.example.com", "a.b.example.com"],
            ["example.com", "evilexample.com", "example.com.evil.test"],
        ),
        ("localhost:80", ["localhost"], [""]),
        ("192.0.2.7:80", [], ["192.0.2.7", ""]),
    ],
)
def test_which_names_an_entry_stands_for(text: str, names: list[str], others: list[str]) -> None:
    entry = parse(text)
    assert [name for name in (*names, *others) if entry.names(name)] == names


def test_addresses_networks_and_ports() -> None:
    assert str(parse("192.0.2.7:5432").network) == "192.0.2.7/32"
    assert str(parse("10.1.0.0/16:*").network) == "10.1.0.0/16"
    assert (parse("10.1.0.0/16:*").port, parse("db:65535").port) == (ANY_PORT, 65535)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "example.com:",
        ":443",
        "example.com:0",
        "example.com:65536",
        "example.com:http",
        "example.com:４４３",
        "10.1.0.1/16:80",
        "10.1.0:80",
        "300.1.1.1:80",
        "[::1]:80",
        "2001:db8::1:80",
        "*:443",
        "*.*.com:443",
        "a b:1",
        "a;b:1",
        "x" * 64 + ".com:1",
        "a..b:1",
        "-a.com:1",
        'a"; flush ruleset:1',
        "a\n:1",
        "é.com:443",
    ],
)
def test_what_is_no_entry(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|address|IPv6|host name"):
        parse(text)


def test_a_list_without_its_mode_or_a_wrong_one_is_refused() -> None:
    check_config(Config(network=Network.ALLOW, allow=("a.test:1",)), NATIVE)
    check_config(Config(network=Network.ALLOW), NATIVE)  # the platform alone
    with pytest.raises(BadInput, match="allow-list"):
        check_config(Config(allow=("a.test:1",)), NATIVE)
    with pytest.raises(BadInput, match="HOST:PORT"):
        check_config(Config(network=Network.ALLOW, allow=("a.test",)), NATIVE)


def test_a_question_that_cannot_be_answered_hears_so() -> None:
    question = dns.message.make_query("example.com", "A")
    answer = failure(question.to_wire())
    assert answer is not None
    said = dns.message.from_wire(answer)
    assert question.is_response(said)
    assert said.rcode() == dns.rcode.SERVFAIL
    assert failure(b"short") is None


def test_the_machines_resolvers(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    assert upstream(path) == []
    path.write_text(
        "# of the test\nsearch local\nnameserver 127.0.0.53\nnameserver ::1\nnameserver nonsense\nnameserver\n"
        + "nameserver 8.8.8.8\n" * 5
    )
    assert upstream(path) == ["127.0.0.53", "::1", "8.8.8.8"]


def test_the_rules_name_every_network_that_is_not_the_internet() -> None:
    import ipaddress

    networks = [ipaddress.IPv4Network(network) for network in rules.NEVER]
    for address in (
        "127.0.0.1",
        "10.9.8.7",
        "172.31.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.18.3.4",
        "224.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
    ):
        assert any(ipaddress.IPv4Address(address) in network for network in networks), address
    for address in ("1.1.1.1", "93.184.216.34", "172.32.0.1", "198.20.0.1", "223.255.255.1"):
        assert not any(ipaddress.IPv4Address(address) in network for network in networks), address
