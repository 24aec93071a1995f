// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `codec`: compression as a concept, the sink that keeps decompression within bounds, and dictionaries that both ends
/// have agreed on.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Takes what a decoder makes, up to a limit and not a byte beyond: a bomb of a few bytes can't fill the memory.
///
/// What was taken is in `out()`, behind what was there; `roll_back()` takes it off again.
/// Cost: memory grows with what came, never at once to what a header says is coming.
class bounded_sink {
public:
    /// `out` outlives the sink and is written by nobody else meanwhile.
    bounded_sink(bytes& out, std::size_t most) noexcept : out_(out), start_(out.size()), most_(most) {}

    /// All of `b`, or nothing of it and `errc::limit`.
    [[nodiscard]] status write(bytes_view b) {
        if (b.size() > left()) { return failure{errc::limit, "longer than the sink takes"}; }
        append(out_, b);
        return {};
    }
    /// Room for at most `wanted` bytes, to be written before the next call and then announced by `wrote`. Empty at the
    /// limit.
    [[nodiscard]] std::span<std::byte> room(std::size_t wanted) {
        std::size_t const n = (std::min)(wanted, left());
        filled_ = out_.size();
        out_.resize(filled_ + n);
        return {out_.data() + filled_, n};
    }
    /// Precondition: `n` is at most the room given last.
    void wrote(std::size_t n) {
        SYNCLINE_ASSERT(filled_ + n <= out_.size());
        out_.resize(filled_ + n);
    }
    void roll_back() { out_.resize(start_); }

    [[nodiscard]] std::size_t left() const noexcept { return most_ - (out_.size() - start_); }
    [[nodiscard]] std::size_t size() const noexcept { return out_.size() - start_; }
    [[nodiscard]] bytes& out() noexcept { return out_; }

private:
    bytes& out_;
    std::size_t start_;
    std::size_t most_;
    std::size_t filled_ = 0;
};

/// Compression without loss.
///
/// Notation: `c` lvalue of C, `d` lvalue of C const, `b` what is compressed, `p` a prefix, bytes that both ends have:
/// a dictionary, an older version; may be empty, and a codec may ignore it.
/// | expression             | result  | meaning                                                                   |
/// | c.compress(b, p, out)   | status  | appends to the bytes `out`; on an error `out` is as it was                  |
/// | c.decompress(b, p, sink)| status  | writes the original to a `bounded_sink`; on an error it is rolled back      |
/// | d.name()                | text    | what both ends call it: "zstd", "lz4"; static                               |
/// Axioms (the compiler can't check them; testing/codec_conformance.hpp does, by these names):
///   round_trip     with the same prefix, decompressing gives back what was compressed
///   appends        compress leaves what was in `out` before, and so does decompress
///   bounded        nothing beyond the sink's limit: `errc::limit`, and the sink is rolled back
///   hostile        any bytes give an error, or some bytes, never anything else; truncated ones an error
///   deterministic  the same input gives the same bytes, whatever was compressed before
///   stable         an error leaves the codec as good as new
/// Threads: the caller serialises.
template <class C>
concept codec = requires(C& c, C const& d, bytes_view b, bytes& out, bounded_sink& sink) {
    { c.compress(b, b, out) } -> std::same_as<status>;
    { c.decompress(b, b, sink) } -> std::same_as<status>;
    { d.name() } -> std::same_as<std::string_view>;
};

/// No compression: the bytes as they stand.
class no_codec {
public:
    [[nodiscard]] status compress(bytes_view in, bytes_view, bytes& out) {
        append(out, in);
        return {};
    }
    [[nodiscard]] status decompress(bytes_view in, bytes_view, bounded_sink& sink) { return sink.write(in); }
    [[nodiscard]] std::string_view name() const noexcept { return "none"; }
};
static_assert(codec<no_codec>);

/// The exact archetype: it models the concept and nothing else.
class codec_archetype {
public:
    codec_archetype() = delete;
    codec_archetype(codec_archetype const&) = delete;
    codec_archetype& operator=(codec_archetype const&) = delete;
    status compress(bytes_view, bytes_view, bytes&) { return errc::unsupported; }
    status decompress(bytes_view, bytes_view, bounded_sink&) { return errc::unsupported; }
    std::string_view name() const { return ""; }
};
static_assert(codec<codec_archetype>);

/// One requirement taken away: the concept must refuse it.
template <int Missing>
class codec_without {
public:
    status compress(bytes_view, bytes_view, bytes&) requires(Missing != 1) { return errc::unsupported; }
    status decompress(bytes_view, bytes_view, bounded_sink&) requires(Missing != 2) { return errc::unsupported; }
    std::string_view name() const requires(Missing != 3) { return ""; }
};
static_assert(codec<codec_without<0>> && !codec<codec_without<1>> && !codec<codec_without<2>> &&
              !codec<codec_without<3>>);

/// Bytes that records of one kind tend to hold, trained once and known to both ends: a prefix for a codec.
struct dictionary {
    std::string stream{};       ///< what it is for, say a collection's name; 1 to 64 bytes
    std::uint32_t version = 0;  ///< later ones are better
    bytes content{};

