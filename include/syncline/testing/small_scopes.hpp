// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Small scopes to the end: every order of writes and deliveries of a few devices, with every loss, double, replay,
/// crash and failing storage call, over the caller's storage and rules.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/storage.hpp>
#include <syncline/testing/faulty_storage.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// One field that an operation of a scope writes. Without a value each writing of it gets a number of its own.
struct scope_edit {
    std::string field{};
    op_kind kind = op_kind::set;
    std::optional<std::int64_t> value{};  ///< of a `set`
};

/// One thing that a device may do to a record.
struct scope_operation {
    std::string name{};
    change_kind kind = change_kind::update;
    std::vector<scope_edit> edits{};
};

/// How the world begins.
enum class scope_start : std::uint8_t {
    nothing,  ///< no record; the devices have never met their authority
    founded,  ///< the authority has the records; the devices have never met it
    met,      ///< every device has met the authority and holds the records
};

/// What is enumerated. Everything within these bounds is visited, up to the symmetry that the explorer's documentation names.
struct scope_options {
    std::string name{};
    std::size_t devices = 2;     ///< 1 to 3, beside the authority
    std::size_t operations = 3;  ///< writes in all, by whichever devices; 1 to 3
    std::size_t each = 3;        ///< writes of one device at most
    std::size_t records = 1;     ///< 1 or 2
    std::size_t window = 1;      ///< messages for each device and direction that may still come, however late: 1 or 2
    scope_start start = scope_start::met;
    bool storage_faults = false;              ///< let each storage call of each step fail, before and after its effect
    bool misdeliveries = false;               ///< let each reply reach every other device too
    milliseconds skew{0};                     ///< each device's clock is so far ahead of the one before it
    std::uint64_t rows_max = 100;             ///< of a page
    std::size_t mutations_max = 100;          ///< of a request
    std::string collection = "things";        ///< whose rules are used
    std::vector<scope_operation> alphabet{};  ///< what a device may do; empty: `scope_alphabet`
    std::string refused{};                    ///< the authority refuses whatever writes this field; empty: nothing
    std::size_t rounds_max = 16;              ///< exchanges of each device after which everything rests
    std::size_t states_max = std::size_t{1} << 24;  ///< gives up beyond; the report says so
};

/// All that can be done to a record of these rules: create it whole, write each field, erase it.
[[nodiscard]] inline std::vector<scope_operation> scope_alphabet(collection_rules const& rules) {
    std::vector<scope_operation> out{{"create", change_kind::create, {}}};
    for (field_rule const& f : rules.fields) {
        bool const counts = f.decides == rule::counter;
        out[0].edits.push_back({f.field, op_kind::set, {}});
        out.push_back({(counts ? "add to " : "set ") + f.field,
                       change_kind::update,
                       {{f.field, counts ? op_kind::add : op_kind::set, {}}}});
    }
    out.push_back({"erase", change_kind::erase, {}});
    return out;
}

/// What is looked at, beside that no step may fail which has no reason to.
enum class scope_oracle : std::uint8_t {
    steps,            ///< a step succeeds unless a fault was put in it, or the record's state forbids it
    kept,             ///< an acknowledged write waits, was decided, or lies where a person finds it
    once,             ///< a mutation is decided once, an addition counts once, and nobody takes a new identity
    order,            ///< the authority decides an author's mutations in sequence, and in the order of writing
    frozen,           ///< what was sent once never changes
    no_resurrection,  ///< a deleted life doesn't come back
    model,            ///< rows, marks and verdicts are those of a naive model of the rules
    visible,          ///< what is seen is what is confirmed and what is pending, by the naive model
    cursor,           ///< a device with a cursor holds each record as it was there, or later, and never another
    events,           ///< the events of an exchange are the changes of what is seen, and the verdicts taken
    truthful,         ///< a reply tells the rows and verdicts that the authority holds
    replay,           ///< taking a message again, or another's, changes nothing
    faults,           ///< a step that fails leaves the old state or the new one
    reopened,         ///< opening again changes nothing
    liveness,         ///< from every state everything comes to rest
    convergence,      ///< at rest every device holds the authority's bytes, and nothing else is left over
};
inline constexpr std::size_t scope_oracles = 16;

[[nodiscard]] constexpr char const* name(scope_oracle o) noexcept {
    constexpr std::array<char const*, scope_oracles> names{
        "steps",  "kept",   "once",     "order",  "frozen", "no_resurrection", "model",    "visible",
        "cursor", "events", "truthful", "replay", "faults", "reopened",        "liveness", "convergence"};
    return static_cast<std::size_t>(o) < scope_oracles ? names[static_cast<std::size_t>(o)] : "unknown";
}

/// What an exploration came to.
struct scope_report {
    std::string scope{};
    bool complete = false;          ///< every state within the bounds was visited
    std::uint64_t states = 0;       ///< of all storages and all messages under way
    std::uint64_t transitions = 0;  ///< steps between them, those that change nothing included
    std::uint64_t leaves = 0;       ///< different states of rest that were reached
    std::uint64_t settled = 0;      ///< different states of all storages from which rest was sought
    std::uint64_t device_states = 0;
    std::uint64_t authority_states = 0;
    std::uint64_t messages = 0;       ///< different ones
    std::uint64_t library_steps = 0;  ///< different steps of one node, each run by the library
    std::uint64_t lost = 0;           ///< steps whose message was lost
    std::uint64_t idle = 0;           ///< deliveries of what had been delivered: doubles and replays
    std::uint64_t misdelivered = 0;
    std::uint64_t reopened = 0;        ///< nodes opened again from what they had stored
    std::uint64_t unacknowledged = 0;  ///< writes whose commit succeeded and said otherwise
    std::array<std::array<std::uint64_t, 2>, storage_call_count> faults{};  ///< by call, and before or after
    std::array<std::uint64_t, scope_oracles> checks{};
    std::size_t rounds = 0;   ///< most rounds that were needed to come to rest
    std::uint64_t bytes = 0;  ///< of memory, about
    milliseconds duration{};
    std::optional<violation> broken{};  ///< the first that was found; its axiom is an oracle's name
    std::vector<std::string> path{};    ///< the steps to it, by the shortest way

    [[nodiscard]] std::uint64_t checked() const noexcept {
        std::uint64_t sum = 0;
        for (std::uint64_t const n : checks) { sum += n; }
        return sum;
    }
    [[nodiscard]] std::uint64_t faulted() const noexcept {
        std::uint64_t sum = 0;
        for (auto const& n : faults) { sum += n[0] + n[1]; }
        return sum;
    }
};

/// What a store holds.
using scope_image = std::map<bytes, bytes>;

/// No mistake: what an exploration runs with, unless it is to be shown that it finds one.
///
/// A planted mistake derives from this and hides what it does otherwise. The images are what a node has stored; they are
/// patched from the moment that the scope begins.
struct nothing_planted {
    static constexpr bool acknowledges_what_fails = false;  ///< a write is acknowledged though its commit failed
    static constexpr bool replies_to_what_fails = false;    ///< a reply leaves though its commit failed
    static void after_write(scope_image const&, scope_image&) {}
    static void after_request(scope_image const&, scope_image&) {}
    static void before_answer(scope_image&) {}
    static void after_answer(scope_image const&, scope_image&) {}
    static void before_reply(scope_image&, bytes_view) {}  ///< the reply
    static void after_reply(scope_image const&, scope_image&) {}
};

/// The parts of the explorer that are of use alone: raw state, and the naive model of the rules.
namespace scopes {

/// A replica's row of state as it is stored.
struct raw_sync {
    std::optional<id128> epoch{};
    position cursor = 0;
    position head = 0;
    std::uint64_t author = 0;
    std::uint64_t next = 0;     ///< sequence
    std::uint64_t settled = 0;  ///< sequence
    std::uint64_t events = 0;
    std::uint64_t line = 0;  ///< what the store is since it was opened last

    [[nodiscard]] static std::optional<raw_sync> read(scope_image const& image) {
        auto const at = image.find(to_bytes(as_bytes("rs")));
        if (at == image.end()) { return std::nullopt; }
        cbor_reader in{at->second};
        raw_sync s;
        (void)in.array();
        if (!in.null()) { s.epoch = syncline::detail::read_id(in); }
        for (std::uint64_t* n : {&s.cursor, &s.head, &s.author, &s.next, &s.settled, &s.events, &s.line}) {
            *n = in.unsigned_integer();
        }
        return in.finish() ? std::optional{s} : std::nullopt;
    }
    void write(scope_image& image) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(8);
        if (epoch) {
            w.byte_string(epoch->bytes);
        } else {
            w.null();
        }
        for (std::uint64_t const n : {cursor, head, author, next, settled, events, line}) { w.unsigned_integer(n); }
        image[to_bytes(as_bytes("rs"))] = raw;
    }
};

// The naive model: the rules of docs/merge.md once more, on maps of integers.

struct scope_mark {
    position at = 0;
    std::uint64_t stamp = 0;
    author_index author = 0;
    friend bool operator==(scope_mark const&, scope_mark const&) = default;
};
struct scope_field {
    std::optional<std::int64_t> value{};  ///< nothing: it was unset
    scope_mark mark{};
    friend bool operator==(scope_field const&, scope_field const&) = default;
};
struct scope_row {
    position version = 0;
    std::uint64_t life = 0;  ///< 0: there never was one
    bool alive = false;
    scope_mark floor{};
    std::map<std::string, scope_field> fields{};
    friend bool operator==(scope_row const&, scope_row const&) = default;

    /// What a person sees of it.
    [[nodiscard]] std::map<std::string, std::int64_t> shown() const {
        std::map<std::string, std::int64_t> out;
        for (auto const& [f, v] : fields) {
            if (alive && v.value) { out[f] = *v.value; }
        }
        return out;
    }
};

[[nodiscard]] inline std::int64_t number_in(bytes_view item) {
    cbor_reader in{item};
    return in.integer();
}

[[nodiscard]] inline scope_row scope_row_of(row const& r) {
    auto const mark = [](write_mark const& m) { return scope_mark{m.at, m.stamp.raw, m.author}; };
    scope_row out;
    out.version = r.version;
    out.life = r.life;
    out.alive = !r.deleted;
    out.floor = mark(r.floor);
    if (!r.fields.empty()) {
        cbor_reader in{r.fields};
        std::size_t const n = in.map();
        for (std::size_t i = 0; i < n && !in.failed(); ++i) {
            std::string const f{in.text()};
            out.fields[f] = {in.integer(), out.floor};
        }
    }
    for (field_mark const& e : r.exceptions) { out.fields[e.field].mark = mark(e.mark); }
    return out;
}

