// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Conversations in a simulated world: messages are numbered at one end, lost, doubled and overtaken on the way, and handed
/// over at the other once and in order, on bad disks, judged by a naive list.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/outbox/inbox.hpp>
#include <syncline/testing/simulated_machine.hpp>
#include <syncline/testing/step_dice.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What conversations promise, by the names under which a breach is reported.
struct inbox_promise {
    static constexpr char const* once =
        "exactly_once";  ///< each message is handed over once, in its order, as it was sent
    static constexpr char const* answers = "answers";  ///< every call answers as a naive list does
    static constexpr char const* bounded = "bounded";  ///< what is stored is what that list holds, and no more
    static constexpr char const* numbers = "numbers";  ///< each number is given once, none is left out
    static constexpr char const* atomicity = "crash_atomicity";  ///< after a power cut a state that there was
    static constexpr char const* kept = "nothing_lost";          ///< at rest all that was sent is handed over
    static constexpr char const* honest = "honest_errors";       ///< no call fails but for the storage's reasons
};

struct inbox_simulation_options {
    std::uint32_t steps = 250;
    disk_lie lie = disk_lie::none;  ///< of both ends' disks
    bool tell = false;              ///< write the story
    /// A mistake of the host, to show that the judge sees it: it acknowledges before what it took in is durable.
    bool hasty = false;
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct inbox_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t faults = 0;  ///< storage calls that were made to fail
    std::uint64_t power_cuts = 0;
    std::uint64_t sent = 0;  ///< messages that were numbered
    std::uint64_t handed = 0, duplicates = 0, overtaken = 0, refused = 0, forgotten = 0;
    std::uint64_t trace = 0;  ///< of everything that was done and answered: the same on every machine
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

namespace detail {

class inbox_world : small_life<inbox_simulation_options, inbox_simulation_report> {
public:
    inbox_world(std::uint64_t seed, inbox_simulation_options const& o)
        : small_life(seed, seed * 2'654'435'761U + 83, o),
          promise_(draw(2) == 0 ? durability::full : durability::ordered),
          sender_(promise_, o.lie),
          receiver_(promise_, o.lie),
          options_of_box_{1 + draw(6), 5 + draw(60)},
          box_(options_of_box_) {
        sender_.mark();
        receiver_.mark();
        for (int i = 0; i < 3; ++i) { begin_conversation(); }
    }

    inbox_simulation_report run(step_dice& dice) {
        live(dice, [&] {
            deed();
            if (fine()) { judge(); }
        });
        if (fine()) { end(); }
        return finished();
    }

private:
    struct message {
        std::size_t conversation = 0;
        std::uint64_t number = 0;
    };
    /// What came in of one conversation.
    struct naive_box {
        std::uint64_t through = 0;
        std::map<std::uint64_t, bytes> held{};
        [[nodiscard]] std::uint64_t size() const {
            std::uint64_t n = 0;
            for (auto const& [number, payload] : held) { n += payload.size(); }
            return n;
        }
    };
    using naive_sender = std::map<std::size_t, std::vector<bytes>>;  ///< payloads, by conversation
    using naive_receiver = std::map<std::size_t, naive_box>;
    using raw_state = std::map<std::string, bytes>;

    /// One end: its disk, what is to be on it, and what may be after a power cut, the oldest first.
    template <class Model>
    struct end_of {
        simulated_machine box;
        Model model{};
        std::vector<std::pair<raw_state, Model>> saved{};

        end_of(durability promise, disk_lie lie) : box(promise, lie) {}
        [[nodiscard]] raw_state raw() {
            raw_state out;
            (void)box.read([&](auto& tx) {
                return tx.scan({}, [&](bytes_view k, bytes_view v) {
                    out[std::string{as_text(k)}] = to_bytes(v);
                    return true;
                });
            });
            return out;
        }
        /// Nothing before this comes back.
        void mark() { saved.assign(1, {raw(), model}); }
        void committed(durability promise) {
            if (promise == durability::full) { saved.clear(); }
            saved.emplace_back(raw(), model);
        }
    };

    [[nodiscard]] static std::string name_of(std::size_t conversation) { return "talk" + std::to_string(conversation); }
    [[nodiscard]] static bytes row_of(char kind, std::size_t conversation, std::uint64_t number) {
        bytes k{static_cast<std::byte>(kind)};
        append(k, as_bytes(name_of(conversation)));
        append_u64(k, number);
        return k;
    }
    void begin_conversation() {
        longest_[begun_] = 3 + draw(20);
        open_.push_back(begun_++);
    }
    /// An inbox makes few calls.
    [[nodiscard]] machine_mishap mishap() {
        machine_mishap m = draw_mishap(random_);
        m.fault.nth = 1 + draw(7);
        return m;
    }
    [[nodiscard]] std::uint64_t written(std::size_t c) { return sender_.model[c].size(); }

    // Deeds.

    void deed() {
        std::size_t const c = draw_of(open_);
        std::uint64_t const what = draw(32);
        if (what < 8) {
            write(c);
        } else if (what < 15) {
            send(c);
        } else if (what < 25) {
            receive();
        } else if (what < 27) {
            for (std::size_t const one : open_) { acknowledge(one); }
        } else if (what < 28) {
            ask_for_gaps(c);
        } else if (what < 29) {
            tell("the sender syncs");
            if (sender_.box.store().barrier()) { settle_sender(); }
        } else if (what < 30) {
            for (std::size_t const over : std::vector<std::size_t>{open_}) { forget(over); }
        } else if (draw(3) == 0) {
            draw(2) == 0 ? cut(sender_, "the sender") : cut(receiver_, "the receiver");
        }
    }
    void trace(std::uint64_t n) { report_.trace = report_.trace * 1'099'511'628'211U + n; }

    void write(std::size_t c) {
        if (written(c) == longest_[c]) { return; }
        bytes const payload = to_bytes(
            as_bytes(name_of(c) + std::string(static_cast<std::size_t>(draw(9)), 'x') + std::to_string(report_.sent)));
        std::uint64_t given = 0;
        auto const out = sender_.box.attempt(mishap(), [&](auto& tx) -> status {
            auto const n = numbers_.next(tx, as_bytes(name_of(c)));
            if (!n) { return n.error(); }
            given = *n;
            return tx.put(row_of('o', c, *n), payload);
        });
        report_.faults += out.faulty ? 1 : 0;
        holds(out.faulty || out.why == errc{}, inbox_promise::honest, "a message is not numbered");
        if (!out.took) { return; }
        sender_.model[c].push_back(payload);
        ++report_.sent;
        tell("the sender writes " + std::to_string(given) + " to " + name_of(c));
        holds(given == written(c), inbox_promise::numbers,
              std::to_string(given) + " of " + name_of(c) + " is given, and it is the " + std::to_string(written(c)));
        sender_.committed(promise_);
        if (promise_ == durability::full) { settle_sender(); }
        trace(given);
    }
    /// What the sender has may leave now: it stays.
    void settle_sender() {
        if (promise_ != durability::full) { sender_.mark(); }
        for (auto const& [c, all] : sender_.model) { may_leave_[c] = all.size(); }
    }
    void send(std::size_t c) {
        std::uint64_t const from = acknowledged_[c];
        std::uint64_t const last = (std::min)(may_leave_[c], written(c));
        if (from >= last) { return; }
        std::uint64_t const n = from + 1 + draw((std::min)(last - from, std::uint64_t{12}));
        tell("the sender sends " + std::to_string(n) + " of " + name_of(c));
        on_way_.push_back({c, n});
    }
    void receive() {
        if (on_way_.empty()) { return; }
        auto const i = static_cast<std::size_t>(draw(on_way_.size()));
        message const m = on_way_[i];
        std::uint64_t const fate = draw(8);
        if (fate > 1) { on_way_.erase(on_way_.begin() + static_cast<std::ptrdiff_t>(i)); }
        if (fate == 7) {
            tell(std::to_string(m.number) + " of " + name_of(m.conversation) + " is lost");
            return;
        }
        machine_mishap const goes_wrong = mishap();
        take(m, goes_wrong, draw(24) == 0);
    }
    /// `refuses`: the host takes nothing now.
    void take(message const& m, machine_mishap const& with, bool refuses) {
        std::size_t const c = m.conversation;
        bytes const payload = sender_.model[c][static_cast<std::size_t>(m.number - 1)];
        naive_box next;
        if (auto const at = receiver_.model.find(c); at != receiver_.model.end()) { next = at->second; }
        inbox_receipt should;
        bool const full = !naive(next, m.number, payload, should);
        std::vector<std::uint64_t> handed;
        bool twice = false;
        std::optional<result<inbox_receipt>> said;
        auto const out = receiver_.box.attempt(with, [&](auto& tx) {
            handed.clear();
            auto const deliver = [&](std::uint64_t n, bytes_view p) -> status {
                if (refuses) { return errc::cancelled; }
                bytes there;
                bytes const at = row_of('h', c, n);
                auto const found = tx.get(at, there);
                if (!found) { return found.error(); }
                twice = twice || *found;
                handed.push_back(n);
                return tx.put(at, p);
            };
            said = box_.receive(tx, as_bytes(name_of(c)), m.number, payload, deliver);
            return *said;
        });
        report_.faults += out.faulty ? 1 : 0;
        tell(std::to_string(m.number) + " of " + name_of(c) + " comes in" +
             (out.took            ? ", and " + std::to_string(handed.size()) + " are handed over"
              : out.why != errc{} ? std::string{", which fails: "} + message_of(out.why)
                                  : std::string{", and the receiver dies before the commit"}));
        if (out.faulty || !said) { return; }
        holds(!twice, inbox_promise::once, "a message is handed over that was before");
        if (refuses && should.delivered != 0) {
            holds(!*said && said->error() == errc::cancelled, inbox_promise::answers, "the host's error is not told");
            return;
        }
        if (full) {
            ++report_.refused;
            holds(!*said && said->error() == errc::limit, inbox_promise::answers, "more than the limit is taken");
            return;
        }
        holds(*said && **said == should, inbox_promise::answers, "a message is taken otherwise than by a list");
        report_.duplicates += should.duplicate ? 1 : 0;
        report_.overtaken += !should.duplicate && should.delivered == 0 ? 1 : 0;
        if (!out.took || !fine()) { return; }
        report_.handed += handed.size();
        if (!should.duplicate) { receiver_.model[c] = std::move(next); }
        receiver_.committed(promise_);
        trace(m.number * 64 + handed.size());
    }
    [[nodiscard]] static char const* message_of(errc why) { return syncline::message(why); }
    /// Takes it as a list would; false where there is no room.
    [[nodiscard]] bool naive(naive_box& b, std::uint64_t n, bytes const& payload, inbox_receipt& should) const {
        should = {};
        should.duplicate = n <= b.through || b.held.contains(n);
        if (!should.duplicate && n != b.through + 1) {
            bool const room =
                b.held.size() < options_of_box_.held_max && b.size() + payload.size() <= options_of_box_.held_bytes_max;
            if (!room) { return false; }
            b.held[n] = payload;
        } else if (!should.duplicate) {
            do {
                ++b.through;
                ++should.delivered;
            } while (b.held.erase(b.through + 1) != 0);
        }
        should.through = b.through;
        return true;
    }
    void acknowledge(std::size_t c) {
        if (!options_.hasty) {
            if (!receiver_.box.store().barrier()) { return; }
            if (promise_ != durability::full) { receiver_.mark(); }
        }
        auto const n = receiver_.box.read([&](auto& tx) { return box_.through(tx, as_bytes(name_of(c))); });
        if (!holds(n.has_value(), inbox_promise::honest, "what was handed over can't be read")) { return; }
        acknowledged_[c] = (std::max)(acknowledged_[c], *n);
        tell("the receiver acknowledges " + name_of(c) + " up to " + std::to_string(*n));
    }
    void ask_for_gaps(std::size_t c) {
        auto const gaps = receiver_.box.read([&](auto& tx) { return box_.gaps(tx, as_bytes(name_of(c)), 2); });
        if (!holds(gaps.has_value(), inbox_promise::honest, "gaps can't be read")) { return; }
        for (sequence_gap const& g : *gaps) {
            tell("the receiver asks for " + std::to_string(g.first) + " to " + std::to_string(g.last) + " of " +
                 name_of(c));
            for (std::uint64_t n = g.first; n <= g.last; ++n) {
                if (n <= (std::min)(may_leave_[c], written(c))) { on_way_.push_back({c, n}); }
            }
        }
    }
    /// Both ends are done with it: nothing of it is under way, and it never comes back.
    void forget(std::size_t c) {
        bool const over = written(c) != 0 && acknowledged_[c] == written(c) && may_leave_[c] == written(c);
        if (!over) { return; }
        auto const out = receiver_.box.attempt(draw_mishap(random_),
                                               [&](auto& tx) { return box_.forget(tx, as_bytes(name_of(c))); });
        report_.faults += out.faulty ? 1 : 0;
        holds(out.faulty || out.why == errc{}, inbox_promise::honest, "a conversation is not forgotten");
        if (!out.took) { return; }
        tell("the receiver forgets " + name_of(c));
        ++report_.forgotten;
        receiver_.model.erase(c);
        receiver_.committed(promise_);
        std::erase_if(on_way_, [&](message const& m) { return m.conversation == c; });
        std::erase(open_, c);
        begin_conversation();
    }
    template <class Model>
    void cut(end_of<Model>& e, char const* who) {
        ++report_.power_cuts;
        e.box.cut(random_);
        raw_state const is = e.raw();
        for (std::size_t i = e.saved.size(); i-- != 0;) {
            if (e.saved[i].first != is) { continue; }
            tell(std::string{who} + " loses power, and " + std::to_string(e.saved.size() - 1 - i) + " commits");
            e.model = e.saved[i].second;
            e.mark();
            return;
        }
        tell(std::string{who} + " loses power");
        broken(inbox_promise::atomicity, std::string{who} + " holds no state that there was, or one that is too old");
    }

    // The judge.

    void judge() {
        raw_state const is = receiver_.raw();
        std::map<std::string, bytes> handed;
        std::size_t others = 0;
        for (auto const& [k, v] : is) {
            k[0] == 'h' ? static_cast<void>(handed.insert({k, v})) : static_cast<void>(++others);
        }
        std::size_t most = 0;
        for (auto const& known : receiver_.model) {
            std::size_t const c = known.first;
            naive_box const& b = known.second;
            most += 1 + b.held.size();
            for (std::uint64_t n = 1; n <= b.through; ++n) {
                auto const at = handed.find(std::string{as_text(row_of('h', c, n))});
                bool const right =
                    at != handed.end() && at->second == sender_.model[c][static_cast<std::size_t>(n - 1)];
                holds(right, inbox_promise::once, std::to_string(n) + " of " + name_of(c) + " was not handed over");
                if (at != handed.end()) { handed.erase(at); }
            }
            auto const through = receiver_.box.read([&](auto& tx) { return box_.through(tx, as_bytes(name_of(c))); });
            holds(through && *through == b.through, inbox_promise::answers, "how far it is, is told otherwise");
            std::vector<sequence_gap> should;
            std::uint64_t expected = b.through + 1;
            for (auto const& [n, payload] : b.held) {
                if (n > expected) { should.push_back({expected, n - 1}); }
                expected = n + 1;
            }
            auto const gaps = receiver_.box.read([&](auto& tx) { return box_.gaps(tx, as_bytes(name_of(c))); });
            holds(gaps && *gaps == should, inbox_promise::answers, "the gaps are told otherwise");
        }
        // Of conversations that are over all was handed over, and the host keeps it.
        for (auto const& [k, v] : handed) {
            bool of_open = false;
            for (auto const& [c, b] : receiver_.model) {
                of_open = of_open || k.compare(1, k.size() - 9, name_of(c)) == 0;
            }
            holds(!of_open, inbox_promise::once, "a message is handed over before its turn");
        }
        holds(others <= most, inbox_promise::bounded,
              std::to_string(others) + " rows are stored, and " + std::to_string(most) + " would do");
    }
    void end() {
        tell("the trouble is over");
        (void)sender_.box.store().barrier();
        settle_sender();
        for (std::size_t const c : std::vector<std::size_t>{open_}) {
            for (std::uint64_t n = acknowledged_[c] + 1; n <= written(c) && fine(); ++n) { take({c, n}, {}, false); }
            acknowledge(c);
            std::uint64_t const through = receiver_.model[c].through;
            holds(through == written(c), inbox_promise::kept,
                  name_of(c) + " ends at " + std::to_string(through) + " of " + std::to_string(written(c)));
        }
        if (fine()) { judge(); }
    }

    durability promise_;
    end_of<naive_sender> sender_;
    end_of<naive_receiver> receiver_;
    inbox_options options_of_box_;
    inbox box_;
    conversation_numbers numbers_{};
    std::vector<std::size_t> open_{};
    std::size_t begun_ = 0;
    std::map<std::size_t, std::uint64_t> longest_{};  ///< messages that a conversation has at most
    std::vector<message> on_way_{};
    std::map<std::size_t, std::uint64_t> may_leave_{};     ///< of the sender's, durable up to here
    std::map<std::size_t, std::uint64_t> acknowledged_{};  ///< … and known to be handed over
};

}  // namespace detail

/// One life of conversations. The same seed and options give the same life and the same report, on every machine.
/// With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline inbox_simulation_report simulate_inbox(std::uint64_t seed,
                                                            inbox_simulation_options const& o = {}) {
    return detail::live_life<detail::inbox_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline inbox_simulation_options shrink_inbox(inbox_simulation_report const& failed,
                                                           inbox_simulation_options o = {}, std::size_t lives = 1'000) {
    return detail::shrink_life<detail::inbox_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
