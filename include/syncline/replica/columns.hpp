// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Columns: many values of one kind, packed beside each other for the wire. Lossless, without general compression.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/limits.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What a decoder of columns may write out: a few bytes can say a large value again and again, so what comes out is
/// bounded as what goes in is, by `decode_limits::bytes_max`.
using column_budget = work_budget;

namespace detail {

/// Appends a string of the major type 2 or 3.
inline void append_string(byte_tail& out, unsigned major, bytes_view content) {
    std::byte* const to = cbor_put_head(out.room(cbor_head_max + content.size()), major, content.size());
    out.end(to);
    out.append(content);
}

}  // namespace detail

/// Integers: a CBOR sequence in a byte string; a run of three or more of the same is an array of value and count.
class integer_column_writer {
public:
    void add(std::int64_t n) {
        if (run_ != 0 && n == last_) {
            ++run_;
            return;
        }
        flush();
        last_ = n;
        run_ = 1;
    }
    /// Adds the difference to the number before; the first is told whole.
    void add_difference(std::uint64_t n) {
        add(static_cast<std::int64_t>(n - before_));  // modulo 2^64, as the reader adds
        before_ = n;
    }
    void finish(cbor_writer& w) {
        flush();
        run_ = 0;
        w.byte_string(out_.view());
    }

private:
    void flush() {
        if (run_ == 0) { return; }
        std::byte* to = out_.room(3 * detail::cbor_head_max);
        unsigned const major = detail::cbor_integer_major(last_);
        std::uint64_t const magnitude = detail::cbor_integer_magnitude(last_);
        if (run_ >= 3) {
            to = detail::cbor_put_head(to, 4, 2);
            to = detail::cbor_put_head(to, major, magnitude);
            to = detail::cbor_put_head(to, 0, run_);
        } else {
            for (std::uint64_t i = 0; i != run_; ++i) { to = detail::cbor_put_head(to, major, magnitude); }
        }
        out_.end(to);
    }

    detail::byte_tail out_{};
    std::int64_t last_ = 0;
    std::uint64_t run_ = 0;
    std::uint64_t before_ = 0;
};

/// Reads what `integer_column_writer` wrote. Errors stick, as a `cbor_reader`'s do; `close` tells them.
class integer_column {
public:
    integer_column() = default;
    integer_column(bytes_view raw, decode_limits const& limits) : in_(raw, limits) {}

    [[nodiscard]] std::int64_t next() noexcept {
        if (left_ == 0) { begin_run(); }
        --left_;
        return value_;
    }
    [[nodiscard]] std::uint64_t next_sum() noexcept { return sum_ += static_cast<std::uint64_t>(next()); }
    /// Success when every number was read, and no more were there.
    [[nodiscard]] status close() noexcept {
        if (left_ != 0) { in_.fail({errc::malformed, "a column that is too long"}); }
        return in_.finish();
    }
    [[nodiscard]] bool failed() const noexcept { return in_.failed(); }
    /// What is wrong with it so far.
    [[nodiscard]] status state() const noexcept { return failed() ? status{in_.error()} : status{}; }

private:
    void begin_run() noexcept {
        left_ = 1;
        if (in_.peek() != cbor_type::array) {  // most numbers stand alone
            value_ = in_.integer();
            return;
        }
        if (in_.array() != 2) { in_.fail({errc::malformed, "a run of the wrong length"}); }
        value_ = in_.integer();
        std::uint64_t const n = in_.unsigned_integer();
        if (n < 3) { in_.fail({errc::not_deterministic, "a run that is none"}); }
        if (!in_.failed()) { left_ = n; }
    }

    cbor_reader in_{bytes_view{}};
    std::int64_t value_ = 0;
    std::uint64_t left_ = 0;
    std::uint64_t sum_ = 0;
};

namespace detail {
/// The first fault among columns, in the order in which they are named.
template <class... Columns>
[[nodiscard]] status state_of(Columns const&... columns) noexcept {
    status first;
    ((first = first ? columns.state() : first), ...);
    return first;
}
template <class... Columns>
[[nodiscard]] status close_all(Columns&... columns) noexcept {
    status first;
    ((first = first ? columns.close() : first), ...);
    return first;
}
}  // namespace detail

