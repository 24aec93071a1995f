// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The audit log and the history in a simulated world: a bad disk, crashes and failing calls, judged by naive lists.

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

#include <syncline/audit/history.hpp>
#include <syncline/audit/log.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/testing/faulty_storage.hpp>
#include <syncline/testing/simulated_disk.hpp>
#include <syncline/testing/step_dice.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What the audit log and the history promise, by the names under which a breach is reported.
struct audit_promise {
    static constexpr char const* answers = "answers";      ///< every call answers as a naive list does
    static constexpr char const* contents = "contents";    ///< and leaves behind what that holds
    static constexpr char const* sound = "sound";          ///< what nobody touched verifies, against all anchors
    static constexpr char const* the_tree = "rfc_tree";    ///< the root is the one that RFC 9162 defines
    static constexpr char const* proofs = "proofs";        ///< each proof proves what it is for, to a stranger
    static constexpr char const* forgotten = "forgotten";  ///< of what was redacted nothing is left, nor can be guessed
    static constexpr char const* tampered = "tampered";    ///< what others change in the rows is told, at its place
    static constexpr char const* past = "past";            ///< the past is as it was
    static constexpr char const* undoing = "undo";         ///< an undo gives back what was, or says who is in the way
    static constexpr char const* atomicity = "crash_atomicity";  ///< after a crash a state that there was
};

struct audit_simulation_options {
    std::uint32_t steps = 150;
    disk_lie lie = disk_lie::none;
    bool tell = false;   ///< write the story
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct audit_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t crashes = 0;
    std::uint64_t failures = 0;  ///< calls of the storage that failed
    std::uint64_t trace = 0;     ///< the same for the same seed, everywhere
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

/// Log and history said without keys: lists. A value.
struct naive_audit {
    struct entry {
        std::string record{};
        std::string hidden{};
        bool own = false;
        bool redacted = false;
        std::uint64_t link = 0;
        bytes leaf{};
        friend bool operator==(entry const&, entry const&) = default;
    };
    struct change {
        std::string record{};
        std::uint64_t stamp = 0;
        mutation asked{};
        std::optional<std::int64_t> before{};
        std::optional<std::int64_t> after{};
        bool gone = false;  ///< redacted
    };
    std::vector<entry> entries{};
    std::uint64_t first = 0;
    std::uint64_t sealed = 0;
    std::vector<change> changes{};
    std::uint64_t forgotten = 0;
    std::uint64_t forgotten_stamp = 0;
    std::map<std::string, std::optional<std::int64_t>> now{};
    std::map<std::string, bool> holed{};  ///< records that live on after their history was redacted

    /// What its leaf hash is the hash of.
    [[nodiscard]] bytes leaf_with_prefix(std::size_t i) const {
        bytes in(1, std::byte{0});
        append(in, entries[i].leaf);
        return in;
    }
    /// The root as RFC 9162 defines it, by recursion: [begin, end) is not empty.
    [[nodiscard]] sha256_digest root(std::size_t begin, std::size_t end) const {
        if (end - begin == 1) { return sha256(leaf_with_prefix(begin)); }
        std::size_t k = 1;
        while (2 * k < end - begin) { k *= 2; }
        bytes in(1, std::byte{1});
        append(in, root(begin, begin + k));
        append(in, root(begin + k, end));
        return sha256(in);
    }
    struct past {
        std::optional<std::int64_t> value{};
        bool known = true;  ///< else two may be meant: who wrote what was there already counts by its stamp
    };
    /// A record's value when only changes up to a position and a stamp count. After one that doesn't, the others are done
    /// once more.
    [[nodiscard]] past as_of(std::string const& record, std::uint64_t upto, std::uint64_t stamp) const {
        past out;
        bool passed = false;
        for (std::size_t i = 0; i < changes.size() && i < upto; ++i) {
            change const& c = changes[i];
            if (c.gone || c.record != record) { continue; }
            if (c.stamp > stamp) {
                passed = true;
            } else if (c.asked.kind != change_kind::update || (out.value && !passed)) {
                out.value = c.after;
            } else if (out.value) {
                cbor_reader in{c.asked.ops[0].value};
                std::int64_t const n = in.integer();
                bool const adds = c.asked.ops[0].kind == op_kind::add;
                out.known = out.known && (adds || c.before != c.after);
                out.value = adds ? *out.value + n : n;
            }
        }
        return out;
    }
};

namespace detail {

/// One world: a disk, a process on it, and what ought to be there.
class audit_world : small_life<audit_simulation_options, audit_simulation_report> {
public:
    audit_world(std::uint64_t seed, audit_simulation_options const& o)
        : small_life(seed, seed * 2 + 1, o),
          redactions_max_(seed % 4 == 0   ? 1
                          : seed % 4 == 2 ? 2
                                          : audit_options{}.redactions_max),
          log_({.redactions_max = redactions_max_}),
          history_({.snapshot_every = 3}) {
        promise_ = one_in(3) ? durability::ordered : durability::full;
        disk_ = std::make_unique<simulated_disk>(promise_, o.lie);
        boot();
    }

