// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A transport whose n-th exchange goes wrong, to test what is built on transports.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What goes wrong with an exchange.
enum class transport_fault : std::uint8_t {
    undelivered,      ///< fails with `unreachable`, the peer saw nothing
    reply_lost,       ///< the peer acts, the exchange fails with `connection_lost`
    late_reply,       ///< the peer acts, the exchange fails with `timed_out`
    refused,          ///< fails with `peer_failed`, the peer saw nothing
    delivered_twice,  ///< the peer gets the request twice; the reply is that to the second
    replayed,         ///< goes well; the peer gets the same request once more before the next one
    truncated_reply,  ///< the peer acts; the reply's second half is missing, with no error
    corrupted_reply,  ///< the peer acts; one bit of the reply is another, with no error
    foreign_reply,    ///< the peer saw nothing; a captive portal's page comes as the reply, with no error
};

/// All of them, for loops.
inline constexpr std::array all_transport_faults{
    transport_fault::undelivered,     transport_fault::reply_lost,      transport_fault::late_reply,
    transport_fault::refused,         transport_fault::delivered_twice, transport_fault::replayed,
    transport_fault::truncated_reply, transport_fault::corrupted_reply, transport_fault::foreign_reply,
};

/// What `foreign_reply` gives.
inline constexpr std::string_view foreign_page =
    "<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>Please sign in to the network.</body></html>\n";

/// Passes exchanges on to a borrowed transport, and spoils those that it was told to.
///
/// The usual loop: for n = 1, 2, … spoil the n-th exchange of an operation, until `spoiled()` stays 0. The inner
/// transport must outlive this one's last exchange; when this object goes first, what is under way completes with
/// `errc::cancelled`. A reply that is empty can be neither cut nor corrupted: it stays.
template <transport T>
class faulty_transport {
public:
    explicit faulty_transport(T& inner) noexcept : inner_(inner) {}
    faulty_transport(faulty_transport const&) = delete;
    faulty_transport& operator=(faulty_transport const&) = delete;
    ~faulty_transport() {
        while (!under_way_.empty()) {
            passage* const p = under_way_.back();
            under_way_.pop_back();
            p->owner = nullptr;  // the inner transport still completes it once, to nobody
            if (p->user) {
                completion const user = *std::exchange(p->user, std::nullopt);
                user({failure{errc::cancelled, "the transport was destroyed"}, {}});
            }
        }
    }

    /// The `n`-th exchange from now on, counted from 1, goes wrong so. `seed` chooses the bit that is corrupted.
    void spoil(std::size_t n, transport_fault fault, std::uint64_t seed = 0) {
        SYNCLINE_ASSERT(n > 0);
        plans_.push_back({exchanges_ + n, fault, seed});
    }
    /// Forgets what was planned.
    void spare() noexcept { plans_.clear(); }
    /// How many exchanges were begun.
    [[nodiscard]] std::size_t exchanges() const noexcept { return exchanges_; }
    /// How many were spoiled.
    [[nodiscard]] std::size_t spoiled() const noexcept { return spoiled_; }

    void exchange(bytes_view request, completion done) {
        ++exchanges_;
        if (replay_) {
            bytes const again = *std::exchange(replay_, std::nullopt);
            pass(again, std::nullopt, std::nullopt);
        }
        auto const planned =
            std::find_if(plans_.begin(), plans_.end(), [this](plan const& p) { return p.exchange == exchanges_; });
        if (planned == plans_.end()) {
            pass(request, done, std::nullopt);
            return;
        }
        plan const now = *planned;
        plans_.erase(planned);
        ++spoiled_;
        switch (now.fault) {
            case transport_fault::undelivered: done({failure{errc::unreachable, "planned: not delivered"}, {}}); return;
            case transport_fault::refused: done({failure{errc::peer_failed, "planned: refused"}, {}}); return;
            case transport_fault::foreign_reply: done({as_bytes(foreign_page), {}}); return;
            case transport_fault::delivered_twice:
                pass(request, std::nullopt, std::nullopt);
                pass(request, done, std::nullopt);
                return;
            case transport_fault::replayed:
                replay_ = to_bytes(request);
                pass(request, done, std::nullopt);
                return;
            case transport_fault::reply_lost:
            case transport_fault::late_reply:
            case transport_fault::truncated_reply:
            case transport_fault::corrupted_reply: pass(request, done, now); return;
        }
    }
    [[nodiscard]] transport_limits limits() const { return std::as_const(inner_).limits(); }

    [[nodiscard]] status receive(message_visitor visit) requires(live_transport<T>) { return inner_.receive(visit); }
    [[nodiscard]] bool connected() const requires(live_transport<T>) { return std::as_const(inner_).connected(); }

private:
    struct plan {
        std::size_t exchange = 0;
        transport_fault fault{};
        std::uint64_t seed = 0;
    };
    /// One exchange with the inner transport; it frees itself when that completes it.
    struct passage {
        faulty_transport* owner = nullptr;
        std::optional<completion> user{};  ///< none: the reply is for nobody
        std::optional<plan> spoiling{};
    };

    void pass(bytes_view request, std::optional<completion> user, std::optional<plan> spoiling) {
        under_way_.reserve(under_way_.size() + 1);
        auto* const p = new passage{this, user, spoiling};
        under_way_.push_back(p);
        // An exchange that is left by an exception completes nothing any more.
        struct guard {
            faulty_transport* owner;
            passage* entered;
            bool returned = false;
            ~guard() {
                if (!returned && std::erase(owner->under_way_, entered) != 0) { delete entered; }
            }
        } leaving{this, p};
        inner_.exchange(request, completion{&arrived, p});
        leaving.returned = true;
    }

    static void arrived(void* context, transport_reply const& reply) {
        auto* const p = static_cast<passage*>(context);
        passage const ended = *p;
        if (ended.owner != nullptr) { std::erase(ended.owner->under_way_, p); }
        delete p;
        if (!ended.user) { return; }
        if (!ended.spoiling) {
            (*ended.user)(reply);
            return;
        }
        switch (ended.spoiling->fault) {
            case transport_fault::reply_lost:
                (*ended.user)({failure{errc::connection_lost, "planned: reply lost"}, {}});
                return;
            case transport_fault::late_reply:
                (*ended.user)({failure{errc::timed_out, "planned: reply late"}, {}});
                return;
            default: break;
        }
        if (!reply.message || reply.message->empty()) {
            (*ended.user)(reply);
            return;
        }
        bytes spoiled = to_bytes(*reply.message);
        if (ended.spoiling->fault == transport_fault::truncated_reply) {
            spoiled.resize(spoiled.size() / 2);
        } else {
            std::uint64_t const bit = ended.spoiling->seed % (spoiled.size() * 8);
            spoiled[static_cast<std::size_t>(bit / 8)] ^= std::byte{1} << static_cast<int>(bit % 8);
        }
        (*ended.user)({bytes_view{spoiled}, reply.retry_after});
    }

    T& inner_;
    std::vector<plan> plans_;
    std::vector<passage*> under_way_;
    std::optional<bytes> replay_;
    std::size_t exchanges_ = 0;
    std::size_t spoiled_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI::testing
