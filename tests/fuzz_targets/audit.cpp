// SPDX-License-Identifier: BSL-1.0

/// What the audit log reads of strangers: leaves, private parts, proofs, heads, archives, events of the history: what is
/// taken is written again as it was, and memory stays within the input's length by a factor. And lists of operations on
/// a log, against a list; and that a log in which somebody has written is not sound any more.

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/audit/history.hpp>
#include <syncline/audit/log.hpp>
#include <syncline/storage/memory.hpp>

#include "fuzz_targets/cbor_mutator.hpp"
#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/damage.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;

sha256_function const hash;

/// Reads by `decode`, in bounded memory; and writes what was read as it was.
template <class Decode, class Encode>
void round_trip(bytes_view in, Decode&& decode, Encode&& encode) {
    std::uint64_t const before = fuzz::allocated;
    auto const read = decode(in);
    SYNCLINE_FUZZ_REQUIRE(fuzz::allocated - before <= 192 * in.size() + 8192);
    if (!read) { return; }
    SYNCLINE_FUZZ_REQUIRE(equal(encode(*read), in));
}
template <class T, class Read>
result<T> whole(bytes_view in, Read&& read) {
    cbor_reader r{in};
    T out = read(r);
    if (auto const ok = r.finish(); !ok) { return ok.error(); }
    return out;
}

std::vector<audit_field> fields_of(bytes_view map) {
    std::vector<audit_field> out;
    cbor_map_cursor in{map};
    while (in.next()) { out.push_back({in.key(), in.value()}); }
    return out;
}
bytes write_leaf(audit_entry const& e) {
    auto const open = fields_of(e.open);
    audit_item i;
    i.kind = e.kind;
    i.stamp = e.stamp;
    i.device = e.device;
    i.actor = e.actor;
    i.author = e.author;
    i.sequence = e.sequence;
    i.code = e.code;
    i.collection = e.collection;
    i.open = open;
    SYNCLINE_FUZZ_REQUIRE(check(i).has_value());
    bytes out;
    cbor_writer w{out};
    encode_leaf(w, i, e.index, e.previous ? &*e.previous : nullptr, e.commitment ? &*e.commitment : nullptr);
    return out;
}
bytes write_secret(audit_entry::secret const& s) {
    auto const masked = fields_of(s.masked);
    std::vector<audit_field> personal;
    std::vector<sha256_digest> commitments;
    for (audit_personal_field const& f : s.personal) {
        personal.push_back({f.name, {}});
        commitments.push_back(f.commitment);
    }
    audit_item i;
    i.personal = personal;
    i.record = s.record;
    i.masked = masked;
    bytes out;
    cbor_writer w{out};
    encode_secret(w, i, s.link, commitments);
    return out;
}

// --- lists of operations ----------------------------------------------------------------------------------------------

