// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A fleet in a simulated world: programs of two schema versions, peers that know less or more of the protocol, people
/// whose rights change, rows that rot, and an authority that is put back from a backup, or knows less than its devices.

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
#include <vector>

#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/model/schema.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/integrity.hpp>
#include <syncline/replica/policy.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/checksummed.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/faulty_storage.hpp>
#include <syncline/testing/first_codec.hpp>
#include <syncline/testing/naive_merge.hpp>
#include <syncline/testing/oracles.hpp>
#include <syncline/testing/simulated_disk.hpp>
#include <syncline/testing/step_dice.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What must hold of a fleet, by the names under which a breach is reported.
struct fleet_promise {
    static constexpr char const* exactly_once = "exactly_once";  ///< each addition counts once, or lies with a person
    static constexpr char const* nothing_lost = "nothing_lost";  ///< the last word of who alone writes a field stands
    static constexpr char const* convergence = "convergence";    ///< at rest the same, each in its own version
    static constexpr char const* liveness = "liveness";          ///< healed, the fleet comes to rest
    static constexpr char const* local_write = "local_write";    ///< a write refused for no reason
    static constexpr char const* versions = "versions";          ///< what a peer of another version says is understood
    static constexpr char const* refused_first = "refused_first";  ///< what is refused has changed nothing
    static constexpr char const* permission = "permission";        ///< what is not permitted has no effect
    static constexpr char const* silence = "silence";              ///< a refusal tells nothing of the record
    static constexpr char const* epoch_honesty = "epoch_honesty";  ///< who knew more than a restored authority is told
    static constexpr char const* healed = "healed";                ///< rows that rotted are found and fetched again
};

