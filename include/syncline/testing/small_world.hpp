// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What small simulated worlds have in common: a judge, devices, their authority, and messages between them that are
/// lost, doubled, late, or answered by an end that dies.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/time.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/testing/naive_merge.hpp>
#include <syncline/testing/simulated_machine.hpp>
#include <syncline/testing/step_dice.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What every small world promises, by the names under which a breach is reported.
struct small_promise {
    static constexpr char const* honest = "honest_errors";  ///< no call fails but for a reason that is documented
    static constexpr char const* rest = "liveness";         ///< what is healed comes to rest
};

namespace detail {

/// Of a canonical map with text keys, one field; a naive reading.
[[nodiscard]] inline std::optional<bytes> small_field(bytes_view fields, std::string_view name) {
    cbor_map_cursor at{fields};
    while (!fields.empty() && at.next()) {
        if (at.key() == name) { return to_bytes(at.value()); }
    }
    return std::nullopt;
}
[[nodiscard]] inline std::int64_t small_number(bytes_view fields, std::string_view name) {
    auto const found = small_field(fields, name);
    return found ? naive_integer(*found).value_or(0) : 0;
}
[[nodiscard]] inline bytes small_text(std::string_view s) {
    bytes out;
    cbor_writer{out}.text(s);
    return out;
}
[[nodiscard]] inline field_op small_set(std::string_view name, bytes value) {
    return {std::string{name}, op_kind::set, std::move(value), {}};
}
/// Canonical fields of these.
[[nodiscard]] inline bytes small_fields(std::map<std::string, bytes> const& all) {
    std::vector<std::pair<std::string_view, bytes_view>> sorted{all.begin(), all.end()};
    std::sort(sorted.begin(), sorted.end(),
              [](auto const& a, auto const& b) { return compare_keys(a.first, b.first) < 0; });
    bytes out;
    cbor_writer w{out};
    w.map(sorted.size());
    for (auto const& [name, value] : sorted) {
        w.text(name);
        w.raw(value);
    }
    return out;
}

/// One device: a machine with a replica on it, and its messages that are under way.
template <class Replica>
struct small_device {
    std::string name;   ///< its principal's
    std::string label;  ///< by which the story tells of it
    simulated_machine box{};
    Replica self;
    random_generator random;
    milliseconds ahead{0};  ///< of its clock
    std::vector<bytes> requests{};
    std::vector<bytes> replies{};

    template <class... Parts>
    small_device(std::string who, std::uint64_t seed, Parts&&... parts)
        : name(std::move(who)), label(name), self(std::forward<Parts>(parts)...), random(seed) {}
    small_device(small_device const&) = delete;
    small_device& operator=(small_device const&) = delete;
};

/// The world itself. `Report` has faults, power_cuts and trace besides.
template <class Options, class Report, class Device, class Authority = authority<>>
class small_world : protected small_life<Options, Report> {
    using life = small_life<Options, Report>;

protected:
    using life::draw, life::draw_number, life::draw_of, life::fine, life::holds, life::tell;
    using life::options_, life::random_, life::report_;

    static constexpr int rest_max = 3'000;  ///< exchanges until all is at rest

