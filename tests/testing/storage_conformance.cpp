// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/storage_conformance.hpp>

#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <syncline/storage/memory.hpp>
#include <syncline/testing/faulty_storage.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

/// What is wrong with a model, on purpose.
enum class defect {
    none,
    // read_your_writes
    stale_get,
    stale_scan,
    shared_buffer,
    letters_of_one_case,
    no_space_at_the_end,
    middling_keys_cut,
    stopped_scan_kept,
    // order
    descending,
    signed_bytes,
    unstoppable,
    closed_range,
    once_more,
    stale_bound,
    short_scan,
    // limits
    long_key,
    empty_value,
    erase_absent,
    writable_reader,
    short_values,
    ends_on_refusal,
    // atomicity
    leaky_rollback,
    torn_commit,
    commit_of_the_moved,
    short_commit,
    short_column,
    shorter_column,
    middling_keys_lost,
    odd_size_cut,
    one_size_cut,
    loser_keeps_half,
    one_key_lost,
    // isolation
    last_writer_wins,
    dirty_read,
    moving_reader,
    write_skew,
    phantoms,
    phantoms_between_keys,
    phantoms_after_a_stop,
    phantoms_of_erased_keys,
    wrong_code,
    // one_open
    many_open,
    begin_ends_the_open_one,
    slot_lost_with_each_drop,
    // durability
    forgetful,
    uncommitted_kept,
    barrier_fails,
    // durability, at power loss
    loses_full,
    loses_large,
    loses_long,
    loses_thousands,
    loses_each_sixteenth,
    loses_the_first_after_recovery,
    recovers_in_memory,
    idle_barrier,
    goes_back,
    // atomicity, at power loss
    out_of_order,
    half_kept,
    tail_comes_alive,
    rolled_back_comes_alive,
    long_keys_cut_in_the_log,
    // none: sound
    late_snapshot,
};

struct signed_less {
    bool by_sign = false;
    bool operator()(bytes const& a, bytes const& b) const {
        if (!by_sign) { return a < b; }
        return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](std::byte x, std::byte y) {
            return static_cast<signed char>(x) < static_cast<signed char>(y);
        });
    }
};
using table = std::map<bytes, bytes, signed_less>;

/// What the objects on one store share. Optimistic: a commit fails when another came between.
struct shared_table {
    table data;
    table last;     // before the last commit
    table written;  // by anyone, committed or not
    std::uint64_t version = 0;
    std::map<bytes, std::uint64_t> versions;
    std::vector<table> commits;  // the data after each, as the medium has it
    std::size_t synced = 0;      // so many of them are on the medium for sure
    durability promise = durability::none;
    table opened;                // what the medium held when it was opened
    std::map<bytes, bytes> log;  // what was written and not committed, and is in the log all the same
    bool recovered = false;      // the power has gone before
};

/// A naive model of `storage`: every transaction works on a copy of all that there is.
template <defect D>
class naive_storage {
    static constexpr bool is(defect d) { return D == d; }

public:
    class transaction {
    public:
        transaction(transaction&& o) noexcept
            : owner_(std::exchange(o.owner_, nullptr)),
              access_(o.access_),
              version_(o.version_),
              before_(o.before_),
              draft_(o.draft_),
              touched_(o.touched_),
              has_read_(o.has_read_),
              read_keys_(o.read_keys_),
              read_ranges_(o.read_ranges_),
              stopped_at_(o.stopped_at_) {
            if (owner_ != nullptr && owner_->open_ == &o) { owner_->open_ = this; }
            if (is(defect::commit_of_the_moved)) { draft_ = before_; }
        }
        transaction& operator=(transaction&& o) noexcept {
            finish();
            owner_ = std::exchange(o.owner_, nullptr);
            if (owner_ != nullptr && owner_->open_ == &o) { owner_->open_ = this; }
            access_ = o.access_;
            version_ = o.version_;
            before_ = o.before_;
            draft_ = o.draft_;
            touched_ = o.touched_;
            has_read_ = o.has_read_;
            read_keys_ = o.read_keys_;
            read_ranges_ = o.read_ranges_;
            stopped_at_ = o.stopped_at_;
            return *this;
        }
        ~transaction() { finish(); }

