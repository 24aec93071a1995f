// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Child processes that are this program once more, and talk in lines of JSON over pipes. POSIX.

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "json.hpp"

namespace venue {

/// Writes one line; false when nobody reads any more.
inline bool write_line(std::FILE* to, json const& message) {
    std::string const line = message.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
    return std::fwrite(line.data(), 1, line.size(), to) == line.size() && std::fflush(to) == 0;
}
/// Reads one line; false at the end, or when what comes is no JSON.
inline bool read_line(std::FILE* from, json& message) {
    char* line = nullptr;
    std::size_t room = 0;
    ssize_t const n = getline(&line, &room, from);
    bool good = n > 0;
    if (good) {
        message = json::parse(line, line + n, nullptr, false);
        good = !message.is_discarded();
    }
    std::free(line);
    return good;
}

/// A child with pipes to its standard input and output. When this object goes, the pipes close, upon which the
/// child ends, and it is waited for.
class child {
public:
    child() = default;
    child(child&& o) noexcept { swap(o); }
    child& operator=(child&& o) noexcept {
        child gone{std::move(o)};
        swap(gone);
        return *this;
    }
    ~child() { (void)finish(); }

    /// Runs the program at `path` with arguments; false, and `errno` says why, when that can't be done.
    [[nodiscard]] bool start(std::string const& path, std::vector<std::string> const& arguments) {
        int down[2], up[2];
        if (pipe(down) != 0) { return false; }
        if (pipe(up) != 0) {
            close(down[0]);
            close(down[1]);
            return false;
        }
        // Our ends must not live on in other children: they would never see the end of their input.
        for (int const fd : {down[0], down[1], up[0], up[1]}) { (void)fcntl(fd, F_SETFD, FD_CLOEXEC); }
        std::vector<char*> argv{const_cast<char*>(path.c_str())};
        for (std::string const& a : arguments) { argv.push_back(const_cast<char*>(a.c_str())); }
        argv.push_back(nullptr);
        pid_ = fork();
        if (pid_ == 0) {
            if (dup2(down[0], 0) == 0 && dup2(up[1], 1) == 1) { execv(path.c_str(), argv.data()); }
            _exit(127);
        }
        close(down[0]);
        close(up[1]);
        if (pid_ < 0) {
            close(down[1]);
            close(up[0]);
            return false;
        }
        to_ = fdopen(down[1], "w");
        from_ = fdopen(up[0], "r");
        return to_ != nullptr && from_ != nullptr;
    }
    /// Says something and waits for the answer; false when the child is gone.
    [[nodiscard]] bool ask(json const& message, json& answer) {
        return to_ != nullptr && write_line(to_, message) && read_line(from_, answer);
    }
    [[nodiscard]] bool hear(json& message) { return from_ != nullptr && read_line(from_, message); }
    /// Closes the pipes and waits; the exit code, or -1 when there was no child or a signal ended it.
    int finish() {
        if (to_ != nullptr) { std::fclose(std::exchange(to_, nullptr)); }
        if (from_ != nullptr) { std::fclose(std::exchange(from_, nullptr)); }
        if (pid_ <= 0) { return -1; }
        int state = 0;
        pid_t const pid = std::exchange(pid_, -1);
        while (waitpid(pid, &state, 0) < 0 && errno == EINTR) {}
        return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
    }

private:
    void swap(child& o) noexcept {
        std::swap(pid_, o.pid_);
        std::swap(to_, o.to_);
        std::swap(from_, o.from_);
    }

    pid_t pid_ = -1;
    std::FILE* to_ = nullptr;
    std::FILE* from_ = nullptr;
};

}  // namespace venue
