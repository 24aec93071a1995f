#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Joins a header with all of its own includes into one file.

single_header.py --include FOLDER --root syncline/syncline.hpp --output FILE
"""
import argparse
import pathlib
import re

parser = argparse.ArgumentParser()
parser.add_argument("--include", type=pathlib.Path, required=True)
parser.add_argument("--root", required=True)
parser.add_argument("--output", type=pathlib.Path, required=True)
options = parser.parse_args()

INCLUDE = re.compile(r"\s*#\s*include\s*<([^>]+)>")
seen, system, body = set(), set(), []


def add(name):
    if name in seen:
        return
    seen.add(name)
    depth = 0
    for line in (options.include / name).read_text().splitlines():
        directive = re.match(r"\s*#\s*(if|endif)", line)
        if directive:
            depth += 1 if directive.group(1) == "if" else -1
        match = INCLUDE.match(line)
        if match and match.group(1).startswith("syncline/"):
            add(match.group(1))
        elif match and depth == 0:
            system.add(match.group(1))
        elif line.strip() not in ("#pragma once", "// SPDX-License-Identifier: BSL-1.0"):
            body.append(line)


add(options.root)
text = "// SPDX-License-Identifier: BSL-1.0\n#pragma once\n\n"
text += "// Generated from the headers in include/syncline/: change those, not this file.\n\n"
text += "".join(f"#include <{name}>\n" for name in sorted(system)) + "\n"
text += re.sub(r"\n{3,}", "\n\n", "\n".join(body)) + "\n"
options.output.parent.mkdir(parents=True, exist_ok=True)
options.output.write_text(text)
