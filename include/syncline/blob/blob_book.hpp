// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Which large values there are, who names them, which of their chunks are here, and what nobody needs any more.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/blob/chunk_store.hpp>
#include <syncline/blob/manifest.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The longest name of an owner.
inline constexpr std::size_t blob_owner_bytes_max = 200;

/// What one collection did.
struct blob_collection {
    std::size_t blobs = 0;   ///< forgotten
    std::size_t chunks = 0;  ///< that no blob needs any more: their bytes go with the next `sweep`
    bool more = false;       ///< the limit was reached
    friend constexpr bool operator==(blob_collection const&, blob_collection const&) = default;
};
/// What is wrong with chunks.
struct blob_damage {
    std::vector<sha256_digest> missing{};  ///< noted as here, and not there: wanted again from now on
    std::vector<sha256_digest> damaged{};  ///< other bytes than their name says: erased, wanted again from now on
    std::size_t stray = 0;                 ///< in the store and in no manifest: erased
    friend bool operator==(blob_damage const&, blob_damage const&) = default;
};

/// Manifests, owners and reference counts, in storage; the chunks' bytes in a `chunk_store`.
///
/// Whoever names a blob is an owner, by a name of the host's: a record's field, a pending mutation, a conflict, a draft.
/// A blob is kept while it has one, so that what a pending mutation names is never freed: the mutation's owner is
/// written in the transaction that writes the mutation, and released in the one that ends it. A chunk that many blobs
/// or versions contain is there once.
/// Holds its prefix and its limits. What fails leaves the transaction to be rolled back; `corrupt` for a damaged value.
class blob_book {
public:
    /// Precondition: the prefix has 1 to 32 bytes and belongs to nothing else.
    explicit blob_book(std::string_view prefix = "bb", manifest_limits const& limits = {})
        : prefix_(prefix), limits_(limits) {
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 32);
    }
    [[nodiscard]] manifest_limits const& limits() const noexcept { return limits_; }

    /// Takes content in: cuts it, puts the chunks that are not here, flushes the store, and makes `owner` an owner.
    /// Errors: `invalid` (owner), `limit` (larger than the limits), `unsupported` (the hasher failed: its digest is all
    /// zero), those of storage and store.
    /// Cost: the hash; a put for each new chunk.
    template <storage_transaction Tx, chunk_store Chunks, hasher H = sha256_hasher>
    [[nodiscard]] result<blob_ref> store(Tx& tx, Chunks& chunks, bytes_view content, std::string_view type,
                                         bytes_view owner, chunk_options const& options = {},
                                         H const& fresh = {}) const {
        blob_manifest const m = make_manifest(content, type, options, fresh);
        for (chunk_ref const& c : m.chunks) {
            if (c.id == sha256_digest{}) { return failure{errc::unsupported, "hash that could not be made"}; }
        }
        auto const b = expect(tx, m, owner);
        if (!b) { return b; }
        for (chunk_ref const& c : m.chunks) {
            bytes_view const chunk = content.first(static_cast<std::size_t>(c.size));
            content = content.subspan(chunk.size());
            auto const s = state(tx, c.id);
            if (!s) { return s.error(); }
            if ((*s)->here) { continue; }
            if (auto done = take(tx, chunks, c.id, chunk, **s); !done) { return done.error(); }
        }
        if (auto done = chunks.flush(); !done) { return done.error(); }
        return b;
    }

    /// A chunk of content that is not at its end yet: put unless it is here, and kept for the draft of `owner` until
    /// `discard_drafts`. `id` is believed. Flush the store before the commit; `blob_writer` does. Errors: `invalid` (owner).
    template <storage_transaction Tx, chunk_store Chunks>
    [[nodiscard]] status draft(Tx& tx, Chunks& chunks, bytes_view owner, sha256_digest const& id,
                               bytes_view chunk) const {
        if (owner.empty() || owner.size() > blob_owner_bytes_max) { return failure{errc::invalid, "owner of a blob"}; }
        auto s = state(tx, id);
        if (!s) { return s.error(); }
        chunk_state now = s->value_or(chunk_state{});
        bytes const k = draft_key(owner, id);
        bytes value;
        auto const drafted = tx.get(k, value);
        if (!drafted) { return drafted.error(); }
        if (!*drafted) {
            if (auto done = tx.put(k, {}); !done) { return done; }
            ++now.blobs;
        }
        if (!now.here) { return take(tx, chunks, id, chunk, now); }
        return *drafted ? status{} : put_state(tx, id, now);
    }
    /// Ends the draft of `owner`, without one every draft there is: what a program calls when it begins, as what wrote
    /// them is gone. Chunks that no blob has are freed, for `sweep`. Cost: as `collect`, for the draft's chunks.
    template <storage_transaction Tx>
    [[nodiscard]] status discard_drafts(Tx& tx, bytes_view owner = {}) const {
        if (owner.size() > blob_owner_bytes_max) { return failure{errc::invalid, "owner of a blob"}; }
        std::vector<bytes> drafts;
        auto const note = [&](bytes_view k, bytes_view) {
            drafts.push_back(to_bytes(k));
            return true;
        };
        bytes const lead = draft_key(owner, {});
        auto const length = owner.empty() ? prefix_.size() + 1 : lead.size() - sizeof(sha256_digest);
        if (auto s = scan_prefix(tx, bytes_view{lead}.first(length), note); !s) { return s; }
        for (bytes const& k : drafts) {
            if (auto const freed = drop(tx, digest_of(k)); !freed) { return freed.error(); }
            if (auto s = tx.erase(k); !s) { return s; }
        }
        return {};
    }

    /// Knows a blob from now on, whose chunks are here, or will come by `arrived`; `owner` is an owner.
    /// Errors: `invalid` (owner), `limit` (the manifest).
    template <storage_transaction Tx>
    [[nodiscard]] result<blob_ref> expect(Tx& tx, blob_manifest const& m, bytes_view owner) const {
        bytes const encoded = encode(m);
        if (auto const fits = decode_manifest(encoded, limits_); !fits) { return fits.error(); }
        blob_ref b{manifest_id(encoded), m.size(), m.type};
        bytes old;
        auto const known = tx.get(key('m', b.id), old);
        if (!known) { return known.error(); }
        if (!*known) {
            if (auto s = tx.put(key('m', b.id), encoded); !s) { return s.error(); }
            for (chunk_ref const& c : distinct(m)) {
                auto s = state(tx, c.id);
                if (!s) { return s.error(); }
                chunk_state now = s->value_or(chunk_state{});
                ++now.blobs;
                if (auto done = put_state(tx, c.id, now); !done) { return done.error(); }
            }
        }
        if (auto s = retain(tx, b.id, owner); !s) { return s.error(); }
        return b;
    }

    /// A chunk's bytes came. They are put, unless they are here; flush the store before the commit.
    /// Errors, nothing changed: `limit` (longer than a chunk may be), `malformed` (not the bytes of that name),
    /// `not_found` (no blob wants it).
    template <storage_transaction Tx, chunk_store Chunks, hasher H = sha256_hasher>
    [[nodiscard]] status arrived(Tx& tx, Chunks& chunks, sha256_digest const& id, bytes_view chunk, H hash = {}) const {
        if (chunk.size() > limits_.chunk_bytes_max) { return failure{errc::limit, "chunk of so many bytes"}; }
        hash.update(chunk);
        if (!(hash.finish() == id)) { return failure{errc::malformed, "chunk that is not what its name says"}; }
        auto const s = state(tx, id);
        if (!s) { return s.error(); }
        if (!*s) { return failure{errc::not_found, "chunk that no blob has"}; }
        if ((*s)->here) { return {}; }
        return take(tx, chunks, id, chunk, **s);
    }
    /// Whether a chunk is here.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> has(Tx& tx, sha256_digest const& id) const {
        auto const s = state(tx, id);
        if (!s) { return s.error(); }
        return *s && (*s)->here;
    }
    /// The manifest of a blob, or nothing.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<blob_manifest>> manifest(Tx& tx, sha256_digest const& blob) const {
        bytes value;
        auto const found = tx.get(key('m', blob), value);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<blob_manifest>{}; }
        auto m = decode_manifest(value, limits_);
        if (!m) { return failure{errc::corrupt, "manifest"}; }
        return std::optional{std::move(*m)};
    }
    /// The indexes of a manifest's chunks that are not here, each chunk once.
    /// Error: `malformed`, where it says another size of a chunk than the one here has.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<std::uint32_t>> missing(Tx& tx, blob_manifest const& m) const {
        std::vector<std::uint32_t> out;
        for (std::uint32_t const i : first_of_each(m)) {
            auto const s = state(tx, m.chunks[i].id);
            if (!s) { return s.error(); }
            if (!*s || !(*s)->here) {
                out.push_back(i);
            } else if ((*s)->size && *(*s)->size != m.chunks[i].size) {
                return failure{errc::malformed, "a manifest that says another size of a chunk"};
            }
        }
        return out;
    }
    /// Content from `from` on, at most `most` bytes, each chunk checked against its name.
    /// Errors: `not_found` (the blob, or a chunk that has not come yet), `corrupt` (a chunk with other bytes).
    template <storage_transaction Tx, chunk_store Chunks>
    [[nodiscard]] status read(Tx& tx, Chunks& chunks, sha256_digest const& blob, std::uint64_t from, std::size_t most,
                              bytes& out) const {
        out.clear();
        auto const m = manifest(tx, blob);
        if (!m) { return m.error(); }
        if (!*m) { return failure{errc::not_found, "blob"}; }
        bytes chunk;
        for (chunk_ref const& c : (*m)->chunks) {
            if (out.size() == most) { break; }
            if (from >= c.size) {
                from -= c.size;
                continue;
            }
            auto const found = chunks.get(c.id, chunk);
            if (!found) { return found.error(); }
            if (!*found) { return failure{errc::not_found, "chunk"}; }
            if (chunk.size() != c.size || !(sha256(chunk) == c.id)) { return failure{errc::corrupt, "chunk"}; }
            auto const part = bytes_view{chunk}.subspan(static_cast<std::size_t>(from));
            append(out, part.first((std::min)(part.size(), most - out.size())));
            from = 0;
        }
        return {};
    }

    /// Makes `owner` an owner; being one already is fine. Errors: `invalid` (1 to 200 bytes), `not_found`.
    template <storage_transaction Tx>
    [[nodiscard]] status retain(Tx& tx, sha256_digest const& blob, bytes_view owner) const {
        if (owner.empty() || owner.size() > blob_owner_bytes_max) { return failure{errc::invalid, "owner of a blob"}; }
        bytes value;
        auto const known = tx.get(key('m', blob), value);
        if (!known) { return known.error(); }
        if (!*known) { return failure{errc::not_found, "blob"}; }
        if (auto s = tx.put(owner_key(blob, owner), {}); !s) { return s; }
        if (auto s = tx.put(owned_key(owner, blob), {}); !s) { return s; }
        return tx.erase(key('g', blob));
    }
    /// Ends an ownership; one that there is not is fine. A blob without owners goes with a later `collect`.
    template <storage_transaction Tx>
    [[nodiscard]] status release(Tx& tx, sha256_digest const& blob, bytes_view owner) const {
        if (owner.empty() || owner.size() > blob_owner_bytes_max) { return failure{errc::invalid, "owner of a blob"}; }
        if (auto s = tx.erase(owner_key(blob, owner)); !s) { return s; }
        if (auto s = tx.erase(owned_key(owner, blob)); !s) { return s; }
        bool owned = false;
        auto const any = [&](bytes_view, bytes_view) {
            owned = true;
            return false;
        };
        if (auto s = scan_prefix(tx, key('o', blob), any); !s) { return s; }
        if (owned) { return {}; }
        bytes value;
        auto const known = tx.get(key('m', blob), value);
        if (!known) { return known.error(); }
        return *known ? tx.put(key('g', blob), {}) : status{};
    }
    /// Ends all that an owner owns: the mutation was confirmed, the record is gone. Cost: as `release`, for each.
    template <storage_transaction Tx>
    [[nodiscard]] status release_all(Tx& tx, bytes_view owner) const {
        if (owner.empty() || owner.size() > blob_owner_bytes_max) { return failure{errc::invalid, "owner of a blob"}; }
        std::vector<sha256_digest> blobs;
        bytes const lead = owned_key(owner, {});
        auto const note = [&](bytes_view k, bytes_view) {
            blobs.push_back(digest_of(k));
            return true;
        };
        if (auto s = scan_prefix(tx, bytes_view{lead}.first(lead.size() - 32), note); !s) { return s; }
        for (sha256_digest const& b : blobs) {
            if (auto s = release(tx, b, owner); !s) { return s; }
        }
        return {};
    }

    /// Forgets blobs without owners until about `most` chunks were looked at. Their bytes stay until `sweep`.
    template <storage_transaction Tx>
    [[nodiscard]] result<blob_collection> collect(Tx& tx, std::size_t most) const {
        std::vector<sha256_digest> blobs;
        auto const note = [&](bytes_view k, bytes_view) {
            blobs.push_back(digest_of(k));
            return blobs.size() <= most;
        };
        if (auto s = scan_prefix(tx, key('g'), note); !s) { return s.error(); }
        blob_collection out;
        std::size_t looked = 0;
        for (sha256_digest const& b : blobs) {
            if (looked >= most) {
                out.more = true;
                break;
            }
            auto const m = manifest(tx, b);
            if (!m) { return m.error(); }
            if (!*m) { return failure{errc::corrupt, "blob without a manifest"}; }
            for (chunk_ref const& c : distinct(**m)) {
                ++looked;
                auto const freed = drop(tx, c.id);
                if (!freed) { return freed.error(); }
                out.chunks += *freed ? 1U : 0U;
            }
            if (auto s = tx.erase(key('m', b)); !s) { return s.error(); }
            if (auto s = tx.erase(key('g', b)); !s) { return s.error(); }
            ++out.blobs;
        }
        return out;
    }
    /// Erases the bytes of chunks that a committed `collect` freed, at most `most`; how many. Not in the transaction
    /// of that `collect`: were it rolled back, chunks that are needed would be gone.
    template <storage_transaction Tx, chunk_store Chunks>
    [[nodiscard]] result<std::size_t> sweep(Tx& tx, Chunks& chunks, std::size_t most) const {
        std::vector<sha256_digest> dead;
        auto const note = [&](bytes_view k, bytes_view) {
            dead.push_back(digest_of(k));
            return dead.size() < most;
        };
        if (most == 0) { return std::size_t{0}; }
        if (auto s = scan_prefix(tx, key('d'), note); !s) { return s.error(); }
        for (sha256_digest const& id : dead) {
            auto const wanted = state(tx, id);
            if (!wanted) { return wanted.error(); }
            if (!*wanted) {
                if (auto s = chunks.erase(id); !s) { return s.error(); }
            }
            if (auto s = tx.erase(key('d', id)); !s) { return s.error(); }
        }
        return dead.size();
    }

    /// Reads every chunk and compares it with its name; what is missing or damaged is wanted again, what belongs to no
    /// blob is erased. A transaction that only puts chunks, with no book to name them, must not run meanwhile.
    /// Cost: all bytes there are.
    template <storage_transaction Tx, chunk_store Chunks>
    [[nodiscard]] result<blob_damage> scrub(Tx& tx, Chunks& chunks) const {
        blob_damage out;
        std::vector<std::pair<sha256_digest, chunk_state>> known;
        std::vector<sha256_digest> there;
        status failed;
        auto const row = [&](bytes_view k, bytes_view v) {
            auto const s = decode_state(v);
            if (!s) {
                failed = s.error();
                return false;
            }
            known.emplace_back(digest_of(k), *s);
            return true;
        };
        if (auto s = scan_prefix(tx, key('c'), row); !s) { return s.error(); }
        if (!failed) { return failed.error(); }
        auto const note = [&](sha256_digest const& id) {
            there.push_back(id);
            return true;
        };
        if (auto s = chunks.scan(note); !s) { return s.error(); }
        bytes chunk;
        for (auto& [id, s] : known) {
            auto const found = chunks.get(id, chunk);
            if (!found) { return found.error(); }
            bool const good = *found && sha256(chunk) == id;
            if (*found && !good) {
                out.damaged.push_back(id);
                if (auto done = chunks.erase(id); !done) { return done.error(); }
            }
            if (!*found && s.here) { out.missing.push_back(id); }
            if (s.here == good) { continue; }
            s.here = good;
            if (good) { s.size = chunk.size(); }
            if (auto done = put_state(tx, id, s); !done) { return done.error(); }
        }
        for (sha256_digest const& id : there) {
            auto const at = std::lower_bound(known.begin(), known.end(), id,
                                             [](auto const& a, sha256_digest const& b) { return a.first < b; });
            if (at != known.end() && at->first == id) { continue; }
            ++out.stray;
            if (auto done = chunks.erase(id); !done) { return done.error(); }
        }
        return out;
    }

    /// How many blobs and drafts have a chunk; 0 when none has. For tests and reports.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::uint64_t> references(Tx& tx, sha256_digest const& chunk) const {
        auto const s = state(tx, chunk);
        if (!s) { return s.error(); }
        return *s ? (*s)->blobs : std::uint64_t{0};
    }

    /// The indexes at which chunks occur first, in the order of the manifest.
    [[nodiscard]] static std::vector<std::uint32_t> first_of_each(blob_manifest const& m) {
        std::vector<std::uint32_t> order(m.chunks.size());
        for (std::size_t i = 0; i < order.size(); ++i) { order[i] = static_cast<std::uint32_t>(i); }
        std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
            auto const& x = m.chunks[a].id;
            auto const& y = m.chunks[b].id;
            return x == y ? a < b : x < y;
        });
        auto const same = [&](std::uint32_t a, std::uint32_t b) { return m.chunks[a].id == m.chunks[b].id; };
        order.erase(std::unique(order.begin(), order.end(), same), order.end());
        std::sort(order.begin(), order.end());
        return order;
    }

