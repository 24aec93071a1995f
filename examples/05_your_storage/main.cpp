// SPDX-License-Identifier: BSL-1.0
// A storage of your own: all that the concept asks for, certified, and what a careless one is told.

#include <cstddef>
#include <iostream>
#include <map>
#include <memory>
#include <utility>

#include <syncline/storage.hpp>
#include <syncline/testing/storage_conformance.hpp>

using namespace syncline;

namespace {

// region: storage
/// Keeps everything in a map; a transaction works on a copy. `Careless`: an absent key leaves what was in `out`.
template <bool Careless = false>
class map_storage {
    struct end_transaction {
        void operator()(map_storage* s) const { s->open_ = false; }
    };

public:
    class transaction {
    public:
        transaction(map_storage& s, access_mode a) : store_(&s), access_(a), draft_(s.data_) {}

        result<bool> get(bytes_view key, bytes& out) {
            if (!Careless) { out.clear(); }
            if (!fits(key)) { return errc::invalid; }
            auto const at = draft_.find(to_bytes(key));
            if (at != draft_.end()) { out = at->second; }
            return at != draft_.end();
        }
        status put(bytes_view key, bytes_view value) {
            if (!fits(key)) { return errc::invalid; }
            if (access_ == access_mode::read) { return errc::read_only; }
            if (value.size() > value_bytes_min_max) { return errc::limit; }
            draft_[to_bytes(key)] = to_bytes(value);
            return {};
        }
        status erase(bytes_view key) {
            if (!fits(key)) { return errc::invalid; }
            if (access_ == access_mode::read) { return errc::read_only; }
            draft_.erase(to_bytes(key));
            return {};
        }
        status scan(key_range range, scan_visitor visit) {
            for (auto at = draft_.lower_bound(to_bytes(range.from)); at != draft_.end(); ++at) {
                if (!range.to.empty() && compare(at->first, range.to) >= 0) { break; }
                if (!visit(at->first, at->second)) { break; }
            }
            return {};
        }
        status commit() {
            store_->data_ = std::move(draft_);
            store_.reset();
            return {};
        }

    private:
        static bool fits(bytes_view key) { return !key.empty() && key.size() <= key_bytes_max; }

        std::unique_ptr<map_storage, end_transaction> store_;
        access_mode access_;
        std::map<bytes, bytes> draft_;
    };

    result<transaction> begin(access_mode a) {
        if (std::exchange(open_, true)) { return errc::busy; }
        return transaction(*this, a);
    }
    status barrier() { return {}; }
    durability commit_durability() const { return durability::none; }  // it is memory
    std::size_t value_bytes_max() const { return value_bytes_min_max; }

private:
    std::map<bytes, bytes> data_;
    bool open_ = false;
};
static_assert(storage<map_storage<>>);
// endregion: storage

template <class Storage>
void certify(char const* name) {
    // region: certify
    testing::storage_factory<Storage> factory;
    factory.fresh = [] { return std::make_unique<Storage>(); };
    auto const broken = testing::certify_storage(factory);
    // endregion: certify
    std::cout << name << ": " << (broken.empty() ? "certified\n" : "not a storage\n") << testing::to_text(broken);
}

}  // namespace

int main() {
    certify<map_storage<>>("map_storage");
    certify<map_storage<true>>("careless map_storage");
}
