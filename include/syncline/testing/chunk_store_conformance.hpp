// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Certifies a model of `chunk_store`, axiom by axiom, without a test framework.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/blob/chunk_store.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// Runs a chunk store beside a map, and names the axioms that it breaks: the first violation of each.
///
/// `with(use)` opens the store, calls `use(store)` once and closes it, flushed and as durable as it gets: called again
/// it opens the same store. It begins empty.
template <class With>
[[nodiscard]] std::vector<violation> check_chunk_store(With&& with, std::uint64_t seed = 1, int rounds = 12) {
    std::vector<violation> out;
    auto const broken = [&](char const* axiom, std::string what) {
        if (!breaks(out, axiom)) { out.push_back({axiom, std::move(what)}); }
    };
    random_generator g(seed);
    std::map<sha256_digest, bytes> model;
    std::vector<sha256_digest> names;
    auto const compare_all = [&](auto& store, char const* axiom) {
        bytes got;
        for (sha256_digest const& id : names) {
            got.assign(3, std::byte{9});
            auto const found = store.get(id, got);
            auto const wanted = model.find(id);
            if (!found) { return broken(axiom, "get fails"); }
            if (*found != (wanted != model.end())) {
                return broken(axiom, *found ? "a chunk that was erased" : "a chunk is gone");
            }
            if (*found ? !equal(got, wanted->second) : !got.empty()) {
                return broken(axiom, "other bytes than were put");
            }
        }
    };
    for (int round = 0; round < rounds; ++round) {
        with([&](auto& store) {
            compare_all(store, round == 0 ? "content" : "durable");
            for (int i = 0; i < 25; ++i) {
                if (!names.empty() && below(g, 3) == 0) {
                    sha256_digest const id = names[static_cast<std::size_t>(below(g, names.size()))];
                    model.erase(id);
                    bool const once = store.erase(id).has_value();
                    if (!once || (below(g, 2) == 0 && !store.erase(id))) { broken("idempotent", "erase fails"); }
                    continue;
                }
                bytes chunk(static_cast<std::size_t>(below(g, 3) == 0 ? below(g, 3) : below(g, 70'000)));
                fill(g, chunk);
                sha256_digest const id = sha256(chunk);
                bool const once = store.put(id, chunk).has_value();
                if (!once || (below(g, 3) == 0 && !store.put(id, chunk))) { broken("idempotent", "put fails"); }
                model[id] = chunk;
                names.push_back(id);
            }
            compare_all(store, "content");
            std::map<sha256_digest, int> seen;
            auto const all = store.scan([&](sha256_digest const& id) {
                ++seen[id];
                return true;
            });
            bool complete = all && seen.size() == model.size();
            for (auto const& [id, n] : seen) { complete = complete && n == 1 && model.count(id) == 1; }
            if (!complete) { broken("complete", "scan gives other chunks than there are"); }
            std::size_t visited = 0;
            auto const some = store.scan([&](sha256_digest const&) { return ++visited < 2; });
            if (!some || visited > 2) { broken("complete", "scan does not stop"); }
            if (!store.flush()) { broken("durable", "flush fails"); }
        });
    }
    with([&](auto& store) { compare_all(store, "durable"); });
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
