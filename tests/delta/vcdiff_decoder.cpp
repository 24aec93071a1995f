// SPDX-License-Identifier: BSL-1.0

/// Every code of the table, every form of window; strangers' bytes give an error or a result, never more.

#include <syncline/delta/vcdiff_decoder.hpp>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/delta/vcdiff_encoder.hpp>

#include "delta/pairs.hpp"
#include "support/catch.hpp"

namespace {

using namespace syncline;
using syncline::detail::vcdiff_kind;
using syncline::detail::vcdiff_put_number;
using syncline::detail::vcdiff_table;

/// A window made code by code, with what it makes reckoned by hand.
struct hand_made {
    bytes source;
    bytes target{};
    bytes data{}, codes{}, addresses{};
    std::array<std::uint64_t, 4> recent{};
    std::array<std::uint64_t, 768> same{};
    unsigned next = 0;
    bool interleaved = false;

    bytes& data_out() { return interleaved ? codes : data; }
    bytes& addresses_out() { return interleaved ? codes : addresses; }

    void half(detail::vcdiff_half const& h, random_generator& r) {
        std::size_t n = h.size;
        if (n == 0) {
            n = below(r, 3) == 0 ? below(r, 4) : below(r, 300);
            vcdiff_put_number(codes, n);
        }
        if (h.kind == vcdiff_kind::add) {
            bytes b(n);
            fill(r, b);
            append(data_out(), b);
            append(target, b);
        } else if (h.kind == vcdiff_kind::run) {
            auto const b = static_cast<std::byte>(below(r, 256));
            data_out().push_back(b);
            target.insert(target.end(), n, b);
        } else {
            copy(n, h.mode, r);
        }
    }
    void copy(std::size_t n, unsigned mode, random_generator& r) {
        std::uint64_t const here = source.size() + target.size();
        std::uint64_t address = below(r, here);
        if (mode == 0) {
            vcdiff_put_number(addresses_out(), address);
        } else if (mode == 1) {
            vcdiff_put_number(addresses_out(), here - address);
        } else if (mode < 6) {
            if (address < recent[mode - 2]) { address = recent[mode - 2]; }
            vcdiff_put_number(addresses_out(), address - recent[mode - 2]);
        } else {
            std::size_t const low = below(r, 256);
            address = same[(mode - 6) * 256 + low];
            addresses_out().push_back(static_cast<std::byte>(low));
        }
        recent[next] = address;
        next = (next + 1) % 4;
        same[address % 768] = address;
        for (std::size_t i = 0; i < n; ++i) {
            std::uint64_t const from = address + i;
            target.push_back(from < source.size() ? source[from] : std::byte{target[from - source.size()]});
        }
    }
    void code(unsigned c, random_generator& r) {
        codes.push_back(static_cast<std::byte>(c));
        half(vcdiff_table[c].first, r);
        if (vcdiff_table[c].second.kind != vcdiff_kind::none) { half(vcdiff_table[c].second, r); }
    }
};

struct window_form {
    unsigned indicator = vcdiff_window_source;
    std::uint64_t segment = 0;
    std::uint64_t at = 0;
    bool sdch = false;
    bool checksum = false;
};
bytes header(bool sdch, bool application = false) {
    bytes out = to_bytes(bytes_view(vcdiff_magic));
    out.push_back(sdch ? vcdiff_version_sdch : std::byte{0});
    out.push_back(application ? std::byte{4} : std::byte{0});
    if (application) {
        out.push_back(std::byte{3});
        append(out, as_bytes("a//"));
    }
    return out;
}
void put_window(bytes& out, hand_made const& w, window_form const& form) {
    out.push_back(static_cast<std::byte>(form.indicator | (form.checksum ? 4U : 0U)));
    if ((form.indicator & 3) != 0) {
        vcdiff_put_number(out, form.segment);
        vcdiff_put_number(out, form.at);
    }
    bytes body;
    vcdiff_put_number(body, w.target.size());
    body.push_back(std::byte{0});
    vcdiff_put_number(body, w.data.size());
    vcdiff_put_number(body, w.codes.size());
    vcdiff_put_number(body, w.addresses.size());
    if (form.checksum) {
        std::uint32_t const sum = adler32(w.target);
        if (form.sdch) {
            vcdiff_put_number(body, sum);
        } else {
            for (unsigned s = 32; s != 0; s -= 8) { body.push_back(static_cast<std::byte>(sum >> (s - 8))); }
        }
    }
    append(body, w.data);
    append(body, w.codes);
    append(body, w.addresses);
    vcdiff_put_number(out, body.size());
    append(out, body);
}

result<bytes> decode(bytes_view base, bytes_view delta, delta_limits const& limits = {}) {
    bytes out = to_bytes("kept");
    auto const ok = vcdiff_decode(base, delta, out, limits);
    CHECK(starts_with(out, as_bytes("kept")));
    if (!ok) {
        CHECK(out.size() == 4);
        return ok.error();
    }
    return to_bytes(bytes_view(out).subspan(4));
}

bytes random_base(random_generator& r, std::size_t n) {
    bytes out(n);
    fill(r, out);
    return out;
}

}  // namespace

