// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The session: the protocol as a state machine with one way in and one way out, and a driver for a transport.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/replica/again.hpp>
#include <syncline/replica/notice.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/retry/backoff.hpp>
#include <syncline/retry/policy.hpp>
#include <syncline/retry/state.hpp>
#include <syncline/storage/storage.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Time has passed, or the host wants to know what is due. A spurious one does nothing.
struct tick {};
/// Something was written, or the host wants an exchange now: whatever backoff waits for is over.
struct hurry {};
/// The authority has something new, up to a position, as a live connection told. Asks for it unless it is held already,
/// when backoff lets it; news that an exchange which failed was to fetch are asked for again.
struct news {
    position at = 0;  ///< 0: not known, something may have been missed
};
/// The peer's reply; borrowed for the call only.
struct received {
    bytes_view message;
};
/// The exchange failed.
struct failed {
    failure why{};
    std::optional<milliseconds> retry_after{};
};
/// What stopped the session was mended (signed in again, the right authority): go on.
struct resume {};
using session_input = std::variant<tick, hurry, received, failed, resume, news>;

/// Send this to the peer; valid until the next call.
struct transmit {
    bytes_view message;
};
/// Tell the host; valid until the next call. Events come at least once, and only of what was committed.
struct notify {
    event const* what = nullptr;
};
/// Nothing to do until then. Without a deadline the session waits for an input: a completion that is under
/// way, or, when `paused` is set, `resume`.
struct wait_until {
    std::optional<monotonic_time> deadline{};
    std::optional<failure> paused{};
};
using session_output = std::variant<transmit, notify, wait_until>;

