"""Counts the words of a text while it is still being uploaded: one line of JSON a chunk, the most frequent words at the end."""

import re
from collections import Counter

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
TOP = 10


def handler(request, context):
    yield Head()
    counts, lines, rest = Counter(), 0, b""
    for chunk in request.chunks():
        text, newline, rest = (rest + chunk).rpartition(b"\n")  # a word may go on in the next chunk; a line does not
        if newline:
            lines += text.count(b"\n") + 1
            counts.update(words(text))
            yield {"lines": lines, "words": counts.total()}
    if rest:
        lines += 1
        counts.update(words(rest))
    yield {"lines": lines, "words": counts.total(), "distinct": len(counts), "top": counts.most_common(TOP)}


def words(text):
    return WORD.findall(text.decode("utf-8", "replace").lower())


class Head:
    """First item of a stream: its status and headers."""

    status, headers, body = 200, {"content-type": "application/x-ndjson"}, None
