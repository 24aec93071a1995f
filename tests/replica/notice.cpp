// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/notice.hpp>

#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "replica/world.hpp"
#include "support/catch.hpp"

using namespace syncline;
using namespace world;

namespace {

static_assert(notice_observer<observer_ref<no_notices>> && !notice_observer<observer_ref<no_observer>>);
static_assert(std::is_empty_v<syncline::detail::untold_notices<false>>);

/// One that throws away what it was made for must not be taken for one that hears.
struct nearly : no_observer {
    void noticed(synced const&) const noexcept {}
    void noticed(conflict_opened const&) const noexcept {}
    void noticed(mutation_rejected const&) const noexcept {}
    void noticed(sync_paused const&) const {}  // may throw
};
static_assert(!notice_observer<nearly>);

// region: app
/// What an app shows: each notice is an overload of its own, and those that it does not want are left out.
struct app : no_notices {
    std::vector<std::string> shown{};

    using no_notices::noticed;
    void noticed(synced const& s) noexcept {
        shown.push_back("synced: " + std::to_string(s.verdicts) + " sent, " + std::to_string(s.rows) + " fetched");
    }
    void noticed(conflict_opened const& c) noexcept {
        shown.push_back("please decide about " + std::string{c.record.id_text()});
    }
    void noticed(mutation_rejected const& r) noexcept {
        shown.push_back("not taken: " + std::string{r.record.id_text()} + ", " + r.said.text);
    }
    void noticed(sync_paused const& p) noexcept {
        shown.push_back(p.for_sign_in() ? "please sign in" : "blocked: " + std::string{p.why.detail});
    }
};
// endregion: app

/// Refuses what is in the collection of closed things.
struct closed {
    validation operator()(validation_input const& in) const {
        if (in.change.record.collection == "closed") { return {false, errc::rejected, "the house is closed"}; }
        return {};
    }
};

struct told_device : storing {
    app screen{};
    replica self{rules()};
    session<memory_storage, syncline::random_generator, observer_ref<app>> link{
        store, self, syncline::random_generator{2}, {}, observer_ref<app>(screen)};

    using storing::storing;
    std::vector<std::string> shown() { return std::exchange(screen.shown, {}); }
};

struct house {
    virtual_clock clock{};
    memory_storage store{};
    authority<closed> self{rules()};
    told_device d{100};
    device other{200};
    std::optional<failure> refuses{};

    house() {
        syncline::random_generator dice{7};
        auto tx = store.begin(access_mode::write);
        REQUIRE(self.open(*tx, clock.now, dice));
        REQUIRE(tx->commit());
        REQUIRE(open(d, clock.now));
        REQUIRE(open(other, clock.now));
    }
    void exchange(bytes_view request, completion done) {
        auto const reply = serve(store, self, "anna", request, clock.now);
        done({refuses ? result<bytes_view>{*refuses}
              : reply ? result<bytes_view>{bytes_view{*reply}}
                      : reply.error(),
              {}});
    }
    transport_limits limits() const { return {}; }

    template <class D>
    void sync(D& who, session_input const& first = hurry{}) {
        REQUIRE(drive(
            who.link, who.store, *this, [&] { return clock.now; }, [](event const&) {}, first));
    }
    template <class D>
    void put(D& who, char const* collection, char const* id, char const* name, std::int64_t n) {
        REQUIRE(who.write([&](auto& tx) {
            return who.self.put(tx, {std::string_view{collection}, std::string_view{id}}, fields({{name, n}}),
                                clock.now);
        }));
    }
};

using lines = std::vector<std::string>;

}  // namespace

TEST_CASE("the end of a sync is told once, whatever number of exchanges it took", "[replica][notice]") {
    house h;
    for (char const* const id : {"a", "b", "c"}) { h.put(h.other, "things", id, "name", 1); }
    h.sync(h.other);
    h.put(h.d, "things", "d", "name", 1);
    h.sync(h.d);
    CHECK(h.d.shown() == lines{"synced: 1 sent, 4 fetched"});
    h.sync(h.d, tick{});  // nothing is due
    CHECK(h.d.shown().empty());
    h.sync(h.d);
    CHECK(h.d.shown() == lines{"synced: 0 sent, 0 fetched"});
}

TEST_CASE("a sync that failed on its way has no end, and its pause is told once", "[replica][notice]") {
    house h;
    h.put(h.d, "things", "a", "name", 1);
    h.refuses = failure{errc::unreachable};
    h.sync(h.d);
    CHECK(h.d.shown().empty());
    h.refuses = failure{errc::unauthorised};
    h.sync(h.d);
    CHECK(h.d.shown() == lines{"please sign in"});
    h.sync(h.d);
    CHECK(h.d.shown().empty());
    h.sync(h.d, resume{});  // in vain
    CHECK(h.d.shown() == lines{"please sign in"});
    h.refuses = failure{errc::forbidden, "not this device"};
    h.sync(h.d, resume{});
    CHECK(h.d.shown() == lines{"blocked: not this device"});
    h.refuses.reset();
    h.sync(h.d, resume{});
    CHECK(h.d.shown() == lines{"synced: 1 sent, 1 fetched"});
}