/// What becomes of a row by a mutation of `author` that is decided at `at`.
[[nodiscard]] inline verdict_kind scope_apply(scope_row& current, mutation const& m, collection_rules const& rules,
                                              author_index author, position at) {
    auto const others = [&](scope_mark const& w) {
        return w.at > m.base && w.at != pending_position && w.author != author;
    };
    bool const begins = m.kind == change_kind::create && m.life > current.life;
    if (m.life > current.life && !begins) { return verdict_kind::rejected; }
    if (m.life < current.life) { return verdict_kind::overruled; }
    bool const erases = m.kind == change_kind::erase;
    if (!begins && !current.alive) { return erases ? verdict_kind::merged : verdict_kind::overruled; }
    if (erases) {
        bool beside = others(current.floor);
        for (auto const& f : current.fields) { beside = beside || others(f.second.mark); }
        current = {at, m.life, false, {at, m.stamp.raw, author}, {}};
        return beside ? verdict_kind::merged : verdict_kind::applied;
    }
    scope_row next = current;
    if (begins) { next = {at, m.life, true, {at, m.stamp.raw, author}, {}}; }
    next.version = at;
    std::size_t lost = 0;
    bool beside = false;
    for (field_op const& op : m.ops) {
        auto const before = begins ? next.fields.end() : next.fields.find(op.field);
        bool const written = before != next.fields.end();
        scope_field const was = written ? before->second : scope_field{std::nullopt, next.floor};
        scope_field now{std::nullopt, {at, op.stamp.raw, author}};
        if (op.kind != op_kind::unset) { now.value = number_in(op.value); }
        bool const concurrent = written && others(was.mark);
        rule const by = rules.of(op.field);
        bool keeps = false;  // what was there stays
        if (op.kind == op_kind::add) {
            now.value = was.value.value_or(0) + *now.value;
        } else if ((by == rule::minimum || by == rule::maximum) && now.value && was.value) {
            keeps = by == rule::minimum ? *now.value > *was.value : *now.value < *was.value;
        } else if (concurrent && now.value != was.value) {
            if (by == rule::manual) { return verdict_kind::conflict; }
            keeps = by == rule::authority ||
                    std::pair{now.mark.stamp, author} <= std::pair{was.mark.stamp, was.mark.author};
        }
        beside = beside || concurrent || keeps;
        lost += keeps ? 1U : 0U;
        if (keeps) { continue; }
        if (!begins) { now.mark.stamp = (std::max)(now.mark.stamp, was.mark.stamp); }
        if (concurrent && op.kind != op_kind::add && now.value == was.value &&
            std::pair{was.mark.stamp, was.mark.author} > std::pair{op.stamp.raw, author}) {
            now.mark.author = was.mark.author;  // of two who write the same, the greater mark stays
        }
        if (begins && !now.value && now.mark == next.floor) { continue; }  // a life that begins without a field
        next.fields[op.field] = now;
    }
    if (!m.ops.empty() && lost == m.ops.size()) { return verdict_kind::overruled; }
    current = std::move(next);
    return beside ? verdict_kind::merged : verdict_kind::applied;
}

// Raw state, taken apart.

struct raw_entry {
    bytes encoded{};
    mutation change{};  ///< its sequence is not 0 once it is frozen
};
struct raw_record {
    bool there = false;
    bool dirty = false;
    position confirmed = 0;
    row state{};
    std::optional<row> base{};  ///< of a dirty one

    [[nodiscard]] std::optional<row> authoritative() const {
        return dirty ? base : there ? std::optional{state} : std::nullopt;
    }
};
struct raw_decided {
    position version = 0;
    mutation change{};
};
struct raw_replica {
    bool sound = true;  ///< everything could be read
    bytes identity{};
    raw_sync sync{};
    std::uint64_t clock = 0;
    std::map<bytes, raw_record> records{};
    std::map<bytes, std::vector<raw_entry>> waiting{};  ///< by record, in the order of their stamps
    std::vector<mutation> dead{};
    std::vector<mutation> conflicts{};
    std::map<bytes, std::vector<raw_decided>> decided{};
    std::vector<std::uint64_t> frozen{};  ///< sequences
    std::vector<bytes> events{};
    std::vector<record_range> wanted{};

    /// Whether the authority has yet to tell the range that a record is in.
    [[nodiscard]] bool wants(bytes_view record) const {
        return std::any_of(wanted.begin(), wanted.end(), [&](record_range const& r) {
            return compare(r.from, record) <= 0 && compare(record, r.to) < 0;
        });
    }

    /// The pending mutation at the end of an outbox's row, whatever the outbox keeps before it; false when it has none.
    [[nodiscard]] static bool take_pending(bytes_view value, raw_entry& e) {
        for (; !value.empty(); value = value.subspan(1)) {
            cbor_reader in{value};
            if (value[0] != std::byte{0x83} || in.array() != 3) { continue; }
            bytes_view const encoded = in.byte_string();
            (void)in.byte_string();
            (void)in.unsigned_integer();
            if (!in.finish()) { continue; }
            cbor_reader inner{encoded};
            e.change = decode_mutation(inner);
            e.encoded = to_bytes(encoded);
            if (inner.finish()) { return true; }
        }
        return false;
    }
    [[nodiscard]] static raw_replica read(scope_image const& image) {
        raw_replica out;
        auto const sync = raw_sync::read(image);
        out.sound = sync.has_value();
        if (sync) { out.sync = *sync; }
        for (auto const& [key, value] : image) {
            bytes_view const k{key};
            bytes_view const v{value};
            std::string_view const kind = as_text(k.first((std::min)(k.size(), std::size_t{2})));
            bool good = true;
            if (kind == "ri") {
                out.identity = value;
            } else if (kind == "rt") {
                out.clock = read_u64(v);
            } else if (kind == "rv") {
                auto held = stored_records::parse(v);
                raw_record& r = out.records[to_bytes(k.subspan(2))];
                r.there = true;
                good = held.has_value();
                if (good) {
                    r.dirty = held->pending;
                    r.confirmed = held->confirmed;
                    r.state = std::move(held->visible);
                }
            } else if (kind == "rb") {
                cbor_reader in{v};
                out.records[to_bytes(k.subspan(2))].base = decode_row(in);
                good = in.finish().has_value();
            } else if (kind == "rh") {
                cbor_reader in{v};
                raw_decided d;
                (void)in.array();
                d.version = in.unsigned_integer();
                (void)in.unsigned_integer();
                cbor_reader inner{in.byte_string()};
                d.change = decode_mutation(inner);
                good = in.finish() && inner.finish();
                out.decided[to_bytes(k.subspan(4, k.size() - 12))].push_back(std::move(d));
            } else if (kind == "rf") {
                out.frozen.push_back(read_u64(k.subspan(2)));
            } else if (kind == "rc") {
                cbor_reader in{v};
                (void)in.array();
                cbor_reader inner{in.byte_string()};
                out.conflicts.push_back(decode_mutation(inner));
                good = inner.finish().has_value();
            } else if (kind == "re") {
                out.events.push_back(value);
            } else if (kind == "rw") {
                out.wanted.push_back({value, to_bytes(k.subspan((std::min)(k.size(), std::size_t{3})))});
            } else if (raw_entry e; kind == "ro" && take_pending(v, e)) {
                if (k[2] == static_cast<std::byte>(syncline::detail::outbox_space::dead)) {
                    out.dead.push_back(std::move(e.change));
                } else {
                    out.waiting[to_bytes(e.change.record)].push_back(std::move(e));
                }
            }
            out.sound = out.sound && good;
        }
        for (auto& [record, entries] : out.waiting) {
            std::sort(entries.begin(), entries.end(),
                      [](raw_entry const& a, raw_entry const& b) { return a.change.stamp < b.change.stamp; });
        }
        return out;
    }
};

struct raw_author {
    std::uint64_t index = 0;
    std::uint64_t decided = 0;
    std::uint64_t receipts = 0;
};
struct raw_authority {
    bool sound = true;
    position head = 0;
    std::map<bytes, raw_author> authors{};                                  ///< by replica
    std::map<bytes, row> rows{};                                            ///< by record
    std::map<bytes, bytes> encoded{};                                       ///< the same as bytes
    std::map<position, bytes> positions{};                                  ///< record
    std::map<std::pair<std::uint64_t, std::uint64_t>, verdict> verdicts{};  ///< by author and sequence

    [[nodiscard]] static raw_authority read(scope_image const& image) {
        raw_authority out;
        out.sound = false;
        for (auto const& [key, value] : image) {
            bytes_view const k{key};
            std::string_view const kind = as_text(k.first((std::min)(k.size(), std::size_t{2})));
            cbor_reader in{value};
            if (kind == "am") {
                (void)in.array();
                (void)in.unsigned_integer();
                (void)in.byte_string();
                out.head = in.unsigned_integer();
                out.sound = !in.failed();
            } else if (kind == "au") {
                raw_author a;
                (void)in.array();
                a.index = in.unsigned_integer();
                (void)in.text();
                a.decided = in.unsigned_integer();
                a.receipts = in.unsigned_integer();
                out.sound = out.sound && in.finish();
                out.authors[to_bytes(k.subspan(2))] = a;
            } else if (kind == "ar") {
                out.rows[to_bytes(k.subspan(2))] = decode_row(in);
                out.encoded[to_bytes(k.subspan(2))] = value;
                out.sound = out.sound && in.finish();
            } else if (kind == "ap") {
                out.positions[read_u64(k.subspan(2))] = value;
            } else if (kind == "av") {
                cbor_reader body{bytes_view{value}.subspan(16)};
                out.verdicts[{read_u64(k.subspan(2)), read_u64(k.subspan(10))}] = decode_verdict(body);
                out.sound = out.sound && body.finish();
            }
        }
        return out;
    }
};

/// Refuses what writes one field.
struct refuse_field {
    std::string field{};
    [[nodiscard]] bool refuses(mutation const& m) const {
        return std::any_of(m.ops.begin(), m.ops.end(), [&](field_op const& op) { return op.field == field; });
    }
    [[nodiscard]] validation operator()(validation_input const& in) const {
        if (!refuses(in.change)) { return {}; }
        return {false, errc::rejected, "refused"};
    }
};

/// Different tuples of numbers, each known by its place.
class tuple_table {
public:
    explicit tuple_table(std::size_t stride) : stride_(stride), slots_(1024, 0) {}

    /// The place of a tuple, and whether it is new.
    std::pair<std::uint32_t, bool> insert(std::uint32_t const* tuple) {
        if ((count_ + 1) * 2 > slots_.size()) { grow(); }
        std::size_t at = hash(tuple) & (slots_.size() - 1);
        for (; slots_[at] != 0; at = (at + 1) & (slots_.size() - 1)) {
            if (std::equal(tuple, tuple + stride_, (*this)[slots_[at] - 1])) { return {slots_[at] - 1, false}; }
        }
        data_.insert(data_.end(), tuple, tuple + stride_);
        slots_[at] = ++count_;
        return {count_ - 1, true};
    }
    [[nodiscard]] std::uint32_t const* operator[](std::size_t n) const noexcept { return data_.data() + n * stride_; }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] std::size_t bytes_used() const noexcept { return 4 * (data_.capacity() + slots_.capacity()); }

private:
    [[nodiscard]] std::size_t hash(std::uint32_t const* tuple) const noexcept {
        std::uint64_t h = 0x9E3779B97F4A7C15;
        for (std::size_t i = 0; i < stride_; ++i) {
            h = (h ^ tuple[i]) * 0xBF58476D1CE4E5B9;
            h ^= h >> 29;
        }
        return static_cast<std::size_t>(h ^ (h >> 32));
    }
    void grow() {
        std::vector<std::uint32_t> larger(slots_.size() * 2, 0);
        slots_.swap(larger);
        for (std::uint32_t n = 0; n < count_; ++n) {
            std::size_t at = hash((*this)[n]) & (slots_.size() - 1);
            while (slots_[at] != 0) { at = (at + 1) & (slots_.size() - 1); }
            slots_[at] = n + 1;
        }
    }

    std::size_t stride_;
    std::uint32_t count_ = 0;
    std::vector<std::uint32_t> data_;
    std::vector<std::uint32_t> slots_;
};

}  // namespace scopes

