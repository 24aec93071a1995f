// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/commit_history.hpp>

#include <set>

#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

using namespace syncline;
using testing::commit_history;
using testing::store_content;

namespace {

store_content holding(int n) {
    store_content c;
    for (int i = 1; i <= n; ++i) { c[to_bytes("k" + std::to_string(i))] = to_bytes("v"); }
    return c;
}

/// Three commits, begun at 10, 20, 30 and answered at 15, 25, 35.
commit_history three(durability said) {
    commit_history h;
    for (int i = 1; i <= 3; ++i) {
        auto const at = static_cast<commit_history::moment>(i * 10);
        h.begins(at, said, holding(i));
        h.answered(at + 5);
    }
    return h;
}

std::string verdict(commit_history const& h, store_content const& found, commit_history::moment now) {
    auto const v = h.judge(found, now);
    return v ? v->axiom : "";
}

}  // namespace

TEST_CASE("commit_history: full means that what was answered is there", "[testing]") {
    auto const h = three(durability::full);
    CHECK(h.begun(24) == 2);
    CHECK(h.answered_by(24) == 1);
    CHECK(h.lasting(24) == 1);
    CHECK(verdict(h, holding(1), 24) == "");
    CHECK(verdict(h, holding(2), 24) == "");            // nobody had heard of it, and it is there
    CHECK(verdict(h, holding(0), 24) == "durability");  // what was answered is not
    CHECK(verdict(h, holding(3), 24) == "atomicity");   // had not begun
    CHECK(verdict(h, holding(1), 25) == "durability");
    store_content half = holding(2);
    half.erase(to_bytes("k1"));
    CHECK(verdict(h, half, 24) == "atomicity");
}

TEST_CASE("commit_history: ordered means the first so many, and all of them before a barrier", "[testing]") {
    auto h = three(durability::ordered);
    for (int i = 0; i <= 3; ++i) { CHECK(verdict(h, holding(i), 100) == ""); }
    CHECK(verdict(h, {{to_bytes("k2"), to_bytes("v")}}, 100) == "atomicity");
    h.barrier(40);
    CHECK(verdict(h, holding(0), 39) == "");
    CHECK(verdict(h, holding(2), 40) == "durability");
    CHECK(verdict(h, holding(3), 40) == "");
}

TEST_CASE("commit_history: none promises what a barrier covered, until the next commit", "[testing]") {
    auto h = three(durability::none);
    CHECK(!h.promises(100));
    CHECK(verdict(h, {{to_bytes("x"), to_bytes("y")}}, 100) == "");
    h.barrier(40);
    CHECK(h.promises(40));
    CHECK(verdict(h, holding(2), 40) == "durability");
    h.begins(50, durability::none, holding(4));
    CHECK(verdict(h, holding(2), 49) == "durability");
    CHECK(verdict(h, holding(2), 50) == "");
}

TEST_CASE("commit_history: a commit that failed may be there or not, until another is made without it", "[testing]") {
    auto h = three(durability::full);
    h.begins(40, durability::full, holding(4));
    h.failed();
    CHECK(verdict(h, holding(3), 45) == "");
    CHECK(verdict(h, holding(4), 45) == "");
    store_content other = holding(3);
    other[to_bytes("o")] = to_bytes("p");
    h.begins(50, durability::full, other);
    h.answered(55);
    CHECK(verdict(h, other, 60) == "");
    CHECK(verdict(h, holding(4), 60) == "durability");
}

TEST_CASE("commit_history: what a power loss took does not come back", "[testing]") {
    auto h = three(durability::ordered);
    h.survived(2, 40);
    CHECK(h.size() == 2);
    store_content other = holding(2);
    other[to_bytes("o")] = to_bytes("p");
    h.begins(50, durability::ordered, other);
    h.answered(55);
    CHECK(verdict(h, other, 60) == "");
    CHECK(verdict(h, holding(2), 60) == "");  // ordered: the last few may go, also those that came back
    CHECK(verdict(h, holding(3), 60) == "atomicity");
}

TEST_CASE("commit_history: what a store of full commits came back with has to last", "[testing]") {
    auto h = three(durability::full);
    h.begins(40, durability::full, holding(4));  // nobody heard of it, and it was there after the power loss
    CHECK(verdict(h, holding(3), 45) == "");
    h.survived(4, 45);
    CHECK(verdict(h, holding(4), 45) == "");
    CHECK(verdict(h, holding(3), 45) == "durability");
    h.survived(0, 50);
    CHECK(verdict(h, {}, 50) == "");
    CHECK(verdict(h, holding(1), 50) == "atomicity");
}

TEST_CASE("commit_workload: each transaction leaves another content, which is what the store holds", "[testing]") {
    memory_storage s;
    testing::commit_workload a(5);
    testing::commit_workload b(5);
    std::set<store_content> seen;
    for (int i = 0; i < 60; ++i) {
        auto tx = s.begin(access_mode::write);
        REQUIRE(a.write(*tx));
        REQUIRE(tx->commit());
        CHECK(*testing::read_content(s) == a.content());
        CHECK(seen.insert(a.content()).second);
        auto again = s.begin(access_mode::write);
        REQUIRE(b.write(*again));
        CHECK(b.content() == a.content());
    }
}
