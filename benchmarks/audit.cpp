// SPDX-License-Identifier: BSL-1.0

/// What an entry of the audit log costs beside what it can't cost less than: the hashes and the puts alone. The
/// reference replays what a run of ours hashed and put, byte for byte, in the same transactions, and does nothing else:
/// it encodes nothing, reads nothing, keeps no state. `rfc_only` leaves out the salts and commitments too: of the hashes
/// it has those that RFC 9162 asks for, a leaf's and its share of the nodes. And proofs over a million entries.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include <syncline/adapters/openssl_hash.hpp>
#include <syncline/adapters/sqlite.hpp>
#include <syncline/audit/log.hpp>
#include <syncline/storage/memory.hpp>

#include "database_file.hpp"

namespace {

using namespace syncline;

constexpr std::size_t entries = 2'048;

/// A fresh store of each kind.
struct in_memory {
    memory_storage storage{};
    [[nodiscard]] bool good() const { return true; }
    memory_storage& store() { return storage; }
};
struct in_sqlite {
    database_file file{};
    result<sqlite_storage> storage = sqlite_storage::open(file.path(), options());
    [[nodiscard]] bool good() const { return storage.has_value(); }
    sqlite_storage& store() { return *storage; }
    static sqlite_options options() {
        sqlite_options o;
        o.synchronous = sqlite_synchronous::normal;
        return o;
    }
};

/// The entries: verdicts about one of a thousand records, with two public fields; or the same with the record's id and
/// both fields masked.
class workload {
public:
    explicit workload(bool masked) : masked_(masked) {
        cbor_writer{name_}.text("Table 12, by the window");
        cbor_writer{seats_}.unsigned_integer(4);
        fields_[0] = {"name", name_};
        fields_[1] = {"seats", seats_};
        for (std::size_t i = 0; i < 1'000; ++i) { records_.push_back("booking/" + std::to_string(i * 7'919)); }
    }
    [[nodiscard]] audit_item item(std::size_t i) const {
        audit_item a;
        a.kind = audit_kind::verdict;
        a.stamp = {1'790'000'000'000'000 + i};
        a.device.device.bytes[15] = std::byte{1};
        a.actor = as_bytes("account/4711");
        a.sequence = i;
        a.code = 1;
        a.collection = "bookings";
        if (masked_) {
            a.record = as_bytes(records_[i % records_.size()]);
            a.masked = fields_;
        } else {
            a.open = fields_;
        }
        return a;
    }

private:
    bool masked_;
    bytes name_;
    bytes seats_;
    std::array<audit_field, 2> fields_{};
    std::vector<std::string> records_;
};

/// What a run hashed and put, transaction by transaction.
struct recording {
    struct transaction {
        std::vector<bytes> hashed;
        std::vector<std::pair<bytes, bytes>> puts;
    };
    std::vector<transaction> all{};
};
struct recording_hash {
    recording* to;
    sha256_digest operator()(bytes_view b) const noexcept {
        if (!to->all.empty()) { to->all.back().hashed.push_back(to_bytes(b)); }
        return sha256(b);
    }
};
struct recording_transaction {
    memory_storage::transaction* tx;
    recording* to;
    result<bool> get(bytes_view k, bytes& out) { return tx->get(k, out); }
    status put(bytes_view k, bytes_view v) {
        to->all.back().puts.emplace_back(to_bytes(k), to_bytes(v));
        return tx->put(k, v);
    }
    status erase(bytes_view k) { return tx->erase(k); }
    status scan(key_range r, scan_visitor v) { return tx->scan(r, v); }
};

template <class Log, class Tx>
bool append_some(Log const& log, Tx& tx, workload const& work, std::size_t first, std::size_t count,
                 std::vector<audit_item>& items, random_generator& random) {
    items.clear();
    for (std::size_t i = 0; i < count; ++i) { items.push_back(work.item(first + i)); }
    return log.append_all(tx, items, random).has_value();
}

recording record(bool masked, std::size_t batch) {
    recording out;
    workload const work{masked};
    memory_storage store;
    audit_log<recording_hash> const log({}, "a", recording_hash{&out});
    random_generator random{1};
    std::vector<audit_item> items;
    auto tx = store.begin(access_mode::write);
    (void)log.open(*tx, {}, random);
    for (std::size_t at = 0; at < entries; at += batch) {
        out.all.emplace_back();
        recording_transaction r{&*tx, &out};
        (void)append_some(log, r, work, at, batch, items, random);
    }
    return out;
}

