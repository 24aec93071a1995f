// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/relay.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

replica_id device(std::uint64_t n) {
    replica_id r;
    r.device.bytes[15] = static_cast<std::byte>(n);
    r.incarnation = 1;
    return r;
}
opened_envelope sealed(std::uint64_t who, mutation const& m) {
    envelope e;
    e.realm = "venue";
    e.author = device(who);
    cbor_writer w{e.frozen};
    encode_mutation(w, m);
    no_seal none;
    return *open_envelope(*seal(e, none));
}
mutation erased(std::uint64_t sequence, std::string_view id, std::uint64_t stamp) {
    mutation m;
    m.sequence = sequence;
    m.stamp = timestamp{stamp};
    m.kind = change_kind::erase;
    m.record = {"things", id};
    return m;
}
opened_envelope sealed_by(std::uint64_t who, std::uint64_t sequence, std::string_view id = "a",
                          std::uint64_t stamp = 9) {
    return sealed(who, erased(sequence, id, stamp));
}
opened_envelope group_sealed_by(std::uint64_t who, std::uint64_t sequence, std::vector<std::string> const& ids) {
    mutation m;
    m.sequence = sequence;
    m.stamp = timestamp{9};
    m.kind = change_kind::group;
    m.record = {"things", ids[0]};
    for (std::string const& id : ids) { m.parts.push_back(erased(0, id, 9)); }
    return sealed(who, m);
}
bytes name_of(std::string_view id) { return to_bytes(record_key{"things", id}); }

}  // namespace

TEST_CASE("what is carried shows where no row can contain it", "[replica]") {
    carried_envelope c;
    carried_part part;
    c.clear = 5;
    CHECK((c.shows_over(part, 5) && !c.shows_over(part, 6)));
    c.decided = true;
    part.version = 9;
    CHECK((c.shows_over(part, 8) && !c.shows_over(part, 9)));
    c.vague = true;  // somewhere between 5 and 9
    CHECK((c.shows_over(part, 5) && !c.shows_over(part, 6)));
    c.distant = true;
    CHECK(!c.shows_over(part, 0));
}

TEST_CASE("a full carrier takes no more, and a fork is told", "[replica]") {
    memory_storage store;
    relay_book const book("x", {.carried_max = 3, .author_max = 2, .authors_max = 2});
    auto tx = *store.begin(access_mode::write);
    CHECK(*book.add(tx, sealed_by(1, 1), 0, false) == relay_taking::added);
    CHECK(*book.add(tx, sealed_by(1, 1), 0, false) == relay_taking::known);
    CHECK(*book.add(tx, sealed_by(1, 1, "b"), 0, false) == relay_taking::forked);
    CHECK(*book.add(tx, sealed_by(1, 2), 0, false) == relay_taking::added);
    CHECK(*book.add(tx, sealed_by(1, 3), 0, false) == relay_taking::full);
    CHECK(*book.add(tx, sealed_by(2, 1), 0, false) == relay_taking::added);
    CHECK(*book.add(tx, sealed_by(2, 2), 0, false) == relay_taking::full);
    CHECK(*book.add(tx, sealed_by(3, 1), 0, false) == relay_taking::full);
    CHECK(book.totals(tx)->forks == 1);
    // One that is home makes room, and is not taken again.
    REQUIRE(book.take(tx, {{device(1), 1}, relay_outcome::home, 0, {}, {}}, 7));
    CHECK(*book.add(tx, sealed_by(1, 1), 0, false) == relay_taking::known);
    CHECK(*book.add(tx, sealed_by(2, 2), 0, false) == relay_taking::added);
    // A refused one too.
    REQUIRE(book.take(tx, {{device(2), 1}, relay_outcome::refused, 0, errc::forbidden, {}}, 7));
    CHECK(book.totals(tx)->refused == 1);
    CHECK(book.totals(tx)->count == 2);
}

