#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Known-bad variants of the headers, which a simulator has to find.

plant.py --list           names and stories of the plants
plant.py --check          every plant still fits the headers
plant.py --output FOLDER  writes FOLDER/syncline, a copy of the headers with all plants in it, each behind a switch that
                          is off, and FOLDER/syncline_plants.hpp, the switches; files that would not change are left
plant.py --page FILE      the table of FILE, a document, says what plants.txt and the plants say; --update writes it
plant.py refuse           each complaint below is made where it is due
  --include FOLDER        the shipped headers (include/ of this repository)
  --plants FOLDER         the plants (plants/ beside this script)
  --known FILE            where each is seen first (plants.txt beside this script)

A plant is one file, plants/<name>.plant:

    # a comment
    name: cursor_plus_one
    story: what a tired developer did, in one sentence
    breaks: the promise that is broken
    exposed by: a life of a few devices in which it shows
    header: replica/replica.hpp
    find:
        code that stands exactly once in the shipped header
    plant:
        what stands there instead; where SYNCLINE_PLANT(cursor_plus_one) is true, the mistake, else the shipped code

Code is indented by four columns; runs of white space in `find` match any other, so that a line may be wrapped anew. A
plant may have several groups of header (when it differs from the one before), find and plant. A text that is missing or
not unique, or that another plant replaces too, is an error that names the plant: so a change of the library shows.
In a constexpr function it reads `!std::is_constant_evaluated() && SYNCLINE_PLANT(...)`.
"""
import argparse
import pathlib
import re
import sys
import tempfile

SWITCH = re.compile(r"\bSYNCLINE_PLANT\((\w*)\)")
WORDS = ("story", "breaks", "exposed by")


class Wrong(Exception):
    pass


class Edit:
    def __init__(self, header, find):
        self.header, self.find, self.plant = header, find, None


class Plant:
    def __init__(self, path):
        self.name, self.words, self.edits = path.stem, {}, []
        key, block, header = None, [], ""

        def end_of_block():
            text = "\n".join(line[4:] for line in block).strip("\n")
            block.clear()
            if key not in ("find", "plant"):
                return
            if not text.strip():
                raise Wrong(f"{self.name}: an empty '{key}'")
            if key == "find":
                if self.edits and self.edits[-1].plant is None:
                    raise Wrong(f"{self.name}: a 'find' without its 'plant'")
                if not header:
                    raise Wrong(f"{self.name}: a 'find' without a 'header'")
                self.edits.append(Edit(header, text))
            else:
                if not self.edits or self.edits[-1].plant is not None:
                    raise Wrong(f"{self.name}: a 'plant' without its 'find'")
                self.edits[-1].plant = text

        for line in path.read_text().splitlines():
            if line.startswith("    ") or not line.strip():
                block.append(line)
                continue
            end_of_block()
            key = None
            if line.startswith("#"):
                continue
            key, colon, value = (part.strip() for part in line.partition(":"))
            if not colon:
                raise Wrong(f"{self.name}: '{line}' is neither code, which is indented, nor 'word: text'")
            if key == "header":
                header = value
            elif key == "name":
                if value != self.name:
                    raise Wrong(f"{self.name}: the file of a plant that is called {value}")
            elif key in WORDS:
                self.words[key] = value
            elif key not in ("find", "plant") or value:
                raise Wrong(f"{self.name}: '{line}' is not understood")
        end_of_block()
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise Wrong(f"{self.name}: a name of a-z, 0-9 and _ is needed")
        for word in WORDS:
            if not self.words.get(word):
                raise Wrong(f"{self.name}: no '{word}'")
        if not self.edits or self.edits[-1].plant is None:
            raise Wrong(f"{self.name}: it plants nothing")
        switches = [name for edit in self.edits for name in SWITCH.findall(edit.plant)]
        if self.name not in switches:
            raise Wrong(f"{self.name}: its code never asks SYNCLINE_PLANT({self.name})")
        for other in switches:
            if other != self.name:
                raise Wrong(f"{self.name}: its code asks SYNCLINE_PLANT({other})")

    @property
    def headers(self):
        return sorted({edit.header for edit in self.edits})


def read_plants(folder):
    plants = [Plant(path) for path in sorted(folder.glob("*.plant"))]
    if not plants:
        raise Wrong(f"no plants in {folder}")
    return plants


def planted(include, plants):
    """Name and text of every header, with all plants in it."""
    texts = {path.relative_to(include).as_posix(): path.read_text()
             for path in sorted((include / "syncline").rglob("*.hpp"))}
    places = {}  # header: [(begin, end, plant, edit)]
    for plant in plants:
        for edit in plant.edits:
            name = f"syncline/{edit.header}"
            if name not in texts:
                raise Wrong(f"{plant.name}: there is no header {edit.header}")
            anchor = r"\s+".join(re.escape(word) for word in edit.find.split())
            # Overlapping occurrences count too.
            begins = [match.start() for match in re.finditer(f"(?={anchor})", texts[name])]
            if len(begins) != 1:
                how = "does not stand" if not begins else f"stands {len(begins)} times"
                raise Wrong(f"{plant.name}: this {how} in {edit.header}, once is needed:\n{edit.find}")
            end = re.compile(anchor).match(texts[name], begins[0]).end()
            places.setdefault(name, []).append((begins[0], end, plant, edit))
    for name, found in places.items():
        found.sort(key=lambda place: place[0])
        for one, next_one in zip(found, found[1:]):
            if next_one[0] < one[1]:
                raise Wrong(f"{one[2].name} and {next_one[2].name} replace the same text of {name}:\n"
                            f"{next_one[3].find}")
        text = texts[name]
        for begin, end, plant, edit in reversed(found):
            code = SWITCH.sub(r"::syncline_plants::on(::syncline_plants::index::\1)", edit.plant)
            text = text[:begin] + code + text[end:]
        texts[name] = text.replace("#pragma once\n", "#pragma once\n\n#include <syncline_plants.hpp>\n", 1)
    # Of another name, so that planted and shipped code may be linked into one program; and told by a macro.
    config = "syncline/core/config.hpp"
    text, n = re.subn(r"(#\s*define SYNCLINE_ABI )(?=\w)", r"\1planted_", texts.get(config, ""))
    if n == 0:
        raise Wrong(f"no SYNCLINE_ABI in {config}")
    texts[config] = text.replace("#pragma once\n", "#pragma once\n\n#define SYNCLINE_PLANTED 1\n", 1)
    return texts


def literal(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def switches(plants):
    rows = ""
    for plant in plants:
        texts = [plant.name, *(plant.words[word] for word in WORDS), " ".join(plant.headers)]
        rows += "    {" + ",\n     ".join(literal(text) for text in texts) + "},\n"
    indices = "".join(f"inline constexpr std::size_t {plant.name} = {i};\n" for i, plant in enumerate(plants))
    return f"""// SPDX-License-Identifier: BSL-1.0
