#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Draws what the delta study found, and prints it as a table.

delta_charts.py DELTA.csv FOLDER

Writes delta.svg into FOLDER, and the table between the marks of FOLDER/delta.md. The same numbers give the same bytes.
"""
import csv
import math
import pathlib
import sys

NAMES = {"records_json": "records, JSON", "records_cbor": "records, CBOR", "package_tar": "package, tar",
         "package_files": "package, files", "sqlite": "SQLite file", "random_edits": "random, 100 edits",
         "identical": "identical", "unrelated": "unrelated"}
PANELS = ["records_json", "package_tar", "sqlite", "random_edits"]

rows = list(csv.DictReader(open(sys.argv[1], encoding="utf-8")))
for r in rows:
    for key in ("bytes", "encode", "decode", "kib"):
        r[key] = float(r[key])

rows.sort(key=lambda r: list(NAMES).index(r["corpus"]))


def colour(who):
    for start, value in (("ours", "#c0272d"), ("zstd", "#2f5fa8"), ("xdelta3", "#b5651d"), ("librsync", "#3b7a57"),
                         ("bsdiff", "#8a4fa3")):
        if who.startswith(start):
            return value
    return "#888888"


def log_ticks(low, high):
    return [10 ** k * m for k in range(int(math.log10(low)) - 1, int(math.log10(high)) + 2) for m in (1, 3)
            if low <= 10 ** k * m <= high]


def short(n):
    return f"{n / 1e6:g} M" if n >= 1e6 else f"{n / 1e3:g} k" if n >= 1000 else f"{n:g}"


def panel(out, name, left, top, width, height):
    points = [r for r in rows if r["corpus"] == name and r["encode"] > 0]
    if not points:
        return
    xs, ys = [p["encode"] for p in points], [p["bytes"] for p in points]
    x_low, x_high, y_low, y_high = min(xs) / 1.6, max(xs) * 4, min(ys) / 1.25, max(ys) * 1.4

    def x(v): return left + (math.log10(v) - math.log10(x_low)) / (math.log10(x_high) - math.log10(x_low)) * width
    def y(v): return top + height - (math.log10(v) - math.log10(y_low)) / (math.log10(y_high) - math.log10(y_low)) * height
    out.append(f'<text class="title" x="{left}" y="{top - 10}">{NAMES[name]}</text>')
    for v in log_ticks(x_low, x_high):
        out.append(f'<line class="grid" x1="{x(v):.1f}" y1="{top}" x2="{x(v):.1f}" y2="{top + height}"/>')
        out.append(f'<text class="small" x="{x(v):.1f}" y="{top + height + 16}" text-anchor="middle">{short(v)}</text>')
    for v in log_ticks(y_low, y_high):
        out.append(f'<line class="grid" x1="{left}" y1="{y(v):.1f}" x2="{left + width}" y2="{y(v):.1f}"/>')
        out.append(f'<text class="small" x="{left - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{short(v)}</text>')
    for p in points:
        out.append(f'<circle cx="{x(p["encode"]):.1f}" cy="{y(p["bytes"]):.1f}" r="5" fill="{colour(p["who"])}"/>')
        out.append(f'<text class="small" x="{x(p["encode"]) + 8:.1f}" y="{y(p["bytes"]) + 4:.1f}">{p["who"]}</text>')


def draw():
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1120 860" font-family="sans-serif" font-size="14">',
           "  <style>text { fill: #222; } .title { font-weight: bold; } .small { font-size: 11px; fill: #444; } "
           ".grid { stroke: #ddd; }</style>", '<rect width="1120" height="860" fill="#fff"/>',
           '<text x="20" y="24">Bytes of the delta (up) by MB/s of encoding (right), both logarithmic: lower and further '
           'right is better.</text>']
    for i, name in enumerate(PANELS):
        panel(out, name, 70 + (i % 2) * 560, 80 + (i // 2) * 400, 440, 310)
    out.append("</svg>\n")
    return "\n".join(out)


def table():
    out = ["| corpus | who | bytes | encode MB/s | decode MB/s | memory KiB |", "|---|---|---:|---:|---:|---:|"]
    for r in rows:
        size = f'{r["bytes"]:.1f} a delta' if r["corpus"].startswith("records") else f'{r["bytes"]:,.0f}'
        memory = f'{r["kib"]:,.0f}' if r["kib"] else "-"
        who = f'**{r["who"]}**' if r["who"].startswith("ours") else r["who"]
        out.append(f'| {NAMES[r["corpus"]]} | {who} | {size} | {r["encode"]:,.0f} | {r["decode"]:,.0f} | {memory} |')
    return "\n".join(out) + "\n"


folder = pathlib.Path(sys.argv[2])
(folder / "delta.svg").write_text(draw(), encoding="utf-8")
page = folder / "delta.md"
begin, end = "<!-- table: delta.csv -->\n", "<!-- end of table -->\n"
text = page.read_text(encoding="utf-8") if page.exists() else ""
if begin in text:
    before, rest = text.split(begin)
    page.write_text(before + begin + table() + end + rest.split(end)[1], encoding="utf-8")
print(table())
