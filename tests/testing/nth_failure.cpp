// SPDX-License-Identifier: BSL-1.0

/// Whatever call fails, an operation does all or nothing, says so, and can be done again; and an operation that does
/// not is found, under the right axiom.

#include <syncline/testing/nth_failure.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <new>
#include <numeric>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <syncline/clock/reserved_clock.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/session.hpp>
#include <syncline/transport/loopback.hpp>

#include "replica/world.hpp"
#include "support/catch.hpp"

// Allocations of this test program fail when `nth_failure` wants it.
void* operator new(std::size_t size) { return syncline::testing::allocate(size); }
void* operator new(std::size_t size, std::nothrow_t const&) noexcept { return syncline::testing::try_allocate(size); }
void operator delete(void* p) noexcept { syncline::testing::deallocate(p); }
void operator delete(void* p, std::size_t) noexcept { syncline::testing::deallocate(p); }

namespace {

using namespace syncline;
using namespace syncline::testing;
using world::fields;

instant const now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1'000}}};

std::uint64_t injected(nth_failure_report const& r) {
    return std::accumulate(r.storage.begin(), r.storage.end(), std::uint64_t{0});
}

/// Runs `f(tx)` in a transaction and commits when it succeeded.
template <class S, class F>
status in_transaction(S& store, F&& f) {
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    auto const done = f(*tx);
    if (!done) { return done.error(); }
    return tx->commit();
}
template <class Tx>
status put_text(Tx& tx, char const* key, char const* value) {
    return tx.put(as_bytes(std::string_view{key}), as_bytes(std::string_view{value}));
}

}  // namespace

// ---- It finds what is wrong --------------------------------------------------------------------------------------

TEST_CASE("nth failure: an operation in one transaction passes, and every kind of call was made to fail") {
    auto const report = nth_failure(
        [](failing_storage& s) { (void)in_transaction(s, [](auto& tx) { return put_text(tx, "a", "1"); }); },
        [](failing_storage& s) {
            auto ok = in_transaction(s, [](auto& tx) -> status {
                bytes value;
                auto const found = tx.get(as_bytes("a"), value);
                if (!found) { return found.error(); }
                if (auto put = put_text(tx, "b", "2"); !put) { return put; }
                if (auto erased = tx.erase(as_bytes("a")); !erased) { return erased; }
                return tx.scan({}, [](bytes_view, bytes_view) { return true; });
            });
            return ok ? s.barrier() : ok;
        },
        {.repeatable = true});
    CHECK(to_text(report.violations) == "");
    for (std::size_t kind = 0; kind < storage_call_count; ++kind) {  // codes, moments, once or for good
        bool const scan = static_cast<storage_call>(kind) == storage_call::scan;
        CHECK(report.storage[kind] == 2 * (scan ? 3U : 2U) * 2);
    }
    CHECK(report.allocations > 0);
    CHECK(report.runs == injected(report) + report.allocations);
}

TEST_CASE("nth failure finds an operation that is two transactions, half a one, or says what isn't so") {
    auto const nothing = [](failing_storage&) {};
    auto const found = [&](auto const& operation) { return nth_failure(nothing, operation).violations; };
    auto const two = found([](failing_storage& s) {
        auto ok = in_transaction(s, [](auto& tx) { return put_text(tx, "a", "1"); });
        return ok ? in_transaction(s, [](auto& tx) { return put_text(tx, "b", "2"); }) : ok;
    });
    CHECK(to_text(two) ==
          "whole: begin no. 2 failed (storage input/output error): the state is neither the old one nor the new one\n");
    auto const half = found([](failing_storage& s) -> status {
        auto tx = s.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        status ok = put_text(*tx, "a", "1");
        if (ok) { ok = put_text(*tx, "b", "2"); }
        auto const committed = tx->commit();  // whatever came before
        return ok ? committed : ok;
    });
    CHECK(to_text(half) ==
          "whole: put no. 2 failed (storage input/output error): the state is neither the old one nor the new one\n");
    auto const silent = found([](failing_storage& s) -> status {
        auto tx = s.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        (void)put_text(*tx, "a", "1");
        return tx->commit();
    });
    CHECK(to_text(silent) ==
          "reported: put no. 1 failed (storage input/output error): it says that it succeeded, and "
          "the new state is not there\n");
    auto const careless = found([](failing_storage& s) {
        try {
            std::string const value(100, 'x');
            return in_transaction(s, [&](auto& tx) { return tx.put(as_bytes("a"), as_bytes(value)); });
        } catch (std::bad_alloc const&) { return status{}; }
    });
    CHECK(to_text(careless) ==
          "reported: allocation no. 1 failed: it says that it succeeded, and the new state is not there\n");
    auto const hopeless = found([](failing_storage&) -> status { return errc::invalid; });
    CHECK(to_text(hopeless) == "succeeds: without any failure: it fails\n");
    std::string const endless = to_text(nth_failure(nothing,
                                                    [](failing_storage& s) {
                                                        for (std::uint64_t i = 0; i < 50; ++i) {
                                                            if (!s.begin(access_mode::read)) { return false; }
                                                        }
                                                        return true;
                                                    },
                                                    {.codes = {errc::busy}, .nth_max = 20})
                                            .violations);
    CHECK(endless.find("ends: ") != std::string::npos);
}

