// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/policy.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <syncline/core/random.hpp>
#include <syncline/replica/authority.hpp>

#include "world.hpp"

namespace {

using namespace syncline;

using roles = std::set<std::pair<std::string, std::string>>;

role_source source(roles const& who) {
    return {[](std::string_view principal, std::string_view role, void const* data) {
                return static_cast<roles const*>(data)->contains({std::string{principal}, std::string{role}});
            },
            &who};
}
bytes owned_by(std::string_view name) {
    bytes out;
    if (name.empty()) { return out; }
    cbor_writer w{out};
    w.map(1);
    w.text("owner");
    w.text(name);
    return out;
}
row living(std::string_view owner) {
    row r;
    r.fields = owned_by(owner);
    return r;
}
mutation change(change_kind kind, std::string_view collection, std::vector<std::string> const& fields = {}) {
    mutation m;
    m.kind = kind;
    m.record = {collection, std::string_view{"1"}};
    for (std::string const& f : fields) { m.ops.push_back(world::set(f, 1)); }
    return m;
}

/// Sends one mutation of a principal's only device, and answers the verdict.
template <class Validate>
verdict decide(memory_storage& store, authority<Validate> const& self, std::string_view principal,
               std::uint64_t& sequence, mutation m) {
    instant const now = world::virtual_clock{}.now;
    request q;
    q.replica = {id128{{static_cast<std::byte>(principal[0])}}, 1};
    q.receipts = sequence;
    m.sequence = ++sequence;
    m.stamp = timestamp{sequence << 16U};
    for (field_op& op : m.ops) { op.stamp = m.stamp; }
    bytes raw;
    cbor_writer w{raw};
    encode_mutation(w, m);
    q.mutations.push_back(raw);
    auto const answer = serve(store, self, principal, encode(q), now);
    REQUIRE(answer);
    auto const p = decode_reply(*answer, {});
    REQUIRE(p);
    REQUIRE(p->verdicts.size() == 1);
    return p->verdicts[0];
}

}  // namespace

TEST_CASE("without a rule nothing is allowed", "[replica][policy]") {
    access_policy<> const none{{}};
    for (change_kind const k : {change_kind::create, change_kind::update, change_kind::erase}) {
        auto const said = none.admits("anna", change(k, "things"), std::nullopt);
        CHECK_FALSE(said.accepted);
        CHECK(said.reason == errc::forbidden);
    }
    // A rule that needs a role allows nobody where the host names no source of roles.
    access_rule all;
    all.role = "boss";
    all.creates = all.updates = all.erases = true;
    CHECK_FALSE(access_policy<>{{all}}.admits("anna", change(change_kind::update, "things"), living("anna")).accepted);
}

