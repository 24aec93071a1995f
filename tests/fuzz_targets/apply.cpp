// SPDX-License-Identifier: BSL-1.0

/// The one apply function over lists of mutations, against its rules written out once more over maps; what `diff`,
/// `three_way` and the order of values promise, over fields of any type.

#include <algorithm>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/merge/apply.hpp>
#include <syncline/merge/diff.hpp>
#include <syncline/merge/three_way.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/fields.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;
using fuzz::choices;

using fuzz::encoded;
using fuzz::field_names;
using fields = fuzz::field_map;

// --- the naive apply --------------------------------------------------------------------------------------------------

struct naive_row {
    std::uint64_t life = 0;
    bool deleted = false;
    position version = 0;
    write_mark floor{};
    std::map<std::string, write_mark, fuzz::by_key> marks{};
    fields values{};
};

struct naive_outcome {
    verdict_kind verdict = verdict_kind::applied;
    errc reason{};
    std::vector<decision> decisions{};
    bool changed = false;
};

std::optional<std::int64_t> integer(bytes const& item) {
    cbor_reader in(item);
    std::int64_t const n = in.integer();
    return in.finish() ? std::optional(n) : std::nullopt;
}
naive_outcome naive_apply(std::optional<naive_row>& current, mutation const& m, collection_rules const& by,
                          apply_context const& c) {
    naive_outcome out;
    bool const create = m.kind == change_kind::create && (!current || m.life > current->life);
    auto const foreign = [&](write_mark const& w) {
        return w.at > m.base && w.author != c.author && w.at != pending_position;
    };
    if (!create) {
        if (!current || m.life > current->life) {
            out.verdict = verdict_kind::rejected;
            out.reason = errc::not_found;
            return out;
        }
        bool const agree = current->deleted && m.kind == change_kind::erase && m.life == current->life;
        if (m.life < current->life || current->deleted) {
            out.verdict = agree ? verdict_kind::merged : verdict_kind::overruled;
            out.decisions = {{"", rule::last_writer, agree ? winner::both : winner::confirmed}};
            return out;
        }
    }
    naive_row next = create ? naive_row{} : *current;
    next.life = m.life;
    next.version = c.at;
    out.changed = true;
    write_mark const of_all{c.at, (std::min)(m.stamp, c.stamp_max), c.author};
    if (m.kind == change_kind::erase) {
        bool others = foreign(current->floor);
        for (auto const& [f, w] : current->marks) { others = others || foreign(w); }
        if (others) {
            out.verdict = verdict_kind::merged;
            out.decisions = {{"", rule::last_writer, winner::mutation}};
        }
        next.deleted = true;
        next.floor = of_all;
        next.marks.clear();
        next.values.clear();
        current = next;
        return out;
    }
    if (create) { next.floor = of_all; }
    naive_row const before = next;
    std::size_t lost = 0;
    for (field_op const& op : m.ops) {
        auto const was = before.values.find(op.field);
        bool const had = was != before.values.end();
        auto const marked = before.marks.find(op.field);
        write_mark const theirs = marked != before.marks.end() ? marked->second : before.floor;
        write_mark mine{c.at, (std::min)(op.stamp, c.stamp_max), c.author};
        bool const concurrent = !create && (had || marked != before.marks.end()) && foreign(theirs);
        rule const decides = by.of(op.field);
        bool const set = op.kind == op_kind::set;
        bool const same = set ? had && was->second == op.value : !had;
        bytes value = op.value;
        winner won = winner::mutation;
        if (op.kind == op_kind::add) {
            auto const more = integer(op.value);
            auto const there = had ? integer(was->second) : 0;
            std::optional<std::int64_t> const sum = more && there ? checked_add(*there, *more) : std::nullopt;
            if (!sum) {
                out = {};
                out.verdict = verdict_kind::rejected;
                out.reason = more && there ? errc::overflow : errc::type_mismatch;
                return out;
            }
            value = fuzz::integer_item(*sum);
            won = winner::both;
        } else if (set && had && (decides == rule::minimum || decides == rule::maximum)) {
            auto const order = compare_values(op.value, was->second);
            bool const better = decides == rule::minimum ? order < 0 : order > 0;
            won = same ? winner::both : better ? winner::mutation : winner::confirmed;
        } else if (concurrent && same) {
            won = winner::both;
        } else if (concurrent && decides == rule::manual) {
            won = winner::nobody;
        } else if (concurrent && decides == rule::authority) {
            won = winner::confirmed;
        } else if (concurrent) {
            bool const later = mine.stamp != theirs.stamp ? mine.stamp > theirs.stamp : mine.author > theirs.author;
            won = later ? winner::mutation : winner::confirmed;
        }
        if (concurrent || won == winner::confirmed) { out.decisions.push_back({op.field, decides, won}); }
        if (won == winner::nobody) { out.verdict = verdict_kind::conflict; }
        if (won == winner::confirmed) {
            ++lost;
            continue;
        }
        if (op.kind == op_kind::unset) {
            next.values.erase(op.field);
        } else {
            next.values[op.field] = value;
        }
        if (!create) {
            // Of two who write the same, the mark that wins stays.
            if (concurrent && won == winner::both && op.kind != op_kind::add && wins(theirs, mine)) {
                mine.author = theirs.author;
            }
            mine.stamp = (std::max)(mine.stamp, theirs.stamp);
        }
        if (!create || mine != next.floor) { next.marks[op.field] = mine; }
    }
    if (out.verdict == verdict_kind::conflict) {
        out.changed = false;
    } else if (!m.ops.empty() && lost == m.ops.size()) {
        out.verdict = verdict_kind::overruled;
        out.changed = false;
    } else {
        if (!out.decisions.empty()) { out.verdict = verdict_kind::merged; }
        current = next;
    }
    return out;
}

