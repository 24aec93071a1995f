// SPDX-License-Identifier: BSL-1.0
// Two processes enqueue into and drain one SQLite file at the same time: each entry is claimed by one, none is lost. A
// process that is killed in the middle of anything leaves each entry in one place.
#include <syncline/outbox/outbox.hpp>

#if defined(__unix__)

    #include <chrono>
    #include <cstdint>
    #include <cstdio>
    #include <filesystem>
    #include <map>
    #include <optional>
    #include <set>
    #include <string>
    #include <system_error>
    #include <utility>

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

bool in_the_way(sl::status const& s) { return !s && (s.error() == errc::busy || s.error() == errc::contended); }

/// What a process that gives up says, for its exit code alone tells little. False.
bool gives_up(char const* doing, sl::status const& why) {
    std::fprintf(stderr, "process %d, %s: %s\n", static_cast<int>(getpid()), doing,
                 why ? "patience ended" : sl::message(why.error().code));
    return false;
}

/// Opens the file; one that another process just opens or leaves may be locked for longer than SQLite waits.
std::optional<sl::sqlite_storage> opened(char const* path) {
    for (auto const end = patience_ends(); std::chrono::steady_clock::now() < end;) {
        auto store = sl::sqlite_storage::open(path, quick());
        if (store) { return std::move(*store); }
        if (!in_the_way(store.error())) {
            gives_up("open", store.error());
            return std::nullopt;
        }
    }
    gives_up("open", {});
    return std::nullopt;
}

/// Repeats a transaction until it isn't in another's way. False: something is wrong.
template <class F>
bool in_transaction(sl::sqlite_storage& store, F&& f) {
    for (auto const end = patience_ends(); std::chrono::steady_clock::now() < end;) {
        auto tx = store.begin(sl::access_mode::write);
        if (!tx) {
            if (in_the_way(tx.error())) { continue; }
            return gives_up("begin", tx.error());
        }
        auto const s = f(*tx);
        if (s && tx->commit()) { return true; }
        if (!s && !in_the_way(s)) { return gives_up("work", s); }
    }
    return gives_up("work", {});
}

/// Enqueues so many, now and then draining some; every acknowledged one leaves a row with its payload and who had it.
/// It ends when all that anybody enqueued is gone.
int work(char const* path, int who, int count) {
    auto store = opened(path);
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
    gives_up("drain", {});
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
    // Every other child has written before its time begins; the rest may be killed while they open the file.
    for (int round = 0; round < 24; ++round) {
        int has_written[2];
        REQUIRE(pipe(has_written) == 0);
        pid_t const child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            // For ever: a row of the host's and an entry; claims, of which some are answered.
            auto store = opened(file.path());
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
                if (i == 0) { static_cast<void>(write(has_written[1], "w", 1) == 1); }
            }
            _exit(1);
        }
        close(has_written[1]);
        char byte = 0;
        if (round % 2 == 0) { REQUIRE(read(has_written[0], &byte, 1) == 1); }
        usleep(static_cast<useconds_t>(2'000 + random() % 15'000));
        REQUIRE(kill(child, SIGKILL) == 0);
        REQUIRE(waitpid(child, nullptr, 0) == child);
        close(has_written[0]);

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
    CHECK(rows >= 12);
}

#endif
