// SPDX-License-Identifier: BSL-1.0
#include <syncline/audit/log.hpp>

#include <algorithm>
#include <ctime>
#include <map>
#include <string>
#include <vector>

#include <syncline/testing/nth_failure.hpp>

#include "audit/model.hpp"
#include "support/sanitized.hpp"

using namespace audit_tests;
using sl::anchor_finding;
using sl::audit_fault;
using sl::audit_field;
using sl::audit_head;
using sl::audit_item;
using sl::audit_kind;
using sl::audit_log;
using sl::audit_verification;

static_assert(sl::valid(sl::audit_options{}));
static_assert(!sl::valid(sl::audit_options{.redactions_max = 0}));
static_assert(!sl::valid(sl::audit_options{.entry_bytes_max = 100}));

namespace {

sha256_function const hash;
sl::wall_time const now{sl::milliseconds{1'790'000'000'000}};

/// An entry that owns its parts, and what is expected of it.
struct told {
    audit_kind kind = audit_kind::local_write;
    std::uint64_t stamp = 0;
    std::string actor;
    std::uint64_t code = 0;
    std::string collection;
    std::string record;
    std::string shown;   ///< a public field, if not empty
    std::string hidden;  ///< a masked one
    std::string mail;    ///< a personal one
    std::string phone;   ///< another
    bool mail_gone = false;
    bool phone_gone = false;

    [[nodiscard]] bool has_private() const {
        return !record.empty() || !hidden.empty() || !mail.empty() || !phone.empty();
    }
};

/// Appends a told one.
template <class Tx, class G>
sl::result<std::uint64_t> tell(Tx& tx, audit_log<> const& log, told const& t, G& random) {
    bytes const shown = text(t.shown);
    bytes const hidden = text(t.hidden);
    audit_field const open{"shown", shown};
    audit_field const masked{"hidden", hidden};
    bytes const mail = text(t.mail);
    bytes const phone = text(t.phone);
    std::vector<audit_field> personal;
    if (!t.mail.empty()) { personal.push_back({"mail", mail}); }
    if (!t.phone.empty()) { personal.push_back({"phone", phone}); }
    audit_item i;
    i.personal = personal;
    i.kind = t.kind;
    i.stamp = {t.stamp};
    i.actor = sl::as_bytes(t.actor);
    i.code = t.code;
    i.collection = t.collection;
    i.record = sl::as_bytes(t.record);
    if (!t.shown.empty()) { i.open = std::span<audit_field const>{&open, 1}; }
    if (!t.hidden.empty()) { i.masked = std::span<audit_field const>{&masked, 1}; }
    return log.append(tx, i, random);
}
told some(sl::random_generator& r, std::uint64_t n) {
    told t;
    t.kind = static_cast<audit_kind>(1 + below(r, 11));
    t.stamp = n;
    t.actor = "actor " + std::to_string(below(r, 3));
    t.code = below(r, 9);
    if (below(r, 3) != 0) {
        t.collection = below(r, 2) == 0 ? "guests" : "g";
        t.record = "r" + std::to_string(below(r, 4));
        if (below(r, 2) == 0) { t.hidden = "secret " + std::to_string(n); }
        if (below(r, 2) == 0) { t.mail = "m" + std::to_string(n) + "@example"; }
        if (below(r, 2) == 0) { t.phone = "+49 30 " + std::to_string(n); }
    } else if (below(r, 4) == 0) {
        t.hidden = "of nobody";
    }
    if (below(r, 2) == 0) { t.shown = "shown " + std::to_string(n); }
    return t;
}
bool agrees(sl::audit_entry const& e, told const& t, bool redacted) {
    bool good = e.kind == t.kind && e.stamp.raw == t.stamp && sl::as_text(e.actor) == t.actor && e.code == t.code &&
                e.collection == t.collection && e.commitment.has_value() == t.has_private() &&
                e.opened.has_value() == (t.has_private() && !redacted);
    auto const shown = sl::map_find(e.open, "shown");
    good = good && shown && shown->has_value() == !t.shown.empty();
    if (good && !t.shown.empty()) { good = sl::equal(**shown, text(t.shown)); }
    if (good && e.opened) {
        good = sl::as_text(e.opened->record) == t.record;
        auto const hidden = sl::map_find(e.opened->masked, "hidden");
        good = good && hidden && hidden->has_value() == !t.hidden.empty();
        if (good && !t.hidden.empty()) { good = sl::equal(**hidden, text(t.hidden)); }
        std::vector<std::pair<std::string, std::optional<bytes>>> wanted;
        if (!t.mail.empty()) { wanted.emplace_back("mail", t.mail_gone ? std::nullopt : std::optional{text(t.mail)}); }
        if (!t.phone.empty()) {
            wanted.emplace_back("phone", t.phone_gone ? std::nullopt : std::optional{text(t.phone)});
        }
        good = good && e.opened->personal.size() == wanted.size();
        for (std::size_t i = 0; good && i < wanted.size(); ++i) {
            good = e.opened->personal[i].name == wanted[i].first && e.opened->personal[i].item == wanted[i].second;
        }
    }
    return good;
}

/// A log of some entries, with a redaction, a sealed and half dropped segment, and unfinished tiles at two heights.
void fill(sl::memory_storage& store, audit_log<> const& log, std::size_t n, audit_head* anchor = nullptr) {
    sl::random_generator random{4};
    auto tx = write(store);
    REQUIRE(log.open(tx, now, random));
    for (std::size_t i = 0; i < n; ++i) {
        REQUIRE(tell(tx, log, some(random, i), random));
        if (i == n / 2) { REQUIRE(log.redact(tx, "guests", sl::as_bytes("r1"), {}, random)); }
        if (i == n / 3) { REQUIRE(log.redact_field(tx, "guests", sl::as_bytes("r2"), "phone", {}, random)); }
        if (i == n / 4) {
            auto const archive = log.export_segment(tx, 0, 5, {});
            REQUIRE(archive);
            REQUIRE(log.seal(tx, *archive, {}, random));
            REQUIRE(*log.drop(tx, 3) == 3);
        }
        if (i == 3 * n / 4 && anchor != nullptr) { *anchor = *log.head(tx, {}); }
    }
    REQUIRE(tx.commit());
}
/// The key of an entry's row.
bytes entry_key(std::uint64_t i) {
    bytes k = sl::to_bytes("ae");
    sl::append_u64(k, i);
    return k;
}
bool sound(sl::memory_storage& store, audit_log<> const& log, audit_verification const& what = {}) {
    auto tx = store.begin(sl::access_mode::read);
    REQUIRE(tx);
    auto const r = log.verify(*tx, what);
    return r && r->sound();
}

}  // namespace

