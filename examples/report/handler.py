"""Rows in, a report out: a PDF with a table and totals, or CSV (`"format": "csv"`)."""

import csv
import io

from dayfly_sdk import Response
from fpdf import FPDF
from fpdf.fonts import FontFace


def handler(event, context):
    rows = event.get("rows")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return Response({"error": "rows is a list of objects, at least one"}, 400)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    totals = {name: total(rows, name) for name in columns}
    if event.get("format") == "csv":
        return Response(as_csv(columns, rows), headers={"content-type": "text/csv; charset=utf-8"})
    title = str(event.get("title", "Report"))
    return Response(as_pdf(title, columns, rows, totals), headers={"content-type": "application/pdf"})


def total(rows, name):
    """The sum of a column of numbers; None for any other."""
    values = [row[name] for row in rows if row.get(name) is not None]
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    return round(sum(values), 2) if values and numbers else None


def as_csv(columns, rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, columns)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def as_pdf(title, columns, rows, totals):
    pdf = FPDF()
    pdf.set_title(title)
    pdf.add_page()
    pdf.set_font("Helvetica", "B", 16)
    pdf.cell(text=latin(title), new_x="LMARGIN", new_y="NEXT", h=12)
    pdf.set_font("Helvetica", size=10)
    aligned = tuple("LEFT" if totals[name] is None else "RIGHT" for name in columns)
    with pdf.table(text_align=aligned, headings_style=FontFace(emphasis="BOLD", fill_color=(230, 230, 230))) as table:
        table.row([latin(name) for name in columns])
        for row in rows:
            table.row([latin(row.get(name)) for name in columns])
        if any(value is not None for value in totals.values()):
            table.row([latin(totals[name]) for name in columns], style=FontFace(emphasis="BOLD"))
    return bytes(pdf.output())


def latin(value):
    """As text that the fonts built into PDF can show."""
    text = "" if value is None else f"{value:,.2f}" if isinstance(value, float) else str(value)
    return text.encode("latin-1", "replace").decode("latin-1")