void compare(std::optional<row> const& got, std::optional<naive_row> const& expected) {
    SYNCLINE_FUZZ_REQUIRE(got.has_value() == expected.has_value());
    if (!got) { return; }
    SYNCLINE_FUZZ_REQUIRE(got->life == expected->life && got->deleted == expected->deleted);
    SYNCLINE_FUZZ_REQUIRE(got->version == expected->version && got->floor == expected->floor);
    SYNCLINE_FUZZ_REQUIRE(got->exceptions.size() == expected->marks.size());
    auto mark = expected->marks.begin();
    for (field_mark const& e : got->exceptions) {
        SYNCLINE_FUZZ_REQUIRE(e.field == mark->first && e.mark == mark->second);
        ++mark;
    }
    SYNCLINE_FUZZ_REQUIRE(got->deleted ? got->fields.empty() : got->fields == encoded(expected->values));
}

/// The model gives no reasons.
bool alike(std::vector<decision> const& a, std::vector<decision> const& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](decision const& x, decision const& y) {
        return x.field == y.field && x.by == y.by && x.won == y.won;
    });
}

// --- what is done -----------------------------------------------------------------------------------------------------

mutation any_mutation(choices& in, std::uint64_t life, position head) {
    mutation m;
    m.record = record_key{"things", "x"};
    m.stamp = timestamp{in.below(16)};
    m.kind = in.below(6) == 0 ? change_kind::erase : in.below(4) == 0 ? change_kind::create : change_kind::update;
    m.life = life + (m.kind == change_kind::create ? 1 : 0);
    if (in.below(6) == 0) { m.life += in.below(3) - 1; }
    std::uint64_t const back = in.below(6);
    m.base = back > head ? 0 : head - back;
    if (m.kind == change_kind::erase) { return m; }
    m.ops = fuzz::any_operations(in, m.stamp);
    return m;
}

void apply_list(choices& in) {
    collection_rules const by = fuzz::field_rules();
    std::optional<row> got;
    std::optional<naive_row> expected;
    position head = 0;
    while (!in.done()) {
        mutation const m = any_mutation(in, expected ? expected->life : 0, head);
        apply_context c;
        c.author = static_cast<author_index>(1 + in.below(3));
        // A preview leaves no mark of a position: nothing comes after it but previews.
        c.at = head + 1;
        if (in.below(4) == 0) { c.stamp_max = timestamp{in.below(16)}; }
        std::optional<row> const before = got;
        apply_outcome const outcome = apply(got, m, by, c);
        naive_outcome const should = naive_apply(expected, m, by, c);
        SYNCLINE_FUZZ_REQUIRE(outcome.verdict == should.verdict && outcome.reason == should.reason);
        SYNCLINE_FUZZ_REQUIRE(outcome.changed == should.changed && alike(outcome.decisions, should.decisions));
        SYNCLINE_FUZZ_REQUIRE(outcome.changed || got == before);
        compare(got, expected);
        head += outcome.changed ? 1 : 0;
        if (!got) { continue; }
        // A row goes through storage.
        bytes raw;
        cbor_writer w(raw);
        encode_row(w, *got);
        cbor_reader r(raw);
        row const again = decode_row(r);
        SYNCLINE_FUZZ_REQUIRE(r.finish() && again == *got);
        if (!got->deleted) { SYNCLINE_FUZZ_REQUIRE(validate_fields(got->fields)); }
    }
}

