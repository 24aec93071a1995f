// SPDX-License-Identifier: BSL-1.0

/// Every part reports to one observer: what each tells, when, and that it tells nothing of what failed.

#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <syncline/audit/log.hpp>
#include <syncline/blob/transfers.hpp>
#include <syncline/conflict/queue.hpp>
#include <syncline/delta/choose.hpp>
#include <syncline/metrics/registry.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/schedule/trace.hpp>

#include "reconcile/world.hpp"
#include "replica/world.hpp"
#include "support/catch.hpp"

using namespace syncline;
using world::virtual_clock;

namespace {

using c = metric_counter;
using told_session = session<memory_storage, random_generator, observer_ref<metrics>>;
using silent_session = session<memory_storage, random_generator>;
static_assert(sizeof(silent_session) < sizeof(told_session));

constexpr wall_time at{milliseconds{1'790'000'000'000}};

template <class F>
auto in(memory_storage& store, F&& f) {
    auto tx = store.begin(access_mode::write);
    REQUIRE(tx);
    auto out = f(*tx);
    REQUIRE(out);
    REQUIRE(tx->commit());
    if constexpr (!std::is_same_v<decltype(out), status>) { return *std::move(out); }
}

/// A device whose session reports, and its authority.
struct observed_device {
    virtual_clock clock{};
    world::cloud cloud{clock.now};
    world::device d{100};
    metrics numbers{};
    told_session link{d.store, d.self, random_generator{3}, {}, observer_ref(numbers)};
    record_key const key{"things", "a"};

    observed_device() {
        numbers.pass(clock.now.wall);
        REQUIRE(world::open(d, clock.now));
    }
    void write(std::string_view name, std::int64_t n) {
        REQUIRE(d.write([&](auto& tx) {
            return d.self.put(tx, key, world::fields({{std::string(name), n}}), clock.now);
        }));
    }
    void handle(session_input const& in, bool commit = true) {
        auto tx = d.store.begin(access_mode::write);
        auto const ok = link.handle(in, *tx, clock.now);
        if (ok && commit) { REQUIRE(tx->commit()); }
    }
    /// What the session sends; nothing when it waits.
    std::optional<bytes> sends() {
        for (;;) {
            auto out = link.poll(clock.now);
            REQUIRE(out);
            if (auto const* t = std::get_if<transmit>(&*out)) { return to_bytes(t->message); }
            if (std::holds_alternative<wait_until>(*out)) { return {}; }
        }
    }
    metrics_snapshot seen() const { return numbers.snapshot(); }
};

}  // namespace