    audit_simulation_report run(step_dice& dice) {
        open_log();
        if (one_in(6)) { append_some(250); }  // so many fill a tile of tiles
        live(dice, [&] { step(); });
        if (fine()) {
            tell("all is looked over once more");
            judge(true);
            for (std::uint64_t i = 0; i < 6 && fine(); ++i) { tamper(i); }
        }
        return finished();
    }

private:
    using store_type = faulty_storage<simulated_disk::storage_type>;
    using tx_type = store_type::transaction;

    // The process and its disk.

    void boot() {
        inner_ = disk_->open();
        store_ = std::make_unique<store_type>(*inner_);
        faults_ = 0;
    }
    void crash() {
        ++report_.crashes;
        store_.reset();
        inner_.reset();
        disk_->power_cut(random_);
        boot();
        // What is there now is one of the states that there were since what was promised to survive.
        auto const now = fingerprint();
        for (std::size_t i = states_.size(); i-- > 0;) {
            if (states_[i].print != now) { continue; }
            model_ = states_[i].model;
            std::size_t const gone = states_.size() - 1 - i;
            tell("the power is lost" + (gone == 0 ? "" : ", and with it the last " + std::to_string(gone)));
            states_.resize(i + 1);
            synced();
            open_log();
            return;
        }
        broken(audit_promise::atomicity, "after a power cut the store is in a state that it never was in");
    }
    /// What a process does first.
    void open_log() {
        auto tx = store_->begin(access_mode::write);
        bool const good = tx && log_.open(*tx, {}, random_) && tx->commit();
        holds(good, audit_promise::answers, "the log can't be opened");
        remember();
    }
    void remember() {
        if (promise_ == durability::full) { states_.clear(); }
        states_.push_back({fingerprint(), model_});
    }
    /// Nothing before the present state may come back any more.
    void synced() {
        states_.erase(states_.begin(), states_.end() - 1);
        // Heads that were anchored while they could still be lost are not: they are published after a barrier only.
    }
    [[nodiscard]] sha256_digest fingerprint() {
        sha256_hasher h;
        auto tx = store_->begin(access_mode::read);
        (void)tx->scan({}, [&](bytes_view k, bytes_view v) {
            bytes sizes;
            append_u64(sizes, k.size());
            append_u64(sizes, v.size());
            h.update(sizes);
            h.update(k);
            h.update(v);
            return true;
        });
        return h.finish();
    }

    /// Does something in a transaction, perhaps with a storage call that fails, perhaps left; what it means for the
    /// lists when it was committed. `what` is how it is told.
    template <class Do, class Mean>
    void in_transaction(std::string what, Do&& deed, Mean&& means) {
        bool const faulty = one_in(5);
        bool const leave = one_in(9);
        if (faulty) { store_->inject({1 + draw(12), errc::storage_io, fault_moment::before, false, std::nullopt}); }
        bool committed = false;
        bool failed = false;
        {
            auto tx = store_->begin(access_mode::write);
            failed = !tx;
            if (tx) {
                auto const done = deed(*tx);
                failed = !done;
                if (done && !leave) {
                    committed = tx->commit().has_value();
                    failed = !committed;
                }
            }
        }
        store_->heal();
        if (failed && store_->faults() == faults_) {
            broken(audit_promise::answers, "a call failed, and nothing was in its way");
        }
        report_.failures += store_->faults() - faults_;
        faults_ = store_->faults();
        tell(std::move(what) + (failed ? ", and the storage fails" : leave ? ", and dies before the commit" : ""));
        if (!committed) { return; }
        means(model_);
        remember();
        for (std::byte const b : states_.back().print) {
            report_.trace = (report_.trace ^ std::to_integer<std::uint64_t>(b)) * 0x100000001B3;
        }
    }

    // What happens.

    [[nodiscard]] std::string some_record() { return "record-" + std::to_string(draw(4)); }

