// SPDX-License-Identifier: BSL-1.0
#pragma once

/// One question over a transport to a server of this test, and what came of it.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <syncline/adapters/http_client.hpp>

#include "support/catch.hpp"

namespace asking {

struct outcome {
    int calls = 0;
    std::optional<syncline::failure> failed;
    std::string text;
    std::optional<syncline::milliseconds> retry_after;

    void operator()(syncline::transport_reply const& r) {
        ++calls;
        retry_after = r.retry_after;
        if (r.message) {
            text = std::string(syncline::as_text(*r.message));
        } else {
            failed = r.message.error();
        }
    }
    /// What HTTP or the system said; 0 for nothing.
    [[nodiscard]] int native() const { return failed ? failed->native : 0; }
};

template <class T>
outcome ask(T& transport, std::string_view request = "question") {
    outcome out;
    transport.exchange(syncline::as_bytes(request), syncline::completion::to(out));
    CHECK(out.calls == 1);
    return out;
}

/// Options for a server on this machine, which answers soon or never.
inline syncline::http_options to(std::uint16_t port) {
    syncline::http_options o;
    o.host = "127.0.0.1";
    o.port = port;
    o.connect_timeout = std::chrono::seconds{2};
    o.exchange_timeout = std::chrono::seconds{3};
    return o;
}

}  // namespace asking
