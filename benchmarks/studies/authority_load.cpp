// SPDX-License-Identifier: BSL-1.0

/// What an authority over HTTP and SQLite bears, seen from its devices: real replicas with real connections, in this process;
/// the authority in another one, on loopback. Each device is in one of many places and holds what belongs to that place: four
/// devices write to a place's records.
///
///     authority_load [--seconds N] [--one-by-one] [PART...]
///
/// Parts: hold capacity half loss offline scopes large day; none: all. --one-by-one: each request has a commit of its own.
/// Prints lines "part,what,value,unit". Latencies under load are counted from the moment at which the write was due, so that a
/// stall counts for all that it kept waiting.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <syncline/adapters/group_commit.hpp>
#include <syncline/adapters/http_client.hpp>
#include <syncline/adapters/http_server.hpp>
#include <syncline/adapters/sqlite.hpp>
#include <syncline/adapters/websocket.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/session.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/transport/live_listener.hpp>

#include "../database_file.hpp"

namespace {

using namespace syncline;
using clock_type = std::chrono::steady_clock;
using std::chrono::duration;

constexpr std::size_t workers = 16;
constexpr std::size_t devices_of_a_place = 4;
std::size_t at_a_time = 64;  ///< requests that are answered with one commit

[[noreturn]] void die(char const* what) {
    std::fprintf(stderr, "authority_load: %s\n", what);
    std::exit(1);
}
void print(char const* part, std::string const& what, double value, char const* unit) {
    std::printf("%s,%s,%.3f,%s\n", part, what.c_str(), value, unit);
    std::fflush(stdout);
}
instant now() {
    return {std::chrono::time_point_cast<milliseconds>(std::chrono::system_clock::now()),
            std::chrono::time_point_cast<milliseconds>(clock_type::now())};
}

// ---- The authority's process ----------------------------------------------------------------------------------------

scope place(std::uint64_t n) {
    scope s{"place", {}};
    cbor_writer{s.parameter}.unsigned_integer(n);
    return s;
}
std::string topic_of(std::uint64_t n) { return "place-" + std::to_string(n); }

/// Text of about so many bytes.
std::string words(std::uint64_t seed, std::size_t size = 130) {
    constexpr std::string_view all[] = {"arrives", "late",   "with",     "two",   "friends", "prefers",
                                        "window",  "seat",   "needs",    "near",  "parking", "asked",
                                        "about",   "music",  "brings",   "own",   "cake",    "speaks",
                                        "deposit", "called", "children", "quiet", "corner",  "taxi"};
    random_generator dice{seed};
    std::string out;
    while (out.size() < size) {
        out += all[below(dice, std::size(all))];
        out += ' ';
    }
    return out;
}

bytes whole_fields(std::uint64_t where, std::uint64_t n, std::size_t note = 130) {
    bytes out;
    cbor_writer w{out};
    w.map(3);
    w.text("name");
    w.text("the guest of the number " + std::to_string(n));
    w.text("note");
    w.text(words(n, note));
    w.text("place");
    w.unsigned_integer(where);
    return out;
}

struct house {
    scope_table table;
    sqlite_storage store;
    authority<> self;
    websocket_server* live = nullptr;
    position told = 0;
    std::set<std::string> asking{};  ///< topics of those whose requests are being answered

    static scope_table rules() {
        scope_rule by_place;
        by_place.name = "place";
        by_place.by = "place";
        scope_rule all;
        all.name = "all";
        return scope_table{
            {by_place, all},
            role_source{[](std::string_view who, std::string_view, void const*) { return who == "root"; }},
            "writer"};
    }
    static rule_table merging() {
        rule_table t;
        t.add({"guests", rule::last_writer, {{"visits", rule::counter}}});
        return t;
    }
    static authority_options with(scope_table const& t) {
        authority_options o;
        o.scopes = &t;
        return o;
    }
    explicit house(sqlite_storage opened) : table(rules()), store(std::move(opened)), self(merging(), with(table)) {}

