"""The same handlers under AWS's plain runtime interface client and under Dayfly: answers, errors and logs are equal."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ric
from tests.support.aws import Aws, serving
from tests.support.site import ISOLATION

pytestmark = pytest.mark.skipif(ISOLATION != "namespace", reason="without isolation code does not lie in /var/task")

# name: (body of the handler, or a whole module; the event)
VALUES: dict[str, tuple[str, str]] = {
    "none": ("return None", "{}"),
    "echo": ("return event", '{"a": [1, 2.5, null, true, "x"]}'),
    "echo_list": ("return event", "[1, 2]"),
    "echo_text": ("return event", '"text"'),
    "echo_number": ("return event", "7"),
    "echo_null": ("return event", "null"),
    "echo_nested": ("return event", '{"a": {"b": {"c": [{}, []]}}}'),
    "echo_unicode": ("return event", '"h\u00e9llo \u2603 \U0001f600"'),
    "echo_escapes": ("return event", '"\\u0000\\n\\t\\\\"'),
    "true": ("return True", "{}"),
    "float": ("return 1.5e300", "{}"),
    "big_integer": ("return 2 ** 80", "{}"),
    "nan": ("return float('nan')", "{}"),
    "infinity": ("return [float('inf'), -float('inf')]", "{}"),
    "tuple": ("return (1, 'two')", "{}"),
    "integer_keys": ("return {1: 'one', None: 'none', True: 'true'}", "{}"),
    "empty_text": ("return ''", "{}"),
    "text": ("return 'plain'", "{}"),
    "decimal": ("import decimal\n    return {'d': decimal.Decimal('1.10'), 'n': decimal.Decimal('3')}", "{}"),
    "decimal_nan": ("import decimal\n    return decimal.Decimal('NaN')", "{}"),
    "bytes": ("return b'raw bytes'", "{}"),
    "named_tuple": ("import collections\n    return collections.namedtuple('P', 'x y')(1, 2)", "{}"),
    "ordered": ("import collections\n    return collections.OrderedDict(b=1, a=2)", "{}"),
    "enumeration": ("import enum\n    class E(enum.IntEnum):\n        A = 3\n    return E.A", "{}"),
    "response": ("return {'statusCode': 200, 'body': 'x', 'headers': {'a': 'b'}}", "{}"),
    "arn": ("return context.invoked_function_arn.split(':')[2:4]", "{}"),
    "context": ("return [context.client_context, context.identity.cognito_identity_id, context.tenant_id]", "{}"),
    "remaining": ("return context.get_remaining_time_in_millis() > 0", "{}"),
    "request": ("return context.aws_request_id.count('-')", "{}"),
    "cwd": ("import os\n    return os.getcwd() == os.environ['LAMBDA_TASK_ROOT']", "{}"),
    "modules": ("import sys\n    return 'awslambdaric' in sys.modules", "{}"),
    "long_text": ("return 'x' * 100000", "{}"),
    "coroutine": ("async def later(): return 1\n    return later()", "{}"),
}
ERRORS: dict[str, tuple[str, str]] = {
    "value_error": ("raise ValueError('no good')", "{}"),
    "no_message": ("raise RuntimeError", "{}"),
    "unicode_message": ("raise ValueError('h\u00e9 \u2603')", "{}"),
    "many_lines": ("raise ValueError('one\\ntwo\\nthree')", "{}"),
    "key_error": ("return event['missing']", "{}"),
    "zero": ("return 1 / 0", "{}"),
    "attribute": ("return event.nothing", "{}"),
    "own_class": ("class Own(Exception):\n        pass\n    raise Own('mine')", "{}"),
    "cause": (
        "try:\n        1 / 0\n    except ZeroDivisionError as error:\n        raise ValueError('outer') from error",
        "{}",
    ),
    "context_error": ("try:\n        1 / 0\n    except ZeroDivisionError:\n        raise ValueError('outer')", "{}"),
    "deep": ("def a(n):\n        if n: return a(n - 1)\n        raise ValueError('deep')\n    return a(5)", "{}"),
    "assertion": ("assert event, 'must be'", "{}"),
    "os_error": ("open('/nonexistent/file')", "{}"),
    "import_inside": ("import nothere", "{}"),
    "stop_iteration": ("return next(iter([]))", "{}"),
    "set_answer": ("return {1, 2}", "{}"),
    "object_answer": ("return object()", "{}"),
    "complex_answer": ("return 1j", "{}"),
    "datetime_answer": ("import datetime\n    return datetime.datetime(2024, 1, 1)", "{}"),
    "bad_key": ("return {(1, 2): 3}", "{}"),
    "timeout_error": ("raise TimeoutError('late')", "{}"),
    "exception_group": ("raise ExceptionGroup('many', [ValueError(1), TypeError(2)])", "{}"),
}
LOGS: dict[str, tuple[str, str]] = {
    "prints": ("print('one')\n    print('two', 3)\n    return 1", "{}"),
    "prints_unicode": ("print('\u2603')\n    return 1", "{}"),
    "prints_empty": ("print()\n    print('')\n    return 1", "{}"),
    "logging_info": (
        "import logging\n    logging.getLogger().setLevel('INFO')\n    logging.info('told %s', 1)\n    return 1",
        "{}",
    ),
    "logging_warning": ("import logging\n    logging.warning('careful')\n    return 1", "{}"),
    "logging_debug_is_off": ("import logging\n    logging.debug('hidden')\n    return 1", "{}"),
    "logging_named": ("import logging\n    logging.getLogger('mine').error('wrong')\n    return 1", "{}"),
    "logging_exception": (
        "import logging\n    try:\n        1 / 0\n    except ZeroDivisionError:\n        logging.exception('it failed')\n    return 1",
        "{}",
    ),
    "context_log": ("context.log('said\\n')\n    return 1", "{}"),
    "stdout_write": ("import sys\n    sys.stdout.write('raw\\n')\n    return 1", "{}"),
    "print_and_raise": ("print('before')\n    raise ValueError('after')", "{}"),
}
MODULES: dict[str, tuple[str, str]] = {
    "import_error": ("import nothere\ndef handler(event, context): return 1", "import_error.handler"),
    "raises_at_import": ("raise KeyError('early')", "raises_at_import.handler"),
    "syntax": ("def (", "syntax.handler"),
    "no_handler": ("x = 1", "no_handler.handler"),
    "no_dot": ("x = 1", "nodot"),
    "built_in": ("x = 1", "sys.handler"),
    "prints_at_import": ("print('loading')\ndef handler(event, context): return 2", "prints_at_import.handler"),
    "not_callable": ("handler = 3", "not_callable.handler"),
    "one_argument": ("def handler(event): return 1", "one_argument.handler"),
    "class_handler": ("class handler:\n    def __init__(self, event, context): self.x = 1", "class_handler.handler"),
}  # fmt: skip
RUNTIME = f"python3.{sys.version_info.minor}"  # the same Python on both sides
JSON_LOGS = ("logging_info", "logging_exception", "value_error", "prints")

CASES = {**VALUES, **ERRORS, **LOGS}


def sources() -> dict[str, str]:
    """One module a case."""
    made = {f"{name}_case.py": f"def handler(event, context):\n    {body}\n" for name, (body, _) in CASES.items()}
    return made | {f"{name}.py": text for name, (text, _) in MODULES.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("code")
    for name, text in sources().items():
        (made / name).write_text(text)
    return made


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with serving(tmp_path_factory.mktemp("lambda")) as made:
        yield made


def both(
    aws: Aws, folder: Path, name: str, handler: str, event: str, log_format: str = "Text"
) -> list[tuple[Any, bool, list[str]]]:
    """(payload, failed, lines of log) of the plain client and of Dayfly, with what differs by nature made equal."""
    json_logs = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"} if log_format == "JSON" else {}
    environment = {"AWS_EXECUTION_ENV": f"AWS_Lambda_{RUNTIME}", "AWS_LAMBDA_FUNCTION_NAME": name, **json_logs}
    plain = ric.run(folder, handler, event.encode(), environment)
    client = aws.client()
    aws.deploy(name, sources(), Runtime=RUNTIME, Handler=handler, Timeout=20, LoggingConfig={"LogFormat": log_format})
    answer = client.invoke(FunctionName=name, Payload=event.encode(), LogType="Tail")
    payload = answer["Payload"].read()
    log = base64.b64decode(answer.get("LogResult", "")).decode()
    request = answer["ResponseMetadata"]["RequestId"]
    if log_format == "JSON":
        middle = "\n".join(line for line in log.splitlines() if '"type":"platform.' not in line)
    else:
        middle = log.partition("\n")[2].partition(f"END RequestId: {request}")[0]
    seen = []
    for text, failed, printed, own, root in (
        (plain.payload, plain.failed, plain.log, ric.REQUEST, str(folder)),
        (payload, "FunctionError" in answer, middle, request, "/var/task"),
    ):
        value = re.sub(re.escape(root), "ROOT", text.decode("utf-8", "surrogateescape")).replace(own, "REQUEST")
        seen.append((ric.decoded(value.encode("utf-8", "surrogateescape")), failed, lines(printed, own, root)))
    client.delete_function(FunctionName=name)
    return seen


def lines(text: str, request: str, root: str) -> list[str]:
    text = text.replace(root, "ROOT").replace(request, "REQUEST").replace("\r", "\n")
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME", text)
    return [line for line in text.split("\n") if line]


@pytest.mark.parametrize("name", CASES)
def test_a_call_is_the_same(aws: Aws, folder: Path, name: str) -> None:
    plain, ours = both(aws, folder, name, f"{name}_case.handler", CASES[name][1])
    assert ours[:2] == plain[:2]
    if len("\n".join(plain[2])) < 3000:  # a caller gets the last 4 KB
        assert ours[2] == plain[2]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_loads_or_fails_the_same(aws: Aws, folder: Path, name: str) -> None:
    plain, ours = both(aws, folder, name, MODULES[name][1], "{}")
    assert ours[:2] == plain[:2]


@pytest.mark.parametrize("name", JSON_LOGS)
def test_json_logs_are_the_same(aws: Aws, folder: Path, name: str) -> None:
    plain, ours = both(aws, folder, f"{name}-json", f"{name}_case.handler", CASES[name][1], "JSON")
    assert ours == plain
