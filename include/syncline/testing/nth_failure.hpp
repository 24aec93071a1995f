// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Lets the n-th storage call, exchange or allocation of an operation fail, for n = 1, 2, …, and looks what is left.

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/storage/storage.hpp>
#include <syncline/testing/faulty_storage.hpp>
#include <syncline/testing/faulty_transport.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

// ---- Allocations ---------------------------------------------------------------------------------------------

namespace detail {

struct allocation_plan {
    bool armed = false;
    bool sticky = false;
    std::uint64_t nth = 0;
    std::uint64_t seen = 0;
    std::uint64_t failed = 0;
};
/// A thread's own: others' allocations never fail.
inline thread_local constinit allocation_plan allocations{};

}  // namespace detail

/// For the test program that wants allocations to fail too: in one of its files it replaces four functions,
///
///     void* operator new(std::size_t size) { return syncline::testing::allocate(size); }
///     void* operator new(std::size_t size, std::nothrow_t const&) noexcept {
///         return syncline::testing::try_allocate(size);
///     }
///     void operator delete(void* p) noexcept { syncline::testing::deallocate(p); }
///     void operator delete(void* p, std::size_t) noexcept { syncline::testing::deallocate(p); }
///
/// and `nth_failure` notices. Null where a failure is planned.
[[nodiscard]] inline void* try_allocate(std::size_t size) noexcept {
    detail::allocation_plan& plan = detail::allocations;
    bool fails = false;
    if (plan.armed) {
        ++plan.seen;
        fails = plan.seen == plan.nth || (plan.sticky && plan.seen > plan.nth);
        plan.failed += fails ? 1 : 0;
    }
    return fails ? nullptr : std::malloc(size == 0 ? 1 : size);
}
/// The same, and throws `std::bad_alloc` instead of answering null; without exceptions it ends the program.
[[nodiscard]] inline void* allocate(std::size_t size) {
    void* const p = try_allocate(size);
    if (p == nullptr) {
#if defined(__cpp_exceptions)
        throw std::bad_alloc{};
#else
        std::abort();
#endif
    }
    return p;
}
inline void deallocate(void* p) noexcept { std::free(p); }

// ---- Report --------------------------------------------------------------------------------------------------

/// What was done to an operation, and what it did wrong.
struct nth_failure_report {
    std::uint64_t runs = 0;                                   ///< with a failure in them
    std::array<std::uint64_t, storage_call_count> storage{};  ///< those in which a storage call failed, by its kind
    std::array<std::uint64_t, all_transport_faults.size()> exchanges{};  ///< … an exchange was spoiled, by the fault
    std::uint64_t allocations = 0;                                       ///< … an allocation failed
    std::vector<violation> violations{};                                 ///< the first of each axiom
};

/// What is tried.
struct nth_failure_options {
    std::vector<errc> codes{errc::storage_io, errc::transaction_lost};  ///< that storage calls fail with
    /// The operation is several transactions: the states between them are whole too, as the run without failures
    /// makes them. One transaction has no state between.
    bool several_transactions = false;
    /// Done once more after it took effect, the operation succeeds and changes nothing further.
    bool repeatable = false;
    std::uint64_t nth_max = 100'000;  ///< an operation that goes on failing so long does not end
};

/// The storage that an operation under check works on.
using failing_storage = faulty_storage<memory_storage>;

/// SHA-256 of every key and value; equal digests, equal content. Nothing when it can't be read.
struct content_fingerprint {
    [[nodiscard]] std::optional<sha256_digest> operator()(memory_storage& store) const {
        auto tx = store.begin(access_mode::read);
        if (!tx) { return std::nullopt; }
        sha256_hasher hasher;
        auto const add = [&](bytes_view b) {
            bytes length;
            append_u64(length, b.size());
            hasher.update(length);
            hasher.update(b);
        };
        auto const ok = tx->scan({}, [&](bytes_view key, bytes_view value) {
            add(key);
            add(value);
            return true;
        });
        if (!ok) { return std::nullopt; }
        return hasher.finish();
    }
};

namespace detail {

struct no_world {};

[[nodiscard]] constexpr char const* name(storage_call c) noexcept {
    constexpr std::array names{"begin", "get", "put", "erase", "scan", "commit", "barrier"};
    return names[static_cast<std::size_t>(c)];
}
[[nodiscard]] constexpr char const* name(transport_fault f) noexcept {
    constexpr std::array names{"undelivered",      "with its reply lost",    "with its reply late",
                               "refused",          "delivered twice",        "delivered again later",
                               "with a cut reply", "with a corrupted reply", "answered by a foreign page"};
    return names[static_cast<std::size_t>(f)];
}

/// One plan of failure, carried out on fresh states.
template <class Make, class Operate, class Fingerprint>
class failure_runs {
public:
    failure_runs(Make const& make, Operate const& operate, Fingerprint const& fingerprint,
                 nth_failure_options const& options)
        : make_(make), operate_(operate), fingerprint_(fingerprint), options_(options) {}

