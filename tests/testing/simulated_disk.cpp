// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <set>
#include <string>

#include <syncline/testing/oracles.hpp>
#include <syncline/testing/simulated_disk.hpp>
#include <syncline/testing/watched_storage.hpp>

using namespace syncline;
using namespace syncline::testing;

namespace {

bytes text(std::string_view s) { return to_bytes(as_bytes(s)); }

/// Commits `n` values under keys that rise, two keys each.
template <class S>
void commit(S& store, int n) {
    auto tx = store.begin(access_mode::write);
    REQUIRE(tx);
    for (char const* half : {"a", "b"}) { REQUIRE(tx->put(text(std::to_string(n) + half), text("v"))); }
    REQUIRE(tx->commit());
}
std::size_t left(simulated_disk& disk) { return image_of(*disk.open()).size(); }

struct watcher final : storage_watcher {
    std::vector<storage_write> heard;
    std::size_t commits = 0;
    std::size_t syncs = 0;
    void committed(std::vector<storage_write> const& writes) override {
        heard.insert(heard.end(), writes.begin(), writes.end());
        ++commits;
    }
    void synced() override { ++syncs; }
};

}  // namespace

TEST_CASE(
    "a disk that promises full durability loses nothing to a power cut, an ordered one a tail since the barrier") {
    std::set<std::size_t> seen;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        random_generator random{seed};
        simulated_disk full{durability::full};
        simulated_disk ordered{durability::ordered};
        for (simulated_disk* disk : {&full, &ordered}) {
            auto store = disk->open();
            commit(*store, 1);
            commit(*store, 2);
            REQUIRE(store->barrier());
            commit(*store, 3);
            commit(*store, 4);
        }
        full.power_cut(random);
        CHECK(left(full) == 8);
        ordered.power_cut(random);
        std::size_t const n = left(ordered);
        CHECK((n == 4 || n == 6 || n == 8));  // whole commits, in order
        seen.insert(n);
        ordered.power_cut(random);
        CHECK(left(ordered) == n);  // what survived is on the medium
    }
    CHECK(seen.size() == 3);
}

TEST_CASE("disks that lie do what they are made for") {
    bool forgot = false;
    bool torn = false;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        random_generator random{seed};
        simulated_disk forgetful{durability::full, disk_lie::forgets_synced};
        commit(*forgetful.open(), 1);
        REQUIRE(forgetful.open()->barrier());
        forgetful.power_cut(random);
        forgot = forgot || left(forgetful) == 0;
        simulated_disk tearing{durability::ordered, disk_lie::tears_commits};
        commit(*tearing.open(), 1);
        tearing.power_cut(random);
        torn = torn || left(tearing) == 1;
    }
    CHECK(forgot);
    CHECK(torn);
}

TEST_CASE("a watched storage tells what was committed, and nothing else") {
    simulated_disk disk{durability::ordered};
    auto inner = disk.open();
    watcher w;
    watched_storage store{*inner, w};
    {
        auto tx = store.begin(access_mode::write);
        REQUIRE(tx->put(text("gone"), text("1")));
    }
    CHECK(w.commits == 0);
    auto tx = store.begin(access_mode::write);
    REQUIRE(tx->put(text("k"), text("1")));
    CHECK_FALSE(tx->put({}, text("no key")));
    REQUIRE(tx->erase(text("other")));
    REQUIRE(tx->commit());
    CHECK(w.heard == std::vector<storage_write>{{text("k"), text("1")}, {text("other"), {}}});
    CHECK(w.syncs == 0);
    REQUIRE(store.barrier());
    CHECK(w.syncs == 1);
    {
        auto nothing = store.begin(access_mode::write);
        REQUIRE(nothing->commit());
    }
    CHECK(w.commits == 1);
}