TEST_CASE("nth failure finds memory that a failed operation has spoiled") {
    struct counter {
        int written = 0;
        bool dead = false;
        std::optional<failing_storage::transaction> open{};
    };
    auto const make = [](failing_storage&) { return counter{}; };
    auto const found = [&](auto const& operation) { return to_text(nth_failure(make, operation).violations); };
    auto const write = [](failing_storage& s, int n) {
        return in_transaction(s, [&](auto& tx) { return put_text(tx, "n", std::to_string(n).c_str()); });
    };
    CHECK(found([&](failing_storage& s, counter& c) {
              auto ok = write(s, c.written + 1);
              if (ok) { ++c.written; }
              return ok;
          }) == "");
    // Counts before it knows.
    CHECK(found([&](failing_storage& s, counter& c) { return write(s, ++c.written); }) ==
          "retried: begin no. 1 failed (storage input/output error): done again it succeeds, and the new state is not "
          "there\n");
    // Never recovers.
    CHECK(found([&](failing_storage& s, counter& c) -> status {
              if (c.dead) { return errc::poisoned; }
              auto ok = write(s, 1);
              c.dead = !ok;
              return ok;
          }) == "retry: begin no. 1 failed (storage input/output error): it fails again, with nothing in its way\n");
    // Keeps a transaction when it gives up.
    CHECK(found([&](failing_storage& s, counter& c) -> status {
              auto tx = s.begin(access_mode::write);
              if (!tx) { return tx.error(); }
              if (auto ok = put_text(*tx, "n", "1"); !ok) {
                  c.open.emplace(std::move(*tx));
                  return ok;
              }
              return tx->commit();
          }) == "closed: put no. 1 failed (storage input/output error): a transaction is left open\n");
}

TEST_CASE("nth failure finds an exchange whose failure is taken for its success, and a request that counts twice") {
    struct peer {
        std::vector<std::string> seen{};
        result<bytes> operator()(bytes_view request) {
            seen.emplace_back(as_text(request));
            return to_bytes("yes");
        }
    };
    struct wired {
        peer there{};
        loopback_transport inner{there};
        faulty_transport<loopback_transport> way{inner};
    };
    auto const make = [](failing_storage&) { return wired{}; };
    auto const ask = [](wired& w) {
        bool yes = false;
        auto take = [&](transport_reply const& r) { yes = r.message && as_text(*r.message) == "yes"; };
        w.way.exchange(as_bytes("add"), completion::to(take));
        return yes;
    };
    auto const peers = [](memory_storage&, wired& w) { return w.there.seen; };
    auto const set_of_peers = [](memory_storage&, wired& w) { return !w.there.seen.empty(); };
    auto const careful = nth_failure(
        make, [&](failing_storage&, wired& w) { return ask(w); }, {.repeatable = true}, set_of_peers);
    CHECK(to_text(careful.violations) == "");
    for (std::uint64_t const n : careful.exchanges) { CHECK(n == 1); }
    auto const trusting = nth_failure(
        make,
        [&](failing_storage&, wired& w) {
            (void)ask(w);
            return true;
        },
        {}, set_of_peers);
    CHECK(to_text(trusting.violations) ==
          "reported: exchange no. 1 undelivered: it says that it succeeded, and the new state is not there\n");
    auto const twice = nth_failure(
        make, [&](failing_storage&, wired& w) { return ask(w); }, {.repeatable = true}, peers);
    CHECK(breaks(twice.violations, "retried"));   // after a lost reply it is asked again, and counts twice
    CHECK(breaks(twice.violations, "reported"));  // and so when the network delivers twice
}

