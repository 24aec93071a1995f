// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The queue of conflicts alone in a simulated world: hosts, a bad disk and power cuts, judged by a naive list.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/conflict/queue.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/testing/faulty_storage.hpp>
#include <syncline/testing/simulated_disk.hpp>
#include <syncline/testing/step_dice.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What the queue promises, by the names under which a breach is reported.
struct conflict_promise {
    static constexpr char const* answers = "answers";      ///< every call answers as a naive list does
    static constexpr char const* contents = "contents";    ///< and leaves behind what that holds, history and all
    static constexpr char const* previews = "previews";    ///< what a preview shows is what the decision does
    static constexpr char const* choices = "choices";      ///< the record holds what the person chose
    static constexpr char const* decidable = "decidable";  ///< what the rules raise can be decided for either side
    static constexpr char const* nothing_lost = "nothing_lost";  ///< what was not contested goes along
    static constexpr char const* audited = "audited";            ///< each event is told once, in its transaction
    static constexpr char const* atomicity = "crash_atomicity";  ///< after a crash a state that there was
    static constexpr char const* order = "order";                ///< lists give what fits, oldest first, page by page
};

struct conflict_simulation_options {
    std::uint32_t steps = 300;
    disk_lie lie = disk_lie::none;
    bool tell = false;   ///< write the story
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct conflict_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t faults = 0;  ///< storage calls that were made to fail
    std::uint64_t power_cuts = 0;
    std::uint64_t decided = 0, undone = 0, redone = 0, renewed = 0, refused = 0, forgotten = 0;
    std::uint64_t trace = 0;  ///< of everything that was done and answered: the same on every machine
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

namespace detail {

/// The fields that the world's rows have, in canonical order: of each rule that decides from inside of a value, of those
/// that a person decides and those that only the authority can, of two that go together, and free ones.
inline constexpr std::string_view conflict_world_fields[] = {"a",   "b",   "n",    "q",    "g1",   "g2",   "map",
                                                             "max", "pay", "free", "list", "tags", "text", "nested"};
/// The fields that a host's own conflicts are about, whose base has nothing to do with the row.
inline constexpr std::string_view conflict_world_plain[] = {"a", "b", "n", "map", "free"};

class conflict_world : small_life<conflict_simulation_options, conflict_simulation_report> {
public:
    conflict_world(std::uint64_t seed, conflict_simulation_options const& o)
        : small_life(seed, seed * 2'654'435'761U + 99, o),
          disk_(draw(2) == 0 ? durability::full : durability::ordered, o.lie),
          queue_({.open_max = 6 + draw(8), .bytes_max = 1'500 + draw(6000), .events_max = 3 + draw(30)}) {
        collection_rules by{"things",
                            rule::last_writer,
                            {{"a", rule::manual},
                             {"b", rule::manual},
                             {"n", rule::counter},
                             {"map", rule::manual},
                             {"q", rule::authority_time},
                             {"pay", rule::role},
                             {"max", rule::maximum},
                             {"tags", draw(2) == 0 ? rule::add_wins : rule::remove_wins},
                             {"list", draw(2) == 0 ? rule::list : rule::sequence},
                             {"text", rule::text_lines},
                             {"nested", rule::nested}},
                            {{"g", draw(2) == 0 ? rule::manual : rule::last_writer, {"g1", "g2"}}}};
        by.fields.back().inner = {{"x", rule::manual}, {"y", rule::counter}, {"z", rule::add_wins}};
        by.deletes = draw(2) == 0 ? deletion::wins : deletion::manual;
        table_.add(by);
        by.collection = "other";
        table_.add(by);
        host_.role_of = [](author_index a, void const*) -> std::uint32_t { return a % 5; };
        open();
        saved_.push_back(model_);
    }

    conflict_simulation_report run(step_dice& dice) {
        live(dice, [&] {
            now_ += milliseconds{draw_number(20'000) - 2'000};  // a clock that is set back at times
            if (draw(25) == 0) {
                power_cut();
            } else if (draw(30) == 0) {
                tell("all is synced");
                (void)store_->barrier();
                saved_.assign(1, model_);
            } else {
                deed();
            }
            if (fine()) { compare(); }
        });
        return finished();
    }

private:
    struct naive_conflict {
        conflict c{};
        std::vector<conflict_entry> history{};
        bool met = false;           // the rules raised it
        std::optional<row> left{};  // by the last undo
        friend bool operator==(naive_conflict const&, naive_conflict const&) = default;
    };
    struct naive_queue {
        std::vector<naive_conflict> all{};  // in order of id
        std::uint64_t last = 0;
        std::uint64_t told = 0;  // notes that the audit has, in a row of its own
        std::vector<std::pair<record_key, row>> rows{};
        std::vector<std::pair<record_key, row>> seen{};  // what somebody may have seen when they began to write
        position head = 10;
        friend bool operator==(naive_queue const&, naive_queue const&) = default;

        [[nodiscard]] std::size_t open() const {
            return static_cast<std::size_t>(std::count_if(
                all.begin(), all.end(), [](naive_conflict const& n) { return n.c.state == conflict_state::open; }));
        }
    };

    [[nodiscard]] collection_rules const& rules_of(record_key const& k) const { return table_.of(k.collection); }
    [[nodiscard]] apply_context context(author_index author, position at) const {
        apply_context out;
        out.author = author;
        out.at = at;
        out.host = &host_;
        return out;
    }
    void open() {
        disk_handle_ = disk_.open();
        store_ = std::make_unique<faulty_storage<simulated_disk::storage_type>>(*disk_handle_);
    }
    void power_cut() {
        ++report_.power_cuts;
        store_.reset();
        disk_handle_.reset();
        disk_.power_cut(random_);
        open();
        // What is there is a state that there was: the newest that fits.
        auto tx = store_->begin(access_mode::read);
        for (std::size_t i = saved_.size(); i-- != 0;) {
            if (same(*tx, saved_[i])) {
                std::size_t const gone = saved_.size() - 1 - i;
                tell("the power is lost" + (gone == 0 ? "" : ", and with it the last " + std::to_string(gone)));
                model_ = saved_[i];
                saved_.assign(1, model_);
                return;
            }
        }
        broken(conflict_promise::atomicity, "after a power cut the store holds no state that there was");
    }

    // Values.

    bytes any_item() {
        bytes out;
        cbor_writer w{out};
        switch (draw(4)) {
            case 0: w.integer(static_cast<std::int64_t>(draw(9)) - 4); break;
            case 1: w.null(); break;
            default: w.text(std::string_view{"xyzzyx"}.substr(0, 1 + draw(6))); break;
        }
        return out;
    }
    bytes any_map() {
        bytes out;
        cbor_writer w{out};
        std::uint64_t const which = draw(4);
        w.map(static_cast<std::size_t>((which & 1U) + (which >> 1U)));
        if ((which & 1U) != 0) {
            w.text("p");
            w.raw(any_item());
        }
        if ((which & 2U) != 0) {
            w.text("q");
            w.raw(any_item());
        }
        return out;
    }
    /// Some of six letters, each once; in order, or not.
    bytes any_letters(bool in_order) {
        std::vector<char> all;
        for (char const c : {'p', 'q', 'r', 's', 't', 'u'}) {
            if (draw(2) == 0) { all.insert(in_order || draw(2) == 0 ? all.end() : all.begin(), c); }
        }
        bytes out;
        cbor_writer w{out};
        w.array(all.size());
        for (char const c : all) { w.text({&c, 1}); }
        return out;
    }
    bytes any_text() {
        std::string lines;
        for (int i = 0; i < 5; ++i) { lines += draw(5) == 0 ? "other\n" : std::string(1 + draw(2), "abcde"[i]) + "\n"; }
        bytes out;
        cbor_writer{out}.text(lines);
        return out;
    }
    bytes any_number() {
        bytes out;
        cbor_writer{out}.integer(static_cast<std::int64_t>(draw(100)));
        return out;
    }
    bytes any_nested() {
        bytes out;
        cbor_writer w{out};
        w.map(4);
        w.text("w");
        w.raw(any_item());
        w.text("x");
        w.raw(any_item());
        w.text("y");
        w.raw(any_number());
        w.text("z");
        w.raw(any_letters(true));
        return out;
    }
    bytes value_of(std::string_view field) {
        if (field == "n" || field == "max") { return any_number(); }
        if (field == "tags") { return any_letters(true); }
        if (field == "list") { return any_letters(false); }
        if (field == "text") { return any_text(); }
        if (field == "nested") { return any_nested(); }
        return field == "map" ? any_map() : any_item();
    }
    /// Another value of some fields.
    bytes edited(bytes_view fields) {
        std::vector<syncline::detail::field_change> all;
        std::vector<bytes> values;
        values.reserve(std::size(conflict_world_fields));
        for (std::string_view const f : conflict_world_fields) {
            if (draw(3) != 0) { continue; }
            values.push_back(value_of(f));
            bool const stays = f == "n" || f == "max" || f == "nested" || draw(10) != 0;
            all.push_back({f, stays, values.back()});
        }
        return syncline::detail::rewrite_fields(fields, all);
    }
    bytes any_fields() {
        std::vector<syncline::detail::field_change> all;
        std::vector<bytes> values;
        values.reserve(std::size(conflict_world_fields));
        for (std::string_view const f : conflict_world_fields) {
            if (f != "n" && draw(4) == 0) { continue; }
            values.push_back(value_of(f));
            all.push_back({f, true, values.back()});
        }
        return syncline::detail::rewrite_fields({}, all);
    }
    std::pair<record_key, row>& any_row() {
        if (model_.rows.size() < 4) {
            static constexpr std::string_view ids[] = {"a", "ab", "abc", "b"};
            row r;
            r.version = ++model_.head;
            r.floor = {r.version, stamp(), 7};
            r.fields = any_fields();
            std::size_t const n = model_.rows.size();
            model_.rows.emplace_back(record_key{n == 3 ? "other" : "things", ids[n]}, r);
            return model_.rows.back();
        }
        return model_.rows[static_cast<std::size_t>(draw(model_.rows.size()))];
    }
    timestamp stamp() { return {timestamp::make(wall_time{milliseconds{1'790'000'000'000}}).raw + ++stamps_}; }

    /// Somebody else writes.
    void change_row(record_key const& key, row& r) {
        mutation m;
        m.record = key;
        m.life = r.life;
        m.base = r.version;
        m.stamp = stamp();
        if (r.deleted) {
            if (draw(3) != 0) { return; }
            m.kind = change_kind::create;
            ++m.life;
            m.ops = *diff({}, any_fields(), rules_of(key), m.stamp);
        } else if (draw(12) == 0) {
            m.kind = change_kind::erase;
        } else {
            auto ops = diff(r.fields, edited(r.fields), rules_of(key), m.stamp);
            if (!ops) { return; }
            m.ops = std::move(*ops);
        }
        confirm(key, r, m, 7);
    }
    /// The authority decides, and tells the row.
    void confirm(record_key const& key, row& r, mutation const& m, author_index author) {
        std::optional<row> after = r;
        if (!apply(after, m, rules_of(key), context(author, model_.head + 1)).changed) { return; }
        ++model_.head;
        model_.seen.emplace_back(key, r);
        if (model_.seen.size() > 12) { model_.seen.erase(model_.seen.begin()); }
        r = *after;
    }
    /// What the rules would ask a person about a mutation on a row, what is asked already aside, found one by one.
    std::vector<contested_field> asked(record_key const& key, row const& r, mutation m,
                                       std::vector<contested_field> const& known) {
        std::vector<contested_field> out = known;
        m.kind = change_kind::update;
        for (contested_field const& f : known) { leave_out(m, f.path); }
        for (;;) {
            std::optional<row> after = r;
            auto const outcome = apply(after, m, rules_of(key), context(3, r.version));
            std::size_t const before = out.size();
            for (decision const& d : outcome.decisions) {
                if (d.won != winner::nobody) { continue; }
                contested_field f;
                f.path = d.inside.empty() ? field_path{d.field} : field_path{d.field, d.inside};
                f.by = d.by;
                out.push_back(std::move(f));
            }
            if (outcome.verdict == verdict_kind::rejected && outcome.reason == errc::contended) {
                out.push_back({{"q"}, rule::authority_time, "", 0, 0, {}});
            }
            if (out.size() == before) { break; }
            for (std::size_t i = before; i < out.size(); ++i) { leave_out(m, out[i].path); }
        }
        std::sort(out.begin(), out.end(),
                  [](contested_field const& x, contested_field const& y) { return compare_paths(x.path, y.path) < 0; });
        return out;
    }
    std::vector<contested_field> asked_now(conflict const& c, row const& r) {
        bool const by_field =
            !c.of_whole_record() && !r.deleted && r.life == c.local.life && c.local.kind != change_kind::erase;
        return by_field ? asked(c.record, r, c.local, c.fields) : c.fields;
    }
    static void leave_out(mutation& m, field_path const& path) {
        for (std::size_t i = 0; i < m.ops.size(); ++i) {
            field_op& op = m.ops[i];
            if (op.field != path.front()) { continue; }
            if (path.size() == 1 || op.kind != op_kind::nested) {
                m.ops.erase(m.ops.begin() + static_cast<std::ptrdiff_t>(i));
                return;
            }
            cbor_reader in{op.value};
            auto inside = decode_operations(in, op.stamp);
            inside.erase(std::remove_if(inside.begin(), inside.end(),
                                        [&](field_op const& inner) { return inner.field == path[1]; }),
                         inside.end());
            op.value.clear();
            cbor_writer w{op.value};
            encode_operations(w, inside, op.stamp);
            return;
        }
    }
    /// A conflict as a replica meets it: somebody has written on what they had seen, and another's came first.
    std::optional<conflict> met_conflict() {
        if (model_.seen.empty()) { return std::nullopt; }
        auto const& [key, was] = model_.seen[static_cast<std::size_t>(draw(model_.seen.size()))];
        row const* now = nullptr;
        for (auto const& [k, r] : model_.rows) {
            if (k == key) { now = &r; }
        }
        if (now == nullptr || was.deleted || was.version >= now->version) { return std::nullopt; }
        conflict c;
        c.record = key;
        c.local.record = key;
        c.local.stamp = stamp();
        c.local.sequence = stamps_;
        c.local.life = was.life;
        c.local.base = was.version;
        c.local_by = {to_bytes("me"), c.local.stamp, static_cast<std::uint8_t>(draw(4))};
        c.remote_by = {to_bytes("them"), now->floor.stamp, static_cast<std::uint8_t>(draw(4))};
        c.remote = *now;
        if (draw(10) == 0) {
            c.local.kind = change_kind::erase;
        } else {
            auto ops = diff(was.fields, edited(was.fields), rules_of(key), c.local.stamp);
            if (!ops) { return std::nullopt; }
            c.local.ops = std::move(*ops);
        }
        c.base = touched(c.local.ops, was.fields, {});
        std::optional<row> after = *now;
        auto const outcome = apply(after, c.local, rules_of(key), context(3, now->version + 1));
        if (outcome.verdict != verdict_kind::conflict) { return std::nullopt; }
        bool const whole = outcome.decisions.front().field.empty();
        c.fields = whole ? std::vector<contested_field>{contested_field{}} : asked(key, *now, c.local, {});
        return c;
    }
    /// Of a map the fields that operations touch, over another map.
    static bytes touched(std::vector<field_op> const& ops, bytes_view of, bytes_view over) {
        std::vector<syncline::detail::field_change> all;
        for (field_op const& op : ops) {
            auto const v =
                of.empty() ? result<std::optional<bytes_view>>{std::optional<bytes_view>{}} : map_find(of, op.field);
            bool const there = v && *v;
            all.push_back({op.field, there, there ? **v : bytes_view{}});
        }
        return syncline::detail::rewrite_fields(over, all);
    }
    /// A conflict as a host might raise one: a mutation, a base and a row that have little to do with each other.
    conflict any_conflict() {
        auto& [key, r] = any_row();
        conflict c;
        c.record = key;
        c.local.record = key;
        c.local.stamp = stamp();
        c.local.sequence = stamps_;
        c.local.life = r.life;
        c.local.base = 1;
        c.base = any_fields();
        c.local_by = {to_bytes("me"), c.local.stamp, static_cast<std::uint8_t>(draw(4))};
        c.remote_by = {to_bytes("them"), r.floor.stamp, static_cast<std::uint8_t>(draw(4))};
        if (r.deleted || draw(10) == 0) {
            c.local.kind = r.deleted ? change_kind::update : change_kind::erase;
            c.fields.push_back({});
        }
        if (c.local.kind == change_kind::update) {
            for (std::string_view const f : conflict_world_plain) {
                if (draw(3) == 0 && f != "a") { continue; }
                field_op op{std::string{f}, op_kind::set, {}, c.local.stamp};
                if (f == "n" && draw(2) == 0) {
                    op.kind = op_kind::add;
                    cbor_writer{op.value}.integer(static_cast<std::int64_t>(1 + draw(5)));
                } else if (draw(8) == 0) {
                    op.kind = op_kind::unset;
                } else {
                    op.value = value_of(f);
                }
                c.local.ops.push_back(std::move(op));
            }
            if (!r.deleted) {
                for (field_op const& op : c.local.ops) {
                    if (op.field == "map") {
                        c.fields.push_back({{"map", "p"}, rule::manual, "", 0, 0, {}});
                    } else if (op.field == "a" || op.field == "b") {
                        c.fields.push_back({{op.field}, rule::manual, draw(3) == 0 ? "guard" : "", 1, 2, {}});
                    }
                }
                std::sort(c.fields.begin(), c.fields.end(), [](contested_field const& x, contested_field const& y) {
                    return compare_paths(x.path, y.path) < 0;
                });
            }
        }
        if (draw(15) != 0) { c.remote = r; }
        return c;
    }
    resolution any_resolution(conflict const& c) {
        switch (draw(5)) {
            case 0: return resolution::use_local();
            case 1: return resolution::use_remote();
            case 2: return resolution::custom(any_fields());
            default: break;
        }
        std::vector<field_decision> fields;
        for (contested_field const& f : c.fields) {
            field_decision d{f.path, static_cast<field_take>(1 + draw(6)), {}};
            if (d.take == field_take::custom) { d.value = any_item(); }
            fields.push_back(std::move(d));
        }
        if (draw(20) == 0 && !fields.empty()) { fields.pop_back(); }
        return resolution::merge_fields(std::move(fields));
    }
    decision_maker who() { return {as_bytes("me"), stamp(), now_, 3, draw(4) == 0, &host_}; }

    // Deeds. Each runs in one transaction, perhaps with one storage call that fails; then nothing of it is there.

    /// `what` is how it is told.
    template <class Deed>
    void in_transaction(std::string what, Deed&& deed) {
        naive_queue const before = model_;
        std::uint64_t const faults = store_->faults();
        if (draw(3) == 0) {
            store_->inject({1 + draw(40),
                            draw(2) == 0 ? errc::storage_io : errc::transaction_lost,
                            draw(2) == 0 ? fault_moment::before : fault_moment::after,
                            false,
                            {}});
        }
        bool committed = false;
        bool asked = false;
        why_ = errc{};
        {
            auto tx = store_->begin(access_mode::write);
            if (tx) {
                bool const keep = deed(*tx);
                if (keep && store_->faults() == faults) {
                    asked = true;
                    committed = static_cast<bool>(tx->commit());
                }
            }
        }
        bool const failed = store_->faults() != faults;
        store_->heal();
        if (failed) {
            ++report_.faults;
            report_.found.clear();  // what it answered is not judged: a call had failed
        }
        bool took = committed;
        if (asked && !committed) {  // a commit that said no may have taken effect all the same
            auto tx = store_->begin(access_mode::read);
            took = !same(*tx, before);
        }
        tell(std::move(what) + (!failed ? why_ == errc{} ? "" : std::string{", which is refused: "} + message(why_)
                                : took ? ", and the storage says that it failed, and has it"
                                        : ", and the storage fails"));
        if (took) {
            saved_.push_back(model_);
        } else {
            model_ = before;
        }
    }

    template <class Tx>
    [[nodiscard]] static auto audit(Tx& tx) {
        return [&tx](conflict_note const& note) -> status {
            if (note.entry.what == conflict_event::suggested) { return {}; }
            bytes raw;
            auto const found = tx.get(as_bytes("audit"), raw);
            if (!found) { return found.error(); }
            std::uint64_t const told = *found ? read_u64(raw) + 1 : 1;
            raw.clear();
            append_u64(raw, told);
            return tx.put(as_bytes("audit"), raw);
        };
    }
    // How it is told.

    template <class R>
    [[nodiscard]] R heard(R answer) {
        why_ = answer ? errc{} : errc{answer.error().code};
        return answer;
    }

    [[nodiscard]] static std::string text_of(record_key const& k) {
        return k.collection + "/" + std::string{k.id_text()};
    }
    [[nodiscard]] static std::string text_of(naive_conflict const& n) { return "conflict " + std::to_string(n.c.id); }
    [[nodiscard]] static std::string text_of(std::vector<contested_field> const& fields) {
        std::string out;
        for (contested_field const& f : fields) {
            out += (out.empty() ? "" : ", ") + (f.path.empty() ? "all of it" : syncline::to_text(f.path));
        }
        return out.empty() ? "nothing" : out;
    }
    [[nodiscard]] static std::string text_of(resolution const& how) {
        switch (how.kind) {
            case resolve_kind::use_local: return " for this side";
            case resolve_kind::use_remote: return " for the other side";
            case resolve_kind::merge_fields: return " field by field";
            case resolve_kind::custom: break;
        }
        return " with a record of its own";
    }
    naive_conflict* any_known() {
        if (model_.all.empty()) { return nullptr; }
        return &model_.all[static_cast<std::size_t>(draw(model_.all.size()))];
    }
    static std::size_t size_of(conflict const& c) {
        bytes raw;
        cbor_writer w{raw};
        encode_conflict(w, c);
        return raw.size();
    }
    conflict_entry& enter(naive_conflict& n, conflict_event what) {
        conflict_entry e;
        e.number = n.history.size() + 1;
        e.what = what;
        e.at = now_;
        n.history.push_back(std::move(e));
        n.c.events = n.history.size();
        ++model_.told;
        return n.history.back();
    }

    void deed() {
        switch (draw(12)) {
            case 0:
            case 1:
            case 2: return raise();
            case 3:
            case 4: return remote_changed();
            case 5: return suggest();
            case 6:
            case 7: return resolve();
            case 8: return undo();
            case 9: return redo();
            case 10: return draw(3) == 0 ? forget() : resolve_all();
            default: return look();
        }
    }

    void raise() {
        auto met = draw(3) != 0 ? met_conflict() : std::nullopt;
        conflict c = met ? *met : any_conflict();
        naive_conflict* const again = draw(4) == 0 ? any_known() : nullptr;
        if (again != nullptr) {
            c.local = again->c.local, c.record = again->c.record, c.base = again->c.base, c.fields = again->c.fields;
            c.local_by.writer = again->c.local_by.writer;
            for (auto const& [k, r] : model_.rows) {
                if (k == c.record) { c.remote = r; }
            }
            if (c.remote) { c.fields = asked_now(c, *c.remote); }
            // A verdict that comes late, with a row that was.
            bool const was = again->c.remote && again->c.remote->version > 1 && draw(3) == 0;
            if (was) {
                c.remote = earlier(*again->c.remote);
                c.fields = again->c.fields;
            }
        }
        std::string what = again != nullptr ? text_of(*again) + " is raised again"
                                            : "conflict " + std::to_string(model_.last + 1) + " is raised";
        what += " about " + text_of(c.record) + ": " + text_of(c.fields);
        in_transaction(std::move(what), [&](auto& tx) {
            auto const id = heard(queue_.raise(tx, c, now_, audit(tx)));
            if (c.fields.empty()) {
                return holds(!id && id.error() == errc::invalid, conflict_promise::answers, "a conflict of nothing");
            }
            if (again != nullptr) { return raised_again(*again, c, id); }
            conflict expected = c;
            expected.id = model_.last + 1;
            expected.opened = expected.changed = now_;
            bool const full = model_.open() >= queue_.options().open_max;
            bool const large = size_of(expected) > queue_.options().bytes_max;
            if (full || large) {
                ++report_.refused;
                return holds(!id && id.error() == errc::limit, conflict_promise::answers, "more than the limit") &&
                       false;
            }
            if (!holds(id && *id == expected.id, conflict_promise::answers, "raise")) { return false; }
            ++model_.last;
            naive_conflict n;
            n.c = expected;
            n.met = met.has_value();
            enter(n, conflict_event::opened).by = c.local_by.writer;
            model_.all.push_back(std::move(n));
            return true;
        });
    }
    /// The same row as of a position before.
    [[nodiscard]] static row earlier(row r) {
        --r.version;
        r.floor.at = (std::min)(r.floor.at, r.version);
        for (field_mark& e : r.exceptions) { e.mark.at = (std::min)(e.mark.at, r.version); }
        return r;
    }
    bool raised_again(naive_conflict& n, conflict const& c, result<std::uint64_t> const& id) {
        bool const older = n.c.remote && (!c.remote || c.remote->version < n.c.remote->version);
        bool const changes = n.c.state == conflict_state::open && !older && n.c.remote != c.remote;
        if (changes) {
            naive_conflict next = n;
            std::uint64_t const told = model_.told;
            next.c.fields = c.fields;
            renew(next, c.remote, c.remote_by);
            if (too_large(next)) {
                ++report_.refused;
                model_.told = told;
                return holds(!id && id.error() == errc::limit, conflict_promise::answers,
                             "a remote beyond the limit") &&
                       false;
            }
            n = std::move(next);
        }
        return holds(id && *id == n.c.id, conflict_promise::answers, "the same conflict told again");
    }
    void renew(naive_conflict& n, std::optional<row> const& remote, conflict_writer const& by) {
        auto before = n.c.remote;
        // What the edit was an edit of goes with a tombstone that keeps nothing.
        bool const gone = remote && remote->deleted && remote->fields.empty();
        if (gone && before && !before->deleted && before->life == n.c.local.life &&
            n.c.local.kind != change_kind::erase) {
            n.c.base = touched(n.c.local.ops, n.c.base, before->fields);
        }
        n.c.remote = remote;
        n.c.remote_by = by;
        n.c.changed = now_;
        ++n.c.revision;
        for (contested_field& f : n.c.fields) { f.suggested.reset(); }
        if (n.history.size() >= (queue_.options().events_max + 1) / 2) {
            ++model_.told;  // told, and not kept
            return;
        }
        conflict_entry& e = enter(n, conflict_event::remote_changed);
        e.by = by.writer;
        e.remote = std::move(before);
        ++report_.renewed;
    }
    bool too_large(naive_conflict const& n) const {
        conflict c = n.c;
        c.events -= n.history.size() == c.events && !n.history.empty() ? 1 : 0;
        return size_of(c) > queue_.options().bytes_max || entry_size(n) > queue_.options().bytes_max;
    }
    static std::size_t entry_size(naive_conflict const& n) {
        bytes raw;
        cbor_writer w{raw};
        conflict_entry const& e = n.history.back();
        if (e.remote) { encode_row(w, *e.remote); }
        encode_resolution(w, e.how);
        if (e.change) { encode_mutation(w, *e.change); }
        // What is around them: head, form, event, name, flag, time, and a null for each that is missing.
        return raw.size() + 1 + 1 + 1 + 1 + e.by.size() + 1 + 9 + (e.remote ? 0 : 1) + (e.change ? 0 : 1);
    }

    void remote_changed() {
        auto& [key, r] = any_row();
        record_key const name = key;
        row next = r;
        change_row(key, next);
        conflict_writer const by{to_bytes("other"), stamp(), 2};
        std::string what = "version " + std::to_string(next.version) + " of " + text_of(name);
        what += next.deleted ? " comes from elsewhere, deleted" : " comes from elsewhere";
        in_transaction(std::move(what), [&](auto& tx) {
            for (auto& [k, known] : model_.rows) {
                if (k == name) { known = next; }
            }
            auto const n = heard(
                queue_.remote_changed(tx, name, next, by, rules_of(name), now_, audit(tx), context(3, next.version)));
            naive_queue const before = model_;
            std::size_t expected = 0;
            for (naive_conflict& c : model_.all) {
                bool const mine = c.c.record == name && c.c.state == conflict_state::open;
                if (!mine || (c.c.remote && (*c.c.remote == next || c.c.remote->version > next.version))) { continue; }
                c.c.fields = asked_now(c.c, next);
                renew(c, next, by);
                ++expected;
                if (too_large(c)) {
                    ++report_.refused;
                    model_ = before;
                    return holds(!n && n.error() == errc::limit, conflict_promise::answers,
                                 "a remote beyond the limit") &&
                           false;
                }
            }
            return holds(n && *n == expected, conflict_promise::answers, "a changed remote");
        });
    }
    void suggest() {
        naive_conflict* const n = any_known();
        if (n == nullptr) { return; }
        std::vector<suggestion> all(n->c.fields.size());
        for (suggestion& s : all) {
            s.what = static_cast<conflict_action>(1 + draw(4));
            s.confidence = static_cast<share16>(draw(share_one + 1));
        }
        in_transaction(text_of(*n) + " gets suggestions", [&](auto& tx) {
            auto const ok = heard(queue_.suggest(tx, n->c.id, all, now_, audit(tx)));
            if (n->c.state != conflict_state::open) {
                return holds(!ok && ok.error() == errc::invalid, conflict_promise::answers, "a suggestion too late");
            }
            for (std::size_t i = 0; i < all.size(); ++i) { n->c.fields[i].suggested = all[i]; }
            return holds(static_cast<bool>(ok), conflict_promise::answers, "a suggestion");
        });
    }

    static std::optional<bytes> field_of(bytes_view map, field_path const& path) {
        if (map.empty()) { return std::nullopt; }
        auto const v = value_at(map, path);
        return v && *v ? std::optional<bytes>{to_bytes(**v)} : std::nullopt;
    }
    /// An edit that is kept although the record is gone, or another's by now: of what it didn't touch nothing is missing.
    void judge_kept(conflict const& c, settled const& done) {
        auto const mine = local_fields(c);
        if (!holds(mine && !done.after->deleted, conflict_promise::choices, "a record that lives again")) { return; }
        bool const kept = !c.remote->deleted || !c.remote->fields.empty();
        bytes const& over = kept ? c.remote->fields : c.base;
        for (std::string_view const f : conflict_world_fields) {
            bool const touches =
                std::any_of(c.local.ops.begin(), c.local.ops.end(), [&](field_op const& op) { return op.field == f; });
            bool const as_written = c.local.life != c.remote->life || !kept || f == "a" || f == "b" || f == "map";
            if (touches && !as_written) { continue; }
            field_path const path{std::string{f}};
            auto const made = field_of(done.after->fields, path);
            // A maximum that stands higher there stays.
            bool const higher = f == "max" && made == field_of(over, path);
            holds(higher || made == field_of(touches ? *mine : over, path), conflict_promise::nothing_lost,
                  "a field of a record that lives again");
        }
    }
    /// What the person chose is there, and what else the mutation did is where the rules put it.
    void judge(conflict const& c, resolution const& how, settled const& done) {
        if (!done.after) { return broken(conflict_promise::choices, "no record"); }
        if (how.kind == resolve_kind::custom) {
            holds(!done.after->deleted && done.after->fields == how.record, conflict_promise::choices,
                  "the custom record");
            return;
        }
        if (c.of_whole_record() || c.remote->deleted || c.local.kind == change_kind::erase ||
            c.local.life != c.remote->life) {
            if (how.kind == resolve_kind::use_remote) {
                holds(*done.after == *c.remote && !done.sends(), conflict_promise::choices, "the remote as it is");
            } else if (c.local.kind == change_kind::erase) {
                holds(done.after->deleted, conflict_promise::choices, "a deletion that stands");
            } else {
                judge_kept(c, done);
            }
            return;
        }
        auto const mine = local_fields(c);
        if (!holds(static_cast<bool>(mine), conflict_promise::decidable, "what this side made of its base")) { return; }
        for (std::size_t i = 0; i < c.fields.size(); ++i) {
            field_path const& path = c.fields[i].path;
            field_take const take = how.kind == resolve_kind::merge_fields ? how.fields[i].take
                                    : how.kind == resolve_kind::use_local  ? field_take::local
                                                                           : field_take::remote;
            std::optional<bytes> wanted;
            switch (take) {
                case field_take::local: wanted = field_of(*mine, path); break;
                case field_take::remote: wanted = field_of(c.remote->fields, path); break;
                case field_take::base: wanted = field_of(c.base, path); break;
                case field_take::custom: wanted = how.fields[i].value; break;
                case field_take::none: break;
                case field_take::merge: continue;
            }
            holds(field_of(done.after->fields, path) == wanted, conflict_promise::choices,
                  "a field that the person chose");
        }
        // All else is where the rules put it, had nobody to be asked; what was written over since by its own writer is over.
        mutation rest = c.local;
        rest.kind = change_kind::update;
        for (contested_field const& f : c.fields) { leave_out(rest, f.path); }
        for (std::size_t i = rest.ops.size(); i-- != 0 && c.last_decision == 0;) {
            field_op const& op = rest.ops[i];
            write_mark const& mark = c.remote->mark_of(op.field);
            bool const whole = op.kind == op_kind::set || op.kind == op_kind::unset;
            rule const by = rules_of(c.record).decides(op.field);
            bool const extreme = op.kind == op_kind::set && is_extreme(by);
            bool const over = whole && !extreme && mark.author == 3 && mark.stamp > op.stamp;
            if (over) { rest.ops.erase(rest.ops.begin() + static_cast<std::ptrdiff_t>(i)); }
        }
        std::optional<row> after = c.remote;
        if (!rest.ops.empty()) {
            auto const outcome = apply(after, rest, rules_of(c.record), context(3, c.remote->version));
            holds(outcome.verdict != verdict_kind::conflict && outcome.verdict != verdict_kind::rejected,
                  conflict_promise::choices, "a decision that leaves something open");
        }
        auto const is_contested = [&](field_path const& path) {
            return std::any_of(c.fields.begin(), c.fields.end(), [&](contested_field const& f) {
                return f.path == path || field_path{f.path.front()} == path;
            });
        };
        auto const is_there = [&](field_path const& path) {
            bool const there = field_of(done.after->fields, path) == field_of(after->fields, path);
            holds(there, conflict_promise::nothing_lost,
                  there ? std::string{} : "a field that was not contested: " + syncline::to_text(path));
        };
        for (std::string_view const f : conflict_world_fields) {
            field_path path{std::string{f}};
            if (!is_contested(path)) {
                is_there(path);
            } else if (f == "nested" && !c.find(path)) {
                for (char const* const part : {"w", "x", "y", "z"}) {
                    path.resize(1);
                    path.emplace_back(part);
                    if (!is_contested(path)) { is_there(path); }
                }
            }
        }
        // The counter is nobody's choice: what was added counts.
        for (field_op const& op : c.local.ops) {
            if (op.kind != op_kind::add) { continue; }
            auto const was = field_of(c.remote->fields, {op.field});
            auto const is = field_of(done.after->fields, {op.field});
            auto const n = syncline::detail::integer_of(op.value);
            auto const a = was ? syncline::detail::integer_of(*was) : std::optional<std::int64_t>{0};
            auto const b = is ? syncline::detail::integer_of(*is) : std::nullopt;
            holds(n && a && b && *a + *n == *b, conflict_promise::nothing_lost, "an addition");
        }
    }
    bool decided(naive_conflict& n, conflict_event what, resolution const& how, decision_maker const& w,
                 result<settled> const& got, bool restored = false) {
        auto const expected = restored ? got : settle(n.c, how, rules_of(n.c.record), w.stamp, w.author, w.host);
        naive_conflict next = n;
        std::uint64_t const told = model_.told;
        if (expected) {
            conflict_entry& e = enter(next, what);
            e.by = to_bytes(w.by);
            e.automatic = w.automatic;
            e.how = how;
            e.remote = n.c.remote;
            if (expected->sends()) { e.change = expected->change; }
            if (n.history.size() >= queue_.options().events_max || entry_size(next) > queue_.options().bytes_max) {
                ++report_.refused;
                model_.told = told;
                return holds(!got && got.error() == errc::limit, conflict_promise::answers,
                             "a decision beyond the limit") &&
                       false;
            }
        }
        if (!expected) {
            ++report_.refused;
            bool const side = how.kind == resolve_kind::use_local || how.kind == resolve_kind::use_remote;
            ++report_.checks;
            if (n.met && side && n.c.state == conflict_state::open) {
                failure const& why = expected.error();
                broken(conflict_promise::decidable,
                       std::string{"a side that can't be taken ("} + message(why.code) + ", " + why.detail + ')');
            }
            return holds(!got && got.error().code == expected.error().code, conflict_promise::answers,
                         "an impossible decision") &&
                   false;
        }
        if (!holds(got && *got == *expected, conflict_promise::previews, "a decision differs from its preview")) {
            return false;
        }
        if (!restored) { judge(n.c, how, *got); }
        next.c.state = conflict_state::decided;
        next.c.changed = now_;
        next.c.last_decision = next.history.size();
        n = std::move(next);
        note(got->change.ops.size());
        return true;
    }
    void resolve() {
        naive_conflict* const n = any_known();
        if (n == nullptr) { return; }
        resolution const how = any_resolution(n->c);
        decision_maker const w = who();
        std::uint64_t const seen = n->c.revision - (draw(10) == 0 ? 1 : 0);
        std::string const unseen = seen != n->c.revision ? ", at an old revision" : "";
        in_transaction(text_of(*n) + " is decided" + text_of(how) + unseen, [&](auto& tx) {
            auto const shown = queue_.preview(tx, n->c.id, how, rules_of(n->c.record), w);
            auto const got = heard(queue_.resolve(tx, n->c.id, seen, how, rules_of(n->c.record), w, audit(tx)));
            if (n->c.state != conflict_state::open) {
                return holds(!got && got.error() == errc::invalid, conflict_promise::answers, "decided twice");
            }
            if (seen != n->c.revision) {
                return holds(!got && got.error() == errc::contended, conflict_promise::answers, "a revision not seen");
            }
            if (got &&
                !holds(shown && *shown == *got, conflict_promise::previews, "a decision differs from its preview")) {
                return false;
            }
            bool const ok = decided(*n, conflict_event::decided, how, w, got);
            report_.decided += ok ? 1 : 0;
            if (ok) { advance(n->c.record, got); }
            return ok;
        });
    }
    /// The decision comes back confirmed.
    void advance(record_key const& key, result<settled> const& got) {
        if (draw(2) == 0 || !got->sends()) { return; }
        for (auto& [k, r] : model_.rows) {
            if (k == key) { confirm(k, r, got->change, 3); }
        }
    }
    void resolve_all() {
        resolution const how = draw(2) == 0 ? resolution::use_local() : resolution::use_remote();
        decision_maker const w = who();
        conflict_query q;
        if (draw(2) == 0) { q.collection = "things"; }
        q.count_max = 1 + static_cast<std::size_t>(draw(4));
        std::string const of = q.collection.empty() ? "" : " of " + std::string{q.collection};
        in_transaction("up to " + std::to_string(q.count_max) + " conflicts" + of + " are decided" + text_of(how),
                       [&](auto& tx) {
                           auto const pick = [&](conflict const& c) {
                               return c.id % 5 == 0 ? std::nullopt : std::optional<resolution>{how};
                           };
                           auto const got = heard(queue_.resolve_all(tx, q, pick, table_, w, audit(tx)));
                           if (!holds(static_cast<bool>(got), conflict_promise::answers, "a batch")) { return false; }
                           std::size_t looked = 0;
                           std::size_t done = 0;
                           std::size_t left = 0;
                           for (naive_conflict& n : model_.all) {
                               bool const fits = n.c.state == conflict_state::open &&
                                                 (q.collection.empty() || n.c.record.collection == q.collection);
                               if (!fits || looked == q.count_max) { continue; }
                               ++looked;
                               if (n.c.id % 5 == 0) { continue; }
                               bool const is_done = done < got->done.size() && got->done[done].first == n.c.id;
                               result<settled> one{errc::limit};
                               if (is_done) {
                                   one = got->done[done++].second;
                               } else if (left < got->left.size() && got->left[left].id == n.c.id) {
                                   one = got->left[left++].why;
                               } else {
                                   return holds(false, conflict_promise::answers, "a batch that passed over one");
                               }
                               bool const ok = decided(n, conflict_event::decided, how, w, one);
                               if (!fine()) { return false; }
                               if (!holds(ok == is_done, conflict_promise::answers, "a batch")) { return false; }
                               report_.decided += ok ? 1 : 0;
                           }
                           return holds(done == got->done.size() && left == got->left.size(), conflict_promise::answers,
                                        "a batch");
                       });
    }
    void undo() {
        naive_conflict* const n = any_known();
        if (n == nullptr) { return; }
        row current;
        for (auto const& [k, r] : model_.rows) {
            if (k == n->c.record) { current = r; }
        }
        decision_maker const w = who();
        in_transaction("the decision on " + text_of(*n) + " is taken back", [&](auto& tx) {
            auto const got = heard(queue_.undo(tx, n->c.id, current, rules_of(n->c.record), w, audit(tx)));
            if (n->c.state != conflict_state::decided) {
                return holds(!got && got.error() == errc::invalid, conflict_promise::answers,
                             "undone without a decision");
            }
            if (!got) {
                ++report_.refused;
                bool const limit = model_.open() >= queue_.options().open_max ||
                                   n->history.size() >= queue_.options().events_max || got.error() == errc::limit;
                bool const may = limit || got.error() == errc::contended || got.error() == errc::rejected ||
                                 got.error() == errc::type_mismatch;
                ++report_.checks;
                if (!may) {
                    broken(conflict_promise::answers, std::string{"an undo that can't be ("} +
                                                          message(got.error().code) + ", " + got.error().detail + ')');
                }
                return false;
            }
            if (!holds(n->history.size() + 1 < queue_.options().events_max, conflict_promise::answers,
                       "an undo that leaves no room for a decision")) {
                return false;
            }
            conflict_entry const& decision = n->history[static_cast<std::size_t>(n->c.last_decision - 1)];
            if (decision.change && decision.change->kind == change_kind::update) {
                for (field_op const& op : decision.change->ops) {
                    bool const whole = op.kind == op_kind::set || op.kind == op_kind::unset;
                    auto const before = field_of(decision.remote->fields, {op.field});
                    std::optional<bytes> made;
                    if (op.kind == op_kind::set) { made = op.value; }
                    // Of what goes with its group nothing was changed, and a maximum that has moved stays.
                    if (!whole || made == before || op.field == "max") { continue; }
                    holds(field_of(current.fields, {op.field}) == made, conflict_promise::nothing_lost,
                          "an edit that came after the decision");
                    holds(field_of(got->after->fields, {op.field}) == before, conflict_promise::choices,
                          "an undone field");
                }
            }
            conflict_entry& e = enter(*n, conflict_event::undone);
            e.by = to_bytes(w.by);
            e.automatic = w.automatic;
            if (got->sends()) { e.change = got->change; }
            e.remote = current;
            if (entry_size(*n) > queue_.options().bytes_max) { e.remote.reset(); }
            n->c.state = conflict_state::open;
            n->c.changed = now_;
            n->c.remote = got->after;
            n->left = got->after;
            n->c.fields = asked_now(n->c, *n->c.remote);
            ++n->c.revision;
            ++report_.undone;
            return true;
        });
    }
    void redo() {
        naive_conflict* const n = any_known();
        if (n == nullptr) { return; }
        decision_maker const w = who();
        redo_unseen(*n, w);
        in_transaction("the decision on " + text_of(*n) + " is made again", [&](auto& tx) {
            auto const got = heard(queue_.redo(tx, n->c.id, n->c.revision, rules_of(n->c.record), w, audit(tx)));
            if (n->c.state != conflict_state::open || n->c.last_decision == 0) {
                return holds(!got && got.error() == errc::invalid, conflict_promise::answers, "nothing to do again");
            }
            resolution const how = n->history[static_cast<std::size_t>(n->c.last_decision - 1)].how;
            // Where nobody was there since the undo, the record is again what it was before.
            conflict_entry const& undone = n->history[static_cast<std::size_t>(n->c.last_decision)];
            bool const still = n->left && n->c.remote && n->c.remote->life == n->left->life &&
                               n->c.remote->deleted == n->left->deleted && n->c.remote->fields == n->left->fields;
            bool const restored = still && got && undone.change && undone.remote && got->after &&
                                  got->after->deleted == undone.remote->deleted &&
                                  got->after->fields == undone.remote->fields;
            bool const ok = decided(*n, conflict_event::redone, how, w, got, restored);
            report_.redone += ok ? 1 : 0;
            return ok;
        });
    }
    /// Nothing is decided again at a revision that was: nothing of it is committed.
    void redo_unseen(naive_conflict const& n, decision_maker const& w) {
        if (n.c.state != conflict_state::open || n.c.last_decision == 0) { return; }
        auto tx = store_->begin(access_mode::write);
        auto const got = queue_.redo(*tx, n.c.id, n.c.revision - 1, rules_of(n.c.record), w, audit(*tx));
        holds(!got && got.error() == errc::contended, conflict_promise::answers, "done again at a revision not seen");
    }
    /// A bound, in every other step moved on to the next time of a conflict that there is: what is at it is a case of its own.
    [[nodiscard]] wall_time bound(wall_time at, wall_time conflict::*time) const {
        std::optional<wall_time> next;
        for (naive_conflict const& n : model_.all) {
            wall_time const t = n.c.*time;
            if (t >= at && (!next || t < *next)) { next = t; }
        }
        return next && report_.steps % 2 == 0 ? *next : at;
    }
    void forget() {
        wall_time const before = bound(now_ - milliseconds{draw_number(200'000)}, &conflict::changed);
        std::size_t const most = 1 + static_cast<std::size_t>(draw(3));
        in_transaction("up to " + std::to_string(most) + " decided conflicts are forgotten", [&](auto& tx) {
            auto const n = heard(queue_.forget(tx, before, most));
            std::vector<std::pair<wall_time, std::uint64_t>> old;
            for (naive_conflict const& c : model_.all) {
                if (c.c.state == conflict_state::decided && c.c.changed < before) {
                    old.emplace_back(c.c.changed, c.c.id);
                }
            }
            std::sort(old.begin(), old.end());
            if (old.size() > most) { old.resize(most); }
            for (auto const& [t, id] : old) {
                model_.all.erase(std::find_if(model_.all.begin(), model_.all.end(),
                                              [id = id](naive_conflict const& c) { return c.c.id == id; }));
            }
            report_.forgotten += old.size();
            return holds(n && *n == old.size(), conflict_promise::answers, "what is forgotten");
        });
    }
    /// A list by record, age, collection, a page of it.
    void look() {
        auto tx = store_->begin(access_mode::read);
        conflict_query q;
        if (draw(3) == 0) { q.state.reset(); }
        if (draw(4) == 0) { q.state = conflict_state::decided; }
        record_key name;
        if (!model_.rows.empty() && draw(3) == 0) {
            name = any_row().first;
            q.record = &name;
        }
        if (draw(3) == 0) { q.collection = draw(2) == 0 ? "things" : "other"; }
        if (draw(3) == 0) { q.opened_from = bound(now_ - milliseconds{draw_number(400'000)}, &conflict::opened); }
        if (draw(3) == 0) { q.opened_before = bound(now_ - milliseconds{draw_number(400'000)}, &conflict::opened); }
        q.after = draw(2) == 0 ? 0 : draw(model_.last + 1);
        q.count_max = 1 + static_cast<std::size_t>(draw(6));
        std::vector<conflict> expected;
        for (naive_conflict const& n : model_.all) {
            conflict const& c = n.c;
            bool const fits = (!q.state || c.state == *q.state) &&
                              (q.record != nullptr ? c.record == name
                                                   : q.collection.empty() || c.record.collection == q.collection) &&
                              (!q.opened_from || c.opened >= *q.opened_from) &&
                              (!q.opened_before || c.opened < *q.opened_before) && c.id > q.after;
            if (fits && expected.size() < q.count_max) { expected.push_back(c); }
        }
        std::vector<conflict> got;
        auto const ok = queue_.list(*tx, q, [&](conflict const& c) {
            got.push_back(c);
            return true;
        });
        tell("conflicts are listed, " + std::to_string(got.size()) + " of them");
        holds(ok && got == expected, conflict_promise::order, "a list");
    }

    // Comparing.

    template <class Tx>
    [[nodiscard]] bool same(Tx& tx, naive_queue const& model) {
        return difference(tx, model).empty();
    }
    /// What the store holds otherwise than the list; nothing where it doesn't.
    template <class Tx>
    [[nodiscard]] std::string difference(Tx& tx, naive_queue const& model) {
        auto const counts = queue_.counts(tx);
        if (!counts) { return "it can't be counted"; }
        if (counts->open != model.open() || counts->decided != model.all.size() - model.open()) {
            return "it counts " + std::to_string(counts->open) + " open ones and " + std::to_string(counts->decided) +
                   " decided, instead of " + std::to_string(model.open()) + " and " +
                   std::to_string(model.all.size() - model.open());
        }
        bytes raw;
        auto const told = tx.get(as_bytes("audit"), raw);
        if (!told || (*told ? read_u64(raw) : 0) != model.told) { return "the audit was told otherwise"; }
        std::size_t at = 0;
        conflict_query q;
        q.state.reset();
        std::string out;
        auto const ok = queue_.list(tx, q, [&](conflict const& c) {
            if (at == model.all.size()) {
                out = "conflict " + std::to_string(c.id) + " is one too many";
                return false;
            }
            naive_conflict const& n = model.all[at];
            auto const history = queue_.history(tx, c.id);
            if (!(c == n.c)) {
                out = text_of(n) + " has other " + parts_that_differ(c, n.c);
            } else if (!history || *history != n.history) {
                out = text_of(n) + " has another history";
            }
            ++at;
            return out.empty();
        });
        if (!ok) { return "it can't be listed"; }
        if (out.empty() && at != model.all.size()) { return text_of(model.all[at]) + " is missing"; }
        return out;
    }
    [[nodiscard]] static std::string parts_that_differ(conflict const& a, conflict const& b) {
        std::string out;
        auto const part = [&](bool equal, std::string const& name) {
            if (!equal) { out += (out.empty() ? "" : ", ") + name; }
        };
        part(a.record == b.record, "record");
        part(a.local == b.local && a.local_by == b.local_by, "local side");
        part(a.base == b.base, "base");
        part(a.remote == b.remote && a.remote_by == b.remote_by, "remote side");
        part(a.fields == b.fields, "fields (" + text_of(a.fields) + " instead of " + text_of(b.fields) + ")");
        part(a.opened == b.opened && a.changed == b.changed, "times");
        part(a.revision == b.revision, "revision");
        part(a.events == b.events && a.last_decision == b.last_decision, "count of events");
        part(a.state == b.state, "state");
        return out.empty() ? "parts" : out;
    }
    void compare() {
        auto tx = store_->begin(access_mode::read);
        bytes raw;
        auto const told = tx->get(as_bytes("audit"), raw);
        holds(told && (*told ? read_u64(raw) : 0) == model_.told, conflict_promise::audited, "what the audit was told");
        std::string const otherwise = difference(*tx, model_);
        holds(otherwise.empty(), conflict_promise::contents, "the store differs from the list: " + otherwise);
        holds(static_cast<bool>(queue_.verify(*tx)), conflict_promise::contents,
              "the store's parts don't fit together");
        note(model_.all.size());
    }
    void note(std::uint64_t n) {
        bytes raw;
        append_u64(raw, report_.trace);
        append_u64(raw, n + report_.steps * 1000);
        report_.trace = xxh3_64(raw);
    }

    simulated_disk disk_;
    std::unique_ptr<simulated_disk::storage_type> disk_handle_{};
    std::unique_ptr<faulty_storage<simulated_disk::storage_type>> store_{};
    conflict_queue queue_;
    rule_table table_{};
    merge_host host_{};
    naive_queue model_{};
    std::vector<naive_queue> saved_{};  // what a power cut may bring back, the newest last
    wall_time now_{milliseconds{1'790'000'000'000}};
    std::uint64_t stamps_ = 0;
    errc why_{};  // what the last call was refused for
};

}  // namespace detail

/// One life of a queue. The same seed and options give the same life and the same report, on every machine.
/// With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline conflict_simulation_report simulate_conflicts(std::uint64_t seed,
                                                                   conflict_simulation_options const& o = {}) {
    return detail::live_life<detail::conflict_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline conflict_simulation_options shrink_conflicts(conflict_simulation_report const& failed,
                                                                  conflict_simulation_options o = {},
                                                                  std::size_t lives = 1'000) {
    return detail::shrink_life<detail::conflict_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
