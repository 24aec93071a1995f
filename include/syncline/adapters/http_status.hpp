// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The HTTP status for a failure, HTTP dates, and the Retry-After header. Needs no HTTP library. What a status means is
/// said in retry/classification.hpp.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/classification.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The content type of requests and of replies. What answers with another is not our peer.
inline constexpr std::string_view http_content_type = "application/vnd.syncline";

/// Whether a Content-Type header names our type, in any case and with any parameters.
[[nodiscard]] constexpr bool is_http_content_type(std::string_view value) noexcept {
    value = value.substr(0, value.find_first_of("; \t"));
    if (value.size() != http_content_type.size()) { return false; }
    for (std::size_t i = 0; i < value.size(); ++i) {
        char const lower = value[i] >= 'A' && value[i] <= 'Z' ? static_cast<char>(value[i] - 'A' + 'a') : value[i];
        if (lower != http_content_type[i]) { return false; }
    }
    return true;
}

/// The status with which a server answers a handler's failure. `from_http_status` of it gives the same failure for
/// unauthorised, forbidden, timed_out, too_large, throttled, foreign, rejected and peer_failed; what lies in the
/// request comes back as rejected, what may pass as peer_failed. Source: RFC 9110 §15.
[[nodiscard]] constexpr int to_http_status(errc e) noexcept {
    switch (e) {
        case errc::unauthorised: return 401;
        case errc::forbidden: return 403;
        case errc::timed_out: return 408;
        case errc::too_large: return 413;
        case errc::throttled: return 429;
        case errc::foreign: return 421;
        case errc::malformed:
        case errc::not_deterministic: return 400;
        case errc::limit:
        case errc::stamp_too_far:
        case errc::invalid:
        case errc::not_found:
        case errc::already_exists:
        case errc::type_mismatch:
        case errc::unsupported:
        case errc::overflow:
        case errc::read_only:
        case errc::identity_fork:
        case errc::authority_changed:
        case errc::rejected: return 422;
        case errc::contended:
        case errc::transaction_lost:
        case errc::claim_lost: return 409;
        case errc::busy:
        case errc::cancelled:
        case errc::poisoned: return 503;
        case errc::unreachable:
        case errc::connection_lost: return 502;
        case errc::storage_full: return 507;
        case errc::storage_io:
        case errc::corrupt:
        case errc::peer_failed: return 500;
    }
    return 500;
}

namespace detail {

/// Reads text from the left; every step says whether it matched.
class http_text_cursor {
public:
    explicit http_text_cursor(std::string_view text) noexcept : rest_(text) {}
    [[nodiscard]] bool literal(std::string_view expected) noexcept {
        if (rest_.substr(0, expected.size()) != expected) { return false; }
        rest_.remove_prefix(expected.size());
        return true;
    }
    /// A number of exactly `digits` digits.
    [[nodiscard]] bool number(std::size_t digits, int& out) noexcept {
        if (rest_.size() < digits) { return false; }
        int n = 0;
        for (std::size_t i = 0; i < digits; ++i) {
            if (rest_[i] < '0' || rest_[i] > '9') { return false; }
            n = n * 10 + (rest_[i] - '0');
        }
        rest_.remove_prefix(digits);
        out = n;
        return true;
    }
    /// The place of the one of `names`, each of three letters, that comes next.
    [[nodiscard]] bool name(std::string_view names, int& out) noexcept {
        for (std::size_t i = 0; i * 3 < names.size(); ++i) {
            if (literal(names.substr(i * 3, 3))) {
                out = static_cast<int>(i);
                return true;
            }
        }
        return false;
    }
    void skip_letters() noexcept {
        while (!rest_.empty() && rest_.front() >= 'a' && rest_.front() <= 'z') { rest_.remove_prefix(1); }
    }
    [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }

private:
    std::string_view rest_;
};

inline constexpr std::string_view http_days = "SunMonTueWedThuFriSat";
inline constexpr std::string_view http_months = "JanFebMarAprMayJunJulAugSepOctNovDec";

}  // namespace detail