    /// After a commit: news to each place that somebody wrote to.
    void tell() {
        auto tx = store.begin(access_mode::read);
        auto const head = tx ? self.head(*tx) : result<position>{tx.error()};
        if (head && *head != told) {
            told = *head;
            for (std::string const& topic : asking) { live->publish(topic, told); }
        }
        asking.clear();
    }
    /// The token is "<place>/<device>": a deployment's sign-in would say where somebody belongs.
    result<std::string> operator()(std::string_view bearer) {
        asking.insert("place-" + std::string{bearer.substr(0, bearer.find('/'))});
        return std::string{bearer};
    }

    bool fill(std::uint64_t records, std::uint64_t places) {
        request q;
        q.replica = {id128{{std::byte{1}}}, 1};
        q.rows_max = 0;
        std::uint64_t sequence = 0;
        for (std::uint64_t n = 0; n < records; ++n) {
            mutation m;
            m.sequence = ++sequence;
            m.stamp = timestamp::make(now().wall);
            m.kind = change_kind::create;
            m.record = {"guests", "old-" + std::to_string(n)};
            bytes const fields = whole_fields(n % places, n);
            cbor_map_cursor at{fields};
            while (at.next()) { m.ops.push_back({std::string{at.key()}, op_kind::set, to_bytes(at.value()), m.stamp}); }
            bytes raw;
            cbor_writer w{raw};
            encode_mutation(w, m);
            q.mutations.push_back(std::move(raw));
            if (q.mutations.size() == 10'000 || n + 1 == records) {
                q.receipts = sequence - q.mutations.size();
                if (!serve(store, self, "root", encode(q), now())) { return false; }
                q.mutations.clear();
            }
        }
        return true;
    }
};

struct ports {
    std::uint16_t http = 0;
    std::uint16_t live = 0;
};

/// Never returns.
[[noreturn]] void run_house(char const* path, std::uint64_t records, std::uint64_t places, int told) {
    auto opened = sqlite_storage::open(path);
    if (!opened) { die("the authority's database can't be opened"); }
    house h(std::move(*opened));
    random_generator dice{static_cast<std::uint64_t>(now().wall.time_since_epoch().count())};
    {
        auto tx = h.store.begin(access_mode::write);
        if (!tx || !h.self.open(*tx, now(), dice) || !tx->commit()) { die("the authority can't be opened"); }
    }
    if (!h.fill(records, places)) { die("the authority can't be filled"); }
    http_server_options o;
    o.connections_max = 100'000;
    o.idle_timeout = milliseconds{3'600'000};
    // One at a time, or all that have come with one commit.
    group_commit together(
        h.store, h.self, [] { return now(); }, [&] { h.tell(); }, at_a_time);
    http_server server(o, together);
    server.authorise_by(h);
    together.attach(server);
    auto silent = [](request_context const&, bytes_view) -> peer_reply { return errc::unsupported; };
    auto may = [](std::string_view, std::string_view) { return true; };
    websocket_server live({}, id128{{std::byte{7}}}, silent, may);
    h.live = &live;
    if (!server.listen() || !live.listen() || !server.stop_on_signal(SIGTERM)) { die("the authority can't listen"); }
    std::thread telling([&] { live.run(); });
    ports const p{server.port(), live.port()};
    if (::write(told, &p, sizeof p) != static_cast<ssize_t>(sizeof p)) { die("nobody hears where it listens"); }
    server.run();
    live.stop();
    telling.join();
    std::exit(0);
}

class house_process {
public:
    explicit house_process(std::uint64_t records = 0, std::uint64_t places = 1) {
        int ends[2];
        if (::pipe(ends) != 0) { die("no pipe"); }
        pid_ = ::fork();
        if (pid_ < 0) { die("no process"); }
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // it is nobody's when this process is gone
            run_house(file_.path(), records, places, ends[1]);
        }
        ::close(ends[1]);
        ports told;
        if (::read(ends[0], &told, sizeof told) != static_cast<ssize_t>(sizeof told)) {
            die("the authority does not begin");
        }
        ports_ = told;
        ::close(ends[0]);
    }
    house_process(house_process const&) = delete;
    house_process& operator=(house_process const&) = delete;
    ~house_process() {
        ::kill(pid_, SIGTERM);
        ::waitpid(pid_, nullptr, 0);
    }
    [[nodiscard]] ports at() const { return ports_; }
    /// Resident memory, in bytes.
    [[nodiscard]] double memory() const {
        std::ifstream in("/proc/" + std::to_string(pid_) + "/statm");
        double size = 0;
        double resident = 0;
        in >> size >> resident;
        return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
    }
    /// Processor time so far, in seconds.
    [[nodiscard]] double busy() const {
        std::ifstream in("/proc/" + std::to_string(pid_) + "/stat");
        std::string word;
        double user = 0;
        double system = 0;
        for (int i = 1; i < 14; ++i) { in >> word; }
        in >> user >> system;
        return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
    }

private:
    database_file file_{};
    pid_t pid_ = -1;
    ports ports_{};
};