/// Timestamps: milliseconds and counter in a column each, as differences.
class stamp_column_writer {
public:
    void add(std::uint64_t raw) {
        millis_.add_difference(raw >> 16);
        counters_.add(static_cast<std::int64_t>(raw & 0xFFFF));
    }
    void finish(cbor_writer& w) {
        millis_.finish(w);
        counters_.finish(w);
    }

private:
    integer_column_writer millis_{};
    integer_column_writer counters_{};
};
class stamp_column {
public:
    stamp_column() = default;
    stamp_column(bytes_view millis, bytes_view counters, decode_limits const& limits)
        : millis_(millis, limits), counters_(counters, limits) {}
    [[nodiscard]] std::uint64_t next() noexcept {
        std::uint64_t const high = millis_.next_sum();
        return (high << 16) | (static_cast<std::uint64_t>(counters_.next()) & 0xFFFF);
    }
    [[nodiscard]] status state() const noexcept {
        auto ok = millis_.state();
        return ok ? counters_.state() : ok;
    }
    [[nodiscard]] status close() noexcept {
        auto ok = millis_.close();
        return ok ? counters_.close() : ok;
    }

private:
    integer_column millis_{};
    integer_column counters_{};
};

/// Ids: how many bytes each shares with the one before, then a byte string of the rest.
class id_column_writer {
public:
    void add(bytes_view id) {
        std::size_t const most = (std::min)(id.size(), last_.size());
        auto const shared = static_cast<std::size_t>(
            std::mismatch(id.begin(), id.begin() + static_cast<std::ptrdiff_t>(most), last_.begin()).first -
            id.begin());
        shared_.add(static_cast<std::int64_t>(shared));
        detail::append_string(out_, 2, id.subspan(shared));
        last_.assign(id.begin(), id.end());
    }
    void finish(cbor_writer& w) {
        shared_.finish(w);
        w.byte_string(out_.view());
    }

private:
    detail::byte_tail out_{};
    bytes last_{};
    integer_column_writer shared_{};
};
class id_column {
public:
    id_column() = default;
    id_column(bytes_view shared, bytes_view rest, decode_limits const& limits)
        : shared_(shared, limits), in_(rest, limits) {}
    /// Valid until the next call; at most `bytes_max` bytes, else it has failed and is empty.
    [[nodiscard]] bytes_view next(std::size_t bytes_max) {
        auto const shared = static_cast<std::uint64_t>(shared_.next());
        bytes_view const rest = in_.byte_string();
        if (shared_.failed() || in_.failed()) { return {}; }
        if (shared > last_.size() || rest.size() > bytes_max || shared + rest.size() > bytes_max) {
            in_.fail({errc::malformed, "an id out of range"});
            return {};
        }
        last_.resize(static_cast<std::size_t>(shared));
        append(last_, rest);
        return last_;
    }
    [[nodiscard]] status state() const noexcept {
        auto ok = shared_.state();
        return !ok ? ok : in_.failed() ? status{in_.error()} : status{};
    }
    [[nodiscard]] status close() noexcept {
        auto ok = shared_.close();
        return ok ? in_.finish() : ok;
    }

private:
    integer_column shared_{};
    cbor_reader in_{bytes_view{}};
    bytes last_{};
};

/// How a column of values is packed. Values travel: append, never renumber.
enum class packing : std::uint8_t {
    plain = 0,       ///< one item after the other
    dictionary = 1,  ///< the different items in the order in which they come first; for each value 0, which takes the
                     ///< next of them, or the number of one that was taken
    affixes = 2,     ///< of a text: bytes shared with the text before at its beginning, at its end, what is between
    integers = 3,    ///< each as the difference to the one before
};

/// A column of values, one for each row, as they lie beside those of other columns: every `stride`-th. Borrowed.
class column_view {
public:
    column_view(std::vector<bytes_view> const& values) noexcept : first_(values.data()), size_(values.size()) {}
    /// Column `at` of rows of `stride` values each. Precondition: `at` is less than `stride`, which divides their number.
    column_view(std::vector<bytes_view> const& values, std::size_t at, std::size_t stride) noexcept
        : first_(values.empty() ? nullptr : values.data() + at), size_(values.size() / stride), stride_(stride) {}
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bytes_view operator[](std::size_t i) const noexcept { return first_[i * stride_]; }

private:
    bytes_view const* first_;
    std::size_t size_;
    std::size_t stride_ = 1;
};