    [[nodiscard]] nth_failure_report report() && {
        if (!clean_run()) { return std::move(report_); }
        for (std::size_t kind = 0; kind < storage_call_count; ++kind) { storage(static_cast<storage_call>(kind)); }
        exchanges();
        allocations();
        return std::move(report_);
    }

private:
    /// A state of its own, and what the operation works with besides.
    struct scene {
        memory_storage inner{};
        failing_storage store{inner};
    };
    static constexpr bool has_world = !std::is_void_v<std::invoke_result_t<Make const&, failing_storage&>>;

    template <class World>
    [[nodiscard]] auto print(scene& s, [[maybe_unused]] World& w) const {
        if constexpr (std::invocable<Fingerprint const&, memory_storage&, World&>) {
            return fingerprint_(s.inner, w);
        } else {
            return fingerprint_(s.inner);
        }
    }
    template <class World>
    [[nodiscard]] auto operate(scene& s, [[maybe_unused]] World& w) const {
        if constexpr (std::invocable<Operate const&, failing_storage&, World&>) {
            return operate_(s.store, w);
        } else {
            return operate_(s.store);
        }
    }
    /// Whether it says that it succeeded; running out of memory is another way to say no.
    template <class World>
    [[nodiscard]] bool succeeds(scene& s, World& w) const {
#if defined(__cpp_exceptions)
        try {
            return static_cast<bool>(operate(s, w));
        } catch (std::bad_alloc const&) {
            detail::allocations.armed = false;
            return false;
        }
#else
        return static_cast<bool>(operate(s, w));
#endif
    }
    /// Calls `f(scene, world)` on a fresh state.
    template <class F>
    auto on_fresh(F&& f) const {
        scene s;
        if constexpr (has_world) {
            auto w = make_(s.store);
            return f(s, w);
        } else {
            make_(s.store);
            no_world w;
            return f(s, w);
        }
    }
    [[nodiscard]] static auto world_type() {
        if constexpr (has_world) {
            return std::type_identity<std::invoke_result_t<Make const&, failing_storage&>>{};
        } else {
            return std::type_identity<no_world>{};
        }
    }
    using world = typename decltype(world_type())::type;
    [[nodiscard]] static auto state_type() {
        if constexpr (std::invocable<Fingerprint const&, memory_storage&, world&>) {
            return std::type_identity<std::invoke_result_t<Fingerprint const&, memory_storage&, world&>>{};
        } else {
            return std::type_identity<std::invoke_result_t<Fingerprint const&, memory_storage&>>{};
        }
    }
    using state = typename decltype(state_type())::type;

    void broken(std::string_view axiom, std::string const& after, std::string const& what) {
        if (breaks(report_.violations, axiom)) { return; }
        report_.violations.push_back({std::string{axiom}, after + ": " + what});
    }

    [[nodiscard]] bool clean_run() {
        return on_fresh([&](scene& s, auto& w) {
            known_.push_back(print(s, w));
            if (!succeeds(s, w)) {
                broken("succeeds", "without any failure", "it fails");
                return false;
            }
            known_.push_back(print(s, w));
            if (options_.several_transactions) { between(); }
            return true;
        });
    }
    /// The states after each transaction of the operation: its first n commits succeed, no later one.
    void between() {
        for (std::uint64_t n = 1;; ++n) {
            bool const ended = on_fresh([&](scene& s, auto& w) {
                s.store.inject({n, errc::storage_io, fault_moment::before, true, storage_call::commit});
                (void)succeeds(s, w);
                s.store.heal();
                if (s.store.faults() != 0) { known_.push_back(print(s, w)); }
                return s.store.faults() == 0;
            });
            if (ended || n == options_.nth_max) { return; }
        }
    }

