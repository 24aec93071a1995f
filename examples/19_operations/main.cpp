// SPDX-License-Identifier: BSL-1.0
// Two servers on loopback. The house's takes its tills' requests, and says of each till where it stands. A till's own gives
// an operator routes: status, pending, sync, retry, resolve, purge, check, analytics. Then an operator helps a till that
// is stuck.

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/adapters/http_client.hpp>
#include <syncline/adapters/http_server.hpp>
#include <syncline/replica.hpp>
#include <syncline/storage.hpp>
#include <syncline/transport.hpp>

using namespace syncline;

namespace {

struct booking {
    std::string client;
    std::int64_t guests = 0;
    std::string table;
};
constexpr auto describe(booking const*) {
    return record_of<booking>("bookings", field("client", &booking::client),
                              field("guests", &booking::guests, rule::counter),
                              field("table", &booking::table, rule::manual));
}

/// The house has built a hall since: what was refused may be sent again.
std::atomic<std::int64_t> seats{200};

struct house_rules {
    validation operator()(validation_input const& in) const {
        auto const b = decode_record<booking>(in.after.fields);
        if (in.after.deleted || (b && b->guests <= seats)) { return {}; }
        return {false, errc::rejected, "the house has no room for so many"};
    }
};

/// Time that only moves when told, so that it prints the same each time; a program reads its clocks.
std::atomic<std::int64_t> played_ms{0};
instant now() {
    milliseconds const t{played_ms.load()};
    return {wall_time{milliseconds{1'790'000'000'000} + t}, monotonic_time{t}};
}

template <class Store, class F>
auto write(Store& store, F f) -> std::invoke_result_t<F, typename Store::transaction&> {
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    auto out = f(*tx);
    if (!out) { return out; }
    if (auto ok = tx->commit(); !ok) { return ok.error(); }
    return out;
}

/// In this house the token is the name; elsewhere it is what your sign-in hands out.
struct sign_in {
    result<std::string> operator()(std::string_view token) const {
        if (token.empty()) { return errc::unauthorised; }
        return std::string{token};
    }
};
struct token_of {
    std::string name;
    result<std::string> token() const { return name; }
    status refresh() const { return errc::unauthorised; }
};

/// A server on a thread of its own, as long as it lives.
template <class Handler>
class served {
public:
    served(http_server_options options, Handler& handler) : server_(std::move(options), handler) {
        server_.authorise_by(who_);
    }
    served(served const&) = delete;
    ~served() {
        server_.stop();
        if (thread_.joinable()) { thread_.join(); }
    }
    template <class Pages>
    void get_by(Pages& pages) {
        server_.get_by(pages);
    }
    status start() {
        auto ok = server_.listen();
        if (ok) {
            thread_ = std::thread([this] { server_.run(); });
        }
        return ok;
    }
    [[nodiscard]] std::uint16_t port() const { return server_.port(); }

private:
    sign_in who_;
    http_server server_;
    std::thread thread_;
};

/// One message to a server and what it answers.
result<std::string> post(std::uint16_t port, std::string path, std::string who, bytes_view message) {
    token_of token{std::move(who)};
    http_transport way({.port = port, .target = std::move(path)}, token);
    result<std::string> out = errc::cancelled;
    auto take = [&](transport_reply const& r) {
        out =
            r.message ? result<std::string>{std::string(as_text(*r.message))} : result<std::string>{r.message.error()};
    };
    way.exchange(message, completion::to(take));
    return out;
}

// region: house
/// The authority, behind one address for requests, integrity checks and its operator.
struct house {
    memory_storage store{};
    authority<house_rules> self{rule_table::of<booking>(), {.leases = {.length = milliseconds{86'400'000}}}};

    peer_reply operator()(request_context const& who, bytes_view message) {
        if (who.principal == "operator") { return devices(); }
        if (is_integrity_ask(message)) { return serve_integrity(store, self, message); }
        return serve(store, self, who.principal, message, now());
    }
    result<bytes> devices() {
        std::ostringstream out;
        auto tx = store.begin(access_mode::read);
        if (!tx) { return tx.error(); }
        auto const head = self.head(*tx);
        if (!head) { return head.error(); }
        auto const ok = self.replicas(*tx, [&](registered_replica const& r) {
            out << "device " << r.index << " of " << r.principal << ": " << r.decided << " writes decided, stands at "
                << r.cursor.value_or(0) << " of " << *head << '\n';
            return true;
        });
        if (!ok) { return ok.error(); }
        return to_bytes(out.str());
    }
};
// endregion: house

/// A device, and what is done with it.
class till {
public:
    till(std::uint64_t seed, std::uint16_t house_port)
        : random_(seed), link_(store_, self_, random_), token_{"anna"}, way_({.port = house_port}, token_) {}