// ---- Devices --------------------------------------------------------------------------------------------------------

struct name_token {
    std::string name;
    result<std::string> token() const { return name; }
    status refresh() const { return errc::unauthorised; }
};

/// A transport that loses messages, or is slow, before the real one.
struct bad_way {
    http_transport& way;
    random_generator dice{1};
    std::uint32_t lost_per_mille = 0;
    double bytes_per_second = 0;  ///< 0: as fast as it goes
    milliseconds round_trip{0};
    std::size_t lost = 0;
    std::vector<double> took{};  ///< of each exchange, in milliseconds
    std::size_t sent = 0;
    std::size_t received = 0;

    void exchange(bytes_view request, completion done) {
        auto const begun = clock_type::now();
        bytes reply;
        result<bytes_view> out = errc::cancelled;
        std::optional<milliseconds> retry_after;
        if (below(dice, 1000) < lost_per_mille) {
            ++lost;
            return done({failure{errc::timed_out, "the request was lost"}, {}});
        }
        auto take = [&](transport_reply const& r) {
            retry_after = r.retry_after;
            if (r.message) {
                reply = to_bytes(*r.message);
                out = bytes_view{reply};
            } else {
                out = r.message.error();
            }
        };
        way.exchange(request, completion::to(take));
        if (below(dice, 1000) < lost_per_mille) {
            ++lost;
            return done({failure{errc::timed_out, "the reply was lost"}, {}});
        }
        sent += request.size();
        received += reply.size();
        if (bytes_per_second > 0) {
            duration<double> const wire{static_cast<double>(request.size() + reply.size()) / bytes_per_second};
            std::this_thread::sleep_for(wire + round_trip);
        }
        took.push_back(duration<double, std::milli>(clock_type::now() - begun).count());
        done({out, retry_after});
    }
    [[nodiscard]] transport_limits limits() const { return way.limits(); }
};

replica_options scoped() {
    replica_options o;
    o.scoped = true;
    return o;
}
http_options reaching(std::uint16_t port) {
    http_options o;
    o.host = "127.0.0.1";
    o.port = port;
    o.idle_max = milliseconds{3'600'000};
    return o;
}

template <class Store>
struct device {
    std::unique_ptr<Store> store;
    replica self{house::merging(), scoped()};
    random_generator dice;
    session<Store, random_generator> link;
    name_token token;
    http_transport http;
    bad_way way;
    std::uint64_t where;
    std::string id;
    std::int64_t writes = 0;
    milliseconds skipped{0};  ///< waits that were not waited

    device(std::unique_ptr<Store> s, std::uint64_t number, std::uint64_t in, std::uint16_t port,
           session_options options = {})
        : store(std::move(s)),
          dice(number * 7919 + 1),
          link(*store, self, random_generator{number}, options),
          token{std::to_string(in) + "/" + std::to_string(number)},
          http(reaching(port), token),
          way{http, random_generator{number + 1'000'000}},
          where(in),
          id("of-" + std::to_string(number)) {}

