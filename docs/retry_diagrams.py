#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Draws the state diagrams of the retry pages: docs/retry/*.svg. The same script gives the same bytes.

A diagram is a list of states (name, x, y, words below it) and of moves (from, to, words, bend). Boxes stand on a grid of
220 by 110; a bend other than zero curves an arrow to its left by so many pixels; "*" is where it begins.
"""
import math
import pathlib

WIDTH, HEIGHT, STEP_X, STEP_Y = 150, 50, 250, 120
FILLS = ["#d6def0", "#dfe8d2", "#f3e3cf", "#e4dcee", "#d3e5e4"]

DIAGRAMS = {
    "backoff": ("Backoff: an attempt counter that grows with failures and is forgotten after a stable success", [
        ("fresh", 0, 0, "no failure"), ("waiting", 1, 0, "attempts 1, 2, …"), ("capped", 2, 0, "waits in [0, cap]"),
        ("exhausted", 2, 1, "attempts_max"),
    ], [
        ("*", "fresh", "", 0), ("fresh", "waiting", "failure", 0), ("waiting", "capped", "failures", 0),
        ("waiting", "exhausted", "too many", 0), ("capped", "exhausted", "too many", 0),
        ("waiting", "fresh", "stable success", -60), ("capped", "fresh", "stable success", 104),
    ]),
    "classification": ("Classification: a failure's class says what becomes of what was sent", [
        ("failure", 0, 2, "a code of any kind"), ("retry", 1, 0, "transient, throttled"),
        ("sign in", 1, 1, "unauthorised"), ("dead letter", 1, 2, "rejected, unknown"),
        ("merge", 1, 3, "conflict"), ("send less", 1, 4, "too large"),
    ], [
        ("*", "failure", "", 0), ("failure", "retry", "", 0), ("failure", "sign in", "", 0),
        ("failure", "dead letter", "", 0), ("failure", "merge", "", 0), ("failure", "send less", "", 0),
    ]),
    "budget": ("Retry budget: failures take tokens, successes give a tenth of one; below the threshold retries wait", [
        ("plenty", 0, 0, "a retry is free"), ("short", 1, 0, "it waits minutes"), ("empty", 2, 0, "it waits longest"),
    ], [
        ("*", "plenty", "", 0), ("plenty", "short", "failures", 0), ("short", "empty", "failures", 0),
        ("empty", "short", "successes", -46), ("short", "plenty", "successes", -46),
    ]),
    "breaker": ("Circuit breaker: closed, open, half open", [
        ("closed", 0, 0, "all may pass"), ("open", 2, 0, "none may pass"), ("half open", 1, 1, "probes may pass"),
    ], [
        ("*", "closed", "", 0), ("closed", "open", "failures over the share", 0), ("open", "half open", "time", -30),
        ("half open", "open", "a probe fails: twice as long", -30), ("half open", "closed", "probes succeed", 0),
    ]),
    "limiter": ("Rate limiter: events add to a debt, time pays it off", [
        ("free", 0, 0, "debt below the burst"), ("full", 1, 0, "how long to wait"),
    ], [
        ("*", "free", "", 0), ("free", "full", "events", 0), ("full", "free", "time", -46),
    ]),
    "concurrency": ("Adaptive concurrency: the limit grows while it is used and shrinks when the peer is overloaded", [
        ("growing", 0, 0, "all went well"), ("shrinking", 1, 0, "drops, long round trips"), ("still", 0, 1, "limit not used"),
    ], [
        ("*", "growing", "", 0), ("growing", "shrinking", "overload", 0), ("shrinking", "growing", "a good round", -46),
        ("growing", "still", "less to do", 0), ("still", "growing", "more to do", -60),
    ]),
    "hedge": ("Hedging: a second request after most answers would have come", [
        ("asked", 0, 0, "one request"), ("hedged", 1, 0, "two requests"), ("answered", 1, 1, "the first one counts"),
    ], [
        ("*", "asked", "", 0), ("asked", "hedged", "delay over", 0), ("asked", "answered", "answer", 0),
        ("hedged", "answered", "answer", 0),
    ]),
    "deadline": ("Deadline: what is left of it is handed on, and shrinks on the way", [
        ("running", 0, 0, "some time is left"), ("handed on", 1, 0, "less the way's time"), ("expired", 1, 1, "nobody waits"),
    ], [
        ("*", "running", "", 0), ("running", "handed on", "request", 0), ("running", "expired", "time", 0),
        ("handed on", "expired", "time", 0),
    ]),
    "policy": ("Retry policy: begin lets an attempt go or not; a failure waits or ends", [
        ("asked", 0, 0, "begin"), ("under way", 1, 0, "go"), ("done", 2, 0, "succeeded"),
        ("waiting", 0, 1, "wait, hold"), ("judged", 1, 1, "failed"), ("ended", 2, 1, "dead letter, merge, …"),
    ], [
        ("*", "asked", "", 0), ("asked", "under way", "", 0), ("under way", "done", "", 0),
        ("under way", "judged", "", 0), ("judged", "ended", "final", 0), ("judged", "waiting", "may pass", 0),
        ("waiting", "asked", "time", -50), ("asked", "waiting", "not now", -50),
    ]),
    "failover": ("Failover: nearest endpoint, another when it fails, back when a probe succeeds", [
        ("nearest", 0, 0, "shortest round trip"), ("fallback", 2, 0, "the next nearest"), ("probing", 1, 1, "breaker half open"),
    ], [
        ("*", "nearest", "each once at first", 0), ("nearest", "fallback", "it fails", 0), ("fallback", "probing", "time", -30),
        ("probing", "fallback", "still down", -30), ("probing", "nearest", "it answers", 0),
    ]),
}


def number(value):
    return f"{value:.1f}".rstrip("0").rstrip(".")


def edge(cx, cy, tx, ty):
    """Where the way from a box's centre towards a point leaves the box."""
    dx, dy = tx - cx, ty - cy
    scale = min((WIDTH / 2 + 3) / abs(dx) if dx else math.inf, (HEIGHT / 2 + 3) / abs(dy) if dy else math.inf)
    return cx + dx * scale, cy + dy * scale


