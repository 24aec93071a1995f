// SPDX-License-Identifier: BSL-1.0
#include <syncline/audit/entry.hpp>

#include <set>
#include <string>
#include <vector>

#include "audit/model.hpp"

using namespace audit_tests;
using sl::audit_field;
using sl::audit_item;
using sl::audit_kind;

namespace {

sha256_function const hash;
bytes const five = number(5);
bytes const hello = text("hello");

sl::replica_id device(unsigned n) {
    sl::replica_id r;
    r.device.bytes[15] = static_cast<std::byte>(n);
    r.incarnation = 1;
    return r;
}
audit_item some_item(std::vector<audit_field> const& open, std::vector<audit_field> const& masked) {
    audit_item i;
    i.kind = audit_kind::verdict;
    i.stamp = {0x0001'0000};
    i.device = device(1);
    i.actor = sl::as_bytes("anna");
    i.author = device(2);
    i.sequence = 7;
    i.code = 3;
    i.collection = "guests";
    i.record = sl::as_bytes("g1");
    i.open = open;
    i.masked = masked;
    return i;
}

}  // namespace

TEST_CASE("entry: the kinds and their numbers are fixed", "[audit]") {
    std::set<std::string> names;
    for (std::uint64_t k = 1; k <= sl::audit_kind_last; ++k) { names.insert(sl::name(static_cast<audit_kind>(k))); }
    CHECK(names.size() == 13);
    CHECK(names.count("unknown kind") == 0);
    CHECK(sl::name(static_cast<audit_kind>(14)) == std::string("unknown kind"));
    CHECK(static_cast<int>(audit_kind::local_write) == 1);
    CHECK(static_cast<int>(audit_kind::migration) == 11);
    CHECK(static_cast<int>(audit_kind::archival) == 13);
}

TEST_CASE("entry: golden bytes of a leaf, a private part and a commitment", "[audit]") {
    std::vector<audit_field> const open{{"n", five}};
    std::vector<audit_field> const masked{{"name", hello}};
    audit_item const item = some_item(open, masked);
    REQUIRE(sl::check(item));

    bytes secret;
    sl::cbor_writer ws{secret};
    sl::encode_secret(ws, item, 4);
    CHECK(sl::to_hex(secret) == "83426731a1646e616d656568656c6c6f04");

    sl::audit_record_key key{};
    key.fill(std::byte{0x11});
    auto const salt = sl::audit_salt(hash, key, 9);
    CHECK(salt == sl::sha256(from_hex("02" + std::string(64, '1') + "0000000000000009")));
    auto const commitment = sl::audit_commitment(hash, sl::audit_opening{salt, secret});
    CHECK(commitment == sl::sha256(from_hex("03" + sl::to_hex(salt) + sl::to_hex(secret))));

    sha256_digest previous{};
    previous.fill(std::byte{0x22});
    bytes leaf;
    sl::cbor_writer w{leaf};
    sl::encode_leaf(w, item, 9, &previous, &commitment);
    CHECK(sl::to_hex(leaf) ==
          "8d010409"  // thirteen items; format, kind, index
          "5820" +
              std::string(64, '2') +  // the leaf before
              "1a00010000"            // stamp
              "54" +
              std::string(30, '0') +
              "0100000001"  // device
              "44616e6e61"  // actor
              "54" +
              std::string(30, '0') +
              "0200000001"      // author
              "0703"            // sequence, code
              "66677565737473"  // collection
              "a1616e05"        // open
              "5820" +
              sl::to_hex(commitment));

    sl::cbor_reader in{leaf};
    auto e = sl::decode_leaf(in);
    REQUIRE(in.finish());
    CHECK(e.kind == item.kind);
    CHECK((e.index == 9 && e.previous == previous && e.stamp == item.stamp && e.device == item.device));
    CHECK((e.author == item.author && e.sequence == 7 && e.code == 3 && e.collection == "guests"));
    CHECK(sl::to_hex(e.open) == "a1616e05");
    CHECK(e.commitment == commitment);
    CHECK(e.redacted());
    sl::cbor_reader ins{secret};
    e.opened = sl::decode_secret(ins);
    REQUIRE(ins.finish());
    CHECK_FALSE(e.redacted());
    CHECK(sl::as_text(e.opened->record) == "g1");
    CHECK(e.opened->link == 4);
}

TEST_CASE("entry: of a leaf whose bytes were changed there is an error or another entry", "[audit]") {
    std::vector<audit_field> const open{{"n", five}};
    audit_item const item = some_item(open, {});
    sha256_digest const d = sl::sha256({});
    bytes leaf;
    sl::cbor_writer w{leaf};
    sl::encode_leaf(w, item, 9, &d, &d);
    sl::cbor_reader whole{leaf};
    auto const good = sl::decode_leaf(whole);
    std::size_t errors = 0;
    for (std::size_t at = 0; at < leaf.size(); ++at) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            bytes changed = leaf;
            changed[at] ^= static_cast<std::byte>(1U << bit);
            sl::cbor_reader in{changed};
            auto const e = sl::decode_leaf(in);
            if (!in.finish()) {
                ++errors;
            } else {
                REQUIRE_FALSE(e == good);
            }
        }
        sl::cbor_reader cut{bytes_view{leaf}.first(at)};
        (void)sl::decode_leaf(cut);
        REQUIRE_FALSE(cut.finish());
    }
    CHECK(errors > 100);
    auto const error_of = [&](std::size_t at, unsigned to) {
        bytes changed = leaf;
        changed[at] = static_cast<std::byte>(to);
        sl::cbor_reader in{changed};
        (void)sl::decode_leaf(in);
        return in.finish().error().code;
    };
    CHECK(error_of(1, 2) == errc::unsupported);   // a later format
    CHECK(error_of(2, 14) == errc::unsupported);  // a later kind
    CHECK(error_of(2, 0) == errc::unsupported);
    CHECK(error_of(3, 0) == errc::malformed);  // the first, and yet one before it
}

