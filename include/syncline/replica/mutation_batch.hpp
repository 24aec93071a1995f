// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A batch of frozen mutations on the wire, in columns. Their bytes come out as they went in.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/replica/columns.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Collects frozen mutations and writes them as one batch. It borrows them: they outlive `finish`.
///
/// | item of the batch | what                                                                                     |
/// | 1 | how many mutations                                                                                       |
/// | 2 | kinds: arrays of collection, kind of change, hint, then kind and field of each operation; or an empty      |
/// |   | array, for mutations that go as they are                                                                 |
/// | 3 | each mutation's kind                                                                                     |
/// | 4 | sequences, as differences                                                                                |
/// | 5, 6 | stamps                                                                                                |
/// | 7, 8 | ids: bytes shared with the one before; the rest of each                                               |
/// | 9, 10 | lives and bases, as differences                                                                      |
/// | 11 | of each operation: 0, or its stamp's difference to its mutation's                                       |
/// | 12 | the values: a column for each operation of each kind that has one                                       |
/// | 13 | a column of the mutations that go as they are                                                           |
/// | 14, 15 | origins, empty where there are none: lines and numbers, as differences                              |
/// All that counts mutations is an integer column in the order of the mutations; 4 to 11 leave out those of 13.
class mutation_batch_writer {
public:
    /// False, and the batch spoilt, for bytes that are no canonical CBOR item.
    [[nodiscard]] bool add(bytes_view raw) {
        if (!parse(raw)) {
            if (!validate_canonical(raw)) { return false; }
            find_kind(true);
            whole_.push_back(raw);
            of_kind_.add(static_cast<std::int64_t>(kind_));
            ++count_;
            return true;
        }
        find_kind(false);
        kind& k = kinds_[kind_];
        of_kind_.add(static_cast<std::int64_t>(kind_));
        sequences_.add_difference(sequence_);
        stamps_.add(stamp_);
        ids_.add(id_);
        lives_.add_difference(life_);
        bases_.add_difference(base_);
        std::size_t column = 0;
        for (operation const& op : ops_) {
            own_stamps_.add(static_cast<std::int64_t>(op.stamp - stamp_));
            if (op.kind != op_kind::unset) { k.columns[column++].push_back(op.value); }
        }
        ++count_;
        return true;
    }
    /// For each mutation or for none: the name that it had from its beginning.
    void add_origin(std::uint64_t line, std::uint64_t number) {
        lines_.add_difference(line);
        numbers_.add_difference(number);
    }

    /// Appends the batch: one item.
    void finish(cbor_writer& w) {
        w.array(15);
        w.unsigned_integer(count_);
        w.array(kinds_.size());
        std::size_t columns = 0;
        for (kind const& k : kinds_) {
            columns += k.columns.size();
            if (k.whole) {
                w.array(0);
                continue;
            }
            w.array(3 + 2 * k.ops.size());
            w.text(k.collection);
            w.unsigned_integer(static_cast<std::uint64_t>(k.change));
            w.unsigned_integer(k.hint);
            for (auto const& [op, field] : k.ops) {
                w.unsigned_integer(static_cast<std::uint64_t>(op));
                w.text(field);
            }
        }
        of_kind_.finish(w);
        sequences_.finish(w);
        stamps_.finish(w);
        ids_.finish(w);
        lives_.finish(w);
        bases_.finish(w);
        own_stamps_.finish(w);
        w.array(columns);
        for (kind const& k : kinds_) {
            for (auto const& column : k.columns) { encode_values(w, column); }
        }
        encode_values(w, whole_);
        lines_.finish(w);
        numbers_.finish(w);
    }

private:
    struct operation {
        op_kind kind = op_kind::set;
        std::string_view field;
        bytes_view value{};
        std::uint64_t stamp = 0;
    };
    struct kind {
        bool whole = false;
        std::string_view collection{};
        change_kind change = change_kind::update;
        std::uint64_t hint = 0;
        std::vector<std::pair<op_kind, std::string_view>> ops{};
        std::vector<std::vector<bytes_view>> columns{};
    };

