// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `value`: anything that CBOR of the supported types can say, kept as its one canonical encoding.

#include <algorithm>
#include <array>
#include <bit>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/utf8.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {

/// For what was let in already: the limits of the caller who did so are not known here.
[[nodiscard]] constexpr decode_limits cbor_depth_only() noexcept {
    constexpr auto most = (std::numeric_limits<std::size_t>::max)();
    return {most, most, most, cbor_depth_max, (std::numeric_limits<std::uint64_t>::max)()};
}

}  // namespace detail

/// Borrows one canonically encoded item and reads it in place; allocates nothing.
///
/// Supported are null, booleans, integers from -2^64 to 2^64 - 1, floats, text, byte strings, arrays, and maps
/// whose keys are any of these (records have text keys; integer keys and others are kept and found as well).
/// An integer and a float are never equal; among integers, and among floats, equal numbers have one encoding,
/// save that -0.0 differs from 0.0; there is one NaN, and it equals itself: equality is that of the bytes.
/// The order is that of the encoded bytes, the order of keys in a map: total, but not numeric.
class value_view {
public:
    /// Null.
    value_view() noexcept : encoded_(null_item) {}
    /// Precondition: `canonical` is one item that `validate_canonical` accepts; it outlives the view. What is read
    /// of bytes that aren't is unspecified, but stays inside them.
    explicit value_view(bytes_view canonical) noexcept : encoded_(canonical) {}
    /// Checks first. Errors as of `validate_canonical`.
    [[nodiscard]] static result<value_view> check(bytes_view in, decode_limits const& limits = {}) noexcept {
        if (auto const ok = validate_canonical(in, limits); !ok) { return ok.error(); }
        return value_view(in);
    }

    [[nodiscard]] bytes_view encoded() const noexcept { return encoded_; }
    [[nodiscard]] cbor_type type() const noexcept { return reader().peek(); }

    [[nodiscard]] bool is_null() const noexcept { return type() == cbor_type::null; }
    [[nodiscard]] bool is_text() const noexcept { return type() == cbor_type::text; }
    [[nodiscard]] bool is_array() const noexcept { return type() == cbor_type::array; }
    [[nodiscard]] bool is_map() const noexcept { return type() == cbor_type::map; }
    [[nodiscard]] bool is_floating() const noexcept { return type() == cbor_type::floating; }
    /// Of either sign.
    [[nodiscard]] bool is_integer() const noexcept {
        cbor_type const t = type();
        return t == cbor_type::unsigned_integer || t == cbor_type::negative_integer;
    }

    /// The getters answer nothing when the item is of another type, or a number outside the range; none converts.
    [[nodiscard]] std::optional<bool> as_bool() const noexcept { return get(&cbor_reader::boolean); }
    [[nodiscard]] std::optional<std::int64_t> as_int64() const noexcept { return get(&cbor_reader::integer); }
    [[nodiscard]] std::optional<std::uint64_t> as_uint64() const noexcept {
        return get(&cbor_reader::unsigned_integer);
    }
    [[nodiscard]] std::optional<double> as_double() const noexcept { return get(&cbor_reader::floating); }
    [[nodiscard]] std::optional<std::string_view> as_text() const noexcept { return get(&cbor_reader::text); }
    [[nodiscard]] std::optional<bytes_view> as_bytes() const noexcept { return get(&cbor_reader::byte_string); }

    /// Elements of an array, pairs of a map; 0 of anything else.
    [[nodiscard]] std::size_t size() const noexcept {
        cbor_reader r = reader();
        return r.peek() == cbor_type::map ? r.map() : r.array();
    }
    /// The element of an array at `index`; nothing when it isn't there. Cost: linear; to visit all use `value_cursor`.
    [[nodiscard]] std::optional<value_view> at(std::size_t index) const noexcept;
    /// The value of a key in a map; nothing when it isn't there or this is no map. Cost: linear.
    [[nodiscard]] std::optional<value_view> find(std::string_view key) const noexcept;
    [[nodiscard]] std::optional<value_view> find(value_view key) const noexcept;

