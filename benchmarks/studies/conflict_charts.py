#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Draws the learning curve of the study of suggestions: conflict_charts.py CURVE.csv FOLDER

Writes conflict_learning.svg into FOLDER. The same numbers give the same bytes.
"""
import csv
import pathlib
import sys

COLOURS = {"team": "#2f5fa8", "nothing": "#b5651d"}
NAMES = {"team": "with the team's experience", "nothing": "from nothing"}
STYLE = """  <style>
    text { fill: #222; } .title { font-weight: bold; } .small { font-size: 12px; fill: #444; }
    .grid { stroke: #ddd; } .aim { stroke: #3b7a57; stroke-dasharray: 4 3; } .line { fill: none; stroke-width: 2; }
  </style>
"""
WIDTH, HEIGHT, TOP = 340, 220, 50


def panel(left, title, low, aim, rows, column):
    def x(n):
        return left + n / 360 * WIDTH

    def y(share):
        return TOP + HEIGHT - (share - low) / (1 - low) * HEIGHT

    out = [f'<text class="title" x="{left}" y="{TOP - 16}">{title}</text>']
    for i in range(5):
        share = low + (1 - low) * i / 4
        out.append(f'<line class="grid" x1="{left}" y1="{y(share):.1f}" x2="{left + WIDTH}" y2="{y(share):.1f}"/>')
        out.append(f'<text class="small" x="{left - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{share * 100:.1f} %</text>')
    for n in range(0, 361, 60):
        out.append(f'<text class="small" x="{x(n):.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{n}</text>')
    out.append(f'<line class="aim" x1="{left}" y1="{y(aim):.1f}" x2="{left + WIDTH}" y2="{y(aim):.1f}"/>')
    for start, colour in COLOURS.items():
        points = [(int(r["conflicts"]) - 10, float(r[column])) for r in rows if r["start"] == start]
        way = " L".join(f"{x(n):.1f} {y(max(low, s)):.1f}" for n, s in points)
        out.append(f'<path class="line" stroke="{colour}" d="M{way}"/>')
    return out


rows = list(csv.DictReader(pathlib.Path(sys.argv[1]).open()))
parts = panel(70, "resolved by suggestion, of all conflicts", 0.2, 0.8, rows, "resolved")
parts += panel(490, "of these, as the person would have decided", 0.86, 0.95, rows, "right")
for i, (start, colour) in enumerate(COLOURS.items()):
    parts.append(f'<path class="line" stroke="{colour}" d="M{70 + 220 * i} 316 h20"/>')
    parts.append(f'<text class="small" x="{96 + 220 * i}" y="320">{NAMES[start]}</text>')
parts.append('<text class="small" x="830" y="306" text-anchor="end">conflicts that a person has had</text>')
label = "How suggestions get better: the share resolved and the share of it that is right, over the conflicts that a person has had"
text = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 850 336" font-family="sans-serif" font-size="14" role="img" '
        f'aria-label="{label}">\n{STYLE}  <rect x="0.5" y="0.5" width="849" height="335" fill="#fff"/>\n')
(pathlib.Path(sys.argv[2]) / "conflict_learning.svg").write_text(text + "".join(f"  {p}\n" for p in parts) + "</svg>\n")
