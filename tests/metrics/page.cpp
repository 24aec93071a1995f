// SPDX-License-Identifier: BSL-1.0
// What docs/metrics.md quotes.

#include <syncline/metrics.hpp>
#include <syncline/outbox.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

// region: part
/// A part that reports: nothing is stored and nothing called where nobody listens.
template <observer Observer = no_observer>
class sender {
public:
    explicit sender(Observer o = {}) : observer_(o) {}
    void sent(std::uint64_t entries, std::uint64_t size) {
        observer_.counted(metric_counter::entries_sent, entries);
        observer_.counted(metric_counter::bytes_up, size);
    }

private:
    SYNCLINE_NO_UNIQUE_ADDRESS Observer observer_;
};
// endregion: part
static_assert(std::is_empty_v<sender<>>);

}  // namespace

TEST_CASE("the page of metrics") {
    wall_time const now{milliseconds{1'790'000'000'000}};
    // region: use
    metrics numbers;
    numbers.pass(now);  // it reads no clock: tell it the time now and then
    sender<observer_ref<metrics>> part{observer_ref(numbers)};
    part.sent(12, 2'048);

    metrics_snapshot const s = numbers.snapshot();
    auto const page = to_text(s, metrics_text::open_metrics, {{"fleet", "tills"}});  // for a scraper
    bytes kept;
    cbor_writer out(kept);
    encode(s, out);  // for a log, or to be merged with other devices'
    // endregion: use
    REQUIRE(page);
    CHECK(decode_metrics_snapshot(kept));
    memory_storage store;
    outbox const queue;
    outbox_item const item;
    // region: transaction
    until_commit told(numbers);
    auto tx = store.begin(access_mode::write);
    auto const token = queue.enqueue(*tx, item, now, told);
    if (token && tx->commit()) { told.tell(); }
    // endregion: transaction
    CHECK(numbers.snapshot().of(metric_gauge::pending_entries) == 1);
    // region: restart
    bytes stored;
    cbor_writer into(stored);
    numbers.encode(into);  // now and then, and before the program ends
    metrics after_restart;
    auto const went_on = after_restart.restore(stored);
    // endregion: restart
    CHECK(went_on);
    CHECK(after_restart.snapshot().total == numbers.snapshot().total);
    // region: alerts
    alerts watch;  // the default rules
    for (alert const& a : watch.look(s, now)) {
        static_cast<void>(a);  // raised, escalated or cleared: tell somebody
    }
    // endregion: alerts
    CHECK(watch.active().empty());
}
