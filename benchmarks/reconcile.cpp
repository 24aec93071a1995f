// SPDX-License-Identifier: BSL-1.0

/// Two replicas of 1,000,000 rows with so many rows that only one has, half at either end: what a pass takes of both
/// processors together and of the wire, over memory and over SQLite, beside range splitting after negentropy's public
/// description (protocol v1: 16 parts, lists below 32 items, 256-bit sums, 16-byte fingerprints) over a sorted vector,
/// the naive peer, written here. Then what keeping ranges and sketch costs a write, in batches of 1,000 random updates.
/// Negentropy's own figures, measured once on a machine like this (bytes for 0, 1, 10, 100, 1,000 differences: 352; 2.4,
/// 19, 166, 1,364 KB; its B-tree store 0.06, 0.2, 2, 17, 81 ms of both processors), stand in docs/reconcile.md.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/reconcile.hpp>
#include <syncline/storage/keyspace.hpp>
#include <syncline/storage/memory.hpp>

#include "database_file.hpp"

namespace {

using namespace syncline;

constexpr std::size_t rows_total = 1'000'000;
constexpr summary_options kept{.cells = 16'384, .pending_max = 16'384};

struct row_data {
    std::array<std::byte, 16> key;
    std::array<std::byte, 16> version;
};
std::vector<row_data> const& rows() {
    static std::vector<row_data> const all = [] {
        std::vector<row_data> out(rows_total);
        random_generator g(1);
        for (row_data& r : out) {
            fill(g, r.key);
            fill(g, r.version);
        }
        return out;
    }();
    return all;
}

struct in_memory {
    memory_storage store{};
};
struct in_sqlite {
    database_file file{};
    sqlite_storage store = *sqlite_storage::open(file.path(), {.synchronous = sqlite_synchronous::normal});
};

template <class End>
void fill_end(End& end, row_summary const& summary) {
    auto tx = *end.store.begin(access_mode::write);
    keyspace in(tx, as_bytes("r"));
    for (row_data const& r : rows()) { (void)in.put(r.key, r.version); }
    (void)summary.rebuild(tx, in);
    (void)tx.commit();
}

/// A row leaves (or comes back to) the end that lacks it.
template <class End>
void set_missing(End& end, row_summary const& summary, std::size_t differences, std::size_t side, bool missing) {
    auto tx = *end.store.begin(access_mode::write);
    keyspace in(tx, as_bytes("r"));
    auto changes = summary.changes();
    for (std::size_t i = 0; i < differences; ++i) {
        if (i % 2 != side) { continue; }
        row_data const& r = rows()[i];
        if (missing) {
            (void)in.erase(r.key);
            changes.erase(r.key, r.version);
        } else {
            (void)in.put(r.key, r.version);
            changes.insert(r.key, r.version);
        }
    }
    (void)summary.flush(tx, in, changes);
    (void)summary.fold(tx, in);
    (void)tx.commit();
}

template <class End>
struct pair_of_ends {
    pair_of_ends() {
        fill_end(a, summary);
        fill_end(b, summary);
    }
    row_summary summary{"x", reconcile_key{}, kept};
    reconciler asks{"y", summary};
    End a{}, b{};
};
template <class End>
pair_of_ends<End>& ends() {
    static std::unique_ptr<pair_of_ends<End>> const both = std::make_unique<pair_of_ends<End>>();
    return *both;
}

/// A whole pass, each message in a transaction of its own at both ends; bytes of all messages, or 0 when it failed.
template <class End>
std::size_t pass(pair_of_ends<End>& w, std::uint64_t& found) {
    std::size_t size = 0;
    {
        auto tx = *w.a.store.begin(access_mode::write);
        if (!w.asks.begin(tx) || !tx.commit()) { return 0; }
    }
    for (;;) {
        auto tx = *w.a.store.begin(access_mode::write);
        auto const ask = w.asks.ask(tx);
        if (!ask) { return 0; }
        if (!*ask) {
            found = w.asks.progress(tx)->found;
            return size;
        }
        auto there = *w.b.store.begin(access_mode::write);
        keyspace there_rows(there, as_bytes("r"));
        auto const answer = answer_reconcile(there, there_rows, w.summary, **ask);
        if (!answer || !there.commit()) { return 0; }
        keyspace here_rows(tx, as_bytes("r"));
        if (!w.asks.absorb(tx, here_rows, *answer) || !tx.commit()) { return 0; }
        size += (**ask).size() + answer->size();
    }
}

template <class End>
void passes(benchmark::State& state) {
    auto& w = ends<End>();
    auto const d = static_cast<std::size_t>(state.range(0));
    set_missing(w.a, w.summary, d, 0, true);
    set_missing(w.b, w.summary, d, 1, true);
    std::size_t bytes_sent = 0;
    std::uint64_t found = 0;
    for (auto _ : state) {
        state.PauseTiming();
        auto tx = *w.a.store.begin(access_mode::write);  // what was found is settled: that is the host's time
        (void)w.asks.begin(tx);
        (void)tx.commit();
        state.ResumeTiming();
        bytes_sent = pass(w, found);
    }
    if (found != d || bytes_sent == 0) { state.SkipWithError("the pass found something else"); }
    state.counters["bytes"] = static_cast<double>(bytes_sent);
    set_missing(w.a, w.summary, d, 0, false);
    set_missing(w.b, w.summary, d, 1, false);
}

// ---- The naive peer: range splitting over sorted items of a time and an identity of 32 bytes

struct item {
    std::uint64_t time;
    std::array<std::uint64_t, 4> id;
    friend bool operator<(item const& x, item const& y) { return x.time != y.time ? x.time < y.time : x.id < y.id; }
    friend bool operator==(item const& x, item const& y) { return x.time == y.time && x.id == y.id; }
};
using items = std::vector<item>;
using span_of_items = std::span<item const>;

std::array<std::byte, 16> print_of(span_of_items part) {
    std::array<std::uint64_t, 4> sum{};
    for (item const& x : part) {
        std::uint64_t carry = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            std::uint64_t const with = sum[i] + carry;
            carry = with < carry ? 1 : 0;
            sum[i] = with + x.id[i];
            carry += sum[i] < with ? 1 : 0;
        }
    }
    bytes all;
    for (std::uint64_t const w : sum) { append_u64(all, w); }
    append_varint(all, part.size());
    auto const digest = sha256(all);
    std::array<std::byte, 16> out;
    std::copy_n(digest.begin(), 16, out.begin());
    return out;
}
/// Bytes of a bound: a time's difference and the shortest beginning of an identity (times here are distinct: none).
constexpr std::size_t bound_size = 5 + 1;