// Written by tests/simulation/plant.py.
#pragma once

/// The switches of the plants, all off, and what they are about.

#include <array>
#include <cstddef>
#include <string_view>
#include <type_traits>

namespace syncline_plants {{

struct plant {{
    std::string_view name;
    std::string_view story;       ///< what a tired developer did
    std::string_view breaks;      ///< the promise that is broken
    std::string_view exposed_by;  ///< a life in which it shows
    std::string_view headers;     ///< in which it stands, separated by spaces
}};

inline constexpr std::size_t count = {len(plants)};

/// In the order of names; an index is a place in here.
inline constexpr std::array<plant, count> all{{{{
{rows}}}}};

/// Where each plant stands in `all`.
namespace index {{
{indices}}}  // namespace index

/// On or off. Not synchronised: set them while nothing else runs.
inline std::array<bool, count> switches{{}};

// Not constexpr, with no answer for the compiler's own evaluation: a `bool const` that is initialised by an expression
// with a plant would be worked out by the compiler then, as if the plant were off.
[[nodiscard]] inline bool on(std::size_t i) noexcept {{ return switches[i]; }}

inline void set(std::size_t i, bool to) noexcept {{ switches[i] = to; }}
inline void all_off() noexcept {{ switches = {{}}; }}

/// The place of a name in `all`; `count` for an unknown one.
[[nodiscard]] constexpr std::size_t find(std::string_view name) noexcept {{
    std::size_t i = 0;
    while (i != count && all[i].name != name) {{ ++i; }}
    return i;
}}

}}  // namespace syncline_plants