TEST_CASE("rules against a naive reading of them", "[replica][policy]") {
    syncline::random_generator random{11};
    std::array<std::string, 3> const collections{"", "shows", "seats"};
    std::array<std::string, 3> const role_names{"", "boss", "usher"};
    std::array<std::string, 3> const principals{"anna", "ben", "cas"};
    std::array<std::string, 3> const field_names{"a", "b", "c"};
    auto const pick = [&](auto const& from) { return from[static_cast<std::size_t>(random() % from.size())]; };
    std::size_t allowed = 0;
    for (int round = 0; round < 20'000; ++round) {
        roles who;
        for (std::uint64_t n = random() % 4; n != 0; --n) { who.insert({pick(principals), pick(role_names)}); }
        std::vector<access_rule> rules;
        for (std::uint64_t n = random() % 4; n != 0; --n) {
            access_rule r;
            r.collection = pick(collections);
            r.role = pick(role_names);
            r.creates = random() % 2 == 0;
            r.updates = random() % 2 == 0;
            r.erases = random() % 2 == 0;
            for (std::string const& f : field_names) {
                if (random() % 3 == 0) { r.fields.push_back(f); }
            }
            if (random() % 3 == 0) { r.owner = "owner"; }
            rules.push_back(r);
        }
        std::string const me = pick(principals);
        auto const kind = static_cast<change_kind>(random() % 3 + 1);
        std::vector<std::string> touched;
        if (kind != change_kind::erase) {
            for (std::string const& f : field_names) {
                if (random() % 3 == 0) { touched.push_back(f); }
            }
        }
        std::string const collection = random() % 2 == 0 ? "shows" : "seats";
        mutation const m = change(kind, collection, touched);
        std::optional<row> before;
        std::string const was = random() % 3 == 0 ? "" : pick(principals);
        if (kind != change_kind::create) { before = living(was); }
        row after = living(random() % 2 == 0 ? was : pick(principals));
        if (kind == change_kind::erase) { after.deleted = true; }

        auto const expected = [&](bool applied) {
            std::vector<access_rule> fitting;
            for (access_rule const& r : rules) {
                bool const verb = (kind == change_kind::create && r.creates) ||
                                  (kind == change_kind::update && r.updates) ||
                                  (kind == change_kind::erase && r.erases);
                bool const where = r.collection.empty() || r.collection == collection;
                bool const mine = r.role.empty() || who.contains({me, r.role});
                bool own = true;
                if (!r.owner.empty()) {
                    if (before) { own = before->fields == owned_by(me); }
                    if (applied && !after.deleted) { own = own && after.fields == owned_by(me); }
                }
                if (verb && where && mine && own) { fitting.push_back(r); }
            }
            bool yes = !fitting.empty();
            for (std::string const& f : touched) {
                yes = yes && std::any_of(fitting.begin(), fitting.end(), [&](access_rule const& r) {
                          return r.fields.empty() || std::find(r.fields.begin(), r.fields.end(), f) != r.fields.end();
                      });
            }
            return yes;
        };
        access_policy<> const policy{rules, source(who)};
        bool const first = policy.admits(me, m, before).accepted;
        bool const last = policy(validation_input{me, m, before, after}).accepted;
        CHECK(first == expected(false));
        CHECK(last == expected(true));
        // What is refused before would be refused after.
        CHECK((first || !last));
        allowed += last ? 1 : 0;
    }
    CHECK(allowed > 1'000);
}

TEST_CASE("one's own only, by a field that names the owner", "[replica][policy]") {
    access_rule own;
    own.collection = "notes";
    own.creates = own.updates = own.erases = true;
    own.owner = "owner";
    access_policy<> const policy{{own}};
    auto const may = [&](change_kind k, std::optional<row> const& before, row const& after) {
        return policy(validation_input{"anna", change(k, "notes"), before, after}).accepted;
    };
    row tomb;
    tomb.deleted = true;
    CHECK(may(change_kind::create, std::nullopt, living("anna")));
    CHECK_FALSE(may(change_kind::create, std::nullopt, living("ben")));
    CHECK_FALSE(may(change_kind::create, std::nullopt, living("")));
    CHECK(may(change_kind::update, living("anna"), living("anna")));
    CHECK_FALSE(may(change_kind::update, living("anna"), living("ben")));
    CHECK_FALSE(may(change_kind::update, living("ben"), living("anna")));
    CHECK(may(change_kind::erase, living("anna"), tomb));
    CHECK_FALSE(may(change_kind::erase, living("ben"), tomb));
    CHECK(may(change_kind::create, tomb, living("anna")));
}

TEST_CASE("the host's own policy is asked of what the rules allow", "[replica][policy]") {
    struct never_on_sundays {
        bool* asked;
        validation operator()(validation_input const&) const {
            *asked = true;
            return {false, errc::rejected, "closed"};
        }
    };
    access_rule all;
    all.updates = true;
    bool asked = false;
    access_policy<never_on_sundays> const policy{{all}, {}, never_on_sundays{&asked}};
    CHECK_FALSE(policy(validation_input{"anna", change(change_kind::erase, "x"), std::nullopt, living("")}).accepted);
    CHECK_FALSE(asked);
    CHECK(policy(validation_input{"anna", change(change_kind::update, "x"), std::nullopt, living("")}).text ==
          "closed");
    CHECK(asked);
}

TEST_CASE("whoever may not write learns nothing by trying", "[replica][policy]") {
    access_rule boss;
    boss.role = "boss";
    boss.creates = boss.updates = boss.erases = true;
    roles who{{"anna", "boss"}};
    authority<access_policy<>> const self{world::rules(), {}, access_policy<>{{boss}, source(who)}};
    memory_storage store;
    {
        syncline::random_generator random{1};
        auto tx = store.begin(access_mode::write);
        REQUIRE(self.open(*tx, world::virtual_clock{}.now, random));
        REQUIRE(tx->commit());
    }
    std::uint64_t anna = 0;
    std::uint64_t ben = 0;
    CHECK(decide(store, self, "anna", anna, change(change_kind::create, "things", {"asked"})).kind ==
          verdict_kind::applied);
    mutation old = change(change_kind::update, "things", {"asked"});
    old.base = 1;
    CHECK(decide(store, self, "anna", anna, old).kind == verdict_kind::applied);
    // What is there, what was never there, what would be a conflict or overruled: one answer to all.
    std::vector<mutation> probes{change(change_kind::update, "things", {"asked"}), old,
                                 change(change_kind::create, "things", {"asked"}), change(change_kind::erase, "things"),
                                 change(change_kind::update, "nothings", {"asked"})};
    for (mutation& m : probes) {
        m.record.collection = "things";
        for (std::string_view const id : {"1", "2"}) {
            m.record.id = to_bytes(as_bytes(id));
            verdict const v = decide(store, self, "ben", ben, m);
            CHECK(v.kind == verdict_kind::rejected);
            CHECK(v.reason == errc::forbidden);
            CHECK(v.version == 0);
            CHECK(v.decisions.empty());
            CHECK(v.text.find("may not") == 0);
        }
    }
    // A role that is taken away counts for what was written before and arrives now.
    who.clear();
    CHECK(decide(store, self, "anna", anna, change(change_kind::erase, "things")).reason == errc::forbidden);
    who.insert({"ben", "boss"});
    mutation late = change(change_kind::erase, "things");
    late.base = 2;
    CHECK(decide(store, self, "ben", ben, late).kind == verdict_kind::applied);
}
