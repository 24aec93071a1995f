// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The schedule in a simulated world: links that come and go, clocks that are set, crashes and long sleep, judged by naive
/// rules; and a recorded trace as such a world, for a simulated device to live through.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/schedule/conditions.hpp>
#include <syncline/schedule/memory.hpp>
#include <syncline/schedule/options.hpp>
#include <syncline/schedule/plan.hpp>
#include <syncline/schedule/scheduler.hpp>
#include <syncline/schedule/trace.hpp>
#include <syncline/testing/step_dice.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What the schedule promises, by the names under which a breach is reported.
struct schedule_promise {
    static constexpr char const* liveness = "liveness";    ///< there is a next time, and a condition that is waited for
    static constexpr char const* explained = "explained";  ///< each choice has a reason that has words
    static constexpr char const* permission = "permission";  ///< nothing runs that a gate forbids
    static constexpr char const* patience = "patience";      ///< after a failure, or a server's word, there is a wait
    static constexpr char const* budget = "budget";      ///< a used-up day moves what is critical only, a class nothing
    static constexpr char const* recovery = "recovery";  ///< waits grow with failures in a row, and no other ones
    static constexpr char const* punctual = "punctual";  ///< what has a deadline goes out in time, if it may
    static constexpr char const* window = "window";      ///< in granted time nothing lasts beyond it
    static constexpr char const* spread = "spread";      ///< devices that get the link back don't come at once
    static constexpr char const* rest = "rest";          ///< nobody is woken without end for nothing
    static constexpr char const* fairness = "fairness";  ///< nothing that is permitted starves
    static constexpr char const* replayed = "replayed";  ///< the trace decides the same again
    static constexpr char const* kept = "kept";          ///< what is stored comes back
};

struct schedule_simulation_options {
    std::uint32_t steps = 80;  ///< events, each with the decisions before it, until all becomes calm
    bool tell = false;         ///< write the story
    step_choice only{};        ///< the steps that are done, each with the dice that it has in the whole life
};
struct schedule_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t exchanges = 0;
    std::uint64_t failures = 0;  ///< exchanges that failed
    std::uint64_t crashes = 0;
    std::uint64_t jumps = 0;  ///< of the wall clock
    std::uint64_t trace = 0;  ///< the same for the same seed, everywhere
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

/// Judges one plan after the other by what a reader of the documentation would expect.
class schedule_judge {
public:
    explicit schedule_judge(schedule_options const& options) : options_(options) {}

