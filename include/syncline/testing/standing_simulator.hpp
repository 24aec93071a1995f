// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Devices and what is thought of them, in a simulated world: some are quarantined, revoked, told to wipe, and good again; all
/// are let in within limits, or turned away with a time to come back. Each write sets a mark of its own and counts one.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/replica/admission.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/session.hpp>
#include <syncline/testing/naive_merge.hpp>
#include <syncline/testing/simulated_machine.hpp>
#include <syncline/testing/small_world.hpp>
#include <syncline/testing/step_dice.hpp>
#include <syncline/testing/violation.hpp>
#include <syncline/transport/loopback.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What is promised of devices and of limits, by the names under which a breach is reported.
struct standing_promise {
    /// In every stored row, at home and on each device, there are as many counts as marks: each write once, or not yet,
    /// however often it was turned away.
    static constexpr char const* once = "exactly_once";
    /// What was written is home, waits at its device, or was exported from there before that was wiped.
    static constexpr char const* kept = "nothing_lost";
    static constexpr char const* held = "quarantine";   ///< nothing of who is held back, or revoked, is decided
    static constexpr char const* told = "revocation";   ///< who is revoked, or told to wipe, is told no more rows
    static constexpr char const* erased = "wipe";       ///< not a byte of who has wiped is left
    static constexpr char const* limits = "limits";     ///< nobody is let in beyond a budget, nor beyond the load
    static constexpr char const* patient = "patience";  ///< who is told when to come back does not come before
    static constexpr char const* same = "convergence";  ///< at rest who is good holds what the authority holds
};

struct standing_simulation_options {
    std::uint32_t steps = 150;
    bool tell = false;   ///< write the story
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct standing_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t faults = 0;  ///< storage calls that were made to fail
    std::uint64_t power_cuts = 0;
    std::uint64_t written = 0;
    std::uint64_t shed = 0;         ///< requests that were turned away, for a budget or for load
    std::uint64_t quarantined = 0;  ///< requests of who is
    std::uint64_t revoked = 0;      ///< requests of who is
    std::uint64_t wiped = 0;        ///< stores
    std::uint64_t exported = 0;     ///< writes that were not home when their store was to be wiped
    std::uint64_t trace = 0;        ///< of all messages: the same on every machine
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

namespace detail {

struct watched_device : small_device<replica> {
    using link_type = session<simulated_machine::store_type, random_generator>;
    std::optional<link_type> link{};
    std::string owner{};
    id128 device{};                                    ///< by which its standing goes
    device_standing standing = device_standing::good;  ///< as the operator said last
    std::set<std::string> home_then{};                 ///< of its marks, when it was not good any more
    position told_then = 0;                            ///< how far it was told then
    std::vector<std::string> marks{};                  ///< of what it wrote, in order
    std::optional<monotonic_time> not_before{};        ///< it was told so
    bool wiping = false;                               ///< its host has begun to
    using small_device::small_device;
};

class standing_world : small_world<standing_simulation_options, standing_simulation_report, watched_device> {
public:
    standing_world(std::uint64_t seed, standing_simulation_options const& o) : small_world(seed, 91, o) {}

