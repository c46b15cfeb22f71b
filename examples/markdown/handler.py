"""Markdown in, a page of HTML out. Raw HTML in the text is escaped, so a stranger's text is safe to show."""

import html
import re

import mistune

render = mistune.create_markdown(escape=True, plugins=["table", "strikethrough", "footnotes", "task_lists"])

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>{title}</title>
<body>
{body}</body>
"""


def handler(request, context):
    text = request.text()
    heading = re.search(r"^#\s+(.+)$", text, re.MULTILINE)
    title = html.escape(heading[1].strip() if heading else "Untitled")
    return {
        "status": 200,
        "headers": {"content-type": "text/html; charset=utf-8"},
        "body": PAGE.format(title=title, body=render(text)),
    }
