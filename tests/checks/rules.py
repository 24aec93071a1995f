#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Rules of the repository that a search in the sources can hold.

rules.py layers    ROOT   includes point down the layer table
rules.py words     ROOT   layers 0 to 3 use no banned header, type or keyword; each header begins as it should
rules.py umbrellas ROOT   <component>.hpp includes every header of its folder, syncline.hpp every component;
                          with --fix after ROOT they are rewritten so
rules.py mirror    ROOT   each header has a test that is named like it or includes it
rules.py versions  ROOT   the recipes of the packages say the version of core/config.hpp
rules.py refuse           each rule above finds the violations that are planted in a copy
"""
import json
import pathlib
import re
import sys
import tempfile

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)

BANNED_HEADERS = {
    "any", "cassert", "condition_variable", "coroutine", "cstdio", "ctime", "deque", "exception", "filesystem",
    "format", "fstream", "functional", "future", "iomanip", "ios", "iostream", "istream", "latch", "list", "locale",
    "memory", "memory_resource", "mutex", "ostream", "random", "ranges", "regex", "semaphore", "shared_mutex",
    "source_location", "sstream", "stdexcept", "stop_token", "streambuf", "syncstream", "thread", "typeindex",
    "typeinfo", "unordered_map", "unordered_set",
}
BANNED_WORDS = {
    r"\bthrow\b": "throw",
    r"\btry\b": "try",
    r"\bcatch\b": "catch",
    r"\btypeid\b": "typeid",
    r"\bdynamic_cast\b": "dynamic_cast",
    r"\bconsteval\b": "consteval",
    r"\bthread_local\b": "thread_local",
    r"\bstd::function\b": "std::function",
    r"\bstd::any\b": "std::any",
    r"\bstd::shared_ptr\b": "std::shared_ptr",
    r"\bstd::unordered_\w+": "a container in hash order",
    r"\bstd::views\b|\bviews::": "views",
    r"\b(?:system|steady|high_resolution)_clock\s*::\s*now\b": "a clock that is read",
    r"\bnamespace\s*\{": "an anonymous namespace",
}


def strip(text):
    """The text without comments and the contents of literals, its lines kept."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^()\\ \n]*)\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])*\'',
        re.S)
    return pattern.sub(lambda m: '""' * (m.group(0)[0] in '"R') + "\n" * m.group(0).count("\n"), text)


class Table:
    def __init__(self, root):
        self.layer, self.allowed, self.also = {}, {}, {}
        for line in (root / "tests/checks/layers.txt").read_text().splitlines():
            line = line.split("#")[0].strip()
            if not line:
                continue
            head, _, tail = line.partition(":")
            kind, name = head.split()
            if kind == "also":
                self.also[name] = set(tail.split())
            else:
                self.layer[name] = int(kind)
                self.allowed[name] = set(tail.split())


def headers(root):
    base = root / "include/syncline"
    for path in sorted(base.rglob("*.hpp")):
        yield path, path.relative_to(base).as_posix()


def folder_of(name):
    return name.split("/")[0] if "/" in name else ""


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def layers(root):
    table, found = Table(root), []
    for folder, allowed in table.allowed.items():
        for other in allowed:
            if other not in table.layer:
                found.append(f"layers.txt: {folder} may include {other}, which the table does not know")
            elif table.layer[other] > table.layer[folder]:
                found.append(f"layers.txt: {folder} (layer {table.layer[folder]}) may include {other} above it")
    for path, name in headers(root):
        folder = folder_of(name)
        if not folder:
            continue
        if folder not in table.layer:
            found.append(f"{name}: the folder is not in tests/checks/layers.txt")
            continue
        text = path.read_text()
        for match in INCLUDE.finditer(text):
            target = match.group(2)
            where = f"{name}:{line_of(text, match.start())}"
            if match.group(1) == '"':
                found.append(f'{where}: "{target}": own headers are included as <syncline/...>')
                continue
            if not target.startswith("syncline/"):
                continue
            other = folder_of(target[len("syncline/"):])
            if not (root / "include" / target).exists():
                found.append(f"{where}: <{target}> does not exist")
            elif not other:
                found.append(f"{where}: <{target}> is an umbrella, for users only")
            elif other != folder and other not in table.allowed[folder] | table.also.get(name, set()):
                found.append(f"{where}: {folder} may not include {other}")
    for name in table.also:
        if (root / "include/syncline").exists() and not (root / "include/syncline" / name).exists():
            found.append(f"layers.txt: 'also {name}' speaks of a header that does not exist")
    return found


