// SPDX-License-Identifier: BSL-1.0

// Small scopes with one event to the end: two devices and their authority write, ask, answer and hear in every order, and at
// each place the authority may be put back to an earlier backup, a device's store be copied, or a device come back past its
// lease; or the two know different schema versions. From every state everything must come to rest, with each write at home
// once, or with a person. `small_events [--quick] [--scope NAME]...`

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/model/schema.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/small_world.hpp>

namespace {

using namespace syncline;

enum class happening : std::uint8_t { none, put_back, copied, lapsed };

struct event_scope {
    char const* name;
    happening event = happening::none;
    std::size_t writes = 2;
    std::size_t records = 1;
    std::uint8_t asks = 1;  ///< requests of each store, before all is left to rest
    bool erases = true;     ///< writes may be deletions, and what is gone be created anew
    bool versions =
        false;  ///< the first device knows the first schema version, the second and the authority the second
    bool strangers = false;  ///< the devices never met the authority, and there is nothing
};

constexpr std::size_t devices = 2;
constexpr std::size_t stores = devices + 1;  ///< and a copy of one

/// One thing that was written and acknowledged.
struct deed {
    std::uint8_t record = 0;
    change_kind kind = change_kind::update;
};
struct state {
    std::array<memory_snapshot, stores> disks{};
    std::array<bool, stores> there{true, true, false};
    std::array<std::uint8_t, stores> runs{0, 1, 0};  ///< whose program
    std::array<random_generator, stores> dice{random_generator{1}, random_generator{2}, random_generator{3}};
    memory_snapshot home{};
    random_generator home_dice{9};
    std::optional<memory_snapshot> backup{};
    bool happened = false;
    std::array<std::optional<bytes>, stores> requests{};
    std::array<std::optional<bytes>, stores> replies{};
    std::array<std::uint8_t, stores> asked{};
    std::vector<deed> deeds{};
    std::int64_t passed = 0;  ///< milliseconds
    std::size_t from = 0;     ///< the state before, and what was done there
    std::string by{};
};

struct tally {
    std::uint64_t states = 0, transitions = 0, settled = 0, checks = 0;
    std::set<std::string> rests{};
    std::size_t rounds = 0;
};

class explorer {
public:
    explicit explorer(event_scope const& s) : scope_(s), home_(rules(), at_home()) {
        replica_options newest;
        newest.schemas = s.versions ? &schemas_ : nullptr;
        self_.emplace_back(rules());
        self_.emplace_back(rules(), newest);
    }
    explorer(explorer const&) = delete;
    explorer& operator=(explorer const&) = delete;