namespace detail {

inline constexpr std::size_t dictionary_max = 4'096;  ///< items that a dictionary's writer looks for
inline constexpr std::size_t column_sample = 512;     ///< values by which the packing is chosen
inline constexpr std::size_t kinds_looked_at = 16;    ///< the latest of them; another like an older one is no harm
inline constexpr std::size_t columns_max = 65'536;    ///< of all kinds of one page or batch together

/// Numbers different items from 1, up to `dictionary_max` of them.
class item_numbers {
public:
    explicit item_numbers(std::size_t expected) {
        std::size_t size = 16;
        while (size < 2 * (std::min)(expected, dictionary_max)) { size *= 2; }
        slots_.resize(size);
    }
    /// The number of an item that is known; else 0, and it is known from now on if there is room.
    [[nodiscard]] std::size_t find_or_add(bytes_view item) {
        ++count_;
        std::uint64_t const hash = xxh3_64(item);
        std::size_t const mask = slots_.size() - 1;
        std::size_t at = static_cast<std::size_t>(hash) & mask;
        while (slots_[at].number != 0) {
            if (slots_[at].hash == hash && equal(slots_[at].item, item)) {
                --count_;
                return slots_[at].number;
            }
            at = (at + 1) & mask;
        }
        if (count_ <= slots_.size() / 2) { slots_[at] = {hash, item, count_}; }
        return 0;
    }

private:
    struct slot {
        std::uint64_t hash = 0;
        bytes_view item{};
        std::size_t number = 0;
    };
    std::vector<slot> slots_{};
    std::size_t count_ = 0;  ///< items that had no number
};

[[nodiscard]] inline bool is_text(bytes_view item) noexcept {
    return !item.empty() && (std::to_integer<unsigned>(item[0]) >> 5) == 3;
}
[[nodiscard]] inline bool is_integer(bytes_view item) noexcept {
    return !item.empty() && (std::to_integer<unsigned>(item[0]) >> 5) <= 1;
}
/// The content of a canonical text item.
[[nodiscard]] inline bytes_view text_content(bytes_view item) noexcept {
    return item.subspan(cbor_read_any_head(item).size);
}
[[nodiscard]] inline bool continues_utf8(std::byte b) noexcept { return (b & std::byte{0xC0}) == std::byte{0x80}; }

/// What two texts share at both ends, cut where characters begin.
struct affix {
    std::size_t front = 0;
    std::size_t back = 0;
};
[[nodiscard]] inline affix shared_affix(bytes_view before, bytes_view text) noexcept {
    std::size_t const most = (std::min)(before.size(), text.size());
    affix a;
    while (a.front < most && before[a.front] == text[a.front]) { ++a.front; }
    if (a.front < text.size()) {
        while (a.front > 0 && continues_utf8(text[a.front])) { --a.front; }
    }
    if (a.front < before.size()) {
        while (a.front > 0 && continues_utf8(before[a.front])) { --a.front; }
    }
    std::size_t const rest = most - a.front;
    while (a.back < rest && before[before.size() - 1 - a.back] == text[text.size() - 1 - a.back]) { ++a.back; }
    while (a.back > 0 && continues_utf8(text[text.size() - a.back])) { --a.back; }
    return a;
}

/// The integer of a canonical item, or nothing: another type, or outside 64 signed bits.
[[nodiscard]] inline std::optional<std::int64_t> packed_integer(bytes_view item) noexcept {
    if (!is_integer(item)) { return std::nullopt; }
    cbor_any_head const h = cbor_read_any_head(item);
    if (h.number > static_cast<std::uint64_t>((std::numeric_limits<std::int64_t>::max)())) { return std::nullopt; }
    return static_cast<std::int64_t>(h.major == 0 ? h.number : ~h.number);
}

[[nodiscard]] inline packing choose_packing(column_view values) {
    std::size_t const n = (std::min)(values.size(), column_sample);
    item_numbers seen{n};
    std::size_t plain = 0;
    std::size_t dictionary = 4;
    std::size_t affixes = 3;
    std::size_t integers = 3;
    bool all_integers = true;
    bytes_view text_before;
    std::uint64_t number_before = 0;
    std::int64_t difference_before = 0;
    std::size_t index_before = 0;
    for (std::size_t i = 0; i < n; ++i) {
        bytes_view const v = values[i];
        plain += v.size();
        std::size_t const index = seen.find_or_add(v);
        dictionary += (index == index_before ? 0 : cbor_head_size(index)) + (index == 0 ? v.size() : 0);
        index_before = index;
        if (is_integer(v)) {
            auto const said = packed_integer(v);
            all_integers = all_integers && said.has_value();
            auto const number = static_cast<std::uint64_t>(said.value_or(0));
            auto const difference = static_cast<std::int64_t>(number - number_before);
            integers += difference == difference_before ? 0 : cbor_head_size(cbor_integer_magnitude(difference));
            number_before = number;
            difference_before = difference;
        } else {
            all_integers = false;
        }
        if (is_text(v)) {
            bytes_view const text = text_content(v);
            affix const a = shared_affix(text_before, text);
            std::size_t const middle = text.size() - a.front - a.back;
            affixes += cbor_head_size(a.front) + cbor_head_size(a.back) + cbor_head_size(middle) + middle;
            text_before = text;
        } else {
            affixes += 2 + v.size();
        }
    }
    packing best = packing::plain;
    std::size_t least = plain;
    auto const consider = [&](packing p, std::size_t size) {
        if (size < least) {
            best = p;
            least = size;
        }
    };
    consider(packing::dictionary, dictionary);
    consider(packing::affixes, affixes);
    if (all_integers) { consider(packing::integers, integers); }
    return best;
}

}  // namespace detail