void operate(bytes_view input) {
    fuzz::choices in{input};
    memory_storage store;
    audit_log<> const log;
    random_generator random{1};
    struct told {
        std::string record;
        bool own = false;
        bool redacted = false;
        bool personal = false;  ///< with a value that is there
    };
    std::vector<told> list;
    std::uint64_t first = 0;
    std::uint64_t sealed = 0;
    std::vector<audit_head> heads;
    auto tx = store.begin(access_mode::write);
    SYNCLINE_FUZZ_REQUIRE(log.open(*tx, {}, random));
    for (int step = 0; step < 40 && !in.done(); ++step) {
        std::uint64_t const size = list.size();
        std::string const record(1, static_cast<char>('a' + in.below(3)));
        switch (in.below(9)) {
            case 8: {
                std::uint64_t n = 0;
                for (std::size_t i = static_cast<std::size_t>(first); i < list.size(); ++i) {
                    if (list[i].record == record && !list[i].redacted && list[i].personal) {
                        list[i].personal = false;
                        ++n;
                    }
                }
                auto const done = log.redact_field(*tx, "c", as_bytes(record), "f", {}, random);
                SYNCLINE_FUZZ_REQUIRE(done && done->destroyed == n);
                if (n != 0) { list.push_back({{}, true}); }
                break;
            }
            case 0: {
                std::uint64_t n = 0;
                for (std::size_t i = static_cast<std::size_t>(first); i < list.size(); ++i) {
                    if (list[i].record == record && !list[i].redacted) {
                        list[i].redacted = true;
                        ++n;
                    }
                }
                auto const done = log.redact(*tx, "c", as_bytes(record), {}, random);
                SYNCLINE_FUZZ_REQUIRE(done && *done == n);
                if (n != 0) { list.push_back({{}, true}); }
                break;
            }
            case 1: {
                std::uint64_t const from = (std::max)(first, sealed);
                std::uint64_t const to = from + in.below(6);
                auto const archive = log.export_segment(*tx, from, to, {}, in.one_in(2));
                SYNCLINE_FUZZ_REQUIRE(archive.has_value() == (to > from && to <= size));
                if (!archive) { break; }
                SYNCLINE_FUZZ_REQUIRE(log.seal(*tx, *archive, {}, random));
                sealed = to;
                list.push_back({{}, true});
                break;
            }
            case 2: {
                std::uint64_t const most = in.below(5);
                auto const n = log.drop(*tx, most);
                std::uint64_t const left = sealed > first ? sealed - first : 0;
                SYNCLINE_FUZZ_REQUIRE(n && *n == (std::min)(most, left));
                first += *n;
                break;
            }
            case 3: heads.push_back(*log.head(*tx, {})); break;
            default: {
                audit_item item;
                bytes const value = fuzz::any_item(in);
                audit_field const field{"f", value};
                std::span<audit_field const> const fields{&field, 1};
                item.kind = static_cast<audit_kind>(1 + in.below(11));
                item.code = in.number();
                bool const has_record = !in.one_in(3);
                if (has_record) {
                    item.collection = "c";
                    item.record = as_bytes(record);
                }
                bool const personal = has_record && in.one_in(3);
                (personal ? item.personal : in.one_in(2) && has_record ? item.masked : item.open) = fields;
                auto const at = log.append(*tx, item, random);
                SYNCLINE_FUZZ_REQUIRE(at && *at == size);
                list.push_back({has_record ? record : std::string{}, false, false, personal});
                break;
            }
        }
    }
    std::uint64_t const size = list.size();
    auto const now = log.head(*tx, {});
    SYNCLINE_FUZZ_REQUIRE(now && now->size == size);
    auto const report = log.verify(*tx, {.anchors = heads});
    SYNCLINE_FUZZ_REQUIRE(report && report->sound() && report->entries == size - first);
    for (audit_head const& h : heads) {
        auto const p = log.prove_consistency(*tx, h.size);
        SYNCLINE_FUZZ_REQUIRE(p && compare_heads(hash, h, *now, *p) == anchor_finding::extends);
    }
    for (std::uint64_t i = first; i < size; ++i) {
        auto const leaf = log.leaf_data(*tx, i);
        auto const p = log.prove_inclusion(*tx, i);
        SYNCLINE_FUZZ_REQUIRE(leaf && p && verify_inclusion(hash, merkle_leaf(hash, *leaf), *p, now->root));
        auto const e = log.find(*tx, i);
        told const& t = list[static_cast<std::size_t>(i)];
        SYNCLINE_FUZZ_REQUIRE(e && *e && (*e)->redacted() == t.redacted);
        auto const& opened = (*e)->opened;
        bool const value = opened && !opened->personal.empty() && opened->personal[0].item;
        SYNCLINE_FUZZ_REQUIRE(value == (t.personal && !t.redacted));
    }
    SYNCLINE_FUZZ_REQUIRE(tx->commit());

    // And now somebody writes in it.
    auto const before = store.snapshot();
    std::map<std::string, std::string> rows;
    before.scan({}, [&](bytes_view k, bytes_view v) { return rows.emplace(as_text(k), as_text(v)).second; });
    fuzz::damage(in, store, "a");
    std::map<std::string, std::string> damaged;
    store.snapshot().scan({},
                          [&](bytes_view k, bytes_view v) { return damaged.emplace(as_text(k), as_text(v)).second; });
    auto again = store.begin(access_mode::write);
    auto const judged = log.verify(*again, {.anchors = std::span<audit_head const>{&*now, 1}});
    bool const ours = [&] {  // a key of another shape is nobody's
        for (auto const& [k, v] : damaged) {
            std::string_view const spaces = "cekt";
            if (rows.count(k) == 0 && (k.size() < 2 || spaces.find(k[1]) == std::string_view::npos || k[1] == 'c')) {
                return false;
            }
        }
        return true;
    }();
    if (damaged != rows && ours) { SYNCLINE_FUZZ_REQUIRE(!judged || !judged->sound()); }
    if (damaged == rows) { SYNCLINE_FUZZ_REQUIRE(judged && judged->sound()); }
    // Whatever is there, every call answers.
    (void)log.redact_field(*again, "c", as_bytes("b"), "f", {}, random);
    (void)log.redact(*again, "c", as_bytes("a"), {}, random);
    (void)log.scan(*again, 0, size, [](audit_entry const&) { return true; });
    (void)log.scan_record(*again, {"c", std::string_view{"b"}}, [](audit_entry const&) { return true; });
    (void)log.export_segment(*again, first, size, {}, true);
    (void)log.append(*again, {}, random);
    (void)log.drop(*again, 3);
}

