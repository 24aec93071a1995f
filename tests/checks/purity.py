#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""No hidden inputs: what the compiled core imports.

purity.py OBJECT --deny FILE [--nm NM] [--expect-impure]

Lists the undefined symbols of OBJECT, which holds every template of layers 0 to 3, and fails for each that FILE
denies: a line is a regular expression over the demangled name. With --expect-impure the object is one that was
planted: every expression that it names in an "// expect:" line of its source has to be found.
"""
import argparse
import re
import shutil
import subprocess
import sys

parser = argparse.ArgumentParser()
parser.add_argument("object")
parser.add_argument("--deny", required=True)
parser.add_argument("--nm", default="nm")
parser.add_argument("--expect-impure", metavar="SOURCE")
options = parser.parse_args()

if not shutil.which(options.nm):
    print(f"SKIPPED: no {options.nm} on this machine")
    sys.exit(0)

denied = []
for line in open(options.deny, encoding="utf-8"):
    line = line.split("#")[0].strip()
    if line:
        denied.append(re.compile(line))

listing = subprocess.run([options.nm, "-C", options.object], check=True, capture_output=True, text=True).stdout
imported, defined = [], 0
for line in listing.splitlines():
    match = re.match(r"^[0-9a-f ]*\s([A-Za-z])\s(.*)$", line)
    if match and match.group(1) in "Uvw":
        imported.append(match.group(2))
    elif match:
        defined += 1

found = [(name, expression.pattern) for name in imported for expression in denied if expression.search(name)]

if options.expect_impure:
    wanted = re.findall(r"// expect: (\S+)", open(options.expect_impure, encoding="utf-8").read())
    missed = [w for w in wanted if not any(w in name for name, _ in found)]
    for name in missed:
        print(f"the planted import of {name} was not found")
    print(f"{len(wanted) - len(missed)} of {len(wanted)} planted imports found")
    sys.exit(1 if missed or not wanted else 0)

print(f"{options.object}: {defined} symbols defined, {len(imported)} imported")
for name in imported:
    print(f"    {name}")
for name, expression in found:
    print(f"denied: {name}   ({expression})")
sys.exit(1 if found or defined == 0 else 0)
