// SPDX-License-Identifier: BSL-1.0

/// 1,000 sessions on real WebSockets of one machine, each subscribed to one topic, told of one change: from `publish` to the
/// last one that has it. Half of the time is the listening side's, which runs in the same process on one thread. Beside it
/// the hub alone, and the writing of the same bytes to as many plain TCP connections, which no server can undercut.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <syncline/adapters/websocket.hpp>

namespace {

using namespace syncline;

constexpr std::size_t sessions = 1000;

id128 life() { return {{std::byte{1}}}; }

void hub(benchmark::State& state) {
    auto const may = [](std::string_view, std::string_view) { return true; };
    live_hub h(life());
    std::vector<live_hub::member> all;
    for (std::size_t i = 0; i < sessions; ++i) {
        all.push_back(*h.join("p", {}));
        (void)h.answer(all.back(), encode(live_frame{live_subscribe{{"rooms"}}}), {}, may);
    }
    std::uint64_t position = 0;
    for (auto _ : state) {
        h.publish("rooms", ++position);
        while (auto const m = h.next_ready()) { benchmark::DoNotOptimize(h.take(*m)); }
    }
}
BENCHMARK(hub)->Name("live/tell_1000/hub/ours")->Unit(benchmark::kMicrosecond);

void websockets(benchmark::State& state) {
    auto handler = [](request_context const&, bytes_view) -> peer_reply { return errc::unsupported; };
    auto may = [](std::string_view, std::string_view) { return true; };
    websocket_server_options o;
    o.connections_max = sessions;
    websocket_server server(o, life(), handler, may);
    if (!server.listen()) { return state.SkipWithError("can't listen"); }
    std::thread serving([&] { server.run(); });
    std::vector<std::unique_ptr<websocket_transport>> all;
    bool well = true;
    auto subscribed = [&](transport_reply const& r) { well = well && r.message; };
    for (std::size_t i = 0; i < sessions && well; ++i) {
        websocket_options to;
        to.host = "127.0.0.1";
        to.port = server.port();
        all.push_back(std::make_unique<websocket_transport>(to));
        all.back()->exchange(encode(live_frame{live_subscribe{{"rooms"}}}), completion::to(subscribed));
    }
    std::uint64_t position = 0;
    for (auto _ : state) {
        if (!well) { break; }
        server.publish("rooms", ++position);
        for (auto& way : all) {
            bool told = false;
            while (!told && way->wait(milliseconds{5000})) {
                (void)way->receive([&](bytes_view m) {
                    auto const frame = decode_live_frame(m);
                    auto const* news = frame ? std::get_if<live_news>(&*frame) : nullptr;
                    told = told || (news != nullptr && news->position == position);
                });
            }
            well = well && told;
        }
    }
    all.clear();
    server.stop();
    serving.join();
    if (!well) { state.SkipWithError("not all connected, or not all were told"); }
}
BENCHMARK(websockets)->Name("live/tell_1000/websockets/ours")->Unit(benchmark::kMillisecond)->UseRealTime();

void plain_tcp(benchmark::State& state) {
    using tcp = boost::asio::ip::tcp;
    boost::asio::io_context io;
    tcp::acceptor acceptor(io, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
    std::vector<tcp::socket> near_ends;
    std::vector<tcp::socket> far_ends;
    try {
        for (std::size_t i = 0; i < sessions; ++i) {
            near_ends.emplace_back(io).connect(acceptor.local_endpoint());
            far_ends.push_back(acceptor.accept());
            far_ends.back().set_option(tcp::no_delay(true));
        }
    } catch (boost::system::system_error const&) { return state.SkipWithError("not all connected"); }
    std::string const message(20, 'x');
    std::string heard(20, ' ');
    for (auto _ : state) {
        std::thread telling([&] {
            for (tcp::socket& s : far_ends) { boost::asio::write(s, boost::asio::buffer(message)); }
        });
        for (tcp::socket& s : near_ends) { s.read_some(boost::asio::buffer(heard)); }
        telling.join();
    }
}
BENCHMARK(plain_tcp)->Name("live/tell_1000/websockets/plain_tcp")->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
