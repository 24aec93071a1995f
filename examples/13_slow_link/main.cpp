// SPDX-License-Identifier: BSL-1.0
// A manuscript of 5 MB is edited on a train. What would it cost to send it over 256 kbit/s: in full, by what changed in
// its fields, as a binary delta, or to a server of which only a signature is known? Then the chooser decides.

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <syncline/core.hpp>
#include <syncline/delta.hpp>

using namespace syncline;

namespace {

struct paragraph {
    std::uint64_t id = 0;
    std::string text;
};

/// A manuscript as canonical CBOR: a list of paragraphs with identities.
bytes encode(std::vector<paragraph> const& all) {
    bytes out;
    cbor_writer w(out);
    w.array(all.size());
    for (paragraph const& p : all) {
        w.map(2);
        w.text("id");
        w.unsigned_integer(p.id);
        w.text("text");
        w.text(p.text);
    }
    return out;
}

std::vector<paragraph> written() {
    constexpr std::string_view words[] = {"the",   "valley", "lay",   "under",  "snow",    "and",    "no",
                                          "train", "had",    "come",  "since",  "morning", "she",    "wrote",
                                          "it",    "down",   "again", "slowly", "while",   "waiting"};
    random_generator r(13);
    std::vector<paragraph> out;
    for (std::uint64_t id = 1; id <= 17'000; ++id) {
        std::string text;
        for (std::uint64_t n = 40 + below(r, 30); n != 0; --n) {
            text += words[below(r, std::size(words))];
            text += ' ';
        }
        out.push_back({id, text});
    }
    return out;
}

/// What an hour's work does: words, a new paragraph, one gone, one moved to the front.
std::vector<paragraph> edited(std::vector<paragraph> all) {
    for (std::size_t i = 100; i < 3000; i += 290) { all[i].text.insert(30, "nearly "); }
    all.insert(all.begin() + 5000, {20'001, "They called it the winter of the trains, and nobody knew why it ended."});
    all.erase(all.begin() + 9000);
    paragraph const moved = all[12'000];
    all.erase(all.begin() + 12'000);
    all.insert(all.begin(), moved);
    return all;
}

void tell(char const* what, std::size_t size) {
    double const seconds = static_cast<double>(size) * 8 / 256'000;
    std::printf("%-34s %9zu bytes %8.2f s\n", what, size, seconds);
}

}  // namespace

int main() {
    std::vector<paragraph> const manuscript = written();
    bytes const base = encode(manuscript);
    bytes const target = encode(edited(manuscript));
    delta_scratch scratch;
    std::printf("over 256 kbit/s\n");
    tell("in full", target.size());

    bytes signature;  // what a server sends whose version nobody here has
    signature_encode(base, {}, signature);
    bytes by_signature;
    auto const index = signature_index::read(signature);
    if (!index) { return 1; }
    index->encode(target, by_signature, scratch);
    tell("by a signature of the other end", signature.size() + by_signature.size());

    // region: levels
    for (auto const level : {delta_level::fastest, delta_level::fast, delta_level::smaller, delta_level::smallest}) {
        bytes delta;
        vcdiff_encode(base, target, delta, scratch, {.level = level});
        tell(("VCDIFF, level " + std::to_string(static_cast<int>(level))).c_str(), delta.size());
    }
    // endregion: levels

    bytes fields;
    field_delta_encode(value_view(base), value_view(target), fields, scratch);
    tell("the fields that changed", fields.size());

    // region: choose
    no_codec codec;  // zstd_codec of adapters/zstd.hpp, for one
    delta_chooser chooser(codec, {.cpu_ns = 200'000'000});
    bytes envelope;
    delta_choice const choice = chooser.choose(1, bytes_view(base), target, envelope);
    bytes received;
    auto const ok = chooser.apply(bytes_view(base), envelope, received, {}, sha256(target));
    // endregion: choose
    tell("the chooser's", choice.size);
    std::printf("it chose way %d; the other end %s\n", static_cast<int>(choice.kind),
                ok && received == target ? "has the manuscript as it is here" : "has something else");

    // region: fallback
    bytes const forgotten = to_bytes("another version");
    if (auto const refused = chooser.apply(bytes_view(forgotten), envelope, received, {}, sha256(target)); !refused) {
        std::printf("with another base: %s, so it asks for the full value\n", refused.error().detail);
    }
    // endregion: fallback
}
