// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Three-way merge of texts by lines, words or characters, and of arrays by items.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/delta/sequence.hpp>
#include <syncline/merge/grapheme.hpp>
#include <syncline/merge/rule.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// In which units a text is compared: what two people may change at once without being in each other's way.
enum class text_unit : std::uint8_t {
    lines,
    words,       ///< runs of letters and digits, runs of blanks, and every other character for itself
    characters,  ///< as people see them: `next_character`
};

namespace detail {

/// Where the word that begins at `at` ends; never inside of a character.
[[nodiscard]] inline std::size_t next_word(std::string_view text, std::size_t at) noexcept {
    enum class kind : std::uint8_t { word, blank, other };
    auto const kind_at = [&](std::size_t k) {
        auto const c = static_cast<unsigned char>(text[k]);
        if (c == ' ' || c == '\t') { return kind::blank; }
        bool const letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (letter) { return kind::word; }
        // Of scripts that put no blanks between words, each character stands for itself.
        std::uint32_t const p = code_point_at(text, k).value;
        bool const separate = c < 0x80 || (p >= 0x2000 && p < 0x2C00) || p >= 0x2E80;
        return separate ? kind::other : kind::word;
    };
    kind const first = kind_at(at);
    at = next_character(text, at);
    while (first != kind::other && at < text.size() && kind_at(at) == first) { at = next_character(text, at); }
    return at;
}

/// Whether what parts two conflicts is so little that a person looks at both at once: three lines, or no word.
/// Source: what git's merge joins.
[[nodiscard]] inline bool one_question(std::string_view lines) noexcept {
    if (std::count(lines.begin(), lines.end(), '\n') <= 3) { return true; }
    return std::none_of(lines.begin(), lines.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    });
}

/// Cuts each edit of whole lines down to the words or characters that differ.
[[nodiscard]] inline edit_script refine(std::string_view a, std::string_view b, edit_script const& lines,
                                        text_unit unit, sequence_options const& options) {
    edit_script out;
    std::vector<std::uint32_t> ids[2];
    std::vector<std::size_t> starts[2];
    for (sequence_edit const& e : lines) {
        token_numbers numbers;
        auto const read = [&](std::string_view text, std::size_t begin, std::size_t end, std::size_t which) {
            ids[which].clear();
            starts[which].clear();
            std::string_view const part = text.substr(0, end);
            for (std::size_t at = begin; at != end;) {
                std::size_t const next = unit == text_unit::words ? next_word(part, at) : next_character(part, at);
                starts[which].push_back(at);
                ids[which].push_back(numbers.number(as_bytes(part.substr(at, next - at))));
                at = next;
            }
            starts[which].push_back(end);
        };
        read(a, e.a_begin, e.a_end, 0);
        read(b, e.b_begin, e.b_end, 1);
        for (sequence_edit const& t : diff_tokens(ids[0], ids[1], options)) {
            add_edit(out, {starts[0][t.a_begin], starts[0][t.a_end], starts[1][t.b_begin], starts[1][t.b_end]});
        }
    }
    return out;
}

}  // namespace detail

/// What makes text `b` of text `a`, in bytes at the bounds of the unit: never inside of a character.
/// Precondition: both are valid UTF-8. Cost: as `diff_lines`, and where lines differ as `diff_tokens`.
[[nodiscard]] inline edit_script diff_text(std::string_view a, std::string_view b, text_unit unit,
                                           sequence_options const& options = {}) {
    edit_script lines = diff_lines(a, b, options);
    return unit == text_unit::lines ? lines : detail::refine(a, b, lines, unit, options);
}

/// What a merge by a rule may cost: texts and arrays come from strangers. Few tokens in any order, which an exact search
/// would take a thousand looks a token for, are given up after so many; then the sides meet, and a person is asked.
inline constexpr sequence_options rule_effort{.looks_max = 64};

/// A merged text, and what both sides changed to different things.
struct merged_text {
    std::string text{};  ///< where there is a conflict, the remote side's part
    /// Places in bytes of base, local and remote; empty: a clean merge. By lines, what three lines or fewer part, or none
    /// with a letter or digit, is one.
    std::vector<merge_region> conflicts{};
};