TEST_CASE("entry: what can't be logged is refused", "[audit]") {
    auto const refused = [](audit_item const& i) { return sl::check(i).error() == errc::invalid; };
    std::string const long_name(256, 'x');
    audit_item const good = some_item({}, {});
    auto i = good;
    i.kind = static_cast<audit_kind>(0);
    CHECK(refused(i));
    i.kind = static_cast<audit_kind>(14);
    CHECK(refused(i));
    i = good;
    i.actor = sl::as_bytes(long_name);
    CHECK(refused(i));
    i = good;
    i.record = sl::as_bytes(long_name);
    CHECK(refused(i));
    i = good;
    i.collection = std::string_view(long_name).substr(0, 65);
    CHECK(refused(i));
    i.collection = "\xFF";
    CHECK(refused(i));
    bytes const half{std::byte{0x61}};
    std::vector<std::vector<audit_field>> const bad{
        {{"", five}},  {{long_name, five}},  {{"\xC3", five}}, {{"b", five}, {"a", five}}, {{"a", five}, {"a", five}},
        {{"a", half}}, {{"a", bytes_view{}}}};
    for (auto const& fields : bad) {
        CHECK(refused(some_item(fields, {})));
        CHECK(refused(some_item({}, fields)));
        auto personal = some_item({}, {});
        personal.personal = fields;
        CHECK(refused(personal));
    }
    // As deep as what an archive nests deeper still can be read.
    for (std::size_t const deep : {std::size_t{sl::audit_item_depth_max}, std::size_t{sl::audit_item_depth_max} + 1}) {
        bytes nested(deep, std::byte{0x81});
        nested.push_back(std::byte{0x05});
        std::vector<audit_field> const one{{"a", nested}};
        CHECK(sl::check(some_item(one, {})).has_value() == (deep <= sl::audit_item_depth_max));
    }
    // A name is masked or personal, wherever in its list it stands.
    std::vector<audit_field> const some{{"b", five}, {"d", five}};
    for (auto const& [name, both] : {std::pair{"a", false}, {"b", true}, {"c", false}, {"d", true}, {"e", false}}) {
        std::vector<audit_field> const one{{name, five}};
        auto two = some_item({}, some);
        two.personal = one;
        CHECK(sl::check(two).has_value() != both);
        two.personal = some;
        two.masked = one;
        CHECK(sl::check(two).has_value() != both);
    }
    std::vector<std::string> names;
    for (std::size_t n = 0; n <= sl::audit_personal_max; ++n) { names.push_back("f" + std::to_string(10'000 + n)); }
    std::vector<audit_field> many;
    for (auto const& n : names) { many.push_back({n, five}); }
    auto too_many = some_item({}, {});
    too_many.personal = many;
    CHECK(refused(too_many));
    too_many.personal = std::span{many}.first(sl::audit_personal_max);
    CHECK(sl::check(too_many));
}

TEST_CASE("entry: of a private part with personal fields there is another or an error when bytes change", "[audit]") {
    std::vector<audit_field> const personal{{"a", five}, {"name", hello}};
    auto item = some_item({}, {});
    item.personal = personal;
    sl::audit_field_salt salt{};
    salt.fill(std::byte{0x33});
    std::vector<sha256_digest> const commitments{sl::audit_field_commitment(hash, salt, five),
                                                 sl::audit_field_commitment(hash, salt, hello)};
    bytes secret;
    sl::cbor_writer ws{secret};
    sl::encode_secret(ws, item, 4, commitments);
    bytes openings;
    sl::cbor_writer wo{openings};
    wo.map(2);
    encode_field_opening(wo, {"a", salt, five});
    encode_field_opening(wo, {"name", salt, hello});
    auto const read = [](bytes_view part, bytes_view fields) -> sl::result<sl::audit_entry::secret> {
        sl::cbor_reader in{part};
        auto s = sl::decode_secret(in);
        if (auto const ok = in.finish(); !ok) { return ok.error(); }
        sl::cbor_reader opened{fields};
        sl::decode_field_openings(opened, s);
        if (auto const ok = opened.finish(); !ok) { return ok.error(); }
        return s;
    };
    auto const good = read(secret, openings);
    REQUIRE(good);
    CHECK((good->personal[0].item == five && good->personal[1].item == hello));
    REQUIRE(sl::open_fields(hash, *good, openings));
    for (std::size_t at = 0; at < secret.size(); ++at) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            bytes changed = secret;
            changed[at] ^= static_cast<std::byte>(1U << bit);
            auto const s = read(changed, openings);
            REQUIRE((!s || !(*s == *good)));
        }
        REQUIRE_FALSE(read(bytes_view{secret}.first(at), openings));
    }
    for (std::size_t at = 0; at < openings.size(); ++at) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            bytes changed = openings;
            changed[at] ^= static_cast<std::byte>(1U << bit);
            auto const s = read(secret, changed);
            REQUIRE((!s || !sl::open_fields(hash, *s, changed)));
        }
        REQUIRE_FALSE(read(secret, bytes_view{openings}.first(at)));
    }
    // Part of the openings is less, not wrong; nothing is left of what was taken out.
    bytes const left = sl::without_fields(*good, openings, [](std::size_t place) { return place == 1; });
    auto const less = read(secret, left);
    REQUIRE(less);
    CHECK((less->personal[0].item == five && !less->personal[1].item));
    CHECK(sl::open_fields(hash, *less, left));
    CHECK(sl::as_text(left).find("hello") == std::string_view::npos);
    // Four parts and no personal field would be a second form of three.
    CHECK_FALSE(read(from_hex("8440a000a0"), from_hex("a0")));
    CHECK(read(from_hex("8340a000"), from_hex("a0")));
}

