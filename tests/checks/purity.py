#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""No hidden inputs: what the compiled core can reach.

purity.py OBJECT --deny FILE [--readelf READELF] [--expect SOURCE]

OBJECT holds every inline function and template of layers 0 to 3, a section each (-ffunction-sections,
-fkeep-inline-functions). From the functions of namespace syncline on, references are followed through the object;
each imported symbol that is reached and that FILE denies is a failure, told with the way to it. A line of FILE is a
regular expression over demangled names. With --expect the object is one with planted imports: each name in an
"// expect: name" line of SOURCE has to be found.
"""
import argparse
import re
import shutil
import subprocess
import sys

parser = argparse.ArgumentParser()
parser.add_argument("object")
parser.add_argument("--deny", required=True)
parser.add_argument("--readelf", default="readelf")
parser.add_argument("--expect", metavar="SOURCE")
options = parser.parse_args()

for tool in (options.readelf, "c++filt"):
    if not shutil.which(tool):
        print(f"SKIPPED: no {tool} on this machine")
        sys.exit(0)


def readelf(*how):
    return subprocess.run([options.readelf, "-W", *how, options.object], check=True, capture_output=True,
                          text=True).stdout.splitlines()


def demangled(names):
    names = list(names)
    out = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, out.splitlines()))


denied = []
for line in open(options.deny, encoding="utf-8"):
    line = line.split("#")[0].strip()
    if line:
        denied.append(re.compile(line))

# Where each symbol is defined: the number of its section, UND for what is imported.
section_of, imported, symbols_in = {}, set(), {}
for line in readelf("--symbols"):
    match = re.match(r"\s*\d+: \S+\s+\S+ (\S+)\s+\S+\s+\S+\s+(\S+)(?: (\S+))?", line)
    if not match or not match.group(3):
        continue
    kind, section, name = match.groups()
    if section == "UND":
        imported.add(name)
    elif section.isdigit():
        section_of[name] = int(section)
        if kind in ("FUNC", "OBJECT"):
            symbols_in.setdefault(int(section), []).append(name)
names_of_sections = {}
for line in readelf("--sections"):
    match = re.match(r"\s*\[\s*(\d+)\]\s+(\S+)", line)
    if match:
        names_of_sections.setdefault(match.group(2), []).append(int(match.group(1)))

# What each section refers to.
references, current = {}, []
for line in readelf("--relocs"):
    match = re.match(r"Relocation section '\.rela?(\.[^']+)'", line)
    if match:
        current = names_of_sections.get(match.group(1), [])
        if re.match(r"\.(eh_frame|debug|gcc_except)", match.group(1)):
            current = []
        continue
    match = re.match(r"[0-9a-f]+\s+[0-9a-f]+\s+R_\S+\s+[0-9a-f]+\s+(\S+)", line)
    if match:
        for section in current:
            references.setdefault(section, set()).add(match.group(1))

way = {}
todo = [s for name, s in section_of.items() if "8syncline" in name]
ours = len(set(todo))
for section in todo:
    way[section] = None
reached = {}
while todo:
    section = todo.pop()
    for name in references.get(section, ()):
        if name in imported:
            reached.setdefault(name, section)
            continue
        targets = [section_of[name]] if name in section_of else names_of_sections.get(name, [])
        for target in targets:
            if target not in way:
                way[target] = section
                todo.append(target)

plain = demangled(sorted(reached))
found = {name: e.pattern for name in reached for e in denied if e.search(plain[name])}

if options.expect:
    wanted = re.findall(r"// expect: (\S+)", open(options.expect, encoding="utf-8").read())
    missed = [w for w in wanted if not any(w in plain[name] for name in found)]
    for name in missed:
        print(f"the planted import of {name} was not found")
    print(f"{len(wanted) - len(missed)} of {len(wanted)} planted imports found")
    sys.exit(1 if missed or not wanted else 0)

print(f"{ours} sections of namespace syncline reach {len(reached)} imported symbols:")
for name in sorted(reached):
    print(f"    {plain[name]}")
for name, pattern in sorted(found.items()):
    print(f"denied ({pattern}): {plain[name]}, by way of")
    section = reached[name]
    while section is not None:
        print(f"    {demangled(symbols_in.get(section, ['?'])[:1]).popitem()[1]}")
        section = way[section]
if ours < 100:
    print("that is not the core: too little was found")
sys.exit(1 if found or ours < 100 else 0)
