// SPDX-License-Identifier: BSL-1.0
// A venue without internet: bar, kitchen and hall, three processes, meet over HTTP on loopback, and the hall's tablet
// carries the day's work of all of them home.

#include <cstdint>
#include <cstdio>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <syncline/adapters/http.hpp>
#include <syncline/replica.hpp>
#include <syncline/storage.hpp>
#include <syncline/transport.hpp>

using namespace syncline;

namespace {

struct table {
    std::string party;
    std::int64_t guests = 0;
    std::int64_t plates = 0;
};
constexpr auto describe(table const*) {
    return record_of<table>("tables", field("party", &table::party), field("guests", &table::guests, rule::counter),
                            field("plates", &table::plates, rule::counter));
}

constexpr instant now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{0}}};

/// A secret that a device and the office share; a program draws it when the device is set up.
bytes secret_of(std::string_view name) { return to_bytes(as_bytes("sixteen bytes of " + std::string{name})); }

/// The device's name as a bearer token; elsewhere it is what your sign-in hands out.
struct name_tag {
    std::string name;
    result<std::string> token() const { return name; }
    status refresh() const { return errc::unauthorised; }
};
auto sign_in = [](std::string_view token) -> result<std::string> {
    if (token.empty()) { return errc::unauthorised; }
    return std::string{token};
};

// region: device
struct device {
    std::string name;
    syncline::random_generator random;  // seeded, to print the same each time; a program takes the system's entropy
    memory_storage store{};
    replica self{rule_table::of<table>(), {.relay = relay_options{.realm = "Ballhaus"}}};
    mac_sealer sealer;  // the authority has the key too, and sees by it whose an envelope is
    peer_exchange<replica, mac_sealer> listening{self, sealer};

    device(std::string who, std::uint64_t seed)
        : name(std::move(who)), random(seed), sealer(as_bytes(name), secret_of(name)) {}
    device(device const&) = delete;

    /// Answers another device that asks.
    result<bytes> answer(std::string_view principal, bytes_view message) {
        return serve_peer(store, listening, principal, message, now);
    }
    /// Asks another device, until neither lacks what the other holds.
    result<meeting_report> meet_at(std::uint16_t port, std::string_view principal) {
        name_tag tag{name};
        http_transport way({.host = "127.0.0.1", .port = port}, tag);
        peer_exchange<replica, mac_sealer> asking{self, sealer};
        return meet(store, asking, way, principal, now);
    }
    // endregion: device

    template <class F>
    auto write(F f) -> std::invoke_result_t<F, memory_storage::transaction&> {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        auto out = f(*tx);
        if (!out) { return out; }
        if (auto ok = tx->commit(); !ok) { return ok.error(); }
        return out;
    }
    status open() {
        return write([&](auto& tx) { return self.open(tx, name, now, random); });
    }
    status seat(std::string_view id, std::string party, std::int64_t guests) {
        auto const done = write([&](auto& tx) { return self.create(tx, id, table{std::move(party), guests, 0}, now); });
        return done ? status{} : status{done.error()};
    }
    template <class F>
    status edit(std::string_view id, F change) {
        auto const done = write([&](auto& tx) { return self.edit<table>(tx, id, change, now); });
        return done ? status{} : status{done.error()};
    }
    std::string shows() {
        std::string out;
        auto tx = store.begin(access_mode::read);
        if (!tx) { return out; }
        auto const all = self.scan(*tx, "tables", [&](record_key const& k, record const& r) {
            auto const t = decode_record<table>(r.fields);
            if (t) {
                out += (out.empty() ? "" : "; ") + std::string{k.id_text()} + " " + t->party + ": " +
                       std::to_string(t->guests) + " guests, " + std::to_string(t->plates) + " plates";
            }
            return true;
        });
        return all ? out : "an error";
    }
    /// Exchanges with the authority, and tells the verdicts.
    template <transport T>
    result<std::string> go_home(T& way) {
        session<memory_storage, syncline::random_generator> link{store, self, random};
        std::string told;
        auto const time = [] { return now; };
        auto const tell = [&](event const& e) {
            if (e.kind != event_kind::decided) { return; }
            told += (told.empty() ? "" : "; ") + std::string{e.record.id_text()} + " " + syncline::name(e.said.kind) +
                    (e.said.again ? ", as was decided before" : "");
        };
        auto const done = drive(link, store, way, time, tell, hurry{});
        if (!done) { return done.error(); }
        if (done->failed) { return *done->failed; }
        return told;
    }
};

