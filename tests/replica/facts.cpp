// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/facts.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include "support/sanitized.hpp"
#include <syncline/core/random.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "world.hpp"

namespace {

using namespace syncline;

constexpr instant now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{0}}};

/// All ids in the order in which they were folded: nothing tells more.
struct trace {
    using value_type = std::vector<std::string>;
    [[nodiscard]] std::string_view name() const { return "trace"; }
    [[nodiscard]] value_type initial() const { return {}; }
    void step(value_type& v, fact const& f) const { v.emplace_back(f.key.id_text()); }
    void encode(cbor_writer& w, value_type const& v) const {
        w.array(v.size());
        for (std::string const& s : v) { w.text(s); }
    }
    [[nodiscard]] value_type decode(cbor_reader& in) const {
        value_type v;
        for (std::size_t n = in.array(); n != 0 && !in.failed(); --n) { v.emplace_back(in.text()); }
        return v;
    }
};
// region: fold
/// A sum of what the facts say.
struct total {
    using value_type = std::int64_t;
    [[nodiscard]] std::string_view name() const { return "total"; }
    [[nodiscard]] value_type initial() const { return 0; }
    void step(value_type& v, fact const& f) const {
        v += detail::ordering_value(f.fields, "amount").value_or(0) % 1'000'000;
    }
    void encode(cbor_writer& w, value_type const& v) const { w.integer(v); }
    [[nodiscard]] value_type decode(cbor_reader& in) const { return in.integer(); }
};
// endregion: fold
static_assert(fact_fold<trace> && fact_fold<total>);
static_assert(record_store<fact_records<>, memory_storage>);

/// Without one of its parts it is no fold.
template <int Missing>
struct fold_without {
    using value_type = int;
    std::string_view name() const requires(Missing != 1);
    value_type initial() const requires(Missing != 2);
    void step(value_type&, fact const&) const requires(Missing != 3);
    void encode(cbor_writer&, value_type const&) const requires(Missing != 4);
    value_type decode(cbor_reader&) const requires(Missing != 5);
};
static_assert(fact_fold<fold_without<0>> && !fact_fold<fold_without<1>> && !fact_fold<fold_without<2>>);
static_assert(!fact_fold<fold_without<3>> && !fact_fold<fold_without<4>> && !fact_fold<fold_without<5>>);

using numbers = std::vector<std::pair<std::string, std::int64_t>>;

using fact_replica = basic_replica<fact_records<>>;

/// What everybody has in common: payments in the order of their times, calls in that of their priority.
struct house {
    // region: collections
    std::vector<fact_collection> all{
        {"payments", {{"time"}}, "keeper", {"trace", "total"}}, {"calls", {{"priority", true}, {"time"}}}, {"notes"}};
    // endregion: collections
    rule_table rules{};
    check_table checks{};
    memory_storage store{};
    authority<> self;
    syncline::random_generator random{3};

    house() : self(make()) {
        auto tx = store.begin(access_mode::write);
        REQUIRE(self.open(*tx, now, random));
        REQUIRE(tx->commit());
    }
    house(house const&) = delete;
    authority<> make() {
        rules.add(checkpoint_rules());
        for (fact_collection const& c : all) { checks.add(check_of(c)); }
        authority_options o;
        o.checks = &checks;
        return authority<>{rules, o};
    }
    std::size_t living(std::string_view collection) {
        std::size_t n = 0;
        auto tx = store.begin(access_mode::read);
        REQUIRE(self.scan(*tx, [&](record_key const& k, row const& r) {
            n += k.collection == collection && !r.deleted ? 1 : 0;
            return true;
        }));
        return n;
    }
};
struct device : world::storing {
    house& home;
    std::string principal;
    fact_replica self;
    derived_value<trace, fact_records<>> traced;
    derived_value<total, fact_records<>> summed;

