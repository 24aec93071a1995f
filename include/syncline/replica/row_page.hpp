// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A page of rows on the wire, in columns: names once, keys and marks as differences, values packed field by field.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/columns.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {

enum class row_form : std::uint8_t { live = 0, gone = 1, gone_with_fields = 2 };

/// The last mark of a field among the rows of one kind: the next one is told as the difference to it.
struct mark_before_it {
    std::uint64_t back = 0;  ///< how far before its row's version
    std::uint64_t millis = 0;
    std::uint64_t author = 0;
};

/// Rows of one collection whose fields have the same names.
struct row_kind {
    std::string_view collection;
    row_form form = row_form::live;
    std::vector<std::string_view> names{};
    std::vector<bytes_view> encoded_names{};
    std::vector<bytes_view> values{};     ///< row by row
    std::vector<mark_before_it> marks{};  ///< of each name, then of all others together
};

}  // namespace detail

/// Collects rows and writes them as one page. It borrows them: they outlive `finish`.
///
/// | item of the page | what                                                                                       |
/// | 1  | how many rows                                                                                            |
/// | 2  | kinds: arrays of collection, form (0 live, 1 a tombstone, 2 one with fields), then the fields' names      |
/// | 3  | each row's kind                                                                                          |
/// | 4, 5 | ids: bytes shared with the one before; the rest of each                                                |
/// | 6  | versions, as differences                                                                                 |
/// | 7  | lives                                                                                                    |
/// | 8-11 | floors: how far before the version; stamps in two columns; authors                                     |
/// | 12 | how many exceptions each row has                                                                         |
/// | 13 | exceptions: field (its number in the kind, or a text) or [field, path]; how far before the version; the   |
/// |    | stamp's difference to the floor's; author. In columns where the reader understands these: below          |
/// | 14 | the values: a column for each field of each kind                                                         |
/// Exceptions in columns are an array of six byte strings. 1: each one's field, its number in the kind, or the number of
/// the kind's fields for any other, as the difference to that at the same place in the row before, or to 0; 2: those
/// others, each as above up to field and path; 3 to 6: how far before the version, milliseconds and counter of the stamp,
/// author, all but the counter as the difference to the exception before of the same kind and number, or to 0.
/// All that counts rows is an integer column; 4 to 13 are in the order of the rows.
class row_page_writer {
public:
    /// `marks_in_columns`: who reads it understands exceptions in columns.
    explicit row_page_writer(bool marks_in_columns = false) noexcept : marks_in_columns_(marks_in_columns) {}

