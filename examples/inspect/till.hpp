// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A till with everything that can go wrong, in an SQLite file, for the inspection to look into.

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/replica.hpp>
#include <syncline/storage.hpp>
#include <syncline/transport.hpp>

struct booking {
    std::string client;
    std::int64_t guests = 0;
    std::string table;
};
constexpr auto describe(booking const*) {
    using syncline::field;
    return syncline::record_of<booking>("bookings", field("client", &booking::client),
                                        field("guests", &booking::guests, syncline::rule::counter),
                                        field("table", &booking::table, syncline::rule::manual));
}

struct house_rules {
    syncline::validation operator()(syncline::validation_input const& in) const {
        auto const b = syncline::decode_record<booking>(in.after.fields);
        if (in.after.deleted || (b && b->guests <= 200)) { return {}; }
        return {false, syncline::errc::rejected, "the house holds 200"};
    }
};

/// Makes the file anew; the moment at which it is left.
inline syncline::result<syncline::instant> till_in_trouble(char const* path) {
    using namespace syncline;
    instant now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{0}}};
    auto const pass = [&](std::int64_t minutes) {
        now.wall += milliseconds{minutes * 60'000};
        now.monotonic += milliseconds{minutes * 60'000};
    };
    memory_storage home_store;
    authority<house_rules> const home{rule_table::of<booking>()};
    memory_storage office_store;
    replica const self{rule_table::of<booking>()};  // of both devices: it holds rules and options, no state
    for (char const* end : {"", "-wal", "-shm"}) { (void)std::remove((std::string(path) + end).c_str()); }
    auto till = sqlite_storage::open(path);
    if (!till) { return till.error(); }
    syncline::random_generator dice(7);
    session<sqlite_storage, syncline::random_generator> till_link{*till, self, dice};
    session<memory_storage, syncline::random_generator> office_link{office_store, self, dice};
    health_log const log;

    auto const write = [](auto& store, auto f) -> status {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        auto const ok = f(*tx);
        return ok ? tx->commit() : status{ok.error()};
    };
    bool lost = false;
    auto answer = [&](bytes_view q) -> result<bytes> {
        auto reply = serve(home_store, home, "anna", q, now);
        return lost ? result<bytes>{errc::connection_lost} : std::move(reply);
    };
    auto const sync = [&](auto& link, auto& store) -> status {
        loopback_transport way(answer);
        std::optional<failure> stopped;
        auto const run = drive(
            link, store, way, [&] { return now; },
            [&](event const& e) {
                if (e.kind != event_kind::decided) { return; }
                auto const ok = write(store, [&](auto& tx) { return log.decided(tx, e.said.kind, now.wall); });
                if (!ok) { stopped = ok.error(); }
            },
            hurry{});
        if (!run || stopped) { return run ? *stopped : run.error(); }
        return write(store, [&](auto& tx) { return log.exchanged(tx, *run, milliseconds{80}, now.wall); });
    };
    auto const edit = [&](auto& store, std::string_view id, auto change) {
        return write(store, [&](auto& tx) { return self.edit<booking>(tx, id, change, now); });
    };

    status ok = write(home_store, [&](auto& tx) { return home.open(tx, now, dice); });
    if (ok) {
        ok = write(*till, [&](auto& tx) { return self.open(tx, "anna", now, dice); });
    }
    if (ok) {
        ok = write(office_store, [&](auto& tx) { return self.open(tx, "anna", now, dice); });
    }
    for (char const* id : {"dahl", "ostrow", "weiss"}) {
        if (ok) {
            ok = write(*till, [&](auto& tx) { return self.create(tx, id, booking{id, 40, "garden"}, now); });
        }
    }
    if (ok) { ok = sync(till_link, *till); }
    if (ok) { ok = sync(office_link, office_store); }
    // Two put Dahl at another table; Ostrow brings more than the house holds.
    pass(30);
    if (ok) {
        ok = edit(office_store, "dahl", [](booking& b) { b.table = "terrace"; });
    }
    if (ok) { ok = sync(office_link, office_store); }
    if (ok) {
        ok = edit(*till, "dahl", [](booking& b) { b.table = "hall"; });
    }
    if (ok) {
        ok = edit(*till, "ostrow", [](booking& b) { b.guests += 300; });
    }
    if (ok) { ok = sync(till_link, *till); }
    // Then the network goes, in the middle of an exchange.
    pass(10);
    if (ok) {
        ok = edit(*till, "weiss", [](booking& b) { b.guests += 2; });
    }
    lost = true;
    if (ok) { ok = sync(till_link, *till); }
    pass(5);
    if (ok) {
        ok = edit(*till, "weiss", [](booking& b) { b.client = "Weiss & Sons"; });
    }
    if (ok) {
        ok = write(*till, [&](auto& tx) { return self.create(tx, "blum", booking{"Blum", 12, "hall"}, now); });
    }
    pass(55);
    if (!ok) { return ok.error(); }
    return now;
}
