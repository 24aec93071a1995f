// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A conformance suite for the transport concepts, to be run on any model, without a test framework.

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/testing/violation.hpp>
#include <syncline/transport/loopback.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// The peer that the suite talks to through the transport under test. A model's fixture calls it with each request
/// that arrives on the other side, from any thread.
class conformance_peer {
public:
    /// Answers a request as the suite has told it to.
    peer_reply operator()(bytes_view request) {
        std::lock_guard const lock(mutex_);
        received_.push_back(to_bytes(request));
        if (!scripted_.empty()) {
            peer_reply next = std::move(scripted_.front());
            scripted_.pop_front();
            return next;
        }
        return answer_to(request);
    }

    /// What it answers where it was told nothing: another length and other bytes than the request's.
    [[nodiscard]] static bytes answer_to(bytes_view request) {
        bytes reply = to_bytes("re:");
        append(reply, request);
        std::reverse(reply.begin(), reply.end());
        return reply;
    }

    /// The next request without an answer of its own gets this one.
    void script(peer_reply reply) {
        std::lock_guard const lock(mutex_);
        scripted_.push_back(std::move(reply));
    }
    /// The requests that came since the last call.
    [[nodiscard]] std::vector<bytes> take_received() {
        std::lock_guard const lock(mutex_);
        return std::exchange(received_, {});
    }
    /// Forgets what it was told and what came.
    void reset() {
        std::lock_guard const lock(mutex_);
        received_.clear();
        scripted_.clear();
    }

private:
    std::mutex mutex_;
    std::vector<bytes> received_;
    std::deque<peer_reply> scripted_;
};

/// One transport under test, connected to a `conformance_peer`.
///
/// | expression       | result             | meaning                                                                |
/// | f.subject()      | lvalue, transport  | the same object each time                                              |
/// | f.drive()        | void               | returns when every exchange that was begun is complete, or never will be |
template <class F>
concept transport_fixture = requires(F& f) {
    requires transport<std::remove_reference_t<decltype(f.subject())>>;
    { f.drive() } -> std::same_as<void>;
};

/// A fixture whose connection the suite may break.
///
/// | expression       | result | meaning                                                                          |
/// | f.disconnect()   | void   | from now on the peer can't be reached                                              |
/// | f.reconnect()    | void   | from now on it can                                                                 |
template <class F>
concept breakable_fixture = transport_fixture<F> && requires(F& f) {
    { f.disconnect() } -> std::same_as<void>;
    { f.reconnect() } -> std::same_as<void>;
};

/// A fixture whose peer the suite may silence.
///
/// | expression       | result | meaning                                                                          |
/// | f.silence()      | void   | from now on the peer takes requests and answers none; f.drive() returns when the     |
/// |                  |        | transport has waited as long as it waits, so let it be short                       |
/// | f.speak()        | void   | from now on it answers; what came before that it may answer late, or never           |
template <class F>
concept silent_fixture = transport_fixture<F> && requires(F& f) {
    { f.silence() } -> std::same_as<void>;
    { f.speak() } -> std::same_as<void>;
};

/// A fixture that lets the suite put somebody else in the peer's place: the portal of a network, a proxy.
///
/// | expression         | result | meaning                                                                        |
/// | f.intercept(page)  | void   | from now on somebody else answers each request, with `page` in a way of its own   |
/// |                    |        | (HTTP's 200 with text/html, say), and the peer gets none                          |
/// | f.release()        | void   | from now on the peer is there again                                              |
template <class F>
concept intercepted_fixture = transport_fixture<F> && requires(F& f, bytes_view page) {
    { f.intercept(page) } -> std::same_as<void>;
    { f.release() } -> std::same_as<void>;
};

/// A fixture of a live transport.
///
/// | expression       | result | meaning                                                                          |
/// | f.push(m)        | void   | the peer sends `m` unasked (it is lost while disconnected)                         |
/// | f.drive()        |        | what was pushed has arrived too                                                    |
template <class F>
concept live_fixture = transport_fixture<F> && requires(F& f, bytes_view m) {
    requires live_transport<std::remove_reference_t<decltype(f.subject())>>;
    { f.push(m) } -> std::same_as<void>;
};

namespace detail {

/// One exchange of the suite and how it ended. Outlives the transport, to see what its destruction does.
struct probe {
    int completions = 0;
    bool succeeded = false;
    errc code{};
    bytes reply{};
    std::optional<milliseconds> retry_after{};

