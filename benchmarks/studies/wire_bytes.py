#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""What the main example's traffic would take as whole records: wire_bytes.py FOLDER

Reads the recorded messages and says the same exchanges as a plain program would: a request is a JSON object of the
device, its position and the whole records that it changed, a reply one of the position and the whole records that
changed there; compressed by gzip -9, each message by itself, or each record by itself, as a program that sends one
record a request does. A record is its fields and its key: no versions, clocks or
verdicts, which such a program does without. A record that was pushed is taken as the authority last had it by then.
Prints "way,requests,replies".
"""
import gzip
import json
import pathlib
import struct
import sys


def item(b, at):
    """One item of CBOR, and where the next begins."""
    major, more = b[at] >> 5, b[at] & 31
    at += 1
    if more < 24:
        n = more
    else:
        size = 1 << (more - 24)
        raw = b[at:at + size]
        n = int.from_bytes(raw, "big")
        at += size
    if major == 7:
        if more in (25, 26, 27):
            return struct.unpack({25: ">e", 26: ">f", 27: ">d"}[more], raw)[0], at
        return {20: False, 21: True, 22: None}[more], at
    if major in (0, 1):
        return (n if major == 0 else -1 - n), at
    if major in (2, 3):
        s = b[at:at + n]
        return (s if major == 2 else s.decode()), at + n
    if major == 4:
        out = []
        for _ in range(n):
            x, at = item(b, at)
            out.append(x)
        return out, at
    out = {}
    for _ in range(n):
        k, at = item(b, at)
        out[k], at = item(b, at)
    return out, at


def plain(value):
    """As JSON can say it."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value.items()}
    return value


def main():
    known = {}  # by device: key and fields as it last got them
    sizes = {"request": [0, 0, 0], "reply": [0, 0, 0]}
    exchanges = pushed = pulled = empty = 0

    def text(said):
        return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()

    def count(way, said):
        sizes[way][0] += len(text(said))
        sizes[way][1] += len(gzip.compress(text(said), 9, mtime=0))
        sizes[way][2] += sum(len(gzip.compress(text(r), 9, mtime=0)) for r in said["records"])

    messages = sorted(pathlib.Path(sys.argv[1]).iterdir())
    for i, path in enumerate(messages):
        if not path.name.endswith("request"):
            continue
        device = path.name.rsplit("-", 2)[0]
        rows = known.setdefault(device, {})
        body = item(path.read_bytes()[8:], 0)[0]
        answered = i + 1 < len(messages) and messages[i + 1].name.endswith("reply")
        reply = item(messages[i + 1].read_bytes()[8:], 0)[0] if answered else {}
        changed = []
        for collection, key, row in reply.get(8, []):
            fields = plain(row[6]) if isinstance(row[6], dict) else None
            rows[(collection, plain(key))] = fields
            changed.append({"collection": collection, "id": plain(key), "record": fields})
        records = []
        for raw in body[5]:
            m = item(raw, 0)[0]
            key = (m[3], plain(m[4]))
            record = rows.get(key)
            if record is None and m[2] != 3:  # what was not answered yet: as far as its own operations tell
                record = {op[1]: plain(op[2]) if len(op) > 2 else None for op in m[7]}
            records.append({"collection": key[0], "id": key[1], "record": record})
        count("request", {"device": body[1].hex(), "since": body[3], "records": records})
        if answered:
            count("reply", {"to": reply[7], "records": changed})
        exchanges += 1
        pushed += len(records)
        pulled += len(changed)
        empty += not records and not changed
    for n, way in enumerate(("JSON", "JSON, gzip a message", "JSON, gzip a record")):
        print(f"{way},{sizes['request'][n]},{sizes['reply'][n]}")
    print(f"{exchanges} exchanges, {empty} of them with nothing, {pushed} records pushed, {pulled} pulled",
          file=sys.stderr)


main()
