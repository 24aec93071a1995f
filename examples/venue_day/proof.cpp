// SPDX-License-Identifier: BSL-1.0

#include "proof.hpp"

#include <map>
#include <utility>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>

#include "day.hpp"

namespace venue {
namespace {

using records = std::map<std::pair<std::string, std::string>, syncline::bytes>;

template <class Tx>
syncline::status read_authority(Tx& tx, records& all) {
    return syncline::authority<>{rules()}.scan(tx, [&](syncline::record_key const& k, syncline::row const& r) {
        if (!r.deleted) { all[{k.collection, std::string{k.id_text()}}] = r.fields; }
        return true;
    });
}

template <class Tx>
syncline::status read_device(Tx& tx, records& all, std::uint64_t& waiting) {
    syncline::replica const self{rules()};
    syncline::status ok;
    for_each_collection([&](auto t) {
        if (!ok) { return; }
        ok = self.scan(tx, syncline::collection<typename decltype(t)::record>(),
                       [&](syncline::record_key const& k, syncline::record const& r) {
                           all[{k.collection, std::string{k.id_text()}}] = r.fields;
                           return true;
                       });
    });
    if (!ok) { return ok; }
    auto const queue = self.queue().summary(tx);
    if (!queue) { return queue.error(); }
    waiting = queue->entries + queue->dead;
    return self.conflicts(tx, [&](syncline::open_conflict const&) {
        ++waiting;
        return true;
    });
}

}  // namespace

contents contents_of(std::string const& name, std::string const& database) {
    contents out;
    out.name = name;
    records all;
    auto store = syncline::sqlite_storage::open(database.c_str());
    auto const ok = [&]() -> syncline::status {
        if (!store) { return store.error(); }
        auto tx = store->begin(syncline::access_mode::read);
        if (!tx) { return tx.error(); }
        return name == "authority" ? read_authority(*tx, all) : read_device(*tx, all, out.waiting);
    }();
    if (!ok) {
        out.failed = syncline::message(ok.error().code);
        return out;
    }
    syncline::bytes text;
    syncline::cbor_writer w{text};
    w.array(all.size() * 3);
    for (auto const& [key, fields] : all) {
        w.text(key.first);
        w.text(key.second);
        w.raw(fields);
    }
    for (std::byte const b : syncline::sha256(text)) {
        auto const n = std::to_integer<unsigned>(b);
        out.hash += {"0123456789abcdef"[n >> 4], "0123456789abcdef"[n & 15]};
    }
    out.records = all.size();
    return out;
}

}  // namespace venue