TEST_CASE("entry: a mutation's fields are masked unless they are public", "[audit]") {
    sl::mutation m;
    m.stamp = {5};
    m.sequence = 3;
    m.kind = sl::change_kind::update;
    m.record = {"guests", "g1"};
    m.ops.push_back({"name", sl::op_kind::set, hello, m.stamp});
    m.ops.push_back({"note", sl::op_kind::unset, {}, m.stamp});
    m.ops.push_back({"seats", sl::op_kind::add, five, m.stamp});
    sl::audit_disclosure disclosure;
    CHECK_FALSE(disclosure.shows("guests", "seats"));
    disclosure.show("guests", "seats");
    CHECK(disclosure.shows("guests", "seats"));
    CHECK_FALSE(disclosure.shows("tables", "seats"));
    sl::audit_disclosure separating = disclosure;
    separating.separate("guests", "note").separate("guests", "name");
    CHECK(separating.of("guests", "name") == sl::audit_visibility::personal);
    CHECK(separating.of("guests", "x") == sl::audit_visibility::masked);
    auto separated = sl::draft_of(audit_kind::local_write, m, separating);
    audit_item const& apart = separated.finish();
    REQUIRE(sl::check(apart));
    CHECK((apart.open.size() == 1 && apart.masked.empty()));
    REQUIRE(apart.personal.size() == 2);
    CHECK(sl::to_hex(apart.personal[0].item) == "82016568656c6c6f");
    CHECK_FALSE(separating.show("guests", "name").of("guests", "name") == sl::audit_visibility::personal);
    auto d = sl::draft_of(audit_kind::local_write, m, disclosure);
    auto moved = std::move(d);
    audit_item const& i = moved.finish();
    REQUIRE(sl::check(i));
    CHECK(i.code == 2);
    CHECK(i.sequence == 3);
    REQUIRE(i.open.size() == 1);
    CHECK(i.open[0].name == "seats");
    CHECK(sl::to_hex(i.open[0].item) == "820305");
    REQUIRE(i.masked.size() == 2);
    CHECK(sl::to_hex(i.masked[0].item) == "82016568656c6c6f");
    CHECK(sl::to_hex(i.masked[1].item) == "8102");
    CHECK(sl::as_text(i.record) == "g1");
}