int body(std::uint8_t const* data, std::size_t size) {
    if (size == 0) { return 0; }
    bytes_view const in{reinterpret_cast<std::byte const*>(data) + 1, size - 1};
    auto const written = [](auto const& v) { return encode(v); };
    switch (data[0] % 9) {
        case 0:
            round_trip(
                in, [](bytes_view b) { return whole<audit_entry>(b, [](cbor_reader& r) { return decode_leaf(r); }); },
                write_leaf);
            break;
        case 1:
            round_trip(
                in,
                [](bytes_view b) {
                    return whole<audit_entry::secret>(b, [](cbor_reader& r) { return decode_secret(r); });
                },
                write_secret);
            break;
        case 2: round_trip(in, decode_inclusion_proof, written); break;
        case 3: round_trip(in, decode_consistency_proof, written); break;
        case 4:
            round_trip(
                in, [](bytes_view b) { return decode_head(b); }, written);
            break;
        case 5: round_trip(in, decode_signed_head, written); break;
        case 6: {
            std::uint64_t const before = fuzz::allocated;
            auto const seen = verify_archive(hash, in);
            SYNCLINE_FUZZ_REQUIRE(fuzz::allocated - before <= 192 * in.size() + 16'384);
            auto const copy = redact_archive(hash, in, [](audit_entry const&) { return false; });
            SYNCLINE_FUZZ_REQUIRE(seen.has_value() == copy.has_value());
            if (copy) { SYNCLINE_FUZZ_REQUIRE(equal(*copy, in)); }
            auto const other =
                redact_archive_fields(hash, in, [](audit_entry const&, std::string_view) { return true; });
            SYNCLINE_FUZZ_REQUIRE(seen.has_value() == other.has_value());
            if (other) { SYNCLINE_FUZZ_REQUIRE(verify_archive(hash, *other)); }
            break;
        }
        case 7:
            round_trip(
                in,
                [](bytes_view b) { return whole<history_event>(b, [](cbor_reader& r) { return decode_event(r); }); },
                [](history_event const& e) {
                    bytes out;
                    cbor_writer w{out};
                    encode_event(w, e);
                    return out;
                });
            break;
        default: operate(in); break;
    }
    return 0;
}

// --- inputs to begin with ---------------------------------------------------------------------------------------------

void seeds(fuzz::seed_sink sink) {
    auto const give = [&](int kind, std::string_view name, bytes_view item) {
        bytes out{static_cast<std::byte>(kind)};
        append(out, item);
        sink(name, out);
    };
    memory_storage store;
    audit_log<> const log;
    random_generator random{1};
    auto tx = store.begin(access_mode::write);
    (void)log.open(*tx, {}, random);
    bytes value;
    cbor_writer{value}.text("value");
    audit_field const field{"f", value};
    for (std::uint64_t i = 0; i < 6; ++i) {
        audit_item item;
        item.stamp = {i};
        item.author.incarnation = static_cast<std::uint32_t>(i);
        item.collection = "c";
        item.record = as_bytes("a");
        (i == 4 ? item.personal : i % 2 == 0 ? item.open : item.masked) = std::span<audit_field const>{&field, 1};
        (void)log.append(*tx, item, random);
    }
    give(0, "leaf", *log.leaf_data(*tx, 3));
    give(1, "secret", (**log.opening(*tx, 3)).secret);
    give(1, "personal", (**log.opening(*tx, 4)).secret);
    give(2, "inclusion", encode(*log.prove_inclusion(*tx, 3)));
    give(3, "consistency", encode(*log.prove_consistency(*tx, 3)));
    give(4, "head", encode(*log.head(*tx, {})));
    give(5, "signed", encode(signed_head{*log.head(*tx, {}), to_bytes("key"), to_bytes("signature")}));
    give(6, "archive", *log.export_segment(*tx, 1, 5, {}));
    give(6, "opened", *log.export_segment(*tx, 1, 5, {}, true));
    history_event e;
    e.change.record = {"c", std::string_view{"a"}};
    e.change.ops.push_back({"f", op_kind::set, value, {}});
    e.lived = e.lives = true;
    e.effects.push_back({"f", std::nullopt, value});
    bytes event;
    cbor_writer w{event};
    encode_event(w, e);
    give(7, "event", event);
    bytes operations;
    for (unsigned i = 0; i < 120; ++i) { operations.push_back(static_cast<std::byte>(i * 37)); }
    give(8, "operations", operations);
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 8, .length = 200, .seeds = seeds, .mutate = fuzz::mutate_cbor<1>)
