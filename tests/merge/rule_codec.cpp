// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/merge/rule_codec.hpp>

using namespace syncline;

namespace {

collection_rules some() {
    collection_rules out{"bookings", rule::first_writer, {}};
    out.fields = {{"seats", rule::counter},
                  {"where",
                   rule::nested,
                   {{"city", rule::authority}, {"deep", rule::nested, {{"n", rule::counter}}}},
                   rule::local}};
    out.groups = {{"money", rule::role, {"amount", "currency"}}};
    out.deletes = deletion::loses;
    out.references = {{"venue", "venues"}};
    return out;
}
result<collection_rules> again(bytes const& b) {
    cbor_reader in{b};
    collection_rules out = decode_rules(in);
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    return out;
}
bytes encoded(collection_rules const& r) {
    bytes out;
    cbor_writer w{out};
    encode_rules(w, r);
    return out;
}

struct described_thing {
    std::string name;
    std::int64_t seats = 0;
};
constexpr auto describe(described_thing const*) {
    return record_of<described_thing>("things", field("name", &described_thing::name),
                                      field("seats", &described_thing::seats));
}

}  // namespace

TEST_CASE("rule_codec: tables come back as they were, and have one form") {
    rule_table table;
    table.add(some());
    collection_rules whole{"notes", rule::last_writer, {}};
    whole.whole = rule::manual;
    table.add(whole);
    bytes const b = encode(table);
    auto const back = decode_rule_table(b);
    REQUIRE(back);
    CHECK(*back == table);
    CHECK(encode(*back) == b);
    CHECK(back->of("bookings").view().inside("where").inside("deep").of("n") == rule::counter);
    CHECK(back->of("bookings").view().inside("where").of("other") == rule::local);
    // Golden: version 1, "a", last writer, one counter.
    CHECK(to_hex(encoded({"a", rule::last_writer, {{"n", rule::counter}}})) == "88016161018182616e0580f60180");
}

TEST_CASE("rule_codec: what can't be meant is refused") {
    auto const refused = [](auto change, errc why) {
        collection_rules r = some();
        change(r);
        CHECK(validate(r).error() == why);
    };
    refused([](auto& r) { r.fields.push_back({"seats", rule::minimum}); }, errc::invalid);
    refused([](auto& r) { r.fields.push_back({"", rule::minimum}); }, errc::invalid);
    refused([](auto& r) { r.fields[0].inner = {{"x", rule::counter}}; }, errc::invalid);
    refused([](auto& r) { r.fields[0].decides = static_cast<rule>(99); }, errc::unsupported);
    refused([](auto& r) { r.groups.push_back({"two", rule::local, {"amount"}}); }, errc::invalid);
    refused([](auto& r) { r.groups[0].decides = rule::counter; }, errc::invalid);
    refused([](auto& r) { r.whole = rule::list; }, errc::invalid);
    refused([](auto& r) { r.references[0].collection.clear(); }, errc::invalid);
    refused([](auto& r) { r.deletes = static_cast<deletion>(0); }, errc::unsupported);
    CHECK(validate(some()));
    CHECK(validate_for<described_thing>({"things", rule::last_writer, {{"seats", rule::counter}}}));
    CHECK(validate_for<described_thing>({"things", rule::last_writer, {{"chairs", rule::counter}}}).error() ==
          errc::not_found);
    CHECK(validate_for<described_thing>({"things", rule::last_writer, {{"name", rule::counter}}}).error() ==
          errc::type_mismatch);
}

TEST_CASE("rule_codec: a stranger's table is an error or a table") {
    bytes const good = encoded(some());
    random_generator dice{31};
    for (std::size_t n = 0; n != good.size(); ++n) {
        CHECK_FALSE(again(bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n))));
    }
    for (int round = 0; round < 20'000; ++round) {
        bytes b = good;
        b[static_cast<std::size_t>(dice() % b.size())] = static_cast<std::byte>(dice());
        if (auto const r = again(b)) {
            REQUIRE(validate(*r));
            REQUIRE(encoded(*r) == b);
        }
    }
    // Nested without end.
    bytes deep;
    cbor_writer w{deep};
    w.array(8);
    w.unsigned_integer(1);
    w.text("a");
    w.unsigned_integer(1);
    for (int i = 0; i != 40; ++i) {
        w.array(1);
        w.array(4);
        w.text("x");
        w.unsigned_integer(static_cast<std::uint64_t>(rule::nested));
        w.unsigned_integer(1);
    }
    w.array(0);
    CHECK(again(deep).error() == errc::limit);
}
