#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Runs the benchmarks and the compile-cost measurements and pairs ours with the peers.

report.py --program FILE --include FOLDER --compiler CXX [--json FILE] [-- NAME...]

A benchmark is named part/case/.../ours or part/case/.../<peer>, with Google Benchmark's arguments after it; another
way of ours is .../ours_<how>, the case part/case/<how>. All run in one process, several repetitions in random
interleaving; a row holds the medians. The label "features=...;durability=..." says what is measured. A counter that
both sides have gives a row of its own.
What a peer that isn't on the machine once took stands in anchors.json: its rows say source "anchor", and their ratio
compares two machines. A ratio is ours divided by the peer's: below 1, ours costs less.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

TO_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
OWN_FIELDS = {
    "name", "run_name", "run_type", "family_index", "per_family_instance_index", "repetitions", "repetition_index",
    "threads", "iterations", "real_time", "cpu_time", "time_unit", "label", "error_occurred", "error_message",
    "items_per_second", "bytes_per_second", "aggregate_name", "aggregate_unit", "big_o", "rms", "cpu_coefficient",
    "real_coefficient",
}

parser = argparse.ArgumentParser()
parser.add_argument("--program", type=pathlib.Path, required=True)
parser.add_argument("--include", type=pathlib.Path, required=True)
parser.add_argument("--compiler", default="g++")
parser.add_argument("--json", type=pathlib.Path)
parser.add_argument("--repetitions", type=int, default=5)
parser.add_argument("--min-time", type=float, default=0.1)
parser.add_argument("names", nargs="*")
options = parser.parse_args()


def wanted(name):
    return not options.names or any(name.startswith(n) for n in options.names)


def run_benchmarks():
    """What Google Benchmark measured: {name: {"time": ns, "label": text, "counters": {...}}}."""
    if not options.program.exists():
        print(f"no benchmark program ({options.program}): Google Benchmark is not on this machine", file=sys.stderr)
        return {}
    listing = subprocess.run([str(options.program), "--benchmark_list_tests"], capture_output=True, text=True)
    names = [n for n in listing.stdout.split("\n") if n and wanted(n)]
    if not names:
        return {}
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        pattern = "^(" + "|".join(re.escape(n) for n in options.names) + ")" if options.names else "."
        subprocess.run([str(options.program), f"--benchmark_filter={pattern}", f"--benchmark_out={out.name}",
                        "--benchmark_out_format=json", f"--benchmark_repetitions={options.repetitions}",
                        f"--benchmark_min_time={options.min_time}", "--benchmark_enable_random_interleaving=true",
                        "--benchmark_display_aggregates_only=true"], check=True)
        measured = json.load(open(out.name, encoding="utf-8"))["benchmarks"]
    samples = {}
    for run in measured:
        if run.get("error_occurred"):
            sys.exit(f"{run['name']} failed: {run.get('error_message')}")
        if run["run_type"] != "iteration":
            continue
        entry = samples.setdefault(run["run_name"], {"times": [], "label": run.get("label", ""), "counters": {}})
        entry["times"].append(run["real_time"] * TO_NS[run["time_unit"]])
        for key, value in run.items():
            if key not in OWN_FIELDS and isinstance(value, (int, float)):
                entry["counters"].setdefault(key, []).append(value)
    return {name: {"time": statistics.median(entry["times"]), "label": entry["label"],
                   "counters": {k: statistics.median(v) for k, v in entry["counters"].items()}}
            for name, entry in samples.items()}


def labelled(label):
    return dict(part.split("=", 1) for part in label.split(";") if "=" in part)


def row(name, ours, peer, peer_name, unit, source, features="", durability="", **more):
    return {"name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "unit": unit,
            "ratio": None if not peer else ours / peer, "source": source, "features": features,
            "durability": durability, **more}


