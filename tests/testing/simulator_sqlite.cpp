// SPDX-License-Identifier: BSL-1.0
// The whole simulated world over SQLite: every device and the authority on a disk that keeps what SQLite synced.
#include <syncline/testing/simulator.hpp>

#include <cstdint>
#include <memory>
#include <utility>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/testing/sqlite_power_loss.hpp>

#include "support/catch.hpp"

using namespace syncline;
using namespace syncline::testing;

namespace {

/// A disk in memory with an SQLite file on it.
class sqlite_medium {
public:
    using storage_type = sqlite_storage;

    /// `careless`: somebody switched synchronisation off on the connection, after the adapter had looked.
    explicit sqlite_medium(durability promise, bool careless = false)
        : how_{.busy_timeout = milliseconds{0},
               .synchronous = promise == durability::full ? sqlite_synchronous::full : sqlite_synchronous::normal},
          careless_(careless) {}

    std::unique_ptr<sqlite_storage> open() {
        how_.vfs = disk_->vfs();
        auto s = sqlite_storage::open("store.db", how_);
        REQUIRE(s);
        if (careless_) {
            REQUIRE(sqlite3_exec(s->connection(), "PRAGMA synchronous = OFF", nullptr, nullptr, nullptr) == SQLITE_OK);
        }
        return std::make_unique<sqlite_storage>(std::move(*s));
    }
    void power_cut(random_generator& random) {
        disk_ = std::make_unique<sqlite_disk>(disk_->options(), disk_->survivors(disk_->steps(), random()));
    }

private:
    sqlite_options how_;
    bool careless_;
    std::unique_ptr<sqlite_disk> disk_ = std::make_unique<sqlite_disk>();
};
static_assert(simulated_medium<sqlite_medium>);

struct sqlite_setup : simulated_setup {
    using medium = sqlite_medium;
    [[nodiscard]] std::unique_ptr<medium> make(durability promise, disk_lie) {
        return std::make_unique<medium>(promise);
    }
};
struct careless_setup : sqlite_setup {
    [[nodiscard]] std::unique_ptr<medium> make(durability promise, disk_lie) {
        return std::make_unique<medium>(promise, true);
    }
};

}  // namespace

TEST_CASE("simulator: worlds over SQLite are as they should be", "[testing][property]") {
    std::uint64_t cuts = 0;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        simulation_options o;
        o.steps = 1'000;
        auto const r = simulate<sqlite_setup>(seed, o);
        INFO("seed " << seed << ": " << (r.found.empty() ? "" : r.found[0].axiom + ": " + r.found[0].what));
        REQUIRE(r.found.empty());
        cuts += r.faults[static_cast<std::size_t>(sim_fault::power_cut)];
    }
    REQUIRE(cuts != 0);
}

TEST_CASE("simulator: SQLite without synchronisation is found out", "[testing]") {
    bool found = false;
    for (std::uint64_t seed = 1; seed <= 40 && !found; ++seed) {
        simulation_options o;
        o.steps = 1'000;
        found = !simulate<careless_setup>(seed, o).found.empty();
    }
    REQUIRE(found);
}