/// Visits every state of a small world, breadth first, and looks at each with oracles that read raw storage, messages
/// and a ledger of their own, never the library's view.
///
/// `make()` gives a pointer-like owner of an empty store of the model under test; every step runs on a fresh one that
/// is filled with what its node had stored, as a process does that was killed after its last step: so crashes between
/// steps are everywhere. A step of one node depends on that node's storage and one message alone: it is run once and
/// remembered, and the orders of steps are walked over these memories.
///
/// The network: a device has up to `window` messages in each direction that were sent and may be delivered, any number
/// of times, in any order, or never. What doesn't fit takes the place of any of them, or is lost.
///
/// Storage faults are put in each call of each step, before and after its effect; the step's node must then hold the old
/// state or the new one. The new one without an answer is a write that was not acknowledged (one in a run), a request
/// or a reply that was lost.
///
/// Devices that have done nothing are interchangeable before they meet the authority (afterwards their numbers break
/// ties), unless clocks or values tell them apart; records are until one is written. Time stands still: stamps count.
///
/// Cost: memory for every state, see `scope_report::bytes`. Exceptions: none of its own.
template <class Make, class Plant = nothing_planted>
class scope_explorer {
public:
    scope_explorer(Make make, rule_table rules, scope_options options, Plant plant = {})
        : make_(std::move(make)),
          plant_(std::move(plant)),
          rules_(std::move(rules)),
          options_(std::move(options)),
          tuples_(tuple_size()),
          settled_(options_.devices + 1) {
        SYNCLINE_ASSERT(options_.devices >= 1 && options_.devices <= 3 && options_.records >= 1 &&
                        options_.records <= 2 && options_.window >= 1 && options_.window <= 2 &&
                        options_.operations >= 1 && options_.operations <= 3);
        report_.scope = options_.name;
        if (options_.alphabet.empty()) { options_.alphabet = scope_alphabet(rules_.of(options_.collection)); }
        SYNCLINE_ASSERT(options_.alphabet.size() < 32);
        alphabet_ = options_.alphabet;
        alphabet_.push_back(scope_alphabet(rules_.of(options_.collection))[0]);  // the founder's
        replica_options o;
        o.rows_max = options_.rows_max;
        o.mutations_max = options_.mutations_max;
        o.rows_in_parts = false;  // what a reply tells is compared with what is stored, row by row
        self_ = replica{rules_, o};
        home_ = authority<scopes::refuse_field>{rules_, {}, {options_.refused}};
        for (std::size_t r = 0; r < options_.records; ++r) {
            records_.push_back({options_.collection, std::string(1, static_cast<char>('a' + r))});
            names_.push_back(to_bytes(records_.back()));
        }
        interchangeable_ = options_.start != scope_start::met && options_.skew.count() == 0;
        for (scope_operation const& op : options_.alphabet) {
            for (scope_edit const& e : op.edits) {
                rule const by = rules_.of(options_.collection).of(e.field);
                if ((by == rule::minimum || by == rule::maximum) && !e.value) { interchangeable_ = false; }
            }
        }
    }

    /// Visits everything, or up to the first thing that is broken.
    [[nodiscard]] scope_report run() {
        auto const began = std::chrono::steady_clock::now();
        set_up();
        std::size_t at = 0;
        for (; at < tuples_.size() && !report_.broken && tuples_.size() <= options_.states_max; ++at) { expand(at); }
        report_.complete = !report_.broken && at == tuples_.size();
        report_.states = tuples_.size();
        report_.settled = settled_.size();
        report_.device_states = devices_.size();
        report_.authority_states = authorities_.size();
        report_.messages = messages_.size();
        report_.bytes = tuples_.bytes_used() + settled_.bytes_used() + 8 * came_.capacity() + node_bytes_;
        report_.duration = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began);
        return report_;
    }
    /// Whether devices were taken as interchangeable.
    [[nodiscard]] bool interchangeable() const noexcept { return interchangeable_; }

