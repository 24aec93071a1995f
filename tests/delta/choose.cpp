// SPDX-License-Identifier: BSL-1.0

/// The smallest wins, the budget holds, what won is remembered, and what can't be undone asks for the full value.

#include <syncline/delta/choose.hpp>

#include <string>

#include "delta/pairs.hpp"
#include "support/catch.hpp"

namespace {

using namespace syncline;

struct world {
    no_codec none;
    delta_chooser<> chooser;
    explicit world(delta_chooser_options const& options = {}) : chooser(none, options) {}
};

/// Turns runs into a count: enough to see that a codec is used, and its prefix.
struct run_codec {
    bool saw_prefix = false;
    status compress(bytes_view in, bytes_view prefix, bytes& out) {
        saw_prefix = saw_prefix || !prefix.empty();
        for (std::size_t i = 0; i < in.size();) {
            std::size_t n = 1;
            while (i + n < in.size() && n < 255 && in[i + n] == in[i]) { ++n; }
            out.push_back(static_cast<std::byte>(n));
            out.push_back(in[i]);
            i += n;
        }
        return {};
    }
    status decompress(bytes_view in, bytes_view, bounded_sink& sink) {
        for (; in.size() >= 2; in = in.subspan(2)) {
            if (auto ok = sink.write(bytes(std::to_integer<std::size_t>(in[0]), in[1])); !ok) {
                sink.roll_back();
                return ok;
            }
        }
        return in.empty() ? status{} : status{errc::malformed};
    }
    std::string_view name() const { return "runs"; }
};

/// A way for sequences that says "the first byte, n times".
struct one_letter {
    bool offered(bytes_view, bytes_view t) const { return !t.empty() && equal(t.first(t.size() - 1), t.subspan(1)); }
    status encode(bytes_view, bytes_view t, bytes& out) const {
        out.push_back(t[0]);
        append_varint(out, t.size());
        return {};
    }
    status decode(bytes_view, bytes_view d, bounded_sink& sink) const {
        if (d.empty()) { return errc::malformed; }
        std::byte const b = d[0];
        d = d.subspan(1);
        auto const n = take_varint(d);
        if (!n || *n > sink.left()) { return errc::limit; }
        return sink.write(bytes(static_cast<std::size_t>(*n), b));
    }
};

}  // namespace