TEST_CASE("every code of the table, alone and in pairs, plain and interleaved, with each checksum") {
    random_generator r(31);
    for (unsigned round = 0; round < delta_tests::rounds(24); ++round) {
        bool const sdch = round % 2 != 0;
        hand_made w{random_base(r, 1 + below(r, 900))};
        w.interleaved = sdch && round % 4 == 1;
        std::array<unsigned, 256> order{};
        for (unsigned i = 0; i < 256; ++i) { order[i] = i; }
        for (unsigned i = 255; i > 0; --i) { std::swap(order[i], order[below(r, i + 1)]); }
        for (unsigned const c : order) { w.code(c, r); }
        bytes delta = header(sdch, round % 3 == 0);
        put_window(delta, w, {.segment = w.source.size(), .sdch = sdch, .checksum = round % 8 < 4});
        auto const made = decode(w.source, delta);
        REQUIRE(made);
        REQUIRE(*made == w.target);
        bytes wrong = w.target;
        if (round % 8 < 4) {
            // The checksum is looked at: another literal, another sum.
            w.target[0] ^= std::byte{1};
            bytes bad = header(sdch);
            put_window(bad, w, {.segment = w.source.size(), .sdch = sdch, .checksum = true});
            CHECK(!decode(w.source, bad));
        }
    }
}

TEST_CASE("windows copy from the target made before, while it is there") {
    random_generator r(32);
    bytes const base = random_base(r, 100);
    hand_made first{{}};
    first.code(10, r);
    first.code(18, r);
    hand_made second{to_bytes(bytes_view(first.target).subspan(5))};
    for (unsigned c = 20; c < 60; ++c) { second.code(c, r); }
    bytes delta = header(false);
    put_window(delta, first, {.indicator = 0});
    std::size_t const cut = delta.size();
    put_window(delta, second, {.indicator = vcdiff_window_target, .segment = second.source.size(), .at = 5});
    bytes whole = first.target;
    append(whole, second.target);
    auto const made = decode(base, delta);
    REQUIRE(made);
    CHECK(*made == whole);

    bytes out;
    vcdiff_decoder decoder(base, out);
    REQUIRE(decoder.push(bytes_view(delta).first(cut)));
    CHECK(out == first.target);
    out.clear();
    CHECK(decoder.push(bytes_view(delta).subspan(cut)).error() == errc::unsupported);
    CHECK(decoder.push({}).error() == errc::unsupported);
    CHECK(decoder.finish().error() == errc::unsupported);

    bytes both = header(false);
    put_window(both, first, {.indicator = 3});
    CHECK(decode(base, both).error() == errc::malformed);
}

TEST_CASE("a delta in pieces makes what it makes at once") {
    random_generator r(33);
    delta_scratch scratch;
    for (unsigned i = 0; i < delta_tests::rounds(40); ++i) {
        auto const [base, target] = delta_tests::pair(r, 9000);
        bytes delta;
        vcdiff_encode(base, target, delta, scratch, {.checksum = true, .window = 1 + below(r, 4000)});
        bytes out;
        vcdiff_decoder decoder(base, out);
        for (bytes_view rest = delta; !rest.empty();) {
            std::size_t const n = 1 + below(r, below(r, 2) == 0 ? 3 : rest.size());
            REQUIRE(decoder.push(rest.first((std::min)(n, rest.size()))));
            rest = rest.subspan((std::min)(n, rest.size()));
        }
        REQUIRE(decoder.finish());
        REQUIRE(out == target);
        CHECK(decoder.produced() == target.size());
    }
}

TEST_CASE("cut at any byte it is an error, or the windows that are whole") {
    random_generator r(34);
    auto const [base, target] = delta_tests::pair(r, 3000);
    bytes delta;
    delta_scratch scratch;
    vcdiff_encode(base, target, delta, scratch, {.level = delta_level::smaller, .checksum = true, .window = 700});
    for (std::size_t n = 0; n < delta.size(); ++n) {
        auto const made = decode(base, bytes_view(delta).first(n));
        if (made) { CHECK((made->size() < target.size() && starts_with(target, *made))); }
        if (!made) { CHECK(made.error() == errc::malformed); }
    }
}

