// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The simulator: a whole world of replicas and their authority in one thread, on virtual time, from one seed.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/session.hpp>
#include <syncline/testing/faulty_storage.hpp>
#include <syncline/testing/faulty_transport.hpp>
#include <syncline/testing/oracles.hpp>
#include <syncline/testing/shrink.hpp>
#include <syncline/testing/simulated_disk.hpp>
#include <syncline/testing/watched_storage.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What goes wrong in a simulated world.
enum class sim_fault : std::uint8_t {
    request_lost,
    reply_lost,
    duplicated,
    delayed,
    truncated,
    corrupted,
    replayed_request,
    replayed_reply,
    partition,
    one_way_partition,
    clogged,
    captive_portal,
    throttled,
    misrouted,
    newer_peer,
    unknown_feature,
    garbage,
    stranger,
    storage_error,
    storage_error_after,
    transaction_lost,
    storage_full,
    storage_busy,
    stall,
    crash,
    crash_in_recovery,
    power_cut,
    older_backup,
    clone,
    authority_storage_error,
    authority_crash,
    authority_power_cut,
    authority_rolled_back,
    clock_jump,
    clock_stuck,
    clock_drift,
    suspended,
    herd,
    host_rollback,
    other_principal,
    failed_sync,
    contended,
};
inline constexpr std::array<char const*, 42> sim_fault_names{"request lost",
                                                             "reply lost",
                                                             "duplicated",
                                                             "delayed",
                                                             "truncated",
                                                             "corrupted",
                                                             "replayed request",
                                                             "replayed reply",
                                                             "partition",
                                                             "one-way partition",
                                                             "clogged",
                                                             "captive portal",
                                                             "throttled",
                                                             "misrouted",
                                                             "newer peer",
                                                             "unknown feature",
                                                             "garbage",
                                                             "stranger",
                                                             "storage error",
                                                             "error after effect",
                                                             "transaction lost",
                                                             "storage full",
                                                             "storage busy",
                                                             "stall",
                                                             "crash",
                                                             "crash in recovery",
                                                             "power cut",
                                                             "older backup",
                                                             "clone",
                                                             "authority storage error",
                                                             "authority crash",
                                                             "authority power cut",
                                                             "authority rolled back",
                                                             "clock jump",
                                                             "clock stuck",
                                                             "clock drift",
                                                             "suspended",
                                                             "herd",
                                                             "host rollback",
                                                             "other principal",
                                                             "failed sync",
                                                             "contended"};
inline constexpr std::size_t sim_fault_count = sim_fault_names.size();

/// What ought to happen sometimes: a point that no seed reaches is a hole in the generator.
enum class sim_point : std::uint8_t {
    effect_without_reply,
    verdict_again,
    verdict_duplicate,
    identity_fork,
    reincarnated,
    conflict_opened,
    conflict_resolved,
    conflict_dismissed,
    rejected,
    overruled,
    merged,
    dead_letter_revived,
    dead_letter_discarded,
    coalesced,
    annihilated,
    erased,
    created_again,
    page_split,
    batch_split,
    outbox_full,
    write_while_in_flight,
    frozen_then_written,
    two_processes_sending,
    stale_reply,
    reply_after_crash,
    commits_lost_to_power,
    recovered_with_frozen,
    stamp_bounded,
    clock_ahead_of_wall,
    paused_and_resumed,
    authority_changed,
    portal_page,
    malformed_seen,
    long_absence,
    first_contact_with_work,
    late_joiner,
    equivocation_refused,
    gap_refused,
    quiet_after_trouble,
    same_moment,
    stale_decision_refused,
    restored_with_work,
    tombstones_collected,
    joined_again,
    change_of_the_collected,
};
inline constexpr std::array<char const*, 45> sim_point_names{"effect without a reply",
                                                             "verdict answered again",
                                                             "verdict already receipted",
                                                             "identity fork",
                                                             "new incarnation",
                                                             "conflict opened",
                                                             "conflict resolved",
                                                             "conflict dismissed",
                                                             "mutation rejected",
                                                             "mutation overruled",
                                                             "mutation merged",
                                                             "dead letter revived",
                                                             "dead letter discarded",
                                                             "writes coalesced",
                                                             "create and erase annihilated",
                                                             "record erased",
                                                             "record created again",
                                                             "page split",
                                                             "batch split",
                                                             "outbox full",
                                                             "write while a request is under way",
                                                             "write behind a frozen one",
                                                             "two processes under way",
                                                             "stale reply",
                                                             "reply after a crash",
                                                             "commits lost to a power cut",
                                                             "recovered with frozen mutations",
                                                             "stamp bounded by authority",
                                                             "clock ahead of the wall",
                                                             "paused and resumed",
                                                             "another authority answered",
                                                             "captive portal's page",
                                                             "malformed message seen",
                                                             "long absence",
                                                             "first contact with work",
                                                             "late joiner",
                                                             "equivocation refused",
                                                             "gap refused",
                                                             "quiet after trouble",
                                                             "written at the same moment",
                                                             "decision on a stale view refused",
                                                             "restored with work waiting",
                                                             "tombstones collected",
                                                             "joined again from below the horizon",
                                                             "change of a collected record"};
inline constexpr std::size_t sim_point_count = sim_point_names.size();

/// Mistakes of a host that plugs the library together, planted to see that they are found.
enum class host_mistake : std::uint8_t {
    none,
    acknowledges_before_commit,  ///< tells the person that it is saved, then the transaction is rolled back
    replies_before_commit,       ///< the authority's reply leaves, then the commit fails
    drops_events,                ///< what is shown is not refreshed for every third event
    forgets_deadlines,           ///< does not come back when the session asked it to, once in a while
};
inline constexpr std::array<char const*, 5> host_mistake_names{
    "none", "acknowledges-before-commit", "replies-before-commit", "drops-events", "forgets-deadlines"};

struct simulation_options {
    std::size_t steps = 2'000;        ///< events in the phase of trouble
    std::size_t calm_steps = 20'000;  ///< events after which a healed world must have come to rest
    host_mistake mistake = host_mistake::none;
    disk_lie lie = disk_lie::none;
    std::uint64_t faults_off = 0;  ///< bit n: fault n of `sim_fault` does not happen
    /// Deeds and mishaps of the plan that happen, by number, ascending; nothing: all of them.
    std::optional<std::vector<std::uint32_t>> only{};
    std::size_t machines_max = 5;
    bool tell = false;  ///< write the story
};

struct simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint32_t planned = 0;  ///< deeds and mishaps of the plan, those that were left out included
    std::uint64_t trace = 0;    ///< the same for the same seed, everywhere
    std::array<std::uint64_t, sim_fault_count> faults{};
    std::array<std::uint64_t, sim_point_count> points{};
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

/// One way from a simulated process to its authority: a model of `transport` whose completions come later.
class simulated_link {
public:
    /// Where requests go; answers through `complete`.
    class wire {
    public:
        virtual std::uint64_t send(std::size_t machine, std::size_t process, bytes_view request) = 0;

    protected:
        ~wire() = default;
    };

    simulated_link(wire& w, std::size_t machine, std::size_t process)
        : wire_(w), machine_(machine), process_(process) {}
    simulated_link(simulated_link const&) = delete;
    simulated_link& operator=(simulated_link const&) = delete;
    ~simulated_link() {
        auto const left = std::move(waiting_);
        for (auto const& [id, done] : left) { done({failure{errc::cancelled, "the process ended"}, {}}); }
    }

    void exchange(bytes_view request, completion done) {
        std::uint64_t const id = wire_.send(machine_, process_, request);
        waiting_.emplace_back(id, done);
    }
    [[nodiscard]] transport_limits limits() const noexcept { return {}; }

    /// Completes one exchange, if it is still under way.
    void complete(std::uint64_t id, transport_reply const& reply) {
        auto const it = std::find_if(waiting_.begin(), waiting_.end(), [&](auto const& w) { return w.first == id; });
        if (it == waiting_.end()) { return; }
        completion const done = it->second;
        waiting_.erase(it);
        done(reply);
    }

private:
    wire& wire_;
    std::size_t machine_;
    std::size_t process_;
    std::vector<std::pair<std::uint64_t, completion>> waiting_;
};
static_assert(transport<simulated_link>);

/// What a simulated world is made of. For one's own storage or transport, derive and replace a member.
///
/// | member                     | meaning                                                                            |
/// | medium                     | models `simulated_medium`: what processes open their stores on                     |
/// | make(promise, lie)         | a fresh, empty medium, as a `std::unique_ptr<medium>`                              |
/// | transport<Link>            | a transport around a link (itself a transport), constructed from a reference to it |
struct simulated_setup {
    using medium = simulated_disk;
    [[nodiscard]] std::unique_ptr<medium> make(durability promise, disk_lie lie) {
        return std::make_unique<simulated_disk>(promise, lie);
    }
    template <class Link>
    class transport {
    public:
        explicit transport(Link& link) : link_(link) {}
        void exchange(bytes_view request, completion done) { link_.exchange(request, done); }
        [[nodiscard]] transport_limits limits() const { return link_.limits(); }

    private:
        Link& link_;
    };
};

/// Refuses some names and some deletions: a rule of the simulated authority, which devices don't know beforehand.
[[nodiscard]] inline bool simulated_rule_accepts(mutation const& m) {
    if (m.kind == change_kind::erase) { return m.stamp.raw % 7 != 0; }
    return std::none_of(m.ops.begin(), m.ops.end(), [](field_op const& op) {
        auto const n = op.field == "name" && op.kind == op_kind::set ? naive_integer(op.value) : std::nullopt;
        return n && *n % 16 == 5;
    });
}
struct simulated_validation {
    [[nodiscard]] validation operator()(validation_input const& in) const {
        if (simulated_rule_accepts(in.change)) { return {}; }
        return {false, errc::rejected, "a name that is not allowed"};
    }
};

/// The rules of the simulated collection, one field for each.
[[nodiscard]] inline rule_table simulated_rules() {
    rule_table table;
    table.add({"things",
               rule::last_writer,
               {{"count", rule::counter},
                {"least", rule::minimum},
                {"most", rule::maximum},
                {"ruled", rule::authority},
                {"asked", rule::manual}}});
    return table;
}

namespace detail {

[[nodiscard]] inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
    splitmix64 words(a ^ (b * 0x9E3779B97F4A7C15U));
    words();
    return words();
}

}  // namespace detail

/// One world. Construct, `run()`, and read the report.
///
/// Virtual time, one thread, no input but the seed and the options: the same seed gives the same trace with every
/// compiler. A plan of deeds and mishaps is drawn from the seed, each by its number alone, so that leaving some
/// out leaves the others as they are; messages, wake-ups and recoveries follow by themselves. After the trouble
/// everything is healed, and the world must come to rest by the deadlines that its sessions ask for.
template <class Setup = simulated_setup>
class simulation final : simulated_link::wire {
    using medium = typename Setup::medium;
    using inner_storage = typename medium::storage_type;
    using watched = watched_storage<inner_storage>;
    using store_type = faulty_storage<watched>;
    using way_type = typename Setup::template transport<simulated_link>;
    using session_type = session<store_type, random_generator>;
    using authority_type = authority<simulated_validation>;

public:
    simulation(std::uint64_t seed, simulation_options options = {}, Setup setup = {})
        : setup_(std::move(setup)), options_(std::move(options)), judge_(judge_settings(seed), machines_limit + 1) {
        report_.seed = seed;
        configure();
    }
    simulation(simulation const&) = delete;
    simulation& operator=(simulation const&) = delete;
    ~simulation() {
        for (auto& m : machines_) {
            for (auto& p : m->processes) { stop(*p); }
        }
    }

