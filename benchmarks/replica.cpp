// SPDX-License-Identifier: BSL-1.0

/// The first sync of 100,000 records of about 200 bytes and 8 fields into an empty replica: in memory beside a
/// std::map that is filled with the same rows, over SQLite at both ends beside a prepared insert of the same rows.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <sqlite3.h>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/core/value.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/memory.hpp>

#include "database_file.hpp"

namespace {

using namespace syncline;

constexpr std::size_t records = 100'000;
constexpr instant the_time{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1}}};

std::string id_of(std::size_t n) {
    std::string const digits = std::to_string(n);
    return "guest-" + std::string(6 - digits.size(), '0') + digits;
}

/// About 200 bytes in 8 fields.
bytes fields_of(std::size_t n) {
    std::string const serial = std::to_string(n);
    bytes out;
    cbor_writer w{out};
    w.map(8);
    w.text("vip");
    w.boolean(n % 7 == 0);
    w.text("diet");
    w.text(n % 3 == 0 ? "vegetarian" : "none of the usual allergies");
    w.text("name");
    w.text("Zoë Ødegård-Müller the " + serial + "th");
    w.text("note");
    w.text("arrives late, would rather sit near a window, " + serial);
    w.text("seat");
    w.integer(static_cast<std::int64_t>(n % 600));
    w.text("email");
    w.text("guest." + serial + "@example.org");
    w.text("event");
    w.text("wedding-of-saturday-" + std::to_string(n % 5));
    w.text("gift");
    w.floating(static_cast<double>(n) / 8);
    return out;
}

/// The keys above stand in the order in which one thinks of them; this puts them in canonical order.
bytes canonical(std::size_t n) { return encode(*decode(fields_of(n), {}, cbor_form::any)); }

std::vector<std::pair<std::string, bytes>> const& corpus() {
    static auto const all = [] {
        std::vector<std::pair<std::string, bytes>> out;
        for (std::size_t n = 0; n < records; ++n) { out.emplace_back(id_of(n), canonical(n)); }
        return out;
    }();
    return all;
}

/// Fills an authority through its own front door.
template <storage S>
bool fill(S& store, authority<> const& a) {
    syncline::random_generator dice{1};
    {
        auto tx = store.begin(access_mode::write);
        if (!tx || !a.open(*tx, the_time, dice) || !tx->commit()) { return false; }
    }
    request q;
    q.replica.device.bytes[0] = std::byte{1};
    q.rows_max = 0;
    std::uint64_t sequence = 0;
    for (auto const& [id, fields] : corpus()) {
        mutation m;
        m.sequence = ++sequence;
        m.kind = change_kind::create;
        m.stamp = timestamp{timestamp::make(the_time.wall).raw + sequence};
        m.record = {"guests", id};
        m.ops = *diff({}, fields, {}, m.stamp);
        bytes raw;
        cbor_writer w{raw};
        encode_mutation(w, m);
        q.mutations.push_back(std::move(raw));
        if (q.mutations.size() == 10'000) {
            q.receipts = sequence - q.mutations.size();
            if (!serve(store, a, "bench", encode(q), the_time)) { return false; }
            q.mutations.clear();
        }
    }
    return true;
}

struct outcome {
    std::size_t exchanges = 0;
    std::size_t bytes = 0;
    bool good = false;
};