TEST_CASE("log: what was told is there, in order, with proofs; against a list", "[audit]") {
    for (std::uint64_t seed = 1; seed <= rounds(8u); ++seed) {
        sl::random_generator random{seed};
        sl::memory_storage store;
        audit_log<> const log;
        std::vector<std::optional<told>> list;  // nothing: the log's own
        std::vector<bool> redacted;
        naive_tree naive;
        std::vector<audit_head> heads;
        std::uint64_t first = 0;
        std::uint64_t sealed = 0;
        {
            auto tx = write(store);
            CHECK(log.extent(tx).error() == errc::not_found);
            CHECK(tell(tx, log, some(random, 0), random).error() == errc::not_found);
            REQUIRE(log.open(tx, now, random));
            auto const before = raw(tx);
            REQUIRE(log.open(tx, now, random));
            CHECK(raw(tx) == before);
            REQUIRE(tx.commit());
        }
        auto const own = [&] {
            list.emplace_back();
            redacted.push_back(false);
        };
        for (int step = 0; step < 120; ++step) {
            auto tx = write(store);
            bool const leave = below(random, 8) == 0;
            auto const old_list = list;
            auto const old_redacted = redacted;
            auto const old_first = first;
            auto const old_sealed = sealed;
            std::uint64_t const what = below(random, 20);
            if (what == 0) {
                std::string const collection = below(random, 2) == 0 ? "guests" : "g";
                std::string const record = "r" + std::to_string(below(random, 4));
                std::uint64_t n = 0;
                for (std::size_t i = first; i < list.size(); ++i) {
                    if (list[i] && list[i]->collection == collection && list[i]->record == record && !redacted[i]) {
                        redacted[i] = true;
                        ++n;
                    }
                }
                REQUIRE(*log.redact(tx, collection, sl::as_bytes(record), {}, random) == n);
                if (n != 0) { own(); }
            } else if (what == 3) {
                std::string const collection = below(random, 2) == 0 ? "guests" : "g";
                std::string const record = "r" + std::to_string(below(random, 4));
                bool const mail = below(random, 2) == 0;
                std::uint64_t n = 0;
                for (std::size_t i = first; i < list.size(); ++i) {
                    if (!list[i] || list[i]->collection != collection || list[i]->record != record || redacted[i]) {
                        continue;
                    }
                    bool& gone = mail ? list[i]->mail_gone : list[i]->phone_gone;
                    if (gone || (mail ? list[i]->mail : list[i]->phone).empty()) { continue; }
                    gone = true;
                    ++n;
                }
                auto const done =
                    log.redact_field(tx, collection, sl::as_bytes(record), mail ? "mail" : "phone", {}, random);
                REQUIRE((done && done->destroyed == n && done->shared == 0));
                if (n != 0) { own(); }
            } else if (what == 1 && list.size() > sealed) {
                std::uint64_t const from = (std::max)(first, sealed);
                std::uint64_t const to = from + 1 + below(random, list.size() - from);
                auto const archive = log.export_segment(tx, from, to, {}, below(random, 2) == 0);
                REQUIRE(archive);
                REQUIRE(log.seal(tx, *archive, {}, random));
                sealed = to;
                own();
            } else if (what == 2) {
                std::uint64_t const most = below(random, 9);
                std::uint64_t const n = (std::min)(most, sealed > first ? sealed - first : 0);
                REQUIRE(*log.drop(tx, most) == n);
                first += n;
            } else {
                std::uint64_t const count = below(random, 4);
                for (std::uint64_t i = 0; i < count; ++i) {
                    told const t = some(random, list.size());
                    REQUIRE(*tell(tx, log, t, random) == list.size());
                    list.push_back(t);
                    redacted.push_back(false);
                }
            }
            if (leave) {
                list = old_list;
                redacted = old_redacted;
                first = old_first;
                sealed = old_sealed;
                continue;
            }
            REQUIRE(tx.commit());
            auto reading = write(store);
            auto const extent = *log.extent(reading);
            REQUIRE((extent.size == list.size() && extent.first == first && extent.sealed == sealed));
            while (naive.size() < list.size()) { naive.push(*log.leaf_data(reading, naive.size())); }
            auto const head = *log.head(reading, {});
            REQUIRE(head.root == naive.root(list.size()));
            heads.push_back(head);
            std::size_t wrong = 0;
            std::size_t seen = 0;
            REQUIRE(log.scan(reading, 0, ~std::uint64_t{0}, [&](sl::audit_entry const& e) {
                auto const i = static_cast<std::size_t>(e.index);
                wrong += i == first + seen++ ? 0U : 1U;
                if (list[i]) { wrong += agrees(e, *list[i], redacted[i]) ? 0U : 1U; }
                return true;
            }));
            REQUIRE(seen == list.size() - first);
            REQUIRE(wrong == 0);
            for (std::string const record : {"r0", "r1", "r2", "r3"}) {
                std::vector<std::uint64_t> expected;
                for (std::size_t i = list.size(); i-- > first;) {
                    bool const is = list[i] && list[i]->collection == "g" && list[i]->record == record;
                    if (is && !redacted[i]) { expected.push_back(i); }
                }
                std::vector<std::uint64_t> found;
                REQUIRE(log.scan_record(reading, {"g", record}, [&](sl::audit_entry const& e) {
                    found.push_back(e.index);
                    return true;
                }));
                REQUIRE(found == expected);
            }
        }
        auto tx = write(store);
        auto const report = log.verify(tx, {.anchors = heads});
        REQUIRE(report);
        INFO("seed " << seed);
        for (auto const& f : report->findings) { UNSCOPED_INFO(sl::name(f.fault) << " at " << f.index); }
        REQUIRE(report->sound());
        CHECK(report->entries == list.size() - first);
        // Every proof of every head that there was.
        for (auto const& h : heads) {
            auto const c = log.prove_consistency(tx, h.size);
            REQUIRE(c);
            REQUIRE(compare_heads(hash, h, heads.back(), *c) == anchor_finding::extends);
            for (std::uint64_t i = 0; i < h.size; i += 7) {
                auto const p = log.prove_inclusion(tx, i, h.size);
                REQUIRE(p);
                REQUIRE(p->path == naive.path(i, h.size));
                REQUIRE(verify_inclusion(hash, naive.leaf(i), *p, h.root));
            }
        }
        CHECK(log.prove_inclusion(tx, list.size()).error() == errc::not_found);
        CHECK(log.prove_consistency(tx, list.size() + 1).error() == errc::not_found);
        CHECK(log.head_at(tx, list.size() + 1, {}).error() == errc::not_found);
        CHECK(log.head_at(tx, heads[0].size, {})->root == heads[0].root);
    }
}

