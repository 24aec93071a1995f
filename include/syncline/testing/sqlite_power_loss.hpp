// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `sqlite_disk`: a disk in memory for SQLite that loses its power at any step; `power_cuts` tries a store on it.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>
#include <syncline/testing/commit_history.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What a disk does at power loss with what was not synced, as far as there is a choice.
struct sqlite_disk_options {
    std::uint32_t sector_bytes = 512;  ///< what survives or doesn't: a power of two from 512 to 65,536
    /// A sector that was being written may hold part of the new and part of the old, or rubbish.
    bool torn_sectors = true;
    /// Of a torn sector only what was being written is in danger (and SQLite is told so); false: all of it is.
    /// Source: https://www.sqlite.org/psow.html
    bool powersafe_overwrite = true;
    bool honest_sync = true;  ///< false: a sync answers success, and does nothing
    friend constexpr bool operator==(sqlite_disk_options const&, sqlite_disk_options const&) = default;
};
[[nodiscard]] constexpr bool valid(sqlite_disk_options const& o) noexcept {
    return o.sector_bytes >= 512 && o.sector_bytes <= 65'536 && (o.sector_bytes & (o.sector_bytes - 1)) == 0;
}

/// The files of a disk and what is in them, by name.
using sqlite_disk_image = std::map<std::string, bytes>;

/// The calls of SQLite's to a disk that can be counted and made to fail.
enum class sqlite_disk_call : std::uint8_t { open, read, write, truncate, sync, remove };
inline constexpr std::size_t sqlite_disk_call_count = 6;

/// Which call fails. A read or an open that fails does nothing, a write writes its first half, and a sync that fails
/// loses what it had to sync: the files still read as if it was there, and a later sync succeeds without it, as on
/// Linux after a failed fsync. Source: https://lwn.net/Articles/752063/
struct sqlite_disk_fault {
    std::uint64_t nth = 1;                   ///< counted from 1 at the moment of inject()
    bool sticky = false;                     ///< every later call of that kind fails too, until heal()
    std::optional<sqlite_disk_call> only{};  ///< counts and fails calls of this kind; none: of every kind
    friend constexpr bool operator==(sqlite_disk_fault const&, sqlite_disk_fault const&) = default;
};

namespace detail {

/// One change of a disk.
struct sqlite_disk_step {
    enum class kind : std::uint8_t { create, remove, write, truncate, sync, failed_sync, sync_folder };
    kind what = kind::write;
    std::uint32_t file = 0;
    std::uint64_t offset = 0;  // of a write; of a truncate the new size
    bytes data{};              // of a write
    std::string name{};        // of a create or remove
};

/// A file that is open or has a name.
struct sqlite_disk_file {
    std::uint32_t number = 0;
    bool recorded = true;  // a file without a name is nobody's after a power loss
    bytes data{};
    // Locks: those who share it, one who may write soon, one who keeps new ones out, one who writes.
    std::uint32_t shared = 0;
    void const* reserved = nullptr;
    void const* pending = nullptr;
    void const* exclusive = nullptr;
    // Shared memory of a log: lost with the power, as SQLite makes it anew from the log.
    std::vector<std::unique_ptr<bytes>> regions{};
    std::array<std::uint32_t, SQLITE_SHM_NLOCK> slots_shared{};
    std::array<void const*, SQLITE_SHM_NLOCK> slots_exclusive{};
    std::uint32_t mappings = 0;
};

}  // namespace detail

/// A file system in memory that SQLite works on, records every change in order, and can make any call fail.
///
/// Open connections with `vfs()` as the name of the VFS; close them before the disk goes. Several connections lock each
/// other out as processes do. What would be on the medium had the power gone before a step says `survivors`; a second
/// disk made of that is what the system finds when the power is back.
/// While a disk lives SQLite's own randomness, the process's, is seeded too, so that runs repeat.
/// Cost: what is written is kept until the disk goes.
/// Threads: the caller serialises whatever touches the disk.
class sqlite_disk {
public:
    explicit sqlite_disk(sqlite_disk_options const& options = {}, sqlite_disk_image const& files = {})
        : options_(options), initial_(files) {
        SYNCLINE_ASSERT(valid(options));
        for (auto const& [name, data] : files) {
            auto const f = std::make_shared<file>();
            f->number = files_++;
            f->data = data;
            names_[name] = f;
        }
        register_vfs();
    }
    sqlite_disk(sqlite_disk const&) = delete;
    sqlite_disk& operator=(sqlite_disk const&) = delete;
    ~sqlite_disk() {
        SYNCLINE_ASSERT(open_ == 0);
        sqlite3_vfs_unregister(&vfs_);
    }

    /// The name of the VFS, while the disk lives.
    [[nodiscard]] char const* vfs() const noexcept { return name_.c_str(); }
    [[nodiscard]] sqlite_disk_options const& options() const noexcept { return options_; }

