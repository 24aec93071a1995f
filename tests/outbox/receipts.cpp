// SPDX-License-Identifier: BSL-1.0
#include <syncline/outbox/receipts.hpp>

#include <optional>
#include <string>

#include <syncline/outbox/lane_health.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

#include "model.hpp"

using namespace outbox_tests;
using sl::entry_receipt;
using sl::receipt_book;
using sl::receipt_level;

TEST_CASE("receipts: a token says how far its entry got, after a restart too", "[outbox]") {
    sl::memory_store shared;
    std::uint64_t first = 0;
    std::uint64_t second = 0;
    // Each step with objects of its own: nothing is remembered in memory.
    auto const step = [&](auto&& f) {
        sl::memory_storage store(shared);
        auto tx = write(store);
        f(tx, outbox{}, receipt_book{});
        REQUIRE(tx.commit());
    };
    auto const level = [&](std::uint64_t token) {
        std::optional<entry_receipt> r;
        step([&](auto& tx, outbox const& box, receipt_book const& book) {
            auto const found = book.find(tx, box, token);
            REQUIRE(found);
            r = *found;
        });
        return r;
    };
    step([&](auto& tx, outbox const& box, receipt_book const&) {
        first = *box.enqueue(tx, {.payload = view("one")}, at(1));
        second = *box.enqueue(tx, {.payload = view("two")}, at(1));
    });
    CHECK(level(first) == entry_receipt{receipt_level::durable, {}});
    std::uint64_t fence = 0;
    step([&](auto& tx, outbox const& box, receipt_book const& book) {
        auto const given = box.claim(tx, {}, at(2));
        REQUIRE(given->size() == 2);
        fence = (*given)[0].fence;
        CHECK(book.ack(tx, box, first, fence, receipt_level::sent, at(2)).error() == errc::invalid);
        CHECK(book.note(tx, first, receipt_level::accepted, at(2)).error() == errc::not_found);
    });
    CHECK(level(first) == entry_receipt{receipt_level::sent, {}});
    step([&](auto& tx, outbox const& box, receipt_book const& book) {
        CHECK(book.ack(tx, box, first, fence + 1, receipt_level::accepted, at(3)).error() == errc::claim_lost);
        REQUIRE(book.ack(tx, box, first, fence, receipt_level::accepted, at(3)));
        REQUIRE(box.bury(tx, second, fence, errc::rejected, {}));
    });
    CHECK(level(first) == entry_receipt{receipt_level::accepted, at(3)});
    CHECK(level(second) == entry_receipt{receipt_level::parked, {}});
    step([&](auto& tx, outbox const&, receipt_book const& book) {
        CHECK(*book.settle(tx, first - 1, at(4)) == 0);
        CHECK(*book.settle(tx, first, at(4)) == 1);
        CHECK(*book.settle(tx, first, at(5)) == 0);
    });
    CHECK(level(first) == entry_receipt{receipt_level::stable, at(4)});
    step([&](auto& tx, outbox const&, receipt_book const& book) {
        REQUIRE(book.note(tx, first, receipt_level::overruled, at(6)));
    });
    CHECK(level(first) == entry_receipt{receipt_level::overruled, at(6)});
    step([&](auto& tx, outbox const& box, receipt_book const& book) {
        CHECK(*book.forget(tx, at(6), 10) == 0);
        CHECK(*book.forget(tx, at(7), 0) == 0);
        CHECK(*book.forget(tx, at(7), 10) == 1);
        REQUIRE(box.discard(tx, second));
    });
    CHECK(level(first) == std::nullopt);
    CHECK(level(second) == std::nullopt);
    CHECK(level(12'345'678) == std::nullopt);
}

TEST_CASE("receipts: what is damaged is named corrupt", "[outbox]") {
    sl::memory_storage store;
    auto tx = write(store);
    receipt_book const book;
    for (std::string const& value :
         {std::string(""), std::string(8, '\3'), std::string(9, '\2'), std::string(9, '\7')}) {
        REQUIRE(tx.put(view("er" + model::number(5)), view(value)));
        CHECK(book.find(tx, outbox{}, 5).error() == errc::corrupt);
        CHECK(book.forget(tx, at(0), 9).error() == errc::corrupt);
    }
}

TEST_CASE("receipts: beside the outbox that they are of, both under their own prefixes", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    receipt_book const book;
    sl::lane_health const health;
    auto tx = write(store);
    auto const first = box.enqueue(tx, {.record = view("r")}, at(1));
    REQUIRE(box.enqueue(tx, {.record = view("r")}, at(1)));  // a row among the followers
    auto const given = box.claim(tx, {}, at(1));
    REQUIRE(given->size() == 1);
    REQUIRE(book.ack(tx, box, *first, (*given)[0].fence, receipt_level::accepted, at(2)));
    REQUIRE(box.enqueue(tx, {.record = view("r")}, at(3)));
    REQUIRE(health.sent(tx, 0, 1, 1, sl::milliseconds{1}, at(2)));
    CHECK(*book.settle(tx, *first, at(3)) == 1);
    CHECK(*book.forget(tx, at(4), 10) == 1);
    CHECK(*health.forget(tx, at(0), 10) == 0);
    CHECK(box.summary(tx)->entries == 2);
}