/// Merges two descendants of a text. What one side alone changed is that side's; what both changed the same way is
/// taken once; where their changes meet in different ways there is a conflict.
///
/// Errors: `errc::invalid` for what is not UTF-8, by words and characters (by lines any bytes will do).
/// Cost: as `diff_text`, twice; one allocation for the text.
[[nodiscard]] inline result<merged_text> merge_text(std::string_view base, std::string_view local,
                                                    std::string_view remote, text_unit unit = text_unit::lines,
                                                    sequence_options const& options = {}) {
    if (unit != text_unit::lines && !(valid_utf8(base) && valid_utf8(local) && valid_utf8(remote))) {
        return failure{errc::invalid, "text that is not UTF-8"};
    }
    merged_text out;
    // The commonest ways first, by comparing memory alone.
    if (local == remote || local == base) {
        out.text = remote;
        return out;
    }
    if (remote == base) {
        out.text = local;
        return out;
    }
    auto const regions = merge_scripts(diff_text(base, local, unit, options), diff_text(base, remote, unit, options),
                                       [&](merge_region const& r) {
                                           return local.substr(r.local_begin, r.local_end - r.local_begin) ==
                                                  remote.substr(r.remote_begin, r.remote_end - r.remote_begin);
                                       });
    out.text.reserve((std::max)({base.size(), local.size(), remote.size()}) + 64);
    std::size_t at = 0;
    bool asked = false;  // the last place that did not become the same on both sides is in conflict
    for (merge_region const& r : regions) {
        out.text += base.substr(at, r.base_begin - at);
        at = r.base_end;
        bool const asks = r.of == merge_region::side::conflict;
        auto const between = [&] {
            std::size_t const end = out.conflicts.back().local_end;
            return local.substr(end, r.local_begin - end);
        };
        if (asks && asked && unit == text_unit::lines && detail::one_question(between())) {
            merge_region& one = out.conflicts.back();
            one.base_end = r.base_end;
            one.local_end = r.local_end;
            one.remote_end = r.remote_end;
        } else if (asks) {
            out.conflicts.push_back(r);
        }
        if (r.of != merge_region::side::both) { asked = asks; }
        out.text += r.of == merge_region::side::local ? local.substr(r.local_begin, r.local_end - r.local_begin)
                                                      : remote.substr(r.remote_begin, r.remote_end - r.remote_begin);
    }
    out.text += base.substr(at);
    return out;
}

/// Merges two descendants of an array by runs of items, as texts by runs of lines. All three are encoded arrays; items
/// have no identity but their bytes.
/// Nothing: both sides changed the same run to different things. Errors: those of `cbor_reader`.
[[nodiscard]] inline result<std::optional<bytes>> merge_sequence(bytes_view base, bytes_view local, bytes_view remote,
                                                                 sequence_options const& options = {}) {
    struct side_items {
        std::vector<bytes_view> items;
        std::vector<std::uint32_t> ids;
    } b, l, r;
    token_numbers numbers;
    for (auto const& [from, to] : {std::pair{base, &b}, std::pair{local, &l}, std::pair{remote, &r}}) {
        cbor_reader in{from};
        std::size_t const n = in.array();
        for (std::size_t i = 0; i < n && !in.failed(); ++i) {
            to->items.push_back(in.skip(1));
            to->ids.push_back(numbers.number(to->items.back()));
        }
        if (auto ok = in.finish(); !ok) { return ok.error(); }
    }
    auto const regions = merge_scripts(
        diff_tokens(b.ids, l.ids, options), diff_tokens(b.ids, r.ids, options), [&](merge_region const& m) {
            return std::equal(l.ids.begin() + static_cast<std::ptrdiff_t>(m.local_begin),
                              l.ids.begin() + static_cast<std::ptrdiff_t>(m.local_end),
                              r.ids.begin() + static_cast<std::ptrdiff_t>(m.remote_begin),
                              r.ids.begin() + static_cast<std::ptrdiff_t>(m.remote_end));
        });
    std::vector<bytes_view> merged;
    std::size_t at = 0;
    auto const take = [&](std::vector<bytes_view> const& from, std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i != end; ++i) { merged.push_back(from[i]); }
    };
    for (merge_region const& m : regions) {
        if (m.of == merge_region::side::conflict) { return std::optional<bytes>{}; }
        take(b.items, at, m.base_begin);
        at = m.base_end;
        if (m.of == merge_region::side::local) {
            take(l.items, m.local_begin, m.local_end);
        } else {
            take(r.items, m.remote_begin, m.remote_end);
        }
    }
    take(b.items, at, b.items.size());
    bytes out;
    cbor_writer w{out};
    w.array(merged.size());
    for (bytes_view const item : merged) { w.raw(item); }
    return std::optional<bytes>{std::move(out)};
}

}  // namespace syncline::inline SYNCLINE_ABI