private:
    struct chunk_state {
        std::uint64_t blobs = 0;
        bool here = false;
        std::optional<std::uint64_t> size{};  ///< of what is here; none where it was put before this was kept
    };

    // Prefix, then 'm' and a blob: its manifest; 'c' and a chunk: blobs and drafts that have it, whether it is here, and
    // its size then; 'o', a blob and an owner, and 'p', an owner with its length and a blob; 'g' and a blob: without
    // owners; 'd' and a chunk: freed, its bytes perhaps still there; 'w', an owner with its length and a chunk: a draft
    // has it.

    [[nodiscard]] bytes key(char what) const {
        bytes out = to_bytes(prefix_);
        out.push_back(static_cast<std::byte>(what));
        return out;
    }
    [[nodiscard]] bytes key(char what, sha256_digest const& id) const {
        bytes out = key(what);
        append(out, id);
        return out;
    }
    [[nodiscard]] bytes owner_key(sha256_digest const& blob, bytes_view owner) const {
        bytes out = key('o', blob);
        append(out, owner);
        return out;
    }
    [[nodiscard]] bytes owned_key(bytes_view owner, sha256_digest const& blob) const {
        bytes out = key('p');
        out.push_back(static_cast<std::byte>(owner.size()));
        append(out, owner);
        append(out, blob);
        return out;
    }
    [[nodiscard]] bytes draft_key(bytes_view owner, sha256_digest const& chunk) const {
        bytes out = key('w');
        out.push_back(static_cast<std::byte>(owner.size()));
        append(out, owner);
        append(out, chunk);
        return out;
    }
    /// The last 32 bytes of a key. Precondition: one that was made here.
    [[nodiscard]] static sha256_digest digest_of(bytes_view k) noexcept {
        sha256_digest id{};
        for (std::size_t i = 0; i < id.size() && i < k.size(); ++i) { id[id.size() - 1 - i] = k[k.size() - 1 - i]; }
        return id;
    }
    [[nodiscard]] static std::vector<chunk_ref> distinct(blob_manifest const& m) {
        std::vector<chunk_ref> out;
        for (std::uint32_t const i : first_of_each(m)) { out.push_back(m.chunks[i]); }
        return out;
    }

    [[nodiscard]] static result<chunk_state> decode_state(bytes_view v) noexcept {
        auto const blobs = take_varint(v);
        if (!blobs || *blobs == 0 || v.empty() || std::to_integer<unsigned>(v[0]) > 1) {
            return failure{errc::corrupt, "state of a chunk"};
        }
        chunk_state s{*blobs, v[0] == std::byte{1}, {}};
        v = v.subspan(1);
        if (v.empty()) { return s; }
        auto const size = take_varint(v);
        if (!s.here || !size || !v.empty()) { return failure{errc::corrupt, "state of a chunk"}; }
        s.size = *size;
        return s;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<chunk_state>> state(Tx& tx, sha256_digest const& id) const {
        bytes value;
        auto const found = tx.get(key('c', id), value);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<chunk_state>{}; }
        auto const s = decode_state(value);
        if (!s) { return s.error(); }
        return std::optional{*s};
    }
    template <storage_transaction Tx>
    [[nodiscard]] status put_state(Tx& tx, sha256_digest const& id, chunk_state const& s) const {
        bytes value;
        append_varint(value, s.blobs);
        value.push_back(s.here ? std::byte{1} : std::byte{0});
        if (s.here && s.size) { append_varint(value, *s.size); }
        return tx.put(key('c', id), value);
    }
    template <storage_transaction Tx, chunk_store Chunks>
    [[nodiscard]] status take(Tx& tx, Chunks& chunks, sha256_digest const& id, bytes_view chunk, chunk_state s) const {
        if (auto done = chunks.put(id, chunk); !done) { return done; }
        s.here = true;
        s.size = chunk.size();
        return put_state(tx, id, s);
    }
    /// One blob fewer has the chunk; whether none has now.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> drop(Tx& tx, sha256_digest const& id) const {
        auto s = state(tx, id);
        if (!s) { return s.error(); }
        if (!*s) { return failure{errc::corrupt, "chunk without a count"}; }
        if (--(*s)->blobs != 0) {
            if (auto done = put_state(tx, id, **s); !done) { return done.error(); }
            return false;
        }
        if (auto done = tx.erase(key('c', id)); !done) { return done.error(); }
        if (auto done = tx.put(key('d', id), {}); !done) { return done.error(); }
        return true;
    }

    std::string prefix_;
    manifest_limits limits_;
};

}  // namespace syncline::inline SYNCLINE_ABI