    /// Takes a row as `encode_row` wrote it from `in`. `errc::corrupt` for any other; the page is spoilt then.
    [[nodiscard]] status add(std::string_view collection, bytes_view id, cbor_reader& in) {
        if (in.array() != 7) { return failure{errc::corrupt, "a row of another length"}; }
        position const version = in.unsigned_integer();
        std::uint64_t const life = in.unsigned_integer();
        std::uint64_t const back = in.unsigned_integer();
        std::uint64_t const stamp = in.unsigned_integer();
        std::uint64_t const author = in.unsigned_integer();
        std::size_t const marked = in.array();
        unnamed_.clear();
        for (std::size_t i = 0; i < marked / 4 && !in.failed(); ++i) {
            exception_view e;
            bool const inside = in.peek() == cbor_type::array;
            if (inside) { (void)in.array(); }
            e.field = in.text();
            if (inside) { e.path = in.byte_string(); }
            e.back = in.unsigned_integer();
            e.stamp = in.unsigned_integer();
            e.author = in.unsigned_integer();
            unnamed_.push_back(e);
        }
        auto form = detail::row_form::live;
        bool known = false;  // of the kind of the row before
        fields_.clear();
        values_.clear();
        if (in.null()) {
            form = detail::row_form::gone;
        } else {
            if (in.peek() == cbor_type::array) {
                (void)in.array();
                form = detail::row_form::gone_with_fields;
            }
            // Most rows have the fields of the one before: then a name is compared, and not looked at.
            detail::row_kind const* const like = count_ == 0 ? nullptr : &kinds_[kind_];
            std::size_t const n = in.map();
            bool same = like != nullptr && like->names.size() == n;
            for (std::size_t i = 0; i < n && !in.failed(); ++i) {
                if (same && !in.match(like->encoded_names[i])) {
                    same = false;
                    for (std::size_t k = 0; k < i; ++k) { fields_.push_back({like->names[k], like->encoded_names[k]}); }
                }
                if (!same) {
                    std::string_view const name = in.text();
                    std::size_t const head = name.empty() ? 0 : detail::cbor_head_size(name.size());
                    auto const* const content = reinterpret_cast<std::byte const*>(name.data());
                    fields_.push_back({name, {content - head, head + name.size()}});
                }
                values_.push_back(in.skip());
            }
            known = same && like->form == form && like->collection == collection;
            if (same && !known) {
                for (std::size_t k = 0; k < n; ++k) { fields_.push_back({like->names[k], like->encoded_names[k]}); }
            }
        }
        if (marked % 4 != 0 || in.failed()) { return failure{errc::corrupt, "a row that does not decode"}; }

        if (!known) { find_kind(collection, form); }
        detail::row_kind& kind = kinds_[kind_];
        kind.values.insert(kind.values.end(), values_.begin(), values_.end());
        of_kind_.add(static_cast<std::int64_t>(kind_));
        ids_.add(id);
        versions_.add_difference(version);
        lives_.add_difference(life);
        backs_.add(static_cast<std::int64_t>(back));
        stamps_.add(stamp);
        authors_.add(static_cast<std::int64_t>(author));
        marked_.add(static_cast<std::int64_t>(unnamed_.size()));
        put_exceptions(kind, stamp);
        ++count_;
        return {};
    }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }

    /// Appends the page: one item.
    void finish(cbor_writer& w) {
        w.array(14);
        w.unsigned_integer(count_);
        w.array(kinds_.size());
        for (detail::row_kind const& k : kinds_) {
            w.array(2 + k.names.size());
            w.text(k.collection);
            w.unsigned_integer(static_cast<std::uint64_t>(k.form));
            for (std::string_view const name : k.names) { w.text(name); }
        }
        of_kind_.finish(w);
        ids_.finish(w);
        versions_.finish(w);
        lives_.finish(w);
        backs_.finish(w);
        stamps_.finish(w);
        authors_.finish(w);
        marked_.finish(w);
        if (marks_told_) {
            w.array(6);
            mark_fields_.finish(w);
            w.byte_string(exceptions_);
            mark_backs_.finish(w);
            mark_millis_.finish(w);
            mark_counters_.finish(w);
            mark_authors_.finish(w);
        } else {
            w.byte_string(exceptions_);
        }
        std::size_t columns = 0;
        for (detail::row_kind const& k : kinds_) { columns += k.names.size(); }
        w.array(columns);
        for (detail::row_kind const& k : kinds_) {
            for (std::size_t i = 0; i < k.names.size(); ++i) { encode_values(w, {k.values, i, k.names.size()}); }
        }
    }

