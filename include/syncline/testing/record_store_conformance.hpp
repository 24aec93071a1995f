// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `certify_record_store`: runs the axioms of `record_store` on a model of one's own and says which are broken.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/replica/record_store.hpp>
#include <syncline/storage/storage.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

struct record_store_conformance_options {
    std::uint64_t seed = 1;
    std::uint32_t rounds = 600;  ///< random operations
    /// Two collections that the store takes, and names of fields that it may treat otherwise than others.
    std::string_view first = "guests";
    std::string_view second = "bills";
    std::vector<std::string> fields{};
};

namespace detail {

/// Holds a store against a map.
template <storage S, class R>
class record_store_certifier {
public:
    record_store_certifier(S& storage, R const& store, record_store_conformance_options const& options)
        : storage_(storage), store_(store), options_(options), random_(options.seed) {}

    [[nodiscard]] std::vector<violation> run() {
        for (std::uint32_t i = 0; i < options_.rounds && found_.empty(); ++i) { round(); }
        return std::move(found_);
    }

private:
    struct both {
        held_record held;
        std::optional<row> confirmed;
        bool put = false;
    };
    using model = std::map<std::pair<std::string, bytes>, both>;

    bool expect(bool holds, char const* axiom, char const* what) {
        if (!holds && found_.empty()) { found_.push_back({axiom, what}); }
        return holds;
    }
    template <class T>
    bool expect_ok(T const& r, char const* axiom, char const* what) {
        if (!r && found_.empty()) {
            found_.push_back({axiom, std::string(what) + ": " + message(r.error().code) + ", " + r.error().detail});
        }
        return static_cast<bool>(r);
    }

    // --- what is put

    bytes some_item() {
        bytes out;
        cbor_writer w{out};
        switch (random_() % 16) {
            case 0: w.null(); break;
            case 1: w.boolean(random_() % 2 == 0); break;
            case 2: w.unsigned_integer(random_() >> (random_() % 64)); break;
            case 3: w.unsigned_integer((std::numeric_limits<std::uint64_t>::max)()); break;
            case 4: w.integer((std::numeric_limits<std::int64_t>::min)()); break;
            case 5: w.integer(-static_cast<std::int64_t>(random_() % 100)); break;
            case 6: w.floating(static_cast<double>(random_() % 1000) / 8); break;
            case 7: w.floating(std::numeric_limits<double>::quiet_NaN()); break;
            case 8: w.floating(random_() % 2 == 0 ? -0.0 : std::numeric_limits<double>::infinity()); break;
            case 9: w.text(std::string("a\0b", 3)); break;
            case 10: w.text(random_() % 2 == 0 ? "" : "12"); break;
            case 11: w.text("Zo\xC3\xAB '\"; DROP TABLE guests; --"); break;
            case 12: w.byte_string(bytes{std::byte{0}, std::byte{255}}); break;
            case 13: w.byte_string({}); break;
            case 14:
                w.array(2);
                w.integer(1);
                w.text("x");
                break;
            default:
                w.map(1);
                w.text("k");
                w.floating(1.5);
                break;
        }
        return out;
    }
    bytes some_fields() {
        std::vector<std::string> names = options_.fields;
        names.insert(names.end(), {"zz", "an unknown field", "Na\"me", "id2"});
        std::sort(names.begin(), names.end(),
                  [](std::string const& a, std::string const& b) { return compare_keys(a, b) < 0; });
        bytes body;
        cbor_writer w{body};
        std::size_t n = 0;
        for (std::string const& name : names) {
            if (random_() % 3 == 0) { continue; }
            w.text(name);
            w.raw(some_item());
            ++n;
        }
        bytes out;
        cbor_writer{out}.map(n);
        append(out, body);
        return out;
    }
    write_mark some_mark(position most) {
        return {random_() % (most + 1), timestamp{random_() >> (random_() % 64)},
                static_cast<author_index>(random_() % 5)};
    }
    row some_row() {
        row r;
        r.version = random_() % 5 == 0 ? pending_position : random_() % 1'000'000;
        r.life = 1 + random_() % 3;
        r.deleted = random_() % 5 == 0;
        r.floor = some_mark(r.version == pending_position ? r.version - 1 : r.version);
        if (!r.deleted || random_() % 3 == 0) { r.fields = some_fields(); }
        if (random_() % 3 == 0) {
            r.exceptions.push_back({"a", some_mark(r.version - (r.version == pending_position ? 1 : 0))});
            r.exceptions.push_back({"b", some_mark(0), bytes{std::byte{1}}});
        }
        if (random_() % 6 == 0) { r.schema = 2; }
        return r;
    }
    record_key some_key() {
        static constexpr std::string_view ids[] = {"a", "ab", "b", "\xFF\x01", "Zo\xC3\xAB", "x'y\"z"};
        std::size_t const at = static_cast<std::size_t>(random_() % 7);
        std::string const id = at == 6 ? std::string("n\0l", 3) : std::string(ids[at]);
        return {random_() % 3 == 0 ? options_.second : options_.first, as_bytes(id)};
    }

    // --- a round: some operations in a transaction, which is committed or not

