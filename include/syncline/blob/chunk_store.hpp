// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `chunk_store`: where the bytes of chunks are, in the host's database, in files or elsewhere.

#include <concepts>
#include <string>
#include <string_view>

#include <syncline/core/bytes.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Called with each chunk's identity; false stops. It must not change the store.
using chunk_visitor = function_ref<bool(sha256_digest const& id)>;

/// Bytes under the name of their SHA-256. It believes the name: whoever puts has hashed.
///
/// Notation: `c` lvalue of C, `id` sha256_digest, `b` bytes_view, `out` lvalue of bytes.
/// | expression      | result         | meaning                                                                     |
/// | c.put(id, b)    | status         | the chunk is there; there already: succeeds, and may write it again           |
/// | c.get(id, out)  | result<bool>   | true: `out` is the chunk; false: no such chunk, `out` is empty                |
/// | c.erase(id)     | status         | of an absent chunk succeeds                                                   |
/// | c.scan(visit)   | status         | each chunk once, in any order                                                 |
/// | c.flush()       | status         | what was put before survives what a commit of the book's storage survives     |
/// Axioms (the compiler can't check them; testing/chunk_store_conformance.hpp does, by these names):
///   content     get gives the bytes that were put last under the name, or nothing; never a part of them
///   idempotent  putting and erasing twice is doing it once
///   complete    scan gives each chunk that get finds, once, and no other; it stops when told
///   whole       a put that fails leaves the chunk as it was, or absent, or whole
///   durable     a chunk that was put and flushed is there when the store is opened again
/// It need not take part in a transaction: what is put for one that is rolled back is waste, which `blob_book::scrub`
/// finds; what is erased is erased only after the commit that no longer needs it.
template <class C>
concept chunk_store = requires(C& c, sha256_digest const& id, bytes_view b, bytes& out, chunk_visitor visit) {
    { c.put(id, b) } -> std::same_as<status>;
    { c.get(id, out) } -> std::same_as<result<bool>>;
    { c.erase(id) } -> std::same_as<status>;
    { c.scan(visit) } -> std::same_as<status>;
    { c.flush() } -> std::same_as<status>;
};

/// Chunks as values of the storage itself, in the transaction of the book. A view: it refers to the transaction.
template <storage_transaction Tx>
class storage_chunks {
public:
    /// Precondition: the prefix has 1 to 64 bytes and belongs to nothing else.
    explicit storage_chunks(Tx& tx, std::string_view prefix = "bc") : tx_(&tx), prefix_(prefix) {
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }
    [[nodiscard]] status put(sha256_digest const& id, bytes_view chunk) { return tx_->put(key(id), chunk); }
    [[nodiscard]] result<bool> get(sha256_digest const& id, bytes& out) { return tx_->get(key(id), out); }
    [[nodiscard]] status erase(sha256_digest const& id) { return tx_->erase(key(id)); }
    [[nodiscard]] status scan(chunk_visitor visit) {
        status failed;
        auto const row = [&](bytes_view k, bytes_view) {
            sha256_digest id;
            if (k.size() != prefix_.size() + id.size()) {
                failed = failure{errc::corrupt, "key of a chunk"};
                return false;
            }
            for (std::size_t i = 0; i < id.size(); ++i) { id[i] = k[prefix_.size() + i]; }
            return visit(id);
        };
        if (auto s = scan_prefix(*tx_, as_bytes(prefix_), row); !s) { return s; }
        return failed;
    }
    [[nodiscard]] status flush() { return {}; }

private:
    [[nodiscard]] bytes key(sha256_digest const& id) const {
        bytes out = to_bytes(prefix_);
        append(out, id);
        return out;
    }
    Tx* tx_;
    std::string prefix_;
};

}  // namespace syncline::inline SYNCLINE_ABI