        result<bool> get(bytes_view key, bytes& out) {
            out.clear();
            if (!fits(key)) { return errc::invalid; }
            table const& from = is(defect::stale_get) ? before_ : seen();
            auto const at = from.find(column(key));
            read_keys_.insert(column(key));
            if (is(defect::shared_buffer) && at == from.end()) { draft_[to_bytes(key)] = {}; }
            if (at == from.end()) { return false; }
            out = at->second;
            return true;
        }
        status put(bytes_view key, bytes_view value) {
            if (status const s = writable(key); !s) { return s; }
            if (value.size() > owner_->value_bytes_max()) { return errc::limit; }
            if (is(defect::empty_value) && value.empty()) { return errc::invalid; }
            draft_[column(key)] = to_bytes(value);
            touched_.insert(column(key));
            if (is(defect::dirty_read) || is(defect::uncommitted_kept)) {
                owner_->shared_->written[to_bytes(key)] = to_bytes(value);
            }
            if (is(defect::tail_comes_alive) && !owner_->shared_->recovered) {
                owner_->shared_->log[to_bytes(key)] = to_bytes(value);
            }
            return {};
        }
        status erase(bytes_view key) {
            if (status const s = writable(key); !s) { return s; }
            if (is(defect::erase_absent) && draft_.count(to_bytes(key)) == 0) { return errc::not_found; }
            draft_.erase(column(key));
            touched_.insert(column(key));
            if (is(defect::dirty_read)) { owner_->shared_->written.erase(to_bytes(key)); }
            return {};
        }
        status scan(key_range range, scan_visitor visit) {
            std::vector<std::pair<bytes, bytes>> found;
            table const& now = is(defect::stopped_scan_kept) && stopped_at_ ? *stopped_at_ : seen();
            for (auto const& [k, v] : is(defect::stale_scan) ? before_ : now) {
                if (compare(k, range.from) < 0) { continue; }
                auto const upper = compare(k, range.to);
                if (!range.to.empty() && upper >= 0 && !(is(defect::closed_range) && upper == 0)) { continue; }
                if (is(defect::stale_bound) && range.from.size() > key_bytes_max) { continue; }
                found.push_back({k, v});
                if (is(defect::once_more) && touched_.count(k) != 0) { found.push_back({k, v}); }
            }
            if (is(defect::short_scan) && found.size() > 1'000) { found.resize(1'000); }
            if (is(defect::descending)) { found = {found.rbegin(), found.rend()}; }
            bytes last = to_bytes(range.to);
            for (auto const& [k, v] : found) {
                if (!is(defect::phantoms)) { read_keys_.insert(k); }
                if (visit(k, v) || is(defect::unstoppable)) { continue; }
                if (is(defect::stopped_scan_kept)) { stopped_at_ = table(now); }
                if (is(defect::phantoms_after_a_stop)) { return {}; }
                last = k;
                last.push_back(std::byte{0});
                break;
            }
            read_ranges_.push_back({to_bytes(range.from), std::move(last)});
            return {};
        }
        status commit() {
            naive_storage* const owner = owner_;
            shared_table& shared = *owner->shared_;
            bool conflict = shared.version != version_;
            if (is(defect::write_skew) || by_keys()) {  // snapshot isolation: only writes are compared
                conflict = false;
                for (bytes const& k : touched_) { conflict = conflict || shared.versions[k] > version_; }
            }
            if (by_keys()) {
                for (auto const& [k, version] : shared.versions) {
                    bool const looked_at = !is(defect::phantoms_of_erased_keys) || shared.data.count(k) != 0;
                    conflict = conflict || (version > version_ && looked_at && has_seen(k));
                }
            }
            conflict = conflict && access_ == access_mode::write && !is(defect::last_writer_wins);
            if (!conflict && access_ == access_mode::write) {
                shared.last = shared.data;
                ++shared.version;
                std::size_t left = touched_.size();
                std::size_t written = 0;
                for (bytes const& k : touched_) {
                    if (is(defect::torn_commit) && touched_.size() > 100 && left-- == 1) { break; }
                    if (is(defect::short_commit) && ++written > 1'000) { break; }
                    if (is(defect::one_key_lost) && k.size() == 3 && k[1] == std::byte{0x80} && k[2] == std::byte{0}) {
                        continue;
                    }
                    if (is(defect::middling_keys_lost) && k.size() > 191 && k.size() < key_bytes_max) { continue; }
                    auto const at = draft_.find(k);
                    if (at == draft_.end()) {
                        shared.data.erase(k);
                    } else {
                        shared.data[k] = stored(at->second);
                    }
                    shared.versions[k] = shared.version;
                }
                std::size_t size = 0;
                table medium = shared.data;
                for (bytes const& k : touched_) {
                    size += draft_.count(k) == 0 ? 0 : draft_[k].size();
                    shared.log.erase(k);
                }
                for (auto const& [k, v] : shared.log) { medium[k] = v; }
                if (is(defect::loses_the_first_after_recovery) && std::exchange(shared.recovered, false)) {
                    medium = shared.last;
                }
                shared.commits.push_back(std::move(medium));
                bool const lost = is(defect::loses_full) || (is(defect::loses_large) && touched_.size() > 8) ||
                                  (is(defect::loses_long) && size > (1U << 20)) ||
                                  (is(defect::loses_thousands) && touched_.size() > 1'000) ||
                                  (is(defect::loses_each_sixteenth) && ++owner->commits_ % 16 == 0);
                if (owner->is_full() && !lost) { shared.synced = shared.commits.size(); }
            }
            if (conflict && is(defect::loser_keeps_half)) {
                shared.data[*touched_.begin()] = draft_[*touched_.begin()];
            }
            if (is(defect::dirty_read)) { shared.written = shared.data; }
            access_ = access_mode::read;
            --owner->dropped_;
            finish();
            if (conflict) { return is(defect::wrong_code) ? errc::storage_io : errc::contended; }
            return {};
        }

    private:
        friend class naive_storage;

        transaction(naive_storage& owner, access_mode a)
            : owner_(&owner),
              access_(a),
              version_(owner.shared_->version),
              before_(owner.shared_->data),
              draft_(before_) {
            owner.open_ = this;
        }
        /// What a column for keys keeps of one.
        static bytes column(bytes_view key) {
            bytes k = to_bytes(key);
            if (is(defect::letters_of_one_case)) {
                for (std::byte& b : k) {
                    if (b >= std::byte{'A'} && b <= std::byte{'Z'}) { b |= std::byte{0x20}; }
                }
            }
            if (is(defect::no_space_at_the_end)) {
                while (k.size() > 1 && k.back() == std::byte{' '}) { k.pop_back(); }
            }
            if (is(defect::middling_keys_cut) && k.size() > 255 && k.size() < key_bytes_max) { k.resize(255); }
            return k;
        }
        /// What is left of a value once it is committed.
        static bytes stored(bytes v) {
            if (is(defect::short_column) && v.size() > 65'535) { v.resize(65'535); }
            if (is(defect::shorter_column) && v.size() > 16'383) { v.resize(16'383); }
            if (is(defect::one_size_cut) && v.size() == 65'536) { v.pop_back(); }
            if (is(defect::odd_size_cut) && v.size() > (1U << 20) && v.size() % 2 == 1) { v.pop_back(); }
            return v;
        }
        table const& seen() {
            if (is(defect::late_snapshot) && access_ == access_mode::read && !std::exchange(has_read_, true)) {
                draft_ = owner_->shared_->data;
            }
            if (access_ == access_mode::write && !touched_.empty()) { return draft_; }
            if (is(defect::moving_reader)) { return owner_->shared_->data; }
            if (is(defect::dirty_read) && access_ == access_mode::read && !owner_->shared_->written.empty()) {
                return owner_->shared_->written;
            }
            return draft_;
        }
        /// Compares, at the commit, each key that was read with what was written since.
        static constexpr bool by_keys() {
            return is(defect::phantoms) || is(defect::phantoms_between_keys) || is(defect::phantoms_after_a_stop) ||
                   is(defect::phantoms_of_erased_keys);
        }
        bool has_seen(bytes const& k) const {
            if (read_keys_.count(k) != 0) { return true; }
            if (is(defect::phantoms) || is(defect::phantoms_between_keys)) { return false; }
            return std::any_of(read_ranges_.begin(), read_ranges_.end(), [&](auto const& r) {
                return compare(k, r.first) >= 0 && (r.second.empty() || compare(k, r.second) < 0);
            });
        }
        static bool fits(bytes_view key) {
            return !key.empty() && (key.size() <= key_bytes_max || is(defect::long_key));
        }
        status writable(bytes_view key) {
            if (access_ == access_mode::read && !is(defect::writable_reader)) { return errc::read_only; }
            if (!fits(key)) {
                if (is(defect::ends_on_refusal)) { draft_ = before_; }
                return errc::invalid;
            }
            return {};
        }
        void finish() {
            if (owner_ == nullptr) { return; }
            if (is(defect::dirty_read) && access_ == access_mode::write) {
                owner_->shared_->written = owner_->shared_->data;
            }
            if (is(defect::leaky_rollback) && access_ == access_mode::write) { owner_->shared_->data = draft_; }
            if (is(defect::tail_comes_alive) && !owner_->shared_->recovered) { owner_->shared_->log.clear(); }
            if (is(defect::rolled_back_comes_alive) && access_ == access_mode::write) {
                for (bytes const& k : touched_) {
                    if (auto const at = draft_.find(k); at != draft_.end()) { owner_->shared_->log[k] = at->second; }
                }
            }
            ++owner_->dropped_;
            if (owner_->open_ == this) { owner_->open_ = nullptr; }
            owner_ = nullptr;
        }

        naive_storage* owner_;
        access_mode access_;
        std::uint64_t version_;
        table before_;
        table draft_;
        std::set<bytes> touched_;
        bool has_read_ = false;
        std::set<bytes> read_keys_;
        std::vector<std::pair<bytes, bytes>> read_ranges_;  // the second empty: to the end
        std::optional<table> stopped_at_;
    };

