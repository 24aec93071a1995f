// SPDX-License-Identifier: BSL-1.0

/// What the conflict queue's decoders take, and lists of its operations over a store that somebody has damaged: an answer
/// each time, and nothing that could not have been written.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/conflict/automatic.hpp>
#include <syncline/conflict/learned.hpp>
#include <syncline/conflict/presence.hpp>
#include <syncline/conflict/queue.hpp>
#include <syncline/conflict/statistics.hpp>
#include <syncline/storage/memory.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/damage.hpp"
#include "fuzz_targets/fields.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;
using fuzz::choices;

conflict_queue const queue({.open_max = 20, .bytes_max = 4'000, .events_max = 12});

conflict any_conflict(choices& in) {
    conflict c;
    c.record = {in.below(2) == 0 ? "things" : "others", in.below(2) == 0 ? "a" : "ab"};
    c.local.record = c.record;
    c.local.sequence = in.below(4);
    c.local.stamp = timestamp{in.below(4)};
    c.local.life = 1 + in.below(2);
    c.local.kind = static_cast<change_kind>(1 + in.below(3));
    if (c.local.kind != change_kind::erase) { c.local.ops = fuzz::any_operations(in, c.local.stamp); }
    c.base = fuzz::encoded(fuzz::any_fields(in));
    if (in.below(8) != 0) {
        row r;
        r.version = in.below(10);
        r.deleted = in.below(6) == 0;
        if (!r.deleted) { r.fields = fuzz::encoded(fuzz::any_fields(in)); }
        c.remote = r;
    }
    if (in.below(6) == 0) {
        c.fields.push_back({});
    } else {
        for (std::string_view const name : fuzz::field_names) {
            if (in.below(2) != 0) { continue; }
            contested_field f;
            f.path = {std::string(name)};
            if (in.below(4) == 0) { f.path.push_back("b"); }
            c.fields.push_back(std::move(f));
        }
        std::sort(c.fields.begin(), c.fields.end(),
                  [](contested_field const& a, contested_field const& b) { return compare_paths(a.path, b.path) < 0; });
    }
    return c;
}
resolution any_resolution(choices& in, conflict const& c) {
    switch (in.below(5)) {
        case 0: return resolution::use_local();
        case 1: return resolution::use_remote();
        case 2: return resolution::custom(fuzz::encoded(fuzz::any_fields(in)));
        default: break;
    }
    std::vector<field_decision> all;
    for (contested_field const& f : c.fields) {
        field_decision d{f.path, static_cast<field_take>(in.below(7)), {}};
        if (d.take == field_take::custom) { d.value = fuzz::any_value(in); }
        all.push_back(std::move(d));
    }
    return resolution::merge_fields(std::move(all));
}

void operations(choices& in) {
    collection_rules const rules = fuzz::field_rules();
    memory_storage store;
    learned_suggester model;
    bool damaged = false;
    for (int i = 0; i < 24 && !in.done(); ++i) {
        if (in.below(12) == 0) {
            fuzz::damage(in, store, "k");
            damaged = true;
        }
        auto tx = store.begin(access_mode::write);
        decision_maker const who{as_bytes("ann"), timestamp{in.below(99)},
                                 wall_time{milliseconds{in.signed_number() >> 20}}, 3, false};
        std::uint64_t const id = 1 + in.below(4);
        auto const about = queue.find(*tx, id);
        bool ok = false;
        switch (in.below(10)) {
            case 0:
            case 1:
            case 2: ok = static_cast<bool>(queue.raise(*tx, any_conflict(in), who.now)); break;
            case 3: {
                conflict const other = any_conflict(in);
                if (!other.remote) { break; }
                ok = static_cast<bool>(queue.remote_changed(*tx, other.record, *other.remote, {}, rules, who.now));
                break;
            }
            case 4: ok = about && queue.undo(*tx, id, about->remote.value_or(row{}), rules, who); break;
            case 5: ok = static_cast<bool>(queue.redo(*tx, id, about ? about->revision : 0, rules, who)); break;
            case 6: ok = static_cast<bool>(queue.forget(*tx, who.now, 2)); break;
            case 7: {
                ok = static_cast<bool>(suggest_or_apply(queue, *tx, id, model, rules,
                                                        {.threshold = in.below(2) == 0 ? 0 : share_one}, who));
                break;
            }
            default: {
                if (!about) { break; }
                resolution const how = any_resolution(in, *about);
                auto const shown = queue.preview(*tx, id, how, rules, who);
                auto const done = queue.resolve(*tx, id, about->revision, how, rules, who);
                if (done) {
                    SYNCLINE_FUZZ_REQUIRE(shown && *shown == *done);
                    conflict_statistics const statistics;
                    (void)statistics.decided(*tx, *about, *done, rules, false);
                    (void)learn_from(model, *about, how, as_bytes("ann"));
                }
                ok = static_cast<bool>(done);
                break;
            }
        }
        if (ok) { SYNCLINE_FUZZ_REQUIRE(tx->commit()); }
        if (!damaged) {
            auto again = ok ? store.begin(access_mode::write) : std::move(tx);
            SYNCLINE_FUZZ_REQUIRE(again && queue.verify(*again));
        }
    }
}

void decoders(choices& in) {
    std::uint64_t const which = in.below(5);
    bytes_view const raw = in.rest();
    if (which == 0) {
        auto const c = decode_conflict(7, raw);
        if (!c) { return; }
        bytes again;
        cbor_writer w{again};
        encode_conflict(w, *c);
        SYNCLINE_FUZZ_REQUIRE(equal(again, raw));
        (void)settle(*c, resolution::use_local(), fuzz::field_rules(), timestamp{1});
        (void)by_rule(*c, rule::last_writer, fuzz::field_rules());
        if (auto const q = conflict_questions::of(*c, as_bytes("ann"))) {
            for (auto const& one : q->all()) { SYNCLINE_FUZZ_REQUIRE(valid(*heuristics{}.suggest(one))); }
        }
    } else if (which == 1) {
        cbor_reader r{raw};
        resolution const how = decode_resolution(r);
        if (!r.finish()) { return; }
        bytes again;
        cbor_writer w{again};
        encode_resolution(w, how);
        SYNCLINE_FUZZ_REQUIRE(equal(again, raw));
    } else if (which == 2) {
        cbor_reader r{raw};
        presence const p = decode_presence(r);
        if (!r.finish()) { return; }
        bytes again;
        cbor_writer w{again};
        encode_presence(w, p);
        SYNCLINE_FUZZ_REQUIRE(equal(again, raw));
    } else if (which == 3) {
        auto const m = learned_suggester::from_bytes(raw);
        if (m) { SYNCLINE_FUZZ_REQUIRE(*learned_suggester::from_bytes(m->to_bytes()) == *m); }
    } else {
        // Any three items: what is combined is canonical, and the same whichever side is local.
        choices rest{raw};
        bytes const b = fuzz::any_item(rest);
        bytes const l = fuzz::any_item(rest);
        bytes const r = fuzz::any_item(rest);
        auto const both = combine(b, l, r);
        SYNCLINE_FUZZ_REQUIRE(both == combine(b, r, l));
        if (both) { SYNCLINE_FUZZ_REQUIRE(validate_canonical(*both)); }
    }
}

int body(std::uint8_t const* data, std::size_t size) {
    choices in(data, (std::min)(size, std::size_t{800}));
    if (in.below(3) == 0) {
        decoders(in);
    } else {
        operations(in);
    }
    return 0;
}

void seeds(fuzz::seed_sink out) {
    bytes raw{std::byte{0}, std::byte{0}};
    conflict c;
    c.record = c.local.record = {"things", "a"};
    c.local.ops = {{"b", op_kind::set, {std::byte{1}}, timestamp{}}};
    c.base = {std::byte{0xA0}};
    c.remote.emplace();
    c.remote->fields = {std::byte{0xA0}};
    c.fields = {{{"b"}, rule::manual, "g", 1, 2, suggestion{}}};
    cbor_writer w{raw};
    encode_conflict(w, c);
    out("conflict", raw);
    raw = {std::byte{0}, std::byte{1}};
    encode_resolution(w, resolution::merge_fields({{{"b"}, field_take::custom, {std::byte{1}}}}));
    out("resolution", raw);
    raw = {std::byte{0}, std::byte{2}};
    presence p;
    p.record = c.record;
    p.who = to_bytes("ann");
    encode_presence(w, p);
    out("presence", raw);
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 60, .length = 400, .seeds = seeds)
