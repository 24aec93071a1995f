// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Two replicas whose rows are a map beside the store, and a judge who compares every answer with the maps.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/reconcile/reconciler.hpp>
#include <syncline/storage/keyspace.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/faulty_storage.hpp>

namespace reconcile_tests {

using namespace syncline;
using store_type = testing::faulty_storage<memory_storage>;
using rows_model = std::map<std::string, std::string>;
using differences_model = std::map<std::string, std::pair<std::optional<std::string>, std::optional<std::string>>>;

inline reconcile_key test_key(std::uint8_t n = 7) {
    reconcile_key k;
    for (std::size_t i = 0; i < k.bytes.size(); ++i) { k.bytes[i] = static_cast<std::byte>(n * 16 + i); }
    return k;
}

inline differences_model naive_differences(rows_model const& a, rows_model const& b) {
    differences_model out;
    for (auto const& [k, v] : a) {
        auto const other = b.find(k);
        if (other == b.end()) {
            out[k] = {v, std::nullopt};
        } else if (other->second != v) {
            out[k] = {v, other->second};
        }
    }
    for (auto const& [k, v] : b) {
        if (a.count(k) == 0) { out[k] = {std::nullopt, v}; }
    }
    return out;
}

/// What the host or the disk does wrong, for the judge to find.
enum class plant : std::uint8_t {
    none,
    forgets_a_change,       ///< a write that the summary is not told
    tells_a_wrong_version,  ///< a version before that was never there
    keeps_rolled_back,      ///< changes of a transaction that was rolled back are flushed with the next one
    peer_says_equal,        ///< the other end says that nothing differs
    peer_drops_a_part,      ///< … leaves a row out of each list
    disk_drops_ranges,      ///< a range that waits is lost
    disk_drops_log,         ///< a piece of the log is empty
    takes_stale_answers,    ///< an answer to another ask is made to look like one to this
};

/// A replica: a store with rows under "r", the summary under "x", the pass under "y".
struct replica_world {
    explicit replica_world(summary_options const& options, reconcile_options const& pass = {})
        : summary("x", test_key(), options), asks("y", summary, pass), pass_options(pass) {}

    memory_storage memory{};
    store_type store{memory};
    row_summary summary;
    reconciler asks;
    reconcile_options pass_options;
    rows_model rows{};
    std::optional<row_changes> kept{};

    /// Writes (an empty version erases); false, and nothing changed, when the store failed or it was told to give up.
    bool write(std::vector<std::pair<std::string, std::optional<std::string>>> const& batch, bool give_up = false,
               plant bad = plant::none) {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return false; }
        keyspace in(*tx, as_bytes("r"));
        row_changes changes = kept ? *kept : summary.changes();
        kept.reset();
        rows_model after = rows;
        std::size_t n = 0;
        for (auto const& [k, v] : batch) {
            auto const before = after.find(k);
            bool const told = !(bad == plant::forgets_a_change && n++ == 0);
            std::string const old = before == after.end()                 ? ""
                                    : bad == plant::tells_a_wrong_version ? "no"
                                                                          : before->second;
            if (!v) {
                if (before == after.end()) { continue; }
                if (told) { changes.erase(as_bytes(k), as_bytes(old)); }
                if (!in.erase(as_bytes(k))) { return false; }
                after.erase(before);
                continue;
            }
            if (told && before == after.end()) { changes.insert(as_bytes(k), as_bytes(*v)); }
            if (told && before != after.end()) { changes.update(as_bytes(k), as_bytes(old), as_bytes(*v)); }
            if (!in.put(as_bytes(k), as_bytes(*v))) { return false; }
            after[k] = *v;
        }
        if (!summary.flush(*tx, in, changes)) { return false; }
        if (give_up) {
            if (bad == plant::keeps_rolled_back) { kept = changes; }
            return false;
        }
        if (!tx->commit()) { return false; }
        rows = std::move(after);
        return true;
    }

