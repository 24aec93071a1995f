// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Deltas of texts by their lines: an edit script, said in the form of compact deltas.

#include <algorithm>
#include <cstddef>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/delta/codec.hpp>
#include <syncline/delta/compact.hpp>
#include <syncline/delta/matcher.hpp>
#include <syncline/delta/sequence.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {

/// A sink for a part of a base: what it is told of the part, `to` is told of the whole.
class compact_part {
public:
    compact_part(compact_sink& to, std::size_t begin) noexcept : to_(to), begin_(begin) {}
    void add(std::size_t at, std::size_t n) noexcept { to_.add(at, n); }
    void copy(std::size_t from, std::size_t n) { to_.copy(begin_ + from, n); }
    [[nodiscard]] std::size_t copy_cost(std::size_t from) const noexcept { return to_.copy_cost(begin_ + from); }
    [[nodiscard]] static std::size_t self_cost(std::size_t, std::size_t) noexcept { return 0; }
    void self(std::size_t, std::size_t) noexcept {}

private:
    compact_sink& to_;
    std::size_t begin_;
};

}  // namespace detail

/// Whether the beginning of `text` looks like lines: no zero byte, and a line feed in each 256 bytes or so.
/// Cost: a look at 4 KiB.
[[nodiscard]] inline bool looks_like_lines(bytes_view text) noexcept {
    bytes_view const head = text.first((std::min)(text.size(), std::size_t{4096}));
    auto const feeds = static_cast<std::size_t>(std::count(head.begin(), head.end(), std::byte{'\n'}));
    return feeds != 0 && feeds * 256 >= head.size() && std::find(head.begin(), head.end(), std::byte{}) == head.end();
}

/// Appends to `out` the delta that makes `target` of `base` by the edit script of their lines; `compact_decode` reads it.
///
/// Lines are paired in their order, so that a text of any length with few edits is looked through at the cost of comparing
/// it; inside the lines that differ a match is looked for as in `compact_encode`. Lines that went elsewhere are written
/// again. It never fails, and any bytes are taken; what has no lines in common costs as much as `compact_encode`.
/// Cost: `diff_lines`, and that of a compact delta of what differs.
inline void line_delta_encode(bytes_view base, bytes_view target, bytes& out, delta_scratch& scratch,
                              sequence_options const& options = {.looks_max = 16}) {
    edit_script const script = diff_lines(as_text(base), as_text(target), options);
    scratch.first.clear();
    detail::compact_sink sink(base, scratch.first);
    std::size_t at = 0;  // in the base
    for (std::size_t i = 0; i != script.size();) {
        sequence_edit e = script[i];
        // A line or two of a few bytes between edits costs more to say than to write again.
        constexpr std::size_t worth_saying = 6;
        while (++i != script.size() && script[i].a_begin - e.a_end < worth_saying) {
            e.a_end = script[i].a_end;
            e.b_end = script[i].b_end;
        }
        if (e.a_begin != at) { sink.copy(at, e.a_begin - at); }
        at = e.a_end;
        bytes_view was = base.subspan(e.a_begin, e.a_end - e.a_begin);
        bytes_view is = target.subspan(e.b_begin, e.b_end - e.b_begin);
        std::size_t const prefix = common_prefix(was, is);
        std::size_t const suffix = common_suffix(was.subspan(prefix), is.subspan(prefix));
        if (prefix != 0) { sink.copy(e.a_begin, prefix); }
        was = was.subspan(prefix, was.size() - prefix - suffix);
        is = is.subspan(prefix, is.size() - prefix - suffix);
        if (is.size() >= 8 && was.size() >= 4) {
            detail::compact_part part(sink, e.a_begin + prefix);
            delta_matcher matcher(was, detail::compact_match_options(), scratch);
            // In pieces, as a matcher counts in 31 bits.
            for (constexpr std::size_t piece = std::size_t{1} << 30; !is.empty();
                 is = is.subspan((std::min)(piece, is.size()))) {
                matcher.run(is.first((std::min)(piece, is.size())), part);
            }
        } else if (!is.empty()) {
            sink.add(0, is.size());
        }
        if (suffix != 0) { sink.copy(e.a_end - suffix, suffix); }
    }
    if (at != base.size()) { sink.copy(at, base.size() - at); }
    detail::compact_write(base, target, sink, out, scratch);
}

/// The edits of lines as a way of `delta_chooser`. Threads: one call at a time.
class line_sequence {
public:
    [[nodiscard]] bool offered(bytes_view base, bytes_view target) const noexcept {
        return looks_like_lines(base) && looks_like_lines(target);
    }
    [[nodiscard]] status encode(bytes_view base, bytes_view target, bytes& out) {
        line_delta_encode(base, target, out, scratch_);
        return {};
    }
    [[nodiscard]] status decode(bytes_view base, bytes_view delta, bounded_sink& sink) const {
        return compact_decode(base, delta, sink.out(), sink.left());
    }

private:
    delta_scratch scratch_{};
};

}  // namespace syncline::inline SYNCLINE_ABI