struct session_options {
    backoff_options backoff{};
    milliseconds poll_interval{30'000};  ///< how often to ask when nothing is pending; > 0
    milliseconds news_spread{0};  ///< news are asked for anywhere in this span, lest all who heard come as one; >= 0
    milliseconds reply_timeout{60'000};  ///< an exchange without a completion is given up after that
    /// Set: a whole policy says when a failed exchange is made again (budget, breaker and backoff), and `backoff` above
    /// is not used. For fleets; see docs/retry.md. Empty: backoff alone.
    std::optional<retry_policy_options> retry{};
    /// What is rejected because somebody was first (the rule `authority_time`) is issued again with the reply that brings
    /// what was: see `issue_refused`. Else it stays a dead letter.
    bool issue_again = false;
};

/// Drives one replica's exchanges with its authority.
///
/// `handle(input, tx, now)`, then the host commits `tx`, then `poll(now)` until it answers `wait_until`. What
/// `poll` gives is derived from committed storage: when the host rolls back instead, no acknowledgement and
/// no event leaks, and the same exchange is made again, as after one that failed (`errc::cancelled`). The session holds no state that matters: after a
/// crash a new one goes on. `now.monotonic` never decreases. Whenever work is pending and permitted there is
/// a deadline or an exchange under way. The store must outlive the session; `poll` opens a transaction for
/// reading, so none may be open then; where commits promise no more than `durability::ordered`, it calls the store's
/// `barrier()` before it gives a message. Where several sessions drive one store, each event is told by at least one
/// of them.
///
/// The observer hears: of an exchange, that it succeeded or failed and how long it took; the bytes and the mutations of
/// each request, the bytes and the rows of each reply, when they come, and again when the same exchange is made again;
/// each verdict, when `poll` tells its event, so only of what was committed; what waits, and how long ago the last
/// exchange succeeded, whenever `poll` answers `wait_until`, which then costs a get more. Pass an `observer_ref`.
/// A `notice_observer` hears notices too: of a conflict and of a rejection with its event, of a pause and of the end of a sync
/// when `poll` answers `wait_until`.
template <storage S, random_source G, observer O = no_observer, class Records = stored_records,
          class Journal = no_journal>
class session {
public:
    using transaction = typename S::transaction;

    session(S& store, basic_replica<Records, Journal> const& r, G random, session_options options = {}, O told = {})
        : store_(store),
          replica_(r),
          random_(std::move(random)),
          options_(options),
          backoff_(options.backoff),
          policy_(options.retry.value_or(retry_policy_options{})),
          observer_(std::move(told)) {}

    /// Takes one input. On an error roll `tx` back; the session goes on as if the input had not come, but for
    /// a reply that can't be taken, which counts as a failed exchange.
    [[nodiscard]] status handle(session_input const& in, transaction& tx, instant now) {
        if (auto ok = replica_.forget_events(tx, told_); !ok) { return ok; }
        if (auto ok = confirm(tx, now); !ok) { return ok; }
        if (auto const* reply = std::get_if<received>(&in)) { return take(reply->message, tx, now); }
        if (auto const* why = std::get_if<failed>(&in)) {
            if (auto ok = replica_.refused(tx, why->why); !ok) { return ok; }
            fail(why->why, why->retry_after, now);
            return {};
        }
        // First: what the time-out would wait for is over when the host hurries.
        if (in_flight_ && now.monotonic >= sent_ + options_.reply_timeout) { fail(errc::timed_out, {}, now); }
        if (std::get_if<resume>(&in) != nullptr) { paused_.reset(); }
        if (auto const* n = std::get_if<news>(&in)) {
            hear(*n, now);
        } else if (std::get_if<tick>(&in) == nullptr) {
            not_before_ = now.monotonic;
            asked_ = true;
        }
        if (in_flight_ || paused_) { return {}; }
        auto due = deadline(tx, now);
        if (!due) { return due.error(); }
        if (*due > now.monotonic) { return {}; }
        if (auto ok = replica_.prepare(tx, now); !ok) { return ok; }
        if (options_.retry && !send_) {
            retry_decision const may = policy_.begin(now.monotonic);
            if (may.action != retry_action::go) {
                not_before_ = later(now.monotonic, may.wait);
                return {};
            }
        }
        send_ = true;
        return {};
    }

    /// The next thing to do.
    [[nodiscard]] result<session_output> poll(instant now) {
        if (next_event_ < events_.size() && !send_ && !taken_) { return tell_event(); }
        // A power loss must not take back what was frozen, or whose verdict's receipt was confirmed, once that was said.
        if (send_ && store_.commit_durability() == durability::ordered) {
            if (auto ok = store_.barrier(); !ok) { return ok.error(); }
        }
        auto tx = store_.begin(access_mode::read);
        if (!tx) { return tx.error(); }
        if (auto ok = confirm(*tx, now); !ok) { return ok.error(); }
        if (send_) {
            auto message = replica_.request_message(*tx, observer_);
            if (!message) { return message.error(); }
            message_ = std::move(*message);
            observer_.counted(metric_counter::bytes_up, message_.size());
            observer_.counted(metric_counter::retries, retried_ ? 1 : 0);
            send_ = false;
            asked_ = false;
            fetching_ = std::exchange(news_, {});
            in_flight_ = true;
            sent_ = now.monotonic;
            return session_output{transmit{message_}};
        }
        if (next_event_ < events_.size()) { return tell_event(); }
        events_.clear();
        next_event_ = 0;
        told_ = read_.whole;
        if (auto ok = replica_.next_events(*tx, read_, events_at_once, events_); !ok) { return ok.error(); }
        if (!events_.empty()) { return tell_event(); }
        told_ = read_.whole;

        wait_until wait;
        wait.paused = paused_;
        if (in_flight_) {
            wait.deadline = sent_ + options_.reply_timeout;
        } else if (!paused_) {
            auto due = deadline(*tx, now);
            if (!due) { return due.error(); }
            wait.deadline = *due;
        }
        tell_state(*tx, now);
        if (auto ok = tell_rest(*tx, now); !ok) { return ok.error(); }
        return session_output{wait};
    }

    /// What the last reply brought.
    [[nodiscard]] exchange_report const& last_report() const noexcept { return report_; }
    /// Why the last exchange failed; empty after one that succeeded.
    [[nodiscard]] std::optional<failure> const& last_failure() const noexcept { return last_failure_; }
    [[nodiscard]] bool in_flight() const noexcept { return in_flight_; }
    /// Why it waits for `resume`; empty while it goes on by itself.
    [[nodiscard]] std::optional<failure> const& paused() const noexcept { return paused_; }
    /// What `session_options::retry` asked for, to be stored (`to_array`) and restored, so that budgets survive a restart.
    [[nodiscard]] retry_policy<>& policy() noexcept { return policy_; }

private:
    /// News that are not asked for yet.
    struct unheard {
        position at = 0;      ///< up to there; 0: none with a position
        bool unsure = false;  ///< something may have been missed
        monotonic_time due{};
        [[nodiscard]] bool any() const noexcept { return at != 0 || unsure; }
    };
    /// A reply that was taken, and how the replica stood then.
    struct taking {
        instant at{};
        typename basic_replica<Records, Journal>::progress left{};
    };
    void hear(news const& n, instant now) {
        if (!news_.any()) {
            bool const spread = options_.news_spread.count() > 0;
            news_.due =
                now.monotonic + (spread ? uniform(milliseconds{0}, options_.news_spread, random_) : milliseconds{0});
        }
        news_.at = (std::max)(news_.at, n.at);
        news_.unsure = news_.unsure || n.at == 0;
    }

    void tell_verdict(verdict_kind k) noexcept {
        auto const one = [this](metric_counter c) { observer_.counted(c, 1); };
        switch (k) {
            case verdict_kind::applied: return one(metric_counter::entries_applied);
            case verdict_kind::merged: one(metric_counter::entries_merged); return one(metric_counter::entries_applied);
            case verdict_kind::duplicate:
                one(metric_counter::entries_dead);
                return one(metric_counter::entries_duplicate);
            case verdict_kind::overruled: return one(metric_counter::entries_overruled);
            case verdict_kind::conflict: return one(metric_counter::entries_conflicted);
            case verdict_kind::rejected:
                one(metric_counter::entries_dead);
                return one(metric_counter::entries_rejected);
            case verdict_kind::collateral: return one(metric_counter::entries_dead);
            case verdict_kind::retry_after: break;  // not decided: it has no event
        }
    }
    template <class Tx>
    void tell_state(Tx& tx, instant now) {
        if constexpr (listens<O>) {
            if (auto const waits = replica_.queue().load(tx)) {
                observer_.measured(metric_gauge::pending_entries, waits->first);
                observer_.measured(metric_gauge::pending_bytes, waits->second);
            }
            if (exchanged_ && now.monotonic >= last_success_) {
                auto const ago = std::chrono::duration_cast<milliseconds>(now.monotonic - last_success_).count();
                observer_.measured(metric_gauge::staleness, static_cast<std::uint64_t>(ago));
            }
        }
    }

    /// Precondition: one is read and not told.
    [[nodiscard]] session_output tell_event() noexcept {
        event_ = std::move(events_[next_event_++]);
        if (event_.kind == event_kind::decided) {
            tell_verdict(event_.said.kind);
            tell_decided();
        }
        return session_output{notify{&event_}};
    }
    void tell_decided() noexcept {
        if constexpr (notice_observer<O>) {
            switch (event_.said.kind) {
                case verdict_kind::conflict: return observer_.noticed(conflict_opened{event_.record, event_.said});
                case verdict_kind::rejected:
                case verdict_kind::collateral: return observer_.noticed(mutation_rejected{event_.record, event_.said});
                default: break;
            }
        }
    }
    /// Once the events are told: the pause, and the end of a sync.
    template <class Tx>
    [[nodiscard]] status tell_rest(Tx& tx, instant now) {
        if constexpr (notice_observer<O>) {
            if (untold_.paused && paused_) { observer_.noticed(sync_paused{*paused_}); }
            untold_.paused = false;
            if (untold_.since.exchanges == 0 || paused_) { return {}; }
            auto const work = replica_.work_left(tx, now);
            if (!work) { return work.error(); }
            if (!*work) { observer_.noticed(std::exchange(untold_.since, {})); }
        }
        return {};
    }
    void pause(failure const& why) noexcept {
        if constexpr (notice_observer<O>) { untold_.paused = untold_.paused || !paused_; }
        paused_ = why;
    }

    [[nodiscard]] status take(bytes_view message, transaction& tx, instant now) {
        observer_.counted(metric_counter::bytes_down, message.size());
        auto report = replica_.absorb(tx, message, now, random_);
        if (!report) {
            fail(report.error(), {}, now);
            return report.error();
        }
        if (options_.issue_again && (report->verdicts != 0 || report->rows != 0)) {
            auto const issued = issue_refused(tx, replica_, now);
            if (!issued) {
                fail(issued.error(), {}, now);
                return issued.error();
            }
            report->more = report->more || *issued != 0;
        }
        auto const left = replica_.status_of(tx);
        if (!left) {
            fail(left.error(), {}, now);
            return left.error();
        }
        report_ = *report;
        taken_ = {now, *left};
        observer_.counted(metric_counter::rows_pulled, report->rows);
        if (in_flight_) { observer_.took(metric_latency::exchange, round_trip(now)); }
        in_flight_ = false;
        not_before_ = now.monotonic;
        last_failure_.reset();
        return {};
    }
    /// What the last reply brought counts once it is seen in storage; where it is not, the host rolled back.
    template <class Tx>
    [[nodiscard]] status confirm(Tx& tx, instant now) {
        if (!taken_) { return {}; }
        auto const stands = replica_.status_of(tx);
        if (!stands) { return stands.error(); }
        taking const was = *std::exchange(taken_, std::nullopt);
        auto const& left = was.left;
        bool const same = stands->cursor == left.cursor && stands->head == left.head && stands->met == left.met &&
                          stands->complete == left.complete && stands->settled >= left.settled;
        // Or another session on the same store is further; but a cursor that an exchange put back was higher before.
        bool const further = stands->cursor > left.cursor && !report_.regressed && !report_.rejoined;
        if (same || further) {
            succeed(was.at);
        } else {
            asked_ = true;
            fail({errc::cancelled, "what the reply brought was not committed"}, {}, now);
        }
        return {};
    }
    void succeed(instant at) {
        if constexpr (notice_observer<O>) {
            ++untold_.since.exchanges;
            untold_.since.verdicts += report_.verdicts;
            untold_.since.rows += report_.rows;
        }
        observer_.counted(metric_counter::exchanges, 1);
        fetching_ = {};
        exchanged_ = true;
        last_success_ = at.monotonic;
        // A reply that brought nothing although there is work must not be asked for again at once.
        bool const stuck = report_.more && report_.verdicts == 0 && !report_.advanced && report_.relayed == 0;
        if (options_.retry) { policy_.succeeded(at.monotonic, round_trip(at), retried_); }
        retried_ = false;
        // The host wipes, and begins anew with another session; `last_report` says that it is that.
        if (report_.wipe) { pause({errc::forbidden, "the authority orders this replica to be wiped"}); }
        if (report_.wait || stuck) {
            delay({}, at);
        } else {
            backoff_.reset();
        }
    }

    void fail(failure why, std::optional<milliseconds> retry_after, instant now) {
        in_flight_ = false;
        if (fetching_.any()) {
            news_.at = (std::max)(news_.at, fetching_.at);
            news_.unsure = news_.unsure || fetching_.unsure;
            news_.due = fetching_.due;
            fetching_ = {};
        }
        last_failure_ = why;
        observer_.counted(metric_counter::exchanges_failed, 1);
        observer_.failed(observed_part::session, why, now.wall);
        retry_decision decided;
        if (options_.retry) {
            decided = policy_.failed({.why = why, .retry_after = retry_after, .round_trip = round_trip(now)},
                                     now.monotonic, random_);
        }
        retried_ = true;
        switch (why.code) {
            case errc::unauthorised:
            case errc::forbidden:
            case errc::unsupported:
            case errc::authority_changed:
            case errc::corrupt:
            case errc::poisoned: pause(why); break;
            default:
                if (decided.action == retry_action::wait) {
                    not_before_ = later(now.monotonic, decided.wait);
                } else {  // what the policy would end goes on here: an exchange is never given up
                    delay(retry_after, now);
                }
                break;
        }
    }
    [[nodiscard]] microseconds round_trip(instant now) const noexcept { return elapsed(sent_, now.monotonic); }
    void delay(std::optional<milliseconds> retry_after, instant now) {
        auto const wait = retry_after ? backoff_.next(random_, *retry_after) : backoff_.next(random_);
        not_before_ = now.monotonic + wait.value_or(options_.poll_interval);
    }

    template <class Tx>
    [[nodiscard]] result<monotonic_time> deadline(Tx& tx, instant now) {
        auto const after = [&](monotonic_time t) { return (std::max)(t, not_before_); };
        if (asked_) { return after(now.monotonic); }
        if (news_.at != 0 && !news_.unsure) {
            auto const stands = replica_.status_of(tx);
            if (!stands) { return stands.error(); }
            if (stands->cursor >= news_.at) { news_ = {}; }
        }
        auto work = replica_.work_left(tx, now);
        if (!work) { return work.error(); }
        if (*work || !exchanged_) { return after(now.monotonic); }
        monotonic_time next = last_success_ + options_.poll_interval;
        auto due = replica_.queue().next_due(tx, now.wall);
        if (!due) { return due.error(); }
        if (*due) { next = (std::min)(next, now.monotonic + (std::min)(**due - now.wall, options_.poll_interval)); }
        if (news_.any()) { next = (std::min)(next, news_.due); }
        return after(next);
    }

    S& store_;
    basic_replica<Records, Journal> const& replica_;
    G random_;
    session_options options_;
    backoff<> backoff_;
    retry_policy<> policy_;
    SYNCLINE_NO_UNIQUE_ADDRESS O observer_;
    SYNCLINE_NO_UNIQUE_ADDRESS detail::untold_notices<notice_observer<O>> untold_{};

    monotonic_time not_before_{};
    monotonic_time sent_{};
    monotonic_time last_success_{};
    bool in_flight_ = false;
    bool send_ = false;
    bool asked_ = false;
    bool exchanged_ = false;
    bool retried_ = false;
    unheard news_{};
    unheard fetching_{};  ///< what the exchange under way is to bring
    std::optional<failure> paused_{};
    std::optional<failure> last_failure_{};
    exchange_report report_{};
    std::optional<taking> taken_{};  ///< until it is known to be committed

    bytes message_{};
    event event_{};
    std::uint64_t told_ = 0;  ///< batches up to here were told whole
    /// Events are read some at a time, from where the last ones ended: a batch has as many as a page has rows.
    static constexpr std::size_t events_at_once = 256;
    typename basic_replica<Records, Journal>::event_cursor read_{};
    std::vector<event> events_{};  ///< read; those before `next_event_` are told
    std::size_t next_event_ = 0;
};

/// How a run of exchanges ended.
struct drive_report {
    std::size_t exchanges = 0;
    std::size_t verdicts = 0;
    std::size_t rows = 0;
    std::size_t sent_bytes = 0;
    std::size_t received_bytes = 0;
    std::optional<failure> failed{};  ///< the exchange that ended the run, if one failed
};

/// Exchanges over a transport that completes before `exchange` returns, until nothing is due now.
///
/// `clock()` is the host's `instant`; `observe(event const&)` hears what was committed. Begins and commits its
/// own transactions. A failed exchange ends the run: the session's deadline says when to try again.
/// `first` is what the run begins with: `tick{}` exchanges if something is due, `hurry{}` in any case.
/// Errors: the storage's; what was committed stays.
template <storage S, random_source G, transport T, class Clock, class Observe, observer O, class Records, class Journal>
[[nodiscard]] result<drive_report> drive(session<S, G, O, Records, Journal>& s, S& store, T& way, Clock&& clock,
                                         Observe&& observe, session_input const& first = tick{}) {
    drive_report report;
    struct {
        bytes message{};
        std::optional<failure> why{};
        std::optional<milliseconds> retry_after{};
        bool done = false;
    } answer;
    auto take = [&](transport_reply const& r) {
        answer.done = true;
        answer.retry_after = r.retry_after;
        if (r.message) {
            answer.message = to_bytes(*r.message);
        } else {
            answer.why = r.message.error();
        }
    };
    auto const step = [&](session_input const& in) -> status {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        auto ok = s.handle(in, *tx, clock());
        return ok ? tx->commit() : ok;
    };

    if (auto ok = step(first); !ok) { return ok.error(); }
    for (;;) {
        instant const now = clock();
        auto out = s.poll(now);
        if (!out) { return out.error(); }
        if (auto const* note = std::get_if<notify>(&*out)) {
            observe(*note->what);
        } else if (auto const* send = std::get_if<transmit>(&*out)) {
            answer = {};
            ++report.exchanges;
            report.sent_bytes += send->message.size();
            way.exchange(send->message, completion::to(take));
            SYNCLINE_ASSERT(answer.done);
            if (answer.why) {
                report.failed = answer.why;
                if (auto ok = step(failed{*answer.why, answer.retry_after}); !ok) { return ok.error(); }
            } else {
                report.received_bytes += answer.message.size();
                auto ok = step(received{answer.message});
                if (!ok && !s.last_failure()) { return ok.error(); }
                if (!ok) { report.failed = ok.error(); }
                report.verdicts += ok ? s.last_report().verdicts : 0;
                report.rows += ok ? s.last_report().rows : 0;
            }
        } else {
            auto const& wait = *std::get_if<wait_until>(&*out);
            if (report.failed || !wait.deadline || *wait.deadline > now.monotonic) { return report; }
            if (auto ok = step(tick{}); !ok) { return ok.error(); }
        }
    }
}

}  // namespace syncline::inline SYNCLINE_ABI
