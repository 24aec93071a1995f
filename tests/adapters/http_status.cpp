// SPDX-License-Identifier: BSL-1.0

/// The table between HTTP statuses and failures, both ways, and the two forms of Retry-After.

#include <syncline/adapters/http_status.hpp>

#include <string>

#include "support/catch.hpp"

using namespace syncline;
using namespace std::chrono_literals;

namespace {

constexpr errc ok{};

errc of(int code) {
    status const s = from_http_status(code);
    if (s) { return ok; }
    CHECK(s.error().native == code);
    CHECK(std::string(s.error().detail) != "");
    return s.error().code;
}

}  // namespace

TEST_CASE("each HTTP status has one meaning") {
    struct row {
        int code;
        errc meaning;
    };
    for (row const& r : {
             row{100, errc::foreign},
             row{101, errc::foreign},
             row{200, ok},
             row{201, ok},
             row{204, ok},
             row{299, ok},
             row{300, errc::foreign},
             row{301, errc::foreign},
             row{302, errc::foreign},
             row{304, errc::foreign},
             row{307, errc::foreign},
             row{308, errc::foreign},
             row{400, errc::rejected},
             row{401, errc::unauthorised},
             row{402, errc::forbidden},
             row{403, errc::forbidden},
             row{404, errc::foreign},
             row{405, errc::foreign},
             row{406, errc::foreign},
             row{407, errc::foreign},
             row{408, errc::timed_out},
             row{409, errc::peer_failed},
             row{410, errc::foreign},
             row{411, errc::rejected},
             row{412, errc::rejected},
             row{413, errc::too_large},
             row{414, errc::rejected},
             row{415, errc::rejected},
             row{417, errc::rejected},
             row{418, errc::rejected},
             row{421, errc::foreign},
             row{422, errc::rejected},
             row{423, errc::peer_failed},
             row{424, errc::rejected},
             row{425, errc::peer_failed},
             row{426, errc::rejected},
             row{428, errc::rejected},
             row{429, errc::throttled},
             row{431, errc::rejected},
             row{451, errc::forbidden},
             row{499, errc::rejected},
             row{500, errc::peer_failed},
             row{501, errc::peer_failed},
             row{502, errc::peer_failed},
             row{503, errc::peer_failed},
             row{504, errc::peer_failed},
             row{507, errc::peer_failed},
             row{511, errc::foreign},
             row{599, errc::peer_failed},
             row{600, errc::foreign},
             row{0, errc::foreign},
             row{-1, errc::foreign},
             row{99, errc::foreign},
             row{1000, errc::foreign},
         }) {
        INFO("status " << r.code);
        CHECK(of(r.code) == r.meaning);
    }
}

TEST_CASE("every status is ok or a failure that the transport contract names") {
    for (int code = -10; code < 700; ++code) {
        errc const e = of(code);
        bool const named = e == ok || e == errc::timed_out || e == errc::unauthorised || e == errc::forbidden ||
                           e == errc::throttled || e == errc::too_large || e == errc::foreign ||
                           e == errc::peer_failed || e == errc::rejected;
        CHECK(named);
        CHECK((e == ok) == (code >= 200 && code < 300));
    }
}

TEST_CASE("what a peer can answer comes back as itself, all else as rejected or peer_failed") {
    for (errc const e : {errc::unauthorised, errc::forbidden, errc::timed_out, errc::too_large, errc::throttled,
                         errc::foreign, errc::rejected, errc::peer_failed}) {
        CHECK(of(to_http_status(e)) == e);
    }
    for (int n = 1; n <= 255; ++n) {
        int const code = to_http_status(static_cast<errc>(n));
        CHECK(code >= 400);
        CHECK(code < 600);
        bool const named = std::string(message(static_cast<errc>(n))) != "unknown error";
        if (!named) { CHECK(code == 500); }
    }
    for (errc const e : {errc::malformed, errc::invalid, errc::unsupported, errc::limit, errc::identity_fork}) {
        CHECK(of(to_http_status(e)) == errc::rejected);
    }
    for (errc const e : {errc::busy, errc::contended, errc::storage_full, errc::storage_io, errc::poisoned}) {
        CHECK(of(to_http_status(e)) == errc::peer_failed);
    }
}