    /// Names the content: the same version with another content is another dictionary.
    [[nodiscard]] std::uint64_t fingerprint() const noexcept {
        auto const digest = sha256(content);
        return read_u64(digest);
    }
};

/// A dictionary as it is spoken of, without its content.
struct dictionary_name {
    std::string stream{};
    std::uint32_t version = 0;
    std::uint64_t fingerprint = 0;
    friend bool operator==(dictionary_name const&, dictionary_name const&) = default;
};

/// The dictionaries that an end has. Each tells the other by `offer()`; `agree()` finds the one to use. As what was
/// compressed carries its dictionary's fingerprint, one that is gone shows as `not_found`, never as other bytes.
///
/// A value; linear in the dictionaries, of which there are few.
class dictionary_set {
public:
    static constexpr std::size_t count_max = 64;
    static constexpr std::size_t content_max = std::size_t{1} << 20;

    /// Errors, nothing changed: `limit`, `invalid` (no name), `already_exists` (the version with this or another
    /// content).
    [[nodiscard]] status add(dictionary d) {
        if (d.stream.empty() || d.stream.size() > 64 || !valid_utf8(d.stream)) {
            return failure{errc::invalid, "stream's name"};
        }
        if (all_.size() == count_max || d.content.size() > content_max) { return failure{errc::limit, "dictionaries"}; }
        for (auto const& a : all_) {
            if (a.name.stream == d.stream && a.name.version == d.version) {
                return failure{errc::already_exists, "dictionary"};
            }
        }
        std::uint64_t const fingerprint = d.fingerprint();
        all_.push_back({{std::move(d.stream), d.version, fingerprint}, std::move(d.content)});
        return {};
    }
    /// What to tell the peer: an array of streams, versions and fingerprints in canonical CBOR.
    [[nodiscard]] bytes offer() const {
        bytes out;
        cbor_writer w(out);
        w.array(3 * all_.size());
        for (auto const& a : all_) {
            w.text(a.name.stream);
            w.unsigned_integer(a.name.version);
            w.unsigned_integer(a.name.fingerprint);
        }
        return out;
    }
    /// The latest dictionary for the stream that is in the peer's offer too, or null: then none is used.
    /// Errors: of a malformed offer, as of `cbor_reader`, `limit`.
    [[nodiscard]] result<dictionary_name const*> agree(std::string_view stream, bytes_view offer) const {
        cbor_reader in(offer, {.bytes_max = 1 << 14, .string_max = 64, .items_max = 3 * count_max});
        dictionary_name const* best = nullptr;
        std::size_t const n = in.array();
        if (n % 3 != 0) { in.fail({errc::malformed, "offer of the wrong length"}); }
        for (std::size_t i = 0; i < n / 3 && !in.failed(); ++i) {
            std::string_view const theirs = in.text();
            std::uint64_t const version = in.unsigned_integer();
            std::uint64_t const fingerprint = in.unsigned_integer();
            if (theirs != stream) { continue; }
            for (auto const& a : all_) {
                bool const same =
                    a.name.stream == stream && a.name.version == version && a.name.fingerprint == fingerprint;
                if (same && (best == nullptr || a.name.version > best->version)) { best = &a.name; }
            }
        }
        if (auto const ok = in.finish(); !ok) { return ok.error(); }
        return best;
    }
    /// The content, borrowed until the next `add`; `not_found`.
    [[nodiscard]] result<bytes_view> find(std::uint64_t fingerprint) const noexcept {
        for (auto const& a : all_) {
            if (a.name.fingerprint == fingerprint) { return bytes_view{a.content}; }
        }
        return failure{errc::not_found, "dictionary that isn't here"};
    }

private:
    struct entry {
        dictionary_name name;
        bytes content;
    };
    std::vector<entry> all_;
};

/// Appends the fingerprint (8 bytes) and what the codec makes of `in` with the dictionary.
/// Errors, `out` as it was: `not_found`, the codec's.
template <codec C>
[[nodiscard]] status compress_with(C& c, dictionary_set const& set, std::uint64_t fingerprint, bytes_view in,
                                   bytes& out) {
    auto const prefix = set.find(fingerprint);
    if (!prefix) { return prefix.error(); }
    std::size_t const old = out.size();
    append_u64(out, fingerprint);
    auto const ok = c.compress(in, *prefix, out);
    if (!ok) { out.resize(old); }
    return ok;
}
/// Errors, the sink rolled back: `malformed`, `not_found` (ask for it, or for the value without), the codec's.
template <codec C>
[[nodiscard]] status decompress_with(C& c, dictionary_set const& set, bytes_view in, bounded_sink& sink) {
    if (in.size() < 8) { return failure{errc::malformed, "no dictionary's fingerprint"}; }
    auto const prefix = set.find(read_u64(in));
    if (!prefix) { return prefix.error(); }
    return c.decompress(in.subspan(8), *prefix, sink);
}

}  // namespace syncline::inline SYNCLINE_ABI