TEST_CASE("a session tells of exchanges, bytes, verdicts, rows, times and failures") {
    observed_device o;
    o.write("n", 1);
    o.handle(tick{});
    auto const asked = o.sends();
    REQUIRE(asked);
    CHECK(o.seen().of(c::entries_sent) == 1);
    CHECK(o.seen().of(c::bytes_up) == asked->size());
    o.clock.pass(80);
    auto const reply = o.cloud.answer(*asked, o.clock.now);
    REQUIRE(reply);

    SECTION("an exchange that succeeds") {
        o.handle(received{*reply});
        CHECK(o.seen().of(c::entries_applied) == 0);  // not before the commit, by its event
        CHECK_FALSE(o.sends());
        auto const s = o.seen();
        CHECK(s.of(c::exchanges) == 1);
        CHECK(s.of(c::entries_applied) == 1);
        CHECK(s.of(c::rows_pulled) == 1);
        CHECK(s.of(c::bytes_down) == reply->size());
        CHECK(s.of(c::exchanges_failed) == 0);
        CHECK(s.of(metric_latency::exchange).most() == 80'000);
        CHECK(s.of(metric_gauge::pending_entries) == 0);
        CHECK(s.of(metric_gauge::staleness) == 0);
        o.clock.pass(5'000);
        CHECK_FALSE(o.sends());
        CHECK(o.seen().of(metric_gauge::staleness) == 5'000);
        CHECK(o.seen().of(c::entries_applied) == 1);  // an event is told once
    }
    SECTION("a reply whose transaction was rolled back: its verdict isn't counted before it was committed") {
        o.handle(received{*reply}, false);
        auto const again = o.sends();
        CHECK(o.seen().of(c::entries_applied) == 0);
        if (!again) { o.handle(hurry{}); }
        auto const asked_again = again ? again : o.sends();
        REQUIRE(asked_again);
        auto const answered = o.cloud.answer(*asked_again, o.clock.now);
        REQUIRE(answered);
        o.handle(received{*answered});
        CHECK_FALSE(o.sends());
        CHECK(o.seen().of(c::entries_applied) == 1);
        CHECK(o.seen().of(c::bytes_down) == reply->size() + answered->size());
    }
    SECTION("one that fails, and its retry") {
        o.handle(failed{failure{errc::unreachable}, {}});
        CHECK_FALSE(o.sends());
        auto const s = o.seen();
        CHECK(s.of(c::exchanges_failed) == 1);
        CHECK(s.failures_in_a_row == 1);
        REQUIRE(s.failures.size() == 1);
        CHECK(s.failures[0].who == observed_part::session);
        CHECK(s.failures[0].code == errc::unreachable);
        CHECK(s.of(metric_gauge::pending_entries) == 1);
        o.handle(hurry{});
        REQUIRE(o.sends());
        CHECK(o.seen().of(c::retries) == 1);
        CHECK(o.seen().of(c::entries_sent) == 2);
    }
    SECTION("bytes that are no reply") {
        o.handle(received{as_bytes("?")}, false);
        CHECK(o.seen().of(c::exchanges) == 0);
        CHECK(o.seen().of(c::exchanges_failed) == 1);
        CHECK(o.seen().of(c::bytes_down) == 1);
    }
}

TEST_CASE("a session tells each kind of verdict") {
    observed_device o;
    world::device other{200};
    REQUIRE(world::open(other, o.clock.now, "ben"));
    auto const exchange = [&] {
        o.handle(hurry{});
        while (auto const asked = o.sends()) {
            auto const reply = o.cloud.answer(*asked, o.clock.now);
            REQUIRE(reply);
            o.handle(received{*reply});
        }
    };
    o.write("count", 1);
    exchange();
    auto const clash = [&](std::string_view name, std::int64_t theirs, std::int64_t mine) {
        auto const edit = [&](world::device& d, std::int64_t n) {
            REQUIRE(d.write([&](auto& tx) { return d.self.update(tx, o.key, {world::set(name, n)}, o.clock.now); }));
        };
        auto const sync_other = [&] {
            for (;;) {
                auto const reply = o.cloud.answer(world::request_of(other, o.clock.now), o.clock.now, "ben");
                REQUIRE(reply);
                auto const done = world::absorb(other, *reply, o.clock.now);
                REQUIRE(done);
                if (!done->more) { return; }
            }
        };
        sync_other();
        o.clock.pass(1000);
        edit(o.d, mine);
        o.clock.pass(1000);
        edit(other, theirs);
        sync_other();
        exchange();
    };
    clash("asked", 1, 2);  // a person decides
    CHECK(o.seen().of(c::entries_conflicted) == 1);
    clash("name", 1, 2);  // the later write stands: ours was earlier
    CHECK(o.seen().of(c::entries_overruled) == 1);
    CHECK(o.seen().of(c::entries_applied) == 1);
    CHECK(conflict_ratio(o.seen().total) == 333'333U);
}

TEST_CASE("an outbox tells what was sent, saved and given up, and what waits") {
    memory_storage store;
    outbox const queue;
    metrics m;
    std::uint64_t token = 0;
    in(store, [&](auto& tx) {
        outbox_item item;
        item.record = as_bytes("r");
        item.payload = as_bytes("twelve bytes");
        auto const first = queue.enqueue(tx, item, at, m);
        token = *first;
        return first;
    });
    CHECK(m.snapshot().of(metric_gauge::pending_entries) == 1);
    in(store, [&](auto& tx) { return queue.amend(tx, token, as_bytes("shorter"), m); });
    CHECK(m.snapshot().of(c::saved_by_coalescing) == 12);
    auto const claim = [&](wall_time now) {
        auto got = in(store, [&](auto& tx) { return queue.claim(tx, {}, now, m); });
        REQUIRE(got.size() == 1);
        return got[0];
    };
    auto e = claim(at);
    CHECK(m.snapshot().of(c::entries_sent) == 1);
    CHECK(m.snapshot().of(c::retries) == 0);
    random_generator g(1);
    auto const waits = in(store, [&](auto& tx) {
        return queue.nack(tx, e.token, e.fence, backoff<>({.attempts_max = 1}), g, at, {}, m);
    });
    REQUIRE(waits);
    e = claim(*waits);
    CHECK(m.snapshot().of(c::retries) == 1);
    CHECK(m.snapshot().of(c::entries_dead) == 0);
    in(store,
       [&](auto& tx) { return queue.nack(tx, e.token, e.fence, backoff<>({.attempts_max = 1}), g, *waits, {}, m); });
    CHECK(m.snapshot().of(c::entries_dead) == 1);
    CHECK(m.snapshot().of(metric_gauge::pending_entries) == 0);

    in(store, [&](auto& tx) { return queue.enqueue(tx, {}, at, m); });
    e = claim(at);
    in(store, [&](auto& tx) { return queue.ack(tx, e.token, e.fence, m); });
    CHECK(m.snapshot().of(c::entries_applied) == 1);
    {
        auto tx = store.begin(access_mode::write);
        CHECK_FALSE(queue.ack(*tx, e.token, e.fence, m));
    }
    CHECK(m.snapshot().of(c::entries_applied) == 1);
}

TEST_CASE("a queue of conflicts tells how many it opened and decided, and how many are open") {
    memory_storage store;
    conflict_queue const queue;
    metrics m;
    conflict k;
    k.record = {"bookings", "b"};
    k.local.sequence = 1;
    k.local.stamp = timestamp{101};
    k.local.record = k.record;
    k.local.ops = {{"table", op_kind::set, to_bytes(value("garden").encoded()), k.local.stamp}};
    k.fields.push_back({{"table"}, rule::manual, "", 0, 0, {}});
    k.remote.emplace();
    k.remote->version = 9;
    k.remote->floor = {3, timestamp{10}, 2};
    k.remote->fields = world::fields({{"table", 3}});
    auto const id = in(store, [&](auto& tx) { return queue.raise(tx, k, at, no_audit{}, m); });
    in(store, [&](auto& tx) { return queue.raise(tx, k, at, no_audit{}, m); });  // told again: the same
    CHECK(m.snapshot().of(c::conflicts_opened) == 1);
    CHECK(m.snapshot().of(metric_gauge::open_conflicts) == 1);
    collection_rules const rules{"bookings", rule::last_writer, {{"table", rule::manual}}};
    decision_maker const ann{as_bytes("ann"), timestamp{300}, at, 1, false};
    in(store, [&](auto& tx) { return queue.resolve(tx, id, 1, resolution::use_local(), rules, ann, no_audit{}, m); });
    CHECK(m.snapshot().of(c::conflicts_decided) == 1);
    CHECK(m.snapshot().of(metric_gauge::open_conflicts) == 0);
}

TEST_CASE("an audit log tells of its entries, and a chooser of deltas what it saved") {
    memory_storage store;
    audit_log<> const log;
    random_generator g(1);
    metrics m;
    in(store, [&](auto& tx) { return log.open(tx, at, g); });
    audit_item item;
    item.kind = audit_kind::local_write;
    in(store, [&](auto& tx) { return log.append(tx, item, g, m); });
    CHECK(m.snapshot().of(c::audit_entries) == 1);

    no_codec none;
    delta_chooser<> chooser(none);
    bytes const before(1000, std::byte{7});
    bytes after = before;
    after[500] = std::byte{8};
    bytes out;
    auto const chosen = chooser.choose(1, bytes_view(before), after, out, m);
    CHECK(chosen.kind != delta_kind::full);
    CHECK(m.snapshot().of(c::saved_by_delta) == 1000 - (out.size() - 1));
    CHECK(m.snapshot().of(c::saved_by_compression) == 0);
}

TEST_CASE("a reconciliation tells its bytes and what it found; an answer to nothing tells nothing") {
    using namespace reconcile_tests;
    replica_world a({.cells = 64}), b({.cells = 64});
    std::vector<std::pair<std::string, std::optional<std::string>>> rows;
    for (int i = 0; i < 100; ++i) { rows.emplace_back("key" + std::to_string(i), std::string("v")); }
    REQUIRE(a.write(rows));
    rows[3].second = "w";
    rows.pop_back();
    REQUIRE(b.write(rows));
    metrics m;
    std::size_t down = 0;
    REQUIRE(a.begin());
    bytes last;
    while (auto const ask = *a.ask()) {
        last = *b.answer(*ask);
        down += last.size();
        REQUIRE(a.in_transaction([&](auto& tx, auto& in) { return a.asks.absorb(tx, in, last, m); }));
    }
    CHECK(m.snapshot().of(c::rows_differing) == 2);
    CHECK(m.snapshot().of(c::bytes_down) == down);
    REQUIRE(a.in_transaction([&](auto& tx, auto& in) { return a.asks.absorb(tx, in, last, m); }));
    CHECK(m.snapshot().of(c::bytes_down) == down);
}

TEST_CASE("transfers of large values tell their bytes, and what came whole") {
    memory_storage here, there;
    blob_book const book;
    blob_transfers const transfers(book);
    bytes content(20'000);
    random_generator g(5);
    fill(g, content);
    metrics m;
    blob_ref b;
    in(here, [&](auto& tx) {
        storage_chunks chunks(tx);
        auto const got = book.store(tx, chunks, content, "x", as_bytes("row"));
        b = *got;
        return transfers.upload(tx, b);
    });
    std::size_t up = 0;
    for (;;) {
        auto const asked = in(here, [&](auto& tx) {
            storage_chunks chunks(tx);
            return transfers.next(tx, chunks, {}, at, m);
        });
        if (!asked) { break; }
        up += asked->size();
        auto const answer = in(there, [&](auto& tx) {
            storage_chunks chunks(tx);
            return answer_blob(tx, chunks, book, as_bytes("offered"), *asked);
        });
        in(here, [&](auto& tx) {
            storage_chunks chunks(tx);
            return transfers.absorb(tx, chunks, answer, m);
        });
    }
    CHECK(up > content.size());
    CHECK(m.snapshot().of(c::bytes_up) == up);
    CHECK(m.snapshot().of(c::blobs_moved) == 1);
    CHECK(m.snapshot().of(c::blobs_refused) == 0);
}

TEST_CASE("a schedule tells of its decisions, and of those that time alone asked for") {
    metrics m;
    traced_schedule s;
    conditions k;
    k.network.online = false;
    k.power.level = 40;
    k.pending.add(sync_class::normal, 100, at);
    collection_state fresh;
    fresh.fresh_at = at - milliseconds{90'000};
    REQUIRE(k.collections.push_back(fresh));
    auto const p = s.decide(k, at, m);
    static_cast<void>(s.decide(k, at + milliseconds{1000}, m));  // something happened
    auto const q = s.decide(k, at + milliseconds{2000}, m);
    static_cast<void>(s.decide(k, q.at, m));
    CHECK(p.at > at);
    auto const seen = m.snapshot();
    CHECK(seen.of(c::decisions) == 4);
    CHECK(seen.of(c::wake_ups) == 1);
    CHECK(seen.of(metric_gauge::battery) == 40);
    CHECK(seen.of(metric_gauge::oldest_pending) == static_cast<std::uint64_t>((q.at - at).count()));
    CHECK(seen.of(metric_gauge::stalest_collection) == static_cast<std::uint64_t>((q.at - at).count()) + 90'000);
    CHECK_FALSE(seen.of(metric_gauge::storage_free));
}