/// Exchanges until all is held, then compares every record.
template <storage S, storage D>
outcome first_sync(S& authority_store, authority<> const& a, D& store, replica const& r, benchmark::State& state) {
    outcome out;
    syncline::random_generator dice{2};
    {
        auto tx = store.begin(access_mode::write);
        if (!tx || !r.open(*tx, "bench", the_time, dice) || !tx->commit()) { return out; }
    }
    for (bool more = true; more;) {
        bytes message;
        {
            auto tx = store.begin(access_mode::read);
            message = *r.request_message(*tx);
        }
        auto reply_bytes = serve(authority_store, a, "bench", message, the_time);
        if (!reply_bytes) { return out; }
        auto tx = store.begin(access_mode::write);
        auto report = r.absorb(*tx, *reply_bytes, the_time, dice);
        if (!report || !tx->commit()) { return out; }
        more = report->more;
        ++out.exchanges;
        out.bytes += message.size() + reply_bytes->size();
    }
    state.PauseTiming();
    std::size_t n = 0;
    bool same = true;
    auto tx = store.begin(access_mode::read);
    auto const ok = r.scan(*tx, "guests", [&](record_key const& k, record const& held) {
        auto const& [id, fields] = corpus()[n++];
        same = same && k.id_text() == id && held.fields == fields;
        return same;
    });
    out.good = ok && same && n == records;
    state.ResumeTiming();
    return out;
}

replica_options wide() {
    replica_options o;
    o.rows_max = 10'000;
    o.bytes_max = std::uint64_t{4} << 20;
    return o;
}

void report(benchmark::State& state, outcome const& o) {
    if (!o.good) { state.SkipWithError("the replica does not hold what the authority has"); }
    state.counters["exchanges"] = static_cast<double>(o.exchanges);
    state.counters["wire_bytes"] = static_cast<double>(o.bytes);
}

void memory_ours(benchmark::State& state) {
    static memory_storage cloud;
    static authority<> a;
    static bool const filled = fill(cloud, a);
    if (!filled) { state.SkipWithError("the authority could not be filled"); }
    replica const r{{}, wide()};
    outcome o;
    for (auto _ : state) {
        memory_storage device;
        o = first_sync(cloud, a, device, r, state);
    }
    report(state, o);
    state.SetLabel("features=protocol, verdicts, versions, stamps, cursor, events; both ends;durability=none");
}
void memory_map(benchmark::State& state) {
    std::size_t held = 0;
    for (auto _ : state) {
        std::map<std::string, bytes> rows;
        for (auto const& [id, fields] : corpus()) { rows.emplace(id, fields); }
        held = rows.size();
        benchmark::DoNotOptimize(rows);
    }
    if (held != records) { state.SkipWithError("rows are missing"); }
    state.SetLabel("features=rows copied into a map, no protocol, no versions;durability=none");
}
BENCHMARK(memory_ours)->Name("replica/first_sync/memory/100000/ours")->Unit(benchmark::kMillisecond);
BENCHMARK(memory_map)->Name("replica/first_sync/memory/100000/map")->Unit(benchmark::kMillisecond);

void sqlite_ours(benchmark::State& state) {
    static database_file const cloud_file{};
    static auto cloud = sqlite_storage::open(cloud_file.path());
    static authority<> a;
    static bool const filled = cloud && fill(*cloud, a);
    if (!filled) {
        state.SkipWithError("the authority could not be filled");
        return;
    }
    replica const r{{}, wide()};
    outcome o;
    for (auto _ : state) {
        state.PauseTiming();
        {
            database_file const device_file{};
            auto device = sqlite_storage::open(device_file.path());
            if (!device) { state.SkipWithError("the device's database could not be opened"); }
            state.ResumeTiming();
            o = first_sync(*cloud, a, *device, r, state);
            state.PauseTiming();
        }
        state.ResumeTiming();
    }
    report(state, o);
    state.SetLabel(
        "features=protocol, verdicts, versions, stamps, cursor, events; both ends;durability=WAL, synchronous FULL");
}
void sqlite_insert(benchmark::State& state) {
    sqlite3_int64 held = 0;
    for (auto _ : state) {
        state.PauseTiming();
        {
            database_file const device_file{};
            sqlite3* db = nullptr;
            sqlite3_open(device_file.path(), &db);
            sqlite3_exec(
                db,
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
                nullptr, nullptr, nullptr);
            sqlite3_stmt* insert = nullptr;
            sqlite3_prepare_v2(db, "INSERT INTO t VALUES(?,?)", -1, &insert, nullptr);
            state.ResumeTiming();
            sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
            for (auto const& [id, fields] : corpus()) {
                sqlite3_bind_blob(insert, 1, id.data(), static_cast<int>(id.size()), SQLITE_STATIC);
                sqlite3_bind_blob(insert, 2, fields.data(), static_cast<int>(fields.size()), SQLITE_STATIC);
                sqlite3_step(insert);
                sqlite3_reset(insert);
            }
            sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr);
            state.PauseTiming();
            sqlite3_finalize(insert);
            sqlite3_stmt* count = nullptr;
            sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &count, nullptr);
            sqlite3_step(count);
            held = sqlite3_column_int64(count, 0);
            sqlite3_finalize(count);
            sqlite3_close(db);
        }
        state.ResumeTiming();
    }
    if (held != static_cast<sqlite3_int64>(records)) { state.SkipWithError("rows are missing"); }
    state.SetLabel("features=rows alone, one transaction, one end;durability=WAL, synchronous FULL");
}
BENCHMARK(sqlite_ours)->Name("replica/first_sync/sqlite/100000/ours")->Unit(benchmark::kMillisecond);
BENCHMARK(sqlite_insert)->Name("replica/first_sync/sqlite/100000/sql")->Unit(benchmark::kMillisecond);