/// What the exchange costs from this range on, when it is `mine` to speak. Who began learns the differences: its own list
/// is answered by another.
std::size_t split(span_of_items mine, span_of_items theirs, bool i_began, std::uint64_t& found) {
    if (print_of(mine) == print_of(theirs)) { return 2; }  // skipped, with its bound, mostly joined to the next
    if (mine.size() < 32) {
        items only;
        std::set_symmetric_difference(mine.begin(), mine.end(), theirs.begin(), theirs.end(), std::back_inserter(only));
        found += only.size();
        return 2 + 32 * (mine.size() + (i_began ? theirs.size() : 0));
    }
    std::size_t size = 0;
    auto at = theirs.begin();
    for (std::size_t i = 0; i < 16; ++i) {
        auto const part = mine.subspan(mine.size() * i / 16, mine.size() * (i + 1) / 16 - mine.size() * i / 16);
        auto const end = i == 15 ? theirs.end() : std::lower_bound(at, theirs.end(), mine[mine.size() * (i + 1) / 16]);
        size += bound_size + 17 + split({at, end}, part, !i_began, found);
        at = end;
    }
    return size;
}

void peer(benchmark::State& state) {
    auto const d = static_cast<std::size_t>(state.range(0));
    items a, b;
    for (std::size_t i = 0; i < rows_total; ++i) {
        item x{};
        x.time = read_u64(rows()[i].key) >> 24;
        for (std::size_t k = 0; k < 2; ++k) {
            x.id[k] = read_u64(bytes_view{rows()[i].key}.subspan(8 * k));
            x.id[k + 2] = read_u64(bytes_view{rows()[i].version}.subspan(8 * k));
        }
        if (i >= d || i % 2 == 0) { b.push_back(x); }
        if (i >= d || i % 2 == 1) { a.push_back(x); }
    }
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    std::size_t size = 0;
    std::uint64_t found = 0;
    for (auto _ : state) {
        found = 0;
        size = 2 + split(a, b, true, found);
        benchmark::DoNotOptimize(size);
    }
    if (found != d) { state.SkipWithError("the peer found something else"); }
    state.counters["bytes"] = static_cast<double>(size);
}