    device(house& h, std::string who, std::uint64_t seed, bool checked = true)
        : storing(seed),
          home(h),
          principal(std::move(who)),
          self(h.rules, options(h, checked), fact_records<>{h.all}),
          traced(h.all[0], self),
          summed(h.all[0], self) {
        REQUIRE(world::open(*this, now, principal));
    }
    static replica_options options(house& h, bool checked) {
        replica_options o;
        if (checked) { o.checks = &h.checks; }
        o.rows_max = 3;
        return o;
    }
    result<write_receipt> add(std::string_view collection, std::string_view id, numbers const& n) {
        return write([&](auto& tx) { return self.create(tx, {collection, id}, world::fields(n), now); });
    }
    /// One exchange; whether there is more to do.
    bool exchange() {
        REQUIRE(write([&](auto& tx) { return self.prepare(tx, now); }));
        auto const q = read([&](auto& tx) { return self.request_message(tx); });
        REQUIRE(q);
        auto const p = serve(home.store, home.self, principal, *q, now);
        REQUIRE(p);
        auto const report = write([&](auto& tx) { return self.absorb(tx, *p, now, random); });
        REQUIRE(report);
        return report->more;
    }
    void sync() {
        while (exchange()) {}
    }
    derived<std::vector<std::string>> value() {
        auto const v = read([&](auto& tx) { return traced.value(tx); });
        REQUIRE(v);
        return *v;
    }
    std::vector<std::string> ordered(std::string_view collection) {
        std::vector<std::string> out;
        REQUIRE(read([&](auto& tx) {
            fact_collection const& c = *self.records().collection_of(collection);
            std::size_t const id_at = 8 * std::max<std::size_t>(c.order.size(), 1);
            return self.records().in_order(tx, collection, false, {}, [&](bytes_view at, position) {
                out.emplace_back(as_text(at.subspan(id_at)));
                return true;
            });
        }));
        return out;
    }
};

}  // namespace

TEST_CASE("facts stand in the order of time or priority, then of identity", "[replica][facts]") {
    house h;
    device a{h, "anna", 1};
    CHECK(a.add("calls", "c", {{"priority", 1}, {"time", 5}}));
    CHECK(a.add("calls", "b", {{"priority", 9}, {"time", 7}}));
    CHECK(a.add("calls", "a", {{"priority", 9}, {"time", 7}}));
    CHECK(a.add("calls", "d", {{"priority", 9}, {"time", -2}}));
    CHECK(a.add("calls", "e", {{"priority", -3}, {"time", 0}}));
    CHECK(a.add("notes", "z", {}));
    CHECK(a.add("notes", "y", {}));
    CHECK(a.ordered("calls").empty());  // none is confirmed
    a.sync();
    CHECK(a.ordered("calls") == std::vector<std::string>{"d", "a", "b", "c", "e"});
    CHECK(a.ordered("notes") == std::vector<std::string>{"z", "y"});
    device b{h, "ben", 2};
    b.sync();
    CHECK(b.ordered("calls") == a.ordered("calls"));
    CHECK(b.ordered("notes") == a.ordered("notes"));
}

TEST_CASE("a fact is only added: everything else is refused on the device and at the authority", "[replica][facts]") {
    house h;
    device a{h, "anna", 1};
    REQUIRE(a.add("payments", "p", {{"time", 5}, {"amount", 7}}));
    record_key const p{"payments", "p"};
    bytes one;
    cbor_writer{one}.integer(1);
    std::vector<field_op> const ops{{"amount", op_kind::set, one, {}}};
    for (bool const confirmed : {false, true}) {
        if (confirmed) { a.sync(); }
        CHECK(a.write([&](auto& tx) { return a.self.update(tx, p, ops, now); }).error() == errc::rejected);
        CHECK(a.write([&](auto& tx) { return a.self.erase(tx, p, now); }).error() == errc::rejected);
        CHECK(a.add("payments", "p", {{"time", 5}}).error() == errc::already_exists);
    }
    CHECK(a.add("payments", "q", {{"amount", 7}}).error() == errc::type_mismatch);
    auto const said = a.write([&](auto& tx) { return a.self.check(tx, p, change_kind::update, ops, now); });
    REQUIRE(said);
    CHECK(said->text == "a fact of payments is never changed");

    // One whose program has no such checks sends them all the same.
    device wild{h, "wild", 2, false};
    wild.sync();
    REQUIRE(wild.write([&](auto& tx) { return wild.self.update(tx, p, ops, now); }));
    wild.sync();
    REQUIRE(wild.write([&](auto& tx) { return wild.self.erase(tx, p, now); }));
    wild.sync();
    REQUIRE(wild.add("payments", "q", {{"amount", 7}}));
    wild.sync();
    device late{h, "late", 3, false};
    REQUIRE(late.add("payments", "p", {{"time", 5}, {"amount", 8}}));  // the same id, something else in it
    late.sync();
    CHECK(late.value().visible == std::vector<std::string>{"p"});
    REQUIRE(late.read([&](auto& tx) { return late.summed.value(tx); })->visible == 7);
    a.sync();
    wild.sync();
    for (device* d : {&a, &wild, &late}) {
        CHECK(d->value().visible == std::vector<std::string>{"p"});
        CHECK(d->read([&](auto& tx) { return d->summed.value(tx); })->confirmed == 7);
    }
    // What is the same is no other fact.
    device twin{h, "twin", 4};
    REQUIRE(twin.add("payments", "p", {{"time", 5}, {"amount", 7}}));
    twin.sync();
    CHECK(twin.value().visible == std::vector<std::string>{"p"});
}

