// SPDX-License-Identifier: BSL-1.0
#include <syncline/outbox/coalescing.hpp>

#include <map>
#include <string>
#include <vector>

#include <syncline/outbox/outbox.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

#include "model.hpp"

using namespace outbox_tests;
using sl::change_effect;
using sl::change_union;

namespace {

using fields = std::map<char, int>;
using table = std::map<std::string, fields>;

/// A payload: the effect, then the fields.
struct change {
    change_effect effect{};
    fields values;

    std::string encode() const {
        std::string out(1, static_cast<char>('0' + static_cast<int>(effect)));
        for (auto const& [k, v] : values) { out += std::string(1, k) + std::to_string(v) + ';'; }
        return out;
    }
    static change decode(std::string const& s) {
        change c{static_cast<change_effect>(s.at(0) - '0'), {}};
        for (std::size_t at = 1; at < s.size();) {
            std::size_t const end = s.find(';', at);
            c.values[s[at]] = std::stoi(s.substr(at + 1, end - at - 1));
            at = end + 1;
        }
        return c;
    }
    /// False where it makes no sense: an update of nothing, a second create. On the other side what isn't there may be
    /// erased all the same: a replace before it may have made it, or not.
    bool arrive(table& to, std::string const& record) const {
        return apply(to, record) || effect == change_effect::erase;
    }
    bool apply(table& to, std::string const& record) const {
        auto const there = to.find(record);
        switch (effect) {
            case change_effect::create:
                if (there != to.end()) { return false; }
                to[record] = values;
                return true;
            case change_effect::update:
                if (there == to.end()) { return false; }
                for (auto const& [k, v] : values) { there->second[k] = v; }
                return true;
            case change_effect::erase: return to.erase(record) == 1;
            case change_effect::replace: to[record] = values; return true;
        }
        return false;
    }
};

auto const unite = [](bytes_view earlier, bytes_view later, bytes& out) {
    change first = change::decode(std::string(sl::as_text(earlier)));
    change const second = change::decode(std::string(sl::as_text(later)));
    auto const together = sl::combine(first.effect, second.effect);
    if (together.fields == change_union::later) { first.values = second.values; }
    for (auto const& [k, v] : second.values) { first.values[k] = v; }
    first.effect = together.effect;
    out = sl::to_bytes(first.encode());
    return together.fields;
};

constexpr change_effect effects[] = {change_effect::create, change_effect::update, change_effect::erase,
                                     change_effect::replace};

}  // namespace

TEST_CASE("coalescing: each cell of the table does what the two do, or keeps them apart", "[outbox]") {
    std::size_t together = 0;
    for (change_effect const a : effects) {
        for (change_effect const b : effects) {
            auto const c = sl::combine(a, b);
            for (bool const exists : {false, true}) {
                table one;
                if (exists) { one["r"] = {{'x', 0}, {'y', 0}}; }
                table two = one;
                change const first{a, a == change_effect::erase ? fields{} : fields{{'x', 1}, {'z', 1}}};
                change const second{b, b == change_effect::erase ? fields{} : fields{{'x', 2}, {'w', 2}}};
                if (!first.apply(one, "r")) { continue; }  // nobody who sees this state makes such a change
                if (!second.apply(one, "r")) {
                    CHECK(c.fields == change_union::apart);
                    continue;
                }
                if (c.fields == change_union::apart) { continue; }
                ++together;
                bytes out;
                CHECK(unite(view(first.encode()), view(second.encode()), out) == c.fields);
                if (c.fields != change_union::nothing) { CHECK(change::decode(text(out)).arrive(two, "r")); }
                CHECK(one == two);
            }
        }
    }
    CHECK(together > 10);
}

TEST_CASE("coalescing: what is sent comes to the same as sending all", "[outbox]") {
    std::uint64_t saved = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        sl::memory_storage store;
        outbox const box;
        generator random{seed};
        table local;   // what the writer sees
        table remote;  // what arrives, coalesced
        std::uint64_t written = 0;
        std::uint64_t arrived = 0;
        auto const drain = [&](std::size_t most, bool lose) {
            auto tx = write(store);
            auto const given = box.claim(tx, {.entries_max = most}, at(0));
            REQUIRE(given);
            for (outbox_entry const& e : *given) {
                if (lose) {  // it was seen outside: from now on it takes part in nothing
                    REQUIRE(box.release(tx, e.token, e.fence, at(0)));
                    continue;
                }
                REQUIRE(change::decode(text(e.payload)).arrive(remote, text(e.record)));
                ++arrived;
                REQUIRE(box.ack(tx, e.token, e.fence));
            }
            REQUIRE(tx.commit());
            return !given->empty();
        };
        for (int i = 0; i < 60; ++i) {
            if (random.once_in(5)) { drain(random.below(4), random.once_in(3)); }
            std::string const record(1, static_cast<char>('a' + static_cast<char>(random.below(3))));
            change c{effects[random.below(4)], {}};
            if (c.effect != change_effect::erase) {
                for (char k = 'p'; k != 't'; ++k) {
                    if (random.once_in(2)) { c.values[k] = static_cast<int>(random.below(100)); }
                }
            }
            if (!c.apply(local, record)) { continue; }
            ++written;
            auto tx = write(store);
            std::string const payload = c.encode();
            auto const urgency = random.once_in(6) ? priority::important : priority::normal;
            auto const put = sl::enqueue_coalesced(box, tx, {urgency, view(record), view(payload)}, at(0), unite);
            REQUIRE(put);
            REQUIRE((put->token == 0) == (put->as == change_union::nothing));
            REQUIRE(tx.commit());
        }
        while (drain(10, false)) {}
        REQUIRE(remote == local);
        REQUIRE(arrived <= written);
        saved += written - arrived;
    }
    CHECK(saved > 2'000);
}