// ---- What there is passes ----------------------------------------------------------------------------------------

namespace {

/// Each operation of an outbox, on one that has an entry of each state, in one transaction.
struct outbox_scene {
    outbox queue{};
    wall_time at = now.wall;
    std::vector<outbox_entry> claimed{};
    std::uint64_t fresh = 0;

    explicit outbox_scene(failing_storage& s) {
        auto const ok = in_transaction(s, [&](auto& tx) -> status {
            auto const item = [](char const* record, char const* payload, priority p = priority::normal) {
                return outbox_item{p, as_bytes(std::string_view{record}), as_bytes(std::string_view{payload})};
            };
            std::vector<outbox_item> const items{item("a", "1", priority::critical),
                                                 item("a", "2"),
                                                 item("b", "3", priority::important),
                                                 item("", "4"),
                                                 item("c", "5"),
                                                 item("d", "6", priority::important)};
            auto first = queue.enqueue_all(tx, items, at);
            if (!first) { return first.error(); }
            auto taken = queue.claim(tx, {.entries_max = 3}, at);
            if (!taken) { return taken.error(); }
            claimed = *taken;
            if (auto done = queue.release(tx, claimed[1].token, claimed[1].fence, at + milliseconds{5'000}); !done) {
                return done;
            }
            if (auto done = queue.bury(tx, claimed[2].token, claimed[2].fence, errc::rejected, as_bytes("no")); !done) {
                return done;
            }
            auto more = queue.enqueue(tx, item("e", "7"), at);
            if (!more) { return more.error(); }
            fresh = *more;
            return {};
        });
        SYNCLINE_ASSERT(ok.has_value());
        SYNCLINE_ASSERT(claimed.size() == 3);
    }
};

}  // namespace

TEST_CASE("nth failure: finds one who takes a part of a scan for the whole") {
    auto const report = nth_failure(
        [](failing_storage& s) {
            (void)in_transaction(s, [](auto& tx) {
                status const ok = put_text(tx, "a", "1");
                return ok ? put_text(tx, "b", "2") : ok;
            });
        },
        [](failing_storage& s) {
            return in_transaction(s, [](auto& tx) {
                std::string all;
                status const ok = tx.scan({}, [&](bytes_view key, bytes_view) {
                    all += static_cast<char>(key[0]);
                    return true;
                });
                // An error is one only when nothing was seen.
                return !ok && all.empty() ? ok : put_text(tx, "all", all.c_str());
            });
        },
        {.codes = {errc::storage_io}});
    CHECK(
        to_text(report.violations) ==
        "reported: scan no. 1 failed after its first key (storage input/output error): it says that it succeeded, and "
        "the new state is not there\n");
}

TEST_CASE("nth failure: every operation of the outbox") {
    auto const make = [](failing_storage& s) { return outbox_scene{s}; };
    auto const check = [&](char const* what, auto const& operation) {
        INFO(what);
        auto const report = nth_failure(make, [&](failing_storage& s, outbox_scene& o) {
            return in_transaction(s, [&](auto& tx) { return operation(tx, o, o.queue); });
        });
        CHECK(to_text(report.violations) == "");
        CHECK(injected(report) >= 3 * 8);
        CHECK(report.allocations > 0);
    };
    using scene = outbox_scene;
    check("enqueue", [](auto& tx, scene& o, outbox const& q) {
        return q.enqueue(tx, {priority::normal, as_bytes("a"), as_bytes("8")}, o.at);
    });
    check("enqueue_all", [](auto& tx, scene& o, outbox const& q) {
        std::array<outbox_item, 3> const items{{{priority::critical, as_bytes("z"), as_bytes("8")},
                                                {priority::normal, {}, as_bytes("9")},
                                                {priority::background, as_bytes("z"), as_bytes("10")}}};
        return q.enqueue_all(tx, items, o.at);
    });
    check("amend", [](auto& tx, scene& o, outbox const& q) { return q.amend(tx, o.fresh, as_bytes("longer")); });
    check("withdraw", [](auto& tx, scene& o, outbox const& q) { return q.withdraw(tx, o.fresh); });
    check("claim", [](auto& tx, scene& o, outbox const& q) {
        return q.claim(tx, {.record_run_max = 5}, o.at + std::chrono::minutes{2});  // leases and waits end, too
    });
    check("set_payload", [](auto& tx, scene& o, outbox const& q) {
        return q.set_payload(tx, o.claimed[0].token, o.claimed[0].fence, as_bytes("as sent"));
    });
    check("ack", [](auto& tx, scene& o, outbox const& q) { return q.ack(tx, o.claimed[0].token, o.claimed[0].fence); });
    check("ack_all", [](auto& tx, scene& o, outbox const& q) { return q.ack_all(tx, o.claimed); });
    check("release", [](auto& tx, scene& o, outbox const& q) {
        return q.release(tx, o.claimed[0].token, o.claimed[0].fence, o.at + milliseconds{9'000});
    });
    check("bury", [](auto& tx, scene& o, outbox const& q) {
        return q.bury(tx, o.claimed[0].token, o.claimed[0].fence, errc::rejected, as_bytes("why"));
    });
    check("revive", [](auto& tx, scene& o, outbox const& q) { return q.revive(tx, o.claimed[2].token, o.at); });
    check("discard", [](auto& tx, scene& o, outbox const& q) { return q.discard(tx, o.claimed[2].token); });
}

TEST_CASE("nth failure: a reserved clock, opened anew and going on") {
    auto const stamp = [](failing_storage& s, reserved_clock& clock) {
        auto const ok = in_transaction(s, [&](auto& tx) { return clock.now(tx, now.wall); });
        if (ok) { clock.committed(); }
        return ok;
    };
    auto const opened = [](failing_storage& s) {
        auto tx = s.begin(access_mode::write);
        auto clock = reserved_clock::open(*tx, as_bytes("clock"));
        SYNCLINE_ASSERT(clock.has_value());
        return std::move(*clock);
    };
    auto const anew = [&](failing_storage& s) -> status {
        auto tx = s.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        auto clock = reserved_clock::open(*tx, as_bytes("clock"));
        if (!clock) { return clock.error(); }
        if (auto const t = clock->now(*tx, now.wall); !t) { return t.error(); }
        return tx->commit();
    };
    auto const nothing = [](failing_storage&) {};
    // A bound that was reserved and not learned of is passed over by the next: the state is new in another way.
    auto const reserved = [](memory_storage& s) { return s.store().count() != 0; };
    CHECK(to_text(nth_failure(nothing, anew, {.repeatable = true}, reserved).violations) == "");
    CHECK(to_text(nth_failure(nothing, anew).violations) == "");
    CHECK(to_text(nth_failure(opened, stamp, {.repeatable = true}).violations) == "");
    CHECK(to_text(nth_failure(opened,
                              [](failing_storage& s, reserved_clock& clock) {
                                  timestamp const remote = timestamp::make(now.wall + milliseconds{9});
                                  auto const ok =
                                      in_transaction(s, [&](auto& tx) { return clock.accept(tx, remote, now.wall); });
                                  if (ok) { clock.committed(); }
                                  return ok;
                              },
                              {.repeatable = true})
                      .violations) == "");
}

namespace {

record_key const record_a{"things", "a"};

/// A replica that has met its authority; another has changed what this one has, and it has work of every kind.
struct replica_scene {
    world::cloud c{now};
    replica self{world::rules()};
    random_generator random{11};
    std::uint64_t conflict = 0;
    position seen = 0;
    bytes request{};
    bytes reply{};

    explicit replica_scene(failing_storage& s) {
        world::device other{2};
        check(world::open(other, now));
        check(in_transaction(s, [&](auto& tx) { return self.open(tx, "anna", now, random); }));
        check(in_transaction(s, [&](auto& tx) {
            return self.create(tx, record_a, fields({{"asked", 1}, {"name", 1}, {"count", 1}}), now);
        }));
        sync(s);
        check(world::sync(other, c, now));
        check(other.write([&](auto& tx) { return other.self.update(tx, record_a, {world::set("asked", 2)}, now); }));
        check(world::sync(other, c, now));
        check(in_transaction(s, [&](auto& tx) {
            return self.update(tx, record_a, {world::set("asked", 3), world::add("count", 5)}, now);
        }));
        sync(s);
        auto tx = s.begin(access_mode::read);
        check(self.conflicts(*tx, [&](open_conflict const& o) {
            conflict = o.token;
            seen = o.remote->version;
            return true;
        }));
        SYNCLINE_ASSERT(conflict != 0);
        tx = errc::cancelled;
        // Others go on; here something waits.
        check(other.write([&](auto& t) { return other.self.update(t, record_a, {world::set("name", 7)}, now); }));
        check(other.write([&](auto& t) {
            return other.self.create(t, record_key{"things", "b"}, fields({{"name", 2}}), now);
        }));
        check(world::sync(other, c, now));
        check(in_transaction(s, [&](auto& t) { return self.update(t, record_a, {world::add("count", 1)}, now); }));
    }
    template <class R>
    static void check(R const& r) {
        SYNCLINE_ASSERT(r.has_value());
    }
    /// The next request, frozen, and the authority's answer to it.
    void meet(failing_storage& s) {
        check(in_transaction(s, [&](auto& tx) { return self.prepare(tx, now); }));
        auto tx = s.begin(access_mode::read);
        auto const message = self.request_message(*tx);
        check(message);
        request = *message;
        auto const answer = c.answer(request, now);
        check(answer);
        reply = *answer;
    }
    void sync(failing_storage& s) {
        meet(s);
        check(in_transaction(s, [&](auto& tx) { return self.absorb(tx, reply, now, random); }));
    }
};

}  // namespace

TEST_CASE("nth failure: every write of a replica") {
    auto const make = [](failing_storage& s) { return replica_scene{s}; };
    auto const check = [&](char const* what, auto const& make_it, auto const& operation) {
        INFO(what);
        auto const report = nth_failure(make_it, [&](failing_storage& s, replica_scene& w) {
            return in_transaction(s, [&](auto& tx) { return operation(tx, w, w.self); });
        });
        CHECK(to_text(report.violations) == "");
        CHECK(injected(report) >= 3 * 8);
        CHECK(report.allocations > 0);
    };
    using scene = replica_scene;
    check("create", make, [](auto& tx, scene&, replica const& r) {
        return r.create(tx, record_key{"things", "c"}, fields({{"name", 9}}), now);
    });
    check("update", make, [](auto& tx, scene&, replica const& r) {
        return r.update(tx, record_a, {world::set("name", 9), world::add("count", 1)}, now);
    });
    check("put", make, [](auto& tx, scene&, replica const& r) {
        return r.put(tx, record_a, fields({{"name", 5}, {"count", 9}}), now);
    });
    check("erase", make, [](auto& tx, scene&, replica const& r) { return r.erase(tx, record_a, now); });
    check("prepare", make, [](auto& tx, scene&, replica const& r) { return r.prepare(tx, now); });
    check("resolve", make, [](auto& tx, scene& w, replica const& r) {
        return r.resolve(tx, w.conflict, w.seen, {{"asked", field_resolution::choice::local, {}}}, now);
    });
    check("dismiss", make, [](auto& tx, scene& w, replica const& r) { return r.dismiss(tx, w.conflict); });
    check("forget_events", make, [](auto& tx, scene&, replica const& r) { return r.forget_events(tx, 100); });
    auto const met = [](failing_storage& s) {
        struct met_scene : replica_scene {
            explicit met_scene(failing_storage& store) : replica_scene(store) { meet(store); }
        };
        return met_scene{s};
    };
    check("absorb", met, [](auto& tx, scene& w, replica const& r) {
        random_generator dice = w.random;
        return r.absorb(tx, w.reply, now, dice);
    });
    auto const nothing = [](failing_storage&) {};
    CHECK(to_text(nth_failure(nothing,
                              [](failing_storage& s) {
                                  // The line that each opening draws anew is always the same one.
                                  struct {
                                      std::uint64_t operator()() noexcept { return 7; }
                                  } dice;
                                  replica const r{world::rules()};
                                  return in_transaction(s, [&](auto& tx) { return r.open(tx, "anna", now, dice); });
                              },
                              {.repeatable = true})
                      .violations) == "");
}

TEST_CASE("nth failure: the authority's answer, and its opening") {
    struct authority_scene {
        authority<> self{world::rules()};
        bytes request{};

        explicit authority_scene(failing_storage& s) {
            random_generator random{7};
            auto ok = in_transaction(s, [&](auto& tx) { return self.open(tx, now, random); });
            world::device d{3};
            ok = world::open(d, now);
            (void)d.write([&](auto& tx) { return d.self.create(tx, record_a, fields({{"name", 1}}), now); });
            bytes const first = world::request_of(d, now);
            std::optional<bytes> answer;
            ok = in_transaction(s, [&](auto& tx) {
                auto r = self.handle(tx, "anna", first, now);
                if (r) { answer = *r; }
                return r;
            });
            SYNCLINE_ASSERT(answer.has_value());
            (void)world::absorb(d, *answer, now);
            (void)d.write([&](auto& tx) { return d.self.update(tx, record_a, {world::set("name", 2)}, now); });
            (void)d.write([&](auto& tx) {
                return d.self.create(tx, record_key{"things", "b"}, fields({{"count", 1}}), now);
            });
            request = world::request_of(d, now);
        }
    };
    auto const make = [](failing_storage& s) { return authority_scene{s}; };
    auto const report =
        nth_failure(make,
                    [](failing_storage& s, authority_scene& w) {
                        return in_transaction(s, [&](auto& tx) { return w.self.handle(tx, "anna", w.request, now); });
                    },
                    {.repeatable = true});  // a request that comes again is answered again, and changes nothing
    CHECK(to_text(report.violations) == "");
    CHECK(injected(report) > 10 * 8);
    CHECK(report.allocations > 10);
    auto const nothing = [](failing_storage&) {};
    CHECK(to_text(nth_failure(nothing,
                              [](failing_storage& s) {
                                  random_generator dice{1};
                                  authority<> const a{world::rules()};
                                  return in_transaction(s, [&](auto& tx) { return a.open(tx, now, dice); });
                              },
                              {.repeatable = true})
                      .violations) == "");
}

TEST_CASE("nth failure: an authority was put back, at the replica and at the authority") {
    // Which of the two stands on the storage that fails is the test's to say.
    authority_options expecting;
    expecting.backups = true;
    authority<> const home{world::rules(), expecting};
    struct device_scene {
        replica self{world::rules()};
        bytes reply{};
    };
    struct office_scene {
        bytes request{};
    };
    auto const play = [&](auto& office, auto& store, replica const& self, bytes& request, bytes& reply) {
        random_generator random{7};
        auto const exchange = [&] {
            auto ok = in_transaction(store, [&](auto& tx) { return self.prepare(tx, now); });
            ok = in_transaction(store, [&](auto& tx) {
                auto q = self.request_message(tx);
                if (q) { request = *q; }
                return q;
            });
            ok = in_transaction(office, [&](auto& tx) {
                auto p = home.handle(tx, "anna", request, now);
                if (p) { reply = *p; }
                return p;
            });
        };
        auto const sync = [&] {
            exchange();
            (void)in_transaction(store, [&](auto& tx) { return self.absorb(tx, reply, now, random); });
        };
        (void)in_transaction(office, [&](auto& tx) { return home.open(tx, now, random); });
        (void)in_transaction(store, [&](auto& tx) { return self.open(tx, "anna", now, random); });
        (void)in_transaction(store, [&](auto& tx) {
            return self.create(tx, record_a, fields({{"name", 1}, {"count", 1}}), now);
        });
        sync();
        std::vector<std::pair<bytes, bytes>> backup;
        (void)in_transaction(office, [&](auto& tx) {
            return tx.scan({bytes{}, bytes{}}, [&](bytes_view k, bytes_view v) {
                backup.emplace_back(to_bytes(k), to_bytes(v));
                return true;
            });
        });
        (void)in_transaction(store, [&](auto& tx) { return self.update(tx, record_a, {world::add("count", 5)}, now); });
        sync();
        sync();
        (void)in_transaction(store, [&](auto& tx) { return self.update(tx, record_a, {world::set("name", 2)}, now); });
        std::vector<bytes> all;
        (void)in_transaction(office, [&](auto& tx) {
            return tx.scan({bytes{}, bytes{}}, [&](bytes_view k, bytes_view) {
                all.push_back(to_bytes(k));
                return true;
            });
        });
        (void)in_transaction(office, [&](auto& tx) {
            status ok;
            for (bytes const& k : all) { ok = ok ? tx.erase(k) : ok; }
            for (auto const& [k, v] : backup) { ok = ok ? tx.put(k, v) : ok; }
            return ok;
        });
        (void)in_transaction(office, [&](auto& tx) { return home.open(tx, now, random); });
        exchange();
    };
    SECTION("the replica goes back") {
        auto const make = [&](failing_storage& s) {
            device_scene w;
            memory_storage office;
            bytes request;
            play(office, s, w.self, request, w.reply);
            return w;
        };
        auto const report = nth_failure(make, [](failing_storage& s, device_scene& w) {
            random_generator dice{5};
            return in_transaction(s, [&](auto& tx) {
                auto const done = w.self.absorb(tx, w.reply, now, dice);
                SYNCLINE_ASSERT(!done || done->regressed);
                return done;
            });
        });
        CHECK(to_text(report.violations) == "");
        CHECK(injected(report) >= 10 * 8);
    }
    SECTION("the authority begins an epoch and tells the past") {
        auto const make = [&](failing_storage& s) {
            office_scene w;
            memory_storage device;
            replica const self{world::rules()};
            bytes reply;
            play(s, device, self, w.request, reply);
            random_generator random{9};
            (void)in_transaction(s, [&](auto& tx) { return home.open(tx, now, random); });
            return w;
        };
        auto const report =
            nth_failure(make,
                        [&](failing_storage& s, office_scene& w) {
                            return in_transaction(s, [&](auto& tx) { return home.handle(tx, "anna", w.request, now); });
                        },
                        {.repeatable = true});
        CHECK(to_text(report.violations) == "");
        CHECK(injected(report) >= 5 * 8);
    }
}

TEST_CASE("nth failure: a session that is driven to its end, over a network that fails too") {
    struct home {
        world::cloud c{now};
        result<bytes> operator()(bytes_view request) { return c.answer(request, now); }
    };
    struct driven {
        home there{};
        loopback_transport inner{there};
        faulty_transport<loopback_transport> way{inner};
        replica self{world::rules()};
        session<failing_storage, random_generator> link;
        instant clock = now;
        std::size_t told = 0;

        explicit driven(failing_storage& s) : link(s, self, random_generator{5}) {
            random_generator random{6};
            auto ok = in_transaction(s, [&](auto& tx) { return self.open(tx, "anna", now, random); });
            SYNCLINE_ASSERT(ok.has_value());
            ok = in_transaction(s, [&](auto& tx) {
                return self.create(tx, record_a, fields({{"name", 1}, {"count", 1}}), now);
            });
            world::device other{2};
            (void)world::open(other, now);
            (void)other.write([&](auto& tx) {
                return other.self.create(tx, record_key{"things", "b"}, fields({{"name", 2}}), now);
            });
            (void)world::sync(other, there.c, now);
        }
    };
    auto const make = [](failing_storage& s) { return driven{s}; };
    auto const run = [](failing_storage& s, driven& w) -> status {
        // Time passes between two tries, so that what was given up is over.
        w.clock.wall += std::chrono::minutes{3};
        w.clock.monotonic += std::chrono::minutes{3};
        auto const done = drive(
            w.link, s, w.way, [&] { return w.clock; }, [&](event const&) { ++w.told; }, hurry{});
        if (!done) { return done.error(); }
        if (done->failed) { return *done->failed; }
        return {};
    };
    // What counts: the records, with everybody's work in them, and that nothing is left to send. What the authority has
    // may be ahead of that: an exchange whose answer was lost.
    auto const seen_here = [](memory_storage& s, driven& w) {
        auto tx = s.begin(access_mode::read);
        std::vector<std::pair<std::string, bytes>> records;
        (void)w.self.scan(*tx, "things", [&](record_key const& k, record const& r) {
            records.emplace_back(std::string{k.id_text()}, r.fields);
            return true;
        });
        auto const work = w.self.status_of(*tx);
        bool const settled = work && work->met && work->cursor == work->head && work->frozen == 0;
        return std::tuple{records, work ? work->frozen : 99, settled && world::confirmed(w.there.c).size() == 2};
    };
    auto const report = nth_failure(make, run, {.several_transactions = true, .repeatable = true}, seen_here);
    CHECK(to_text(report.violations) == "");
    CHECK(injected(report) > 20 * 8);
    for (std::uint64_t const n : report.exchanges) { CHECK(n > 0); }
}
