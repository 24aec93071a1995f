#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Makes day.json and edits.json beside this file: five weddings, their guests, and what a long Saturday does to them.

The same seed gives the same files. Only the standard library is used.
"""
import json
import pathlib
import random

dice = random.Random(20260919)
here = pathlib.Path(__file__).parent


def hm(minutes, seconds=None):
    text = f"{minutes // 60:02d}:{minutes % 60:02d}"
    return text if seconds is None else f"{text}:{seconds:02d}"


# ---------------------------------------------------------------------------------------------------- people

# Given names and family names, by where the families are from; one wedding draws from two or three of them.
NAMES = {
    "de": ("Anneliese Björn Käthe Jürgen Friederike Götz Heike Jörg Mareike Sönke Ulrike Matthias Bärbel Wolfgang",
           "Müller Schröder Köhler Größ Brückner Jäger Weiß Löwenthal Grünwald Böttcher Hübner Voß"),
    "fr": ("Amélie François Zoé Léon Cécile Benoît Maëlle Gaël Noémie Thérèse Loïc Hélène Rémi Océane",
           "Lefèvre Béranger Desprès Gauthier Lévêque Fréchet Perrault d'Aubigné Château Noël"),
    "tr": ("Ayşe Çağla Emre Gülşen İbrahim Özge Şule Tuğçe Uğur Yiğit Zeynep Kıvanç",
           "Yıldız Öztürk Çelik Şahin Güneş Aydın Kılıç Doğan Koç Işık"),
    "pl": ("Agnieszka Bożena Łukasz Małgorzata Paweł Śławomir Wojciech Zofia Grażyna Jędrzej",
           "Wójcik Kowalczyk Zieliński Dąbrowska Łukasiewicz Gąsior Świątek Żurawski"),
    "vi": ("Thị·Hằng Văn·Đức Ngọc·Ánh Quốc·Bảo Thu·Hà Minh·Tuấn Thuỳ·Linh Đình·Phúc",
           "Nguyễn Trần Phạm Đặng Bùi Vũ Lê Hoàng"),
    "is": ("Þóra Guðrún Björk Ásgeir Sigríður Hallgrímur Æsa Jón Kristín Óðinn",
           "Guðmundsdóttir Jónsson Þorsteinsdóttir Sigurðsson Ægisdóttir Ólafsson"),
    "el": ("Ελένη Γιώργος Μαρία Κώστας Αθηνά Δημήτρης Χρυσούλα Θανάσης",
           "Παπαδοπούλου Νικολαΐδης Γεωργίου Οικονόμου Ζαχαριάδης"),
    "ja": ("陽子 健太 美咲 翔太 さくら 大輔 結衣 直樹", "佐藤 鈴木 高橋 田中 渡辺 伊藤"),
    "uk": ("Олена Андрій Оксана Тарас Соломія Юрій Їржина Любомир", "Шевченко Коваленко Бойко Ткачук Їжакевич"),
    "ar": ("ليلى عمر سلمى يوسف هدى كريم", "الحداد النجار السيد منصور"),
    "he": ("נועה יונתן תמר אבי שירה", "כהן לוי ברקוביץ מזרחי"),
    "es": ("Begoña Íñigo Lucía Andrés Inés José Peña Ramón Concepción Martín",
           "Núñez Ibáñez Muñoz Gutiérrez Peñalver Gómez Ávila"),
    "en": ("Siobhán Niamh Aoife Charlotte Oliver Zadie Kwame Fionnuala Rhys Olúwaseun",
           "O’Brien Smith Okonkwo Ní·Dhomhnaill Llewellyn MacAskill"),
}
FAMILY_FIRST = {"vi", "ja"}


def people(kinds, count, taken):
    out = []
    while len(out) < count:
        kind = dice.choice(kinds)
        given, family = (part.split() for part in NAMES[kind])
        a, b = dice.choice(given).replace("·", " "), dice.choice(family).replace("·", " ")
        name = f"{b} {a}" if kind in FAMILY_FIRST else f"{a} {b}"
        if name in taken:
            if dice.random() < 0.5:
                continue
            a2 = dice.choice(given).replace("·", " ")
            name = f"{b} {a} {a2}" if kind in FAMILY_FIRST else f"{a} {a2} {b}"
            if a == a2 or name in taken:
                continue
        taken.add(name)
        out.append(name)
    return out


DIETS = ["any"] * 12 + ["vegetarian"] * 5 + ["vegan", "halal", "halal", "kosher", "gluten-free", "lactose-free",
                                             "no nuts", "no shellfish", "child's plate", "child's plate"]

# ---------------------------------------------------------------------------------------------------- the five weddings

WEDDINGS = [
    # id, couple, room, begins, ends, guests, kinds of names
    ("e1", "Käthe Löwenthal & Íñigo Núñez", "Spiegelsaal", 10 * 60 + 30, 17 * 60, 104, ["de", "es"]),
    ("e2", "Çağla Öztürk & Björn Schröder", "Großer Saal", 12 * 60, 23 * 60 + 30, 168, ["tr", "de"]),
    ("e3", "Nguyễn Thị Hằng & Rémi Lefèvre", "Wintergarten", 13 * 60, 22 * 60, 122, ["vi", "fr"]),
    ("e4", "Siobhán O’Brien & 佐藤 健太", "Terrasse", 14 * 60 + 30, 23 * 60, 96, ["en", "ja", "is"]),
    ("e5", "Олена Шевченко & Γιώργος Νικολαΐδης", "Kuppelsaal", 16 * 60, 25 * 60, 114, ["uk", "el", "pl", "ar", "he"]),
]
TABLE_NAMES = "Linde Eiche Ahorn Birke Ulme Esche Buche Weide Kastanie Lärche Föhre Erle Holunder Quitte Mispel Walnuss".split()
TRADES = [("flowers", "Blütenzauber"), ("music", "Kapelle Sørensen"), ("cake", "Konditorei Weiß"),
          ("photo booth", "Knips & Co."), ("hair and make-up", "Salon Émilie"), ("string quartet", "Quatuor Équinoxe"),
          ("fireworks", "Feuerwerk Żar")]
STEPS = [("Florist sets up", -90, 45), ("Band: sound check", -60, 30), ("Doors open", 0, 30), ("Ceremony", 30, 40),
         ("Champagne and photographs", 70, 50), ("Guests take their seats", 120, 15), ("Speech of the parents", 140, 15),
         ("First course", 155, 35), ("Main course", 195, 50), ("Cake is cut", 250, 20), ("First dance", 275, 15),
         ("Farewell", 380, 10)]
SHOTS = [("The rings on the invitation", "nobody"), ("Getting ready", "{a}"), ("First look", "{a} and {b}"),
         ("The walk in", "{a} with her father"), ("The kiss", "{a} and {b}"), ("Both families on the stairs", "all parents"),
         ("Grandmothers together", "the grandmothers"), ("Bridesmaids", "{a} and her friends"),
         ("The best man's face", "{b}’s best man"), ("Everybody, from the balcony", "all guests"),
         ("Children under the table", "the children"), ("Cake and knife", "{a} and {b}"), ("First dance", "{a} and {b}"),
         ("Hands", "{a} and {b}"), ("The band at work", "the band"), ("Last guests", "whoever is left")]

day = {"date": "2026-09-19", "utc_offset_minutes": 120, "venue": "Ballhaus Mondschein", "opens": "08:00",
       "closes": "24:00", "events": [], "tables": [], "timeline": [], "guests": [], "vendors": [], "shots": []}
by_event = {}
taken = set()
for w, (eid, couple, room, begins, ends, count, kinds) in enumerate(WEDDINGS):
    mine = by_event[eid] = {"guests": [], "tables": [], "timeline": [], "vendors": [], "shots": [], "begins": begins,
                            "ends": ends}
    a, b = couple.split(" & ")
    day["events"].append({"id": eid, "title": couple, "room": room, "begins": hm(begins), "ends": hm(ends),
                          "status": "planned", "arrived": 0, "plates": 0})
    tables = -(-count // 9)
    for t in range(tables):
        name = f"{TABLE_NAMES[t % len(TABLE_NAMES)]}{' II' if t >= len(TABLE_NAMES) else ''}"
        mine["tables"].append({"id": f"{eid}-t{t + 1:02d}", "event": eid, "name": f"{room}, {name}", "places": 10,
                               "seated": 0})
    for g, name in enumerate(people(kinds, count, taken)):
        guest = {"id": f"{eid}-g{g + 1:03d}", "event": eid, "name": name, "table": str(g % tables + 1),
                 "seat": g // tables + 1, "diet": dice.choice(DIETS)}
        if dice.random() < 0.06:
            guest["note"] = dice.choice(["needs a step-free way", "brings a dog (small)", "speaks at dinner",
                                         "leaves before the cake", "sits far from the band", "hearing aid: front row"])
        mine["guests"].append(guest)
    for title, after, length in STEPS:
        at = begins + after * (ends - begins) // 400
        mine["timeline"].append({"id": f"{eid}-p{len(mine['timeline']) + 1:02d}", "event": eid, "title": title,
                                 "begins": hm(at), "ends": hm(at + length), "status": "planned"})
    for trade, firm in dice.sample(TRADES, 6):
        mine["vendors"].append({"id": f"{eid}-v{len(mine['vendors']) + 1}", "event": eid, "name": firm, "trade": trade,
                                "phone": f"+49 30 {dice.randrange(1000000, 9999999)}",
                                "due": hm(begins - dice.choice([60, 75, 90, 120])), "status": "expected"})
    for title, who in SHOTS:
        mine["shots"].append({"id": f"{eid}-s{len(mine['shots']) + 1:02d}", "event": eid, "title": title,
                              "people": who.format(a=a.split()[0], b=b.split()[0]), "done": False, "frames": 0})
    for part in ("tables", "timeline", "guests", "vendors", "shots"):
        day[part] += mine[part]

# ---------------------------------------------------------------------------------------------------- the devices

COORDINATOR, STAFF, PHONE = "coordinator", "staff", "photographer"
OFFLINE = {
    COORDINATOR: [("10:50", "11:40", "wine cellar", False), ("15:05", "16:10", "the car park", True),
                  ("20:00", "20:50", "flat battery", False)],
    STAFF: [("09:20", "10:05", "loading ramp", False), ("11:10", "12:20", "kitchen, thick walls", True),
            ("15:20", "16:30", "kitchen, thick walls", False), ("19:40", "20:40", "lift that stuck", True)],
    PHONE: [("10:40", "12:30", "garden, no network", False), ("15:10", "17:20", "boat on the lake", True),
            ("19:30", "21:15", "flight mode, speeches", False)],
}
devices = [
    {"name": COORDINATOR, "label": "Coordinator's tablet", "person": "Amélie Brückner", "clock_ahead_seconds": 0},
    {"name": STAFF, "label": "Staff tablet", "person": "Yiğit, Bożena, Aoife", "clock_ahead_seconds": -35},
    {"name": PHONE, "label": "Photographer's phone", "person": "Æsa Ólafsson", "clock_ahead_seconds": 80},
]
for d in devices:
    d["offline"] = [dict(zip(("from", "to", "why"), span)) | ({"cut": True} if span[3] else {})
                    for span in OFFLINE[d["name"]]]

edits = []


def edit(at, device, do, collection, rid, **fields):
    """`at` in minutes; seconds are made up, so that few edits share a moment."""
    e = {"at": hm(int(at), dice.randrange(0, 60)), "device": device, "do": do, "collection": collection, "id": rid}
    if fields or do != "erase":
        e["fields"] = fields
    edits.append(e)


def minutes(text):
    return int(text[:2]) * 60 + int(text[3:5])


# ---------------------------------------------------------------------------------------------------- an ordinary day

for eid, mine in by_event.items():
    begins, ends = mine["begins"], mine["ends"]
    # The house opens, serves and closes: the coordinator says so; sometimes the staff says it first.
    for status, after in (("open", 0), ("dinner", 150), ("dancing", 280)):
        at = begins + after * (ends - begins) // 400
        if at < 24 * 60:
            edit(at, COORDINATOR, "set", "events", eid, status=status)
    # Heads at the door, plates from the kitchen.
    for i in range(5):
        edit(begins + dice.randrange(-5, 40), dice.choice([STAFF, STAFF, COORDINATOR]), "add", "events", eid,
             arrived=dice.randrange(4, 22))
    for i in range(6):
        edit(min(begins + 155 * (ends - begins) // 400 + dice.randrange(0, 110), 24 * 60 - 5),
             dice.choice([STAFF, STAFF, STAFF, COORDINATOR]), "add", "events", eid, plates=dice.randrange(6, 25))
    # Vendors come and go; whoever sees them notes it.
    for v in mine["vendors"]:
        came = minutes(v["due"]) + dice.randrange(-15, 25)
        edit(came + 2, dice.choice([STAFF, COORDINATOR]), "set", "vendors", v["id"], arrived=hm(came), status="here")
    for v in dice.sample(mine["vendors"], 2):
        went = min(ends - dice.randrange(20, 90), 23 * 60 + 40)
        edit(went + 1, dice.choice([STAFF, COORDINATOR]), "set", "vendors", v["id"], left=hm(went), status="gone")
    # The programme is ticked off.
    for p in mine["timeline"][2:11]:
        begin = minutes(p["begins"]) + dice.randrange(-3, 12)
        if begin > 23 * 60 + 30 or dice.random() < 0.35:
            continue
        edit(begin, dice.choice([STAFF, COORDINATOR]), "set", "timeline", p["id"], began=hm(begin), status="running")
    # Guests at the desk.
    for g in dice.sample(mine["guests"], 9):
        came = begins + dice.randrange(-15, 45)
        edit(came + 1, STAFF, "set", "guests", g["id"], arrived=hm(came))
    # The photographer works through the list, and counts frames.
    for s in mine["shots"]:
        if dice.random() < 0.75:
            at = min(begins + dice.randrange(-30, 300), 23 * 60 + 30)
            edit(at, PHONE, "add", "shots", s["id"], frames=dice.randrange(2, 14))
            if dice.random() < 0.4:
                edit(at + 1, PHONE, "add", "shots", s["id"], frames=dice.randrange(1, 6))
            edit(at + 2, PHONE, "set", "shots", s["id"], done=True)

# ---------------------------------------------------------------------------------------------------- what goes wrong

conflicts = []


def clash(gid, field, first, second, take, because, **custom):
    """Two devices change one field of a guest while neither can know of the other."""
    (at1, device1, value1), (at2, device2, value2) = first, second
    edit(at1, device1, "set", "guests", gid, **{field: value1})
    edit(at2, device2, "set", "guests", gid, **{field: value2})
    conflicts.append({"collection": "guests", "id": gid, "field": field, "take": take, "because": because} | custom)


# What stood there before, so that each of them changes something.
for guest in day["guests"]:
    if guest["id"] in ("e1-g044", "e2-g098", "e5-g055"):
        guest["diet"] = "any"
    if guest["id"] == "e3-g077":
        guest["diet"] = "vegetarian"

H = 60
clash("e1-g017", "table", (11 * H + 2, COORDINATOR, "3"), (11 * H + 25, STAFF, "8"), "local",
      "The staff has seated her already; moving her again would be rude.")
clash("e1-g044", "diet", (11 * H + 8, COORDINATOR, "no nuts"), (11 * H + 31, STAFF, "vegan"), "custom",
      "The daughter was asked: both.", value="vegan, no nuts")
clash("e2-g003", "table", (15 * H + 12, COORDINATOR, "1"), (15 * H + 40, STAFF, "2"), "remote",
      "Grandfather sits at the first table. Always.")
clash("e2-g098", "diet", (15 * H + 20, COORDINATOR, "halal"), (15 * H + 26, STAFF, "vegetarian"), "local",
      "The kitchen has spoken with him.")
clash("e3-g021", "table", (15 * H + 31, COORDINATOR, "5"), (15 * H + 58, STAFF, "11"), "local",
      "Away from the draught, as the staff noticed.")
clash("e3-g077", "diet", (15 * H + 44, STAFF, "no shellfish"), (15 * H + 15, COORDINATOR, "any"), "local",
      "An allergy is never overwritten by a guess.")
clash("e4-g010", "table", (20 * H + 5, COORDINATOR, "4"), (20 * H + 12, STAFF, "9"), "remote",
      "The couple asked for this one.")
clash("e5-g055", "diet", (20 * H + 20, STAFF, "gluten-free"), (20 * H + 31, COORDINATOR, "lactose-free"), "custom",
      "Both of them are right.", value="gluten-free, lactose-free")
clash("e5-g080", "table", (19 * H + 50, PHONE, "7"), (20 * H + 2, STAFF, "12"), "remote",
      "The photograph was arranged around it.")

# The same guest, vendor or moment seen by several: the earliest and the latest stand, whoever syncs first.
for gid, at in (("e1-g030", 11 * H + 12), ("e1-g051", 11 * H + 20), ("e2-g040", 15 * H + 22), ("e3-g060", 15 * H + 33)):
    edit(at + 3, COORDINATOR, "set", "guests", gid, arrived=hm(at + 2))
    edit(at + 1, STAFF, "set", "guests", gid, arrived=hm(at))
for vid in ("e2-v2", "e4-v4", "e5-v1"):
    edit(15 * H + 25, STAFF, "set", "vendors", vid, left="15:24", status="gone")
    edit(15 * H + 50, COORDINATOR, "set", "vendors", vid, left="15:49", status="gone")
for pid in ("e1-p07", "e2-p05", "e3-p06"):
    edit(15 * H + 30, PHONE, "set", "timeline", pid, began="15:28", ended="15:45", status="done")
    edit(15 * H + 47, STAFF, "set", "timeline", pid, began="15:26", ended="15:44", status="running")
# Two people close and reopen one thing: what the authority confirmed first stays.
edit(15 * H + 35, COORDINATOR, "set", "events", "e3", status="dinner")
edit(15 * H + 41, STAFF, "set", "events", "e3", status="open")
edit(20 * H + 10, COORDINATOR, "set", "events", "e4", status="dancing")
edit(20 * H + 15, STAFF, "set", "events", "e4", status="dinner")
edit(11 * H + 15, COORDINATOR, "set", "vendors", "e3-v3", status="expected", note="called: half an hour late")
edit(11 * H + 30, STAFF, "set", "vendors", "e3-v3", status="here", note="stands at the ramp")
# Notes: the last writer wins.
for rid, a, b in (("e1-g017", "moved for the photograph", "sits by the window now"),
                  ("e1-g090", "taxi at four", "taxi at half past four"),
                  ("e2-g077", "has a gift for the couple", "gift & card: <in the safe>")):
    base = 11 * H + 5 if rid.startswith("e1") else 15 * H + 18
    edit(base, COORDINATOR, "set", "guests", rid, note=a)
    edit(base + 19, STAFF, "set", "guests", rid, note=b)
edit(19 * H + 45, STAFF, "set", "events", "e5", note="doors to the terrace stay shut, wind")
edit(20 * H + 9, COORDINATOR, "set", "events", "e5", note="doors to the terrace open again")
edit(20 * H + 15, PHONE, "set", "events", "e5", note="sparklers at half past nine, tell the band")
edit(15 * H + 20, PHONE, "set", "events", "e4", note="group picture on the stairs before the speech")
edit(15 * H + 46, STAFF, "set", "events", "e4", note="stairs are wet: group picture in the hall")
edit(15 * H + 27, PHONE, "set", "guests", "e3-g050", note="wants the picture with the dog")
edit(15 * H + 53, COORDINATOR, "set", "guests", "e3-g050", note="has left the dog with the porter")
# Plates and heads counted in three places at once: all of them count.
for at, device, n in ((15 * H + 22, STAFF, 18), (15 * H + 24, COORDINATOR, 7), (15 * H + 40, STAFF, 22),
                      (15 * H + 55, COORDINATOR, 11), (16 * H, PHONE, 1)):
    edit(at, device, "add", "events", "e2", plates=n)
for at, device, n in ((20 * H + 3, STAFF, 14), (20 * H + 8, COORDINATOR, 9), (20 * H + 25, STAFF, 16),
                      (20 * H + 30, PHONE, 2)):
    edit(at, device, "add", "events", "e5", plates=n)
edit(15 * H + 48, PHONE, "add", "shots", "e2-s10", frames=40)
edit(15 * H + 50, COORDINATOR, "add", "shots", "e2-s10", frames=1)
edit(15 * H + 52, COORDINATOR, "set", "shots", "e2-s10", note="the uncle with the hat is missing")

# The network goes in the middle of an exchange: what these say is decided, but the answer gets lost.
for device, at in ((STAFF, "11:10"), (COORDINATOR, "15:05"), (PHONE, "15:10"), (STAFF, "19:40")):
    for rid, fields in (("e2", {"plates": 3}), ("e3", {"arrived": 1})):
        edits.append({"at": at, "device": device, "do": "add", "collection": "events", "id": rid, "fields": fields})

# Guests who typed, and typed again: one mutation is sent.
for i, text in enumerate(("late", "late, train", "late, train stands in Göttingen", "late, train stands in Göttingen; keep the soup")):
    edit(11 * H + 34 + i, STAFF, "set", "guests", "e2-g011", note=text)
for i, seat in enumerate((4, 5, 6, 4)):
    edit(15 * H + 33 + i, COORDINATOR, "set", "guests", "e4-g033", seat=seat)

# Tables that fill up. Lärche has ten places: each tablet seats six, and neither knows of the other.
full = "e2-t10"
edit(14 * H + 40, STAFF, "add", "tables", full, seated=2)
edit(15 * H + 28, COORDINATOR, "add", "tables", full, seated=5)
edit(15 * H + 36, STAFF, "add", "tables", full, seated=4)
for eid in ("e1", "e2", "e3", "e4", "e5"):
    mine = by_event[eid]
    for t in dice.sample([t for t in mine["tables"] if t["id"] != full], 5):
        edit(mine["begins"] + dice.randrange(100, 150), dice.choice([STAFF, COORDINATOR]), "add", "tables", t["id"],
             seated=dice.randrange(3, 9))
# A speech moved to both sides at once would end before it begins; each move alone is fine.
edit(15 * H + 16, COORDINATOR, "set", "timeline", "e4-p07", begins="17:40")
p07 = next(p for p in by_event["e4"]["timeline"] if p["id"] == "e4-p07")
edit(15 * H + 45, STAFF, "set", "timeline", "e4-p07", ends="17:35")
assert p07["begins"] < "17:35" and p07["ends"] > "17:40", p07
# The photographer strikes more off the list than the house allows.
edit(16 * H + 20, PHONE, "erase", "timeline", "e3-p12")
edit(16 * H + 25, PHONE, "erase", "shots", "e3-s11")

# Guests who cancel, guests who come unasked, and one who was added by mistake.
edit(9 * H + 40, STAFF, "create", "guests", "e1-g901", event="e1", name="Tante Bärbel (unangemeldet)", table="2", seat=11,
     diet="any")
edit(9 * H + 52, STAFF, "erase", "guests", "e1-g901")
edit(11 * H + 45, STAFF, "create", "guests", "e2-g902", event="e2", name="Gülşen Yıldız-Größ", table="4", seat=11,
     diet="vegetarian", note="plus one of Emre")
edit(12 * H + 40, COORDINATOR, "create", "guests", "e3-g903", event="e3", name="Maëlle d'Aubigné <médecin>", table="7",
     seat=11, diet="any", note="on call; \"phone & pager\" at the desk")
edit(12 * H + 10, COORDINATOR, "erase", "guests", "e5-g101")
edit(15 * H + 15, COORDINATOR, "erase", "guests", "e4-g066")
edit(15 * H + 37, STAFF, "set", "guests", "e4-g066", note="called, may come after all")
edit(20 * H + 18, STAFF, "erase", "guests", "e5-g102")
edit(20 * H + 22, COORDINATOR, "set", "guests", "e5-g102", seat=3)
edit(15 * H + 55, STAFF, "erase", "vendors", "e1-v6")
edit(18 * H, COORDINATOR, "erase", "shots", "e2-s15")

edits.sort(key=lambda e: e["at"])
todo = {"devices": devices, "asks_every_seconds": 600, "decided_by": "the coordinator", "otherwise": "remote",
        "decisions": conflicts, "edits": edits}


def dump(name, data):
    """One record a line: easy to read, easy to diff."""
    lines = []
    for key, value in data.items():
        if isinstance(value, list):
            rows = ",\n".join("  " + json.dumps(v, ensure_ascii=False) for v in value)
            lines.append(f"{json.dumps(key)}: [\n{rows}\n]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    (here / name).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


dump("day.json", day)
dump("edits.json", todo)
print({k: len(v) for k, v in day.items() if isinstance(v, list)}, "edits", len(edits))
