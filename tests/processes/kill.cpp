// SPDX-License-Identifier: BSL-1.0
//
// Kill any process at any moment, restart it: nothing acknowledged is lost, nothing applied twice.
//
// One authority and three devices, real processes over real SQLite files and HTTP on 127.0.0.1, are killed with
// SIGKILL a few hundred times: one of them or two, the authority, a process that is only just recovering. The devices
// write what they do into a table of their own, the journal, in the transaction of the write itself, and acknowledge
// it on a pipe after the commit. So the journal is exact, and at the end
//   - every acknowledged write is in its device's journal,
//   - what the authority holds is what the journals add up to: each increment once, each note with what was written
//     to it last, nothing that was deleted, nothing that nobody wrote,
//   - all four databases hold the same records at the same versions, and nothing waits anywhere.
//
// A SIGKILL leaves the system's page cache alone. This tests what a process leaves behind at any instruction, not
// what a disk does at power loss: `synchronous` and `barrier` could both do nothing here and nobody would notice.
//
// Plants are mistakes in the worker, outside of the library, that this test has to find; with --plant it succeeds
// when it does.
//
// kill --worker PATH [--dir D] [--kills N] [--seed S] [--seconds T] [--plant NAME]
// Exit: 0 as it should be, 1 not so, 2 the test itself could not run.

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/testing/process_harness.hpp>

#include "processes/journal.hpp"

namespace {

using namespace processes;
using clock_type = std::chrono::steady_clock;

[[noreturn]] void give_up(std::string const& why) {
    std::fprintf(stderr, "the test can't run: %s\n", why.c_str());
    std::_Exit(2);
}

struct settings {
    std::string worker;
    std::string dir;
    std::string plant;
    unsigned kills = 0;  ///< 0: 300, or 60 with a plant
    std::uint64_t seed = 1;
    unsigned seconds = 240;
};

/// What was found wrong; a few lines are printed, all are counted.
class findings {
public:
    void add(std::string const& what) {
        if (++count_ <= 20) { std::printf("WRONG: %s\n", what.c_str()); }
    }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }

private:
    std::size_t count_ = 0;
};

struct totals {
    unsigned device_kills = 0;
    unsigned authority_kills = 0;
    unsigned recovery_kills = 0;  ///< of those, before the process was ready
    unsigned restarts = 0;
    std::uint64_t acknowledged = 0;
    std::uint64_t exchanges = 0;
    std::uint64_t failed = 0;  ///< exchanges
    std::uint64_t again = 0;   ///< verdicts that came a second time, as the reply that brought them first was lost
};

/// One worker, and what it said.
struct child {
    std::string role;
    unsigned number = 0;
    std::unique_ptr<syncline::testing::child_process> process{};
    std::int64_t boot = 0;
    bool ready = false;
    bool drained = false;
    std::uint64_t acks = 0;  ///< since it was started
    std::map<std::int64_t, entry> ledger{};
};

class cluster {
public:
    cluster(settings const& s, findings& wrong) : s_(s), wrong_(wrong), random_(s.seed) {
        children_.resize(1 + devices);
        children_[0].role = "authority";
        for (unsigned k = 0; k < devices; ++k) {
            children_[1 + k].role = "device";
            children_[1 + k].number = k;
        }
        for (child& c : children_) {
            c.process = std::make_unique<syncline::testing::child_process>(
                [this, &c](std::string const& line) { take(c, line); });
        }
        port_ = free_port();
        end_ = clock_type::now() + std::chrono::seconds{s.seconds};
    }
    cluster(cluster const&) = delete;
    cluster& operator=(cluster const&) = delete;
    ~cluster() {
        for (child& c : children_) {
            if (c.process->running()) { end(c); }
        }
    }

    [[nodiscard]] bool fine() {
        if (clock_type::now() > end_) { give_up("no time left; --seconds"); }
        return wrong_.count() == 0;
    }

    void run() {
        for (child& c : children_) { start(c); }
        wait_for([&] { return ready(); }, "a start");
        while (kills() < s_.kills && fine()) {
            round();
            if (kills() / 100 != told_) {
                told_ = kills() / 100;
                std::printf("%u kills, %llu writes acknowledged\n", kills(),
                            static_cast<unsigned long long>(totals_.acknowledged));
                std::fflush(stdout);
            }
        }
        if (!fine()) { return; }
        wait_for([&] { return ready(); }, "the last restart");
        // Twice: the first time all is sent, the second time all have what the others sent.
        for (int pass = 0; pass < 2 && fine(); ++pass) {
            for (child& c : children_) {
                c.drained = false;
                tell(c, 'd');
            }
            wait_for(
                [&] {
                    return std::all_of(children_.begin(), children_.end(), [](child const& c) { return c.drained; });
                },
                "the last sync");
        }
        if (!fine()) { return; }
        for (std::size_t i = children_.size(); i-- != 0;) { leave(children_[i]); }
    }