/// Appends a column of values, each one canonical CBOR item: a byte string of them, or an array of the packing and
/// its byte strings. Which is smallest is judged by the first values.
/// Cost: O(bytes of the values); allocates the column.
inline void encode_values(cbor_writer& w, column_view values) {
    detail::byte_tail out;
    packing how = detail::choose_packing(values);
    if (how == packing::integers) {
        integer_column_writer numbers;
        bool good = true;
        for (std::size_t i = 0; i < values.size() && good; ++i) {
            auto const said = detail::packed_integer(values[i]);
            numbers.add_difference(static_cast<std::uint64_t>(said.value_or(0)));
            good = said.has_value();
        }
        if (good) {
            w.array(2);
            w.unsigned_integer(static_cast<std::uint64_t>(how));
            numbers.finish(w);
            return;
        }
        how = packing::plain;
    }
    if (how == packing::dictionary) {
        integer_column_writer numbers;
        detail::item_numbers seen{values.size()};
        for (std::size_t i = 0; i < values.size(); ++i) {
            std::size_t const n = seen.find_or_add(values[i]);
            numbers.add(static_cast<std::int64_t>(n));
            if (n == 0) { out.append(values[i]); }
        }
        w.array(3);
        w.unsigned_integer(static_cast<std::uint64_t>(how));
        w.byte_string(out.view());
        numbers.finish(w);
        return;
    }
    if (how == packing::affixes) {
        integer_column_writer fronts;
        integer_column_writer backs;
        bytes_view before;
        for (std::size_t i = 0; i < values.size(); ++i) {
            bytes_view const v = values[i];
            if (!detail::is_text(v)) {
                fronts.add(0);
                backs.add(0);
                out.append(v);
                continue;
            }
            bytes_view const text = detail::text_content(v);
            auto const a = detail::shared_affix(before, text);
            fronts.add(static_cast<std::int64_t>(a.front));
            backs.add(static_cast<std::int64_t>(a.back));
            detail::append_string(out, 3, text.subspan(a.front, text.size() - a.front - a.back));
            before = text;
        }
        w.array(4);
        w.unsigned_integer(static_cast<std::uint64_t>(how));
        w.byte_string(out.view());
        fronts.finish(w);
        backs.finish(w);
        return;
    }
    std::size_t size = 0;
    for (std::size_t i = 0; i < values.size(); ++i) { size += values[i].size(); }
    (void)out.room(size);
    for (std::size_t i = 0; i < values.size(); ++i) { out.append(values[i]); }
    w.byte_string(out.view());
}

/// Reads what `encode_values` wrote, of a stranger too, one canonical item after the other.
class value_column {
public:
    /// Takes the column's item from `in`, which has failed when it is none.
    value_column(cbor_reader& in, decode_limits const& limits) {
        if (in.peek() == cbor_type::byte_string) {
            items_ = cbor_reader{in.byte_string(), limits};
            return;
        }
        std::size_t const parts = in.array();
        std::uint64_t const how = in.unsigned_integer();
        if (how < 1 || how > 3) { in.fail({errc::unsupported, "unknown packing"}); }
        how_ = static_cast<packing>(how);
        std::size_t const wanted = how_ == packing::integers ? 2 : how_ == packing::dictionary ? 3 : 4;
        if (parts != wanted) { in.fail({errc::malformed, "packed column of the wrong length"}); }
        if (how_ != packing::integers) { items_ = cbor_reader{in.byte_string(), limits}; }
        numbers_ = integer_column{in.byte_string(), limits};
        if (how_ == packing::affixes) { backs_ = integer_column{in.byte_string(), limits}; }
    }