TEST_CASE("what is carried is as a list of all would have it", "[replica]") {
    struct known {
        std::string id;
        std::uint64_t stamp = 0;
        bool asked = false;
    };
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        CAPTURE(seed);
        memory_storage store;
        relay_book const book("x", {.submit_max = 4});
        random_generator dice(seed);
        std::map<dot, known> model;
        std::map<replica_id, std::uint64_t> home;
        auto tx = *store.begin(access_mode::write);
        for (int i = 0; i < 300; ++i) {
            dot const d{device(1 + dice() % 3), 1 + dice() % 20};
            std::uint64_t const what = dice() % 6;
            if (what < 3) {
                std::string const id(1, static_cast<char>('a' + d.sequence % 3));
                std::uint64_t const stamp = 100 + d.sequence * 7 % 13;
                auto const e =
                    sealed_by(std::to_integer<std::uint64_t>(d.replica.device.bytes[15]), d.sequence, id, stamp);
                bool const fresh = model.count(d) == 0 && d.sequence > home[d.replica];
                CHECK((*book.add(tx, e, 0, false) == relay_taking::added) == fresh);
                if (fresh) { model[d] = {id, stamp, false}; }
            } else if (what < 5) {
                auto const outcome = what == 3 ? relay_outcome::later : relay_outcome::home;
                auto const concerns = book.take(tx, {d, outcome, 0, {}, {}}, 7);
                REQUIRE(concerns);
                CHECK(concerns->empty() == (model.count(d) == 0));
                if (model.count(d) != 0 && outcome == relay_outcome::home) {
                    model.erase(d);
                    for (auto& [id, k] : model) {  // came home before it
                        bool const passed = home[d.replica] < id.sequence && id.sequence < d.sequence;
                        if (id.replica == d.replica && passed) { k.asked = false; }
                    }
                    home[d.replica] = (std::max)(home[d.replica], d.sequence);
                } else if (model.count(d) != 0) {
                    model[d].asked = true;
                }
            } else {
                // Those that were never asked about come before those that were.
                std::size_t fresh = 0;
                for (auto const& [id, k] : model) { fresh += k.asked ? 0 : 1; }
                auto const due = book.due(tx);
                REQUIRE(due);
                CHECK(due->size() == (std::min)(model.size(), std::size_t{4}));
                std::size_t told = 0;
                for (relayed_item const& item : *due) { told += model.at(item.id).asked ? 0 : 1; }
                CHECK(told == (std::min)(fresh, std::size_t{4}));
            }
            auto const totals = book.totals(tx);
            REQUIRE(totals);
            CHECK(totals->count == model.size());
            std::uint64_t size = 0;
            std::uint64_t unasked = 0;
            std::map<replica_id, interval_set> held;
            REQUIRE(book.scan(tx, dot{}, [&](carried_envelope const& c) {
                REQUIRE(model.count(c.id) == 1);
                CHECK(c.asked == model.at(c.id).asked);
                size += c.sealed.size();
                unasked += c.asked ? 0 : 1;
                held[c.id.replica].add(c.id.sequence);
                return true;
            }));
            CHECK(totals->size == size);
            CHECK(totals->unasked == unasked);
            auto const summary = book.summary(tx);
            REQUIRE(summary);
            for (held_of_author const& h : *summary) {
                CHECK(h.home == home[h.author]);
                CHECK(h.held == held[h.author]);
            }
            timestamp last{};
            std::size_t of_a = 0;
            REQUIRE(book.each_of(tx, name_of("a"), [&](carried_envelope const& c, carried_part const&, timestamp t) {
                CHECK(model.at(c.id).id == "a");
                CHECK(!(t < last));
                last = t;
                ++of_a;
                return true;
            }));
            std::size_t expected = 0;
            for (auto const& [id, k] : model) { expected += k.id == "a" ? 1 : 0; }
            CHECK(of_a == expected);
        }
    }
}