    explicit naive_storage(std::shared_ptr<shared_table> shared) : shared_(std::move(shared)) {}

    result<transaction> begin(access_mode a) {
        if (open_ != nullptr && !is(defect::many_open)) {
            if (!is(defect::begin_ends_the_open_one)) { return errc::busy; }
            open_->draft_ = open_->before_;
            open_->touched_.clear();
            return errc::busy;
        }
        if (is(defect::slot_lost_with_each_drop) && dropped_ >= 126) { return errc::limit; }
        return transaction(*this, a);
    }
    status barrier() {
        if (is(defect::barrier_fails)) { return errc::unsupported; }
        if (!is(defect::idle_barrier)) { shared_->synced = shared_->commits.size(); }
        return {};
    }
    durability commit_durability() const { return shared_->promise; }
    bool is_full() const { return shared_->promise == durability::full; }
    std::size_t value_bytes_max() const {
        return is(defect::short_values) ? value_bytes_min_max / 16 : value_bytes_min_max;
    }

private:
    std::shared_ptr<shared_table> shared_;
    transaction* open_ = nullptr;
    int dropped_ = 0;  // transactions that were not committed
    int commits_ = 0;
};

/// Without a promise nothing is known of power loss, and none is cut.
template <defect D>
std::vector<testing::violation> certify_naive(durability promise = durability::none) {
    using model = naive_storage<D>;
    std::shared_ptr<shared_table> shared;
    table const empty(signed_less{D == defect::signed_bytes});
    auto const on_medium = [&](table const& data) {
        shared =
            std::make_shared<shared_table>(shared_table{data, data, table{}, 0, {}, {}, 0, promise, data, {}, false});
    };
    testing::storage_factory<model> factory{[&] {
                                                on_medium(empty);
                                                return std::make_unique<model>(shared);
                                            },
                                            [&] { return std::make_unique<model>(shared); },
                                            [&] {
                                                if (D == defect::forgetful) { shared->data = shared->last; }
                                                if (D == defect::uncommitted_kept) {
                                                    shared->data.insert(shared->written.begin(), shared->written.end());
                                                }
                                                return std::make_unique<model>(shared);
                                            }};
    if (promise != durability::none || D == defect::idle_barrier) {
        factory.power_cut = [&](std::uint64_t seed) {
            std::vector<table> all{shared->opened};
            all.insert(all.end(), shared->commits.begin(), shared->commits.end());
            std::size_t const unsynced = shared->commits.size() - shared->synced;
            std::size_t const n = shared->synced + static_cast<std::size_t>(seed % (unsynced + 1));
            table data = all[n];
            if (D == defect::goes_back && seed % 3 == 0) { data = empty; }
            if (D == defect::out_of_order && n > 0) {  // what the last but one wrote is not there
                for (auto const& [k, v] : all[n - 1]) {
                    if (n < 2 || all[n - 2].count(k) == 0 || all[n - 2].at(k) != v) { data.erase(k); }
                }
            }
            if (D == defect::half_kept && n + 1 < all.size() && !all[n + 1].empty()) {
                auto const& [k, v] = *all[n + 1].begin();
                data[k] = v;
            }
            if (D == defect::long_keys_cut_in_the_log) {
                table cut(data.key_comp());
                for (auto const& [k, v] : data) {
                    cut[bytes(k.begin(), k.size() < 256 ? k.end() : k.begin() + k.size() % 256)] = v;
                }
                data = cut;
            }
            // In memory it holds what it has recovered, and on the medium what was there before.
            table const medium = D == defect::recovers_in_memory ? shared->opened : data;
            auto const log = shared->log;
            on_medium(data);
            shared->opened = medium;
            shared->log = log;
            shared->recovered = true;
        };
    }
    // A long value would be copied many times over by so naive a model.
    std::size_t const longest = D == defect::odd_size_cut ? std::size_t{3} << 20 : 100'000;
    return testing::certify_storage<model>(factory, {.rounds = 60, .long_value = longest, .many_keys = 2'000});
}

/// What docs/certify_storage.md shows.
std::string page(char const* name) {
    std::ifstream in(std::string(SYNCLINE_TESTS_DIR "/testing/") + name);
    return {std::istreambuf_iterator<char>(in), {}};
}

template <defect... Defects>
void expect_broken(char const* axiom) {
    auto const check = [axiom](defect d, std::vector<testing::violation> const& found) {
        INFO("defect " << static_cast<int>(d) << '\n' << testing::to_text(found));
        REQUIRE(!found.empty());
        for (testing::violation const& v : found) { CHECK(v.axiom == axiom); }  // and none that follows from it
    };
    (check(Defects, certify_naive<Defects>()), ...);
}

}  // namespace

TEST_CASE("certify_storage: finds nothing wrong with memory_storage", "[testing][storage]") {
    std::unique_ptr<memory_store> store;
    auto const open = [&] { return std::make_unique<memory_storage>(*store); };
    auto const fresh = [&] {
        store = std::make_unique<memory_store>();
        return open();
    };
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        CHECK(testing::to_text(testing::certify_storage<memory_storage>({fresh, open, open}, {.seed = seed})) == "");
    }
    auto const alone = [] { return std::make_unique<memory_storage>(); };
    CHECK(testing::to_text(testing::certify_storage<memory_storage>({alone, {}, {}})) == "");
}

