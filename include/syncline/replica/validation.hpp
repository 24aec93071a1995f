// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Whether a record may be as a change makes it: the same checks on a device before the commit and at the authority.

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
#include <syncline/core/error.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What a validation says of one mutation.
struct validation {
    bool accepted = true;
    errc reason = errc::rejected;  ///< when it is not accepted
    std::string text{};            ///< for the person who wrote it
};

/// What a validation looks at; borrowed for the call.
struct validation_input {
    std::string_view principal;
    mutation const& change;
    std::optional<row> const& before;
    row const& after;
    /// At an authority, of a part of a group: the group, `change` being the part as it is now. Else null.
    mutation const* group = nullptr;
    /// At an authority: any record's row, as the parts of the group before this one have made it; what can't be read fails
    /// the call, whatever is answered. On a device null.
    function_ref<result<std::optional<row>>(record_key const&)> const* rows = nullptr;
};

/// Accepts every mutation.
struct accept_all {
    [[nodiscard]] validation operator()(validation_input const&) const { return {}; }
};

/// What a field's value may be; bits of `field_check::types`.
namespace field_types {
inline constexpr std::uint32_t integer = 1;
inline constexpr std::uint32_t number = 2;  ///< a floating-point number, or an integer
inline constexpr std::uint32_t text = 4;
inline constexpr std::uint32_t byte_string = 8;
inline constexpr std::uint32_t boolean = 16;
inline constexpr std::uint32_t array = 32;
inline constexpr std::uint32_t map = 64;
}  // namespace field_types

/// What must hold of one field. What is missing or null is only asked whether it is `required`.
struct field_check {
    std::string field;
    std::uint32_t types = 0;                  ///< bits of `field_types`; 0: any
    bool required = false;                    ///< it is there, and not null
    std::optional<std::int64_t> least{};      ///< of a number
    std::optional<std::int64_t> most{};       ///< of a number
    std::optional<std::size_t> length_max{};  ///< bytes of a text or byte string, items of an array, pairs of a map
    std::vector<bytes> one_of{};              ///< canonical items; empty: any
};

/// What must hold of the records of one collection.
struct record_check {
    std::string collection;
    std::vector<field_check> fields{};
    bool closed = false;  ///< no other fields than those
    /// The host's own word: a rule of the business over the whole record, asked last, of deletions too. Pure. Null: none.
    validation (*judge)(validation_input const&, void const* data) = nullptr;
    void const* data = nullptr;  ///< the host's own, handed to `judge`
};

namespace detail {

[[nodiscard]] inline std::uint32_t types_of(bytes_view item) noexcept {
    switch (cbor_reader{item}.peek()) {
        case cbor_type::unsigned_integer:
        case cbor_type::negative_integer: return field_types::integer | field_types::number;
        case cbor_type::floating: return field_types::number;
        case cbor_type::text: return field_types::text;
        case cbor_type::byte_string: return field_types::byte_string;
        case cbor_type::boolean: return field_types::boolean;
        case cbor_type::array: return field_types::array;
        case cbor_type::map: return field_types::map;
        default: return 0;
    }
}

}  // namespace detail

/// The checks of a program, by collection. One that isn't named takes everything.
///
/// Field names are those of the newest schema version. Only what a change touches is looked at: a record that was there
/// before a check came is not held to it in what stays as it was, so it can still be edited, and mended.
/// As `replica_options::checks` it refuses a write before it is queued, as `authority_options::checks` a mutation when it
/// is decided, with a verdict's reason and text: `errc::invalid` for a value out of range, one that is missing or a field
/// that may not be, `errc::type_mismatch`, or what the host says. It can be an authority's `Validate` too.
/// Cost: linear in the fields, for each check.
class check_table {
public:
    /// Adds the checks of a collection; those that were there before for it go.
    void add(record_check check) {
        std::erase_if(all_, [&](record_check const& c) { return c.collection == check.collection; });
        all_.push_back(std::move(check));
    }