    void operator()(transport_reply const& r) {
        ++completions;
        retry_after = r.retry_after;
        succeeded = r.message.has_value();
        if (succeeded) {
            reply = to_bytes(*r.message);
        } else {
            code = r.message.error().code;
        }
    }
};

/// Bytes of every value in an order that repeats late, so that a shift, a swap or a cut shows.
[[nodiscard]] inline bytes patterned(std::size_t size, std::uint64_t seed) {
    bytes out(size);
    std::uint64_t x = seed * 0x9E3779B97F4A7C15U + 1;
    for (std::byte& b : out) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        b = static_cast<std::byte>(x >> 32);
    }
    return out;
}

/// The run of the suite: makes fixtures, keeps what it finds.
template <class Factory>
class transport_suite {
public:
    explicit transport_suite(Factory& make) : make_(make) {}

    [[nodiscard]] std::vector<violation> run() {
        {
            auto const f = make_(peer_);
            transport_limits const most = f->subject().limits();
            if (most.request_bytes_max < limits_min || most.reply_bytes_max < limits_min) {
                report("limits", "limits under 64 bytes, too small for the suite's own messages");
                return std::move(found_);
            }
        }
        fidelity();
        if (!found_.empty()) { return std::move(found_); }  // what follows is said in such messages
        pairing();
        limits();
        recovery();
        if constexpr (silent_fixture<fixture>) { silence(); }
        if constexpr (intercepted_fixture<fixture>) { interception(); }
        destruction();
        if constexpr (live_fixture<fixture>) { in_order(); }
        return std::move(found_);
    }

private:
    using fixture = std::remove_cvref_t<decltype(*std::declval<Factory&>()(std::declval<conformance_peer&>()))>;
    static_assert(transport_fixture<fixture>);

    void report(std::string_view axiom, std::string what) {
        // The first of each axiom: the others are mostly the same one again.
        if (!breaks(found_, axiom)) { found_.push_back({std::string(axiom), std::move(what)}); }
    }

    /// Whether it completed exactly once; complains otherwise.
    bool completed(probe const& p, std::string_view when) {
        if (p.completions == 1) { return true; }
        report("exactly_one", std::string(when) + (p.completions == 0 ? ": never completed" : ": completed twice"));
        return false;
    }

    /// Begins an exchange. The request is borrowed for the call only, so other bytes stand there after it.
    template <class Done>
    void start(fixture& f, bytes_view request, Done& done) {
        bytes& lent = lent_.emplace_back(to_bytes(request));
        f.subject().exchange(lent, completion::to(done));
        std::fill(lent.begin(), lent.end(), std::byte{0xDB});
    }
    /// One exchange to its end.
    void ask(fixture& f, bytes_view request, probe& p) {
        start(f, request, p);
        f.drive();
        lent_.clear();
    }

    /// One exchange that has to arrive and to be answered, bit for bit.
    void expect_echo(fixture& f, bytes_view request, std::string_view axiom, std::string const& when) {
        probe p;
        static_cast<void>(peer_.take_received());
        ask(f, request, p);
        if (!completed(p, when)) { return; }
        auto const received = peer_.take_received();
        if (!p.succeeded) {
            report(axiom, when + ": failed with \"" + message(p.code) + '"');
        } else if (received.empty() || !equal(received.back(), request)) {
            report(axiom, when + ": the peer got something else than was sent");
        } else if (!equal(p.reply, conformance_peer::answer_to(request))) {
            report(axiom, when + ": the reply is not what the peer answered");
        } else if (p.retry_after) {
            report("reason", when + ": a retry_after of which the peer said nothing");
        }
    }

    [[nodiscard]] static std::string in_hex(bytes_view b) {
        constexpr char digits[] = "0123456789abcdef";
        std::string out = "h'";
        for (std::byte const x : b) {
            out += digits[std::to_integer<unsigned>(x) >> 4];
            out += digits[std::to_integer<unsigned>(x) & 15U];
        }
        return out + '\'';
    }
    [[nodiscard]] static std::string of_bytes(std::size_t n) { return std::to_string(n) + " bytes"; }