TEST_CASE("coalescing: only what was never claimed, plain and alone takes part", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const join = [](bytes_view earlier, bytes_view later, bytes& out) {
        out = sl::to_bytes(earlier);
        sl::append(out, later);
        return change_union::both;
    };
    auto const put = [&](sl::outbox_item const& item) {
        auto const e = sl::enqueue_coalesced(box, tx, item, at(0), join);
        REQUIRE(e);
        return *e;
    };
    sl::outbox_item item{priority::normal, sl::as_bytes("r"), sl::as_bytes("1")};
    auto const first = put(item);
    CHECK(first.as == change_union::apart);
    CHECK(put(item) == sl::coalesced_entry{first.token, change_union::both});
    CHECK(text((*box.find(tx, first.token))->payload) == "11");
    SECTION("another class") {
        item.urgency = priority::critical;
        CHECK(put(item).as == change_union::apart);
    }
    SECTION("another lane") {
        item.lane = 7;
        CHECK(put(item).as == change_union::apart);
    }
    SECTION("another patience") {
        item.patience = milliseconds{50};
        auto const hasty = put(item);
        CHECK(hasty.as == change_union::apart);
        CHECK(put(item) == sl::coalesced_entry{hasty.token, change_union::both});
        item.patience = milliseconds::max();
        auto const patient = put(item);
        CHECK(patient.as == change_union::apart);
        CHECK(put(item) == sl::coalesced_entry{patient.token, change_union::both});  // both cut to the same
        item.patience.reset();
        CHECK(put(item).as == change_union::apart);
    }
    SECTION("a time to live") {
        item.time_to_live = milliseconds{5};
        auto const mortal = put(item);
        CHECK(mortal.as == change_union::apart);
        item.time_to_live.reset();
        CHECK(put(item).as == change_union::apart);
    }
    SECTION("no record") {
        item.record = {};
        CHECK(put(item).as == change_union::apart);
        CHECK(put(item).as == change_union::apart);
    }
    SECTION("something is after it") {
        REQUIRE(box.enqueue(tx, {.after = {&first.token, 1}}, at(0)));
        CHECK(put(item).as == change_union::apart);
    }
    SECTION("it is after something") {
        item.after = {&first.token, 1};
        item.record = sl::as_bytes("s");
        CHECK(put(item).as == change_union::apart);
        item.after = {};
        CHECK(put(item).as == change_union::apart);
    }
    SECTION("a group") {
        bytes_view const more[] = {sl::as_bytes("s")};
        item.more_records = more;
        CHECK(put(item).as == change_union::apart);
        item.more_records = {};
        CHECK(put(item).as == change_union::apart);
    }
    SECTION("claimed, and back") {
        auto const given = box.claim(tx, {}, at(0));
        REQUIRE(given->size() == 1);
        CHECK(put(item).as == change_union::apart);
        REQUIRE(box.release(tx, first.token, (*given)[0].fence, at(0)));
        CHECK(put(item).as == change_union::both);  // into the second
        CHECK(text((*box.find(tx, first.token))->payload) == "11");
    }
}

TEST_CASE("coalescing: where every change is audited, the steps are carried along, or nothing is joined", "[outbox]") {
    auto const carry = [](bytes_view earlier, bytes_view later, bytes& out) {
        out = sl::to_bytes(earlier);
        sl::append(out, later);
        return change_union::both;  // never `nothing`: a create and its erase are two lines of the log
    };
    auto const off = [](bytes_view, bytes_view, bytes&) { return change_union::apart; };
    for (bool const carries : {true, false}) {
        for (std::uint64_t seed = 0; seed < 50; ++seed) {
            sl::memory_storage store;
            outbox const box;
            generator random{seed};
            std::map<std::string, std::string> log;      // each record's steps, as they were made
            std::map<std::string, std::string> audited;  // and as they arrive
            std::size_t entries = 0;
            auto const send = [&](std::size_t most) {
                auto tx = write(store);
                auto const given = box.claim(tx, {.entries_max = most}, at(0));
                REQUIRE(given);
                for (outbox_entry const& e : *given) {
                    if (random.once_in(4)) {
                        REQUIRE(box.release(tx, e.token, e.fence, at(0)));
                        continue;
                    }
                    audited[text(e.record)] += text(e.payload);
                    ++entries;
                    REQUIRE(box.ack(tx, e.token, e.fence));
                }
                REQUIRE(tx.commit());
                return !given->empty();
            };
            for (int i = 0; i < 60; ++i) {
                std::string const record(1, static_cast<char>('a' + static_cast<char>(random.below(3))));
                std::string const step = std::to_string(i) + ';';
                log[record] += step;
                auto tx = write(store);
                sl::outbox_item item;
                item.record = view(record);
                item.payload = view(step);
                auto const put = carries ? sl::enqueue_coalesced(box, tx, item, at(0), carry)
                                         : sl::enqueue_coalesced(box, tx, item, at(0), off);
                REQUIRE(put);
                REQUIRE(tx.commit());
                if (random.once_in(6)) { send(random.below(4)); }
            }
            while (send(10)) {}
            REQUIRE(audited == log);
            REQUIRE((carries ? entries < 60 : entries == 60));
        }
    }
}
