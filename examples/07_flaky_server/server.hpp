// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A server on loopback that answers each request as a script says, badly on purpose.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

/// What is said to a request: a status line's end, headers, a body. Without a status it says nothing and hangs.
struct answer {
    std::string status{};
    std::string headers{};
    std::string body{};
};

inline answer ours(std::string status, std::string headers = {}) {
    return {std::move(status), "Content-Type: application/vnd.syncline\r\n" + std::move(headers), "ok"};
}

/// Serves one connection after the other, one request each, on a thread of its own.
class flaky_server {
public:
    /// `script`: for a request's body the answers to it, in turn; when they are used up, 200.
    explicit flaky_server(std::map<std::string, std::vector<answer>> script)
        : script_(std::move(script)),
          acceptor_(io_, {boost::asio::ip::address_v4::loopback(), 0}),
          thread_([this] { serve(); }) {}
    flaky_server(flaky_server const&) = delete;
    flaky_server& operator=(flaky_server const&) = delete;
    ~flaky_server() {
        stopping_ = true;
        boost::system::error_code ignored;
        boost::asio::ip::tcp::socket waker(io_);
        waker.connect(acceptor_.local_endpoint(ignored), ignored);
        thread_.join();
    }
    [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

private:
    void serve() {
        for (;;) {
            boost::system::error_code e;
            boost::asio::ip::tcp::socket socket(io_);
            acceptor_.accept(socket, e);
            if (stopping_ || e) { return; }
            std::string const body = read_body(socket);
            auto& answers = script_[body];
            answer const next = answers.empty() ? ours("200 OK") : answers.front();
            if (!answers.empty()) { answers.erase(answers.begin()); }
            if (next.status.empty()) {
                char more = 0;
                socket.read_some(boost::asio::buffer(&more, 1), e);  // until the client has had enough
                continue;
            }
            std::string const text = "HTTP/1.1 " + next.status + "\r\n" + next.headers + "Connection: close\r\n" +
                                     "Content-Length: " + std::to_string(next.body.size()) + "\r\n\r\n" + next.body;
            boost::asio::write(socket, boost::asio::buffer(text), e);
            socket.shutdown(boost::asio::ip::tcp::socket::shutdown_send, e);
        }
    }
    /// The body of a request with a Content-Length, or what came of it.
    static std::string read_body(boost::asio::ip::tcp::socket& socket) {
        std::string text;
        std::size_t end = std::string::npos;
        std::size_t length = 0;
        boost::system::error_code e;
        char part[1024];
        while (end == std::string::npos || text.size() < end + 4 + length) {
            std::size_t const n = socket.read_some(boost::asio::buffer(part), e);
            if (e) { return {}; }
            text.append(part, n);
            end = text.find("\r\n\r\n");
            std::size_t const field = text.find("Content-Length: ");
            if (field < end) {
                length = static_cast<std::size_t>(std::strtoul(text.c_str() + field + 16, nullptr, 10));
            }
        }
        return text.substr(end + 4, length);
    }

    std::map<std::string, std::vector<answer>> script_;
    boost::asio::io_context io_;
    boost::asio::ip::tcp::acceptor acceptor_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;  // last, so that it finds the others
};
