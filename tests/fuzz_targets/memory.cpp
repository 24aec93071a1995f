// SPDX-License-Identifier: BSL-1.0

/// `memory_storage` as a list of operations against a map: two handles on one store, transactions of both kinds,
/// snapshots, limits and what is put back.

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <syncline/storage/memory.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;
using fuzz::choices;
using model = std::map<std::string, std::string>;

/// Many keys that are near one another, some long ones, and some that are none.
std::string any_key(choices& in) {
    std::uint64_t const n = in.byte();
    switch (in.below(8)) {
        case 0: return std::string(static_cast<std::size_t>(n) * 2 + 2, 'k');  // 2 to 512 bytes
        case 1: return {};
        case 2: return {static_cast<char>(n)};
        default: return {'k', static_cast<char>(n % 4), static_cast<char>(n)};
    }
}

std::size_t size_of(model const& m) {
    std::size_t n = 0;
    for (auto const& [k, v] : m) { n += k.size() + v.size(); }
    return n;
}

/// Scans a range that the input chooses, or everything.
template <class Scan>
void compare_range(model const& m, choices* in, Scan&& scan) {
    std::string const from = in != nullptr ? any_key(*in) : std::string();
    std::string const to = in != nullptr ? any_key(*in) : std::string();
    std::uint64_t const most = in != nullptr ? 1 + in->below(256) : 0;
    auto at = m.lower_bound(from);
    auto const end = to.empty() ? m.end() : m.lower_bound(to);
    bool const none = !to.empty() && to <= from;
    std::size_t seen = 0;
    scan(key_range{as_bytes(from), as_bytes(to)}, [&](bytes_view k, bytes_view v) {
        SYNCLINE_FUZZ_REQUIRE(!none && at != end && as_text(k) == at->first && as_text(v) == at->second);
        ++at;
        return ++seen != most;
    });
    SYNCLINE_FUZZ_REQUIRE(none || seen == most || at == end);
}

struct handle {
    explicit handle(memory_store& s) : storage(s) {}
    memory_storage storage;
    std::optional<memory_storage::transaction> tx{};
    bool writes = false;
    model seen{};  ///< what the transaction has to see
};

struct world {
    explicit world(std::size_t bytes_max) : store({.bytes_max = bytes_max}), handles{handle{store}, handle{store}} {}
    memory_store store;
    handle handles[2];
    model committed{};
    std::vector<std::pair<memory_snapshot, model>> snapshots{};

    handle* writer() {
        for (handle& h : handles) {
            if (h.tx && h.writes) { return &h; }
        }
        return nullptr;
    }

    void begin(handle& h, access_mode a) {
        auto tx = h.storage.begin(a);
        bool const busy = h.tx || (a == access_mode::write && writer() != nullptr);
        SYNCLINE_FUZZ_REQUIRE(tx.has_value() == !busy);
        if (busy) {
            SYNCLINE_FUZZ_REQUIRE(tx.error() == errc::busy);
            return;
        }
        h.tx.emplace(std::move(*tx));
        h.writes = a == access_mode::write;
        h.seen = committed;
    }
    void put(handle& h, std::string const& k, std::string const& v) {
        auto const s = h.tx->put(as_bytes(k), as_bytes(v));
        if (!h.writes || k.empty() || k.size() > key_bytes_max) {
            SYNCLINE_FUZZ_REQUIRE(!s && s.error() == (h.writes ? errc::invalid : errc::read_only));
            return;
        }
        model after = h.seen;
        after[k] = v;
        std::size_t const most = store.options().bytes_max;
        // What is over the limit already may be replaced only by what fits.
        if (most != 0 && size_of(after) > most) {
            SYNCLINE_FUZZ_REQUIRE(!s && s.error() == errc::storage_full);
            return;
        }
        SYNCLINE_FUZZ_REQUIRE(s);
        h.seen = std::move(after);
    }
    void erase(handle& h, std::string const& k) {
        auto const s = h.tx->erase(as_bytes(k));
        if (!h.writes || k.empty() || k.size() > key_bytes_max) {
            SYNCLINE_FUZZ_REQUIRE(!s && s.error() == (h.writes ? errc::invalid : errc::read_only));
            return;
        }
        SYNCLINE_FUZZ_REQUIRE(s);
        h.seen.erase(k);
    }
    void get(handle& h, std::string const& k) {
        bytes out(3);
        auto const found = h.tx->get(as_bytes(k), out);
        if (k.empty() || k.size() > key_bytes_max) {
            SYNCLINE_FUZZ_REQUIRE(!found && found.error() == errc::invalid);
            return;
        }
        auto const expected = h.seen.find(k);
        SYNCLINE_FUZZ_REQUIRE(found && *found == (expected != h.seen.end()));
        SYNCLINE_FUZZ_REQUIRE(*found ? as_text(out) == expected->second : out.empty());
    }
    void check_counts() {
        handle* const w = writer();
        model const& now = w != nullptr ? w->seen : committed;
        SYNCLINE_FUZZ_REQUIRE(store.count() == now.size() && store.size_bytes() == size_of(now));
    }