TEST_CASE("log: no stored byte can change unseen", "[audit]") {
    sl::memory_storage store;
    audit_log<> const log;
    audit_head anchor;
    fill(store, log, 45, &anchor);
    REQUIRE(sound(store, log));
    raw_map rows;
    {
        auto tx = store.begin(sl::access_mode::read);
        rows = raw(*tx);
    }
    std::map<char, std::size_t> classes;
    auto const finds = [&](std::string const& key, std::optional<std::string> const& value) {
        auto tx = write(store);
        if (value) {
            REQUIRE(tx.put(sl::as_bytes(key), sl::as_bytes(*value)));
        } else {
            REQUIRE(tx.erase(sl::as_bytes(key)));
        }
        // With the anchor only for the log's name, which is part of what a head says and of nothing else.
        auto const report = log.verify(tx, {.anchors = std::span<audit_head const>{&anchor, 1}});
        return report ? !report->sound() : report.error() == errc::unsupported || report.error() == errc::not_found;
    };
    std::size_t turn = 0;
    for (auto const& [key, value] : rows) {
        ++classes[key[1]];
        for (std::size_t at = 0; at<value.size(); at += value.size()> 600 ? 5 : 1) {
            if (!in_slice(turn)) { continue; }
            std::string changed = value;
            changed[at] = static_cast<char>(changed[at] ^ static_cast<char>(1U << (at % 8)));
            INFO("row " << key[1] << " byte " << at << " of " << value.size());
            REQUIRE(finds(key, changed));
        }
        REQUIRE(finds(key, value.substr(0, value.size() - 1)));
        REQUIRE(finds(key, value + '\0'));
        REQUIRE(finds(key, std::nullopt));
    }
    CHECK(classes.size() == 4);  // state, entries, records, tiles
    // Rows that belong to nothing.
    auto const entry = rows.lower_bound("ae")->second;
    auto const copy = [](std::string key, std::size_t at, char to) {
        key[at] = to;
        return key;
    };
    std::string const last = std::prev(rows.lower_bound("af"))->first;
    std::string const tile = std::prev(rows.lower_bound("au"))->first;
    CHECK(finds(copy(last, last.size() - 1, '\x70'), entry));
    CHECK(finds(copy(last, last.size() - 1, '\0'), entry));  // a dropped one that is back
    CHECK(finds(last + "x", entry));
    CHECK(finds(copy(tile, tile.size() - 1, '\x09'), rows[tile]));
    CHECK(finds(copy(tile, 2, '\x22'), rows[tile]));
    CHECK(finds("ak\x01xy", rows.lower_bound("ak")->second));
}

TEST_CASE("log: findings that nobody asked for count, and a log without its own row is damaged", "[audit]") {
    sl::random_generator random{3};
    sl::memory_storage store;
    sl::audit_log<> const log;
    auto tx = write(store);
    CHECK(log.verify(tx).error() == errc::not_found);
    REQUIRE(log.open(tx, {}, random));
    for (int i = 0; i < 20; ++i) { REQUIRE(tell(tx, log, some(random, 0), random)); }
    auto const head = log.head(tx, {});
    REQUIRE(head);
    CHECK(log.verify(tx, {.first = 15, .last = 10}).error() == errc::invalid);
    CHECK(log.verify(tx, {.findings_max = 0})->sound());

    raw_map const rows = raw(tx);
    auto const entry =
        std::find_if(rows.begin(), rows.end(), [](auto const& r) { return r.first.substr(0, 2) == "ae"; });
    REQUIRE(entry != rows.end());
    REQUIRE(tx.erase(sl::as_bytes(entry->first)));
    auto const report = log.verify(tx, {.findings_max = 0});
    REQUIRE(report);
    CHECK_FALSE(report->sound());
    CHECK(report->findings.empty());
    CHECK(report->more > 0);

    REQUIRE(tx.erase(sl::as_bytes("ac")));
    REQUIRE(log.verify(tx));
    CHECK_FALSE(log.verify(tx)->sound());
    CHECK(log.open(tx, {}, random).error() == errc::corrupt);
    for (auto const& row : rows) { REQUIRE(tx.erase(sl::as_bytes(row.first))); }
    CHECK(log.verify(tx).error() == errc::not_found);
    REQUIRE(log.verify(tx, {.anchors = std::span{&*head, 1}}));
    CHECK_FALSE(log.verify(tx, {.anchors = std::span{&*head, 1}})->sound());
    CHECK(log.open(tx, {}, random));
}