    [[nodiscard]] instant time() const {
        instant t = now();
        t.monotonic += skipped;
        return t;
    }
    template <class F>
    bool change(F f) {
        auto tx = store->begin(access_mode::write);
        return tx && f(*tx).has_value() && tx->commit().has_value();
    }
    /// With no scopes: the one of its place.
    bool begin(std::vector<scope> const& scopes = {}) {
        bool well = change([&](auto& tx) { return self.open(tx, token.name, time(), dice); });
        for (scope const& s : scopes) {
            well = well && change([&](auto& tx) { return self.join(tx, s); });
        }
        if (scopes.empty()) {
            well = well && change([&](auto& tx) { return self.join(tx, place(where)); });
        }
        return well && sync();
    }
    bool create() {
        return change([&](auto& tx) {
            bytes fields = whole_fields(where, 1);
            return self.create(tx, {std::string_view{"guests"}, std::string_view{id}}, fields, time());
        });
    }
    bool write() {
        ++writes;
        return change([&](auto& tx) {
            bytes one;
            cbor_writer{one}.integer(1);
            bytes note;
            cbor_writer{note}.text(words(static_cast<std::uint64_t>(writes)));
            return self.update(tx, {std::string_view{"guests"}, std::string_view{id}},
                               {{"note", op_kind::set, note, {}}, {"visits", op_kind::add, one, {}}}, time());
        });
    }
    bool sync(session_input const& first = hurry{}) {
        auto const done = drive(
            link, *store, way, [&] { return time(); }, [](event const&) {}, first);
        return done && !done->failed;
    }
    /// The same until it succeeds; waits pass at once. How many tries it took.
    std::size_t sync_at_last(milliseconds& waited) {
        session_input first = hurry{};
        for (std::size_t tries = 1;; ++tries) {
            if (sync(first)) { return tries; }
            first = tick{};
            auto const next = link.poll(time());
            auto const* wait = next ? std::get_if<wait_until>(&*next) : nullptr;
            if (wait == nullptr || !wait->deadline) { die("a session waits for ever"); }
            auto const rest = (std::max)(std::chrono::duration_cast<milliseconds>(*wait->deadline - time().monotonic),
                                         milliseconds{1});
            skipped += rest;
            waited += rest;
        }
    }
    std::optional<std::int64_t> visits(std::string_view of) {
        auto tx = store->begin(access_mode::read);
        auto const held = self.read(*tx, {std::string_view{"guests"}, of});
        if (!held || !*held) { return {}; }
        auto const value = map_find((**held).fields, "visits");
        if (!value || !*value) { return {}; }
        return cbor_reader{**value}.integer();
    }
};
using memory_device = device<memory_storage>;
using fleet = std::vector<std::unique_ptr<memory_device>>;

/// Does `f(worker)` on so many threads.
template <class F>
void on_workers(std::size_t count, F f) {
    std::vector<std::thread> all;
    for (std::size_t w = 0; w < count; ++w) {
        all.emplace_back([&f, w] { f(w); });
    }
    for (std::thread& t : all) { t.join(); }
}
std::atomic<bool> well{true};
void need(bool good) {
    if (!good) { well = false; }
}

fleet make_fleet(std::size_t count, std::uint16_t port, session_options options = {}) {
    fleet all(count);
    on_workers(workers, [&](std::size_t w) {
        for (std::size_t i = w; i < count; i += workers) {
            all[i] = std::make_unique<memory_device>(std::make_unique<memory_storage>(), i + 1, i / devices_of_a_place,
                                                     port, options);
            need(all[i]->begin() && all[i]->create() && all[i]->sync());
        }
    });
    if (!well) { die("not every device could begin"); }
    return all;
}

void percentiles(char const* part, std::string const& what, std::vector<double> all) {
    if (all.empty()) { return; }
    std::sort(all.begin(), all.end());
    auto const at = [&](double share) {
        return all[(std::min)(all.size() - 1, static_cast<std::size_t>(share * static_cast<double>(all.size())))];
    };
    print(part, what + " p50", at(0.50), "ms");
    print(part, what + " p95", at(0.95), "ms");
    print(part, what + " p99", at(0.99), "ms");
    print(part, what + " most", all.back(), "ms");
    print(part, what + " count", static_cast<double>(all.size()), "");
}
std::vector<double> exchanges_of(fleet& all) {
    std::vector<double> out;
    for (auto& d : all) {
        out.insert(out.end(), d->way.took.begin(), d->way.took.end());
        d->way.took.clear();
    }
    return out;
}
double milliseconds_since(clock_type::time_point t) {
    return duration<double, std::milli>(clock_type::now() - t).count();
}

// ---- The parts ------------------------------------------------------------------------------------------------------

