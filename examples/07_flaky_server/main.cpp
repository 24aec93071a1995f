// SPDX-License-Identifier: BSL-1.0
// An outbox empties itself into a server that refuses, forgets, hangs and is at times a hotel's sign-in page. One
// retry policy says what to do about each; a table shows what became of each entry.

#include <chrono>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/adapters/http_client.hpp>
#include <syncline/outbox.hpp>
#include <syncline/retry.hpp>
#include <syncline/storage.hpp>

#include "server.hpp"

using namespace syncline;

namespace {

/// Time that waits are added to instead of being slept through, so that the example takes a second.
struct played_clock {
    milliseconds passed{0};
    [[nodiscard]] wall_time wall() const { return wall_time{milliseconds{1'790'000'000'000} + passed}; }
    [[nodiscard]] monotonic_time monotonic() const { return monotonic_time{passed}; }
};

std::string minutes(milliseconds t) {
    auto const s = t.count() / 1000;
    return std::to_string(s / 60) + (s % 60 < 10 ? ":0" : ":") + std::to_string(s % 60);
}

/// What became of an entry.
struct fate {
    std::string heard;  ///< what the client understood of the server's answers
    std::string ended = "still waiting";
    int attempts = 0;
};

class sender {
public:
    sender(std::uint16_t port, memory_storage& store)
        : way_(
              {.host = "127.0.0.1", .port = port, .exchange_timeout = milliseconds{3000}, .idle_max = milliseconds{0}}),
          store_(store) {}

    std::map<std::uint64_t, fate>& fates() { return fates_; }

    /// Sends what is due until nothing is left, playing the waits.
    status run() {
        for (;;) {
            auto tx = store_.begin(access_mode::write);
            if (!tx) { return tx.error(); }
            auto claimed = box_.claim(*tx, {.entries_max = 1}, clock_.wall());
            if (!claimed) { return claimed.error(); }
            auto const due = box_.next_due(*tx, clock_.wall());
            if (!due) { return due.error(); }
            if (auto ok = tx->commit(); !ok) { return ok; }
            if (!claimed->empty()) {
                if (auto ok = send(claimed->front()); !ok) { return ok; }
            } else if (*due) {
                clock_.passed += **due - clock_.wall();
            } else {
                return {};
            }
        }
    }

private:
    // region: send
    /// One attempt, and what the policy makes of how it went.
    status send(outbox_entry const& entry) {
        retry_decision decision = policy_.begin(clock_.monotonic());
        fate& f = fates_[entry.token];
        if (decision.action == retry_action::go) {
            ++f.attempts;
            failed_attempt attempt{.attempts = entry.attempts + 1};
            bool sent = false;
            auto done = [&](transport_reply const& reply) {
                sent = reply.message.has_value();
                if (!sent) { attempt.why = reply.message.error(); }
                attempt.retry_after = reply.retry_after;
            };
            way_.exchange(entry.payload, completion::to(done));
            if (sent) {
                policy_.succeeded(clock_.monotonic(), {}, entry.attempts > 0);
                f.ended = "sent";
                tell(entry, "200", "sent");
                return finish([&](auto& tx) { return box_.ack(tx, entry.token, entry.fence); });
            }
            decision = policy_.failed(attempt, clock_.monotonic(), random_);
            f.heard = message(attempt.why.code);
            if (attempt.why.native >= 200 && attempt.why.native < 600) {  // the HTTP status
                f.heard += " (" + std::to_string(attempt.why.native) + ')';
            }
            tell(entry, f.heard, decision);
        }
        return finish([&](auto& tx) { return act(tx, entry, decision, f); });
    }

