// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Promises about random lives, from a seed each: true where they are kept. For a test, and for mistakes that are planted.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/session.hpp>
#include <syncline/testing/naive_merge.hpp>
#include <syncline/testing/simulated_disk.hpp>

#include "replica/asking.hpp"
#include "replica/world.hpp"

namespace promises {

using namespace syncline;
using world::virtual_clock;

template <storage S>
std::map<std::string, std::string> everything_in(S& store) {
    std::map<std::string, std::string> out;
    auto tx = store.begin(access_mode::read);
    auto const text = [](bytes_view b) { return std::string{reinterpret_cast<char const*>(b.data()), b.size()}; };
    if (tx) {
        (void)tx->scan({}, [&](bytes_view k, bytes_view v) {
            out[text(k)] = text(v);
            return true;
        });
    }
    return out;
}

/// A peer that is ill for a while, in whatever way, is asked again soon after it is well, by a session with a whole policy,
/// and what waits comes home; how soon, the policy's options say.
inline bool the_healed_are_asked(std::uint64_t seed) {
    random_generator dice{seed};
    auto const roll = [&](std::uint64_t n) { return static_cast<std::int64_t>(below(dice, n)); };
    virtual_clock clock;
    world::cloud home{clock.now};
    world::device d{seed + 100};
    if (!world::open(d, clock.now)) { return false; }
    retry_policy_options policy;
    policy.breaker.calls_min = static_cast<std::uint32_t>(1 + roll(4));
    policy.breaker.open_for = milliseconds{1 + roll(30'000)};
    policy.breaker.open_max = policy.breaker.open_for * (1 + roll(20));
    policy.breaker.successes_to_close = static_cast<std::uint32_t>(1 + roll(3));
    if (roll(2) == 0) { policy.budget.wait_min = milliseconds{roll(10'000)}; }
    session_options options{.retry = policy};
    session<memory_storage, random_generator> link{d.store, d.self, random_generator{seed}, options};
    auto const writes = [&](std::string_view id) {
        return d.write([&](auto& tx) {
            return d.self.create(tx, record_key{"things", id}, world::fields({{"name", 1}}), clock.now);
        });
    };
    if (!writes("before")) { return false; }

    std::int64_t const well_again = 1 + roll(40 * 60'000);
    std::int64_t const hint = roll(60'000);
    std::int64_t const tokens = policy.budget.capacity / retry_token + 1;
    milliseconds const most_of_budget = policy.budget.wait_min + policy.budget.wait_per_token * tokens;
    milliseconds const wait = (std::max)({most_of_budget, policy.breaker.open_max, milliseconds{hint}});
    std::int64_t const bound = (wait + policy.backoff.cap).count() + 1'000;
    instant const begin = clock.now;
    auto const answer = [&](bytes_view request, instant now) -> asking::answered {
        if ((now.monotonic - begin.monotonic) < milliseconds{well_again}) {
            constexpr std::array kinds{errc::unreachable, errc::timed_out,   errc::connection_lost,
                                       errc::throttled,   errc::peer_failed, errc::foreign};
            errc const why = kinds[below(dice, kinds.size())];
            if (why == errc::throttled) { return {why, milliseconds{hint}}; }
            return {why};
        }
        return {home.answer(request, now)};
    };
    auto const at = asking::requests(link, d.store, clock.now, milliseconds{well_again + 2 * bound}, answer);
    auto const first = std::lower_bound(at.begin(), at.end(), well_again);
    bool const asked = first != at.end() && *first <= well_again + bound;
    return asked && world::confirmed(home).size() == 1;
}

/// A put that names its base changes what differs from that, whatever has become of the record since.
inline bool a_put_is_what_changed(std::uint64_t seed) {
    random_generator dice{seed};
    virtual_clock clock;
    world::device d{seed + 100};
    if (!world::open(d, clock.now)) { return false; }
    using map = std::map<std::string, bytes>;
    record_key const k{"things", "a"};
    auto const drawn = [&] {
        map out;
        for (char const* field : {"asked", "count", "name", "note"}) {
            if (below(dice, 4) != 0) { out[field] = world::integer(static_cast<std::int64_t>(below(dice, 5))); }
        }
        return out;
    };
    std::vector<map> seen{drawn()};
    if (!d.write([&](auto& tx) { return d.self.create(tx, k, testing::naive_fields(seen[0]), clock.now); })) {
        return false;
    }
    collection_rules const rules = world::rules().of("things");
    map now = seen[0];
    for (int n = 0; n < 20; ++n) {
        clock.pass(1);
        map const base = seen[below(dice, seen.size())];
        map const fields = drawn();
        for (field_op const& op : testing::naive_difference(base, fields, rules)) {
            if (op.kind == op_kind::unset) {
                now.erase(op.field);
            } else if (op.kind == op_kind::set) {
                now[op.field] = op.value;
            } else {
                auto const was = now.count(op.field) != 0 ? testing::naive_integer(now[op.field]) : std::nullopt;
                now[op.field] = world::integer(was.value_or(0) + *testing::naive_integer(op.value));
            }
        }
        bool const written =
            d.write([&](auto& tx) {
                 return d.self.put(tx, k, testing::naive_fields(base), testing::naive_fields(fields), clock.now);
             }).has_value();
        auto const held = d.read([&](auto& tx) { return d.self.read(tx, k); });
        if (!written || !held || !*held || (*held)->fields != testing::naive_fields(now)) { return false; }
        seen.push_back(now);
    }
    return true;
}

/// What was answered together survives a power cut right after it.
inline bool answers_are_durable(std::uint64_t seed) {
    random_generator dice{seed};
    instant const now = virtual_clock{}.now;
    testing::simulated_disk disk{durability::ordered};
    authority<> const self{world::rules()};
    {
        auto store = disk.open();
        auto tx = store->begin(access_mode::write);
        if (!self.open(*tx, now, dice) || !tx->commit() || !store->barrier()) { return false; }
    }
    for (int round = 0; round < 4; ++round) {
        std::vector<bytes> messages;
        for (std::uint64_t n = below(dice, 4); n < 4; ++n) {
            world::device d{dice()};
            record_key const k{"things", std::string_view{std::to_string(n)}};
            bool const ready = world::open(d, now) && d.write([&](auto& tx) {
                return d.self.create(tx, k, world::fields({{"name", round}}), now);
            });
            if (!ready) { return false; }
            messages.push_back(below(dice, 6) == 0 ? bytes(3) : world::request_of(d, now));
        }
        std::vector<asked_request> asked;
        for (bytes const& m : messages) { asked.push_back({"anna", m}); }
        auto store = disk.open();
        auto const answers = serve_all(*store, self, asked, now);
        for (std::size_t i = 0; i < answers.size(); ++i) {
            if (answers[i].has_value() == (messages[i].size() == 3)) { return false; }
        }
        auto const told = everything_in(*store);
        store.reset();
        disk.power_cut(dice);
        if (everything_in(*disk.open()) != told) { return false; }
    }
    return true;
}

/// A wipe that says that it is done has left nothing of the replica, however it was interrupted, and all of others.
inline bool a_wipe_leaves_nothing(std::uint64_t seed) {
    random_generator dice{seed};
    virtual_clock clock;
    world::cloud home{clock.now};
    world::device d{seed + 100};
    world::device other{seed + 200};
    if (!world::open(d, clock.now) || !world::open(other, clock.now)) { return false; }
    bytes const key = to_bytes(as_bytes("somebody else's"));
    if (!d.write([&](auto& tx) { return tx.put(key, key); })) { return false; }
    for (std::uint64_t n = below(dice, 60); n > 0; --n) {
        clock.pass(1 + static_cast<std::int64_t>(below(dice, 1'000)));
        world::device& who = below(dice, 3) == 0 ? other : d;
        std::string const id = std::to_string(below(dice, 5));
        record_key const k{"things", std::string_view{id}};
        auto const value = static_cast<std::int64_t>(below(dice, 100));
        switch (below(dice, 6)) {
            case 0: (void)who.write([&](auto& tx) { return who.self.erase(tx, k, clock.now); }); break;
            case 1: (void)world::sync(who, home, clock.now); break;
            case 2: (void)world::request_of(who, clock.now); break;  // frozen, and never sent
            default:
                (void)who.write([&](auto& tx) {
                    return who.self.put(tx, k, world::fields({{"name", value}, {"asked", value}, {"count", value}}),
                                        clock.now);
                });
        }
    }
    std::size_t left = everything_in(d.store).size();
    std::size_t const budget = 1 + below(dice, below(dice, 2) == 0 ? 4 : left + 2);
    for (bool more = true; more;) {
        bool const interrupted = below(dice, 3) == 0;
        auto tx = d.store.begin(access_mode::write);
        auto const step = d.self.wipe(*tx, budget);
        if (!step) { return false; }
        if (interrupted) { continue; }
        if (!tx->commit()) { return false; }
        more = *step;
        std::size_t const now = everything_in(d.store).size();
        if (more && (now >= left || world::open(d, clock.now))) { return false; }
        left = now;
    }
    return everything_in(d.store) == std::map<std::string, std::string>{{"somebody else's", "somebody else's"}};
}

/// A device whose writes are not taken, as it is quarantined, doesn't ask again at once.
inline bool the_unheard_are_patient(std::uint64_t seed) {
    virtual_clock clock;
    world::cloud home{clock.now};
    authority_options options;
    options.standings = true;
    home.self = authority<>{world::rules(), options};
    world::device d{seed + 100};
    if (!world::open(d, clock.now) || !world::sync(d, home, clock.now)) { return false; }
    auto const name = d.read([&](auto& tx) { return d.self.self(tx); });
    auto tx = home.store.begin(access_mode::write);
    bool const set = name && home.self.set_standing(*tx, name->device, device_standing::quarantined) && tx->commit();
    bool const wrote = d.write([&](auto& t) {
                            return d.self.create(t, record_key{"things", "a"}, world::fields({{"name", 1}}), clock.now);
                        }).has_value();
    auto const at = asking::requests(d.link, d.store, clock.now, milliseconds{600'000},
                                     [&](bytes_view q, instant now) { return asking::answered{home.answer(q, now)}; });
    return set && wrote && at.size() > 2 && at.size() < 120;
}

}  // namespace promises
