// SPDX-License-Identifier: BSL-1.0

/// Deltas of strangers, of every form: an error that changes nothing, or a result within the limits; and pairs that are
/// encoded come back.

#include <algorithm>
#include <cstdint>
#include <string>

#include <syncline/delta.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;

constexpr std::size_t most = 1 << 14;
constexpr delta_limits limits{.delta_max = 1 << 16, .result_max = most};
/// Memory that is used again, as what is made must not depend on it.
delta_scratch scratch;

constexpr std::string_view text =
    "{\"id\":\"7f3a\",\"status\":\"confirmed\",\"guests\":4,\"notes\":\"a table by the window\"}";

/// What a decoder leaves behind what was there, under its promise about errors.
template <class Decode>
bytes tried(Decode decode, bool& good) {
    bytes out = to_bytes("kept");
    good = decode(out).has_value();
    SYNCLINE_FUZZ_REQUIRE(starts_with(out, as_bytes("kept")));
    SYNCLINE_FUZZ_REQUIRE(good ? out.size() <= 4 + most : out.size() == 4);
    return out;
}

void vcdiff(bytes_view base, bytes_view delta, std::size_t cut) {
    bool good = false;
    bytes const whole = tried([&](bytes& out) { return vcdiff_decode(base, delta, out, limits); }, good);
    bytes pieces = to_bytes("kept");
    vcdiff_decoder decoder(base, pieces, limits);
    status ok = decoder.push(delta.first((std::min)(cut, delta.size())));
    if (ok) { ok = decoder.push(delta.subspan((std::min)(cut, delta.size()))); }
    if (ok) { ok = decoder.finish(); }
    SYNCLINE_FUZZ_REQUIRE(ok.has_value() == good && (!good || pieces == whole) && pieces.size() <= 4 + most);
}

void compact(bytes_view base, bytes_view delta) {
    bool good = false;
    (void)tried([&](bytes& out) { return compact_decode(base, delta, out, most); }, good);
}

void field(bytes_view base, bytes_view delta) {
    auto const value = value_view::check(base);
    if (!value) { return; }
    bool good = false;
    // The hashes would refuse nearly all: the patch itself, too.
    if (auto const patch = value_view::check(delta)) {
        bytes out;
        if (syncline::detail::field_patcher(out, most).apply(*value, *patch)) {
            SYNCLINE_FUZZ_REQUIRE(out.size() <= most + 16);
        }
    }
    bytes const made =
        tried([&](bytes& out) { return field_delta_apply(*value, delta, out, {.bytes_max = most}); }, good);
    if (good) { SYNCLINE_FUZZ_REQUIRE(validate_canonical(bytes_view(made).subspan(4)).has_value()); }
}

void envelope(bytes_view base, bytes_view in) {
    no_codec none;
    delta_chooser<> chooser(none);
    bool good = false;
    (void)tried([&](bytes& out) { return chooser.apply(base, in, out, limits); }, good);
    (void)tried([&](bytes& out) { return chooser.apply(std::nullopt, in, out, limits); }, good);
    (void)chooser.memory().restore(in);
    dictionary_set set;
    (void)set.add({"s", 1, to_bytes(base)});
    (void)set.agree("s", in);
}

void signature(bytes_view evil, bytes_view target) {
    auto const index = signature_index::read(evil, 1 << 24);
    if (!index) { return; }
    bytes delta;
    index->encode(target, delta, scratch);
}

/// A base, and a target made of parts of it.
void pair(fuzz::choices& in) {
    bytes const base = to_bytes(in.some(200));
    bytes target;
    while (!in.done() && target.size() < 4000) {
        std::size_t const at = in.below(base.size() + 1);
        std::size_t const n = in.below(base.size() - at + 1);
        append(target, bytes_view(base).subspan(at, n));
        append(target, in.some(8));
        if (in.one_in(8)) { target.insert(target.end(), in.below(100), std::byte{'r'}); }
    }
    for (unsigned level = 1; level <= 4; ++level) {
        bytes delta;
        bytes made;
        vcdiff_encode(base, target, delta, scratch,
                      {.level = static_cast<delta_level>(level), .checksum = true, .window = 500});
        SYNCLINE_FUZZ_REQUIRE(vcdiff_decode(base, delta, made) && made == target);
    }
    bytes delta;
    bytes made;
    compact_encode(base, target, delta, scratch);
    SYNCLINE_FUZZ_REQUIRE(compact_decode(base, delta, made) && made == target);
    bytes signature;
    signature_encode(base, {}, signature);
    auto const index = signature_index::read(signature);
    SYNCLINE_FUZZ_REQUIRE(index.has_value());
    delta.clear();
    made.clear();
    index->encode(target, delta, scratch);
    SYNCLINE_FUZZ_REQUIRE(vcdiff_decode(base, delta, made) && made == target);
}

int body(std::uint8_t const* data, std::size_t size) {
    fuzz::choices in(data, size);
    std::uint64_t const what = in.below(6);
    std::size_t const cut = in.byte();
    bytes_view const base = as_bytes(text.substr(0, in.below(text.size() + 1)));
    switch (what) {
        case 0: vcdiff(base, in.rest(), cut); break;
        case 1: compact(base, in.rest()); break;
        case 2: {
            bytes const value = fuzz::any_item(in);
            field(value, in.rest());
            break;
        }
        case 3: envelope(base, in.rest()); break;
        case 4: {
            bytes_view const rest = in.rest();
            signature(rest, bytes_view(rest).first(rest.size() / 2));
            break;
        }
        default: pair(in); break;
    }
    return 0;
}

void seeds(fuzz::seed_sink sink) {
    std::string target(text);
    target.replace(20, 9, "seated");
    auto const give = [&](char what, bytes const& delta) {
        bytes out{static_cast<std::byte>(what), std::byte{9}, static_cast<std::byte>(text.size())};
        append(out, delta);
        sink("seed" + std::to_string(static_cast<int>(what)) + '_' + std::to_string(delta.size()), out);
    };
    for (bool const checksum : {false, true}) {
        bytes delta;
        vcdiff_encode(as_bytes(text), as_bytes(target), delta, scratch, {.checksum = checksum, .window = 40});
        give(0, delta);
        bytes sealed{std::byte{3}};
        append(sealed, delta);
        give(3, sealed);
    }
    bytes delta;
    compact_encode(as_bytes(text), as_bytes(target), delta, scratch);
    give(1, delta);
    bytes signature;
    signature_encode(as_bytes(text), {}, signature);
    give(4, signature);
    give(5, to_bytes(std::string(1, '\x50') + target));
    // An empty map as base, a field set in it.
    sink("field", bytes{std::byte{2}, std::byte{0}, std::byte{0}, std::byte{9}, std::byte{0}, std::byte{0xA1},
                        std::byte{0x61}, std::byte{0x61}, std::byte{0x81}, std::byte{1}});
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 12, .length = 200, .seeds = seeds)