    friend bool operator==(value_view a, value_view b) noexcept { return equal(a.encoded_, b.encoded_); }
    friend std::strong_ordering operator<=>(value_view a, value_view b) noexcept {
        return compare(a.encoded_, b.encoded_);
    }

private:
    friend class value_cursor;

    static constexpr std::array<std::byte, 1> null_item{std::byte{0xF6}};

    [[nodiscard]] cbor_reader reader() const noexcept { return cbor_reader(encoded_, detail::cbor_depth_only()); }
    template <class T>
    [[nodiscard]] std::optional<T> get(T (cbor_reader::*getter)()) const noexcept {
        cbor_reader r = reader();
        T const got = (r.*getter)();
        return r.failed() ? std::nullopt : std::optional<T>(got);
    }

    bytes_view encoded_;
};

/// Walks the elements of an array, or the pairs of a map in canonical order; of anything else there are none.
///
/// `while (cursor.next()) { … cursor.item() … }`. Cost: linear over the whole walk, no allocation.
class value_cursor {
public:
    explicit value_cursor(value_view container) noexcept
        : reader_(container.reader()), is_map_(container.is_map()), left_(container.size()) {
        if (is_map_) {
            static_cast<void>(reader_.map());
        } else {
            static_cast<void>(reader_.array());
        }
    }

    /// Moves to the first, then to each further one; false at the end.
    [[nodiscard]] bool next() noexcept {
        if (left_ == 0) { return false; }
        --left_;
        if (is_map_) { key_ = value_view(reader_.skip()); }
        item_ = value_view(reader_.skip());
        return !reader_.failed();
    }
    /// The key of a pair; null in an array.
    [[nodiscard]] value_view key() const noexcept { return key_; }
    [[nodiscard]] value_view item() const noexcept { return item_; }

private:
    cbor_reader reader_;
    bool is_map_;
    std::size_t left_;
    value_view key_{};
    value_view item_{};
};

inline std::optional<value_view> value_view::at(std::size_t index) const noexcept {
    if (!is_array()) { return std::nullopt; }
    value_cursor cursor(*this);
    while (cursor.next()) {
        if (index-- == 0) { return cursor.item(); }
    }
    return std::nullopt;
}

inline std::optional<value_view> value_view::find(value_view key) const noexcept {
    if (!is_map()) { return std::nullopt; }
    value_cursor cursor(*this);
    while (cursor.next()) {
        auto const order = cursor.key() <=> key;
        if (order == 0) { return cursor.item(); }
        if (order > 0) { break; }
    }
    return std::nullopt;
}

inline std::optional<value_view> value_view::find(std::string_view key) const noexcept {
    if (!is_map()) { return std::nullopt; }
    value_cursor cursor(*this);
    while (cursor.next()) {
        if (cursor.key().as_text() == key) { return cursor.item(); }
    }
    return std::nullopt;
}

/// What a decoder takes.
enum class cbor_form : std::uint8_t {
    deterministic,  ///< the one canonical form only (RFC 8949 §4.2.1), as all that is written here
    any,            ///< whatever is well-formed, brought to the canonical form: for what others wrote
};

struct value_entry;