/// Some fields of `base` changed.
fields changed(choices& in, fields const& base) {
    fields out = base;
    std::uint64_t const touched = in.byte();
    for (std::size_t i = 0; i < std::size(field_names); ++i) {
        if ((touched >> i & 1U) == 0) { continue; }
        if (in.below(4) == 0) {
            out.erase(std::string(field_names[i]));
        } else {
            out[std::string(field_names[i])] = fuzz::any_value(in);
        }
    }
    return out;
}

void diff_and_merge(choices& in) {
    collection_rules const by = fuzz::field_rules();
    fields const base = fuzz::any_fields(in);
    fields const local = changed(in, base);
    fields const remote = changed(in, base);
    bytes const b = encoded(base);
    bytes const l = encoded(local);
    bytes const r = encoded(remote);

    // The difference, applied, is the other one.
    collection_rules const plain{"things", rule::last_writer, {{"count", rule::counter}}};
    auto const ops = diff(b, l, plain, timestamp{5});
    if (ops) {
        row start;
        start.fields = b;
        std::optional<row> after = start;
        mutation m;
        m.ops = *ops;
        auto const outcome = apply(after, m, plain, {});
        SYNCLINE_FUZZ_REQUIRE(outcome.verdict == verdict_kind::applied && after->fields == l);
        SYNCLINE_FUZZ_REQUIRE(ops->empty() == (b == l));
    } else {
        SYNCLINE_FUZZ_REQUIRE(ops.error() == errc::overflow);
    }

    auto const both = three_way(b, l, r, by);
    auto const nothing_local = three_way(b, b, r, by);
    SYNCLINE_FUZZ_REQUIRE(!nothing_local || nothing_local->record == r);
    if (!both) {
        SYNCLINE_FUZZ_REQUIRE(both.error() == errc::overflow || both.error() == errc::type_mismatch);
        return;
    }
    for (std::string_view const name : field_names) {
        std::string const f(name);
        auto const of = [&](fields const& all) {
            auto const at = all.find(f);
            return at == all.end() ? std::optional<bytes>() : std::optional(at->second);
        };
        auto const found = map_find(both->record, name);
        SYNCLINE_FUZZ_REQUIRE(found);
        auto const merged = *found ? std::optional(to_bytes(**found)) : std::nullopt;
        bool const asked = std::find(both->conflicts.begin(), both->conflicts.end(), f) != both->conflicts.end();
        // Who alone changed a field has it; a field that waits for a person holds the remote value.
        if (of(local) == of(base) || asked) {
            SYNCLINE_FUZZ_REQUIRE(merged == of(remote));
        } else if (of(remote) == of(base) || of(remote) == of(local)) {
            bool const counts = f == "count" && of(remote) != of(base);  // both added the same: twice
            if (!counts) { SYNCLINE_FUZZ_REQUIRE(merged == of(local)); }
        } else if (f != "count") {
            SYNCLINE_FUZZ_REQUIRE(merged == of(local) || merged == of(remote));
        }
    }
}

void order_laws(choices& in) {
    bytes const items[] = {fuzz::any_value(in), fuzz::any_value(in), fuzz::any_value(in)};
    for (bytes const& a : items) {
        for (bytes const& b : items) {
            auto const order = compare_values(a, b);
            SYNCLINE_FUZZ_REQUIRE((order == 0) == (a == b));
            SYNCLINE_FUZZ_REQUIRE(order == 0 <=> compare_values(b, a));
            auto const x = integer(a);
            auto const y = integer(b);
            if (x && y) { SYNCLINE_FUZZ_REQUIRE(order == *x <=> *y); }
            for (bytes const& c : items) {
                if (order <= 0 && compare_values(b, c) <= 0) { SYNCLINE_FUZZ_REQUIRE(compare_values(a, c) <= 0); }
            }
        }
    }
}

int body(std::uint8_t const* data, std::size_t size) {
    choices in(data, (std::min)(size, std::size_t{600}));
    switch (in.below(4)) {
        case 0: diff_and_merge(in); break;
        case 1: order_laws(in); break;
        default: apply_list(in); break;
    }
    return 0;
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 10, .length = 200)