    /// A plan that was made at `now`; `since_start`: time that really passed. The first breach, empty when there is none.
    [[nodiscard]] std::optional<violation> decided(sync_plan const& p, conditions const& c, wall_time now,
                                                   milliseconds since_start) {
        using promise = schedule_promise;
        std::optional<violation> out;
        auto const broken = [&out](char const* name, std::string what) {
            if (!out) { out = violation{name, std::move(what)}; }
        };
        if (p.in.count() < 1 || p.at != now + p.in) { broken(promise::liveness, "a next time that is none"); }
        if (!p.run && p.in > options_.look_max) { broken(promise::liveness, "a next time beyond look_max"); }
        if (!p.run && p.until == awaited::nothing) { broken(promise::liveness, "waits for nothing"); }
        if (p.run && !p.push && !p.pull) { broken(promise::rest, "an exchange of nothing"); }
        for (plan_explanation const& e : p.why) {
            if (std::string_view(words(e.because)) == "unknown reason") { broken(promise::explained, "no words"); }
        }
        wakes_.push_back(since_start);
        while (since_start - wakes_.front() > milliseconds{60'000}) { wakes_.erase(wakes_.begin()); }
        if (wakes_.size() > 300) { broken(promise::rest, "300 decisions in a minute"); }
        if (p.run) { ran(p, c, now, broken); }
        if (!p.run && late(p, c, now)) { broken(promise::punctual, "a deadline that will be missed"); }
        return out;
    }
    /// How the exchange ended that the last plan asked for.
    void exchanged(transfer_report const& r, wall_time now) {
        spend(r, now);
        may_pause_ = !r.good;
        if (r.good) {
            wait_.reset();
        } else {
            // Jitter leaves half of the first ceiling at least; a server's word all of it, as far as it is believed.
            milliseconds const least = options_.backoff.base / 2;
            milliseconds const hint = (std::min)(r.retry_after.value_or(milliseconds{0}), options_.backoff.hint_max);
            wait_ = waiting{now, (std::max)(least, hint), hint.count() != 0};
        }
    }
    /// Another link than before: what the other one has earned is over, but for the server's word.
    void link_changed() {
        if (wait_ && !wait_->asked) { wait_.reset(); }
    }
    /// A program that begins anew may have lost its memory of all this.
    void restarted() {
        wait_.reset();
        may_pause_ = true;
        spent_day_.reset();
    }

private:
    struct waiting {
        wall_time from{};
        milliseconds least{0};
        bool asked = false;
    };

    template <class Broken>
    void ran(sync_plan const& p, conditions const& c, wall_time now, Broken const& broken) const {
        using promise = schedule_promise;
        if (c.network.online == false) { broken(promise::permission, "an exchange without a network"); }
        bool const asked = c.server.not_before && *c.server.not_before > now;
        if (asked && *c.server.not_before - now <= options_.wait_max) {
            broken(promise::patience, "the server asked to wait");
        }
        if (wait_ && now >= wait_->from && now - wait_->from < wait_->least) {
            broken(promise::patience, "no wait after a failure");
        }
        auto const& a = c.application;
        bool const granted = a.foreground == false && a.window;
        if (granted && *a.window <= options_.window_reserve) {
            broken(promise::permission, "in the background without time");
        }
        if (granted && p.in > *a.window) { broken(promise::window, "an exchange beyond the granted time"); }
        bool const empty = c.power.level && *c.power.level <= options_.battery_critical && c.power.charging != true;
        bool const hot = c.power.thermal && *c.power.thermal >= thermal_state::serious;
        bool const too_hot = c.power.thermal && *c.power.thermal >= thermal_state::critical;
        std::size_t last = hot ? 1 : sync_classes - 1;  // the last class that may move
        if (empty || too_hot || c.network.roaming == true) { last = 0; }
        bool const used_up = options_.day_bytes && costs_by_byte(c.network, options_) && spent_day_ == day(now) &&
                             spent_ >= *options_.day_bytes;
        if (p.push && static_cast<std::size_t>(p.lowest) > last) {
            broken(promise::permission, "a class that is held");
        }
        if (used_up && p.push && p.lowest != sync_class::critical) { broken(promise::budget, "more than is critical"); }
        for (std::size_t i = 0; i < sync_classes; ++i) {
            // Entries leave by urgency: those of less urgent classes would leave with it.
            bool const leaves = p.push && static_cast<std::size_t>(p.lowest) >= i && c.pending.of[i].entries != 0;
            if (leaves && class_used_up(i, c, now)) { broken(promise::budget, "a class that has no bytes left"); }
        }
        bool const full = (c.storage.free_bytes && *c.storage.free_bytes < options_.free_bytes_min) ||
                          (c.storage.quota_left && *c.storage.quota_left < options_.free_bytes_min);
        for (std::size_t i = 0; i < p.pulls; ++i) {
            std::size_t const k = p.order[i];
            if (k >= c.collections.size()) { return broken(promise::permission, "a collection that is none"); }
            auto const urgency = static_cast<std::size_t>(c.collections[k].urgency);
            if (urgency > last || (full && urgency > 0)) { broken(promise::permission, "a collection that is held"); }
            bool const spent = (used_up && urgency > 0) || class_used_up(urgency, c, now);
            if (spent) { broken(promise::budget, "a collection beyond the budget"); }
        }
    }
    [[nodiscard]] bool class_used_up(std::size_t i, conditions const& c, wall_time now) const {
        return options_.class_bytes[i] && costs_by_byte(c.network, options_) && spent_day_ == day(now) &&
               class_spent_[i] >= *options_.class_bytes[i];
    }
    /// Whether something with a deadline would go out too late for it, of what only thrift could hold.
    [[nodiscard]] bool late(sync_plan const& p, conditions const& c, wall_time now) const {
        auto const& w = c.power;
        bool const powered = !w.level || *w.level > options_.battery_critical || w.charging == true;
        bool const cool = !w.thermal || *w.thermal < thermal_state::serious;
        bool const asked = c.server.not_before && *c.server.not_before > now;
        auto const& a = c.application;
        bool const there = a.foreground != false || !a.window || *a.window > options_.window_reserve;
        bool budgets = options_.day_bytes.has_value();
        for (auto const& of_class : options_.class_bytes) { budgets = budgets || of_class; }
        bool const paid = budgets && costs_by_byte(c.network, options_);
        bool const free = c.network.online == true && c.network.roaming != true && powered && cool && !asked && there &&
                          !paid && !may_pause_;
        if (!free) { return false; }
        for (class_pending const& k : c.pending.of) {
            if (k.entries == 0 || !k.deadline) { continue; }
            wall_time const latest = (std::max)(*k.deadline - options_.send_reserve, now);
            if (p.at > latest + options_.backoff.reconnect_spread) { return true; }
        }
        return false;
    }
    [[nodiscard]] std::int64_t day(wall_time now) const { return schedule_memory::local_day(options_, now); }
    void spend(transfer_report const& r, wall_time now) {
        if (spent_day_ != day(now)) {
            spent_ = 0;
            class_spent_ = {};
        }
        spent_day_ = day(now);
        if (!r.metered) { return; }
        spent_ += r.bytes_up + r.bytes_down;
        for (std::size_t i = 0; i < sync_classes; ++i) { class_spent_[i] += r.class_bytes[i]; }
    }

    schedule_options options_;
    std::vector<milliseconds> wakes_{};
    std::optional<waiting> wait_{};
    bool may_pause_ = false;  // after a failure, or one that may be remembered
    std::optional<std::int64_t> spent_day_{};
    std::uint64_t spent_ = 0;
    std::array<std::uint64_t, sync_classes> class_spent_{};
};

/// A device that does what its plans say: what waits, what is stale, and what an exchange does to both.
class scheduled_device {
public:
    struct waiting_entry {
        sync_class urgency = sync_class::normal;
        std::uint64_t size = 0;
        wall_time entered{};
        milliseconds since{0};  ///< that really passed before
        std::optional<wall_time> deadline{};
    };

    void write(sync_class urgency, std::uint64_t size, wall_time now, milliseconds since,
               std::optional<wall_time> deadline = {}) {
        entries_.push_back({urgency, size, now, since, deadline});
    }
    void add(collection_state const& k) { static_cast<void>(collections_.push_back(k)); }
    [[nodiscard]] collection_list& collections() noexcept { return collections_; }
    [[nodiscard]] std::vector<waiting_entry> const& entries() const noexcept { return entries_; }

    /// The conditions with what waits here.
    [[nodiscard]] conditions among(conditions c) const {
        c.pending = {};
        for (waiting_entry const& e : entries_) { c.pending.add(e.urgency, e.size, e.entered, e.deadline); }
        c.collections = collections_;
        return c;
    }
    /// The exchange of a plan succeeds: what it sends is gone, what it pulls is fresh. `waited` hears how long each entry
    /// really was there.
    transfer_report exchange(
        sync_plan const& p, conditions const& c, schedule_options const& o, milliseconds took, wall_time now,
        milliseconds since, function_ref<void(sync_class, milliseconds)> waited = [](sync_class, milliseconds) {}) {
        transfer_report r;
        r.good = true;
        r.took = took;
        r.round_trip = took / 4;
        r.metered = costs_by_byte(c.network, o);
        std::vector<waiting_entry> left;
        for (waiting_entry const& e : entries_) {
            bool const goes =
                p.push && e.urgency <= p.lowest && (r.bytes_up == 0 || r.bytes_up + e.size <= p.bytes_max);
            if (!goes) {
                left.push_back(e);
                continue;
            }
            waited(e.urgency, since - e.since);
            r.bytes_up += e.size;
            r.class_bytes[static_cast<std::size_t>(e.urgency)] += e.size;
            ++r.entries;
        }
        entries_ = std::move(left);
        for (std::size_t i = 0; i < p.pulls; ++i) {
            collection_state& k = collections_[p.order[i]];
            k.fresh_at = now;
            k.told_at.reset();
            r.bytes_down += 2'000;
            r.class_bytes[static_cast<std::size_t>(k.urgency)] += 2'000;
        }
        return r;
    }

private:
    std::vector<waiting_entry> entries_{};
    collection_list collections_{};
};

namespace detail {

/// One world: a device, its schedule, what happens to both, and what ought to hold.
class schedule_world : small_life<schedule_simulation_options, schedule_simulation_report> {
public:
    schedule_world(std::uint64_t seed, schedule_simulation_options const& o)
        : small_life(seed, seed * 2 + 1, o),
          scheduling_(any_options(seed)),
          with_deadlines_(seed % 3 == 0),
          judge_(scheduling_),
          schedule_(schedule_memory(random_()), scheduling_) {
        for (std::uint64_t i = 1 + draw(6); i != 0; --i) {
            collection_state k;
            k.id = static_cast<std::uint16_t>(i);
            k.scope = static_cast<std::uint16_t>(draw(3));
            k.urgency = static_cast<sync_class>(draw(sync_classes));
            if (!one_in(3)) { k.fresh_at = now_; }
            if (k.fresh_at && one_in(3)) { k.complete_by = now_ + up_to(std::int64_t{20} * 86'400'000); }
            device_.add(k);
        }
    }

    schedule_simulation_report run(step_dice& dice) {
        live(dice, [&] { step(); });
        if (fine()) { calm(); }
        if (fine()) { replay(); }
        return finished();
    }

private:
    [[nodiscard]] milliseconds up_to(std::int64_t ms) {
        return milliseconds{static_cast<std::int64_t>(draw(static_cast<std::uint64_t>(ms)))};
    }
    [[nodiscard]] schedule_options any_options(std::uint64_t seed) {
        schedule_options o;
        if (one_in(2)) { o.day_bytes = 20'000 + draw(200'000); }
        o.utc_offset = milliseconds{(static_cast<std::int64_t>(draw(27)) - 12) * 3'600'000};
        if (seed % 3 == 1) { o.class_bytes[seed / 3 % sync_classes] = 1'000 + seed * 7919 % 20'000; }
        return o;
    }
    void pass(milliseconds t) {
        now_ += t;
        since_ += t;
    }

    /// The next event, and until then the decisions that are due.
    void step() {
        milliseconds const event = since_ + milliseconds{1} + up_to(one_in(10) ? 7'200'000 : 300'000);
        // Dice of its own: the event stays what it is when there are fewer decisions before it.
        random_generator const happening(random_());
        while (fine() && due_ <= event) {
            pass((std::max)(due_ - since_, milliseconds{0}));
            decide();
        }
        pass((std::max)(event - since_, milliseconds{0}));
        random_ = happening;
        if (fine()) { happens(); }
        if (fine()) { decide(); }
    }
    /// Asks, judges the answer and does what it says.
    void decide() {
        conditions const c = device_.among(around_);
        sync_plan const p = schedule_.decide(c, now_);
        report_.trace = report_.trace * 31 + digest(p);
        auto const bad = judge_.decided(p, c, now_, since_);
        if (bad) { told_.clear(); }
        if (options_.tell) { does(text_of(p)); }
        if (!holds(!bad, bad ? bad->axiom.c_str() : "", bad ? bad->what : "")) { return; }
        if (p.run && schedule_.memory().online_since() == now_) { spread(c); }
        due_ = since_ + p.in;
        if (p.run) { exchange(p, c); }
    }
    /// The link is back, and the device goes at once. Devices of other numbers, of which all else is the same, mustn't all
    /// do so for what is not urgent.
    void spread(conditions const& c) {
        bool hurries = c.pending.of[0].entries != 0 || c.application.woken_for == sync_class::critical;
        for (class_pending const& k : c.pending.of) { hurries = hurries || k.deadline; }
        for (collection_state const& k : c.collections) {
            hurries = hurries || k.urgency == sync_class::critical || k.complete_by;
        }
        if (hurries) { return; }
        auto stored = to_array(schedule_.memory());
        bool all = true;
        for (unsigned other = 1; other <= 8; ++other) {
            stored[1] = static_cast<std::byte>(other);  // of the device's number
            schedule_memory twin;
            if (!twin.restore(stored)) { return broken(schedule_promise::kept, "what was stored is refused"); }
            all = all && make_plan(c, twin, scheduling_, now_).run;
        }
        holds(!all, schedule_promise::spread, "devices that got the link back come together");
    }
    /// How long nothing is tried after so many failures in a row, the server's word aside.
    void wait_grows(transfer_report const& r) {
        backoff_options const& o = scheduling_.backoff;
        std::uint32_t const before = (std::min)(failures_, 20U);
        ++failures_;
        milliseconds const ceiling = (std::min)(o.cap, o.base * (std::int64_t{1} << before));
        milliseconds const hint = (std::min)(r.retry_after.value_or(milliseconds{0}), o.hint_max);
        auto const until = schedule_.memory().paused_until(now_);
        milliseconds const wait = until ? elapsed(now_, *until) : milliseconds{0};
        holds(wait >= hint + ceiling / 2 && wait <= hint + ceiling, schedule_promise::recovery,
              "another wait than after that many failures in a row");
    }
    /// What the world does; what the device does about it is told anew.
    void happened(std::string const& what) {
        told_.clear();
        does(what);
    }
    /// What the device does; nothing twice between two events, as it exchanges every other minute.
    void does(std::string const& what) {
        if (options_.tell && told_.insert(what).second) { tell("at " + text_of(since_) + " " + what); }
    }
    [[nodiscard]] static std::string text_of(sync_plan const& p) {
        std::string out = "the device ";
        if (p.push) { out += std::string{"sends all down to "} + class_names[static_cast<std::size_t>(p.lowest)]; }
        if (p.pull) { out += p.push ? " and pulls" : "pulls"; }
        if (!p.run) { out += "waits"; }
        return out + ", as " + words(p[plan_choice::when].because);
    }
    [[nodiscard]] static std::string text_of(milliseconds t) {
        auto const two = [](std::int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
        std::int64_t const s = t.count() / 1000;
        return std::to_string(s / 3600) + ':' + two(s / 60 % 60) + ':' + two(s % 60);
    }
    [[nodiscard]] static std::string text_of(network_conditions const& n) {
        constexpr std::array<char const*, 5> kinds{"wired", "wifi", "cellular", "satellite", "some"};
        std::string out = n.online == false ? "the network is gone" : "the link is ";
        if (n.online != false) { out += n.kind ? kinds[static_cast<std::size_t>(*n.kind)] : "unknown"; }
        if (n.metered) { out += *n.metered ? ", metered" : ", unmetered"; }
        if (n.roaming == true) { out += ", roaming"; }
        if (n.data_saver == true) { out += ", saving data"; }
        if (n.effective == effective_type::slow_2g) { out += ", very slow"; }
        return out;
    }
    void exchange(sync_plan const& p, conditions const& c) {
        milliseconds const took = milliseconds{50} + up_to(3'000);
        pass(took);
        ++report_.exchanges;
        transfer_report r;
        if (calm_ || !one_in(4)) {
            r = device_.exchange(p, c, scheduling_, took, now_, since_);
            schedule_.succeeded(r, now_);
            failures_ = 0;
            if (r.entries != 0) { does("what was to be sent is sent"); }
        } else {
            ++report_.failures;
            r.took = took;
            r.metered = costs_by_byte(c.network, scheduling_);
            r.bytes_up = draw(3'000);
            if (one_in(3)) { r.retry_after = up_to(900'000); }
            schedule_.failed(r, now_, random_);
            wait_grows(r);
            does(r.retry_after ? "the exchange fails, and the server asks to wait " + text_of(*r.retry_after)
                               : "the exchange fails");
        }
        judge_.exchanged(r, now_);
        if (one_in(2)) {
            stored_ = to_array(schedule_.memory());
            stored_failures_ = failures_;
        }
        due_ = since_;  // asked again at once
    }

    /// Something changes in the world.
    void happens() {
        auto& n = around_.network;
        auto const truth = [this] { return one_in(4) ? std::optional<bool>{} : std::optional(one_in(2)); };
        switch (draw(12)) {
            case 0:
            case 1: {
                network_conditions const before = n;
                n = {};
                n.online = one_in(3) ? std::optional(false) : one_in(4) ? std::optional<bool>{} : std::optional(true);
                if (!one_in(4)) { n.kind = static_cast<link_kind>(draw(5)); }
                n.metered = truth();
                if (one_in(5)) { n.roaming = true; }
                if (one_in(5)) { n.data_saver = true; }
                if (one_in(2)) { n.effective = static_cast<effective_type>(draw(4)); }
                if (one_in(2)) { n.downlink_kbps = static_cast<std::uint32_t>(draw(30'000)); }
                if (before.online != n.online || before.kind != n.kind) { judge_.link_changed(); }
                happened(text_of(n));
                break;
            }
            case 2:
                around_.power = {};
                if (one_in(2)) { around_.power.level = static_cast<std::uint8_t>(draw(101)); }
                around_.power.charging = truth();
                around_.power.low_power_mode = truth();
                if (one_in(4)) { around_.power.thermal = static_cast<thermal_state>(draw(4)); }
                happened("the battery is at " +
                         (around_.power.level ? std::to_string(*around_.power.level) : "unknown") +
                         (around_.power.charging == true ? ", charging" : "") +
                         (around_.power.low_power_mode == true ? ", saving power" : "") +
                         (around_.power.thermal >= thermal_state::serious ? ", hot" : ""));
                break;
            case 3:
                around_.application = {};
                around_.application.foreground = truth();
                if (around_.application.foreground == false) { around_.application.window = up_to(60'000); }
                if (one_in(4)) { around_.application.quiet = one_in(2); }
                around_.application.notices_live = truth();
                happened(around_.application.window
                             ? "the program has " + text_of(*around_.application.window) + " left in the background"
                         : around_.application.foreground == true ? "the program is in the foreground"
                                                                  : "nobody says where the program is");
                break;
            case 4:
                around_.storage = {};
                if (one_in(3)) { around_.storage.free_bytes = draw(std::uint64_t{200} << 20); }
                happened(around_.storage.free_bytes
                             ? std::to_string(*around_.storage.free_bytes >> 20) + " MiB are free"
                             : "there is room");
                break;
            case 5:
                around_.server = {};
                if (one_in(3)) { around_.server.not_before = now_ + up_to(600'000); }
                if (one_in(3)) { around_.server.load = static_cast<std::uint8_t>(draw(101)); }
                happened((around_.server.not_before
                              ? "the server asks to wait " + text_of(*around_.server.not_before - now_)
                              : "the server asks for no wait") +
                         (around_.server.load ? ", and is loaded by " + std::to_string(*around_.server.load) : ""));
                break;
            case 6: {
                if (device_.collections().size() == 0) { break; }
                collection_state& told = device_.collections()[draw(device_.collections().size())];
                told.told_at = now_;
                happened("collection " + std::to_string(told.id) + " is said to have changed");
                break;
            }
            case 7: crash(); break;
            case 8:
                if (one_in(3)) { clock_is_set(); }
                break;
            case 9:
                if (one_in(4)) {
                    pass(up_to(3 * 86'400'000));
                    happened("the device wakes from a long sleep");
                }
                break;
            default: {
                // One draw a statement: in which order arguments are evaluated is the compiler's.
                std::uint64_t const size = 50 + draw(2'000);
                auto const urgency = static_cast<std::size_t>(draw(sync_classes));
                std::optional<wall_time> deadline;
                if (with_deadlines_ && size % 2 == 0) {
                    deadline = now_ + milliseconds{static_cast<std::int64_t>(size * size * 977 % 7'200'000)};
                }
                happened(std::to_string(size) + " bytes are written, " + class_names[urgency] +
                         (deadline ? ", to arrive within " + text_of(*deadline - now_) : ""));
                device_.write(static_cast<sync_class>(urgency), size, now_, since_, deadline);
                break;
            }
        }
    }
    /// The program ends; what was stored last is what it begins with.
    void crash() {
        ++report_.crashes;
        happened(stored_ ? "the program ends, and begins with what it stored"
                         : "the program ends, and had stored nothing");
        schedule_memory memory(7);
        if (stored_) {
            if (!memory.restore(*stored_)) { return broken(schedule_promise::kept, "what was stored is refused"); }
            if (to_array(memory) != *stored_) { broken(schedule_promise::kept, "and stored otherwise"); }
        }
        schedule_ = traced_schedule(memory, scheduling_);
        failures_ = stored_ ? stored_failures_ : 0;
        judge_.restarted();
    }
    void clock_is_set() {
        ++report_.jumps;
        std::int64_t const most = one_in(4) ? 400LL * 86'400'000 : 7'200'000;
        milliseconds const by = up_to(2 * most) - milliseconds{most};
        now_ += by;
        happened((by.count() < 0 ? "the clock is set back by " : "the clock is set on by ") +
                 text_of(by.count() < 0 ? -by : by));
        judge_.restarted();  // what was reckoned under another clock is not held against it
    }

    /// All that is left in the way is thrift: everything that waits goes, everything stale is pulled, in bounded time.
    void calm() {
        calm_ = true;
        tell("the trouble is over");
        if (one_in(2)) { clock_is_set(); }
        around_ = {};
        auto& n = around_.network;
        n.online = true;
        n.kind = one_in(2) ? link_kind::cellular : link_kind::wifi;
        n.metered = !scheduling_.day_bytes && one_in(2);  // a day's bytes may be used up by what is more urgent
        for (auto const& of_class : scheduling_.class_bytes) { n.metered = *n.metered && !of_class; }
        n.data_saver = one_in(3);
        n.effective = one_in(3) ? effective_type::slow_2g : effective_type::type_3g;
        around_.power.low_power_mode = one_in(3);
        if (one_in(3)) { around_.power.level = static_cast<std::uint8_t>(8); }
        around_.application.foreground = one_in(2);
        around_.application.quiet = one_in(3);
        around_.application.notices_live = one_in(2);
        if (one_in(4)) { device_.add({.id = 99, .urgency = sync_class::background}); }
        if (one_in(4)) { around_.server.not_before = now_ + 400 * day; }  // said under another clock
        if (one_in(4)) { around_.application.quiet_until = now_ + 400 * day; }
        judge_.restarted();
        milliseconds const began = since_;
        wall_time const wall_began = now_;
        milliseconds const length = longest() + day;
        std::size_t const before = device_.entries().size();
        decide();
        while (since_ < began + length && fine()) {
            pass((std::max)(due_ - since_, milliseconds{0}));
            decide();
        }
        if (!fine()) { return; }
        if (!device_.entries().empty()) {
            broken(schedule_promise::fairness,
                   std::to_string(device_.entries().size()) + " of " + std::to_string(before) + " entries still wait");
        }
        for (collection_state const& k : device_.collections()) {
            bool const pulled = k.fresh_at && *k.fresh_at >= wall_began && *k.fresh_at <= now_;
            if (!pulled) { broken(schedule_promise::fairness, "a collection was never pulled"); }
        }
    }
    /// The longest that thrift may hold anything, after the documentation: a bound on staleness or an interval, stretched
    /// by nobody's use and by saving, a device's share, and what an authority's wait or a day's budget can add.
    [[nodiscard]] milliseconds longest() const {
        milliseconds most{0};
        for (std::size_t i = 0; i < sync_classes; ++i) {
            milliseconds const interval = (std::max)({scheduling_.interval[i], scheduling_.interval_noticed[i]});
            most = (std::max)({most, scheduling_.stale_max[i],
                               interval * scheduling_.idle_per_mille / 1000 * scheduling_.save_per_mille / 1000});
        }
        return most + most / 5;
    }

    /// The log decides the same, and leads to the same memory.
    void replay() {
        auto const again = traced_schedule::replay(schedule_.encoded(), scheduling_);
        if (!again) { return broken(schedule_promise::replayed, "a log that can't be read"); }
        if (again->differs) { broken(schedule_promise::replayed, "another decision"); }
        if (to_array(again->memory) != to_array(schedule_.memory())) {
            broken(schedule_promise::replayed, "another memory");
        }
    }

    static constexpr milliseconds day{86'400'000};
    static constexpr std::array<char const*, sync_classes> class_names{"critical", "important", "normal", "background"};

    schedule_options scheduling_;
    bool with_deadlines_;
    schedule_judge judge_;
    traced_schedule schedule_;
    scheduled_device device_{};
    conditions around_{};
    wall_time now_{milliseconds{1'790'000'000'000}};
    milliseconds since_{0};  ///< what really passed
    milliseconds due_{0};    ///< the next decision, in real time
    bool calm_ = false;
    std::optional<schedule_memory::state> stored_{};
    std::uint32_t failures_ = 0;         // in a row, as far as the memory knows
    std::uint32_t stored_failures_ = 0;  // and as far as what was stored does
    std::set<std::string> told_{};       ///< of the device since the last event
};

}  // namespace detail

/// One life of a schedule. The same seed and options give the same life and the same report, on every machine.
/// With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline schedule_simulation_report simulate_schedule(std::uint64_t seed,
                                                                  schedule_simulation_options const& o = {}) {
    return detail::live_life<detail::schedule_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline schedule_simulation_options shrink_schedule(schedule_simulation_report const& failed,
                                                                 schedule_simulation_options o = {},
                                                                 std::size_t lives = 1'000) {
    return detail::shrink_life<detail::schedule_world>(failed, std::move(o), lives);
}

/// What a device that lives through a recorded trace did, beside what was recorded.
struct trace_simulation_report {
    std::size_t decisions = 0;
    std::size_t exchanges = 0;
    std::size_t failures = 0;
    std::size_t wake_ups = 0;  ///< decisions that time alone asked for
    std::size_t recorded_decisions = 0;
    std::size_t recorded_exchanges = 0;
    std::size_t sent = 0;
    std::size_t left = 0;                                   ///< entries that wait at the end
    std::array<milliseconds, sync_classes> longest_wait{};  ///< of an entry that was sent
    std::vector<violation> found{};
};

/// A device lives through a recorded trace: the links, the power, the user and the writes are those of the trace, the
/// decisions are its own, under these options; so "what would another table have done on that day" has an answer.
///
/// What was known at a recorded decision is so until the next. An entry appears when the trace first knows of it; an
/// exchange fares as the last that was recorded before it did, and takes as long. Every plan is judged as in
/// `simulate_schedule`. `look` sees each of the device's plans. Errors: those of `traced_schedule::read`.
[[nodiscard]] inline result<trace_simulation_report> simulate_trace(
    bytes_view log, schedule_options const& options,
    function_ref<void(conditions const&, wall_time, sync_plan const&)> look = [](conditions const&, wall_time,
                                                                                 sync_plan const&) {}) {
    std::vector<trace_event> events;
    auto const memory = traced_schedule::read(log, [&](trace_event const& e) {
        events.push_back(e);
        return true;
    });
    if (!memory) { return memory.error(); }
    trace_simulation_report out;
    schedule_judge judge(options);
    schedule_memory learned = *memory;
    scheduled_device device;
    std::array<wall_time, sync_classes> seen{};
    seen.fill((wall_time::min)());
    random_generator dice(1);
    milliseconds since{0};
    wall_time now{};
    bool begun = false;
    std::optional<wall_time> wake;
    conditions around;
    transfer_report fares;
    fares.good = true;
    fares.took = milliseconds{500};

    auto const to = [&](wall_time t) {
        if (begun && t > now) { since += elapsed(now, t); }
        now = t;
        begun = true;
    };
    auto const decide = [&] {
        conditions const c = device.among(around);
        learned.saw(c, options, now);
        sync_plan const p = make_plan(c, learned, options, now);
        ++out.decisions;
        if (auto bad = judge.decided(p, c, now, since); bad && out.found.empty()) { out.found.push_back(*bad); }
        look(c, now, p);
        wake = p.at;
        if (!p.run) { return; }
        ++out.exchanges;
        to(now + clamped(fares.took, milliseconds{600'000}));
        transfer_report r = fares;
        if (fares.good) {
            r = device.exchange(p, c, options, fares.took, now, since, [&](sync_class k, milliseconds waited) {
                ++out.sent;
                auto& longest = out.longest_wait[static_cast<std::size_t>(k)];
                longest = (std::max)(longest, waited);
            });
            learned.succeeded(r, options, now);
        } else {
            ++out.failures;
            learned.failed(r, options, now, dice);
        }
        judge.exchanged(r, now);
        wake = now + milliseconds{1};
    };
    // An entry that the trace knows and we have not seen: its class says when the oldest came, and how many there are.
    auto const writes = [&](conditions const& known) {
        for (std::size_t i = 0; i < sync_classes; ++i) {
            class_pending const& p = known.pending.of[i];
            auto const urgency = static_cast<sync_class>(i);
            auto const mine = static_cast<std::uint32_t>(
                std::count_if(device.entries().begin(), device.entries().end(),
                              [&](scheduled_device::waiting_entry const& e) { return e.urgency == urgency; }));
            std::uint32_t const there = (std::min)(p.entries, std::uint32_t{10'000});
            if (there == 0) { continue; }
            wall_time const oldest = p.oldest.value_or(now);
            bool const news = oldest > seen[i];
            for (std::uint32_t n = news ? 0 : mine; n < there; ++n) {
                device.write(urgency, p.bytes / there, n == 0 ? oldest : now, since);
            }
            seen[i] = (std::max)(seen[i], now);
        }
    };

    for (trace_event const& e : events) {
        // Until then the device is asked when its own plans say so.
        for (int n = 0; begun && wake && *wake < e.at && n < 100'000; ++n) {
            to((std::max)(*wake, now));
            ++out.wake_ups;
            decide();
        }
        bool const back = begun && e.at < now && elapsed(e.at, now) > milliseconds{600'000};
        if (!begun || e.at > now || back) { to(e.at); }
        switch (e.kind) {
            case trace_kind::decided:
                ++out.recorded_decisions;
                if (around.network.online != e.known.network.online || around.network.kind != e.known.network.kind) {
                    judge.link_changed();
                }
                around = e.known;
                for (std::size_t i = device.collections().size(); i < e.known.collections.size(); ++i) {
                    device.add(e.known.collections[i]);
                }
                for (std::size_t i = 0; i < e.known.collections.size(); ++i) {
                    device.collections()[i].told_at = e.known.collections[i].told_at;
                    device.collections()[i].complete_by = e.known.collections[i].complete_by;
                }
                writes(e.known);
                decide();
                break;
            case trace_kind::succeeded:
            case trace_kind::failed:
                ++out.recorded_exchanges;
                fares = e.report;
                break;
            case trace_kind::opened: learned.opened(e.collection, options, now); break;
        }
    }
    out.left = device.entries().size();
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
