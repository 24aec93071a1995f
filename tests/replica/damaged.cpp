// SPDX-License-Identifier: BSL-1.0
// A replica and an authority on a medium that rots: with a checksummed storage no answer is ever built on a damaged value.
#include <syncline/storage/checksummed.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>

#include "replica/world.hpp"
#include "support/catch.hpp"

using namespace world;

namespace {

constexpr memory_options roomy{0, value_bytes_min_max + storage_checksum_bytes};

using checksummed = checksummed_storage<memory_storage>;

/// All that a device may be asked, as text: the same store gives the same.
struct answers {
    std::vector<std::string> said;
    std::size_t refused = 0;

    template <class R>
    bool note(R const& r) {
        if (r) { return true; }
        REQUIRE(r.error() == errc::corrupt);
        said.emplace_back("corrupt");
        ++refused;
        return false;
    }
};

std::string text(bytes_view b) { return std::string{as_text(b)}; }

answers ask(memory_storage& medium, replica const& self, bytes const& reply, instant now) {
    checksummed store{medium};
    answers out;
    auto tx = store.begin(access_mode::write);
    REQUIRE(tx);
    auto const each = [&](auto const& r, std::string shown) {
        if (out.note(r)) { out.said.push_back(std::move(shown)); }
    };
    for (int i = 0; i < 4; ++i) {
        auto const r = self.read(*tx, record_key{"things", "r" + std::to_string(i)});
        each(r, r && *r ? text((*r)->fields) : "nothing");
        auto const c = self.read_confirmed(*tx, record_key{"things", "r" + std::to_string(i)});
        each(c, c && *c ? text((*c)->fields) : "nothing");
    }
    std::string all;
    auto const scanned = self.scan(*tx, "things", [&](record_key const& k, record const& r) {
        all += text(k.id) + text(r.fields);
        return true;
    });
    each(scanned, all);
    all.clear();
    auto const listed = self.conflicts(*tx, [&](open_conflict const& c) {
        all += text(c.base) + std::to_string(c.token);
        return true;
    });
    each(listed, all);
    auto const prepared = self.prepare(*tx, now);
    each(prepared, "prepared");
    if (prepared) {
        auto const asked = self.request_message(*tx);
        each(asked, asked ? text(*asked) : "");
        random_generator random{1};
        auto const report = self.absorb(*tx, reply, now, random);
        each(report, report ? std::to_string(report->rows) + " rows" : "");
    }
    return out;
}

}  // namespace

TEST_CASE("a damaged store: an answer is the true one or corrupt", "[replica][property]") {
    memory_store home{roomy};
    memory_store held{roomy};
    memory_storage home_medium{home};
    memory_storage held_medium{held};
    checksummed home_store{home_medium};
    checksummed store{held_medium};
    authority<> const cloud{rules()};
    replica const self{rules()};
    random_generator random{3};
    virtual_clock clock;
    auto const write = [&](checksummed& s, auto f) {
        auto tx = s.begin(access_mode::write);
        REQUIRE(f(*tx));
        REQUIRE(tx->commit());
    };
    write(home_store, [&](auto& tx) { return cloud.open(tx, clock.now, random); });
    write(store, [&](auto& tx) { return self.open(tx, "anna", clock.now, random); });
    // Another device, whose rows the damaged one holds and is told of.
    device other{5};
    REQUIRE(open(other, clock.now));
    auto const exchange = [&](device& d) {
        auto const reply = serve(home_store, cloud, "anna", request_of(d, clock.now), clock.now);
        REQUIRE(reply);
        REQUIRE(absorb(d, *reply, clock.now));
    };
    for (int i = 0; i < 3; ++i) {
        std::string const id = "r" + std::to_string(i);
        REQUIRE(other.write([&](auto& tx) {
            return other.self.create(tx, {"things", id}, fields({{"name", i}, {"asked", 1}}), clock.now);
        }));
    }
    exchange(other);
    auto const reply_to_us = [&] {
        bytes request;
        write(store, [&](auto& tx) -> status {
            if (auto ok = self.prepare(tx, clock.now); !ok) { return ok; }
            auto q = self.request_message(tx);
            if (!q) { return q.error(); }
            request = *q;
            return {};
        });
        return *serve(home_store, cloud, "anna", request, clock.now);
    };
    auto const take = [&](bytes const& reply) {
        write(store, [&](auto& tx) { return self.absorb(tx, reply, clock.now, random); });
    };
    take(reply_to_us());
    // A conflict, a pending edit, a frozen one, and one that is decided but not held.
    clock.pass(1'000);
    REQUIRE(other.write([&](auto& tx) {
        return other.self.update(tx, {"things", "r0"}, {set("asked", 9)}, clock.now);
    }));
    exchange(other);
    write(store, [&](auto& tx) { return self.update(tx, {"things", "r0"}, {set("asked", 8)}, clock.now); });
    take(reply_to_us());
    write(store, [&](auto& tx) { return self.update(tx, {"things", "r1"}, {set("name", 77)}, clock.now); });
    bytes const late = reply_to_us();
    write(store, [&](auto& tx) { return self.update(tx, {"things", "r2"}, {set("name", 78)}, clock.now); });

    answers const truth = ask(held_medium, self, late, clock.now);
    REQUIRE(truth.refused == 0);
    auto const whole = held.snapshot();
    std::size_t values = 0;
    std::size_t noticed = 0;
    whole.scan({}, [&](bytes_view key, bytes_view value) {
        ++values;
        for (int round = 0; round < 8; ++round) {
            held.restore(whole);
            bytes rotten = to_bytes(value);
            std::size_t const bit = static_cast<std::size_t>(below(random, rotten.size() * 8));
            rotten[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
            {
                auto tx = held_medium.begin(access_mode::write);
                REQUIRE(tx->put(key, rotten));
                REQUIRE(tx->commit());
            }
            answers const now = ask(held_medium, self, late, clock.now);
            noticed += now.refused == 0 ? 0 : 1;
            // Step by step: what is not refused is what the sound store says, up to the first refusal of a step that
            // writes, after which nothing is to be had from this transaction.
            for (std::size_t i = 0; i < now.said.size(); ++i) {
                if (now.said[i] != "corrupt") { REQUIRE(now.said[i] == truth.said[i]); }
            }
        }
        return true;
    });
    held.restore(whole);
    REQUIRE(values > 10);
    REQUIRE(noticed > values * 8 / 2);
    CHECK(ask(held_medium, self, late, clock.now).said == truth.said);
}
