// SPDX-License-Identifier: BSL-1.0
//
// One process of the test in kill.cpp: the authority behind an HTTP server, or a device that writes and syncs.
// It may be killed anywhere, and is then started again with the same database.
//
// worker authority --dir D --port P --boot N [--full|--normal] [--plant NAME]
// worker device    --dir D --port P --boot N [--full|--normal] [--plant NAME] --number K --seed S
//
// It is told by testing/process_harness.hpp: 'd' syncs until nothing is left and writes no more, 'q' ends; so does the
// end of the pipe. It tells, a line each, and a line is one write(2): `R <port>` it is ready, `A ...` a write is
// acknowledged (journal.hpp), `X <exchanges> <failed> <again>` counts since the last such line, `D` nothing is
// left to sync, `F ...` something is wrong that no kill explains.

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <syncline/adapters/http.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/session.hpp>
#include <syncline/testing/process_harness.hpp>

#include "processes/journal.hpp"

namespace {

using namespace processes;

struct arguments {
    std::string role;
    std::string dir;
    std::string plant;
    std::uint16_t port = 0;
    std::uint64_t seed = 1;
    std::int64_t boot = 0;
    unsigned number = 0;
    sqlite_synchronous synchronous = sqlite_synchronous::full;
};

void say(std::string line) { syncline::testing::this_process().say(std::move(line)); }
[[noreturn]] void wrong(std::string const& what) {
    say("F " + what);
    std::_Exit(2);
}
[[noreturn]] void wrong(std::string const& what, failure const& why) {
    wrong(what + ": " + message(why.code) + " (" + why.detail + ", " + std::to_string(why.native) + ')');
}
template <class T>
T must(result<T> r, char const* what) {
    if (!r) { wrong(what, r.error()); }
    return std::move(*r);
}
void must(status s, char const* what) {
    if (!s) { wrong(what, s.error()); }
}

instant now() {
    return {std::chrono::floor<milliseconds>(std::chrono::system_clock::now()),
            std::chrono::floor<milliseconds>(std::chrono::steady_clock::now())};
}
void pause(milliseconds t) { std::this_thread::sleep_for(t); }

/// What the parent said, if anything within that time; 'q' at the end of the pipe.
char command(int timeout_ms) { return syncline::testing::this_process().told(milliseconds{timeout_ms}); }

// ---- The authority ---------------------------------------------------------------------------------------------

/// Answers requests. Planted: it replies before it commits, every eighth time at last.
struct answering {
    sqlite_storage& store;
    authority<> const& self;
    bool hasty;
    std::optional<sqlite_storage::transaction> open{};
    int waiting = 0;