#include <syncline/core/config.hpp>
#if !defined(SYNCLINE_PLANTED)
    #error "the shipped headers come before the planted ones in the include path"
#endif
"""


# Mistakes of the host and the disk, which no header has.
OTHERS = {
    "host:acknowledges-before-commit": "The host says that it is saved, then rolls back.",
    "host:replies-before-commit": "The authority's host sends the reply, and the commit never happens.",
    "host:drops-events": "The host overhears every third event.",
    "host:forgets-deadlines": "The host does not come back when it was asked to.",
    "disk:forgets-synced": "What was promised to survive a power cut goes.",
    "disk:tears-commits": "A power cut leaves half of a commit.",
}
PAGE_HEAD = "| mistake | what was done | first seed that shows it | first seen as |\n|---|---|---|---|\n"


def page(text, plants, known):
    """The document with its table as it should be."""
    begin = text.find(PAGE_HEAD)
    if begin < 0:
        raise Wrong("the document has no table of plants")
    begin += len(PAGE_HEAD)
    end = begin
    while text.startswith("|", end):
        end = text.index("\n", end) + 1
    stories = {**OTHERS, **{plant.name: plant.words["story"] for plant in plants}}
    rows = ""
    for line in known.splitlines():
        if not line or line.startswith("#"):
            continue
        name, seed, axiom = line.split()
        if name not in stories:
            raise Wrong(f"{name}: no such mistake is planted")
        story = stories.pop(name).replace("|", "\\|")
        rows += f"| {name} | {story} | {'not yet found' if seed == '-' else seed} | {'—' if seed == '-' else axiom} |\n"
    if stories:
        raise Wrong(f"not in the table of what is known: {', '.join(sorted(stories))}")
    return text[:begin] + rows + text[end:]


def write(folder, texts):
    """Writes what differs, and takes away what is left of headers that are gone. How many files changed."""
    changed = 0
    for name, text in texts.items():
        path = folder / name
        if path.exists() and path.read_text() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        changed += 1
    for path in sorted((folder / "syncline").rglob("*.hpp")):
        if path.relative_to(folder).as_posix() not in texts:
            path.unlink()
            changed += 1
    return changed


def refuse():
    """Plants that must be refused, and one that must not."""
    good = ("name: one\nstory: s\nbreaks: b\nexposed by: e\nheader: a.hpp\n"
            "find:\n    return n;\nplant:\n    return SYNCLINE_PLANT(one) ? n + 1 : n;\n")
    other = good.replace("one", "two")
    cases = [
        ("good", {"one": good}, None),
        ("wrapped anew", {"one": good.replace("return n;", "return\n      n;", 1)}, None),
        ("missing", {"one": good.replace("return n;", "return m;", 1)}, "one: this does not stand in a.hpp"),
        ("twice", {"one": good.replace("return n;", "int n)", 1)}, "one: this stands 2 times in a.hpp"),
        ("overlapping", {"one": good, "two": other.replace("return n;", "n; }", 1)},
         "one and two replace the same text"),
        ("unknown header", {"one": good.replace("a.hpp", "b.hpp")}, "one: there is no header b.hpp"),
        ("no switch", {"one": good.replace("SYNCLINE_PLANT(one)", "true")}, "one: its code never asks"),
        ("another's switch", {"one": good + "find:\n    first\nplant:\n    SYNCLINE_PLANT(two)\n"},
         "one: its code asks SYNCLINE_PLANT(two)"),
        ("no story", {"one": good.replace("story: s\n", "")}, "one: no 'story'"),
        ("wrong name", {"two": good}, "two: the file of a plant that is called one"),
        ("no replacement", {"one": good[:good.index("plant:\n")]}, "one: it plants nothing"),
        ("none", {}, "no plants"),
    ]
    missed = 0
    for what, plants, complaint in cases:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            files = {"include/syncline/a.hpp": "#pragma once\nint first(int n) { return n; }\nint next(int n);\n",
                     "include/syncline/core/config.hpp": "#pragma once\n#define SYNCLINE_ABI v0\n"}
            files.update({f"plants/{name}.plant": text for name, text in plants.items()})
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            said = None
            try:
                texts = planted(root / "include", read_plants(root / "plants"))
                if "syncline_plants::on(::syncline_plants::index::one) ? n + 1 : n" not in texts["syncline/a.hpp"]:
                    said = "nothing was planted"
                written = write(root / "out", texts), write(root / "out", texts)
                if written != (2, 0):
                    said = f"{written} files were written"
                del texts["syncline/a.hpp"]
                write(root / "out", texts)
                if (root / "out/syncline/a.hpp").exists():
                    said = "a header that is gone was left"
            except Wrong as wrong:
                said = str(wrong)
            if (said is None) != (complaint is None) or (complaint and not said.startswith(complaint)):
                print(f"{what}: said '{said}', not '{complaint}'")
                missed += 1
    known = "# k\n" + "".join(f"{name} 1 x\n" for name in OTHERS)
    right = "a\n" + PAGE_HEAD + "".join(f"| {name} | {story} | 1 | x |\n" for name, story in OTHERS.items()) + "\nb\n"
    pages = [
        ("right", right, known, right),
        ("another seed", right.replace("| 1 |", "| 2 |", 1), known, right),
        ("a row too many", right.replace("\n\nb", "\n| more | than | there | are |\n\nb"), known, right),
        ("not found", right, known.replace("1 x", "- -", 1), right.replace("| 1 | x |", "| not yet found | — |", 1)),
        ("unknown", right, known + "other 1 x\n", None),
        ("one is missing", right, known.replace("disk:tears-commits 1 x\n", ""), None),
        ("no table", "a\n", known, None),
    ]
    for what, text, table, due in pages:
        try:
            said = page(text, [], table)
        except Wrong:
            said = None
        if said != due:
            print(f"page, {what}: {said}")
            missed += 1
    print(f"{len(cases) + len(pages)} cases, {missed} not as they should be")
    return 1 if missed else 0


def main():
    here = pathlib.Path(__file__).resolve().parent
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("mode", nargs="?", choices=["refuse"])
    args.add_argument("--list", action="store_true")
    args.add_argument("--check", action="store_true")
    args.add_argument("--output", type=pathlib.Path)
    args.add_argument("--page", type=pathlib.Path)
    args.add_argument("--update", action="store_true")
    args.add_argument("--known", type=pathlib.Path, default=here / "plants.txt")
    args.add_argument("--include", type=pathlib.Path, default=here.parent.parent / "include")
    args.add_argument("--plants", type=pathlib.Path, default=here / "plants")
    args = args.parse_args()
    if args.mode == "refuse":
        return refuse()
    try:
        plants = read_plants(args.plants)
        if args.list:
            for plant in plants:
                print(f"{plant.name} ({' '.join(plant.headers)})\n    {plant.words['story']}\n"
                      f"    breaks: {plant.words['breaks']}\n    exposed by: {plant.words['exposed by']}")
        texts = planted(args.include, plants)
        if args.output:
            write(args.output, {"syncline_plants.hpp": switches(plants), **texts})
        if args.page:
            text = args.page.read_text()
            due = page(text, plants, args.known.read_text())
            if args.update:
                args.page.write_text(due)
            elif text != due:
                raise Wrong(f"{args.page}: the table is not what the plants say; write it anew with --update")
    except Wrong as wrong:
        print(f"plant.py: {wrong}", file=sys.stderr)
        return 1
    if args.check:
        print(f"{len(plants)} plants fit the headers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