/// Reads an HTTP date in any of its three forms. `now` decides the century of a year of two digits.
/// Empty when it is none. Source: RFC 9110 §5.6.7.
[[nodiscard]] inline std::optional<wall_time> parse_http_date(std::string_view text, wall_time now) noexcept {
    using namespace std::chrono;
    detail::http_text_cursor at(text);
    int weekday_ignored = 0;
    int day_of_month = 0;
    int month_index = 0;
    int y = 0;
    int h = 0;
    int m = 0;
    int s = 0;
    auto const clock = [&] {
        return at.number(2, h) && at.literal(":") && at.number(2, m) && at.literal(":") && at.number(2, s);
    };
    if (!at.name(detail::http_days, weekday_ignored)) { return std::nullopt; }
    if (at.literal(", ")) {  // Sun, 06 Nov 1994 08:49:37 GMT
        if (!at.number(2, day_of_month) || !at.literal(" ") || !at.name(detail::http_months, month_index) ||
            !at.literal(" ") || !at.number(4, y) || !at.literal(" ") || !clock() || !at.literal(" GMT")) {
            return std::nullopt;
        }
    } else if (at.literal(" ")) {  // Sun Nov  6 08:49:37 1994
        if (!at.name(detail::http_months, month_index) || !at.literal(" ") ||
            !(at.literal(" ") ? at.number(1, day_of_month) : at.number(2, day_of_month)) || !at.literal(" ") ||
            !clock() || !at.literal(" ") || !at.number(4, y)) {
            return std::nullopt;
        }
    } else {  // Sunday, 06-Nov-94 08:49:37 GMT
        at.skip_letters();
        if (!at.literal(", ") || !at.number(2, day_of_month) || !at.literal("-") ||
            !at.name(detail::http_months, month_index) || !at.literal("-") || !at.number(2, y) || !at.literal(" ") ||
            !clock() || !at.literal(" GMT")) {
            return std::nullopt;
        }
        int const this_year = static_cast<int>(year_month_day{floor<days>(now)}.year());
        y += this_year - this_year % 100;
        if (y > this_year + 50) { y -= 100; }
    }
    year_month_day const date{year{y}, month{static_cast<unsigned>(month_index) + 1},
                              day{static_cast<unsigned>(day_of_month)}};
    if (!at.at_end() || !date.ok() || h > 23 || m > 59 || s > 60) { return std::nullopt; }
    return wall_time{sys_days{date}.time_since_epoch() + hours{h} + minutes{m} + seconds{s}};
}

/// The date in the form that is sent: `Sun, 06 Nov 1994 08:49:37 GMT`. Precondition: a year from 0 to 9999.
[[nodiscard]] inline std::string format_http_date(wall_time t) {
    using namespace std::chrono;
    auto const whole_days = floor<days>(t);
    year_month_day const date{whole_days};
    auto const of_day = floor<seconds>(t - whole_days).count();
    SYNCLINE_ASSERT(date.year() >= year{0} && date.year() <= year{9999});
    std::string out;
    auto const number = [&out](std::int64_t n, int digits) {
        std::string const text = std::to_string(n);
        for (int i = static_cast<int>(text.size()); i < digits; ++i) { out += '0'; }
        out += text;
    };
    out += detail::http_days.substr(3 * weekday{whole_days}.c_encoding(), 3);
    out += ", ";
    number(static_cast<unsigned>(date.day()), 2);
    out += ' ';
    out += detail::http_months.substr(3 * (static_cast<unsigned>(date.month()) - 1), 3);
    out += ' ';
    number(static_cast<int>(date.year()), 4);
    out += ' ';
    number(of_day / 3600, 2);
    out += ':';
    number(of_day / 60 % 60, 2);
    out += ':';
    number(of_day % 60, 2);
    out += " GMT";
    return out;
}

/// How long a Retry-After header asks to wait: seconds, or a date, of which `now` is taken away; a date in the past
/// is zero, more than a hundred years are a hundred years. Empty when it is neither. Source: RFC 9110 §10.2.3.
[[nodiscard]] inline std::optional<milliseconds> parse_retry_after(std::string_view text, wall_time now) noexcept {
    constexpr milliseconds most = std::chrono::hours{24 * 36525};
    if (text.empty()) { return std::nullopt; }
    if (text.front() < '0' || text.front() > '9') {
        auto const until = parse_http_date(text, now);
        if (!until) { return std::nullopt; }
        if (*until <= now) { return milliseconds{0}; }
        return *until - now < most ? *until - now : most;
    }
    milliseconds wait{0};
    for (char const c : text) {
        if (c < '0' || c > '9') { return std::nullopt; }
        wait = wait * 10 + std::chrono::seconds{c - '0'};
        if (wait > most) { wait = most; }
    }
    return wait;
}

}  // namespace syncline::inline SYNCLINE_ABI