    /// Whether it is a mutation that this build knows to its last item; any other goes as it is.
    [[nodiscard]] bool parse(bytes_view raw) {
        cbor_reader in{raw};
        std::size_t const parts = in.array();
        sequence_ = in.unsigned_integer();
        stamp_ = in.unsigned_integer();
        std::uint64_t const change = in.unsigned_integer();
        collection_ = in.text();
        id_ = in.byte_string();
        life_ = in.unsigned_integer();
        base_ = in.unsigned_integer();
        bool known = (parts == 8 || parts == 9) && change >= 1 && change <= 3 && !id_.empty() &&
                     id_.size() <= record_id_bytes_max && !collection_.empty() &&
                     collection_.size() <= collection_bytes_max;
        change_ = static_cast<change_kind>(change);
        ops_.clear();
        std::size_t const n = in.array();
        for (std::size_t i = 0; i < n && known && !in.failed(); ++i) {
            operation op;
            std::size_t const items = in.array();
            std::uint64_t const what = in.unsigned_integer();
            op.kind = static_cast<op_kind>(what);
            op.field = in.text();
            bool const unset = op.kind == op_kind::unset;
            known = what >= 1 && what <= 6 && (items == (unset ? std::size_t{2} : std::size_t{3}) || items == 4);
            if (!unset) {
                op.value = in.skip(3);
            } else if (items == 4) {
                known = in.null() && known;
            }
            op.stamp = items == 4 ? in.unsigned_integer() : stamp_;
            known = known && (items != 4 || op.stamp != stamp_);
            ops_.push_back(op);
        }
        hint_ = parts == 9 ? in.unsigned_integer() : 0;
        known = known && (parts != 9 || hint_ != 0);
        return in.finish() && known;
    }
    void find_kind(bool whole) {
        auto const is = [&](kind const& k) {
            if (whole || k.whole) { return whole && k.whole; }
            return k.change == change_ && k.hint == hint_ && k.collection == collection_ &&
                   k.ops.size() == ops_.size() &&
                   std::equal(ops_.begin(), ops_.end(), k.ops.begin(), [](operation const& a, auto const& b) {
                       return a.kind == b.first && a.field == b.second;
                   });
        };
        if (count_ != 0 && is(kinds_[kind_])) { return; }
        std::size_t const oldest = kinds_.size() - (std::min)(kinds_.size(), detail::kinds_looked_at);
        for (kind_ = kinds_.size(); kind_ != oldest;) {
            if (is(kinds_[--kind_])) { return; }
        }
        kind fresh;
        fresh.whole = whole;
        if (!whole) {
            fresh.collection = collection_;
            fresh.change = change_;
            fresh.hint = hint_;
            std::size_t columns = 0;
            for (operation const& op : ops_) {
                fresh.ops.emplace_back(op.kind, op.field);
                columns += op.kind == op_kind::unset ? 0 : 1;
            }
            fresh.columns.resize(columns);
        }
        kind_ = kinds_.size();
        kinds_.push_back(std::move(fresh));
    }

    std::vector<kind> kinds_{};
    std::size_t kind_ = 0;
    std::size_t count_ = 0;
    std::uint64_t sequence_ = 0;
    std::uint64_t stamp_ = 0;
    change_kind change_ = change_kind::update;
    std::string_view collection_{};
    bytes_view id_{};
    std::uint64_t life_ = 0;
    std::uint64_t base_ = 0;
    std::uint64_t hint_ = 0;
    std::vector<operation> ops_{};
    integer_column_writer of_kind_{};
    integer_column_writer sequences_{};
    stamp_column_writer stamps_{};
    id_column_writer ids_{};
    integer_column_writer lives_{};
    integer_column_writer bases_{};
    integer_column_writer own_stamps_{};
    std::vector<bytes_view> whole_{};
    integer_column_writer lines_{};
    integer_column_writer numbers_{};
};

