// SPDX-License-Identifier: BSL-1.0

// A mutation of a stranger costs about as much more as it is longer.

#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include <syncline/merge/three_way.hpp>

#include "merge/folding.hpp"

using namespace syncline;
using namespace folding;

namespace {

/// The processor's time of one run, the least of three.
template <class Run>
double cost(Run const& run) {
    double least = 0;
    for (int i = 0; i != 3; ++i) {
        std::clock_t const begin = std::clock();
        run();
        double const took = static_cast<double>(std::clock() - begin);
        least = i == 0 ? took : (std::min)(least, took);
    }
    return least;
}
/// Eight times as much costs less than thirty times as much; by the square it would be sixty-four.
template <class Of>
void near_linear(std::size_t few, Of const& of) {
    auto const small = of(few);
    auto const large = of(8 * few);
    double const tick = static_cast<double>(CLOCKS_PER_SEC) / 500;  // a small one may take less than the clock's step
    CHECK(cost(large) < 30 * (cost(small) + tick));
}

bytes numbers(std::size_t from, std::size_t n) {
    std::vector<bytes> items;
    for (std::size_t i = 0; i != n; ++i) { items.push_back(number_item(static_cast<std::int64_t>(from + i))); }
    std::sort(items.begin(), items.end(), [](bytes const& a, bytes const& b) { return compare(a, b) < 0; });
    return array_item(items);
}
std::vector<std::string> field_names(std::size_t n) {
    std::vector<std::string> out;
    for (std::size_t i = 0; i != n; ++i) { out.push_back("f" + std::to_string(100'000 + i)); }
    return out;
}
bytes filled(std::vector<std::string> const& names, std::int64_t with) {
    bytes out;
    cbor_writer w{out};
    w.map(names.size());
    for (std::string const& n : names) {
        w.text(n);
        w.integer(with);
    }
    return out;
}
constexpr side early{timestamp{1}, 1};
constexpr side late{timestamp{2}, 2};

}  // namespace

TEST_CASE("growth: sets and siblings of a mutation") {
    for (rule const by : {rule::add_wins, rule::remove_wins, rule::siblings}) {
        INFO(name(by));
        collection_rules const rules{"things", rule::last_writer, {{"f", by}}};
        near_linear(2'000, [&](std::size_t n) {
            bytes const base = map_item({{"f", numbers(0, 1)}});
            bytes const many = map_item({{"f", numbers(1, n)}});
            bytes const others = map_item({{"f", numbers(n + 1, n)}});
            return [=] {
                auto const both = three_way(base, many, others, rules, early, late);
                REQUIRE(both);
                REQUIRE(detail::items_of(**map_find(both->record, "f"))->size() == 2 * n);
            };
        });
    }
}

TEST_CASE("growth: fields of a record, of a group and of a record that wins whole") {
    for (int how = 0; how != 4; ++how) {
        INFO(how);
        near_linear(500, [&](std::size_t n) {
            auto const names = field_names(n);
            collection_rules rules{"things", how == 3 ? rule::manual : rule::last_writer, {}};
            if (how == 1) { rules.groups = {{"all", rule::last_writer, names}}; }
            if (how == 2) { rules.whole = rule::last_writer; }
            bytes const base = filled(names, 0);
            bytes const mine = filled(names, 1);
            bytes const theirs = filled(names, 2);
            return [=] {
                auto const both = three_way(base, mine, theirs, rules, early, late);
                REQUIRE(both);
                REQUIRE(both->record == theirs);
                REQUIRE(both->decisions.size() == n);
            };
        });
    }
}