    /// How many changes there were so far.
    [[nodiscard]] std::uint64_t steps() const noexcept { return steps_.size(); }
    /// What the power loss leaves that comes before that step (`steps()`: now): everything that was synced, and of the
    /// rest what the seed chooses. Cost: replays all changes; `sqlite_disk_replay` goes on from where it was.
    [[nodiscard]] sqlite_disk_image survivors(std::uint64_t step, std::uint64_t seed) const;
    /// What is there while the power is on: what a process that is killed leaves.
    [[nodiscard]] sqlite_disk_image files() const {
        sqlite_disk_image all;
        for (auto const& [name, f] : names_) { all[name] = f->data; }
        return all;
    }
    /// The names that were opened as databases (not as journals or logs).
    [[nodiscard]] std::vector<std::string> const& databases() const noexcept { return databases_; }

    /// Makes a call fail.
    void inject(sqlite_disk_fault const& f) {
        fault_ = f;
        seen_ = 0;
    }
    /// Nothing fails any more.
    void heal() { fault_.reset(); }
    /// How many calls of a kind there were; with one injected since then, counted from there.
    [[nodiscard]] std::uint64_t calls(sqlite_disk_call c) const noexcept {
        return counts_[static_cast<std::size_t>(c)];
    }
    /// How many bytes the disk holds; writing more fails, until files shrink or go or there is more room.
    void set_room(std::uint64_t bytes_max) noexcept { room_ = bytes_max; }
    [[nodiscard]] std::uint64_t used() const noexcept {
        std::uint64_t sum = 0;
        for (auto const& [name, f] : names_) { sum += f->data.size(); }
        return sum;
    }

private:
    friend class sqlite_disk_replay;
    using file = detail::sqlite_disk_file;
    using change = detail::sqlite_disk_step;

    /// What SQLite allocates for an open file; the first member is its part.
    struct handle {
        sqlite3_file base;
        sqlite_disk* disk;
        std::shared_ptr<file> of;
        int level;
        int flags;
        bool sync_folder;
        bool mapped;
        std::string goes_at_close;
        std::array<bool, SQLITE_SHM_NLOCK> shares;
    };
    static handle& self(sqlite3_file* f) noexcept { return *reinterpret_cast<handle*>(f); }
    static sqlite_disk& disk(sqlite3_vfs* v) noexcept { return *static_cast<sqlite_disk*>(v->pAppData); }