    void step(choices& in) {
        handle& h = handles[in.below(2)];
        std::uint64_t const what = in.below(16);
        if (what == 0) { return begin(h, access_mode::read); }
        if (what <= 2) { return begin(h, access_mode::write); }
        if (what == 3) {
            snapshots.emplace_back(store.snapshot(), committed);
            if (snapshots.size() > 4) { snapshots.erase(snapshots.begin()); }
            return;
        }
        if (what == 4 && !snapshots.empty()) {
            auto const& kept = snapshots[static_cast<std::size_t>(in.below(snapshots.size()))];
            memory_snapshot const& snapshot = kept.first;
            model const& expected = kept.second;
            SYNCLINE_FUZZ_REQUIRE(snapshot.count() == expected.size() && snapshot.size_bytes() == size_of(expected));
            compare_range(expected, &in, [&](key_range r, scan_visitor visit) { snapshot.scan(r, visit); });
            SYNCLINE_FUZZ_REQUIRE((snapshot == store.snapshot()) == (expected == committed));
            if (writer() == nullptr && in.one_in(2)) {
                store.restore(snapshot);
                committed = expected;
            }
            return;
        }
        if (!h.tx) { return; }
        switch (what) {
            case 5: {
                SYNCLINE_FUZZ_REQUIRE(h.tx->commit());
                if (h.writes) { committed = std::move(h.seen); }
                h.tx.reset();
                return;
            }
            case 6: h.tx.reset(); return;
            case 7: {
                memory_storage::transaction moved(std::move(*h.tx));
                h.tx.emplace(std::move(moved));
                return;
            }
            case 8: return get(h, any_key(in));
            case 9:
                compare_range(h.seen, &in,
                              [&](key_range r, scan_visitor visit) { SYNCLINE_FUZZ_REQUIRE(h.tx->scan(r, visit)); });
                return;
            case 10: return erase(h, any_key(in));
            case 11: {  // many at once: trees split and join
                std::uint64_t const first = in.byte();
                std::uint64_t const count = in.byte();
                bool const removes = in.one_in(2);
                for (std::uint64_t i = 0; i < count && h.writes; ++i) {
                    std::string const k{'k', static_cast<char>((first + i) % 4), static_cast<char>(first + i)};
                    removes ? erase(h, k) : put(h, k, std::string(static_cast<std::size_t>(i % 5), 'v'));
                }
                return;
            }
            default: {
                std::string const k = any_key(in);
                put(h, k, std::string(as_text(in.some(20))));
                return;
            }
        }
    }
};

int body(std::uint8_t const* data, std::size_t size) {
    choices in(data, (std::min)(size, std::size_t{600}));
    world w(in.one_in(4) ? 200 + in.byte() : 0);
    while (!in.done()) {
        w.step(in);
        w.check_counts();
    }
    for (handle& h : w.handles) { h.tx.reset(); }
    w.check_counts();
    compare_range(w.committed, nullptr, [&](key_range r, scan_visitor visit) { w.store.snapshot().scan(r, visit); });
    for (auto const& kept : w.snapshots) {
        memory_snapshot const& snapshot = kept.first;
        compare_range(kept.second, nullptr, [&](key_range r, scan_visitor visit) { snapshot.scan(r, visit); });
    }
    return 0;
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 80, .length = 400)
