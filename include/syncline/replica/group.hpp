// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A group that is being written: changes of several records that take effect together or not at all.

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/describe.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/mutation.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What a group does to one record. The parts are made when the group is written, on the records as they are then.
struct group_change {
    change_kind kind = change_kind::update;
    record_key record{};
    std::vector<field_op> ops{};    ///< of an update by operations
    bytes base{};                   ///< of an update that is found by comparing: the fields that the person saw
    std::optional<bytes> fields{};  ///< of a creation, and of an update by comparing: the fields as they are to be
    friend bool operator==(group_change const&, group_change const&) = default;
};

/// Collects the changes of a group, each of another record; `write_group` of a replica writes them.
///
/// A value. What can't be taken is remembered, and is what `write_group` answers.
class record_group {
public:
    /// `fields` is a canonical map with text keys.
    record_group& create(record_key k, bytes_view fields) {
        return add({change_kind::create, std::move(k), {}, {}, to_bytes(fields)});
    }
    /// The operations need not be sorted, each field once.
    record_group& update(record_key k, std::vector<field_op> ops) {
        return add({change_kind::update, std::move(k), std::move(ops), {}, {}});
    }
    /// What a person changed between `base`, the fields that they saw, and `fields`. Nothing, where they are equal.
    record_group& put(record_key k, bytes_view base, bytes_view fields) {
        return add({change_kind::update, std::move(k), {}, to_bytes(base), to_bytes(fields)});
    }
    record_group& erase(record_key k) { return add({change_kind::erase, std::move(k), {}, {}, {}}); }

    template <described T>
    record_group& create(std::string_view id, T const& value) {
        auto fields = encode_record(value);
        if (!fields) { return fail(fields.error()); }
        return create(record_key{collection<T>(), id}, *fields);
    }
    template <described T>
    record_group& put(std::string_view id, T const& base, T const& value) {
        auto before = encode_record(base);
        auto after = encode_record(value);
        if (!before) { return fail(before.error()); }
        if (!after) { return fail(after.error()); }
        return put(record_key{collection<T>(), id}, *before, *after);
    }

    [[nodiscard]] std::span<group_change const> changes() const noexcept { return changes_; }
    /// The first that could not be taken: `errc::invalid` for a second change of one record, `errc::limit` for more than
    /// `group_parts_max`, whatever `encode_record` said.
    [[nodiscard]] status state() const { return failed_ ? status{*failed_} : status{}; }

private:
    record_group& fail(failure why) {
        if (!failed_) { failed_ = why; }
        return *this;
    }
    record_group& add(group_change c) {
        bool const twice =
            std::any_of(changes_.begin(), changes_.end(), [&](group_change const& o) { return o.record == c.record; });
        if (twice) { return fail({errc::invalid, "two changes of one record in a group"}); }
        if (changes_.size() == group_parts_max) { return fail({errc::limit, "a group of too many records"}); }
        changes_.push_back(std::move(c));
        return *this;
    }

    std::vector<group_change> changes_{};
    std::optional<failure> failed_{};
};

}  // namespace syncline::inline SYNCLINE_ABI
