// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Documents as offices have them (events, timelines, proposals, customers), and two edits of each, out of a seed.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <syncline/core/cbor.hpp>
#include <syncline/core/random.hpp>

namespace documents {

inline constexpr std::uint64_t seed = 20'261'128;      ///< the one that everything was tried on
inline constexpr std::uint64_t held_out_seed = 7'919;  ///< looked at last
inline constexpr std::size_t count = 2'000;

struct document {
    nlohmann::json base, local, remote;
};

/// In canonical form: keys by length, then by bytes.
inline void encode(syncline::cbor_writer& w, nlohmann::json const& j) {
    switch (j.type()) {
        case nlohmann::json::value_t::object: {
            std::vector<std::string> keys;
            for (auto const& item : j.items()) { keys.push_back(item.key()); }
            std::sort(keys.begin(), keys.end(),
                      [](std::string const& a, std::string const& b) { return syncline::compare_keys(a, b) < 0; });
            w.map(keys.size());
            for (std::string const& k : keys) {
                w.text(k);
                encode(w, j.at(k));
            }
            break;
        }
        case nlohmann::json::value_t::array:
            w.array(j.size());
            for (auto const& item : j) { encode(w, item); }
            break;
        case nlohmann::json::value_t::string: w.text(j.get_ref<std::string const&>()); break;
        case nlohmann::json::value_t::boolean: w.boolean(j.get<bool>()); break;
        case nlohmann::json::value_t::number_float: w.floating(j.get<double>()); break;
        case nlohmann::json::value_t::null: w.null(); break;
        default: w.integer(j.get<std::int64_t>()); break;
    }
}
inline syncline::bytes encoded(nlohmann::json const& j) {
    syncline::bytes out;
    syncline::cbor_writer w{out};
    encode(w, j);
    return out;
}

class maker {
public:
    explicit maker(std::uint64_t s) : random_(s) {}

    [[nodiscard]] document make() {
        // Sizes from 200 bytes to 20 KB, each order of magnitude as often.
        double const size = 200.0 * std::pow(100.0, static_cast<double>(random_() >> 11) * 0x1.0p-53);
        document d;
        d.base = record(static_cast<std::size_t>(size));
        d.local = d.base;
        d.remote = d.base;
        std::vector<nlohmann::json::json_pointer> leaves;
        collect(d.base, nlohmann::json::json_pointer{}, leaves);
        std::size_t const changes = (std::max)(std::size_t{1}, leaves.size() / 100);
        for (std::size_t i = 0; i != changes; ++i) {
            auto const& mine = leaves[below(leaves.size())];
            auto const& theirs = below(5) == 0 ? mine : leaves[below(leaves.size())];
            d.local[mine] = edited(d.base[mine]);
            d.remote[theirs] = edited(d.base[theirs]);
        }
        return d;
    }

private:
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(syncline::below(random_, n)); }
    std::string words(std::size_t n) {
        static char const* const some[] = {"garden", "hall",    "table",    "wine",    "guest", "invoice", "supplier",
                                           "music",  "evening", "Saturday", "deposit", "menu",  "terrace", "contract",
                                           "of",     "and",     "the",      "for",     "with",  "no"};
        std::string out;
        for (std::size_t i = 0; i != n; ++i) {
            if (i != 0) { out += ' '; }
            out += some[below(std::size(some))];
        }
        return out;
    }
    nlohmann::json scalar() {
        switch (below(8)) {
            case 0: return static_cast<std::int64_t>(below(100'000));
            case 1: return below(2) == 0;
            case 2: return static_cast<double>(below(100'000)) / 4.0;
            case 3: return nullptr;
            case 4: return words(8 + below(12));
            default: return words(1 + below(4));
        }
    }
    nlohmann::json edited(nlohmann::json const& was) {
        if (was.is_number_integer()) { return was.get<std::int64_t>() + 1 + static_cast<std::int64_t>(below(50)); }
        if (was.is_string()) { return words(2 + below(6)); }
        return words(1 + below(3));
    }
    nlohmann::json record(std::size_t size) {
        static char const* const names[] = {"title",   "status",  "starts",  "ends",  "venue", "owner",
                                            "phone",   "mail",    "budget",  "paid",  "notes", "menu",
                                            "seating", "contact", "address", "source"};
        nlohmann::json out = nlohmann::json::object();
        std::size_t used = 0;
        for (std::size_t n = 0; used < size; ++n) {
            std::string name = names[n % std::size(names)];
            if (n >= std::size(names)) { name += '_' + std::to_string(n / std::size(names)); }
            nlohmann::json item;
            std::size_t const kind = below(12);
            if (kind == 0) {
                item = nlohmann::json::object();
                for (std::size_t i = 3 + below(5); i != 0; --i) { item[names[below(std::size(names))]] = scalar(); }
            } else if (kind == 1) {
                item = nlohmann::json::array();
                for (std::size_t i = 1 + below(5); i != 0; --i) {
                    item.push_back({{"at", below(1'440)}, {"what", words(2 + below(4))}});
                }
            } else {
                item = scalar();
            }
            used += name.size() + item.dump().size() + 4;
            out[name] = std::move(item);
        }
        return out;
    }
    /// What an edit changes: scalars, those inside of maps too; arrays as one.
    static void collect(nlohmann::json const& j, nlohmann::json::json_pointer const& at,
                        std::vector<nlohmann::json::json_pointer>& out) {
        for (auto const& item : j.items()) {
            if (item.value().is_object()) {
                collect(item.value(), at / item.key(), out);
            } else {
                out.push_back(at / item.key());
            }
        }
    }

    syncline::random_generator random_;
};

inline std::vector<document> make(std::uint64_t from_seed = seed, std::size_t n = count) {
    maker m{from_seed};
    std::vector<document> out;
    for (std::size_t i = 0; i != n; ++i) { out.push_back(m.make()); }
    return out;
}

}  // namespace documents