def draw(label, states, moves):
    left, top = 60, 60
    centres = {name: (left + x * STEP_X + WIDTH / 2, top + y * STEP_Y + HEIGHT / 2) for name, x, y, _ in states}
    right = max(c[0] for c in centres.values()) + WIDTH / 2 + 30
    bottom = max(c[1] for c in centres.values()) + HEIGHT / 2 + 40
    out = []
    for source, target, words, bend in moves:
        tx, ty = centres[target]
        if source == "*":
            out.append(f'<circle cx="{number(tx - WIDTH / 2 - 40)}" cy="{number(ty)}" r="6" fill="#555"/>')
            out.append(f'<path d="M{number(tx - WIDTH / 2 - 34)} {number(ty)} H{number(tx - WIDTH / 2 - 4)}"/>')
            continue
        sx, sy = centres[source]
        length = math.hypot(tx - sx, ty - sy)
        nx, ny = (ty - sy) / length, -(tx - sx) / length  # to the left, seen from above with y down
        mx, my = (sx + tx) / 2 + nx * -bend, (sy + ty) / 2 + ny * -bend
        bx, by = edge(sx, sy, mx, my) if bend else edge(sx, sy, tx, ty)
        ex, ey = edge(tx, ty, mx, my) if bend else edge(tx, ty, sx, sy)
        out.append(f'<path d="M{number(bx)} {number(by)} Q{number(mx)} {number(my)} {number(ex)} {number(ey)}"/>')
        if words:
            wx, wy = (bx + 2 * mx + ex) / 4, (by + 2 * my + ey) / 4
            out.append(f'<text class="small" x="{number(wx)}" y="{number(wy - 4)}" text-anchor="middle">{words}</text>')
    for i, (name, _, _, words) in enumerate(states):
        x, y = centres[name]
        out.append(f'<rect x="{number(x - WIDTH / 2)}" y="{number(y - HEIGHT / 2)}" width="{WIDTH}" height="{HEIGHT}" '
                   f'fill="{FILLS[i % len(FILLS)]}"/>')
        out.append(f'<text x="{number(x)}" y="{number(y - 3)}" text-anchor="middle">{name}</text>')
        out.append(f'<text class="small in" x="{number(x)}" y="{number(y + 15)}" text-anchor="middle">{words}</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(right)}" viewBox="0 0 {number(right)} {number(bottom)}" '
            f'font-family="sans-serif" font-size="14" role="img" aria-label="{label}">\n'
            "  <style>\n"
            "    rect { stroke: #555; rx: 6; } text { fill: #222; } .small { font-size: 12px; fill: #444; }\n"
            "    text.small { paint-order: stroke; stroke: #fff; stroke-opacity: .8; stroke-width: 3px; }\n"
            "    rect.page { stroke: none; } text.in { stroke: none; }\n"
            "    path { fill: none; stroke: #555; stroke-width: 1.5; marker-end: url(#arrow); }\n"
            "    marker path { fill: #555; marker-end: none; stroke: none; }\n"
            "  </style>\n"
            '  <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0 0 L8 4 L0 8 z"/></marker>\n'
            f'  <rect x="0.5" y="0.5" width="{number(right - 1)}" height="{number(bottom - 1)}" fill="#fff" class="page"/>\n'
            + "".join(f"  {line}\n" for line in out) + "</svg>\n")


folder = pathlib.Path(__file__).parent / "retry"
folder.mkdir(exist_ok=True)
for name, (label, states, moves) in DIAGRAMS.items():
    (folder / f"{name}.svg").write_text(draw(label, states, moves))
