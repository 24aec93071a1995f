// SPDX-License-Identifier: BSL-1.0
// Two devices edit one booking offline and meet at an authority: what merges, what a person decides, what is refused.

#include <cstdint>
#include <iostream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/replica.hpp>
#include <syncline/storage.hpp>
#include <syncline/transport.hpp>

using namespace syncline;

namespace {

// region: record
struct booking {
    std::string client;
    std::int64_t guests = 0;
    std::string table;
};
constexpr auto describe(booking const*) {
    return record_of<booking>("bookings", field("client", &booking::client),     // last writer wins
                              field("guests", &booking::guests, rule::counter),  // changes add up
                              field("table", &booking::table, rule::manual));    // a person decides
}
// endregion: record

/// The authority's last word, whatever a device has shown its user meanwhile.
struct house_rules {
    validation operator()(validation_input const& in) const {
        if (in.after.deleted) { return {}; }
        auto const b = decode_record<booking>(in.after.fields);
        if (!b) { return {false, b.error().code, "not a booking"}; }
        if (b->guests > 200) { return {false, errc::rejected, "the house holds 200"}; }
        return {};
    }
};

/// The host reads its clocks and hands the time in. Here it moves only when told.
struct {
    instant now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{0}}};
    void pass(milliseconds t) {
        now.wall += t;
        now.monotonic += t;
    }
} host;

/// Runs `f(tx)` in a transaction, which commits when it succeeds.
template <class Store, class F>
auto write(Store& store, F f) -> std::invoke_result_t<F, typename Store::transaction&> {
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    auto out = f(*tx);
    if (!out) { return out; }
    if (auto ok = tx->commit(); !ok) { return ok.error(); }
    return out;
}

struct server {
    memory_storage store{};
    authority<house_rules> self{rule_table::of<booking>()};
};

struct device {
    std::string user;
    server& home;
    syncline::random_generator random;  // seeded, to print the same each time; a program takes the system's entropy
    memory_storage store{};
    replica self{rule_table::of<booking>()};
    session<memory_storage, syncline::random_generator> link{store, self, random};

    device(std::string name, server& s, std::uint64_t seed) : user(std::move(name)), home(s), random(seed) {}
    device(device const&) = delete;

    status open() {
        return write(store, [&](auto& tx) { return self.open(tx, user, host.now, random); });
    }

    // region: edit
    /// Changes the booking at once, network or not; what was done waits in the outbox.
    template <class F>
    result<write_receipt> edit(std::string_view id, F change) {
        return write(store, [&](auto& tx) { return self.edit<booking>(tx, id, change, host.now); });
    }
    // endregion: edit

    // region: sync
    /// Sends what waits and takes in what others did, until there is nothing left to do.
    status sync() {
        auto answer = [&](bytes_view request) { return serve(home.store, home.self, user, request, host.now); };
        loopback_transport way(answer);
        auto const time = [] { return host.now; };
        auto const tell = [&](event const& e) { print(e); };
        auto const done = drive(link, store, way, time, tell, hurry{});
        if (!done) { return done.error(); }
        return done->failed ? status{*done->failed} : status{};
    }
    // endregion: sync

    void print(event const& e) {
        std::cout << "  " << user << ": " << e.record.id_text();
        if (e.kind == event_kind::decided) {
            std::cout << " " << name(e.said.kind);
            for (decision const& d : e.said.decisions) { std::cout << ", " << d.field << " for " << name(d.won); }
            if (!e.said.text.empty()) { std::cout << ": " << e.said.text; }
        } else {
            std::cout << (e.kind == event_kind::removed ? " is gone" : " has changed");
        }
        std::cout << '\n';
    }

    status show(std::string_view id) {
        auto tx = store.begin(access_mode::read);
        if (!tx) { return tx.error(); }
        auto const b = self.read<booking>(*tx, id);
        if (!b) { return b.error(); }
        if (!*b) { return errc::not_found; }
        std::cout << "  " << user << " sees " << (*b)->client << ": " << (*b)->guests << " guests, " << (*b)->table
                  << '\n';
        return {};
    }
};

// region: resolve
/// Ends every conflict in favour of what this device's user wrote.
status insist(device& d) {
    return write(d.store, [&](auto& tx) -> status {
        std::vector<open_conflict> open;
        auto listed = d.self.conflicts(tx, [&](open_conflict const& c) {
            open.push_back(c);
            return true;
        });
        if (!listed) { return listed; }
        for (open_conflict const& c : open) {
            std::vector<field_resolution> decisions;
            for (std::string const& f : c.fields) { decisions.push_back({f, field_resolution::choice::local, {}}); }
            position const seen = c.remote ? c.remote->version : 0;
            auto const resolved = d.self.resolve(tx, c.token, seen, decisions, host.now);
            if (!resolved) { return resolved.error(); }
        }
        return {};
    });
}
// endregion: resolve

status evening() {
    server office;
    syncline::random_generator dice(1);
    auto opened = write(office.store, [&](auto& tx) { return office.self.open(tx, host.now, dice); });
    if (!opened) { return opened; }
    device anna("anna", office, 2);
    device ben("ben", office, 3);
    for (device* d : {&anna, &ben}) {
        if (auto ok = d->open(); !ok) { return ok; }
    }

    std::cout << "Anna takes a booking.\n";
    auto const taken = write(anna.store, [&](auto& tx) {
        return anna.self.create(tx, "dahl", booking{"Dahl", 100, "hall"}, host.now);
    });
    if (!taken) { return taken.error(); }
    if (auto ok = anna.sync(); !ok) { return ok; }
    if (auto ok = ben.sync(); !ok) { return ok; }

    std::cout << "Both are offline and edit it.\n";
    auto edited = anna.edit("dahl", [](booking& b) {
        b.guests += 5;
        b.table = "garden";
    });
    if (!edited) { return edited.error(); }
    edited = ben.edit("dahl", [](booking& b) {
        b.client = "Dahl & Co";
        b.guests -= 2;
        b.table = "terrace";
    });
    if (!edited) { return edited.error(); }
    if (auto ok = anna.show("dahl"); !ok) { return ok; }
    if (auto ok = ben.show("dahl"); !ok) { return ok; }

    std::cout << "The network is back, for Ben first.\n";
    if (auto ok = ben.sync(); !ok) { return ok; }
    if (auto ok = anna.sync(); !ok) { return ok; }

    std::cout << "Anna insists on her table.\n";
    if (auto ok = insist(anna); !ok) { return ok; }
    if (auto ok = anna.sync(); !ok) { return ok; }
    if (auto ok = ben.sync(); !ok) { return ok; }
    if (auto ok = anna.show("dahl"); !ok) { return ok; }
    if (auto ok = ben.show("dahl"); !ok) { return ok; }

    std::cout << "Ben takes too many guests.\n";
    edited = ben.edit("dahl", [](booking& b) { b.guests = 500; });
    if (!edited) { return edited.error(); }
    if (auto ok = ben.show("dahl"); !ok) { return ok; }
    if (auto ok = ben.sync(); !ok) { return ok; }
    return ben.show("dahl");
}

}  // namespace

int main() {
    if (auto const outcome = evening(); !outcome) {
        std::cerr << message(outcome.error().code) << ": " << outcome.error().detail << '\n';
        return 1;
    }
}