private:
    struct exception_view {
        std::string_view field;
        bytes_view path{};
        std::uint64_t back = 0;
        std::uint64_t stamp = 0;
        std::uint64_t author = 0;
    };
    struct named_field {
        std::string_view name;
        bytes_view encoded;
    };

    void put_exceptions(detail::row_kind& kind, std::uint64_t stamp) {
        cbor_writer w{exceptions_};
        for (std::size_t i = 0; i < unnamed_.size(); ++i) {
            exception_view const& e = unnamed_[i];
            auto const named = std::find(kind.names.begin(), kind.names.end(), e.field);
            auto const number = static_cast<std::uint64_t>(named - kind.names.begin());
            std::uint64_t const place = e.path.empty() ? number : kind.names.size();
            if (!marks_in_columns_ || place == kind.names.size()) {
                if (!e.path.empty()) { w.array(2); }
                if (named == kind.names.end()) {
                    w.text(e.field);
                } else {
                    w.unsigned_integer(number);
                }
                if (!e.path.empty()) { w.byte_string(e.path); }
            }
            if (!marks_in_columns_) {
                w.unsigned_integer(e.back);
                w.integer(static_cast<std::int64_t>(e.stamp - stamp));
                w.unsigned_integer(e.author);
                continue;
            }
            if (i == mark_places_.size()) { mark_places_.push_back(0); }
            mark_fields_.add(static_cast<std::int64_t>(place - std::exchange(mark_places_[i], place)));
            if (kind.marks.empty()) { kind.marks.resize(kind.names.size() + 1); }
            detail::mark_before_it& last = kind.marks[static_cast<std::size_t>(place)];
            std::uint64_t const millis = e.stamp >> 16;
            mark_backs_.add(static_cast<std::int64_t>(e.back - std::exchange(last.back, e.back)));
            mark_millis_.add(static_cast<std::int64_t>(millis - std::exchange(last.millis, millis)));
            mark_counters_.add(static_cast<std::int64_t>(e.stamp & 0xFFFF));
            mark_authors_.add(static_cast<std::int64_t>(e.author - std::exchange(last.author, e.author)));
            marks_told_ = true;
        }
        if (mark_places_.size() > unnamed_.size()) { mark_places_.resize(unnamed_.size()); }
    }
    [[nodiscard]] bool is(detail::row_kind const& k, std::string_view collection, detail::row_form form) const {
        return k.form == form && k.collection == collection && k.names.size() == fields_.size() &&
               std::equal(fields_.begin(), fields_.end(), k.names.begin(),
                          [](named_field const& f, std::string_view name) { return f.name == name; });
    }
    void find_kind(std::string_view collection, detail::row_form form) {
        if (count_ != 0 && is(kinds_[kind_], collection, form)) { return; }
        std::size_t const oldest = kinds_.size() - (std::min)(kinds_.size(), detail::kinds_looked_at);
        for (kind_ = kinds_.size(); kind_ != oldest;) {
            if (is(kinds_[--kind_], collection, form)) { return; }
        }
        detail::row_kind fresh;
        fresh.collection = collection;
        fresh.form = form;
        for (named_field const& f : fields_) {
            fresh.names.push_back(f.name);
            fresh.encoded_names.push_back(f.encoded);
        }
        kind_ = kinds_.size();
        kinds_.push_back(std::move(fresh));
    }

    std::vector<detail::row_kind> kinds_{};
    std::size_t kind_ = 0;
    std::size_t count_ = 0;
    std::vector<named_field> fields_{};
    std::vector<bytes_view> values_{};
    std::vector<exception_view> unnamed_{};
    integer_column_writer of_kind_{};
    id_column_writer ids_{};
    integer_column_writer versions_{};
    integer_column_writer lives_{};
    integer_column_writer backs_{};
    stamp_column_writer stamps_{};
    integer_column_writer authors_{};
    integer_column_writer marked_{};
    bytes exceptions_{};  ///< whole, or what the columns can't say of them
    bool marks_in_columns_;
    bool marks_told_ = false;                   ///< in columns
    std::vector<std::uint64_t> mark_places_{};  ///< of the fields of the last row's
    integer_column_writer mark_fields_{};
    integer_column_writer mark_backs_{};
    integer_column_writer mark_millis_{};
    integer_column_writer mark_counters_{};
    integer_column_writer mark_authors_{};
};