    void register_vfs() {
        static std::atomic<std::uint64_t> made{0};
        name_ = "syncline-disk-" + std::to_string(++made);
        sqlite3_initialize();
        vfs_.iVersion = 2;
        vfs_.szOsFile = static_cast<int>(sizeof(handle));
        vfs_.mxPathname = 512;
        vfs_.zName = name_.c_str();
        vfs_.pAppData = this;
        vfs_.xOpen = [](sqlite3_vfs* v, char const* name, sqlite3_file* f, int flags, int* out) {
            return disk(v).open(name, f, flags, out);
        };
        vfs_.xDelete = [](sqlite3_vfs* v, char const* name, int sync) { return disk(v).remove(name, sync != 0); };
        vfs_.xAccess = [](sqlite3_vfs* v, char const* name, int flags, int* out) {
            auto const at = disk(v).names_.find(name);
            bool const there = at != disk(v).names_.end();
            // As on Unix, an empty file is none to who asks whether it exists.
            *out = there && (flags != SQLITE_ACCESS_EXISTS || !at->second->data.empty()) ? 1 : 0;
            return SQLITE_OK;
        };
        vfs_.xFullPathname = [](sqlite3_vfs*, char const* name, int room, char* out) {
            std::size_t const n = std::strlen(name);
            if (n + 1 > static_cast<std::size_t>(room)) { return SQLITE_CANTOPEN; }
            std::memcpy(out, name, n + 1);
            return SQLITE_OK;
        };
        vfs_.xRandomness = [](sqlite3_vfs*, int n, char* out) {
            std::memset(out, 1, static_cast<std::size_t>(n));
            return n;
        };
        vfs_.xSleep = [](sqlite3_vfs*, int microseconds) { return microseconds; };
        vfs_.xCurrentTime = [](sqlite3_vfs*, double* out) {
            *out = 2'460'000.5;
            return SQLITE_OK;
        };
        vfs_.xGetLastError = [](sqlite3_vfs*, int, char*) { return 0; };
        vfs_.xCurrentTimeInt64 = [](sqlite3_vfs*, sqlite3_int64* out) {
            *out = sqlite3_int64{2'460'000} * 86'400'000 + 43'200'000;
            return SQLITE_OK;
        };
        int const registered = sqlite3_vfs_register(&vfs_, 0);
        SYNCLINE_ASSERT(registered == SQLITE_OK);
        static_cast<void>(registered);
#if defined(SQLITE_TESTCTRL_PRNG_SEED)
        // Another one for each image: what is drawn twice, a journal's nonce say, makes old records pass for new ones.
        std::uint64_t seed = 0;
        for (auto const& [name, data] : initial_) { seed = splitmix64(seed ^ crc32c(data))(); }
        sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, static_cast<int>(seed & 0x7FFFFFFE) + 1,
                             static_cast<sqlite3*>(nullptr));
#endif
    }

    [[nodiscard]] static sqlite3_io_methods const* methods() noexcept {
        static constexpr sqlite3_io_methods all = {
            2,
            [](sqlite3_file* f) { return self(f).disk->close(self(f)); },
            [](sqlite3_file* f, void* to, int n, sqlite3_int64 at) {
                return self(f).disk->read(self(f), static_cast<std::byte*>(to), static_cast<std::size_t>(n),
                                          static_cast<std::size_t>(at));
            },
            [](sqlite3_file* f, void const* from, int n, sqlite3_int64 at) {
                return self(f).disk->write(self(f), {static_cast<std::byte const*>(from), static_cast<std::size_t>(n)},
                                           static_cast<std::size_t>(at));
            },
            [](sqlite3_file* f, sqlite3_int64 size) {
                return self(f).disk->truncate(self(f), static_cast<std::size_t>(size));
            },
            [](sqlite3_file* f, int) { return self(f).disk->sync(self(f)); },
            [](sqlite3_file* f, sqlite3_int64* out) {
                *out = static_cast<sqlite3_int64>(self(f).of->data.size());
                return SQLITE_OK;
            },
            [](sqlite3_file* f, int level) { return lock(self(f), level); },
            [](sqlite3_file* f, int level) { return unlock(self(f), level); },
            [](sqlite3_file* f, int* out) {
                *out = self(f).of->reserved != nullptr || self(f).of->exclusive != nullptr ? 1 : 0;
                return SQLITE_OK;
            },
            [](sqlite3_file*, int what, void* out) {
                if (what != SQLITE_FCNTL_HAS_MOVED) { return SQLITE_NOTFOUND; }
                *static_cast<int*>(out) = 0;
                return SQLITE_OK;
            },
            [](sqlite3_file* f) { return static_cast<int>(self(f).disk->options_.sector_bytes); },
            [](sqlite3_file* f) {
                return self(f).disk->options_.powersafe_overwrite ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
            },
            [](sqlite3_file* f, int page, int size, int extend, void volatile** out) {
                return map(self(f), static_cast<std::size_t>(page), static_cast<std::size_t>(size), extend != 0, out);
            },
            [](sqlite3_file* f, int from, int n, int flags) { return lock_slots(self(f), from, n, flags); },
            [](sqlite3_file*) { std::atomic_thread_fence(std::memory_order_seq_cst); },
            [](sqlite3_file* f, int) { return unmap(self(f)); },
            nullptr,  // no memory-mapped reading
            nullptr,
        };
        return &all;
    }

    /// Whether this call is to fail.
    [[nodiscard]] bool fails(sqlite_disk_call c) noexcept {
        ++counts_[static_cast<std::size_t>(c)];
        if (!fault_ || (fault_->only && *fault_->only != c)) { return false; }
        ++seen_;
        return fault_->sticky ? seen_ >= fault_->nth : seen_ == fault_->nth;
    }
    void record(file const& f, change s) {
        if (!f.recorded) { return; }
        s.file = f.number;
        steps_.push_back(std::move(s));
    }

    int open(char const* name, sqlite3_file* out, int flags, int* out_flags) {
        handle* const h = ::new (static_cast<void*>(out)) handle{};
        auto const give_up = [h](int code) {
            h->~handle();
            h->base.pMethods = nullptr;
            return code;
        };
        if (fails(sqlite_disk_call::open)) { return give_up(SQLITE_CANTOPEN); }
        h->disk = this;
        h->flags = flags;
        if (name == nullptr) {
            h->of = std::make_shared<file>();
            h->of->recorded = false;
        } else if (auto const at = names_.find(name); at != names_.end()) {
            h->of = at->second;
        } else if ((flags & SQLITE_OPEN_CREATE) != 0) {
            h->of = std::make_shared<file>();
            h->of->number = files_++;
            names_[name] = h->of;
            record(*h->of, {.what = change::kind::create, .name = name});
            // SQLite's VFS for Unix syncs the folder with the first sync of a new journal or log, but not of a database.
            h->sync_folder = (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL | SQLITE_OPEN_SUPER_JOURNAL)) != 0;
        } else {
            return give_up(SQLITE_CANTOPEN);
        }
        if (name != nullptr && (flags & SQLITE_OPEN_DELETEONCLOSE) != 0) { h->goes_at_close = name; }
        if ((flags & SQLITE_OPEN_MAIN_DB) != 0 && name != nullptr &&
            std::find(databases_.begin(), databases_.end(), name) == databases_.end()) {
            databases_.emplace_back(name);
        }
        if (out_flags != nullptr) { *out_flags = flags; }
        h->base.pMethods = methods();
        ++open_;
        return SQLITE_OK;
    }
    int close(handle& h) {
        unlock(h, SQLITE_LOCK_NONE);
        unmap(h);
        if (!h.goes_at_close.empty()) { forget(h.goes_at_close); }
        --open_;
        h.~handle();
        return SQLITE_OK;
    }
    void forget(std::string const& name) {
        auto const at = names_.find(name);
        if (at == names_.end()) { return; }
        record(*at->second, {.what = change::kind::remove, .name = name});
        names_.erase(at);
    }
    int remove(char const* name, bool sync_folder) {
        if (fails(sqlite_disk_call::remove)) { return SQLITE_IOERR_DELETE; }
        if (names_.count(name) == 0) { return SQLITE_IOERR_DELETE_NOENT; }
        forget(name);
        if (sync_folder && options_.honest_sync) { steps_.push_back({.what = change::kind::sync_folder}); }
        return SQLITE_OK;
    }

    int read(handle& h, std::byte* to, std::size_t n, std::size_t at) {
        if (fails(sqlite_disk_call::read)) { return SQLITE_IOERR_READ; }
        bytes const& data = h.of->data;
        std::size_t const there = at < data.size() ? (std::min)(n, data.size() - at) : 0;
        if (there != 0) { std::memcpy(to, data.data() + at, there); }
        if (there == n) { return SQLITE_OK; }
        std::memset(to + there, 0, n - there);
        return SQLITE_IOERR_SHORT_READ;
    }
    int write(handle& h, bytes_view from, std::size_t at) {
        bytes& data = h.of->data;
        bool const failed = fails(sqlite_disk_call::write);
        if (failed) { from = from.first(from.size() / 2); }
        if (at + from.size() > data.size()) {
            if (h.of->recorded && used() + (at + from.size() - data.size()) > room_) { return SQLITE_FULL; }
            data.resize(at + from.size());
        }
        if (!from.empty()) {
            std::memcpy(data.data() + at, from.data(), from.size());
            record(*h.of, {.what = change::kind::write, .offset = at, .data = to_bytes(from)});
        }
        return failed ? SQLITE_IOERR_WRITE : SQLITE_OK;
    }
    int truncate(handle& h, std::size_t size) {
        if (fails(sqlite_disk_call::truncate)) { return SQLITE_IOERR_TRUNCATE; }
        if (size == h.of->data.size()) { return SQLITE_OK; }
        h.of->data.resize(size);
        record(*h.of, {.what = change::kind::truncate, .offset = size});
        return SQLITE_OK;
    }
    int sync(handle& h) {
        if (fails(sqlite_disk_call::sync)) {
            record(*h.of, {.what = change::kind::failed_sync});
            return SQLITE_IOERR_FSYNC;
        }
        if (!options_.honest_sync) { return SQLITE_OK; }
        record(*h.of, {.what = change::kind::sync});
        if (h.sync_folder) {
            h.sync_folder = false;
            steps_.push_back({.what = change::kind::sync_folder});
        }
        return SQLITE_OK;
    }

    static int lock(handle& h, int level) {
        file& f = *h.of;
        if (h.level >= level) { return SQLITE_OK; }
        auto const anothers = [&h](void const* who) { return who != nullptr && who != &h; };
        if (level == SQLITE_LOCK_SHARED) {
            if (anothers(f.pending) || anothers(f.exclusive)) { return SQLITE_BUSY; }
            ++f.shared;
            h.level = level;
            return SQLITE_OK;
        }
        if (anothers(f.reserved) || anothers(f.pending) || anothers(f.exclusive)) { return SQLITE_BUSY; }
        if (level == SQLITE_LOCK_RESERVED) {
            f.reserved = &h;
            h.level = level;
            return SQLITE_OK;
        }
        f.pending = &h;
        if (f.shared > 1) {
            h.level = SQLITE_LOCK_PENDING;
            return SQLITE_BUSY;
        }
        f.exclusive = &h;
        h.level = level;
        return SQLITE_OK;
    }
    static int unlock(handle& h, int level) {
        file& f = *h.of;
        if (h.level <= level) { return SQLITE_OK; }
        for (void const** who : {&f.reserved, &f.pending, &f.exclusive}) {
            if (*who == &h) { *who = nullptr; }
        }
        if (level == SQLITE_LOCK_NONE && h.level >= SQLITE_LOCK_SHARED) { --f.shared; }
        h.level = level;
        return SQLITE_OK;
    }

    static int map(handle& h, std::size_t page, std::size_t size, bool extend, void volatile** out) {
        file& f = *h.of;
        if (!h.mapped) {
            h.mapped = true;
            ++f.mappings;
        }
        *out = nullptr;
        if (page >= f.regions.size()) {
            if (!extend) { return SQLITE_OK; }
            while (page >= f.regions.size()) { f.regions.push_back(std::make_unique<bytes>(size)); }
        }
        *out = f.regions[page]->data();
        return SQLITE_OK;
    }
    static int lock_slots(handle& h, int from, int n, int flags) {
        file& f = *h.of;
        auto const first = static_cast<std::size_t>(from);
        std::size_t const last = first + static_cast<std::size_t>(n);
        bool const shared = (flags & SQLITE_SHM_SHARED) != 0;
        if ((flags & SQLITE_SHM_UNLOCK) != 0) {
            for (std::size_t i = first; i < last; ++i) {
                if (std::exchange(h.shares[i], false)) { --f.slots_shared[i]; }
                if (f.slots_exclusive[i] == &h) { f.slots_exclusive[i] = nullptr; }
            }
            return SQLITE_OK;
        }
        for (std::size_t i = first; i < last; ++i) {
            bool const taken = f.slots_exclusive[i] != nullptr && f.slots_exclusive[i] != &h;
            bool const read = f.slots_shared[i] > (h.shares[i] ? 1U : 0U);
            if (taken || (!shared && read)) { return SQLITE_BUSY; }
        }
        for (std::size_t i = first; i < last; ++i) {
            if (!shared) {
                f.slots_exclusive[i] = &h;
            } else if (!std::exchange(h.shares[i], true)) {
                ++f.slots_shared[i];
            }
        }
        return SQLITE_OK;
    }
    static int unmap(handle& h) {
        lock_slots(h, 0, SQLITE_SHM_NLOCK, SQLITE_SHM_UNLOCK);
        if (!h.mapped) { return SQLITE_OK; }
        h.mapped = false;
        // The next who comes finds none, and makes it from the log, as after the last process went.
        if (--h.of->mappings == 0) { h.of->regions.clear(); }
        return SQLITE_OK;
    }

    sqlite_disk_options options_;
    sqlite_disk_image initial_;
    sqlite3_vfs vfs_{};
    std::string name_;
    std::map<std::string, std::shared_ptr<file>> names_;
    std::vector<change> steps_;
    std::vector<std::string> databases_;
    std::optional<sqlite_disk_fault> fault_;
    std::array<std::uint64_t, sqlite_disk_call_count> counts_{};
    std::uint64_t seen_ = 0;
    std::uint64_t room_ = (std::numeric_limits<std::uint64_t>::max)();
    std::uint32_t files_ = 0;
    std::uint32_t open_ = 0;
};

