// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Groups of records in a simulated world: branches of a bank, bad disks, a network that loses, doubles and delays, judged
/// by the books, which must be right in every stored state.

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
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/testing/faulty_storage.hpp>
#include <syncline/testing/naive_merge.hpp>
#include <syncline/testing/simulated_disk.hpp>
#include <syncline/testing/step_dice.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What groups promise, by the names under which a breach is reported.
struct group_promise {
    /// In every stored state, at home and on each device that has all: each account is what the ledger says, visible and
    /// confirmed; so the sum of all is what it was at first.
    static constexpr char const* whole = "group_atomicity";
    static constexpr char const* kept = "nothing_lost";  ///< at rest each group took effect or is a dead letter, whole
    static constexpr char const* same = "convergence";   ///< at rest all hold what the authority holds
    static constexpr char const* honest = "honest_errors";  ///< no call fails but for the storage's reasons
    static constexpr char const* rest = "liveness";         ///< what is healed comes to rest
};

struct group_simulation_options {
    std::uint32_t steps = 250;
    bool tell = false;   ///< write the story
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct group_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t faults = 0;  ///< storage calls that were made to fail
    std::uint64_t power_cuts = 0;
    std::uint64_t written = 0;    ///< groups
    std::uint64_t refused = 0;    ///< groups that are dead letters at the end
    std::uint64_t kept_back = 0;  ///< replies whose rows waited for a later page
    std::uint64_t trace = 0;      ///< of everything that was done and answered: the same on every machine
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

namespace detail {

/// The bank refuses transfers of 13; then both accounts and the ledger go back.
struct group_world_policy {
    [[nodiscard]] validation operator()(validation_input const& in) const {
        if (in.change.record.collection != "ledger" || in.after.deleted) { return {}; }
        auto const found = map_find(in.after.fields, "amount");
        bool const unlucky = found && *found && naive_integer(to_bytes(**found)) == 13;
        return unlucky ? validation{false, errc::forbidden, "unlucky"} : validation{};
    }
};

class group_world : small_life<group_simulation_options, group_simulation_report> {
public:
    group_world(std::uint64_t seed, group_simulation_options const& o)
        : small_life(seed, seed * 2'654'435'761U + 77, o), home_(rules(), home_options(1 + draw(4))) {}

    group_simulation_report run(step_dice& dice) {
        begin();
        live(dice, [&] {
            now_.wall += milliseconds{draw_number(50)};
            now_.monotonic += milliseconds{1};
            deed();
        });
        end();
        return finished();
    }

private:
    using disk_store = faulty_storage<simulated_disk::storage_type>;
    static constexpr std::int64_t opening = 1'000;
    static constexpr std::size_t accounts = 5;
    static constexpr int rest_max = 4'000;  ///< exchanges until all is at rest

    /// A disk, and the store that is open on it.
    struct machine {
        simulated_disk disk{};
        std::unique_ptr<simulated_disk::storage_type> handle{};
        std::unique_ptr<disk_store> store{};
        machine() { open(); }
        void open() {
            handle = disk.open();
            store = std::make_unique<disk_store>(*handle);
        }
        void cut(random_generator& random) {
            store.reset();
            handle.reset();
            disk.power_cut(random);
            open();
        }
    };
    struct branch {
        machine box{};
        replica self;
        random_generator random;
        std::vector<bytes> requests{};
        std::vector<bytes> replies{};
        std::uint64_t notes = 0;  ///< of its ledger
        std::string label;        ///< by which the story tells of it
        branch(replica r, std::uint64_t seed, std::size_t who)
            : self(std::move(r)), random(seed), label("branch " + std::to_string(who)) {}
    };
    using records = std::map<std::string, std::map<std::string, std::int64_t>>;  ///< by collection/id

    [[nodiscard]] static rule_table rules() {
        rule_table table;
        table.add({"accounts", rule::last_writer, {{"count", rule::counter}}});
        return table;
    }
    [[nodiscard]] static authority_options home_options(std::uint64_t rows) {
        authority_options o;
        o.rows_max = rows;
        return o;
    }
    [[nodiscard]] static bytes fields_of(std::vector<std::pair<std::string_view, std::int64_t>> const& all) {
        bytes out;  // given in their canonical order
        cbor_writer w{out};
        w.map(all.size());
        for (auto const& [name, n] : all) {
            w.text(name);
            w.integer(n);
        }
        return out;
    }
    [[nodiscard]] static field_op operation(op_kind kind, std::string_view name, std::int64_t n) {
        field_op op{std::string{name}, kind, {}, {}};
        cbor_writer{op.value}.integer(n);
        return op;
    }
    [[nodiscard]] static record_key account(std::size_t n) { return {"accounts", "a" + std::to_string(n)}; }
    [[nodiscard]] static record_key note() { return {"notes", "n"}; }

    void trace(bytes_view what) { report_.trace = report_.trace * 1'099'511'628'211U + crc32c(what); }
    void begin() {
        {
            auto tx = home_box_.store->begin(access_mode::write);
            bool const opened = tx && home_.open(*tx, now_, random_) && tx->commit();
            if (!holds(opened, group_promise::honest, "the authority does not open")) { return; }
        }
        std::uint64_t const count = 2 + draw(3);
        for (std::uint64_t i = 0; i < count; ++i) { add_branch(); }
        record_group g;
        for (std::size_t n = 0; n < accounts; ++n) { g.create(account(n), fields_of({{"count", opening}})); }
        branch& first = *branches_[0];
        auto tx = first.box.store->begin(access_mode::write);
        bool const there = tx && first.self.write_group(*tx, g, now_) && tx->commit();
        holds(there, group_promise::honest, "the accounts are not opened");
        tell(first.label + " opens " + std::to_string(accounts) + " accounts with " + std::to_string(opening) +
             " each; the branches are " + std::to_string(count));
        tx = errc::busy;
        for (int i = 0; i < 3; ++i) { (void)exchange(first); }
    }
    void add_branch() {
        replica_options o;
        o.rows_max = 1 + draw(5);
        o.mutations_max = static_cast<std::size_t>(1 + draw(3));
        o.bytes_max = draw(2) == 0 ? 60 : 10'000;
        branches_.push_back(std::make_unique<branch>(replica{rules(), o}, random_(), branches_.size()));
        open(*branches_.back());
    }
    void open(branch& b) {
        auto tx = b.box.store->begin(access_mode::write);
        bool const opened = tx && b.self.open(*tx, "anna", now_, b.random) && tx->commit();
        holds(opened, group_promise::honest, "a branch does not open");
    }

    /// In one transaction, perhaps with a storage call that fails, or torn off before its commit: then nothing of it is there.
    template <class F>
    bool attempt(machine& box, F&& f) {
        std::uint64_t const faults = box.store->faults();
        bool const torn = draw(16) == 0;
        if (draw(6) == 0) {
            storage_fault fault;
            fault.nth = 1 + draw(60);
            fault.code = draw(2) == 0 ? errc::storage_io : errc::transaction_lost;
            box.store->inject(fault);
        }
        bool took = false;
        {
            auto tx = box.store->begin(access_mode::write);
            if (tx && f(*tx) && !torn && box.store->faults() == faults) { took = tx->commit().has_value(); }
        }
        if (box.store->faults() != faults) { ++report_.faults; }
        failed_ = box.store->faults() != faults;
        torn_ = torn;
        box.store->heal();
        return took;
    }
    /// How the last attempt ended, where it is told.
    [[nodiscard]] std::string ending(bool took) const {
        return took ? "" : failed_ ? ", and its storage fails" : torn_ ? ", and dies before the commit" : ", in vain";
    }

    // The books.

    static void read_into(records& out, std::string_view collection, std::string_view id, bytes_view fields) {
        std::map<std::string, std::int64_t>& one = out[std::string{collection} + "/" + std::string{id}];
        cbor_map_cursor at{fields};
        while (!fields.empty() && at.next()) {
            one[std::string{at.key()}] = naive_integer(to_bytes(at.value())).value_or(0);
        }
    }
    /// What is wrong with the books, in words; empty where nothing is.
    [[nodiscard]] static std::string wrong_in(records const& all) {
        std::map<std::int64_t, std::int64_t> expected;
        std::map<std::int64_t, std::int64_t> held;
        std::int64_t sum = 0;
        for (auto const& [name, fields] : all) {
            if (name.rfind("ledger/", 0) == 0) {
                expected[fields.at("from")] -= fields.at("amount");
                expected[fields.at("to")] += fields.at("amount");
            } else if (name.rfind("accounts/a", 0) == 0) {
                held[name.back() - '0'] = fields.at("count");
                sum += fields.at("count");
            }
        }
        if (held.size() != accounts) { return std::to_string(held.size()) + " accounts are there"; }
        for (auto const& [n, there] : held) {
            if (there != opening + expected[n]) {
                return "account " + std::to_string(n) + " holds " + std::to_string(there) + ", and by the ledger " +
                       std::to_string(opening + expected[n]);
            }
        }
        return sum == opening * static_cast<std::int64_t>(accounts) ? "" : "the sum is " + std::to_string(sum);
    }
    /// The rows that lie under a prefix of raw storage, each behind `head` items of its value.
    template <class Tx>
    [[nodiscard]] static records rows_under(Tx& tx, char end, char kind, bool visible) {
        records out;
        (void)scan_prefix(
            tx, bytes{static_cast<std::byte>(end), static_cast<std::byte>(kind)}, [&](bytes_view k, bytes_view v) {
                auto const key = record_key_from(k.subspan(2));
                cbor_reader in{v};
                if (visible && !v.empty() && v[0] == std::byte{0x83}) {  // else the row is the confirmed one
                    (void)in.array();
                    (void)in.boolean();
                    (void)in.unsigned_integer();
                }
                row const r = decode_row(in);
                if (key && !r.deleted) { read_into(out, key->collection, key->id_text(), r.fields); }
                return true;
            });
        return out;
    }
    /// Whether the device has met its authority and no range is yet to be told: only then it claims to have all.
    template <class Tx>
    [[nodiscard]] static bool has_all(Tx& tx) {
        bytes raw;
        auto const found = tx.get(bytes{std::byte{'r'}, std::byte{'s'}}, raw);
        if (!found || !*found) { return false; }
        cbor_reader in{raw};
        (void)in.array();
        bool ranges = false;
        (void)scan_prefix(tx, bytes{std::byte{'r'}, std::byte{'w'}}, [&](bytes_view, bytes_view) {
            ranges = true;
            return false;
        });
        return !in.null() && !ranges;
    }
    void judge(std::size_t who) {
        branch& b = *branches_[who];
        auto tx = b.box.store->begin(access_mode::read);
        if (!tx || !has_all(*tx)) { return; }
        std::string const seen = wrong_in(rows_under(*tx, 'r', 'v', true));
        holds(seen.empty(), group_promise::whole, "at branch " + std::to_string(who) + " " + seen);
        records sure;
        auto const ok = b.self.scan_confirmed(*tx, every_record(), [&](record_key const& k, row const& r) {
            if (!r.deleted) { read_into(sure, k.collection, k.id_text(), r.fields); }
            return true;
        });
        holds(ok.has_value(), group_promise::honest, "what is confirmed can't be read");
        std::string const confirmed = wrong_in(sure);
        holds(confirmed.empty(), group_promise::whole,
              "at branch " + std::to_string(who) + ", confirmed, " + confirmed);
    }
    void judge_home() {
        auto tx = home_box_.store->begin(access_mode::read);
        records const all = rows_under(*tx, 'a', 'r', false);
        if (all.empty()) { return; }
        std::string const wrong = wrong_in(all);
        holds(wrong.empty(), group_promise::whole, "at home " + wrong);
    }

    // Deeds.

    void deed() {
        auto const who = static_cast<std::size_t>(draw(branches_.size()));
        branch& b = *branches_[who];
        bool ready = false;
        {
            auto tx = b.box.store->begin(access_mode::read);
            ready = tx && has_all(*tx);
        }
        std::uint64_t const what = draw(40);
        if (what < 10 && ready) {
            write(b, who);
        } else if (what < 12 && ready) {
            write_note(b);
        } else if (what == 12) {
            ++report_.power_cuts;
            tell(b.label + " loses power");
            b.box.cut(b.random);
            if (draw(2) == 0) { open(b); }
        } else if (what == 13) {
            ++report_.power_cuts;
            tell("the authority loses power");
            home_box_.cut(random_);
        } else if (what == 14 && branches_.size() < 5 && report_.steps > options_.steps / 2 + 1) {
            add_branch();
            tell(branches_.back()->label + " joins");
        } else if (what < 24) {
            ask(b);
        } else if (what < 32) {
            answer(b);
        } else {
            hear(b);
        }
        judge(who);
        judge_home();
    }
    void write(branch& b, std::size_t who) {
        auto const from = static_cast<std::size_t>(draw(accounts));
        std::size_t const to = (from + 1 + static_cast<std::size_t>(draw(accounts - 1))) % accounts;
        auto const amount = static_cast<std::int64_t>(1 + draw(15));
        bool const noted = draw(4) == 0;
        record_key const entry{"ledger", std::to_string(who) + "-" + std::to_string(b.notes++)};
        record_group g;
        g.update(account(from), {operation(op_kind::add, "count", -amount)});
        g.create(entry, fields_of({{"to", static_cast<std::int64_t>(to)},
                                   {"from", static_cast<std::int64_t>(from)},
                                   {"amount", amount}}));
        g.update(account(to), {operation(op_kind::add, "count", amount)});
        auto const done = [&](auto& tx) {
            // A note that others delete meanwhile: then the group is refused.
            auto const there = b.self.read(tx, note());
            if (noted && there && *there) { g.update(note(), {operation(op_kind::set, "v", amount)}); }
            auto const written = b.self.write_group(tx, g, now_);
            return written.has_value();
        };
        bool const took = attempt(b.box, done);
        tell(b.label + " moves " + std::to_string(amount) + " from a" + std::to_string(from) + " to a" +
             std::to_string(to) + " as ledger/" + std::string{entry.id_text()} + (noted ? ", with the note" : "") +
             ending(took));
        if (took) {
            ++report_.written;
            written_.insert_or_assign("ledger/" + std::string{entry.id_text()}, who);
        }
    }
    void write_note(branch& b) {
        bool const erases = draw(2) == 0;
        bool const took = attempt(b.box, [&](auto& tx) {
            return erases ? b.self.erase(tx, note(), now_).has_value()
                          : b.self.put(tx, note(), fields_of({{"v", 1}}), now_).has_value();
        });
        tell(b.label + (erases ? " deletes" : " writes") + " the note" + ending(took));
    }
    void ask(branch& b) {
        bool const took = attempt(b.box, [&](auto& tx) { return b.self.prepare(tx, now_).has_value(); });
        tell(b.label + " asks" + ending(took));
        if (!took) { return; }
        auto tx = b.box.store->begin(access_mode::read);
        auto q = b.self.request_message(*tx);
        if (!holds(q.has_value(), group_promise::honest, "no request can be made")) { return; }
        trace(*q);
        b.requests.push_back(std::move(*q));
    }
    void answer(branch& b) {
        if (b.requests.empty()) { return; }
        auto const i = static_cast<std::size_t>(draw(b.requests.size()));
        std::uint64_t const fate = draw(10);
        if (fate != 0) {
            bytes p;
            errc why{};
            bool const took = attempt(home_box_, [&](auto& tx) {
                auto said = home_.handle(tx, "anna", b.requests[i], now_);
                if (said) {
                    p = std::move(*said);
                } else {
                    why = said.error().code;
                }
                return said.has_value();
            });
            holds(why == errc{} || failed_, group_promise::honest, std::string{"no answer: "} + message(why));
            auto const told = took ? decode_reply(p) : result<reply>{errc::not_found};
            tell("the authority answers " + b.label + (took ? "" : ", and dies before the commit") +
                 (told && told->partial ? " with a part of a group" : "") +
                 (fate == 1   ? ", and the answer is lost"
                  : fate == 2 ? ", and will be asked once more"
                              : ""));
            if (took) {
                trace(p);
                if (!holds(told.has_value(), group_promise::honest, "a reply that does not decode")) { return; }
                report_.kept_back += told->partial ? 1 : 0;
                if (fate != 1) { b.replies.push_back(std::move(p)); }
            }
        }
        if (fate != 2) { b.requests.erase(b.requests.begin() + static_cast<std::ptrdiff_t>(i)); }
    }
    void hear(branch& b) {
        if (b.replies.empty()) { return; }
        auto const i = static_cast<std::size_t>(draw(b.replies.size()));
        bytes const heard = b.replies[i];
        if (draw(8) != 0) { b.replies.erase(b.replies.begin() + static_cast<std::ptrdiff_t>(i)); }
        errc why{};
        bool const took = attempt(b.box, [&](auto& tx) {
            auto const r = b.self.absorb(tx, heard, now_, b.random);
            if (!r) { why = r.error().code; }
            return r.has_value();
        });
        tell(b.label + " takes an answer in" + ending(took));
        // One that was overtaken by so much that it does not follow any more is told so.
        holds(why == errc{} || why == errc::foreign || failed_, group_promise::honest,
              std::string{"a reply is not taken: "} + message(why));
    }

    /// A whole exchange on healthy machines; whether there is more to do.
    bool exchange(branch& b) {
        bool more = false;
        auto const in = [&](machine& box, auto&& f) {
            auto tx = box.store->begin(access_mode::write);
            return tx && f(*tx) && tx->commit();
        };
        bytes q, p;
        bool ok = in(b.box, [&](auto& tx) {
            if (!b.self.prepare(tx, now_)) { return false; }
            auto made = b.self.request_message(tx);
            if (made) { q = std::move(*made); }
            return made.has_value();
        });
        ok = ok && in(home_box_, [&](auto& tx) {
                 auto made = home_.handle(tx, "anna", q, now_);
                 if (made) { p = std::move(*made); }
                 return made.has_value();
             });
        ok = ok && in(b.box, [&](auto& tx) {
                 auto const report = b.self.absorb(tx, p, now_, b.random);
                 more = report && report->more;
                 return report.has_value();
             });
        return holds(ok, group_promise::honest, "an exchange fails on healthy machines") && more;
    }
    void end() {
        if (fine()) { tell("the trouble is over"); }
        int left = rest_max;
        for (int round = 0; round < 3; ++round) {
            for (std::size_t who = 0; who < branches_.size() && fine(); ++who) {
                while (fine() && exchange(*branches_[who])) {
                    judge(who);
                    if (!holds(--left > 0, group_promise::rest, "it does not come to rest")) { return; }
                }
                judge(who);
            }
        }
        if (!fine()) { return; }
        judge_home();
        records home;
        {
            auto tx = home_box_.store->begin(access_mode::read);
            home = rows_under(*tx, 'a', 'r', false);
        }
        std::map<std::string, std::size_t> letters;
        for (auto const& b : branches_) {
            auto tx = b->box.store->begin(access_mode::read);
            holds(rows_under(*tx, 'r', 'v', true) == home, group_promise::same, "a branch holds something else");
            auto const ok = b->self.queue().scan_dead(*tx, [&](outbox_entry const& e) {
                auto const m = replica::mutation_of(e);
                if (m && m->kind == change_kind::group) {
                    ++report_.refused;
                    for (mutation const& part : m->parts) {
                        if (part.record.collection == "ledger") {
                            ++letters["ledger/" + std::string{part.record.id_text()}];
                        }
                    }
                    holds(m->parts.size() >= 3, group_promise::kept, "a dead letter holds a group in part");
                }
                return true;
            });
            holds(ok.has_value(), group_promise::honest, "dead letters can't be read");
        }
        for (auto const& [name, who] : written_) {
            std::size_t const places = letters[name] + home.count(name);
            holds(
                places == 1, group_promise::kept,
                "group " + name + " of branch " + std::to_string(who) + " is in " + std::to_string(places) + " places");
        }
    }

    instant now_{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1'000}}};
    machine home_box_{};
    authority<group_world_policy> home_;
    std::vector<std::unique_ptr<branch>> branches_{};
    std::map<std::string, std::size_t> written_{};  ///< the ledger's entries that were acknowledged, and by whom
    bool failed_ = false;                           ///< a storage call of the last attempt did
    bool torn_ = false;                             ///< the process died before its commit
};

}  // namespace detail

/// One life of a bank. The same seed and options give the same life and the same report, on every machine.
/// With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline group_simulation_report simulate_groups(std::uint64_t seed,
                                                             group_simulation_options const& o = {}) {
    return detail::live_life<detail::group_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline group_simulation_options shrink_groups(group_simulation_report const& failed,
                                                            group_simulation_options o = {},
                                                            std::size_t lives = 1'000) {
    return detail::shrink_life<detail::group_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