    status open() {
        return write(store_, [&](auto& tx) { return self_.open(tx, "anna", now(), random_); });
    }
    template <class F>
    status edit(std::string_view id, F change) {
        auto const done = write(store_, [&](auto& tx) { return self_.edit<booking>(tx, id, change, now()); });
        return done ? status{} : done.error();
    }
    status create(std::string_view id, booking const& b) {
        auto const done = write(store_, [&](auto& tx) { return self_.create(tx, id, b, now()); });
        return done ? status{} : done.error();
    }
    status sync() {
        std::vector<verdict_kind> verdicts;
        auto const run = drive(
            link_, store_, way_, now,
            [&](event const& e) {
                if (e.kind == event_kind::decided) { verdicts.push_back(e.said.kind); }
            },
            hurry{});
        if (!run) { return run.error(); }
        auto const noted = write(store_, [&](auto& tx) -> status {
            for (verdict_kind const k : verdicts) {
                if (auto ok = log_.decided(tx, k, now().wall); !ok) { return ok; }
            }
            return log_.exchanged(tx, *run, milliseconds{80}, now().wall);  // a program measures it
        });
        return noted && run->failed ? status{*run->failed} : noted;
    }

    // region: routes
    /// What an operator posts: a word, and for some the number of a write.
    peer_reply operator()(request_context const& who, bytes_view message) {
        if (who.principal != "operator") { return result<bytes>{errc::forbidden}; }
        std::istringstream in{std::string(as_text(message))};
        std::string what;
        std::string side;
        std::uint64_t token = 0;
        in >> what >> token >> side;
        std::ostringstream out;
        status const ok = what == "status"      ? show_status(out)
                          : what == "pending"   ? show_pending(out)
                          : what == "analytics" ? show_analytics(out)
                          : what == "sync"      ? sync()
                          : what == "check"     ? check(out)
                          : what == "retry"     ? retry(token)
                          : what == "resolve"   ? resolve(token, side == "local")
                          : what == "purge"     ? purge(token)
                                                : status{errc::not_found};
        if (!ok) { return result<bytes>{ok.error()}; }
        return result<bytes>{to_bytes(out.str().empty() ? std::string("done\n") : out.str())};
    }
    // endregion: routes

    /// For a monitor that only wants a word.
    std::optional<http_page> health_page(std::string_view path) {
        if (path != "/health") { return std::nullopt; }
        auto const h = health();
        if (!h) { return http_page{.http_status = 500, .body = "damaged\n"}; }
        bool const ill = h->state == health_state::blocked || h->outage;
        return http_page{.http_status = ill ? 503 : 200, .body = std::string(name(h->state)) + "\n"};
    }

private:
    result<device_health> health() {
        auto tx = store_.begin(access_mode::read);
        if (!tx) { return tx.error(); }
        return health_of(*tx, self_, link_, log_, now());
    }
    status show_status(std::ostream& out) {
        auto const h = health();
        if (!h) { return h.error(); }
        out << name(h->state) << ", " << h->pending << " pending, " << h->dead << " refused, " << h->conflicts
            << " in conflict";
        if (h->why) { out << "; " << message(h->why->code); }
        if (h->last_success) {
            out << "; last success " << (now().wall - *h->last_success).count() / 60'000 << " min ago";
        }
        out << '\n';
        return {};
    }
    status show_pending(std::ostream& out) {
        auto const h = health();
        if (!h) { return h.error(); }
        auto tx = store_.begin(access_mode::read);
        if (!tx) { return tx.error(); }
        auto const ok = scan_writes(*tx, self_, h->why, [&](write_report const& w) {
            out << w.token << ' ' << w.record.id_text() << ": " << w.why << '\n';
            return true;
        });
        if (h->pending != 0 && h->estimate) {
            out << h->pending << " pending, some " << h->estimate->count() << " ms at the pace of late\n";
        }
        return ok;
    }
    status show_analytics(std::ostream& out) {
        auto tx = store_.begin(access_mode::read);
        if (!tx) { return tx.error(); }
        auto const past = log_.history(*tx, now().wall);
        if (!past) { return past.error(); }
        out << past->decided << " decided, " << past->conflicts << " conflicts, " << past->rejections << " refused; "
            << past->exchanges.failed << " runs of exchanges failed\n";
        return {};
    }
    status retry(std::uint64_t token) {
        return write(store_, [&](auto& tx) { return retry_write(tx, self_, token, now()); });
    }
    status purge(std::uint64_t token) {
        return write(store_, [&](auto& tx) { return purge_write(tx, self_, token); });
    }
    status resolve(std::uint64_t token, bool local) {
        auto const side = local ? field_resolution::choice::local : field_resolution::choice::remote;
        auto const done = write(store_, [&](auto& tx) { return decide_conflict(tx, self_, token, side, now()); });
        return done ? status{} : done.error();
    }
    /// Compares everything that is held with the house.
    status check(std::ostream& out) {
        auto ok = write(store_, [&](auto& tx) { return walk_.begin(tx, random_); });
        while (ok) {
            std::optional<bytes> ask;
            {
                auto tx = store_.begin(access_mode::read);
                if (!tx) { return tx.error(); }
                auto next = walk_.ask(*tx, self_);
                if (!next) { return next.error(); }
                ask = std::move(*next);
            }
            if (!ask) { break; }
            bytes answer;
            auto take = [&](transport_reply const& r) {
                ok = r.message ? status{} : r.message.error();
                if (ok) { answer = to_bytes(*r.message); }
            };
            way_.exchange(*ask, completion::to(take));
            if (ok) {
                ok = write(store_, [&](auto& tx) { return walk_.absorb(tx, self_, answer); });
            }
        }
        if (!ok) { return ok; }
        auto tx = store_.begin(access_mode::read);
        if (!tx) { return tx.error(); }
        auto const found = walk_.report(*tx);
        if (!found) { return found.error(); }
        out << (*found)->rows << " records compared, " << (*found)->differing << " ranges differ\n";
        return {};
    }

