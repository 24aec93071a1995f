// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What has arrived on a live connection and nobody has received yet.

#include <cstddef>
#include <optional>
#include <utility>

#include <syncline/core/bytes.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/transport/fifo.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI::detail {

/// Messages in order, with a gap where some may be missing; two gaps beside each other are one.
class live_inbox {
public:
    struct bounds {
        std::size_t message_bytes_max = 0;
        std::size_t messages_max = 0;  ///< messages and gaps
        std::size_t bytes_max = 0;     ///< of all messages together
    };

    [[nodiscard]] bool empty() const noexcept { return all_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }

    /// Adds a message, or a gap where it is over a bound.
    void add(bytes_view message, bounds const& most) {
        if (message.size() > most.message_bytes_max || all_.size() >= most.messages_max || bytes_ > most.bytes_max ||
            message.size() > most.bytes_max - bytes_) {
            return gap();
        }
        all_.push(to_bytes(message));
        bytes_ += message.size();
        gap_last_ = false;
    }
    void gap() {
        if (!all_.empty() && gap_last_) { return; }
        all_.push(std::nullopt);
        gap_last_ = true;
    }

    /// Hands over what has arrived up to the next gap, and takes that out: connection_lost. What `visit` lets arrive stays.
    [[nodiscard]] status receive(message_visitor visit) {
        for (std::size_t left = all_.size(); left != 0; --left) {
            std::optional<bytes> const next = all_.pop();
            if (!next) { return failure{errc::connection_lost, "messages may have been missed"}; }
            bytes_ -= next->size();
            visit(*next);
        }
        return {};
    }

private:
    fifo<std::optional<bytes>> all_{};  ///< nothing: a gap
    std::size_t bytes_ = 0;
    bool gap_last_ = false;
};

}  // namespace syncline::inline SYNCLINE_ABI::detail
