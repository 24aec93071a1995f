#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""The compile cost of each header of layers 0 to 3, as lines after the preprocessor.

preprocessed_lines.py ROOT --compiler CXX [--update]

Compares with tests/checks/preprocessed_lines.txt, measured with the compiler that the file names: more than 5 % and
200 lines above the budget fails, and so does a header without one. Growth below that is printed. --update writes
the file anew; say in the commit why it grew.
"""
import argparse
import pathlib
import re
import subprocess
import sys

parser = argparse.ArgumentParser()
parser.add_argument("root", type=pathlib.Path)
parser.add_argument("--compiler", default="g++-12")
parser.add_argument("--update", action="store_true")
options = parser.parse_args()
root = options.root
budget_file = root / "tests/checks/preprocessed_lines.txt"


def compiler_name():
    try:
        text = subprocess.run([options.compiler, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "none"
    version = re.search(r"(\d+)\.\d+\.\d+", text)
    kind = "clang" if "clang" in text else "gcc" if "Free Software Foundation" in text else "other"
    return f"{kind} {version.group(1) if version else '?'}"


def core_headers():
    ends = {line.split()[1] for line in (root / "tests/checks/layers.txt").read_text().splitlines()
            if line.startswith("4 ")}
    base = root / "include"
    for path in sorted((base / "syncline").rglob("*.hpp")):
        name = path.relative_to(base).as_posix()
        if name.split("/")[1] not in ends:
            yield name


def lines_of(header):
    run = subprocess.run([options.compiler, "-std=c++20", "-E", "-x", "c++", f"-I{root / 'include'}", "-"],
                         input=f"#include <{header}>\n", capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{header} can't be preprocessed:\n{run.stderr}")
    return sum(1 for line in run.stdout.splitlines() if line.strip() and not line.startswith("#"))


name = compiler_name()
budget, measured_with = {}, "gcc 12"
if budget_file.exists():
    for line in budget_file.read_text().splitlines():
        if line.startswith("# compiler: "):
            measured_with = line[len("# compiler: "):]
        elif line and not line.startswith("#"):
            header, count = line.split()
            budget[header] = int(count)
if name != measured_with:
    print(f"SKIPPED: the budget was measured with {measured_with}, this is {name}")
    sys.exit(0)

now = {header: lines_of(header) for header in core_headers()}
if options.update:
    width = max(map(len, now))
    text = ("# Lines that each header of layers 0 to 3 costs its includer after the preprocessor; blank lines and\n"
            "# line markers don't count. Written by preprocessed_lines.py --update.\n"
            f"# compiler: {name}\n")
    text += "".join(f"{header:<{width}} {count:>6}\n" for header, count in now.items())
    budget_file.write_text(text)
    print(f"{len(now)} headers written")
    sys.exit(0)

failed = False
for header, count in now.items():
    if header not in budget:
        print(f"{header}: {count} lines, and no budget: run preprocessed_lines.py . --update")
        failed = True
        continue
    allowed = budget[header] + budget[header] // 20 + 200
    if count > allowed:
        print(f"{header}: {count} lines, budget {budget[header]}, at most {allowed}")
        failed = True
    elif count != budget[header]:
        print(f"{header}: {count} lines, budget {budget[header]}: within the margin")
for header in budget:
    if header not in now:
        print(f"{header} has a budget and does not exist")
        failed = True
sys.exit(1 if failed else 0)