    [[nodiscard]] validation operator()(validation_input const& in) const {
        for (record_check const& c : all_) {
            if (c.collection == in.change.record.collection) { return check(c, in); }
        }
        return {};
    }

private:
    [[nodiscard]] static validation no(errc why, std::string_view field, std::string_view what) {
        return {false, why, std::string{field} + ": " + std::string{what}};
    }
    [[nodiscard]] static std::optional<bytes_view> value_of(bytes_view fields, std::string_view name) {
        if (fields.empty()) { return std::nullopt; }
        auto const found = map_find(fields, name);
        return found ? *found : std::nullopt;
    }
    [[nodiscard]] static validation check(record_check const& c, validation_input const& in) {
        if (!in.after.deleted) {
            bool const fresh = !in.before || in.before->deleted;
            bytes_view const was = fresh ? bytes_view{} : bytes_view{in.before->fields};
            for (field_check const& f : c.fields) {
                auto const now = value_of(in.after.fields, f.field);
                auto const old = value_of(was, f.field);
                bool const same = now.has_value() == old.has_value() && (!now || equal(*now, *old));
                if (same && !fresh) { continue; }
                if (auto said = check(f, now); !said.accepted) { return said; }
            }
            if (c.closed) {
                cbor_map_cursor at{in.after.fields};
                while (!in.after.fields.empty() && at.next()) {
                    bool const named = std::any_of(c.fields.begin(), c.fields.end(),
                                                   [&](field_check const& f) { return f.field == at.key(); });
                    if (!named && !value_of(was, at.key())) {
                        return no(errc::invalid, at.key(), "there is no such field");
                    }
                }
            }
        }
        return c.judge == nullptr ? validation{} : c.judge(in, c.data);
    }
    [[nodiscard]] static validation check(field_check const& f, std::optional<bytes_view> const& now) {
        if (!now || cbor_reader{*now}.peek() == cbor_type::null) {
            return f.required ? no(errc::invalid, f.field, "it is missing") : validation{};
        }
        if (f.types != 0 && (detail::types_of(*now) & f.types) == 0) {
            return no(errc::type_mismatch, f.field, "it is of another type");
        }
        if (!f.one_of.empty() &&
            std::none_of(f.one_of.begin(), f.one_of.end(), [&](bytes const& v) { return equal(v, *now); })) {
            return no(errc::invalid, f.field, "it is none of the values that it may have");
        }
        if (f.least || f.most) {
            switch (compare_with(*now, f.least, f.most)) {
                case place::below: return no(errc::invalid, f.field, "less than " + std::to_string(*f.least));
                case place::above: return no(errc::invalid, f.field, "more than " + std::to_string(*f.most));
                case place::nowhere: return no(errc::type_mismatch, f.field, "it is no number");
                case place::inside: break;
            }
        }
        if (f.length_max && length_of(*now) > *f.length_max) {
            return no(errc::invalid, f.field, "longer than " + std::to_string(*f.length_max));
        }
        return {};
    }

    enum class place : std::uint8_t { inside, below, above, nowhere };
    [[nodiscard]] static place compare_with(bytes_view item, std::optional<std::int64_t> least,
                                            std::optional<std::int64_t> most) {
        cbor_reader in{item};
        switch (in.peek()) {
            case cbor_type::unsigned_integer: {
                std::uint64_t const n = in.unsigned_integer();
                if (most && (*most < 0 || n > static_cast<std::uint64_t>(*most))) { return place::above; }
                return least && *least > 0 && n < static_cast<std::uint64_t>(*least) ? place::below : place::inside;
            }
            case cbor_type::negative_integer: {
                std::int64_t const n = in.integer();
                if (in.failed()) { return least ? place::below : place::inside; }  // below the range of 64 bits
                if (least && n < *least) { return place::below; }
                return most && n > *most ? place::above : place::inside;
            }
            case cbor_type::floating: {
                double const d = in.floating();
                if (d != d) { return place::nowhere; }
                if (least && d < static_cast<double>(*least)) { return place::below; }
                return most && d > static_cast<double>(*most) ? place::above : place::inside;
            }
            default: return place::nowhere;
        }
    }
    [[nodiscard]] static std::size_t length_of(bytes_view item) {
        cbor_reader in{item};
        switch (in.peek()) {
            case cbor_type::text: return in.text().size();
            case cbor_type::byte_string: return in.byte_string().size();
            case cbor_type::array: return in.array();
            case cbor_type::map: return in.map();
            default: return 0;
        }
    }

    std::vector<record_check> all_{};
};

}  // namespace syncline::inline SYNCLINE_ABI