void hold() {
    for (std::size_t const count : {1000U, 4000U}) {
        house_process const h;
        double const before = h.memory();
        auto const begun = clock_type::now();
        fleet all = make_fleet(count, h.at().http);
        std::string const n = std::to_string(count) + " sessions";
        print("hold", n + ", each begun", milliseconds_since(begun) / 1000, "s");
        print("hold", n + ", memory a session", (h.memory() - before) / 1024 / static_cast<double>(count), "KiB");
        auto const one_each = [&] {
            on_workers(workers, [&](std::size_t w) {
                for (std::size_t i = w; i < count; i += workers) { need(all[i]->sync()); }
            });
        };
        one_each();  // fetches what the others of each place have made, and confirms it
        one_each();
        (void)exchanges_of(all);
        double const busy = h.busy();
        auto const round = clock_type::now();
        one_each();
        double const took = milliseconds_since(round) / 1000;
        print("hold", n + ", exchanges without news", static_cast<double>(count) / took, "1/s");
        print("hold", n + ", authority's processor time for one", (h.busy() - busy) * 1e6 / static_cast<double>(count),
              "us");
        percentiles("hold", n + ", exchange without news, 16 at a time", exchanges_of(all));
    }
}

/// Sixteen devices at a time, each again as soon as it is done; mutations a second.
double closed_loop(house_process const& h, fleet& all, double seconds, int batch) {
    std::atomic<std::size_t> mutations{0};
    double const busy = h.busy();
    auto const begun = clock_type::now();
    on_workers(workers, [&](std::size_t w) {
        for (std::size_t i = w; milliseconds_since(begun) < seconds * 1000;
             i = i + workers < all.size() ? i + workers : w) {
            memory_device& d = *all[i];
            for (int k = 0; k < batch; ++k) {
                // Not coalesced: each one a mutation of its own.
                if (batch == 1) {
                    need(d.write());
                    continue;
                }
                record_key const key{"guests", d.id + "-" + std::to_string(++d.writes)};
                need(d.change([&](auto& tx) {
                    return d.self.create(tx, key, whole_fields(d.where, static_cast<std::uint64_t>(d.writes)),
                                         d.time());
                }));
            }
            need(d.sync());
            mutations += static_cast<std::size_t>(batch);
        }
    });
    double const took = milliseconds_since(begun) / 1000;
    double const rate = static_cast<double>(mutations.load()) / took;
    std::string const what = std::to_string(batch) + " a request";
    print("capacity", what + ", mutations", rate, "1/s");
    print("capacity", what + ", authority's processor time for a mutation",
          (h.busy() - busy) * 1e6 / static_cast<double>(mutations.load()), "us");
    percentiles("capacity", what + ", exchange", exchanges_of(all));
    return rate;
}

void capacity(double seconds) {
    house_process const h;
    fleet all = make_fleet(1000, h.at().http);
    (void)exchanges_of(all);
    closed_loop(h, all, seconds, 1);
    closed_loop(h, all, seconds, 20);
}

/// One device of a place writes, another one listens, and pulls when it hears of it.
struct watched_pair {
    memory_device writer;
    memory_device reader;
    std::mutex guard{};
    std::map<std::int64_t, clock_type::time_point> written{};
    std::vector<double> took{};

