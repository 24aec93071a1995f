// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Pulls that wait at the authority's end until there is something to tell: rows come with the change, not after it.

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/replica/protocol.hpp>

namespace syncline::inline SYNCLINE_ABI {

struct held_pull_options {
    std::size_t questions_max = 10'000;                      ///< held at a time
    std::size_t question_bytes_max = std::size_t{64} << 10;  ///< of one
    decode_limits message{};                                 ///< of strangers' messages
};

/// Holds questions (`pull_message`) of devices until the authority is past what they hold. Then each is answered once, as
/// any request is: so what is told is what the next pull would bring, with its rights, in its order, and may be lost,
/// doubled or late as any reply. The device `absorb`s it, and asks anew with its next cursor; who misses one, asks by its
/// interval.
///
/// What is held is lost with the process, and is no state: a device whose connection ends asks again. A value for one
/// thread. Cost: O(log held) to hold and to drop; `wake` is linear in those that are answered.
class held_pulls {
public:
    /// Which connection it is of, as the host numbers them.
    using asker = std::uint64_t;

    explicit held_pulls(held_pull_options options = {}) : options_(options) {}

    /// Holds a question, in the place of the asker's last one; false: the authority, whose last position is `head`, has
    /// something to tell already, so answer it now. `question` is a stranger's. Errors: those of `decode_request`;
    /// `errc::invalid` for one that sends something, as that is an exchange's; `errc::limit` for a question that is too
    /// large, or one too many. Nothing is held of the asker then.
    [[nodiscard]] result<bool> hold(asker who, std::string_view principal, bytes_view question, position head) {
        drop(who);
        if (question.size() > options_.question_bytes_max) { return failure{errc::limit, "question too large"}; }
        auto const q = decode_request(question, options_.message);
        if (!q) { return q.error(); }
        if (!q->mutations.empty() || (q->relayed && !q->relayed->empty())) {
            return failure{errc::invalid, "a question that sends something"};
        }
        if (!q->epoch || q->cursor < head) { return false; }
        if (held_.size() >= options_.questions_max) { return failure{errc::limit, "too many questions"}; }
        held_.emplace(who, waiting{std::string{principal}, to_bytes(question), q->cursor});
        order_.insert({q->cursor, who});
        return true;
    }
    /// Its connection has ended, or it has asked otherwise.
    void drop(asker who) {
        auto const at = held_.find(who);
        if (at == held_.end()) { return; }
        order_.erase({at->second.cursor, who});
        held_.erase(at);
    }
    /// After a commit: hands over each question that the authority, at `head`, is past, to be answered now; it is held no
    /// more. How many there were.
    std::size_t wake(position head, function_ref<void(asker, std::string_view principal, bytes_view question)> answer) {
        std::vector<std::pair<asker, waiting>> due;
        while (!order_.empty() && order_.begin()->first < head) {
            auto const at = held_.find(order_.begin()->second);
            due.emplace_back(at->first, std::move(at->second));
            held_.erase(at);
            order_.erase(order_.begin());
        }
        for (auto const& [who, one] : due) { answer(who, one.principal, one.question); }
        return due.size();
    }
    [[nodiscard]] std::size_t size() const noexcept { return held_.size(); }

private:
    struct waiting {
        std::string principal{};
        bytes question{};
        position cursor = 0;
    };

    held_pull_options options_;
    std::map<asker, waiting> held_{};
    std::set<std::pair<position, asker>> order_{};
};

}  // namespace syncline::inline SYNCLINE_ABI
