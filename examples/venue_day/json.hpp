// SPDX-License-Identifier: BSL-1.0
#pragma once

/// JSON to described records: what a person wrote by hand is checked to the last field.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include <nlohmann/json.hpp>

#include <syncline/core/checked.hpp>
#include <syncline/core/describe.hpp>

#include "day.hpp"
#include "text.hpp"

namespace venue {

using nlohmann::json;

/// Whether any `read_*` below has failed, and the first complaint: "guests[3].table: expected a text, found 7".
class complaints {
public:
    void add(std::string const& where, std::string const& what) {
        if (first_.empty()) { first_ = where + ": " + what; }
    }
    [[nodiscard]] bool any() const { return !first_.empty(); }
    [[nodiscard]] std::string const& first() const { return first_; }

private:
    std::string first_;
};

inline std::string excerpt(json const& j) {
    std::string text = j.dump(-1, ' ', false, json::error_handler_t::replace);
    if (text.size() > 40) {
        text.resize(36);
        while (!text.empty() && !syncline::valid_utf8(text)) { text.pop_back(); }
        text += " ...";
    }
    return text;
}

inline void read(json const& j, std::string const& where, complaints& no, std::string& out) {
    if (!j.is_string()) { return no.add(where, "expected a text, found " + excerpt(j)); }
    out = j.get<std::string>();
}
inline void read(json const& j, std::string const& where, complaints& no, bool& out) {
    if (!j.is_boolean()) { return no.add(where, "expected true or false, found " + excerpt(j)); }
    out = j.get<bool>();
}
inline void read(json const& j, std::string const& where, complaints& no, std::int64_t& out) {
    bool const fits = j.is_number_integer() && !(j.is_number_unsigned() && j.get<std::uint64_t>() > INT64_MAX);
    if (!fits) { return no.add(where, "expected a whole number, found " + excerpt(j)); }
    out = j.get<std::int64_t>();
}
inline void read(json const& j, std::string const& where, complaints& no, minute& out) {
    auto const t = j.is_string() && j.get_ref<std::string const&>().size() == 5
                       ? parse_time(j.get_ref<std::string const&>())
                       : std::nullopt;
    if (!t) { return no.add(where, "expected a time such as \"14:05\", found " + excerpt(j)); }
    out = static_cast<minute>(*t / 60);
}
template <class T>
void read(json const& j, std::string const& where, complaints& no, std::optional<T>& out) {
    if (j.is_null()) {
        out.reset();
    } else {
        read(j, where, no, out.emplace());
    }
}

/// Sets the members that `fields` names.
template <syncline::described T>
void set_members(json const& fields, std::string const& where, complaints& no, T& out) {
    if (!fields.is_object()) { return no.add(where, "expected an object, found " + excerpt(fields)); }
    for (auto const& item : fields.items()) {
        bool known = false;
        syncline::for_each_field<T>([&](auto const& f) {
            if (f.name != item.key()) { return; }
            known = true;
            read(item.value(), where + "." + item.key(), no, f.get(out));
        });
        if (!known) { no.add(where, "no field \"" + item.key() + "\" in " + std::string{syncline::collection<T>()}); }
    }
}
/// A whole record: every member that isn't optional must be there.
template <syncline::described T>
void read_record(json const& fields, std::string const& where, complaints& no, T& out) {
    set_members(fields, where, no, out);
    if (no.any()) { return; }
    syncline::for_each_field<T>([&](auto const& f) {
        using member = typename std::remove_cvref_t<decltype(f)>::member_type;
        bool const optional =
            std::is_same_v<member, std::optional<std::string>> || std::is_same_v<member, std::optional<minute>>;
        if (!optional && !fields.contains(std::string{f.name})) {
            no.add(where, "field \"" + std::string{f.name} + "\" is missing");
        }
    });
}
/// Adds to the whole numbers that `fields` names.
template <syncline::described T>
void add_to_members(json const& fields, std::string const& where, complaints& no, T& out) {
    if (!fields.is_object()) { return no.add(where, "expected an object, found " + excerpt(fields)); }
    for (auto const& item : fields.items()) {
        std::int64_t n = 0;
        read(item.value(), where + "." + item.key(), no, n);
        bool known = false;
        syncline::for_each_field<T>([&](auto const& f) {
            if constexpr (std::is_same_v<typename std::remove_cvref_t<decltype(f)>::member_type, std::int64_t>) {
                if (f.name != item.key()) { return; }
                known = true;
                auto const sum = syncline::checked_add(f.get(out), n);
                if (!sum) { return no.add(where, "the sum is out of range"); }
                f.get(out) = *sum;
            }
        });
        if (!known) { no.add(where, "no number \"" + item.key() + "\" in " + std::string{syncline::collection<T>()}); }
    }
}

}  // namespace venue
