// SPDX-License-Identifier: BSL-1.0

/// Texts and what edits make of them, line by line: the script makes the one of the other, the delta comes back, from
/// memory of any use, within its limit and not a byte below; and what is done to it on the way gives an error that
/// changes nothing, or a result within the limit.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <syncline/delta/lines.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;

constexpr std::size_t most = 1 << 14;
/// Memory that is used again, as what is made must not depend on it.
delta_scratch scratch;

/// Lines that occur often, lines that are alike, and such as no text has.
bytes line(fuzz::choices& in) {
    constexpr std::string_view often[] = {"\n", "    }\n", "one line\n", "one line more\n", "no line feed", "\r\n"};
    switch (in.below(4)) {
        case 0: return to_bytes(in.some(40));
        case 1: return to_bytes("    value = call(" + std::to_string(in.byte()) + ");\n");
        default: return to_bytes(in.of(often));
    }
}
bytes text(fuzz::choices& in) {
    bytes out;
    for (std::uint64_t n = in.below(24); n != 0; --n) { append(out, line(in)); }
    return out;
}
bytes edited(fuzz::choices& in, bytes_view base) {
    bytes out = to_bytes(base);
    for (std::uint64_t n = in.below(6); n != 0; --n) {
        std::size_t const at = static_cast<std::size_t>(in.below(out.size() + 1));
        std::size_t const gone = (std::min)(static_cast<std::size_t>(in.below(60)), out.size() - at);
        bytes next = to_bytes(bytes_view(out).first(at));
        for (std::uint64_t more = in.below(3); more != 0; --more) { append(next, line(in)); }
        append(next, bytes_view(out).subspan(at + gone));
        out = std::move(next);
    }
    return out;
}

/// What a script makes, taken by its word.
void script(bytes_view base, bytes_view target, sequence_options const& options) {
    bytes made;
    std::size_t a = 0;
    std::size_t b = 0;
    for (sequence_edit const& e : diff_lines(as_text(base), as_text(target), options)) {
        SYNCLINE_FUZZ_REQUIRE(e.a_begin >= a && e.a_end >= e.a_begin && e.a_end <= base.size());
        SYNCLINE_FUZZ_REQUIRE(e.b_begin >= b && e.b_end >= e.b_begin && e.b_end <= target.size());
        SYNCLINE_FUZZ_REQUIRE(e.a_begin - a == e.b_begin - b && (e.a_begin != e.a_end || e.b_begin != e.b_end));
        SYNCLINE_FUZZ_REQUIRE(a == 0 || e.a_begin != a);  // one that touches the one before is the same edit
        append(made, base.subspan(a, e.a_begin - a));
        append(made, target.subspan(e.b_begin, e.b_end - e.b_begin));
        a = e.a_end;
        b = e.b_end;
    }
    append(made, base.subspan(a));
    SYNCLINE_FUZZ_REQUIRE(equal(made, target));
}

/// What the way of the chooser makes of a delta, whoever wrote it; empty: it refuses it.
bytes decoded(bytes_view base, bytes_view delta, std::size_t limit, bool& good) {
    line_sequence const way;
    bytes out = to_bytes("kept");
    bounded_sink sink(out, limit);
    good = way.decode(base, delta, sink).has_value();
    SYNCLINE_FUZZ_REQUIRE(starts_with(out, as_bytes("kept")));
    SYNCLINE_FUZZ_REQUIRE(good ? out.size() <= 4 + limit : out.size() == 4);
    out.erase(out.begin(), out.begin() + 4);
    return out;
}

void pair(bytes_view base, bytes_view target, fuzz::choices& in) {
    constexpr std::size_t works[] = {1024, 1, 3};
    sequence_options const options{.edits_max = in.of(works)};
    script(base, target, options);
    bytes delta;
    line_delta_encode(base, target, delta, scratch, options);
    bytes again;
    delta_scratch fresh;
    line_delta_encode(base, target, again, fresh, options);
    SYNCLINE_FUZZ_REQUIRE(delta == again && delta.size() <= target.size() + 8);
    bool good = false;
    SYNCLINE_FUZZ_REQUIRE(equal(decoded(base, delta, target.size(), good), target) && good);
    if (!target.empty()) {
        (void)decoded(base, delta, target.size() - 1, good);
        SYNCLINE_FUZZ_REQUIRE(!good);
    }
    // On the way something is changed, and the base is another.
    for (std::uint64_t n = in.below(4); n != 0 && !delta.empty(); --n) {
        std::size_t const at = static_cast<std::size_t>(in.below(delta.size()));
        if (in.one_in(4)) {
            delta.resize(at);
        } else {
            delta[at] ^= static_cast<std::byte>(in.byte());
        }
    }
    (void)decoded(base, delta, most, good);
    (void)decoded(base.first(base.size() / 2), delta, most, good);
}

int body(std::uint8_t const* data, std::size_t size) {
    fuzz::choices in(data, size);
    bool good = false;
    switch (in.below(4)) {
        case 0: {
            bytes const base = text(in);
            (void)decoded(base, in.rest(), most, good);
            break;
        }
        case 1: {
            bytes const base = text(in);
            pair(base, text(in), in);
            break;
        }
        default: {
            bytes const base = text(in);
            pair(base, edited(in, base), in);
            break;
        }
    }
    return 0;
}

void seeds(fuzz::seed_sink sink) {
    auto const give = [&](std::string_view name, std::string_view input) { sink(name, as_bytes(input)); };
    using namespace std::string_view_literals;
    give("hostile", "\0\2\1\7\2\1\x09\1\xA1\2\x10"sv);
    give("unrelated", "\1\4\1\1\1\2\1\3\1\4\5\1\1\1\5\1\6\3\1\1\2\0"sv);
    give("edited", "\2\6\1\1\1\2\2\2\1\3\3\3\2\3\2\x20\x10\1\1\1\x09\4\x08\2\2\4\3\1\0\1\5\x40"sv);
    give("damaged", "\2\3\1\1\1\2\1\3\1\x20\0\1\1\1\x08\2\3\2\5\x80\3\1\1"sv);
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 30, .length = 160, .seeds = seeds)