TEST_CASE("certify_storage: finds nothing wrong with a storage whose faults are off", "[testing][storage]") {
    using model = testing::faulty_storage<memory_storage>;
    memory_storage inner;
    memory_snapshot const empty = inner.snapshot();
    auto const reopen = [&] { return std::make_unique<model>(inner); };
    auto const fresh = [&] {
        inner.restore(empty);
        return reopen();
    };
    CHECK(testing::to_text(testing::certify_storage<model>({fresh, {}, reopen})) == "");
}

TEST_CASE("certify_storage: takes an optimistic model, whose commits may lose the race", "[testing][storage]") {
    CHECK(testing::to_text(certify_naive<defect::none>()) == "");
}

TEST_CASE("certify_storage: takes a model whose readers take their state at the first read", "[testing][storage]") {
    CHECK(testing::to_text(certify_naive<defect::late_snapshot>()) == "");
}

TEST_CASE("certify_storage: a store that keeps its word over power losses passes", "[testing][storage]") {
    for (durability const said : {durability::ordered, durability::full}) {
        CHECK(testing::to_text(certify_naive<defect::none>(said)) == "");
    }
    CHECK(testing::to_text(certify_naive<defect::idle_barrier>(durability::full)) == "");  // then it has nothing to do
}

TEST_CASE("certify_storage: a store that breaks its word over power losses is named", "[testing][storage]") {
    auto const broken = [](std::vector<testing::violation> const& found, char const* axiom) {
        INFO(testing::to_text(found));
        CHECK(testing::breaks(found, axiom));
        CHECK(found.size() == 1);
    };
    broken(certify_naive<defect::loses_full>(durability::full), "durability");
    broken(certify_naive<defect::loses_large>(durability::full), "durability");
    broken(certify_naive<defect::loses_long>(durability::full), "durability");
    broken(certify_naive<defect::loses_thousands>(durability::full), "durability");
    broken(certify_naive<defect::loses_each_sixteenth>(durability::full), "durability");
    broken(certify_naive<defect::loses_the_first_after_recovery>(durability::full), "durability");
    broken(certify_naive<defect::recovers_in_memory>(durability::full), "durability");
    broken(certify_naive<defect::idle_barrier>(durability::ordered), "durability");
    broken(certify_naive<defect::idle_barrier>(durability::none), "durability");
    broken(certify_naive<defect::goes_back>(durability::full), "durability");
    broken(certify_naive<defect::out_of_order>(durability::ordered), "atomicity");
    broken(certify_naive<defect::half_kept>(durability::ordered), "atomicity");
    broken(certify_naive<defect::tail_comes_alive>(durability::full), "atomicity");
    broken(certify_naive<defect::rolled_back_comes_alive>(durability::full), "atomicity");
    broken(certify_naive<defect::long_keys_cut_in_the_log>(durability::full), "atomicity");
}

