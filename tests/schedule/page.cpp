// SPDX-License-Identifier: BSL-1.0
// What docs/schedule.md and docs/platforms.md quote.

#include <algorithm>
#include <optional>

#include <syncline/outbox.hpp>
#include <syncline/schedule.hpp>
#include <syncline/storage/memory.hpp>

#include "schedule/generate.hpp"
#include "support/catch.hpp"

using namespace syncline;

TEST_CASE("the page of the schedule: ask, do, tell") {
    wall_time now = schedule_test::monday;
    syncline::random_generator dice(1);
    // region: ask
    schedule_options const options;  // the tables; replace what you like
    schedule_memory memory(0x5EED);  // a number of this device's own; kept by to_array and restore

    conditions c;  // all unknown: set what you know
    c.network.online = true;
    c.network.kind = link_kind::cellular;
    c.network.effective = effective_type::type_4g;
    c.application.foreground = true;
    c.pending.add(sync_class::normal, 300, now);  // from the outbox, by class

    memory.saw(c, options, now);
    sync_plan const plan = make_plan(c, memory, options, now);
    // Not now: at plan.at, or earlier with what plan.until names. to_text(plan, now) says why.
    // endregion: ask
    CHECK_FALSE(plan.run);
    CHECK(plan.in == options.patience[2]);
    // region: tell
    transfer_report report{.good = true,
                           .took = milliseconds{420},
                           .round_trip = milliseconds{60},
                           .bytes_up = 2'100,
                           .bytes_down = 18'000,
                           .entries = 12,
                           .metered = true};
    memory.succeeded(report, options, now);  // or memory.failed(report, options, now, dice)
    // endregion: tell
    CHECK(memory.exchanges() == 1);
    memory.failed({}, options, now, dice);
    CHECK(memory.paused_until(now));
}

namespace {

// region: own_step
/// Sends critical work at most every five seconds, whatever the tables say.
struct my_steps : schedule_steps {
    static constexpr milliseconds interval(schedule_situation const& s, want w, sync_class c) noexcept {
        milliseconds const usual = schedule_steps::interval(s, w, c);
        return c == sync_class::critical && w == want::push && usual < milliseconds{5'000} ? milliseconds{5'000}
                                                                                           : usual;
    }
};
// endregion: own_step

// region: outbox
/// What waits in an outbox, for a plan: what an entry must be claimed by is its deadline.
template <storage_transaction Tx>
status fill(pending_work& out, outbox const& queue, Tx& tx) {
    out = {};
    return queue.scan(tx, [&](outbox_entry const& e) {
        auto const urgency = static_cast<sync_class>(e.served_as);  // the numbers are the same
        out.add(urgency, e.record.size() + e.payload.size(), e.entered, e.expires);
        return true;
    });
}
/// What a plan lets an outbox give.
claim_options to_claim(sync_plan const& p) {
    claim_options what;
    what.entries_max = p.batch;
    what.bytes_max = static_cast<std::size_t>((std::min)(p.bytes_max, std::uint64_t{what.bytes_max}));
    what.lowest = static_cast<priority>(p.lowest);
    return what;
}
// endregion: outbox
static_assert(static_cast<unsigned>(priority::background) == static_cast<unsigned>(sync_class::background));

// region: work_request
/// What an Android host asks WorkManager for, from a plan. The names on the right are WorkManager's.
struct work_request {
    bool at_once;                ///< setExpedited
    std::int64_t delay_seconds;  ///< setInitialDelay
    bool connected;              ///< NetworkType.CONNECTED
    bool unmetered;              ///< NetworkType.UNMETERED
    bool charging;               ///< setRequiresCharging
};
work_request to_work_request(sync_plan const& p) {
    bool const waits_for_link = has(p.until, awaited::network) && !p.run;
    return {p.run, p.run || waits_for_link ? 0 : (p.in.count() + 999) / 1000, true, false, false};
}
/// And a second request beside it, where a constraint that WorkManager knows may let the plan change earlier.
std::optional<work_request> earlier_request(sync_plan const& p) {
    bool const unmetered = has(p.until, awaited::unmetered);
    bool const charging = has(p.until, awaited::power);
    if (p.run || !(unmetered || charging)) { return {}; }
    return work_request{false, 0, true, unmetered, charging};
}
// endregion: work_request

}  // namespace

TEST_CASE("the page of the schedule: from an outbox to a plan, and back to what it gives") {
    schedule_options const o;
    schedule_memory const m;
    wall_time const now = schedule_test::monday;
    memory_storage store;
    outbox const queue;
    auto tx = store.begin(access_mode::write);
    bytes const payload(100);
    for (priority const p : {priority::background, priority::important, priority::critical, priority::critical}) {
        outbox_item item{.urgency = p, .payload = payload};
        if (p == priority::important) { item.time_to_live = milliseconds{600'000}; }
        REQUIRE(queue.enqueue(*tx, item, now));
    }
    conditions c;
    REQUIRE(fill(c.pending, queue, *tx));
    CHECK((c.pending.of[0].entries == 2 && c.pending.of[0].bytes == 200 && c.pending.of[0].oldest == now));
    CHECK((c.pending.of[1].deadline == now + milliseconds{600'000} && c.pending.of[2].entries == 0));
    c.network.online = true;
    c.network.effective = effective_type::type_2g;
    c.power.level = std::uint8_t{3};
    sync_plan const p = make_plan(c, m, o, now);
    REQUIRE((p.run && p.push && p.lowest == sync_class::critical));
    auto const given = queue.claim(*tx, to_claim(p), now);
    REQUIRE(given);
    CHECK(given->size() == 2);
}

TEST_CASE("the page of platforms: a plan becomes a request for work") {
    schedule_options const o;
    schedule_memory const m;
    wall_time const now = schedule_test::monday;
    conditions c;
    c.network.online = false;
    c.pending.add(sync_class::normal, 10, now);
    work_request w = to_work_request(make_plan(c, m, o, now));
    CHECK((!w.at_once && w.connected && w.delay_seconds == 0));
    c.network.online = true;
    c.network.metered = false;
    c.network.kind = link_kind::cellular;
    w = to_work_request(make_plan(c, m, o, now));
    CHECK((!w.at_once && w.delay_seconds == 1800));
    c.pending.add(sync_class::critical, 10, now);
    CHECK(to_work_request(make_plan(c, m, o, now)).at_once);
    CHECK_FALSE(make_plan<my_steps>(c, m, o, now).run);
    c.pending = {};
    c.pending.add(sync_class::background, 10, now);
    CHECK_FALSE(earlier_request(make_plan(c, m, o, now)));
    c.network.metered = true;
    sync_plan const held = make_plan(c, m, o, now);
    w = to_work_request(held);  // thrift yields in time, on whatever link there is then
    CHECK((!w.unmetered && w.delay_seconds == o.stale_max[3].count() / 1000));
    std::optional<work_request> const early = earlier_request(held);
    REQUIRE(early);
    CHECK((early->unmetered && early->delay_seconds == 0));
    c.network.metered = false;
    c.power.level = std::uint8_t{3};
    REQUIRE(earlier_request(make_plan(c, m, o, now)));
    CHECK(earlier_request(make_plan(c, m, o, now))->charging);
}