/// Replays what a disk recorded, step by step, and says what would survive a power loss between two of them.
///
/// What counts as surviving: of each file everything as of its last sync, its size too. Of what was written since, each
/// sector for itself: as synced, or as after any of the writes since, or torn within the last of them; the size for
/// itself, so that a file may have grown without its content. Of names everything as of the last sync of the folder,
/// and each name for itself as after any creation or deletion since, so that a deleted journal may be back.
/// Source: https://www.sqlite.org/atomiccommit.html, sections 2 and 9; what SQLite's own crash tests do (test6.c).
class sqlite_disk_replay {
public:
    /// The disk has to outlive it.
    explicit sqlite_disk_replay(sqlite_disk const& d) : disk_(&d), sector_(d.options_.sector_bytes) {
        std::uint32_t number = 0;
        for (auto const& [name, data] : d.initial_) {
            files_[number].visible = data;
            files_[number].durable = data;
            names_[name] = {static_cast<std::int64_t>(number++)};
        }
    }

    /// Before which step it stands.
    [[nodiscard]] std::uint64_t step() const noexcept { return at_; }
    /// Goes on to stand before that step. Precondition: not behind step(), and not beyond the disk's steps.
    void advance(std::uint64_t step) {
        SYNCLINE_ASSERT(step >= at_ && step <= disk_->steps());
        for (; at_ < step; ++at_) { apply(disk_->steps_[static_cast<std::size_t>(at_)]); }
    }