def words(root):
    table, found = Table(root), []
    for path, name in headers(root):
        text = path.read_text()
        lines = text.splitlines()
        if not lines or lines[0] != "// SPDX-License-Identifier: BSL-1.0":
            found.append(f"{name}:1: the first line is not the licence")
        if "#pragma once" not in lines[:3]:
            found.append(f"{name}: no #pragma once at the top")
        if not any(line.startswith("///") for line in lines[:8]):
            found.append(f"{name}: no sentence of purpose (///) at the top")
        if table.layer.get(folder_of(name), 9) > 3:
            continue
        code = strip(text)
        for match in INCLUDE.finditer(text):
            if match.group(1) == "<" and match.group(2) in BANNED_HEADERS:
                found.append(f"{name}:{line_of(text, match.start())}: <{match.group(2)}> is banned in layers 0 to 3")
            elif match.group(1) == "<" and "/" in match.group(2) and not match.group(2).startswith("syncline/"):
                found.append(f"{name}:{line_of(text, match.start())}: <{match.group(2)}> is not the standard library")
        for pattern, what in BANNED_WORDS.items():
            for match in re.finditer(pattern, code):
                found.append(f"{name}:{line_of(code, match.start())}: {what} is banned in layers 0 to 3")
    return found


def umbrellas(root):
    table, found = Table(root), []
    base = root / "include/syncline"
    components = []
    for folder, layer in sorted(table.layer.items()):
        inside = sorted(p.relative_to(root / "include").as_posix() for p in (base / folder).rglob("*.hpp"))
        if layer > 3 or not inside:
            continue
        components.append(folder)
        umbrella = base / f"{folder}.hpp"
        if not umbrella.exists():
            found.append(f"{folder}.hpp does not exist")
            continue
        named = [m.group(2) for m in INCLUDE.finditer(umbrella.read_text())]
        wanted = [h for h in inside if not h.endswith("archetype.hpp")]
        found += [f"{folder}.hpp lacks <{h}>" for h in wanted if h not in named]
        found += [f"{folder}.hpp includes <{h}>, which is not of its folder" for h in named if h not in wanted]
    if components:
        top = base / "syncline.hpp"
        named = [m.group(2) for m in INCLUDE.finditer(top.read_text())] if top.exists() else []
        wanted = [f"syncline/{c}.hpp" for c in components]
        found += [f"syncline.hpp lacks <{h}>" for h in wanted if h not in named]
        found += [f"syncline.hpp includes <{h}>, which is no component" for h in named if h not in wanted]
    known = {f"{c}.hpp" for c in components} | {"syncline.hpp"}
    found += [f"{p.name}: a header outside of a folder that is no umbrella"
              for p in base.glob("*.hpp") if p.name not in known]
    return found


def fix_umbrellas(root):
    table, base = Table(root), root / "include/syncline"

    def write(path, names):
        text = path.read_text() if path.exists() else (
            f"// SPDX-License-Identifier: BSL-1.0\n#pragma once\n\n/// The whole component `{path.stem}`.\n\n")
        text = "".join(line + "\n" for line in text.splitlines() if not INCLUDE.match(line))
        width = max(map(len, names), default=0)
        text += "".join(f"#include <{n}>{' ' * (width - len(n))}  // IWYU pragma: export\n" for n in names)
        path.write_text(text)

    components = []
    for folder, layer in sorted(table.layer.items()):
        names = sorted(p.relative_to(root / "include").as_posix() for p in (base / folder).rglob("*.hpp")
                       if not p.name.endswith("archetype.hpp"))
        if layer <= 3 and names:
            components.append(f"syncline/{folder}.hpp")
            write(base / f"{folder}.hpp", names)
    write(base / "syncline.hpp", components)


def mirror(root):
    table, found, included = Table(root), [], set()
    for path in sorted((root / "tests").rglob("*.?pp")):
        name = path.relative_to(root / "tests").as_posix()
        folder = folder_of(name)
        if folder in ("checks", "consumer", "support", "fuzz_targets", "processes", "simulation"):
            continue
        if folder not in table.layer:
            found.append(f"tests/{name}: the folder is not in tests/checks/layers.txt")
        for match in INCLUDE.finditer(path.read_text()):
            included.add(match.group(2))
    for _, name in headers(root):
        folder = folder_of(name)
        if folder and not (root / "tests" / name).with_suffix(".cpp").exists() \
                and f"syncline/{name}" not in included:
            found.append(f"{name}: no test has its name or includes it")
    return found


def versions(root):
    config = (root / "include/syncline/core/config.hpp").read_text()
    version = ".".join(re.search(rf"#define SYNCLINE_VERSION_{part} (\d+)", config).group(1)
                       for part in ("MAJOR", "MINOR", "PATCH"))
    found = []
    for name in ("vcpkg.json", "packaging/vcpkg/ports/syncline/vcpkg.json"):
        path = root / name
        if path.exists() and json.loads(path.read_text())["version-semver"] != version:
            found.append(f"{name}: not version {version}")
    recipe = root / "conanfile.py"
    if recipe.exists() and "config.hpp" not in recipe.read_text():
        found.append("conanfile.py: does not read the version from core/config.hpp")
    changes = root / "CHANGELOG.md"
    if changes.exists() and version not in changes.read_text():
        found.append(f"CHANGELOG.md: has no word about {version}")
    return found


