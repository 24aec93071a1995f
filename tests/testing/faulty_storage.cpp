// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/faulty_storage.hpp>

#include <string>

#include <syncline/storage/archetype.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

using namespace syncline;
using testing::fault_moment;
using testing::storage_call;

template class syncline::testing::faulty_storage<storage_archetype>;
static_assert(storage<testing::faulty_storage<memory_storage>>);
static_assert(storage<testing::faulty_storage<storage_archetype>>);

namespace {

using store = testing::faulty_storage<memory_storage>;

/// Moves a value from one key to another: five calls and the commit.
status rename(store& s) {
    auto tx = s.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    bytes value;
    auto const found = tx->get(as_bytes("old"), value);
    if (!found) { return found.error(); }
    if (status const r = tx->put(as_bytes("new"), value); !r) { return r; }
    if (status const r = tx->erase(as_bytes("old")); !r) { return r; }
    if (status const r = tx->commit(); !r) { return r; }
    return s.barrier();
}

memory_snapshot one_key(char const* key) {
    memory_storage s;
    auto tx = s.begin(access_mode::write);
    REQUIRE(tx->put(as_bytes(key), as_bytes("v")));
    REQUIRE(tx->commit());
    return s.snapshot();
}

}  // namespace

TEST_CASE("faulty_storage: every call can fail, and the state is the old one or the new one", "[testing][storage]") {
    memory_snapshot const before = one_key("old");
    memory_snapshot const after = one_key("new");
    for (fault_moment const moment : {fault_moment::before, fault_moment::after}) {
        for (bool const sticky : {false, true}) {
            std::uint64_t n = 1;
            for (;; ++n) {
                memory_storage inner;
                inner.restore(before);
                store s(inner);
                s.inject({.nth = n, .code = errc::storage_full, .moment = moment, .sticky = sticky});
                status const r = rename(s);
                if (s.faults() == 0) {
                    REQUIRE(r);
                    break;
                }
                REQUIRE(r.error() == errc::storage_full);
                REQUIRE(s.calls() == n);
                bool const committed = n > 5 || (n == 5 && moment == fault_moment::after);
                REQUIRE(inner.snapshot() == (committed ? after : before));
                REQUIRE(static_cast<bool>(s.begin(access_mode::read)) == !sticky);
                s.heal();
                REQUIRE(s.begin(access_mode::read));
            }
            REQUIRE(n == 7);
        }
    }
}

TEST_CASE("faulty_storage: counts and fails calls of one kind", "[testing][storage]") {
    memory_storage inner;
    store s(inner);
    s.inject({.nth = 2, .code = errc::busy, .only = storage_call::put});
    auto tx = s.begin(access_mode::write);
    bytes out;
    REQUIRE(tx->get(as_bytes("a"), out));
    REQUIRE(tx->put(as_bytes("a"), as_bytes("1")));
    REQUIRE(tx->put(as_bytes("b"), as_bytes("2")).error() == errc::busy);
    REQUIRE(tx->put(as_bytes("c"), as_bytes("3")));
    std::size_t seen = 0;
    REQUIRE(tx->scan({}, [&](bytes_view, bytes_view) { return ++seen != 0; }));
    REQUIRE(seen == 2);
    REQUIRE(s.calls(storage_call::put) == 3);
    REQUIRE(s.calls(storage_call::scan) == 1);
    REQUIRE(s.calls(storage_call::commit) == 0);
    REQUIRE(s.calls() == 6);
    REQUIRE(s.faults() == 1);
}

TEST_CASE("faulty_storage: a scan that fails midway has visited a part", "[testing][storage]") {
    memory_storage inner;
    store s(inner);
    auto tx = s.begin(access_mode::write);
    for (char const* key : {"a", "b", "c", "d"}) { REQUIRE(tx->put(as_bytes(key), as_bytes("v"))); }
    std::uint64_t faults = 0;
    for (std::uint64_t const visits : {0U, 1U, 3U, 4U, 9U}) {
        s.inject({.moment = fault_moment::midway, .only = storage_call::scan, .visits = visits});
        std::string seen;
        status const r = tx->scan({as_bytes("b"), {}}, [&](bytes_view key, bytes_view) {
            seen += static_cast<char>(key[0]);
            return true;
        });
        CHECK(r.error() == errc::storage_io);
        CHECK(seen == std::string("bcd").substr(0, static_cast<std::size_t>(visits)));
        CHECK(s.faults() == ++faults);
    }
}

TEST_CASE("faulty_storage: a lost transaction stays lost and leaves nothing", "[testing][storage]") {
    memory_storage inner;
    store s(inner);
    auto tx = s.begin(access_mode::write);
    REQUIRE(tx->put(as_bytes("a"), as_bytes("1")));
    s.inject({.nth = 1, .code = errc::transaction_lost, .moment = fault_moment::after});
    bytes out = to_bytes("left over");
    REQUIRE(tx->get(as_bytes("a"), out).error() == errc::transaction_lost);
    REQUIRE(out.empty());
    REQUIRE(tx->put(as_bytes("b"), as_bytes("2")).error() == errc::transaction_lost);
    REQUIRE(tx->commit().error() == errc::transaction_lost);
    REQUIRE(inner.snapshot().count() == 0);
    REQUIRE(s.begin(access_mode::write));  // the object is free again
}

TEST_CASE("faulty_storage: after a failed sync nothing goes until the store is opened again", "[testing][storage]") {
    for (fault_moment const moment : {fault_moment::before, fault_moment::after}) {
        memory_storage inner;
        store s(inner);
        s.inject({.moment = moment, .only = storage_call::commit, .poisons = true});
        {
            auto tx = s.begin(access_mode::write);
            REQUIRE(tx->put(as_bytes("a"), as_bytes("1")));
            CHECK_FALSE(s.poisoned());
            CHECK(tx->commit().error() == errc::storage_io);
        }
        CHECK(s.poisoned());
        CHECK(inner.snapshot().count() == (moment == fault_moment::after ? 1U : 0U));
        CHECK(s.begin(access_mode::write).error() == errc::poisoned);
        CHECK(s.barrier().error() == errc::poisoned);
        CHECK(s.faults() == 3);
        s.heal();
        CHECK_FALSE(s.poisoned());
        CHECK(s.begin(access_mode::read));
    }
}