    void step() {
        switch (draw(16)) {
            case 0: redact(); break;
            case 1: seal(); break;
            case 2: drop(); break;
            case 3: anchor(); break;
            case 4: crash(); break;
            case 5: forget_history(); break;
            case 6:
                tell("all is looked over");
                judge(false);
                if (fine()) { tamper(0); }
                break;
            case 7: undo(); break;
            case 8:
            case 9:
            case 10:
            case 11: change(); break;
            default: append_some(1 + static_cast<std::size_t>(draw(5))); break;
        }
    }
    [[nodiscard]] static std::string text_of(std::uint64_t from, std::uint64_t to) {
        return "entries " + std::to_string(from) + " to " + std::to_string(to - 1);
    }
    void append_some(std::size_t count) {
        std::vector<naive_audit::entry> told(count);
        std::vector<bytes> values(count);
        std::vector<audit_field> fields(count);
        std::vector<audit_item> items(count);
        for (std::size_t i = 0; i < count; ++i) {
            ++serial_;
            if (!one_in(3)) { told[i].record = some_record(); }
            if (!told[i].record.empty()) { told[i].hidden = "hidden-" + std::to_string(serial_); }
            cbor_writer{values[i]}.text(told[i].hidden);
            fields[i] = {"f", values[i]};
            items[i].kind = static_cast<audit_kind>(1 + draw(11));
            items[i].stamp = {serial_};
            items[i].record = as_bytes(told[i].record);
            if (!told[i].record.empty()) {
                items[i].collection = "c";
                items[i].masked = std::span<audit_field const>{&fields[i], 1};
            }
        }
        std::uint64_t at = 0;
        std::vector<bytes> leaves;
        std::size_t const first = model_.entries.size();
        std::string what = text_of(first, first + count) + " are appended, of";
        for (std::size_t i = 0; i < count && i < 5; ++i) {
            what += (i == 0 ? " " : ", ") + (told[i].record.empty() ? "no record" : told[i].record);
        }
        in_transaction(
            std::move(what),
            [&](auto& tx) -> status {
                auto const n = log_.append_all(tx, items, random_);
                if (!n) { return n.error(); }
                at = *n;
                return keep_leaves(tx, leaves, count);
            },
            [&](naive_audit& m) {
                holds(at == m.entries.size(), audit_promise::answers, "an entry has another index than its place");
                for (std::size_t i = 0; i < count; ++i) {
                    told[i].leaf = leaves[i];
                    if (!told[i].record.empty()) { told[i].link = newest(m, told[i].record); }
                    m.entries.push_back(told[i]);
                }
            });
    }
    /// The newest entry of a record that is not redacted, and one; 0: none.
    [[nodiscard]] static std::uint64_t newest(naive_audit const& m, std::string const& record) {
        for (std::size_t i = m.entries.size(); i-- > m.first;) {
            if (m.entries[i].record == record && !m.entries[i].redacted) { return i + 1; }
        }
        return 0;
    }
    template <class Tx>
    [[nodiscard]] status keep_leaves(Tx& tx, std::vector<bytes>& out, std::size_t count) {
        auto const e = log_.extent(tx);
        if (!e) { return e.error(); }
        for (std::uint64_t i = e->size - count; i < e->size; ++i) {
            auto leaf = log_.leaf_data(tx, i);
            if (!leaf) { return leaf.error(); }
            out.push_back(std::move(*leaf));
        }
        return {};
    }
    void redact() {
        std::string const record = some_record();
        std::uint64_t n = 0;
        std::uint64_t events = 0;
        std::uint64_t intervals = 0;
        std::vector<bytes> leaves;
        for (std::size_t i = static_cast<std::size_t>(model_.first); i < model_.entries.size(); ++i) {
            bool const goes = goes_with(model_.entries[i], record);
            if (goes && (i == model_.first || !goes_with(model_.entries[i - 1], record))) { ++intervals; }
        }
        std::uint64_t const parts = (intervals + redactions_max_ - 1) / redactions_max_;
        std::uint64_t told = 0;
        in_transaction(
            record + " is redacted",
            [&](auto& tx) -> status {
                auto const done = log_.redact(tx, "c", as_bytes(record), {}, random_);
                if (!done) { return done.error(); }
                n = *done;
                auto const of_history = history_.redact(tx, {"c", std::string_view{record}});
                if (!of_history) { return of_history.error(); }
                events = *of_history;
                auto const e = log_.extent(tx);
                if (!e) { return e.error(); }
                told = e->size - model_.entries.size();
                return keep_leaves(tx, leaves, static_cast<std::size_t>(told));
            },
            [&](naive_audit& m) {
                std::uint64_t expected = 0;
                for (std::size_t i = static_cast<std::size_t>(m.first); i < m.entries.size(); ++i) {
                    naive_audit::entry& e = m.entries[i];
                    if (goes_with(e, record)) {
                        e.redacted = true;
                        ++expected;
                    }
                }
                holds(n == expected, audit_promise::answers, "another number of private parts was redacted");
                holds(told == parts, audit_promise::answers, "a redaction is told in another number of entries");
                for (bytes& leaf : leaves) {
                    naive_audit::entry own;
                    own.own = true;
                    own.leaf = std::move(leaf);
                    m.entries.push_back(std::move(own));
                }
                std::uint64_t expected_events = 0;
                for (std::size_t i = static_cast<std::size_t>(m.forgotten); i < m.changes.size(); ++i) {
                    if (m.changes[i].record == record && !m.changes[i].gone) { ++expected_events; }
                }
                for (naive_audit::change& c : m.changes) { c.gone = c.gone || c.record == record; }
                holds(events == expected_events, audit_promise::answers, "another number of events was redacted");
                if (m.now[record]) { m.holed[record] = true; }
            });
    }
    [[nodiscard]] static bool goes_with(naive_audit::entry const& e, std::string const& record) {
        return e.record == record && !e.redacted;
    }
    void seal() {
        std::uint64_t const from = (std::max)(model_.first, model_.sealed);
        if (from >= model_.entries.size()) { return; }
        std::uint64_t const to = from + 1 + draw(model_.entries.size() - from);
        bool const with_private = one_in(2);
        offer_wrong_archive(from, to, with_private);
        if (!fine()) { return; }
        std::vector<bytes> leaves;
        in_transaction(
            text_of(from, to) + " are sealed" + (with_private ? " with their private parts" : ""),
            [&](auto& tx) -> status {
                auto const archive = log_.export_segment(tx, from, to, {}, with_private);
                if (!archive) { return archive.error(); }
                if (auto const ok = log_.seal(tx, *archive, {}, random_); !ok) { return ok; }
                return keep_leaves(tx, leaves, 1);
            },
            [&](naive_audit& m) {
                m.sealed = to;
                naive_audit::entry own;
                own.own = true;
                own.leaf = leaves[0];
                m.entries.push_back(own);
            });
    }
    /// An archive that is not the next one is refused, and leaves all as it was; nothing of this is committed.
    void offer_wrong_archive(std::uint64_t from, std::uint64_t to, bool with_private) {
        auto dice = dice_of(0);
        auto tx = store_->begin(access_mode::write);
        auto archive = log_.export_segment(*tx, from, to, {}, with_private);
        char const* what = "damaged";
        std::optional<errc> why;
        std::uint64_t const which = below(dice, 5);
        if (which == 0 && archive) {
            archive->pop_back();
        } else if (which == 1 && archive) {
            archive->back() ^= std::byte{1};  // of the last entry
        } else if (which == 2) {
            archive = archive_of_fork(*tx, from, with_private, dice);
            what = "from a fork";
            why = errc::invalid;
        } else {
            // One that begins before, at what is sealed already, or behind, with a gap.
            bool const before = from > model_.first && below(dice, 2) == 0;
            std::uint64_t const first = before ? from - 1 : from + 1;
            if (first >= model_.entries.size()) { return; }
            archive = log_.export_segment(*tx, first, (std::max)(to, first + 1), {}, with_private);
            what = "of another beginning";
            why = errc::invalid;
        }
        if (!holds(archive.has_value(), audit_promise::answers, "an archive can't be made")) { return; }
        tell(std::string{"an archive "} + what + " is offered");
        auto const was = log_.extent(*tx);
        auto const taken = log_.seal(*tx, *archive, {}, dice);
        auto const is = log_.extent(*tx);
        bool const refused = !taken && (!why || taken.error() == *why);
        holds(refused, audit_promise::answers, std::string{"an archive "} + what + " is sealed");
        holds(was && is && *was == *is, audit_promise::answers, "a refused archive leaves something");
    }
    /// What another log that was this one until now would archive: of one name with it, and of another end.
    [[nodiscard]] result<bytes> archive_of_fork(tx_type& tx, std::uint64_t from, bool with_private,
                                                random_generator& dice) {
        std::vector<std::pair<bytes, bytes>> rows;
        bytes const end = to_bytes("b");
        (void)tx.scan({as_bytes("a"), end}, [&](bytes_view k, bytes_view v) {
            rows.emplace_back(to_bytes(k), to_bytes(v));
            return true;
        });
        for (auto& [k, v] : rows) {
            k[0] = static_cast<std::byte>('b');
            if (auto const ok = tx.put(k, v); !ok) { return ok.error(); }
        }
        audit_log<> const other{{}, "b"};
        audit_item item;
        item.kind = static_cast<audit_kind>(1);
        for (std::uint32_t code = 1; code <= 2; ++code) {
            item.code = code;
            auto const at = code == 1 ? log_.append(tx, item, dice) : other.append(tx, item, dice);
            if (!at) { return at.error(); }
        }
        return other.export_segment(tx, from, model_.entries.size() + 1, {}, with_private);
    }
    void drop() {
        std::uint64_t const most = draw(6);
        std::uint64_t n = 0;
        in_transaction(
            "up to " + std::to_string(most) + " sealed entries are dropped",
            [&](auto& tx) -> status {
                auto const done = log_.drop(tx, most);
                if (!done) { return done.error(); }
                n = *done;
                return {};
            },
            [&](naive_audit& m) {
                std::uint64_t const left = m.sealed > m.first ? m.sealed - m.first : 0;
                holds(n == (std::min)(most, left), audit_promise::answers, "another number of entries was dropped");
                m.first += (std::min)(most, left);
            });
    }
    void anchor() {
        tell("all is synced and the head is published");
        // Only what survives may be told to anybody.
        if (!store_->barrier()) { return; }
        if (!states_.empty()) { synced(); }
        auto tx = store_->begin(access_mode::read);
        auto const h = log_.head(*tx, {serial_});
        if (!h) {
            holds(h.error() == errc::not_found && model_.entries.empty(), audit_promise::answers, "no head");
            return;
        }
        anchors_.push_back(*h);
    }