private:
    using inner_store = std::remove_reference_t<decltype(*std::declval<Make&>()())>;
    using store = faulty_storage<inner_store>;
    static constexpr std::uint32_t none = 0xFFFFFFFF;
    static constexpr std::size_t devices_max = 4;  // the founder's place is the last

    /// A part of a write that was acknowledged: the life that it began or ended, or one field.
    struct piece {
        std::uint8_t write = 0;      ///< the device's first, second, …
        std::uint8_t operation = 0;  ///< in the alphabet
        std::uint8_t record = 0;
        std::uint8_t part = 0;  ///< 0: the life; else the edit, from 1
        std::uint64_t stamp = 0;
        std::uint64_t life = 0;
    };
    struct held_row {
        position version = 0;
        std::size_t hash = 0;
        friend bool operator==(held_row const&, held_row const&) = default;
    };
    /// What is seen of a record: nothing, or its fields.
    using picture = std::optional<std::map<std::string, std::int64_t>>;

    struct device_node {
        std::string const* key = nullptr;
        std::uint8_t who = 0;
        std::uint8_t writes = 0;
        std::uint8_t touched = 0;  ///< records, as bits
        std::vector<piece> pieces{};
        std::uint32_t held = 0;  ///< pieces that are in its own store, as bits
        std::vector<std::pair<std::uint64_t, verdict_kind>> laid_aside{};  ///< sequences of dead letters and conflicts
        position cursor = 0;
        std::uint64_t next = 0;
        std::uint64_t settled = 0;
        std::vector<held_row> confirmed{};
        std::vector<bool> wanted{};  ///< records that it has yet to be told
        std::vector<picture> seen{};
        std::uint32_t asks = none;  ///< the node after a request …
        std::uint32_t request = 0;  ///< … and the request
    };
    struct log_entry {
        std::uint8_t who = 0;
        bytes encoded{};
        mutation change{};
        verdict_kind said{};
        position version = 0;
    };
    struct authority_node {
        std::string const* key = nullptr;
        std::vector<std::uint32_t> log{};  ///< decisions in order
        position head = 0;
        std::vector<held_row> rows{};
        std::array<std::uint64_t, devices_max> decided{};
    };
    struct message_node {
        bytes body{};
        std::uint8_t who = 0;  ///< the device that sent it or is to get it
        bool request = false;
    };
    struct written {
        std::uint32_t next = none;
        std::uint32_t unacknowledged = none;
        std::uint32_t leaked = none;
    };
    struct answered {
        std::uint32_t next = none;
        std::uint32_t reply = 0;
        std::uint32_t leaked = 0;
    };

    // ---- Small things ----------------------------------------------------------------------------------------

    [[nodiscard]] std::size_t tuple_size() const noexcept {
        return 1 + options_.devices + 2 * options_.devices * options_.window + (options_.storage_faults ? 1 : 0);
    }
    [[nodiscard]] std::size_t slots_of(std::size_t device, bool request) const noexcept {
        return 1 + options_.devices + (2 * device + (request ? 0 : 1)) * options_.window;
    }
    [[nodiscard]] instant now_of(std::size_t who) const noexcept {
        auto const ahead = options_.skew * static_cast<std::int64_t>(who < options_.devices ? who : 0);
        return {wall_time{milliseconds{1'790'000'000'000}} + ahead, monotonic_time{milliseconds{1'000}}};
    }
    [[nodiscard]] collection_rules const& rules() const noexcept { return rules_.of(options_.collection); }

    void break_with(scope_oracle o, std::string text) {
        if (!report_.broken) { report_.broken = violation{name(o), std::move(text)}; }
    }
    template <class Text>
    bool check(scope_oracle o, bool good, Text&& text) {
        ++report_.checks[static_cast<std::size_t>(o)];
        if (!good) { break_with(o, std::string{text()}); }
        return good;
    }
    bool check(scope_oracle o, bool good, char const* text) {
        ++report_.checks[static_cast<std::size_t>(o)];
        if (!good) { break_with(o, text); }
        return good;
    }

    /// The number that a device's n-th write puts in a field; an addition's is a digit of its own, to base 4.
    [[nodiscard]] std::int64_t value_of(std::size_t who, std::size_t n, scope_edit const& e) const {
        if (e.value) { return *e.value; }
        auto const id = static_cast<std::int64_t>(who * options_.operations + n);
        if (e.kind == op_kind::add) { return std::int64_t{1} << (2 * id); }
        switch (rules().of(e.field)) {
            case rule::counter: return 0;
            case rule::minimum:
            case rule::maximum: return (id * 7 + 3) % 31;
            default: return 1'000 + id;
        }
    }
    [[nodiscard]] std::vector<field_op> ops_of(std::size_t who, std::size_t n, scope_operation const& what) const {
        std::vector<field_op> ops;
        for (scope_edit const& e : what.edits) {
            field_op op{e.field, e.kind, {}, {}};
            if (e.kind != op_kind::unset) { cbor_writer{op.value}.integer(value_of(who, n, e)); }
            ops.push_back(std::move(op));
        }
        std::sort(ops.begin(), ops.end(),
                  [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
        return ops;
    }
    [[nodiscard]] std::size_t record_index(bytes_view record) const {
        for (std::size_t r = 0; r < names_.size(); ++r) {
            if (equal(names_[r], record)) { return r; }
        }
        return names_.size();
    }

    // ---- Storage as a value ----------------------------------------------------------------------------------

    static void add_number(std::string& out, std::uint64_t n, int width) {
        for (int i = 0; i < width; ++i) { out.push_back(static_cast<char>((n >> (8 * i)) & 0xFF)); }
    }
    [[nodiscard]] static std::uint64_t number_at(std::string_view in, std::size_t at, int width) {
        std::uint64_t n = 0;
        for (int i = 0; i < width; ++i) {
            n |= std::uint64_t{static_cast<unsigned char>(in[at + static_cast<std::size_t>(i)])} << (8 * i);
        }
        return n;
    }
    /// A ledger and an image in one string; equal strings are equal states.
    [[nodiscard]] static std::string pack(std::string const& ledger, scope_image const& image) {
        std::string out;
        add_number(out, ledger.size(), 4);
        out += ledger;
        for (auto const& [k, v] : image) {
            add_number(out, k.size(), 2);
            out += as_text(k);
            add_number(out, v.size(), 4);
            out += as_text(v);
        }
        return out;
    }
    template <class F>
    static void each_pair(std::string_view packed, F&& f) {
        std::size_t at = 4 + static_cast<std::size_t>(number_at(packed, 0, 4));
        while (at < packed.size()) {
            auto const k = static_cast<std::size_t>(number_at(packed, at, 2));
            bytes_view const key = as_bytes(packed.substr(at + 2, k));
            at += 2 + k;
            auto const v = static_cast<std::size_t>(number_at(packed, at, 4));
            f(key, as_bytes(packed.substr(at + 4, v)));
            at += 4 + v;
        }
    }
    [[nodiscard]] static scope_image image_of(std::string_view packed) {
        scope_image out;
        each_pair(packed, [&](bytes_view k, bytes_view v) { out.emplace_hint(out.end(), to_bytes(k), to_bytes(v)); });
        return out;
    }
    [[nodiscard]] static std::string_view ledger_of(std::string_view packed) {
        return packed.substr(4, static_cast<std::size_t>(number_at(packed, 0, 4)));
    }

    /// Runs `f(store)` in a new process, as it were, that finds what `packed` holds; `image` is what it left.
    template <class F>
    status process(std::string_view packed, scope_image& image, F&& f, storage_fault const* fault = nullptr,
                   bool* hit = nullptr) {
        auto owner = make_();
        inner_store& inner = *owner;
        if (!packed.empty()) {
            auto tx = inner.begin(access_mode::write);
            status filled = tx ? status{} : status{tx.error()};
            if (filled) {
                each_pair(packed, [&](bytes_view k, bytes_view v) {
                    if (filled) { filled = tx->put(k, v); }
                });
                if (filled) { filled = tx->commit(); }
            }
            check(scope_oracle::steps, filled.has_value(), "the store under test can't be filled");
        }
        store s{inner};
        if (fault != nullptr) { s.inject(*fault); }
        ++report_.library_steps;
        status const out = f(s);
        if (hit != nullptr) { *hit = s.faults() != 0; }
        image.clear();
        auto tx = inner.begin(access_mode::read);
        status scanned = tx ? status{} : status{tx.error()};
        if (scanned) {
            scanned = tx->scan({}, [&](bytes_view k, bytes_view v) {
                image.emplace_hint(image.end(), to_bytes(k), to_bytes(v));
                return true;
            });
        }
        check(scope_oracle::steps, scanned.has_value(), "the store under test can't be read");
        return out;
    }

    /// Lets each storage call of a step fail: it must answer an error, and leave the old state or the new one.
    template <class F>
    void with_faults(std::string_view packed, scope_image const& after, char const* step, F&& f) {
        if (!options_.storage_faults || report_.broken) { return; }
        scope_image const before = image_of(packed);
        for (std::size_t kind = 0; kind < storage_call_count; ++kind) {
            for (fault_moment const moment : {fault_moment::before, fault_moment::after}) {
                for (std::uint64_t nth = 1;; ++nth) {
                    storage_fault fault;
                    fault.nth = nth;
                    fault.moment = moment;
                    fault.only = static_cast<storage_call>(kind);
                    bool hit = false;
                    scope_image image;
                    status const out = process(packed, image, f, &fault, &hit);
                    if (!hit) { break; }
                    ++report_.faults[kind][moment == fault_moment::before ? 0 : 1];
                    auto const where = [&](char const* what) {
                        return std::string{step} + ": storage call " + std::to_string(nth) + " of kind " +
                               std::to_string(kind) +
                               (moment == fault_moment::before ? " fails" : " fails afterwards") + ", and " + what;
                    };
                    check(scope_oracle::faults, !out, [&] { return where("the step says that it succeeded"); });
                    check(scope_oracle::faults, image == before || image == after,
                          [&] { return where("what is stored is neither the old state nor the new one"); });
                    if (report_.broken) { return; }
                }
            }
        }
    }

    // ---- Nodes -----------------------------------------------------------------------------------------------

    [[nodiscard]] static std::string ledger_text(device_node const& n) {
        std::string out;
        for (std::uint8_t const b : {n.who, n.writes, n.touched}) { out.push_back(static_cast<char>(b)); }
        for (piece const& p : n.pieces) {
            for (std::uint8_t const b : {p.write, p.operation, p.record, p.part}) {
                out.push_back(static_cast<char>(b));
            }
            add_number(out, p.stamp, 8);
            add_number(out, p.life, 8);
        }
        return out;
    }

    /// Whether a mutation does what a piece says.
    [[nodiscard]] bool carries(mutation const& m, piece const& p, std::size_t who) const {
        if (!(m.record == records_[p.record]) || m.life != p.life) { return false; }
        scope_operation const& what = alphabet_[p.operation];
        if (p.part == 0) { return m.kind == what.kind; }
        scope_edit const& e = what.edits[p.part - 1U];
        for (field_op const& op : m.ops) {
            if (op.field != e.field) { continue; }
            if (e.kind == op_kind::add) {
                if (op.kind == op_kind::unset) { return false; }
                std::int64_t const digit = value_of(who, p.write, e);
                return scopes::number_in(op.value) / digit % 4 == 1;
            }
            if (rules().of(e.field) == rule::counter) { return op.kind == op_kind::set; }
            return op.kind == e.kind && op.stamp.raw == p.stamp;
        }
        return false;
    }
    [[nodiscard]] bool carried(scopes::raw_replica const& view, piece const& p, std::size_t who) const {
        auto const waiting = view.waiting.find(names_[p.record]);
        if (waiting != view.waiting.end()) {
            for (scopes::raw_entry const& e : waiting->second) {
                if (carries(e.change, p, who)) { return true; }
            }
        }
        return std::any_of(view.dead.begin(), view.dead.end(), [&](mutation const& m) { return carries(m, p, who); }) ||
               std::any_of(view.conflicts.begin(), view.conflicts.end(),
                           [&](mutation const& m) { return carries(m, p, who); });
    }

    [[nodiscard]] static picture picture_of(scopes::scope_row const& r) {
        return r.alive ? picture{r.shown()} : picture{};
    }
    [[nodiscard]] static picture picture_of(scopes::raw_record const& r) {
        return r.there ? picture_of(scopes::scope_row_of(r.state)) : picture{};
    }
    [[nodiscard]] static std::string text_of(picture const& p) {
        if (!p) { return "nothing"; }
        std::string out = "{";
        for (auto const& [f, n] : *p) { out += (out.size() > 1 ? " " : "") + f + "=" + std::to_string(n); }
        return out + "}";
    }
    [[nodiscard]] static held_row held_of(std::optional<row> const& r) {
        if (!r) { return {}; }
        bytes raw;
        cbor_writer w{raw};
        encode_row(w, *r);
        return {r->version, std::hash<std::string_view>{}(as_text(raw))};
    }
    /// Each addition counts at most once: every digit is 0 or 1.
    [[nodiscard]] bool counted_once(picture const& p) const {
        if (!p) { return true; }
        for (auto const& [f, n] : *p) {
            if (rules().of(f) != rule::counter) { continue; }
            for (std::int64_t rest = n; rest != 0; rest /= 4) {
                if (rest % 4 != 0 && rest % 4 != 1) { return false; }
            }
        }
        return true;
    }

    /// The device with this ledger and image; looks at it when it is new.
    std::uint32_t device(device_node n, scope_image const& image, scopes::raw_replica const& view) {
        auto const [at, fresh] =
            device_keys_.try_emplace(pack(ledger_text(n), image), static_cast<std::uint32_t>(devices_.size()));
        if (!fresh) { return at->second; }
        n.key = &at->first;
        node_bytes_ += at->first.size() + sizeof(device_node) + 200;
        n.cursor = view.sync.cursor;
        n.next = view.sync.next;
        n.settled = view.sync.settled;
        n.held = 0;
        n.confirmed.clear();
        n.wanted.clear();
        n.seen.clear();
        n.asks = none;
        n.laid_aside.clear();
        for (mutation const& m : view.dead) { n.laid_aside.push_back({m.sequence, verdict_kind::rejected}); }
        for (mutation const& m : view.conflicts) { n.laid_aside.push_back({m.sequence, verdict_kind::conflict}); }
        for (std::size_t i = 0; i < n.pieces.size(); ++i) {
            if (carried(view, n.pieces[i], n.who)) { n.held |= 1U << i; }
        }
        for (bytes const& record : names_) {
            auto const r = view.records.find(record);
            n.confirmed.push_back(held_of(r == view.records.end() ? std::nullopt : r->second.authoritative()));
            n.wanted.push_back(view.wants(record));
            n.seen.push_back(r == view.records.end() ? picture{} : picture_of(r->second));
        }
        devices_.push_back(std::move(n));
        inspect(devices_.back(), image, view);
        return at->second;
    }

    void inspect(device_node const& n, scope_image const& image, scopes::raw_replica const& view) {
        check(scope_oracle::steps, view.sound && view.records.size() <= names_.size(),
              "a device's store can't be read");
        check(scope_oracle::once, view.identity == identities_[n.who], "a device has taken a new identity");
        auto const author = static_cast<author_index>(view.sync.author);
        std::vector<std::uint64_t> sent;
        for (std::size_t r = 0; r < names_.size(); ++r) {
            auto const found = view.records.find(names_[r]);
            scopes::raw_record const held = found == view.records.end() ? scopes::raw_record{} : found->second;
            auto const base = held.authoritative();
            scopes::scope_row expected = base ? scopes::scope_row_of(*base) : scopes::scope_row{};
            position const known = expected.version;
            bool pending = false;
            if (auto const d = view.decided.find(names_[r]); d != view.decided.end()) {
                for (scopes::raw_decided const& one : d->second) {
                    pending = true;
                    if (one.version > known) {
                        (void)scopes::scope_apply(expected, one.change, rules(), author, pending_position);
                    }
                }
            }
            std::uint64_t last_stamp = 0;
            std::uint64_t last_sequence = 0;
            bool free = false;
            if (auto const w = view.waiting.find(names_[r]); w != view.waiting.end()) {
                for (scopes::raw_entry const& e : w->second) {
                    pending = true;
                    (void)scopes::scope_apply(expected, e.change, rules(), author, pending_position);
                    check(scope_oracle::order, e.change.stamp.raw > last_stamp && e.change.stamp.raw <= view.clock,
                          "stamps of what waits don't rise, or the clock is behind them");
                    last_stamp = e.change.stamp.raw;
                    bool const frozen = e.change.sequence != 0;
                    check(scope_oracle::order, !frozen || (!free && e.change.sequence > last_sequence),
                          "a later write of a record was frozen before an earlier");
                    free = free || !frozen;
                    last_sequence = e.change.sequence;
                    if (frozen) { sent.push_back(e.change.sequence); }
                }
            }
            check(scope_oracle::visible, held.dirty == pending && (!held.there || held.confirmed == known),
                  "a record's marks of what is pending are wrong");
            picture const is = picture_of(held);
            check(scope_oracle::visible, is == picture_of(expected), [&] {
                return "device " + std::to_string(n.who + 1) + " shows " + text_of(is) +
                       " where confirmed and pending make " + text_of(picture_of(expected));
            });
            check(scope_oracle::once, counted_once(is), [&] { return "an addition shows twice: " + text_of(is); });
        }
        std::sort(sent.begin(), sent.end());
        check(scope_oracle::frozen, sent == view.frozen, "what is frozen is not what waits with a sequence");
        for (std::uint64_t const f : view.frozen) {
            check(scope_oracle::frozen, f > view.sync.settled && f < view.sync.next,
                  "a frozen write outside of the sequences under way");
        }
        // A process that starts finds everything as it is.
        scope_image reopened;
        auto const ok = process(*n.key, reopened, [&](store& s) -> status {
            auto tx = s.begin(access_mode::write);
            if (!tx) { return tx.error(); }
            random_generator other{99};
            if (auto opened = self_.open(*tx, "p", now_of(n.who), other); !opened) { return opened; }
            return tx->commit();
        });
        ++report_.reopened;
        // But for the line that its next writes bear.
        if (auto sync = scopes::raw_sync::read(reopened)) {
            check(scope_oracle::reopened, sync->line != view.sync.line,
                  "a store that was opened anew goes on as the same");
            sync->line = view.sync.line;
            sync->write(reopened);
        }
        check(scope_oracle::reopened, ok && reopened == image, "opening a device's store again changes it");
    }

    std::uint32_t message(bytes body, std::size_t who, bool request) {
        std::string key{as_text(body)};
        key.push_back(static_cast<char>(who));
        auto const [at, fresh] =
            message_keys_.try_emplace(std::move(key), static_cast<std::uint32_t>(messages_.size()));
        if (fresh) {
            node_bytes_ += 2 * body.size() + 200;
            messages_.push_back({std::move(body), static_cast<std::uint8_t>(who), request});
        }
        return at->second + 1;
    }
    [[nodiscard]] message_node const& message_at(std::uint32_t id) const { return messages_[id - 1]; }

    // ---- A device writes -------------------------------------------------------------------------------------

    written const& write(std::uint32_t d, std::size_t a, std::size_t r) {
        std::uint64_t const cache = (std::uint64_t{d} << 16) | (a << 4) | r;
        if (auto const known = writes_.find(cache); known != writes_.end()) { return known->second; }
        device_node const n = devices_[d];
        scope_operation const& what = alphabet_[a];
        instant const now = now_of(n.who);
        auto const ops = ops_of(n.who, n.writes, what);
        auto const step = [&](store& s) -> status {
            auto tx = s.begin(access_mode::write);
            if (!tx) { return tx.error(); }
            result<write_receipt> done = [&]() -> result<write_receipt> {
                switch (what.kind) {
                    case change_kind::create: {
                        bytes fields;
                        cbor_writer w{fields};
                        w.map(ops.size());
                        for (field_op const& op : ops) {
                            w.text(op.field);
                            w.raw(op.value);
                        }
                        return self_.create(*tx, records_[r], fields, now);
                    }
                    case change_kind::update: return self_.update(*tx, records_[r], ops, now);
                    case change_kind::erase:
                    case change_kind::group: break;
                }
                return self_.erase(*tx, records_[r], now);
            }();
            if (!done) { return done.error(); }
            return tx->commit();
        };
        scope_image image;
        status const ok = process(*n.key, image, step);
        scope_image const before = image_of(*n.key);
        bool const alive = n.seen[r].has_value();
        bool const possible = (what.kind == change_kind::create) != alive;
        check(scope_oracle::steps, ok.has_value() == possible, [&] {
            return "a write of '" + what.name + "' " + (possible ? "fails: " : "succeeds on a record that forbids it") +
                   (possible ? syncline::message(ok.error().code) : "");
        });
        with_faults(*n.key, ok ? image : before, "a write", step);
        written out;
        if (!ok) {
            check(scope_oracle::faults, image == before, "a refused write leaves a trace");
            return writes_[cache] = out;
        }
        scope_image const real = image;
        if (planting_) { plant_.after_write(before, image); }
        auto const was = scopes::raw_replica::read(before);
        auto const is = scopes::raw_replica::read(image);

        // What is seen changes as the write says, by the naive model; nothing else does.
        auto const held = was.records.find(names_[r]);
        scopes::scope_row expected = held != was.records.end() && held->second.there
                                         ? scopes::scope_row_of(held->second.state)
                                         : scopes::scope_row{};
        mutation m;
        m.kind = what.kind;
        m.record = records_[r];
        m.life = what.kind == change_kind::create ? expected.life + 1 : expected.life;
        m.base = held == was.records.end() ? 0 : held->second.confirmed;
        m.stamp = timestamp{is.clock};
        m.ops = ops;
        for (field_op& op : m.ops) { op.stamp = m.stamp; }
        check(scope_oracle::order, is.clock > was.clock, "a write's stamp is not after all before");
        (void)scopes::scope_apply(expected, m, rules(), static_cast<author_index>(was.sync.author), pending_position);
        check(scope_oracle::events, is.events.empty(), "a write of one's own tells an event");
        check(scope_oracle::cursor, was.sync.cursor == is.sync.cursor, "a write moves the cursor");

        device_node next = n;
        ++next.writes;
        next.touched = static_cast<std::uint8_t>(next.touched | (1U << r));
        account(n, m, a, r, was, is, next);
        if (options_.storage_faults || plant_.acknowledges_what_fails) {
            device_node silent = next;
            silent.pieces.resize(kept_pieces_);
            if (options_.storage_faults) { out.unacknowledged = device(silent, image, is); }
        }
        if (plant_.acknowledges_what_fails && planting_) {
            storage_fault const fault{1, errc::storage_io, fault_moment::before, false, storage_call::commit};
            scope_image left;
            (void)process(*n.key, left, step, &fault);
            out.leaked = device(next, left, scopes::raw_replica::read(left));
        }
        out.next = device(next, image, is);
        device_node const& after = devices_[out.next];
        check(scope_oracle::visible, after.seen[r] == picture_of(expected), [&] {
            return "after '" + what.name + "' device " + std::to_string(n.who + 1) + " shows " +
                   text_of(after.seen[r]) + ", the write makes " + text_of(picture_of(expected));
        });
        for (std::size_t other = 0; other < names_.size(); ++other) {
            check(scope_oracle::visible,
                  after.confirmed[other] == n.confirmed[other] && (other == r || after.seen[other] == n.seen[other]),
                  "a write changes what it doesn't name");
        }
        return writes_[cache] = out;
    }

    /// Puts the write's pieces in the ledger, and takes those out that it has legally absorbed: an earlier write of
    /// the same device to the same record that was never sent, and that this one covers.
    void account(device_node const& n, mutation const& m, std::size_t a, std::size_t r, scopes::raw_replica const& was,
                 scopes::raw_replica const& is, device_node& next) {
        mutation const* open = nullptr;  // what this write may go into
        if (auto const w = was.waiting.find(names_[r]);
            w != was.waiting.end() && w->second.back().change.sequence == 0) {
            open = &w->second.back().change;
        }
        auto const extreme = [&](std::string const& f) {
            rule const by = rules().of(f);
            return by == rule::minimum || by == rule::maximum;
        };
        auto const reaches = [&](std::string const& f, std::int64_t x, std::int64_t y) {  // x as far as y
            return rules().of(f) == rule::minimum ? x <= y : x >= y;
        };
        auto const op_on = [](mutation const& in, std::string const& f) -> field_op const* {
            for (field_op const& op : in.ops) {
                if (op.field == f) { return &op; }
            }
            return nullptr;
        };
        next.pieces.clear();
        for (piece const& p : n.pieces) {
            bool const here = open != nullptr && p.record == r && carries(*open, p, n.who);
            if (here && !carried(is, p, n.who)) {
                bool covered = m.kind == change_kind::erase;
                if (!covered && p.part != 0) {
                    scope_edit const& e = alphabet_[p.operation].edits[p.part - 1U];
                    field_op const* const over = op_on(m, e.field);
                    covered = over != nullptr && over->kind != op_kind::add &&
                              (!extreme(e.field) || over->kind == op_kind::unset ||
                               reaches(e.field, scopes::number_in(over->value), value_of(n.who, p.write, e)));
                }
                check(scope_oracle::kept, covered, "a write replaces an earlier one that it doesn't cover");
                continue;
            }
            next.pieces.push_back(p);
        }
        kept_pieces_ = next.pieces.size();
        scope_operation const& what = alphabet_[a];
        for (std::size_t part = 0; part <= what.edits.size(); ++part) {
            if (part == 0 && what.kind == change_kind::update) { continue; }
            piece const p{n.writes,
                          static_cast<std::uint8_t>(a),
                          static_cast<std::uint8_t>(r),
                          static_cast<std::uint8_t>(part),
                          m.stamp.raw,
                          m.life};
            if (!carried(is, p, n.who)) {
                bool covered = m.kind == change_kind::erase && open != nullptr && open->kind == change_kind::create;
                if (!covered && part != 0 && open != nullptr) {
                    scope_edit const& e = what.edits[part - 1];
                    field_op const* const under = op_on(*open, e.field);
                    covered = under != nullptr && extreme(e.field) && under->kind == op_kind::set &&
                              reaches(e.field, scopes::number_in(under->value), value_of(n.who, n.writes, e));
                }
                check(scope_oracle::kept, covered,
                      [&] { return "the write '" + what.name + "' is acknowledged and nowhere"; });
                continue;
            }
            next.pieces.push_back(p);
        }
        SYNCLINE_ASSERT(next.pieces.size() <= 32);
    }

    // ---- A device asks ---------------------------------------------------------------------------------------

    /// Freezes, and makes the request; `device_node::asks` and `request` have it.
    void ask(std::uint32_t d) {
        if (devices_[d].asks != none) { return; }
        device_node const n = devices_[d];
        instant const now = now_of(n.who);
        bytes body;
        auto const step = [&](store& s) -> status {
            {
                auto tx = s.begin(access_mode::write);
                if (!tx) { return tx.error(); }
                if (auto ok = self_.prepare(*tx, now); !ok) { return ok; }
                if (auto ok = tx->commit(); !ok) { return ok; }
            }
            if (s.commit_durability() == durability::ordered) {
                if (auto ok = s.barrier(); !ok) { return ok; }
            }
            auto tx = s.begin(access_mode::read);
            if (!tx) { return tx.error(); }
            auto made = self_.request_message(*tx);
            if (!made) { return made.error(); }
            body = std::move(*made);
            return {};
        };
        scope_image image;
        status const ok = process(*n.key, image, step);
        check(scope_oracle::steps, ok.has_value(), "a request can't be made");
        bytes const real = body;
        with_faults(*n.key, image, "a request", step);
        body = real;
        scope_image const before = image_of(*n.key);
        if (planting_) { plant_.after_request(before, image); }
        auto const view = scopes::raw_replica::read(image);
        std::uint32_t const next = device(n, image, view);
        device_node const& after = devices_[next];
        check(scope_oracle::visible, after.seen == n.seen && after.confirmed == n.confirmed,
              "a request changes what is seen");
        check(scope_oracle::kept, after.held == n.held, "a request loses a write");
        auto const q = decode_request(body);
        if (check(scope_oracle::truthful, q.has_value(), "a request can't be read")) {
            check(scope_oracle::truthful, q->cursor == after.cursor && q->receipts == after.settled,
                  "a request tells another cursor or receipt than is stored");
            std::size_t sent = 0;
            for (std::uint64_t const sequence : view.frozen) {
                if (sent == q->mutations.size()) { break; }
                bytes const* stored = nullptr;
                for (auto const& w : view.waiting) {
                    for (scopes::raw_entry const& e : w.second) {
                        if (e.change.sequence == sequence) { stored = &e.encoded; }
                    }
                }
                check(scope_oracle::frozen, stored != nullptr && *stored == q->mutations[sent],
                      "a request sends something else than is frozen");
                ++sent;
            }
            check(scope_oracle::frozen,
                  sent == q->mutations.size() && sent == (std::min)(view.frozen.size(), options_.mutations_max),
                  "a request leaves out what is frozen, or sends what isn't");
        }
        std::uint32_t const id = message(std::move(body), n.who, true);
        devices_[d].asks = next;
        devices_[d].request = id;
    }

    // ---- The authority answers -------------------------------------------------------------------------------

    [[nodiscard]] std::uint32_t log_of(std::uint8_t who, bytes const& encoded, verdict_kind said, position version) {
        std::string key{as_text(encoded)};
        add_number(key, version, 8);
        key.push_back(static_cast<char>(who));
        key.push_back(static_cast<char>(said));
        auto const [at, fresh] = log_keys_.try_emplace(std::move(key), static_cast<std::uint32_t>(log_.size()));
        if (fresh) {
            cbor_reader in{encoded};
            log_.push_back({who, encoded, decode_mutation(in), said, version});
        }
        return at->second;
    }
    std::uint32_t authority_with(std::vector<std::uint32_t> const& log, scope_image const& image,
                                 scopes::raw_authority const& view) {
        std::string ledger;
        for (std::uint32_t const e : log) { add_number(ledger, e, 4); }
        auto const [at, fresh] =
            authority_keys_.try_emplace(pack(ledger, image), static_cast<std::uint32_t>(authorities_.size()));
        if (!fresh) { return at->second; }
        authority_node n;
        n.key = &at->first;
        node_bytes_ += at->first.size() + sizeof(authority_node) + 200;
        n.log = log;
        n.head = view.head;
        for (bytes const& record : names_) {
            auto const r = view.rows.find(record);
            n.rows.push_back(held_of(r == view.rows.end() ? std::nullopt : std::optional{r->second}));
        }
        for (std::size_t who = 0; who < author_keys_.size(); ++who) {
            auto const a = view.authors.find(author_key(who));
            if (a != view.authors.end()) { n.decided[who] = a->second.decided; }
        }
        authorities_.push_back(std::move(n));
        // A process that starts finds everything as it is.
        scope_image reopened;
        auto const ok = process(at->first, reopened, [&](store& s) -> status {
            auto tx = s.begin(access_mode::write);
            if (!tx) { return tx.error(); }
            random_generator other{98};
            if (auto opened = home_.open(*tx, now_of(devices_max), other); !opened) { return opened; }
            return tx->commit();
        });
        ++report_.reopened;
        check(scope_oracle::reopened, ok && reopened == image, "opening the authority's store again changes it");
        return at->second;
    }
    /// A device's name as the authority's rows have it.
    [[nodiscard]] bytes const& author_key(std::size_t who) const { return author_keys_[who]; }

    answered const& answer(std::uint32_t a, std::uint32_t id) {
        std::uint64_t const cache = (std::uint64_t{a} << 32) | id;
        if (auto const known = answers_.find(cache); known != answers_.end()) { return known->second; }
        message_node const request_in = message_at(id);
        std::vector<std::uint32_t> log = authorities_[a].log;
        std::string const& packed = *authorities_[a].key;
        instant const now = now_of(devices_max);
        scope_image before = image_of(packed);
        std::string tampered;
        if (planting_) { plant_.before_answer(before); }
        std::string_view start = packed;
        if (!std::is_same_v<Plant, nothing_planted>) {
            tampered = pack(std::string{ledger_of(packed)}, before);
            start = tampered;
        }
        bytes body;
        auto const step = [&](store& s) -> status {
            auto out = serve(s, home_, "p", request_in.body, now);
            if (!out) { return out.error(); }
            body = std::move(*out);
            return {};
        };
        scope_image image;
        status const ok = process(start, image, step);
        check(scope_oracle::steps, ok.has_value(), "the authority refuses a request");
        bytes const real = body;
        with_faults(start, image, "an answer", step);
        body = real;
        answered out;
        if (plant_.replies_to_what_fails && planting_) {
            scope_image left;
            (void)process(start, left, [&](store& s) -> status {
                auto tx = s.begin(access_mode::write);
                if (!tx) { return tx.error(); }
                auto leaked = home_.handle(*tx, "p", request_in.body, now);
                if (leaked) { out.leaked = message(std::move(*leaked), request_in.who, false); }
                return errc::storage_io;
            });
        }
        if (planting_) { plant_.after_answer(before, image); }

        std::uint8_t const who = request_in.who;
        auto const q = decode_request(request_in.body);
        auto const was = scopes::raw_authority::read(before);
        auto const is = scopes::raw_authority::read(image);
        check(scope_oracle::steps, is.sound, "the authority's store can't be read");
        auto const author_was = was.authors.find(author_key(who));
        auto const author_is = is.authors.find(author_key(who));
        if (!check(scope_oracle::steps, q && author_is != is.authors.end(), "an author is not registered")) {
            return answers_[cache] = out;
        }
        std::uint64_t const decided_before = author_was == was.authors.end() ? 0 : author_was->second.decided;
        scopes::raw_author const& author = author_is->second;
        check(scope_oracle::order, author.decided >= decided_before, "decisions are taken back");

        // What was decided now, by the request's own bytes, in the naive model.
        std::map<bytes, scopes::scope_row> rows;
        position head = 0;
        std::map<std::pair<std::uint64_t, bytes>, std::uint64_t> ended;
        auto const fold = [&](std::uint8_t by, std::uint64_t index, mutation const& m) {
            scopes::scope_row& r = rows[to_bytes(m.record)];
            scopes::scope_row after = r;
            verdict_kind said = scopes::scope_apply(after, m, rules(), static_cast<author_index>(index), head + 1);
            bool const changed = said == verdict_kind::applied || said == verdict_kind::merged;
            if (changed && after.version == head + 1) {
                if (!options_.refused.empty() && by < options_.devices &&
                    scopes::refuse_field{options_.refused}.refuses(m)) {
                    return std::pair{verdict_kind::rejected, position{0}};
                }
                // A life that has ended stays so.
                check(scope_oracle::no_resurrection, !(after.alive && !r.alive && after.life <= r.life),
                      "a life that had ended goes on");
                r = after;
                ++head;
            }
            return std::pair{said, said == verdict_kind::rejected ? position{0} : r.version};
        };
        auto const index_of = [&](std::uint8_t by) {
            auto const found = is.authors.find(author_key(by));
            return found == is.authors.end() ? std::uint64_t{0} : found->second.index;
        };
        std::map<std::uint64_t, log_entry const*> mine;  // decisions on this author's, by sequence
        std::map<bytes, std::uint64_t> last_stamp;
        for (std::uint32_t const e : log) {
            log_entry const& entry = log_[e];
            (void)fold(entry.who, index_of(entry.who), entry.change);
            if (entry.who == who) {
                mine[entry.change.sequence] = &entry;
                last_stamp[to_bytes(entry.change.record)] = entry.change.stamp.raw;
            }
        }
        std::uint64_t expected = decided_before;
        for (bytes const& raw : q->mutations) {
            cbor_reader in{raw};
            mutation const m = decode_mutation(in);
            if (auto const old = mine.find(m.sequence); old != mine.end()) {
                check(scope_oracle::frozen, old->second->encoded == raw,
                      "a mutation that was decided is sent with another content");
                check(scope_oracle::once, m.sequence <= decided_before, "a mutation that was decided is decided again");
                continue;
            }
            if (m.sequence > author.decided) { continue; }
            check(scope_oracle::order, m.sequence == expected + 1,
                  "a mutation is decided before an earlier one of its author");
            expected = m.sequence;
            std::uint64_t& stamp = last_stamp[to_bytes(m.record)];
            check(scope_oracle::order, m.stamp.raw > stamp,
                  "a later write of a record is decided before an earlier one");
            stamp = m.stamp.raw;
            auto const [said, version] = fold(who, author.index, m);
            auto const verdict_row = is.verdicts.find({author.index, m.sequence});
            if (check(scope_oracle::model, verdict_row != is.verdicts.end(), "a decision without its verdict")) {
                verdict const& v = verdict_row->second;
                check(scope_oracle::model, v.kind == said && v.version == version, [&, said_now = said] {
                    return std::string{"the authority says '"} + syncline::name(v.kind) + "' at " +
                           std::to_string(v.version) + ", the naive model '" + syncline::name(said_now) +
                           "': " + text_of(m);
                });
            }
            log.push_back(log_of(who, raw, said, version));
            mine[m.sequence] = nullptr;
        }
        check(scope_oracle::order, expected == author.decided, "something was decided that nobody sent");

        // The rows are what the decisions make, and the index of positions is theirs.
        check(scope_oracle::model,
              is.head == head && is.rows.size() <= rows.size() && is.positions.size() == is.rows.size(), [&] {
                  return "the authority stands at " + std::to_string(is.head) + " with " +
                         std::to_string(is.rows.size()) + " rows, the naive model at " + std::to_string(head);
              });
        for (auto const& [record, r] : rows) {
            auto const found = is.rows.find(record);
            scopes::scope_row const real_row =
                found == is.rows.end() ? scopes::scope_row{} : scopes::scope_row_of(found->second);
            check(scope_oracle::model, real_row == r, [&, r_now = r] {
                return "the authority holds " + text_of(picture_of(real_row)) + " at " +
                       std::to_string(real_row.version) + ", the naive model " + text_of(picture_of(r_now)) + " at " +
                       std::to_string(r_now.version);
            });
            check(scope_oracle::once, counted_once(picture_of(real_row)),
                  [&] { return "an addition counts twice: " + text_of(picture_of(real_row)); });
            if (r.version != 0) {
                auto const p = is.positions.find(r.version);
                check(scope_oracle::model, p != is.positions.end() && p->second == record,
                      "the index of positions is wrong");
            }
        }

        // The reply says what is stored.
        auto const p = decode_reply(body);
        if (check(scope_oracle::truthful, p.has_value(), "a reply can't be read") && p->author != unknown_author) {
            check(scope_oracle::truthful,
                  p->head == is.head && p->decided == author.decided && p->author == author.index &&
                      p->from == (q->cursor == 0 && !q->ranges.empty() ? p->head : q->cursor),
                  "a reply tells another head, author or page than is stored");
            std::size_t told = 0;
            for (auto const& [record, encoded] : is.encoded) {
                row const& r = is.rows.at(record);
                bool of_page = r.version > p->from && r.version <= p->to;
                for (told_range const& one : p->ranges) {
                    bool const in = compare(one.covered.from, record) <= 0 && compare(record, one.covered.to) < 0;
                    told += of_page && in ? 1U : 0U;
                    of_page = of_page || in;
                }
                if (!of_page) { continue; }
                ++told;
                bool const there =
                    std::any_of(p->rows.begin(), p->rows.end(), [&, name_of = &record](row_update const& u) {
                        return to_bytes(u.key) == *name_of && u.state == is.rows.at(*name_of);
                    });
                check(scope_oracle::truthful, there, "a page leaves out a row, or tells another");
            }
            check(scope_oracle::truthful, told == p->rows.size(), "a page tells rows that are not of it");
            check(scope_oracle::truthful, p->to == p->head || !p->rows.empty(), "a page that leads nowhere");
            for (verdict const& v : p->verdicts) {
                auto const row_of = is.verdicts.find({author.index, v.sequence});
                bool const kept = row_of != is.verdicts.end();
                check(scope_oracle::truthful,
                      kept ? v.kind == row_of->second.kind && v.version == row_of->second.version
                           : v.kind == verdict_kind::duplicate && v.sequence <= author.receipts,
                      "a reply tells another verdict than is stored");
            }
            check(scope_oracle::truthful, p->verdicts.size() == q->mutations.size(),
                  "a mutation without a verdict in the reply");
        }
        out.next = authority_with(log, image, is);
        out.reply = message(std::move(body), who, false);
        answers_[cache] = out;
        if (!report_.broken) {
            std::uint32_t const again = answer(out.next, id).next;
            check(scope_oracle::replay, again == out.next, "a request that comes again changes the authority");
        }
        return answers_[cache];
    }

    // ---- A device takes a reply ------------------------------------------------------------------------------

    std::uint32_t take(std::uint32_t d, std::uint32_t id) {
        std::uint64_t const cache = (std::uint64_t{d} << 32) | id;
        if (auto const known = takes_.find(cache); known != takes_.end()) { return known->second; }
        device_node const n = devices_[d];
        message_node const reply_in = message_at(id);
        instant const now = now_of(n.who);
        scope_image before = image_of(*n.key);
        scope_image const original = before;
        if (planting_) { plant_.before_reply(before, reply_in.body); }
        std::string tampered;
        std::string_view start = *n.key;
        if (!std::is_same_v<Plant, nothing_planted>) {
            tampered = pack(std::string{ledger_of(*n.key)}, before);
            start = tampered;
        }
        auto const step = [&](store& s) -> status {
            auto tx = s.begin(access_mode::write);
            if (!tx) { return tx.error(); }
            random_generator random{7};
            auto report = self_.absorb(*tx, reply_in.body, now, random);
            if (!report) { return report.error(); }
            return tx->commit();
        };
        scope_image image;
        status const ok = process(start, image, step);
        check(scope_oracle::steps, ok.has_value(),
              [&] { return std::string{"a reply can't be taken: "} + (ok ? "" : syncline::message(ok.error().code)); });
        with_faults(start, image, "a reply", step);
        if (planting_) { plant_.after_reply(original, image); }

        // Events: read, told, and dropped, with their number, which tells apart what is the same.
        auto const told = scopes::raw_replica::read(image);
        for (auto at = image.begin(); at != image.end();) {
            at = starts_with(at->first, as_bytes("re")) ? image.erase(at) : std::next(at);
        }
        if (auto sync = scopes::raw_sync::read(image)) {
            sync->events = 0;
            sync->write(image);
        }
        auto const was = scopes::raw_replica::read(original);
        auto const is = scopes::raw_replica::read(image);
        device_node fresh = n;
        std::uint32_t const next = device(fresh, image, is);
        device_node const& after = devices_[next];

        std::vector<std::size_t> changed(names_.size(), 0);
        std::size_t verdicts = 0;
        for (bytes const& batch : told.events) {
            auto const read = event_batch::read(batch, [&](event const& e) {
                verdicts += e.kind == event_kind::decided ? 1U : 0U;
                if (e.kind == event_kind::changed || e.kind == event_kind::removed) {
                    std::size_t const r = record_index(to_bytes(e.record));
                    bool const right = r < names_.size() && (e.kind == event_kind::removed) == !after.seen[r];
                    check(scope_oracle::events, right, "an event tells another change than happened");
                    if (r < names_.size()) { ++changed[r]; }
                }
                return true;
            });
            check(scope_oracle::events, read.has_value(), "events can't be read");
        }
        for (std::size_t r = 0; r < names_.size(); ++r) {
            std::size_t const wanted = n.seen[r] == after.seen[r] ? 0 : 1;
            check(scope_oracle::events, changed[r] == wanted, [&] {
                return "what device " + std::to_string(n.who + 1) + " sees goes from " + text_of(n.seen[r]) + " to " +
                       text_of(after.seen[r]) + ", told " + std::to_string(changed[r]) + " times";
            });
            check(scope_oracle::cursor, after.confirmed[r].version >= n.confirmed[r].version,
                  "a reply takes a record back to an older version");
        }
        check(
            scope_oracle::events,
            told.events.size() <= 1 && verdicts == was.frozen.size() - (std::min)(was.frozen.size(), is.frozen.size()),
            "verdicts that were taken are not told, or others are");
        check(scope_oracle::cursor, after.cursor >= n.cursor && is.sync.head >= was.sync.head,
              "a reply takes the cursor back");
        check(scope_oracle::order, is.clock >= was.clock, "a reply takes the clock back");
        takes_[cache] = next;
        if (!report_.broken) {
            check(scope_oracle::replay, take(next, id) == next, "a reply that comes again changes the device");
        }
        return next;
    }

    // ---- A device and the authority together -----------------------------------------------------------------

    void together(std::uint32_t d, std::uint32_t a) {
        if (!pairs_.insert((std::uint64_t{d} << 32) | a).second) { return; }
        device_node const& n = devices_[d];
        authority_node const& home = authorities_[a];
        check(scope_oracle::cursor, n.cursor <= home.head, "a cursor beyond the authority's log");
        for (std::size_t r = 0; r < names_.size(); ++r) {
            held_row const& held = n.confirmed[r];
            held_row const& true_one = home.rows[r];
            check(
                scope_oracle::cursor,
                true_one.version == 0 || true_one.version > n.cursor || held.version >= true_one.version || n.wanted[r],
                [&] {
                    return "device " + std::to_string(n.who + 1) + " has the cursor " + std::to_string(n.cursor) +
                           " and holds record " + std::string{records_[r].id_text()} + " at " +
                           std::to_string(held.version) + ", not at " + std::to_string(true_one.version);
                });
            check(scope_oracle::cursor, held.version < true_one.version || held == true_one,
                  "a device holds a row that the authority doesn't");
        }
        check(scope_oracle::once, n.settled <= home.decided[n.who] && home.decided[n.who] < n.next,
              "a device has a verdict that was never given, or the authority decided what was never sent");
        for (auto const& [sequence, said] : n.laid_aside) {
            bool given = false;
            for (std::uint32_t const e : home.log) {
                given = given || (log_[e].who == n.who && log_[e].change.sequence == sequence && log_[e].said == said);
            }
            check(scope_oracle::once, given, "a write lies aside for a verdict that was never given");
        }
        for (std::size_t i = 0; i < n.pieces.size(); ++i) {
            piece const& p = n.pieces[i];
            bool found = (n.held >> i & 1U) != 0;
            for (std::uint32_t const e : home.log) {
                if (found) { break; }
                log_entry const& entry = log_[e];
                found = entry.who == n.who && entry.said != verdict_kind::rejected &&
                        entry.said != verdict_kind::conflict && carries(entry.change, p, n.who);
            }
            check(scope_oracle::kept, found, [&] {
                return "the write '" + alphabet_[p.operation].name + "' that device " + std::to_string(n.who + 1) +
                       " acknowledged is nowhere";
            });
        }
    }

    // ---- Rest ------------------------------------------------------------------------------------------------

    void exchange(std::uint32_t& d, std::uint32_t& a) {
        ask(d);
        std::uint32_t const request = devices_[d].request;
        d = devices_[d].asks;
        if (report_.broken) { return; }
        answered const got = answer(a, request);
        if (report_.broken) { return; }
        a = got.next;
        d = take(d, got.reply);
    }

    /// Lets everything be delivered, device by device, until nothing changes; looks at the rest.
    void settle(std::uint32_t const* tuple) {
        std::vector<std::uint32_t> at(tuple, tuple + options_.devices + 1);
        std::vector<std::uint32_t> walked;
        std::uint32_t depth = 0;
        for (;;) {
            auto const [place, fresh] = settled_.insert(at.data());
            if (!fresh) {
                if (!check(scope_oracle::liveness, depths_[place] != none, "exchanges go round and round")) { return; }
                depth = depths_[place];
                break;
            }
            depths_.push_back(none);
            walked.push_back(place);
            std::vector<std::uint32_t> const before = at;
            for (std::size_t i = 0; i < options_.devices && !report_.broken; ++i) {
                exchange(at[1 + i], at[0]);
                if (!report_.broken) { together(at[1 + i], at[0]); }
            }
            if (report_.broken) { return; }
            if (at == before) {
                rest(at);
                depths_[place] = 0;
                walked.pop_back();
                break;
            }
        }
        for (std::size_t i = walked.size(); i != 0; --i) { depths_[walked[i - 1]] = ++depth; }
        report_.rounds = (std::max)(report_.rounds, std::size_t{depth});
        check(scope_oracle::liveness, depth <= options_.rounds_max,
              [&] { return "rest takes " + std::to_string(depth) + " rounds"; });
    }

    void rest(std::vector<std::uint32_t> const& at) {
        ++report_.leaves;
        authority_node const& home = authorities_[at[0]];
        scope_image const truth = image_of(*home.key);
        auto const rows = scopes::raw_authority::read(truth);
        for (std::size_t i = 0; i < options_.devices; ++i) {
            device_node const& n = devices_[at[1 + i]];
            auto const view = scopes::raw_replica::read(image_of(*n.key));
            auto const who = [&](char const* what) { return "at rest device " + std::to_string(i + 1) + ' ' + what; };
            std::size_t compared = 0;
            for (auto const& [record, r] : view.records) {
                if (!r.there) { continue; }
                ++compared;
                bytes raw;
                cbor_writer w{raw};
                encode_row(w, r.state);
                auto const true_one = rows.encoded.find(record);
                check(scope_oracle::convergence, true_one != rows.encoded.end() && true_one->second == raw,
                      [&] { return who("holds other bytes than the authority"); });
            }
            check(scope_oracle::convergence, compared == rows.encoded.size(), [&] { return who("lacks a record"); });
            bool left = !view.decided.empty() || !view.waiting.empty() || !view.frozen.empty() || !view.wanted.empty();
            for (auto const& r : view.records) { left = left || r.second.dirty || r.second.base; }
            check(scope_oracle::convergence, !left, [&] { return who("still has something pending"); });
            check(scope_oracle::convergence,
                  n.cursor == home.head && n.settled == home.decided[i] && n.settled + 1 == n.next,
                  [&] { return who("has not all verdicts or rows"); });
            exact_sums(n, home, rows);
        }
    }

    /// Where no record ended and none was created twice, a counter is the sum of the acknowledged additions that were
    /// taken, and of those that nobody acknowledged and the authority decided all the same.
    void exact_sums(device_node const& n, authority_node const& home, scopes::raw_authority const& rows) {
        for (std::size_t r = 0; r < names_.size(); ++r) {
            bool plain = true;
            std::size_t created = 0;
            for (std::uint32_t const e : home.log) {
                mutation const& m = log_[e].change;
                if (!(m.record == records_[r])) { continue; }
                plain = plain && m.kind != change_kind::erase;
                created += m.kind == change_kind::create ? 1U : 0U;
            }
            auto const held = rows.rows.find(names_[r]);
            if (!plain || created > 1 || held == rows.rows.end()) { continue; }
            picture const fields = picture_of(scopes::scope_row_of(held->second));
            for (std::size_t i = 0; i < n.pieces.size(); ++i) {
                piece const& p = n.pieces[i];
                if (p.record != r || p.part == 0) { continue; }
                scope_edit const& e = alphabet_[p.operation].edits[p.part - 1U];
                if (e.kind != op_kind::add || rules().of(e.field) != rule::counter) { continue; }
                bool const refused = (n.held >> i & 1U) != 0;  // a dead letter, or parked
                auto const sum = fields ? fields->find(e.field) : fields->end();
                std::int64_t const digit = value_of(n.who, p.write, e);
                check(scope_oracle::convergence,
                      fields && sum != fields->end() && (sum->second / digit % 4 == 1) == !refused,
                      "a counter is not the sum of the additions");
            }
        }
    }

    // ---- The graph -------------------------------------------------------------------------------------------

    enum class move : std::uint8_t { write, ask, answer, take, misdeliver };
    static constexpr std::uint32_t stays_lost = 0xFF;  // the message went nowhere
    static constexpr std::uint32_t kept_slots = 0xFE;  // it was there already

    [[nodiscard]] static std::uint32_t code(move m, std::size_t device, std::size_t x, std::size_t variant) {
        return static_cast<std::uint32_t>((static_cast<std::size_t>(m) << 24) | (device << 20) | (x << 8) | variant);
    }

    void set_up() {
        scope_image image;
        auto ok = process({}, image, [&](store& s) -> status {
            auto tx = s.begin(access_mode::write);
            if (!tx) { return tx.error(); }
            random_generator random{1};
            if (auto opened = home_.open(*tx, now_of(devices_max), random); !opened) { return opened; }
            return tx->commit();
        });
        check(scope_oracle::steps, ok.has_value(), "the authority can't be opened");
        std::uint32_t home = authority_with({}, image, scopes::raw_authority::read(image));
        std::vector<std::uint32_t> first;
        for (std::size_t i = 0; i <= options_.devices; ++i) {
            replica_id id{};
            ok = process({}, image, [&](store& s) -> status {
                auto tx = s.begin(access_mode::write);
                if (!tx) { return tx.error(); }
                random_generator random{100 + i};
                if (auto opened = self_.open(*tx, "p", now_of(i), random); !opened) { return opened; }
                auto named = self_.self(*tx);
                if (!named) { return named.error(); }
                id = *named;
                return tx->commit();
            });
            check(scope_oracle::steps, ok.has_value(), "a device can't be opened");
            auto const view = scopes::raw_replica::read(image);
            identities_.push_back(view.identity);
            auto const raw = to_array(id);
            author_keys_.push_back(to_bytes(raw));
            device_node n;
            n.who = static_cast<std::uint8_t>(i);
            first.push_back(device(n, image, view));
        }
        std::size_t const founder = options_.devices;
        if (options_.start != scope_start::nothing) {
            for (std::size_t r = 0; r < options_.records && !report_.broken; ++r) {
                first[founder] = write(first[founder], alphabet_.size() - 1, r).next;
            }
            for (int i = 0; i < 2 && !report_.broken; ++i) { exchange(first[founder], home); }
        }
        if (options_.start == scope_start::met) {
            for (std::size_t i = 0; i < options_.devices && !report_.broken; ++i) {
                for (int k = 0; k < 2 && !report_.broken; ++k) { exchange(first[i], home); }
            }
        }
        std::vector<std::uint32_t> tuple(tuple_size(), 0);
        tuple[0] = home;
        for (std::size_t i = 0; i < options_.devices; ++i) { tuple[1 + i] = first[i]; }
        initial_ = tuple;
        // What is planted grows from here on; nothing that was remembered hides it.
        planting_ = true;
        writes_.clear();
        answers_.clear();
        takes_.clear();
        for (device_node& n : devices_) { n.asks = none; }
        reach(tuple, none, 0);
    }

    void reach(std::vector<std::uint32_t> const& tuple, std::uint32_t from, std::uint32_t by) {
        ++report_.transitions;
        if (report_.broken) {
            if (report_.path.empty()) { tell(from, by); }
            return;
        }
        auto const [place, fresh] = tuples_.insert(tuple.data());
        if (!fresh) { return; }
        came_.push_back({from, by});
        for (std::size_t i = 0; i < options_.devices && !report_.broken; ++i) { together(tuple[1 + i], tuple[0]); }
        if (!report_.broken) {
            settle(tuple.data());
            if (report_.broken) {
                tell(place, none);
                report_.path.push_back("… then everything is delivered, device by device, until nothing changes");
                return;
            }
        }
        if (report_.broken) { tell(place, none); }
    }

    /// Every way in which a message may join those under way.
    template <class F>
    void send(std::vector<std::uint32_t> const& tuple, std::size_t slots, std::uint32_t id, F&& to) {
        auto const begin = tuple.begin() + static_cast<std::ptrdiff_t>(slots);
        auto const end = begin + static_cast<std::ptrdiff_t>(options_.window);
        if (std::find(begin, end, id) != end) {
            to(tuple, kept_slots);
            return;
        }
        bool const full = *begin != 0;  // sorted, the empty first
        for (std::size_t i = 0; i < options_.window; ++i) {
            auto next = tuple;
            next[slots + i] = id;
            auto const from = next.begin() + static_cast<std::ptrdiff_t>(slots);
            std::sort(from, from + static_cast<std::ptrdiff_t>(options_.window));
            to(next, static_cast<std::uint32_t>(i));
            if (!full) { return; }
        }
        ++report_.lost;
        to(tuple, stays_lost);
    }

    void expand(std::size_t at) {
        std::vector<std::uint32_t> const tuple(tuples_[at], tuples_[at] + tuple_size());
        auto const from = static_cast<std::uint32_t>(at);
        std::size_t written_so_far = 0;
        std::uint32_t touched = 0;
        for (std::size_t i = 0; i < options_.devices; ++i) {
            written_so_far += devices_[tuple[1 + i]].writes;
            touched |= devices_[tuple[1 + i]].touched;
        }
        bool fresh_one = false;
        for (std::size_t i = 0; i < options_.devices && !report_.broken; ++i) {
            std::size_t const requests = slots_of(i, true);
            std::size_t const replies = slots_of(i, false);
            if (interchangeable_ && tuple[1 + i] == initial_[1 + i] && tuple[requests + options_.window - 1] == 0) {
                if (fresh_one) { continue; }  // another that has done nothing stands for this one
                fresh_one = true;
            }
            if (written_so_far < options_.operations && devices_[tuple[1 + i]].writes < options_.each) {
                for (std::size_t r = 0; r < options_.records; ++r) {
                    if (r == 1 && (touched & 1U) == 0) { continue; }  // the first stands for it
                    for (std::size_t a = 0; a < options_.alphabet.size(); ++a) {
                        written const w = write(tuple[1 + i], a, r);
                        std::size_t const x = a * 2 + r;
                        auto next = tuple;
                        if (w.next != none || report_.broken) {
                            if (w.next != none) { next[1 + i] = w.next; }
                            reach(next, from, code(move::write, i, x, 0));
                        }
                        if (report_.broken) { return; }
                        if (w.unacknowledged != none && tuple.back() == 0) {
                            next = tuple;
                            next[1 + i] = w.unacknowledged;
                            next.back() = 1;
                            ++report_.unacknowledged;
                            reach(next, from, code(move::write, i, x, 1));
                        }
                        if (w.leaked != none) {
                            next = tuple;
                            next[1 + i] = w.leaked;
                            reach(next, from, code(move::write, i, x, 2));
                        }
                        if (report_.broken) { return; }
                    }
                }
            }
            ask(tuple[1 + i]);
            {
                auto next = tuple;
                if (devices_[tuple[1 + i]].asks != none) { next[1 + i] = devices_[tuple[1 + i]].asks; }
                send(next, requests, devices_[tuple[1 + i]].request,
                     [&](std::vector<std::uint32_t> const& to, std::uint32_t how) {
                         reach(to, from, code(move::ask, i, 0, how));
                     });
                if (report_.broken) { return; }
            }
            for (std::size_t k = 0; k < options_.window; ++k) {
                if (std::uint32_t const id = tuple[requests + k]; id != 0) {
                    answered const got = answer(tuple[0], id);
                    report_.idle += got.next == tuple[0] ? 1U : 0U;
                    auto next = tuple;
                    if (got.next != none) { next[0] = got.next; }
                    send(next, replies, got.reply, [&](std::vector<std::uint32_t> const& to, std::uint32_t how) {
                        reach(to, from, code(move::answer, i, k, how));
                    });
                    if (report_.broken) { return; }
                    if (got.leaked != 0) {
                        next = tuple;
                        next[replies] = got.leaked;
                        auto const begin = next.begin() + static_cast<std::ptrdiff_t>(replies);
                        std::sort(begin, begin + static_cast<std::ptrdiff_t>(options_.window));
                        reach(next, from, code(move::answer, i, k, 0xFD));
                        if (report_.broken) { return; }
                    }
                }
                if (std::uint32_t const id = tuple[replies + k]; id != 0) {
                    auto next = tuple;
                    next[1 + i] = take(tuple[1 + i], id);
                    report_.idle += next[1 + i] == tuple[1 + i] ? 1U : 0U;
                    reach(next, from, code(move::take, i, k, 0));
                    if (report_.broken) { return; }
                    for (std::size_t j = 0; options_.misdeliveries && j < options_.devices; ++j) {
                        if (j == i) { continue; }
                        ++report_.misdelivered;
                        bool const same = take(tuple[1 + j], id) == tuple[1 + j];
                        check(scope_oracle::replay, same, "a reply to another device changes this one");
                        if (report_.broken) {
                            tell(from, code(move::misdeliver, i, k, j));
                            return;
                        }
                    }
                }
            }
        }
    }

    // ---- For people ------------------------------------------------------------------------------------------

    [[nodiscard]] static std::string text_of(mutation const& m) {
        std::string out = m.kind == change_kind::create  ? "create "
                          : m.kind == change_kind::erase ? "erase "
                                                         : "update ";
        out += std::string{m.record.id_text()} + " (life " + std::to_string(m.life) + ", saw " +
               std::to_string(m.base) + ")";
        for (field_op const& op : m.ops) {
            out += ' ' + op.field +
                   (op.kind == op_kind::unset
                        ? "=nothing"
                        : (op.kind == op_kind::add ? "+=" : "=") + std::to_string(scopes::number_in(op.value)));
        }
        return out;
    }
    [[nodiscard]] std::string text_of(std::uint32_t id) const {
        message_node const& m = message_at(id);
        std::string out = (m.request ? "request " : "reply ") + std::to_string(id);
        if (m.request) {
            auto const q = decode_request(m.body);
            if (!q) { return out; }
            out += " [cursor " + std::to_string(q->cursor) + ", receipts " + std::to_string(q->receipts);
            for (bytes const& raw : q->mutations) {
                cbor_reader in{raw};
                mutation const one = decode_mutation(in);
                out += ", #" + std::to_string(one.sequence) + " " + text_of(one);
            }
        } else {
            auto const p = decode_reply(m.body);
            if (!p) { return out; }
            out += " [head " + std::to_string(p->head) + ", page " + std::to_string(p->from) + ".." +
                   std::to_string(p->to);
            for (verdict const& v : p->verdicts) {
                out += ", #" + std::to_string(v.sequence) + " " + syncline::name(v.kind) + (v.again ? " again" : "");
            }
            for (row_update const& u : p->rows) {
                out += ", " + std::string{u.key.id_text()} + "@" + std::to_string(u.state.version) + " " +
                       text_of(picture_of(scopes::scope_row_of(u.state)));
            }
        }
        return out + "]";
    }
    [[nodiscard]] std::string text_of(std::uint32_t const* tuple, std::uint32_t by) {
        auto const m = static_cast<move>(by >> 24);
        std::size_t const i = (by >> 20) & 0xF;
        std::size_t const x = (by >> 8) & 0xFFF;
        std::uint32_t const variant = by & 0xFF;
        std::string const who = "device " + std::to_string(i + 1);
        char const* const fate = variant == stays_lost ? " — lost" : "";
        switch (m) {
            case move::write:
                return who + " writes: " + alphabet_[x / 2].name + " (record " +
                       std::string{records_[x % 2].id_text()} + ")" +
                       (variant == 1   ? ", whose commit says that it failed"
                        : variant == 2 ? ", acknowledged, whose commit fails"
                                       : "");
            case move::ask: {
                device_node const& n = devices_[tuple[1 + i]];
                return who + " asks: " + (n.request == 0 ? "nothing" : text_of(n.request)) + fate;
            }
            case move::answer: {
                std::uint32_t const id = tuple[slots_of(i, true) + x];
                auto const known = answers_.find((std::uint64_t{tuple[0]} << 32) | id);
                std::string out = "the authority gets request " + std::to_string(id) + " of " + who;
                if (known == answers_.end()) { return out; }
                if (variant == 0xFD) {
                    return out + ", fails to commit, and answers: " + text_of(known->second.leaked);
                }
                return out + (known->second.reply == 0 ? "" : ", and answers: " + text_of(known->second.reply)) + fate;
            }
            case move::take: return who + " takes reply " + std::to_string(tuple[slots_of(i, false) + x]);
            case move::misdeliver:
                return "device " + std::to_string(variant + 1) + " gets reply " +
                       std::to_string(tuple[slots_of(i, false) + x]) + ", which is for " + who;
        }
        return "?";
    }
    /// The steps to a state, and one more.
    void tell(std::uint32_t at, std::uint32_t by) {
        std::vector<std::pair<std::uint32_t, std::uint32_t>> steps;
        if (by != none && at != none) { steps.push_back({at, by}); }
        while (at != none && came_[at].first != none) {
            steps.push_back(came_[at]);
            at = came_[at].first;
        }
        for (std::size_t i = steps.size(); i != 0; --i) {
            report_.path.push_back(text_of(tuples_[steps[i - 1].first], steps[i - 1].second));
        }
    }

    Make make_;
    Plant plant_;
    rule_table rules_;
    scope_options options_;
    std::vector<scope_operation> alphabet_{};
    replica self_{};
    authority<scopes::refuse_field> home_{};
    std::vector<record_key> records_{};
    std::vector<bytes> names_{};
    std::vector<bytes> identities_{};
    std::vector<bytes> author_keys_{};
    bool interchangeable_ = false;
    bool planting_ = false;
    scope_report report_{};

    std::deque<device_node> devices_{};
    std::deque<authority_node> authorities_{};
    std::deque<message_node> messages_{};
    std::deque<log_entry> log_{};
    std::unordered_map<std::string, std::uint32_t> device_keys_{};
    std::unordered_map<std::string, std::uint32_t> authority_keys_{};
    std::unordered_map<std::string, std::uint32_t> message_keys_{};
    std::unordered_map<std::string, std::uint32_t> log_keys_{};
    std::unordered_map<std::uint64_t, written> writes_{};
    std::unordered_map<std::uint64_t, answered> answers_{};
    std::unordered_map<std::uint64_t, std::uint32_t> takes_{};
    std::unordered_set<std::uint64_t> pairs_{};
    std::size_t kept_pieces_ = 0;
    std::uint64_t node_bytes_ = 0;

    scopes::tuple_table tuples_;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> came_{};  ///< from which state, by which step
    std::vector<std::uint32_t> initial_{};
    scopes::tuple_table settled_;
    std::vector<std::uint32_t> depths_{};
};

/// Explores one scope over stores that `make()` gives, by these rules. See `scope_explorer`.
template <class Make, class Plant = nothing_planted>
[[nodiscard]] scope_report explore(Make make, rule_table rules, scope_options options, Plant plant = {}) {
    return scope_explorer<Make, Plant>{std::move(make), std::move(rules), std::move(options), std::move(plant)}.run();
}

/// A report as text, for people: a line, and what was broken with the steps to it.
[[nodiscard]] inline std::string to_text(scope_report const& r) {
    auto const n = [](std::uint64_t x) { return std::to_string(x); };
    std::string out = r.scope + ": " + n(r.states) + (r.complete ? " states (all), " : " states (not all), ") +
                      n(r.transitions) + " transitions, " + n(r.leaves) + " leaves of " + n(r.settled) +
                      " states of storage (rest in " + n(r.rounds) + " rounds), nodes " + n(r.device_states) + "+" +
                      n(r.authority_states) + ", messages " + n(r.messages) + ", library runs " + n(r.library_steps) +
                      "\n  faults: lost " + n(r.lost) + ", doubled or replayed " + n(r.idle) + ", misdelivered " +
                      n(r.misdelivered) + ", reopened " + n(r.reopened) + ", unacknowledged commits " +
                      n(r.unacknowledged) + ", storage calls " + n(r.faulted());
    constexpr std::array<char const*, storage_call_count> calls{"begin", "get",    "put",    "erase",
                                                                "scan",  "commit", "barrier"};
    if (r.faulted() != 0) {
        out += " (before/after:";
        for (std::size_t i = 0; i < storage_call_count; ++i) {
            if (r.faults[i][0] + r.faults[i][1] != 0) {
                out += std::string{" "} + calls[i] + " " + n(r.faults[i][0]) + "/" + n(r.faults[i][1]);
            }
        }
        out += ")";
    }
    out += "\n  oracle checks " + n(r.checked()) + ":";
    for (std::size_t i = 0; i < scope_oracles; ++i) {
        out += std::string{" "} + name(static_cast<scope_oracle>(i)) + " " + n(r.checks[i]);
    }
    out += "\n  " + n(static_cast<std::uint64_t>(r.duration.count())) + " ms, " + n(r.bytes >> 20) + " MiB\n";
    if (r.broken) {
        out += "  BROKEN " + r.broken->axiom + ": " + r.broken->what + "\n";
        for (std::size_t i = 0; i < r.path.size(); ++i) { out += "    " + n(i + 1) + ". " + r.path[i] + "\n"; }
    }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