    simulation_report run() {
        start();
        for (std::uint32_t n = 0; report_.steps < options_.steps && judge_.found().empty(); ++n) {
            report_.planned = n + 1;
            random_generator dice{detail::mix(report_.seed, n + 1)};
            std::int64_t const wait = pause(dice);
            bool const kept = !options_.only || std::binary_search(options_.only->begin(), options_.only->end(), n);
            if (kept) { pass(wait); }
            if (kept && judge_.found().empty()) { perform(n, dice); }
            if (options_.only && (options_.only->empty() || n >= options_.only->back())) { break; }
        }
        if (judge_.found().empty()) { calm_down(); }
        report_.checks = judge_.checks();
        report_.found = judge_.found();
        for (violation const& v : report_.found) { tell("VIOLATED " + v.axiom + ": " + v.what); }
        return std::move(report_);
    }

private:
    static constexpr std::size_t machines_limit = 5;
    static constexpr std::int64_t second = 1'000;
    static constexpr std::int64_t minute = 60 * second;
    static constexpr std::int64_t day = 24 * 60 * minute;
    static constexpr std::int64_t begin_time = 1'790'000'000'000;
    static constexpr std::int64_t never = std::int64_t{1} << 60;

    struct machine;
    struct process {
        machine* home = nullptr;
        std::size_t number = 0;
        std::unique_ptr<inner_storage> handle{};
        std::optional<watched> seen{};
        std::optional<store_type> store{};
        std::optional<simulated_link> link{};
        std::optional<way_type> way{};
        std::optional<session_type> talk{};
        std::uint32_t life = 0;
        std::int64_t born = 0;
        std::int64_t wake = never;
        std::int64_t full_until = never;
        bool doomed = false;     ///< the fault that is planned kills it
        bool awaiting = false;   ///< an exchange is under way
        bool stumbled = false;   ///< its storage failed when the session was asked what to do
        unsigned streak = 0;     ///< exchanges since the last that helped, this one included
        position told_head = 0;  ///< of the authority, in the last reply that was taken in
        struct {
            unsigned count = 0;
            std::int64_t together = 0;
        } rests{};  ///< after exchanges that moved nothing, since the last that helped
        std::optional<failure> paused{};
        struct arrival {
            std::optional<bytes> message{};
            failure why{};
            std::optional<milliseconds> retry_after{};
        };
        std::vector<arrival> arrived{};  ///< completions to feed
        [[nodiscard]] bool up() const noexcept { return talk.has_value(); }

        void operator()(transport_reply const& r) {
            arrival a;
            if (r.message) {
                a.message = to_bytes(*r.message);
            } else {
                a.why = r.message.error();
            }
            a.retry_after = r.retry_after;
            awaiting = false;
            arrived.push_back(std::move(a));
        }
    };
    struct skewed_clock {
        std::int64_t offset = 0;
        std::int64_t drift_ppm = 0;
        std::int64_t drift_from = 0;
        std::optional<std::int64_t> stuck{};
    };
    struct machine final : storage_watcher {
        simulation* world = nullptr;
        std::size_t number = 0;
        std::unique_ptr<medium> disk{};
        durability promise = durability::full;
        replica self;
        random_generator random;
        std::vector<std::unique_ptr<process>> processes{};
        skewed_clock clock{};
        std::int64_t suspended_until = 0;
        std::int64_t out_blocked_until = 0;
        std::int64_t in_blocked_until = 0;
        std::int64_t portal_until = 0;
        std::int64_t misrouted_until = 0;
        std::int64_t last_reply = 0;
        std::uint64_t sent = 0;
        std::uint32_t recoveries_to_fail = 0;
        std::map<bytes, bytes, bytes_order> shown{};  ///< what the host shows, from its own writes and from events
        bool shown_is_stale = true;
        std::uint64_t events_heard = 0;
        std::optional<raw_image> backup{};

        machine(simulation& w, std::size_t n, replica_options o, std::uint64_t seed)
            : world(&w), number(n), self(simulated_rules(), o), random(seed) {}
        void committed(std::vector<storage_write> const& writes) override { world->device_committed(number, writes); }
        void synced() override { world->judge_.device_synced(number); }
    };
    struct office final : storage_watcher {
        simulation* world = nullptr;
        std::unique_ptr<medium> disk{};
        durability promise = durability::full;
        std::unique_ptr<inner_storage> handle{};
        std::optional<watched> seen{};
        std::optional<store_type> store{};
        std::int64_t down_until = 0;
        bool doomed = false;
        void committed(std::vector<storage_write> const& writes) override { world->authority_committed(writes); }
        void synced() override { world->judge_.authority_synced(); }
    };
    struct flight {
        std::int64_t at = 0;
        std::uint64_t serial = 0;
        enum class kind : std::uint8_t { request, answer, failed, stray_request, stray_reply, restart } what{};
        std::size_t machine = 0;
        std::size_t process = 0;
        std::uint32_t life = 0;
        std::uint64_t exchange = 0;
        bytes message{};
        errc why{};
        std::optional<milliseconds> retry_after{};
        bool is_stranger = false;
    };

    // Setting up.

    [[nodiscard]] static judge_options judge_settings(std::uint64_t seed) {
        judge_options o;
        o.rules = simulated_rules();
        o.counted = {"c0", "c1"};
        o.entries_max = entries_max(seed);
        return o;
    }
    [[nodiscard]] static std::size_t entries_max(std::uint64_t seed) {
        return 4 + static_cast<std::size_t>(detail::mix(seed, 0xE0) % 12);
    }
    [[nodiscard]] bool off(sim_fault f) const noexcept {
        return calm_ || ((options_.faults_off | swarm_off_) >> static_cast<unsigned>(f) & 1U) != 0;
    }
    void hit(sim_fault f) noexcept { ++report_.faults[static_cast<std::size_t>(f)]; }
    void reached(sim_point p) noexcept { ++report_.points[static_cast<std::size_t>(p)]; }

    void configure() {
        random_generator dice{detail::mix(report_.seed, 0)};
        auto const roll = [&](std::uint64_t n) { return below(dice, n); };
        // Swarm: each seed has its own mixture of troubles, some of them not at all.
        for (std::size_t f = 0; f < sim_fault_count; ++f) {
            if (roll(3) == 0) { swarm_off_ |= std::uint64_t{1} << f; }
            rate_[f] = 1 + roll(roll(4) == 0 ? 300 : 60);  // per mille
        }
        hasty_ = roll(2) == 0;
        keys_ = 2 + roll(5);
        slow_ = roll(3) == 0;
        clocks_stay_wrong_ = roll(2) == 0;

        authority_options home;
        home.rows_max = 1 + roll(roll(3) == 0 ? 100 : 5);
        home.bytes_max = roll(2) == 0 ? std::uint64_t{1} << 20 : 60 + roll(400);
        home.verdicts_max = 1 + roll(roll(2) == 0 ? 100 : 6);
        // Half of the authorities collect tombstones, some of them long before everybody is back.
        random_generator patience{detail::mix(report_.seed, 0xC0)};
        if (below(patience, 2) == 0) {
            static constexpr std::array lengths{10 * minute, 2 * 60 * minute, 3 * day};
            home.leases.length = milliseconds{lengths[below(patience, lengths.size())]};
        }
        home_options_ = home;
        judge_.limit_verdicts(home.verdicts_max);
        home_.emplace(simulated_rules(), home, simulated_validation{});
        other_.emplace(simulated_rules(), home, simulated_validation{});
        office_.world = this;
        office_.promise = roll(2) == 0 ? durability::full : durability::ordered;
        office_.disk = setup_.make(office_.promise, options_.lie);

        std::size_t const count =
            2 + static_cast<std::size_t>(roll((std::min)(options_.machines_max, machines_limit) - 1));
        for (std::size_t i = 0; i < count; ++i) { add_machine(dice); }
        joiner_ = dice;
    }
    machine& add_machine(random_generator& dice) {
        auto const roll = [&](std::uint64_t n) { return below(dice, n); };
        replica_options o;
        o.rows_max = 1 + roll(roll(3) == 0 ? 100 : 5);
        o.bytes_max = roll(2) == 0 ? std::uint64_t{1} << 20 : roll(300);
        o.mutations_max = 1 + static_cast<std::size_t>(roll(roll(3) == 0 ? 50 : 4));
        o.mutation_bytes = roll(2) == 0 ? std::size_t{1} << 18 : static_cast<std::size_t>(roll(300));
        o.outbox.entries_max = entries_max(report_.seed);
        if (roll(3) == 0) { o.essential = {"others", "things"}; }
        std::size_t const n = machines_.size();
        machines_.push_back(std::make_unique<machine>(*this, n, o, detail::mix(report_.seed, 0xD0 + n)));
        machine& m = *machines_.back();
        m.promise = roll(2) == 0 ? durability::full : durability::ordered;
        m.disk = setup_.make(m.promise, options_.lie);
        std::size_t const programs = roll(4) == 0 ? 2 : 1;
        for (std::size_t p = 0; p < programs; ++p) {
            m.processes.push_back(std::make_unique<process>());
            m.processes.back()->home = &m;
            m.processes.back()->number = p;
        }
        return m;
    }

    void start() {
        open_office();
        {
            random_generator random{detail::mix(report_.seed, 0xA0)};
            other_handle_.emplace();
            auto tx = other_handle_->begin(access_mode::write);
            (void)other_->open(*tx, instant{wall(0), {}}, random);
            (void)tx->commit();
        }
        for (auto& m : machines_) {
            for (auto& p : m->processes) { boot(*p); }
        }
        // The counted records are there before any trouble, everywhere.
        process& first = *machines_[0]->processes[0];
        for (char const* id : {"c0", "c1"}) {
            mutation w;
            w.kind = change_kind::create;
            w.record = {"things", std::string_view{id}};
            w.ops.push_back({"count", op_kind::set, naive_item(0), {}});
            write(first, std::move(w), priority::normal, false);
        }
        calm_ = true;
        pass(5 * minute);
        calm_ = false;
    }

    // Time.