    /// The next value, canonical; valid until the next call. Empty when the column is at fault or `budget` used up:
    /// then `state` tells which.
    [[nodiscard]] bytes_view next(column_budget& budget) {
        bytes_view item;
        switch (how_) {
            case packing::plain: item = items_.skip(1); break;
            case packing::dictionary: item = next_of_dictionary(); break;
            case packing::affixes: item = next_affix(budget); break;
            case packing::integers: {
                auto const n = static_cast<std::int64_t>(numbers_.next_sum());
                std::byte const* const end = detail::cbor_put_head(number_.data(), detail::cbor_integer_major(n),
                                                                   detail::cbor_integer_magnitude(n));
                item = {number_.data(), static_cast<std::size_t>(end - number_.data())};
                if (numbers_.failed()) { item = {}; }
                break;
            }
        }
        if (!budget.charge(item.size() + 1)) {
            items_.fail({errc::limit, "a message that says too much"});
            return {};
        }
        return item;
    }
    [[nodiscard]] status state() const noexcept {
        if (items_.failed()) { return items_.error(); }
        auto ok = numbers_.state();
        return ok ? backs_.state() : ok;
    }
    [[nodiscard]] status close() noexcept {
        auto ok = items_.finish();
        if (ok) { ok = numbers_.close(); }
        return ok ? backs_.close() : ok;
    }

private:
    [[nodiscard]] bytes_view next_of_dictionary() {
        auto const n = static_cast<std::uint64_t>(numbers_.next());
        if (numbers_.failed()) { return {}; }
        if (n == 0) {
            bytes_view const item = items_.skip(1);
            if (!item.empty()) { taken_.push_back(item); }
            return item;
        }
        if (n > taken_.size()) {
            items_.fail({errc::malformed, "not in the dictionary"});
            return {};
        }
        return taken_[static_cast<std::size_t>(n - 1)];
    }
    [[nodiscard]] bytes_view next_affix(column_budget& budget) {
        auto const front = static_cast<std::uint64_t>(numbers_.next());
        auto const back = static_cast<std::uint64_t>(backs_.next());
        if (numbers_.failed() || backs_.failed()) { return {}; }
        if (items_.peek() != cbor_type::text) {
            if (front != 0 || back != 0) { items_.fail({errc::malformed, "an affix of what is no text"}); }
            return items_.skip(1);
        }
        bytes_view const middle = as_bytes(items_.text());
        if (text_.empty()) { text_.resize(detail::cbor_head_max); }
        std::size_t const held = text_.size() - detail::cbor_head_max;
        std::byte* text = text_.data() + detail::cbor_head_max;
        bool const fits = front <= held && back <= held && front + back <= held;
        if (!fits || (front < held && detail::continues_utf8(text[static_cast<std::size_t>(front)])) ||
            (back > 0 && detail::continues_utf8(text[held - static_cast<std::size_t>(back)]))) {
            items_.fail({errc::malformed, "an affix that is not there"});
            return {};
        }
        auto const f = static_cast<std::size_t>(front);
        auto const b = static_cast<std::size_t>(back);
        std::size_t const size = f + middle.size() + b;
        if (!budget.charge(size)) {  // for what is kept of it here
            items_.fail({errc::limit, "a message that says too much"});
            return {};
        }
        // In place: the beginning stays, the end moves to where it goes, and the head ends where the text begins.
        if (detail::cbor_head_max + size > text_.size()) {
            text_.resize(detail::cbor_head_max + size);
            text = text_.data() + detail::cbor_head_max;
        }
        if (b != 0) { std::memmove(text + f + middle.size(), text + held - b, b); }
        if (!middle.empty()) { std::memcpy(text + f, middle.data(), middle.size()); }
        text_.resize(detail::cbor_head_max + size);
        std::size_t const head = detail::cbor_head_size(size);
        (void)detail::cbor_put_head(text - head, 3, size);
        return {text - head, head + size};
    }

    packing how_ = packing::plain;
    cbor_reader items_{bytes_view{}};
    integer_column numbers_{};
    integer_column backs_{};
    std::vector<bytes_view> taken_{};
    bytes text_{};  ///< the last text, after room for its head; empty before the first
    std::array<std::byte, detail::cbor_head_max> number_{};
};

}  // namespace syncline::inline SYNCLINE_ABI