struct fleet_options {
    std::uint32_t steps = 220;
    bool tell = false;  ///< write the story
    /// A mistake of the authority's host, to show that the judge sees it: it goes back to backups that are older than the
    /// one that it has said to be stable.
    bool older_backups = false;
    bool collects = true;  ///< half of the authorities that are put back collect tombstones, too
    /// Three in eight of the authorities that are not put back know less than their devices: one has the first version's
    /// program, one has it until it is brought up, and in the place of one comes a program that knows the names of
    /// mutations, and neither columns nor ranges, for a while or for good.
    bool older_authorities = true;
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct fleet_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t trace = 0;  ///< of everything that was done and answered: the same on every machine
    std::uint64_t exchanges = 0, first_version = 0, newer = 0, mandatory = 0;
    std::uint64_t upgrades = 0, closed = 0, forbidden = 0, held_back = 0, rotted = 0, healed = 0;
    std::uint64_t put_back = 0, regressed = 0, crashes = 0, faults = 0, collected = 0;
    std::uint64_t first_authority = 0;  ///< requests to an authority of the first version …
    std::uint64_t older_authority = 0;  ///< … and to one between that and today's
    std::uint64_t unread = 0;           ///< of them those that it did not read, as its devices had known a later one
    std::uint64_t in_columns = 0;       ///< requests that the first version does not read
    std::uint64_t replaced = 0;         ///< how often another version of the program took the authority's place
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

namespace detail {

/// The versions of the collection that the fleet shares.
[[nodiscard]] inline schema_table fleet_schemas() {
    schema_table all;
    all.collection("things").next({
        schema_step::split("name", {"first", "last"}, casts::apart<' '>, casts::together<' '>),
        schema_step::convert("paid", casts::times<100>, casts::over<100>, true),
        schema_step::rename("paid", "cents"),
        schema_step::add("status", value("open")),
        schema_step::feature("sealed"),
    });
    return all;
}
[[nodiscard]] inline rule_table fleet_rules() {
    rule_table table;
    table.add({"things", rule::last_writer, {{"paid", rule::counter}, {"cents", rule::counter}}});
    return table;
}

class fleet_world {
    using medium = simulated_disk::storage_type;
    using faulty = faulty_storage<medium>;
    using sealed_store = checksummed_storage<faulty>;
    using home_type = authority<access_policy<>>;

public:
    fleet_world(std::uint64_t seed, fleet_options const& o)
        : options_(o), random_(seed * 2'654'435'761U + 4'242), newest_(fleet_schemas()) {
        report_.seed = seed;
        backups_ = draw(2) == 0;
        seals_ = draw(4) == 0;
        rots_ = draw(2) == 0;
        unruly_ = draw(3) != 0;
        static constexpr std::array<office_life, 8> lives{
            office_life::today, office_life::first,      office_life::today, office_life::brought_up,
            office_life::today, office_life::taken_back, office_life::today, office_life::today};
        if (options_.older_authorities && !backups_) { life_ = lives[seed % lives.size()]; }
        turns_ = options_.steps / 4 + seed % (options_.steps / 4 + 1);
        office_speaks_ = office_at(0);
        // The first version has no schemas but the first, and compares nothing.
        seals_ = seals_ && life_ == office_life::today;
        rots_ = rots_ && life_ == office_life::today;
        authority_options home;
        home.schemas = life_ == office_life::today ? &newest_ : &first_;
        home.standings = true;
        home.backups = backups_;
        home.rows_max = 1 + draw(20);
        collects_ = options_.collects && backups_ && seed % 2 == 0;
        if (collects_) { home.leases.length = milliseconds{15'000}; }
        for (char const* who : people) { roles_[who] = {"editor", "maker"}; }
        roles_["anna"].insert("keeper");
        home_ = std::make_unique<home_type>(fleet_rules(), home, access_policy<>{rights(), {&has_role, &roles_}});
        office_handle_ = office_disk_.open();
        office_.emplace(*office_handle_);
        open_office();
        std::size_t const count = 2 + static_cast<std::size_t>(draw(3));
        for (std::size_t i = 0; i < count; ++i) { add_device(); }
    }
    fleet_world(fleet_world const&) = delete;
    fleet_world& operator=(fleet_world const&) = delete;

    fleet_report run(step_dice& dice) {
        begin();
        dice.live(
            options_.steps, options_.only, random_, report_.steps, [&] { return report_.found.empty(); },
            [&] { step(); });
        if (report_.found.empty()) { calm_down(); }
        for (violation const& v : report_.found) { tell("VIOLATED " + v.axiom + ": " + v.what); }
        return std::move(report_);
    }

private:
    static constexpr std::array<char const*, 3> people{"anna", "ben", "eve"};
    static constexpr std::array<char const*, 2> shared{"s0", "s1"};

    /// What a device's library knows of the protocol.
    enum class wire : std::uint8_t { first, today, later };
    /// What the authority's does: the first version; names of mutations, too; all of it.
    enum class office : std::uint8_t { first, named, today };
    /// What the authority's program knows of it in the course of the life.
    enum class office_life : std::uint8_t { today, first, brought_up, taken_back };
    struct device {
        std::size_t number = 0;
        std::string principal{};
        wire speaks = wire::today;
        schema_version version = 1;
        simulated_disk disk{};
        std::unique_ptr<medium> handle{};
        std::optional<faulty> bad{};
        std::optional<sealed_store> store{};
        std::optional<checksummed_storage<medium>> plain{};  ///< the same without faults: for the judge
        std::optional<replica> self{};
        integrity_check check{integrity_options{.rows_part = 2, .rows_max = 8}};
        bool carried = false;       ///< rows were carried up by the program: their marks are not those of the authority
        bool damaged = false;       ///< a row rotted since the last walk that found everything sound
        bool owed_regress = false;  ///< the authority was put back to before what it knew
        bool told =
            false;  ///< some answer told that the authority reads columns, and nothing that came since says else
        std::uint64_t regressions_before = 0;
    };
    struct letter {
        bool to_office = false;
        std::size_t number = 0;
        bytes message{};
        bool understood = true;  ///< names no feature that the receiver would have to know
    };
    struct backup {
        raw_image image{};
        position head = 0;
        std::set<std::pair<std::uint64_t, std::uint64_t>> effective{};  ///< lines and numbers of what took effect
    };
    /// What one device alone writes: everything that it ever said of it, oldest first; nothing: it is erased.
    using history = std::vector<std::optional<std::int64_t>>;

    // Small things.

    std::uint64_t draw(std::uint64_t n) { return below(random_, n); }
    template <class F>
    bool check(bool holds, char const* promise, F&& what) {
        ++report_.checks;
        if (!holds && report_.found.size() < 8) { report_.found.push_back({promise, what()}); }
        return holds;
    }
    void tell(std::string line) {
        if (options_.tell) { report_.story.push_back(std::to_string(report_.steps) + " " + std::move(line)); }
    }
    void note(std::uint64_t a, std::uint64_t b) {
        report_.trace = ((report_.trace << 7 | report_.trace >> 57) ^ a) * 0x9E3779B97F4A7C15U + b;
    }
    [[nodiscard]] static std::string name(device const& d) { return "device " + std::to_string(d.number); }
    [[nodiscard]] static bool has_role(std::string_view who, std::string_view role, void const* data) {
        auto const& all = *static_cast<std::map<std::string, std::set<std::string>> const*>(data);
        auto const at = all.find(std::string{who});
        return at != all.end() && at->second.count(std::string{role}) != 0;
    }
    [[nodiscard]] bool has(std::string const& who, char const* role) const { return has_role(who, role, &roles_); }
    [[nodiscard]] static std::vector<access_rule> rights() {
        access_rule edit{.collection = "things", .role = "editor", .updates = true};
        access_rule make{.collection = "things", .role = "maker", .creates = true, .erases = true};
        access_rule own{.collection = "own", .role = "maker", .creates = true, .updates = true, .erases = true};
        access_rule keep{.collection = "vault", .role = "keeper", .creates = true, .updates = true, .erases = true};
        return {edit, make, own, keep};
    }
    /// The same, said once more.
    [[nodiscard]] bool may(std::string const& who, mutation const& m) const {
        if (m.record.collection == "vault") { return has(who, "keeper"); }
        if (m.record.collection == "own") { return has(who, "maker"); }
        return m.record.collection == "things" && has(who, m.kind == change_kind::update ? "editor" : "maker");
    }
    [[nodiscard]] static bytes fields(std::map<std::string, bytes> const& all) { return naive_fields(all); }
    [[nodiscard]] static bytes words(std::string_view s) {
        bytes out;
        cbor_writer{out}.text(s);
        return out;
    }
    [[nodiscard]] static std::string text_of(std::map<std::string, bytes> const& all, char const* field) {
        auto const at = all.find(field);
        if (at == all.end()) { return {}; }
        cbor_reader in{at->second};
        return in.peek() == cbor_type::text ? std::string{in.text()} : std::string{};
    }
    [[nodiscard]] static std::int64_t number_of(std::map<std::string, bytes> const& all, std::string const& field) {
        auto const at = all.find(field);
        return at == all.end() ? 0 : naive_integer(at->second).value_or(0);
    }

    // The authority.

    void open_office() {
        auto tx = office_->begin(access_mode::write);
        bool const ok = tx && home_->open(*tx, now_, random_) && tx->commit();
        check(ok, fleet_promise::liveness, [] { return std::string{"the authority's store does not open"}; });
    }
    [[nodiscard]] position head() {
        auto tx = office_->begin(access_mode::read);
        auto const at = tx ? home_->head(*tx) : result<position>{tx.error()};
        return at ? *at : 0;
    }
    [[nodiscard]] office office_at(std::uint64_t step) const noexcept {
        bool const turned = step >= turns_;
        bool const back = step >= 2 * turns_ && report_.seed % 16 < 8;
        switch (life_) {
            case office_life::first: return office::first;
            case office_life::brought_up: return turned ? office::today : office::first;
            // Back to the first version it can't go: that takes what has a name for another's.
            case office_life::taken_back: return turned && !back ? office::named : office::today;
            case office_life::today: break;
        }
        return office::today;
    }
    /// Another program takes the authority's place, on the same store.
    void replace_office() {
        if (office_at(report_.steps) == office_speaks_) { return; }
        if (office_at(report_.steps) == office::named) {
            // Somebody has just joined, and was told a part of what there is.
            add_device();
            (void)exchange(*devices_.back());
        }
        office_speaks_ = office_at(report_.steps);
        ++report_.replaced;
        tell(std::string{"the authority's program is "} +
             (office_speaks_ == office::today ? "today's" : "an older one") + " from here on");
    }
    /// What the authority's program reads of a request, or why it can't.
    [[nodiscard]] result<bytes> read_by_office(bytes_view asked) {
        if (office_speaks_ == office::today) { return to_bytes(asked); }
        auto const plain = first_codec::read_request(asked);
        if (!plain) { return plain.error(); }
        if (office_speaks_ == office::first) { return first_codec::write(*plain); }
        auto const q = decode_request(asked);
        if (!q) { return q.error(); }
        request named;
        named.replica = q->replica;
        named.epoch = q->epoch;
        named.cursor = q->cursor;
        named.receipts = q->receipts;
        named.mutations = q->mutations;
        named.rows_max = q->rows_max;
        named.bytes_max = q->bytes_max;
        named.origins = q->origins;
        named.line = q->line;
        return encode(named);
    }
    /// Serves what the authority's program has read of a request.
    [[nodiscard]] result<bytes> serve_here(device& d, result<bytes> const& asked) {
        report_.first_authority += office_speaks_ == office::first ? 1 : 0;
        report_.older_authority += office_speaks_ == office::named ? 1 : 0;
        if (!asked) { return asked.error(); }
        auto said = serve(*office_, *home_, d.principal, *asked, now_);
        if (!said || office_speaks_ != office::first) { return said; }
        auto const p = decode_reply(*said);
        return p ? result<bytes>{first_codec::write(*p)} : p.error();
    }
    [[nodiscard]] static bool first_reads(bytes_view asked) {
        auto const q = first_codec::read_request(asked);
        return q || q.error() == errc::unsupported;
    }
    [[nodiscard]] device_standing standing_of(device& d) {
        auto read = d.plain->begin(access_mode::read);
        auto const me = d.self->self(*read);
        auto tx = office_->begin(access_mode::read);
        auto const s = me && tx ? home_->standing_of(*tx, me->device) : result<device_standing>{errc::not_found};
        return s ? *s : device_standing::good;
    }
    void set_standing(device& d, device_standing s) {
        auto read = d.plain->begin(access_mode::read);
        auto const me = d.self->self(*read);
        auto tx = office_->begin(access_mode::write);
        if (me && tx && home_->set_standing(*tx, me->device, s)) { (void)tx->commit(); }
        tell(name(d) + " is " +
             (s == device_standing::good      ? "trusted"
              : s == device_standing::revoked ? "revoked"
                                              : "held back"));
    }

    /// Answers a request as the authority's host does, and judges the answer.
    [[nodiscard]] std::optional<bytes> answer(device& d, letter const& l) {
        ++report_.exchanges;
        raw_image const before = image_of(*office_handle_);
        auto const q = decode_request(l.message);
        check(q.has_value() == l.understood, fleet_promise::versions, [&] {
            return name(d) +
                   (l.understood ? "'s request is not understood" : "'s request is taken, and names what is not known");
        });
        std::uint64_t const faults = office_->faults();
        device_standing const standing = standing_of(d);
        auto const asked = read_by_office(l.message);
        auto reply = serve_here(d, asked);
        bool const sound = office_->faults() == faults;
        office_->heal();
        raw_image const after = image_of(*office_handle_);
        note(1, reply ? xxh3_64(*reply) : static_cast<std::uint64_t>(reply.error().code));
        if (!reply) {
            tell("the authority answers " + name(d) + ": " + message(reply.error().code));
            check(!sound || before == after, fleet_promise::refused_first,
                  [&] { return "a request of " + name(d) + " was refused, and changed the authority"; });
            // It was written to an authority that read it, and comes to one that doesn't.
            bool const unread = !asked && asked.error() == errc::malformed && !first_reads(l.message);
            report_.unread += unread ? 1 : 0;
            bool const why = !sound || unread || (!l.understood && reply.error() == errc::unsupported) ||
                             (standing == device_standing::revoked && reply.error() == errc::forbidden);
            check(why, fleet_promise::versions,
                  [&] { return "a request of " + name(d) + " failed: " + message(reply.error().code); });
            hear_refusal(d, reply.error());
            return std::nullopt;
        }
        auto const p = decode_reply(*reply);
        if (!check(q && p, fleet_promise::versions, [&] {
                auto const raw = first_codec::read_reply(*reply);
                return "an answer to what is no request, or none: " + std::string{(q ? p.error() : q.error()).detail} +
                       (raw ? " from " + std::to_string(raw->from) + " to " + std::to_string(raw->to) + " of " +
                                  std::to_string(raw->head)
                            : std::string{});
            })) {
            return std::nullopt;
        }
        if (standing != device_standing::good) {
            ++report_.held_back;
            // What the first version decided has no name here; once its verdict is forgotten, it is taken for a clone's.
            bool const old = std::all_of(p->verdicts.begin(), p->verdicts.end(), [&](verdict const& v) {
                return v.again || (life_ != office_life::today && v.reason == errc::identity_fork);
            });
            check(old, fleet_promise::permission, [&] { return name(d) + " is not trusted, and was given verdicts"; });
        }
        judge_rights(d, *q, *p, *asked, before);
        return std::move(*reply);
    }
    /// The device's host tells it what became of its request, if that isn't lost too.
    void hear_refusal(device& d, failure const& why) {
        if (life_ != office_life::today && draw(5) == 0) { return; }
        auto const ok = in_transaction(d, [&](auto& tx) { return d.self->refused(tx, why); });
        if (ok && classify(why) == failure_class::rejected) { d.told = false; }
        if (!ok && !died(d)) { judge_corrupt(d, ok.error()); }
    }
    void judge_rights(device& d, request const& q, reply const& p, bytes_view message_in, raw_image const& before) {
        bool shy = false;  // it tried what it has no right to see the outcome of
        for (verdict const& v : p.verdicts) {
            for (std::size_t i = 0; i < q.mutations.size(); ++i) {
                cbor_reader in{q.mutations[i]};
                mutation const m = decode_mutation(in);
                if (m.sequence != v.sequence) { continue; }
                if (!q.origins.empty() && (v.kind == verdict_kind::applied || v.kind == verdict_kind::merged)) {
                    effective_.insert({q.origins[i].line, q.origins[i].number});
                }
                shy = shy || (m.record.collection == "vault" && !has(d.principal, "keeper"));
                tell("the authority decides " + show(m) + " of " + name(d) + ": " + syncline::name(v.kind) +
                     (v.again ? " (again)" : ""));
                if (v.again || v.kind == verdict_kind::duplicate) { continue; }
                if (v.kind == verdict_kind::rejected || v.kind == verdict_kind::conflict) {
                    refused_[{q.replica, v.sequence}] = report_.put_back;
                    if (!q.origins.empty()) {
                        refused_origins_[{q.origins[i].line, q.origins[i].number}] = report_.put_back;
                    }
                }
                bool const allowed = may(d.principal, m);
                if (v.kind == verdict_kind::rejected && v.reason == errc::forbidden) {
                    ++report_.forbidden;
                    check(!allowed, fleet_promise::permission,
                          [&] { return d.principal + " may, and was refused: " + show(m); });
                }
                check(allowed || v.kind == verdict_kind::rejected, fleet_promise::permission,
                      [&] { return d.principal + " may not, and it was " + syncline::name(v.kind) + ": " + show(m); });
            }
        }
        if (!shy) { return; }
        // What it hears is the same whatever stands in the records that it may not touch, and when there are none.
        for (bool const none : {false, true}) {
            raw_image other = before;
            for (auto it = other.begin(); it != other.end();) {
                bool const is_row = it->first.size() > 2 && it->first[1] == std::byte{'r'};
                bool const is_place = it->first.size() > 2 && it->first[1] == std::byte{'p'};
                bytes_view const record = is_row ? bytes_view{it->first}.subspan(2) : bytes_view{it->second};
                auto const k = is_row || is_place ? record_key_from(record) : result<record_key>{errc::not_found};
                if (!k || k->collection != "vault") {
                    ++it;
                } else if (none) {
                    it = other.erase(it);
                } else {
                    if (is_row) {
                        cbor_reader in{it->second};
                        row r = decode_row(in);
                        r.fields = fields({{"secret", naive_item(-1)}, {"other", naive_item(5)}});
                        r.deleted = false;
                        it->second.clear();
                        cbor_writer w{it->second};
                        encode_row(w, r);
                    }
                    ++it;
                }
            }
            memory_storage twin;
            {
                auto tx = twin.begin(access_mode::write);
                for (auto const& [k, v] : other) { (void)tx->put(k, v); }
                (void)tx->commit();
            }
            auto const again = serve(twin, *home_, d.principal, message_in, now_);
            auto const said = again ? decode_reply(*again) : result<reply>{again.error()};
            check(said && said->verdicts == p.verdicts, fleet_promise::silence, [&] {
                return d.principal + " hears another refusal when the records are others that they may not touch";
            });
        }
    }
    [[nodiscard]] static std::string show(mutation const& m) {
        std::string out = m.kind == change_kind::create  ? "create "
                          : m.kind == change_kind::erase ? "erase "
                                                         : "update ";
        out += m.record.collection + '/' + std::string{m.record.id_text()};
        for (field_op const& op : m.ops) {
            auto const n = op.kind == op_kind::unset ? std::nullopt : naive_integer(op.value);
            out += ' ' + op.field + (op.kind == op_kind::add ? " += " : " = ") +
                   (n ? std::to_string(*n) : std::string{"…"});
        }
        return out;
    }

    [[nodiscard]] static std::string show(std::map<std::string, bytes> const& all) {
        std::string out;
        for (auto const& [field, item] : all) {
            auto const n = naive_integer(item);
            out += (out.empty() ? "" : ", ") + field + ' ' + (n ? std::to_string(*n) : text_of(all, field.c_str()));
        }
        return out;
    }

    void back_up() {
        if (!backups_) { return; }
        raw_image image = image_of(*office_handle_);
        backups_taken_.push_back({std::move(image), head(), effective_});
        tell("the authority is backed up at " + std::to_string(backups_taken_.back().head));
        if (draw(3) != 0) { return; }
        // The newest copy is safe: older ones are thrown away first, as a commit that fails may have had its effect.
        if (!options_.older_backups) { backups_taken_.erase(backups_taken_.begin(), backups_taken_.end() - 1); }
        auto tx = office_->begin(access_mode::write);
        if (tx && home_->mark_stable(*tx, backups_taken_.back().head) && tx->commit()) {
            tell("… and that is said to be stable");
        }
    }
    void collect() {
        auto tx = office_->begin(access_mode::write);
        if (!tx) { return; }
        auto const done = home_->collect(*tx, 8);
        if (!done || !tx->commit()) { return; }
        report_.collected += done->tombstones;
        if (done->tombstones != 0) { tell("tombstones are collected up to " + std::to_string(done->horizon)); }
    }
    void put_back() {
        if (backups_taken_.empty()) { return; }
        std::size_t const which = static_cast<std::size_t>(draw(backups_taken_.size()));
        backup const& b = backups_taken_[which];
        for (auto const& d : devices_) {
            auto tx = d->plain->begin(access_mode::read);
            auto const s = d->self->status_of(*tx);
            if (s && s->cursor > b.head) { d->owed_regress = true; }
        }
        office_->heal();
        {
            raw_image const old = image_of(*office_handle_);
            auto tx = office_handle_->begin(access_mode::write);
            for (auto const& [k, v] : old) { (void)tx->erase(k); }
            for (auto const& [k, v] : b.image) { (void)tx->put(k, v); }
            (void)tx->commit();
        }
        effective_ = b.effective;
        ++report_.put_back;
        tell("the authority is put back to " + std::to_string(b.head));
        backups_taken_.erase(backups_taken_.begin() + static_cast<std::ptrdiff_t>(which) + 1, backups_taken_.end());
        open_office();
    }

    // Devices.

    void add_device() {
        auto d = std::make_unique<device>();
        d->number = devices_.size();
        d->principal = d->number == 0 ? "anna" : people[draw(people.size())];
        d->version = draw(2) == 0 || life_ != office_life::today ? 1 : 2;
        std::uint64_t const kind = draw(4);
        d->speaks = kind == 0 && d->version == 1 && !backups_ && !seals_ ? wire::first
                    : kind == 1                                          ? wire::later
                                                                         : wire::today;
        devices_.push_back(std::move(d));
        device& now = *devices_.back();
        start(now);
        if (now.speaks == wire::first) {
            // A store of the first version wants no ranges: it reads the log from its beginning.
            auto tx = now.store->begin(access_mode::write);
            std::vector<bytes> keys;
            (void)scan_prefix(*tx, to_bytes(as_bytes("rw")), [&](bytes_view k, bytes_view) {
                keys.push_back(to_bytes(k));
                return true;
            });
            for (bytes const& k : keys) { (void)tx->erase(k); }
            (void)tx->commit();
        }
    }
    void start(device& d) {
        d.store.reset();
        d.plain.reset();
        d.bad.reset();
        d.handle = d.disk.open();
        d.bad.emplace(*d.handle);
        d.store.emplace(*d.bad);
        d.plain.emplace(*d.handle);
        replica_options o;
        o.schemas = d.version == 1 ? &first_ : &newest_;
        o.rows_max = 1 + (report_.seed + d.number) % 7;
        o.mutations_max = 1 + static_cast<std::size_t>((report_.seed + d.number) % 9);
        d.self.emplace(fleet_rules(), o);
        auto const ok = in_transaction(d, [&](auto& tx) { return d.self->open(tx, d.principal, now_, random_); });
        check(ok.has_value(), fleet_promise::liveness, [&] { return name(d) + "'s store does not open"; });
    }
    void crash(device& d) {
        ++report_.crashes;
        tell(name(d) + " crashes");
        start(d);
    }
    template <class F>
    status in_transaction(device& d, F&& f) {
        auto tx = d.store->begin(access_mode::write);
        if (!tx) { return tx.error(); }
        status ok = f(*tx);
        return ok ? tx->commit() : ok;
    }
    /// After a use of the store in which a fault was planned: the process dies of it.
    bool died(device& d) {
        if (d.bad->faults() == 0) { return false; }
        ++report_.faults;
        crash(d);
        return true;
    }

    void begin() {
        device& d = *devices_[0];
        d.version = newest();
        d.speaks = d.speaks == wire::first ? wire::today : d.speaks;
        start(d);
        for (char const* id : shared) {
            auto const ok = in_transaction(d, [&](auto& tx) -> status {
                auto r = d.self->create(
                    tx, {"things", std::string_view{id}},
                    d.version == 1 ? fields({{"paid", naive_item(0)}, {"name", words("A B")}})
                                   : fields({{"cents", naive_item(0)}, {"first", words("A")}, {"last", words("B")}}),
                    now_);
                return r ? status{} : status{r.error()};
            });
            check(ok.has_value(), fleet_promise::local_write,
                  [] { return std::string{"the first write was refused"}; });
        }
        auto const ok = in_transaction(d, [&](auto& tx) -> status {
            auto r = d.self->create(tx, {"vault", "v"}, fields({{"secret", naive_item(1)}}), now_);
            return r ? status{} : status{r.error()};
        });
        check(ok.has_value(), fleet_promise::local_write, [] { return std::string{"the first write was refused"}; });
        for (int i = 0; i < 4; ++i) {
            for (auto const& each : devices_) { (void)exchange(*each); }
        }
        back_up();
    }

    void step() {
        replace_office();
        if (collects_ && report_.steps % 8 == 0) { collect(); }
        now_.wall += milliseconds{static_cast<std::int64_t>(draw(5'000))};
        now_.monotonic += milliseconds{static_cast<std::int64_t>(draw(5'000))};
        device& d = *devices_[draw(devices_.size())];
        std::uint64_t const what = draw(100);
        note(what, d.number);
        if (what < 42) {
            write(d);
        } else if (what < 56) {
            ask(d);
        } else if (what < 76) {
            deliver();
        } else if (what < 84) {
            (void)exchange(d);
        } else if (what < 88) {
            if (draw(2) == 0) {
                crash(d);
            } else {
                d.bad->inject({1 + draw(60), errc::storage_io, fault_moment::before, true, {}});
            }
        } else if (what == 88) {
            office_->inject({1, errc::storage_io, draw(2) == 0 ? fault_moment::after : fault_moment::before, false,
                             storage_call::commit});
        } else if (what < 91) {
            change_rights();
        } else if (what == 91) {
            static constexpr std::array all{device_standing::good, device_standing::quarantined,
                                            device_standing::revoked};
            if (unruly_) { set_standing(d, all[draw(all.size())]); }
        } else if (what == 92) {
            upgrade(d);
        } else if (what < 95) {
            back_up();
        } else if (what < 97) {
            put_back();
        } else if (what < 98) {
            rot(d);
        } else {
            walk(d);
        }
    }
    void change_rights() {
        std::string const who = people[draw(people.size())];
        char const* const role = draw(2) == 0 ? "editor" : "maker";
        if (!unruly_) { return; }
        if (!roles_[who].erase(role)) { roles_[who].insert(role); }
        tell(who + (has(who, role) ? " is made " : " is no longer ") + role);
    }
    /// The version of today's programs.
    [[nodiscard]] schema_version newest() const noexcept { return life_ == office_life::today ? 2 : 1; }
    void upgrade(device& d) {
        if (d.version == newest() && d.speaks != wire::first) { return; }
        // What the first version has sent had no origin, and its store had none for it: here it has one.
        if (d.speaks == wire::first && waiting(d) != 0) { return; }
        ++report_.upgrades;
        tell(name(d) + " gets today's program");
        d.carried = d.version != newest();
        d.version = newest();
        if (d.speaks == wire::first) { d.speaks = wire::today; }
        start(d);
    }

    // Writes, and the ledger of them.

    void write(device& d) {
        std::string const id = shared[draw(shared.size())];
        record_key k{"things", std::string_view{id}};
        std::uint64_t const kind = draw(10);
        std::int64_t const n = 1 + static_cast<std::int64_t>(draw(500));
        std::string const field = "f" + std::to_string(d.number);
        auto const fresh = ++values_;
        status ok;
        char const* what = "";
        if (kind < 3) {
            what = "adds";
            std::string const counter = d.version == 1 ? "paid" : "cents";
            ok = update(d, k, {counter, op_kind::add, naive_item(n), {}});
            if (ok) { added_[id] += d.version == 1 ? n * 100 : n; }
        } else if (kind < 5) {
            what = "says its own";
            ok = update(d, k, {field, op_kind::set, naive_item(fresh), {}});
            if (ok) { said_["things/" + id + '/' + field].push_back(fresh); }
        } else if (kind < 6) {
            what = "edits a copy";
            if (d.damaged) { return; }
            ok = edit_copy(d, k, fresh, said_["things/" + id + '/' + field], field);
        } else if (kind < 7) {
            what = seals_ && d.version == 2 && draw(6) == 0 ? "seals" : "sets the status";
            if (d.version == 1) { return; }
            ok = what[1] == 'e' && what[2] == 'a' ? update(d, k, {"sealed", op_kind::set, naive_item(1), {}})
                                                  : update(d, k, {"status", op_kind::set, naive_item(fresh), {}});
        } else if (kind < 9) {
            what = "writes its record";
            write_own(d, fresh);
            return;
        } else {
            what = "tries the vault";
            k = {"vault", "v"};
            ok = update(d, k, {"secret", op_kind::set, naive_item(fresh), {}});
        }
        tell(name(d) + ' ' + what + " " + std::string{k.id_text()} +
             (ok ? "" : std::string{": "} + message(ok.error().code)));
        judge_refusal(d, k, ok);
    }
    status update(device& d, record_key const& k, field_op op) {
        return in_transaction(d, [&](auto& tx) -> status {
            auto r = d.self->update(tx, k, {std::move(op)}, now_);
            return r ? status{} : status{r.error()};
        });
    }
    /// A host that reads the whole record, changes what it knows, and writes it back whole.
    status edit_copy(device& d, record_key const& k, std::int64_t fresh, history& own, std::string const& field) {
        status const ok = in_transaction(d, [&](auto& tx) -> status {
            auto r = d.self->read(tx, k);
            if (!r) { return r.error(); }
            if (!*r) { return errc::not_found; }
            std::map<std::string, bytes> all = fields_of((*r)->fields);
            all[field] = naive_item(fresh);
            std::string const given = "N" + std::to_string(fresh);
            if (d.version == 1) {
                all["name"] = words(given + " of " + name(d));
            } else {
                all["first"] = words(given);
            }
            auto w = d.self->put(tx, k, fields(all), now_);
            return w ? status{} : status{w.error()};
        });
        if (ok) { own.push_back(fresh); }
        return ok;
    }
    void write_own(device& d, std::int64_t fresh) {
        if (d.damaged) { return; }  // whose row is gone it would create once more
        std::string const id = "p" + std::to_string(d.number);
        record_key const k{"own", std::string_view{id}};
        history& own = said_["own/" + id + "/n"];
        bool there = false;
        bool annihilated = false;
        std::uint64_t const kind = draw(5);
        status const ok = in_transaction(d, [&](auto& tx) -> status {
            auto r = d.self->read(tx, k);
            if (!r) { return r.error(); }
            there = r->has_value();
            auto w = !there      ? d.self->create(tx, k, fields({{"n", naive_item(fresh)}}), now_)
                     : kind == 0 ? d.self->erase(tx, k, now_)
                                 : d.self->update(tx, k, {{"n", op_kind::set, naive_item(fresh), {}}}, now_);
            annihilated = w && w->token == 0;
            return w ? status{} : status{w.error()};
        });
        if (ok && !there) { born_[id] = own.size(); }
        if (ok && annihilated) {
            // Nothing was ever sent of that life: before it is what there was.
            own.resize((std::min)(own.size(), born_[id]));
        } else if (ok) {
            own.push_back(there && kind == 0 ? std::optional<std::int64_t>{} : std::optional{fresh});
        }
        tell(name(d) + (there ? kind == 0 ? " erases " : " changes " : " creates ") + id +
             (ok ? "" : std::string{": "} + message(ok.error().code)));
        judge_refusal(d, k, ok);
    }
    void judge_refusal(device& d, record_key const& k, status const& ok) {
        note(3, ok ? 0 : static_cast<std::uint64_t>(ok.error().code));
        if (ok || died(d)) { return; }
        errc const why = ok.error().code;
        if (why == errc::unsupported) { ++report_.closed; }
        auto tx = d.plain->begin(access_mode::read);
        auto const r = d.self->read(*tx, k);
        bool const right = (why == errc::not_found && r && !*r) ||
                           (why == errc::unsupported && d.version == 1 && seals_) ||
                           (why == errc::corrupt && d.damaged) || d.damaged;
        check(right, fleet_promise::local_write,
              [&] { return name(d) + "'s write was refused: " + std::string{message(why)}; });
    }

    // Exchanges.

    void ask(device& d) {
        auto const q = request_of(d);
        if (q) {
            mail_.push_back(*q);
            tell(name(d) + " asks");
        }
        if (mail_.size() > 24) { mail_.erase(mail_.begin()); }
    }
    [[nodiscard]] std::optional<letter> request_of(device& d, bool plain = false) {
        auto const ok = in_transaction(d, [&](auto& tx) { return d.self->prepare(tx, now_); });
        if (!ok) {
            if (!died(d)) { judge_corrupt(d, ok.error()); }
            return std::nullopt;
        }
        result<bytes> asked = errc::not_found;
        {
            auto tx = d.store->begin(access_mode::read);
            if (tx) { asked = d.self->request_message(*tx); }
        }
        if (!asked) {
            if (!died(d)) { judge_corrupt(d, asked.error()); }
            return std::nullopt;
        }
        letter l{true, d.number, std::move(*asked)};
        auto q = decode_request(l.message);
        if (!check(q.has_value(), fleet_promise::versions,
                   [] { return std::string{"a request that does not decode"}; })) {
            return std::nullopt;
        }
        bool const plain_form = first_reads(l.message);
        report_.in_columns += plain_form ? 0 : 1;
        if (!check(plain_form || d.told, fleet_promise::versions, [&] {
                return name(d) + " sends what the first version does not read, and the authority told of no other";
            })) {
            return std::nullopt;
        }
        if (d.speaks == wire::first) {
            ++report_.first_version;
            l.message = first_codec::write(*q);
            // An old device keeps one mutation that a later version of the library would call by an origin.
            check(first_codec::read_request(l.message).has_value(), fleet_promise::versions,
                  [] { return std::string{"the first version does not read its own request"}; });
        } else if (d.speaks == wire::later) {
            ++report_.newer;
            q->features |= 0x7FFF'0000U;
            l.message = with_more(plain_form ? encode(*q, 0) : encode(*q));
        }
        if (!plain && d.speaks == wire::later) { make_mandatory(l); }
        return l;
    }
    /// A message as a later version writes it: with keys that nobody knows yet.
    [[nodiscard]] static bytes with_more(bytes message_out) {
        message_out[frame_bytes] = static_cast<std::byte>(std::to_integer<unsigned>(message_out[frame_bytes]) + 2);
        cbor_writer w{message_out};
        w.unsigned_integer(1'000);
        w.array(2);
        w.text("later");
        w.map(0);
        w.unsigned_integer(70'000);
        w.null();
        syncline::detail::seal_frame(message_out);
        return message_out;
    }
    /// Now and then a later peer says what has to be understood, or speaks another version altogether.
    void make_mandatory(letter& l) {
        std::uint64_t const kind = draw(12);
        if (kind > 1) { return; }
        ++report_.mandatory;
        l.understood = false;
        if (kind == 0) {
            l.message[frame_bytes] = static_cast<std::byte>(std::to_integer<unsigned>(l.message[frame_bytes]) + 1);
            std::array<std::byte, 3> const key{std::byte{0}, std::byte{0x81}, std::byte{7}};
            l.message.insert(l.message.begin() + frame_bytes + 1, key.begin(), key.end());
            syncline::detail::seal_frame(l.message);
        } else {
            l.message[3] = std::byte{protocol_version + 1};
        }
    }
    /// The authority's answer as it comes to the device.
    [[nodiscard]] std::optional<letter> answered(letter const& l, bool plain = false) {
        device& d = *devices_[l.number];
        auto back = answer(d, l);
        if (!back) { return std::nullopt; }
        letter out{false, l.number, std::move(*back)};
        if (d.speaks == wire::first) {
            auto const read = first_codec::read_reply(out.message);
            if (!check(read.has_value(), fleet_promise::versions, [] {
                    return std::string{"an authority of today answers what the first version does not read"};
                })) {
                return std::nullopt;
            }
            out.message = first_codec::write(*read);
        } else if (d.speaks == wire::later) {
            out.message = with_more(std::move(out.message));
            if (!plain) { make_mandatory(out); }
        }
        return out;
    }
    /// Whether a request tells an authority that was put back since what it had refused, and its author knows of: that
    /// it can't know, and it may take it now. The author may have offered it under other names meanwhile.
    [[nodiscard]] bool tells_refused(letter const& l) const {
        auto const q = decode_request(l.message);
        if (!q) { return false; }
        bool const named = std::any_of(q->origins.begin(), q->origins.end(), [&](origin const& o) {
            auto const at = refused_origins_.find({o.line, o.number});
            return at != refused_origins_.end() && at->second < report_.put_back;
        });
        return named || std::any_of(q->mutations.begin(), q->mutations.end(), [&](bytes const& raw) {
                   cbor_reader in{raw};
                   auto const at = refused_.find({q->replica, decode_mutation(in).sequence});
                   return at != refused_.end() && at->second < report_.put_back;
               });
    }
    void deliver() {
        if (mail_.empty()) { return; }
        std::size_t const i = static_cast<std::size_t>(draw(mail_.size()));
        letter const l = mail_[i];
        if (draw(6) != 0) { mail_.erase(mail_.begin() + static_cast<std::ptrdiff_t>(i)); }  // else it comes again
        if (draw(9) == 0) { return; }                                                       // lost
        if (l.to_office) {
            if (tells_refused(l)) { return; }
            auto back = answered(l);
            if (back) { mail_.push_back(std::move(*back)); }
        } else {
            take(l);
        }
    }
    std::optional<exchange_report> take(letter const& l) {
        device& d = *devices_[l.number];
        raw_image const before = l.understood ? raw_image{} : image_of(*d.handle);
        exchange_report report;
        auto const ok = in_transaction(d, [&](auto& tx) -> status {
            auto r = d.self->absorb(tx, l.message, now_, random_);
            if (r) { report = *r; }
            return r ? status{} : status{r.error()};
        });
        note(4, ok ? report.rows : static_cast<std::uint64_t>(ok.error().code));
        tell(name(d) +
             (ok ? " takes in " + std::to_string(report.verdicts) + " verdicts, " + std::to_string(report.rows) +
                       " rows" + (report.regressed ? ", and hears that the authority was put back" : "")
                 : std::string{" does not take a reply in: "} + message(ok.error().code)));
        if (report.regressed && ok) { ++report_.regressed; }
        auto const said = decode_reply(l.message);
        bool const columns = said && (said->features & feature_columns) != 0;
        bool const brings = report.verdicts != 0 || report.rows != 0 || report.advanced;  // else it may be an old one
        if (ok && (columns || brings)) { d.told = columns; }
        if (!l.understood) {
            check(!ok && image_of(*d.handle) == before, fleet_promise::refused_first,
                  [&] { return name(d) + " took a reply in that says what is not known"; });
        }
        if (ok) { return report; }
        if (died(d) || (!l.understood && ok.error() == errc::unsupported)) { return std::nullopt; }
        judge_corrupt(d, ok.error());
        return std::nullopt;
    }
    /// Where a row has rotted, `corrupt` is an honest answer; the host then looks at everything.
    void judge_corrupt(device& d, failure const& why) {
        if (!check(why == errc::corrupt && d.damaged, fleet_promise::liveness,
                   [&] { return name(d) + " fails with " + message(why.code) + ": " + why.detail; })) {
            return;
        }
        walk(d);
    }
    /// One exchange without any mishap of the network.
    std::optional<exchange_report> exchange(device& d) {
        auto const q = request_of(d, true);
        if (!q) { return std::nullopt; }
        auto const back = answered(*q, true);
        if (!back) { return std::nullopt; }
        return take(*back);
    }

    // Rows that rot.

    void rot(device& d) {
        if (!rots_ || backups_ || d.speaks == wire::first) { return; }
        std::vector<std::pair<bytes, bytes>> rows;
        std::set<bytes> tombstones;
        {
            auto tx = d.plain->begin(access_mode::read);
            (void)scan_prefix(*tx, to_bytes(as_bytes("rv")), [&](bytes_view k, bytes_view v) {
                // Of what is pending the authority has no copy.
                auto const held = stored_records::parse(v);
                if (held && !held->pending) { rows.emplace_back(to_bytes(k), to_bytes(v)); }
                auto const record = record_key_from(k.subspan(2));
                auto const shown = record ? d.self->read(*tx, *record) : failure{errc::not_found};
                if (shown && !*shown) { tombstones.insert(to_bytes(k)); }
                return true;
            });
        }
        if (rows.size() < 2) { return; }
        std::size_t const i = static_cast<std::size_t>(draw(rows.size()));
        std::size_t const j = (i + 1 + static_cast<std::size_t>(draw(rows.size() - 1))) % rows.size();
        std::uint64_t kind = draw(4);
        // A tombstone that is lost, or another's, is soundly absent: no walk over what lives finds it.
        if (kind > 1 && tombstones.count(rows[i].first) != 0) { kind = 0; }
        static constexpr std::array<char const*, 4> kinds{"flips a bit of", "writes astray onto", "loses",
                                                          "exchanges whole and soundly"};
        ++report_.rotted;
        d.damaged = true;
        tell("the disk of " + name(d) + ' ' + kinds[kind] + " a row");
        if (kind == 3) {
            (void)in_transaction(d, [&](auto& tx) { return tx.put(rows[i].first, rows[j].second); });
            return;
        }
        auto tx = d.handle->begin(access_mode::write);
        bytes raw;
        (void)tx->get(rows[kind == 1 ? j : i].first, raw);
        if (kind == 0) {
            std::uint64_t const bit = draw(raw.size() * 8);
            raw[static_cast<std::size_t>(bit / 8)] ^= std::byte{1} << static_cast<int>(bit % 8);
        }
        (void)(kind == 2 ? tx->erase(rows[i].first) : tx->put(rows[i].first, raw));
        (void)tx->commit();
    }
    /// A walk over everything that the device holds, to its end; what differs is fetched again.
    void walk(device& d) {
        if (d.speaks == wire::first || office_speaks_ != office::today) { return; }
        if (!in_transaction(d, [&](auto& tx) { return d.check.begin(tx, random_); })) {
            (void)died(d);
            return;
        }
        for (int guard = 0; guard < 100; ++guard) {
            result<std::optional<bytes>> asked = errc::not_found;
            {
                auto tx = d.store->begin(access_mode::read);
                if (tx) { asked = d.check.ask(*tx, *d.self); }
            }
            if (!asked) {
                (void)died(d);
                return;
            }
            if (!*asked) { break; }
            auto const said = serve_integrity_here(**asked);
            if (!said) { return; }
            if (!in_transaction(d, [&](auto& tx) { return d.check.absorb(tx, *d.self, *said); })) {
                (void)died(d);
                return;
            }
        }
        auto tx = d.plain->begin(access_mode::read);
        auto const r = d.check.report(*tx);
        if (!r || !*r) { return; }
        if ((*r)->differing != 0) {
            tell(name(d) + " finds " + std::to_string((*r)->differing) + " ranges that differ");
        }
        // Who has not heard yet that the authority was put back holds another past.
        check((*r)->differing == 0 || d.damaged || d.carried || (backups_ && !at_rest_), fleet_promise::convergence,
              [&] { return name(d) + " is told that it holds something else, and nothing had rotted"; });
        // Sound once a whole walk over whole ranges finds nothing, and there is nothing to come: what has changed since is
        // not compared, as the next page replaces it, and until then it is as it is.
        bool const sound = (*r)->done && (*r)->differing == 0 && (*r)->passed_over == 0 && at_head(d, *tx);
        if (d.damaged && sound) { ++report_.healed; }
        d.damaged = d.damaged && !sound;
        d.carried = d.carried && !sound;
    }
    [[nodiscard]] result<bytes> serve_integrity_here(bytes_view asked) {
        auto tx = office_->begin(access_mode::read);
        if (!tx) { return tx.error(); }
        return answer_integrity(*tx, *home_, asked);
    }

    // After the trouble.

    void calm_down() {
        tell("the trouble is over");
        for (letter const& l : std::exchange(mail_, {})) {
            if (l.to_office) {
                if (!tells_refused(l)) { (void)answered(l, true); }
            } else {
                (void)take(l);
            }
        }
        office_->heal();
        for (auto const& d : devices_) {
            d->bad->heal();
            set_standing(*d, device_standing::good);
        }
        bool rest = false;
        for (int round = 0; round < 120 && !rest && report_.found.empty(); ++round) {
            rest = true;
            now_.wall += milliseconds{1'000};
            for (auto const& d : devices_) {
                auto const r = exchange(*d);
                rest = rest && r && !r->more && r->verdicts == 0 && r->rows == 0 && waiting(*d) == 0 && at_head(*d);
                if (d->damaged || d->carried) {
                    walk(*d);
                    rest = false;
                }
            }
        }
        if (!report_.found.empty()) { return; }
        bool const hurt = std::any_of(devices_.begin(), devices_.end(), [](auto const& d) { return d->damaged; });
        if (!check(!hurt, fleet_promise::healed,
                   [] { return std::string{"healed, and a row is still not what it was"}; }) ||
            !check(rest, fleet_promise::liveness, [&] { return unrest(); })) {
            return;
        }
        at_rest_ = true;
        for (auto const& d : devices_) { walk(*d); }
        judge_rest();
    }
    template <class Tx>
    [[nodiscard]] bool at_head(device& d, Tx& tx) {
        auto const s = d.self->status_of(tx);
        return s && s->cursor == head() && s->complete;
    }
    [[nodiscard]] bool at_head(device& d) {
        auto tx = d.plain->begin(access_mode::read);
        return at_head(d, *tx);
    }
    [[nodiscard]] std::size_t waiting(device& d) {
        std::size_t n = 0;
        auto tx = d.plain->begin(access_mode::read);
        (void)d.self->queue().scan(*tx, [&](outbox_entry const&) {
            ++n;
            return true;
        });
        return n;
    }
    [[nodiscard]] std::string unrest() {
        std::string out = "healed, and not at rest:";
        for (auto const& d : devices_) {
            out += ' ' + name(*d) + " waits with " + std::to_string(waiting(*d)) +
                   (at_head(*d) ? "" : ", not at the head");
        }
        return out;
    }

    [[nodiscard]] static std::pair<std::uint64_t, std::uint64_t> origin_of(outbox_entry const& e) {
        auto const p = syncline::pending::parse(e.payload);
        return {p ? p->line : 0, syncline::detail::outbox_sequence(e.token)};
    }
    /// What lies with a person: dead letters, and conflicts that are open.
    [[nodiscard]] std::vector<mutation> with_person(device& d) {
        std::vector<mutation> out;
        auto tx = d.plain->begin(access_mode::read);
        (void)d.self->queue().scan_dead(*tx, [&](outbox_entry const& e) {
            auto m = replica::mutation_of(e);
            // Sent under another name before, and what came of it was told to nobody: it may have had its effect.
            bool const elsewhere = e.reason == errc::identity_fork && effective_.count(origin_of(e)) != 0;
            if (m && !elsewhere) { out.push_back(std::move(*m)); }
            return true;
        });
        auto const ok = d.self->conflicts(*tx, [&](open_conflict const& c) {
            out.push_back(c.local);
            return true;
        });
        check(ok.has_value(), fleet_promise::nothing_lost, [&] { return name(d) + " can't show its conflicts"; });
        return out;
    }
    void judge_rest() {
        std::map<std::string, std::map<std::string, bytes>> truth;
        {
            auto tx = office_->begin(access_mode::read);
            (void)home_->scan(*tx, [&](record_key const& k, row const& stored) {
                row r = stored;
                (void)newest_.of(k.collection).cast(r, newest_.of(k.collection).version());
                if (!r.deleted) { truth[k.collection + '/' + std::string{k.id_text()}] = fields_of(r.fields); }
                return true;
            });
        }
        std::map<std::string, std::int64_t> set_aside;
        std::map<std::string, std::set<std::int64_t>> said_aside;
        std::set<std::string> touched_aside;
        for (auto const& d : devices_) {
            for (mutation const& m : with_person(*d)) {
                std::string const k = m.record.collection + '/' + std::string{m.record.id_text()};
                touched_aside.insert(k);
                for (field_op const& op : m.ops) {
                    auto const n = op.kind == op_kind::unset ? std::nullopt : naive_integer(op.value);
                    if (!n) { continue; }
                    if (op.kind == op_kind::add) {
                        set_aside[std::string{m.record.id_text()}] += op.field == "paid" ? *n * 100 : *n;
                    } else {
                        said_aside[k + '/' + op.field].insert(*n);
                    }
                }
            }
        }
        for (char const* id : shared) {
            std::int64_t const ought = added_[id] - set_aside[id];
            std::int64_t const is = number_of(truth[std::string{"things/"} + id], "cents");
            check(is == ought, fleet_promise::exactly_once, [&] {
                return std::string{id} + " holds " + std::to_string(is) + ", what was added and lies with nobody is " +
                       std::to_string(ought);
            });
        }
        for (auto const& entry : said_) {
            std::string const& place = entry.first;
            history const& own = entry.second;
            if (own.empty()) { continue; }
            std::size_t const slash = place.rfind('/');
            std::string const k = place.substr(0, slash);
            auto const there = truth.find(k);
            std::optional<std::int64_t> is;
            if (there != truth.end() && there->second.count(place.substr(slash + 1)) != 0) {
                is = number_of(there->second, place.substr(slash + 1));
            }
            bool const aside = own.back() ? said_aside[place].count(*own.back()) != 0 : touched_aside.count(k) != 0;
            bool const undone = k.rfind("own/", 0) == 0 && touched_aside.count(k) != 0;
            bool const known = !is || std::find(own.begin(), own.end(), is) != own.end();
            check(aside || undone ? known : is == own.back(), fleet_promise::nothing_lost, [&] {
                return "of " + place + " the last word was " +
                       (own.back() ? std::to_string(*own.back()) : "to erase it") + ", and there is " +
                       (is ? std::to_string(*is) : "nothing");
            });
        }
        for (auto const& d : devices_) { compare(*d, truth); }
        for (auto const& d : devices_) {
            if (!d->owed_regress) { continue; }
            std::uint64_t heard = 0;
            auto tx = d->plain->begin(access_mode::read);
            (void)d->self->events(*tx, 0, [&](std::uint64_t, event const& e) {
                heard += e.kind == event_kind::regressed ? 1 : 0;
                return true;
            });
            check(heard != 0, fleet_promise::epoch_honesty, [&] {
                return "the authority was put back to before what " + name(*d) + " knew, and it was not told";
            });
        }
        note(5, head());
    }
    /// Each shows what the authority holds, as of the version that its program knows.
    void compare(device& d, std::map<std::string, std::map<std::string, bytes>> const& truth) {
        std::size_t shown = 0;
        auto tx = d.plain->begin(access_mode::read);
        for (char const* collection : {"things", "own", "vault"}) {
            auto const ok = d.self->scan(*tx, collection, [&](record_key const& k, record const& r) {
                ++shown;
                auto const at = truth.find(k.collection + '/' + std::string{k.id_text()});
                bool const right = at != truth.end() && !r.pending &&
                                   (r.closed ? d.version == 1 && at->second.count("sealed") != 0
                                             : same(d.version, k.collection, fields_of(r.fields), at->second));
                check(right, fleet_promise::convergence, [&] {
                    return name(d) + " rests with another " + std::string{k.id_text()} +
                           " than the authority: " + show(fields_of(r.fields)) + (r.pending ? " (pending)" : "") +
                           " and not " + (at == truth.end() ? std::string{"nothing"} : show(at->second));
                });
                return true;
            });
            check(ok.has_value(), fleet_promise::convergence, [&] { return name(d) + " can't read all"; });
        }
        check(shown == truth.size(), fleet_promise::convergence, [&] {
            return name(d) + " rests with " + std::to_string(shown) + " records of " + std::to_string(truth.size());
        });
    }
    [[nodiscard]] static bool same(schema_version v, std::string const& collection,
                                   std::map<std::string, bytes> const& held,
                                   std::map<std::string, bytes> const& newest) {
        if (v == 2 || collection != "things") { return held == newest; }
        if (number_of(held, "paid") != number_of(newest, "cents") / 100) { return false; }
        std::string const last = text_of(newest, "last");
        if (text_of(held, "name") != text_of(newest, "first") + (last.empty() ? "" : " ") + last) { return false; }
        auto const rest = [](std::map<std::string, bytes> all) {
            std::erase_if(all, [](auto const& f) {
                std::string const& n = f.first;
                bool const by_default = n == "status" && f.second == words("open");
                return n[0] == kept_field_prefix || n == "paid" || n == "cents" || n == "name" || n == "first" ||
                       n == "last" || by_default;
            });
            return all;
        };
        return rest(held) == rest(newest);
    }

    fleet_options options_;
    random_generator random_;
    schema_table newest_;
    schema_table first_{};
    fleet_report report_{};
    bool backups_ = false;
    bool collects_ = false;
    bool seals_ = false;
    bool rots_ = false;
    bool unruly_ = false;  ///< rights and standings change
    office_life life_ = office_life::today;
    office office_speaks_ = office::today;
    std::uint64_t turns_ = 0;  ///< the step at which another program takes the authority's place
    bool at_rest_ = false;
    instant now_{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1'000}}};

    std::map<std::string, std::set<std::string>> roles_{};
    std::unique_ptr<home_type> home_{};
    simulated_disk office_disk_{};
    std::unique_ptr<medium> office_handle_{};
    std::optional<faulty> office_{};
    std::vector<backup> backups_taken_{};
    std::set<std::pair<std::uint64_t, std::uint64_t>> effective_{};
    std::vector<std::unique_ptr<device>> devices_{};
    std::vector<letter> mail_{};

    std::int64_t values_ = 0;
    std::map<std::pair<replica_id, std::uint64_t>, std::uint64_t> refused_{};  ///< how often it was put back by then
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> refused_origins_{};  ///< the same, by origin
    std::map<std::string, std::int64_t> added_{};
    std::map<std::string, history> said_{};
    std::map<std::string, std::size_t> born_{};  ///< what was said of a record before its present life
};

}  // namespace detail

/// One life of a fleet. The same seed and options give the same life and the same report, on every machine.
/// With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline fleet_report simulate_fleet(std::uint64_t seed, fleet_options const& o = {}) {
    return detail::live_life<detail::fleet_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline fleet_options shrink_fleet(fleet_report const& failed, fleet_options o = {},
                                                std::size_t lives = 1'000) {
    return detail::shrink_life<detail::fleet_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