    void fidelity() {
        peer_.reset();
        auto const f = make_(peer_);
        transport_limits const most = f->subject().limits();
        std::vector<std::size_t> sizes{0, 1, 2, 3, 127, 128, 255, 256, 1023, 4096, 65'535, 65'536, 65'537, 300'000};
        sizes.push_back(most.request_bytes_max);
        std::uint64_t seed = 0;
        for (std::size_t const size : sizes) {
            if (size > most.request_bytes_max) { continue; }
            // The default answer is three bytes longer; a limit on replies may be shorter than that on requests.
            bytes const request = patterned(size, ++seed);
            if (size + 3 <= most.reply_bytes_max) {
                expect_echo(*f, request, "fidelity", "a request of " + of_bytes(size));
            } else {
                peer_.script(bytes{});
                probe p;
                static_cast<void>(peer_.take_received());
                ask(*f, request, p);
                std::string const when = "a request of " + of_bytes(size);
                if (!completed(p, when)) { continue; }
                auto const received = peer_.take_received();
                if (!p.succeeded || !p.reply.empty() || received.size() != 1 || !equal(received[0], request)) {
                    report("fidelity", when + ": did not arrive, or its empty reply did not come back");
                }
            }
        }
        for (std::size_t const size : {std::size_t{0}, std::size_t{1}, std::size_t{70'000}, most.reply_bytes_max}) {
            if (size > most.reply_bytes_max) { continue; }
            bytes const reply = patterned(size, ++seed);
            peer_.script(reply);
            probe p;
            ask(*f, {}, p);
            std::string const when = "a reply of " + of_bytes(size);
            if (completed(p, when) && (!p.succeeded || !equal(p.reply, reply))) {
                report("fidelity", when + ": did not come back as it was");
            }
        }
        // What a protocol of lines or of C strings trims.
        for (std::string_view const end :
             {std::string_view{"\n"}, std::string_view{"\r\n"}, std::string_view{" "}, std::string_view{"\t"},
              std::string_view{"\0", 1}, std::string_view{"\0\0", 2}, std::string_view{"\xEF\xBB\xBF"},
              std::string_view{"\x1A"}}) {
            bytes message = to_bytes(end);
            append(message, as_bytes("text"));
            append(message, as_bytes(end));
            std::string const when = "that begins and ends with " + in_hex(as_bytes(end));
            expect_echo(*f, message, "fidelity", "a request " + when);
            peer_.script(message);
            probe p;
            ask(*f, as_bytes("answer so"), p);
            if (completed(p, "a reply " + when) && (!p.succeeded || !equal(p.reply, message))) {
                report("fidelity", "a reply " + when + ": came as " + in_hex(p.reply));
            }
        }
        constexpr std::string_view awkward("HTTP/1.1 200 OK\r\n\r\n\0\xFF<html>\n.\r\n", 31);
        expect_echo(*f, as_bytes(awkward), "fidelity", "a request like a protocol's text");
        if (f->subject().limits() != most) { report("limits", "limits() changed without a cause"); }
    }

    void pairing() {
        peer_.reset();
        auto const f = make_(peer_);
        constexpr std::size_t count = 24;
        std::vector<probe> probes(count);
        std::vector<bytes> requests;
        for (std::size_t i = 0; i < count; ++i) { requests.push_back(patterned(1 + (i * 7) % 40, 100 + i)); }
        for (std::size_t i = 0; i < count; ++i) { start(*f, requests[i], probes[i]); }
        f->drive();
        lent_.clear();
        for (std::size_t i = 0; i < count; ++i) {
            if (!completed(probes[i], "one of many begun together")) { continue; }
            if (!probes[i].succeeded) {
                report("pairing",
                       std::string("one of many begun together: failed with \"") + message(probes[i].code) + '"');
            } else if (!equal(probes[i].reply, conformance_peer::answer_to(requests[i]))) {
                report("pairing", "a completion got something else than the reply to its own request");
            }
        }

        // A completion that begins the next exchange.
        probe inner;
        bytes outer_reply;
        auto outer = [&](transport_reply const& r) {
            start(*f, as_bytes("inner"), inner);
            if (r.message) { outer_reply = to_bytes(*r.message); }
        };
        start(*f, as_bytes("outer"), outer);
        f->drive();
        lent_.clear();
        if (completed(inner, "one begun by a completion") &&
            (!equal(inner.reply, conformance_peer::answer_to(as_bytes("inner"))) ||
             !equal(outer_reply, conformance_peer::answer_to(as_bytes("outer"))))) {
            report("pairing", "an exchange begun by a completion disturbed that one's reply, or got another");
        }
    }

    void limits() {
        peer_.reset();
        auto const f = make_(peer_);
        transport_limits const most = f->subject().limits();
        probe request;
        ask(*f, bytes(most.request_bytes_max + 1), request);
        if (completed(request, "a request over the limit")) {
            if (request.succeeded || request.code != errc::too_large) {
                report("limits", "a request over the limit did not complete with too_large");
            }
            if (!peer_.take_received().empty()) { report("limits", "a request over the limit was sent"); }
        }
        peer_.reset();
        peer_.script(bytes(most.reply_bytes_max + 1));
        probe reply;
        ask(*f, as_bytes("long answer, please"), reply);
        if (completed(reply, "a reply over the limit") && (reply.succeeded || reply.code != errc::too_large)) {
            report("limits", "a reply over the limit did not complete with too_large");
        }
        peer_.reset();
        expect_echo(*f, as_bytes("after"), "recovery", "after messages over the limits");
    }

    /// None; nothing, parts of a second, and lengths at which counters of 16, 32 and 64 bits end.
    static std::vector<std::optional<milliseconds>> waits() {
        std::vector<std::optional<milliseconds>> all{std::nullopt};
        for (std::int64_t const ms : {std::int64_t{0}, std::int64_t{1}, std::int64_t{1'000}, std::int64_t{1'500},
                                      std::int64_t{7'000}, std::int64_t{65'536'000}, std::int64_t{3'600'000},
                                      std::int64_t{2'592'000'000}, std::int64_t{31'536'000'000},
                                      std::int64_t{longest_wait.count()}, (std::numeric_limits<std::int64_t>::max)()}) {
            all.push_back(milliseconds{ms});
        }
        return all;
    }
    [[nodiscard]] static std::string told_wait(std::optional<milliseconds> wait) {
        return wait ? std::to_string(wait->count()) + " ms" : std::string("none");
    }
    /// One may say it in whole seconds, a hundred years for more, or not at all.
    void expect_wait(std::optional<milliseconds> wait, std::optional<milliseconds> came, std::string const& when) {
        bool const told = !came || (wait && *came >= (std::min)(*wait, longest_wait) &&
                                    (*came <= *wait || *came - *wait < milliseconds{1'000}));
        if (!told) {
            report("reason", when + " with a retry_after of " + told_wait(wait) + " came with " + told_wait(came));
        }
    }
    void recovery() {
        peer_.reset();
        auto const f = make_(peer_);
        for (errc const refusal : {errc::peer_failed, errc::throttled, errc::rejected, errc::forbidden,
                                   errc::unauthorised, errc::too_large}) {
            std::string const when = std::string("a refusal \"") + message(refusal) + '"';
            // All waits where the peer only asks for patience: a breaker may open when it fails again and again.
            using some = std::vector<std::optional<milliseconds>>;
            for (std::optional<milliseconds> const wait :
                 refusal == errc::throttled ? waits() : some{std::nullopt, milliseconds{7'000}}) {
                peer_.reset();
                peer_.script({refusal, wait});
                // Credentials may be renewed, and the request sent again with the new ones.
                if (refusal == errc::unauthorised) { peer_.script({refusal, wait}); }
                probe p;
                ask(*f, as_bytes("refuse this"), p);
                if (!completed(p, "a request that the peer refuses")) { continue; }
                if (p.succeeded) {
                    report("recovery", when + " came as success");
                } else if (p.code != refusal) {
                    report("reason", when + " came as \"" + message(p.code) + '"');
                }
                expect_wait(wait, p.retry_after, when);
            }
            peer_.reset();
            expect_echo(*f, as_bytes("after"), "recovery", std::string("after \"") + message(refusal) + '"');
        }
        for (std::optional<milliseconds> const wait : waits()) {
            peer_.reset();
            peer_.script({to_bytes("not too soon again"), wait});
            probe p;
            ask(*f, as_bytes("and when again"), p);
            if (!completed(p, "one whose reply has a retry_after")) { continue; }
            if (!p.succeeded || !equal(p.reply, as_bytes("not too soon again"))) {
                report("fidelity", "a reply with a retry_after of " + told_wait(wait) + ": did not come as it was");
            }
            expect_wait(wait, p.retry_after, "a reply");
        }
        peer_.reset();
        if constexpr (breakable_fixture<fixture>) {
            for (int times = 0; times < 3; ++times) {
                peer_.reset();
                probe before;
                start(*f, as_bytes("under way"), before);
                f->disconnect();
                probe during;
                ask(*f, as_bytes("nobody hears"), during);
                if (completed(before, "one under way when the connection broke") && !before.succeeded &&
                    before.code == errc::unreachable && !peer_.take_received().empty()) {
                    report("reason", "one under way when the connection broke: unreachable, and the peer got it");
                }
                if (completed(during, "one without a connection") && during.succeeded) {
                    report("recovery", "success without a connection");
                }
                f->reconnect();
                peer_.reset();
                expect_echo(*f, as_bytes("after"), "recovery", "after a broken connection");
            }
        }
    }

    /// Whether a request failed so and not otherwise.
    void expect_failure(probe const& p, errc wanted, std::string const& when) {
        if (!completed(p, when)) { return; }
        if (p.succeeded) {
            report("reason", when + ": came as success");
        } else if (p.code != wanted) {
            report("reason", when + ": came as \"" + message(p.code) + "\", not \"" + message(wanted) + '"');
        }
    }
    /// A request that has to be answered with its own reply; others may have come late beside it.
    void expect_own_reply(fixture& f, std::string_view request, std::string const& when) {
        probe p;
        ask(f, as_bytes(request), p);
        if (!completed(p, when)) { return; }
        if (!p.succeeded) {
            report("recovery", when + ": failed with \"" + message(p.code) + '"');
        } else if (!equal(p.reply, conformance_peer::answer_to(as_bytes(request)))) {
            report("pairing", when + ": a completion got something else than the reply to its own request");
        }
    }
    /// A peer that takes requests and says nothing.
    void silence() {
        peer_.reset();
        auto const f = make_(peer_);
        expect_own_reply(*f, "before", "before the peer fell silent");
        f->silence();
        probe alone;
        ask(*f, as_bytes("nobody answers"), alone);
        expect_failure(alone, errc::timed_out, "one that a silent peer got");
        f->speak();
        expect_own_reply(*f, "after", "after a silent peer");
        expect_own_reply(*f, "and once more", "after a silent peer");
        f->silence();
        probe two[2];
        start(*f, as_bytes("nobody answers the first"), two[0]);
        start(*f, as_bytes("nobody answers the second"), two[1]);
        f->drive();
        lent_.clear();
        expect_failure(two[0], errc::timed_out, "the first of two that a silent peer got");
        // It may need a connection of its own by then, to a peer that does not even say that it takes one.
        bool const reached = two[1].succeeded || two[1].code != errc::unreachable;
        if (reached) { expect_failure(two[1], errc::timed_out, "the second of two that a silent peer got"); }
        f->speak();
        expect_own_reply(*f, "after two", "after a silent peer");
        peer_.reset();
    }
    /// Somebody else answers.
    void interception() {
        peer_.reset();
        auto const f = make_(peer_);
        std::string const sign_in = "<!DOCTYPE html>\n<html><body>Please sign in to the network.</body></html>\n";
        for (std::string const& page : {sign_in, std::string{}, std::string(3'000, '.')}) {
            std::string const when = "one that somebody else answered with a page of " + of_bytes(page.size());
            f->intercept(as_bytes(page));
            for (int times = 0; times < 2; ++times) {
                probe p;
                ask(*f, as_bytes("is it you?"), p);
                expect_failure(p, errc::foreign, when);
            }
            f->release();
            expect_own_reply(*f, "after", "after somebody else's page");
        }
        peer_.reset();
    }

    void destruction() {
        peer_.reset();
        std::vector<probe> probes(8);
        std::vector<bool> ended_before;
        {
            auto const f = make_(peer_);
            for (probe& p : probes) { start(*f, as_bytes("abandoned"), p); }
            for (probe const& p : probes) { ended_before.push_back(p.completions != 0); }
        }
        lent_.clear();
        for (std::size_t i = 0; i < probes.size(); ++i) {
            if (!completed(probes[i], "under way when the transport was destroyed")) { continue; }
            if (!ended_before[i] && (probes[i].succeeded || probes[i].code != errc::cancelled)) {
                report("exactly_one", "under way when the transport was destroyed: ended otherwise than cancelled");
            }
        }
    }

    /// Receives all there is, checking the order. `last` is the highest number so far, `next` the next to be pushed.
    void receive_numbers(fixture& f, std::uint64_t& last, std::uint64_t next) {
        bool gap_told = false;
        bool more = true;
        for (int rounds = 0; more && rounds < 1000; ++rounds) {
            more = false;
            auto const visit = [&](bytes_view m) {
                more = true;
                if (m.size() != 8) {
                    report("in_order", "an unsolicited message is not what was sent");
                    return;
                }
                std::uint64_t const n = read_u64(m);
                if (n == 0 || n >= next) {
                    report("in_order", "a message that was never sent");
                } else if (n == last) {
                    report("in_order", "a message came twice");
                } else if (n < last) {
                    report("in_order", "messages came in another order than sent, or twice");
                } else if (n != last + 1 && !gap_told) {
                    report("in_order", "messages were lost, and no error said so before the next one");
                }
                if (n > last && n < next) { last = n; }
                gap_told = false;
            };
            if (!f.subject().receive(visit)) {
                gap_told = true;
                more = more || f.subject().connected();
            }
        }
        if (last + 1 != next && !gap_told) { report("in_order", "messages were lost, and no error said so"); }
        last = next - 1;  // what was lost with an error told is not asked for again
    }

    void in_order() {
        peer_.reset();
        auto const f = make_(peer_);
        std::uint64_t last = 0;
        std::uint64_t next = 1;
        auto const push = [&](std::size_t count) {
            for (std::size_t i = 0; i < count; ++i) {
                bytes m;
                append_u64(m, next++);
                f->push(m);
            }
        };
        for (std::size_t const burst : {std::size_t{1}, std::size_t{2}, std::size_t{50}}) {
            push(burst);
            expect_echo(*f, as_bytes("meanwhile"), "pairing", "between unsolicited messages");
            push(1);
            f->drive();
            receive_numbers(*f, last, next);
            receive_numbers(*f, last, next);  // nothing comes again
        }
        bytes const long_message = patterned((std::min)(std::size_t{70'000}, f->subject().limits().reply_bytes_max), 7);
        for (bytes const& m : {bytes{}, long_message}) {
            f->push(m);
            f->drive();
            bytes got;
            int count = 0;
            auto const visit = [&](bytes_view arrived) {
                ++count;
                got = to_bytes(arrived);
            };
            bool const well = f->subject().receive(visit).has_value();
            if (!well || count != 1 || !equal(got, m)) {
                report("in_order", "an unsolicited message of " + of_bytes(m.size()) + " did not come as it was");
            }
        }
        if constexpr (breakable_fixture<fixture>) {
            for (int times = 0; times < 3; ++times) {
                push(3);
                f->drive();
                f->disconnect();
                if (f->subject().connected()) { report("in_order", "connected() without a connection"); }
                push(2);
                f->reconnect();
                push(2);
                f->drive();
                if (!f->subject().connected()) { report("in_order", "not connected() though reconnected"); }
                receive_after_break(*f, last, next);
            }
        }
    }

    /// After a break: messages may be missing, but an error has to come before any message beyond the gap.
    void receive_after_break(fixture& f, std::uint64_t& last, std::uint64_t next) {
        bool told = false;
        bool told_ever = false;
        for (int rounds = 0; rounds < 8; ++rounds) {
            auto const visit = [&](bytes_view m) {
                std::uint64_t const n = m.size() == 8 ? read_u64(m) : 0;
                if (n <= last || n >= next) {
                    report("in_order", "after a break: messages twice, in another order, or never sent");
                    return;
                }
                if (n != last + 1 && !told) { report("in_order", "after a break: a gap that no error told before"); }
                last = n;
                told = false;
            };
            if (!f.subject().receive(visit)) { told = told_ever = true; }
        }
        if (!told_ever && last + 1 != next) { report("in_order", "after a break: no error though messages are lost"); }
        last = next - 1;
    }

    static constexpr std::size_t limits_min = 64;
    static constexpr milliseconds longest_wait = std::chrono::hours{24 * 36'525};

    Factory& make_;
    conformance_peer peer_;
    std::deque<bytes> lent_;  // of the exchanges under way
    std::vector<violation> found_;
};

}  // namespace detail

/// Checks the axioms of `transport`, and of `live_transport` where the fixture is live, and returns those that it saw
/// broken: `exactly_one`, `fidelity`, `pairing`, `limits`, `recovery`, `reason`, `in_order`. Empty: none was. Of each axiom the first case is told; where single
/// messages don't arrive as they were, nothing further is tried.
///
/// `make(peer)` answers a pointer (a `std::unique_ptr`, say) to a new `transport_fixture` whose other side calls
/// `peer` with each request; several are made, one at a time, and destroyed with exchanges under way. Small limits,
/// of 64 bytes at least, make it fast: each is tried to its last byte. Completions must come on the calling thread, in `exchange`, in
/// `drive` or in the destruction. A fixture may also be a `breakable_fixture`, a `silent_fixture` and an
/// `intercepted_fixture`; what it is not is not tried.
template <class Factory>
[[nodiscard]] std::vector<violation> certify_transport(Factory&& make) {
    return detail::transport_suite<std::remove_reference_t<Factory>>(make).run();
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