TEST_CASE("log: a reorder, a gap, a truncation and a fork are found", "[audit]") {
    sl::memory_storage store;
    audit_log<> const log;
    audit_head anchor;
    fill(store, log, 60, &anchor);
    auto const faults = [&](transaction& tx, std::span<audit_head const> anchors = {}) {
        std::vector<audit_fault> out;
        auto const report = *log.verify(tx, {.anchors = anchors});
        for (auto const& f : report.findings) { out.push_back(f.fault); }
        return out;
    };
    auto const has = [](std::vector<audit_fault> const& all, audit_fault f) {
        return std::find(all.begin(), all.end(), f) != all.end();
    };
    {
        auto tx = write(store);
        bytes a, b;
        REQUIRE((*tx.get(entry_key(20), a) && *tx.get(entry_key(21), b)));
        REQUIRE((tx.put(entry_key(20), b) && tx.put(entry_key(21), a)));
        auto const found = faults(tx);
        CHECK(has(found, audit_fault::moved));
        CHECK(has(found, audit_fault::chain));
    }
    {
        auto tx = write(store);
        REQUIRE(tx.erase(entry_key(30)));
        CHECK(has(faults(tx), audit_fault::missing));
    }
    {
        // A private part that vanished is not a redaction.
        auto tx = write(store);
        std::uint64_t index = 0;
        REQUIRE(log.scan(tx, 31, 60, [&](sl::audit_entry const& e) {
            index = e.index;
            return !e.opened;
        }));
        bytes leaf{std::byte{0}};
        sl::append(leaf, *log.leaf_data(tx, index));
        REQUIRE(tx.put(entry_key(index), leaf));
        auto const r = *log.verify(tx);
        bool hidden = false;
        for (auto const& f : r.findings) { hidden = hidden || f == sl::audit_finding{audit_fault::hidden, index}; }
        for (auto const& f : r.findings) {
            UNSCOPED_INFO(sl::name(f.fault) << " at " << f.index << " wanted " << index);
        }
        CHECK(hidden);
        CHECK(has(faults(tx), audit_fault::hidden));
        // So too when only a part is looked at, and the redactions stand behind it.
        auto const part = *log.verify(tx, {.first = 5, .last = index + 1, .whole = false});
        CHECK(part.findings == std::vector<sl::audit_finding>{{audit_fault::hidden, index}});
    }
    // Who can compute hashes writes the log anew, or cuts it cleanly; only an anchor knows.
    {
        sl::memory_storage forged;
        fill(forged, log, 30);
        auto tx = write(forged);
        auto const shorter = *log.head(tx, {});
        REQUIRE(shorter.log == anchor.log);  // the same name, as the same generator made it
        CHECK(faults(tx).empty());
        CHECK(has(faults(tx, std::span<audit_head const>{&anchor, 1}), audit_fault::truncated));
        CHECK(*log.compare(tx, anchor) == anchor_finding::truncated);
        sl::random_generator random{99};
        for (std::uint64_t i = 0; i < 60; ++i) { REQUIRE(tell(tx, log, some(random, i), random)); }
        CHECK(faults(tx).empty());
        CHECK(has(faults(tx, std::span<audit_head const>{&anchor, 1}), audit_fault::forked));
        CHECK(*log.compare(tx, anchor) == anchor_finding::forked);
        auto other = anchor;
        other.log.bytes[0] ^= std::byte{1};
        CHECK(*log.compare(tx, other) == anchor_finding::other_log);
        CHECK(has(faults(tx, std::span<audit_head const>{&other, 1}), audit_fault::other_log));
    }
    auto tx = write(store);
    CHECK(faults(tx, std::span<audit_head const>{&anchor, 1}).empty());
}

TEST_CASE("log: a redaction leaves nothing of the record, and everything else as it was", "[audit]") {
    sl::memory_storage store;
    audit_log<> const log;
    sl::random_generator random{3};
    auto tx = write(store);
    REQUIRE(log.open(tx, now, random));
    for (int i = 0; i < 40; ++i) {
        told t;
        t.collection = "people";
        t.record = i % 4 == 0 ? "erika.mustermann@example" : "other" + std::to_string(i % 3);
        t.hidden = t.record + " lives at " + std::to_string(i);
        t.shown = "public";
        REQUIRE(tell(tx, log, t, random));
    }
    auto const before = *log.head(tx, {});
    auto const opening = *log.opening(tx, 4);
    REQUIRE(opening);
    auto const entry = **log.find(tx, 4);
    CHECK(audit_commitment(hash, *opening) == *entry.commitment);
    // One opening opens no other: every entry has a salt of its own.
    CHECK(opening->salt != (*log.opening(tx, 8))->salt);
    CHECK(log.redact(tx, "people", sl::as_bytes(std::string(300, 'x')), {}, random).error() == errc::invalid);

    audit_item who;
    who.actor = sl::as_bytes("data protection officer");
    REQUIRE(*log.redact(tx, "people", sl::as_bytes("erika.mustermann@example"), who, random) == 10);
    for (auto const& [k, v] : raw(tx)) {
        CHECK(k.find("erika") == std::string::npos);
        CHECK(v.find("erika") == std::string::npos);
    }
    auto const report = *log.verify(tx, {.anchors = std::span<audit_head const>{&before, 1}});
    CHECK(report.sound());
    CHECK(report.redacted == 10);
    auto const after = **log.find(tx, 4);
    CHECK(after.redacted());
    CHECK(after.commitment == entry.commitment);
    CHECK(after.open == entry.open);
    CHECK_FALSE(*log.opening(tx, 4));
    auto const said = **log.find(tx, 40);
    CHECK(said.kind == audit_kind::redaction);
    CHECK(said.code == 10);
    CHECK(sl::as_text(said.actor) == "data protection officer");
    // Again there is nothing to do, and what comes later has a new key.
    CHECK(*log.redact(tx, "people", sl::as_bytes("erika.mustermann@example"), who, random) == 0);
    told t;
    t.collection = "people";
    t.record = "erika.mustermann@example";
    REQUIRE(tell(tx, log, t, random));
    CHECK((**log.find(tx, 41)).opened->link == 0);
    CHECK(log.verify(tx)->sound());

    // Many intervals make several entries.
    audit_log<> const narrow({.redactions_max = 2});
    REQUIRE(*narrow.redact(tx, "people", sl::as_bytes("other0"), who, random) > 4);
    CHECK((**log.find(tx, 43)).kind == audit_kind::redaction);
    CHECK(log.verify(tx)->sound());
}