TEST_CASE("pending facts count in their place until they are confirmed, or refused", "[replica][facts]") {
    house h;
    device a{h, "anna", 1};
    device b{h, "ben", 2};
    REQUIRE(a.add("payments", "a10", {{"time", 10}, {"amount", 1}}));
    REQUIRE(a.add("payments", "a30", {{"time", 30}, {"amount", 2}}));
    a.sync();
    b.sync();
    REQUIRE(a.write([&](auto& tx) { return a.traced.advance(tx, 10); }));
    REQUIRE(a.add("payments", "a20", {{"time", 20}, {"amount", 4}}));
    REQUIRE(a.add("payments", "a40", {{"time", 40}, {"amount", 8}}));
    auto v = a.value();
    CHECK(v.confirmed == std::vector<std::string>{"a10", "a30"});
    CHECK(v.visible == std::vector<std::string>{"a10", "a20", "a30", "a40"});
    CHECK(v.pending == 2);
    CHECK(a.read([&](auto& tx) { return a.summed.value(tx); })->visible == 15);
    // Somebody else has written that fact before.
    device wild{h, "wild", 3, false};
    REQUIRE(wild.add("payments", "a20", {{"time", 5}, {"amount", 100}}));
    wild.sync();
    a.sync();
    v = a.value();
    CHECK(v.pending == 0);
    CHECK(v.visible == std::vector<std::string>{"a20", "a10", "a30", "a40"});
    CHECK(v.confirmed == v.visible);
    CHECK(a.read([&](auto& tx) { return a.summed.value(tx); })->confirmed == 111);
}

TEST_CASE("a checkpoint lets facts go and keeps what they came to", "[replica][facts]") {
    house h;
    device keeper{h, "keeper", 1};
    device a{h, "anna", 2};
    for (int i = 0; i < 10; ++i) { REQUIRE(a.add("payments", "p" + std::to_string(i), {{"time", i}, {"amount", 1}})); }
    a.sync();
    bytes const before = order_from(h.all[0], 6);
    CHECK(keeper.write([&](auto& tx) { return keeper.traced.checkpoint(tx, before, now); }).error() == errc::busy);
    keeper.sync();
    auto const compacted = [&](std::size_t budget) {
        auto const n = keeper.write([&](auto& tx) { return compact(tx, h.all[0], keeper.self, budget, now); });
        REQUIRE(n);
        return *n;
    };
    REQUIRE(keeper.write([&](auto& tx) { return keeper.traced.checkpoint(tx, before, now); }));
    CHECK(compacted(100) == 0);  // it is not confirmed
    keeper.sync();
    CHECK(compacted(100) == 0);  // the other fold has none
    REQUIRE(keeper.write([&](auto& tx) { return keeper.summed.checkpoint(tx, before, now); }));
    keeper.sync();
    auto const again = keeper.write([&](auto& tx) { return keeper.summed.checkpoint(tx, before, now); });
    REQUIRE(again);
    CHECK(again->token == 0);
    a.sync();  // another than the keeper lets nothing go
    CHECK(a.write([&](auto& tx) { return compact(tx, h.all[0], a.self, 9, now); }).error() == errc::rejected);
    CHECK(compacted(4) == 4);
    CHECK(compacted(100) == 2);
    CHECK(compacted(100) == 0);
    keeper.sync();
    CHECK(h.living("payments") == 4);
    // A fact that comes late, and the erased one again.
    REQUIRE(a.add("payments", "late", {{"time", 2}, {"amount", 1}}));
    a.sync();
    device copy{h, "copy", 5, false};
    REQUIRE(copy.add("payments", "p3", {{"time", 3}, {"amount", 1}}));
    copy.sync();
    keeper.sync();
    std::vector<std::string> const expected{"p0", "p1", "p2", "p3", "p4", "p5", "late", "p6", "p7", "p8", "p9"};
    for (device* d : {&keeper, &a, &copy}) {
        CHECK(d->value().visible == expected);
        CHECK(d->read([&](auto& tx) { return d->summed.value(tx); })->visible == 11);
    }
    // A device that only comes now starts from the checkpoint.
    device fresh{h, "fresh", 6};
    fresh.sync();
    CHECK(fresh.value().visible == expected);
    CHECK(fresh.ordered("payments").size() == 5);
    // The next checkpoint takes the late one in, also where it looks no further than the last did.
    REQUIRE(keeper.write([&](auto& tx) { return keeper.traced.checkpoint(tx, order_from(h.all[0], 1), now); }));
    keeper.sync();
    a.sync();
    CHECK(a.value().visible == expected);
    auto const base = a.read([&](auto& tx) { return checkpoint_of(tx, a.self.records(), "payments", "trace"); });
    REQUIRE(base);
    CHECK(base->count == 7);
}

