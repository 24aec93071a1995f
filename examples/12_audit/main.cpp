// SPDX-License-Identifier: BSL-1.0
// An audit log that somebody tampers with: an edit, a reorder, a truncation and a fork, and what is found each time. A
// guest is forgotten, and the log stays whole. And beside it a history: what was, and how to take something back.

#include <chrono>
#include <cstdint>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <syncline/audit.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/null_signer.hpp>

using namespace syncline;
using std::chrono::minutes;

namespace {

using transaction = memory_storage::transaction;

wall_time const evening{milliseconds{1'790'000'000'000}};
/// Keys of redactable records need the operating system's randomness; an example has to print the same each time.
random_generator not_for_secrets{2026};

bytes text(std::string_view s) {
    bytes out;
    cbor_writer{out}.text(s);
    return out;
}

// region: append
/// Somebody seats a guest: the table may be known to everybody, the name is behind a commitment.
status seat(transaction& tx, audit_log<> const& log, std::string_view guest, std::string_view name,
            std::string_view table, std::uint64_t minute) {
    bytes const shown = text(table);
    bytes const masked = text(name);
    audit_field const open{"table", shown};
    audit_field const hidden{"name", masked};
    audit_item entry;
    entry.kind = audit_kind::local_write;
    entry.stamp = timestamp::make(evening + minutes{minute});
    entry.actor = as_bytes("staff/7");
    entry.collection = "guests";
    entry.record = as_bytes(guest);
    entry.open = std::span{&open, 1};
    entry.masked = std::span{&hidden, 1};
    auto const index = log.append(tx, entry, not_for_secrets);
    return index ? status{} : status{index.error()};
}
// endregion: append

// region: verify
/// Looks through the whole log, against what was anchored elsewhere.
void look(std::string_view what, transaction& tx, audit_log<> const& log, audit_head const& anchored) {
    std::cout << what << ":";
    auto const report = log.verify(tx, {.anchors = std::span{&anchored, 1}});
    if (!report) {
        std::cout << ' ' << message(report.error().code) << '\n';
        return;
    }
    if (report->sound()) { std::cout << " sound, " << report->entries << " entries"; }
    for (audit_finding const& f : report->findings) { std::cout << "\n  " << f.index << ": " << name(f.fault); }
    std::cout << '\n';
}
// endregion: verify

bytes row_of(std::uint64_t index) {
    bytes key = to_bytes("ae");
    append_u64(key, index);
    return key;
}

/// Each tampering is done in a transaction that is left, so that the next one finds the log as it was.
bool tamper(memory_storage& store, audit_log<> const& log, audit_head const& anchored) {
    {
        auto tx = store.begin(access_mode::write);
        bytes row;
        if (!tx || !tx->get(row_of(3), row)) { return false; }
        std::size_t const at = as_text(row).find("table 4");
        row[at + 6] = std::byte{'9'};
        if (!tx->put(row_of(3), row)) { return false; }
        look("a guest was at another table", *tx, log, anchored);
    }
    {
        auto tx = store.begin(access_mode::write);
        bytes a;
        bytes b;
        if (!tx || !tx->get(row_of(5), a) || !tx->get(row_of(6), b)) { return false; }
        if (!tx->put(row_of(5), b) || !tx->put(row_of(6), a)) { return false; }
        look("two entries changed places", *tx, log, anchored);
    }
    {
        auto tx = store.begin(access_mode::write);
        if (!tx || !tx->erase(row_of(8))) { return false; }
        look("an entry is gone", *tx, log, anchored);
    }
    return true;
}

/// Who can compute hashes writes a log of his own, under the same name. Only the anchor knows better.
bool forge(audit_head const& anchored) {
    memory_storage forged;
    audit_log<> const log;
    auto tx = forged.begin(access_mode::write);
    random_generator same_name{2026};
    if (!tx || !log.open(*tx, evening, same_name)) { return false; }
    for (std::uint64_t i = 0; i < 12; ++i) {
        if (i == 7) { look("the last evening's end was cut off, cleanly", *tx, log, anchored); }
        if (!seat(*tx, log, "guest/1", "Nobody", "table 1", i)) { return false; }
    }
    look("the whole log was written anew", *tx, log, anchored);
    return true;
}

bool forget_a_guest(memory_storage& store, audit_log<> const& log, audit_head const& anchored) {
    auto tx = store.begin(access_mode::write);
    // region: redact
    audit_item officer;
    officer.actor = as_bytes("data protection officer");
    auto const n = log.redact(*tx, "guests", as_bytes("guest/2"), officer, not_for_secrets);
    // endregion: redact
    if (!n || !tx->commit()) { return false; }
    std::cout << "guest 2 asked to be forgotten: " << *n << " entries redacted\n";
    auto reading = store.begin(access_mode::read);
    look("the log with its redaction", *reading, log, anchored);
    auto const e = log.find(*reading, 1);
    if (!e || !*e) { return false; }
    auto const table = map_find((**e).open, "table");
    std::cout << "  entry 1 says " << as_text(**table).substr(1) << ", by " << as_text((**e).actor)
              << ((**e).redacted() ? "; who it was nobody knows any more\n" : "\n");
    // region: prove
    auto const now = log.head(*reading, {});
    auto const proof = log.prove_inclusion(*reading, 1);
    auto const leaf = log.leaf_data(*reading, 1);
    bool const proved = verify_inclusion(sha256_function{}, merkle_leaf(sha256_function{}, *leaf), *proof, *now);
    // endregion: prove
    std::cout << "  and its proof of " << proof->path.size() << " hashes " << (proved ? "holds\n" : "FAILS\n");
    return proved;
}

// ---- The history -----------------------------------------------------------------------------------------------

bytes booking(std::int64_t seats, std::string_view table) {
    bytes out;
    cbor_writer w{out};
    w.map(2);
    w.text("seats");
    w.integer(seats);
    w.text("table");
    w.text(table);
    return out;
}
std::string told(std::optional<bytes> const& fields) {
    if (!fields) { return "not there"; }
    value_view const v{*fields};
    return std::to_string(*v.find("seats")->as_int64()) + " seats at " + std::string{*v.find("table")->as_text()};
}

bool history() {
    memory_storage store;
    mutation_history const past;
    record_key const key{"bookings", "b1"};
    auto tx = store.begin(access_mode::write);
    if (!tx) { return false; }
    std::optional<bytes> now;
    std::uint64_t minute = 0;
    auto const change = [&](change_kind kind, std::vector<field_op> ops, bytes after) {
        mutation m;
        m.record = key;
        m.kind = kind;
        m.stamp = timestamp::make(evening + minutes{++minute});
        m.ops = std::move(ops);
        std::optional<bytes_view> before;
        if (now) { before = *now; }
        auto const at = past.record(*tx, replica_id{}, m, before, bytes_view{after});
        now = std::move(after);
        return at ? *at : 0;
    };
    bytes two;
    cbor_writer{two}.integer(2);
    change(change_kind::create, {}, booking(4, "table 1"));
    auto const more = change(change_kind::update, {{"seats", op_kind::add, two, {}}}, booking(6, "table 1"));
    auto const moved =
        change(change_kind::update, {{"table", op_kind::set, text("table 7"), {}}}, booking(6, "table 7"));
    change(change_kind::update, {{"table", op_kind::set, text("table 9"), {}}}, booking(6, "table 9"));

    std::cout << "the booking now: " << told(now) << '\n';
    // region: past
    auto const then = past.as_of(*tx, key, {.stamp = timestamp::make(evening + minutes{2})});
    // endregion: past
    if (!then) { return false; }
    std::cout << "as of two minutes past: " << told(*then) << '\n';

    // region: undo
    auto const seats = past.undo(*tx, more, timestamp::make(evening + minutes{10}));
    auto const table = past.undo(*tx, moved, timestamp::make(evening + minutes{10}));
    // endregion: undo
    if (!seats || !table || !seats->clean()) { return false; }
    cbor_reader opposite{seats->ops[0].value};
    std::cout << "to undo the two more seats: add " << opposite.integer() << " to " << seats->ops[0].field << '\n';
    for (undo_conflict const& c : table->conflicts) {
        std::cout << "to undo the move: somebody has changed the " << c.field << " since, at position " << c.position
                  << '\n';
    }
    return true;
}

}  // namespace

