// SPDX-License-Identifier: BSL-1.0
// Two processes enqueue into and drain one SQLite file at the same time: each entry is claimed by one, none is lost. A
// process that is killed in the middle of anything leaves each entry in one place.
#include <syncline/outbox/outbox.hpp>

#if defined(__unix__)

    #include <chrono>
    #include <cstdint>
    #include <filesystem>
    #include <map>
    #include <set>
    #include <string>
    #include <system_error>

    #include <signal.h>
    #include <sys/wait.h>
    #include <unistd.h>

    #include <sqlite3.h>

    #include <syncline/adapters/sqlite.hpp>
    #include <syncline/core/random.hpp>

    #include "support/catch.hpp"

    #include "model.hpp"

namespace {

using namespace outbox_tests;

class scratch_file {
public:
    explicit scratch_file(char const* name)
        : path_((std::filesystem::temp_directory_path() / (std::string(name) + std::to_string(getpid()) + ".db"))
                    .string()) {
        clear();
    }
    scratch_file(scratch_file const&) = delete;
    scratch_file& operator=(scratch_file const&) = delete;
    ~scratch_file() { clear(); }
    char const* path() const { return path_.c_str(); }

private:
    void clear() const {
        std::error_code ignored;
        for (char const* const end : {"", "-wal", "-shm"}) { std::filesystem::remove(path_ + end, ignored); }
    }
    std::string path_;
};

sl::sqlite_options quick() {
    sl::sqlite_options o;
    o.synchronous = sl::sqlite_synchronous::normal;
    return o;
}

/// When a process that others keep waiting gives up: late, for a loaded machine may let one stand for seconds.
auto patience_ends() { return std::chrono::steady_clock::now() + std::chrono::minutes(4); }

/// Repeats a transaction until it isn't in another's way. False: something is wrong.
template <class F>
bool in_transaction(sl::sqlite_storage& store, F&& f) {
    for (auto const end = patience_ends(); std::chrono::steady_clock::now() < end;) {
        auto tx = store.begin(sl::access_mode::write);
        if (!tx) {
            if (tx.error() == errc::busy || tx.error() == errc::contended) { continue; }
            return false;
        }
        auto const s = f(*tx);
        if (s && tx->commit()) { return true; }
        if (!s && s.error() != errc::busy && s.error() != errc::contended) { return false; }
    }
    return false;
}

/// Enqueues so many, now and then draining some; every acknowledged one leaves a row with its payload and who had it.
/// It ends when all that anybody enqueued is gone.
int work(char const* path, int who, int count) {
    auto store = sl::sqlite_storage::open(path, quick());
    if (!store) { return 2; }
    outbox const box;
    sl::splitmix64 random(static_cast<std::uint64_t>(who));
    int made = 0;
    for (auto end = patience_ends(); std::chrono::steady_clock::now() < end;) {
        if (made < count && random() % 2 == 0) {
            std::string const payload = std::to_string(who) + "/" + std::to_string(made++);
            std::string const record = "r" + std::to_string(random() % 40);
            bool const good = in_transaction(*store, [&](auto& tx) -> sl::status {
                auto const t =
                    box.enqueue(tx, {static_cast<priority>(random() % 4), view(record), view(payload)}, at(made));
                return t ? sl::status{} : sl::status{t.error()};
            });
            if (!good) { return 3; }
            continue;
        }
        std::vector<outbox_entry> given;
        bool good = in_transaction(*store, [&](auto& tx) -> sl::status {
            auto claimed = box.claim(tx, {.entries_max = 1 + static_cast<std::size_t>(random() % 7)}, at(1'000));
            if (!claimed) { return claimed.error(); }
            given = std::move(*claimed);
            return {};
        });
        if (!good) { return 4; }
        bool left = true;
        good = in_transaction(*store, [&](auto& tx) -> sl::status {
            auto const n = box.ack_all(tx, given);
            if (!n) { return n.error(); }
            if (*n != given.size()) { return errc::claim_lost; }
            for (outbox_entry const& e : given) {
                bytes there;
                std::string const key = "x/" + text(e.payload);
                auto const twice = tx.get(view(key), there);
                if (!twice || *twice) { return errc::already_exists; }
                if (auto s = tx.put(view(key), view(std::to_string(who))); !s) { return s; }
            }
            auto const load = box.load(tx);
            left = !load || load->first != 0;
            return {};
        });
        if (!good) { return 5; }
        if (!given.empty()) { end = patience_ends(); }
        if (made == count && !left) { return 0; }
    }
    return 6;
}

}  // namespace

TEST_CASE("outbox: two processes on one SQLite file enqueue and drain at once, each entry claimed by one", "[outbox]") {
    scratch_file const file("syncline-outbox-two-");
    REQUIRE(sl::sqlite_storage::open(file.path(), quick()));
    constexpr int count = 150;
    pid_t children[2];
    for (int who = 0; who < 2; ++who) {
        children[who] = fork();
        REQUIRE(children[who] >= 0);
        if (children[who] == 0) { _exit(work(file.path(), who, count)); }
    }
    for (pid_t const child : children) {
        int how = 0;
        REQUIRE(waitpid(child, &how, 0) == child);
        REQUIRE(WIFEXITED(how));
        CHECK(WEXITSTATUS(how) == 0);
    }
    auto store = sl::sqlite_storage::open(file.path(), quick());
    REQUIRE(store);
    auto tx = store->begin(sl::access_mode::read);
    REQUIRE(tx);
    std::map<std::string, int> done;
    REQUIRE(sl::scan_prefix(*tx, view("x/"), [&](bytes_view k, bytes_view v) {
        ++done[std::string(sl::as_text(v))];
        return !k.empty();
    }));
    CHECK(done["0"] + done["1"] == 2 * count);
    CHECK(outbox{}.summary(*tx)->entries == 0);
}

TEST_CASE("outbox: a process that is killed anywhere leaves the host's row and its entry, or neither", "[outbox]") {
    scratch_file const file("syncline-outbox-killed-");
    REQUIRE(sl::sqlite_storage::open(file.path(), quick()));
    outbox const box;
    sl::splitmix64 random(17);
    std::uint64_t rows = 0;
    // More rounds where a child hardly comes to write before it is killed.
    for (int round = 0; round < 12 || (rows <= 12 && round < 200); ++round) {
        pid_t const child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            // For ever: a row of the host's and an entry; claims, of which some are answered.
            auto store = sl::sqlite_storage::open(file.path(), quick());
            sl::splitmix64 own(static_cast<std::uint64_t>(round));
            for (std::uint64_t i = 0; store; ++i) {
                std::string const name = std::to_string(round) + "/" + std::to_string(i);
                static_cast<void>(in_transaction(*store, [&](auto& tx) -> sl::status {
                    if (auto s = tx.put(view("host/" + name), view("row")); !s) { return s; }
                    auto const t =
                        box.enqueue(tx, {priority::normal, view("r" + std::to_string(own() % 9)), view(name)}, at(0));
                    return t ? sl::status{} : sl::status{t.error()};
                }));
                static_cast<void>(in_transaction(*store, [&](auto& tx) -> sl::status {
                    auto const given = box.claim(tx, {.entries_max = 3, .lease = (milliseconds::max)()}, at(0));
                    if (!given) { return given.error(); }
                    for (outbox_entry const& e : *given) {
                        auto const s = own() % 2 == 0 ? box.release(tx, e.token, e.fence, at(5)) : sl::status{};
                        if (!s) { return s; }
                    }
                    return {};
                }));
            }
            _exit(1);
        }
        usleep(static_cast<useconds_t>(2'000 + random() % 15'000));
        REQUIRE(kill(child, SIGKILL) == 0);
        REQUIRE(waitpid(child, nullptr, 0) == child);

        auto store = sl::sqlite_storage::open(file.path(), quick());
        REQUIRE(store);
        auto tx = store->begin(sl::access_mode::write);
        REQUIRE(tx);
        std::set<std::string> host;
        REQUIRE(sl::scan_prefix(*tx, view("host/"), [&](bytes_view k, bytes_view) {
            host.insert(std::string(sl::as_text(k.subspan(5))));
            return true;
        }));
        std::set<std::string> queued;
        std::map<std::string, std::vector<entry_state>> records;
        REQUIRE(box.scan(*tx, [&](outbox_entry const& e) { return queued.insert(text(e.payload)).second; }));
        CHECK(queued == host);
        CHECK(box.load(*tx)->first == host.size());
        // Each record has one entry that may move, in front; all others stand behind it.
        for (int r = 0; r < 9; ++r) {
            bool front = true;
            REQUIRE(box.scan_record(*tx, view("r" + std::to_string(r)), [&](outbox_entry const& e) {
                CHECK((e.state == entry_state::blocked) == !front);
                front = false;
                return true;
            }));
        }
        rows = host.size();
    }
    CHECK(rows > 12);
}

#endif