/// Only so much of it is measured as each entry needs: making the store is not.
template <class Scene, class F>
void measure(benchmark::State& state, F&& run) {
    bool good = true;
    for (auto _ : state) {
        state.PauseTiming();
        auto scene = std::make_unique<Scene>();
        good = good && scene->good();
        state.ResumeTiming();
        good = good && run(scene->store());
        state.PauseTiming();
        scene.reset();
        state.ResumeTiming();
    }
    if (!good) { state.SkipWithError("the log did not do what it was asked for"); }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(entries));
}

template <class Scene, class H>
void ours(benchmark::State& state, bool masked, std::size_t batch, H const& hash) {
    workload const work{masked};
    audit_log<H> const log({}, "a", hash);
    std::vector<audit_item> items;
    measure<Scene>(state, [&](auto& store) {
        random_generator random{1};
        for (std::size_t at = 0; at < entries; at += batch) {
            auto tx = store.begin(access_mode::write);
            if (!tx || (at == 0 && !log.open(*tx, {}, random))) { return false; }
            if (!append_some(log, *tx, work, at, batch, items, random) || !tx->commit()) { return false; }
        }
        return true;
    });
}
template <class Scene, class H>
void reference(benchmark::State& state, bool masked, std::size_t batch, bool rfc_only, H const& hash) {
    recording const run = record(masked, batch);
    measure<Scene>(state, [&](auto& store) {
        for (auto const& t : run.all) {
            auto tx = store.begin(access_mode::write);
            if (!tx) { return false; }
            for (bytes const& b : t.hashed) {
                if (rfc_only && std::to_integer<unsigned>(b[0]) > 1) { continue; }
                benchmark::DoNotOptimize(hash(b));
            }
            for (auto const& [k, v] : t.puts) {
                if (!tx->put(k, v)) { return false; }
            }
            if (!tx->commit()) { return false; }
        }
        return true;
    });
}

template <class Scene>
void add(std::string const& where, std::string const& label) {
    for (bool const masked : {false, true}) {
        for (std::size_t const batch : {1U, 16U, 256U}) {
            std::string const name =
                "audit/append/" + std::string(masked ? "masked/" : "open/") + where + "/" + std::to_string(batch) + "/";
            auto const named = [&](char const* who, auto run) {
                benchmark::RegisterBenchmark((name + who).c_str(), [run, label](benchmark::State& s) {
                    run(s);
                    s.SetLabel(label);
                })->Unit(benchmark::kMicrosecond);
            };
            named("ours", [=](benchmark::State& s) { ours<Scene>(s, masked, batch, sha256_function{}); });
            named("reference",
                  [=](benchmark::State& s) { reference<Scene>(s, masked, batch, false, sha256_function{}); });
            if (masked) {
                named("rfc_only",
                      [=](benchmark::State& s) { reference<Scene>(s, masked, batch, true, sha256_function{}); });
            }
            named("ours_openssl", [=](benchmark::State& s) { ours<Scene>(s, masked, batch, *openssl_sha256::make()); });
            benchmark::RegisterBenchmark(("audit/append/" + std::string(masked ? "masked/" : "open/") + where + "/" +
                                          std::to_string(batch) + "/openssl/reference")
                                             .c_str(),
                                         [=](benchmark::State& s) {
                                             reference<Scene>(s, masked, batch, false, *openssl_sha256::make());
                                             s.SetLabel(label);
                                         })
                ->Unit(benchmark::kMicrosecond);
        }
    }
}

// ---- Proofs ----------------------------------------------------------------------------------------------------

/// A log of so many entries, made once. The greatest size below a power of two is the dearest: everything at its right
/// edge is unfinished.
template <class Scene>
struct large {
    Scene scene{};
    std::uint64_t size = 0;
    audit_log<> log{};

