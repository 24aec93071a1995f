// SPDX-License-Identifier: BSL-1.0

/// Ours in the workloads of peers.mjs: the same records, the same edits, one workload a process.
///
///     syncline_peers ours|ours-random-ids|ours-sqlite|sqlite-insert W1|W2|W3|W4 [--small]

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>
#include <sys/resource.h>
#include <unistd.h>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/core/value.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/memory.hpp>

namespace {

using namespace syncline;

// ---- The records: the same in peers.mjs ---------------------------------------------------------------------------

std::vector<std::string> words(std::string_view text) {
    std::vector<std::string> out;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t const end = (std::min)(text.find(' ', at), text.size());
        out.emplace_back(text.substr(at, end - at));
        at = end + 1;
    }
    return out;
}
auto const given = words(
    "Ada Ben Chloe David Elif Farid Greta Hugo Ines Jonas Kira Liam Mara Noah Olga Pavel Quinn Rosa Samir "
    "Tessa Umar Vera Willem Xenia Yusuf Zoe Anouk Bruno Carla Dario Emil Fatima");
auto const family = words(
    "Abbott Becker Castillo Dubois Eriksson Fischer Garcia Hoffmann Ivanova Jansen Kowalski Lindqvist Moreau "
    "Novak Okafor Petrov Quiroga Rossi Schneider Tanaka Ueda Vogel Weber Ximenes Yilmaz Zimmermann Andersen Bianchi "
    "Costa Duarte Engel Ferrari");
auto const city = words(
    "Amsterdam Barcelona Copenhagen Dublin Edinburgh Florence Geneva Hamburg Istanbul Krakow Lisbon Madrid "
    "Naples Oslo Prague Rotterdam Stockholm Tallinn Utrecht Vienna");
auto const word = words(
    "arrives late with two friends prefers window seat vegetarian needs parking near entrance asked about music "
    "brings own cake allergic to nuts speaks Spanish paid deposit sent reminder called twice table for children "
    "quiet corner stays overnight taxi at midnight plays violin welcome drink");

struct generator {
    std::uint32_t a;
    std::uint32_t operator()() noexcept {
        a += 0x6d2b79f5U;
        std::uint32_t t = (a ^ (a >> 15)) * (1U | a);
        t = (t + (t ^ (t >> 7)) * (61U | t)) ^ t;
        return t ^ (t >> 14);
    }
};

bool random_ids = false;
std::string id_of(std::size_t n) {
    if (random_ids) {
        std::uint64_t const low = xxh3_64(as_bytes(std::to_string(n)), 1);
        std::uint64_t const high = xxh3_64(as_bytes(std::to_string(n)), 2);
        bytes raw;
        append_u64(raw, high);
        append_u64(raw, low);
        return std::string{as_text(raw)};
    }
    std::string const digits = std::to_string(n);
    return "r" + std::string(6 - digits.size(), '0') + digits;
}

