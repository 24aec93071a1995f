// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Promises about random lives, from a seed each: true where they are kept. For a test, and for mistakes that are planted.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/session.hpp>
#include <syncline/testing/naive_merge.hpp>
#include <syncline/testing/simulated_disk.hpp>

#include "replica/asking.hpp"
#include "replica/world.hpp"

namespace promises {

using namespace syncline;
using world::virtual_clock;

template <storage S>
std::map<std::string, std::string> everything_in(S& store) {
    std::map<std::string, std::string> out;
    auto tx = store.begin(access_mode::read);
    auto const text = [](bytes_view b) { return std::string{reinterpret_cast<char const*>(b.data()), b.size()}; };
    if (tx) {
        (void)tx->scan({}, [&](bytes_view k, bytes_view v) {
            out[text(k)] = text(v);
            return true;
        });
    }
    return out;
}

/// A put that names its base changes what differs from that, whatever has become of the record since.
inline bool a_put_is_what_changed(std::uint64_t seed) {
    random_generator dice{seed};
    virtual_clock clock;
    world::device d{seed + 100};
    if (!world::open(d, clock.now)) { return false; }
    using map = std::map<std::string, bytes>;
    record_key const k{"things", "a"};
    auto const drawn = [&] {
        map out;
        for (char const* field : {"asked", "count", "name", "note"}) {
            if (below(dice, 4) != 0) { out[field] = world::integer(static_cast<std::int64_t>(below(dice, 5))); }
        }
        return out;
    };
    std::vector<map> seen{drawn()};
    if (!d.write([&](auto& tx) { return d.self.create(tx, k, testing::naive_fields(seen[0]), clock.now); })) {
        return false;
    }
    collection_rules const rules = world::rules().of("things");
    map now = seen[0];
    for (int n = 0; n < 20; ++n) {
        clock.pass(1);
        map const base = seen[below(dice, seen.size())];
        map const fields = drawn();
        for (field_op const& op : testing::naive_difference(base, fields, rules)) {
            if (op.kind == op_kind::unset) {
                now.erase(op.field);
            } else if (op.kind == op_kind::set) {
                now[op.field] = op.value;
            } else {
                auto const was = now.count(op.field) != 0 ? testing::naive_integer(now[op.field]) : std::nullopt;
                now[op.field] = world::integer(was.value_or(0) + *testing::naive_integer(op.value));
            }
        }
        bool const written =
            d.write([&](auto& tx) {
                 return d.self.put(tx, k, testing::naive_fields(base), testing::naive_fields(fields), clock.now);
             }).has_value();
        auto const held = d.read([&](auto& tx) { return d.self.read(tx, k); });
        if (!written || !held || !*held || (*held)->fields != testing::naive_fields(now)) { return false; }
        seen.push_back(now);
    }
    return true;
}

}  // namespace promises