int main() {
    memory_storage store;
    audit_log<> const log;
    {
        auto tx = store.begin(access_mode::write);
        random_generator name{2026};
        if (!tx || !log.open(*tx, evening, name)) { return 1; }
        for (std::uint64_t i = 0; i < 10; ++i) {
            std::string const guest = "guest/" + std::to_string(1 + i % 4);
            std::string const table = "table " + std::to_string(1 + i);
            if (!seat(*tx, log, guest, "Guest number " + std::to_string(1 + i % 4), table, i)) { return 1; }
        }
        if (!tx->commit()) { return 1; }
    }
    // region: anchor
    // A host signs with a key of its own and publishes where the writer of this store can't reach.
    testing::insecure_null_signer signer{true};
    testing::memory_anchor notary;
    audit_head anchored;
    {
        auto tx = store.begin(access_mode::read);
        auto const head = log.head(*tx, timestamp::make(evening));
        if (!head || !anchor_head(signer, notary, *head)) { return 1; }
        auto const kept = anchored_head(signer, notary);
        if (!kept || !*kept) { return 1; }
        anchored = **kept;
    }
    // endregion: anchor
    {
        auto tx = store.begin(access_mode::read);
        look("as it was written", *tx, log, anchored);
    }
    bool const good =
        tamper(store, log, anchored) && forge(anchored) && forget_a_guest(store, log, anchored) && history();
    return good ? 0 : 1;
}
