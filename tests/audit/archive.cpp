// SPDX-License-Identifier: BSL-1.0
#include <syncline/audit/archive.hpp>

#include <string>

#include <syncline/audit/log.hpp>

#include "audit/model.hpp"

using namespace audit_tests;
using sl::audit_field;
using sl::audit_item;
using sl::audit_log;

namespace {

sha256_function const hash;

/// A log of some entries of three records.
struct scene {
    sl::memory_storage store{};
    audit_log<> log{};
    explicit scene(std::size_t n, bool separate = false) {
        sl::random_generator random{5};
        auto tx = write(store);
        REQUIRE(log.open(tx, sl::wall_time{sl::milliseconds{1'000}}, random));
        for (std::size_t i = 0; i < n; ++i) {
            bytes const secret = text("secret " + std::to_string(i));
            audit_field const masked{"name", secret};
            std::string const record = "r" + std::to_string(i % 3);
            audit_item item;
            item.stamp = {i};
            if (i % 4 != 3) {
                item.collection = "c";
                item.record = sl::as_bytes(record);
                (separate ? item.personal : item.masked) = std::span<audit_field const>{&masked, 1};
            }
            REQUIRE(log.append(tx, item, random));
        }
        REQUIRE(tx.commit());
    }
    bytes archive(std::uint64_t first, std::uint64_t last, bool with_private) {
        auto tx = write(store);
        auto a = log.export_segment(tx, first, last, {}, with_private);
        REQUIRE(a);
        return *a;
    }
    sl::audit_head head() {
        auto tx = write(store);
        return *log.head(tx, {});
    }
};

}  // namespace

TEST_CASE("archive: every segment of small logs proves itself, against the head and its neighbours", "[audit]") {
    for (std::size_t n = 1; n <= 20; ++n) {
        scene s{n};
        auto const head = s.head();
        for (std::uint64_t first = 0; first < n; ++first) {
            for (std::uint64_t last = first + 1; last <= n; ++last) {
                bytes const a = s.archive(first, last, (first + last) % 2 == 0);
                std::uint64_t expected = first;
                auto const seen = read_archive(hash, a, [&](sl::audit_entry const& e) {
                    REQUIRE(e.index == expected++);
                    REQUIRE(e.redacted() == (e.commitment.has_value() && (first + last) % 2 != 0));
                    return true;
                });
                REQUIRE(seen);
                REQUIRE(expected == last);
                REQUIRE((seen->head == head && seen->first == first && seen->last == last));
                auto tx = write(s.store);
                REQUIRE(seen->root_before == s.log.head_at(tx, first, {})->root);
                REQUIRE(seen->root_after == s.log.head_at(tx, last, {})->root);
            }
        }
    }
}

TEST_CASE("archive: of one whose bytes were changed there is an error, or another head is named", "[audit]") {
    for (int const how : {0, 1, 2}) {
        bool const with_private = how != 0;
        scene s{21, how == 2};
        auto const head = s.head();
        bytes const a = s.archive(5, 12, with_private);
        auto const good = *verify_archive(hash, a);
        for (std::size_t at = 0; at < a.size(); ++at) {
            for (unsigned const bit : {0U, 3U, 7U}) {
                bytes changed = a;
                changed[at] ^= static_cast<std::byte>(1U << bit);
                auto const seen = verify_archive(hash, changed);
                INFO("byte " << at << " of " << a.size());
                // A log's name and a head's stamp are the head's own words: who trusts a head compares them.
                REQUIRE((!seen || !(seen->head == head)));
            }
            REQUIRE_FALSE(verify_archive(hash, bytes_view{a}.first(at)));
        }
        bytes longer = a;
        longer.push_back(std::byte{0});
        CHECK_FALSE(verify_archive(hash, longer));
        CHECK(good.head == head);
    }
}

TEST_CASE("archive: hostile ones are refused", "[audit]") {
    scene s{21};
    bytes const a = s.archive(0, 21, true);
    auto const error_of = [&](bytes const& b, sl::decode_limits const& limits = {}) {
        return verify_archive(hash, b, limits).error().code;
    };
    sl::decode_limits tight;
    tight.work_max = 1'000;
    CHECK(error_of(a, tight) == errc::limit);
    tight = {};
    tight.items_max = 20;
    CHECK(error_of(a, tight) == errc::limit);
    // A header that promises more entries than there can be.
    sl::archive_header h;
    h.head = s.head();
    h.head.size = ~std::uint64_t{0};
    h.last = h.head.size;
    bytes huge;
    sl::cbor_writer w{huge};
    write_archive_header(w, h);
    CHECK(error_of(huge) == errc::malformed);
    // Entries of another place, an opening of another entry, a chain that doesn't hold, a left side of another size.
    auto tx = write(s.store);
    auto const build = [&](std::uint64_t first, std::uint64_t last, std::initializer_list<std::uint64_t> entries,
                           std::uint64_t opened_by) {
        sl::archive_header k;
        k.head = *s.log.head(tx, {});
        k.first = first;
        k.last = last;
        sl::merkle_frontier left;
        for (std::uint64_t i = 0; i < first; ++i) { left.add(hash, sl::merkle_leaf(hash, *s.log.leaf_data(tx, i))); }
        k.left = left;
        k.right = *s.log.prove_consistency(tx, last);
        bytes out;
        sl::cbor_writer o{out};
        write_archive_header(o, k);
        for (std::uint64_t const i : entries) {
            auto const opening = *s.log.opening(tx, i == 5 ? opened_by : i);
            write_archive_entry(o, *s.log.leaf_data(tx, i), opening ? &*opening : nullptr);
        }
        return out;
    };
    CHECK(verify_archive(hash, build(4, 7, {4, 5, 6}, 5)));
    CHECK(error_of(build(4, 7, {4, 6, 5}, 5)) == errc::corrupt);
    CHECK(error_of(build(4, 7, {4, 5, 6}, 8)) == errc::corrupt);
    CHECK(error_of(build(4, 7, {4, 5}, 5)) == errc::malformed);
    CHECK(error_of(build(4, 4, {}, 5)) == errc::malformed);
    CHECK(error_of(sl::to_bytes("")) == errc::malformed);
}

TEST_CASE("archive: a private part that is destroyed in one leaves it as true as it was", "[audit]") {
    scene s{21};
    bytes const a = s.archive(2, 18, true);
    auto const of_r1 = [](sl::audit_entry const& e) { return sl::as_text(e.opened->record) == "r1"; };
    auto const b = redact_archive(hash, a, of_r1);
    REQUIRE(b);
    auto const was = *verify_archive(hash, a);
    auto const is = *verify_archive(hash, *b);
    CHECK(is.root_after == was.root_after);
    CHECK(is.redacted > was.redacted);
    CHECK(sl::as_text(*b).find("secret 4") == std::string_view::npos);
    CHECK(sl::as_text(a).find("secret 4") != std::string_view::npos);
    CHECK(sl::as_text(*b).find("secret 5") != std::string_view::npos);
    // All of them: as if it had been exported without.
    auto const bare = redact_archive(hash, a, [](sl::audit_entry const&) { return true; });
    CHECK(*bare == s.archive(2, 18, false));
    bytes broken = a;
    broken.back() ^= std::byte{1};
    CHECK_FALSE(redact_archive(hash, broken, of_r1));
}

TEST_CASE("archive: a personal field that is destroyed in one leaves it as true as it was", "[audit]") {
    scene s{21, true};
    bytes const a = s.archive(2, 18, true);
    auto const r1_names = [](sl::audit_entry const& e, std::string_view field) {
        return sl::as_text(e.opened->record) == "r1" && field == "name";
    };
    auto const b = redact_archive_fields(hash, a, r1_names);
    REQUIRE(b);
    auto const was = *verify_archive(hash, a);
    auto const is = *verify_archive(hash, *b);
    CHECK((is.head == was.head && is.root_after == was.root_after && is.redacted == was.redacted));
    CHECK((was.redacted_fields == 0 && is.redacted_fields == 4));
    CHECK(sl::as_text(*b).find("secret 4") == std::string_view::npos);
    CHECK(sl::as_text(a).find("secret 4") != std::string_view::npos);
    CHECK(sl::as_text(*b).find("secret 5") != std::string_view::npos);
    // Twice is once; none of them is the same archive; the whole parts can go after that.
    CHECK(*redact_archive_fields(hash, *b, r1_names) == *b);
    CHECK(*redact_archive_fields(hash, a, [](sl::audit_entry const&, std::string_view) { return false; }) == a);
    CHECK(*redact_archive(hash, *b, [](sl::audit_entry const&) { return true; }) == s.archive(2, 18, false));
    // The log's own copy is another matter; an archive made after its redaction hasn't the value either.
    {
        auto tx = write(s.store);
        sl::random_generator random{6};
        REQUIRE(s.log.redact_field(tx, "c", sl::as_bytes("r1"), "name", {}, random)->destroyed == 5);
        REQUIRE(tx.commit());
    }
    CHECK(verify_archive(hash, s.archive(2, 18, true))->redacted_fields == 4);
    // With the openings left out altogether, or given where there are no personal fields.
    scene masked{21};
    for (scene* const one : {&s, &masked}) {
        auto tx = write(one->store);
        sl::archive_header k;
        k.head = *one->log.head(tx, {});
        k.first = 0;
        k.last = 1;
        k.right = *one->log.prove_consistency(tx, 1);
        auto opening = **one->log.opening(tx, 0);
        opening.fields = opening.fields.empty() ? bytes{std::byte{0xa0}} : bytes{};
        bytes out;
        sl::cbor_writer o{out};
        write_archive_header(o, k);
        write_archive_entry(o, *one->log.leaf_data(tx, 0), &opening);
        CHECK(verify_archive(hash, out).error() == errc::malformed);
    }
    bytes broken = a;
    broken.back() ^= std::byte{1};
    CHECK_FALSE(redact_archive_fields(hash, broken, r1_names));
}

TEST_CASE("archive: golden bytes", "[audit]") {
    scene s{3};
    CHECK(sl::to_hex(sl::sha256(s.archive(1, 3, true))) ==
          "a4c1d2b076604955173813ec90020abab84b078eb7268efecd08d8f1fa4970f4");
    bytes const a = s.archive(1, 3, false);
    CHECK(sl::to_hex(a).substr(0, 52) == "880176" + sl::to_hex(sl::as_bytes("syncline audit archive")) + "86");
}