    explicit large(std::uint64_t n) {
        auto const hash = openssl_sha256::make();
        if (!scene.good() || !hash) { return; }
        audit_log<openssl_sha256> const writer({}, "a", *hash);
        random_generator random{1};
        std::vector<audit_item> items(1'024);
        for (std::uint64_t at = 0; at < n;) {
            auto tx = scene.store().begin(access_mode::write);
            if (!tx || (at == 0 && !writer.open(*tx, {}, random))) { return; }
            std::size_t const count = static_cast<std::size_t>((std::min)(n - at, std::uint64_t{items.size()}));
            if (!writer.append_all(*tx, std::span<audit_item const>{items.data(), count}, random)) { return; }
            if (!tx->commit()) { return; }
            at += count;
        }
        size = n;
    }
    static large& of(std::uint64_t n) {
        static std::unique_ptr<large> one;
        if (one == nullptr || one->size != n) {
            one.reset();
            one = std::make_unique<large>(n);
        }
        return *one;
    }
};

template <class Scene>
void prove(benchmark::State& state, std::uint64_t n, bool consistency) {
    auto& l = large<Scene>::of(n);
    random_generator random{5};
    bool good = l.size == n;
    for (auto _ : state) {
        auto tx = l.scene.store().begin(access_mode::read);
        std::uint64_t const at = below(random, n);
        if (consistency) {
            auto const p = l.log.prove_consistency(*tx, at + 1);
            good = good && p;
        } else {
            auto const p = l.log.prove_inclusion(*tx, at);
            good = good && p && p->path.size() > 2;
        }
    }
    if (!good) { state.SkipWithError("no proof"); }
}
void verify_proof(benchmark::State& state) {
    auto& l = large<in_memory>::of(1'000'000);
    auto tx = l.scene.store().begin(access_mode::read);
    auto const p = l.log.prove_inclusion(*tx, 500'001);
    auto const head = l.log.head(*tx, {});
    auto const leaf = merkle_leaf(sha256_function{}, *l.log.leaf_data(*tx, 500'001));
    bool good = true;
    for (auto _ : state) { good = good && verify_inclusion(sha256_function{}, leaf, *p, head->root); }
    if (!good) { state.SkipWithError("the proof proves nothing"); }
}
void head(benchmark::State& state) {
    auto& l = large<in_memory>::of(1'000'000);
    for (auto _ : state) {
        auto tx = l.scene.store().begin(access_mode::read);
        benchmark::DoNotOptimize(l.log.head(*tx, {}));
    }
}
void verify_log(benchmark::State& state) {
    auto& l = large<in_memory>::of(1'000'000);
    bool good = true;
    for (auto _ : state) {
        auto tx = l.scene.store().begin(access_mode::read);
        auto const r = l.log.verify(*tx, {.first = 400'000, .last = 420'000, .whole = false});
        good = good && r && r->sound() && r->entries == 20'000;
    }
    if (!good) { state.SkipWithError("the log is not sound"); }
    state.SetItemsProcessed(state.iterations() * 20'000);
}

bool registered() {
    add<in_memory>("memory", "features=chain+commitments+tree;durability=none");
    add<in_sqlite>("sqlite", "features=chain+commitments+tree;durability=ordered");
    for (std::uint64_t const n : {std::uint64_t{1'000'000}, std::uint64_t{1'048'575}}) {
        std::string const size = std::to_string(n);
        for (bool const consistency : {false, true}) {
            std::string const what = consistency ? "audit/consistency/" : "audit/inclusion/";
            benchmark::RegisterBenchmark((what + "memory/" + size + "/ours").c_str(),
                                         [=](benchmark::State& s) { prove<in_memory>(s, n, consistency); });
            if (n != 1'000'000) { continue; }
            benchmark::RegisterBenchmark((what + "sqlite/" + size + "/ours").c_str(),
                                         [=](benchmark::State& s) { prove<in_sqlite>(s, n, consistency); });
        }
    }
    benchmark::RegisterBenchmark("audit/verify_inclusion/1000000/ours", verify_proof);
    benchmark::RegisterBenchmark("audit/head/memory/1000000/ours", head);
    benchmark::RegisterBenchmark("audit/verify_entries/memory/20000/ours", verify_log)->Unit(benchmark::kMillisecond);
    return true;
}
[[maybe_unused]] bool const at_start = registered();

}  // namespace