    /// Calls `f(tx, rows)` and commits when it says so. The status is the call's or the commit's.
    template <class F>
    status in_transaction(F&& f) {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        keyspace in(*tx, as_bytes("r"));
        if (auto s = f(*tx, in); !s) { return s; }
        return tx->commit();
    }
    bool verified() {
        bool fine = false;
        auto const s = in_transaction([&](auto& tx, auto& in) -> status {
            if (auto done = summary.fold(tx, in); !done) { return done; }
            auto const v = summary.verify(tx, in);
            if (!v) { return v.error(); }
            fine = *v;
            return {};
        });
        return s.has_value() && fine;
    }
    result<std::optional<bytes>> ask() {
        std::optional<bytes> out;
        auto const s = in_transaction([&](auto& tx, auto&) -> status {
            auto a = asks.ask(tx);
            if (!a) { return a.error(); }
            out = std::move(*a);
            return {};
        });
        if (!s) { return s.error(); }
        return out;
    }
    result<bytes> answer(bytes_view ask) {
        bytes out;
        auto const s = in_transaction([&](auto& tx, auto& in) -> status {
            auto a = answer_reconcile(tx, in, summary, ask, pass_options);
            if (!a) { return a.error(); }
            out = std::move(*a);
            return {};
        });
        if (!s) { return s.error(); }
        return out;
    }
    status absorb(bytes_view answer) {
        return in_transaction([&](auto& tx, auto& in) { return asks.absorb(tx, in, answer); });
    }
    status begin() {
        return in_transaction([&](auto& tx, auto&) { return asks.begin(tx); });
    }
    reconcile_progress progress() {
        reconcile_progress p;
        (void)in_transaction([&](auto& tx, auto&) -> status {
            auto const got = asks.progress(tx);
            if (!got) { return got.error(); }
            p = *got;
            return {};
        });
        return p;
    }
    std::map<std::string, row_difference> found() {
        std::map<std::string, row_difference> out;
        (void)in_transaction([&](auto& tx, auto&) {
            return asks.differences(tx, [&](row_difference const& d) {
                out[std::string(as_text(d.key))] = d;
                return true;
            });
        });
        return out;
    }
    std::uint64_t tag(std::string const& k, std::string const& v) const {
        return summary.hasher().row(as_bytes(k), as_bytes(v)).high;
    }
};

/// What a whole pass cost.
struct pass_cost {
    std::size_t trips = 0;
    std::size_t bytes = 0;
    std::size_t longest = 0;
};

/// A pass of `a` with `b`, with nothing failing. False when a call failed or it did not end.
inline bool run_pass(replica_world& a, replica_world& b, pass_cost& cost, plant bad = plant::none) {
    if (!a.begin()) { return false; }
    for (;;) {
        auto const ask = a.ask();
        if (!ask) { return false; }
        if (!*ask) { return true; }
        auto answer = b.answer(**ask);
        if (!answer) { return false; }
        cost.longest = (std::max)({cost.longest, answer->size(), (**ask).size()});
        auto decoded = decode_reconcile_answer(*answer);
        if (bad == plant::peer_says_equal) {
            decoded->kind = reconcile_kind::total;
            answer->clear();
            encode(*decoded, *answer);
        }
        if (bad == plant::peer_drops_a_part && decoded->kind == reconcile_kind::ranges) {
            for (range_answer& r : decoded->ranges) {
                if (!r.rows.empty()) { r.rows.pop_back(); }
            }
            answer->clear();
            encode(*decoded, *answer);
        }
        if (!a.absorb(*answer)) { return false; }
        if (bad == plant::disk_drops_ranges) {
            auto tx = a.store.begin(access_mode::write);
            bytes first;
            std::size_t n = 0;
            (void)scan_prefix(*tx, as_bytes("yq"), [&](bytes_view k, bytes_view) {
                first = to_bytes(k);
                return ++n < 2;
            });
            if (n == 2) { (void)tx->erase(first); }
            (void)tx->commit();
        }
        cost.bytes += answer->size() + (**ask).size();
        if (++cost.trips > 20'000) { return false; }
    }
}

/// Whether the differences that were noted are those of the maps.
inline bool judged(replica_world& a, replica_world& b) {
    auto const wanted = naive_differences(a.rows, b.rows);
    auto const found = a.found();
    if (wanted.size() != found.size()) { return false; }
    for (auto const& [k, versions] : wanted) {
        auto const at = found.find(k);
        if (at == found.end()) { return false; }
        row_difference d;
        d.key = to_bytes(k);
        if (versions.first) { d.here = a.tag(k, *versions.first); }
        if (versions.second) { d.there = a.tag(k, *versions.second); }
        if (!(d == at->second)) { return false; }
    }
    return true;
}

}  // namespace reconcile_tests
