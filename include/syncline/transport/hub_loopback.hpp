// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A live transport to a hub in the same process: for tests, and for programs that hold both ends.

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <syncline/core/bytes.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/transport/live_frame.hpp>
#include <syncline/transport/live_hub.hpp>
#include <syncline/transport/loopback.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// One member of a hub. Live frames go to the hub, other messages to the handler; an exchange is complete when `exchange`
/// returns. The first one joins the hub; when the hub has ended the member, or `disconnect` was called, `receive` says so,
/// and the next exchange joins again.
///
/// Hub, handler, `may` and `now` are borrowed. Cost: what the hub costs; nothing of its own.
class hub_loopback {
public:
    template <peer_handler H>
    hub_loopback(live_hub& hub, H& handler, std::string_view principal,
                 function_ref<bool(std::string_view principal, std::string_view topic)> may,
                 function_ref<monotonic_time()> now, transport_limits limits = {})
        : hub_(hub), handler_(handler), principal_(principal), may_(may), now_(now), limits_(limits) {}
    hub_loopback(hub_loopback const&) = delete;
    hub_loopback& operator=(hub_loopback const&) = delete;
    ~hub_loopback() { close(); }

    void exchange(bytes_view request, completion done) {
        if (!reachable_) { return done({failure{errc::unreachable, "disconnected"}, {}}); }
        if (!connected()) {
            auto const joined = hub_.join(principal_, now_());
            if (!joined) { return done({joined.error(), {}}); }
            gap_ = member_.has_value();  // a loss that `receive` has not told of
            member_ = *joined;
        }
        auto answer = [this](bytes_view message) -> peer_reply {
            if (is_live_frame(message)) { return hub_.answer(*member_, message, now_(), may_); }
            hub_.heard(*member_, now_());
            return handler_(message);
        };
        loopback_transport(answer, limits_).exchange(request, done);
    }
    [[nodiscard]] transport_limits limits() const noexcept { return limits_; }

    /// Hands over what waits for the member; `connection_lost` once after each loss, and while
    /// there is no connection.
    [[nodiscard]] status receive(message_visitor visit) {
        if (std::exchange(gap_, false)) { return failure{errc::connection_lost, "messages may have been missed"}; }
        if (!connected()) {
            close();
            member_.reset();
            return failure{errc::connection_lost, "disconnected"};
        }
        while (auto const message = hub_.take(*member_)) { visit(*message); }
        return {};
    }
    [[nodiscard]] bool connected() const { return reachable_ && member_ && hub_.has(*member_); }

    /// Leaves the hub; the next exchange joins it again.
    void close() {
        if (member_) { hub_.leave(*member_); }
    }
    /// The network is gone, until `reconnect`.
    void disconnect() {
        close();
        reachable_ = false;
    }
    void reconnect() noexcept { reachable_ = true; }
    /// Under which name the hub knows it; empty before the first exchange and after a loss was told.
    [[nodiscard]] std::optional<live_hub::member> member() const noexcept { return member_; }

private:
    live_hub& hub_;
    function_ref<peer_reply(bytes_view)> handler_;
    std::string principal_;
    function_ref<bool(std::string_view, std::string_view)> may_;
    function_ref<monotonic_time()> now_;
    transport_limits limits_;
    std::optional<live_hub::member> member_{};
    bool gap_ = false;
    bool reachable_ = true;
};
static_assert(live_transport<hub_loopback>);

}  // namespace syncline::inline SYNCLINE_ABI