    /// What survives. Seeds choose among kinds of power losses too, from nothing unsynced to all of it: try some ten.
    [[nodiscard]] sqlite_disk_image survivors(std::uint64_t seed) const {
        random_generator random(seed);
        choice const how = choose(random);
        sqlite_disk_image out;
        std::map<std::uint32_t, bytes> made;
        for (auto const& [name, history] : names_) {
            std::int64_t const number = history[pick(random, how, history.size())];
            if (number < 0) { continue; }
            auto const at = static_cast<std::uint32_t>(number);
            if (made.count(at) == 0) { made[at] = content(files_.at(at), how, random); }
            out[name] = made[at];
        }
        return out;
    }
    /// Whether anything is not synced, so that seeds differ.
    [[nodiscard]] bool unsynced() const noexcept {
        for (auto const& [name, history] : names_) {
            if (history.size() > 1) { return true; }
        }
        return std::any_of(files_.begin(), files_.end(), [](auto const& f) { return !f.second.unsynced.empty(); });
    }

private:
    using kind = detail::sqlite_disk_step::kind;

    /// A sector after a write: all of it, and which part the write was about.
    struct version {
        bytes data;
        std::size_t from = 0;
        std::size_t to = 0;
    };
    /// What was written since the last sync or truncation, and the truncation that ended it.
    struct stretch {
        std::vector<std::size_t> sizes{};                       // that the file grew to
        std::map<std::size_t, std::vector<version>> sectors{};  // by number
        std::optional<std::size_t> truncated{};
    };
    struct file {
        bytes visible{};                  // what is read while the power is on
        bytes durable{};                  // what is certain
        std::vector<stretch> unsynced{};  // in order; only the last was not ended by a truncation
    };
    struct choice {
        unsigned latest = 50;      // per cent of what was not synced is as written last
        unsigned oldest = 50;      // per cent of the rest is as synced; what is left is anything in between
        unsigned torn = 0;         // per cent of the sectors that are not as synced
        bool whole_files = false;  // all or nothing of a file
        bool sizes_first = false;  // files have grown, and their content has not come
        bool rubbish = false;      // what was never written is not zero
    };
    [[nodiscard]] choice choose(random_generator& random) const {
        choice c;
        switch (below(random, 8)) {
            case 0: c = {.latest = 0, .oldest = 100}; break;
            case 1: c = {.latest = 100, .oldest = 100}; break;
            case 2: c = {.latest = 90, .oldest = 100}; break;
            case 3: c = {.latest = 10, .oldest = 80}; break;
            case 4: c.whole_files = true; break;
            case 5: c = {.latest = 20, .oldest = 90, .sizes_first = true, .rubbish = true}; break;
            case 6: c = {.latest = 95, .oldest = 50, .torn = 30}; break;
            default: c.torn = 20;
        }
        c.rubbish = c.rubbish || below(random, 4) == 0;
        if (!disk_->options_.torn_sectors) { c.torn = 0; }
        return c;
    }
    static bool chance(random_generator& random, unsigned percent) { return below(random, 100) < percent; }
    /// Of so many versions, the first synced, the last written last. Precondition: n > 0.
    static std::size_t pick(random_generator& random, choice const& c, std::size_t n) {
        if (n == 1 || chance(random, c.latest)) { return n - 1; }
        if (n == 2 || chance(random, c.oldest)) { return 0; }
        return 1 + static_cast<std::size_t>(below(random, n - 2));
    }

