// SPDX-License-Identifier: BSL-1.0
#pragma once

/// An HTTP server's handler that answers all requests that are there with one commit of the authority's store.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <syncline/adapters/http_server.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/storage/storage.hpp>
#include <syncline/transport/loopback.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Gathers the requests that have come while the store was committing, and answers them together (`serve_all`).
///
/// Nobody waits for more to come: one request that is alone is answered at once. Where a commit takes 4 ms of a disk, sixteen
/// devices that ask at a time wait for one commit and not for sixteen.
/// `now()` gives the host's `instant`; `told()` is called after each commit, to publish what is new. Both, the store and the
/// authority outlive it, and it the server. Requests are copied. Before `listen`: `attach(server)`.
/// Threads: the server's.
template <storage S, class Validate, class Journal, std::invocable Now, std::invocable Told>
class group_commit {
public:
    /// Precondition: requests_max > 0. So many are in one transaction at most.
    group_commit(S& store, authority<Validate, Journal> const& a, Now now, Told told, std::size_t requests_max = 64)
        : store_(store), authority_(a), now_(std::move(now)), told_(std::move(told)), requests_max_(requests_max) {
        SYNCLINE_ASSERT(requests_max > 0);
    }
    group_commit(group_commit const&) = delete;
    group_commit& operator=(group_commit const&) = delete;
    ~group_commit() = default;

    template <class Link>
    void attach(basic_http_server<Link>& server) noexcept {
        io_ = &server.context();
    }

    /// The server's call. Precondition: attached.
    [[nodiscard]] std::optional<peer_reply> operator()(request_context const& who, bytes_view message,
                                                       http_later const& later) {
        SYNCLINE_ASSERT(io_ != nullptr);
        waiting_.push_back({std::string{who.principal}, to_bytes(message), later});
        if (waiting_.size() == 1) { go_on(); }
        return std::nullopt;
    }

private:
    struct request_that_waits {
        std::string principal{};
        bytes message{};
        http_later later{};
    };

    /// What is there on other connections takes some turns of the loop to become a request: it is waited for while it does,
    /// some microseconds in all.
    void go_on(int quiet = 0) {
        std::size_t const before = waiting_.size();
        detail::asio::post(*io_, [this, quiet, before] {
            bool const more = waiting_.size() > before;
            if (waiting_.size() < requests_max_ && (more || quiet < quiet_turns)) {
                go_on(more ? 0 : quiet + 1);
            } else {
                answer();
            }
        });
    }
    void answer() {
        std::size_t const count = (std::min)(waiting_.size(), requests_max_);
        std::vector<asked_request> all;
        all.reserve(count);
        for (std::size_t i = 0; i < count; ++i) { all.push_back({waiting_[i].principal, waiting_[i].message}); }
        auto answers = serve_all(store_, authority_, all, now_());
        told_();
        for (std::size_t i = 0; i < count; ++i) {
            (void)waiting_[i].later(answers[i] ? peer_reply(std::move(*answers[i])) : peer_reply(answers[i].error()));
        }
        waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
        if (!waiting_.empty()) { go_on(); }
    }

    static constexpr int quiet_turns = 8;

    S& store_;
    authority<Validate, Journal> const& authority_;
    Now now_;
    Told told_;
    std::size_t requests_max_;
    detail::asio::io_context* io_ = nullptr;
    std::vector<request_that_waits> waiting_{};
};

}  // namespace syncline::inline SYNCLINE_ABI
