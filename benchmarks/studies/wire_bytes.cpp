// SPDX-License-Identifier: BSL-1.0

/// What the main example's messages take on the wire under each codec: wire_bytes TRAINING_FOLDER FOLDER
/// The folders hold recorded messages, one a file (VENUE_RECORD, see examples/venue_day/device.cpp). Dictionaries, one
/// for requests and one for replies, are trained on the first and never on what is measured. Every message is
/// compressed alone, as it would be sent, is decompressed again and compared. Prints "way,requests,replies".

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <syncline/adapters/zlib.hpp>
#include <syncline/adapters/zstd.hpp>
#include <syncline/delta/codec.hpp>

namespace {

using namespace syncline;

struct traffic {
    std::vector<bytes> requests, replies;
};

traffic load(char const* folder) {
    std::vector<std::filesystem::path> files;
    for (auto const& e : std::filesystem::directory_iterator(folder)) { files.push_back(e.path()); }
    std::sort(files.begin(), files.end());
    traffic out;
    for (auto const& f : files) {
        std::ifstream in(f, std::ios::binary);
        std::string const all{std::istreambuf_iterator<char>(in), {}};
        bool const request = f.string().ends_with("request");
        (request ? out.requests : out.replies).push_back(to_bytes(all));
    }
    return out;
}

bool good = true;

/// Bytes of all messages, each by itself. A message that gets no smaller is sent as it is; one byte says which.
template <class Pack, class Unpack>
std::size_t size_of(std::vector<bytes> const& messages, Pack pack, Unpack unpack) {
    std::size_t n = 0;
    for (bytes const& m : messages) {
        bytes packed, back;
        good = good && pack(m, packed);
        bounded_sink sink(back, m.size());
        good = good && unpack(packed, sink) && back == m;
        n += 1 + (std::min)(packed.size(), m.size());
    }
    return n;
}

template <codec C>
void alone(char const* name, C& c, traffic const& t) {
    auto const pack = [&](bytes_view in, bytes& out) { return c.compress(in, {}, out).has_value(); };
    auto const unpack = [&](bytes_view in, bounded_sink& sink) { return c.decompress(in, {}, sink).has_value(); };
    std::printf("%s,%zu,%zu\n", name, size_of(t.requests, pack, unpack), size_of(t.replies, pack, unpack));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: wire_bytes TRAINING_FOLDER FOLDER\n");
        return 2;
    }
    traffic const training = load(argv[1]);
    traffic const t = load(argv[2]);
    auto const plain = [](std::vector<bytes> const& messages) {
        std::size_t n = 0;
        for (bytes const& m : messages) { n += m.size(); }
        return n;
    };
    std::printf("way,requests,replies\nno codec,%zu,%zu\n", plain(t.requests), plain(t.replies));
    zlib_codec zlib;
    alone("zlib", zlib, t);
    zstd_codec zstd({.level = 19, .checksum = false});
    alone("zstd 19", zstd, t);
    dictionary_set set;
    std::vector<std::uint64_t> fingerprints;
    for (auto const* samples : {&training.requests, &training.replies}) {
        std::vector<bytes_view> const views(samples->begin(), samples->end());
        auto trained = zstd_train(views, std::size_t{32} << 10);
        if (!trained) {
            std::fprintf(stderr, "too few messages to train on\n");
            return 1;
        }
        dictionary d{samples == &training.requests ? "requests" : "replies", 1, std::move(*trained)};
        fingerprints.push_back(d.fingerprint());
        good = good && set.add(std::move(d));
    }
    auto const with = [&](std::size_t which, std::vector<bytes> const& messages) {
        return size_of(
            messages,
            [&](bytes_view in, bytes& out) {
                return compress_with(zstd, set, fingerprints[which], in, out).has_value();
            },
            [&](bytes_view in, bounded_sink& sink) { return decompress_with(zstd, set, in, sink).has_value(); });
    };
    std::printf("zstd 19 with a dictionary,%zu,%zu\n", with(0, t.requests), with(1, t.replies));
    if (!good) { std::fprintf(stderr, "a message did not come back\n"); }
    return good ? 0 : 1;
}