/// Owns one item: a regular value that reads as a `value_view` does.
///
/// It is its canonical encoding, in one piece of memory: so copying, comparing, hashing and destroying take no
/// recursion, nothing has two representations, and encoding is a copy. Short values (integers, booleans, floats,
/// texts of some ten bytes and more) need no allocation. To change a part, build the value anew.
/// It nests at most `cbor_depth_max` deep.
class value {
public:
    /// Null.
    value() : encoded_(1, '\xF6') {}
    value(std::nullptr_t) : value() {}  // implicit, as all from what is plainly a value: `{"seat", 5}` is an entry
    template <class B>
        requires(std::same_as<B, bool>)
    value(B b) : encoded_(1, b ? '\xF5' : '\xF4') {}
    template <std::integral I>
        requires(!std::same_as<I, bool>)
    value(I n) {
        head_bytes head;
        std::byte* end = nullptr;
        if constexpr (std::signed_integral<I>) {
            end = detail::cbor_put_head(head.data(), detail::cbor_integer_major(n), detail::cbor_integer_magnitude(n));
        } else {
            end = detail::cbor_put_head(head.data(), 0, n);
        }
        assign(head, end);
    }
    value(double number) {
        head_bytes head;
        std::byte const* const end = detail::cbor_put_floating(head.data(), number);
        assign(head, end);
    }
    /// Precondition: valid UTF-8; else see `text()`.
    value(std::string_view text) {
        SYNCLINE_ASSERT(valid_utf8(text));
        assign_string(3, syncline::as_bytes(text));
    }
    value(char const* text) : value(std::string_view(text)) {}
    value(std::string const& text) : value(std::string_view(text)) {}
    /// A byte string.
    value(bytes_view b) { assign_string(2, b); }
    value(bytes const& b) : value(bytes_view(b)) {}
    /// A copy of what is borrowed.
    explicit value(value_view v) : encoded_(syncline::as_text(v.encoded())) {}

    /// Text that isn't known to be UTF-8; `errc::invalid` when it isn't.
    [[nodiscard]] static result<value> text(std::string_view s) {
        if (!valid_utf8(s)) { return failure{errc::invalid, "text that is not UTF-8"}; }
        return value(s);
    }
    /// `errc::limit` when it would nest deeper than `cbor_depth_max`.
    [[nodiscard]] static result<value> array(std::span<value const> items);
    [[nodiscard]] static result<value> array(std::initializer_list<value> items) {
        return array(std::span<value const>(items.begin(), items.size()));
    }
    /// In any order. A key that is there twice is `errc::invalid`; too deep is `errc::limit`.
    [[nodiscard]] static result<value> map(std::span<value_entry const> entries);
    [[nodiscard]] static result<value> map(std::initializer_list<value_entry> entries);

    [[nodiscard]] value_view view() const noexcept { return value_view(encoded()); }
    operator value_view() const noexcept { return view(); }
    /// The canonical encoding, borrowed.
    [[nodiscard]] bytes_view encoded() const noexcept { return syncline::as_bytes(encoded_); }

    /// As those of `value_view`; what they borrow lives as long as this value, unchanged.
    [[nodiscard]] cbor_type type() const noexcept { return view().type(); }
    [[nodiscard]] bool is_null() const noexcept { return view().is_null(); }
    [[nodiscard]] bool is_text() const noexcept { return view().is_text(); }
    [[nodiscard]] bool is_array() const noexcept { return view().is_array(); }
    [[nodiscard]] bool is_map() const noexcept { return view().is_map(); }
    [[nodiscard]] bool is_floating() const noexcept { return view().is_floating(); }
    [[nodiscard]] bool is_integer() const noexcept { return view().is_integer(); }
    [[nodiscard]] std::optional<bool> as_bool() const noexcept { return view().as_bool(); }
    [[nodiscard]] std::optional<std::int64_t> as_int64() const noexcept { return view().as_int64(); }
    [[nodiscard]] std::optional<std::uint64_t> as_uint64() const noexcept { return view().as_uint64(); }
    [[nodiscard]] std::optional<double> as_double() const noexcept { return view().as_double(); }
    [[nodiscard]] std::optional<std::string_view> as_text() const noexcept { return view().as_text(); }
    [[nodiscard]] std::optional<bytes_view> as_bytes() const noexcept { return view().as_bytes(); }
    [[nodiscard]] std::size_t size() const noexcept { return view().size(); }
    [[nodiscard]] std::optional<value_view> at(std::size_t index) const noexcept { return view().at(index); }
    [[nodiscard]] std::optional<value_view> find(std::string_view key) const noexcept { return view().find(key); }
    [[nodiscard]] std::optional<value_view> find(value_view key) const noexcept { return view().find(key); }