    // The history.

    [[nodiscard]] static bytes fields_of(std::int64_t n) {
        bytes out;
        cbor_writer w{out};
        w.map(1);
        w.text("n");
        w.integer(n);
        return out;
    }
    [[nodiscard]] static std::optional<std::int64_t> number_in(std::optional<bytes> const& fields) {
        if (!fields) { return std::nullopt; }
        auto const found = map_find(*fields, "n");
        if (!found || !*found) { return std::nullopt; }
        cbor_reader in{**found};
        return in.integer();
    }
    void change() {
        std::string const record = some_record();
        auto const current = model_.now[record];
        naive_audit::change c;
        c.record = record;
        c.stamp = 1'000 + model_.changes.size() * 2 + (one_in(4) ? 0 : draw(20));
        c.before = current;
        c.asked.record = {"c", std::string_view{record}};
        c.asked.stamp = {c.stamp};
        c.asked.kind = !current ? change_kind::create : one_in(6) ? change_kind::erase : change_kind::update;
        if (c.asked.kind != change_kind::erase) {
            auto n = static_cast<std::int64_t>(draw(9));
            bool const adds = current && one_in(2);
            if (adds) { n = 3 - n; }  // so that sums lie on either side of nothing
            field_op op{"n", adds ? op_kind::add : op_kind::set, {}, {c.stamp}};
            cbor_writer{op.value}.integer(n);
            c.asked.ops.push_back(std::move(op));
            c.after = adds ? *current + n : n;
        }
        write(c, "");
    }
    void write(naive_audit::change const& c, char const* why) {
        std::uint64_t at = 0;
        std::string const now = c.after ? " becomes " + std::to_string(*c.after) : std::string{" is erased"};
        in_transaction(
            "event " + std::to_string(model_.changes.size() + 1) + ": " + c.record + now + why,
            [&](auto& tx) -> status {
                bytes const before = fields_of(c.before.value_or(0));
                bytes const after = fields_of(c.after.value_or(0));
                auto const done =
                    history_.record(tx, {}, c.asked, c.before ? std::optional<bytes_view>{before} : std::nullopt,
                                    c.after ? std::optional<bytes_view>{after} : std::nullopt);
                if (!done) { return done.error(); }
                at = *done;
                return {};
            },
            [&](naive_audit& m) {
                m.changes.push_back(c);
                m.now[c.record] = c.after;
                if (c.asked.kind != change_kind::update) { m.holed[c.record] = false; }
                holds(at == m.changes.size(), audit_promise::answers, "an event has another position");
            });
    }
    void forget_history() {
        std::uint64_t const through = draw(model_.changes.size() + 1);
        std::uint64_t n = 0;
        in_transaction(
            "the history is forgotten through event " + std::to_string(through),
            [&](auto& tx) -> status {
                auto const done = history_.forget(tx, through, 20);
                if (!done) { return done.error(); }
                n = *done;
                return {};
            },
            [&](naive_audit& m) {
                std::uint64_t const left = through > m.forgotten ? through - m.forgotten : 0;
                std::uint64_t const most = (std::min)(left, std::uint64_t{20});
                holds(n == most, audit_promise::answers, "another number of events was forgotten");
                for (std::uint64_t i = 0; i < most; ++i) {
                    naive_audit::change const& c = m.changes[static_cast<std::size_t>(m.forgotten++)];
                    if (!c.gone) { m.forgotten_stamp = (std::max)(m.forgotten_stamp, c.stamp); }
                }
            });
    }
    void undo() {
        if (model_.changes.size() == model_.forgotten) { return; }
        std::uint64_t const at = model_.forgotten + draw(model_.changes.size() - model_.forgotten);
        naive_audit::change const c = model_.changes[static_cast<std::size_t>(at)];
        tell("event " + std::to_string(at + 1) + ", of " + c.record + ", is to be undone");
        std::optional<undo_plan> plan;
        {
            auto tx = store_->begin(access_mode::read);
            auto p = history_.undo(*tx, at + 1, {9});
            if (c.gone) {
                holds(!p && p.error() == errc::not_found, audit_promise::undoing, "what was redacted can be undone");
                return;
            }
            holds(p.has_value(), audit_promise::undoing, "an event can't be undone");
            if (!p) { return; }
            plan = std::move(*p);
        }
        bool touched = false;
        for (std::size_t i = static_cast<std::size_t>(at) + 1; i < model_.changes.size(); ++i) {
            naive_audit::change const& l = model_.changes[i];
            if (l.record != c.record) { continue; }
            bool const both_add = c.asked.kind == change_kind::update && l.asked.kind == change_kind::update &&
                                  c.asked.ops[0].kind == op_kind::add && l.asked.ops[0].kind == op_kind::add;
            touched = touched || !both_add;
        }
        bool const does = c.before != c.after;
        holds(!does || plan->clean() == !touched, audit_promise::undoing,
              "somebody in the way was not seen, or was imagined");
        if (!does || !plan->clean() || touched) { return; }
        // Apply it: the record is as it was before, but for what others added.
        naive_audit::change u;
        u.record = c.record;
        u.stamp = 1'000 + model_.changes.size() * 2;
        u.before = model_.now[c.record];
        u.asked.record = plan->record;
        u.asked.stamp = {u.stamp};
        u.asked.kind = plan->kind;
        u.asked.ops = plan->ops;
        if (plan->kind != change_kind::erase && plan->ops.size() == 1) {
            cbor_reader in{plan->ops[0].value};
            std::int64_t const n = in.integer();
            u.after = plan->ops[0].kind == op_kind::add ? *u.before + n : n;
        }
        auto const expected = c.asked.kind == change_kind::update && c.asked.ops[0].kind == op_kind::add
                                  ? std::optional<std::int64_t>{*u.before - (*c.after - *c.before)}
                                  : c.before;
        holds(u.after == expected, audit_promise::undoing, "an undo gives something else than what was");
        write(u, ", which undoes it");
    }

