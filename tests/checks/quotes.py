#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Code in the documents is quoted from files that compile and run, never copied by hand.

quotes.py ROOT [--update]

A document marks a quotation with a comment before a fenced block:

    <!-- quote: examples/01_first/main.cpp#save -->
    ```cpp
    ...
    ```

The block must equal the file or, after "#", what stands in it between "// region: save" and "// endregion: save",
indentation taken off. A C++ block without a mark fails, unless it says <!-- quote: none --> and so that it is a
sketch. --update rewrites the blocks from the files. Links to files of the repository must lead somewhere.
"""
import pathlib
import re
import sys
import textwrap

root = pathlib.Path(sys.argv[1])
update = "--update" in sys.argv[2:]
MARK = re.compile(r"<!-- quote: (\S+) -->")
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def quoted(source):
    """The text that a mark speaks of, or a complaint."""
    name, _, region = source.partition("#")
    path = root / name
    if not path.exists():
        return None, f"{name} does not exist"
    text = path.read_text()
    if region:
        match = re.search(rf"^[ \t]*// region: {re.escape(region)}[ \t]*\n(.*?)^[ \t]*// endregion: {re.escape(region)}[ \t]*$",
                          text, re.S | re.M)
        if not match:
            return None, f"{name} has no region {region}"
        text = match.group(1)
    text = "\n".join(line for line in text.splitlines() if not re.match(r"\s*// (end)?region: ", line)) + "\n"
    return textwrap.dedent(text).strip("\n"), None


complaints, quotations = [], 0
documents = sorted(root.glob("*.md")) + sorted((root / "docs").rglob("*.md")) + sorted((root / "examples").rglob("*.md"))
for document in documents:
    where = document.relative_to(root).as_posix()
    lines, out, i, mark = document.read_text().splitlines(), [], 0, None
    while i < len(lines):
        line = lines[i]
        found = MARK.fullmatch(line.strip())
        if found:
            mark = found.group(1)
        fence = re.fullmatch(r"\s*(```+)\s*([\w+]*).*", line)
        out.append(line)
        i += 1
        if not fence or not fence.group(1):
            if line.strip() and not found and mark:
                complaints.append(f"{where}:{i}: a quotation's mark without a block right after it")
                mark = None
            continue
        start, body = i, []
        while i < len(lines) and lines[i].strip() != fence.group(1):
            body.append(lines[i])
            i += 1
        if i == len(lines):
            complaints.append(f"{where}:{start}: the block does not end")
        if mark and mark != "none":
            quotations += 1
            text, why = quoted(mark)
            if why:
                complaints.append(f"{where}:{start}: {why}")
            elif update:
                body = text.splitlines()
            elif "\n".join(body) != text:
                complaints.append(f"{where}:{start}: the block differs from {mark}; quotes.py . --update rewrites it")
        elif not mark and fence.group(2) in ("cpp", "c++", "cxx"):
            complaints.append(f"{where}:{start}: C++ that is quoted from nowhere: mark it")
        mark = None
        out += body
        if i < len(lines):
            out.append(lines[i])
            i += 1
    if update:
        document.write_text("\n".join(out) + "\n")
    prose = re.sub(r"```.*?```", "", "\n".join(lines), flags=re.S)
    for target in LINK.findall(prose):
        if not re.match(r"\w+:", target) and not (document.parent / target).exists():
            complaints.append(f"{where}: the link to {target} leads nowhere")

print(f"{len(documents)} documents, {quotations} quotations")
for complaint in complaints:
    print(complaint)
sys.exit(1 if complaints else 0)
