// SPDX-License-Identifier: BSL-1.0

// The ways that a merge may take must come to the same: field by field, by mutations because a guard looks on, by
// mutations because other fields win together; and whichever side is called the local one.

#include "support/catch.hpp"
#include "support/sanitized.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/merge/three_way.hpp>

#include "merge/folding.hpp"

using namespace syncline;
using namespace folding;

namespace {

using fields = std::map<std::string, bytes>;  // names of one letter: in canonical order

class records {
public:
    explicit records(std::uint64_t seed) : dice_(seed) {}

    [[nodiscard]] std::uint64_t below(std::uint64_t n) { return dice_() % n; }

    [[nodiscard]] rule some_rule() { return static_cast<rule>(1 + below(rules_count)); }
    [[nodiscard]] collection_rules some_rules() {
        collection_rules out{"things", some_rule(), {}};
        out.fields = some_rules(2);
        return out;
    }
    [[nodiscard]] fields some_fields(rule_view rules, int depth) {
        fields out;
        for (char const* n : names) {
            if (below(10) != 0) { put(out, n, rules, depth); }
        }
        return out;
    }
    [[nodiscard]] fields edited(fields from, rule_view rules, int depth) {
        for (char const* n : names) {
            if (below(2) == 0) { continue; }
            auto const was = from.find(n);
            bool const map = was != from.end() && rules.of(n) == rule::nested &&
                             detail::type_of(was->second) == cbor_type::map && below(8) != 0;
            if (below(10) == 0) {
                from.erase(n);
            } else if (map) {
                was->second = encoded(edited(read(was->second), rules.inside(n), depth + 1));
            } else {
                put(from, n, rules, depth);
            }
        }
        return from;
    }
    [[nodiscard]] static bytes encoded(fields const& all) {
        bytes out;
        cbor_writer w{out};
        w.map(all.size());
        for (auto const& [name, item] : all) {
            w.text(name);
            w.raw(item);
        }
        return out;
    }
    [[nodiscard]] static fields read(bytes_view map) {
        fields out;
        cbor_map_cursor at{map};
        while (at.next()) { out[std::string{at.key()}] = to_bytes(at.value()); }
        return out;
    }

    static constexpr std::array<char const*, 4> names{"a", "b", "c", "d"};

private:
    [[nodiscard]] std::vector<field_rule> some_rules(int depth) {
        std::vector<field_rule> out;
        for (char const* n : names) {
            if (below(4) == 0) { continue; }
            field_rule f{n, depth != 0 && below(5) == 0 ? rule::nested : some_rule()};
            if (f.decides == rule::nested) {
                f.inner_fallback = some_rule();
                if (depth != 0) { f.inner = some_rules(depth - 1); }
            }
            out.push_back(std::move(f));
        }
        return out;
    }
    void put(fields& to, char const* name, rule_view rules, int depth) {
        rule const by = below(20) == 0 ? some_rule() : rules.of(name);  // now and then of another rule's type
        to[name] = by == rule::nested && depth < 3 ? encoded(some_fields(rules.inside(name), depth + 1)) : item(by);
    }
    [[nodiscard]] bytes item(rule by) {
        if (is_flag(by)) { return number_or_flag(true); }
        if (is_text(by)) {
            std::string s;
            for (std::uint64_t n = below(5); n != 0; --n) { s += std::string{"abc"}.substr(below(3), 1) + "\n"; }
            return text_item(s);
        }
        if (is_set(by) || by == rule::siblings || by == rule::list || by == rule::sequence) {
            std::vector<bytes> items;
            bool const twice = by == rule::sequence || below(12) == 0;
            for (std::uint64_t i = 0; i != 4; ++i) {
                if (below(2) == 0) { items.push_back(number_item(static_cast<std::int64_t>(twice ? below(3) : i))); }
            }
            if (below(4) == 0) { std::reverse(items.begin(), items.end()); }
            return array_item(items);
        }
        if (by == rule::list) { return array_item({}); }
        return number_or_flag(by != rule::counter && below(12) == 0);
    }
    [[nodiscard]] bytes number_or_flag(bool flag) {
        bytes out;
        if (flag) {
            cbor_writer{out}.boolean(below(2) == 0);
        } else {
            cbor_writer{out}.integer(static_cast<std::int64_t>(below(6)) - 2);
        }
        return out;
    }

    random_generator dice_;
};

merge_host accepts_all() {
    merge_host out;
    out.guards.push_back({"accepts", {}, [](guard_input const&, void const*) { return guard_answer{}; }, nullptr});
    return out;
}

std::string hex(bytes_view b) {
    std::string out;
    for (std::byte const x : b) {
        for (unsigned const digit : {std::to_integer<unsigned>(x) >> 4, std::to_integer<unsigned>(x) & 15U}) {
            out += "0123456789abcdef"[digit];
        }
    }
    return out;
}
/// Everything about a merge, in its order.
std::string shown(result<merged<bytes>> const& m) {
    if (!m) { return message(m.error().code); }
    std::vector<std::string> told;
    for (decision const& d : m->decisions) { told.push_back(to_text(d)); }
    for (std::string const& f : m->conflicts) { told.push_back("for a person: " + f); }
    std::string out = hex(m->record);
    for (std::string const& t : told) { out += "\n  " + t; }
    return out;
}
std::string shown(rule_view rules, std::string const& at = {}) {
    std::string out;
    for (char const* n : records::names) {
        out += "\n  " + at + n + ": " + name(rules.of(n));
        if (rules.of(n) == rule::nested && at.size() < 6) { out += shown(rules.inside(n), at + n + "."); }
    }
    return out;
}

/// Whether swapping the sides changes nothing of a field: its rule goes by no order, nor leaves the remote value to a person.
bool symmetric(rule_view rules, std::string const& field) {
    rule const by = rules.of(field);
    if (by == rule::nested) {
        rule_view const inside = rules.inside(field);
        return std::all_of(records::names.begin(), records::names.end(),
                           [&](char const* n) { return symmetric(inside, n); });
    }
    // (A list's operations of one stamp and author are those of two here.)
    return by != rule::authority && by != rule::authority_time && by != rule::local && by != rule::manual &&
           !is_text(by) && by != rule::sequence;
}
std::optional<bytes> in(bytes_view record, std::string const& field) {
    auto const found = map_find(record, field);
    return found && *found ? std::optional{to_bytes(**found)} : std::nullopt;
}

}  // namespace

