"""What the server itself has to say, on stderr: one line an event, whatever others have put into it."""

from __future__ import annotations

import logging
import re
import sys

# Control characters, line and paragraph separators, and what turns the direction of text: they steer terminals, and forge lines.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class OneLine(logging.Formatter):
    """Escapes what could end a line early or steer a terminal. Tracebacks, which are ours, keep their lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", record.message)
        return super().formatMessage(record)


def log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