// A device that is a process of its own: it serves, and does what the parent says in a line: "show", "cook" a plate for each
// guest, "home PORT".

bool say(int to, std::string line) {
    line += '\n';
    return ::write(to, line.data(), line.size()) == static_cast<ssize_t>(line.size());
}
/// A line; empty at the end.
std::string hear(int from) {
    std::string line;
    for (char c = 0; ::read(from, &c, 1) == 1 && c != '\n';) { line += c; }
    return line;
}

std::string obey(device& d, std::string const& order) {
    if (order == "show") { return d.shows(); }
    if (order == "cook") {
        for (std::string_view id : {"t7", "t9"}) {
            auto const ok = d.edit(id, [](table& t) { t.plates = t.guests; });
            if (!ok) { return message(ok.error().code); }
        }
        return d.shows();
    }
    if (order.rfind("home ", 0) == 0) {
        name_tag tag{d.name};
        http_transport way({.host = "127.0.0.1", .port = static_cast<std::uint16_t>(std::stoul(order.substr(5)))}, tag);
        auto const told = d.go_home(way);
        return told ? *told : std::string{message(told.error().code)};
    }
    return "?";
}

int live(std::string const& name, std::uint64_t seed, int from, int to) {
    device d(name, seed);
    if (!d.open()) { return 1; }
    if (name == "bar" && !d.seat("t7", "Dahl", 4)) { return 1; }
    auto handler = [&](request_context const& who, bytes_view message) {
        return peer_reply{d.answer(who.principal, message)};
    };
    http_server server{{}, handler};
    server.authorise_by(sign_in);
    if (!server.listen()) { return 1; }
    {
        auto tx = d.store.begin(access_mode::read);
        if (!tx) { return 1; }
        auto const id = d.self.self(*tx);
        if (!id || !say(to, std::to_string(server.port())) || !say(to, to_string(id->device))) { return 1; }
    }
    for (;;) {
        server.run_for(milliseconds{10});
        pollfd ready{from, POLLIN, 0};
        if (::poll(&ready, 1, 0) <= 0) { continue; }
        std::string const order = hear(from);
        if (order.empty() || !say(to, obey(d, order))) { return 0; }
    }
}

struct child {
    std::string name;
    pid_t pid = -1;
    int from = -1;
    int to = -1;
    std::uint16_t port = 0;
    id128 id{};

    bool start(std::uint64_t seed, std::vector<child> const& others) {
        int down[2];
        int up[2];
        if (pipe(down) != 0 || pipe(up) != 0) { return false; }
        pid = fork();
        if (pid == 0) {
            for (child const& o : others) {  // else they would never see the end of their orders
                close(o.to);
                close(o.from);
            }
            close(down[1]);
            close(up[0]);
            _exit(live(name, seed, down[0], up[1]));
        }
        close(down[0]);
        close(up[1]);
        to = down[1];
        from = up[0];
        std::string const told = hear(from);
        auto const device_id = parse_id(hear(from));
        if (pid < 0 || told.empty() || !device_id) { return false; }
        port = static_cast<std::uint16_t>(std::stoul(told));
        id = *device_id;
        return true;
    }
    std::string ask(std::string const& order) { return say(to, order) ? hear(from) : std::string{}; }
    bool end() {
        close(to);
        int state = 0;
        bool const ended = waitpid(pid, &state, 0) == pid && WIFEXITED(state) && WEXITSTATUS(state) == 0;
        close(from);
        return ended;
    }
};