def pair(measured):
    anchors = json.loads((pathlib.Path(__file__).parent / "anchors.json").read_text())
    rows, used = [], set()
    for name, ours in measured.items():
        parts = name.split("/")
        mine = [i for i, part in enumerate(parts) if part == "ours" or part.startswith("ours_")]
        if not mine:
            continue
        at = mine[0]
        # ours_reused_buffer is another way of ours: a case of its own, with the same peers.
        case = "/".join(parts[:at] + [part for part in [parts[at][len("ours_"):]] if part] + parts[at + 1:])
        label = labelled(ours["label"])
        said = (label.get("features", ""), label.get("durability", ""))
        used.add(name)
        peers = 0
        for other, peer in measured.items():
            theirs = other.split("/")
            if len(theirs) != len(parts) or theirs[at].startswith("ours") or theirs[:at] + theirs[at + 1:] != parts[:at] + parts[at + 1:]:
                continue
            used.add(other)
            peers += 1
            peer_label = labelled(peer["label"])
            more = {f"peer_{k}": v for k, v in peer_label.items() if v != label.get(k, "")}
            rows.append(row(case, ours["time"], peer["time"], theirs[at], "ns", "run", *said, **more))
            for counter in sorted(ours["counters"].keys() & peer["counters"].keys()):
                rows.append(row(f"{case}/{counter}", ours["counters"][counter], peer["counters"][counter], theirs[at],
                                counter, "run", *said, **more))
            peer_only = ours["counters"].keys() - peer["counters"].keys()
            for counter in sorted(peer_only):
                rows.append(row(f"{case}/{counter}", ours["counters"][counter], None, "", counter, "run", *said))
        for anchor in anchors:
            if anchor["name"] == case or case.startswith(anchor["name"] + "/") and anchor.get("prefix"):
                value = ours["counters"].get(anchor["counter"]) if "counter" in anchor else ours["time"]
                if value is None:
                    continue
                shown = f"{case}/{anchor['counter']}" if "counter" in anchor else case
                rows.append(row(shown, value, anchor["peer"], anchor["peer_name"], anchor["unit"], "anchor", *said))
                peers += 1
        if peers == 0:
            rows.append(row(case, ours["time"], None, "", "ns", "run", *said))
            for counter, value in sorted(ours["counters"].items()):
                rows.append(row(f"{case}/{counter}", value, None, "", counter, "run", *said))
    for name in measured.keys() - used:
        print(f"warning: {name} is nobody's peer: there is no .../ours beside it", file=sys.stderr)
    return rows


PEER = "#include <string>\n#include <vector>\n"
PEER_NAME = "<vector>+<string>"


def compile_rows():
    """What a user pays for including a header: milliseconds to parse it, lines after the preprocessor."""
    headers = sorted(p.relative_to(options.include).as_posix() for p in (options.include / "syncline").rglob("*.hpp"))
    headers = [h for h in headers if wanted(f"compile/{h}")]
    if not headers:
        return []
    print(f"\ncompile cost of {len(headers)} headers", file=sys.stderr)
    command = [options.compiler, "-std=c++20", "-x", "c++", f"-I{options.include}", "-"]

    def milliseconds(text):
        begin = time.perf_counter()
        run = subprocess.run([*command, "-fsyntax-only"], input=text, capture_output=True, text=True)
        return (time.perf_counter() - begin) * 1e3 if run.returncode == 0 else None

    def lines(text):
        run = subprocess.run([*command, "-E"], input=text, capture_output=True, text=True)
        return sum(1 for line in run.stdout.splitlines() if line.strip() and not line.startswith("#"))

    sources = {"": PEER} | {h: f"#include <{h}>\n" for h in headers}
    times = {name: [] for name in sources}
    for turn in range(options.repetitions):
        print(f"  round {turn + 1} of {options.repetitions}", file=sys.stderr)
        for name, text in sources.items():
            if times[name] is not None:
                took = milliseconds(text)
                if took is None:  # an adapter whose library isn't on the machine
                    print(f"  {name} does not compile here: left out", file=sys.stderr)
                    times[name] = None
                else:
                    times[name].append(took)
    peer_ms, peer_lines, rows = statistics.median(times[""]), lines(PEER), []
    for header in headers:
        if times[header]:
            rows.append(row(f"compile/{header}", statistics.median(times[header]), peer_ms, PEER_NAME, "ms", "run"))
            rows.append(row(f"compile/{header}/lines", lines(sources[header]), peer_lines, PEER_NAME, "lines", "run"))
    return rows


def number(value):
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(rows):
    heads = ("name", "ours", "peer", "unit", "ratio", "peer's name", "source", "durability", "features")
    lines = [(r["name"], number(r["ours"]), number(r["peer"]), r["unit"],
              "-" if r["ratio"] is None else f"{r['ratio']:.3g}", r["peer_name"], r["source"], r["durability"],
              r["features"]) for r in rows]
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    for line in [heads, *lines]:
        cells = [c.rjust(w) if i in (1, 2, 4) else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths))]
        print("  ".join(cells).rstrip())


rows = pair(run_benchmarks()) + compile_rows()
if not rows:
    sys.exit(f"no benchmark's name begins with {' or '.join(options.names) or 'anything: there are none'}")
print()
table(rows)
print("\nratio: ours divided by the peer's; below 1, ours costs less. Anchors were measured on another machine.")
if options.json:
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{len(rows)} rows written to {options.json}")