TEST_CASE("certify_storage: shows what was called and what came of it", "[testing][storage]") {
    auto const told = [](std::vector<testing::violation> const& found) { return testing::to_text(found); };
    CHECK(told(certify_naive<defect::letters_of_one_case>()) ==
          "read_your_writes: before the commit: get(\"A\") gives \"a=\", not \"A=\"\n");
    CHECK(told(certify_naive<defect::shorter_column>()) ==
          "atomicity: after the commit: get(\"value\") gives 16383 bytes "
          "h'78406679a123bb927386b8f12d65fe4102be37018a1a759c...', not 16384 bytes "
          "h'78406679a123bb927386b8f12d65fe4102be37018a1a759c...'\n");
    CHECK(told(certify_naive<defect::short_commit>()) ==
          "atomicity: after the commit of 1567 puts: key 411 bytes \"kkkkkkkkkkkkkkkkkkkkkkkk...\" is absent, not 412 "
          "bytes \"kkkkkkkkkkkkkkkkkkkkkkkk...\"\n");
    CHECK(told(certify_naive<defect::loser_keeps_half>()) ==
          "atomicity: after two writers' commits, of which succeeded a: key \"b's one\" is \"1\", not absent\n");
    CHECK(told(certify_naive<defect::erase_absent>()) == "limits: erase of an absent key answers: not found\n");
    CHECK(told(certify_naive<defect::forgetful>()) ==
          "durability: after reopening: key \"last\" is absent, not \"commit\"\n");
    CHECK(
        told(certify_naive<defect::phantoms>()) ==
        "isolation: each of two objects saw by a scan that the store is empty, and put a key: both commits succeed\n");
    CHECK(told(certify_naive<defect::one_key_lost>()) == page("page_lost_key.txt"));
    CHECK(told(certify_naive<defect::loses_full>(durability::full)) ==
          "durability: after a power loss: of 1 commits the first 1 had to last, 0 did (round 1 of seed 1)\n");
}

