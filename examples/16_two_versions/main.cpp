// SPDX-License-Identifier: BSL-1.0

/// Two schema versions living together: a tablet with last year's program and a phone with this year's share guests.
/// This year a name is two fields, money is in cents, and a guest may be sealed, which last year's program must not
/// overlook.

#include <cstdio>
#include <string>
#include <string_view>

#include <syncline/core.hpp>
#include <syncline/model.hpp>
#include <syncline/replica.hpp>
#include <syncline/storage.hpp>
#include <syncline/transport.hpp>

using namespace syncline;

namespace {

// region: schema
/// Every version that a device may still have. The authority has them all, last year's program only the first.
schema_table versions() {
    schema_table all;
    all.collection("guests").next({
        schema_step::split("name", {"first", "last"}, casts::apart<' '>, casts::together<' '>),
        schema_step::convert("paid", casts::times<100>, casts::over<100>, true),
        schema_step::rename("paid", "cents"),
        schema_step::add("status", value("open")),
        schema_step::feature("sealed"),
    });
    return all;
}
// endregion: schema

// region: types
struct guest_of_last_year {
    std::string name;
    std::int64_t paid = 0;
    unknown_fields rest;
};
struct guest {
    std::string first, last;
    std::int64_t cents = 0;
    std::string status;
    std::optional<bool> sealed;
    unknown_fields rest;
};
// endregion: types
constexpr auto describe(guest_of_last_year const*) {
    return record_of<guest_of_last_year>("guests", field("name", &guest_of_last_year::name),
                                         field("paid", &guest_of_last_year::paid), unknown(&guest_of_last_year::rest));
}
constexpr auto describe(guest const*) {
    return record_of<guest>("guests", field("first", &guest::first), field("last", &guest::last),
                            field("cents", &guest::cents), field("status", &guest::status),
                            field("sealed", &guest::sealed), unknown(&guest::rest));
}

rule_table rules() {
    rule_table all;
    all.add({"guests", rule::last_writer, {{"paid", rule::counter}, {"cents", rule::counter}}});
    return all;
}

instant now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1'000}}};

struct home {
    memory_storage store;
    schema_table schemas = versions();
    authority<> self{rules(), {.schemas = &schemas}};
};

struct device {
    std::string_view name;
    schema_table schemas;
    memory_storage store{};
    replica self;
    syncline::random_generator random;
    session<memory_storage, syncline::random_generator> link;

    device(std::string_view n, schema_table known, std::uint64_t seed)
        : name(n),
          schemas(std::move(known)),
          self(rules(), {.schemas = &schemas}),
          random(seed),
          link(store, self, syncline::random_generator(seed + 1)) {}
    device(device const&) = delete;
    device& operator=(device const&) = delete;

    template <class F>
    void write(F&& change) {
        auto tx = store.begin(access_mode::write);
        auto done = change(*tx);
        if (done) { done = tx->commit() ? done : errc::storage_io; }
        if (!done) { std::printf("  %s can't: %s\n", std::string(name).c_str(), done.error().detail); }
    }
    void open() {
        write([&](auto& tx) { return self.open(tx, "anna", now, random); });
    }
    void sync(home& h) {
        now.wall += milliseconds{1'000};
        now.monotonic += milliseconds{1'000};
        auto answer = [&](bytes_view request) { return serve(h.store, h.self, "anna", request, now); };
        loopback_transport way(answer);
        auto const told = [&](event const& e) {
            if (e.kind == event_kind::decided && e.said.kind == verdict_kind::rejected) {
                std::printf("  %s's write is rejected\n", std::string(name).c_str());
            }
        };
        if (!drive(
                link, store, way, [] { return now; }, told, hurry{})) {
            std::puts("no exchange");
        }
    }
};

/// What each sees, in its own version.
void show(device& tablet, device& phone, char const* id) {
    auto old_tx = tablet.store.begin(access_mode::read);
    auto const old = tablet.self.read<guest_of_last_year>(*old_tx, id);
    if (!old) {
        std::printf("  tablet: %s is closed, %s\n", id, message(old.error().code));
    } else if (*old) {
        std::printf("  tablet: %s, paid %lld, and %zu fields that it doesn't know\n", (*old)->name.c_str(),
                    static_cast<long long>((*old)->paid), (*old)->rest.size());
    }
    auto new_tx = phone.store.begin(access_mode::read);
    auto const present = phone.self.read<guest>(*new_tx, id);
    if (present && *present) {
        std::printf("  phone:  %s / %s, %lld cents, %s\n", (*present)->first.c_str(), (*present)->last.c_str(),
                    static_cast<long long>((*present)->cents), (*present)->status.c_str());
    }
}

}  // namespace

int main() {
    home h;
    syncline::random_generator random(1);
    auto tx = h.store.begin(access_mode::write);
    if (!h.self.open(*tx, now, random) || !tx->commit()) { return 1; }
    device tablet("tablet", {}, 2);  // last year's program
    device phone("phone", versions(), 4);
    tablet.open();
    phone.open();
    auto const both = [&] {
        tablet.sync(h);
        phone.sync(h);
        tablet.sync(h);
    };

    std::puts("The tablet writes a guest as of last year.");
    tablet.write([&](auto& t) -> status {
        auto made = tablet.self.create(t, "dahl", guest_of_last_year{"Anna Maria Dahl", 12, {}}, now);
        return made ? status{} : status{made.error()};
    });
    both();
    show(tablet, phone, "dahl");

    std::puts("The phone corrects the parts and takes 50 cents, the tablet offline takes 3.");
    phone.write([&](auto& t) -> status {
        auto done = phone.self.edit<guest>(
            t, "dahl",
            [](guest& g) {
                g.first = "Anna Maria";
                g.last = "Dahl";
                g.cents += 50;
                g.status = "paid in part";
            },
            now);
        return done ? status{} : status{done.error()};
    });
    tablet.write([&](auto& t) -> status {
        auto done = tablet.self.edit<guest_of_last_year>(
            t, "dahl", [](guest_of_last_year& g) { g.paid += 3; }, now);
        return done ? status{} : status{done.error()};
    });
    phone.sync(h);
    both();
    show(tablet, phone, "dahl");

    std::puts("The tablet changes the name: it still counts.");
    tablet.write([&](auto& t) -> status {
        auto done = tablet.self.edit<guest_of_last_year>(
            t, "dahl", [](guest_of_last_year& g) { g.name = "Anna Holm"; }, now);
        return done ? status{} : status{done.error()};
    });
    both();
    show(tablet, phone, "dahl");

    std::puts("The phone seals the guest: closed to last year's program, the others are not.");
    phone.write([&](auto& t) -> status {
        auto done = phone.self.edit<guest>(
            t, "dahl", [](guest& g) { g.sealed = true; }, now);
        return done ? status{} : status{done.error()};
    });
    phone.write([&](auto& t) -> status {
        auto made = phone.self.create(t, "berg", guest{"Ida", "Berg", 700, "open", {}, {}}, now);
        return made ? status{} : status{made.error()};
    });
    both();
    phone.sync(h);
    both();
    show(tablet, phone, "dahl");
    show(tablet, phone, "berg");
    return 0;
}