TEST_CASE("an HTTP date is read in its three forms, and written in the first") {
    wall_time const expected{784'111'777s};
    wall_time const now{1'700'000'000s};
    CHECK(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT", now) == expected);
    CHECK(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", now) == expected);
    CHECK(parse_http_date("Sun Nov  6 08:49:37 1994", now) == expected);
    CHECK(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT", now) == wall_time{});
    CHECK(parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT", now) == wall_time{1'483'228'800s});
    CHECK(format_http_date(expected) == "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(format_http_date(wall_time{-1ms}) == "Wed, 31 Dec 1969 23:59:59 GMT");
    CHECK(format_http_date(wall_time{951'782'400s}) == "Tue, 29 Feb 2000 00:00:00 GMT");

    // Two digits of a year mean the one that is at most 50 years ahead.
    CHECK(parse_http_date("Monday, 01-Jan-73 00:00:00 GMT", now) == wall_time{3'250'454'400s});
    CHECK(parse_http_date("Monday, 01-Jan-74 00:00:00 GMT", now) == wall_time{126'230'400s});

    for (std::string_view const text :
         {"", "Sun", "Sun,", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 CET",
          "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
          "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Nov 1994 08:49:37 GMT ",
          "sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nxv 1994 08:49:37 GMT", "Sun, 06 Nov 199a 08:49:37 GMT",
          "Sun, 00 Nov 1994 08:49:37 GMT", "Sun Nov 6 08:49:37 1994", "Sun Nov 99 08:49:37 1994",
          "Sunday, 06-Nov-1994 08:49:37 GMT"}) {
        INFO(text);
        CHECK(!parse_http_date(text, now));
    }
}

TEST_CASE("dates survive being written and read") {
    std::int64_t at = -60'000'000'000;
    for (int i = 0; i < 2000; ++i) {
        wall_time const t{std::chrono::seconds{at}};
        CHECK(parse_http_date(format_http_date(t), t) == t);
        at += 123'456'789;
    }
}

TEST_CASE("Retry-After is seconds or a date") {
    wall_time const now{784'111'777s};
    CHECK(parse_retry_after("0", now) == 0ms);
    CHECK(parse_retry_after("120", now) == 120s);
    CHECK(parse_retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now) == 60s);
    CHECK(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now) == 0ms);
    CHECK(parse_retry_after("Sun, 06 Nov 1994 08:40:37 GMT", now) == 0ms);
    milliseconds const most = std::chrono::hours{24 * 36525};
    CHECK(parse_retry_after("99999999999999999999999999999999999999999999", now) == most);
    CHECK(parse_retry_after("Sun, 06 Nov 9994 08:40:37 GMT", now) == most);
    for (std::string_view const text : {"", " ", "-1", "1.5", "12 ", " 12", "0x10", "soon", "1e3"}) {
        INFO(text);
        CHECK(!parse_retry_after(text, now));
    }
}

TEST_CASE("the content type is matched without case and parameters") {
    CHECK(is_http_content_type("application/vnd.syncline"));
    CHECK(is_http_content_type("Application/Vnd.Syncline"));
    CHECK(is_http_content_type("application/vnd.syncline; version=1"));
    CHECK(is_http_content_type("application/vnd.syncline;version=1"));
    CHECK(!is_http_content_type(""));
    CHECK(!is_http_content_type("application/vnd.syncline2"));
    CHECK(!is_http_content_type("application/vnd.synclin"));
    CHECK(!is_http_content_type("text/html; charset=application/vnd.syncline"));
}