TEST_CASE("agreement: a guard that accepts, and a group of other fields, change nothing of a merge") {
    merge_host const accepts = accepts_all();
    int merges = 0;
    int wrong = 0;
    for (int round = 0; round < rounds(20'000); ++round) {
        records some{static_cast<std::uint64_t>(round)};
        collection_rules const rules = some.some_rules();
        fields const base = some.some_fields(rules.view(), 0);
        bytes const b = records::encoded(base);
        bytes const l = records::encoded(some.edited(base, rules.view(), 0));
        bytes const r = records::encoded(some.edited(base, rules.view(), 0));
        side const ls{timestamp{1 + some.below(3)}, 1};
        side const rs{timestamp{1 + some.below(3)}, 2};
        collection_rules grouped = rules;
        grouped.groups = {{"others", rule::last_writer, {"y", "z"}}};
        auto const fast = three_way(b, l, r, rules, ls, rs);
        auto const guarded = three_way(b, l, r, rules, ls, rs, &accepts);
        auto const beside = three_way(b, l, r, grouped, ls, rs);
        merges += fast ? 1 : 0;
        if (shown(fast) != shown(guarded) || shown(fast) != shown(beside)) {
            if (++wrong > 3) { continue; }
            UNSCOPED_INFO("round " << round << shown(rules.view()) << "\nbase   " << hex(b) << "\nlocal  " << hex(l)
                                   << "\nremote " << hex(r) << "\nfield by field " << shown(fast) << "\nwith a guard   "
                                   << shown(guarded) << "\nwith a group   " << shown(beside));
            CHECK(wrong == 0);
        }
    }
    CHECK(wrong == 0);
    CHECK(merges > rounds(20'000) / 2);
}

TEST_CASE("agreement: one side's own change is kept, what both changed is told of, and the sides may be swapped") {
    merge_host const accepts = accepts_all();
    int wrong = 0;
    auto const complain = [&](int round, std::string const& what) {
        if (++wrong > 3) { return; }
        UNSCOPED_INFO("round " << round << ": " << what);
        CHECK(wrong == 0);
    };
    for (int round = 0; round < rounds(20'000); ++round) {
        records some{static_cast<std::uint64_t>(round) + 1'000'000};
        collection_rules const rules = some.some_rules();
        fields const base = some.some_fields(rules.view(), 0);
        bytes const b = records::encoded(base);
        bytes const l = records::encoded(some.edited(base, rules.view(), 0));
        bytes const r = records::encoded(some.edited(base, rules.view(), 0));
        side const ls{timestamp{1 + some.below(3)}, 1};
        side const rs{timestamp{1 + some.below(3)}, 2};
        merge_host const* const host = round % 2 == 0 ? nullptr : &accepts;
        auto const one = three_way(b, l, r, rules, ls, rs, host);
        auto const other = three_way(b, r, l, rules, rs, ls, host);
        if (one.has_value() != other.has_value()) {
            complain(round, "an error on one side only: " + shown(rules.view()) + "\nbase   " + hex(b) + "\nlocal  " +
                                hex(l) + "\nremote " + hex(r) + "\nmerged " + shown(one) + "\nswapped " + shown(other));
        }
        if (!one || !other) { continue; }
        for (std::string const f : records::names) {
            auto const was = in(b, f), mine = in(l, f), theirs = in(r, f), got = in(one->record, f);
            std::string const what = f + ", " + name(rules.of(f)) + shown(rules.view()) + "\nbase   " + hex(b) +
                                     "\nlocal  " + hex(l) + "\nremote " + hex(r) + "\nmerged " + shown(one) +
                                     "\nswapped " + shown(other);
            bool const told = std::any_of(one->decisions.begin(), one->decisions.end(),
                                          [&](decision const& d) { return d.field == f; });
            if (theirs == was && got != mine) { complain(round, "the local change is not kept: " + what); }
            if (mine == was && got != theirs) { complain(round, "the remote change is not kept: " + what); }
            // (Inside of a map the two may have changed different fields.)
            bool const both = mine != was && theirs != was && rules.of(f) != rule::nested;
            if (both && !told) { complain(round, "nobody is told: " + what); }
            if (!both && told && rules.of(f) != rule::nested) { complain(round, "told of nothing: " + what); }
            if (symmetric(rules.view(), f) && got != in(other->record, f)) { complain(round, "swapped: " + what); }
        }
    }
    CHECK(wrong == 0);
}
