// SPDX-License-Identifier: BSL-1.0

/// A conflict as a value: its check, its bytes, and what is damaged.

#include <syncline/conflict/conflict.hpp>

#include <string>

#include <syncline/core/value.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

bytes fields(std::initializer_list<value_entry> entries) { return to_bytes(value::map(entries)->encoded()); }

conflict sample() {
    conflict c;
    c.id = 7;
    c.record = {"bookings", "b1"};
    c.local.sequence = 3;
    c.local.stamp = timestamp{256};
    c.local.record = c.record;
    c.local.base = 4;
    c.local.ops.push_back({"table", op_kind::set, to_bytes(value{"garden"}.encoded()), timestamp{256}});
    c.base = fields({{"table", "hall"}});
    c.remote.emplace();
    c.remote->version = 5;
    c.remote->floor = {5, timestamp{512}, 2};
    c.remote->fields = fields({{"table", "terrace"}, {"guests", 40}});
    c.fields.push_back({{"table"}, rule::manual, "seats", 4, 1, {}});
    c.fields[0].suggested = suggestion{conflict_action::remote,
                                       60'000,
                                       {{{conflict_action::local, 5'000}, {}}},
                                       {suggestion_reason::newer, suggestion_reason::higher_role},
                                       suggestion_source::learned};
    c.local_by = {to_bytes("ann"), timestamp{256}, 1};
    c.remote_by = {to_bytes("ben"), timestamp{512}, 2};
    c.opened = wall_time{milliseconds{1'000}};
    c.changed = wall_time{milliseconds{-1}};
    c.revision = 2;
    c.events = 2;
    return c;
}
bytes encoded(conflict const& c) {
    bytes raw;
    cbor_writer w{raw};
    encode_conflict(w, c);
    return raw;
}

}  // namespace

TEST_CASE("golden bytes of a stored conflict") {
    CHECK(to_hex(encoded(sample())) ==
          "8e01018803190100026862"
          "6f6f6b696e6773426231"
          "0104818301657461626c656667617264656ea1657461626c656468616c6c"
          "8705010019020002"
          "80a2657461626c65677465727261636566677565737473182881"
          "8681657461626c6506657365617473040189"
          "0219ea60011913880400010202"
          "8343616e6e190100018343"
          "62656e190200021903e8"
          "1bffffffffffffffff020200f6");
    auto const again = decode_conflict(7, encoded(sample()));
    REQUIRE(again);
    CHECK(*again == sample());
}

TEST_CASE("whatever is stored instead is an error, never a conflict that can't be stored") {
    bytes const good = encoded(sample());
    for (std::size_t n = 0; n < good.size(); ++n) {
        auto const cut = decode_conflict(7, bytes_view{good}.first(n));
        REQUIRE(!cut);
        REQUIRE((cut.error() == errc::corrupt));
    }
    for (std::size_t at = 0; at < good.size(); ++at) {
        for (unsigned const flip : {1U, 0x20U, 0x80U, 0xFFU}) {
            bytes bad = good;
            bad[at] ^= static_cast<std::byte>(flip);
            auto const got = decode_conflict(7, bad);
            if (got) {
                REQUIRE(check(*got));
                REQUIRE(encoded(*got) == bad);  // another conflict, and whole
            } else {
                REQUIRE((got.error() == errc::corrupt || got.error() == errc::unsupported));
            }
        }
    }
    bytes later = good;
    later[1] = std::byte{2};
    CHECK(decode_conflict(7, later).error() == errc::unsupported);
}

TEST_CASE("what may not be stored") {
    auto const refused = [](auto change) {
        conflict c = sample();
        change(c);
        return !check(c);
    };
    CHECK(check(sample()));
    CHECK(refused([](conflict& c) { c.fields.clear(); }));
    CHECK(refused([](conflict& c) { c.fields.push_back(c.fields[0]); }));
    CHECK(refused([](conflict& c) { c.fields.push_back({{"table", "x"}, rule::manual, "", 0, 0, {}}); }));
    CHECK(refused([](conflict& c) { c.fields.insert(c.fields.begin(), contested_field{}); }));
    CHECK(refused([](conflict& c) { c.fields[0].path = {"\xFF"}; }));
    CHECK(refused([](conflict& c) { c.fields[0].path = field_path(9, "x"); }));
    CHECK(refused([](conflict& c) { c.fields[0].guard = std::string(256, 'g'); }));
    CHECK(refused([](conflict& c) { c.fields[0].suggested->confidence = share_one + 1; }));
    CHECK(refused([](conflict& c) { c.record.id = to_bytes("b2"); }));
    CHECK(refused([](conflict& c) { c.local_by.writer.resize(256); }));
    CHECK(refused([](conflict& c) { c.base = to_bytes("?"); }));
    CHECK(refused([](conflict& c) { c.remote->fields = to_bytes("?"); }));
    CHECK(refused([](conflict& c) { c.remote->floor.at = pending_position; }));  // of what is pending
    CHECK(refused([](conflict& c) {
        c.remote->deleted = true;
        c.remote->fields = bytes{std::byte{0x01}};
    }));
    CHECK(refused([](conflict& c) { c.local.ops.push_back(c.local.ops[0]); }));
    CHECK(refused([](conflict& c) { c.local.ops[0].value = to_bytes("??"); }));
    CHECK(refused([](conflict& c) { c.local.ops[0].field.clear(); }));
    CHECK(refused([](conflict& c) { c.local.kind = change_kind::erase; }));
}

TEST_CASE("paths") {
    bytes const record = fields({{"address", *value::map({{"street", "A"}})}, {"n", 1}});
    CHECK(equal(**value_at(record, {"n"}), value{1}.encoded()));
    CHECK(equal(**value_at(record, {"address", "street"}), value{"A"}.encoded()));
    CHECK_FALSE(*value_at(record, {"address", "town"}));
    CHECK_FALSE(*value_at(record, {"n", "inside"}));
    CHECK(equal(**value_at(record, {}), record));
    CHECK(to_text(field_path{"address", "street"}) == "address/street");
    CHECK(to_text(field_path{}) == "the record");
    CHECK((compare_paths({"a"}, {"a", "b"}) < 0));
    CHECK((compare_paths({"b"}, {"aa"}) < 0));  // as in a canonical map
}

TEST_CASE("a suggestion in words") {
    CHECK(words(*sample().fields[0].suggested) == "remote: it is newer, it is from the higher role");
    for (int n = 0; n <= 18; ++n) { CHECK(std::string{name(static_cast<suggestion_reason>(n))} != "unknown reason"); }
}
