#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Draws what the scheduler's study found.

schedule_charts.py SCHEDULE.csv FOLDER

Writes schedule_study.svg into FOLDER and prints the table of the page. The same numbers give the same bytes.
"""
import csv
import math
import pathlib
import sys

COLOURS = {"fixed": "#888888", "ours": "#c0272d", "on-line": "#2f5fa8", "clairvoyant": "#3b7a57", "platform": "#b5651d",
           "every write": "#8a4fa3"}
LABELS = {"fixed": "fixed interval", "ours": "the scheduler", "on-line": "best on-line, knows the generator",
          "clairvoyant": "clairvoyant optimum", "platform": "platform style", "every write": "every write"}
LEFT, TOP, WIDTH, HEIGHT = 80, 50, 560, 330


def number(value):
    return f"{value:.1f}".rstrip("0").rstrip(".")


def x_of(seconds):
    low, high = math.log10(30), math.log10(12_000)
    return LEFT + (math.log10(max(seconds, 30)) - low) / (high - low) * WIDTH


def y_of(joules):
    low, high = math.log10(50), math.log10(15_000)
    return TOP + HEIGHT - (math.log10(joules) - low) / (high - low) * HEIGHT


def main():
    rows = [r for r in csv.DictReader(pathlib.Path(sys.argv[1]).open()) if r["persona"] == "all"]
    out = []
    for seconds, label in ((30, "≤ 30 s"), (60, "1 min"), (300, "5 min"), (900, "15 min"), (3600, "1 h"), (10_800, "3 h")):
        x = number(x_of(seconds))
        out.append(f'<line class="grid" x1="{x}" y1="{TOP}" x2="{x}" y2="{TOP + HEIGHT}"/>')
        out.append(f'<text class="small" x="{x}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{label}</text>')
    for joules in (100, 200, 500, 1000, 2000, 5000, 10_000):
        y = y_of(joules)
        out.append(f'<line class="grid" x1="{LEFT}" y1="{number(y)}" x2="{LEFT + WIDTH}" y2="{number(y)}"/>')
        out.append(f'<text class="small" x="{LEFT - 6}" y="{number(y + 4)}" text-anchor="end">{joules:,}</text>')
    out.append(f'<path class="axis" fill="none" d="M{LEFT} {TOP} V{TOP + HEIGHT} H{LEFT + WIDTH}"/>')
    out.append(f'<text class="title" x="{LEFT}" y="{TOP - 16}">Energy of the radio, J a day</text>')
    out.append(f'<text class="small" x="{LEFT + WIDTH}" y="{TOP + HEIGHT + 38}" text-anchor="end">'
               "95th percentile of the avoidable staleness, important class</text>")
    for i, (name, colour) in enumerate(COLOURS.items()):
        points = sorted((float(r["important_95"]), float(r["energy_j"])) for r in rows if r["policy"] == name)
        if len(points) > 1:
            path = " L".join(f"{number(x_of(a))} {number(y_of(b))}" for a, b in points)
            out.append(f'<path class="line" stroke="{colour}" d="M{path}"/>')
        for a, b in points:
            out.append(f'<circle cx="{number(x_of(a))}" cy="{number(y_of(b))}" r="3" fill="{colour}"/>')
        y = TOP + 10 + 22 * i
        out.append(f'<path class="line" stroke="{colour}" d="M{LEFT + WIDTH + 20} {y - 4} h20"/>')
        out.append(f'<text class="small" x="{LEFT + WIDTH + 46}" y="{y}">{LABELS[name]}</text>')
    default = next(r for r in rows if r["policy"] == "ours" and r["parameter"] == "1")
    x, y = x_of(float(default["important_95"])), y_of(float(default["energy_j"]))
    out.append(f'<circle cx="{number(x)}" cy="{number(y)}" r="7" fill="none" stroke="{COLOURS["ours"]}" stroke-width="2"/>')
    out.append(f'<text class="small" x="{number(x + 12)}" y="{number(y - 8)}">defaults</text>')
    text = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 440" font-family="sans-serif" font-size="14" '
            f'role="img" aria-label="Energy over staleness of the compared policies">\n'
            "  <style>\n    text { fill: #222; } .title { font-weight: bold; } .small { font-size: 12px; fill: #444; }\n"
            "    .axis { stroke: #555; } .grid { stroke: #ddd; } .line { fill: none; stroke-width: 2; }\n  </style>\n"
            '  <rect x="0.5" y="0.5" width="899" height="439" fill="#fff"/>\n')
    (pathlib.Path(sys.argv[2]) / "schedule_study.svg").write_text(text + "".join(f"  {p}\n" for p in out) + "</svg>\n")
    print("| policy | energy, J | exchanges | wake-ups | critical 50/95/99, s | important | normal | background | missed |")
    print("|---|---|---|---|---|---|---|---|---|")
    for r in rows:
        cells = [" / ".join(r[f"{c}_{q}"] for q in (50, 95, 99)) for c in ("critical", "important", "normal", "background")]
        print(f'| {r["policy"]} {r["parameter"]} | {float(r["energy_j"]):.0f} | {float(r["exchanges"]):.0f} | '
              f'{float(r["wakeups"]):.0f} | {" | ".join(cells)} | {r["missed_needlessly"]} |')


main()
