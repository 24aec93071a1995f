// SPDX-License-Identifier: BSL-1.0

/// Edits of lines come back whatever the texts are, stay small however long the text is, and are read by the reader of
/// compact deltas alone.

#include <syncline/delta/lines.hpp>

#include <string>

#include "delta/pairs.hpp"
#include "support/catch.hpp"

namespace {

using namespace syncline;

/// A text of so many lines, some of which occur often.
bytes text(random_generator& r, std::size_t lines) {
    std::string out;
    for (std::size_t i = 0; i < lines; ++i) {
        if (below(r, 5) == 0) {
            out += "    }\n";
        } else {
            out += "    value_" + std::to_string(below(r, 100'000)) + " = call(" + std::to_string(i) + ");\n";
        }
    }
    return to_bytes(out);
}

bytes made_of(bytes_view base, bytes_view target) {
    delta_scratch scratch;
    bytes delta;
    line_delta_encode(base, target, delta, scratch);
    bytes made;
    REQUIRE(compact_decode(base, delta, made));
    REQUIRE(made == to_bytes(target));
    return delta;
}

}  // namespace

TEST_CASE("lines: pairs come back, texts or not, whatever the memory was used for") {
    random_generator r(61);
    delta_scratch used;
    for (unsigned i = 0; i < delta_tests::rounds(300); ++i) {
        auto const [base, target] = delta_tests::pair(r, 6000);
        bytes delta;
        bytes again;
        line_delta_encode(base, target, delta, used);
        delta_scratch fresh;
        line_delta_encode(base, target, again, fresh);
        REQUIRE(delta == again);
        CHECK(delta.size() <= target.size() + 8);
        bytes made;
        REQUIRE(compact_decode(base, delta, made));
        REQUIRE(made == target);
    }
}

TEST_CASE("lines: small texts, all of them") {
    // Up to four lines of two kinds, the last without a line feed now and then.
    std::vector<bytes> all;
    for (unsigned n = 0; n <= 4; ++n) {
        for (unsigned which = 0; which < 1U << n; ++which) {
            std::string s;
            for (unsigned i = 0; i < n; ++i) { s += (which >> i & 1U) != 0 ? "left side\n" : "right\n"; }
            all.push_back(to_bytes(s));
            if (!s.empty()) { all.push_back(to_bytes(s.substr(0, s.size() - 1))); }
        }
    }
    for (bytes const& a : all) {
        for (bytes const& b : all) { (void)made_of(a, b); }
    }
}

TEST_CASE("lines: a long text costs by its edits, not by its length") {
    random_generator r(62);
    bytes const base = text(r, 30'000);
    CHECK(made_of(base, base).size() <= 1);
    std::string edited(as_text(base));
    std::size_t const third = edited.find('\n', edited.size() / 3) + 1;
    edited.insert(third, "    // three lines more\n    // which stood nowhere\n    // before\n");
    std::size_t const half = edited.find("call(", edited.size() / 2);
    edited.replace(half, 4, "ask");
    std::size_t const late = edited.find('\n', edited.size() / 10 * 9) + 1;
    edited.erase(late, edited.find('\n', late + 400) + 1 - late);
    CHECK(made_of(base, to_bytes(edited)).size() < 100);
    // A line that moved is written again, all else isn't.
    std::string moved(as_text(base));
    std::string const line = moved.substr(0, moved.find('\n') + 1);
    moved.erase(0, line.size());
    moved.insert(moved.find('\n', moved.size() / 2) + 1, line);
    CHECK(made_of(base, to_bytes(moved)).size() < 60);
}

TEST_CASE("lines: what looks like them") {
    CHECK(looks_like_lines(as_bytes("one\ntwo\n")));
    CHECK_FALSE(looks_like_lines({}));
    CHECK_FALSE(looks_like_lines(as_bytes("no line feed")));
    bytes zero = to_bytes("one\ntwo\n");
    zero[1] = std::byte{};
    CHECK_FALSE(looks_like_lines(zero));
    bytes sparse(4096, std::byte{'x'});
    sparse[10] = std::byte{'\n'};
    CHECK_FALSE(looks_like_lines(sparse));
}

TEST_CASE("lines: as a way of the chooser, it refuses what is no delta and writes no more than it may") {
    line_sequence way;
    random_generator r(63);
    bytes const base = text(r, 200);
    bytes target = base;
    append(target, as_bytes("one line more\n"));
    REQUIRE(way.offered(base, target));
    CHECK_FALSE(way.offered(base, {}));
    bytes delta;
    REQUIRE(way.encode(base, target, delta));
    bytes made;
    bounded_sink room(made, target.size());
    REQUIRE(way.decode(base, delta, room));
    CHECK(made == target);
    made.clear();
    bounded_sink less(made, target.size() - 1);
    CHECK(way.decode(base, delta, less).error() == errc::limit);
    CHECK(made.empty());
    for (std::size_t n = 0; n < delta.size(); ++n) {
        bytes other;
        bounded_sink sink(other, 1 << 20);
        if (way.decode(base, bytes_view(delta).first(n), sink)) {
            CHECK(other != target);
        } else {
            CHECK(other.empty());
        }
    }
}
