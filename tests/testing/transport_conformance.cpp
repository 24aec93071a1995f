// SPDX-License-Identifier: BSL-1.0

/// The conformance suite passes good models and finds each planted defect under the axiom that it breaks.

#include <syncline/testing/transport_conformance.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/testing/violation.hpp>
#include <syncline/transport/loopback.hpp>

#include "support/catch.hpp"

using namespace syncline;
using namespace syncline::testing;

namespace {

constexpr transport_limits few_bytes{.request_bytes_max = 80'000, .reply_bytes_max = 90'000};

struct loopback_fixture {
    conformance_peer& peer;
    loopback_transport transport{peer, few_bytes};
    loopback_transport& subject() { return transport; }
    void drive() {}
};

struct live_loopback_fixture {
    conformance_peer& peer;
    live_loopback transport{peer, {.limits = few_bytes}};
    live_loopback& subject() { return transport; }
    void drive() { transport.run(); }
    void push(bytes_view m) { static_cast<void>(transport.push(m)); }
    void disconnect() { transport.disconnect(); }
    void reconnect() { transport.reconnect(); }
};
static_assert(transport_fixture<loopback_fixture> && !live_fixture<loopback_fixture>);
static_assert(live_fixture<live_loopback_fixture> && breakable_fixture<live_loopback_fixture>);

/// What is wrong with a `suspect`.
enum class defect {
    none,
    completes_twice,
    never_completes,
    drops_at_destruction,
    succeeds_at_destruction,
    flips_a_bit,
    cuts_long_requests,
    cuts_long_replies,
    ends_at_zero_byte,
    drops_empty_requests,
    refuses_the_last_byte,
    mixes_replies_up,
    takes_long_requests,
    takes_long_replies,
    cuts_to_the_limit,
    changes_its_limits,
    stays_broken,
    stays_broken_after_long_message,
    swallows_failures,
    pushes_reversed,
    pushes_twice,
    pushes_again_later,
    loses_pushes,
    cuts_pushes,
    hides_the_gap,
    tells_the_gap_late,
    keeps_the_view,
    trims_line_ends,
    trims_a_zero,
    trims_zeros,
    invents_a_wait,
    says_unreachable,
    one_refusal_for_all,
    one_code_for_unauthorised,
    one_code_for_too_large,
    shortens_long_waits,
    rounds_waits_down,
    forgets_short_waits_units,
    counts_waits_in_32_bits,
    wait_stays,
    silence_is_unreachable,
    silence_is_success,
    waits_for_ever,
    late_reply_to_the_next,
    takes_the_page,
    page_is_peer_failed,
    page_stays,
};

/// A live transport of its own, with one defect.
class suspect {
public:
    suspect(conformance_peer& peer, defect what) : peer_(peer), what_(what) {}
    suspect(suspect const&) = delete;
    suspect& operator=(suspect const&) = delete;
    ~suspect() {
        if (what_ == defect::drops_at_destruction) { return; }
        for (waiting& w : std::exchange(waiting_, {})) {
            if (what_ == defect::succeeds_at_destruction) {
                w.done({bytes_view{}, {}});
            } else {
                w.done({errc::cancelled, {}});
            }
        }
    }

    void exchange(bytes_view request, completion done) {
        bytes copy = to_bytes(request);
        if (what_ == defect::cuts_to_the_limit && copy.size() > few_bytes.request_bytes_max) {
            copy.resize(few_bytes.request_bytes_max);
        }
        waiting_.push_back({std::move(copy), done, request});
    }
    [[nodiscard]] transport_limits limits() const {
        transport_limits l = few_bytes;
        if (what_ == defect::changes_its_limits) { l.reply_bytes_max += served_; }
        return l;
    }

    void silence() { silent_ = true; }
    void speak() { silent_ = false; }
    void intercept(bytes_view page) { page_ = to_bytes(page); }
    void release() {
        if (what_ != defect::page_stays) { page_.reset(); }
    }

    void drive() {
        while (!waiting_.empty()) {
            if (what_ == defect::mixes_replies_up && waiting_.size() > 1) {
                std::swap(waiting_[0].done, waiting_[1].done);
            }
            waiting const next = waiting_.front();
            waiting_.erase(waiting_.begin());
            ++served_;
            serve(next);
        }
    }