TEST_CASE("log: a field is redacted by itself, and nothing else changes", "[audit]") {
    sl::memory_storage store;
    audit_log<> const log;
    sl::random_generator random{3};
    auto tx = write(store);
    REQUIRE(log.open(tx, now, random));
    for (int i = 0; i < 30; ++i) {
        told t;
        t.collection = "people";
        t.record = "p" + std::to_string(i % 3);
        t.hidden = "note " + std::to_string(i);
        if (i % 2 == 0) { t.mail = "erika" + std::to_string(i) + "@example"; }
        t.phone = "+49 30 100" + std::to_string(i);
        REQUIRE(tell(tx, log, t, random));
    }
    auto const before = *log.head(tx, {});
    auto const leaf = *log.leaf_data(tx, 6);
    auto const opening = **log.opening(tx, 6);
    auto const entry = **log.find(tx, 6);
    REQUIRE(entry.opened->personal.size() == 2);
    CHECK(sl::audit_commitment(hash, opening) == *entry.commitment);
    CHECK(sl::open_fields(hash, *entry.opened, opening.fields));
    auto const sealed = *log.export_segment(tx, 0, 30, {}, true);

    audit_item who;
    who.actor = sl::as_bytes("data protection officer");
    auto const all_rows = raw(tx);
    CHECK(log.redact_field(tx, "people", sl::as_bytes(std::string(300, 'x')), "mail", who, random).error() ==
          errc::invalid);
    CHECK(log.redact_field(tx, "people", sl::as_bytes("p0"), "", who, random).error() == errc::invalid);
    CHECK(log.redact_field(tx, "people", sl::as_bytes("p0"), std::string(256, 'x'), who, random).error() ==
          errc::invalid);
    // Nobody's field, nobody's record; and a field that is masked with others, which is told.
    CHECK(*log.redact_field(tx, "people", sl::as_bytes("p0"), "age", who, random) == sl::audit_field_redaction{0, 0});
    CHECK(*log.redact_field(tx, "people", sl::as_bytes("p9"), "mail", who, random) == sl::audit_field_redaction{0, 0});
    CHECK(*log.redact_field(tx, "people", sl::as_bytes("p0"), "hidden", who, random) ==
          sl::audit_field_redaction{0, 10});
    CHECK(raw(tx) == all_rows);

    CHECK(*log.redact_field(tx, "people", sl::as_bytes("p0"), "mail", who, random) == sl::audit_field_redaction{5, 0});
    for (auto const& [k, v] : raw(tx)) {
        for (int i = 0; i < 30; i += 6) {
            CHECK(v.find("erika" + std::to_string(i) + "@") == std::string::npos);  // p0's
        }
        CHECK(k.find("mail") == std::string::npos);
        (void)k;
    }
    // Neither the value nor what salted it: a guess can't be tried.
    std::vector<bytes> salts;
    sl::cbor_reader given{opening.fields};
    sl::read_field_openings(given, [&](sl::audit_field_opening const& o) { salts.push_back(sl::to_bytes(o.salt)); });
    REQUIRE((given.finish() && salts.size() == 2));
    CHECK(raw(tx).size() == all_rows.size() + 1);
    std::string everything;
    for (auto const& [k, v] : raw(tx)) { everything += v; }
    CHECK(everything.find(sl::as_text(salts[0])) == std::string::npos);
    CHECK(everything.find(sl::as_text(salts[1])) != std::string::npos);

    auto const after = **log.find(tx, 6);
    CHECK_FALSE(after.redacted());
    CHECK(after.commitment == entry.commitment);
    CHECK(*log.leaf_data(tx, 6) == leaf);
    CHECK(after.opened->masked == entry.opened->masked);
    CHECK(after.opened->personal[0].commitment == entry.opened->personal[0].commitment);
    CHECK_FALSE(after.opened->personal[0].item);
    CHECK(after.opened->personal[1] == entry.opened->personal[1]);
    // What was given away before still proves what it said; what is given away now has the rest.
    CHECK(sl::open_fields(hash, *after.opened, opening.fields));
    auto const rest = **log.opening(tx, 6);
    CHECK(sl::audit_commitment(hash, rest) == *after.commitment);
    CHECK(sl::open_fields(hash, *after.opened, rest.fields));
    CHECK(rest.fields.size() < opening.fields.size());
    auto const report = *log.verify(tx, {.anchors = std::span<audit_head const>{&before, 1}});
    CHECK(report.sound());
    CHECK((report.redacted == 0 && report.redacted_fields == 5));

    // What was done is said, by whom, how many and where; not of which field.
    auto const said = **log.find(tx, 30);
    CHECK((said.kind == audit_kind::redaction && said.code == 5 && !said.commitment));
    CHECK(sl::as_text(said.actor) == "data protection officer");
    CHECK(sl::to_hex(**sl::map_find(said.open, "fields")) == "8182008a00000400040004000400");
    CHECK(sl::as_text(*log.leaf_data(tx, 30)).find("mail") == std::string_view::npos);

    // Twice: nothing is left to do. Then the other, whose place is the first where there is no mail.
    CHECK(*log.redact_field(tx, "people", sl::as_bytes("p0"), "mail", who, random) == sl::audit_field_redaction{0, 0});
    CHECK(*log.extent(tx) == sl::audit_extent{before.log, 31, 0, 0});
    CHECK(log.redact_field(tx, "people", sl::as_bytes("p0"), "phone", who, random)->destroyed == 10);
    CHECK(log.verify(tx)->sound());
    CHECK(log.verify(tx)->redacted_fields == 15);
    // Looked at in part, with the redactions behind it.
    CHECK(log.verify(tx, {.first = 2, .last = 20, .whole = false})->sound());
    // What comes later is not concerned, and can be redacted in its turn; so can the record, whole.
    told t;
    t.collection = "people";
    t.record = "p0";
    t.mail = "new@example";
    REQUIRE(tell(tx, log, t, random));
    CHECK((**log.find(tx, 32)).opened->personal[0].item);
    CHECK(log.redact_field(tx, "people", sl::as_bytes("p0"), "mail", who, random)->destroyed == 1);
    CHECK(*log.redact(tx, "people", sl::as_bytes("p0"), who, random) == 11);
    CHECK(*log.redact_field(tx, "people", sl::as_bytes("p0"), "mail", who, random) == sl::audit_field_redaction{});
    CHECK(log.verify(tx)->sound());

    // Many intervals make several entries.
    audit_log<> const narrow({.redactions_max = 3});
    auto const size = log.extent(tx)->size;
    CHECK(narrow.redact_field(tx, "people", sl::as_bytes("p1"), "phone", who, random)->destroyed == 10);
    CHECK(log.extent(tx)->size == size + 4);
    CHECK(log.verify(tx)->sound());

    // After it was sealed and dropped an archive has what it had: it is redacted by itself, and stays an archive of
    // this log.
    auto const phones = redact_archive_fields(
        hash, sealed, [](sl::audit_entry const& e, std::string_view f) { return e.index == 6 && f == "phone"; });
    REQUIRE(phones);
    CHECK(sl::as_text(sealed).find("+49 30 1006") != std::string_view::npos);
    CHECK(sl::as_text(*phones).find("+49 30 1006") == std::string_view::npos);
    REQUIRE(log.seal(tx, *phones, {}, random));
    REQUIRE(*log.drop(tx, 100) == 30);
    CHECK(log.verify(tx)->sound());
    // The chain of a record ends where entries were dropped.
    CHECK(*log.redact_field(tx, "people", sl::as_bytes("p2"), "phone", who, random) == sl::audit_field_redaction{});
}

