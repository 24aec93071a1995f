// SPDX-License-Identifier: BSL-1.0

/// The HTTP transport against a server that is scripted byte by byte: what it sends, and what it makes of an answer.

#include <syncline/adapters/http_client.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <syncline/adapters/http_beast.hpp>

#include "adapters/asking.hpp"
#include "adapters/raw_http.hpp"
#include "support/catch.hpp"

using namespace syncline;
using namespace std::chrono_literals;
using asking::ask;
using asking::outcome;
using asking::to;
using raw_http::header;
using raw_http::reply;
using raw_http::step;
using after = step::after;

namespace {

http_options to(raw_http::server const& s) { return asking::to(s.port()); }

/// One answer to one request on a fresh connection.
outcome answered(std::string const& text, after then = after::go_on, http_options options = {}) {
    raw_http::server s({{{text, then}}});
    options.host = "127.0.0.1";
    options.port = s.port();
    options.exchange_timeout = (std::min)(options.exchange_timeout, milliseconds{3000});
    http_transport t(options);
    return ask(t);
}

struct tokens {
    std::vector<std::string> given;
    std::size_t at = 0;
    int refreshed = 0;
    status refresh_answer{};
    std::optional<failure> token_failure{};

    result<std::string> token() {
        if (token_failure) { return *token_failure; }
        return given[at];
    }
    status refresh() {
        ++refreshed;
        if (refresh_answer && at + 1 < given.size()) { ++at; }
        return refresh_answer;
    }
};
static_assert(bearer_source<tokens>);
static_assert(!bearer_source<int>);
static_assert(!live_transport<http_transport>);

}  // namespace

TEST_CASE("a request is a POST of our type, and the reply's body comes back") {
    raw_http::server s({{{reply("answer")}}});
    http_options o = to(s);
    o.target = "/v1/sync?shard=3";
    o.user_agent = "till/7 (venue)";
    http_transport t(o);
    outcome const out = ask(t, "question");
    CHECK(!out.failed);
    CHECK(out.text == "answer");
    REQUIRE(s.requests().size() == 1);
    std::string const request = s.requests()[0];
    CHECK(request.starts_with("POST /v1/sync?shard=3 HTTP/1.1\r\n"));
    CHECK(request.ends_with("\r\n\r\nquestion"));
    CHECK(header(request, "Host") == "127.0.0.1:" + std::to_string(s.port()));
    CHECK(header(request, "Content-Type") == "application/vnd.syncline");
    CHECK(header(request, "Accept") == "application/vnd.syncline");
    CHECK(header(request, "User-Agent") == "till/7 (venue)");
    CHECK(header(request, "Content-Length") == "8");
    CHECK(header(request, "Authorization").empty());
}

TEST_CASE("each status is the failure that the table says, and the connection lives on") {
    std::vector<int> codes;
    for (int const code :
         {201, 202, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410,
          411, 413, 415, 421, 422, 423, 425, 426, 429, 431, 451, 500, 501, 502, 503, 504, 507, 511, 599}) {
        codes.push_back(code);
    }
    std::vector<std::vector<step>> script(1);
    for (int const code : codes) {
        script.push_back({{reply("why", std::to_string(code) + " Whatever", "text/plain")}});
    }
    script.erase(script.begin());
    for (std::size_t i = 0; i < codes.size(); ++i) { script[i].push_back({reply("well")}); }
    raw_http::server s(script);
    for (int const code : codes) {
        INFO("status " << code);
        http_transport t(to(s));
        outcome const out = ask(t);
        status const said = from_http_status(code);
        if (said) {
            CHECK(out.failed == errc::foreign);  // 2xx, but not of our type
            CHECK(out.native() == code);
            continue;
        }
        CHECK(out.failed == said.error().code);
        CHECK(out.native() == code);
        if (said.error().code != errc::foreign) { CHECK(ask(t).text == "well"); }
    }
    CHECK(s.connections() == static_cast<int>(codes.size()));
}