/// Reads a page that `row_page_writer` wrote, of a stranger too: calls `take(record_key&&, row&&)` for each row, in
/// their order, `take_count(n)` before them. What is taken is whole and valid: keys in their range, fields canonical.
///
/// At most `rows_max` rows, and at most `limits.bytes_max` bytes of rows, however few bytes say them.
/// Errors: those of `cbor_reader`, `errc::malformed`, `errc::limit`. Rows may have been taken before one is found.
/// Cost: O(bytes of the rows).
template <class Count, class Take>
[[nodiscard]] status decode_row_page(cbor_reader& in, decode_limits const& limits, std::size_t rows_max,
                                     Count&& take_count, Take&& take) {
    struct kind {
        std::string_view collection;
        detail::row_form form = detail::row_form::live;
        bytes head{};
        std::vector<std::string_view> names{};
        std::vector<bytes> encoded_names{};
        std::size_t first = 0;  ///< its first column
        std::vector<detail::mark_before_it> marks{};
    };
    column_budget budget{limits.bytes_max};
    auto const bad = [&](char const* why) {
        in.fail({errc::malformed, why});
        return status{in.error()};
    };
    if (in.array() != 14) { return bad("page of the wrong length"); }
    std::uint64_t const count = in.unsigned_integer();
    if (count > rows_max) { in.fail({errc::limit, "too many items in one message"}); }
    std::size_t const kind_count = in.array();
    if (kind_count > count) { return bad("more kinds of rows than rows"); }
    std::vector<kind> kinds;
    std::size_t columns = 0;
    for (std::size_t i = 0; i < kind_count && !in.failed(); ++i) {
        kind k;
        std::size_t const parts = in.array();
        k.collection = in.text();
        std::uint64_t const form = in.unsigned_integer();
        if (parts < 2 || form > 2 || k.collection.empty() || k.collection.size() > collection_bytes_max) {
            return bad("kind of row");
        }
        k.form = static_cast<detail::row_form>(form);
        k.first = columns;
        columns += parts - 2;
        if (columns > detail::columns_max) { in.fail({errc::limit, "too many columns in one message"}); }
        for (std::size_t n = 2; n < parts && !in.failed(); ++n) {
            std::string_view const name = in.text();
            if (name.empty() || name.size() > field_name_bytes_max) {
                in.fail({errc::invalid, "field name of the wrong length"});
            }
            if (!k.names.empty() && compare_keys(k.names.back(), name) >= 0) {
                in.fail({errc::not_deterministic, "fields out of order"});
            }
            k.names.push_back(name);
            cbor_writer{k.encoded_names.emplace_back()}.text(name);
        }
        if (k.form == detail::row_form::gone && !k.names.empty()) { return bad("fields of what has none"); }
        cbor_writer{k.head}.map(k.names.size());
        kinds.push_back(std::move(k));
    }
    auto const integers = [&] { return integer_column{in.byte_string(), limits}; };
    integer_column of_kind = integers();
    bytes_view const shared = in.byte_string();
    bytes_view const rest = in.byte_string();
    id_column ids{shared, rest, limits};
    integer_column versions = integers();
    integer_column lives = integers();
    integer_column backs = integers();
    bytes_view const millis = in.byte_string();
    bytes_view const counters = in.byte_string();
    stamp_column stamps{millis, counters, limits};
    integer_column authors = integers();
    integer_column marked = integers();
    bool const marks_in_columns = in.peek() == cbor_type::array;
    if (marks_in_columns && in.array() != 6) { return bad("exceptions of the wrong length"); }
    integer_column mark_fields = marks_in_columns ? integers() : integer_column{};
    cbor_reader marks{in.byte_string(), limits};
    integer_column mark_backs = marks_in_columns ? integers() : integer_column{};
    integer_column mark_millis = marks_in_columns ? integers() : integer_column{};
    integer_column mark_counters = marks_in_columns ? integers() : integer_column{};
    integer_column mark_authors = marks_in_columns ? integers() : integer_column{};
    std::vector<std::uint64_t> mark_places;  // of the fields of the last row's exceptions
    if (in.array() != columns) { return bad("columns of another number"); }
    std::vector<value_column> values;
    values.reserve(columns);
    for (std::size_t i = 0; i < columns && !in.failed(); ++i) { values.emplace_back(in, limits); }
    if (in.failed()) { return in.error(); }
    // An id takes a byte at least: so many rows as there are bytes, whatever the runs say.
    if (count > rest.size()) { return bad("a page that is too short"); }
    // The columns first: what is found wrong may be for one of them that has ended.
    auto const fault = [&](char const* why) {
        auto first = detail::state_of(of_kind, ids, versions, lives, backs, stamps, authors, marked, mark_fields,
                                      mark_backs, mark_millis, mark_counters, mark_authors);
        if (first && marks.failed()) { first = marks.error(); }
        in.fail(first ? failure{errc::malformed, why} : first.error());
        return status{in.error()};
    };

    std::vector<bytes_view> parts;
    take_count(static_cast<std::size_t>(count));
    for (std::uint64_t n = 0; n < count; ++n) {
        auto const which = static_cast<std::uint64_t>(of_kind.next());
        if (which >= kinds.size()) { return fault("kind of row out of range"); }
        kind& k = kinds[static_cast<std::size_t>(which)];
        record_key key;
        bytes_view const id = ids.next(record_id_bytes_max);
        if (id.empty()) { return fault("record key out of range"); }
        key.collection.assign(k.collection);
        key.id.assign(id.begin(), id.end());

        row r;
        auto const mark = [&](write_mark& m, std::uint64_t back, std::uint64_t author) {
            if (back > r.version || author > unknown_author) { return false; }
            m.at = r.version - back;
            m.author = static_cast<author_index>(author);
            return true;
        };
        r.version = versions.next_sum();
        r.life = lives.next_sum();
        auto const back = static_cast<std::uint64_t>(backs.next());
        r.floor.stamp = timestamp{stamps.next()};
        if (!mark(r.floor, back, static_cast<std::uint64_t>(authors.next()))) { return fault("mark out of range"); }
        auto const exceptions = static_cast<std::uint64_t>(marked.next());
        for (std::uint64_t i = 0; i < exceptions; ++i) {
            field_mark e;
            std::uint64_t place = k.names.size();
            if (marks_in_columns) {
                if (i == mark_places.size()) { mark_places.push_back(0); }
                std::uint64_t& before = mark_places[static_cast<std::size_t>(i)];
                place = before += static_cast<std::uint64_t>(mark_fields.next());
                if (mark_fields.failed() || place > k.names.size()) { return fault("exception of no field"); }
                if (place < k.names.size()) { e.field = std::string{k.names[static_cast<std::size_t>(place)]}; }
            }
            if (place == k.names.size()) {
                bool const inside = marks.peek() == cbor_type::array;
                if (inside && marks.array() != 2) { return fault("exception of the wrong length"); }
                if (marks.peek() == cbor_type::unsigned_integer) {
                    std::uint64_t const field = marks.unsigned_integer();
                    if (field >= k.names.size()) { return fault("exception of no field"); }
                    e.field = std::string{k.names[static_cast<std::size_t>(field)]};
                } else {
                    e.field = std::string{marks.text()};
                }
                if (inside) {
                    e.path = to_bytes(marks.byte_string());
                    if (e.path.empty()) { return fault("empty path"); }
                }
            }
            if (marks_in_columns) {
                if (k.marks.empty()) { k.marks.resize(k.names.size() + 1); }
                detail::mark_before_it& last = k.marks[static_cast<std::size_t>(place)];
                last.back += static_cast<std::uint64_t>(mark_backs.next());
                last.millis += static_cast<std::uint64_t>(mark_millis.next());
                last.author += static_cast<std::uint64_t>(mark_authors.next());
                auto const counter = static_cast<std::uint64_t>(mark_counters.next()) & 0xFFFF;
                e.mark.stamp = timestamp{(last.millis << 16) | counter};
                if (!mark(e.mark, last.back, last.author)) { return fault("mark out of range"); }
                if (!detail::state_of(mark_backs, mark_millis, mark_authors, mark_counters)) {
                    return fault("an exception is missing");
                }
            } else {
                std::uint64_t const before = marks.unsigned_integer();
                e.mark.stamp = timestamp{r.floor.stamp.raw + static_cast<std::uint64_t>(marks.integer())};
                if (!mark(e.mark, before, marks.unsigned_integer())) { return fault("mark out of range"); }
            }
            if (marks.failed()) { return fault("an exception is missing"); }
            if (!budget.charge(sizeof(field_mark) + e.field.size())) {
                in.fail({errc::limit, "a message that says too much"});
                return in.error();
            }
            if (!r.exceptions.empty() && !mark_before(r.exceptions.back(), e)) {
                in.fail({errc::not_deterministic, "exceptions out of order"});
                return in.error();
            }
            r.exceptions.push_back(std::move(e));
        }
        if (mark_places.size() > r.exceptions.size()) { mark_places.resize(r.exceptions.size()); }
        r.deleted = k.form != detail::row_form::live;
        if (k.form != detail::row_form::gone) {
            // The views of packed values end with the next call of their own column only.
            std::size_t size = k.head.size();
            parts.resize(k.names.size());
            for (std::size_t i = 0; i < k.names.size(); ++i) {
                bytes_view const v = values[k.first + i].next(budget);
                if (v.empty()) {
                    auto const why = values[k.first + i].state();
                    if (!why) { in.fail(why.error()); }
                    return fault("a column that is too short");
                }
                parts[i] = v;
                size += k.encoded_names[i].size() + v.size();
            }
            r.fields.resize(size);
            std::byte* to = r.fields.data();
            auto const put = [&](bytes_view b) {  // none is empty
                std::memcpy(to, b.data(), b.size());
                to += b.size();
            };
            put(k.head);
            for (std::size_t i = 0; i < parts.size(); ++i) {
                put(k.encoded_names[i]);
                put(parts[i]);
            }
        }
        take(std::move(key), std::move(r));
    }
    auto ok = detail::close_all(of_kind, ids, versions, lives, backs, stamps, authors, marked, mark_fields, mark_backs,
                                mark_millis, mark_counters, mark_authors);
    if (ok) { ok = marks.finish(); }
    for (value_column& v : values) {
        if (ok) { ok = v.close(); }
    }
    if (!ok) { in.fail(ok.error()); }
    return ok;
}

}  // namespace syncline::inline SYNCLINE_ABI