// As it grows: many records, many devices that write in turn. In memory, so that the library's own work shows.

/// An authority with so many records; one device holds them all.
struct grown {
    memory_storage cloud;
    memory_storage store;
    authority<> a{};
    replica r{{}, wide()};
    syncline::random_generator dice{3};
    std::int64_t ticks = 0;
    std::size_t wire = 0;
    bool good = true;

    [[nodiscard]] instant now() const {
        return {the_time.wall + milliseconds{ticks}, the_time.monotonic + milliseconds{ticks}};
    }
    [[nodiscard]] static std::string name(std::size_t n) {
        std::string const digits = std::to_string(n);
        return "r" + std::string(7 - digits.size(), '0') + digits;
    }
    explicit grown(std::size_t n) {
        {
            auto tx = cloud.begin(access_mode::write);
            good = tx && a.open(*tx, now(), dice) && tx->commit();
        }
        request q;
        q.replica.device.bytes[0] = std::byte{1};
        q.rows_max = 0;
        bytes const fields = corpus()[0].second;
        for (std::size_t i = 0; i < n && good; ++i) {
            mutation m;
            m.sequence = i + 1;
            m.kind = change_kind::create;
            m.stamp = timestamp{timestamp::make(the_time.wall).raw + i};
            m.record = {"guests", name(i)};
            m.ops = *diff({}, fields, {}, m.stamp);
            cbor_writer w{q.mutations.emplace_back()};
            encode_mutation(w, m);
            if (q.mutations.size() == 1'000 || i + 1 == n) {
                q.receipts = m.sequence - q.mutations.size();
                good = serve(cloud, a, "bench", encode(q), now()).has_value();
                q.mutations.clear();
            }
        }
        join(store, r, dice);
    }
    void join(memory_storage& at, replica const& who, syncline::random_generator& random) {
        auto tx = at.begin(access_mode::write);
        good = good && tx && who.open(*tx, "bench", now(), random) && tx->commit();
        tx = errc::busy;
        exchange(at, who, random);
    }
    void exchange(memory_storage& at, replica const& who, syncline::random_generator& random) {
        for (bool more = good; more;) {
            ticks += 1;
            bytes message;
            {
                auto tx = at.begin(access_mode::write);
                good = good && tx && who.prepare(*tx, now());
                if (!good) { return; }
                message = *who.request_message(*tx);
                good = tx->commit().has_value();
            }
            auto const answer = serve(cloud, a, "bench", message, now());
            auto tx = at.begin(access_mode::write);
            auto const report = answer ? who.absorb(*tx, *answer, now(), random) : result<exchange_report>{errc::busy};
            good = good && report && tx->commit();
            more = good && report->more;
            wire += message.size() + (answer ? answer->size() : 0);
        }
    }
    void edit(memory_storage& at, replica const& who, std::size_t i, std::int64_t value) {
        ticks += 1'000;
        field_op op{"seat", op_kind::set, {}, {}};
        cbor_writer{op.value}.integer(value);
        auto tx = at.begin(access_mode::write);
        good = good && tx && who.update(*tx, {"guests", name(i)}, {op}, now()) && tx->commit();
    }
};