TEST_CASE("a checkpoint never takes the place of one that has more in it", "[replica][facts]") {
    house h;
    device keeper{h, "keeper", 1};
    device second{h, "keeper", 2};
    device a{h, "anna", 3};
    for (int i = 0; i < 4; ++i) { REQUIRE(a.add("payments", "p" + std::to_string(i), {{"time", i}, {"amount", 1}})); }
    a.sync();
    keeper.sync();
    bytes const all = order_from(h.all[0], 100);
    REQUIRE(keeper.write([&](auto& tx) { return keeper.traced.checkpoint(tx, all, now); }));
    REQUIRE(keeper.write([&](auto& tx) { return keeper.summed.checkpoint(tx, all, now); }));
    // It gets home, and the other device lets go by it; the keeper hasn't heard, and writes a lesser one.
    bytes const asked = world::request_of(keeper, now);
    REQUIRE(serve(h.store, h.self, "keeper", asked, now));
    second.sync();
    auto const gone = second.write([&](auto& tx) { return compact(tx, h.all[0], second.self, 10, now); });
    REQUIRE(gone);
    CHECK(*gone == 4);
    second.sync();
    bytes const few = order_from(h.all[0], 2);
    auto const lesser = keeper.write([&](auto& tx) { return keeper.traced.checkpoint(tx, few, now); });
    keeper.sync();
    a.sync();
    CHECK(a.value().visible == std::vector<std::string>{"p0", "p1", "p2", "p3"});
    CHECK(lesser.error() == errc::busy);
}

TEST_CASE("a fact that is written once more is no second one, also where a checkpoint has it", "[replica][facts]") {
    house h;
    device keeper{h, "keeper", 1};
    device a{h, "anna", 2};
    device twin{h, "twin", 3};
    numbers const same{{"time", 3}, {"amount", 5}};
    REQUIRE(a.add("payments", "p", same));
    a.sync();
    keeper.sync();
    bytes const before = order_from(h.all[0], 100);
    REQUIRE(keeper.write([&](auto& tx) { return keeper.traced.checkpoint(tx, before, now); }));
    REQUIRE(keeper.write([&](auto& tx) { return keeper.summed.checkpoint(tx, before, now); }));
    keeper.sync();
    a.sync();
    REQUIRE(twin.add("payments", "p", same));  // who was away scans the same ticket; its row has a later version then
    twin.sync();
    for (device* d : {&keeper, &a, &twin}) {
        d->sync();
        CHECK(d->value().visible == std::vector<std::string>{"p"});
        CHECK(d->read([&](auto& tx) { return d->summed.value(tx); })->confirmed == 5);
    }
    // The next checkpoint doesn't take it in again, and it can be let go of.
    REQUIRE(a.add("payments", "q", {{"time", 4}, {"amount", 1}}));
    a.sync();
    keeper.sync();
    REQUIRE(keeper.write([&](auto& tx) { return keeper.traced.checkpoint(tx, before, now); }));
    REQUIRE(keeper.write([&](auto& tx) { return keeper.summed.checkpoint(tx, before, now); }));
    keeper.sync();
    auto const gone = keeper.write([&](auto& tx) { return compact(tx, h.all[0], keeper.self, 10, now); });
    REQUIRE(gone);
    CHECK(*gone == 2);
    keeper.sync();
    a.sync();
    CHECK(a.value().visible == std::vector<std::string>{"p", "q"});
    CHECK(a.read([&](auto& tx) { return a.summed.value(tx); })->visible == 6);
}

