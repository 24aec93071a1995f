// SPDX-License-Identifier: BSL-1.0

// Rules beside the members of a struct and rules in a table are one set of rules: three-way merges of structs and of their
// encodings come to the same, for every rule and every option of a record.

#include "support/catch.hpp"
#include "support/sanitized.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/merge/rule_codec.hpp>
#include <syncline/merge/three_way.hpp>

#include "merge/folding.hpp"

using namespace syncline;
using namespace folding;

namespace {

template <class M>
constexpr rule fitting(rule r) {
    return detail::rule_fits<M>(r) ? r : rule::last_writer;
}
constexpr rule choosing(rule r) { return chooses_a_side(r) ? r : rule::last_writer; }

template <rule By>
struct inside {
    std::int64_t number = 0;
    std::vector<std::int64_t> items{};
    unknown_fields rest{};
};
template <rule By>
constexpr auto describe(inside<By> const*) {
    using type = inside<By>;
    return record_of<type>("inside", field("number", &type::number, fitting<std::int64_t>(By)),
                           field("items", &type::items, fitting<std::vector<std::int64_t>>(By)), unknown(&type::rest),
                           unnamed_fields{By});
}

/// A record whose fields go by one rule, where it fits, with one more option.
template <rule By, std::size_t Option>
struct probe {
    std::int64_t number = 0;
    bool flag = false;
    std::string text{};
    std::optional<std::string> other{};
    std::vector<std::int64_t> items{};
    inside<By> map{};
    unknown_fields rest{};
};
template <rule By, std::size_t Option>
constexpr auto describe(probe<By, Option> const*) {
    using type = probe<By, Option>;
    constexpr auto number = field("number", &type::number, fitting<std::int64_t>(By));
    constexpr auto flag = field("flag", &type::flag, fitting<bool>(By));
    constexpr auto text = field("text", &type::text, fitting<std::string>(By));
    constexpr auto items = field("items", &type::items, fitting<std::vector<std::int64_t>>(By));
    constexpr auto map = field("map", &type::map, rule::nested);
    constexpr auto other = field("other", &type::other);
    if constexpr (Option == 0) {
        return record_of<type>("probes", number, flag, text, other, items, map, unknown(&type::rest));
    } else if constexpr (Option == 1) {
        return record_of<type>("probes", number, flag, text, other, items, map, unknown(&type::rest),
                               unnamed_fields{By});
    } else if constexpr (Option == 2) {
        return record_of<type>("probes", number, flag, text, other, items, map, unknown(&type::rest),
                               whole_record{choosing(By)}, deletion::loses);
    } else if constexpr (Option == 3) {
        return record_of<type>("probes", number, flag, text, field("other", &type::other, refers_to{"elsewhere"}),
                               items, map, unknown(&type::rest), deletion::manual);
    } else {
        return record_of<type>("probes", field("number", &type::number, in_group{1, choosing(By)}),
                               field("flag", &type::flag, in_group{1}), text, other, items, map, unknown(&type::rest));
    }
}

struct only_unknown {
    unknown_fields rest{};
};
constexpr auto describe(only_unknown const*) { return record_of<only_unknown>("any", unknown(&only_unknown::rest)); }

class dice_of_records {
public:
    explicit dice_of_records(std::uint64_t seed) : dice_(seed) {}
    std::uint64_t below(std::uint64_t n) { return dice_() % n; }

    template <class T>
    void edit(T& r) {
        auto const some = [&] { return below(2) == 0; };
        if (some()) { r.number = static_cast<std::int64_t>(below(6)); }
        if (some()) { r.flag = some(); }
        if (some()) {
            r.text.clear();
            for (std::uint64_t n = below(4); n != 0; --n) { r.text += some() ? "a\n" : "b\n"; }
        }
        if (some()) { r.other = below(3) == 0 ? std::nullopt : std::optional{std::string(1 + below(2), 'x')}; }
        if (some()) { items(r.items); }
        if (some()) { r.map.number = static_cast<std::int64_t>(below(6)); }
        if (some()) { items(r.map.items); }
        if (some()) { r.rest = unheard_of(r.rest); }
        if (some()) { r.map.rest = unheard_of(r.map.rest); }
    }

private:
    void items(std::vector<std::int64_t>& out) {
        out.clear();
        for (std::int64_t i = 0; i != 4; ++i) {
            if (below(2) == 0) { out.push_back(i); }
        }
    }
    /// What a newer program wrote.
    unknown_fields unheard_of(unknown_fields const& was) {
        bytes record;
        cbor_writer w{record};
        std::array<std::optional<std::int64_t>, 2> values{};
        std::size_t n = 0;
        for (std::size_t i = 0; i != values.size(); ++i) {
            auto const old = was.find(i == 0 ? "new1" : "new2");
            if (below(2) == 0 && old) { values[i] = value(*old).as_int64().value_or(0); }
            if (below(2) == 0) { values[i] = static_cast<std::int64_t>(below(4)); }
            n += values[i] ? 1 : 0;
        }
        w.map(n);
        for (std::size_t i = 0; i != values.size(); ++i) {
            if (!values[i]) { continue; }
            w.text(i == 0 ? "new1" : "new2");
            w.integer(*values[i]);
        }
        return decode_record<only_unknown>(record)->rest;
    }