    friend bool operator==(value const& a, value const& b) noexcept { return a.encoded_ == b.encoded_; }
    friend std::strong_ordering operator<=>(value const& a, value const& b) noexcept { return a.view() <=> b.view(); }

private:
    friend result<value> decode(bytes_view, decode_limits const&, cbor_form);

    using head_bytes = std::array<std::byte, detail::cbor_head_max>;

    void assign(head_bytes const& head, std::byte const* end) {
        encoded_ = syncline::as_text({head.data(), static_cast<std::size_t>(end - head.data())});
    }
    void assign_string(unsigned major, bytes_view b) {
        head_bytes head;
        assign(head, detail::cbor_put_head(head.data(), major, b.size()));
        encoded_ += syncline::as_text(b);
    }
    [[nodiscard]] status check_depth() const noexcept {
        return validate_canonical(encoded(), detail::cbor_depth_only());
    }

    std::string encoded_;  // not `bytes`: a std::string keeps short ones in itself
};

/// A pair of a map to be built.
struct value_entry {
    value key{};
    value item{};
    friend bool operator==(value_entry const&, value_entry const&) = default;
};

inline result<value> value::array(std::span<value const> items) {
    value whole;
    std::array<std::byte, detail::cbor_head_max> head;
    whole.assign(head, detail::cbor_put_head(head.data(), 4, items.size()));
    for (value const& item : items) { whole.encoded_ += item.encoded_; }
    if (auto const ok = whole.check_depth(); !ok) { return ok.error(); }
    return whole;
}

inline result<value> value::map(std::span<value_entry const> entries) {
    std::vector<value_entry const*> sorted;
    sorted.reserve(entries.size());
    for (value_entry const& e : entries) { sorted.push_back(&e); }
    std::sort(sorted.begin(), sorted.end(),
              [](value_entry const* a, value_entry const* b) { return (a->key <=> b->key) < 0; });
    value whole;
    std::array<std::byte, detail::cbor_head_max> head;
    whole.assign(head, detail::cbor_put_head(head.data(), 5, entries.size()));
    value_entry const* before = nullptr;
    for (value_entry const* e : sorted) {
        if (before != nullptr && before->key == e->key) { return failure{errc::invalid, "duplicate key"}; }
        whole.encoded_ += e->key.encoded_;
        whole.encoded_ += e->item.encoded_;
        before = e;
    }
    if (auto const ok = whole.check_depth(); !ok) { return ok.error(); }
    return whole;
}

inline result<value> value::map(std::initializer_list<value_entry> entries) {
    return map(std::span<value_entry const>(entries.begin(), entries.size()));
}

namespace detail {

/// Brings any well-formed CBOR to its canonical form, in one pass with a stack of fixed depth.
class value_transcoder {
public:
    /// Precondition: `well_formed(in, limits)`.
    value_transcoder(bytes_view in, decode_limits const& limits) noexcept : in_(in), work_(limits.work_max) {}

    [[nodiscard]] status run(std::string& out) {
        for (;;) {
            auto const head = cbor_read_any_head(in_);
            SYNCLINE_ASSERT(head.size != 0);
            in_ = in_.subspan(head.size);
            bool const is_break = head.major == 7 && head.info == 31;
            if (is_break) {
                if (auto const ok = close(out); !ok) { return ok; }
            } else if (head.major == 4 || head.major == 5) {
                open(out, head);
                if (head.info == 31 || head.number != 0) { continue; }
                if (auto const ok = close(out); !ok) { return ok; }
            } else if (auto const ok = scalar(out, head); !ok) {
                return ok;
            }
            // An item ended; so may those that it was the last child of.
            while (depth_ != 0) {
                frame& f = stack_[depth_ - 1];
                ++f.count;
                if (f.is_map && f.count % 2 != 0) { entries_.back().item = out.size(); }
                if (f.indefinite || f.count != f.expected) {
                    begin_child(out);
                    break;
                }
                if (auto const ok = close(out); !ok) { return ok; }
            }
            if (depth_ == 0) { return {}; }
        }
    }

private:
    struct entry {
        std::size_t key;  // offsets in the output
        std::size_t item;
    };
    struct frame {
        std::uint64_t expected;  // children: keys and values count each
        std::uint64_t count;     // children that ended
        std::size_t content;     // where the first child begins in the output
        std::size_t entries;     // of a map: its first one in entries_
        bool indefinite;
        bool is_map;
    };

