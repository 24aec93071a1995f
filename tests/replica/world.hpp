// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A few replicas and their authority in one thread, on virtual time, for the tests of this folder.

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/session.hpp>
#include <syncline/storage/memory.hpp>

namespace world {

using namespace syncline;

/// Canonical fields from name and integer pairs.
inline bytes fields(std::vector<std::pair<std::string, std::int64_t>> pairs) {
    std::sort(pairs.begin(), pairs.end(),
              [](auto const& a, auto const& b) { return compare_keys(a.first, b.first) < 0; });
    bytes out;
    cbor_writer w{out};
    w.map(pairs.size());
    for (auto const& [name, n] : pairs) {
        w.text(name);
        w.integer(n);
    }
    return out;
}
inline bytes integer(std::int64_t n) {
    bytes out;
    cbor_writer{out}.integer(n);
    return out;
}
inline std::optional<std::int64_t> field(bytes_view map, std::string_view name) {
    auto const found = map_find(map, name);
    if (!found || !*found) { return std::nullopt; }
    return detail::integer_of(**found);
}
inline field_op set(std::string_view name, std::int64_t n) { return {std::string{name}, op_kind::set, integer(n), {}}; }
inline field_op add(std::string_view name, std::int64_t n) { return {std::string{name}, op_kind::add, integer(n), {}}; }
inline field_op unset(std::string_view name) { return {std::string{name}, op_kind::unset, {}, {}}; }

inline rule_table rules() {
    rule_table table;
    table.add({"things",
               rule::last_writer,
               {{"count", rule::counter},
                {"least", rule::minimum},
                {"most", rule::maximum},
                {"ruled", rule::authority},
                {"asked", rule::manual}}});
    return table;
}

/// A store, and what is drawn for it: what every device here has, whatever its replica is.
struct storing {
    memory_storage store{};
    syncline::random_generator random;

    explicit storing(std::uint64_t seed) : random(seed) {}
    storing(storing const&) = delete;

    /// Runs `f(tx)` in a transaction of its own and commits when it succeeded.
    template <class F>
    auto write(F&& f) {
        auto tx = store.begin(access_mode::write);
        auto out = f(*tx);
        if (out) {
            if (auto ok = tx->commit(); !ok) { out = ok.error(); }
        }
        return out;
    }
    template <class F>
    auto read(F&& f) {
        auto tx = store.begin(access_mode::read);
        return f(*tx);
    }
};

/// One with a replica, `self`, of whatever kind.
template <class D>
concept a_device = std::derived_from<D, storing> && requires(D& d) {
    d.self.rules();
};

struct device : storing {
    replica self;
    session<memory_storage, syncline::random_generator> link;

    explicit device(std::uint64_t seed, replica_options options = {})
        : storing(seed), self(rules(), options), link(store, self, syncline::random_generator{seed + 1}) {}
};

/// Time that only moves when told.
struct virtual_clock {
    instant now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1'000}}};
    void pass(std::int64_t ms) {
        now.wall += milliseconds{ms};
        now.monotonic += milliseconds{ms};
    }
};

struct cloud {
    memory_storage store{};
    authority<> self{rules()};
    syncline::random_generator random;

    explicit cloud(instant now, std::uint64_t seed = 7) : random(seed) {
        auto tx = store.begin(access_mode::write);
        auto ok = self.open(*tx, now, random);
        if (ok) { (void)tx->commit(); }
    }
    result<bytes> answer(bytes_view request, instant now, std::string_view principal = "anna") {
        return serve(store, self, principal, request, now);
    }
};

template <a_device D>
status open(D& d, instant now, std::string_view principal = "anna") {
    return d.write([&](auto& tx) { return d.self.open(tx, principal, now, d.random); });
}

/// The next request of a device, frozen and committed.
template <a_device D>
bytes request_of(D& d, instant now) {
    (void)d.write([&](auto& tx) { return d.self.prepare(tx, now); });
    return *d.read([&](auto& tx) { return d.self.request_message(tx); });
}
template <a_device D>
result<exchange_report> absorb(D& d, bytes_view reply, instant now) {
    return d.write([&](auto& tx) { return d.self.absorb(tx, reply, now, d.random); });
}
/// Whole exchanges until nothing is left to do.
template <a_device D>
result<exchange_report> sync(D& d, cloud& c, instant now) {
    for (;;) {
        auto const reply = c.answer(request_of(d, now), now);
        if (!reply) { return reply.error(); }
        auto report = absorb(d, *reply, now);
        if (!report || !report->more) { return report; }
    }
}

/// The conflicts that the replica has parked.
template <a_device D>
std::vector<open_conflict> parked(D& d) {
    std::vector<open_conflict> out;
    (void)d.read([&](auto& tx) {
        return d.self.conflicts(tx, [&](open_conflict const& c) {
            out.push_back(c);
            return true;
        });
    });
    return out;
}

inline std::map<std::string, bytes> visible(device& d, std::string_view collection = "things") {
    std::map<std::string, bytes> out;
    (void)d.read([&](auto& tx) {
        return d.self.scan(tx, collection, [&](record_key const& k, record const& r) {
            out[std::string{k.id_text()}] = r.fields;
            return true;
        });
    });
    return out;
}
inline std::map<std::string, bytes> confirmed(cloud& c, std::string_view collection = "things") {
    std::map<std::string, bytes> out;
    auto tx = c.store.begin(access_mode::read);
    (void)c.self.scan(*tx, [&](record_key const& k, row const& r) {
        if (k.collection == collection && !r.deleted) { out[std::string{k.id_text()}] = r.fields; }
        return true;
    });
    return out;
}

}  // namespace world