    [[nodiscard]] wall_time wall(std::int64_t skew) const { return wall_time{milliseconds{now_ + skew}}; }
    [[nodiscard]] instant reading(machine const& m, process const* p) const {
        std::int64_t t = now_;
        if (m.clock.stuck) {
            t = *m.clock.stuck;
        } else {
            t += (now_ - m.clock.drift_from) / 1'000 * m.clock.drift_ppm / 1'000;
            constexpr std::int64_t far_off = std::int64_t{1} << 61;
            t = m.clock.offset > 0 && t > far_off - m.clock.offset ? far_off : t + m.clock.offset;
        }
        std::int64_t const mono = p == nullptr ? 0 : now_ - p->born;
        return {wall_time{milliseconds{t}}, monotonic_time{milliseconds{1'000 + mono}}};
    }
    [[nodiscard]] instant reading(process const& p) const { return reading(*p.home, &p); }

    /// Lets time pass and everything happen that is due meanwhile.
    void pass(std::int64_t ms) {
        std::int64_t const until = now_ + ms;
        while (judge_.found().empty() && turn(until)) {}
        now_ = until;
    }
    /// The next thing that happens by itself, no later than `until`; false when there is none.
    bool turn(std::int64_t until) {
        std::int64_t at = never;
        process* sleeper = nullptr;
        for (auto& m : machines_) {
            for (auto& p : m->processes) {
                if (!p->up()) { continue; }
                std::int64_t const due = (std::max)(p->wake, m->suspended_until);
                if (due < at) {
                    at = due;
                    sleeper = p.get();
                }
            }
        }
        auto first = flights_.begin();
        for (auto it = flights_.begin(); it != flights_.end(); ++it) {
            if (it->at < first->at || (it->at == first->at && it->serial < first->serial)) { first = it; }
        }
        bool const is_flight = first != flights_.end() && first->at <= at;
        if (is_flight) { at = first->at; }
        if (at > until) { return false; }
        now_ = (std::max)(now_, at);
        ++report_.steps;
        if (is_flight) {
            flight f = std::move(*first);
            *first = std::move(flights_.back());
            flights_.pop_back();
            arrive(std::move(f));
        } else {
            sleeper->wake = never;
            if (options_.mistake == host_mistake::forgets_deadlines &&
                detail::mix(report_.seed, report_.steps) % 16 == 0) {
                return true;
            }
            if (sleeper->paused) {
                reached(sim_point::paused_and_resumed);
                feed(*sleeper, resume{}, deed::kind::turn);
            } else {
                feed(*sleeper, tick{}, deed::kind::turn);
            }
        }
        return true;
    }

    // Processes.

    void boot(process& p) {
        machine& m = *p.home;
        if (p.up()) { return; }
        ++p.life;
        p.born = now_;
        p.doomed = false;
        p.awaiting = false;
        p.streak = 0;
        p.told_head = 0;
        p.paused.reset();
        p.arrived.clear();
        p.handle = m.disk->open();
        p.seen.emplace(*p.handle, m);
        p.store.emplace(*p.seen);
        if (m.recoveries_to_fail != 0) {
            --m.recoveries_to_fail;
            hit(sim_fault::crash_in_recovery);
            p.store->inject(
                {1 + detail::mix(report_.seed, report_.steps) % 5, errc::storage_io, fault_moment::before, true, {}});
        }
        judge_.device_reopened(m.number, image_of(*p.handle), false);
        judge_.begin(m.number, {deed::kind::open, {}, 0, reading(p), {}});
        auto ok = in_transaction(p, [&](auto& tx) { return m.self.open(tx, "anna", reading(p), m.random); });
        p.store->heal();
        ++report_.steps;
        trace(1, m.number, p.number);
        if (!ok) {
            close(p);
            restart_later(p, 1 + static_cast<std::int64_t>(detail::mix(report_.seed, report_.steps) % (5 * minute)));
            return;
        }
        tell(name(m) + " starts" + (p.number == 0 ? "" : " its second process"));
        p.link.emplace(static_cast<simulated_link::wire&>(*this), m.number, p.number);
        p.way.emplace(*p.link);
        p.talk.emplace(*p.store, m.self, random_generator{m.random()}, session_settings());
        m.shown_is_stale = true;
        pump(p);
    }
    void close(process& p) {
        p.talk.reset();
        p.way.reset();
        p.link.reset();
        p.store.reset();
        p.seen.reset();
        p.handle.reset();
        p.arrived.clear();
        p.wake = never;
        p.awaiting = false;
    }
    void stop(process& p) {
        if (p.talk) { close(p); }
    }
    void restart_later(process& p, std::int64_t after) {
        flight f;
        f.what = flight::kind::restart;
        f.machine = p.home->number;
        f.process = p.number;
        post(std::move(f), after);
    }
    void kill(process& p, random_generator& dice) {
        if (!p.up()) { return; }
        tell(name(*p.home) + " is killed");
        trace(2, p.home->number, p.number);
        close(p);
        restart_later(p, 1 + static_cast<std::int64_t>(below(dice, below(dice, 2) == 0 ? 5 * second : 10 * minute)));
    }
    void cut_power(machine& m, random_generator& dice) {
        tell(name(m) + " loses power");
        for (auto& p : m.processes) {
            if (p->up()) {
                close(*p);
                restart_later(*p, 1 + static_cast<std::int64_t>(below(dice, minute)));
            }
        }
        std::size_t const before = judge_.image(m.number).size();
        m.disk->power_cut(dice);
        auto handle = m.disk->open();
        raw_image const left = image_of(*handle);
        if (left.size() != before) { reached(sim_point::commits_lost_to_power); }
        judge_.device_reopened(m.number, left, true);
    }

    template <class F>
    status in_transaction(process& p, F&& f) {
        auto tx = p.store->begin(access_mode::write);
        if (!tx) { return tx.error(); }
        status ok = f(*tx);
        return ok ? tx->commit() : ok;
    }

    /// Gives the session one input, in a transaction of its own, and does what it then asks for.
    void feed(process& p, session_input const& in, deed::kind why, std::uint64_t reply = 0) {
        machine& m = *p.home;
        instant const now = reading(p);
        if (now_ >= p.full_until) {
            p.full_until = never;
            if (!p.store->poisoned()) { p.store->heal(); }
        }
        deed doing{why, {}, reply, now, {}};
        if (auto const* told = std::get_if<received>(&in)) {
            auto const said = decode_reply(told->message);
            if (said) { doing.decided = said->decided; }
        }
        judge_.begin(m.number, std::move(doing));
        bool const answered = std::holds_alternative<received>(in) || std::holds_alternative<failed>(in);
        bool const waited = p.talk->in_flight() && !answered;
        status const ok = in_transaction(p, [&](auto& tx) { return p.talk->handle(in, tx, now); });
        if (waited && !p.talk->in_flight()) { ++p.streak; }  // it gave up waiting for a reply
        trace(3, m.number, ok ? 0 : static_cast<std::uint64_t>(ok.error().code));
        if (why == deed::kind::receive && ok) {
            exchange_report const& r = p.talk->last_report();
            if (r.reincarnated) {
                reached(sim_point::reincarnated);
                tell(name(m) + " finds that it is a copy, and takes a new incarnation");
            }
            if (r.more && r.rows != 0) { reached(sim_point::page_split); }
            if (r.verdicts == 0 && r.rows == 0 && !r.advanced) { reached(sim_point::stale_reply); }
            tell(name(m) + " takes in " + std::to_string(r.verdicts) + " verdicts and " + std::to_string(r.rows) +
                 " rows, and stands at " + std::to_string(judge_.cursor(m.number)));
        }
        if (!ok) { tell(name(m) + " fails with " + message(ok.error().code)); }
        if (why == deed::kind::receive && !ok) {
            if (ok.error() == errc::authority_changed) { reached(sim_point::authority_changed); }
            if (ok.error() == errc::foreign) { reached(sim_point::portal_page); }
            if (ok.error() == errc::malformed) { reached(sim_point::malformed_seen); }
        }
        judge_patience(p, in, ok, why, reply);
        settle(p);
        if (p.up() && !p.awaiting && !p.paused) { judge_wake(p, in, ok); }
        // A host does not turn round at once after its storage failed.
        if (!ok && p.up() && p.talk->last_failure() != ok.error()) { p.wake = (std::max)(p.wake, now_ + second); }
    }
    /// Counts the exchanges that did not help, as the session's backoff does.
    void judge_patience(process& p, session_input const& in, status const& ok, deed::kind why, std::uint64_t) {
        if (std::holds_alternative<failed>(in)) { ++p.streak; }
        if (why != deed::kind::receive) { return; }
        if (!ok) {
            ++p.streak;
            return;
        }
        exchange_report const& r = p.talk->last_report();
        bool const helped = !(r.wait || (r.more && r.verdicts == 0 && !r.advanced));
        p.streak = helped ? 0 : p.streak + 1;
        auto const reply_in = decode_reply(std::get<received>(in).message);
        if (reply_in && judge_.answers(p.home->number, *reply_in) && reply_in->head >= judge_.cursor(p.home->number)) {
            p.told_head = (std::max)(p.told_head, reply_in->head);
        }
    }
    /// Exchanges that moved nothing are not made again at once: a wait may be short by the jitter's chance, eight may not.
    void judge_rest(process& p, session_input const& in, status const& ok, std::int64_t wait) {
        bool const answered = std::holds_alternative<received>(in) || std::holds_alternative<failed>(in);
        if (!answered && ok) { return; }
        if (!ok || p.streak == 0) {
            p.rests = {};
            return;
        }
        ++p.rests.count;
        p.rests.together += wait;
        if (p.rests.count < 8) { return; }
        judge_.check(p.rests.together >= session_settings().backoff.base.count() / 4, invariant::patience, [&] {
            return name(*p.home) + " waits " + std::to_string(p.rests.together) +
                   " ms in all after eight exchanges that moved nothing";
        });
        p.rests = {};
    }
    /// When the session wants to be woken: soon after a first failure, not before the peer's hint, at once when there is
    /// work and nothing is wrong.
    void judge_wake(process& p, session_input const& in, status const& ok) {
        machine& m = *p.home;
        if (p.stumbled) { return; }
        std::int64_t const wait = p.wake - now_;
        judge_rest(p, in, ok, wait);
        bool const work =
            judge_.cursor(m.number) < p.told_head || judge_.waiting(m.number) != 0 || judge_.wants(m.number);
        if (auto const* f = std::get_if<failed>(&in); f != nullptr && ok) {
            if (f->retry_after) {
                judge_.check(wait >= f->retry_after->count() || p.wake == never, invariant::patience, [&] {
                    return name(m) + " comes back after " + std::to_string(wait) + " ms, and was asked to wait " +
                           std::to_string(f->retry_after->count());
                });
            } else {
                backoff_options const b = session_settings().backoff;
                std::int64_t ceiling = b.base.count();
                for (unsigned n = 1; n < p.streak + 1 && ceiling < b.cap.count(); ++n) { ceiling *= 2; }
                ceiling = (std::min)(ceiling, std::int64_t{b.cap.count()});
                if (!work) { ceiling = (std::max)(ceiling, std::int64_t{session_settings().poll_interval.count()}); }
                judge_.check(wait <= ceiling + 1, invariant::patience, [&] {
                    return name(m) + " waits " + std::to_string(wait) + " ms after failure " + std::to_string(p.streak);
                });
            }
        }
        if (std::holds_alternative<received>(in) && ok && p.streak == 0) {
            judge_.check(!work || wait <= 1, invariant::liveness, [&] {
                return name(m) + " has something to send or to fetch, and sleeps for " + std::to_string(wait) + " ms";
            });
        }
    }
    [[nodiscard]] static session_options session_settings() {
        session_options o;
        o.reply_timeout = milliseconds{40 * second};
        o.backoff.cap = milliseconds{5 * minute};
        return o;
    }
    /// After any use of a process's store: it dies if it was doomed, ends where a sync failed, else it goes on.
    void settle(process& p) {
        if (!p.up()) { return; }
        if (p.doomed && p.store->faults() != 0) {
            random_generator dice{detail::mix(report_.seed ^ 0xDEAD, report_.steps)};
            hit(sim_fault::crash);
            kill(p, dice);
            return;
        }
        if (p.store->poisoned()) {
            // Some hosts knock a few times more before they open their store again.
            random_generator dice{detail::mix(report_.seed ^ 0x5C, report_.steps)};
            if (below(dice, 4) == 0) {
                kill(p, dice);
                return;
            }
        }
        pump(p);
    }
    void pump(process& p) {
        machine& m = *p.home;
        for (int guard = 0; guard < 10'000; ++guard) {
            instant const now = reading(p);
            auto out = p.talk->poll(now);
            p.stumbled = !out;
            if (!out) {
                p.wake = now_ + second;  // the host comes back after a storage error
                return;
            }
            if (auto const* send = std::get_if<transmit>(&*out)) {
                judge_.request_sent(m.number, send->message, p.store->commit_durability());
                note_request(m, send->message);
                p.awaiting = true;
                p.way->exchange(send->message, completion::to(p));
            } else if (auto const* note = std::get_if<notify>(&*out)) {
                hear(p, *note->what);
            } else {
                auto const& wait = *std::get_if<wait_until>(&*out);
                p.paused = wait.paused;
                if (p.paused) {
                    errc const why = p.paused->code;
                    judge_.check(why == errc::unauthorised || why == errc::forbidden || why == errc::unsupported ||
                                     why == errc::authority_changed || why == errc::corrupt || why == errc::poisoned,
                                 invariant::liveness,
                                 [&] { return name(m) + "'s session waits for a person because of: " + message(why); });
                }
                p.wake = wait.paused ? now_ + 10 * minute : never;
                if (wait.deadline) {
                    p.wake = now_ + (std::max)(std::int64_t{0}, std::int64_t{(*wait.deadline - now.monotonic).count()});
                }
                judge_.check(wait.paused || (wait.deadline && p.wake - now_ <= 60 * minute), invariant::liveness,
                             [&] { return name(m) + " has no deadline within the hour"; });
                // A tick that is due at once and changes nothing, for ever, is no progress.
                if (p.wake <= now_) { p.wake = now_ + 1; }
                return;
            }
            if (!p.up()) { return; }
        }
        judge_.report(invariant::liveness, name(m) + "'s session never stops asking");
    }
    void hear(process& p, event const& e) {
        machine& m = *p.home;
        ++m.events_heard;
        trace(4, m.number, static_cast<std::uint64_t>(e.kind));
        if (e.kind == event_kind::decided) {
            switch (e.said.kind) {
                case verdict_kind::conflict: reached(sim_point::conflict_opened); break;
                case verdict_kind::rejected: reached(sim_point::rejected); break;
                case verdict_kind::overruled: reached(sim_point::overruled); break;
                case verdict_kind::merged: reached(sim_point::merged); break;
                case verdict_kind::duplicate: reached(sim_point::verdict_duplicate); break;
                default: break;
            }
            if (e.said.again) { reached(sim_point::verdict_again); }
            tell(name(m) + " hears that mutation " + std::to_string(e.said.sequence) + " of " +
                 std::string{e.record.id_text()} + " is " + testing_name(e.said.kind));
            return;
        }
        if (e.kind == event_kind::reincarnated || e.kind == event_kind::regressed) { return; }
        if (options_.mistake == host_mistake::drops_events && m.events_heard % 3 == 0) { return; }
        refresh(p, e.record);
    }
    [[nodiscard]] static std::string testing_name(verdict_kind k) { return syncline::name(k); }

    // What the host shows: kept by its own writes and by events alone.

    void refresh(process& p, record_key const& k) {
        machine& m = *p.home;
        auto tx = p.handle->begin(access_mode::read);
        if (!tx) {
            m.shown_is_stale = true;
            return;
        }
        auto r = m.self.read(*tx, k);
        if (!r) {
            m.shown_is_stale = true;
        } else if (*r) {
            m.shown[to_bytes(k)] = (*r)->fields;
        } else {
            m.shown.erase(to_bytes(k));
        }
    }
    [[nodiscard]] std::map<bytes, bytes, bytes_order> everything_shown(process& p) {
        std::map<bytes, bytes, bytes_order> out;
        auto tx = p.handle->begin(access_mode::read);
        if (!tx) { return out; }
        (void)p.home->self.scan(*tx, "things", [&](record_key const& k, record const& r) {
            out[to_bytes(k)] = r.fields;
            return true;
        });
        return out;
    }
    void compare_shown(process& p) {
        machine& m = *p.home;
        if (!p.up()) { return; }
        auto now = everything_shown(p);
        if (!m.shown_is_stale) {
            judge_.check(now == m.shown, invariant::true_events,
                         [&] { return name(m) + " shows something else than it was told of"; });
        }
        m.shown = std::move(now);
        m.shown_is_stale = false;
    }

    // The network.

    void post(flight f, std::int64_t after) {
        f.at = now_ + (std::max)(std::int64_t{1}, after);
        f.serial = ++serial_;
        flights_.push_back(std::move(f));
    }
    [[nodiscard]] bool happens(sim_fault f, random_generator& dice) {
        std::uint64_t const n = below(dice, 1'000);  // drawn in any case: the rest of the draws stay the same
        if (off(f) || n >= rate_[static_cast<std::size_t>(f)]) { return false; }
        hit(f);
        return true;
    }
    [[nodiscard]] static bytes page() { return to_bytes(as_bytes(foreign_page)); }

    std::uint64_t send(std::size_t number, std::size_t process_number, bytes_view request) override {
        machine& m = *machines_[number];
        random_generator dice{detail::mix(report_.seed ^ 0x5E4D, (++m.sent << 8) + number)};
        flight f;
        f.machine = number;
        f.process = process_number;
        f.life = m.processes[process_number]->life;
        f.exchange = ++exchanges_;
        f.message = to_bytes(request);
        trace(5, number, xxh3_64(request));
        if (archive_.size() < 64) {
            archive_.push_back(f.message);
        } else {
            archive_[below(dice, archive_.size())] = f.message;
        }
        std::int64_t delay = 5 + static_cast<std::int64_t>(below(dice, 200));
        if (happens(sim_fault::delayed, dice)) { delay += static_cast<std::int64_t>(below(dice, 60 * second)); }
        auto const fail = [&](errc why, std::int64_t after, std::optional<milliseconds> hint = {}) {
            flight g = f;
            g.what = flight::kind::failed;
            g.message.clear();
            g.why = why;
            g.retry_after = hint;
            post(std::move(g), after);
        };
        if (!calm_ && m.portal_until > now_) {
            f.what = flight::kind::answer;
            f.message = page();
            post(std::move(f), delay);
        } else if (!calm_ && m.out_blocked_until > now_) {
            fail(errc::unreachable, 10 + delay);
        } else if (happens(sim_fault::request_lost, dice)) {
            tell("the request is lost");
            fail(errc::connection_lost, 10 + delay);
        } else if (happens(sim_fault::throttled, dice)) {
            fail(errc::throttled, delay, milliseconds{static_cast<std::int64_t>(below(dice, 2 * minute))});
        } else {
            if (happens(sim_fault::duplicated, dice)) {
                flight again = f;
                again.what = flight::kind::stray_request;
                post(std::move(again), delay + static_cast<std::int64_t>(below(dice, minute)));
            }
            if (happens(sim_fault::newer_peer, dice)) { f.message = with_unknown_key(f.message); }
            if (happens(sim_fault::unknown_feature, dice)) { f.message = with_unknown_feature(f.message); }
            if (happens(sim_fault::truncated, dice)) { f.message.resize(below(dice, f.message.size() + 1)); }
            if (happens(sim_fault::corrupted, dice)) { spoil(f.message, dice); }
            f.what = flight::kind::request;
            post(std::move(f), delay);
        }
        return exchanges_;
    }

    static void spoil(bytes& message, random_generator& dice) {
        if (message.empty()) { return; }
        std::uint64_t const bit = below(dice, message.size() * 8);
        message[static_cast<std::size_t>(bit / 8)] ^= std::byte{1} << static_cast<int>(bit % 8);
    }
    /// The message as a later version of the library would write it: one key more than this one knows.
    [[nodiscard]] static bytes with_unknown_key(bytes message) {
        if (message.size() <= frame_bytes || message[3] != std::byte{protocol_version}) { return message; }
        message[frame_bytes] = static_cast<std::byte>(std::to_integer<unsigned>(message[frame_bytes]) + 1);
        message.push_back(std::byte{0x18});
        message.push_back(std::byte{99});
        message.push_back(std::byte{0xF6});
        syncline::detail::seal_frame(message);
        return message;
    }
    /// The message with a feature that must be understood, and is not.
    [[nodiscard]] static bytes with_unknown_feature(bytes message) {
        if (message.size() <= frame_bytes || message[3] != std::byte{protocol_version}) { return message; }
        message[frame_bytes] = static_cast<std::byte>(std::to_integer<unsigned>(message[frame_bytes]) + 1);
        std::array<std::byte, 3> const key{std::byte{0}, std::byte{0x81}, std::byte{1}};
        message.insert(message.begin() + frame_bytes + 1, key.begin(), key.end());
        syncline::detail::seal_frame(message);
        return message;
    }

    void arrive(flight f) {
        machine* const m = f.machine < machines_.size() ? machines_[f.machine].get() : nullptr;
        switch (f.what) {
            case flight::kind::restart:
                if (m != nullptr) { boot(*m->processes[f.process]); }
                return;
            case flight::kind::stray_request: (void)serve_request(f.message, f.is_stranger); return;
            case flight::kind::request: answer(std::move(f)); return;
            default: break;
        }
        if (m == nullptr) { return; }
        process& p = *m->processes[f.process];
        if (f.what == flight::kind::stray_reply) {
            if (p.up()) { feed(p, received{f.message}, deed::kind::receive, xxh3_64(f.message)); }
            return;
        }
        if (!p.up() || p.life != f.life) {
            if (f.what == flight::kind::answer) { reached(sim_point::reply_after_crash); }
            return;
        }
        trace(6, f.machine, f.message.empty() ? static_cast<std::uint64_t>(f.why) : xxh3_64(f.message));
        if (f.what == flight::kind::answer) {
            p.link->complete(f.exchange, {bytes_view{f.message}, f.retry_after});
        } else {
            tell(name(*m) + "'s exchange fails: " + message(f.why));
            p.link->complete(f.exchange, {failure{f.why, "simulated"}, f.retry_after});
        }
        take_arrivals(p);
    }
    void take_arrivals(process& p) {
        while (p.up() && !p.arrived.empty()) {
            auto const a = std::move(p.arrived.front());
            p.arrived.erase(p.arrived.begin());
            if (a.message) {
                p.home->last_reply = now_;
                if (replies_.size() < 64) {
                    replies_.emplace_back(p.home->number, *a.message);
                } else {
                    replies_[report_.steps % 64] = {p.home->number, *a.message};
                }
                position const stood = judge_.cursor(p.home->number);
                feed(p, received{*a.message}, deed::kind::receive, xxh3_64(*a.message));
                if (stood != 0 && judge_.cursor(p.home->number) > stood) {
                    auto const said = decode_reply(*a.message);
                    if (said && said->from > stood && said->horizon > stood) {
                        reached(sim_point::joined_again);
                        tell(name(*p.home) + " stood below the horizon, and joins again");
                    }
                }
            } else {
                feed(p, failed{a.why, a.retry_after}, deed::kind::turn);
            }
        }
    }

    /// A request has come to where it was sent, or somewhere else.
    void answer(flight f) {
        machine& m = *machines_[f.machine];
        random_generator dice{detail::mix(report_.seed ^ 0x4EB1, f.exchange)};
        std::int64_t const delay = 5 + static_cast<std::int64_t>(below(dice, 200));
        result<bytes> reply = errc::unreachable;
        if (!calm_ && m.misrouted_until > now_) {
            reply = serve(*other_handle_, *other_, "anna", f.message, instant{wall(0), {}});
        } else {
            reply = serve_request(f.message, false);
            collect_tombstones(f.exchange);
        }
        if (reply && ((!calm_ && m.in_blocked_until > now_) || happens(sim_fault::reply_lost, dice))) {
            reached(sim_point::effect_without_reply);
            tell("the reply to " + name(m) + " is lost");
            reply = below(dice, 2) == 0 ? errc::timed_out : errc::connection_lost;
        }
        f.what = flight::kind::answer;
        if (!reply) {
            f.what = flight::kind::failed;
            f.why = reply.error().code;
            f.message.clear();
            post(std::move(f), delay);
            return;
        }
        f.message = std::move(*reply);
        if (happens(sim_fault::newer_peer, dice)) { f.message = with_unknown_key(f.message); }
        if (happens(sim_fault::unknown_feature, dice)) { f.message = with_unknown_feature(f.message); }
        if (happens(sim_fault::truncated, dice)) { f.message.resize(below(dice, f.message.size() + 1)); }
        if (happens(sim_fault::corrupted, dice)) { spoil(f.message, dice); }
        if (happens(sim_fault::duplicated, dice)) {
            flight again = f;
            again.what = flight::kind::stray_reply;
            post(std::move(again), delay + static_cast<std::int64_t>(below(dice, minute)));
        }
        post(std::move(f), delay);
    }

    // The authority.

    void open_office() {
        random_generator random{detail::mix(report_.seed, 0xA1 + report_.steps)};
        office_.doomed = false;
        office_.handle = office_.disk->open();
        office_.seen.emplace(*office_.handle, office_);
        office_.store.emplace(*office_.seen);
        judge_.authority_reopened(image_of(*office_.handle), false);
        auto tx = office_.store->begin(access_mode::write);
        bool const ok = tx && home_->open(*tx, instant{wall(0), {}}, random) && tx->commit();
        judge_.check(ok, invariant::crash_atomicity, [] { return std::string{"the authority's store does not open"}; });
    }
    void close_office() {
        office_.store.reset();
        office_.seen.reset();
        office_.handle.reset();
    }
    /// The authority's answer to a request, or how the exchange fails.
    result<bytes> serve_request(bytes_view request, bool is_stranger) {
        if (!office_.store) {
            if (office_.down_until > now_) { return errc::connection_lost; }
            open_office();
            tell("the authority starts");
        }
        instant const now{wall(0), monotonic_time{milliseconds{now_}}};
        judge_.handling(request, now, home_options_.stamp_ahead_max);
        note_strange(request);
        result<bytes> reply = errc::peer_failed;
        if (options_.mistake == host_mistake::replies_before_commit &&
            detail::mix(report_.seed, report_.steps) % 8 == 0) {
            auto tx = office_.store->begin(access_mode::write);
            if (tx) { reply = home_->handle(*tx, is_stranger ? "mallory" : "anna", request, now); }
        } else {
            reply = serve(*office_.store, *home_, is_stranger ? "mallory" : "anna", request, now);
        }
        if (office_.doomed && office_.store->faults() != 0) {
            hit(sim_fault::authority_crash);
            tell("the authority crashes");
            close_office();
            return errc::connection_lost;
        }
        trace(7, reply ? 0 : static_cast<std::uint64_t>(reply.error().code), reply ? xxh3_64(*reply) : 0);
        if (reply) {
            judge_.reply_sent(*reply, office_.store->commit_durability());
            note_reply(*reply, is_stranger);
            return reply;
        }
        tell(std::string{"the authority answers: "} + message(reply.error().code));
        switch (reply.error().code) {
            case errc::forbidden:
            case errc::unsupported: return reply.error().code;
            case errc::malformed:
            case errc::not_deterministic:
            case errc::foreign:
            case errc::limit: return errc::rejected;
            default: return errc::peer_failed;
        }
    }

    /// What a host does now and then.
    void collect_tombstones(std::uint64_t exchange) {
        if (home_options_.leases.length.count() == 0 || !office_.store) { return; }
        random_generator dice{detail::mix(report_.seed ^ 0xC011, exchange)};
        if (below(dice, 6) != 0) { return; }
        judge_.collecting();
        std::size_t const budget = 1 + static_cast<std::size_t>(below(dice, below(dice, 2) == 0 ? 3 : 100));
        auto tx = office_.store->begin(access_mode::write);
        auto done = tx ? home_->collect(*tx, budget) : result<typename authority_type::collection_report>{tx.error()};
        if (done) {
            if (auto ok = tx->commit(); !ok) { done = ok.error(); }
        }
        if (done && done->tombstones != 0) {
            reached(sim_point::tombstones_collected);
            tell("the authority collects " + std::to_string(done->tombstones) + " tombstones up to " +
                 std::to_string(done->horizon));
        }
    }

    void device_committed(std::size_t number, std::vector<storage_write> const& writes) {
        for (storage_write const& w : writes) { trace(8, number, xxh3_64(w.key) ^ (w.value ? xxh3_64(*w.value) : 1)); }
        judge_.device_committed(number, writes);
    }
    void authority_committed(std::vector<storage_write> const& writes) {
        for (storage_write const& w : writes) { trace(9, xxh3_64(w.key), w.value ? xxh3_64(*w.value) : 1); }
        auto const accepts = [](mutation const& m) { return simulated_rule_accepts(m); };
        judge_.authority_committed(writes, accepts);
    }

    // What is told and counted of messages.

    void note_request(machine& m, bytes_view message) {
        std::size_t under_way = 0;
        for (auto& p : m.processes) { under_way += p->awaiting ? 1 : 0; }
        if (under_way != 0) { reached(sim_point::two_processes_sending); }
        auto const q = decode_request(message);
        if (!q) { return; }
        if (!q->epoch && !q->mutations.empty()) { reached(sim_point::first_contact_with_work); }
        if (q->mutations.size() < judge_.waiting(m.number)) { reached(sim_point::batch_split); }
        std::size_t size = 0;
        for (bytes const& raw : q->mutations) { size += raw.size(); }
        replica_options const& o = m.self.options();
        judge_.check(q->mutations.size() <= o.mutations_max && (q->mutations.size() <= 1 || size <= o.mutation_bytes),
                     invariant::bounded, [&] { return name(m) + " sends more in one request than its options allow"; });
        if (now_ - m.last_reply > day && m.last_reply != 0) { reached(sim_point::long_absence); }
        if (!options_.tell) { return; }
        std::string text = name(m) + " sends";
        for (bytes const& raw : q->mutations) {
            cbor_reader in{raw};
            mutation const c = decode_mutation(in);
            text += " #" + std::to_string(c.sequence) + " " + show(c) + ";";
        }
        if (q->mutations.empty()) { text += " nothing;"; }
        tell(text + " asks for what came after " + std::to_string(q->cursor));
    }
    void note_strange(bytes_view request) {
        if (decode_request(request)) { return; }
        reached(sim_point::malformed_seen);
    }
    void note_reply(bytes_view reply, bool is_stranger) {
        auto const p = decode_reply(reply);
        if (!p) { return; }
        for (verdict const& v : p->verdicts) {
            if (v.reason == errc::identity_fork) {
                reached(is_stranger ? sim_point::equivocation_refused : sim_point::identity_fork);
            }
            for (decision const& d : v.decisions) {
                if (d.field.empty() && d.why == reason::deleted && v.version == 0) {
                    reached(sim_point::change_of_the_collected);
                }
            }
            tell("the authority decides #" + std::to_string(v.sequence) + ": " + testing_name(v.kind) +
                 (v.again ? " (again)" : "") + (v.version != 0 ? ", at " + std::to_string(v.version) : ""));
        }
    }
    [[nodiscard]] static std::string show(mutation const& m) {
        std::string text = m.kind == change_kind::create  ? "create "
                           : m.kind == change_kind::erase ? "erase "
                                                          : "update ";
        text += std::string{m.record.id_text()};
        for (field_op const& op : m.ops) {
            text += ' ' + op.field;
            if (op.kind == op_kind::unset) {
                text += " gone";
                continue;
            }
            auto const n = naive_integer(op.value);
            text += (op.kind == op_kind::add ? " += " : " = ") + (n ? std::to_string(*n) : std::string{"?"});
        }
        return text;
    }
    [[nodiscard]] static std::string name(machine const& m) {
        constexpr std::array<char const*, 6> names{"phone", "tablet", "laptop", "till", "desk", "newcomer"};
        return names[m.number % names.size()];
    }
    void tell(std::string line) {
        if (!options_.tell || report_.story.size() >= 20'000) { return; }
        std::int64_t const t = now_ - begin_time;
        auto const two = [](std::int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
        std::string stamp = "day " + std::to_string(t / day) + " " + two(t / (60 * minute) % 24) + ":" +
                            two(t / minute % 60) + ":" + two(t / second % 60) + "." + std::to_string(t % second);
        stamp.resize(20, ' ');
        report_.story.push_back(stamp + line);
    }
    void trace(std::uint64_t what, std::uint64_t a, std::uint64_t b) noexcept {
        auto const add = [&](std::uint64_t n) {
            report_.trace = ((report_.trace << 7 | report_.trace >> 57) ^ n) * 0x9E3779B97F4A7C15U;
        };
        add(what);
        add(a);
        add(b);
        add(static_cast<std::uint64_t>(now_));
    }

    // The plan: what people do, and what goes wrong.

    [[nodiscard]] std::int64_t pause(random_generator& dice) {
        std::uint64_t const kind = below(dice, 100);
        std::int64_t const stretch = slow_ ? 20 : 1;
        if (kind < 70) { return static_cast<std::int64_t>(below(dice, 800)) * stretch; }
        if (kind < 95) { return static_cast<std::int64_t>(below(dice, 20 * second)) * stretch; }
        return static_cast<std::int64_t>(below(dice, 10 * minute));
    }

    void perform(std::uint32_t number, random_generator& dice) {
        ++report_.steps;
        machine& m = *machines_[below(dice, machines_.size())];
        process& p = *m.processes[below(dice, m.processes.size())];
        trace(10, number, m.number);
        std::uint64_t const what = below(dice, 100);
        bool const awake = p.up() && m.suspended_until <= now_;
        if (what < 50) {
            if (awake) { person_writes(p, dice); }
            return;
        }
        if (what < 52) {
            everybody_writes(dice);
            return;
        }
        if (what < 60) {
            if (awake) { person_decides(p, dice); }
            return;
        }
        if (what < 66) {
            if (awake) { feed(p, hurry{}, deed::kind::turn); }
            return;
        }
        if (what < 69) {
            if (awake) { compare_shown(p); }
            return;
        }
        mishap(m, p, dice);
    }

    /// Several people change the same field of the same record in the same millisecond.
    void everybody_writes(random_generator& dice) {
        record_key const k{"things", std::string_view{below(dice, 2) == 0 ? "c0" : "r0"}};
        char const* const field = below(dice, 2) == 0 ? "name" : "note";
        std::size_t writers = 0;
        for (auto& m : machines_) {
            process& p = *m->processes[0];
            if (!p.up() || m->suspended_until > now_ || judge_.visible(m->number, k).deleted) { continue; }
            mutation w;
            w.record = k;
            w.ops.push_back({field, op_kind::set, naive_item(static_cast<std::int64_t>(++values_) * 16), {}});
            write(p, std::move(w), priority::normal, false);
            ++writers;
        }
        if (writers > 1) { reached(sim_point::same_moment); }
    }

    void person_writes(process& p, random_generator& dice) {
        auto const roll = [&](std::uint64_t n) { return below(dice, n); };
        auto const urgency = static_cast<priority>(roll(4));
        bool const undone = roll(20) == 0;
        mutation w;
        auto const value = [&] {
            auto const n = static_cast<std::int64_t>(roll(4'000)) * 65'536 + static_cast<std::int64_t>(++values_);
            if (roll(10) == 0) { return static_cast<std::int64_t>(roll(3)); }
            return roll(2) == 0 ? n : -n;
        };
        auto const set = [&](char const* field) {
            bool const gone = roll(14) == 0;
            w.ops.push_back({field, gone ? op_kind::unset : op_kind::set, gone ? bytes{} : naive_item(value()), {}});
        };
        if (roll(3) == 0) {
            w.kind = change_kind::update;
            w.record = {"things", std::string_view{roll(2) == 0 ? "c0" : "c1"}};
            w.ops.push_back({"count", op_kind::add, naive_item(1 + static_cast<std::int64_t>(roll(1'000'000))), {}});
            if (roll(4) == 0) { set("asked"); }
            if (roll(3) == 0) { set("name"); }
            if (roll(4) == 0) { set("ruled"); }
        } else {
            w.record = {"things", std::string_view{"r" + std::to_string(roll(keys_))}};
            bool const there = !judge_.visible(p.home->number, w.record).deleted;
            std::uint64_t const kind = roll(12);
            w.kind = kind == 0 || (kind == 1 && there) ? change_kind::erase
                     : there                           ? change_kind::update
                                                       : change_kind::create;
            if (kind == 2) { w.kind = change_kind::update; }
            if (kind == 3) { w.kind = change_kind::create; }
            if (w.kind == change_kind::create) {
                for (char const* field : {"asked", "least", "name", "ruled"}) {
                    if (roll(2) == 0) { w.ops.push_back({field, op_kind::set, naive_item(value()), {}}); }
                }
            } else if (w.kind == change_kind::update) {
                for (char const* field : {"asked", "least", "most", "name", "note", "ruled"}) {
                    if (roll(field == std::string_view{"asked"} ? 8 : 3) == 0) { set(field); }
                }
                if (roll(4) == 0) {
                    w.ops.push_back({"count", op_kind::add, naive_item(static_cast<std::int64_t>(roll(9))), {}});
                }
                if (w.ops.empty()) { set("name"); }
            }
        }
        std::sort(w.ops.begin(), w.ops.end(),
                  [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
        write(p, std::move(w), urgency, undone);
    }

    /// A local write, as a host makes it: in its own transaction, then told as saved.
    void write(process& p, mutation w, priority urgency, bool undone) {
        machine& m = *p.home;
        instant const now = reading(p);
        naive_row const before = judge_.visible(m.number, w.record);
        bool const there = !before.deleted;
        bool const had_frozen = p.awaiting;
        std::size_t const waiting = judge_.waiting(m.number);
        // Often a host edits a copy of the whole record, and lets the library find what differs.
        bool const as_copy = w.kind == change_kind::update && there && detail::mix(report_.seed, values_) % 3 == 0;
        std::map<std::string, bytes> copy = before.fields;
        if (as_copy) {
            for (field_op const& op : w.ops) {
                if (op.kind == op_kind::unset) {
                    copy.erase(op.field);
                } else if (op.kind == op_kind::set) {
                    copy[op.field] = op.value;
                } else {
                    auto const was =
                        copy.count(op.field) != 0 ? naive_integer(copy[op.field]) : std::optional<std::int64_t>{};
                    copy[op.field] = naive_item(naive_sum(was.value_or(0), *naive_integer(op.value)).value_or(0));
                }
            }
            w.ops = naive_difference(before.fields, copy, simulated_rules().of(w.record.collection));
            if (w.ops.empty()) { return; }
        }
        judge_.begin(m.number, {deed::kind::write, w, 0, now, urgency});
        std::uint64_t const faults = p.store->faults();
        result<write_receipt> receipt = errc::cancelled;
        status committed;
        bool rolled_back = undone;
        {
            auto tx = p.store->begin(access_mode::write);
            if (!tx) {
                receipt = tx.error();
            } else {
                if (w.kind == change_kind::create) {
                    std::map<std::string, bytes> fields;
                    for (field_op const& op : w.ops) { fields[op.field] = op.value; }
                    receipt = m.self.create(*tx, w.record, naive_fields(fields), now, urgency);
                } else if (as_copy) {
                    receipt = m.self.put(*tx, w.record, naive_fields(copy), now, urgency);
                } else if (w.kind == change_kind::update) {
                    receipt = m.self.update(*tx, w.record, w.ops, now, urgency);
                } else {
                    receipt = m.self.erase(*tx, w.record, now, urgency);
                }
                if (options_.mistake == host_mistake::acknowledges_before_commit && values_ % 16 == 0) {
                    rolled_back = true;
                }
                if (receipt && !rolled_back) { committed = tx->commit(); }
            }
        }
        if (undone && receipt) {
            hit(sim_fault::host_rollback);
            rolled_back = true;
        }
        bool const told = receipt && committed && !undone;
        trace(11, m.number, told ? receipt->token : 0);
        tell(name(m) + " writes: " + show(w) +
             (told     ? ""
              : undone ? " (rolled back)"
                       : std::string{" ("} + message(receipt ? committed.error().code : receipt.error().code) + ")"));
        if (told) {
            judge_.acknowledged(m.number);
            if (receipt->token == 0) {
                reached(sim_point::annihilated);
            } else if (receipt->coalesced) {
                reached(sim_point::coalesced);
            }
            if (had_frozen) { reached(sim_point::write_while_in_flight); }
            if (had_frozen && !receipt->coalesced) { reached(sim_point::frozen_then_written); }
            if (w.kind == change_kind::erase) { reached(sim_point::erased); }
            if (w.kind == change_kind::create && before.life != 0) { reached(sim_point::created_again); }
        } else if (!receipt && p.store->faults() == faults) {
            errc const why = receipt.error().code;
            bool const right = w.kind == change_kind::create && there    ? why == errc::already_exists
                               : w.kind != change_kind::create && !there ? why == errc::not_found
                               : why == errc::limit                      ? waiting >= entries_max(report_.seed)
                                                    : why == errc::type_mismatch || why == errc::overflow;
            judge_.check(right, invariant::local_write,
                         [&] { return name(m) + "'s write was refused: " + std::string{message(why)}; });
            if (why == errc::limit) { reached(sim_point::outbox_full); }
        }
        if (told) {
            judge_.check(w.kind == change_kind::create ? !there : there, invariant::local_write,
                         [&] { return name(m) + " wrote to what is not there, or created what is"; });
        }
        if (told || !committed) { refresh(p, w.record); }
        if (p.doomed && p.store->faults() != 0) {
            settle(p);
        } else if (hasty_ && p.up()) {
            settle(p);
        }
    }

    template <class Tx>
    [[nodiscard]] static status parked(Tx& tx, machine const& m, std::vector<open_conflict>& open,
                                       std::vector<outbox_entry>& dead) {
        auto ok = m.self.conflicts(tx, [&](open_conflict const& c) {
            open.push_back(c);
            return true;
        });
        if (!ok) { return ok; }
        return m.self.queue().scan_dead(tx, [&](outbox_entry const& e) {
            dead.push_back(e);
            return true;
        });
    }
    /// A person is told of everything that waits for one.
    void judge_parked(machine const& m, std::vector<open_conflict> const& open, std::vector<outbox_entry> const& dead) {
        std::multiset<bytes, bytes_order> told;
        for (open_conflict const& c : open) { told.insert(to_bytes(c.local.record)); }
        for (outbox_entry const& e : dead) {
            auto const letter = replica::mutation_of(e);
            if (letter) { told.insert(to_bytes(letter->record)); }
        }
        judge_.check(told == judge_.parked(m.number), invariant::no_silent_loser, [&] {
            return name(m) + " tells of " + std::to_string(open.size()) + " conflicts and " +
                   std::to_string(dead.size()) + " dead letters, and holds " +
                   std::to_string(judge_.parked(m.number).size()) + " mutations that wait for a person";
        });
    }
    /// What a parked mutation changes besides the fields in conflict, as the rules have it beside what is there now.
    /// Nothing where that is no such record any more: then its operations stand as they are.
    [[nodiscard]] std::optional<std::vector<field_op>> taken_along(machine const& m, open_conflict const& c) const {
        bool const same =
            c.remote && !c.remote->deleted && c.local.kind == change_kind::update && c.local.life == c.remote->life;
        if (!same) { return std::nullopt; }
        auto const decided = [&](field_op const& op) {
            return std::find(c.fields.begin(), c.fields.end(), op.field) != c.fields.end();
        };
        collection_rules const rules = simulated_rules().of(c.local.record.collection);
        naive_row const before{*c.remote};
        // What its own writer has written over since does not come back; an extreme is of all that was written.
        auto const over = [&](field_op const& op) {
            bool const whole = op.kind == op_kind::set || op.kind == op_kind::unset;
            rule const by = rules.of(op.field);
            bool const extreme = op.kind == op_kind::set && is_extreme(by);
            auto const mark = before.marks.find(op.field);
            write_mark const& there = mark == before.marks.end() ? before.floor : mark->second;
            return whole && !extreme && there.author == judge_.author(m.number) && there.stamp > op.stamp;
        };
        mutation rest = c.local;
        std::erase_if(rest.ops, decided);
        std::erase_if(rest.ops, over);
        std::vector<field_op> ops;
        if (rest.ops.empty()) { return ops; }
        naive_row after = before;
        timestamp const unbounded{(std::numeric_limits<std::uint64_t>::max)()};
        auto const out = naive_apply(after, rest, rules, judge_.author(m.number), pending_position, unbounded);
        if (out.verdict == verdict_kind::rejected || out.verdict == verdict_kind::conflict) { return std::nullopt; }
        ops = naive_difference(before.fields, after.fields, rules);
        std::erase_if(ops, decided);
        return ops;
    }
    void person_decides(process& p, random_generator& dice) {
        machine& m = *p.home;
        auto const roll = [&](std::uint64_t n) { return below(dice, n); };
        instant const now = reading(p);
        std::vector<open_conflict> open;
        std::vector<outbox_entry> dead;
        {
            auto tx = p.handle->begin(access_mode::read);
            if (!tx || !parked(*tx, m, open, dead)) { return; }
        }
        judge_parked(m, open, dead);
        std::size_t const count = open.size() + dead.size();
        if (count == 0) { return; }
        std::size_t const which = static_cast<std::size_t>(roll(count));
        judge_.begin(m.number, {deed::kind::person, {}, 0, now, {}});
        status ok;
        record_key touched;
        if (which < open.size()) {
            open_conflict const& c = open[which];
            touched = c.local.record;
            if (roll(4) == 0) {
                ok = in_transaction(p, [&](auto& tx) { return m.self.dismiss(tx, c.token); });
                if (ok) { reached(sim_point::conflict_dismissed); }
            } else {
                std::vector<field_resolution> decisions;
                for (std::string const& f : c.fields) {
                    decisions.push_back({f, static_cast<field_resolution::choice>(roll(3)),
                                         naive_item(static_cast<std::int64_t>(++values_))});
                }
                bool const stale = roll(4) == 0;
                position const version = (c.remote ? c.remote->version : 0) + (stale ? 1 : 0);
                mutation meant;
                meant.record = touched;
                auto const rest = taken_along(m, c);
                if (rest) { meant.ops = *rest; }
                // What was done to a field that is not there goes as it was written.
                for (field_op& op : meant.ops) {
                    field_op const* const mine = operation_on(c.local.ops, op.field);
                    bool const edit = mine != nullptr && mine->kind != op_kind::set && mine->kind != op_kind::unset;
                    if (op.kind == op_kind::set && edit && !naive_row{*c.remote}.fields.contains(op.field)) {
                        op = *mine;
                    }
                }
                for (field_op op : c.local.ops) {
                    bool yields = rest && std::find(c.fields.begin(), c.fields.end(), op.field) == c.fields.end();
                    for (field_resolution const& d : decisions) {
                        if (d.field != op.field) { continue; }
                        yields = d.take == field_resolution::choice::remote;
                        if (d.take == field_resolution::choice::custom) { op = {op.field, op_kind::set, d.value, {}}; }
                    }
                    if (!yields) { meant.ops.push_back(op); }
                }
                std::sort(meant.ops.begin(), meant.ops.end(),
                          [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
                judge_.begin(m.number, {deed::kind::person, meant, 0, now, priority::important});
                ok = in_transaction(p, [&](auto& tx) -> status {
                    auto r = m.self.resolve(tx, c.token, version, decisions, now);
                    return r ? status{} : status{r.error()};
                });
                if (ok) { reached(sim_point::conflict_resolved); }
                if (stale) {
                    reached(sim_point::stale_decision_refused);
                    judge_.check(!ok, invariant::no_silent_loser, [&] {
                        return name(m) + "'s person decided about another remote value than the one there is";
                    });
                }
            }
            tell(name(m) + "'s person decides about a conflict over " + std::string{touched.id_text()});
        } else {
            outbox_entry const& e = dead[which - open.size()];
            auto const letter = replica::mutation_of(e);
            if (letter) { touched = letter->record; }
            // What a copy may have sent before is not sent again.
            if (roll(2) == 0 && e.reason != errc::identity_fork) {
                judge_.begin(m.number, {deed::kind::revive, {}, 0, now, {}});
                ok = in_transaction(p, [&](auto& tx) { return m.self.queue().revive(tx, e.token, now.wall); });
                if (ok) { reached(sim_point::dead_letter_revived); }
            } else {
                ok = in_transaction(p, [&](auto& tx) { return m.self.queue().discard(tx, e.token); });
                if (ok) { reached(sim_point::dead_letter_discarded); }
            }
            tell(name(m) + "'s person decides about a dead letter of " + std::string{touched.id_text()});
        }
        trace(12, m.number, ok ? 1 : 0);
        if (valid(touched)) { refresh(p, touched); }
        if (p.doomed || hasty_) { settle(p); }
    }

    void mishap(machine& m, process& p, random_generator& dice) {
        auto const roll = [&](std::uint64_t n) { return static_cast<std::int64_t>(below(dice, n)); };
        static constexpr std::array kinds{sim_fault::replayed_request,
                                          sim_fault::replayed_reply,
                                          sim_fault::partition,
                                          sim_fault::one_way_partition,
                                          sim_fault::clogged,
                                          sim_fault::captive_portal,
                                          sim_fault::misrouted,
                                          sim_fault::garbage,
                                          sim_fault::stranger,
                                          sim_fault::storage_error,
                                          sim_fault::storage_error_after,
                                          sim_fault::transaction_lost,
                                          sim_fault::storage_full,
                                          sim_fault::storage_busy,
                                          sim_fault::stall,
                                          sim_fault::crash,
                                          sim_fault::crash,
                                          sim_fault::crash,
                                          sim_fault::crash_in_recovery,
                                          sim_fault::power_cut,
                                          sim_fault::older_backup,
                                          sim_fault::clone,
                                          sim_fault::authority_storage_error,
                                          sim_fault::authority_crash,
                                          sim_fault::authority_power_cut,
                                          sim_fault::authority_rolled_back,
                                          sim_fault::clock_jump,
                                          sim_fault::clock_stuck,
                                          sim_fault::clock_drift,
                                          sim_fault::suspended,
                                          sim_fault::herd,
                                          sim_fault::other_principal,
                                          sim_fault::older_backup,
                                          sim_fault::clone,
                                          sim_fault::authority_rolled_back,
                                          sim_fault::failed_sync,
                                          sim_fault::contended};
        sim_fault const what = kinds[below(dice, kinds.size())];
        if (off(what)) { return; }
        bool const awake = p.up() && m.suspended_until <= now_;
        auto const plan = [&](store_type& s, errc code, fault_moment moment, bool sticky,
                              std::optional<storage_call> only = {}) {
            s.inject({1 + below(dice, roll(2) == 0 ? 12 : 90), code, moment, sticky, only});
        };
        trace(13, m.number, static_cast<std::uint64_t>(what));
        switch (what) {
            case sim_fault::replayed_request: {
                if (archive_.empty()) { return; }
                flight f;
                f.what = flight::kind::stray_request;
                f.message = archive_[below(dice, archive_.size())];
                post(std::move(f), roll(minute));
                break;
            }
            case sim_fault::replayed_reply: {
                if (replies_.empty()) { return; }
                auto const& [to, message] = replies_[below(dice, replies_.size())];
                flight f;
                f.what = flight::kind::stray_reply;
                f.machine = roll(4) == 0 ? m.number : to;
                f.process = static_cast<std::size_t>(roll(machines_[f.machine]->processes.size()));
                f.message = message;
                post(std::move(f), roll(minute));
                break;
            }
            case sim_fault::partition:
                m.out_blocked_until = m.in_blocked_until = now_ + roll(roll(3) == 0 ? day : 10 * minute);
                tell(name(m) + " is cut off");
                break;
            case sim_fault::one_way_partition:
                (roll(2) == 0 ? m.out_blocked_until : m.in_blocked_until) = now_ + roll(5 * minute);
                tell(name(m) + " is cut off one way");
                break;
            case sim_fault::clogged:
                for (auto& each : machines_) {
                    if (roll(3) != 0) { each->out_blocked_until = each->in_blocked_until = now_ + roll(3 * minute); }
                }
                break;
            case sim_fault::captive_portal: m.portal_until = now_ + roll(5 * minute); break;
            case sim_fault::misrouted: m.misrouted_until = now_ + roll(2 * minute); break;
            case sim_fault::garbage: {
                bytes message(static_cast<std::size_t>(roll(200)));
                fill(dice, message);
                if (roll(2) == 0 && !replies_.empty()) {
                    message = replies_[below(dice, replies_.size())].second;
                    for (std::int64_t n = roll(4); n >= 0; --n) { spoil(message, dice); }
                }
                if (roll(3) == 0) { message = page_with_a_gap(m, dice).value_or(message); }
                flight f;
                f.machine = m.number;
                f.process = p.number;
                f.what = roll(2) == 0 ? flight::kind::stray_request : flight::kind::stray_reply;
                f.message = std::move(message);
                post(std::move(f), 1);
                break;
            }
            case sim_fault::stranger: visit_of_a_stranger(dice); break;
            case sim_fault::storage_error:
                if (!awake) { return; }
                plan(*p.store, errc::storage_io, roll(2) == 0 ? fault_moment::midway : fault_moment::before, false);
                break;
            case sim_fault::storage_error_after:
                if (!awake) { return; }
                plan(*p.store, errc::storage_io, fault_moment::after, false,
                     roll(2) == 0 ? std::optional{storage_call::commit} : std::nullopt);
                break;
            case sim_fault::transaction_lost:
                if (!awake) { return; }
                plan(*p.store, errc::transaction_lost, fault_moment::before, false);
                break;
            case sim_fault::storage_full:
                if (!awake) { return; }
                p.store->inject(
                    {1 + below(dice, 5), errc::storage_full, fault_moment::before, true, storage_call::put});
                p.full_until = now_ + roll(20 * minute);
                break;
            case sim_fault::storage_busy:
                if (!awake) { return; }
                p.store->inject({1, errc::busy, fault_moment::before, roll(2) == 0, storage_call::begin});
                break;
            case sim_fault::failed_sync:
                if (!awake) { return; }
                p.store->inject({.nth = 1 + below(dice, 3),
                                 .moment = roll(2) == 0 ? fault_moment::after : fault_moment::before,
                                 .only = storage_call::commit,
                                 .poisons = true});
                break;
            case sim_fault::contended:
                if (!awake) { return; }
                p.store->inject(
                    {1 + below(dice, 3), errc::contended, fault_moment::before, false, storage_call::commit});
                break;
            case sim_fault::stall: m.suspended_until = now_ + roll(90 * second); break;
            case sim_fault::crash:
                if (!p.up()) { return; }
                if (roll(3) == 0) {
                    hit(what);
                    if (judge_.waiting(m.number) != 0) { reached(sim_point::recovered_with_frozen); }
                    kill(p, dice);
                } else {
                    p.doomed = true;
                    plan(*p.store, errc::storage_io, roll(3) == 0 ? fault_moment::after : fault_moment::before, true);
                }
                return;
            case sim_fault::crash_in_recovery:
                m.recoveries_to_fail = static_cast<std::uint32_t>(1 + roll(4));
                kill(p, dice);
                return;
            case sim_fault::power_cut: cut_power(m, dice); break;
            case sim_fault::older_backup: back_up_or_put_back(m, m, dice); return;
            case sim_fault::clone: back_up_or_put_back(*machines_[below(dice, machines_.size())], m, dice); return;
            case sim_fault::authority_storage_error:
                if (!office_.store) { return; }
                if (roll(2) == 0) {
                    office_.store->inject({1, errc::storage_io,
                                           roll(2) == 0 ? fault_moment::after : fault_moment::before, false,
                                           storage_call::commit});
                } else {
                    plan(*office_.store, errc::storage_io, roll(2) == 0 ? fault_moment::after : fault_moment::before,
                         false);
                }
                break;
            case sim_fault::authority_crash:
                if (!office_.store) { return; }
                office_.doomed = true;
                office_.down_until = now_ + roll(2 * minute);
                plan(*office_.store, errc::storage_io, roll(2) == 0 ? fault_moment::after : fault_moment::before, true);
                return;
            case sim_fault::authority_power_cut:
                close_office();
                tell("the authority loses power");
                office_.disk->power_cut(dice);
                judge_.authority_reopened(image_of(*office_.disk->open()), true);
                office_.down_until = now_ + roll(2 * minute);
                break;
            case sim_fault::authority_rolled_back: wrong_authority_for_a_while(dice); break;
            case sim_fault::other_principal:
                if (!awake) { return; }
                somebody_else(p, dice);
                break;
            case sim_fault::clock_jump: jump(m, dice); break;
            case sim_fault::clock_stuck: m.clock.stuck = reading(m, nullptr).wall.time_since_epoch().count(); break;
            case sim_fault::clock_drift:
                m.clock.stuck.reset();
                m.clock.drift_from = now_;
                m.clock.drift_ppm = roll(200'000) - 100'000;
                break;
            case sim_fault::suspended:
                m.suspended_until = now_ + roll(3 * day);
                tell(name(m) + " is put away for a while");
                break;
            case sim_fault::herd: {
                std::int64_t const until = now_ + 1 + roll(2 * day);
                for (auto& each : machines_) { each->suspended_until = until; }
                tell("everybody is away, and comes back at the same moment");
                break;
            }
            default: return;
        }
        hit(what);
    }

    /// A reply to a machine as a peer gives it that has lost count of what the machine holds.
    [[nodiscard]] std::optional<bytes> page_with_a_gap(machine const& m, random_generator& dice) {
        for (auto const& [to, message] : replies_) {
            auto p = decode_reply(message);
            if (to != m.number || !p || !judge_.answers(m.number, *p) || p->author == unknown_author) { continue; }
            position const cursor = judge_.cursor(m.number);
            if (judge_.head() <= cursor + 1) { return {}; }
            p->verdicts.clear();
            p->rows.clear();
            p->ranges.clear();
            p->own.clear();
            p->parts.clear();
            p->head = judge_.head();
            p->from = cursor + 1 + below(dice, p->head - cursor - 1);
            p->to = p->head;
            return encode(*p);
        }
        return {};
    }

    void jump(machine& m, random_generator& dice) {
        auto const sign = below(dice, 2) == 0 ? 1 : -1;
        constexpr std::int64_t year = 365 * day;
        static constexpr std::array<std::int64_t, 7> sizes{second, minute,    60 * minute, day,
                                                           year,   50 * year, 100 * year};
        static constexpr std::array<std::int64_t, 7> moments{0,
                                                             -11'644'473'600'000,
                                                             2'147'483'648'000,
                                                             4'294'967'296'000,
                                                             9'223'372'036'855,
                                                             140'737'488'355'327,
                                                             std::int64_t{1} << 60};
        m.clock.stuck.reset();
        m.clock.drift_ppm = 0;
        m.clock.drift_from = now_;
        if (below(dice, 6) == 0) {
            m.clock.offset = moments[below(dice, moments.size())] - now_;
        } else {
            m.clock.offset = sign * sizes[below(dice, sizes.size())];
        }
        if (m.clock.offset > 0) { reached(sim_point::clock_ahead_of_wall); }
        tell(name(m) + "'s clock jumps to " + std::to_string(reading(m, nullptr).wall.time_since_epoch().count()));
    }

    /// Another person signs in on a device, or speaks in its name: neither gets what is another's.
    void somebody_else(process& p, random_generator& dice) {
        machine& m = *p.home;
        judge_.begin(m.number, {deed::kind::open, {}, 0, reading(p), {}});
        auto const ok = in_transaction(p, [&](auto& tx) { return m.self.open(tx, "bob", reading(p), m.random); });
        judge_.check(!ok, invariant::authorisation, [&] { return "another principal opened the store of " + name(m); });
        settle(p);
        if (archive_.empty() || !office_.store) { return; }
        bytes const& request_of_anna = archive_[below(dice, archive_.size())];
        auto const q = decode_request(request_of_anna);
        if (!q || !judge_.knows(q->replica)) { return; }
        instant const now{wall(0), monotonic_time{milliseconds{now_}}};
        judge_.handling(request_of_anna, now, home_options_.stamp_ahead_max);
        auto const reply = serve(*office_.store, *home_, "bob", request_of_anna, now);
        judge_.check(!reply, invariant::authorisation,
                     [] { return std::string{"the authority answered another principal in a replica's name"}; });
    }

    /// Puts a machine's disk to a state that it, or another, had before, whatever waits in either.
    void back_up_or_put_back(machine& from, machine& to, random_generator& dice) {
        if (!from.backup || below(dice, 3) == 0) {
            from.backup = judge_.image(from.number);
            return;
        }
        hit(&from == &to ? sim_fault::older_backup : sim_fault::clone);
        tell(name(to) + (&from == &to ? " gets an older backup of itself back" : " becomes a copy of " + name(from)));
        for (auto& p : to.processes) {
            if (p->up()) {
                close(*p);
                restart_later(*p, 1 + static_cast<std::int64_t>(below(dice, minute)));
            }
        }
        put(*to.disk, *from.backup);
        judge_.device_replaced(to.number, *from.backup);
        if (judge_.waiting(to.number) != 0) { reached(sim_point::restored_with_work); }
        // What was under way to the one that it was may still come.
        for (auto const& [number, message] : replies_) {
            if (number != from.number || below(dice, 8) != 0) { continue; }
            flight f;
            f.what = flight::kind::stray_reply;
            f.machine = to.number;
            f.message = message;
            post(std::move(f), static_cast<std::int64_t>(below(dice, 3 * minute)));
        }
    }
    static void put(medium& disk, raw_image const& image) {
        auto handle = disk.open();
        raw_image const old = image_of(*handle);
        auto tx = handle->begin(access_mode::write);
        if (!tx) { return; }
        for (auto const& [k, v] : old) { (void)tx->erase(k); }
        for (auto const& [k, v] : image) { (void)tx->put(k, v); }
        (void)tx->commit();
        (void)handle->barrier();
    }

    /// Asks devices' questions of an authority that was put back to an older state, and that others have used since:
    /// nothing of it may be believed by who knows more.
    void wrong_authority_for_a_while(random_generator& dice) {
        if (!old_authority_ || below(dice, 3) == 0) {
            old_authority_ = judge_.authority_image();
            return;
        }
        memory_storage old;
        {
            auto tx = old.begin(access_mode::write);
            for (auto const& [k, v] : *old_authority_) { (void)tx->put(k, v); }
            (void)tx->commit();
        }
        authority_type const there{simulated_rules(), home_options_, accept_everything()};
        instant const now{wall(0), monotonic_time{milliseconds{now_}}};
        request q;
        q.replica = {make_id(wall(0), dice), 1};
        for (std::uint64_t n = 1; n <= below(dice, 3) * 20; ++n) {
            mutation c;
            c.sequence = n;
            c.kind = change_kind::create;
            c.record = {"things", std::string_view{"x" + std::to_string(n)}};
            c.stamp = timestamp::make(wall(0));
            bytes raw;
            cbor_writer w{raw};
            encode_mutation(w, c);
            q.mutations.push_back(std::move(raw));
        }
        q.receipts = 0;
        (void)serve(old, there, "mallory", encode(q), now);
        for (auto& m : machines_) {
            process& p = *m->processes[0];
            if (!p.up() || p.awaiting) { continue; }
            result<bytes> message = errc::not_found;
            {
                auto tx = p.handle->begin(access_mode::read);
                if (tx) { message = m->self.request_message(*tx); }
            }
            auto const asked = message ? decode_request(*message) : result<request>{errc::not_found};
            if (!asked) { continue; }
            bool const knows_more = asked->cursor > judge_.head_of(*old_authority_) ||
                                    asked->receipts > judge_.decided_of(*old_authority_, asked->replica);
            if (!knows_more) { continue; }
            auto const reply = serve(old, there, "anna", *message, now);
            if (!reply) { continue; }
            auto const answer = decode_reply(*reply);
            bool const blind = answer && answer->author != unknown_author && asked->cursor <= answer->head &&
                               asked->receipts <= judge_.decided_of(*old_authority_, asked->replica);
            if (blind) { continue; }
            raw_image const before = judge_.image(m->number);
            feed(p, received{*reply}, deed::kind::receive, xxh3_64(*reply));
            judge_.check(answer && answer->author == unknown_author && same_but_events(before, judge_.image(m->number)),
                         invariant::epoch_honesty,
                         [&] { return name(*m) + " believed an authority that was put back"; });
        }
    }
    [[nodiscard]] static simulated_validation accept_everything() { return {}; }
    /// Told events may be forgotten, nothing else may differ.
    [[nodiscard]] static bool same_but_events(raw_image const& a, raw_image const& b) {
        for (auto const& [k, v] : b) {
            auto const it = a.find(k);
            if (it == a.end() || it->second != v) { return false; }
        }
        return std::all_of(a.begin(), a.end(), [&](auto const& e) {
            return b.count(e.first) != 0 || (e.first.size() > 1 && e.first[1] == std::byte{'e'});
        });
    }

    /// Somebody whose messages are well-formed and meant to harm.
    void visit_of_a_stranger(random_generator& dice) {
        auto const roll = [&](std::uint64_t n) { return below(dice, n); };
        request q;
        q.replica = {make_id(wall(0), dice), 1};
        if (roll(2) == 0 && stranger_) { q.replica = *stranger_; }
        bool const fresh = !stranger_ || !(*stranger_ == q.replica);
        stranger_ = q.replica;
        judge_.stranger(q.replica);
        std::uint64_t sequence = fresh ? 1 : 1 + roll(3);
        if (roll(4) == 0) {
            sequence += 5;
            reached(sim_point::gap_refused);
        }
        for (std::uint64_t n = 0; n < 1 + roll(3); ++n) {
            mutation c;
            c.sequence = sequence + n;
            c.kind = static_cast<change_kind>(1 + roll(3));
            c.record = {"things", std::string_view{"s" + std::to_string(roll(2))}};
            c.stamp =
                timestamp{roll(3) == 0 ? ~std::uint64_t{0} - roll(3) : timestamp::make(wall(0)).raw + roll(1'000)};
            if (c.stamp.raw > ~std::uint64_t{0} - 4) { reached(sim_point::stamp_bounded); }
            c.life = roll(4) == 0 ? ~std::uint64_t{0} : 1 + roll(3);
            c.base = roll(4) == 0 ? ~std::uint64_t{0} : roll(judge_.head() + 1);
            if (c.kind != change_kind::erase) {
                c.ops.push_back({"count", roll(2) == 0 ? op_kind::add : op_kind::set,
                                 naive_item(roll(2) == 0 ? (std::numeric_limits<std::int64_t>::max)() : 1), c.stamp});
                c.ops.push_back({"name", op_kind::set, naive_item(static_cast<std::int64_t>(16 * roll(1'000))),
                                 timestamp{roll(2) == 0 ? ~std::uint64_t{0} : c.stamp.raw}});
            }
            bytes raw;
            cbor_writer w{raw};
            encode_mutation(w, c);
            q.mutations.push_back(std::move(raw));
        }
        flight f;
        f.what = flight::kind::stray_request;
        f.message = encode(q);
        f.is_stranger = true;
        post(std::move(f), 1);
    }

    // After the trouble.

    void calm_down() {
        calm_ = true;
        tell("the trouble is over");
        for (auto& m : machines_) {
            m->suspended_until = 0;
            m->recoveries_to_fail = 0;
            if (!clocks_stay_wrong_) { m->clock = {}; }
            for (auto& p : m->processes) {
                if (p->store && p->store->poisoned()) { close(*p); }
                if (p->store) { p->store->heal(); }
                p->doomed = false;
                boot(*p);
            }
        }
        if (office_.store) { office_.store->heal(); }
        office_.doomed = false;
        office_.down_until = 0;
        machine& newcomer = add_machine(joiner_);
        for (auto& p : newcomer.processes) { boot(*p); }
        reached(sim_point::late_joiner);

        bool rest = false;
        for (std::size_t n = 0; n < options_.calm_steps && judge_.found().empty(); ++n) {
            rest = at_rest();
            if (rest || !turn(now_ + 30 * day)) { break; }
        }
        if (!judge_.found().empty()) { return; }
        if (!judge_.check(rest, invariant::liveness, [&] { return unrest(); })) { return; }
        reached(sim_point::quiet_after_trouble);
        judge_.at_rest();
        for (auto& m : machines_) {
            for (auto& p : m->processes) {
                compare_shown(*p);
                std::vector<open_conflict> open;
                std::vector<outbox_entry> dead;
                auto tx = p->handle->begin(access_mode::read);
                if (tx && parked(*tx, *m, open, dead)) { judge_parked(*m, open, dead); }
            }
        }
        trace(14, judge_.head(), report_.steps);
    }
    [[nodiscard]] bool at_rest() {
        if (!flights_.empty()) { return false; }
        for (auto& m : machines_) {
            if (judge_.waiting(m->number) != 0 || judge_.cursor(m->number) != judge_.head()) { return false; }
            if (judge_.wants(m->number)) { return false; }
            for (auto& p : m->processes) {
                if (!p->up() || p->awaiting || p->paused) { return false; }
            }
        }
        return true;
    }
    [[nodiscard]] std::string unrest() {
        std::string text = "healed, and not at rest:";
        for (auto& m : machines_) {
            text += ' ' + name(*m) + " waits with " + std::to_string(judge_.waiting(m->number)) + " at " +
                    std::to_string(judge_.cursor(m->number)) + " of " + std::to_string(judge_.head());
            for (auto& p : m->processes) {
                if (p->paused) { text += std::string{" (paused: "} + message(p->paused->code) + ")"; }
            }
            text += ';';
        }
        return text;
    }

    Setup setup_;
    simulation_options options_;
    simulation_report report_{};
    judge judge_;

    std::int64_t now_ = begin_time;
    std::uint64_t serial_ = 0;
    std::uint64_t exchanges_ = 0;
    std::uint64_t values_ = 0;
    bool calm_ = false;

    std::uint64_t swarm_off_ = 0;
    std::array<std::uint64_t, sim_fault_count> rate_{};
    bool hasty_ = false;  ///< hosts turn to the session after each write
    bool slow_ = false;
    bool clocks_stay_wrong_ = false;
    std::uint64_t keys_ = 3;
    random_generator joiner_{};

    authority_options home_options_{};
    std::optional<authority_type> home_{};
    std::optional<authority_type> other_{};
    std::optional<memory_storage> other_handle_{};
    office office_{};
    std::vector<std::unique_ptr<machine>> machines_{};
    std::vector<flight> flights_{};
    std::vector<bytes> archive_{};
    std::vector<std::pair<std::size_t, bytes>> replies_{};
    std::optional<replica_id> stranger_{};
    std::optional<raw_image> old_authority_{};
};

/// Runs one seed.
template <class Setup = simulated_setup>
[[nodiscard]] simulation_report simulate(std::uint64_t seed, simulation_options options = {}, Setup setup = {}) {
    return simulation<Setup>{seed, std::move(options), std::move(setup)}.run();
}

/// How much work a search for a smaller failure may take. Both are counts, so that the same seed shrinks to the same
/// everywhere.
struct shrinking_budget {
    std::size_t runs = 1'000;         ///< of the seed
    std::uint64_t steps = 1'000'000;  ///< of all the runs together; the one in which they end is finished
};

/// The options under which a failing seed still breaks the same invariant, with as few devices, kinds of faults, deeds
/// and mishaps as the budget lets it find: when that is used up, the best so far. `run(options)` runs the seed again
/// and gives its report. With `tell` set in them, one more run tells the story.
template <class Run>
[[nodiscard]] simulation_options shrink_simulation(simulation_report const& failed, simulation_options options,
                                                   Run&& run, shrinking_budget budget = {}) {
    SYNCLINE_ASSERT(!failed.found.empty());
    auto const fails = [&](simulation_options const& o) {
        if (budget.runs == 0 || budget.steps == 0) { return false; }
        simulation_report const again = run(o);
        --budget.runs;
        budget.steps -= (std::min)(budget.steps, (std::max)(again.steps, std::uint64_t{1}));
        return !again.found.empty() && again.found[0].axiom == failed.found[0].axiom;
    };
    auto const leave_out = [&] {
        if (!options.only) {
            options.only.emplace();
            for (std::uint32_t n = 0; n < failed.planned; ++n) { options.only->push_back(n); }
        }
        auto const without = [&](std::vector<std::uint32_t> const& kept) {
            simulation_options o = options;
            o.only = kept;
            return fails(o);
        };
        options.only = shrink(*options.only, without, 500).parts;
    };
    for (std::size_t machines = 2; machines < options.machines_max; ++machines) {
        simulation_options fewer = options;
        fewer.machines_max = machines;
        if (!fails(fewer)) { continue; }
        options = fewer;
        break;
    }
    leave_out();
    for (std::size_t f = 0; f < sim_fault_count; ++f) {
        simulation_options calmer = options;
        calmer.faults_off |= std::uint64_t{1} << f;
        if (fails(calmer)) { options = calmer; }
    }
    leave_out();
    return options;
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
