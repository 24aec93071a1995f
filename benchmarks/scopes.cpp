// SPDX-License-Identifier: BSL-1.0

/// Scopes in memory, over 100,000 records of about 200 bytes in 1,000 places: an exchange that brings nothing, with 10, 100 and
/// 1,000 scopes, where nothing changed at all and where something did elsewhere; 1,000 devices of 10 scopes each after
/// one change; a scope of all records joined, and left. Both ends' time.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/memory.hpp>

namespace {

using namespace syncline;

constexpr std::size_t records = 100'000;
constexpr std::size_t places = 1'000;
constexpr instant the_time{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1}}};

scope place(std::size_t n) {
    scope s{"place", {}};
    cbor_writer{s.parameter}.unsigned_integer(n);
    return s;
}
bytes fields_of(std::size_t n) {
    bytes out;
    cbor_writer w{out};
    w.map(3);
    w.text("name");
    w.text("the guest of the number " + std::to_string(n));
    w.text("note");
    w.text(std::string(130, 'n'));
    w.text("place");
    w.unsigned_integer(n % places);
    return out;
}

/// The authority, and who writes to it.
struct house {
    scope_table table;
    memory_storage store{};
    authority<> self;
    std::uint64_t sequence = 0;

    static scope_table rules() {
        scope_rule by_place;
        by_place.name = "place";
        by_place.by = "place";
        scope_rule all;
        all.name = "all";
        role_source const roles{
            [](std::string_view principal, std::string_view, void const*) { return principal == "root"; }};
        return scope_table{{by_place, all}, roles, "writer"};
    }
    static authority_options with(scope_table const& t) {
        authority_options o;
        o.scopes = &t;
        return o;
    }
    house() : table(rules()), self({}, with(table)) {
        syncline::random_generator dice{1};
        auto tx = store.begin(access_mode::write);
        if (self.open(*tx, the_time, dice)) { (void)tx->commit(); }
        for (std::size_t n = 0; n < records; n += 1'000) { write(n, 1'000, change_kind::create); }
    }
    bool write(std::size_t first, std::size_t count, change_kind kind) {
        request q;
        q.replica = {id128{{std::byte{1}}}, 1};
        q.receipts = sequence;
        q.rows_max = 0;
        for (std::size_t n = first; n < first + count; ++n) {
            mutation m;
            m.sequence = ++sequence;
            m.stamp = timestamp::make(the_time.wall);
            m.kind = kind;
            m.record = {"guests", "guest-" + std::to_string(n)};
            bytes value;
            if (kind == change_kind::create) {
                bytes const fields = fields_of(n);
                cbor_map_cursor at{fields};
                while (at.next()) {
                    m.ops.push_back({std::string{at.key()}, op_kind::set, to_bytes(at.value()), m.stamp});
                }
            } else {
                cbor_writer{value}.text("another note");
                m.ops = {{"note", op_kind::set, value, m.stamp}};
            }
            bytes raw;
            cbor_writer w{raw};
            encode_mutation(w, m);
            q.mutations.push_back(std::move(raw));
        }
        return serve(store, self, "root", encode(q), the_time).has_value();
    }
};
house& the_house() {
    static house h;
    return h;
}

struct guest {
    memory_storage store{};
    replica self;
    syncline::random_generator dice;
    std::size_t asked = 0;   ///< bytes of the last request
    std::size_t told = 0;    ///< … and reply
    std::size_t rounds = 0;  ///< exchanges