    peer_reply operator()(request_context const&, bytes_view body) {
        if (!hasty) { return serve(store, self, principal, body, now()); }
        if (!open) { open.emplace(must(store.begin(access_mode::write), "begin")); }
        auto answer = self.handle(*open, principal, body, now());
        if (++waiting >= 8) {
            must(open->commit(), "late commit");
            open.reset();
            waiting = 0;
        }
        return answer;
    }
};

int run_authority(arguments const& a) {
    sqlite_options options;
    options.synchronous = a.synchronous;
    auto store = must(sqlite_storage::open(path_of(a.dir, "authority").c_str(), options), "authority's store");
    authority<> const self{rules()};
    {
        syncline::random_generator random{a.seed};
        auto tx = must(store.begin(access_mode::write), "begin");
        must(self.open(tx, now(), random), "open authority");
        must(tx.commit(), "commit");
    }
    answering handler{store, self, a.plant == "hasty-reply"};
    http_server_options where;
    where.port = a.port;
    http_server server{where, handler};
    // The port is the one that it had before it was killed: the system lets go of it at once, a moment later at worst.
    for (int i = 0;; ++i) {
        auto const ok = server.listen();
        if (ok) { break; }
        if (i == 500) { wrong("listen", ok.error()); }
        pause(milliseconds{10});
    }
    say("R " + std::to_string(server.port()));
    for (;;) {
        server.run_for(milliseconds{20});
        char const c = command(0);
        if (c == 'd') { say("D"); }
        if (c == 'q') { break; }
    }
    handler.open.reset();
    must(store.close(), "close");
    return 0;
}

// ---- A device --------------------------------------------------------------------------------------------------

class device {
public:
    explicit device(arguments const& a)
        : a_(a),
          random_(a.seed * 1'000'003 + a.number * 1'009 + static_cast<std::uint64_t>(a.boot)),
          // Small batches, so that a kill finds more moments between requests.
          self_(rules(), replica_options{.mutations_max = 16, .rows_max = 64}),
          store_(open_store(a)),
          link_(store_, self_, syncline::random_generator{random_()}, sessions()),
          way_(http_options{.host = "127.0.0.1",
                            .port = a.port,
                            .connect_timeout = milliseconds{1'000},
                            .exchange_timeout = milliseconds{3'000}}),
          next_id_(a.boot * 1'000'000 + 1) {}

    int run() {
        start();
        say("R 0");
        bool writing = true;
        for (;;) {
            char const c = command(writing ? 0 : 200);
            if (c == 'q') { break; }
            if (c == 'd') {
                writing = false;
                drain();
                say("D");
            }
            if (!writing) { continue; }
            for (std::uint64_t n = 1 + below(random_, 3); n != 0; --n) { write(); }
            exchange();
            if (below(random_, 4) == 0) { pause(milliseconds{below(random_, 4)}); }
        }
        must(store_.close(), "close");
        return 0;
    }

private:
    static session_options sessions() {
        session_options o;
        o.backoff.base = milliseconds{2};
        o.backoff.cap = milliseconds{20};
        o.poll_interval = milliseconds{15};
        return o;
    }
    static sqlite_storage open_store(arguments const& a) {
        sqlite_options options;
        options.synchronous = a.synchronous;
        return must(sqlite_storage::open(path_of(a.dir, "device" + std::to_string(a.number)).c_str(), options),
                    "device's store");
    }
    std::string own(char prefix) const { return prefix + std::to_string(a_.number); }

    bool sql(char const* text) {
        return sqlite3_exec(store_.connection(), text, nullptr, nullptr, nullptr) == SQLITE_OK;
    }

    // Recovery: what must hold at any moment, whatever was going on when the last process was killed.

    void start() {
        if (!sql(
                "CREATE TABLE IF NOT EXISTS journal(id INTEGER PRIMARY KEY, kind TEXT, key TEXT, field TEXT, value INTEGER)")) {
            wrong("journal's table");
        }
        {
            auto tx = must(store_.begin(access_mode::write), "begin");
            must(self_.open(tx, principal, now(), random_), "open replica");
            must(tx.commit(), "commit");
        }
        {
            auto tx = must(store_.begin(access_mode::read), "begin");
            check_counters(tx);
            check_notes(tx);
        }
        if (a_.plant == "redo") { redo(); }
    }

    /// Nobody else adds to our own field: what is confirmed and what is pending make up the journal, at any moment.
    template <class Tx>
    void check_counters(Tx& tx) {
        query all{store_.connection(), "SELECT key, SUM(value) FROM journal WHERE kind = 'c' GROUP BY key"};
        while (all.next()) {
            auto const r = must(self_.read(tx, {"counters", all.text(0)}), "read counter");
            auto const sum = r ? field_of(r->fields, own('d')) : std::nullopt;
            if (!sum || *sum != all.number(1)) {
                wrong("after a restart counter " + all.text(0) + " has " + (sum ? std::to_string(*sum) : "nothing") +
                      " of ours, the journal " + std::to_string(all.number(1)));
            }
        }
        if (all.broken()) { wrong("read journal"); }
    }
    /// Nobody else writes our own field of a note, so the last write stands, unless the note was deleted.
    template <class Tx>
    void check_notes(Tx& tx) {
        query last{store_.connection(),
                   "SELECT key, value, MAX(id) FROM journal WHERE kind = 'w' GROUP BY key ORDER BY 3 DESC LIMIT 64"};
        while (last.next()) {
            auto const r = must(self_.read(tx, {"notes", last.text(0)}), "read note");
            if (r && field_of(r->fields, own('w')) != last.number(1)) {
                wrong("after a restart note " + last.text(0) + " lost the write " + std::to_string(last.number(2)));
            }
        }
        query mine{store_.connection(), "SELECT key FROM journal WHERE kind = 'n' ORDER BY id DESC LIMIT 32"};
        while (mine.next()) { notes_.push_back(mine.text(0)); }
        if (last.broken() || mine.broken()) { wrong("read journal"); }
    }
    /// Planted: a recovery that doesn't know whether the last write went through, and makes it again.
    void redo() {
        query last{store_.connection(), "SELECT key, value FROM journal WHERE kind = 'c' ORDER BY id DESC LIMIT 1"};
        if (!last.next()) { return; }
        auto tx = must(store_.begin(access_mode::write), "begin");
        (void)must(self_.update(tx, {"counters", last.text(0)}, {integer(op_kind::add, "all", last.number(1))}, now()),
                   "redo");
        must(tx.commit(), "commit");
    }

    // Writing.

    static field_op integer(op_kind kind, std::string field, std::int64_t n) {
        field_op op;
        op.kind = kind;
        op.field = std::move(field);
        cbor_writer{op.value}.integer(n);
        return op;
    }
    static bytes map_of(std::vector<std::pair<std::string, std::int64_t>> const& sorted) {
        bytes out;
        cbor_writer w{out};
        w.map(sorted.size());
        for (auto const& [name, n] : sorted) {
            w.text(name);
            w.integer(n);
        }
        return out;
    }

    std::int64_t value() { return static_cast<std::int64_t>(below(random_, 2'000'001)) - 1'000'000; }

    /// What to write; empty when there is nothing to do. All of it in one transaction.
    std::vector<entry> intend() {
        auto const counter = [&] { return "c" + std::to_string(below(random_, 3)); };
        auto const hot = [&] { return "h" + std::to_string(below(random_, 6)); };
        std::uint64_t const dice = below(random_, 100);
        if (dice < 25) { return {{0, 'c', counter(), "-", value() % 1'000}}; }
        if (dice < 35) {  // a transfer
            std::int64_t const n = value() % 1'000;
            return {{0, 'c', counter(), "-", n}, {0, 'c', counter(), "-", -n}};
        }
        if (dice < 42) { return {{0, 'm', counter(), "-", value()}}; }
        if (dice < 62) { return {{0, 'n', own('n') + '-' + std::to_string(next_id_), "-", value()}}; }
        if (dice < 85) {
            if (dice < 72 || notes_.empty()) {
                return {{0, dice < 68 ? 'h' : 'k', hot(), below(random_, 2) == 0 ? "a" : "b", value()}};
            }
            std::string const& key = notes_[below(random_, notes_.size())];
            return {{0, dice < 82 ? 'w' : 'x', key, dice < 82 ? own('w') : "-", value()}};
        }
        if (dice < 95) { return {{0, 'h', hot(), "a", value()}}; }
        return {{0, 'n', own('n') + '-' + std::to_string(next_id_), "-", value()},
                {0, 'c', counter(), "-", 1}};  // records of two collections that belong together
    }

    template <class Tx>
    result<write_receipt> apply_entry(Tx& tx, entry const& e) {
        instant const at = now();
        switch (e.kind) {
            case 'c':
            case 'm': {
                record_key const key{"counters", e.key};
                auto const there = self_.read(tx, key);
                if (!there) { return there.error(); }
                // Each device makes it on its own: those that come later find it there.
                if (!*there) {
                    if (auto made = self_.create(tx, key, map_of({}), at); !made) { return made; }
                }
                if (e.kind == 'c') {
                    return self_.update(
                        tx, key, {integer(op_kind::add, "all", e.value), integer(op_kind::add, own('d'), e.value)}, at);
                }
                return self_.update(
                    tx, key, {integer(op_kind::set, "least", e.value), integer(op_kind::set, "most", e.value)}, at);
            }
            case 'n': return self_.create(tx, {"notes", e.key}, map_of({{"content", e.value}}), at);
            case 'w': return self_.update(tx, {"notes", e.key}, {integer(op_kind::set, e.field, e.value)}, at);
            case 'x': return self_.erase(tx, {"notes", e.key}, at);
            case 'h': {
                record_key const key{"hot", e.key};
                auto const there = self_.read(tx, key);
                if (!there) { return there.error(); }
                if (!*there) { return self_.create(tx, key, map_of({{e.field, e.value}}), at); }
                return self_.update(tx, key, {integer(op_kind::set, e.field, e.value)}, at);
            }
            default: return self_.erase(tx, {"hot", e.key}, at);
        }
    }

    bool note_down(entry const& e) {
        query q{store_.connection(), "INSERT INTO journal VALUES(?1, ?2, ?3, ?4, ?5)"};
        q.bind(1, e.id);
        q.bind(2, std::string(1, e.kind));
        q.bind(3, e.key);
        q.bind(4, e.field);
        q.bind(5, e.value);
        return q.run();
    }

    /// The library's part of the transaction; false when there is no record to write to.
    bool library_part(std::vector<entry> const& all) {
        auto tx = must(store_.begin(access_mode::write), "begin");
        for (entry const& e : all) {
            auto const r = apply_entry(tx, e);
            if (!r && r.error() == errc::not_found) { return false; }
            if (!r) { wrong("write " + to_line(e), r.error()); }
        }
        if (a_.plant == "apart") {
            must(tx.commit(), "commit");
            pause(milliseconds{2});
            journal_part(all);
            return true;
        }
        if (!hosts_) { journal_part(all); }
        must(tx.commit(), "commit");
        return true;
    }
    void journal_part(std::vector<entry> const& all) {
        for (entry const& e : all) {
            if (!note_down(e)) { wrong("journal"); }
        }
    }

    void write() {
        std::vector<entry> all = intend();
        for (entry& e : all) { e.id = next_id_++; }
        std::uint64_t const how = below(random_, 16);
        if (a_.plant == "early-ack") { acknowledge(all); }
        // In the library's transaction, the host's row in it; or in the host's, the library's part a savepoint in it.
        hosts_ = how < 8 && a_.plant != "apart";
        bool written = false;
        if (hosts_) {
            bool const before = how < 4;
            if (!sql("BEGIN IMMEDIATE")) { wrong("host's begin"); }
            if (before) { journal_part(all); }
            written = library_part(all);
            if (written && !before) { journal_part(all); }
            // Now and then the host thinks better of it: then neither may be there.
            if (how == 0 || how == 7) { written = false; }
            if (!sql(written ? "COMMIT" : "ROLLBACK")) { wrong("host's end"); }
        } else {
            written = library_part(all);
        }
        if (!written) { return; }
        if (a_.plant != "early-ack") { acknowledge(all); }
        for (entry const& e : all) {
            if (e.kind == 'n') { know(e.key); }
        }
    }
    void acknowledge(std::vector<entry> const& all) {
        for (entry const& e : all) { say(to_line(e)); }
        if (a_.plant == "early-ack") { pause(milliseconds{2}); }
    }
    void know(std::string_view note) {
        if (notes_.size() < 48) {
            notes_.emplace_back(note);
        } else {
            notes_[below(random_, notes_.size())] = std::string{note};
        }
    }

    // Syncing.

    void exchange() {
        std::size_t again = 0;
        auto const observe = [&](event const& e) {
            if (e.kind == event_kind::changed && e.record.collection == "notes") { know(e.record.id_text()); }
            if (e.kind == event_kind::reincarnated) { wrong("took a new identity, and nobody cloned the store"); }
            if (e.kind == event_kind::decided) {
                again += e.said.again ? 1 : 0;
                if (e.said.kind == verdict_kind::rejected || e.said.kind == verdict_kind::conflict) {
                    wrong(std::string{"verdict "} + name(e.said.kind) + " on " + e.record.collection + ' ' +
                          std::string{e.record.id_text()} + ": " + message(e.said.reason));
                }
            }
        };
        auto const report = drive(link_, store_, way_, now, observe);
        if (!report) { wrong("drive", report.error()); }
        if (report->exchanges != 0) {
            say("X " + std::to_string(report->exchanges) + ' ' + (report->failed ? "1 " : "0 ") +
                std::to_string(again));
        }
        if (report->failed) {
            switch (report->failed->code) {
                case errc::unreachable:
                case errc::connection_lost:
                case errc::timed_out: break;  // the authority was killed
                default: wrong("exchange", *report->failed);
            }
        }
    }

    /// Syncs until nothing is left to send or to fetch, and an exchange has said so.
    void drain() {
        auto const end = now().monotonic + milliseconds{30'000};
        for (bool asked = false;;) {
            if (!link_.in_flight()) {
                auto tx = must(store_.begin(access_mode::write), "begin");
                must(link_.handle(hurry{}, tx, now()), "hurry");
                must(tx.commit(), "commit");
            }
            exchange();
            auto tx = must(store_.begin(access_mode::read), "begin");
            bool const work = must(self_.work_left(tx, now()), "work left");
            bool const queued = must(self_.queue().summary(tx), "summary").entries != 0;
            if (asked && !work && !queued && !link_.last_failure()) { return; }
            asked = true;
            if (now().monotonic > end) { wrong("still work to sync after half a minute"); }
            pause(milliseconds{5});
        }
    }

    arguments const& a_;
    syncline::random_generator random_;
    replica self_;
    sqlite_storage store_;
    session<sqlite_storage, syncline::random_generator> link_;
    http_transport way_;
    std::int64_t next_id_;
    std::vector<std::string> notes_{};  ///< some that may exist, others' too
    bool hosts_ = false;                ///< whether the open transaction is the host's
};

}  // namespace

int main(int argc, char** argv) {
    if (!syncline::testing::this_process().driven()) { return 64; }
    arguments a;
    if (argc < 2) { return 64; }
    a.role = argv[1];
    for (int i = 2; i < argc; ++i) {
        std::string const key = argv[i];
        if (key == "--full") { a.synchronous = sqlite_synchronous::full; }
        if (key == "--normal") { a.synchronous = sqlite_synchronous::normal; }
        if (i + 1 == argc || key == "--full" || key == "--normal") { continue; }
        char const* const value = argv[++i];
        if (key == "--dir") { a.dir = value; }
        if (key == "--plant") { a.plant = value; }
        if (key == "--port") { a.port = static_cast<std::uint16_t>(std::strtoul(value, nullptr, 10)); }
        if (key == "--seed") { a.seed = std::strtoull(value, nullptr, 10); }
        if (key == "--boot") { a.boot = std::strtoll(value, nullptr, 10); }
        if (key == "--number") { a.number = static_cast<unsigned>(std::strtoul(value, nullptr, 10)); }
    }
    if (a.role == "authority") { return run_authority(a); }
    if (a.role == "device") { return device{a}.run(); }
    return 64;
}