    void begin_child(std::string const& out) {
        frame const& f = stack_[depth_ - 1];
        if (f.is_map && f.count % 2 == 0) { entries_.push_back({out.size(), 0}); }
    }
    void open(std::string& out, cbor_any_head const& head) {
        bool const is_map = head.major == 5;
        bool const indefinite = head.info == 31;
        if (!indefinite) { put_head(out, out.size(), head.major, head.number); }
        stack_[depth_++] = {is_map ? 2 * head.number : head.number, 0, out.size(), entries_.size(), indefinite, is_map};
        if (indefinite || head.number != 0) { begin_child(out); }
    }
    /// Ends the innermost array or map: sorts its pairs, and puts the head that it lacks.
    [[nodiscard]] status close(std::string& out) {
        frame const f = stack_[--depth_];
        if (f.is_map) {
            if (f.indefinite) { entries_.pop_back(); }  // begun for the pair that the break came instead of
            if (auto const ok = sort_pairs(out, f); !ok) { return ok; }
            entries_.resize(f.entries);
        }
        if (f.indefinite) {
            if (auto const ok = charge(out.size() - f.content); !ok) { return ok; }
            put_head(out, f.content, f.is_map ? 5 : 4, f.is_map ? f.count / 2 : f.count);
        }
        return {};
    }
    [[nodiscard]] status sort_pairs(std::string& out, frame const& f) {
        entry* const first = entries_.data() + f.entries;
        entry* const last = entries_.data() + entries_.size();
        if (first == last) { return {}; }
        auto const key = [&](entry const& e) { return as_bytes(out).subspan(e.key, e.item - e.key); };
        auto const before = [&](entry const& a, entry const& b) { return compare(key(a), key(b)) < 0; };
        bool sorted = true;
        for (entry* e = first + 1; e < last; ++e) {
            auto const order = compare(key(e[-1]), key(e[0]));
            if (order == 0) { return failure{errc::malformed, "duplicate key"}; }
            if (order > 0) { sorted = false; }
        }
        if (sorted) { return {}; }
        if (auto const ok = charge(out.size() - f.content); !ok) { return ok; }
        // The end of each pair is where the next one, in the old order, begins: kept before the order is lost.
        std::vector<pair_ends> pairs;
        pairs.reserve(static_cast<std::size_t>(last - first));
        for (entry* e = first; e < last; ++e) { pairs.push_back({*e, e + 1 == last ? out.size() : e[1].key}); }
        std::sort(pairs.begin(), pairs.end(),
                  [&](pair_ends const& a, pair_ends const& b) { return before(a.begin, b.begin); });
        std::string content;
        content.reserve(out.size() - f.content);
        for (std::size_t i = 0; i < pairs.size(); ++i) {
            if (i != 0 && !before(pairs[i - 1].begin, pairs[i].begin)) {
                return failure{errc::malformed, "duplicate key"};
            }
            content.append(out, pairs[i].begin.key, pairs[i].end - pairs[i].begin.key);
        }
        out.replace(f.content, content.size(), content);
        return {};
    }
    struct pair_ends {
        entry begin;
        std::size_t end;
    };