    static replica_options scoped() {
        replica_options o;
        o.scoped = true;
        return o;
    }
    explicit guest(std::uint64_t seed) : self({}, scoped()), dice(seed) {
        auto tx = store.begin(access_mode::write);
        if (self.open(*tx, "anna", the_time, dice)) { (void)tx->commit(); }
    }
    template <class F>
    bool change(F f) {
        auto tx = store.begin(access_mode::write);
        return f(*tx).has_value() && tx->commit().has_value();
    }
    /// One exchange; whether there is more, or it failed.
    bool exchange() {
        ++rounds;
        bytes request;
        {
            auto tx = store.begin(access_mode::read);
            request = self.request_message(*tx).value_or(bytes{});
        }
        auto const reply = serve(the_house().store, the_house().self, "anna", request, the_time);
        if (!reply) { return true; }
        asked = request.size();
        told = reply->size();
        auto tx = store.begin(access_mode::write);
        auto const report = self.absorb(*tx, *reply, the_time, dice);
        return !report || !tx->commit() || report->more;
    }
    bool settle() {
        for (std::size_t i = 0; i < 1'000; ++i) {
            if (!exchange()) { return true; }
        }
        return false;
    }
    bool join(std::size_t first, std::size_t count) {
        for (std::size_t n = first; n < first + count; ++n) {
            if (!change([&](auto& tx) { return self.join(tx, place(n)); })) { return false; }
        }
        return settle();
    }
};

void nothing_new(benchmark::State& state, bool elsewhere) {
    auto const scopes = static_cast<std::size_t>(state.range(0));
    guest g{2};
    // Of the last places, so that what changes is in none of them.
    if (!g.join(places - scopes, scopes)) { return state.SkipWithError("it does not come to rest"); }
    bool well = true;
    for (auto _ : state) {
        if (elsewhere) {
            state.PauseTiming();
            well = well && the_house().write(0, 1, change_kind::update);
            state.ResumeTiming();
        }
        well = !g.exchange() && well;
    }
    if (!well) { state.SkipWithError("an exchange failed"); }
    state.counters["request"] = static_cast<double>(g.asked);
    state.counters["reply"] = static_cast<double>(g.told);
}
void idle(benchmark::State& state) { nothing_new(state, false); }
BENCHMARK(idle)->Name("scopes/nothing_new/ours")->Arg(10)->Arg(100)->Arg(1'000)->Unit(benchmark::kMicrosecond);
void elsewhere(benchmark::State& state) { nothing_new(state, true); }
BENCHMARK(elsewhere)->Name("scopes/new_elsewhere/ours")->Arg(10)->Arg(100)->Arg(900)->Unit(benchmark::kMicrosecond);

void fleet(benchmark::State& state) {
    std::vector<std::unique_ptr<guest>> all;
    for (std::size_t i = 0; i < 1'000; ++i) {
        all.push_back(std::make_unique<guest>(10 + i));
        if (!all.back()->join(i % (places - 10), 10)) { return state.SkipWithError("it does not come to rest"); }
    }
    bool well = true;
    for (auto _ : state) {
        well = the_house().write(5, 1, change_kind::update) && well;
        for (auto const& g : all) { well = !g->exchange() && well; }
    }
    if (!well) { state.SkipWithError("an exchange failed"); }
}
BENCHMARK(fleet)->Name("scopes/one_change/1000_devices/ours")->Unit(benchmark::kMillisecond)->Iterations(5);

void join_and_leave(benchmark::State& state) {
    guest g{3};
    scope const all{"all", {}};
    bool const leaves = state.range(0) == 1;
    for (auto _ : state) {
        if (leaves) { state.PauseTiming(); }
        g.rounds = 0;
        bool well = g.change([&](auto& tx) { return g.self.join(tx, all); }) && g.settle();
        state.counters["exchanges"] = static_cast<double>(g.rounds);
        if (leaves) {
            state.ResumeTiming();
        } else {
            state.PauseTiming();
        }
        well = g.change([&](auto& tx) { return g.self.leave(tx, all); }) && well;
        for (bool more = true; more && well;) {
            well = g.change([&](auto& tx) {
                auto const step = g.self.evict(tx, 1'000);
                more = step && *step;
                return step;
            });
        }
        if (!leaves) { state.ResumeTiming(); }
        if (!well) { return state.SkipWithError("it does not come to rest"); }
    }
}
BENCHMARK(join_and_leave)->Name("scopes/join_100000/ours")->Arg(0)->Unit(benchmark::kMillisecond)->Iterations(3);
BENCHMARK(join_and_leave)->Name("scopes/leave_100000/ours")->Arg(1)->Unit(benchmark::kMillisecond)->Iterations(3);

}  // namespace