RULES = {"layers": layers, "words": words, "umbrellas": umbrellas, "mirror": mirror, "versions": versions}

GOOD = "// SPDX-License-Identifier: BSL-1.0\n#pragma once\n\n/// A header.\n"
PLANTED = [
    # rule, files to write, a piece of the complaint that must come (None: there must be none)
    ("layers", {"include/syncline/merge/a.hpp": GOOD + "#include <syncline/core/c.hpp>\n"}, None),
    ("layers", {"include/syncline/core/a.hpp": GOOD + "#include <syncline/model/m.hpp>\n",
                "include/syncline/model/m.hpp": GOOD}, "core may not include model"),
    ("layers", {"include/syncline/retry/a.hpp": GOOD + "  #  include <syncline/clock/m.hpp>\n",
                "include/syncline/clock/m.hpp": GOOD}, "retry may not include clock"),
    ("layers", {"include/syncline/core/a.hpp": GOOD + '#include "c.hpp"\n'}, "included as"),
    ("layers", {"include/syncline/core/a.hpp": GOOD + "#include <syncline/core/none.hpp>\n"}, "does not exist"),
    ("layers", {"include/syncline/new_part/a.hpp": GOOD}, "not in tests/checks/layers.txt"),
    ("layers", {"include/syncline/core/a.hpp": GOOD + "#include <syncline/model.hpp>\n",
                "include/syncline/model.hpp": GOOD}, "umbrella"),
    ("words", {"include/syncline/core/a.hpp": GOOD + 'char const* s = "throw";  // throw\n/* try */\n'}, None),
    ("words", {"include/syncline/core/a.hpp": GOOD + "inline void f() { throw 1; }\n"}, "a.hpp:5: throw"),
    ("words", {"include/syncline/core/a.hpp": GOOD + "#include <functional>\n"}, "<functional>"),
    ("words", {"include/syncline/core/a.hpp": GOOD + "#include <boost/any.hpp>\n"}, "not the standard library"),
    ("words", {"include/syncline/core/a.hpp": GOOD + "auto t = std::chrono::system_clock::now();\n"}, "clock"),
    ("words", {"include/syncline/core/a.hpp": "#pragma once\n/// x\n"}, "licence"),
    ("umbrellas", {"include/syncline/core/c.hpp": GOOD, "include/syncline/syncline.hpp": "#include <syncline/core.hpp>\n",
                   "include/syncline/core.hpp": "#include <syncline/core/c.hpp>\n"}, None),
    ("umbrellas", {"include/syncline/core.hpp": GOOD}, "core.hpp lacks <syncline/core/c.hpp>"),
    ("umbrellas", {"include/syncline/core.hpp": "#include <syncline/core/c.hpp>\n"}, "syncline.hpp lacks"),
    ("umbrellas", {"include/syncline/stray.hpp": GOOD}, "stray.hpp"),
    ("mirror", {"tests/core/c.cpp": ""}, None),
    ("mirror", {"tests/core/all.cpp": "#include <syncline/core/c.hpp>"}, None),
    ("mirror", {"tests/core/all.cpp": ""}, "no test has its name"),
    ("mirror", {"tests/unheard_of/c.cpp": "", "tests/core/c.cpp": ""}, "not in tests/checks/layers.txt"),
    ("versions", {"vcpkg.json": '{"version-semver": "9.9.9"}'}, "vcpkg.json"),
]


def refuse():
    table = (pathlib.Path(__file__).parent / "layers.txt").read_text()
    table = "\n".join(line for line in table.splitlines() if not line.startswith("also"))
    config = "".join(f"#define SYNCLINE_VERSION_{p} 0\n" for p in ("MAJOR", "MINOR", "PATCH"))
    wrong = []
    for rule, files, wanted in PLANTED:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            base = {"tests/checks/layers.txt": table, "include/syncline/core/c.hpp": GOOD,
                    "include/syncline/core/config.hpp": GOOD + config}
            if rule in ("umbrellas", "mirror"):
                del base["include/syncline/core/config.hpp"]
            for name, text in (base | files).items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            found = RULES[rule](root)
            if wanted is None and found:
                wrong.append(f"{rule} complains about what is right: {found}")
            if wanted is not None and not any(wanted in complaint for complaint in found):
                wrong.append(f"{rule} does not find {wanted!r} in {list(files)}, but {found}")
    return wrong


def main():
    if sys.argv[1:2] == ["refuse"]:
        found = refuse()
    elif sys.argv[1:2] == ["umbrellas"] and sys.argv[3:] == ["--fix"]:
        fix_umbrellas(pathlib.Path(sys.argv[2]))
        found = []
    elif len(sys.argv) == 3 and sys.argv[1] in RULES:
        found = RULES[sys.argv[1]](pathlib.Path(sys.argv[2]))
    else:
        sys.exit(__doc__)
    for complaint in found:
        print(complaint)
    sys.exit(1 if found else 0)


main()