status evening() {
    std::vector<child> others;
    for (auto const& [name, seed] : {std::pair{"bar", 2U}, std::pair{"kitchen", 3U}}) {
        child c{name};
        if (!c.start(seed, others)) { return failure{errc::unreachable, "a process that does not start"}; }
        others.push_back(std::move(c));
    }
    child& bar = others[0];
    child& kitchen = others[1];
    device hall("hall", 4);
    if (auto ok = hall.open(); !ok) { return ok; }
    auto const meets = [&](child const& c) -> status {
        auto const met = hall.meet_at(c.port, c.name);
        if (!met) { return met.error(); }
        if (met->failed) { return *met->failed; }
        std::cout << "hall meets " << c.name << ": " << met->taken.added << " come\n";
        return {};
    };

    std::cout << "No internet. The bar has seated a party.\n";
    if (auto ok = meets(bar); !ok) { return ok; }
    std::cout << "  hall sees " << hall.shows() << '\n';
    std::cout << "Two more sit down with them, and the hall seats another party.\n";
    if (auto ok = hall.edit("t7", [](table& t) { t.guests += 2; }); !ok) { return ok; }
    if (auto ok = hall.seat("t9", "Lund", 3); !ok) { return ok; }
    if (auto ok = meets(kitchen); !ok) { return ok; }
    std::cout << "  kitchen sees " << kitchen.ask("show") << '\n';
    std::cout << "The kitchen cooks.\n";
    std::cout << "  kitchen sees " << kitchen.ask("cook") << '\n';
    if (auto ok = meets(kitchen); !ok) { return ok; }
    if (auto ok = meets(bar); !ok) { return ok; }
    std::cout << "  bar sees " << bar.ask("show") << '\n';

    // region: home
    std::cout << "The hall's tablet comes home, and it alone.\n";
    mac_keys keys;
    keys.add(as_bytes(bar.name), secret_of(bar.name), bar.id, bar.name);
    keys.add(as_bytes(kitchen.name), secret_of(kitchen.name), kitchen.id, kitchen.name);
    relay_gate const gate = gate_of("Ballhaus", keys);
    memory_storage office;
    authority<> const home{rule_table::of<table>(), {.relays = &gate}};
    // endregion: home
    syncline::random_generator dice(1);
    {
        auto tx = office.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        if (auto ok = home.open(*tx, now, dice); !ok) { return ok; }
        if (auto ok = tx->commit(); !ok) { return ok; }
    }
    {
        auto answer = [&](bytes_view request) { return serve(office, home, hall.name, request, now); };
        loopback_transport way(answer);
        auto const told = hall.go_home(way);
        if (!told) { return told.error(); }
        std::cout << "  hall: " << *told << '\n';
        auto tx = office.begin(access_mode::read);
        if (!tx) { return tx.error(); }
        auto ok = home.scan(*tx, [](record_key const& k, row const& r) {
            auto const t = decode_record<table>(r.fields);
            if (t) {
                std::cout << "  the office has " << k.id_text() << " " << t->party << ": " << t->guests << " guests, "
                          << t->plates << " plates\n";
            }
            return true;
        });
        if (!ok) { return ok; }
    }

    std::cout << "Next day bar and kitchen come home themselves, and hear what was decided.\n";
    auto handler = [&](request_context const& who, bytes_view request) {
        return peer_reply{serve(office, home, who.principal, request, now)};
    };
    http_server server{{}, handler};
    server.authorise_by(sign_in);
    if (auto ok = server.listen(); !ok) { return ok; }
    for (child* c : {&bar, &kitchen}) {
        if (!say(c->to, "home " + std::to_string(server.port()))) { return errc::unreachable; }
        for (pollfd ready{c->from, POLLIN, 0}; ::poll(&ready, 1, 0) == 0;) { server.run_for(milliseconds{10}); }
        std::cout << "  " << c->name << ": " << hear(c->from) << '\n';
        std::cout << "  " << c->name << " sees " << c->ask("show") << '\n';
    }
    for (child& c : others) {
        if (!c.end()) { return failure{errc::peer_failed, "a process that ended badly"}; }
    }
    return {};
}

}  // namespace

int main() {
    std::cout << std::unitbuf;
    if (auto const outcome = evening(); !outcome) {
        std::cerr << message(outcome.error().code) << ": " << outcome.error().detail << '\n';
        return 1;
    }
}