TEST_CASE("an answer that is not ours is foreign, whatever its status says") {
    CHECK(answered(reply("<html>Sign in</html>", "200 OK", "text/html")).failed == errc::foreign);
    CHECK(answered(reply("answer", "200 OK", "")).failed == errc::foreign);
    CHECK(answered(reply("answer", "200 OK", "application/octet-stream")).failed == errc::foreign);
    CHECK(answered("HTTP/1.1 204 No Content\r\n\r\n").failed == errc::foreign);
    CHECK(answered(reply("x", "200 OK", "application/vnd.syncline", "Content-Encoding: gzip\r\n")).failed ==
          errc::foreign);
    CHECK(answered(reply("", "302 Found", "text/html", "Location: http://portal.example/\r\n")).failed ==
          errc::foreign);
    CHECK(answered("HTTP/1.1 304 Not Modified\r\n\r\n").failed == errc::foreign);
    // Not HTTP at all, or a header without end.
    CHECK(answered("SSH-2.0-OpenSSH_9.2p1\r\n", after::close).failed == errc::foreign);
    CHECK(answered(std::string(64, '\x15'), after::close).failed == errc::foreign);
    CHECK(answered("HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n").failed == errc::foreign);
    CHECK(answered("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!").failed == errc::foreign);
    CHECK(answered("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n").failed == errc::foreign);
    // Without a length a cut can't be told from the end.
    CHECK(answered("HTTP/1.1 200 OK\r\nContent-Type: application/vnd.syncline\r\n\r\nanswer", after::close).failed ==
          errc::foreign);
}

TEST_CASE("our content type is ours in any case and with parameters") {
    CHECK(answered(reply("yes", "200 OK", "Application/VND.Syncline; version=1")).text == "yes");
}

