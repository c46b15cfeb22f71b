"""The ports that an installing job may connect to: the web's, DNS, and those that the machine's settings name."""

from __future__ import annotations

from pathlib import Path

import pytest

from dayfly.build.machine import Machine
from dayfly.build.ports import tcp_ports

ALWAYS = (53, 80, 443)
NOWHERE = Path("/no/such/root")


def also(*ports: int) -> tuple[int, ...]:
    return tuple(sorted({*ALWAYS, *ports}))


@pytest.mark.parametrize(
    ("name", "value", "ports"),
    [
        ("PIP_INDEX_URL", "https://index.example/simple", ()),
        ("PIP_INDEX_URL", "http://localhost:3141/root/pypi", (3141,)),
        ("PIP_INDEX_URL", "https://user:p%40ss:word@index.example:8443/simple", (8443,)),
        ("PIP_INDEX_URL", "http://[::1]:3141/simple", (3141,)),
        (
            "PIP_EXTRA_INDEX_URL",
            "https://a.example:1001/x https://b.example:1002/x\nhttps://c.example:1003/",
            (1001, 1002, 1003),
        ),
        ("PIP_FIND_LINKS", "/build/conf/0-wheels\nfile:///srv/9000 http://links.example:9001/", (9001,)),
        ("PIP_PROXY", "proxy.example:3128", (3128,)),
        ("https_proxy", "http://user:secret@proxy.example:3128", (3128,)),
        ("HTTP_PROXY", "proxy.example:8118", (8118,)),
        ("ALL_PROXY", "socks5h://localhost", (1080,)),
        ("NO_PROXY", "localhost:7000,example:7001", ()),
        ("npm_config_registry", "http://127.0.0.1:4873/", (4873,)),
        ("NPM_CONFIG_HTTPS_PROXY", "http://proxy.example:3129/", (3129,)),
        ("npm_config_proxy", "proxy.example:3130", (3130,)),
        ("PIP_DEFAULT_TIMEOUT", "180", ()),
        ("PIP_INDEX_URL", "http://host:99999/", ()),
        ("PIP_INDEX_URL", "http://[broken:1/", ()),
        ("PIP_INDEX_URL", "http://host:0/", (80,)),
    ],
)
def test_a_variable_names_ports(name: str, value: str, ports: tuple[int, ...]) -> None:
    assert tcp_ports({name: value}, []) == also(*ports)


def test_files_name_ports() -> None:
    pip = "[global]\nindex-url = https://a.example:1001\nextra-index-url = https://b.example:1002\n\thttps://c.example:1003\nproxy = p:1004\n"
    npm = "@acme:registry=http://localhost:4873/\nhttps-proxy=http://p:1005\nnoproxy=localhost:1006\n"
    assert tcp_ports({}, [pip, npm]) == also(1001, 1002, 1003, 1004, 1005, 4873)


def test_the_servers_own_port_stays_closed_whoever_names_it() -> None:
    env = {"PIP_INDEX_URL": "http://localhost:8000/", "PIP_EXTRA_INDEX_URL": "http://localhost:3141/"}
    assert tcp_ports(env, ["registry=http://127.0.0.1:8000/"], closed={8000}) == also(3141)
    assert tcp_ports({}, [], closed={443, 80, 53}) == ()


def test_a_machine_names_the_ports_of_what_it_carries_only(tmp_path: Path) -> None:
    (tmp_path / ".npmrc").write_text("; registry=http://localhost:1001/\nregistry=http://localhost:4873/\n")
    environ = {
        "https_proxy": "http://localhost:3128",
        "DATABASE_URL": "postgres://localhost:5432/x",
        "PIP_INDEX_URL": "http://x:9/",
    }
    machine = Machine(environ, tmp_path, NOWHERE)
    (tmp_path / "conf").mkdir()
    env = machine.carry("node", tmp_path / "conf")
    assert machine.ports(env, tmp_path / "conf") == also(3128, 4873)
    told = Machine(environ, tmp_path, NOWHERE, closed=lambda: {3128})
    assert told.ports(env, tmp_path / "conf") == also(4873)
