// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The other end of HTTP, scripted byte by byte: a server that answers what a test wrote, a client that sends it.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

namespace raw_http {

using tcp = boost::asio::ip::tcp;
using error = boost::system::error_code;

inline tcp::endpoint here(std::uint16_t port) { return {boost::asio::ip::address_v4::loopback(), port}; }

/// A whole reply of ours.
inline std::string reply(std::string_view body, std::string_view head = "200 OK",
                         std::string_view type = "application/vnd.syncline", std::string_view more = "") {
    std::string out = "HTTP/1.1 " + std::string(head) + "\r\n";
    if (!type.empty()) { out += "Content-Type: " + std::string(type) + "\r\n"; }
    out += std::string(more) + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
    return out;
}

/// The value of a header in a message's text; empty if it is not there.
inline std::string header(std::string const& text, std::string const& name) {
    auto const end = text.find("\r\n\r\n");
    auto const at = text.find("\r\n" + name + ": ");
    if (at == std::string::npos || at > end) { return {}; }
    auto const from = at + name.size() + 4;
    return text.substr(from, text.find("\r\n", from) - from);
}

/// Reads one message with Content-Length or without a body, as text; what came of it when the connection ends.
template <class Stream>
std::string read_message(Stream& stream) {
    std::string text;
    error e;
    char next = 0;
    while (!text.ends_with("\r\n\r\n")) {
        if (stream.read_some(boost::asio::buffer(&next, 1), e) == 0 || e) { return text; }
        text += next;
    }
    std::string const length = header(text, "Content-Length");
    std::size_t left = length.empty() ? 0 : static_cast<std::size_t>(std::strtoul(length.c_str(), nullptr, 10));
    std::string part(64 * 1024, '\0');
    while (left != 0) {
        std::size_t const n = stream.read_some(boost::asio::buffer(part.data(), (std::min)(left, part.size())), e);
        if (e) { return text; }
        text.append(part, 0, n);
        left -= n;
    }
    return text;
}

/// What a scripted server does with one request.
struct step {
    enum class after : std::uint8_t {
        go_on,  ///< with the connection's next step
        close,  ///< ends the connection
        reset,  ///< ends it with a TCP reset
        hang,   ///< waits until the client ends it
    };
    std::string answer{};
    after then = after::go_on;
    bool reads = true;      ///< false: answers before it has read anything
    bool dribbles = false;  ///< sends its answer byte by byte
};

/// The script of a captive portal: a page of its own to whoever asks, eight times.
inline std::vector<std::vector<step>> portal(std::string_view page) {
    step const answer{reply(page, "200 OK", "text/html"), step::after::close};
    return std::vector<std::vector<step>>(8, {answer});
}

/// Serves one connection after the other by a script, on a thread of its own; a connection too many is closed.
class server {
public:
    /// Port 0: any that is free.
    explicit server(std::vector<std::vector<step>> script, std::uint16_t port = 0)
        : script_(std::move(script)),
          acceptor_(io_, here(port)),
          port_(acceptor_.local_endpoint().port()),
          thread_([this] { serve(); }) {}
    server(server const&) = delete;
    server& operator=(server const&) = delete;
    ~server() {
        stopping_ = true;
        error e;
        tcp::socket waker(io_);
        waker.connect(here(port_), e);
        thread_.join();
    }
    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] int connections() const { return connections_; }
    [[nodiscard]] std::vector<std::string> requests() {
        std::lock_guard const lock(mutex_);
        return requests_;
    }

private:
    void serve() {
        for (std::size_t i = 0;; ++i) {
            tcp::socket socket(io_);
            error e;
            acceptor_.accept(socket, e);
            if (stopping_ || e) { return; }
            ++connections_;
            if (i < script_.size()) { play(socket, script_[i]); }
        }
    }
    void play(tcp::socket& socket, std::vector<step> const& steps) {
        error e;
        for (step const& s : steps) {
            if (s.reads) {
                std::string text = read_message(socket);
                if (text.empty()) { return; }
                std::lock_guard const lock(mutex_);
                requests_.push_back(std::move(text));
            }
            std::size_t const piece = s.dribbles ? 1 : s.answer.size();
            for (std::size_t at = 0; at < s.answer.size(); at += piece) {
                boost::asio::write(socket, boost::asio::buffer(s.answer.data() + at, piece), e);
            }
            if (s.then == step::after::close) { return; }
            if (s.then == step::after::reset) {
                socket.set_option(boost::asio::socket_base::linger(true, 0), e);
                return;
            }
            if (s.then == step::after::hang) { break; }
        }
        char ignored[256];
        while (!e) { socket.read_some(boost::asio::buffer(ignored), e); }
    }

    std::vector<std::vector<step>> script_;
    std::mutex mutex_;
    std::vector<std::string> requests_;
    std::atomic<int> connections_{0};
    std::atomic<bool> stopping_{false};
    boost::asio::io_context io_;
    tcp::acceptor acceptor_;
    std::uint16_t port_;
    std::thread thread_;
};

/// A connection that sends text as it stands. Reading ends by itself after five seconds.
class client {
public:
    explicit client(std::uint16_t port) : socket_(io_) {
        error e;
        socket_.connect(here(port), e);
        connected_ = !e;
#if !defined(_WIN32)
        timeval const patience{5, 0};
        ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
#endif
    }
    /// False when the other side has closed it.
    bool send(std::string_view text) {
        error e;
        boost::asio::write(socket_, boost::asio::buffer(text.data(), text.size()), e);
        return !e;
    }
    /// The next message.
    std::string message() { return read_message(socket_); }
    /// All that comes until the other side closes.
    std::string rest() {
        std::string text;
        error e;
        char part[4096];
        for (;;) {
            std::size_t const n = socket_.read_some(boost::asio::buffer(part), e);
            if (e) {
                ended_ = e == boost::asio::error::eof || e == boost::asio::error::connection_reset;
                return text;
            }
            text.append(part, n);
        }
    }
    [[nodiscard]] bool connected() const { return connected_; }
    /// Whether `rest` saw the other side's end, and not its own impatience.
    [[nodiscard]] bool ended() const { return ended_; }

private:
    boost::asio::io_context io_;
    tcp::socket socket_;
    bool connected_ = false;
    bool ended_ = false;
};

}  // namespace raw_http