void arguments(benchmark::internal::Benchmark* b) {
    for (int const d : {0, 1, 10, 100, 1000, 10'000}) { b->Arg(d); }
    b->Unit(benchmark::kMicrosecond);
}
BENCHMARK(passes<in_memory>)->Name("reconcile/pass/ours")->Apply(arguments);
BENCHMARK(passes<in_sqlite>)->Name("reconcile/pass/ours_sqlite")->Apply(arguments);
BENCHMARK(peer)->Name("reconcile/pass/range_splitting")->Apply(arguments);
BENCHMARK(peer)->Name("reconcile/pass/sqlite/range_splitting")->Apply(arguments);

/// 1,000 random updates and their commit, with the summary or without.
template <class End, bool WithSummary>
void writes(benchmark::State& state) {
    auto& w = ends<End>();
    random_generator g(7);
    std::vector<std::array<std::byte, 16>> versions(rows_total);
    for (std::size_t i = 0; i < rows_total; ++i) { versions[i] = rows()[i].version; }
    auto const put = [&](std::size_t n, std::array<std::byte, 16> const& v,
                         keyspace<typename decltype(w.a.store)::transaction>& in, row_changes& changes) {
        if (WithSummary) { changes.update(rows()[n].key, versions[n], v); }
        (void)in.put(rows()[n].key, v);
        versions[n] = v;
    };
    for (auto _ : state) {
        auto tx = *w.a.store.begin(access_mode::write);
        keyspace in(tx, as_bytes("r"));
        auto changes = w.summary.changes();
        std::array<std::byte, 16> v;
        for (int i = 0; i < 1000; ++i) {
            fill(g, v);
            put(static_cast<std::size_t>(below(g, rows_total)), v, in, changes);
        }
        if (!w.summary.flush(tx, in, changes) || !tx.commit()) { state.SkipWithError("a write failed"); }
    }
    state.SetItemsProcessed(state.iterations() * 1000);
    // Back to what the other benchmarks begin with.
    auto tx = *w.a.store.begin(access_mode::write);
    keyspace in(tx, as_bytes("r"));
    auto changes = w.summary.changes();
    for (std::size_t i = 0; i < rows_total; ++i) {
        if (versions[i] != rows()[i].version) { put(i, rows()[i].version, in, changes); }
    }
    (void)w.summary.flush(tx, in, changes);
    (void)w.summary.fold(tx, in);
    (void)tx.commit();
}
void writes_memory(benchmark::State& state) { writes<in_memory, true>(state); }
void writes_memory_alone(benchmark::State& state) { writes<in_memory, false>(state); }
void writes_sqlite(benchmark::State& state) { writes<in_sqlite, true>(state); }
void writes_sqlite_alone(benchmark::State& state) { writes<in_sqlite, false>(state); }
BENCHMARK(writes_memory)->Name("reconcile/writes_1000/ours")->Unit(benchmark::kMicrosecond);
BENCHMARK(writes_memory_alone)->Name("reconcile/writes_1000/rows_alone")->Unit(benchmark::kMicrosecond);
BENCHMARK(writes_sqlite)->Name("reconcile/writes_1000/ours_sqlite")->Unit(benchmark::kMicrosecond);
BENCHMARK(writes_sqlite_alone)->Name("reconcile/writes_1000/sqlite/rows_alone")->Unit(benchmark::kMicrosecond);

}  // namespace
