// SPDX-License-Identifier: BSL-1.0

/// What is read of texts and fixed-width bytes: UTF-8, identities, stamps, and what HTTP's headers say.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <syncline/adapters/http_status.hpp>
#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/utf8.hpp>

#include "fuzz_targets/cbor_model.hpp"
#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) { c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
    return out;
}

/// Whether a text has a UUID's shape, said by a picture of it.
bool uuid_shaped(std::string_view text) {
    constexpr std::string_view picture = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    if (text.size() != picture.size()) { return false; }
    for (std::size_t i = 0; i < text.size(); ++i) {
        bool const digit = std::string_view("0123456789abcdefABCDEF").find(text[i]) != std::string_view::npos;
        if (picture[i] == 'x' ? !digit : text[i] != '-') { return false; }
    }
    return true;
}

void identities(std::string_view text) {
    auto const id = parse_id(text);
    SYNCLINE_FUZZ_REQUIRE(id.has_value() == uuid_shaped(text));
    if (id) { SYNCLINE_FUZZ_REQUIRE(to_string(*id) == lower(text)); }
    auto const replica = parse_replica_id(text);
    if (replica) { SYNCLINE_FUZZ_REQUIRE(to_string(*replica) == lower(text)); }
    if (text.size() > 37 && uuid_shaped(text.substr(0, 36)) && text[36] == '.') {
        std::string_view const digits = text.substr(37);
        bool well = digits.size() <= 10 && (digits[0] != '0' || digits.size() == 1) &&
                    digits.find_first_not_of("0123456789") == std::string_view::npos;
        well = well && std::stoull(std::string(digits)) <= 0xFFFFFFFF;
        SYNCLINE_FUZZ_REQUIRE(replica.has_value() == well);
    } else {
        SYNCLINE_FUZZ_REQUIRE(!replica);
    }
    auto const raw = replica_id_from(as_bytes(text));
    SYNCLINE_FUZZ_REQUIRE(raw.has_value() == (text.size() == replica_id_bytes));
    if (raw) {
        SYNCLINE_FUZZ_REQUIRE(equal(to_array(*raw), as_bytes(text)) && *parse_replica_id(to_string(*raw)) == *raw);
    }
    auto const stamp = timestamp_from(as_bytes(text));
    SYNCLINE_FUZZ_REQUIRE(stamp.has_value() == (text.size() == 8));
    if (stamp) {
        SYNCLINE_FUZZ_REQUIRE(equal(to_array(*stamp), as_bytes(text)) && stamp->raw == read_u64(as_bytes(text)));
    }
}

void headers(std::string_view text, wall_time now) {
    auto const date = parse_http_date(text, now);
    if (date) {
        SYNCLINE_FUZZ_REQUIRE(parse_http_date(format_http_date(*date), now) == date);
        // The form that is sent is read as it stands, but for the name of the day, and a leap second.
        bool const sent = text.size() == 29 && text[3] == ',' && text.substr(23, 2) != "60";
        if (sent) { SYNCLINE_FUZZ_REQUIRE(format_http_date(*date).substr(3) == text.substr(3)); }
    }
    auto const wait = parse_retry_after(text, now);
    constexpr milliseconds most = std::chrono::hours{24 * 36525};
    if (wait) { SYNCLINE_FUZZ_REQUIRE(*wait >= milliseconds{0} && *wait <= most); }
    bool const digits = !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
    SYNCLINE_FUZZ_REQUIRE(wait.has_value() == (digits || date));
    if (digits && text.size() < 19) {
        auto const seconds = std::stoll(std::string(text));
        SYNCLINE_FUZZ_REQUIRE(*wait == (seconds > most.count() / 1000 ? most : milliseconds{seconds * 1000}));
    }
    if (is_http_content_type(text)) {
        SYNCLINE_FUZZ_REQUIRE(lower(text).starts_with(http_content_type));
        SYNCLINE_FUZZ_REQUIRE(text.size() == http_content_type.size() ||
                              std::string_view("; \t").find(text[http_content_type.size()]) != std::string_view::npos);
    }
}

void statuses(int code) {
    auto const said = from_http_status(code);
    SYNCLINE_FUZZ_REQUIRE(said.has_value() == (code >= 200 && code < 300));
    if (said) { return; }
    // What a server says of a failure, a client takes for the same, or for one of its kind.
    errc const e = said.error().code;
    SYNCLINE_FUZZ_REQUIRE(said.error().native == code && from_http_status(to_http_status(e)).error() == e);
}

int body(std::uint8_t const* data, std::size_t size) {
    fuzz::choices in(data, size);
    std::uint64_t const first = in.below(4);
    wall_time const now{std::chrono::hours{in.below(256)} * 24 * 365};
    std::string_view const text = as_text(in.rest());
    switch (first) {
        case 0: identities(text); break;
        case 1: headers(text, now); break;
        case 2: SYNCLINE_FUZZ_REQUIRE(valid_utf8(text) == cbor_model::parser::utf8(std::string(text))); break;
        default: {
            fuzz::choices more(as_bytes(text));
            statuses(static_cast<int>(more.below(2) == 0 ? more.below(1200) : more.word()));
            auto const e = static_cast<errc>(more.byte());
            int const status = to_http_status(e);
            SYNCLINE_FUZZ_REQUIRE(status >= 400 && status < 600 && !from_http_status(status));
            break;
        }
    }
    return 0;
}

void seeds(fuzz::seed_sink sink) {
    constexpr std::string_view ids[] = {"01890a5d-ac96-774b-bcce-b302099a8057",
                                        "01890A5D-AC96-774B-BCCE-B302099A8057.4294967295", "12345678",
                                        "01234567890123456789"};
    constexpr std::string_view dates[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                          "Sun Nov  6 08:49:37 1994",      "120",
                                          "99999999999999999999",          "application/vnd.syncline; charset=x"};
    constexpr std::string_view texts[] = {"plain ASCII that is longer than a word of the machine",
                                          "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x8D\x8C", "0123456\xED\xA0\x80"};
    int number = 0;
    auto const give = [&](char first, std::string_view text) {
        std::string const whole = std::string(1, first) + '\x37' + std::string(text);
        sink("seed" + std::to_string(++number), as_bytes(whole));
    };
    for (auto const text : ids) { give('\0', text); }
    for (auto const text : dates) { give('\1', text); }
    for (auto const text : texts) { give('\2', text); }
    give('\3', "\1\2\3\4\5\6\7\10\11");
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .seeds = seeds)
