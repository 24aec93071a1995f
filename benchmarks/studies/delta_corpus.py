#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Makes the corpus of the delta study.

delta_corpus.py FOLDER [--seed N]     the held-out seed is 20260: what was tuned was tuned with other seeds

Writes pairs NAME.old and NAME.new, and two streams of records:
  records_json, records_cbor   2,000 documents in 5 revisions after the first; each version is a length of four
                               bytes, little-endian, and the document
  package_files, package_tar   two successive versions of a package with C and JavaScript sources, from npm: its files
                               one by one (the stream's form, two versions each), and as one tar
  sqlite                       a database of some 20 MB before and after 1,000 updates
  random_edits                 8 MB of random bytes, and 100 small edits of it
  identical, unrelated         8 MB twice, and two times 8 MB that have nothing in common
"""
import argparse
import datetime
import io
import json
import pathlib
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
import tarfile
import tempfile

PACKAGE = "better-sqlite3"
VERSIONS = ("8.3.0", "8.4.0")

FIRST = "Anna Bruno Chiara Davide Elena Fabio Greta Hugo Ines Jonas Klara Luca Maja Nils Olga Paul Rosa Sven Tara Ute".split()
LAST = "Albers Bauer Conti Dorn Ehlers Fabbri Greco Hahn Iversen Jansen Keller Lang Moretti Neri Olsen Pohl Rossi Sala".split()
STREETS = "Hauptstrasse|Via Roma|Lindenweg|Corso Italia|Marktplatz|Via Verdi|Gartenstrasse|Am Hafen|Piazza Dante".split("|")
CITIES = "Bolzano Trento Verona Merano Innsbruck Milano Bergamo Brescia Vicenza Padova".split()
WORDS = ("the guest asked for a table near window with no nuts please call before arrival and bring high chair allergic "
         "to shellfish birthday cake at nine quiet corner late checkout vegetarian menu extra bread invoice to company "
         "deposit paid by card waiting list moved from terrace because of rain confirmed by phone twice").split()
STATUS = ["requested", "confirmed", "seated", "completed", "cancelled", "no_show"]
SOURCES = ["website", "phone", "walk_in", "partner_app", "concierge"]
DISHES = ["Tagliatelle al ragu", "Canederli in brodo", "Risotto ai funghi", "Branzino al forno", "Insalata mista",
          "Tiramisu della casa", "Speck e formaggi", "Gnocchi al burro", "Strudel di mele", "Vitello tonnato"]
ALLERGENS = ["gluten", "milk", "eggs", "nuts", "fish", "celery", "soy"]


def hexid(r, n=24):
    return "".join(r.choice("0123456789abcdef") for _ in range(n))


def stamp(t):
    return t.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sentence(r, low, high):
    return " ".join(r.choice(WORDS) for _ in range(r.randint(low, high)))


def line(r):
    return {"id": hexid(r, 12), "dish": r.choice(DISHES), "quantity": r.randint(1, 6), "price": r.randint(400, 3900),
            "course": r.choice(["starter", "main", "dessert"]), "notes": sentence(r, 0, 6), "fired": r.random() < 0.3}


def document(r, number):
    t = datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=r.randint(0, 30000000))
    name = f"{r.choice(FIRST)} {r.choice(LAST)}"
    return {
        "id": hexid(r), "revision": r.randint(1, 9), "createdAt": stamp(t), "updatedAt": stamp(t), "venue": hexid(r, 16),
        "status": r.choice(STATUS), "source": r.choice(SOURCES), "guests": r.randint(1, 12), "table": f"T{r.randint(1, 60)}",
        "startsAt": stamp(t + datetime.timedelta(days=r.randint(1, 40))), "duration": r.choice([90, 105, 120, 150]),
        "client": {"id": hexid(r), "name": name, "email": name.lower().replace(" ", ".") + "@example.com",
                   "phone": "+39" + "".join(r.choice("0123456789") for _ in range(10)), "visits": r.randint(0, 40),
                   "vip": r.random() < 0.1, "language": r.choice(["it", "de", "en"]), "allergens": r.sample(ALLERGENS, r.randint(0, 3)),
                   "address": {"street": f"{r.choice(STREETS)} {r.randint(1, 120)}", "city": r.choice(CITIES),
                               "postcode": str(r.randint(20000, 39999)), "country": r.choice(["IT", "AT", "DE"])}},
        "lines": [line(r) for _ in range(r.randint(6, 12))],
        "payments": [{"id": hexid(r, 12), "method": r.choice(["card", "cash", "voucher"]), "amount": r.randint(1000, 20000),
                      "at": stamp(t), "reference": hexid(r, 32)} for _ in range(r.randint(0, 2))],
        "deposit": {"amount": r.choice([0, 2000, 5000]), "paid": r.random() < 0.5, "currency": "EUR"},
        "notes": sentence(r, 10, 50), "tags": r.sample(SOURCES + ALLERGENS, r.randint(1, 4)),
        "geo": {"lat": round(r.uniform(45, 47), 6), "lon": round(r.uniform(10, 13), 6)},
        "history": [{"at": stamp(t + datetime.timedelta(minutes=7 * i)), "by": hexid(r, 12), "what": r.choice(STATUS)}
                    for i in range(r.randint(2, 6))],
        "number": number,
    }


def revise(r, doc):
    """A next revision in place: the stamps always, and one to five of what staff and guests do."""
    t = datetime.datetime.fromisoformat(doc["updatedAt"].replace("Z", "+00:00"))
    t += datetime.timedelta(milliseconds=r.randint(4000, 400000000))
    doc["updatedAt"] = stamp(t)
    doc["revision"] += 1

    def status(): doc["status"] = r.choice(STATUS)
    def guests(): doc["guests"] = r.randint(1, 12)
    def table(): doc["table"] = f"T{r.randint(1, 60)}"
    def quantity(): r.choice(doc["lines"])["quantity"] = r.randint(1, 9)
    def fired(): r.choice(doc["lines"])["fired"] = True
    def add_line(): doc["lines"].insert(r.randint(0, len(doc["lines"])), line(r))
    def drop_line(): len(doc["lines"]) > 2 and doc["lines"].pop(r.randrange(len(doc["lines"])))
    def visits(): doc["client"]["visits"] += 1
    def moved(): doc["startsAt"] = stamp(t + datetime.timedelta(days=r.randint(0, 9)))
    def words():
        w = doc["notes"].split()
        at = r.randint(0, len(w))
        w[at:at + r.randint(0, 2)] = sentence(r, 1, 3).split()
        doc["notes"] = " ".join(w)
    def history(): doc["history"].append({"at": stamp(t), "by": hexid(r, 12), "what": doc["status"]})
    def paid(): doc["deposit"]["paid"] = not doc["deposit"]["paid"]
    def geo(): doc["geo"]["lat"] = round(doc["geo"]["lat"] + r.uniform(-0.001, 0.001), 6)
    edits = [status, status, guests, table, quantity, quantity, fired, add_line, drop_line, visits, moved, words, words,
             history, paid, geo]
    for _ in range(r.choice([1, 1, 2, 2, 3, 5])):
        r.choice(edits)()


def cbor(x):
    """Deterministic CBOR (RFC 8949, 4.2.1) of what JSON can say."""
    def head(major, n):
        if n < 24: return bytes([major << 5 | n])
        for info, form, most in ((24, ">B", 0xFF), (25, ">H", 0xFFFF), (26, ">I", 0xFFFFFFFF), (27, ">Q", 1 << 64)):
            if n <= most: return bytes([major << 5 | info]) + struct.pack(form, n)
    if x is None: return b"\xf6"
    if x is True: return b"\xf5"
    if x is False: return b"\xf4"
    if isinstance(x, int): return head(0, x) if x >= 0 else head(1, -1 - x)
    if isinstance(x, float):
        if struct.unpack(">f", struct.pack(">f", x))[0] == x: return b"\xfa" + struct.pack(">f", x)  # halves don't occur
        return b"\xfb" + struct.pack(">d", x)
    if isinstance(x, str): return head(3, len(x.encode())) + x.encode()
    if isinstance(x, list): return head(4, len(x)) + b"".join(cbor(i) for i in x)
    pairs = sorted((cbor(k), cbor(v)) for k, v in x.items())
    return head(5, len(pairs)) + b"".join(k + v for k, v in pairs)


def records(folder, seed):
    r = random.Random(seed)
    with open(folder / "records_json", "wb") as as_json, open(folder / "records_cbor", "wb") as as_cbor:
        for number in range(2000):
            doc = document(r, number)
            for revision in range(6):
                if revision: revise(r, doc)
                for out, data in ((as_json, json.dumps(doc, separators=(",", ":")).encode()), (as_cbor, cbor(doc))):
                    out.write(struct.pack("<I", len(data)) + data)


def package(folder):
    """Two versions of the package: as tars in the order of names with no times in them, and file by file."""
    trees = []
    for version in VERSIONS:
        with tempfile.TemporaryDirectory() as work:
            subprocess.run(["npm", "pack", "--silent", f"{PACKAGE}@{version}"], cwd=work, check=True,
                           stdout=subprocess.DEVNULL)
            archive = next(pathlib.Path(work).glob("*.tgz"))
            with tarfile.open(archive) as tar:
                trees.append({m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()})
    for tree, suffix in zip(trees, ("old", "new")):
        with tarfile.open(folder / f"package_tar.{suffix}", "w", format=tarfile.USTAR_FORMAT) as tar:
            for name in sorted(tree):
                info = tarfile.TarInfo(name)
                info.size = len(tree[name])
                tar.addfile(info, io.BytesIO(tree[name]))
    with open(folder / "package_files", "wb") as out:
        for name in sorted(trees[1]):
            for tree in trees:
                data = tree.get(name, b"")
                out.write(struct.pack("<I", len(data)) + data)


def database(folder, seed):
    r = random.Random(seed + 1)
    old, new = folder / "sqlite.old", folder / "sqlite.new"
    old.unlink(missing_ok=True)
    db = sqlite3.connect(old)
    db.execute("PRAGMA page_size = 4096")
    db.execute("CREATE TABLE bookings (id INTEGER PRIMARY KEY, client TEXT, status TEXT, notes TEXT, amount INTEGER)")
    db.execute("CREATE INDEX by_client ON bookings (client)")
    rows = [(i, f"{r.choice(FIRST)} {r.choice(LAST)} {r.randint(1, 9999)}", r.choice(STATUS), sentence(r, 10, 40),
             r.randint(0, 99999)) for i in range(100000)]
    db.executemany("INSERT INTO bookings VALUES (?, ?, ?, ?, ?)", rows)
    db.commit()
    db.close()
    shutil.copyfile(old, new)
    db = sqlite3.connect(new)
    for _ in range(1000):
        i = r.randrange(100000)
        db.execute("UPDATE bookings SET status = ?, notes = ?, amount = ? WHERE id = ?",
                   (r.choice(STATUS), sentence(r, 10, 40), r.randint(0, 99999), i))
    db.commit()
    db.close()


def blobs(folder, seed):
    r = random.Random(seed + 2)
    size = 8 << 20
    old = r.randbytes(size)
    new = bytearray(old)
    for _ in range(100):
        at, kind, n = r.randrange(len(new) - 64), r.randrange(3), r.randint(1, 32)
        new[at:at + (n if kind != 1 else 0)] = r.randbytes(n if kind != 2 else 0)
    for name, a, b in (("random_edits", old, new), ("identical", old, old), ("unrelated", old, r.randbytes(size))):
        (folder / f"{name}.old").write_bytes(a)
        (folder / f"{name}.new").write_bytes(b)


parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--seed", type=int, default=20260)
options = parser.parse_args()
options.folder.mkdir(parents=True, exist_ok=True)
records(options.folder, options.seed)
database(options.folder, options.seed)
blobs(options.folder, options.seed)
try:
    package(options.folder)
except (OSError, subprocess.CalledProcessError) as error:
    print(f"SKIPPED: the package, {error}", file=sys.stderr)