    [[nodiscard]] bytes content(file const& f, choice c, random_generator& random) const {
        if (c.whole_files) {
            c.latest = chance(random, 50) ? 100 : 0;
            c.oldest = 100;
        }
        bytes out = f.durable;
        for (stretch const& part : f.unsynced) {
            std::size_t const chosen = c.sizes_first ? part.sizes.size() : pick(random, c, part.sizes.size() + 1);
            std::size_t const before = out.size();
            if (chosen != 0) { out.resize((std::max)(before, part.sizes[chosen - 1])); }
            if (c.rubbish) { fill(random, std::span<std::byte>(out).subspan(before)); }
            for (auto const& [number, versions] : part.sectors) {
                std::size_t const n = pick(random, c, versions.size() + 1);
                std::size_t const at = number * sector_;
                if (n == 0 || at >= out.size()) { continue; }
                bytes data = versions[n - 1].data;
                std::size_t const room = (std::min)(sector_, out.size() - at);
                if (chance(random, c.torn)) {
                    bytes old(sector_);
                    std::memcpy(old.data(), out.data() + at, room);
                    tear(data, n > 1 ? versions[n - 2].data : old, versions[n - 1], random);
                }
                std::memcpy(out.data() + at, data.data(), room);
            }
            // A truncation is one change, and leaves nothing half.
            if (part.truncated && (c.sizes_first || chance(random, c.latest))) { out.resize(*part.truncated); }
        }
        return out;
    }
    /// New up to some byte, and old or rubbish after it.
    void tear(bytes& data, bytes const& before, version const& v, random_generator& random) const {
        bool const safe = disk_->options_.powersafe_overwrite;
        std::size_t const from = safe ? v.from : 0;
        std::size_t const to = safe ? v.to : data.size();
        if (from >= to) { return; }
        std::size_t const upto = from + static_cast<std::size_t>(below(random, to - from));
        if (chance(random, 60)) {
            std::copy(before.begin() + static_cast<std::ptrdiff_t>(upto),
                      before.begin() + static_cast<std::ptrdiff_t>(to),
                      data.begin() + static_cast<std::ptrdiff_t>(upto));
        } else {
            fill(random, std::span<std::byte>(data).subspan(upto, to - upto));
        }
    }