TEST_CASE("log: a personal value that is changed, exchanged, or taken without a word is found", "[audit]") {
    sl::memory_storage store;
    audit_log<> const log;
    {
        sl::random_generator random{3};
        auto tx = write(store);
        REQUIRE(log.open(tx, now, random));
        for (int i = 0; i < 6; ++i) {
            told t;
            t.collection = "people";
            t.record = "p";
            t.mail = "same@example";
            t.phone = "+49";
            REQUIRE(tell(tx, log, t, random));
        }
        REQUIRE(log.redact_field(tx, "people", sl::as_bytes("p"), "mail", {}, random));
        for (int i = 0; i < 2; ++i) {
            told t;
            t.collection = "people";
            t.record = "p";
            t.mail = "same@example";
            t.phone = "+49";
            REQUIRE(tell(tx, log, t, random));
        }
        REQUIRE(tx.commit());
    }
    using list = std::vector<sl::audit_field_opening>;
    /// With the openings of an entry written anew.
    auto const finds = [&](std::uint64_t index, auto&& change) {
        auto tx = write(store);
        bytes row;
        REQUIRE(*tx.get(entry_key(index), row));
        auto const o = **log.opening(tx, index);
        list fields;
        sl::cbor_reader in{o.fields};
        sl::read_field_openings(in, [&](sl::audit_field_opening const& f) { fields.push_back(f); });
        change(fields);
        bytes map;
        sl::cbor_writer w{map};
        w.map(fields.size());
        for (auto const& f : fields) { encode_field_opening(w, f); }
        row.resize(row.size() - o.fields.size());
        sl::append(row, map);
        REQUIRE(tx.put(entry_key(index), row));
        auto const report = *log.verify(tx);
        return report.findings;
    };
    auto const only = [](audit_fault f, std::uint64_t index) { return std::vector<sl::audit_finding>{{f, index}}; };
    CHECK(finds(7, [](list&) {}).empty());
    bytes const other = text("other@example");
    bytes const salt(32, std::byte{7});
    CHECK(finds(7, [&](list& f) { f[0].item = other; }) == only(audit_fault::opening, 7));
    CHECK(finds(7, [&](list& f) { f[1].salt = salt; }) == only(audit_fault::opening, 7));
    CHECK(finds(7, [](list& f) { std::swap(f[0].salt, f[1].salt); }) == only(audit_fault::opening, 7));
    CHECK(finds(7, [](list& f) { std::swap(f[0].item, f[1].item); }) == only(audit_fault::opening, 7));
    CHECK(finds(7, [](list& f) { f[0].name = "mbil"; }) == only(audit_fault::damaged, 7));
    // Taken: of an entry whose other field a redaction speaks of; and of one behind the redaction.
    CHECK(finds(2, [](list& f) { f.clear(); }) == only(audit_fault::hidden, 2));
    CHECK(finds(7, [](list& f) { f.erase(f.begin()); }) == only(audit_fault::hidden, 7));
    // What was redacted can't be put back with another salt.
    bytes const mail = text("same@example");
    CHECK(finds(2, [&](list& f) { f.insert(f.begin(), {"mail", salt, mail}); }) == only(audit_fault::opening, 2));
    // No map at all, where there has to be one.
    auto tx = write(store);
    bytes row;
    REQUIRE(*tx.get(entry_key(7), row));
    row.resize(row.size() - (**log.opening(tx, 7)).fields.size());
    REQUIRE(tx.put(entry_key(7), row));
    CHECK(log.find(tx, 7).error() == errc::corrupt);
    bool damaged = false;
    auto const report = *log.verify(tx);
    for (auto const& f : report.findings) { damaged = damaged || f.fault == audit_fault::damaged; }
    CHECK(damaged);
}

TEST_CASE("log: what was redacted and comes back from a copy is found", "[audit]") {
    sl::memory_storage store;
    audit_log<> const log;
    std::map<bytes, bytes> copy;
    {
        sl::random_generator random{3};
        auto tx = write(store);
        REQUIRE(log.open(tx, now, random));
        for (int i = 0; i < 40; ++i) {
            told t;
            t.collection = "people";
            t.record = i % 2 == 0 ? "p" : "q";
            t.mail = "same@example";
            t.phone = "+49";
            REQUIRE(tell(tx, log, t, random));
        }
        REQUIRE(tx.scan({}, [&](sl::bytes_view k, sl::bytes_view v) {
            copy.emplace(sl::to_bytes(k), sl::to_bytes(v));
            return true;
        }));
        REQUIRE(log.redact(tx, "people", sl::as_bytes("p"), {}, random));
        REQUIRE(log.redact_field(tx, "people", sl::as_bytes("q"), "phone", {}, random));
        REQUIRE(tx.commit());
    }
    REQUIRE(sound(store, log));
    auto const faults = [&](auto& tx, audit_verification const& what = {}) {
        std::vector<sl::audit_finding> out = log.verify(tx, what)->findings;
        return out;
    };
    using all = std::vector<sl::audit_finding>;
    {
        auto tx = write(store);
        REQUIRE(tx.put(entry_key(7), copy.at(entry_key(7))));
        CHECK(faults(tx) == all{{audit_fault::returned, 7}});
        CHECK(faults(tx, {.last = 10}) == all{{audit_fault::returned, 7}});
    }
    {
        // A private part, with the key that opens it.
        auto tx = write(store);
        for (auto const& [k, v] : copy) {
            bytes now_there;
            if (k.size() > 2 && k[1] == std::byte{'k'} && !*tx.get(k, now_there)) { REQUIRE(tx.put(k, v)); }
        }
        REQUIRE(tx.put(entry_key(38), copy.at(entry_key(38))));
        CHECK(faults(tx) == all{{audit_fault::returned, 38}});
    }
    {
        // Without its key it opens nothing.
        auto tx = write(store);
        REQUIRE(tx.put(entry_key(38), copy.at(entry_key(38))));
        CHECK(faults(tx) == all{{audit_fault::opening, 38}});
    }
    auto tx = write(store);
    REQUIRE(tx.put(sl::as_bytes("ac."), sl::as_bytes("x")));
    CHECK(faults(tx) == all{{audit_fault::stray, 0}});
}

