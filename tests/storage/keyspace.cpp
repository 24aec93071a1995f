// SPDX-License-Identifier: BSL-1.0
#include <syncline/storage/keyspace.hpp>

#include <string>
#include <vector>

#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

template <class T>
std::vector<std::string> keys(T& tx, key_range range = {}) {
    std::vector<std::string> found;
    REQUIRE(tx.scan(range, [&](bytes_view k, bytes_view) {
        found.emplace_back(as_text(k));
        return true;
    }));
    return found;
}

}  // namespace

TEST_CASE("keyspace: sees its own keys only, without the prefix", "[storage]") {
    memory_storage s;
    auto tx = s.begin(access_mode::write);
    for (char const* key : {"a", "p", "pa", "pz", "q", "o\xFF"}) { REQUIRE(tx->put(as_bytes(key), as_bytes(key))); }
    keyspace space(*tx, as_bytes("p"));
    REQUIRE(keys(space) == std::vector<std::string>{"a", "z"});  // "p" itself is no key of it
    bytes out;
    REQUIRE(*space.get(as_bytes("a"), out));
    REQUIRE(as_text(out) == "pa");
    REQUIRE(!*space.get(as_bytes("b"), out));
    REQUIRE(space.put(as_bytes("b"), as_bytes("new")));
    REQUIRE(space.erase(as_bytes("z")));
    REQUIRE(keys(*tx) == std::vector<std::string>{"a", "o\xFF", "p", "pa", "pb", "q"});
    REQUIRE(keys(space, {as_bytes("b"), {}}) == std::vector<std::string>{"b"});
    REQUIRE(keys(space, {{}, as_bytes("b")}) == std::vector<std::string>{"a"});
    std::size_t n = 0;
    REQUIRE(space.scan({}, [&](bytes_view, bytes_view) { return ++n < 1; }));
    REQUIRE(n == 1);
}

TEST_CASE("keyspace: nests, copies, and ends at the last byte", "[storage]") {
    memory_storage s;
    auto tx = s.begin(access_mode::write);
    keyspace outer(*tx, as_bytes("\xFF"));
    keyspace inner(outer, as_bytes("\xFF\xFF"));
    auto copy = inner;
    REQUIRE(copy.put(as_bytes("\xFF"), as_bytes("v")));
    REQUIRE(outer.put(as_bytes("a"), as_bytes("v")));
    REQUIRE(keys(inner) == std::vector<std::string>{"\xFF"});
    REQUIRE(keys(outer) == std::vector<std::string>{"a", "\xFF\xFF\xFF"});
    keyspace other(*tx, as_bytes("a"));
    REQUIRE(keys(other).empty());
    other = outer;
    REQUIRE(keys(other).size() == 2);
    keyspace whole(*tx, {});
    REQUIRE(keys(whole) == keys(*tx));
}

TEST_CASE("keyspace: prefix and key share the 511 bytes, bounds may be longer", "[storage]") {
    memory_storage s;
    auto tx = s.begin(access_mode::write);
    bytes const prefix(100, std::byte{'p'});
    keyspace space(*tx, prefix);
    REQUIRE(space.longest_key() == 411);
    std::string const longest(411, 'k');
    std::string const longer(412, 'k');
    std::string const next = longest.substr(0, 410) + 'l';
    bytes out = to_bytes("x");
    REQUIRE(space.put(as_bytes(longer), {}).error() == errc::invalid);
    REQUIRE(space.erase(as_bytes(longer)).error() == errc::invalid);
    REQUIRE(space.get(as_bytes(longer), out).error() == errc::invalid);
    REQUIRE(out.empty());
    REQUIRE(space.get({}, out).error() == errc::invalid);
    REQUIRE(space.put(as_bytes(longest), {}));
    REQUIRE(space.put(as_bytes(next), {}));
    REQUIRE(keys(space, {as_bytes(longer), {}}) == std::vector<std::string>{next});
    REQUIRE(keys(space, {{}, as_bytes(longer)}) == std::vector<std::string>{longest});
    std::string const longest_by_far(5000, 'k');
    REQUIRE(keys(space, {{}, as_bytes(longest_by_far)}) == std::vector<std::string>{longest});
}