TEST_CASE("a conflict and a rejection are told with their record", "[replica][notice]") {
    house h;
    h.put(h.d, "things", "a", "asked", 1);
    h.sync(h.d);
    h.sync(h.other);
    (void)h.d.shown();
    h.put(h.other, "things", "a", "asked", 2);
    h.sync(h.other);
    h.put(h.d, "things", "a", "asked", 3);
    h.put(h.d, "closed", "door", "name", 1);
    h.sync(h.d);
    auto const shown = h.d.shown();
    REQUIRE(shown.size() == 3);
    CHECK(shown[0] == "please decide about a");
    CHECK(shown[1] == "not taken: door, the house is closed");
    CHECK(shown[2].starts_with("synced: 2 sent"));
}

TEST_CASE("what the host rolls back is not told before it is committed", "[replica][notice]") {
    house h;
    h.put(h.d, "closed", "door", "name", 1);
    REQUIRE(h.d.write([&](auto& tx) { return h.d.link.handle(hurry{}, tx, h.clock.now); }));
    auto const sent = h.d.link.poll(h.clock.now);
    REQUIRE(sent);
    auto const* const message = std::get_if<transmit>(&*sent);
    REQUIRE(message != nullptr);
    auto const reply = serve(h.store, h.self, "anna", message->message, h.clock.now);
    REQUIRE(reply);
    auto const drain = [&] {
        for (;;) {
            auto const out = h.d.link.poll(h.clock.now);
            REQUIRE(out);
            if (std::holds_alternative<wait_until>(*out)) { return; }
            REQUIRE(std::holds_alternative<notify>(*out));
        }
    };
    {
        auto tx = h.d.store.begin(access_mode::write);
        REQUIRE(h.d.link.handle(received{*reply}, *tx, h.clock.now));
    }
    drain();
    CHECK(h.d.shown().empty());  // nor that all is done: the write still waits
    h.sync(h.d);
    CHECK(h.d.shown() == lines{"not taken: door, the house is closed", "synced: 1 sent, 0 fetched"});
}

TEST_CASE("a pull that the host rolls back is no sync, and is made again as after a failure", "[replica][notice]") {
    house h;
    h.sync(h.d);
    CHECK(h.d.shown() == lines{"synced: 0 sent, 0 fetched"});
    for (char const* const id : {"a", "b"}) { h.put(h.other, "things", id, "name", 1); }
    h.sync(h.other);
    REQUIRE(h.d.write([&](auto& tx) { return h.d.link.handle(hurry{}, tx, h.clock.now); }));
    auto const sent = h.d.link.poll(h.clock.now);
    REQUIRE(sent);
    auto const* const message = std::get_if<transmit>(&*sent);
    REQUIRE(message != nullptr);
    auto const reply = serve(h.store, h.self, "anna", message->message, h.clock.now);
    REQUIRE(reply);
    {
        auto tx = h.d.store.begin(access_mode::write);
        REQUIRE(h.d.link.handle(received{*reply}, *tx, h.clock.now));
    }
    auto const out = h.d.link.poll(h.clock.now);
    REQUIRE(out);
    auto const* const wait = std::get_if<wait_until>(&*out);
    REQUIRE(wait != nullptr);
    CHECK(h.d.shown().empty());
    REQUIRE(h.d.link.last_failure());
    CHECK(h.d.link.last_failure()->code == errc::cancelled);
    REQUIRE(wait->deadline);
    CHECK(*wait->deadline < h.clock.now.monotonic + milliseconds{1000});  // not only after the poll interval
    h.clock.pass(1000);
    h.sync(h.d, tick{});
    CHECK(h.d.shown() == lines{"synced: 0 sent, 2 fetched"});
    CHECK_FALSE(h.d.link.last_failure());
}

TEST_CASE("a refusal that the host rolls back is an exchange that failed, though it moved nothing else",
          "[replica][notice]") {
    house h;
    h.sync(h.d);
    (void)h.d.shown();
    h.put(h.d, "closed", "a", "name", 1);
    auto const request = request_of(h.d, h.clock.now);
    auto const reply = serve(h.store, h.self, "anna", request, h.clock.now);
    REQUIRE(reply);
    {
        auto tx = h.d.store.begin(access_mode::write);
        REQUIRE(h.d.link.handle(received{*reply}, *tx, h.clock.now));
    }
    auto const out = h.d.link.poll(h.clock.now);
    REQUIRE(out);
    REQUIRE(h.d.link.last_failure());
    CHECK(h.d.link.last_failure()->code == errc::cancelled);
    auto const* const w = std::get_if<wait_until>(&*out);
    REQUIRE(w != nullptr);
    CHECK(*w->deadline > h.clock.now.monotonic);  // a full disk does not ask without end
    CHECK(h.d.shown().empty());
    h.clock.now.monotonic = *w->deadline;
    h.sync(h.d, tick{});
    CHECK(h.d.shown() == lines{"not taken: a, the house is closed", "synced: 1 sent, 0 fetched"});
}