struct guest {
    std::string name, email, town, note;
    std::int64_t seat = 0, score = 0;
    bool active = false;
    std::int64_t updated = 0;
};
std::string lower(std::string s) {
    for (char& c : s) { c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
    return s;
}
guest guest_of(std::size_t n) {
    generator dice{static_cast<std::uint32_t>(n + 1)};
    auto const pick = [&](auto const& list) -> std::string const& { return list[dice() % list.size()]; };
    guest g;
    std::string const& first = pick(given);
    std::string const& last = pick(family);
    for (int i = 0; i < 8; ++i) { g.note += (i == 0 ? "" : " ") + pick(word); }
    g.name = first + " " + last;
    g.email = lower(first) + "." + lower(last) + std::to_string(dice() % 1000) + "@example.org";
    g.town = pick(city);
    g.seat = dice() % 500;
    g.score = dice() % 100000;
    g.active = dice() % 4 != 0;
    g.updated = 1790000000 + static_cast<std::int64_t>(dice() % 10000000);
    return g;
}
/// Canonical order: by length, then by bytes.
bytes fields_of(std::size_t n) {
    guest const g = guest_of(n);
    bytes out;
    cbor_writer w{out};
    w.map(8);
    w.text("city"), w.text(g.town);
    w.text("name"), w.text(g.name);
    w.text("note"), w.text(g.note);
    w.text("seat"), w.integer(g.seat);
    w.text("email"), w.text(g.email);
    w.text("score"), w.integer(g.score);
    w.text("active"), w.boolean(g.active);
    w.text("updated"), w.integer(g.updated);
    return out;
}
/// The line of a record in the digest that peers.mjs makes.
std::string line_of(std::string_view id, bytes_view fields) {
    auto const text = [&](std::string_view name) {
        cbor_reader in{**map_find(fields, name)};
        return std::string{in.text()};
    };
    auto const number = [&](std::string_view name) {
        cbor_reader in{**map_find(fields, name)};
        return std::to_string(in.integer());
    };
    cbor_reader active{**map_find(fields, "active")};
    return std::string{id} + "|" + text("name") + "|" + text("email") + "|" + text("city") + "|" + text("note") + "|" +
           number("seat") + "|" + number("score") + "|" + (active.boolean() ? "true" : "false") + "|" +
           number("updated") + "\n";
}
field_op set(std::string_view name, std::int64_t n) {
    field_op op{std::string{name}, op_kind::set, {}, {}};
    cbor_writer{op.value}.integer(n);
    return op;
}

// ---- Measuring ----------------------------------------------------------------------------------------------------

double spent = 0;
std::size_t wire = 0;
double cpu_ms() {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}
[[noreturn]] void fail(char const* what) {
    std::fprintf(stderr, "%s\n", what);
    std::exit(1);
}
void require(bool ok, char const* what) {
    if (!ok) { fail(what); }
}

milliseconds ticks{0};
instant now() { return {wall_time{milliseconds{1'790'000'000'000}} + ticks, monotonic_time{milliseconds{1}} + ticks}; }

template <storage S>
struct world {
    S& cloud;
    authority<> a{};
    replica r{{}, [] {
                  replica_options o;
                  o.rows_max = 10'000;
                  o.bytes_max = std::uint64_t{4} << 20;
                  o.mutations_max = 10'000;
                  o.mutation_bytes = std::size_t{4} << 20;
                  return o;
              }()};
    syncline::random_generator dice{1};

    /// Through the authority's own front door.
    void fill(std::size_t n) {
        {
            auto tx = cloud.begin(access_mode::write);
            require(tx && a.open(*tx, now(), dice) && tx->commit(), "open");
        }
        request q;
        q.replica.device.bytes[0] = std::byte{1};
        q.rows_max = 0;
        for (std::size_t i = 0; i < n; ++i) {
            mutation m;
            m.sequence = i + 1;
            m.kind = change_kind::create;
            m.stamp = timestamp{timestamp::make(now().wall).raw + i};
            m.record = {"guests", id_of(i)};
            m.ops = *diff({}, fields_of(i), {}, m.stamp);
            cbor_writer w{q.mutations.emplace_back()};
            encode_mutation(w, m);
            if (q.mutations.size() == 10'000 || i + 1 == n) {
                q.receipts = m.sequence - q.mutations.size();
                require(serve(cloud, a, "bench", encode(q), now()).has_value(), "fill");
                q.mutations.clear();
            }
        }
        ticks += milliseconds{1'000};
    }
    void open(S& device) {
        auto tx = device.begin(access_mode::write);
        require(tx && r.open(*tx, "bench", now(), dice) && tx->commit(), "open");
    }
    void sync(S& device) {
        for (bool more = true; more;) {
            bytes message;
            {
                auto tx = device.begin(access_mode::write);
                require(tx && r.prepare(*tx, now()), "prepare");
                message = *r.request_message(*tx);
                require(tx->commit().has_value(), "commit");
            }
            auto const answer = serve(cloud, a, "bench", message, now());
            require(answer.has_value(), "serve");
            auto tx = device.begin(access_mode::write);
            auto const report = r.absorb(*tx, *answer, now(), dice);
            require(report && tx->commit(), "absorb");
            wire += message.size() + answer->size();
            more = report->more;
        }
    }
    void timed(S& device) {
        double const began = cpu_ms();
        sync(device);
        spent += cpu_ms() - began;
    }
    /// Each edit at its own time, a second or so apart, as a person makes them.
    void edit(S& device, std::size_t i, std::string_view field, std::int64_t value) {
        ticks += milliseconds{700 + static_cast<std::int64_t>(dice() % 500)};
        auto tx = device.begin(access_mode::write);
        require(tx && r.update(*tx, {"guests", id_of(i)}, {set(field, value)}, now()) && tx->commit(), "edit");
    }
    std::string digest_of(S& device) {
        sha256_hasher hash;
        auto tx = device.begin(access_mode::read);
        auto const ok = r.scan(*tx, "guests", [&](record_key const& k, record const& held) {
            hash.update(as_bytes(line_of(k.id_text(), held.fields)));
            return true;
        });
        require(tx && ok, "scan");
        return to_hex(hash.finish()).substr(0, 16);
    }
    std::string digest_of_cloud() {
        sha256_hasher hash;
        auto tx = cloud.begin(access_mode::read);
        auto const ok = a.scan(*tx, [&](record_key const& k, row const& held) {
            hash.update(as_bytes(line_of(k.id_text(), held.fields)));
            return true;
        });
        require(tx && ok, "scan");
        return to_hex(hash.finish()).substr(0, 16);
    }
};

void print(std::string const& digest, bool converged) {
    rusage use{};
    getrusage(RUSAGE_SELF, &use);
    std::printf("{\"cpu_ms\":%.3f,\"wire_bytes\":%zu,\"peak_kb\":%ld,\"digest\":\"%s\",\"converged\":%s}\n", spent,
                wire, use.ru_maxrss, digest.c_str(), converged ? "true" : "false");
}

template <storage S>
void run(std::string_view workload, std::size_t scale, S& cloud, S& one, S& two) {
    world<S> w{cloud};
    std::size_t const few = scale / 10;
    if (workload == "W1") {
        w.fill(scale);
        double const began = cpu_ms();
        w.open(one);
        w.sync(one);
        spent = cpu_ms() - began;
        auto const digest = w.digest_of(one);
        return print(digest, digest == w.digest_of_cloud());
    }
    w.fill(few);
    w.open(one);
    w.sync(one);
    if (workload == "W2") {
        for (std::size_t i = 0; i < few; ++i) { w.edit(one, i, "score", 200'000 + 2 * static_cast<std::int64_t>(i)); }
        wire = 0;
        w.timed(one);
        auto const digest = w.digest_of(one);
        return print(digest, digest == w.digest_of_cloud());
    }
    w.open(two);
    w.sync(two);
    for (std::size_t i = 0; i < few / 2; ++i) {
        auto const n = static_cast<std::int64_t>(i);
        w.edit(one, i, "score", 200'000 + 2 * n);
        if (workload == "W3") {
            w.edit(two, i, "seat", 1'000 + n);
        } else {
            w.edit(two, i, "score", 200'001 + 2 * n);
        }
    }
    wire = 0;
    w.timed(one);
    w.timed(two);
    w.timed(one);
    auto const digest = w.digest_of(one);
    print(digest, digest == w.digest_of(two) && digest == w.digest_of_cloud());
}

/// A database file that goes with the object.
struct file {
    std::string path;
    explicit file(std::string const& name)
        : path((std::filesystem::temp_directory_path() / (name + std::to_string(::getpid()) + ".db")).string()) {}
    file(file const&) = delete;
    ~file() {
        std::error_code ignored;
        for (char const* end : {"", "-wal", "-shm"}) { std::filesystem::remove(path + end, ignored); }
    }
};

/// What the device's database alone would spend on the same rows under the same keys, in their order.
void plain_insert(std::size_t n) {
    file const at{"syncline-peers-plain-"};
    std::vector<std::pair<bytes, bytes>> rows;
    for (std::size_t i = 0; i < n; ++i) {
        bytes key = to_bytes(std::string_view{"rv"});
        append_key(key, "guests", as_bytes(id_of(i)));
        rows.emplace_back(std::move(key), fields_of(i));
    }
    sqlite3* db = nullptr;
    sqlite3_stmt* insert = nullptr;
    require(sqlite3_open(at.path.c_str(), &db) == SQLITE_OK, "open");
    sqlite3_exec(db,
                 "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
                 "CREATE TABLE t(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
                 nullptr, nullptr, nullptr);
    require(sqlite3_prepare_v2(db, "INSERT INTO t VALUES(?,?)", -1, &insert, nullptr) == SQLITE_OK, "prepare");
    double const began = cpu_ms();
    sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
    for (auto const& [k, v] : rows) {
        sqlite3_bind_blob(insert, 1, k.data(), static_cast<int>(k.size()), SQLITE_STATIC);
        sqlite3_bind_blob(insert, 2, v.data(), static_cast<int>(v.size()), SQLITE_STATIC);
        require(sqlite3_step(insert) == SQLITE_DONE, "insert");
        sqlite3_reset(insert);
    }
    sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr);
    spent = cpu_ms() - began;
    sqlite3_finalize(insert);
    sqlite3_close(db);
    print("", true);
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 3) {
        fail("usage: syncline_peers ours|ours-random-ids|ours-sqlite|sqlite-insert W1|W2|W3|W4 [--small]");
    }
    std::string_view const engine = arguments[1];
    std::size_t const scale = count > 3 && std::string_view{arguments[3]} == "--small" ? 1'000 : 100'000;
    random_ids = engine == "ours-random-ids";
    if (engine == "sqlite-insert") {
        plain_insert(scale);
    } else if (engine == "ours-sqlite") {
        file const files[]{file{"syncline-peers-cloud-"}, file{"syncline-peers-one-"}, file{"syncline-peers-two-"}};
        auto cloud = sqlite_storage::open(files[0].path.c_str());
        auto one = sqlite_storage::open(files[1].path.c_str());
        auto two = sqlite_storage::open(files[2].path.c_str());
        require(cloud && one && two, "open");
        run(arguments[2], scale, *cloud, *one, *two);
    } else {
        memory_storage cloud, one, two;
        run(arguments[2], scale, cloud, one, two);
    }
}
