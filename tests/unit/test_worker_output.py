"""What user code prints, as it arrives on the pipes."""

from __future__ import annotations

from pathlib import Path

from instance import PYTHON, running, write_files


def marker(number: int) -> str:
    return f"\x1e{number:032x}\n"


def outputs(root: Path, source: str, calls: int = 1, **work: object) -> tuple[str, str]:
    write_files(root, {"handler.py": source})
    with running(PYTHON, root, **work) as instance:
        link = instance.connect()
        link.ready()
        for number in range(calls):
            answer = link.call(number)
            assert answer.error is None, answer.error
        return instance.log("stdout"), instance.log("stderr")


def test_a_marker_stands_before_the_first_line_of_each_call_that_prints(tmp_path: Path) -> None:
    out, err = outputs(
        tmp_path,
        "import sys\nprint('loading')\n"
        "def handler(n, context):\n"
        "    if n != 1:\n        print('a', n)\n        print('b', n)\n"
        "    if n == 2: print('oops', file=sys.stderr)\n",
        calls=3,
    )
    assert out == f"loading\n{marker(1)}a 0\nb 0\n{marker(3)}a 2\nb 2\n"
    assert err == f"{marker(3)}oops\n"


def test_an_unfinished_line_ends_with_its_call(tmp_path: Path) -> None:
    out, _ = outputs(
        tmp_path,
        "import sys\nprint('load', end='')\n"
        "def handler(n, context):\n    print('x', end='')\n    sys.stdout.flush()\n    print('y', end='')\n",
        calls=2,
    )
    assert out == f"load\n{marker(1)}xy\n{marker(2)}xy\n"


def test_a_long_line_is_not_held_back_for_ever(tmp_path: Path) -> None:
    out, _ = outputs(tmp_path, "def handler(n, c):\n    for _ in range(300): print('x' * 1000, end='')\n")
    assert out == marker(1) + "x" * 300_000 + "\n"


def test_bytes_surrogates_and_odd_uses_pass(tmp_path: Path) -> None:
    out, err = outputs(
        tmp_path,
        "import sys, logging\n"
        "def handler(n, c):\n"
        "    sys.stdout.buffer.write(b'raw \\xff\\n')\n"
        "    print('half \\ud800')\n"
        "    sys.stdout.writelines(['a\\n', 'b\\n'])\n"
        "    sys.stdout.reconfigure(encoding='ascii')\n"
        "    sys.stdout.close()\n"
        "    assert (sys.stdout.fileno(), sys.stdout.isatty(), sys.stdout.encoding) == (1, False, 'utf-8')\n"
        "    with __import__('contextlib').redirect_stdout(sys.stderr): print('redirected')\n"
        "    logging.warning('root')\n"
        "    logging.basicConfig(level=logging.DEBUG, force=True)\n"
        "    c.logger.info('once')\n"
        "    c.logger.debug('never')\n"
        "    print('end')\n",
    )
    assert out == marker(1) + "raw \\xff\nhalf \\ud800\na\nb\nend\n"
    assert err == marker(1) + "redirected\nWARNING:root:root\nINFO once\n"


def test_what_a_subprocess_prints_belongs_to_its_call(tmp_path: Path) -> None:
    out, _ = outputs(
        tmp_path,
        "import subprocess, os\n"
        "def handler(n, c):\n"
        "    print('before', n, end='')\n"
        "    subprocess.run(['echo', 'sub'], check=True)\n"
        "    os.system('echo shell')\n",
        calls=2,
    )
    assert out == f"{marker(1)}before 0\nsub\nshell\n{marker(2)}before 1\nsub\nshell\n"


def test_calls_at_the_same_time_do_not_mix_in_a_line(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "handler.py": "import threading\nmeet = threading.Barrier(2)\n"
            "def handler(n, c):\n"
            "    print('one', end=' ')\n    meet.wait()\n    print(n)\n    meet.wait()\n"
            "    t = threading.Thread(target=print, args=('stray',)); n or t.start(); n or t.join()\n"
        },
    )
    with running(PYTHON, tmp_path, concurrency=2) as instance:
        link = instance.connect()
        link.ready()
        link.answer(link.begin(b"0"), link.begin(b"1"))
        out = instance.log("stdout")
    assert f"{marker(1)}one 0\n" in out
    assert f"{marker(2)}one 1\n" in out
    assert f"{marker(0)}stray\n" in out