TEST_CASE("a fact that a wild program erases and adds once more is the same life still", "[replica][facts]") {
    house h;
    device keeper{h, "keeper", 1};
    device wild{h, "wild", 2, false};
    numbers const same{{"time", 3}, {"amount", 5}};
    REQUIRE(keeper.add("payments", "p", same));
    keeper.sync();
    wild.sync();
    bytes const before = order_from(h.all[0], 100);
    REQUIRE(keeper.write([&](auto& tx) { return keeper.summed.checkpoint(tx, before, now); }));
    keeper.sync();
    REQUIRE(wild.write([&](auto& tx) { return wild.self.erase(tx, {"payments", "p"}, now); }));
    REQUIRE(wild.add("payments", "p", same));
    for (device* d : {&wild, &keeper, &wild}) {
        d->sync();
        CHECK(d->read([&](auto& tx) { return d->summed.value(tx); })->confirmed == 5);
    }
}

TEST_CASE("a checkpoint waits for what was written once more behind the end of a page", "[replica][facts]") {
    house h;
    device keeper{h, "keeper", 1};
    device a{h, "anna", 2};
    device twin{h, "twin", 3};
    numbers const same{{"time", 2}, {"amount", 5}};
    keeper.sync();
    a.sync();
    REQUIRE(twin.add("payments", "again", same));
    REQUIRE(a.add("payments", "again", same));
    for (std::int64_t i = 3; i < 7; ++i) {
        REQUIRE(a.add("payments", "p" + std::to_string(i), {{"time", i}, {"amount", 1}}));
    }
    a.sync();
    twin.sync();  // its row stands behind all others now, and counts as of its first position
    bytes const before = order_from(h.all[0], 100);
    REQUIRE(keeper.exchange());
    CHECK(keeper.value().confirmed == std::vector<std::string>{"p3", "p4", "p5"});
    CHECK(keeper.write([&](auto& tx) { return keeper.summed.checkpoint(tx, before, now); }).error() == errc::busy);
    keeper.sync();
    REQUIRE(keeper.write([&](auto& tx) { return keeper.summed.checkpoint(tx, before, now); }));
    for (device* d : {&keeper, &a, &twin}) {
        d->sync();
        CHECK(d->read([&](auto& tx) { return d->summed.value(tx); })->confirmed == 9);
    }
}

TEST_CASE("what waits over a confirmed fact doesn't show in it: it will be refused", "[replica][facts]") {
    house h;
    device keeper{h, "keeper", 1};
    device a{h, "anna", 2};
    REQUIRE(a.add("payments", "p", {{"time", 3}, {"amount", 5}}));
    REQUIRE(a.add("payments", "q", {{"time", 4}, {"amount", 1}}));
    a.sync();
    // The keeper has asked; it writes a payment of the same id before the answer is there.
    REQUIRE(keeper.write([&](auto& tx) { return keeper.self.prepare(tx, now); }));
    auto const asked = keeper.read([&](auto& tx) { return keeper.self.request_message(tx); });
    REQUIRE(asked);
    REQUIRE(keeper.add("payments", "p", {{"time", 9}, {"amount", 70}}));
    CHECK(keeper.value().visible == std::vector<std::string>{"p"});
    auto const reply = serve(h.store, h.self, "keeper", *asked, now);
    REQUIRE(reply);
    REQUIRE(keeper.write([&](auto& tx) { return keeper.self.absorb(tx, *reply, now, keeper.random); }));
    std::vector<std::string> const both{"p", "q"};
    CHECK(keeper.ordered("payments") == both);
    CHECK(keeper.value().confirmed == both);
    CHECK(keeper.value().visible == both);
    CHECK(keeper.value().pending == 0);
    CHECK(keeper.read([&](auto& tx) { return keeper.summed.value(tx); })->confirmed == 6);
    REQUIRE(keeper.write([&](auto& tx) { return keeper.self.records().reorder(tx, "payments"); }));
    CHECK(keeper.ordered("payments") == both);
    bytes const before = order_from(h.all[0], 100);
    REQUIRE(keeper.write([&](auto& tx) { return keeper.summed.checkpoint(tx, before, now); }));
    keeper.sync();
    CHECK(keeper.ordered("payments") == both);
    a.sync();
    for (device* d : {&keeper, &a}) {
        CHECK(d->read([&](auto& tx) { return d->summed.value(tx); })->visible == 6);
        CHECK(d->value().visible == both);
    }
}