/// Reads a batch that `mutation_batch_writer` wrote, of a stranger too: `take(bytes&&)` for each mutation, in order, then
/// `take_origin(line, number)` for each or for none. Each mutation is one canonical CBOR item and no more is promised
/// of it: `decode_mutation` judges it.
///
/// At most `mutations_max` of them, and at most `limits.bytes_max` bytes, however few bytes say them.
/// Errors: those of `cbor_reader`, `errc::malformed`, `errc::limit`. Some may have been taken before one is found.
/// Cost: O(bytes of the mutations).
template <class Take, class TakeOrigin>
[[nodiscard]] status decode_mutation_batch(cbor_reader& in, decode_limits const& limits, std::size_t mutations_max,
                                           Take&& take, TakeOrigin&& take_origin) {
    struct operation {
        std::uint64_t kind = 0;
        bytes field{};  ///< encoded
    };
    struct kind {
        bool whole = false;
        bytes collection{};  ///< encoded
        std::uint64_t change = 0;
        std::uint64_t hint = 0;
        std::vector<operation> ops{};
        std::size_t first = 0;  ///< its first column
    };
    constexpr auto unset = static_cast<std::uint64_t>(op_kind::unset);
    column_budget budget{limits.bytes_max};
    auto const bad = [&](char const* why) {
        in.fail({errc::malformed, why});
        return status{in.error()};
    };
    if (in.array() != 15) { return bad("batch of the wrong length"); }
    std::uint64_t const count = in.unsigned_integer();
    if (count > mutations_max) { in.fail({errc::limit, "too many items in one message"}); }
    std::size_t const kind_count = in.array();
    if (kind_count > count) { return bad("more kinds of mutations than mutations"); }
    std::vector<kind> kinds;
    std::size_t operations = 0;
    std::size_t columns = 0;
    for (std::size_t i = 0; i < kind_count && !in.failed(); ++i) {
        kind k;
        k.first = columns;
        std::size_t const parts = in.array();
        k.whole = parts == 0;
        if (!k.whole) {
            if (parts < 3 || parts % 2 == 0) { return bad("kind of mutation"); }
            cbor_writer{k.collection}.text(in.text());
            k.change = in.unsigned_integer();
            k.hint = in.unsigned_integer();
            operations += (parts - 3) / 2;
            if (operations > detail::columns_max) { in.fail({errc::limit, "too many operations in one message"}); }
            for (std::size_t n = 3; n < parts && !in.failed(); n += 2) {
                operation op;
                op.kind = in.unsigned_integer();
                cbor_writer{op.field}.text(in.text());
                columns += op.kind == unset ? 0 : 1;
                k.ops.push_back(std::move(op));
            }
        }
        kinds.push_back(std::move(k));
    }
    auto const integers = [&] { return integer_column{in.byte_string(), limits}; };
    integer_column of_kind = integers();
    integer_column sequences = integers();
    bytes_view const millis = in.byte_string();
    bytes_view const counters = in.byte_string();
    stamp_column stamps{millis, counters, limits};
    bytes_view const shared = in.byte_string();
    bytes_view const rest = in.byte_string();
    id_column ids{shared, rest, limits};
    integer_column lives = integers();
    integer_column bases = integers();
    integer_column own_stamps = integers();
    if (in.array() != columns) { return bad("columns of another number"); }
    std::vector<value_column> values;
    values.reserve(columns);
    for (std::size_t i = 0; i < columns && !in.failed(); ++i) { values.emplace_back(in, limits); }
    // What goes whole is nested around its values, which have their bounds when it is decoded.
    decode_limits around = limits;
    around.depth_max += 8;  // arrays of a mutation around a value, and more
    value_column whole{in, around};
    bytes_view const lines_raw = in.byte_string();
    integer_column lines{lines_raw, limits};
    integer_column numbers = integers();
    if (in.failed()) { return in.error(); }

    // A mutation takes a byte at least: of its id, or of what goes as it is.
    if (count > in.position()) { return bad("a batch that is too short"); }
    auto const fault = [&](char const* why) {
        auto const first =
            detail::state_of(of_kind, sequences, stamps, ids, lives, bases, own_stamps, whole, lines, numbers);
        in.fail(first ? failure{errc::malformed, why} : first.error());
        return status{in.error()};
    };
    auto const value_of = [&](value_column& column, bytes& out) {
        bytes_view const v = column.next(budget);
        if (v.empty()) {
            auto const why = column.state();
            if (!why) { in.fail(why.error()); }
            (void)fault("a column that is too short");
            return false;
        }
        append(out, v);
        return true;
    };
    for (std::uint64_t n = 0; n < count; ++n) {
        auto const which = static_cast<std::uint64_t>(of_kind.next());
        if (which >= kinds.size()) { return fault("kind of mutation out of range"); }
        kind const& k = kinds[static_cast<std::size_t>(which)];
        bytes raw;
        if (k.whole) {
            if (!value_of(whole, raw)) { return in.error(); }
            take(std::move(raw));
            continue;
        }
        std::uint64_t const sequence = sequences.next_sum();
        std::uint64_t const stamp = stamps.next();
        bytes_view const id = ids.next(record_id_bytes_max);
        if (id.empty()) { return fault("record key out of range"); }
        raw.reserve(64 + k.collection.size() + id.size());
        cbor_writer w{raw};
        w.array(k.hint == 0 ? 8 : 9);
        w.unsigned_integer(sequence);
        w.unsigned_integer(stamp);
        w.unsigned_integer(k.change);
        w.raw(k.collection);
        w.byte_string(id);
        w.unsigned_integer(lives.next_sum());
        w.unsigned_integer(bases.next_sum());
        w.array(k.ops.size());
        std::size_t column = k.first;
        for (operation const& op : k.ops) {
            auto const later = static_cast<std::uint64_t>(own_stamps.next());
            bool const has_value = op.kind != unset;
            w.array(later != 0 ? 4 : has_value ? 3 : 2);
            w.unsigned_integer(op.kind);
            w.raw(op.field);
            if (has_value) {
                if (!value_of(values[column++], raw)) { return in.error(); }
            } else if (later != 0) {
                w.null();
            }
            if (later != 0) { w.unsigned_integer(stamp + later); }
        }
        if (k.hint != 0) { w.unsigned_integer(k.hint); }
        if (!budget.charge(raw.size())) {
            in.fail({errc::limit, "a message that says too much"});
            return in.error();
        }
        take(std::move(raw));
    }
    if (!lines_raw.empty()) {
        for (std::uint64_t n = 0; n < count; ++n) {
            std::uint64_t const line = lines.next_sum();
            take_origin(line, numbers.next_sum());
        }
    }
    auto ok = detail::close_all(of_kind, sequences, stamps, ids, lives, bases, own_stamps, whole, lines, numbers);
    for (value_column& v : values) {
        if (ok) { ok = v.close(); }
    }
    if (!ok) { in.fail(ok.error()); }
    return ok;
}

}  // namespace syncline::inline SYNCLINE_ABI