    // Judging.

    void judge(bool whole) {
        auto tx = store_->begin(access_mode::read);
        auto const extent = log_.extent(*tx);
        if (!extent) {
            holds(extent.error() == errc::not_found && model_.entries.empty(), audit_promise::answers, "no extent");
            return;
        }
        holds(extent->size == model_.entries.size() && extent->first == model_.first && extent->sealed == model_.sealed,
              audit_promise::contents, "the log goes from or to elsewhere");
        std::uint64_t index = model_.first;
        auto const ok = log_.scan(*tx, 0, extent->size, [&](audit_entry const& e) {
            naive_audit::entry const& t = model_.entries[static_cast<std::size_t>(index++)];
            holds(e.commitment.has_value() == !t.record.empty() && e.redacted() == t.redacted, audit_promise::contents,
                  "an entry is redacted or not, as it should not be");
            if (e.opened) {
                holds(as_text(e.opened->record) == t.record, audit_promise::contents, "an entry of another record");
                holds(as_text(e.opened->masked).find(t.hidden) != std::string_view::npos, audit_promise::contents,
                      "a masked value is another");
            }
            if (t.redacted) { guess(e, t); }
            return fine();
        });
        holds(ok.has_value() && index == extent->size, audit_promise::contents, "entries are missing");
        expect_gone(*tx);
        past(*tx);
        if (!fine() || extent->size == 0) { return; }
        tree(*tx, *extent, whole);
    }
    /// Somebody who knows all but the key tries whether it was this value.
    void guess(audit_entry const& e, naive_audit::entry const& t) {
        bytes value;
        cbor_writer{value}.text(t.hidden);
        audit_field const field{"f", value};
        audit_item item;
        item.record = as_bytes(t.record);
        item.masked = std::span<audit_field const>{&field, 1};
        bytes secret(33);
        cbor_writer w{secret};
        encode_secret(w, item, t.link);
        auto const salt = audit_salt(sha256_function{}, audit_record_key{}, e.index);
        holds(audit_commitment(sha256_function{}, salt, secret) != *e.commitment, audit_promise::forgotten,
              "a redacted value can be guessed");
    }
    /// No row holds a value that was redacted.
    void expect_gone(tx_type& tx) {
        (void)tx.scan({}, [&](bytes_view, bytes_view v) {
            for (std::size_t i = static_cast<std::size_t>(model_.first); i < model_.entries.size(); ++i) {
                naive_audit::entry const& e = model_.entries[i];
                bool const there = e.redacted && contains(as_text(v), e.hidden);
                holds(!there, audit_promise::forgotten, "a redacted value is still stored");
            }
            return fine();
        });
    }
    [[nodiscard]] static bool contains(std::string_view all, std::string const& part) {
        for (std::size_t at = all.find(part); at != std::string_view::npos; at = all.find(part, at + 1)) {
            // "hidden-1" is not "hidden-12".
            std::size_t const end = at + part.size();
            if (end == all.size() || all[end] < '0' || all[end] > '9') { return true; }
        }
        return false;
    }
    /// Of a seed and a step, so that no life is another for them.
    [[nodiscard]] random_generator dice_of(std::uint64_t nth) const {
        return random_generator{report_.seed * 1'000'003 + report_.steps * 8 + nth};
    }
    [[nodiscard]] static bytes entry_row(std::uint64_t index) {
        bytes out = to_bytes("ae");
        append_u64(out, index);
        return out;
    }
    /// Where nothing is, it is empty: no row is.
    [[nodiscard]] static bytes row_of(tx_type& tx, bytes_view key) {
        bytes out;
        auto const found = tx.get(key, out);
        if (!found || !*found) { out.clear(); }
        return out;
    }
    /// Somebody writes past the log, to its rows, in a transaction that is never committed. Verification says where.
    void tamper(std::uint64_t nth) {
        std::uint64_t const size = model_.entries.size();
        if (model_.first == size) { return; }
        auto dice = dice_of(nth);
        auto tx = store_->begin(access_mode::write);
        std::uint64_t const at = model_.first + below(dice, size - model_.first);
        std::string what;
        std::optional<audit_finding> expected;
        switch (below(dice, 9)) {
            case 0:
                what = "a bit of its leaf";
                expected = turn_bit(*tx, at, false, dice);
                break;
            case 1:
                what = "a bit of its private part";
                expected = turn_bit(*tx, at, true, dice);
                break;
            case 2:
                what = "it, and the chain from there on";
                expected = write_anew(*tx, at, dice);
                break;
            case 3:
                what = "its place";
                expected = swap_rows(*tx, at, dice);
                break;
            case 4:
                what = "that it is there";
                if (tx->erase(entry_row(at))) { expected = {audit_fault::missing, at}; }
                break;
            case 5: {
                what = "that it has a private part";
                bytes row = row_of(*tx, entry_row(at));
                naive_audit::entry const& e = model_.entries[static_cast<std::size_t>(at)];
                if (e.record.empty() || e.redacted) { return; }
                row.resize(e.leaf.size() + 1);
                if (tx->put(entry_row(at), row)) { expected = {audit_fault::hidden, at}; }
                break;
            }
            case 6:
                what = "the tile over it";
                expected = turn_tile(*tx, at, dice);
                break;
            case 7:
                what = "a record's row";
                expected = change_record(*tx, dice);
                break;
            default:
                what = "that it was redacted";
                expected = bring_back(*tx, at, dice);
                break;
        }
        if (!expected) { return; }
        what = "somebody changes entry " + std::to_string(at) + ": " + what;
        tell(what);
        // A row that is no entry any more may be told as that instead.
        bool const is_entry = log_.find(*tx, at).has_value();
        auto const seen = log_.verify(*tx, {.findings_max = 100'000});
        bool const told =
            seen && std::any_of(seen->findings.begin(), seen->findings.end(), [&](audit_finding const& f) {
                return f == *expected || (!is_entry && f == audit_finding{audit_fault::damaged, at});
            });
        ++report_.checks;
        if (!told) {
            broken(audit_promise::tampered,
                   what + ", and '" + name(expected->fault) + "' is not found at " + std::to_string(expected->index));
        }
    }
    [[nodiscard]] std::optional<audit_finding> turn_bit(tx_type& tx, std::uint64_t at, bool of_private,
                                                        random_generator& dice) {
        bytes row = row_of(tx, entry_row(at));
        std::size_t const leaf = model_.entries[static_cast<std::size_t>(at)].leaf.size() + 1;
        if (of_private && row.size() == leaf) { return std::nullopt; }
        std::size_t const from = of_private ? leaf : 0;
        std::size_t const place = from + static_cast<std::size_t>(below(dice, (of_private ? row.size() : leaf) - from));
        row[place] ^= static_cast<std::byte>(1U << below(dice, 8));
        if (!tx.put(entry_row(at), row)) { return std::nullopt; }
        return audit_finding{of_private ? audit_fault::opening : audit_fault::leaf, at};
    }
    /// One who can compute hashes changes an entry and mends all that name it; only the tree knows it as it was.
    [[nodiscard]] std::optional<audit_finding> write_anew(tx_type& tx, std::uint64_t at, random_generator& dice) {
        auto const before = log_.find(tx, at);
        if (!before || !*before) { return std::nullopt; }
        bytes row = row_of(tx, entry_row(at));
        std::size_t const leaf = model_.entries[static_cast<std::size_t>(at)].leaf.size() + 1;
        sha256_digest was = sha256(bytes_view{row}.first(leaf));
        row[static_cast<std::size_t>(below(dice, leaf))] ^= std::byte{1};
        if (!tx.put(entry_row(at), row)) { return std::nullopt; }
        auto const after = log_.find(tx, at);
        bool const fits =
            after && *after && (*after)->index == (*before)->index && (*after)->previous == (*before)->previous;
        if (!fits) { return std::nullopt; }
        sha256_digest is = sha256(bytes_view{row}.first(leaf));
        auto const mend = [&](bytes_view key) {
            row = row_of(tx, key);
            auto const place = std::search(row.begin(), row.end(), was.begin(), was.end());
            if (place == row.end()) { return false; }
            std::copy(is.begin(), is.end(), place);
            return tx.put(key, row).has_value();
        };
        for (std::uint64_t i = at + 1; i < model_.entries.size(); ++i) {
            if (!mend(entry_row(i))) { return std::nullopt; }
            was = sha256(model_.leaf_with_prefix(static_cast<std::size_t>(i)));
            is = sha256(bytes_view{row}.first(model_.entries[static_cast<std::size_t>(i)].leaf.size() + 1));
        }
        if (!mend(as_bytes("ac"))) { return std::nullopt; }
        return audit_finding{audit_fault::leaf, at};
    }
    [[nodiscard]] std::optional<audit_finding> swap_rows(tx_type& tx, std::uint64_t at, random_generator& dice) {
        std::uint64_t const other = model_.first + below(dice, model_.entries.size() - model_.first);
        if (other == at) { return std::nullopt; }
        bytes const one = row_of(tx, entry_row(at));
        bytes const two = row_of(tx, entry_row(other));
        if (!tx.put(entry_row(at), two) || !tx.put(entry_row(other), one)) { return std::nullopt; }
        return audit_finding{audit_fault::moved, at};
    }
    [[nodiscard]] static std::optional<audit_finding> turn_tile(tx_type& tx, std::uint64_t at, random_generator& dice) {
        std::uint64_t const tile = at / merkle_tile_width;
        auto const key = merkle_tree::tile_key("at", 0, tile);
        bytes row = row_of(tx, key);
        if (row.empty()) { return std::nullopt; }  // not full yet
        row[static_cast<std::size_t>(below(dice, row.size()))] ^= static_cast<std::byte>(1U << below(dice, 8));
        if (!tx.put(key, row)) { return std::nullopt; }
        return audit_finding{audit_fault::tile, tile * merkle_tile_width};
    }
    /// Somebody has a copy of what is redacted, and of the key of its commitment, and puts both back.
    [[nodiscard]] std::optional<audit_finding> bring_back(tx_type& tx, std::uint64_t at, random_generator& dice) {
        naive_audit::entry const& e = model_.entries[static_cast<std::size_t>(at)];
        if (e.record.empty() || e.redacted) { return std::nullopt; }
        bytes key = to_bytes("ak");
        append(key, as_bytes("\1c"));
        append(key, as_bytes(e.record));
        bytes const row = row_of(tx, entry_row(at));
        bytes const of_record = row_of(tx, key);
        if (!log_.redact(tx, "c", as_bytes(e.record), {}, dice)) { return std::nullopt; }
        if (!tx.put(entry_row(at), row) || !tx.put(key, of_record)) { return std::nullopt; }
        return audit_finding{audit_fault::returned, at};
    }
    /// A record's row: the key of its commitments, and the newest of its entries, and one.
    [[nodiscard]] static std::optional<audit_finding> change_record(tx_type& tx, random_generator& dice) {
        std::vector<bytes> keys;
        (void)tx.scan({as_bytes("ak"), as_bytes("al")}, [&](bytes_view k, bytes_view) {
            keys.push_back(to_bytes(k));
            return true;
        });
        if (keys.empty()) { return std::nullopt; }
        bytes const& key = keys[static_cast<std::size_t>(below(dice, keys.size()))];
        bytes row = row_of(tx, key);
        std::uint64_t const last = read_u64(bytes_view{row}.last(8));
        std::uint64_t changed = last;
        switch (below(dice, 4)) {
            case 0:
                if (!tx.erase(key)) { return std::nullopt; }
                return audit_finding{audit_fault::opening, last - 1};
            case 1:
                row[static_cast<std::size_t>(below(dice, row.size() - 8))] ^= std::byte{1};
                if (!tx.put(key, row)) { return std::nullopt; }
                return audit_finding{audit_fault::opening, last - 1};
            case 2: changed += 1 + below(dice, 4); break;
            default: changed = below(dice, last); break;
        }
        row.resize(row.size() - 8);
        append_u64(row, changed);
        if (!tx.put(key, row)) { return std::nullopt; }
        // One that leads too far leads to no entry of its record; one that doesn't lead far enough leaves one out.
        return audit_finding{audit_fault::record, (std::max)(changed, last) - 1};
    }
    void tree(tx_type& tx, audit_extent const& extent, bool whole) {
        auto const n = static_cast<std::size_t>(extent.size);
        auto const head = log_.head(tx, {});
        holds(head && head->root == model_.root(0, n), audit_promise::the_tree, "the root is another");
        auto const verified = log_.verify(tx, {.anchors = anchors_});
        if (!verified || !verified->sound()) {
            broken(audit_promise::sound, verified
                                             ? std::string{"an untouched log: "} + name(verified->findings[0].fault)
                                             : std::string{"can't be verified"});
            return;
        }
        std::size_t const step = 1 + n / (whole ? 40 : 5);
        for (std::size_t i = 0; i < n; i += step) {
            auto const p = log_.prove_inclusion(tx, i);
            holds(p && verify_inclusion(sha256_function{}, model_.root(i, i + 1), *p, head->root),
                  audit_promise::proofs, "an inclusion is not proved");
            auto const c = log_.prove_consistency(tx, i + 1);
            holds(c && verify_consistency(sha256_function{}, *c, model_.root(0, i + 1), head->root),
                  audit_promise::proofs, "consistency is not proved");
        }
    }
    void past(tx_type& tx) {
        for (int i = 0; i < 8; ++i) {
            std::string const record = some_record();
            std::uint64_t const at = draw(model_.changes.size() + 1);
            bool const by_stamp = one_in(2);
            history_bound bound;
            if (by_stamp) {
                bound.stamp = {995 + draw(30 + 2 * model_.changes.size())};
            } else {
                bound.position = at;
            }
            bool const known = by_stamp ? bound.stamp.raw >= model_.forgotten_stamp : at >= model_.forgotten;
            auto const got = history_.as_of(tx, {"c", std::string_view{record}}, bound);
            if (!known) {
                holds(!got && got.error() == errc::not_found, audit_promise::past, "what was forgotten is told");
                continue;
            }
            // A record that lives on after its redaction may or may not be known again: it must not be wrong.
            auto const expected = model_.as_of(record, by_stamp ? model_.changes.size() : at, bound.stamp.raw);
            if (was_redacted(record)) {
                if (got && at == model_.changes.size() && !by_stamp && *got) {
                    holds(number_in(*got) == model_.now[record], audit_promise::past, "a state that never was");
                }
                continue;
            }
            holds(got && (number_in(*got) == expected.value || !expected.known), audit_promise::past,
                  "a record was something else");
        }
        std::uint64_t position = model_.forgotten;
        auto const ok = history_.scan(tx, 1, model_.changes.size(), [&](history_event const& e) {
            while (position < model_.changes.size() && model_.changes[static_cast<std::size_t>(position)].gone) {
                ++position;
            }
            holds(e.position == position + 1 && e.change == model_.changes[static_cast<std::size_t>(position)].asked,
                  audit_promise::contents, "an event is another");
            ++position;
            return fine();
        });
        holds(ok.has_value(), audit_promise::contents, "the history can't be read");
    }
    [[nodiscard]] bool was_redacted(std::string const& record) const {
        return std::any_of(model_.changes.begin(), model_.changes.end(),
                           [&](naive_audit::change const& c) { return c.gone && c.record == record; });
    }

    struct known_state {
        sha256_digest print{};
        naive_audit model{};
    };

    std::size_t redactions_max_;  // of some lives so few that most redactions take several entries
    audit_log<> log_;
    mutation_history history_;
    durability promise_ = durability::full;
    std::unique_ptr<simulated_disk> disk_{};
    std::unique_ptr<simulated_disk::storage_type> inner_{};
    std::unique_ptr<store_type> store_{};
    std::uint64_t faults_ = 0;
    std::uint64_t serial_ = 0;
    naive_audit model_{};
    std::vector<known_state> states_{{sha256_hasher{}.finish(), {}}};  // those that a power cut may bring back
    std::vector<audit_head> anchors_{};
};

}  // namespace detail

/// One life of a log and a history. The same seed and options give the same life and the same report, on every machine.
/// With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline audit_simulation_report simulate_audit(std::uint64_t seed,
                                                            audit_simulation_options const& o = {}) {
    return detail::live_life<detail::audit_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline audit_simulation_options shrink_audit(audit_simulation_report const& failed,
                                                           audit_simulation_options o = {}, std::size_t lives = 1'000) {
    return detail::shrink_life<detail::audit_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