TEST_CASE("log: archives, their seals, and what is dropped", "[audit]") {
    sl::memory_storage store;
    audit_log<> const log;
    sl::random_generator random{3};
    auto tx = write(store);
    REQUIRE(log.open(tx, now, random));
    for (std::uint64_t i = 0; i < 100; ++i) { REQUIRE(tell(tx, log, some(random, i), random)); }
    auto const first = *log.export_segment(tx, 0, 37, {});
    auto const second = *log.export_segment(tx, 37, 64, {}, true);
    CHECK(log.export_segment(tx, 5, 5, {}).error() == errc::not_found);
    CHECK(log.export_segment(tx, 5, 101, {}).error() == errc::not_found);
    CHECK(log.export_segment(tx, 0, 37, {}, false, 1000).error() == errc::limit);
    auto const untouched = raw(tx);
    CHECK(log.seal(tx, second, {}, random).error() == errc::invalid);  // not the oldest
    bytes broken = first;
    broken[broken.size() / 2] ^= std::byte{1};
    CHECK_FALSE(log.seal(tx, broken, {}, random));
    CHECK(*log.drop(tx, 1000) == 0);  // nothing was sealed
    CHECK(raw(tx) == untouched);
    REQUIRE(log.seal(tx, first, {}, random));
    REQUIRE(log.seal(tx, second, {}, random));
    CHECK(log.seal(tx, second, {}, random).error() == errc::invalid);
    auto const sealing = **log.find(tx, 100);
    CHECK(sealing.kind == audit_kind::archival);
    CHECK(sealing.code == 37);
    auto const digest_of = sl::map_find(sealing.open, "archive");
    sl::cbor_reader r{**digest_of};
    CHECK(sl::read_digest(r) == sl::sha256(first));
    CHECK(*log.drop(tx, 50) == 50);
    CHECK(*log.drop(tx, 50) == 14);
    CHECK(*log.drop(tx, 50) == 0);
    CHECK_FALSE(*log.find(tx, 63));
    CHECK(*log.find(tx, 64));
    CHECK(log.export_segment(tx, 63, 70, {}).error() == errc::not_found);
    CHECK(log.verify(tx)->sound());
    CHECK(log.prove_inclusion(tx, 10)->path.size() > 5);
    // Two archives make the log's beginning: the second goes on where the first ended.
    auto const a = verify_archive(hash, first);
    auto const b = verify_archive(hash, second);
    REQUIRE((a && b));
    CHECK(a->root_after == b->root_before);
    CHECK(a->redacted > 0);
    CHECK(b->redacted == 0);
    // The archive of another log.
    sl::memory_storage elsewhere;
    fill(elsewhere, log, 20);
    auto there = write(elsewhere);
    CHECK(log.seal(there, first, {}, random).error() == errc::invalid);
}

TEST_CASE("log: what is refused leaves nothing behind", "[audit]") {
    sl::memory_storage store;
    audit_log<> const log({.entry_bytes_max = 1024});
    sl::random_generator random{3};
    auto tx = write(store);
    REQUIRE(log.open(tx, now, random));
    auto const before = raw(tx);
    told t;
    t.kind = audit_kind::redaction;
    CHECK(tell(tx, log, t, random).error() == errc::invalid);
    t.kind = audit_kind::archival;
    CHECK(tell(tx, log, t, random).error() == errc::invalid);
    t.kind = audit_kind::push;
    t.shown = std::string(1000, 'x');
    CHECK(tell(tx, log, t, random).error() == errc::limit);
    std::array<audit_item, 2> two{};
    two[1].collection = "\xFF";
    CHECK(log.append_all(tx, two, random).error() == errc::invalid);
    CHECK(raw(tx) == before);
    CHECK(*log.append_all(tx, std::span<audit_item const>{}, random) == 0);
    CHECK(raw(tx) == before);
}

TEST_CASE("log: whichever storage call fails, it is all or nothing and said", "[audit]") {
    audit_log<> const log;
    auto const make = [&](auto& store) {
        sl::random_generator random{4};
        auto tx = store.begin(sl::access_mode::write);
        (void)log.open(*tx, now, random);
        for (std::uint64_t i = 0; i < 30; ++i) { (void)tell(*tx, log, some(random, i), random); }
        auto const archive = log.export_segment(*tx, 0, 6, {});
        (void)log.seal(*tx, *archive, {}, random);
        (void)tx->commit();
    };
    auto const in_one = [](auto& store, auto&& f) -> sl::status {
        auto tx = store.begin(sl::access_mode::write);
        if (!tx) { return tx.error(); }
        if (auto const ok = f(*tx); !ok) { return ok.error(); }
        return tx->commit();
    };
    auto const check = [&](auto const& operate) {
        auto const report = sl::testing::nth_failure(make, operate);
        INFO(sl::testing::to_text(report.violations));
        CHECK(report.violations.empty());
        CHECK(report.runs > 10);
    };
    check([&](auto& store) {
        return in_one(store, [&](auto& tx) -> sl::status {
            sl::random_generator random{8};
            for (std::uint64_t i = 0; i < 3; ++i) {
                if (auto const n = tell(tx, log, some(random, i), random); !n) { return n.error(); }
            }
            return {};
        });
    });
    check([&](auto& store) {
        return in_one(store, [&](auto& tx) -> sl::status {
            sl::random_generator random{8};
            auto const n = log.redact(tx, "guests", sl::as_bytes("r1"), {}, random);
            return n ? sl::status{} : sl::status{n.error()};
        });
    });
    check([&](auto& store) {
        return in_one(store, [&](auto& tx) -> sl::status {
            sl::random_generator random{8};
            auto const n = log.redact_field(tx, "guests", sl::as_bytes("r1"), "mail", {}, random);
            return n ? sl::status{} : sl::status{n.error()};
        });
    });
    check([&](auto& store) {
        return in_one(store, [&](auto& tx) -> sl::status {
            auto const n = log.drop(tx, 4);
            return n ? sl::status{} : sl::status{n.error()};
        });
    });
    check([&](auto& store) {
        return in_one(store, [&](auto& tx) -> sl::status {
            sl::random_generator random{8};
            auto const archive = log.export_segment(tx, 6, 9, {}, true);
            if (!archive) { return archive.error(); }
            return log.seal(tx, *archive, {}, random);
        });
    });
    check([&](auto& store) {
        return in_one(store, [&](auto& tx) -> sl::status {
            auto const r = log.verify(tx);
            if (!r) { return r.error(); }
            if (!r->sound()) { return errc::corrupt; }
            auto const p = log.prove_inclusion(tx, 3);
            return p ? sl::status{} : sl::status{p.error()};
        });
    });
}

