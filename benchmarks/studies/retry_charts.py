#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Draws what the two retry studies found.

retry_charts.py CONTENTION.csv RECOVERY.csv FOLDER

Writes retry_contention.svg and retry_recovery.svg into FOLDER and prints a table of the recovery's medians. The same
numbers give the same bytes.
"""
import csv
import math
import pathlib
import statistics
import sys

STYLE = """  <style>
    text { fill: #222; } .title { font-weight: bold; } .small { font-size: 12px; fill: #444; }
    .axis { stroke: #555; } .grid { stroke: #ddd; } .line { fill: none; stroke-width: 2; }
  </style>
"""
COLOURS = {"no wait": "#888888", "constant": "#888888", "exponential": "#b5651d", "equal jitter": "#3b7a57",
           "full jitter": "#2f5fa8", "decorrelated jitter": "#8a4fa3", "retry_policy": "#c0272d"}


def number(value):
    return f"{value:.1f}".rstrip("0").rstrip(".")


class Panel:
    """A plot with axes; x linear, y linear or logarithmic."""

    def __init__(self, left, top, width, height, x_range, y_range, logarithmic=False):
        self.left, self.top, self.width, self.height = left, top, width, height
        self.x_range, self.y_range, self.logarithmic = x_range, y_range, logarithmic
        self.out = []

    def x(self, value):
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * self.width

    def y(self, value):
        low, high = self.y_range
        if self.logarithmic:
            value, low, high = math.log10(max(value, low)), math.log10(low), math.log10(high)
        return self.top + self.height - (value - low) / (high - low) * self.height

    def frame(self, title, x_title, x_ticks, y_ticks, band=None):
        if band:
            self.out.append(f'<rect x="{number(self.x(band[0]))}" y="{self.top}" '
                            f'width="{number(self.x(band[1]) - self.x(band[0]))}" height="{self.height}" fill="#f3e3cf"/>')
            self.out.append(f'<text class="small" x="{number(self.x(band[0]) + 6)}" y="{self.top + 16}">{band[2]}</text>')
        for value, label in y_ticks:
            y = number(self.y(value))
            self.out.append(f'<line class="grid" x1="{self.left}" y1="{y}" x2="{self.left + self.width}" y2="{y}"/>')
            self.out.append(f'<text class="small" x="{self.left - 6}" y="{number(self.y(value) + 4)}" '
                            f'text-anchor="end">{label}</text>')
        for value, label in x_ticks:
            x = number(self.x(value))
            self.out.append(f'<text class="small" x="{x}" y="{self.top + self.height + 18}" '
                            f'text-anchor="middle">{label}</text>')
        bottom = self.top + self.height
        self.out.append(f'<path class="axis" fill="none" d="M{self.left} {self.top} V{bottom} H{self.left + self.width}"/>')
        self.out.append(f'<text class="title" x="{self.left}" y="{self.top - 10}">{title}</text>')
        self.out.append(f'<text class="small" x="{self.left + self.width}" y="{bottom + 36}" text-anchor="end">{x_title}</text>')

    def line(self, points, colour):
        path = " L".join(f"{number(self.x(a))} {number(self.y(b))}" for a, b in points)
        self.out.append(f'<path class="line" stroke="{colour}" d="M{path}"/>')


def legend(names, left, top, step):
    out = []
    for i, name in enumerate(names):
        x = left + i * step
        out.append(f'<path class="line" stroke="{COLOURS[name]}" d="M{x} {top - 4} h20"/>')
        out.append(f'<text class="small" x="{x + 26}" y="{top}">{name}</text>')
    return out


def write(path, width, height, label, parts):
    text = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
            f'font-size="14" role="img" aria-label="{label}">\n{STYLE}'
            f'  <rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" fill="#fff"/>\n')
    path.write_text(text + "".join(f"  {p}\n" for p in parts) + "</svg>\n")


def contention(source, folder):
    rows = list(csv.DictReader(source.open()))
    names = list(dict.fromkeys(r["policy"] for r in rows))
    time = Panel(70, 50, 360, 240, (0, 200), (100, 200_000), logarithmic=True)
    calls = Panel(510, 50, 360, 240, (0, 200), (0, 9000))
    ticks = [(n, str(n)) for n in range(0, 201, 50)]
    time.frame("until the last is done, s", "clients", ticks,
               [(100, "0.1"), (1000, "1"), (10_000, "10"), (100_000, "100")])
    calls.frame("calls", "clients", ticks, [(n, f"{n:,}") for n in range(0, 9001, 3000)])
    for name in names:
        mine = [r for r in rows if r["policy"] == name]
        time.line([(int(r["clients"]), float(r["completion_ms"])) for r in mine], COLOURS[name])
        calls.line([(int(r["clients"]), float(r["calls"])) for r in mine], COLOURS[name])
    write(folder / "retry_contention.svg", 900, 370,
          "Contention: completion time and calls over the number of clients, by policy",
          time.out + calls.out + legend(names, 70, 352, 160))


def recovery(source, folder):
    runs, minutes = [], {}
    for r in csv.reader(source.open()):
        if r[0] == "minute":
            minutes.setdefault(r[1], []).append([float(v) for v in r[2:]])
        elif r[0] != "policy":
            runs.append(r)
    names = list(minutes)
    last = max(m[0] for points in minutes.values() for m in points)
    peak = max(m[1] for points in minutes.values() for m in points)
    load = Panel(70, 50, 800, 220, (0, last + 1), (0, math.ceil(peak)))
    waiting = Panel(70, 340, 800, 160, (0, last + 1), (0, 20_000))
    ticks = [(n, str(n - 10)) for n in range(10, int(last) + 1, 20)]
    band = (10, 70, "half of the capacity")
    load.frame("attempts over offered load", "", ticks, [(n, str(n)) for n in range(0, math.ceil(peak) + 1)], band)
    waiting.frame("clients that wait", "minutes", ticks, [(n, f"{n:,}") for n in range(0, 20_001, 5000)], band)
    for name in names:
        load.line([(m[0] + 0.5, m[1]) for m in minutes[name]], COLOURS[name])
        waiting.line([(m[0] + 1, m[3]) for m in minutes[name]], COLOURS[name])
    write(folder / "retry_recovery.svg", 900, 590,
          "Recovery: attempts and waiting clients over time, by policy; the outage lasts an hour",
          load.out + waiting.out + legend(names, 70, 572, 160))
    print("| policy | attempts per exchange | drained after, s | over the backlog | clients waiting at the heal |")
    print("|---|---|---|---|---|")
    for name in names:
        mine = [r for r in runs if r[0] == name and r[1] == "main"]
        middle = [statistics.median(float(r[i]) for r in mine) for i in (3, 6, 8, 10)]
        print(f"| {name} | {middle[0]:.2f} | {middle[1]:.0f} | {middle[2]:.2f} | {middle[3]:,.0f} |")
    for r in runs:
        if r[1] != "main":
            print(f"| {r[0]}, {r[1]} | {float(r[3]):.2f} | {float(r[6]):.0f} | {float(r[8]):.2f} | {int(r[10]):,} |")


contention(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3]))
recovery(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