    void storage(storage_call kind) {
        for (errc const code : options_.codes) {
            for (fault_moment const moment : {fault_moment::before, fault_moment::after, fault_moment::midway}) {
                if (moment == fault_moment::midway && kind != storage_call::scan) { continue; }
                for (bool const sticky : {false, true}) {
                    auto const plan = [&](scene& s, auto&, std::uint64_t n) {
                        s.store.inject({n, code, moment, sticky, kind});
                    };
                    auto const undo = [&](scene& s, auto&) {
                        s.store.heal();
                        return s.store.faults() != 0;
                    };
                    auto const told = [&](std::uint64_t n) {
                        return std::string{name(kind)} + " no. " + std::to_string(n) +
                               (moment == fault_moment::before  ? " failed"
                                : moment == fault_moment::after ? " was done and failed"
                                                                : " failed after its first key") +
                               (sticky ? " with all after it" : "") + " (" + message(code) + ')';
                    };
                    report_.storage[static_cast<std::size_t>(kind)] += each(plan, undo, told);
                }
            }
        }
    }
    void exchanges() {
        if constexpr (requires(world & w) { w.way.spoil(1, transport_fault::refused, 1); }) {
            for (transport_fault const fault : all_transport_faults) {
                auto const plan = [&](scene&, auto& w, std::uint64_t n) {
                    before_ = w.way.spoiled();
                    w.way.spoil(static_cast<std::size_t>(n), fault, n * 7'919);
                };
                auto const undo = [&](scene&, auto& w) {
                    w.way.spare();
                    return w.way.spoiled() != before_;
                };
                auto const told = [&](std::uint64_t n) {
                    return "exchange no. " + std::to_string(n) + ' ' + name(fault);
                };
                report_.exchanges[static_cast<std::size_t>(fault)] += each(plan, undo, told);
            }
        }
    }
    void allocations() {
#if defined(__cpp_exceptions)
        if (!hooked()) { return; }
        for (bool const sticky : {false, true}) {
            auto const plan = [&](scene&, auto&, std::uint64_t n) {
                detail::allocations = {false, sticky, n, 0, 0};
                detail::allocations.armed = true;
            };
            auto const undo = [&](scene&, auto&) {
                detail::allocations.armed = false;
                return detail::allocations.failed != 0;
            };
            auto const told = [&](std::uint64_t n) {
                return "allocation no. " + std::to_string(n) + " failed" + (sticky ? " with all after it" : "");
            };
            report_.allocations += each(plan, undo, told);
        }
#endif
    }
#if defined(__cpp_exceptions)
    /// Whether the program's operator new is one that asks us.
    [[nodiscard]] static bool hooked() {
        detail::allocations = {true, false, 1, 0, 0};
        bool asked = false;
        try {
            ::operator delete(::operator new(1));
        } catch (std::bad_alloc const&) { asked = true; }
        detail::allocations.armed = false;
        return asked;
    }
#endif

    /// For n = 1, 2, …: a fresh state, the plan, the operation, the checks; until nothing fails any more. How many
    /// times something did.
    template <class Plan, class Undo, class Told>
    [[nodiscard]] std::uint64_t each(Plan const& plan, Undo const& undo, Told const& told) {
        for (std::uint64_t n = 1; n <= options_.nth_max; ++n) {
            bool const failed = on_fresh([&](scene& s, auto& w) {
                plan(s, w, n);
                bool const success = succeeds(s, w);
                if (!undo(s, w)) { return false; }
                ++report_.runs;
                look(s, w, success, told(n));
                return true;
            });
            if (!failed) { return n - 1; }
        }
        broken("ends", told(options_.nth_max), "it has not succeeded yet");
        return options_.nth_max;
    }
    template <class World>
    void look(scene& s, World& w, bool success, std::string const& after) {
        if (!s.inner.begin(access_mode::write)) {
            broken("closed", after, "a transaction is left open");
            return;
        }
        state const now = print(s, w);
        bool const done = now == known_[1];
        if (success) {
            if (!done) { broken("reported", after, "it says that it succeeded, and the new state is not there"); }
            return;
        }
        if (std::find(known_.begin(), known_.end(), now) == known_.end()) {
            broken("whole", after, "the state is neither the old one nor the new one");
        }
        // What was told to have failed and took effect is done again only where that is said to do no harm.
        if (done && !(known_[0] == known_[1]) && !options_.repeatable) { return; }
        if (!succeeds(s, w)) {
            broken("retry", after, "it fails again, with nothing in its way");
        } else if (!(print(s, w) == known_[1])) {
            broken("retried", after, "done again it succeeds, and the new state is not there");
        }
    }

    Make const& make_;
    Operate const& operate_;
    Fingerprint const& fingerprint_;
    nth_failure_options const& options_;
    std::vector<state> known_{};  // old, new, then those between
    std::size_t before_ = 0;
    nth_failure_report report_{};
};

}  // namespace detail

/// Runs an operation again and again on fresh equal states, each time with another call failing: every storage call, by
/// `faulty_storage`, once and from then on, before its effect and after it, a scan also after its first key; every exchange, in every way that
/// `faulty_transport` knows, where there is one; every allocation, where the program's operator new asks (`allocate`).
///
/// `make(failing_storage&)` brings an empty store into the state before, and may give a world: whatever the operation
/// works with that lives on when it fails. A world with a member `way`, a `faulty_transport`, has its exchanges
/// spoiled. `operate(failing_storage&)`, or `operate(failing_storage&, world&)`, begins and commits its own
/// transactions and answers a status, a `result` or a bool. `fingerprint(memory_storage&)`, or `(memory_storage&,
/// world&)`, tells one state from another. All three must do the same each time: a seed, not a clock.
///
/// Axioms, by the names that violations have:
///   `succeeds`: nothing failing, the operation succeeds.
///   `closed`: no transaction is left open.
///   `whole`: the state is the old one or the new one (or one between two transactions, if there are several).
///   `reported`: success is said only when the new state is there.
///   `retry`, `retried`: with nothing failing any more, the same operation on the same world succeeds, and the new
///   state is there. Not tried where the effect took place and the operation is not `repeatable`.
///   `ends`: it succeeds when nothing fails.
template <class Make, class Operate, class Fingerprint = content_fingerprint>
[[nodiscard]] nth_failure_report nth_failure(Make const& make, Operate const& operate,
                                             nth_failure_options const& options = {},
                                             Fingerprint const& fingerprint = {}) {
    return detail::failure_runs<Make, Operate, Fingerprint>(make, operate, fingerprint, options).report();
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