    standing_simulation_report run(step_dice& dice) {
        begin();
        live(dice, [&] {
            pass(draw_number(3'000));
            deed();
        });
        if (fine()) { end(); }
        return finished();
    }

private:
    using device = watched_device;

    [[nodiscard]] static rule_table rules() {
        rule_table table;
        table.add({"things", rule::last_writer, {{"count", rule::counter}}});
        return table;
    }
    [[nodiscard]] static admission_options limits() {
        admission_options o;
        o.requests = {2, milliseconds{10'000}, 3};
        o.busy_from = 2;
        o.busy_max = 4;
        return o;
    }
    void begin() {
        authority_options o;
        o.standings = true;
        cloud_ = std::make_unique<authority<>>(rules(), o);
        open_home();
        replica_options r;
        draw_pages(r);
        for (std::string const who : {"anna", "anna", "ben", "cleo"}) {
            devices_.push_back(std::make_unique<device>(who, random_(), rules(), r));
            device& d = *devices_.back();
            d.owner = who;
            d.label = who + std::to_string(devices_.size());
            d.ahead = milliseconds{draw_number(60'000)};
            begin_anew(d);
        }
    }
    /// An empty store becomes a replica's.
    void begin_anew(device& d) {
        open(d);
        auto const self = d.box.read([&](auto& tx) { return d.self.self(tx); });
        if (!honest(self.has_value(), "a replica without a name")) { return; }
        d.device = self->device;
        d.standing = device_standing::good;
        d.wiping = false;
        link(d);
    }
    /// A program that begins knows nothing but what is stored.
    void link(device& d) {
        d.not_before.reset();
        session_options o;
        o.backoff.base = milliseconds{500};
        o.backoff.cap = milliseconds{8'000};
        o.poll_interval = milliseconds{10'000};
        d.link.emplace(d.box.store(), d.self, random_generator{random_()}, o);
    }

    // What there is.

    /// The marks in rows; what counts otherwise than it is marked is a breach.
    std::set<std::string> marks_in(simulated_machine::row_fields const& all, std::string const& where) {
        std::set<std::string> out;
        for (auto const& [id, f] : all) {
            std::int64_t marks = 0;
            cbor_map_cursor at{f};
            while (!f.empty() && at.next()) {
                if (at.key() == "count") { continue; }
                ++marks;
                out.insert(std::string{at.key()});
            }
            holds(small_number(f, "count") == marks, standing_promise::once,
                  where + " counts otherwise than it is marked in " + id);
        }
        return out;
    }
    std::set<std::string> home_marks() { return marks_in(home_.rows('a', 'r'), "the authority"); }
    /// What a host exports: all that waits, and all that was refused.
    [[nodiscard]] std::set<std::string> pending_of(device& d) {
        std::set<std::string> out;
        auto const note = [&](outbox_entry const& e) {
            auto const m = replica::mutation_of(e);
            if (!honest(m.has_value(), "what waits can't be read")) { return false; }
            for (field_op const& op : m->ops) {
                if (op.field != "count") { out.insert(op.field); }
            }
            return true;
        };
        auto const ok = d.box.read([&](auto& tx) {
            auto waits = d.self.queue().scan(tx, note);
            return waits ? d.self.queue().scan_dead(tx, note) : waits;
        });
        honest(ok.has_value(), "what waits can't be listed");
        return out;
    }
    [[nodiscard]] position told_to(device& d) {
        auto const stands = d.box.read([&](auto& tx) { return d.self.status_of(tx); });
        return honest(stands.has_value(), "how far it is can't be read") ? stands->cursor : 0;
    }
    void judge(device& d) {
        auto const home = home_marks();
        if (!d.wiping) {
            auto const seen = marks_in(d.box.rows('r', 'v'), d.label);
            auto const waits = pending_of(d);
            for (std::string const& m : d.marks) {
                holds(home.contains(m) || waits.contains(m), standing_promise::kept,
                      d.label + "'s write " + m + " is neither home nor waits");
                holds(seen.contains(m), standing_promise::kept, d.label + " does not see its own write " + m);
            }
        }
        for (std::string const& m : exported_) {
            holds(ledger_.contains(m), standing_promise::kept, "what was exported was never written: " + m);
        }
        if (d.standing == device_standing::good) { return; }
        for (std::string const& m : d.marks) {
            holds(!home.contains(m) || d.home_then.contains(m), standing_promise::held,
                  d.label + "'s write " + m + " was decided, and it is " + said(d.standing));
        }
        if (d.standing != device_standing::quarantined && !d.wiping) {
            holds(told_to(d) <= d.told_then, standing_promise::told, d.label + " was told more");
        }
    }
    [[nodiscard]] static std::string said(device_standing s) {
        switch (s) {
            case device_standing::good: return "good";
            case device_standing::quarantined: return "quarantined";
            case device_standing::revoked: return "revoked";
            case device_standing::wiped: return "to be wiped";
        }
        return "?";
    }

    // Deeds.

    void deed() {
        device& d = *draw_of(devices_);
        std::uint64_t const what = draw(40);
        if (what < 14) {
            write(d);
        } else if (what < 30) {
            exchange_now(d);
        } else if (what < 33) {
            think(d);
        } else if (what < 35) {
            load_ = static_cast<std::size_t>(draw(6));
            tell(std::to_string(load_) + " requests are in work");
        } else if (what < 37) {
            if (d.wiping) {  // what is being wiped can't be opened
                ++report_.power_cuts;
                tell(d.label + " loses power");
                d.box.cut(random_);
            } else {
                cut(d);
            }
            link(d);
        } else if (what < 38) {
            cut_home();
            guard_ = admission{limits()};
            let_in_.clear();
        } else {
            serve_host(d);
        }
        judge(d);
    }
    void write(device& d) {
        if (d.wiping) { return; }
        std::string const id(1, static_cast<char>('a' + draw(3)));
        std::string const mark = "m" + std::to_string(report_.written);
        bool const there = d.box.rows('r', 'v').contains(id);
        if (!there && !made_.insert(id).second) { return; }
        field_op const count{"count", op_kind::add, naive_item(1), {}};
        record_key const k{"things", id};
        bool const took = attempt(d, [&](auto& tx) {
            return there ? d.self.update(tx, k, {count, small_set(mark, naive_item(1))}, now_of(d))
                         : d.self.create(tx, k, small_fields({{"count", naive_item(1)}, {mark, naive_item(1)}}),
                                         now_of(d));
        });
        excused("a write is refused");
        tell(d.label + (there ? " writes " : " creates ") + id + " with the mark " + mark + ending(took));
        if (!took) {
            if (!there) { made_.erase(id); }
            return;
        }
        ++report_.written;
        ledger_.insert(mark);
        d.marks.push_back(mark);
    }
    /// The operator says what is thought of a device from now on.
    void think(device& d) {
        if (d.wiping || d.standing == device_standing::wiped) { return; }
        static constexpr device_standing all[] = {device_standing::good, device_standing::quarantined,
                                                  device_standing::revoked, device_standing::wiped};
        device_standing const now = all[draw(4)];
        say(d, now);
    }
    void say(device& d, device_standing now) {
        bool const took = home_.attempt([&](auto& tx) { return cloud_->set_standing(tx, d.device, now); }).took;
        if (!honest(took, "a standing can't be said")) { return; }
        tell(d.label + " is " + said(now));
        if (now == d.standing) { return; }
        d.standing = now;
        d.home_then = home_marks();
        d.told_then = told_to(d);
    }
    /// Lets a program do what is due, against an authority that may turn it away, and a network that loses.
    void exchange_now(device& d) {
        if (d.wiping) { return; }
        machine_mishap const m = draw_mishap(random_);
        auto& store = d.box.store();
        std::uint64_t const faults = store.faults();
        if (m.faulty) { store.inject(m.fault); }
        bool const done = run(d, tick{}, false);
        bool const failed = store.faults() != faults;
        store.heal();
        report_.faults += failed ? 1 : 0;
        honest(done || failed, "a session's store fails");
    }
    bool run(device& d, session_input const& first, bool sound) {
        auto const answer = [&](bytes_view q) { return answered(d, q, sound); };
        loopback_transport way(answer);
        auto const ran = drive(
            *d.link, d.box.store(), way, [&] { return now_of(d); }, [](event const&) {}, first);
        return ran.has_value();
    }
    peer_reply answered(device& d, bytes_view q, bool sound) {
        holds(!d.not_before || now_.monotonic >= *d.not_before, standing_promise::patient,
              d.label + " comes back before it was told to");
        d.not_before.reset();
        if (!sound && draw(10) == 0) { return failure{errc::unreachable, "no network"}; }
        milliseconds const wait = guard_.admit(d.owner, q.size(), load_, now_.monotonic, random_);
        if (wait.count() != 0) {
            ++report_.shed;
            d.not_before = now_.monotonic + wait;
            tell(d.label + " is turned away for " + std::to_string(wait.count()) + " ms");
            return peer_reply{failure{errc::throttled, "too many requests"}, wait};
        }
        judge_let_in(d);
        trace(q);
        report_.quarantined += d.standing == device_standing::quarantined ? 1 : 0;
        report_.revoked += d.standing == device_standing::revoked ? 1 : 0;
        bytes reply;
        auto const out = home_.attempt(sound ? machine_mishap{} : draw_mishap(random_), [&](auto& tx) {
            auto p = cloud_->handle(tx, d.owner, q, now_);
            if (p) { reply = *p; }
            return p;
        });
        report_.faults += out.faulty ? 1 : 0;
        if (!out.faulty && out.why == errc::forbidden) {
            holds(d.standing == device_standing::revoked, small_promise::honest, d.label + " is refused");
            tell(d.label + " is refused");
            return failure{errc::forbidden, "the device is revoked"};
        }
        honest(out.why == errc{} || out.faulty, "no answer");
        tell(d.label + " is answered" + (out.took ? "" : ", and the authority dies before the commit"));
        if (!out.took) { return failure{errc::peer_failed, "the authority died"}; }
        trace(reply);
        (void)home_marks();
        if (!sound && draw(8) == 0) { return failure{errc::timed_out, "the answer is lost"}; }
        return reply;
    }
    /// Naively: in no time was a principal let in more often than its budget says.
    void judge_let_in(device& d) {
        admission_options const o = limits();
        holds(load_ < o.busy_max, standing_promise::limits, d.label + " is let in where nobody is");
        auto& times = let_in_[d.owner];
        times.push_back(now_.monotonic);
        for (std::size_t i = 0; i < times.size(); ++i) {
            auto const span = (times.back() - times[i]).count();
            auto const most = static_cast<std::int64_t>(o.requests.burst) +
                              span * static_cast<std::int64_t>(o.requests.count) / o.requests.per.count() + 1;
            holds(static_cast<std::int64_t>(times.size() - i) <= most, standing_promise::limits,
                  d.owner + " is let in more often than its budget says");
        }
    }
    /// What a host does when its session says why it rests.
    void serve_host(device& d) {
        if (d.wiping) { return wipe_on(d); }
        if (!d.link->last_report().wipe) {
            d.not_before.reset();  // a person asks
            (void)run(d, resume{}, false);
            return;
        }
        holds(d.standing == device_standing::wiped, standing_promise::erased, d.label + " hears an order nobody gave");
        // First what is to be kept.
        auto const home = home_marks();
        for (std::string const& m : pending_of(d)) {
            exported_.insert(m);
            report_.exported += home.contains(m) ? 0 : 1;
        }
        d.wiping = true;
        tell(d.label + "'s host exports what waits, and wipes");
        wipe_on(d);
    }
    void wipe_on(device& d) {
        bool more = true;
        for (std::uint64_t n = 1 + draw(4); n != 0 && more; --n) {
            bool left = true;
            auto const budget = static_cast<std::size_t>(1 + draw(8));
            bool const took = attempt(d, [&](auto& tx) {
                auto const step = d.self.wipe(tx, budget);
                if (step) { left = *step; }
                return step;
            });
            excused("a store can't be wiped");
            tell(d.label + " wipes" + ending(took));
            if (took) { more = left; }
            // Begun, it is no replica's any more, whatever interrupts it.
            if (took && more) {
                auto const again =
                    d.box.attempt([&](auto& tx) { return d.self.open(tx, d.owner, now_of(d), d.random); });
                holds(again.why == errc::not_found, standing_promise::erased, d.label + " opens what is being wiped");
            }
        }
        if (!more) { wiped(d); }
    }
    void wiped(device& d) {
        std::size_t keys = 0;
        auto const ok = d.box.read([&](auto& tx) {
            return tx.scan({bytes{}, bytes(1, std::byte{0xFF})}, [&](bytes_view, bytes_view) {
                ++keys;
                return true;
            });
        });
        honest(ok.has_value(), "an empty store can't be read");
        holds(keys == 0, standing_promise::erased,
              d.label + " has wiped, and " + std::to_string(keys) + " rows are left");
        ++report_.wiped;
        auto const home = home_marks();
        for (std::string const& m : d.marks) {
            holds(home.contains(m) || exported_.contains(m), standing_promise::kept,
                  d.label + "'s write " + m + " was wiped, and is nowhere");
        }
        d.marks.clear();
        tell(d.label + " begins anew");
        begin_anew(d);
    }

    // At the end.

    void end() {
        tell("the trouble is over");
        load_ = 0;
        for (auto const& d : devices_) {
            bool const stays = d->standing == device_standing::revoked && draw(2) == 0;
            if (d->standing != device_standing::wiped && !d->wiping && !stays) { say(*d, device_standing::good); }
        }
        for (int round = 0; round < 120 && fine(); ++round) {
            pass(2'000);
            for (auto const& d : devices_) {
                if (d->wiping || d->link->last_report().wipe) {
                    serve_host(*d);
                } else {
                    bool const paused = round % 10 == 0 && d->link->last_failure().has_value();
                    if (paused) { d->not_before.reset(); }
                    honest(run(*d, paused ? session_input{resume{}} : session_input{tick{}}, true),
                           "a session fails on sound machines");
                }
                judge(*d);
            }
        }
        if (!fine()) { return; }
        auto const home = home_.rows('a', 'r');
        auto const there = home_marks();
        std::set<std::string> known = there;
        known.insert(exported_.begin(), exported_.end());
        for (auto const& d : devices_) {
            auto const waits = pending_of(*d);
            if (d->standing == device_standing::revoked) {
                known.insert(waits.begin(), waits.end());  // it can be exported
                continue;
            }
            holds(waits.empty(), small_promise::rest, d->label + " has work left");
            holds(d->box.rows('r', 'v') == home, standing_promise::same, d->label + " holds something else");
        }
        for (std::string const& m : ledger_) {
            holds(known.contains(m), standing_promise::kept, "the write " + m + " is nowhere");
        }
    }

    admission guard_{limits()};
    std::size_t load_ = 0;                                         ///< requests of others that are in work
    std::map<std::string, std::vector<monotonic_time>> let_in_{};  ///< by principal, since the authority began
    std::set<std::string> made_{};                                 ///< records
    std::set<std::string> ledger_{};                               ///< marks of all that was written
    std::set<std::string> exported_{};                             ///< … and was exported before a wipe
};

}  // namespace detail

/// One life of devices and what is thought of them. The same seed and options give the same life and the same report, on
/// every machine. With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline standing_simulation_report simulate_standings(std::uint64_t seed,
                                                                   standing_simulation_options const& o = {}) {
    return detail::live_life<detail::standing_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline standing_simulation_options shrink_standings(standing_simulation_report const& failed,
                                                                  standing_simulation_options o = {},
                                                                  std::size_t lives = 1'000) {
    return detail::shrink_life<detail::standing_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
