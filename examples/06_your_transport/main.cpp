// SPDX-License-Identifier: BSL-1.0
// A transport of your own over letters that may overtake each other, certified, and what a careless one is told.

#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <syncline/testing/transport_conformance.hpp>
#include <syncline/transport.hpp>

using namespace syncline;

namespace {

struct letter {
    std::uint32_t number = 0;
    bytes content{};
};

// region: transport
/// Numbers each request, so that replies find their completions in whatever order they come. `Careless`: gives a
/// reply to whoever has waited longest, and forgets those who still wait at the end.
template <bool Careless = false>
class letter_transport {
public:
    letter_transport() = default;
    letter_transport(letter_transport const&) = delete;
    letter_transport& operator=(letter_transport const&) = delete;
    ~letter_transport() {
        if (!Careless) { give_up(errc::cancelled); }
    }

    void exchange(bytes_view request, completion done) {
        if (request.size() > limits().request_bytes_max) { return done({errc::too_large, {}}); }
        if (!connected_) { return done({errc::unreachable, {}}); }
        waiting_.emplace(++last_, done);
        outgoing_.push_back({last_, to_bytes(request)});
    }
    transport_limits limits() const { return {.request_bytes_max = 4096, .reply_bytes_max = 4096}; }

    /// The network's side: takes what is to be sent, and brings what came; a failure where no reply will come.
    std::vector<letter> take_outgoing() { return std::exchange(outgoing_, {}); }
    void deliver(std::uint32_t number, result<bytes_view> reply) {
        auto const at = Careless ? waiting_.begin() : waiting_.find(number);
        if (at == waiting_.end()) { return; }  // a letter that came twice
        completion const done = at->second;
        waiting_.erase(at);
        bool const too_large = reply && reply->size() > limits().reply_bytes_max;
        done({too_large ? result<bytes_view>{errc::too_large} : reply, {}});
    }
    void disconnect() {
        connected_ = false;
        outgoing_.clear();
        give_up(errc::connection_lost);
    }
    void reconnect() { connected_ = true; }

private:
    void give_up(errc why) {
        for (auto const& [number, done] : std::exchange(waiting_, {})) { done({why, {}}); }
    }

    std::map<std::uint32_t, completion> waiting_;
    std::vector<letter> outgoing_;
    std::uint32_t last_ = 0;
    bool connected_ = true;
};
static_assert(transport<letter_transport<>>);
// endregion: transport

// region: fixture
/// Connects the transport to the suite's peer: a post office that delivers the last letter first.
template <bool Careless>
class post_office {
public:
    explicit post_office(testing::conformance_peer& peer) : peer_(peer) {}

    letter_transport<Careless>& subject() { return way_; }
    void drive() {
        for (auto post = way_.take_outgoing(); !post.empty(); post = way_.take_outgoing()) {
            while (!post.empty()) {
                letter const last = std::move(post.back());
                post.pop_back();
                peer_reply const reply = peer_(last.content);
                way_.deliver(last.number, reply.message ? result<bytes_view>{*reply.message} : reply.message.error());
            }
        }
    }
    void disconnect() { way_.disconnect(); }
    void reconnect() { way_.reconnect(); }

private:
    testing::conformance_peer& peer_;
    letter_transport<Careless> way_;
};
// endregion: fixture

template <bool Careless>
void certify(char const* name) {
    // region: certify
    auto const broken = testing::certify_transport(
        [](testing::conformance_peer& peer) { return std::make_unique<post_office<Careless>>(peer); });
    // endregion: certify
    std::cout << name << ": " << (broken.empty() ? "certified\n" : "not a transport\n") << testing::to_text(broken);
}

}  // namespace

int main() {
    certify<false>("letter_transport");
    certify<true>("careless letter_transport");
}