    [[nodiscard]] status receive(message_visitor visit) {
        if (what_ == defect::pushes_reversed) { std::reverse(arrived_.begin(), arrived_.end()); }
        bool late = false;
        std::optional<bytes> last;
        while (!arrived_.empty()) {
            std::optional<bytes> const next = std::exchange(arrived_.front(), std::nullopt);
            arrived_.erase(arrived_.begin());
            if (!next) {
                if (what_ == defect::hides_the_gap) { continue; }
                if (what_ != defect::tells_the_gap_late) { return errc::connection_lost; }
                late = true;
                continue;
            }
            visit(*next);
            if (what_ == defect::pushes_twice) { visit(*next); }
            last = next;
        }
        if (what_ == defect::pushes_again_later && last) { arrived_.push_back(last); }
        if (late || !connected_) { return errc::connection_lost; }
        return {};
    }
    [[nodiscard]] bool connected() const { return connected_; }

    void push(bytes_view m) {
        ++pushes_;
        bytes copy = to_bytes(m);
        if (what_ == defect::loses_pushes && pushes_ % 5 == 0) { return; }
        if (what_ == defect::cuts_pushes && copy.size() > 1000) { copy.resize(1000); }
        if (connected_) { arrived_.push_back(std::move(copy)); }
    }
    void disconnect() {
        connected_ = false;
        arrived_.push_back(std::nullopt);
    }
    void reconnect() { connected_ = true; }

private:
    struct waiting {
        bytes request{};
        completion done{};
        bytes_view view{};
    };