    [[nodiscard]] totals const& counts() const noexcept { return totals_; }
    [[nodiscard]] std::map<std::int64_t, entry> const& ledger(unsigned number) const {
        return children_[1 + number].ledger;
    }

private:
    [[nodiscard]] unsigned kills() const noexcept { return totals_.device_kills + totals_.authority_kills; }
    [[nodiscard]] bool ready() const {
        return std::all_of(children_.begin(), children_.end(), [](child const& c) { return c.ready; });
    }

    /// Not one that the system gives to outgoing connections: a device that asks a dead authority could else be given
    /// that very port, and be connected to itself.
    std::uint16_t free_port() {
        for (int i = 0; i < 200; ++i) {
            auto const port = static_cast<std::uint16_t>(10'000 + below(random_, 20'000));
            int const s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            sockaddr_in at{};
            at.sin_family = AF_INET;
            at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            at.sin_port = htons(port);
            bool const ok = ::bind(s, reinterpret_cast<sockaddr const*>(&at), sizeof at) == 0;
            ::close(s);
            if (ok) { return port; }
        }
        give_up("no free port");
    }

    void start(child& c) {
        std::vector<std::string> words{s_.worker,
                                       c.role,
                                       "--dir",
                                       s_.dir,
                                       "--port",
                                       std::to_string(port_),
                                       "--boot",
                                       std::to_string(c.boot),
                                       "--seed",
                                       std::to_string(s_.seed),
                                       "--number",
                                       std::to_string(c.number),
                                       below(random_, 2) == 0 ? "--full" : "--normal"};
        if (!s_.plant.empty()) {
            words.push_back("--plant");
            words.push_back(s_.plant);
        }
        if (!c.process->start(words)) { give_up("no more processes"); }
        c.ready = false;
        c.acks = 0;
        if (c.boot++ != 0) { ++totals_.restarts; }
    }

    /// Kills it, wherever it is, and reads what it had said before: that counts.
    void end(child& c) {
        if (!c.process->kill().killed) { wrong_.add(name(c) + " had ended by itself"); }
        c.ready = false;
    }
    /// Lets it end by itself.
    void leave(child& c) {
        if (!c.process->running()) { return; }
        leaving_ = true;
        tell(c, 'q');
        std::optional<syncline::testing::process_end> how;
        auto const last = clock_type::now() + std::chrono::seconds{10};
        while (!how && clock_type::now() < last) {
            pump(0);
            how = c.process->wait(milliseconds{1});
        }
        c.ready = false;
        if (!how) {
            wrong_.add(name(c) + " doesn't end");
            end(c);
        } else if (*how != syncline::testing::process_end{}) {
            wrong_.add(name(c) + " ended badly");
        }
    }
    void tell(child const& c, char word) {
        if (!c.process->tell(word)) { wrong_.add(name(c) + " doesn't listen"); }
    }
    static std::string name(child const& c) {
        return c.role == "device" ? c.role + ' ' + std::to_string(c.number) : c.role;
    }

    void take(child& c, std::string const& line) {
        switch (line.empty() ? '\0' : line.front()) {
            case 'R': c.ready = true; return;
            case 'D': c.drained = true; return;
            case 'A':
                if (auto const e = from_line(line)) {
                    if (!c.ledger.emplace(e->id, *e).second) { wrong_.add(name(c) + " acknowledged twice: " + line); }
                    ++c.acks;
                    ++totals_.acknowledged;
                    return;
                }
                break;
            case 'X': {
                unsigned long long n[3];
                if (std::sscanf(line.c_str(), "X %llu %llu %llu", &n[0], &n[1], &n[2]) == 3) {
                    totals_.exchanges += n[0];
                    totals_.failed += n[1];
                    totals_.again += n[2];
                    return;
                }
                break;
            }
            default: break;
        }
        wrong_.add(name(c) + " says: " + line);
    }
    void pump(int timeout_ms) {
        std::vector<syncline::testing::child_process*> all;
        for (child& c : children_) { all.push_back(c.process.get()); }
        syncline::testing::listen_to(all, milliseconds{timeout_ms});
        for (child& c : children_) {
            // Nobody killed it. What it said last is read; `end` finds that it is gone.
            if (c.process->running() && c.process->hung_up() && !leaving_) { end(c); }
        }
    }
    /// Reads what they say for so long.
    void pass(std::chrono::microseconds t) {
        auto const until = clock_type::now() + t;
        for (;;) {
            pump(0);
            auto const left = until - clock_type::now();
            if (left <= left.zero()) { return; }
            auto const nap = (std::min)(left, clock_type::duration{std::chrono::microseconds{500}});
            ::usleep(static_cast<useconds_t>(std::chrono::duration_cast<std::chrono::microseconds>(nap).count()));
        }
    }
    template <class P>
    void wait_for(P&& holds, char const* what) {
        auto const last = clock_type::now() + std::chrono::seconds{60};
        while (!holds() && fine()) {
            if (clock_type::now() > last) {
                wrong_.add(std::string{"nothing happens for a minute while waiting for "} + what);
                return;
            }
            pump(20);
        }
    }

    void kill(child& c) {
        if (!c.process->running()) { return; }
        (c.role == "device" ? totals_.device_kills : totals_.authority_kills) += 1;
        totals_.recovery_kills += c.ready ? 0 : 1;
        end(c);
    }

    /// Some of them die at some moment, and come back.
    void round() {
        std::vector<child*> victims;
        auto const any_device = [&] { return &children_[1 + below(random_, devices)]; };
        std::uint64_t const dice = below(random_, 100);
        if (dice < 60) {
            victims = {any_device()};
        } else if (dice < 75) {
            victims = {&children_[0]};
        } else if (dice < 88) {
            victims = {any_device(), any_device()};
        } else {
            victims = {&children_[0], any_device()};
        }
        if (victims.size() == 2 && victims[0] == victims[1]) { victims.pop_back(); }

        // At any moment of its work; that of a device that is down is somebody else's acknowledgement.
        std::uint64_t const until = totals_.acknowledged + below(random_, 40);
        wait_for([&] { return totals_.acknowledged >= until; }, "acknowledgements");
        pass(std::chrono::microseconds{below(random_, below(random_, 2) == 0 ? 3'000 : 30'000)});
        for (child* v : victims) { kill(*v); }

        // The others go on without them for a while, sometimes.
        if (below(random_, 3) == 0) { pass(std::chrono::milliseconds{below(random_, 60)}); }
        for (child* v : victims) {
            start(*v);
            // And once more while it recovers.
            while (below(random_, 4) == 0 && kills() < s_.kills) {
                pass(std::chrono::microseconds{below(random_, 12'000)});
                kill(*v);
                start(*v);
            }
        }
        if (below(random_, 4) != 0) {
            wait_for([&] { return ready(); }, "a restart");
        }
    }

    settings const& s_;
    findings& wrong_;
    syncline::random_generator random_;
    std::vector<child> children_;
    totals totals_{};
    std::uint16_t port_ = 0;
    clock_type::time_point end_{};
    unsigned told_ = 0;
    bool leaving_ = false;
};

// ---- The reckoning ---------------------------------------------------------------------------------------------

using journal = std::vector<entry>;

template <class T>
T must(result<T> r, char const* what) {
    if (!r) { give_up(std::string{what} + ": " + message(r.error().code) + ' ' + r.error().detail); }
    return std::move(*r);
}

journal read_journal(sqlite_storage& store) {
    journal out;
    query q{store.connection(), "SELECT id, kind, key, field, value FROM journal ORDER BY id"};
    while (q.next()) { out.push_back({q.number(0), q.text(1).front(), q.text(2), q.text(3), q.number(4)}); }
    if (q.broken()) { give_up("journal"); }
    return out;
}

/// A visible record: its fields, and the version of the authority's that it is.
struct held {
    position version = 0;
    bytes fields{};
    friend bool operator==(held const&, held const&) = default;
};
using content = std::map<std::string, held>;  ///< by collection and id

void check_integrity(sqlite_storage& store, std::string const& whose, findings& wrong) {
    query q{store.connection(), "PRAGMA integrity_check"};
    if (!q.next() || q.text(0) != "ok") { wrong.add(whose + "'s database is damaged: " + q.text(0)); }
}

content content_of_authority(sqlite_storage& store, findings& wrong) {
    content out;
    authority<> const self{rules()};
    auto tx = must(store.begin(access_mode::read), "begin");
    auto const ok = self.scan(tx, [&](record_key const& k, row const& r) {
        if (!r.deleted) { out[k.collection + '/' + std::string{k.id_text()}] = {r.version, r.fields}; }
        return true;
    });
    if (!ok) { wrong.add("the authority's rows can't be read"); }
    return out;
}

content content_of_device(sqlite_storage& store, std::string const& whose, findings& wrong) {
    content out;
    replica const self{rules()};
    auto tx = must(store.begin(access_mode::read), "begin");
    for (char const* collection : collections) {
        auto const ok = self.scan(tx, collection, [&](record_key const& k, record const& r) {
            std::string const name = k.collection + '/' + std::string{k.id_text()};
            if (r.pending) { wrong.add(whose + ": " + name + " is still pending"); }
            out[name] = {r.confirmed, r.fields};
            return true;
        });
        if (!ok) { wrong.add(whose + "'s records can't be read"); }
    }
    auto const queue = must(self.queue().summary(tx), "summary");
    if (queue.entries != 0) { wrong.add(whose + "'s outbox still has " + std::to_string(queue.entries)); }
    if (queue.dead != 0) { wrong.add(whose + " has " + std::to_string(queue.dead) + " dead letters"); }
    auto const progress = must(self.status_of(tx), "status");
    if (progress.frozen != 0) { wrong.add(whose + " has mutations without a verdict"); }
    if (progress.cursor != progress.head) { wrong.add(whose + " hasn't fetched everything"); }
    auto const conflicts = self.conflicts(tx, [&](open_conflict const& c) {
        wrong.add(whose + " has a conflict at " + std::string{c.local.record.id_text()});
        return true;
    });
    if (!conflicts) { wrong.add(whose + "'s conflicts can't be read"); }
    return out;
}

void compare(content const& truth, content const& device, std::string const& whose, findings& wrong) {
    for (auto const& [name, mine] : truth) {
        auto const at = device.find(name);
        if (at == device.end()) {
            wrong.add(whose + " has no " + name);
        } else if (!(at->second == mine)) {
            wrong.add(whose + " has another " + name);
        }
    }
    for (auto const& [name, theirs] : device) {
        if (truth.count(name) == 0) { wrong.add(whose + " has a " + name + " that the authority hasn't"); }
    }
}

std::string shown(std::optional<std::int64_t> n) { return n ? std::to_string(*n) : "nothing"; }

/// Whether the authority holds what the journals add up to.
void check_content(content const& truth, std::vector<journal> const& journals, findings& wrong) {
    using fields = std::map<std::string, std::int64_t>;
    std::map<std::string, fields> expected;  // counters and notes: exactly these fields
    std::set<std::string> deleted;
    std::map<std::string, std::set<std::int64_t>> written;  // hot: name and field, what was ever written
    std::set<std::string> alive;                            // hot: written, and never deleted by anybody
    for (std::size_t k = 0; k < journals.size(); ++k) {
        for (entry const& e : journals[k]) {
            fields& counter = expected["counters/" + e.key];
            switch (e.kind) {
                case 'c':
                    counter["all"] += e.value;
                    counter['d' + std::to_string(k)] += e.value;
                    continue;
                case 'm': {
                    auto const [least, first] = counter.emplace("least", e.value);
                    auto const most = counter.emplace("most", e.value).first;
                    if (!first) {
                        least->second = (std::min)(least->second, e.value);
                        most->second = (std::max)(most->second, e.value);
                    }
                    continue;
                }
                default: break;
            }
            expected.erase("counters/" + e.key);  // it was none
            std::string const note = "notes/" + e.key;
            std::string const hot = "hot/" + e.key;
            switch (e.kind) {
                case 'n': expected[note]["content"] = e.value; break;
                case 'w': expected[note][e.field] = e.value; break;
                case 'x': deleted.insert(note); break;
                case 'h':
                    written[hot + ' ' + e.field].insert(e.value);
                    alive.insert(hot);
                    break;
                default: deleted.insert(hot); break;
            }
        }
    }
    for (auto const& [name, want] : expected) {
        auto const at = truth.find(name);
        if (deleted.count(name) != 0) {
            if (at != truth.end()) { wrong.add(name + " was deleted, and is there"); }
            continue;
        }
        if (at == truth.end()) {
            wrong.add(name + " is lost");
            continue;
        }
        std::size_t there = 0;
        for (auto const& [field, n] : want) {
            auto const is = field_of(at->second.fields, field);
            if (is != n) {
                wrong.add(name + ' ' + field + " is " + shown(is) + ", the journals say " + std::to_string(n));
            }
            there += is ? 1 : 0;
        }
        cbor_reader in{at->second.fields};
        if (in.map() != there) { wrong.add(name + " has fields that nobody wrote"); }
    }
    for (std::string const& name : alive) {
        if (deleted.count(name) == 0 && truth.count(name) == 0) { wrong.add(name + " is lost"); }
    }
    for (auto const& [name, is] : truth) {
        if (name.rfind("hot/", 0) != 0) {
            if (expected.count(name) == 0) { wrong.add(name + " was written by nobody"); }
            continue;
        }
        for (char const* field : {"a", "b"}) {
            auto const n = field_of(is.fields, field);
            if (n && written[name + ' ' + field].count(*n) == 0) { wrong.add(name + " has a value that nobody wrote"); }
        }
    }
}

void reckon(settings const& s, cluster const& c, findings& wrong) {
    auto central = must(sqlite_storage::open(path_of(s.dir, "authority").c_str()), "authority's store");
    check_integrity(central, "the authority", wrong);
    content const truth = content_of_authority(central, wrong);
    std::vector<journal> journals;
    for (unsigned k = 0; k < devices; ++k) {
        std::string const whose = "device " + std::to_string(k);
        auto store = must(sqlite_storage::open(path_of(s.dir, "device" + std::to_string(k)).c_str()), "device's store");
        check_integrity(store, whose, wrong);
        compare(truth, content_of_device(store, whose, wrong), whose, wrong);
        journals.push_back(read_journal(store));
        std::map<std::int64_t, entry> known;
        for (entry const& e : journals.back()) { known.emplace(e.id, e); }
        for (auto const& [id, e] : c.ledger(k)) {
            auto const at = known.find(id);
            if (at == known.end() || !(at->second == e)) {
                wrong.add(whose + " acknowledged, and has not: " + to_line(e));
            }
        }
    }
    check_content(truth, journals, wrong);

    std::size_t written = 0;
    for (journal const& j : journals) { written += j.size(); }
    totals const& t = c.counts();
    std::printf(
        "%u kills (%u of devices, %u of the authority, %u of them before it was ready), %u restarts; "
        "%llu writes acknowledged, %zu committed; %llu exchanges, %llu failed, %llu verdicts answered again; "
        "%zu records, %zu wrong\n",
        t.device_kills + t.authority_kills, t.device_kills, t.authority_kills, t.recovery_kills, t.restarts,
        static_cast<unsigned long long>(t.acknowledged), written, static_cast<unsigned long long>(t.exchanges),
        static_cast<unsigned long long>(t.failed), static_cast<unsigned long long>(t.again), truth.size(),
        wrong.count());
}

}  // namespace

int main(int argc, char** argv) {
    settings s;
    for (int i = 1; i + 1 < argc; i += 2) {
        std::string const key = argv[i];
        char const* const value = argv[i + 1];
        if (key == "--worker") { s.worker = value; }
        if (key == "--dir") { s.dir = value; }
        if (key == "--plant") { s.plant = value; }
        if (key == "--kills") { s.kills = static_cast<unsigned>(std::strtoul(value, nullptr, 10)); }
        if (key == "--seed") { s.seed = std::strtoull(value, nullptr, 10); }
        if (key == "--seconds") { s.seconds = static_cast<unsigned>(std::strtoul(value, nullptr, 10)); }
    }
    if (s.worker.empty()) { give_up("--worker is missing"); }
    if (s.kills == 0) { s.kills = s.plant.empty() ? 300 : 60; }
    std::error_code e;
    if (s.dir.empty()) { s.dir = "processes." + std::to_string(::getpid()); }
    std::filesystem::create_directories(s.dir, e);
    if (e) { give_up("no folder " + s.dir); }
    for (char const* name : {"authority", "device0", "device1", "device2"}) {
        for (char const* tail : {"", "-wal", "-shm"}) { std::filesystem::remove(path_of(s.dir, name) + tail, e); }
    }

    findings wrong;
    std::printf("seed %llu\n", static_cast<unsigned long long>(s.seed));
    cluster c{s, wrong};
    c.run();
    if (wrong.count() == 0) { reckon(s, c, wrong); }
    if (!s.plant.empty()) {
        std::printf("plant %s: %s after %u kills\n", s.plant.c_str(), wrong.count() != 0 ? "found" : "NOT FOUND",
                    c.counts().device_kills + c.counts().authority_kills);
        return wrong.count() != 0 ? 0 : 1;
    }
    std::printf(wrong.count() == 0 ? "ok\n" : "the databases stay in %s\n", s.dir.c_str());
    return wrong.count() == 0 ? 0 : 1;
}
