// SPDX-License-Identifier: BSL-1.0
// Looks into a device's SQLite file without changing it: how the device is doing, every write that has not come to its
// end and why, every conflict. `inspect FILE`; without a file it makes a till in trouble first, and looks into that.

#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/replica.hpp>
#include <syncline/storage.hpp>

#include "till.hpp"

using namespace syncline;

namespace {

std::string span_of(milliseconds t) {
    std::int64_t const minutes = t.count() / 60'000;
    if (minutes >= 48 * 60) { return std::to_string(minutes / (24 * 60)) + " days"; }
    if (minutes >= 60) { return std::to_string(minutes / 60) + " h " + std::to_string(minutes % 60) + " min"; }
    if (minutes >= 1) { return std::to_string(minutes) + " min"; }
    return std::to_string(t.count() / 1'000) + " s";
}

/// An id as it is where it can be read, in hexadecimal digits where not.
std::string name_of(record_key const& k) {
    bool printable = true;
    for (char const c : k.id_text()) { printable = printable && c >= ' ' && c <= '~'; }
    return k.collection + "/" + (printable ? std::string(k.id_text()) : to_hex(k.id));
}

char const* word_of(change_kind k) {
    switch (k) {
        case change_kind::create: return "creates";
        case change_kind::update: return "changes";
        case change_kind::erase: return "deletes";
        case change_kind::group: return "writes together with others";
    }
    return "does something to";
}

void print(device_health const& h, wall_time now) {
    std::cout << "state      " << name(h.state) << '\n'
              << "pending    " << h.pending << " writes, " << h.pending_bytes << " bytes";
    if (auto const age = h.oldest_age(now)) { std::cout << ", the oldest for " << span_of(*age); }
    std::cout << "\nrefused    " << h.dead << "\nconflicts  " << h.conflicts;
    if (h.conflict_rate) { std::cout << ", " << *h.conflict_rate << " in 1000 verdicts of late"; }
    std::cout << "\nheld       up to position " << h.cursor << " of " << h.head
              << (h.complete ? "" : ", not all of it yet") << "\nsuccess    ";
    if (h.last_success) {
        std::cout << span_of(now > *h.last_success ? now - *h.last_success : milliseconds{0}) << " ago";
    } else {
        std::cout << "not on record";
    }
    std::cout << "\n\n";
}

void print(write_report const& w, wall_time now) {
    std::cout << '#' << w.token << "  " << name(w.standing) << "  " << word_of(w.change) << ' ' << name_of(w.record);
    for (std::size_t i = 0; i < w.fields.size(); ++i) { std::cout << (i == 0 ? ": " : ", ") << w.fields[i]; }
    std::cout << "\n    ";
    if (w.entered) { std::cout << "since " << span_of(now > *w.entered ? now - *w.entered : milliseconds{0}) << "; "; }
    std::cout << w.why << (w.behind == 0 ? "" : ", see #" + std::to_string(w.behind)) << '\n';
}

struct closes {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
};

// region: inspect
/// Prints what a file holds. Opened for reading, so that neither a slip here nor a file of something else is changed.
status inspect(char const* path, instant now) {
    sqlite3* raw = nullptr;
    int const code = sqlite3_open_v2(path, &raw, SQLITE_OPEN_READONLY, nullptr);
    std::unique_ptr<sqlite3, closes> const db(raw);
    if (code != SQLITE_OK) { return failure{errc::storage_io, "can't open the file", code}; }
    auto store = sqlite_storage::attach(db.get());
    if (!store) { return store.error(); }
    auto tx = store->begin(access_mode::read);
    if (!tx) { return tx.error(); }

    replica const self;  // without rules: looking needs none
    auto const who = self.self(*tx);
    if (!who) { return who.error(); }
    std::cout << "replica    " << to_string(*who) << '\n';
    auto const health = stored_health(*tx, self, health_log{}, now);
    if (!health) { return health.error(); }
    print(*health, now.wall);
    return scan_writes(*tx, self, {}, [&](write_report const& w) {
        print(w, now.wall);
        return true;
    });
}
// endregion: inspect

}  // namespace

int main(int count, char** arguments) {
    instant now{std::chrono::time_point_cast<milliseconds>(std::chrono::system_clock::now()), {}};
    char const* path = count > 1 ? arguments[1] : "till.db";
    if (count == 1) {
        auto const made = till_in_trouble(path);
        if (!made) {
            std::cerr << "no till was made: " << message(made.error().code) << '\n';
            return EXIT_FAILURE;
        }
        now = *made;
    }
    auto const ok = inspect(path, now);
    if (!ok) {
        std::cerr << path << ": " << message(ok.error().code) << ": " << ok.error().detail << '\n';
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