    void apply(detail::sqlite_disk_step const& s) {
        switch (s.what) {
            case kind::create:
                files_[s.file];
                history(s.name).push_back(static_cast<std::int64_t>(s.file));
                break;
            case kind::remove: history(s.name).push_back(-1); break;
            case kind::sync_folder:
                for (auto& [name, all] : names_) { all = {all.back()}; }
                break;
            case kind::write: write(files_[s.file], s.offset, s.data); break;
            case kind::truncate: truncate(files_[s.file], s.offset); break;
            case kind::sync: sync(files_[s.file]); break;
            case kind::failed_sync: files_[s.file].unsynced.clear();
        }
    }
    std::vector<std::int64_t>& history(std::string const& name) {
        auto& all = names_[name];
        if (all.empty()) { all.push_back(-1); }
        return all;
    }
    static stretch& latest(file& f) {
        if (f.unsynced.empty() || f.unsynced.back().truncated) { f.unsynced.emplace_back(); }
        return f.unsynced.back();
    }
    void write(file& f, std::uint64_t offset, bytes const& data) {
        auto const at = static_cast<std::size_t>(offset);
        std::size_t const end = at + data.size();
        if (end > f.visible.size()) {
            f.visible.resize(end);
            latest(f).sizes.push_back(end);
        }
        std::memcpy(f.visible.data() + at, data.data(), data.size());
        for (std::size_t number = at / sector_; number * sector_ < end; ++number) {
            std::size_t const begin = number * sector_;
            version v{bytes(sector_), at > begin ? at - begin : 0, (std::min)(end - begin, sector_)};
            std::memcpy(v.data.data(), f.visible.data() + begin, (std::min)(sector_, f.visible.size() - begin));
            latest(f).sectors[number].push_back(std::move(v));
        }
    }
    static void truncate(file& f, std::uint64_t size) {
        f.visible.resize(static_cast<std::size_t>(size));
        latest(f).truncated = f.visible.size();
    }
    /// What was not written since a sync that failed stays as it was, and what was is now certain.
    void sync(file& f) {
        for (stretch const& part : f.unsynced) {
            if (part.truncated) { f.durable.resize((std::min)(f.durable.size(), *part.truncated)); }
        }
        f.durable.resize(f.visible.size());
        for (stretch const& part : f.unsynced) {
            for (auto const& [number, versions] : part.sectors) {
                std::size_t const at = number * sector_;
                if (at >= f.visible.size()) { continue; }
                std::memcpy(f.durable.data() + at, f.visible.data() + at, (std::min)(sector_, f.visible.size() - at));
            }
        }
        f.unsynced.clear();
    }

    sqlite_disk const* disk_;
    std::size_t sector_;
    std::uint64_t at_ = 0;
    std::map<std::uint32_t, file> files_;
    std::map<std::string, std::vector<std::int64_t>> names_;  // whose files a name was, -1 none; the first is certain
};

inline sqlite_disk_image sqlite_disk::survivors(std::uint64_t step, std::uint64_t seed) const {
    sqlite_disk_replay replay(*this);
    replay.advance(step);
    return replay.survivors(seed);
}

/// What SQLite finds wrong with the databases on a disk; empty when nothing. Source: PRAGMA integrity_check.
[[nodiscard]] inline std::string integrity_of(sqlite_disk& d) {
    std::string wrong;
    std::vector<std::string> const names = d.databases();
    for (std::string const& name : names) {
        sqlite3* db = nullptr;
        sqlite3_stmt* q = nullptr;
        int rc = sqlite3_open_v2(name.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, d.vfs());
        if (rc == SQLITE_OK) { rc = sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &q, nullptr); }
        if (rc == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW) {
            auto const* const text = reinterpret_cast<char const*>(sqlite3_column_text(q, 0));
            std::string const said = text == nullptr ? "no memory" : text;
            if (said != "ok") { wrong += name + ": " + said + '\n'; }
        } else {
            wrong += name + ": " + (db == nullptr ? "no memory" : sqlite3_errmsg(db)) + '\n';
        }
        sqlite3_finalize(q);
        sqlite3_close(db);
    }
    return wrong;
}

/// How much `power_cuts` tries.
struct power_cut_options {
    std::uint64_t seed = 1;
    std::uint32_t transactions = 30;     ///< of `commit_workload`, with a barrier after every eighth or so
    std::uint32_t survivors = 6;         ///< choices of what survives, at each step of the disk
    std::uint32_t cuts_in_recovery = 1;  ///< of each: once more while the store is opened again; 0 for none
    /// Judge the store as if its commits said so, and not by what they say.
    std::optional<durability> promised{};
    sqlite_disk_options disk{};
};

/// What came of it.
struct power_cut_report {
    std::vector<violation> found{};  ///< the first few of each kind, with step and seed
    std::uint64_t broken = 0;        ///< how many power losses broke something
    std::uint64_t steps = 0;         ///< of the disk, before each of which the power went
    std::uint64_t cuts = 0;          ///< power losses
    std::uint64_t recoveries = 0;    ///< of them, while the store was being opened after another
    std::uint64_t lost = 0;  ///< of them, how many lost a commit that had succeeded, and was not promised to last
    std::uint64_t kept = 0;  ///< of them, how many kept a commit whose success nobody had heard of
};

namespace detail {

template <class Open>
class power_cutter {
    using opened = std::invoke_result_t<Open&, char const*>;
    using store = typename opened::value_type;
    static_assert(storage<store>, "open(vfs) gives a result of a storage");

public:
    power_cutter(Open& open, power_cut_options const& options) : open_(open), options_(options) {}