    random_generator dice_;
};

template <class R>
std::string shown(result<merged<R>> const& m, bytes& record) {
    if (!m) { return message(m.error().code); }
    if constexpr (std::is_same_v<R, bytes>) {
        record = m->record;
    } else {
        record = *encode_record(m->record);
    }
    std::vector<std::string> told;
    for (decision const& d : m->decisions) { told.push_back(to_text(d)); }
    for (std::string const& f : m->conflicts) { told.push_back("for a person: " + f); }
    std::string out;
    for (std::string const& t : told) { out += "\n  " + t; }
    return out;
}

template <rule By, std::size_t Option>
void compare_front_ends() {
    using type = probe<By, Option>;
    collection_rules const rules = rules_of<type>();
    REQUIRE(validate_for<type>(rules));
    merge_host hosts[2];
    hosts[0].guards.push_back({"", {}, [](guard_input const&, void const*) { return guard_answer{}; }, nullptr});
    hosts[1].exists = [](std::string_view, bytes_view id, void const*) { return id.size() == 1; };
    for (int round = 0; round < rounds(150); ++round) {
        dice_of_records dice{static_cast<std::uint64_t>(round)};
        type base;
        dice.edit(base);
        type local = base, remote = base;
        dice.edit(local);
        dice.edit(remote);
        side const ls{timestamp{1 + dice.below(3)}, 1};
        side const rs{timestamp{1 + dice.below(3)}, 2};
        for (merge_host const* const host : std::array<merge_host const*, 3>{nullptr, &hosts[0], &hosts[1]}) {
            bytes typed_record, table_record;
            auto const typed = shown(three_way(base, local, remote, ls, rs, host), typed_record);
            auto const table = shown(
                three_way(*encode_record(base), *encode_record(local), *encode_record(remote), rules, ls, rs, host),
                table_record);
            INFO(name(By) << ", option " << Option << ", round " << round);
            REQUIRE(typed == table);
            if (typed_record != table_record) { FAIL("another record"); }
        }
    }
}
template <std::size_t... N>
void compare_all(std::index_sequence<N...>) {
    (compare_front_ends<static_cast<rule>(N + 1), N % 5>(), ...);
    (compare_front_ends<static_cast<rule>(N + 1), (N + 2) % 5>(), ...);
}

}  // namespace

TEST_CASE("front ends: structs and their encodings merge alike, for every rule and every option of a record") {
    compare_all(std::make_index_sequence<rules_count>{});
}

TEST_CASE("front ends: what stands beside the members and for the record is in the table") {
    auto const rules = rules_of<probe<rule::manual, 2>>();
    CHECK(rules.whole == rule::manual);
    CHECK(rules.deletes == deletion::loses);
    auto const refers = rules_of<probe<rule::counter, 3>>();
    CHECK(refers.deletes == deletion::manual);
    CHECK(refers.references == std::vector<reference_rule>{{"other", "elsewhere"}});
    auto const unnamed = rules_of<probe<rule::counter, 1>>();
    CHECK(unnamed.fallback == rule::counter);
    CHECK(unnamed.of("other") == rule::last_writer);
    CHECK(unnamed.of("number") == rule::counter);
    CHECK(unnamed.of("unheard of") == rule::counter);
    CHECK(unnamed.view().inside("map").of("unheard of") == rule::counter);
    CHECK(decode_rule_table(encode(rule_table::of<probe<rule::counter, 1>>()))->of("probes") == unnamed);
}
