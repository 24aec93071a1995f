// SPDX-License-Identifier: BSL-1.0
// What docs/certify_storage.md quotes.

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/process_harness.hpp>
#include <syncline/testing/sqlite_power_loss.hpp>
#include <syncline/testing/storage_conformance.hpp>

using namespace syncline;

namespace {

// region: store
/// Where the bytes go: what was written, and how much of it would be there after a power loss.
struct medium {
    std::vector<memory_snapshot> written{{}};
    std::size_t synced = 1;
};

/// What was synced is there, and of what was written after it as much as the seed says.
std::shared_ptr<medium> after_power_loss(medium before, std::uint64_t seed) {
    std::size_t const unsynced = before.written.size() - before.synced;
    before.written.resize(before.synced + static_cast<std::size_t>(seed % (unsynced + 1)));
    return std::make_shared<medium>(std::move(before));  // the old object may go on writing to the old one
}

/// Keeps everything in memory and writes it out at each commit. `Hasty`: it answers before the write has arrived.
template <bool Hasty>
class notes_storage {
public:
    class transaction : public memory_storage::transaction {
    public:
        transaction(memory_storage::transaction&& inner, notes_storage& owner)
            : memory_storage::transaction(std::move(inner)), owner_(&owner) {}
        status commit() {
            if (auto ok = memory_storage::transaction::commit(); !ok) { return ok; }
            owner_->medium_->written.push_back(owner_->memory_.snapshot());
            return Hasty ? status{} : owner_->barrier();
        }

    private:
        notes_storage* owner_;
    };

    explicit notes_storage(std::shared_ptr<medium> m) : medium_(std::move(m)) {
        memory_.restore(medium_->written.back());
    }
    result<transaction> begin(access_mode a) {
        auto tx = memory_.begin(a);
        if (!tx) { return tx.error(); }
        return transaction(std::move(*tx), *this);
    }
    status barrier() {
        medium_->synced = medium_->written.size();
        return {};
    }
    durability commit_durability() const { return durability::full; }  // what it says of itself
    std::size_t value_bytes_max() const { return memory_.value_bytes_max(); }

private:
    std::shared_ptr<medium> medium_;
    memory_storage memory_;
};
// endregion: store

template <class Storage>
std::string certify() {
    // region: certify
    std::shared_ptr<medium> disk;
    testing::storage_factory<Storage> factory;
    factory.reopen = [&] { return std::make_unique<Storage>(disk); };
    factory.fresh = [&] {
        disk = std::make_shared<medium>();
        return factory.reopen();
    };
    factory.power_cut = [&](std::uint64_t seed) { disk = after_power_loss(*disk, seed); };
    auto const broken = testing::certify_storage(factory);
    std::string const report = testing::to_text(broken);  // empty: it is a storage
    // endregion: certify
    return report;
}

std::string file(char const* name) {
    std::ifstream in(std::string(SYNCLINE_TESTS_DIR "/testing/") + name);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
}

// region: power_cuts
/// Every power loss that a store over SQLite can meet while it makes thirty commits.
std::string over_sqlite(sqlite_synchronous level) {
    auto const open = [&](char const* vfs) {
        return sqlite_storage::open("notes.db", {.synchronous = level, .vfs = vfs});
    };
    auto const report = testing::power_cuts(open, {.promised = durability::full});
    return testing::to_text(report.found);
}
// endregion: power_cuts

#if defined(__linux__)
// region: child
/// In the program: what its recovery is, what it has done, and where it would hurt most to be killed.
int program(char const* path) {
    auto& harness = testing::this_process();
    auto store = sqlite_storage::open(path);
    if (!store) { return 1; }
    harness.ready();
    for (std::uint64_t i = 0; harness.told(milliseconds{0}) != 'q'; ++i) {
        std::string const note = std::to_string(harness.run()) + '/' + std::to_string(i);
        auto tx = store->begin(access_mode::write);
        if (!tx || !tx->put(as_bytes(note), {})) { return 2; }
        testing::process_point("before the commit");
        if (!tx->commit()) { return 3; }
        testing::process_point("after the commit");
        harness.acknowledge(note);
    }
    return 0;
}
// endregion: child

std::string killed(std::vector<std::string> const& command, std::string const& path) {
    // region: parent
    testing::kill_options options;
    options.command = command;
    options.environment = {"NOTES=" + path};
    auto const report = testing::kill_and_restart(options, [&](std::vector<std::string> const& acknowledged) {
        std::vector<testing::violation> wrong;
        auto store = sqlite_storage::open(path.c_str());
        auto const there = store ? testing::read_content(*store) : store.error();
        if (!there) { wrong.push_back({"notes", "the store can't be read"}); }
        for (std::string const& note : acknowledged) {
            if (there && there->count(to_bytes(note)) == 0) { wrong.push_back({"notes", note + " is lost"}); }
        }
        return wrong;
    });
    std::string const found = testing::to_text(report.found);
    // endregion: parent
    CHECK(report.kills == options.kills);
    CHECK(report.acknowledged.size() > 20);
    CHECK(report.points.size() == 2);
    return found;
}
#endif

}  // namespace

TEST_CASE("the page of certify_storage: a store that writes before it answers is certified") {
    CHECK(certify<notes_storage<false>>() == "");
}

TEST_CASE("the page of certify_storage: one that answers first hears this") {
    CHECK(certify<notes_storage<true>>() == file("page_report.txt"));
}

TEST_CASE("the page of certify_storage: power losses over SQLite", "[sqlite]") {
    CHECK(over_sqlite(sqlite_synchronous::full) == "");
    CHECK(over_sqlite(sqlite_synchronous::normal) != "");
}

#if defined(__linux__)
TEST_CASE("the page of certify_storage - the program", "[.]") {
    if (testing::this_process().driven()) { std::_Exit(program(std::getenv("NOTES"))); }
}

TEST_CASE("the page of certify_storage: a program that is killed", "[processes]") {
    scratch_folder const here;
    std::string const self = std::filesystem::read_symlink("/proc/self/exe").string();
    CHECK(killed({self, "the page of certify_storage - the program", "-o", "/dev/null"}, here.file("notes.db")) == "");
}
#endif