    [[nodiscard]] status scalar(std::string& out, cbor_any_head const& head) {
        switch (head.major) {
            case 0:
            case 1: put_head(out, out.size(), head.major, head.number); return {};
            case 2:
            case 3: return string(out, head);
            case 7:
                if (head.info >= 20 && head.info <= 22) {
                    out.push_back(static_cast<char>(0xE0U | head.info));
                    return {};
                }
                if (head.info >= 25 && head.info <= 27) {
                    std::array<std::byte, cbor_head_max> raw;
                    std::byte const* const end = cbor_put_floating(raw.data(), number_of(head));
                    out += as_text({raw.data(), static_cast<std::size_t>(end - raw.data())});
                    return {};
                }
                return failure{errc::unsupported, "undefined or a simple value"};
            default: return failure{errc::unsupported, "tag"};
        }
    }
    [[nodiscard]] static double number_of(cbor_any_head const& head) noexcept {
        if (head.info == 25) { return cbor_half_to_double(static_cast<std::uint16_t>(head.number)); }
        if (head.info == 26) {
            return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(head.number)));
        }
        return std::bit_cast<double>(head.number);
    }
    /// RFC 8949 §3.2.3: each piece of a text is valid by itself.
    [[nodiscard]] status string(std::string& out, cbor_any_head const& head) {
        std::size_t const begin = out.size();
        cbor_any_head piece = head;
        if (head.info == 31) { next_piece(piece); }
        while (piece.major != 7) {
            bytes_view const b = in_.first(static_cast<std::size_t>(piece.number));
            if (head.major == 3 && !valid_utf8(as_text(b))) {
                return failure{errc::malformed, "text that is not UTF-8"};
            }
            if (head.info != 31) { put_head(out, begin, head.major, b.size()); }
            out += as_text(b);
            in_ = in_.subspan(b.size());
            if (head.info != 31) { return {}; }
            next_piece(piece);
        }
        if (auto const ok = charge(out.size() - begin); !ok) { return ok; }
        put_head(out, begin, head.major, out.size() - begin);
        return {};
    }
    void next_piece(cbor_any_head& piece) noexcept {
        piece = cbor_read_any_head(in_);
        SYNCLINE_ASSERT(piece.size != 0);
        in_ = in_.subspan(piece.size);
    }

    static void put_head(std::string& out, std::size_t at, unsigned major, std::uint64_t n) {
        std::array<std::byte, cbor_head_max> raw;
        std::byte const* const end = cbor_put_head(raw.data(), major, n);
        out.insert(at, reinterpret_cast<char const*>(raw.data()), static_cast<std::size_t>(end - raw.data()));
    }
    /// For what is moved a second time: the reading itself was charged when the form was checked.
    [[nodiscard]] status charge(std::uint64_t units) noexcept {
        if (work_.charge(units)) { return {}; }
        return failure{errc::limit, "more than work_max"};
    }

    bytes_view in_;
    work_budget work_;
    std::array<frame, cbor_depth_max> stack_;  // not initialised: only what is pushed is read
    std::size_t depth_ = 0;
    std::vector<entry> entries_{};  // of the maps that are open, the innermost last
};

}  // namespace detail

/// The value of one encoded item; the bytes are not trusted.
///
/// `cbor_form::deterministic` takes canonical bytes only, errors as of `validate_canonical`. `cbor_form::any` takes
/// any well-formed item of the supported types: long heads, indefinite lengths, floats of any width and any NaN,
/// keys in any order. What is not well-formed is `errc::malformed`, so are text that isn't UTF-8 and a duplicate key
/// (also where two keys differ in their bytes and not in their meaning); tags (bignums among them), `undefined` and
/// other simple values are `errc::unsupported`; beyond the limits is `errc::limit`.
/// Cost: linear, and sorting where keys are out of order; memory at most ten times the input; no recursion.
[[nodiscard]] inline result<value> decode(bytes_view in, decode_limits const& limits = {},
                                          cbor_form form = cbor_form::deterministic) {
    if (form == cbor_form::deterministic) {
        if (auto const ok = validate_canonical(in, limits); !ok) { return ok.error(); }
        return value(value_view(in));
    }
    if (auto const ok = well_formed(in, limits); !ok) { return ok.error(); }
    value v;
    v.encoded_.clear();
    if (auto const ok = detail::value_transcoder(in, limits).run(v.encoded_); !ok) { return ok.error(); }
    return v;
}

/// The canonical encoding: equal values, equal bytes. To borrow it use `value::encoded`.
[[nodiscard]] inline bytes encode(value_view v) { return to_bytes(v.encoded()); }

}  // namespace syncline::inline SYNCLINE_ABI