TEST_CASE("a carried group stands at each of its records until a row of that contains it", "[replica]") {
    memory_storage store;
    relay_book const book("x", {});
    auto tx = *store.begin(access_mode::write);
    dot const id{device(1), 1};
    auto const of = [&](std::string_view record) {
        std::vector<position> versions;
        REQUIRE(book.each_of(tx, name_of(record), [&](carried_envelope const& c, carried_part const& part, timestamp) {
            CHECK(c.id == id);
            versions.push_back(part.version);
            return true;
        }));
        return versions;
    };
    using positions = std::vector<position>;
    REQUIRE(*book.add(tx, group_sealed_by(1, 1, {"a", "b", "c"}), 0, false) == relay_taking::added);
    CHECK((of("a") == positions{0} && of("b") == positions{0} && of("c") == positions{0} && of("d").empty()));

    // Its other records are told when it shows on one from now on, or no more; and not when nothing changes.
    auto const others = [](std::vector<bytes> const& all) {
        std::vector<std::string> ids;
        for (bytes const& r : all) { ids.emplace_back(record_key_from(r)->id_text()); }
        return ids;
    };
    CHECK(others(*book.note_shown(tx, id, name_of("b"), true, true)) == std::vector<std::string>{"a", "c"});
    CHECK(others(*book.note_shown(tx, id, name_of("a"), true, true)).empty());
    CHECK(others(*book.note_shown(tx, id, name_of("c"), false, false)) == std::vector<std::string>{"a", "b"});
    CHECK((!(*book.find(tx, id))->on(name_of("c"))->applies && (*book.find(tx, id))->on(name_of("a"))->applies));

    auto const concerned = book.take(tx, {id, relay_outcome::home, 7, {}, {}, {}, {5, 0, 7}}, 7);
    REQUIRE(concerned);
    CHECK(others(*concerned) == std::vector<std::string>{"a", "b", "c"});
    CHECK((of("a") == positions{5} && of("b").empty() && of("c") == positions{7}));
    REQUIRE(book.contained(tx, id, name_of("a")));
    CHECK((of("a").empty() && of("c") == positions{7}));
    // An authority that is put back may not have it: it stands at all of them again.
    CHECK(others(*book.doubt(tx, 3)) == std::vector<std::string>{"a", "b", "c"});
    CHECK((of("a") == positions{0} && of("b") == positions{0} && of("c") == positions{0}));
    REQUIRE(book.take(tx, {id, relay_outcome::home, 7, {}, {}, {}, {5, 6, 7}}, 7));
    for (std::string_view const record : {"b", "c", "a"}) {
        CHECK(book.totals(tx)->count == 1);
        REQUIRE(book.contained(tx, id, name_of(record)));
    }
    CHECK((book.totals(tx)->count == 0 && of("a").empty() && of("b").empty() && of("c").empty()));
    CHECK(!*book.find(tx, id));
}

TEST_CASE("one too large for a request is passed over, and smaller ones go") {
    memory_storage store;
    relay_book const book("x", {});
    auto tx = *store.begin(access_mode::write);
    std::string const long_id(200, 'l');
    REQUIRE(book.add(tx, sealed_by(1, 1, long_id), 0, false));
    REQUIRE(book.add(tx, sealed_by(1, 2), 0, false));
    REQUIRE(book.add(tx, sealed_by(2, 1), 0, false));
    std::uint64_t const small = (*book.find(tx, {device(2), 1}))->sealed.size();
    std::uint64_t const large = (*book.find(tx, {device(1), 1}))->sealed.size();
    REQUIRE(small * 2 < large);
    auto const due = [&](std::uint64_t room) {
        auto const items = book.due(tx, room);
        REQUIRE(items);
        std::vector<dot> ids;
        for (relayed_item const& item : *items) { ids.push_back(item.id); }
        return ids;
    };
    using dots = std::vector<dot>;
    dot const big{device(1), 1};
    dot const first{device(1), 2};
    dot const second{device(2), 1};
    auto const each_room = [&] {
        CHECK(due(small - 1).empty());
        CHECK(due(small) == dots{first});
        CHECK(due(large - 1) == dots{first, second});
        CHECK(due(large) == dots{big});
        CHECK(due(large + 2 * small) == dots{big, first, second});
    };
    each_room();
    CHECK_FALSE(*book.asks(tx, small - 1));
    CHECK(*book.asks(tx, small));
    // It is no other when they were asked about before.
    for (dot const& d : {big, first, second}) {
        REQUIRE(book.take(tx, {d, relay_outcome::later, 0, {}, {}}, 7));
        CHECK((*book.find(tx, d))->asked);
    }
    auto const again = due(large - 1);
    CHECK(again == dots{first, second});
    CHECK_FALSE(*book.asks(tx, large));
}

TEST_CASE("what is said of another envelope of the same name ends none", "[replica]") {
    memory_storage store;
    relay_book const book("x", {});
    auto tx = *store.begin(access_mode::write);
    auto const forged = sealed_by(1, 1, "forged");
    REQUIRE(*book.add(tx, forged, 0, false) == relay_taking::added);
    dot const id{device(1), 1};
    id128 const content = relay_content((*book.find(tx, id))->sealed);
    relay_answer const refused{id, relay_outcome::refused, 0, errc::forbidden, {}, content};
    REQUIRE(book.take(tx, refused, 7)->size() == 1);
    CHECK_FALSE(*book.find(tx, id));
    // The true one comes, and then the answer once more, or to another request that had the forged one in it.
    REQUIRE(*book.add(tx, sealed_by(1, 1, "true"), 0, false) == relay_taking::added);
    for (relay_outcome const o : {relay_outcome::refused, relay_outcome::needs, relay_outcome::later}) {
        relay_answer late = refused;
        late.outcome = o;
        late.missing = {device(2), 9};
        auto const taken = book.take(tx, late, 7);
        REQUIRE(taken);
        CHECK(taken->empty());
        auto const held = *book.find(tx, id);
        REQUIRE(held);
        CHECK((!held->asked && held->missing == dot{}));
    }
    CHECK(book.totals(tx)->unasked == 1);
    REQUIRE(book.take(
        tx, {id, relay_outcome::refused, 0, errc::forbidden, {}, relay_content((*book.find(tx, id))->sealed)}, 7));
    CHECK_FALSE(*book.find(tx, id));
}