TEST_CASE("certify_storage: names the axiom that a bad model breaks", "[testing][storage]") {
    SECTION("read_your_writes") {
        expect_broken<defect::stale_get, defect::stale_scan, defect::shared_buffer, defect::letters_of_one_case,
                      defect::no_space_at_the_end, defect::middling_keys_cut, defect::short_scan,
                      defect::stopped_scan_kept>("read_your_writes");
    }
    SECTION("order") {
        expect_broken<defect::descending, defect::signed_bytes, defect::unstoppable, defect::closed_range,
                      defect::once_more, defect::stale_bound>("order");
    }
    SECTION("limits") {
        expect_broken<defect::long_key, defect::empty_value, defect::erase_absent, defect::writable_reader,
                      defect::short_values, defect::ends_on_refusal>("limits");
    }
    SECTION("atomicity") {
        expect_broken<defect::leaky_rollback, defect::torn_commit, defect::commit_of_the_moved, defect::short_commit,
                      defect::short_column, defect::shorter_column, defect::middling_keys_lost, defect::odd_size_cut,
                      defect::one_size_cut, defect::loser_keeps_half, defect::one_key_lost>("atomicity");
    }
    SECTION("isolation") {
        expect_broken<defect::last_writer_wins, defect::dirty_read, defect::moving_reader, defect::write_skew,
                      defect::phantoms, defect::phantoms_between_keys, defect::phantoms_after_a_stop,
                      defect::phantoms_of_erased_keys, defect::wrong_code>("isolation");
    }
    SECTION("one_open") {
        expect_broken<defect::many_open, defect::begin_ends_the_open_one, defect::slot_lost_with_each_drop>("one_open");
    }
    SECTION("durability") {
        expect_broken<defect::forgetful, defect::uncommitted_kept, defect::barrier_fails>("durability");
    }
}
