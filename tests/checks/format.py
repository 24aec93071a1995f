#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Every C++ file is as clang-format 14 leaves it: format.py ROOT [--fix]"""
import pathlib
import re
import shutil
import subprocess
import sys

root = pathlib.Path(sys.argv[1])
tool = shutil.which("clang-format-14") or shutil.which("clang-format")
version = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout if tool else ""
if not re.search(r"version 14\.", version):
    print(f"SKIPPED: clang-format 14 is not on this machine ({version.strip() or 'none'}); other versions differ")
    sys.exit(0)
files = [str(path) for folder in ("include", "tests", "examples", "benchmarks", "packaging")
         for path in sorted((root / folder).rglob("*")) if path.suffix in (".hpp", ".cpp")]
how = ["-i"] if "--fix" in sys.argv[2:] else ["--dry-run", "-Werror"]
run = subprocess.run([tool, "--style=file", *how, *files], capture_output=True, text=True)
wrong = sorted({line.split(":")[0] for line in run.stderr.splitlines() if "clang-format-violations" in line})
for name in wrong:
    print(f"{name}: run clang-format-14 -i")
if run.returncode != 0 and not wrong:
    print(run.stderr)
print(f"{len(files)} files, {len(wrong)} to format")
sys.exit(run.returncode)
