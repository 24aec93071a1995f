// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Times and values as people write and read them.

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include <syncline/core/value.hpp>

#include "day.hpp"

namespace venue {

/// "14:05" or "14:05:30" as seconds after midnight, up to 29:59:59.
inline std::optional<std::int64_t> parse_time(std::string_view text) {
    auto const two = [&](std::size_t at) -> std::int64_t {
        auto const digit = [&](std::size_t i) { return text[i] >= '0' && text[i] <= '9' ? text[i] - '0' : -100; };
        return digit(at) * 10 + digit(at + 1);
    };
    if ((text.size() != 5 && text.size() != 8) || text[2] != ':' || (text.size() == 8 && text[5] != ':')) {
        return std::nullopt;
    }
    std::int64_t const h = two(0), m = two(3), s = text.size() == 8 ? two(6) : 0;
    if (h < 0 || h > 29 || m < 0 || m > 59 || s < 0 || s > 59) { return std::nullopt; }
    return h * 3600 + m * 60 + s;
}
inline std::string show_time(std::int64_t seconds) {
    char text[32];
    std::snprintf(text, sizeof text, "%02d:%02d", static_cast<int>(seconds / 3600),
                  static_cast<int>(seconds / 60 % 60));
    return text;
}
inline std::string show(minute m) { return show_time(static_cast<std::int64_t>(m) * 60); }

/// A field's encoded value, for people.
inline std::string show(std::string_view collection, std::string_view field, syncline::bytes_view item) {
    if (item.empty()) { return "–"; }
    syncline::value_view const v{item};
    if (auto const text = v.as_text()) { return std::string{*text}; }
    if (auto const yes = v.as_bool()) { return *yes ? "yes" : "no"; }
    auto const n = v.as_int64();
    if (!n) { return v.is_null() ? "–" : "?"; }
    bool is_time = false;
    with_collection(collection, [&](auto t) {
        syncline::for_each_field<typename decltype(t)::record>([&](auto const& f) {
            using member = typename std::remove_cvref_t<decltype(f)>::member_type;
            if (f.name == field) {
                is_time = std::is_same_v<member, minute> || std::is_same_v<member, std::optional<minute>>;
            }
        });
    });
    return is_time ? show(static_cast<minute>(*n)) : std::to_string(*n);
}

/// One field of a record's encoded fields, for people.
inline std::string show_field(std::string_view collection, std::string_view field, syncline::bytes_view fields) {
    if (fields.empty()) { return "–"; }
    auto const item = syncline::map_find(fields, field);
    return item && *item ? show(collection, field, **item) : "–";
}
/// What a record is called: its name or title.
inline std::string show_title(syncline::bytes_view fields) {
    std::string const name = show_field("", "name", fields);
    return name != "–" ? name : show_field("", "title", fields);
}

}  // namespace venue
