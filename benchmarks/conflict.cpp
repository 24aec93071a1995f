// SPDX-License-Identifier: BSL-1.0

/// What a suggestion costs, beside what it is at least made of; and what the queue costs over memory.

#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <syncline/conflict.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/value.hpp>
#include <syncline/storage/memory.hpp>

namespace {

using namespace syncline;

/// A conflict over two fields of a record of ten.
conflict clash(std::uint64_t n) {
    std::vector<value_entry> all;
    for (int i = 0; i < 8; ++i) { all.push_back({"field" + std::to_string(i), "some text of a usual length"}); }
    auto const with = [&](value table, value notes) {
        auto entries = all;
        entries.push_back({"table", std::move(table)});
        entries.push_back({"notes", std::move(notes)});
        return to_bytes(value::map(entries)->encoded());
    };
    conflict c;
    c.record = {"bookings", "b" + std::to_string(n % 1000)};
    c.local.sequence = n;
    c.local.stamp = timestamp::make(wall_time{milliseconds{1'790'000'000'000}});
    c.local.record = c.record;
    c.local.base = 4;
    c.local.ops = {{"notes", op_kind::set, to_bytes(value{"window 4; nuts; cake at nine"}.encoded()), c.local.stamp},
                   {"table", op_kind::set, to_bytes(value{"garden"}.encoded()), c.local.stamp}};
    c.base = with("hall", "window 4; nuts");
    c.remote.emplace();
    c.remote->version = 9;
    c.remote->floor = {9, timestamp::make(wall_time{milliseconds{1'790'000'600'000}}), 2};
    c.remote->fields = with("terrace", "window 4; nuts; a pram");
    c.fields = {{{"notes"}, rule::manual, "", 4, 9, {}}, {{"table"}, rule::manual, "", 4, 9, {}}};
    c.local_by = {to_bytes("ann"), c.local.stamp, 1};
    c.remote_by = {to_bytes("ben"), c.remote->floor.stamp, 2};
    return c;
}
learned_suggester taught() {
    learned_suggester m;
    random_generator g(1);
    for (std::uint64_t i = 0; i < 500; ++i) {
        conflict c = clash(i);
        c.local_by.role = static_cast<std::uint8_t>(below(g, 3));
        auto const q = conflict_questions::of(c, as_bytes("ann"));
        for (auto const& one : q->all()) { m.learn(one, static_cast<conflict_action>(1 + below(g, 3))); }
    }
    return m;
}

void suggest_learned(benchmark::State& state) {
    learned_suggester const m = taught();
    conflict const c = clash(1);
    auto const q = conflict_questions::of(c, as_bytes("ann"));
    std::size_t i = 0;
    for (auto _ : state) { benchmark::DoNotOptimize(m.suggest(q->all()[i++ % 2])); }
}
BENCHMARK(suggest_learned)->Name("conflict/suggest/ours, learned");

void suggest_heuristics(benchmark::State& state) {
    conflict const c = clash(1);
    auto const q = conflict_questions::of(c, as_bytes("ann"));
    std::size_t i = 0;
    for (auto _ : state) { benchmark::DoNotOptimize(heuristics{}.suggest(q->all()[i++ % 2])); }
}
BENCHMARK(suggest_heuristics)->Name("conflict/suggest/ours, heuristics");

/// A logistic regression over as many features in doubles, without hashing or signals: what a suggestion costs at least.
void suggest_floor(benchmark::State& state) {
    std::vector<double> weights(45, 0.1);
    std::vector<double> values(45, 0.5);
    for (auto _ : state) {
        benchmark::DoNotOptimize(values.data());
        double sum = 0;
        for (std::size_t i = 0; i < weights.size(); ++i) { sum += weights[i] * values[i]; }
        benchmark::DoNotOptimize(1 / (1 + __builtin_exp(-sum)));
    }
}
BENCHMARK(suggest_floor)->Name("conflict/suggest/45 doubles");

/// From a stored conflict to suggestions for both of its fields: decoding, questions, preferences, model.
void suggest_whole(benchmark::State& state) {
    learned_suggester const m = taught();
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    conflict_queue const queue;
    (void)queue.raise(*tx, clash(1), wall_time{});
    for (auto _ : state) {
        auto const c = queue.find(*tx, 1);
        benchmark::DoNotOptimize(suggest_all(*tx, *c, m, as_bytes("ann"), {}));
    }
}
BENCHMARK(suggest_whole)->Name("conflict/suggest_stored_conflict_of_two/ours");

void learn(benchmark::State& state) {
    learned_suggester m = taught();
    conflict const c = clash(1);
    auto const q = conflict_questions::of(c, as_bytes("ann"));
    std::size_t i = 0;
    for (auto _ : state) {
        m.learn(q->all()[i % 2], i % 3 == 0 ? conflict_action::remote : conflict_action::local);
        ++i;
    }
}
BENCHMARK(learn)->Name("conflict/learn/ours");

void save_and_load(benchmark::State& state) {
    learned_suggester const m = taught();
    for (auto _ : state) {
        bytes const raw = m.to_bytes();
        benchmark::DoNotOptimize(learned_suggester::from_bytes(raw));
    }
    state.counters["bytes"] = static_cast<double>(m.to_bytes().size());
}
BENCHMARK(save_and_load)->Name("conflict/model_to_bytes_and_back/ours");

void preview(benchmark::State& state) {
    conflict const c = clash(1);
    collection_rules const rules{"bookings", rule::last_writer, {{"notes", rule::manual}, {"table", rule::manual}}};
    for (auto _ : state) { benchmark::DoNotOptimize(settle(c, resolution::use_local(), rules, timestamp{1}, 1)); }
}
BENCHMARK(preview)->Name("conflict/preview/ours");

/// The merge that found the conflict: what a preview may be measured by.
void preview_floor(benchmark::State& state) {
    conflict const c = clash(1);
    collection_rules const rules{"bookings", rule::last_writer, {{"notes", rule::manual}, {"table", rule::manual}}};
    auto const mine = local_fields(c);
    for (auto _ : state) { benchmark::DoNotOptimize(three_way(c.base, *mine, c.remote->fields, rules)); }
}
BENCHMARK(preview_floor)->Name("conflict/preview/three_way");

void raise_resolve(benchmark::State& state) {
    memory_storage store;
    conflict_queue const queue;
    collection_rules const rules{"bookings", rule::last_writer, {{"notes", rule::manual}, {"table", rule::manual}}};
    std::uint64_t n = 0;
    auto tx = store.begin(access_mode::write);
    for (auto _ : state) {
        auto const id = queue.raise(*tx, clash(++n), wall_time{});
        benchmark::DoNotOptimize(queue.resolve(*tx, *id, 1, resolution::use_local(), rules, {}));
        if (n % 1000 == 0) { benchmark::DoNotOptimize(queue.forget(*tx, wall_time{milliseconds{1}}, 1000)); }
    }
}
BENCHMARK(raise_resolve)->Name("conflict/raise_resolve_forget/ours");

}  // namespace