TEST_CASE("whoever adds, syncs and lets go in whatever order, each fact counts once and in its place",
          "[replica][facts][property]") {
    for (std::uint64_t seed = 1; seed <= rounds(25U); ++seed) {
        CAPTURE(seed);
        syncline::random_generator random{seed};
        auto const draw = [&](std::uint64_t n) { return static_cast<std::size_t>(random() % n); };
        house h;
        device keeper{h, "keeper", seed * 10};
        device a{h, "anna", seed * 10 + 1};
        device b{h, "ben", seed * 10 + 2};
        std::vector<device*> const all{&keeper, &a, &b};
        std::map<std::string, std::int64_t> times;
        auto const look = [&](device& d) {
            auto const v = d.value();
            auto const base =
                d.read([&](auto& tx) { return checkpoint_of(tx, d.self.records(), "payments", "trace"); });
            REQUIRE(base);
            // The naive way: the checkpoint's list, then all that is there and not in it, sorted.
            std::vector<std::string> covered;
            if (base->version != 0) {
                cbor_reader in{base->value};
                covered = trace{}.decode(in);
            }
            std::set<std::string> const done{covered.begin(), covered.end()};
            std::vector<std::pair<std::int64_t, std::string>> confirmed;
            std::vector<std::pair<std::int64_t, std::string>> visible;
            REQUIRE(d.read([&](auto& tx) {
                return d.self.scan(tx, "payments", [&](record_key const& k, record const& r) {
                    std::string const id{k.id_text()};
                    if (done.contains(id)) { return true; }
                    visible.emplace_back(times.at(id), id);
                    if (r.confirmed != 0) { confirmed.emplace_back(times.at(id), id); }
                    return true;
                });
            }));
            auto const expected = [&](std::vector<std::pair<std::int64_t, std::string>> rest) {
                std::sort(rest.begin(), rest.end());
                std::vector<std::string> out = covered;
                for (auto const& [time, id] : rest) { out.push_back(id); }
                return out;
            };
            CHECK(v.confirmed == expected(confirmed));
            CHECK(v.visible == expected(visible));
            CHECK(v.pending == visible.size() - confirmed.size());
            CHECK(base->count == covered.size());
        };
        for (int step = 0; step < 120; ++step) {
            device& d = *all[draw(3)];
            switch (draw(8)) {
                case 0:
                case 1:
                case 2: {
                    std::string const id = "f" + std::to_string(times.size());
                    times[id] = static_cast<std::int64_t>(draw(40)) + step / 2;
                    REQUIRE(d.add("payments", id, {{"time", times[id]}, {"amount", 1}}));
                    break;
                }
                case 3:
                case 4: (void)d.exchange(); break;
                case 5: {
                    std::size_t const budget = draw(9) + 1;
                    REQUIRE(d.write([&](auto& tx) { return d.traced.advance(tx, budget); }));
                    break;
                }
                case 6: {
                    bytes const before = order_from(h.all[0], static_cast<std::int64_t>(draw(60)));
                    auto const one = keeper.write([&](auto& tx) { return keeper.traced.checkpoint(tx, before, now); });
                    if (!one) {
                        CHECK(one.error() == errc::busy);
                        break;
                    }
                    auto const two = keeper.write([&](auto& tx) { return keeper.summed.checkpoint(tx, before, now); });
                    CHECK((two || two.error() == errc::busy));
                    break;
                }
                case 7: {
                    std::size_t const budget = draw(5) + 1;
                    REQUIRE(keeper.write([&](auto& tx) { return compact(tx, h.all[0], keeper.self, budget, now); }));
                    break;
                }
            }
            look(d);
            look(keeper);
        }
        for (int round = 0; round < 2; ++round) {
            for (device* d : all) { d->sync(); }
        }
        auto const end = keeper.value();
        CHECK(end.pending == 0);
        CHECK(std::set<std::string>(end.visible.begin(), end.visible.end()).size() == times.size());
        CHECK(end.visible.size() == times.size());
        for (device* d : all) {
            look(*d);
            CHECK(d->value().visible == end.visible);
            CHECK(d->read([&](auto& tx) { return d->summed.value(tx); })->visible ==
                  static_cast<std::int64_t>(times.size()));
            // The order made anew is the same one.
            auto const before = d->ordered("payments");
            REQUIRE(d->write([&](auto& tx) { return d->self.records().reorder(tx, "payments"); }));
            CHECK(d->ordered("payments") == before);
            CHECK(d->value().visible == end.visible);
        }
    }
}

