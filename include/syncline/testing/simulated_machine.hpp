// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A machine of a small simulated world: a disk, the store that a process has open on it, and what goes wrong with them.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/random.hpp>
#include <syncline/model/record.hpp>
#include <syncline/storage/storage.hpp>
#include <syncline/testing/faulty_storage.hpp>
#include <syncline/testing/simulated_disk.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What goes wrong with one transaction.
struct machine_mishap {
    storage_fault fault{};
    bool faulty = false;  ///< `fault` happens
    bool torn = false;    ///< the process dies before the commit
};
/// Every sixth has a storage call that fails, every sixteenth is torn off.
[[nodiscard]] inline machine_mishap draw_mishap(random_generator& random) {
    machine_mishap m;
    m.torn = below(random, 16) == 0;
    m.faulty = below(random, 6) == 0;
    m.fault.nth = 1 + below(random, 60);
    m.fault.code = below(random, 2) == 0 ? errc::storage_io : errc::transaction_lost;
    return m;
}

/// A disk, and the store that is open on it.
class simulated_machine {
public:
    using store_type = faulty_storage<simulated_disk::storage_type>;
    using transaction = store_type::transaction;

    explicit simulated_machine(durability promise = durability::full, disk_lie lie = disk_lie::none)
        : disk_(promise, lie) {
        open();
    }
    simulated_machine(simulated_machine const&) = delete;
    simulated_machine& operator=(simulated_machine const&) = delete;

    [[nodiscard]] store_type& store() { return *store_; }
    /// The power goes, and comes back.
    void cut(random_generator& random) {
        store_.reset();
        handle_.reset();
        disk_.power_cut(random);
        open();
    }

    /// What became of one transaction.
    struct outcome {
        bool took = false;    ///< it is committed
        bool faulty = false;  ///< a storage call of it was made to fail
        errc why{};           ///< what `f` said
    };
    /// `f(tx)` answers something like a `result`, in one transaction that may go wrong.
    template <class F>
    outcome attempt(machine_mishap const& m, F&& f) {
        std::uint64_t const faults = store_->faults();
        if (m.faulty) { store_->inject(m.fault); }
        outcome out;
        {
            auto tx = store_->begin(access_mode::write);
            if (tx) {
                auto const said = f(*tx);
                out.why = said ? errc{} : errc{said.error().code};
                if (said && !m.torn && store_->faults() == faults) { out.took = tx->commit().has_value(); }
            }
        }
        out.faulty = store_->faults() != faults;
        store_->heal();
        return out;
    }
    template <class F>
    outcome attempt(F&& f) {
        return attempt(machine_mishap{}, std::forward<F>(f));
    }
    template <class F>
    auto read(F&& f) {
        auto tx = store_->begin(access_mode::read);
        return f(*tx);
    }

    using image = std::vector<std::pair<bytes, bytes>>;  ///< all keys, in order, and their values
    [[nodiscard]] image copy() {
        image all;
        (void)read([&](auto& tx) {
            return tx.scan({}, [&](bytes_view k, bytes_view v) {
                all.emplace_back(to_bytes(k), to_bytes(v));
                return true;
            });
        });
        return all;
    }
    /// A copy takes the place of all that is there.
    void put_back(image const& all) {
        image const now = copy();
        (void)attempt([&](auto& tx) {
            status ok;
            for (auto const& row : now) { ok = ok ? tx.erase(row.first) : ok; }
            for (auto const& [k, v] : all) { ok = ok ? tx.put(k, v) : ok; }
            return ok;
        });
    }

    /// Whether raw storage has anything of this kind.
    [[nodiscard]] bool has(char end, char kind) {
        bool any = false;
        (void)read([&](auto& tx) {
            return scan_prefix(tx, bytes{static_cast<std::byte>(end), static_cast<std::byte>(kind)},
                               [&](bytes_view, bytes_view) {
                                   any = true;
                                   return false;
                               });
        });
        return any;
    }

    using row_fields = std::map<std::string, bytes>;  ///< by the record's id

    /// The rows of one collection that are not deleted, read from raw storage: 'r' 'v' of a replica, with what is visible,
    /// 'a' 'r' of an authority.
    [[nodiscard]] row_fields rows(char end, char kind) {
        row_fields out;
        for (auto& [at, held] : stored(end, kind)) {
            if (!held.what.deleted) { out[at.second] = std::move(held.what.fields); }
        }
        return out;
    }

    struct stored_row {
        row what{};
        bool pending = false;    ///< of what is visible: mutations wait on it
        position confirmed = 0;  ///< of what is visible: the version of the confirmed row
    };
    using stored_rows = std::map<std::pair<std::string, std::string>, stored_row>;  ///< by collection and id

    /// All rows, tombstones too, read from raw storage: as above, and 'r' 'b', the confirmed rows under what is pending.
    [[nodiscard]] stored_rows stored(char end, char kind) {
        stored_rows out;
        (void)read([&](auto& tx) {
            return scan_prefix(tx, bytes{static_cast<std::byte>(end), static_cast<std::byte>(kind)},
                               [&](bytes_view k, bytes_view v) {
                                   auto const key = record_key_from(k.subspan(2));
                                   cbor_reader in{v};
                                   stored_row held;
                                   bool const apart = kind == 'v' && !v.empty() && v[0] == std::byte{0x83};
                                   if (apart) {
                                       (void)in.array();
                                       held.pending = in.boolean();
                                       held.confirmed = in.unsigned_integer();
                                   }
                                   held.what = decode_row(in);
                                   // What stands alone is the confirmed row.
                                   if (kind == 'v' && !apart) { held.confirmed = held.what.version; }
                                   if (key) { out[{key->collection, std::string{key->id_text()}}] = std::move(held); }
                                   return true;
                               });
        });
        return out;
    }

private:
    void open() {
        handle_ = disk_.open();
        store_ = std::make_unique<store_type>(*handle_);
    }

    simulated_disk disk_;
    std::unique_ptr<simulated_disk::storage_type> handle_{};
    std::unique_ptr<store_type> store_{};
};

}  // namespace syncline::inline SYNCLINE_ABI::testing