    /// What is broken, with the way there; nothing where nothing is.
    [[nodiscard]] std::vector<std::string> run() {
        begin();
        while (next_ != all_.size() && broken_.empty()) {
            rest(next_);
            expand(next_);
            // What a state holds is needed no more; its way is.
            state& done = all_[next_++];
            done = state{.from = done.from, .by = std::move(done.by)};
        }
        return broken_;
    }
    [[nodiscard]] tally const& counted() const noexcept { return tally_; }

private:
    [[nodiscard]] static rule_table rules() {
        rule_table table;
        table.add({"things", rule::last_writer, {{"count", rule::counter}, {"cents", rule::counter}}});
        return table;
    }
    [[nodiscard]] static schema_table two_versions() {
        schema_table all;
        all.collection("things").next({
            schema_step::convert("count", casts::times<100>, casts::over<100>, true),
            schema_step::rename("count", "cents"),
        });
        return all;
    }
    [[nodiscard]] authority_options at_home() const {
        authority_options o;
        o.backups = scope_.event == happening::put_back;
        if (scope_.event == happening::lapsed) { o.leases.length = milliseconds{10'000}; }
        if (scope_.versions) { o.schemas = &schemas_; }
        return o;
    }
    [[nodiscard]] static instant time_of(state const& s) {
        milliseconds const at{s.passed};
        return {wall_time{milliseconds{1'790'000'000'000}} + at, monotonic_time{milliseconds{1'000}} + at};
    }
    [[nodiscard]] static record_key thing(std::size_t n) { return {"things", n == 0 ? "a" : "b"}; }
    /// What only an addition counts for: two who create a record at once make one of it.
    [[nodiscard]] static std::string mark_of(std::size_t n, deed const& what) {
        return (what.kind == change_kind::create ? "made" : "added") + std::to_string(n);
    }

    void breaks(std::string what, std::size_t at) {
        if (!broken_.empty()) { return; }
        std::vector<std::string> way;
        for (std::size_t i = at; i != 0; i = all_[i].from) { way.push_back(all_[i].by); }
        std::reverse(way.begin(), way.end());
        broken_.push_back(std::move(what));
        broken_.insert(broken_.end(), way.begin(), way.end());
    }
    bool check(bool ok, std::string const& what, std::size_t at) {
        ++tally_.checks;
        if (!ok) { breaks(what, at); }
        return ok;
    }

    // The nodes. One memory serves for all: a state is put into it before anything is done.

    template <class F>
    auto on(memory_snapshot& disk, F&& f) {
        memory_.restore(disk);
        auto tx = memory_.begin(access_mode::write);
        auto out = f(*tx);
        if (out && tx->commit()) { disk = memory_.snapshot(); }
        return out;
    }
    [[nodiscard]] bool opens(state& s, std::size_t d) {
        return on(s.disks[d], [&](auto& tx) { return self_[s.runs[d]].open(tx, "anna", time_of(s), s.dice[d]); })
            .has_value();
    }
    [[nodiscard]] bool opens_home(state& s) {
        return on(s.home, [&](auto& tx) { return home_.open(tx, time_of(s), s.home_dice); }).has_value();
    }
    [[nodiscard]] bool ask(state& s, std::size_t d) {
        auto const ok = on(s.disks[d], [&](auto& tx) { return self_[s.runs[d]].prepare(tx, time_of(s)); });
        auto q = on(s.disks[d], [&](auto& tx) { return self_[s.runs[d]].request_message(tx); });
        if (!ok || !q) { return false; }
        s.requests[d] = std::move(*q);
        return true;
    }
    [[nodiscard]] bool answer(state& s, std::size_t d) {
        auto said = on(s.home, [&](auto& tx) { return home_.handle(tx, "anna", *s.requests[d], time_of(s)); });
        if (!said) { return false; }
        s.replies[d] = std::move(*said);
        return true;
    }
    [[nodiscard]] result<exchange_report> hear(state& s, std::size_t d) {
        bytes const reply = *std::exchange(s.replies[d], std::nullopt);
        return on(s.disks[d], [&](auto& tx) { return self_[s.runs[d]].absorb(tx, reply, time_of(s), s.dice[d]); });
    }
    [[nodiscard]] result<exchange_report> exchange(state& s, std::size_t d) {
        if (!ask(s, d) || !answer(s, d)) { return errc::peer_failed; }
        return hear(s, d);
    }
    [[nodiscard]] result<write_receipt> write(state& s, std::size_t d, deed const& what) {
        bool const newest = scope_.versions && s.runs[d] == 1;
        std::string const mark = mark_of(s.deeds.size(), what);
        std::string const counter = newest ? "cents" : "count";
        std::int64_t const one = newest ? 100 : 1;
        bytes number, marked;
        cbor_writer{number}.integer(one);
        cbor_writer{marked}.integer(1);
        s.passed += 10;
        return on(s.disks[d], [&](auto& tx) {
            switch (what.kind) {
                case change_kind::erase: return self_[s.runs[d]].erase(tx, thing(what.record), time_of(s));
                case change_kind::create: {
                    bytes const fields = testing::detail::small_fields({{mark, marked}});
                    return self_[s.runs[d]].create(tx, thing(what.record), fields, time_of(s));
                }
                default: break;
            }
            return self_[s.runs[d]].update(tx, thing(what.record),
                                           {{counter, op_kind::add, number, {}}, {mark, op_kind::set, marked, {}}},
                                           time_of(s));
        });
    }

    void begin() {
        state s;
        bool ok = opens(s, 0) && opens(s, 1) && opens_home(s);
        for (std::size_t r = 0; ok && !scope_.strangers && r < scope_.records; ++r) {
            deed const made{static_cast<std::uint8_t>(r), change_kind::create};
            ok = write(s, 0, made).has_value();
            s.deeds.push_back(made);
        }
        for (int i = 0; ok && !scope_.strangers && i < 3; ++i) { ok = exchange(s, 0) && exchange(s, 1); }
        first_ = s.deeds.size();
        s.requests = {};
        s.asked = {};
        all_.push_back(s);
        check(ok, "the world does not begin", 0);
        ++tally_.states;
    }

    // Steps.

    void reach(state&& s, std::size_t from, std::string by) {
        ++tally_.transitions;
        if (!seen_.insert(name_of(s, true)).second) { return; }
        ++tally_.states;
        s.from = from;
        s.by = std::move(by);
        all_.push_back(std::move(s));
    }
    void expand(std::size_t at) {
        static constexpr std::array<char const*, stores> names{"one", "two", "the copy"};
        for (std::size_t d = 0; d < stores && broken_.empty(); ++d) {
            if (!all_[at].there[d]) { continue; }
            std::string const who = names[d];
            if (all_[at].deeds.size() < first_ + scope_.writes) {
                for (std::size_t r = 0; r < scope_.records; ++r) {
                    for (change_kind const kind : {change_kind::update, change_kind::erase, change_kind::create}) {
                        if (kind != change_kind::update && !scope_.erases) { continue; }
                        state s = all_[at];
                        deed const what{static_cast<std::uint8_t>(r), kind};
                        // What its own state forbids is no step.
                        if (!write(s, d, what)) { continue; }
                        s.deeds.push_back(what);
                        char const* const verb = kind == change_kind::update  ? " writes "
                                                 : kind == change_kind::erase ? " erases "
                                                                              : " creates ";
                        reach(std::move(s), at, who + verb + std::string{thing(r).id_text()});
                    }
                }
            }
            if (all_[at].asked[d] < scope_.asks) {
                state s = all_[at];
                ++s.asked[d];
                if (!check(ask(s, d), who + " can't ask", at)) { return; }
                reach(std::move(s), at, who + " asks");
            }
            if (all_[at].requests[d]) {
                state s = all_[at];
                if (!check(answer(s, d), who + " is not answered", at)) { return; }
                reach(std::move(s), at, who + " is answered");
            }
            if (all_[at].replies[d]) {
                state s = all_[at];
                auto const heard = hear(s, d);
                bool const excused = heard || heard.error() == errc::foreign;
                if (!check(excused, who + " does not take an answer: " + (heard ? "" : message(heard.error().code)),
                           at)) {
                    return;
                }
                reach(std::move(s), at, who + " takes the answer");
            }
        }
        if (!all_[at].happened && broken_.empty()) { happen(at); }
    }
    void happen(std::size_t at) {
        state const& now = all_[at];
        switch (scope_.event) {
            case happening::none: return;
            case happening::put_back: {
                state s = now;
                if (!s.backup) {
                    s.backup = s.home;
                    return reach(std::move(s), at, "the authority is backed up");
                }
                s.home = *std::exchange(s.backup, std::nullopt);
                s.happened = true;
                if (!check(opens_home(s), "the authority does not open", at)) { return; }
                return reach(std::move(s), at, "the authority is put back");
            }
            case happening::copied:
                for (std::size_t d = 0; d < devices; ++d) {
                    state s = all_[at];
                    s.disks[devices] = s.disks[d];
                    s.there[devices] = true;
                    s.runs[devices] = static_cast<std::uint8_t>(d);
                    s.happened = true;
                    if (!check(opens(s, devices), "a copy does not open", at)) { return; }
                    reach(std::move(s), at, d == 0 ? "one is copied" : "two is copied");
                }
                return;
            case happening::lapsed:
                for (std::size_t d = 0; d < devices; ++d) {
                    state s = all_[at];
                    s.happened = true;
                    bool ok = true;
                    for (int i = 0; ok && i < 4; ++i) {  // the other goes on, and all that it has seen is collected
                        s.passed += 20'000;
                        ok = exchange(s, 1 - d) && on(s.home, [&](auto& tx) { return home_.collect(tx, 100); });
                    }
                    if (!check(ok, "a lease does not lapse", at)) { return; }
                    reach(std::move(s), at, d == 0 ? "the lease of one lapses" : "the lease of two lapses");
                }
                return;
        }
    }

    // Rest.

    void rest(std::size_t at) {
        state s = all_[at];
        if (!settled_.insert(name_of(s, false)).second) { return; }
        ++tally_.settled;
        bool calm = false;
        std::size_t rounds = 0;
        for (; !calm && rounds < 24; ++rounds) {
            calm = true;
            for (std::size_t d = 0; d < stores; ++d) {
                if (!s.there[d]) { continue; }
                s.passed += 100;
                auto const r = exchange(s, d);
                if (!check(r.has_value(), std::string{"an exchange fails: "} + (r ? "" : message(r.error().code)),
                           at)) {
                    return;
                }
                calm = calm && !r->more && r->verdicts == 0 && r->rows == 0 && !r->advanced && !r->regressed;
            }
        }
        tally_.rounds = (std::max)(tally_.rounds, rounds);
        if (check(calm, "it does not come to rest", at)) { judge(s, at); }
    }
    void judge(state& s, std::size_t at) {
        std::map<std::string, std::map<std::string, std::int64_t>> home;
        (void)on(s.home, [&](auto& tx) {
            return home_.scan(tx, [&](record_key const& k, row const& r) {
                if (!r.deleted) { home[std::string{k.id_text()}] = numbers_of(r.fields); }
                return true;
            });
        });
        std::set<std::string> aside;
        for (std::size_t d = 0; d < stores; ++d) {
            if (!s.there[d]) { continue; }
            std::map<std::string, std::map<std::string, std::int64_t>> held;
            bool pending = false;
            bool ok = on(s.disks[d], [&](auto& tx) {
                          return self_[s.runs[d]].scan(tx, "things", [&](record_key const& k, record const& r) {
                              held[std::string{k.id_text()}] = numbers_of(r.fields);
                              pending = pending || r.pending;
                              return true;
                          });
                      }).has_value();
            auto const lies = [&](mutation const& m) {
                for (field_op const& op : m.ops) { aside.insert(op.field); }
            };
            ok = ok && on(s.disks[d], [&](auto& tx) {
                           return self_[s.runs[d]].queue().scan_dead(tx, [&](outbox_entry const& e) {
                               if (auto const m = replica::mutation_of(e)) { lies(*m); }
                               return true;
                           });
                       }).has_value();
            ok = ok && on(s.disks[d], [&](auto& tx) {
                           return self_[s.runs[d]].conflicts(tx, [&](open_conflict const& c) {
                               lies(c.local);
                               return true;
                           });
                       }).has_value();
            check(ok, "a device can't be read", at);
            check(!pending, "at rest something waits", at);
            if (scope_.versions && s.runs[d] == 0) {
                for (auto& [id, fields] : held) {
                    if (fields.count("count") != 0) { fields["cents"] = fields["count"] * 100; }
                    fields.erase("count");
                }
            }
            check(held == home, "at rest a device holds something else", at);
        }
        std::set<std::string> there;
        std::string told;
        for (auto& [id, fields] : home) {
            std::int64_t marks = 0;
            told += id;
            for (auto const& [field, n] : fields) {
                told += ' ' + field + std::to_string(n);
                if (field == "count" || field == "cents") { continue; }
                marks += field[0] == 'a' ? 1 : 0;
                there.insert(field);
            }
            std::int64_t const counts = scope_.versions ? fields["cents"] : fields["count"] * 100;
            check(counts == marks * 100, id + " counts otherwise than it is marked", at);
        }
        tally_.rests.insert(std::move(told));
        for (std::size_t i = 0; i < s.deeds.size(); ++i) {
            bool const erased = std::any_of(s.deeds.begin(), s.deeds.end(), [&](deed const& e) {
                return e.kind == change_kind::erase && e.record == s.deeds[i].record;
            });
            std::string const mark = mark_of(i, s.deeds[i]);
            check(erased || there.count(mark) != 0 || aside.count(mark) != 0, "the write " + mark + " is lost", at);
        }
    }
    [[nodiscard]] static std::map<std::string, std::int64_t> numbers_of(bytes_view fields) {
        std::map<std::string, std::int64_t> out;
        cbor_map_cursor at{fields};
        while (!fields.empty() && at.next()) {
            if (at.key()[0] == kept_field_prefix) { continue; }
            out[std::string{at.key()}] = testing::naive_integer(to_bytes(at.value())).value_or(-1);
        }
        return out;
    }

    /// A digest of all storages, and of the messages too where `whole`.
    [[nodiscard]] static std::string name_of(state const& s, bool whole) {
        sha256_hasher hash;
        auto const piece = [&](bytes_view b) {
            std::array<std::byte, 8> size;
            write_u64(size.data(), b.size());
            hash.update(size);
            hash.update(b);
        };
        auto const disk = [&](memory_snapshot const& d) {
            d.scan({}, [&](bytes_view k, bytes_view v) {
                piece(k);
                piece(v);
                return true;
            });
            piece({});
        };
        for (memory_snapshot const& d : s.disks) { disk(d); }
        disk(s.home);
        if (whole) {
            disk(s.backup.value_or(memory_snapshot{}));
            piece(std::as_bytes(std::span{s.asked}));
            for (auto const* all : {&s.requests, &s.replies}) {
                for (auto const& m : *all) { piece(m ? bytes_view{*m} : bytes_view{}); }
            }
        }
        bytes rest{static_cast<std::byte>(s.happened), static_cast<std::byte>(s.backup.has_value())};
        for (deed const& e : s.deeds) {
            rest.push_back(static_cast<std::byte>(e.record));
            rest.push_back(static_cast<std::byte>(e.kind));
        }
        piece(rest);
        return to_text(hash.finish());
    }
    [[nodiscard]] static std::string to_text(std::array<std::byte, 32> const& digest) {
        return {reinterpret_cast<char const*>(digest.data()), digest.size()};
    }

    event_scope scope_;
    schema_table schemas_ = two_versions();
    std::deque<replica> self_{};
    authority<> home_;
    memory_storage memory_{};
    std::deque<state> all_{};
    std::size_t next_ = 0;
    std::size_t first_ = 0;  ///< deeds of the beginning
    std::unordered_set<std::string> seen_{};
    std::unordered_set<std::string> settled_{};
    std::vector<std::string> broken_{};
    tally tally_{};
};

std::vector<event_scope> scopes() {
    return {
        {"put back", happening::put_back, 2, 1},
        {"put back, two requests", happening::put_back, 1, 1, 2},
        {"put back, additions", happening::put_back, 3, 1, 1, false},
        {"put back, two records", happening::put_back, 2, 2, 1, false},
        {"put back, strangers", happening::put_back, 2, 1, 2, false, false, true},
        {"copied", happening::copied, 2, 1},
        {"copied, two requests", happening::copied, 1, 1, 2},
        {"copied, two records", happening::copied, 2, 2, 1, false},
        {"copied, strangers", happening::copied, 2, 1, 1, false, false, true},
        {"lapsed", happening::lapsed, 3, 1},
        {"lapsed, two requests", happening::lapsed, 1, 1, 2},
        {"lapsed, two records", happening::lapsed, 2, 2},
        {"two versions", happening::none, 3, 1, 1, true, true},
        {"two versions, put back", happening::put_back, 2, 1, 1, true, true},
        {"two versions, copied", happening::copied, 2, 1, 1, false, true},
        {"two versions, lapsed", happening::lapsed, 2, 1, 1, true, true},
    };
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> wanted;
    bool quick = false;
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--scope") == 0 && i + 1 < argc) {
            wanted.push_back(argv[++i]);
        } else if (std::strcmp(argv[i], "--quick") == 0) {
            quick = true;
        } else {
            std::fprintf(stderr, "usage: %s [--quick] [--scope NAME]...\n", argv[0]);
            return 2;
        }
    }
    auto const n = [](auto x) { return static_cast<unsigned long long>(x); };
    int failures = 0;
    for (event_scope s : scopes()) {
        if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), s.name) == wanted.end()) { continue; }
        if (quick && s.asks > 1 && s.writes == 1) { continue; }
        if (quick) { s.writes = s.asks = 1; }
        auto const began = std::chrono::steady_clock::now();
        explorer e(s);
        auto const broken = e.run();
        auto const took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began);
        tally const& t = e.counted();
        std::printf(
            "%s: %llu states, %llu transitions, %llu settled in up to %llu rounds, %llu leaves, %llu checks, %llu ms\n",
            s.name, n(t.states), n(t.transitions), n(t.settled), n(t.rounds), n(t.rests.size()), n(t.checks),
            n(took.count()));
        for (std::size_t i = 0; i < broken.size(); ++i) {
            std::printf(i == 0 ? "  BROKEN %s\n" : "    %s\n", broken[i].c_str());
        }
        std::fflush(stdout);
        failures += broken.empty() ? 0 : 1;
    }
    return failures == 0 ? 0 : 1;
}