TEST_CASE("log: golden row of an entry with personal fields", "[audit]") {
    sl::memory_storage store;
    audit_log<> const log;
    sl::random_generator random{1};
    auto tx = write(store);
    REQUIRE(log.open(tx, now, random));
    told t;
    t.collection = "guests";
    t.record = "g1";
    t.mail = "x";
    t.phone = "1";
    REQUIRE(tell(tx, log, t, random));
    auto const o = **log.opening(tx, 0);
    std::vector<std::string> salts;
    std::vector<std::string> commitments;
    sl::cbor_reader in{o.fields};
    sl::read_field_openings(in, [&](sl::audit_field_opening const& f) {
        salts.push_back(sl::to_hex(f.salt));
        commitments.push_back(sl::to_hex(sl::sha256(from_hex("04" + sl::to_hex(f.salt) + sl::to_hex(f.item)))));
    });
    REQUIRE(salts.size() == 2);
    std::string const secret =
        "8442"
        "6731"
        "a0"
        "00"
        "a2"
        "646d61696c"
        "5820" +
        commitments[0] +
        "6570686f6e65"
        "5820" +
        commitments[1];
    CHECK(sl::to_hex(o.secret) == secret);
    std::string const fields =
        "a2"
        "646d61696c"
        "825820" +
        salts[0] +
        "6178"
        "6570686f6e65"
        "825820" +
        salts[1] + "6131";
    CHECK(sl::to_hex(o.fields) == fields);
    CHECK(sl::to_hex(sl::as_bytes(raw(tx).at(std::string("ae\0\0\0\0\0\0\0\0", 10)))) ==
          "00" + sl::to_hex(*log.leaf_data(tx, 0)) + secret + fields);
}

TEST_CASE("log: golden rows", "[audit]") {
    sl::memory_storage store;
    audit_log<> const log;
    sl::random_generator random{1};
    auto tx = write(store);
    REQUIRE(log.open(tx, now, random));
    told t;
    t.actor = "anna";
    t.collection = "guests";
    t.record = "g1";
    t.hidden = "x";
    REQUIRE(tell(tx, log, t, random));
    REQUIRE(tell(tx, log, t, random));
    auto const rows = raw(tx);
    std::string all;
    for (auto const& [k, v] : rows) { all += sl::to_hex(sl::as_bytes(k)) + ' ' + sl::to_hex(sl::as_bytes(v)) + '\n'; }
    CHECK(sl::to_hex(sl::sha256(sl::as_bytes(all))) ==
          "470d2f7d11ed4fc03ad87a7ef116051ee426f859551d1fd6841ff7a5979b21e0");
    CHECK(rows.size() == 4);
    CAPTURE(all);
    CHECK(sl::to_hex(sl::as_bytes(rows.at("ac"))).substr(0, 4) == "8701");
}

TEST_CASE("log: who can't be told destroys nothing", "[audit]") {
    sl::memory_storage store;
    audit_log<> const log;
    sl::random_generator random{1};
    auto tx = write(store);
    REQUIRE(log.open(tx, now, random));
    told t;
    t.collection = "guests";
    t.record = "g1";
    t.hidden = "x";
    t.mail = "m@example";
    for (int i = 0; i != 3; ++i) { REQUIRE(tell(tx, log, t, random)); }
    auto const before = raw(tx);
    bytes const name(sl::audit_actor_bytes_max + 1);
    audit_item context;
    context.actor = name;
    auto const id = sl::as_bytes("g1");
    CHECK(log.redact(tx, "guests", id, context, random).error() == errc::invalid);
    CHECK(raw(tx) == before);
    CHECK(log.redact_field(tx, "guests", id, "mail", context, random).error() == errc::invalid);
    CHECK(raw(tx) == before);
}

TEST_CASE("log: an entry that is missing inside is damage, not an absence", "[audit]") {
    sl::memory_storage store;
    audit_log<> const log;
    sl::random_generator random{1};
    auto tx = write(store);
    REQUIRE(log.open(tx, now, random));
    told t;
    t.collection = "guests";
    t.record = "g1";
    t.hidden = "x";
    for (int i = 0; i != 3; ++i) { REQUIRE(tell(tx, log, t, random)); }
    REQUIRE(tx.erase(sl::as_bytes(std::string("ae\0\0\0\0\0\0\0\1", 10))));
    auto const any = [](sl::audit_entry const&) { return true; };
    CHECK(log.find(tx, 1).error() == errc::corrupt);
    CHECK(log.scan_record(tx, {"guests", "g1"}, any).error() == errc::corrupt);
    CHECK(log.export_segment(tx, 0, 3, {}).error() == errc::corrupt);
    CHECK(log.redact(tx, "guests", sl::as_bytes("g1"), {}, random).error() == errc::corrupt);
}

TEST_CASE("log: to verify many redactions costs about as much more as there are more", "[audit]") {
    auto const cost = [](std::size_t n) {
        sl::memory_storage store;
        audit_log<> const log;
        sl::random_generator random{1};
        auto tx = write(store);
        REQUIRE(log.open(tx, now, random));
        // Every other record is forgotten: as many intervals as redactions.
        for (std::size_t i = 0; i != n; ++i) {
            told t;
            t.collection = "guests";
            t.record = std::to_string(i);
            t.hidden = "x";
            REQUIRE(tell(tx, log, t, random));
            t.record += "k";
            REQUIRE(tell(tx, log, t, random));
        }
        for (std::size_t i = 0; i != n; ++i) {
            REQUIRE(log.redact(tx, "guests", sl::as_bytes(std::to_string(i)), {}, random));
        }
        std::clock_t const begin = std::clock();
        auto const report = log.verify(tx);
        auto const took = static_cast<double>(std::clock() - begin);
        REQUIRE(report);
        CHECK(report->sound());
        CHECK(report->redacted == n);
        return took;
    };
    double const few = (std::min)({cost(1'500), cost(1'500), cost(1'500)});
    double const many = cost(12'000);
    CHECK(many < 16 * (few + static_cast<double>(CLOCKS_PER_SEC) / 500));
}