TEST_CASE("whatever is chosen comes back") {
    random_generator r(81);
    world w;
    for (unsigned i = 0; i < delta_tests::rounds(300); ++i) {
        auto const [base, target] = delta_tests::pair(r, below(r, 3) == 0 ? 30'000 : 1500);
        bytes out;
        auto const choice = w.chooser.choose(static_cast<std::uint32_t>(below(r, 5)), bytes_view(base), target, out);
        CHECK(choice.size == out.size());
        CHECK(out.size() <= target.size() + 1);
        bytes made;
        REQUIRE(w.chooser.apply(bytes_view(base), out, made, {}, sha256(target)));
        REQUIRE(made == target);
    }
}

TEST_CASE("each way wins where it should") {
    world w;
    bytes out;
    bytes record;
    cbor_writer c(record);
    c.map(1);
    c.text("name");
    c.text("somebody with a name");
    bytes target = record;
    target[10] = std::byte{'A'};
    CHECK(w.chooser.choose(1, bytes_view(record), target, out).kind == delta_kind::compact);
    CHECK(w.chooser.choose(1, std::nullopt, target, out).kind == delta_kind::full);
    bytes const huge = [] {
        bytes b(600'000);
        random_generator r(1);
        fill(r, b);
        return b;
    }();
    bytes edited = huge;
    edited[300'000] ^= std::byte{1};
    CHECK(w.chooser.choose(2, bytes_view(huge), edited, out).kind == delta_kind::vcdiff);
    no_codec none;
    delta_chooser<no_codec, one_letter> sequences(none);
    out.clear();
    bytes const letters(5000, std::byte{'z'});
    CHECK(sequences.choose(3, bytes_view(huge), letters, out).kind == delta_kind::sequence);
    bytes made;
    REQUIRE(sequences.apply(bytes_view(huge), out, made));
    CHECK(made == letters);
    delta_chooser<no_codec, no_sequence> without(none);
    CHECK(without.apply(bytes_view(huge), out, made).error() == errc::unsupported);
}

TEST_CASE("a long text goes by its lines") {
    world w{{.cpu_ns = 200'000'000}};
    std::string words;
    random_generator r(5);
    for (unsigned i = 0; i < 12'000; ++i) { words += "line " + std::to_string(below(r, 1'000'000)) + " of the text\n"; }
    bytes const base = to_bytes(words);
    for (std::size_t at = words.size() / 8; at + 100 < words.size(); at += words.size() / 8) {
        words.insert(words.find('\n', at) + 1, "put in: " + std::to_string(r()) + "\n");
    }
    bytes const target = to_bytes(words);
    bytes out;
    auto const choice = w.chooser.choose(1, bytes_view(base), target, out);
    CHECK(choice.kind == delta_kind::sequence);
    CHECK(out.size() < 250);
    bytes made;
    REQUIRE(w.chooser.apply(bytes_view(base), out, made, {}, sha256(target)));
    CHECK(made == target);
    // What is no text is not even tried so.
    bytes noise(50'000);
    fill(r, noise);
    out.clear();
    auto const other = w.chooser.choose(2, bytes_view(noise), target, out);
    CHECK((other.tried >> static_cast<unsigned>(delta_kind::sequence) & 1) == 0);
}

TEST_CASE("a codec comes after, with the base as prefix for a full value") {
    run_codec codec;
    delta_chooser<run_codec> chooser(codec);
    bytes const base(3000, std::byte{1});
    bytes out;
    auto const choice = chooser.choose(1, std::nullopt, base, out);
    CHECK(choice.compressed);
    CHECK(out.size() < 40);
    bytes made;
    REQUIRE(chooser.apply(std::nullopt, out, made, {}, sha256(base)));
    CHECK(made == base);
    made.clear();
    CHECK(chooser.apply(std::nullopt, out, made, {.result_max = 2999}).error() == errc::limit);
    CHECK(made.empty());
    for (std::size_t n = 0; n < out.size(); ++n) {
        CHECK(!chooser.apply(std::nullopt, bytes_view(out).first(n), made, {}, sha256(base)));
    }
}

TEST_CASE("the budget holds") {
    world none{{.cpu_ns = 0}};
    bytes const base(2000, std::byte{'a'});
    bytes target = base;
    target[7] = std::byte{'b'};
    bytes out;
    auto const nothing = none.chooser.choose(1, bytes_view(base), target, out);
    CHECK(nothing.kind == delta_kind::full);
    CHECK(nothing.tried == 1);
    CHECK(nothing.estimated_ns == 0);
    world little{{.cpu_ns = 4000}};
    auto const some = little.chooser.choose(1, bytes_view(base), target, out);
    CHECK(some.kind == delta_kind::compact);
    CHECK(some.estimated_ns <= 4000);
}

TEST_CASE("what lost is left out, tried again at times, and remembered across a restart") {
    world w{{.explore_every = 8}};
    bytes base;
    cbor_writer c(base);
    c.map(1);
    c.text("text");
    c.text(std::string(400, 'x'));
    bytes target = base;
    target[100] = std::byte{'y'};
    int fields = 0;
    for (int i = 0; i < 64; ++i) {
        bytes out;
        auto const choice = w.chooser.choose(9, bytes_view(base), target, out);
        CHECK(choice.kind == delta_kind::compact);
        fields += (choice.tried >> static_cast<unsigned>(delta_kind::field)) & 1;
    }
    CHECK(fields >= 8);
    CHECK(fields <= 16);
    auto const state = w.chooser.memory().to_array();
    world later;
    REQUIRE(later.chooser.memory().restore(state));
    CHECK(later.chooser.memory() == w.chooser.memory());
    CHECK(later.chooser.memory().restore(bytes_view(state).first(state.size() - 1)).error() == errc::corrupt);
    auto newer = state;
    newer[0] = std::byte{2};
    CHECK(later.chooser.memory().restore(newer).error() == errc::unsupported);
    // More fields than there are slots push each other out and do no harm.
    for (std::uint32_t f = 0; f < 1000; ++f) {
        bytes out;
        CHECK(w.chooser.choose(f, bytes_view(base), target, out).kind == delta_kind::compact);
    }
}

TEST_CASE("what can't be undone says what to do") {
    world w;
    bytes const base = to_bytes("some text that is long enough to be worth a delta of it");
    bytes target = base;
    target[3] = std::byte{'E'};
    bytes out;
    REQUIRE(w.chooser.choose(1, bytes_view(base), target, out).kind != delta_kind::full);
    bytes made = to_bytes("kept");
    CHECK(w.chooser.apply(std::nullopt, out, made).error() == errc::not_found);
    bytes other = base;
    other[20] = std::byte{'!'};
    CHECK(w.chooser.apply(bytes_view(other), out, made, {}, sha256(target)).error() == errc::corrupt);
    CHECK(as_text(made) == "kept");
    CHECK(w.chooser.apply(bytes_view(base), {}, made).error() == errc::malformed);
    CHECK(w.chooser.apply(bytes_view(base), bytes{std::byte{0x20}}, made).error() == errc::unsupported);
    CHECK(w.chooser.apply(bytes_view(base), bytes{std::byte{7}}, made).error() == errc::unsupported);
    CHECK(w.chooser.apply(bytes_view(base), bytes{std::byte{16}}, made).error() == errc::malformed);
    CHECK(w.chooser.apply(bytes_view(base), out, made, {.delta_max = 1}).error() == errc::limit);
}