TEST_CASE("a late fact costs what stands behind it, and few values are kept", "[replica][facts]") {
    house h;
    device a{h, "anna", 1};
    for (int i = 0; i < 400; ++i) {
        REQUIRE(a.add("payments", std::to_string(1'000 + i), {{"time", i}, {"amount", 1}}));
    }
    a.sync();
    for (bool more = true; more;) {
        auto const step = a.write([&](auto& tx) { return a.traced.advance(tx, 10); });
        REQUIRE(step);
        more = *step;
    }
    auto const kept = [&] {
        return *a.read([&](auto& tx) { return a.self.records().snapshots_of(tx, "payments", "trace"); });
    };
    CHECK(kept().all.size() == fact_snapshots_max);
    CHECK(kept().all.back().count == 400);
    CHECK(kept().all[kept().all.size() - 2].count == 390);
    device b{h, "ben", 2};
    REQUIRE(b.add("payments", "late", {{"time", 391}, {"amount", 1}}));
    b.sync();
    a.sync();
    CHECK(kept().all.back().count == 390);
    CHECK(a.value().visible[392] == "late");
    CHECK(a.value().visible.size() == 401);
}

TEST_CASE("damaged facts, checkpoints and values are errors, and mend themselves where they can", "[replica][facts]") {
    house h;
    device a{h, "anna", 1};
    for (int i = 0; i < 5; ++i) { REQUIRE(a.add("payments", "p" + std::to_string(i), {{"time", i}, {"amount", 1}})); }
    a.sync();
    REQUIRE(a.write([&](auto& tx) { return a.traced.advance(tx, 3); }));
    std::vector<std::pair<bytes, bytes>> stored;
    REQUIRE(a.read([&](auto& tx) {
        return scan_prefix(tx, as_bytes("df"), [&](bytes_view k, bytes_view v) {
            stored.emplace_back(to_bytes(k), to_bytes(v));
            return true;
        });
    }));
    CHECK(stored.size() == 7);
    std::size_t errors = 0;
    for (auto const& [k, v] : stored) {
        for (std::size_t i = 0; i < v.size(); ++i) {
            for (unsigned const bit : {1U, 0x40U}) {
                auto tx = a.store.begin(access_mode::write);
                bytes bent = v;
                bent[i] ^= static_cast<std::byte>(bit);
                REQUIRE(tx->put(k, bent));
                errors += a.traced.value(*tx) ? 0 : 1;
                errors += a.traced.advance(*tx, 2) ? 0 : 1;
            }
        }
        auto tx = a.store.begin(access_mode::write);
        REQUIRE(tx->put(k, bytes(3)));
        (void)a.traced.value(*tx);
    }
    CHECK(errors > 20);
    // A record that doesn't decode: whoever tells it anew, its place in the order stays one.
    bytes const k = [&] {
        bytes out = to_bytes("rv");
        append_key(out, "payments", as_bytes("p2"));
        return out;
    }();
    REQUIRE(a.write([&](auto& tx) { return tx.put(k, bytes(4, std::byte{0xFF})); }));
    REQUIRE(a.write([&](auto& tx) { return a.self.records().erase(tx, {"payments", "p2"}); }));
    CHECK(a.ordered("payments") == std::vector<std::string>{"p0", "p1", "p3", "p4"});
    CHECK(a.value().visible.size() == 4);

    // Checkpoints that are none, from somebody who may write them.
    device wild{h, "wild", 2, false};
    std::vector<bytes> const bad{world::fields({}),
                                 world::fields({{"at", 1}, {"count", 1}, {"value", 1}, {"through", 1}})};
    for (bytes const& fields : bad) {
        REQUIRE(
            wild.write([&](auto& tx) { return wild.self.put(tx, checkpoint_key("payments", "trace"), fields, now); }));
        wild.sync();
        CHECK(wild.read([&](auto& tx) { return wild.traced.value(tx); }).error() == errc::malformed);
    }
    CHECK_FALSE(valid(fact_collection{}));
    CHECK_FALSE(valid(fact_collection{std::string{checkpoint_collection}}));
    CHECK_FALSE(valid(fact_collection{"x", {{"a"}, {"b"}, {"c"}, {"d"}, {"e"}}}));
    CHECK_FALSE(valid(fact_collection{"x", {}, {}, {""}}));
    CHECK(a.write([&](auto& tx) { return a.traced.advance(tx, 0); }).error() == errc::invalid);
    CHECK(a.write([&](auto& tx) { return a.self.records().reorder(tx, "nothing"); }).error() == errc::not_found);
}

TEST_CASE("whatever storage call fails while facts come in, order and values stay of one piece", "[replica][facts]") {
    house h;
    device other{h, "anna", 1};
    for (int i = 0; i < 4; ++i) {
        REQUIRE(other.add("payments", "p" + std::to_string(i), {{"time", 2 * i}, {"amount", 1}}));
    }
    other.sync();
    fact_replica const self{h.rules, {}, fact_records<>{h.all}};
    derived_value<trace, fact_records<>> const traced{h.all[0], self};
    bytes late_reply;
    std::vector<bytes> replies;  // what the authority answered the first time, as each time asks the same
    auto const make = [&](auto& store) {
        syncline::random_generator random{9};
        std::size_t asked = 0;
        auto const in = [&](auto f) {
            auto tx = store.begin(access_mode::write);
            REQUIRE(tx);
            auto const out = f(*tx);
            REQUIRE(out);
            REQUIRE(tx->commit());
        };
        auto const exchange = [&] {
            bytes request;
            in([&](auto& tx) { return self.prepare(tx, now); });
            in([&](auto& tx) {
                auto q = self.request_message(tx);
                if (q) { request = *q; }
                return q;
            });
            if (asked == replies.size()) {
                auto const p = serve(h.store, h.self, "anna", request, now);
                REQUIRE(p);
                replies.push_back(*p);
            }
            return replies[asked++];
        };
        in([&](auto& tx) { return self.open(tx, "anna", now, random); });
        for (int i = 0; i < 2; ++i) {
            bytes const p = exchange();
            in([&](auto& tx) { return self.absorb(tx, p, now, random); });
        }
        in([&](auto& tx) { return traced.advance(tx, 2); });
        in([&](auto& tx) { return traced.advance(tx, 2); });
        in([&](auto& tx) { return self.create(tx, {"payments", "mine"}, world::fields({{"time", 1}}), now); });
        late_reply = exchange();
    };
    auto const operate = [&](auto& store) -> status {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        syncline::random_generator random{9};
        if (auto report = self.absorb(*tx, late_reply, now, random); !report) { return report.error(); }
        if (auto more = traced.advance(*tx, 10); !more) { return more.error(); }
        auto const v = traced.value(*tx);
        if (!v) { return v.error(); }
        if (v->confirmed.size() != 5) { return errc::corrupt; }
        return tx->commit();
    };
    auto const report = testing::nth_failure(make, operate);
    for (testing::violation const& v : report.violations) { FAIL_CHECK(v.axiom << ": " << v.what); }
    CHECK(report.runs > 50);
}