TEST_CASE("chunked replies come whole, however they are cut, also after interim responses") {
    std::string const chunked =
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.syncline\r\nTransfer-Encoding: chunked\r\n\r\n"
        "4;note=x\r\nansw\r\n2\r\ner\r\n0\r\nTrailer: 1\r\n\r\n";
    CHECK(answered(chunked).text == "answer");
    raw_http::server s({{{chunked, after::go_on, true, true}, {reply("next"), after::go_on, true, true}}});
    http_transport t(to(s));
    CHECK(ask(t).text == "answer");
    CHECK(ask(t).text == "next");
    CHECK(s.connections() == 1);
    CHECK(answered("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + reply("late"))
              .text == "late");
    std::string endless;
    for (int i = 0; i < 50; ++i) { endless += "HTTP/1.1 102 Processing\r\n\r\n"; }
    CHECK(answered(endless).failed == errc::foreign);
}

TEST_CASE("silence is timed_out, at whatever byte it begins") {
    std::string const whole = reply("answer");
    for (std::string const& begun :
         {std::string(), whole.substr(0, 9), whole.substr(0, whole.size() - 8), whole.substr(0, whole.size() - 1)}) {
        http_options o;
        o.exchange_timeout = 120ms;
        auto const from = std::chrono::steady_clock::now();
        outcome const out = answered(begun, after::hang, o);
        CHECK(out.failed == errc::timed_out);
        CHECK(std::chrono::steady_clock::now() - from < 2s);
    }
}

TEST_CASE("a connection that breaks is connection_lost, at whatever byte, and a fresh one is not tried twice") {
    std::string const whole = reply("answer");
    for (after const how : {after::close, after::reset}) {
        for (std::string const& begun : {std::string(), whole.substr(0, 9), whole.substr(0, whole.size() - 1)}) {
            raw_http::server s({{{begun, how}}, {{whole}}});
            http_transport t(to(s));
            CHECK(ask(t).failed == errc::connection_lost);
            CHECK(s.connections() == 1);
            CHECK(ask(t).text == "answer");
            CHECK(s.connections() == 2);
        }
    }
    CHECK(answered("HTTP/1.1 200 OK\r\nContent-Type: application/vnd.syncline\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "4\r\nansw\r\n",
                   after::close)
              .failed == errc::connection_lost);
}

TEST_CASE("an oversized reply is too_large, closes the connection, and hurts nobody after it") {
    std::string const chunked =
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.syncline\r\nTransfer-Encoding: chunked\r\n\r\n"
        "8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n";
    std::string const claimed =
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.syncline\r\nContent-Length: 18446744073709551615\r\n\r\n";
    for (std::string const& big : {reply("12345678901"), chunked, claimed}) {
        raw_http::server s({{{big}}, {{reply("1234567890")}}});
        http_options o = to(s);
        o.limits.reply_bytes_max = 10;
        http_transport t(o);
        CHECK(ask(t).failed == errc::too_large);
        CHECK(ask(t).text == "1234567890");
        CHECK(s.connections() == 2);
    }
    // An error's page may be longer than a reply.
    http_options o;
    o.limits.reply_bytes_max = 10;
    CHECK(answered(reply("a page of many words", "503 Busy", "text/html"), after::go_on, o).failed ==
          errc::peer_failed);
    CHECK(answered(reply(std::string(200'000, '.'), "403 No", "text/html"), after::go_on, o).failed == errc::forbidden);
}

TEST_CASE("a request over the limit is not sent") {
    raw_http::server s({});
    http_options o = to(s);
    o.limits.request_bytes_max = 3;
    http_transport t(o);
    CHECK(ask(t, "1234").failed == errc::too_large);
    CHECK(s.connections() == 0);
}

TEST_CASE("a connection is used again, unless one side says no or it is too old") {
    SECTION("used again") {
        raw_http::server s({{{reply("1")}, {reply("2")}, {reply("")}, {reply("4")}}});
        http_transport t(to(s));
        CHECK(ask(t).text == "1");
        CHECK(ask(t).text == "2");
        CHECK(ask(t).text == "");
        CHECK(ask(t, "").text == "4");
        CHECK(s.connections() == 1);
    }
    SECTION("the peer says no") {
        raw_http::server s(
            {{{reply("1", "200 OK", "application/vnd.syncline", "Connection: close\r\n")}}, {{reply("2")}}});
        http_transport t(to(s));
        CHECK(ask(t).text == "1");
        CHECK(ask(t).text == "2");
        CHECK(s.connections() == 2);
    }
    SECTION("we say no") {
        raw_http::server s({{{reply("1")}}, {{reply("2")}}});
        http_options o = to(s);
        o.idle_max = 0ms;
        http_transport t(o);
        CHECK(ask(t).text == "1");
        CHECK(ask(t).text == "2");
        CHECK(s.connections() == 2);
        CHECK(header(s.requests()[0], "Connection") == "close");
    }
    SECTION("too old") {
        raw_http::server s({{{reply("1")}}, {{reply("2")}}});
        http_options o = to(s);
        o.idle_max = 20ms;
        http_transport t(o);
        CHECK(ask(t).text == "1");
        std::this_thread::sleep_for(40ms);
        CHECK(ask(t).text == "2");
        CHECK(s.connections() == 2);
    }
    SECTION("closed by the program") {
        raw_http::server s({{{reply("1")}}, {{reply("2")}}});
        http_transport t(to(s));
        CHECK(ask(t).text == "1");
        t.close();
        CHECK(ask(t).text == "2");
        CHECK(s.connections() == 2);
    }
    SECTION("the peer sent more than was asked") {
        raw_http::server s({{{reply("1") + reply("unasked")}}, {{reply("2")}}});
        http_transport t(to(s));
        CHECK(ask(t).text == "1");
        CHECK(ask(t).text == "2");
        CHECK(s.connections() == 2);
    }
}

TEST_CASE("a kept connection that broke before a byte of the reply is replaced once, unseen") {
    SECTION("closed while idle") {
        for (after const how : {after::close, after::reset}) {
            raw_http::server s({{{reply("1"), how}}, {{reply("2")}}});
            http_transport t(to(s));
            CHECK(ask(t).text == "1");
            std::this_thread::sleep_for(10ms);
            CHECK(ask(t).text == "2");
        }
    }
    SECTION("closed on the next request") {
        for (after const how : {after::close, after::reset}) {
            raw_http::server s({{{reply("1")}, {"", how}}, {{reply("2")}}});
            http_transport t(to(s));
            CHECK(ask(t).text == "1");
            CHECK(ask(t, "twice").text == "2");
            CHECK(s.requests().size() == 3);
            CHECK(s.requests()[1] == s.requests()[2]);
        }
    }
    SECTION("not where a byte came") {
        raw_http::server s({{{reply("1")}, {"H", after::close}}, {{reply("2")}}});
        http_transport t(to(s));
        CHECK(ask(t).text == "1");
        CHECK(ask(t).failed == errc::connection_lost);
        CHECK(s.connections() == 1);
    }
    SECTION("not where it only took long") {
        raw_http::server s({{{reply("1")}, {"", after::hang}}, {{reply("2")}}});
        http_options o = to(s);
        o.exchange_timeout = 120ms;
        http_transport t(o);
        CHECK(ask(t).text == "1");
        CHECK(ask(t).failed == errc::timed_out);
        CHECK(s.connections() == 1);
        CHECK(ask(t).text == "2");
    }
    SECTION("only once") {
        raw_http::server s({{{reply("1")}, {"", after::close}}, {{"", after::close}}, {{reply("3")}}});
        http_transport t(to(s));
        CHECK(ask(t).text == "1");
        CHECK(ask(t).failed == errc::connection_lost);
        CHECK(s.connections() == 2);
    }
}

TEST_CASE("a 401 refreshes the token once and sends the request again") {
    std::string const no = reply("", "401 Unauthorized", "text/plain", "WWW-Authenticate: Bearer\r\n");
    SECTION("the new token is taken") {
        raw_http::server s({{{no}, {reply("welcome")}, {reply("again")}}});
        tokens source{{"old", "new"}};
        http_transport t(to(s), source);
        CHECK(ask(t).text == "welcome");
        CHECK(ask(t).text == "again");
        CHECK(source.refreshed == 1);
        CHECK(s.connections() == 1);
        REQUIRE(s.requests().size() == 3);
        CHECK(header(s.requests()[0], "Authorization") == "Bearer old");
        CHECK(header(s.requests()[1], "Authorization") == "Bearer new");
        CHECK(header(s.requests()[2], "Authorization") == "Bearer new");
        CHECK(s.requests()[1].ends_with("question"));
    }
    SECTION("a second 401 is unauthorised") {
        raw_http::server s({{{no}, {no}, {reply("not asked")}}});
        tokens source{{"old", "new"}};
        http_transport t(to(s), source);
        CHECK(ask(t).failed == errc::unauthorised);
        CHECK(source.refreshed == 1);
        CHECK(s.requests().size() == 2);
    }
    SECTION("a refresh that fails ends it") {
        raw_http::server s({{{no}, {reply("not asked")}}});
        tokens source{{"old", "new"}};
        source.refresh_answer = errc::unreachable;
        http_transport t(to(s), source);
        CHECK(ask(t).failed == errc::unreachable);
        CHECK(s.requests().size() == 1);
    }
    SECTION("without a source of tokens it is unauthorised at once") {
        raw_http::server s({{{no}, {reply("not asked")}}});
        http_transport t(to(s));
        outcome const out = ask(t);
        CHECK(out.failed == errc::unauthorised);
        CHECK(out.native() == 401);
        CHECK(s.requests().size() == 1);
    }
    SECTION("no token, no header") {
        raw_http::server s({{{reply("open house")}}});
        tokens source{{""}};
        http_transport t(to(s), source);
        CHECK(ask(t).text == "open house");
        CHECK(header(s.requests()[0], "Authorization").empty());
    }
    SECTION("a source that fails, or a token that would smuggle a header in, sends nothing") {
        raw_http::server s({});
        tokens source{{"x\r\nEvil: yes"}};
        http_transport t(to(s), source);
        CHECK(ask(t).failed == errc::invalid);
        source.token_failure = failure{errc::unauthorised, "signed out"};
        CHECK(ask(t).failed == errc::unauthorised);
        CHECK(s.connections() == 0);
    }
}

TEST_CASE("Retry-After comes with the failure, in both forms") {
    auto const hint = [](std::string const& headers, char const* head = "503 Busy") {
        return answered(reply("", head, "text/plain", headers)).retry_after;
    };
    CHECK(hint("Retry-After: 7\r\n") == 7s);
    CHECK(hint("Retry-After: 7\r\n", "429 Slow down") == 7s);
    CHECK(!hint(""));
    CHECK(!hint("Retry-After: soon\r\n"));
    // A date is counted from the server's own clock, wherever ours stands.
    CHECK(hint("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n") == 60s);
    auto const now = std::chrono::floor<milliseconds>(std::chrono::system_clock::now());
    auto const wait = hint("Retry-After: " + format_http_date(now + 100s) + "\r\n");
    REQUIRE(wait);
    CHECK(*wait <= 100s);
    CHECK(*wait > 90s);
}

TEST_CASE("what never connects is unreachable") {
    SECTION("refused") {
        std::uint16_t port = 0;
        {
            raw_http::server s({});
            port = s.port();
        }
        http_transport t(to(port));
        outcome const out = ask(t);
        CHECK(out.failed == errc::unreachable);
        CHECK(out.native() != 0);
    }
    SECTION("a name that does not exist, however long the system looks for it") {
        http_options o;
        o.host = "nobody.invalid";
        o.connect_timeout = 300ms;
        http_transport t(o);
        CHECK(ask(t).failed == errc::unreachable);
    }
    SECTION("a name that exists") {
        raw_http::server s({{{reply("hello")}}});
        http_options o = to(s);
        o.host = "localhost";
        http_transport t(o);
        CHECK(ask(t).text == "hello");
        CHECK(header(s.requests()[0], "Host") == "localhost:" + std::to_string(s.port()));
    }
}

TEST_CASE("an answer that comes before the request was sent counts") {
    raw_http::server s({{{reply("", "413 Too Large", "text/plain", "Connection: close\r\n"), after::close, false}}});
    http_transport t(to(s));
    CHECK(ask(t, std::string(std::size_t{8} << 20, 'x')).failed == errc::too_large);
}

TEST_CASE("options out of range send nothing") {
    raw_http::server s({});
    for (int which = 0; which < 9; ++which) {
        http_options o = to(s);
        switch (which) {
            case 0: o.host = ""; break;
            case 1: o.host = "a\r\nEvil: yes"; break;
            case 2: o.target = ""; break;
            case 3: o.target = "no-slash"; break;
            case 4: o.target = "/with space"; break;
            case 5: o.user_agent = "x\r\nEvil: yes"; break;
            case 6: o.connect_timeout = 0ms; break;
            case 7: o.exchange_timeout = -1ms; break;
            default: o.header_bytes_max = 0; break;
        }
        INFO("option " << which);
        CHECK(!valid(o));
        http_transport t(o);
        CHECK(ask(t).failed == errc::invalid);
    }
    CHECK(valid(http_options{}));
    CHECK(s.connections() == 0);
}

TEST_CASE("a completion may begin the next exchange, its own reply stays whole") {
    raw_http::server s({{{reply("outer")}, {reply("inner")}}});
    http_transport t(to(s));
    outcome inner;
    std::string outer_text;
    auto const outer = [&](transport_reply const& r) {
        t.exchange(as_bytes("second"), completion::to(inner));
        if (r.message) { outer_text = std::string(as_text(*r.message)); }
    };
    t.exchange(as_bytes("first"), completion::to(outer));
    CHECK(outer_text == "outer");
    CHECK(inner.text == "inner");
}

TEST_CASE("another thread cancels the exchange that is under way, and only that one") {
    raw_http::server s({{{"", after::hang}}, {{reply("well")}, {"", after::hang}}, {{reply("better")}}});
    http_transport t(to(s));
    auto const cancelled = [&] {
        std::thread other([&] {
            std::this_thread::sleep_for(30ms);
            t.cancel();
        });
        outcome const out = ask(t);
        other.join();
        return out.failed == errc::cancelled;
    };
    CHECK(cancelled());
    CHECK(ask(t).text == "well");
    CHECK(cancelled());
    t.cancel();
    t.cancel();
    CHECK(ask(t).text == "better");
    t.cancel();
}

TEST_CASE("a fault of syntax is told from a broken connection") {
    namespace http = boost::beast::http;
    CHECK(syncline::detail::is_http_syntax_error(http::make_error_code(http::error::bad_version)));
    CHECK(syncline::detail::is_http_syntax_error(http::make_error_code(http::error::header_limit)));
    CHECK(!syncline::detail::is_http_syntax_error(http::make_error_code(http::error::end_of_stream)));
    CHECK(!syncline::detail::is_http_syntax_error(http::make_error_code(http::error::partial_message)));
    CHECK(!syncline::detail::is_http_syntax_error(boost::asio::error::make_error_code(boost::asio::error::eof)));
    CHECK(!syncline::detail::is_http_syntax_error({}));
}