    void round() {
        model now = kept_;
        {
            auto tx = storage_.begin(access_mode::write);
            if (!expect_ok(tx, "atomicity", "begin")) { return; }
            std::uint64_t const steps = 1 + random_() % 6;
            for (std::uint64_t i = 0; i < steps && found_.empty(); ++i) { step(*tx, now); }
            if (!found_.empty()) { return; }
            if (random_() % 3 != 0) {
                if (!expect_ok(tx->commit(), "atomicity", "commit")) { return; }
                kept_ = std::move(now);
            }
        }
        auto tx = storage_.begin(access_mode::read);
        if (!expect_ok(tx, "atomicity", "begin")) { return; }
        compare(*tx, kept_, "atomicity");
    }
    template <class Tx>
    void step(Tx& tx, model& now) {
        record_key const k = some_key();
        auto const name = std::pair(k.collection, k.id);
        if (random_() % 6 == 0) {
            expect_ok(store_.erase(tx, k), "read_your_writes", "erase");
            now.erase(name);
        } else {
            both& b = now[name];
            if (random_() % 2 == 0) {
                expect_ok(store_.drop_confirmed(tx, k), "clean_is_single", "drop_confirmed");
                b.confirmed.reset();
                if (!b.put) {
                    now.erase(name);
                    compare(tx, now, "separation");
                    return;
                }
                compare(tx, now, "clean_is_single");
                if (!found_.empty()) { return; }
            }
            b.held.pending = b.confirmed || random_() % 2 == 0;
            b.put = true;
            b.held.visible = some_row();
            b.held.confirmed = b.held.pending ? random_() % 1000 : b.held.visible.version;
            std::optional<row> confirmed;
            if (b.held.pending && random_() % 2 == 0) { confirmed = some_row(); }
            expect_ok(store_.put(tx, k, b.held, confirmed ? &*confirmed : nullptr), "read_your_writes", "put");
            if (confirmed) { b.confirmed = std::move(confirmed); }
        }
        compare(tx, now, "separation");
    }
    template <class Tx>
    void compare(Tx& tx, model const& m, char const* otherwise) {
        for (auto const& [name, b] : m) {
            record_key const k{name.first, bytes_view{name.second}};
            auto held = store_.find(tx, k);
            if (!expect_ok(held, "exactness", "find")) { return; }
            if (!expect(held->has_value(), otherwise, "a record is gone")) { return; }
            if (!expect(**held == b.held, "exactness", "a record came back otherwise")) { return; }
            auto confirmed = store_.find_confirmed(tx, k);
            if (!expect_ok(confirmed, "exactness", "find_confirmed")) { return; }
            if (!b.confirmed) {
                bool const dropped = std::string_view{otherwise} == "clean_is_single";
                if (!expect(!*confirmed, dropped ? otherwise : "confirmed_apart",
                            "a confirmed row that should not be kept")) {
                    return;
                }
            } else if (!expect(*confirmed == b.confirmed, "confirmed_apart", "another confirmed row")) {
                return;
            }
        }
        for (std::string_view const collection : {options_.first, options_.second}) {
            auto at = m.lower_bound(std::pair(std::string(collection), bytes{}));
            auto ok = store_.scan(tx, collection, [&](record_key const& k, held_record& h) {
                bool const there = at != m.end() && at->first.first == collection;
                if (!expect(there && k.collection == collection && k.id == at->first.second, "order",
                            "a scan visits another record than it should")) {
                    return false;
                }
                expect(h == at->second.held, "exactness", "a scan gives a record otherwise");
                ++at;
                return found_.empty();
            });
            if (!expect_ok(ok, "order", "scan")) { return; }
            expect(!found_.empty() || at == m.end() || at->first.first != collection, "order", "a scan ends early");
        }
        std::vector<std::pair<bytes, held_record const*>> all;
        for (auto const& [k, b] : m) { all.emplace_back(to_bytes(record_key{k.first, bytes_view{k.second}}), &b.held); }
        std::sort(all.begin(), all.end(),
                  [](auto const& a, auto const& b) { return syncline::compare(a.first, b.first) < 0; });
        for (std::size_t first : {std::size_t{0}, all.size() / 3}) {
            std::size_t const last = first == 0 ? all.size() : all.size() - all.size() / 4;
            bytes const from = first == 0 ? bytes{} : all[first].first;
            bytes const to = last == all.size() ? bytes{std::byte{0xFF}} : all[last].first;
            if (syncline::compare(from, to) >= 0) { continue; }
            auto ok = store_.scan_range(tx, from, to, [&](record_key const& k, held_record& h) {
                if (!expect(first < last && to_bytes(k) == all[first].first, "order",
                            "a scan of a range visits another record than it should")) {
                    return false;
                }
                expect(h == *all[first].second, "exactness", "a scan of a range gives a record otherwise");
                ++first;
                return found_.empty();
            });
            if (!expect_ok(ok, "order", "scan_range")) { return; }
            expect(!found_.empty() || first == last, "order", "a scan of a range ends early");
        }
    }

    S& storage_;
    R const& store_;
    record_store_conformance_options options_;
    random_generator random_;
    model kept_;
    std::vector<violation> found_;
};

}  // namespace detail

/// Tries the axioms of `record_store` on `store`, which is empty, over `storage`; what it answers is broken, by name.
template <storage S, record_store<S> R>
[[nodiscard]] std::vector<violation> certify_record_store(S& storage, R const& store,
                                                          record_store_conformance_options const& options = {}) {
    return detail::record_store_certifier<S, R>(storage, store, options).run();
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