    void serve(waiting const& w) {
        if (!connected_ && what_ == defect::says_unreachable) { static_cast<void>(peer_(w.request)); }
        if (!connected_ || broken_) {
            w.done({errc::unreachable, {}});
            return;
        }
        bytes request = what_ == defect::keeps_the_view ? to_bytes(w.view) : w.request;
        std::size_t most = few_bytes.request_bytes_max;
        if (what_ == defect::refuses_the_last_byte) { --most; }
        if (request.size() > most && what_ != defect::takes_long_requests) {
            broken_ = what_ == defect::stays_broken_after_long_message;
            w.done({errc::too_large, {}});
            return;
        }
        if (what_ == defect::never_completes && request.size() == 3) { return; }
        if (what_ == defect::drops_empty_requests && request.empty()) {
            w.done({bytes_view{conformance_peer::answer_to({})}, {}});
            return;
        }
        if (what_ == defect::cuts_long_requests && request.size() > 65'536) { request.resize(65'536); }
        if (what_ == defect::ends_at_zero_byte) {
            request.erase(std::find(request.begin(), request.end(), std::byte{0}), request.end());
        }
        if (page_) {
            if (what_ == defect::takes_the_page) {
                w.done({bytes_view{*page_}, {}});
            } else {
                w.done({what_ == defect::page_is_peer_failed ? errc::peer_failed : errc::foreign, {}});
            }
            return;
        }
        peer_reply reply = peer_(request);
        if (silent_) {
            if (what_ == defect::waits_for_ever) { return; }
            if (what_ == defect::late_reply_to_the_next && reply.message) { late_ = *reply.message; }
            if (what_ == defect::silence_is_success) {
                w.done({bytes_view{}, {}});
            } else {
                w.done({what_ == defect::silence_is_unreachable ? errc::unreachable : errc::timed_out, {}});
            }
            return;
        }
        if (late_) { reply.message = *std::exchange(late_, std::nullopt); }
        if (!reply.message) {
            broken_ = what_ == defect::stays_broken;
            if (what_ == defect::swallows_failures) {
                w.done({bytes_view{}, {}});
            } else {
                w.done({code_of(reply.message.error().code), wait_of(reply.retry_after)});
            }
            return;
        }
        bytes& answer = *reply.message;
        auto const trim = [&](char c, std::size_t count) {
            for (; count != 0 && !answer.empty() && answer.back() == static_cast<std::byte>(c); --count) {
                answer.pop_back();
            }
        };
        if (what_ == defect::trims_line_ends) {
            trim('\n', 1);
            trim('\r', 1);
        }
        if (what_ == defect::trims_a_zero) { trim('\0', 1); }
        if (what_ == defect::trims_zeros) { trim('\0', answer.size()); }
        if (what_ == defect::flips_a_bit && answer.size() == 258) { answer[100] ^= std::byte{4}; }
        if (what_ == defect::cuts_long_replies && answer.size() > 65'536) { answer.resize(65'536); }
        if (answer.size() > few_bytes.reply_bytes_max && what_ != defect::takes_long_replies) {
            w.done({errc::too_large, {}});
            return;
        }
        std::optional<milliseconds> wait = what_ == defect::wait_stays ? last_wait_ : std::nullopt;
        if (what_ == defect::invents_a_wait) { wait = milliseconds{1'000}; }
        w.done({bytes_view{answer}, wait});
        if (what_ == defect::completes_twice && request.size() == 2) { w.done({bytes_view{answer}, {}}); }
    }

    errc code_of(errc said) const {
        if (what_ == defect::one_refusal_for_all) { return errc::peer_failed; }
        if (what_ == defect::one_code_for_unauthorised && said == errc::unauthorised) { return errc::peer_failed; }
        if (what_ == defect::one_code_for_too_large && said == errc::too_large) { return errc::connection_lost; }
        return said;
    }
    std::optional<milliseconds> wait_of(std::optional<milliseconds> said) {
        if (said) { last_wait_ = said; }
        if (!said) { return what_ == defect::wait_stays ? last_wait_ : said; }
        constexpr milliseconds minute{60'000};
        if (what_ == defect::shortens_long_waits && *said > minute) { return minute; }
        if (what_ == defect::rounds_waits_down) { return *said - *said % 1'000; }
        if (what_ == defect::forgets_short_waits_units && *said == milliseconds{1'000}) { return milliseconds{1}; }
        if (what_ == defect::counts_waits_in_32_bits) { return milliseconds{said->count() & 0xFFFF'FFFF}; }
        return said;
    }

    conformance_peer& peer_;
    defect what_;
    std::optional<bytes> page_;  ///< someone else answers, with this
    std::optional<bytes> late_;
    std::optional<milliseconds> last_wait_;
    bool silent_ = false;
    std::vector<waiting> waiting_;
    std::vector<std::optional<bytes>> arrived_;  ///< an empty one is a gap
    bool connected_ = true;
    bool broken_ = false;
    std::size_t served_ = 0;
    std::size_t pushes_ = 0;
};

struct suspect_fixture {
    suspect transport;
    suspect_fixture(conformance_peer& peer, defect what) : transport(peer, what) {}
    suspect& subject() { return transport; }
    void drive() { transport.drive(); }
    void push(bytes_view m) { transport.push(m); }
    void disconnect() { transport.disconnect(); }
    void reconnect() { transport.reconnect(); }
    void silence() { transport.silence(); }
    void speak() { transport.speak(); }
    void intercept(bytes_view page) { transport.intercept(page); }
    void release() { transport.release(); }
};

/// Answers at once out of one buffer, which the exchange that a completion begins overwrites.
struct sloppy_loopback {
    conformance_peer& peer;
    bytes buffer{};

    void exchange(bytes_view request, completion done) {
        if (request.size() > few_bytes.request_bytes_max) {
            done({errc::too_large, {}});
            return;
        }
        peer_reply const reply = peer(request);
        if (!reply.message) {
            done({reply.message.error(), {}});
        } else if (reply.message->size() > few_bytes.reply_bytes_max) {
            done({errc::too_large, {}});
        } else {
            buffer.reserve(few_bytes.reply_bytes_max);
            buffer.assign(reply.message->begin(), reply.message->end());
            done({bytes_view{buffer}, {}});
        }
    }
    [[nodiscard]] transport_limits limits() const { return few_bytes; }
};

struct sloppy_fixture {
    sloppy_loopback transport;
    sloppy_loopback& subject() { return transport; }
    void drive() {}
};

std::vector<violation> certify(defect what) {
    return certify_transport([what](conformance_peer& peer) { return std::make_unique<suspect_fixture>(peer, what); });
}

}  // namespace

TEST_CASE("both loopbacks keep the axioms") {
    auto const at_once = certify_transport(
        [](conformance_peer& peer) { return std::make_unique<loopback_fixture>(loopback_fixture{peer}); });
    CHECK(to_text(at_once) == "");
    auto const live = certify_transport(
        [](conformance_peer& peer) { return std::unique_ptr<live_loopback_fixture>(new live_loopback_fixture{peer}); });
    CHECK(to_text(live) == "");
}

TEST_CASE("limits that the suite can't work with are said, not passed") {
    struct tiny_fixture {
        conformance_peer& peer;
        loopback_transport transport{peer, {.request_bytes_max = 32, .reply_bytes_max = 5}};
        loopback_transport& subject() { return transport; }
        void drive() {}
    };
    auto const tiny =
        certify_transport([](conformance_peer& peer) { return std::unique_ptr<tiny_fixture>(new tiny_fixture{peer}); });
    CHECK(tiny.size() == 1);
    CHECK(breaks(tiny, "limits"));
}

TEST_CASE("the suite finds every planted defect, under the axiom that it breaks") {
    CHECK(to_text(certify(defect::none)) == "");
    struct expectation {
        defect what;
        char const* axiom;
    };
    for (expectation const& e : {
             expectation{defect::completes_twice, "exactly_one"},
             expectation{defect::never_completes, "exactly_one"},
             expectation{defect::drops_at_destruction, "exactly_one"},
             expectation{defect::succeeds_at_destruction, "exactly_one"},
             expectation{defect::flips_a_bit, "fidelity"},
             expectation{defect::cuts_long_requests, "fidelity"},
             expectation{defect::cuts_long_replies, "fidelity"},
             expectation{defect::ends_at_zero_byte, "fidelity"},
             expectation{defect::drops_empty_requests, "fidelity"},
             expectation{defect::refuses_the_last_byte, "fidelity"},
             expectation{defect::mixes_replies_up, "pairing"},
             expectation{defect::takes_long_requests, "limits"},
             expectation{defect::takes_long_replies, "limits"},
             expectation{defect::cuts_to_the_limit, "limits"},
             expectation{defect::changes_its_limits, "limits"},
             expectation{defect::stays_broken, "recovery"},
             expectation{defect::stays_broken_after_long_message, "recovery"},
             expectation{defect::swallows_failures, "recovery"},
             expectation{defect::pushes_reversed, "in_order"},
             expectation{defect::pushes_twice, "in_order"},
             expectation{defect::pushes_again_later, "in_order"},
             expectation{defect::loses_pushes, "in_order"},
             expectation{defect::cuts_pushes, "in_order"},
             expectation{defect::hides_the_gap, "in_order"},
             expectation{defect::tells_the_gap_late, "in_order"},
             expectation{defect::keeps_the_view, "fidelity"},
             expectation{defect::trims_line_ends, "fidelity"},
             expectation{defect::trims_a_zero, "fidelity"},
             expectation{defect::trims_zeros, "fidelity"},
             expectation{defect::invents_a_wait, "reason"},
             expectation{defect::says_unreachable, "reason"},
             expectation{defect::one_refusal_for_all, "reason"},
             expectation{defect::one_code_for_unauthorised, "reason"},
             expectation{defect::one_code_for_too_large, "reason"},
             expectation{defect::shortens_long_waits, "reason"},
             expectation{defect::rounds_waits_down, "reason"},
             expectation{defect::forgets_short_waits_units, "reason"},
             expectation{defect::counts_waits_in_32_bits, "reason"},
             expectation{defect::wait_stays, "reason"},
             expectation{defect::silence_is_unreachable, "reason"},
             expectation{defect::silence_is_success, "reason"},
             expectation{defect::waits_for_ever, "exactly_one"},
             expectation{defect::late_reply_to_the_next, "pairing"},
             expectation{defect::takes_the_page, "reason"},
             expectation{defect::page_is_peer_failed, "reason"},
             expectation{defect::page_stays, "recovery"},
         }) {
        auto const found = certify(e.what);
        INFO("defect " << static_cast<int>(e.what) << ", found:\n" << to_text(found));
        CHECK(breaks(found, e.axiom));
    }
}

TEST_CASE("a reply that the next exchange overwrites is found") {
    auto const found = certify_transport(
        [](conformance_peer& peer) { return std::unique_ptr<sloppy_fixture>(new sloppy_fixture{{peer}}); });
    CHECK(breaks(found, "pairing"));
}

TEST_CASE("violations are told by axiom and as text") {
    std::vector<violation> const found{{"order", "two before one"}, {"limits", "none"}};
    CHECK(breaks(found, "order"));
    CHECK(!breaks(found, "ord"));
    CHECK(!breaks({}, "order"));
    CHECK(to_text(found) == "order: two before one\nlimits: none\n");
    CHECK(to_text(std::vector<violation>{}) == "");
}