/// Filled once: the harness runs each case several times.
grown& grown_to(std::size_t n) {
    static std::size_t held = 0;
    static std::unique_ptr<grown> one;
    if (one == nullptr || held != n) {
        one.reset();
        one = std::make_unique<grown>(n);
        held = n;
    }
    return *one;
}

void grow_nothing_new(benchmark::State& state) {
    grown& g = grown_to(static_cast<std::size_t>(state.range(0)));
    g.wire = 0;
    for (auto _ : state) { g.exchange(g.store, g.r, g.dice); }
    if (!g.good) { state.SkipWithError("an exchange failed"); }
    state.counters["wire_bytes"] = static_cast<double>(g.wire) / static_cast<double>(state.iterations());
}
void grow_edit(benchmark::State& state) {
    auto const n = static_cast<std::size_t>(state.range(0));
    grown& g = grown_to(n);
    g.wire = 0;
    static std::int64_t value = 0;
    for (auto _ : state) {
        g.edit(g.store, g.r, static_cast<std::size_t>(g.dice() % n), 1'000 + value++);
        g.exchange(g.store, g.r, g.dice);
    }
    if (!g.good) { state.SkipWithError("an exchange failed"); }
    state.counters["wire_bytes"] = static_cast<double>(g.wire) / static_cast<double>(state.iterations());
}
/// So many devices with 1,000 records each; each time another edits, and exchanges.
struct fleet {
    struct device {
        memory_storage store{};
        replica r{{}, wide()};
        syncline::random_generator dice;
        explicit device(std::size_t n) : dice(100 + n) {}
    };
    grown home{1'000};
    std::vector<std::unique_ptr<device>> all{};
    std::int64_t edits = 0;

    explicit fleet(std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) {
            device& d = *all.emplace_back(std::make_unique<device>(i));
            home.join(d.store, d.r, d.dice);
        }
    }
};
void grow_devices(benchmark::State& state) {
    auto const n = static_cast<std::size_t>(state.range(0));
    static std::unique_ptr<fleet> one;
    if (one == nullptr || one->all.size() != n) {
        one.reset();
        one = std::make_unique<fleet>(n);
    }
    grown& g = one->home;
    for (auto _ : state) {
        fleet::device& d = *one->all[static_cast<std::size_t>(one->edits) % n];
        state.PauseTiming();
        g.exchange(d.store, d.r, d.dice);  // what the others did meanwhile
        g.wire = 0;
        state.ResumeTiming();
        g.edit(d.store, d.r, static_cast<std::size_t>(g.dice() % 1'000), 1'000 + one->edits++);
        g.exchange(d.store, d.r, d.dice);
    }
    if (!g.good) { state.SkipWithError("an exchange failed"); }
    state.counters["wire_bytes"] = static_cast<double>(g.wire);
}
// A size at a time: a million records are filled once.
BENCHMARK(grow_nothing_new)->Name("replica/growth/nothing_new")->Arg(1'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(grow_edit)->Name("replica/growth/edit")->Arg(1'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(grow_nothing_new)->Name("replica/growth/nothing_new")->Arg(100'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(grow_edit)->Name("replica/growth/edit")->Arg(100'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(grow_nothing_new)->Name("replica/growth/nothing_new")->Arg(1'000'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(grow_edit)->Name("replica/growth/edit")->Arg(1'000'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(grow_devices)->Name("replica/growth/devices")->Arg(10)->Arg(100)->Arg(1'000)->Unit(benchmark::kMicrosecond);

}  // namespace