    [[nodiscard]] power_cut_report run() {
        sqlite_disk disk(options_.disk);
        if (!work(disk)) { return std::move(report_); }
        report_.steps = disk.steps();
        sqlite_disk_replay replay(disk);
        for (std::uint64_t step = 0; step <= disk.steps(); ++step) {
            replay.advance(step);
            std::uint32_t const choices = replay.unsynced() ? options_.survivors : 1;
            for (std::uint32_t i = 0; i < choices; ++i) {
                std::uint64_t const seed = splitmix64(options_.seed * 1'000'003 + step * 1'009 + i)();
                ++report_.cuts;
                // The more cuts in recovery the rarer, as each is a whole power loss of its own.
                cut(replay.survivors(seed), step, seed, i == 0 ? options_.cuts_in_recovery : 0);
            }
        }
        return std::move(report_);
    }

private:
    void report(std::string axiom, std::string what) {
        ++report_.broken;
        std::size_t same = 0;
        for (violation const& v : report_.found) { same += v.axiom == axiom ? 1 : 0; }
        if (same < 3) { report_.found.push_back({std::move(axiom), std::move(what)}); }
    }

    /// The transactions, on a disk whose power stays on.
    [[nodiscard]] bool work(sqlite_disk& disk) {
        auto s = open_(disk.vfs());
        if (!s) {
            report("durability", std::string("a new store does not open: ") + message(s.error().code));
            return false;
        }
        commit_workload workload(options_.seed);
        for (std::uint32_t i = 0; i < options_.transactions; ++i) {
            durability const said = options_.promised ? *options_.promised : s->commit_durability();
            none_ = none_ || said == durability::none;
            std::uint64_t const before = disk.steps();  // a big transaction writes before its commit
            auto tx = s->begin(access_mode::write);
            status done = tx ? workload.write(*tx) : status{tx.error()};
            history_.begins(before, said, workload.content());
            if (done) { done = tx->commit(); }
            if (!done) {
                report("atomicity", std::string("a transaction fails: ") + message(done.error().code));
                return false;
            }
            history_.answered(disk.steps());
            if (workload.dice(8) == 0) {
                if (status const b = s->barrier(); !b) {
                    report("durability", std::string("a barrier fails: ") + message(b.error().code));
                    return false;
                }
                history_.barrier(disk.steps());
            }
        }
        return true;
    }

    void cut(sqlite_disk_image const& image, std::uint64_t step, std::uint64_t seed, std::uint32_t more) {
        std::string const where = "power lost before step " + std::to_string(step) + ", seed " + std::to_string(seed);
        sqlite_disk disk(options_.disk, image);
        store_content found;
        if (!look(disk, step, where, found)) { return; }
        if (auto const v = history_.judge(found, step); v) {
            report(v->axiom, where + ": " + v->what);
            return;
        }
        if (auto const at = history_.position(found, step); at) {
            // What is recorded as answered at this step was answered before the power went.
            report_.lost += *at < history_.answered_by(step) ? 1 : 0;
            report_.kept += *at > history_.answered_by(step) ? 1 : 0;
        }
        // What a store shows after a power loss has to stay when the power goes again while it recovers.
        if (none_) { return; }
        for (std::uint32_t i = 0; i < more && disk.steps() != 0; ++i) {
            std::uint64_t const again = splitmix64(seed + i + 1)();
            std::uint64_t const at = again % (disk.steps() + 1);
            ++report_.cuts;
            ++report_.recoveries;
            std::string const there = where + ", and again before step " + std::to_string(at) + " of the recovery";
            sqlite_disk second(options_.disk, disk.survivors(at, again));
            store_content now;
            if (look(second, step, there, now) && now != found) {
                report("durability", there + ": it holds other than after the first time");
                return;
            }
        }
    }
    /// Opens what is there, and reads it. False when it is damaged, which is reported unless nothing was promised.
    [[nodiscard]] bool look(sqlite_disk& disk, std::uint64_t step, std::string const& where, store_content& found) {
        std::string const wrong = damage(disk, found);
        if (!wrong.empty() && history_.promises(step)) { report("durability", where + ": " + wrong); }
        return wrong.empty();
    }
    [[nodiscard]] std::string damage(sqlite_disk& disk, store_content& found) {
        {
            auto s = open_(disk.vfs());
            if (!s) { return std::string("it does not open: ") + message(s.error().code); }
            auto now = read_content(*s);
            if (!now) { return std::string("it can't be read: ") + message(now.error().code); }
            found = std::move(*now);
        }
        std::string const wrong = integrity_of(disk);
        return wrong.substr(0, wrong.find('\n'));
    }

    Open& open_;
    power_cut_options options_;
    commit_history history_;
    power_cut_report report_;
    bool none_ = false;  // some commit was promised nothing, so the recovery isn't either
};

}  // namespace detail

/// Loses the power of a store over SQLite at every step that it makes a disk do, and looks at what is left each time.
///
/// `open(vfs)` gives a `result` of a storage on a database in that VFS, as `sqlite_storage::open` does with the option
/// `vfs`; it is called for a new disk first, then for what each power loss left. Random transactions run once; then,
/// for each step and some choices of what survives, the store is opened and must be undamaged (integrity_check), and
/// hold what a number of whole commits makes: all that were promised to last, by `durability::full` or a barrier.
/// The same seed does the same. `REQUIRE(to_text(power_cuts(open).found) == "")`, or print it.
/// Cost: with the options as they are some thousand power losses, about a second.
template <class Open>
[[nodiscard]] power_cut_report power_cuts(Open&& open, power_cut_options const& options = {}) {
    return detail::power_cutter<std::remove_reference_t<Open>>(open, options).run();
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