TEST_CASE("what needs another is asked about anew once that is home", "[replica]") {
    memory_storage store;
    relay_book const book("x", {});
    auto tx = *store.begin(access_mode::write);
    for (std::uint64_t n = 1; n <= 3; ++n) { REQUIRE(book.add(tx, sealed_by(1, n), 0, false)); }
    REQUIRE(book.add(tx, sealed_by(2, 1), 0, false));
    REQUIRE(book.take(tx, {{device(1), 3}, relay_outcome::needs, 0, {}, {device(1), 2}}, 7));
    REQUIRE(book.take(tx, {{device(2), 1}, relay_outcome::needs, 0, {}, {device(1), 1}}, 7));
    CHECK(book.totals(tx)->unasked == 2);
    REQUIRE(book.take(tx, {{device(1), 1}, relay_outcome::home, 0, {}, {}}, 7));
    CHECK(book.totals(tx)->unasked == 2);
    CHECK(!(*book.find(tx, {device(2), 1}))->asked);
    CHECK((*book.find(tx, {device(1), 3}))->asked);
    REQUIRE(book.take(tx, {{device(1), 2}, relay_outcome::home, 0, {}, {}}, 7));
    CHECK(!(*book.find(tx, {device(1), 3}))->asked);
    // Nothing of what is gone is left.
    for (dot const& d : {dot{device(1), 3}, dot{device(2), 1}}) {
        REQUIRE(book.take(tx, {d, relay_outcome::home, 0, {}, {}}, 7));
    }
    std::size_t rows = 0;
    REQUIRE(scan_prefix(tx, as_bytes("x"), [&](bytes_view, bytes_view) {
        ++rows;
        return true;
    }));
    CHECK(rows == 3);  // the counts, and what is known of two authors
}

TEST_CASE("those of a replica before one that is home are asked about anew", "[replica]") {
    memory_storage store;
    relay_book const book("x", {});
    auto tx = *store.begin(access_mode::write);
    // The second builds on what nobody ever brings; its author needs no carrier, and brings all of its own home.
    dot const never{device(2), 9};
    for (std::uint64_t n = 1; n <= 5; ++n) { REQUIRE(book.add(tx, sealed_by(1, n), 0, false)); }
    REQUIRE(book.add(tx, sealed_by(3, 1), 0, false));
    REQUIRE(book.take(tx, {{device(1), 1}, relay_outcome::home, 0, {}, {}}, 7));
    REQUIRE(book.take(tx, {{device(1), 2}, relay_outcome::needs, 0, {}, never}, 7));
    REQUIRE(book.take(tx, {{device(1), 3}, relay_outcome::needs, 0, {}, {device(1), 2}}, 7));
    REQUIRE(book.take(tx, {{device(1), 5}, relay_outcome::needs, 0, {}, never}, 7));
    REQUIRE(book.take(tx, {{device(3), 1}, relay_outcome::needs, 0, {}, never}, 7));
    CHECK(book.totals(tx)->unasked == 1);
    REQUIRE(book.take(tx, {{device(1), 4}, relay_outcome::settled, 0, {}, {}}, 7));
    CHECK(book.totals(tx)->unasked == 2);
    for (std::uint64_t n = 2; n <= 3; ++n) {
        auto const c = *book.find(tx, {device(1), n});
        CHECK((!c->asked && c->missing == dot{}));
    }
    // A later one may not be home, and another's is not known to be.
    CHECK((*book.find(tx, {device(1), 5}))->asked);
    CHECK((*book.find(tx, {device(3), 1}))->asked);
    // What was missing is answered like the rest, and nothing of what is gone is left.
    for (std::uint64_t n : {2U, 3U, 5U}) {
        REQUIRE(book.take(tx, {{device(1), n}, relay_outcome::settled, 0, {}, {}}, 7));
    }
    REQUIRE(book.take(tx, {{device(3), 1}, relay_outcome::settled, 0, {}, {}}, 7));
    CHECK(book.totals(tx)->unasked == 0);
    std::size_t rows = 0;
    REQUIRE(scan_prefix(tx, as_bytes("x"), [&](bytes_view, bytes_view) {
        ++rows;
        return true;
    }));
    CHECK(rows == 3);  // the counts, and what is known of two authors
}