    small_world(std::uint64_t seed, std::uint64_t kind, Options const& o)
        : life(seed, seed * 2'654'435'761U + kind, o) {}

    /// The steps, each a second after the one before.
    template <class Deed>
    void live(step_dice& dice, Deed&& deed) {
        life::live(dice, [&] {
            pass(1'000);
            deed();
        });
    }
    /// How the last attempt ended, where it is told.
    [[nodiscard]] std::string ending(bool took) const {
        return took             ? std::string{}
               : why_ != errc{} ? std::string{", which fails: "} + message(why_)
                                : std::string{", and dies before the commit"};
    }

    /// Now and then pages and requests of a few.
    void draw_pages(replica_options& r) {
        r.rows_max = draw(2) == 0 ? 1 + draw(4) : 1'000;
        if (draw(2) == 0) { r.mutations_max = static_cast<std::size_t>(1 + draw(3)); }
    }
    void pass(std::int64_t ms) {
        now_.wall += milliseconds{ms};
        now_.monotonic += milliseconds{ms};
    }
    [[nodiscard]] instant now_of(Device const& d) const {
        instant at = now_;
        at.wall += d.ahead;
        return at;
    }
    void trace(bytes_view what) { report_.trace = report_.trace * 1'099'511'628'211U + crc32c(what); }
    bool honest(bool ok, std::string_view what) { return holds(ok, small_promise::honest, what); }

    void open_home() {
        honest(home_.attempt([&](auto& tx) { return cloud_->open(tx, now_, random_); }).took,
               "the authority does not open");
    }
    void open(Device& d) {
        honest(d.box.attempt([&](auto& tx) { return d.self.open(tx, d.name, now_of(d), d.random); }).took,
               "a replica does not open");
    }
    void cut(Device& d) {
        ++report_.power_cuts;
        tell(d.label + " loses power");
        d.box.cut(random_);
        if (draw(2) == 0) { open(d); }
    }
    void cut_home() {
        ++report_.power_cuts;
        tell("the authority loses power");
        home_.cut(random_);
    }

    /// In one transaction that may go wrong; whether it was committed. `failed_` and `why_` say why not.
    template <class F>
    bool attempt(Device& d, F&& f) {
        auto const out = d.box.attempt(draw_mishap(random_), f);
        report_.faults += out.faulty ? 1 : 0;
        failed_ = out.faulty;
        why_ = out.why;
        return out.took;
    }
    /// Whether the last attempt went on, or its storage failed, or it was refused for one of these reasons.
    template <class... Codes>
    bool excused(std::string const& what, Codes... codes) {
        bool const ok = failed_ || why_ == errc{} || (... || (why_ == codes));
        return honest(ok, ok ? what : what + ": " + message(why_));
    }

    // Messages.

    void ask(Device& d) {
        bool const took = attempt(d, [&](auto& tx) { return d.self.prepare(tx, now_of(d)); });
        excused(d.name + " can't prepare a request");
        tell(d.label + " asks" + ending(took));
        if (!took) { return; }
        auto q = d.box.read([&](auto& tx) { return d.self.request_message(tx); });
        if (!honest(q.has_value(), "no request can be made")) { return; }
        trace(*q);
        d.requests.push_back(std::move(*q));
    }
    /// One request gets home, or doesn't; its answer comes back, or doesn't; it may come again later. Whether home may
    /// have changed.
    bool answer(Device& d) {
        if (d.requests.empty()) { return false; }
        auto const i = static_cast<std::size_t>(draw(d.requests.size()));
        std::uint64_t const fate = draw(10);
        if (fate != 0) {
            bytes said;
            auto const out = home_.attempt(draw_mishap(random_), [&](auto& tx) {
                auto p = cloud_->handle(tx, d.name, d.requests[i], now_);
                if (p) { said = *p; }
                return p;
            });
            report_.faults += out.faulty ? 1 : 0;
            honest(out.why == errc{} || out.faulty, std::string{"no answer: "} + message(out.why));
            tell("the authority answers " + d.label + (out.took ? "" : ", and dies before the commit") +
                 (fate == 1   ? ", and the answer is lost"
                  : fate == 2 ? ", and will be asked once more"
                              : ""));
            if (out.took) {
                trace(said);
                if (fate != 1) { d.replies.push_back(std::move(said)); }
            }
        }
        if (fate != 2) { d.requests.erase(d.requests.begin() + static_cast<std::ptrdiff_t>(i)); }
        return fate != 0;
    }
    void hear(Device& d) {
        if (d.replies.empty()) { return; }
        auto const i = static_cast<std::size_t>(draw(d.replies.size()));
        bytes const heard = d.replies[i];
        if (draw(8) != 0) { d.replies.erase(d.replies.begin() + static_cast<std::ptrdiff_t>(i)); }
        bool const took = attempt(d, [&](auto& tx) { return taken(d.self.absorb(tx, heard, now_of(d), d.random)); });
        excused("a reply is not taken", errc::foreign);  // one that much has overtaken
        tell(d.label + " takes an answer in" + ending(took));
    }
    /// Some exchanges, one after the other, as far as they get; `judge()` where home may have changed.
    template <class Judge>
    void exchange_some(Device& d, std::uint64_t most, Judge&& judge) {
        for (std::uint64_t n = 1 + draw(most); n != 0 && fine(); --n) {
            ask(d);
            if (answer(d)) { judge(); }
            hear(d);
        }
    }
    /// A whole exchange on sound machines; whether there is more to do.
    bool exchange(Device& d) {
        bool more = false;
        bytes q, said;
        bool ok = d.box
                      .attempt([&](auto& tx) -> status {
                          if (auto frozen = d.self.prepare(tx, now_of(d)); !frozen) { return frozen; }
                          auto made = d.self.request_message(tx);
                          if (made) { q = *made; }
                          return made ? status{} : made.error();
                      })
                      .took;
        ok = ok && home_
                       .attempt([&](auto& tx) {
                           auto made = cloud_->handle(tx, d.name, q, now_);
                           if (made) { said = *made; }
                           return made;
                       })
                       .took;
        ok = ok && d.box
                       .attempt([&](auto& tx) {
                           auto r = taken(d.self.absorb(tx, said, now_of(d), d.random));
                           if (r) { more = r->more; }
                           return r;
                       })
                       .took;
        if (!honest(ok, "an exchange fails on sound machines")) { return false; }
        trace(said);
        return more;
    }
    /// Exchanges until there is no more to do; `left` is what may still be needed.
    void settle(Device& d, int& left) {
        while (fine() && exchange(d)) { holds(--left > 0, small_promise::rest, "it does not come to rest"); }
    }

    instant now_{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1'000}}};
    simulated_machine home_{};
    std::unique_ptr<Authority> cloud_{};
    std::vector<std::unique_ptr<Device>> devices_{};
    bool failed_ = false;        ///< a storage call of the last attempt did
    errc why_{};                 ///< what the last attempt said
    std::uint64_t relayed_ = 0;  ///< envelopes of others that were told to be home

private:
    template <class R>
    [[nodiscard]] R taken(R report) {
        if (report) { relayed_ += report->relayed; }
        return report;
    }
};

}  // namespace detail

}  // namespace syncline::inline SYNCLINE_ABI::testing
