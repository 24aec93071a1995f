// SPDX-License-Identifier: BSL-1.0

/// The classes of failures: each code has one, and the mappings from elsewhere agree with it.

#include <syncline/retry/classification.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <system_error>

#include <syncline/adapters/http_status.hpp>
#include <syncline/adapters/sqlite.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

using enum failure_class;

static_assert(classify(errc::peer_failed) == transient && classify(errc::throttled) == throttled);
static_assert(classify(errc{}) == unknown && classify(static_cast<errc>(255)) == unknown);
static_assert(classify(std::errc::connection_refused) == transient && classify(std::errc::file_exists) == conflict);
static_assert(classify(std::errc::io_error) == unknown && classify(std::errc::message_size) == too_large);

}  // namespace

TEST_CASE("every HTTP status has one class") {
    struct row {
        int status;
        failure_class kind;
    };
    for (row const& r :
         {row{400, rejected},  row{401, unauthorised}, row{402, rejected},  row{403, rejected},  row{404, transient},
          row{407, transient}, row{408, transient},    row{409, conflict},  row{412, conflict},  row{413, too_large},
          row{415, rejected},  row{422, rejected},     row{423, transient}, row{425, transient}, row{426, rejected},
          row{429, throttled}, row{451, rejected},     row{500, transient}, row{502, transient}, row{503, transient},
          row{504, transient}, row{511, transient},    row{302, transient}, row{200, unknown},   row{204, unknown},
          row{0, transient},   row{-1, transient},     row{999, transient}}) {
        INFO(r.status);
        CHECK(classify_http_status(r.status) == r.kind);
    }
    // One table: what the transports make of a status is classified as the status is.
    for (int status = -5; status < 1000; ++status) {
        auto const said = from_http_status(status);
        if (!said) { REQUIRE(classify(said.error()) == classify_http_status(status)); }
    }
}

TEST_CASE("what a server of ours says of a failure reaches the client in a class that fits") {
    for (int n = 1; n <= 32; ++n) {
        auto const e = static_cast<errc>(n);
        failure_class const here = classify(e);
        failure_class const there = classify_http_status(to_http_status(e));
        INFO(message(e));
        CHECK(there != unknown);
        // What may pass on the server may pass for the client too; what lies in the request does not.
        if (here == unauthorised || here == throttled) { CHECK(there == here); }
        if (here == rejected) { CHECK(there == rejected); }
    }
}

TEST_CASE("SQLite's codes have the class of what the adapter makes of them") {
    for (int code = 0; code < 0x10000; ++code) {
        errc const e = from_sqlite(code);
        INFO(code);
        REQUIRE(classify_sqlite(code) == (e == errc{} ? unknown : classify(e)));
    }
}

TEST_CASE("system errors: the network's are transient, the disk's are not guessed at") {
    CHECK(from_errc(std::errc::timed_out).code == errc::timed_out);
    CHECK(from_errc(std::errc::timed_out).native == static_cast<int>(std::errc::timed_out));
    CHECK(from_errc(std::errc::connection_reset).code == errc::connection_lost);
    CHECK(from_errc(std::errc::no_space_on_device).code == errc::storage_full);
    for (std::errc const e : {std::errc::host_unreachable, std::errc::broken_pipe, std::errc::interrupted,
                              std::errc::resource_unavailable_try_again, std::errc::network_down}) {
        CHECK(classify(e) == transient);
    }
    CHECK(classify(std::errc::permission_denied) == rejected);
    CHECK(classify(std::errc::is_a_directory) == unknown);
}

TEST_CASE("classes have names and numbers that stay") {
    struct row {
        failure_class kind;
        int number;
        char const* name;
    };
    for (row const& r : {row{transient, 1, "transient"}, row{throttled, 2, "throttled"},
                         row{unauthorised, 3, "unauthorised"}, row{rejected, 4, "rejected"},
                         row{conflict, 5, "conflict"}, row{too_large, 6, "too large"}, row{unknown, 7, "unknown"}}) {
        CHECK(static_cast<int>(r.kind) == r.number);
        CHECK(std::string(name(r.kind)) == r.name);
    }
    CHECK(std::string(name(static_cast<failure_class>(77))) == "unknown");
}
