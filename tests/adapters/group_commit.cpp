// SPDX-License-Identifier: BSL-1.0
#include <syncline/adapters/group_commit.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <syncline/adapters/http_client.hpp>

#include "replica/world.hpp"
#include "support/catch.hpp"

using namespace syncline;
using namespace world;

namespace {

/// Counts commits, and is slow at them, as a disk is.
struct slow_store {
    memory_storage inner{};
    std::size_t commits = 0;
    milliseconds each{0};
    std::size_t failing = 0;  ///< so many commits fail from now on

    class transaction {
    public:
        transaction(memory_storage::transaction of, slow_store& store) : of_(std::move(of)), store_(&store) {}
        result<bool> get(bytes_view k, bytes& out) { return of_.get(k, out); }
        status put(bytes_view k, bytes_view v) { return of_.put(k, v); }
        status erase(bytes_view k) { return of_.erase(k); }
        status scan(key_range range, scan_visitor visit) { return of_.scan(range, visit); }
        status commit() {
            ++store_->commits;
            std::this_thread::sleep_for(store_->each);
            if (store_->failing != 0) {
                --store_->failing;
                return errc::storage_full;
            }
            return of_.commit();
        }

    private:
        memory_storage::transaction of_;
        slow_store* store_;
    };

    result<transaction> begin(access_mode mode) {
        auto tx = inner.begin(mode);
        if (!tx) { return tx.error(); }
        return transaction{std::move(*tx), *this};
    }
    status barrier() { return inner.barrier(); }
    durability commit_durability() const { return inner.commit_durability(); }
    std::size_t value_bytes_max() const { return inner.value_bytes_max(); }
};
static_assert(storage<slow_store>);

struct slow_house {
    slow_store store{};
    authority<> self{rules()};

    slow_house() {
        random_generator dice{7};
        auto tx = store.begin(access_mode::write);
        REQUIRE(tx);
        REQUIRE(self.open(*tx, virtual_clock{}.now, dice));
        REQUIRE(tx->commit());
        store.commits = 0;
    }
    std::size_t records() {
        std::size_t n = 0;
        auto tx = store.begin(access_mode::read);
        REQUIRE(tx);
        REQUIRE(self.scan(*tx, [&](record_key const&, row const&) { return ++n != 0; }));
        return n;
    }
};

/// Each with a write of its own that waits.
std::vector<std::unique_ptr<device>> writers(std::size_t count) {
    std::vector<std::unique_ptr<device>> all;
    for (std::size_t i = 0; i < count; ++i) {
        all.push_back(std::make_unique<device>(100 + 10 * i));
        auto& d = *all.back();
        REQUIRE(open(d, virtual_clock{}.now));
        REQUIRE(d.write([&](auto& tx) {
            return d.self.put(tx, {std::string{"things"}, std::string_view{std::to_string(i)}},
                              fields({{"name", static_cast<std::int64_t>(i)}}), virtual_clock{}.now);
        }));
    }
    return all;
}

}  // namespace

TEST_CASE("several requests are answered with one commit, each as alone", "[group_commit]") {
    instant const now = virtual_clock{}.now;
    slow_house h;
    auto all = writers(3);
    std::vector<bytes> messages;
    for (auto& d : all) { messages.push_back(request_of(*d, now)); }
    std::vector<asked_request> asked;
    for (bytes const& m : messages) { asked.push_back({"anna", m}); }

    SECTION("all is well") {
        auto const answers = serve_all(h.store, h.self, asked, now);
        REQUIRE(answers.size() == 3);
        CHECK(h.store.commits == 1);
        for (std::size_t i = 0; i < 3; ++i) {
            REQUIRE(answers[i]);
            auto const report = absorb(*all[i], *answers[i], now);
            REQUIRE(report);
            CHECK(report->verdicts == 1);
        }
    }
    SECTION("one is nonsense: the others don't pay for it") {
        asked.insert(asked.begin() + 1, {"anna", as_bytes("nonsense")});
        auto const answers = serve_all(h.store, h.self, asked, now);
        REQUIRE(answers.size() == 4);
        REQUIRE_FALSE(answers[1]);
        CHECK(answers[1].error() == serve(h.store, h.self, "anna", as_bytes("nonsense"), now).error().code);
        CHECK((answers[0] && answers[2] && answers[3]));
        CHECK(h.store.commits == 1);
    }
    SECTION("most are nonsense: those that are not are still answered") {
        std::vector<asked_request> const good = std::exchange(asked, {});
        for (asked_request const& one : good) {
            asked.push_back(one);
            for (int i = 0; i < 20; ++i) { asked.push_back({"anna", as_bytes("nonsense")}); }
        }
        auto const answers = serve_all(h.store, h.self, asked, now);
        REQUIRE(answers.size() == 63);
        for (std::size_t i = 0; i < answers.size(); ++i) { CHECK(answers[i].has_value() == (i % 21 == 0)); }
        CHECK(h.store.commits == 1);
    }
    SECTION("the commit fails: each by itself, and nothing counts twice") {
        h.store.failing = 2;
        auto const answers = serve_all(h.store, h.self, asked, now);
        REQUIRE(answers.size() == 3);
        CHECK(answers[0].error() == errc::storage_full);
        CHECK((answers[1] && answers[2]));
        CHECK(h.records() == 2);
        CHECK(serve_all(h.store, h.self, asked, now)[0]);  // asked again
    }
    CHECK(h.records() == 3);
    auto const none = serve_all(h.store, h.self, std::vector<asked_request>{}, now);
    CHECK(none.empty());
}

TEST_CASE("an HTTP server gathers what comes while it commits", "[group_commit][threads]") {
    instant const now = virtual_clock{}.now;
    slow_house h;
    h.store.each = milliseconds{30};
    std::size_t told = 0;
    group_commit handler(
        h.store, h.self, [&] { return now; }, [&] { ++told; });
    http_server server({}, handler);
    struct {
        result<std::string> operator()(std::string_view) const { return std::string{"anna"}; }
    } who;
    server.authorise_by(who);
    handler.attach(server);
    REQUIRE(server.listen());
    std::thread serving([&] { server.run(); });
    auto all = writers(12);
    std::vector<std::size_t> verdicts(all.size());
    std::vector<std::thread> devices;
    for (std::size_t i = 0; i < all.size(); ++i) {
        devices.emplace_back([&, i] {
            http_transport way({.host = "127.0.0.1", .port = server.port()});
            auto const done = drive(
                all[i]->link, all[i]->store, way, [&] { return now; }, [](event const&) {});
            verdicts[i] = done && !done->failed ? done->verdicts : 0;
        });
    }
    for (std::thread& t : devices) { t.join(); }
    server.stop();
    serving.join();
    for (std::size_t const n : verdicts) { CHECK(n == 1); }
    CHECK(h.records() == 12);
    CHECK(told == h.store.commits);
    CHECK(h.store.commits < 12);
}