    template <class Tx>
    status act(Tx& tx, outbox_entry const& entry, retry_decision const& decision, fate& f) {
        switch (decision.action) {
            case retry_action::go:
            case retry_action::hold:
            case retry_action::wait: return box_.release(tx, entry.token, entry.fence, clock_.wall() + decision.wait);
            case retry_action::sign_in:  // here a program gets a new token
                return box_.release(tx, entry.token, entry.fence, clock_.wall());
            case retry_action::shrink: {
                bytes const smaller = to_bytes(bytes_view(entry.payload).first(entry.payload.size() / 2));
                if (auto ok = box_.set_payload(tx, entry.token, entry.fence, smaller); !ok) { return ok; }
                return box_.release(tx, entry.token, entry.fence, clock_.wall());
            }
            case retry_action::resolve: f.ended = "to be merged"; break;
            case retry_action::give_up:
            case retry_action::expire: f.ended = "dead letter"; break;
            case retry_action::park: f.ended = "parked for a person"; break;
        }
        return box_.bury(tx, entry.token, entry.fence, errc::rejected, as_bytes(decision.why));
    }
    // endregion: send

    template <class F>
    status finish(F&& work) {
        auto tx = store_.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        if (auto ok = work(*tx); !ok) { return ok; }
        return tx->commit();
    }

    void tell(outbox_entry const& entry, std::string_view heard, retry_decision const& d) {
        std::string said = name(d.action);
        if (d.action == retry_action::wait) { said += ' ' + minutes(d.wait); }
        tell(entry, heard, said + " (" + name(d.part) + ": " + d.why + ')');
    }
    void tell(outbox_entry const& entry, std::string_view heard, std::string const& said) {
        std::cout << std::right << std::setw(6) << minutes(clock_.passed) << "  " << std::left << std::setw(13)
                  << as_text(entry.payload).substr(0, 12) << std::setw(46) << heard << said << '\n';
    }

    played_clock clock_;
    http_transport way_;
    memory_storage& store_;
    outbox const box_;
    retry_policy<> policy_;
    random_generator random_{7};  // a program takes the system's entropy
    std::map<std::uint64_t, fate> fates_;
};

status play() {
    answer const portal{"200 OK", "Content-Type: text/html\r\n", "<html>Welcome to our hotel! Please sign in.</html>"};
    flaky_server server({{"room plan", {ours("401 Unauthorized")}},
                         {"guest list", {ours("409 Conflict")}},
                         {"photo photo", {ours("413 Content Too Large")}},
                         {"old menu", {ours("422 Unprocessable Content")}},
                         {"seating", {ours("429 Too Many Requests", "Retry-After: 30\r\n")}},
                         {"till report", {ours("503 Service Unavailable")}},
                         {"toast", {portal, portal}},
                         {"playlist", {answer{}}}});
    std::vector<std::string> const work{"menu",    "room plan",   "guest list", "photo photo", "old menu",
                                        "seating", "till report", "toast",      "playlist"};
    memory_storage store;
    outbox const box;
    std::vector<std::uint64_t> tokens;
    {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        for (std::string const& what : work) {
            auto const token = box.enqueue(*tx, {.payload = as_bytes(what)}, played_clock{}.wall());
            if (!token) { return token.error(); }
            tokens.push_back(*token);
        }
        if (auto ok = tx->commit(); !ok) { return ok; }
    }
    sender s(server.port(), store);
    if (auto ok = s.run(); !ok) { return ok; }

    std::cout << '\n'
              << std::left << std::setw(13) << "entry" << std::setw(10) << "attempts" << std::setw(22) << "became"
              << "last failure\n";
    for (std::size_t i = 0; i < work.size(); ++i) {
        fate const& f = s.fates()[tokens[i]];
        std::cout << std::setw(13) << work[i] << std::setw(10) << f.attempts << std::setw(22) << f.ended
                  << (f.heard.empty() ? "none" : f.heard) << '\n';
    }
    return {};
}

}  // namespace

int main() {
    status const outcome = play();
    if (!outcome) {
        std::cerr << message(outcome.error().code) << ": " << outcome.error().detail << '\n';
        return 1;
    }
}