    watched_pair(std::uint64_t in, ports at)
        : writer(std::make_unique<memory_storage>(), 900'001, in, at.http),
          reader(std::make_unique<memory_storage>(), 900'002, in, at.http) {}

    void read(std::uint16_t port, std::atomic<bool> const& over) {
        websocket_options to;
        to.host = "127.0.0.1";
        to.port = port;
        websocket_transport live(to);
        live_listener ear({{topic_of(reader.where)}}, random_generator{5});
        std::int64_t seen = 0;
        while (!over) {
            bool heard = false;
            (void)attend(
                ear, live, [] { return now().monotonic; },
                [&](live_output const& out) {
                    heard = heard || std::holds_alternative<live_news>(out) || std::holds_alternative<live_gap>(out);
                });
            if (heard && reader.sync(news{})) {
                auto const arrived = clock_type::now();
                std::int64_t const held = reader.visits(writer.id).value_or(0);
                std::lock_guard const lock(guard);
                for (; seen < held; ++seen) {
                    took.push_back(duration<double, std::milli>(arrived - written[seen + 1]).count());
                }
            }
            if (!heard) { live.wait(milliseconds{50}); }
        }
    }
};

void half(double seconds) {
    house_process const h;
    fleet all = make_fleet(1000, h.at().http);
    (void)exchanges_of(all);
    double const rate = closed_loop(h, all, seconds / 2, 1) / 2;
    print("half", "mutations asked for", rate, "1/s");

    watched_pair pair(0, h.at());
    need(pair.writer.begin() && pair.writer.create() && pair.writer.sync() && pair.reader.begin());
    std::atomic<bool> over{false};
    std::thread reading([&] { pair.read(h.at().live, over); });
    std::this_thread::sleep_for(milliseconds{500});

    std::vector<std::vector<double>> syncs(workers);
    double const busy = h.busy();
    auto const begun = clock_type::now();
    auto const end = begun + std::chrono::duration_cast<clock_type::duration>(duration<double>(seconds));
    std::thread writing([&] {
        for (std::int64_t n = 1; clock_type::now() < end; ++n) {
            {
                std::lock_guard const lock(pair.guard);
                pair.written[n] = clock_type::now();
            }
            need(pair.writer.write() && pair.writer.sync());
            std::this_thread::sleep_for(milliseconds{50});
        }
    });
    on_workers(workers, [&](std::size_t w) {
        random_generator dice{w + 77};
        double const gap = static_cast<double>(workers) / rate;
        auto due = begun;
        for (std::size_t i = w;; i = i + workers < all.size() ? i + workers : w) {
            double const u = (static_cast<double>(dice() >> 11) + 1) / 9007199254740993.0;
            due += std::chrono::duration_cast<clock_type::duration>(duration<double>(-gap * std::log(u)));
            if (due >= end) { return; }
            std::this_thread::sleep_until(due);
            need(all[i]->write() && all[i]->sync());
            syncs[w].push_back(milliseconds_since(due));
        }
    });
    writing.join();
    double const took = milliseconds_since(begun) / 1000;
    std::vector<double> whole;
    for (auto const& s : syncs) { whole.insert(whole.end(), s.begin(), s.end()); }
    print("half", "mutations made", static_cast<double>(whole.size()) / took, "1/s");
    print("half", "authority's share of a processor", (h.busy() - busy) / took * 100, "%");
    percentiles("half", "exchange", exchanges_of(all));
    percentiles("half", "write and sync, from when it was due", whole);
    std::this_thread::sleep_for(milliseconds{500});
    over = true;
    reading.join();
    percentiles("half", "one device's write to the other's read", pair.took);
    print("half", "writes that the other did not read",
          static_cast<double>(pair.written.size()) - static_cast<double>(pair.took.size()), "");
}

/// Of so many messages in a thousand, requests and replies alike, nothing is heard again.
void loss(std::uint32_t per_mille, bool policy) {
    house_process const h;
    session_options waits_by;
    if (policy) { waits_by.retry = retry_policy_options{}; }
    std::string const name =
        std::to_string(per_mille) + " of 1000 messages, " + (policy ? "a whole policy, " : "backoff alone, ");
    fleet all = make_fleet(200, h.at().http, waits_by);
    for (auto& d : all) { d->way.lost_per_mille = per_mille; }
    constexpr std::size_t each = 100;
    std::mutex guard;
    std::map<std::size_t, std::size_t> tries;
    std::vector<double> waits;
    on_workers(workers, [&](std::size_t w) {
        for (std::size_t i = w; i < all.size(); i += workers) {
            for (std::size_t k = 0; k < each; ++k) {
                milliseconds waited{0};
                all[i]->skipped += milliseconds{30'000};  // a write each half minute
                need(all[i]->write());
                std::size_t const t = all[i]->sync_at_last(waited);
                std::lock_guard const lock(guard);
                ++tries[t];
                waits.push_back(static_cast<double>(waited.count()));
            }
        }
    });
    double const count = static_cast<double>(all.size() * each);
    double within = 0;
    for (auto const& [t, n] : tries) {
        within += static_cast<double>(n);
        if (t <= 5) {
            print("loss", name + "syncs done within " + std::to_string(t) + " tries", within / count * 100, "%");
        }
    }
    double quick = 0;
    for (double const w : waits) { quick += w <= 30'000 ? 1 : 0; }
    print("loss", name + "syncs done within 30 s of waiting", quick / count * 100, "%");
    percentiles("loss", name + "waiting between tries (skipped)", waits);
    // Each write counts once, whatever was lost.
    std::int64_t wrong = 0;
    for (auto& d : all) { wrong += d->visits(d->id).value_or(0) == d->writes ? 0 : 1; }
    memory_device auditor(std::make_unique<memory_storage>(), 900'003, 0, h.at().http);
    need(auditor.begin());
    for (std::size_t i = 0; i < devices_of_a_place; ++i) {
        wrong += auditor.visits(all[i]->id).value_or(0) == all[i]->writes ? 0 : 1;
    }
    print("loss", name + "devices whose writes count wrongly", static_cast<double>(wrong), "");
}

void offline() {
    for (auto const mode : {sqlite_synchronous::full, sqlite_synchronous::normal}) {
        database_file const file{};
        sqlite_options o;
        o.synchronous = mode;
        auto opened = sqlite_storage::open(file.path(), o);
        if (!opened) { die("a device's database can't be opened"); }
        device<sqlite_storage> d(std::make_unique<sqlite_storage>(std::move(*opened)), 1, 0, 1);
        need(d.change([&](auto& tx) { return d.self.open(tx, "anna", d.time(), d.dice); }));
        constexpr std::uint64_t records = 10'000;
        auto const key = [](std::uint64_t n) { return record_key{"guests", "local-" + std::to_string(n)}; };
        for (std::uint64_t n = 0; n < records;) {
            need(d.change([&](auto& tx) -> status {
                for (std::uint64_t const end = n + 1000; n < end; ++n) {
                    if (auto ok = d.self.create(tx, key(n), whole_fields(0, n), d.time()); !ok) { return ok.error(); }
                }
                return {};
            }));
        }
        std::vector<double> writes;
        std::vector<double> reads;
        for (std::uint64_t k = 0; k < 5'000; ++k) {
            record_key const k1 = key(below(d.dice, records));
            record_key const k2 = key(below(d.dice, records));
            bytes note;
            cbor_writer{note}.text("note " + std::to_string(k));
            auto const begun = clock_type::now();
            need(d.change([&](auto& tx) {
                return d.self.update(tx, k1, {{"note", op_kind::set, note, {}}}, d.time());
            }));
            writes.push_back(milliseconds_since(begun));
            auto const asked = clock_type::now();
            {
                auto tx = d.store->begin(access_mode::read);
                auto const held = d.self.read(*tx, k2);
                need(held && *held);
            }
            reads.push_back(milliseconds_since(asked));
        }
        std::string const name = mode == sqlite_synchronous::full ? "FULL" : "NORMAL";
        percentiles("offline", "write, synchronous " + name, writes);
        percentiles("offline", "read, synchronous " + name, reads);
    }
}

void scopes() {
    struct shape {
        std::size_t devices, scopes;
    };
    for (shape const s : {shape{1000, 10}, shape{1000, 100}, shape{100, 1000}}) {
        house_process const h(1'000, 1000);
        fleet all(s.devices);
        on_workers(workers, [&](std::size_t w) {
            for (std::size_t i = w; i < s.devices; i += workers) {
                all[i] = std::make_unique<memory_device>(std::make_unique<memory_storage>(), i + 1, 0, h.at().http);
                std::vector<scope> in;
                for (std::size_t k = 0; k < s.scopes; ++k) { in.push_back(place((i + k) % 1000)); }
                need(all[i]->begin(in));
            }
        });
        (void)exchanges_of(all);
        double const busy = h.busy();
        auto const begun = clock_type::now();
        for (auto& d : all) { need(d->sync()); }
        std::string const what = std::to_string(s.devices) + " devices in " + std::to_string(s.scopes) + " scopes each";
        print("scopes", what + ", an exchange each", milliseconds_since(begun) / 1000, "s");
        print("scopes", what + ", authority's processor time for one",
              (h.busy() - busy) * 1e6 / static_cast<double>(s.devices), "us");
        percentiles("scopes", what + ", exchange without news", exchanges_of(all));
    }
}

void large() {
    house_process const h(100'000, 1000);
    database_file const file{};
    auto opened = sqlite_storage::open(file.path());
    if (!opened) { die("a device's database can't be opened"); }
    device<sqlite_storage> d(std::make_unique<sqlite_storage>(std::move(*opened)), 1, 5'000, h.at().http);
    need(d.begin());  // in an empty place
    scope const all{"all", {}};
    need(d.change([&](auto& tx) { return d.self.join(tx, all); }));
    d.way.took.clear();
    auto const begun = clock_type::now();
    need(d.sync());
    print("large", "a scope of 100,000 records is joined", milliseconds_since(begun) / 1000, "s");
    percentiles("large", "an exchange of it", d.way.took);
    print("large", "its bytes", static_cast<double>(d.way.received) / 1e6, "MB");
    auto const leaving = clock_type::now();
    need(d.change([&](auto& tx) { return d.self.leave(tx, all); }));
    print("large", "it is left", milliseconds_since(leaving), "ms");
    for (bool more = true; more && well;) {
        need(d.change([&](auto& tx) {
            auto const step = d.self.evict(tx, 1'000);
            more = step && *step;
            return step;
        }));
    }
    print("large", "and its records are evicted", milliseconds_since(leaving) / 1000, "s");
    need(d.sync());
}

/// As many records as a device of the main example writes and gets on its Saturday, and about as large.
void day() {
    house_process const h;
    memory_device others(std::make_unique<memory_storage>(), 1, 0, h.at().http);
    memory_device away(std::make_unique<memory_storage>(), 2, 0, h.at().http);
    need(others.begin() && away.begin() && away.create() && away.sync());
    auto const make = [](memory_device& d, char const* what, std::uint64_t count) {
        for (std::uint64_t n = 0; n < count; ++n) {
            record_key const k{"guests", std::string(what) + std::to_string(n)};
            need(d.change([&](auto& tx) { return d.self.create(tx, k, whole_fields(d.where, n, 60), d.time()); }));
        }
    };
    make(others, "theirs-", 1'200);
    need(others.sync());
    make(away, "mine-", 400);
    away.way.bytes_per_second = 50'000;
    away.way.round_trip = milliseconds{100};
    away.way.sent = away.way.received = 0;
    away.way.took.clear();
    auto const begun = clock_type::now();
    need(away.sync());
    print("day", "400 records written and 1,200 fetched at 50 kB/s, 100 ms", milliseconds_since(begun) / 1000, "s");
    print("day", "its exchanges", static_cast<double>(away.way.took.size()), "");
    print("day", "its bytes up", static_cast<double>(away.way.sent) / 1000, "kB");
    print("day", "its bytes down", static_cast<double>(away.way.received) / 1000, "kB");
}

}  // namespace

int main(int argc, char** argv) {
    ::signal(SIGPIPE, SIG_IGN);
    double seconds = 10;
    std::set<std::string> parts;
    for (int i = 1; i < argc; ++i) {
        if (std::string_view{argv[i]} == "--seconds" && i + 1 < argc) {
            seconds = std::atof(argv[++i]);
        } else if (std::string_view{argv[i]} == "--one-by-one") {
            at_a_time = 1;
        } else {
            parts.insert(argv[i]);
        }
    }
    auto const part = [&](char const* name, std::function<void()> const& run) {
        if (!parts.empty() && !parts.contains(name)) { return; }
        run();
        if (!well) { die("a step failed: the numbers above are of no use"); }
    };
    part("hold", [] { hold(); });
    part("capacity", [&] { capacity(seconds); });
    part("half", [&] { half(seconds); });
    part("loss", [] {
        for (std::uint32_t const per_mille : {25U, 50U}) {
            loss(per_mille, false);
            loss(per_mille, true);
        }
    });
    part("offline", [] { offline(); });
    part("scopes", [] { scopes(); });
    part("large", [] { large(); });
    part("day", [] { day(); });
}