    memory_storage store_{};
    replica const self_{rule_table::of<booking>()};
    syncline::random_generator random_;  // seeded, to print the same each time; a program takes the system's entropy
    session<memory_storage, syncline::random_generator> link_;
    health_log const log_{};
    integrity_check const walk_{};
    token_of token_;
    http_transport way_;
};

status run() {
    house home;
    syncline::random_generator dice(1);
    if (auto ok = write(home.store, [&](auto& tx) { return home.self.open(tx, now(), dice); }); !ok) { return ok; }
    served house_server({}, home);
    if (auto ok = house_server.start(); !ok) { return ok; }

    till bar(2, house_server.port());
    till office(3, house_server.port());
    status ok = bar.open();
    if (ok) { ok = office.open(); }
    for (char const* id : {"dahl", "ostrow"}) {
        if (ok) { ok = bar.create(id, booking{id, 40, "garden"}); }
    }
    if (ok) { ok = bar.sync(); }
    if (ok) { ok = office.sync(); }
    played_ms += 60'000;
    if (ok) {
        ok = office.edit("dahl", [](booking& b) { b.table = "terrace"; });
    }
    if (ok) { ok = office.sync(); }
    if (ok) {
        ok = bar.edit("dahl", [](booking& b) { b.table = "hall"; });
    }
    if (ok) {
        ok = bar.edit("ostrow", [](booking& b) { b.guests += 300; });
    }
    if (ok) { ok = bar.sync(); }
    if (ok) { ok = bar.create("weiss", booking{"weiss", 12, "garden"}); }
    if (!ok) { return ok; }
    played_ms += 600'000;

    // From here on the bar's till is its server's; an operator has nothing but its routes.
    auto pages = [&](std::string_view path) { return bar.health_page(path); };
    served bar_server({.path = "/operate"}, bar);
    bar_server.get_by(pages);
    if (ok = bar_server.start(); !ok) { return ok; }
    auto const ask = [&](std::string const& what, char const* who = "operator") {
        std::cout << "> " << what << '\n';
        auto const said = post(bar_server.port(), "/operate", who, as_bytes(what));
        std::cout << (said ? *said : std::string(message(said.error().code)) + "\n");
    };
    ask("status", "anna");  // a device's token is not the operator's
    ask("status");
    ask("pending");
    std::cout << "The house has built a hall.\n";
    seats = 400;
    ask("retry 4098");
    ask("resolve 3074 remote");
    ask("sync");
    ask("pending");
    ask("status");
    ask("purge 4098");  // there is nothing left of it
    ask("check");
    ask("analytics");
    std::cout << "> devices, at the house\n";
    auto const devices = post(house_server.port(), "/sync", "operator", as_bytes("devices"));
    std::cout << (devices ? *devices : std::string("no answer\n"));
    return {};
}

}  // namespace

int main() {
    auto const ok = run();
    if (ok) { return EXIT_SUCCESS; }
    std::cerr << message(ok.error().code) << ": " << ok.error().detail << '\n';
    return EXIT_FAILURE;
}