TEST_CASE("a flipped bit is an error, or another result that the hash or checksum tells") {
    random_generator r(35);
    auto const [base, target] = delta_tests::pair(r, 1500);
    bytes delta;
    delta_scratch scratch;
    vcdiff_encode(base, target, delta, scratch, {.checksum = true, .window = 900});
    unsigned unnoticed = 0;
    for (std::size_t bit = 0; bit < 8 * delta.size(); ++bit) {
        bytes bad = delta;
        bad[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        auto const made = decode(base, bad, {.delta_max = 1 << 16, .result_max = 1 << 16});
        if (made && *made == target) { ++unnoticed; }
        // With checksums only a header that says what it doesn't need to is let through.
        if (made && *made != target) { CHECK(bit / 8 < 40); }
    }
    CHECK(unnoticed < 16);
}

TEST_CASE("limits and what isn't understood") {
    random_generator r(36);
    bytes const base = random_base(r, 50);
    bytes delta;
    delta_scratch scratch;
    vcdiff_encode(base, bytes(1000), delta, scratch);
    CHECK(decode(base, delta, {.result_max = 999}).error() == errc::limit);
    CHECK(decode(base, delta, {.delta_max = 10}).error() == errc::limit);
    CHECK(decode(base, delta, {.result_max = 1000}));
    CHECK(decode(bytes_view(base).first(49), delta).error() == errc::malformed);
    auto const head = [&](std::string_view hex_like) { return decode(base, as_bytes(hex_like)).error(); };
    CHECK(head("") == errc::malformed);
    CHECK(head("GIF89a") == errc::malformed);
    CHECK(head(std::string_view("\xD6\xC3\xC4\x01\x00", 5)) == errc::unsupported);
    CHECK(head(std::string_view("\xD6\xC3\xC4\x00\x01", 5)) == errc::unsupported);
    CHECK(head(std::string_view("\xD6\xC3\xC4\x00\x02", 5)) == errc::unsupported);
    CHECK(head(std::string_view("\xD6\xC3\xC4\x00\x08", 5)) == errc::malformed);
    // A window of 2^60 bytes: refused before anything is reserved.
    bytes bomb = header(false);
    bomb.push_back(std::byte{0});
    bytes body;
    vcdiff_put_number(body, std::uint64_t{1} << 60);
    for (int i = 0; i < 4; ++i) { body.push_back(std::byte{0}); }
    vcdiff_put_number(bomb, body.size());
    append(bomb, body);
    CHECK(decode(base, bomb).error() == errc::limit);
}

TEST_CASE("addresses that are not there yet, and sections that aren't used up") {
    random_generator r(37);
    bytes const base = random_base(r, 20);
    auto const copying = [&](unsigned mode, std::uint64_t number) {
        hand_made w{base};
        w.code(5, r);  // four literals: the copy is at 24
        w.codes.push_back(static_cast<std::byte>(20 + 16 * mode));
        vcdiff_put_number(w.addresses, number);
        w.target.resize(8);
        bytes delta = header(false);
        put_window(delta, w, {.segment = base.size()});
        return decode(base, delta);
    };
    CHECK(copying(0, 23));
    CHECK(copying(0, 24).error() == errc::malformed);
    CHECK(copying(0, std::uint64_t{1} << 62).error() == errc::malformed);
    CHECK(copying(1, 1));
    CHECK(copying(1, 24));
    CHECK(copying(1, 0).error() == errc::malformed);
    CHECK(copying(1, 25).error() == errc::malformed);
    CHECK(copying(2, 24).error() == errc::malformed);
    for (unsigned section = 0; section < 3; ++section) {
        hand_made w{base};
        for (unsigned c = 3; c < 40; ++c) { w.code(c, r); }
        (section == 0 ? w.data : section == 1 ? w.codes : w.addresses).push_back(std::byte{1});
        bytes delta = header(false);
        put_window(delta, w, {.segment = base.size()});
        CHECK(decode(base, delta).error() == errc::malformed);
    }
}

TEST_CASE("golden: what xdelta3 3.0.11 wrote, with its header and checksum") {
    // printf 'hello world, hello there' > base; printf 'hello there, hello world!' > target
    // xdelta3 -e -S none -s base target
    std::string const hex =
        "d6c3c400040d7461726765742f2f626173652f0506002019001303017881091674686572652c2068656c6c6f20776f726c642116011300";
    bytes delta;
    for (std::size_t i = 0; i < hex.size(); i += 2) {
        delta.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    auto const made = decode(as_bytes("hello world, hello there"), delta);
    REQUIRE(made);
    CHECK(as_text(*made) == "hello there, hello world!");
    CHECK(!decode(as_bytes("HELLO WORLD, HELLO THERE"), delta));
}
