// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Kills a program of one's own with SIGKILL at any moment, starts it again, and asks whether it kept what it
/// acknowledged (POSIX).

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#if !defined(__unix__) && !defined(__APPLE__)
    #error "syncline/testing/process_harness.hpp needs POSIX: fork, exec, pipes and signals"
#endif

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
    #include <sys/prctl.h>
#endif

#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/testing/violation.hpp>

extern "C" char** environ;  // POSIX leaves the declaration to its user

namespace syncline::inline SYNCLINE_ABI::testing {

// ---- In the child ----------------------------------------------------------------------------------------------

/// The child's end of the line to the harness. Without a harness every call does nothing, so that the program runs as
/// it is. A line is one write, which a kill leaves whole or takes away.
class process_link {
public:
    /// From the environment that the harness made.
    process_link() {
        char const* const fds = std::getenv("SYNCLINE_PROCESS");
        if (fds == nullptr) { return; }
        char* rest = nullptr;
        in_ = static_cast<int>(std::strtol(fds, &rest, 10));
        out_ = *rest == ',' ? static_cast<int>(std::strtol(rest + 1, &rest, 10)) : -1;
        if (*rest == ',') { run_ = std::strtoull(rest + 1, &rest, 10); }
        if (*rest == ',') {
            stop_at_visit_ = std::strtoull(rest + 1, &rest, 10);
            if (*rest == ',') { stop_at_ = rest + 1; }
        }
#if defined(__linux__)
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // no child outlives the test, however that ends
#endif
    }

    /// Whether a harness started this process.
    [[nodiscard]] bool driven() const noexcept { return out_ >= 0; }
    /// How often it was started before: 0 the first time.
    [[nodiscard]] std::uint64_t run() const noexcept { return run_; }

    /// Recovery is over.
    void ready() { say("R"); }
    /// This is done, and has to be found after any kill. No line breaks in it.
    void acknowledge(std::string_view what) { say("A " + std::string(what)); }
    /// Something is wrong that no kill explains.
    void wrong(std::string_view what) { say("F " + std::string(what)); }
    /// A line of one's own, for a parent that reads lines.
    void say(std::string line) {
        if (!driven()) { return; }
        line += '\n';
        char const* from = line.data();
        std::size_t left = line.size();
        while (left != 0) {
            ssize_t const n = ::write(out_, from, left);
            if (n < 0 && errno == EINTR) { continue; }
            if (n <= 0) { std::_Exit(3); }  // the parent is gone
            from += n;
            left -= static_cast<std::size_t>(n);
        }
    }

    /// A place where the harness may want to kill: if it does, the process stands here until it dies.
    void point(std::string_view name) {
        if (!driven()) { return; }
        std::uint64_t& visits = visits_[std::string(name)];
        if (++visits == 1) { say("p " + std::string(name)); }
        if (name != stop_at_ || visits != stop_at_visit_) { return; }
        say("P " + std::string(name));
        for (;;) { std::this_thread::sleep_for(std::chrono::seconds{1}); }
    }

    /// A byte that the parent said, 0 when it said none in that time, 'q' (end, please) when it is gone.
    [[nodiscard]] char told(milliseconds wait) {
        if (in_ < 0) { return 0; }
        pollfd p{in_, POLLIN, 0};
        if (::poll(&p, 1, static_cast<int>(wait.count())) <= 0) { return 0; }
        char c = 0;
        return ::read(in_, &c, 1) == 1 ? c : 'q';
    }

private:
    int in_ = -1;
    int out_ = -1;
    std::uint64_t run_ = 0;
    std::uint64_t stop_at_visit_ = 0;
    std::string stop_at_{};
    std::map<std::string, std::uint64_t> visits_{};
};

/// The link of this process. Threads: one may use it.
[[nodiscard]] inline process_link& this_process() {
    static process_link link;
    return link;
}
/// A place where the harness may want to kill; costs a look-up in a map, and nothing without a harness.
inline void process_point(std::string_view name) { this_process().point(name); }

// ---- In the parent ---------------------------------------------------------------------------------------------

/// How a process ended.
struct process_end {
    bool killed = false;  ///< by a signal
    int code = 0;         ///< that signal's number, or what it returned
    friend constexpr bool operator==(process_end const&, process_end const&) = default;
};

/// Where a started process is to stand still, so that it can be killed there.
struct kill_point {
    std::string name{};
    std::uint64_t visit = 1;  ///< counted from 1
};

/// One program, started again and again. Only a process that this object started, and that it has not seen end, is ever
/// sent a signal. Threads: none should start processes at the same time, as a child could then hold another's pipe.
class child_process {
public:
    /// `hear(line)` is told each line that the process says, during read(), kill() and wait().
    explicit child_process(std::function<void(std::string const&)> hear) : hear_(std::move(hear)) {}
    child_process(child_process const&) = delete;
    child_process& operator=(child_process const&) = delete;
    ~child_process() {
        if (running()) { (void)kill(); }
    }

    /// Runs `command[0]` with the rest as arguments; `environment` adds to this process's ("NAME=value").
    /// Errors: `storage_io`, with errno as `failure::native`, when there is no more of something; a program that can't
    /// be run ends with 127. Precondition: not running.
    [[nodiscard]] status start(std::vector<std::string> const& command,
                               std::vector<std::string> const& environment = {}, kill_point const& stop_at = {}) {
        SYNCLINE_ASSERT(!running() && !command.empty());
        int to[2];
        int from[2];
        if (::socketpair(AF_UNIX, SOCK_STREAM, 0, to) != 0) { return no_more("socketpair"); }
        if (::pipe(from) != 0) {
            ::close(to[0]);
            ::close(to[1]);
            return no_more("pipe");
        }
        for (int const fd : {to[0], to[1], from[0], from[1]}) { ::fcntl(fd, F_SETFD, FD_CLOEXEC); }
#if defined(SO_NOSIGPIPE)
        int const on = 1;
        ::setsockopt(to[1], SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
        // All is made ready before the fork: after it only few functions may be called.
        std::vector<std::string> words = command;
        std::vector<std::string> settings;
        for (char** e = ::environ; *e != nullptr; ++e) {
            if (std::strncmp(*e, "SYNCLINE_PROCESS=", 17) != 0) { settings.emplace_back(*e); }
        }
        settings.insert(settings.end(), environment.begin(), environment.end());
        settings.push_back("SYNCLINE_PROCESS=" + std::to_string(to[0]) + ',' + std::to_string(from[1]) + ',' +
                           std::to_string(runs_) + ',' + std::to_string(stop_at.name.empty() ? 0 : stop_at.visit) +
                           ',' + stop_at.name);
        std::vector<char*> const argv = pointers(words);
        std::vector<char*> const envp = pointers(settings);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::fcntl(to[0], F_SETFD, 0);
            ::fcntl(from[1], F_SETFD, 0);
            ::execve(argv[0], argv.data(), envp.data());
            ::_exit(127);
        }
        ::close(to[0]);
        ::close(from[1]);
        if (pid_ < 0) {
            ::close(to[1]);
            ::close(from[0]);
            return no_more("fork");
        }
        in_ = to[1];
        out_ = from[0];
        ::fcntl(out_, F_SETFL, O_NONBLOCK);
        unread_.clear();
        closed_ = false;
        ++runs_;
        return {};
    }
    /// How often it was started.
    [[nodiscard]] std::uint64_t runs() const noexcept { return runs_; }
    [[nodiscard]] bool running() const noexcept { return pid_ > 1; }
    /// It has closed its end: it has ended, or is about to.
    [[nodiscard]] bool hung_up() const noexcept { return closed_; }
    /// What is readable when it has said something, to wait for with poll.
    [[nodiscard]] int descriptor() const noexcept { return out_; }

    /// Hears what it has said so far; whether that was anything.
    bool read() {
        if (out_ < 0) { return false; }
        char buffer[16 * 1024];
        ssize_t const n = ::read(out_, buffer, sizeof buffer);
        closed_ = closed_ || n == 0;
        if (n <= 0) { return false; }
        unread_.append(buffer, static_cast<std::size_t>(n));
        std::size_t from = 0;
        for (std::size_t at; (at = unread_.find('\n', from)) != std::string::npos; from = at + 1) {
            hear_(unread_.substr(from, at - from));
        }
        unread_.erase(0, from);
        return true;
    }
    /// Says something to it; false when it no longer listens.
    [[nodiscard]] bool tell(char what) {
#if defined(MSG_NOSIGNAL)
        return ::send(in_, &what, 1, MSG_NOSIGNAL) == 1;
#else
        return ::send(in_, &what, 1, 0) == 1;
#endif
    }

    /// Kills it wherever it is, and hears what it had said before: that counts. Precondition: running.
    process_end kill() {
        // To the system -1 is every process, 0 every one of the group, 1 the first: never pass on what is no child.
        SYNCLINE_ASSERT(pid_ > 1);
        ::kill(pid_, SIGKILL);
        int how = 0;
        while (::waitpid(pid_, &how, 0) < 0 && errno == EINTR) {}
        return gone(how);
    }
    /// How it ended, if it does within that time. Precondition: running.
    [[nodiscard]] std::optional<process_end> wait(milliseconds patience) {
        SYNCLINE_ASSERT(pid_ > 1);
        auto const last = std::chrono::steady_clock::now() + patience;
        for (;;) {
            int how = 0;
            pid_t const ended = ::waitpid(pid_, &how, WNOHANG);
            if (ended == pid_) { return gone(how); }
            (void)read();
            if (std::chrono::steady_clock::now() >= last) { return std::nullopt; }
            std::this_thread::sleep_for(milliseconds{1});
        }
    }
    /// Lets it do nothing, until resume(). Precondition: running.
    void stop() {
        SYNCLINE_ASSERT(pid_ > 1);
        ::kill(pid_, SIGSTOP);
    }
    void resume() {
        SYNCLINE_ASSERT(pid_ > 1);
        ::kill(pid_, SIGCONT);
    }

private:
    [[nodiscard]] static failure no_more(char const* what) noexcept { return {errc::storage_io, what, errno}; }
    [[nodiscard]] static std::vector<char*> pointers(std::vector<std::string>& all) {
        std::vector<char*> out;
        for (std::string& s : all) { out.push_back(s.data()); }
        out.push_back(nullptr);
        return out;
    }
    process_end gone(int how) {
        pid_ = -1;
        while (read()) {}
        ::close(in_);
        ::close(out_);
        in_ = out_ = -1;
        return WIFSIGNALED(how) ? process_end{true, WTERMSIG(how)} : process_end{false, WEXITSTATUS(how)};
    }

    std::function<void(std::string const&)> hear_;
    pid_t pid_ = -1;
    int in_ = -1;   // we write
    int out_ = -1;  // we read
    bool closed_ = false;
    std::uint64_t runs_ = 0;
    std::string unread_;
};

/// Waits until one of them has said something or hung up, and hears all that do.
inline void listen_to(std::span<child_process* const> all, milliseconds wait) {
    std::vector<pollfd> fds;
    for (child_process* const c : all) {
        if (c->running()) { fds.push_back({c->descriptor(), POLLIN, 0}); }
    }
    if (::poll(fds.data(), static_cast<nfds_t>(fds.size()), static_cast<int>(wait.count())) <= 0) { return; }
    for (child_process* const c : all) {
        if (c->running()) { (void)c->read(); }
    }
}

/// How a program is killed and started again.
struct kill_options {
    std::vector<std::string> command{};      ///< the program and its arguments; it uses `this_process()`
    std::vector<std::string> environment{};  ///< "NAME=value", beside this process's own
    std::uint64_t seed = 1;
    std::uint32_t kills = 60;
    std::uint32_t acknowledgements_max = 20;     ///< a kill comes after 0 to so many …
    std::chrono::microseconds delay_max{5'000};  ///< … and up to so long after
    std::uint32_t nested_max = 3;                ///< and so often again while it recovers; at least once so often
    milliseconds pause{30};                      ///< for which it is stopped in one round of eight
    milliseconds patience{30'000};               ///< with which anything is waited for
};

/// What came of it.
struct kill_report {
    std::vector<violation> found{};
    std::vector<std::string> acknowledged{};        ///< in their order
    std::map<std::string, std::uint32_t> points{};  ///< each that the program has passed: how often it was killed there
    std::uint32_t kills = 0;
    std::uint32_t recovery_kills = 0;  ///< of them, before it was ready
    std::uint32_t nested = 0;          ///< the longest row of those
    std::uint32_t pauses = 0;
};

namespace detail {

template <class Check>
class process_killer {
public:
    process_killer(kill_options const& options, Check& check)
        : options_(options), check_(check), random_(options.seed), child_([this](std::string const& l) { take(l); }) {}

    [[nodiscard]] kill_report run() {
        while (report_.kills < options_.kills && report_.found.empty()) { round(); }
        if (report_.found.empty() && start({})) {
            if (wait_for([this] { return ready_; }, "the last start")) { leave(); }
        }
        if (child_.running()) { (void)child_.kill(); }
        look();
        return std::move(report_);
    }

private:
    void wrong(std::string what) { report_.found.push_back({"process", std::move(what)}); }
    void take(std::string const& line) {
        std::string const rest = line.size() > 2 ? line.substr(2) : std::string();
        switch (line.empty() ? '\0' : line.front()) {
            case 'R': ready_ = true; return;
            case 'A':
                report_.acknowledged.push_back(rest);
                ++heard_;
                return;
            case 'p':
                if (report_.points.emplace(rest, 0).second && !ready_) { of_recovery_.push_back(rest); }
                return;
            case 'P':
                ++report_.points[rest];
                stands_ = true;
                return;
            case 'F': wrong("it says: " + rest); return;
            default: wrong("it says what is no word of the harness: " + line);
        }
    }
    [[nodiscard]] bool start(kill_point const& at) {
        ready_ = false;
        stands_ = false;
        heard_ = 0;
        if (status const s = child_.start(options_.command, options_.environment, at); !s) {
            wrong(std::string("it can't be started: ") + s.error().detail);
            return false;
        }
        return true;
    }
    template <class P>
    [[nodiscard]] bool wait_for(P&& holds, char const* what) {
        auto const last = std::chrono::steady_clock::now() + options_.patience;
        child_process* const all[] = {&child_};
        while (!holds()) {
            if (!report_.found.empty()) { return false; }
            if (child_.hung_up()) {
                end();
                return false;
            }
            if (std::chrono::steady_clock::now() >= last) {
                wrong(std::string("nothing happens while waiting for ") + what);
                return false;
            }
            listen_to(all, milliseconds{20});
        }
        return true;
    }
    void end() {
        // One that hung up may be about to end by itself, and a kill then comes too late to be its end.
        auto how = child_.hung_up() ? child_.wait(milliseconds{1'000}) : std::nullopt;
        if (!how) { how = child_.kill(); }
        if (how->killed && how->code == SIGKILL) { return; }
        wrong("it had ended by itself, " + std::string(how->killed ? "of signal " : "with ") +
              std::to_string(how->code));
    }
    void kill() {
        ++report_.kills;
        row_ = ready_ ? 0 : row_ + 1;
        report_.recovery_kills += ready_ ? 0 : 1;
        report_.nested = (std::max)(report_.nested, row_);
        end();
    }
    void nap(std::chrono::microseconds most) {
        if (most.count() <= 0) { return; }
        std::this_thread::sleep_for(
            std::chrono::microseconds{below(random_, static_cast<std::uint64_t>(most.count()) + 1)});
    }
    /// No process is running: what it acknowledged has to be there.
    void look() {
        for (violation const& v : check_(std::as_const(report_.acknowledged))) { report_.found.push_back(v); }
    }

    void round() {
        // At a point that it has passed, at one of the first few visits; or at any moment.
        kill_point at;
        if (!report_.points.empty() && below(random_, 2) == 0) {
            auto chosen = report_.points.begin();
            for (auto i = report_.points.begin(); i != report_.points.end(); ++i) {
                if (i->second < chosen->second) { chosen = i; }  // each in its turn
            }
            at = {chosen->first, 1 + below(random_, 4)};
        }
        if (!start(at)) { return; }
        if (at.name.empty()) {
            if (!wait_for([this] { return ready_; }, "a restart")) { return; }
            if (below(random_, 8) == 0) {
                child_.stop();
                std::this_thread::sleep_for(options_.pause);
                child_.resume();
                ++report_.pauses;
            }
            std::uint64_t const enough = below(random_, std::uint64_t{options_.acknowledgements_max} + 1);
            if (!wait_for([&] { return heard_ >= enough; }, "acknowledgements")) { return; }
            nap(options_.delay_max);
        } else if (!wait_for([&] { return stands_ || heard_ > 4 * options_.acknowledgements_max; }, "a point")) {
            return;
        }
        kill();
        look();
        // Again, while it recovers from that; the first time as deep as it goes.
        bool const deep = report_.nested < options_.nested_max;
        while (report_.found.empty() && row_ < options_.nested_max && report_.kills < options_.kills &&
               (deep || below(random_, 3) == 0)) {
            kill_point in_it;
            if (!of_recovery_.empty() && below(random_, 2) == 0) {
                in_it.name = of_recovery_[static_cast<std::size_t>(below(random_, of_recovery_.size()))];
            }
            if (!start(in_it)) { return; }
            if (in_it.name.empty()) {
                nap(std::chrono::microseconds{2'000});
                (void)child_.read();
            } else if (!wait_for([this] { return stands_ || ready_; }, "a point of the recovery")) {
                return;
            }
            kill();
            look();
        }
        row_ = 0;
    }
    void leave() {
        if (!child_.tell('q')) { wrong("it doesn't listen"); }
        auto const how = child_.wait(options_.patience);
        if (!how) {
            wrong("it doesn't end when told");
        } else if (*how != process_end{}) {
            wrong("it ended badly when told, with " + std::to_string(how->code));
        }
    }

    kill_options const& options_;
    Check& check_;
    random_generator random_;
    kill_report report_{};
    std::vector<std::string> of_recovery_{};  // points that were passed before it was ready
    bool ready_ = false;
    bool stands_ = false;  // at the point where it is to be killed
    std::uint32_t row_ = 0;
    std::uint64_t heard_ = 0;
    child_process child_;
};

}  // namespace detail

/// Starts a program, kills it at a chosen number of acknowledgements, at a named point or while it recovers, and so on
/// until it was killed often enough; then lets it end.
///
/// `check(acknowledged)` is called after each kill, while nothing runs, with all that the program ever acknowledged;
/// it opens the store and answers what is wrong, a vector of `violation`. The program says ready() when its recovery
/// is over, acknowledge() what has to last, passes process_point()s, and ends when it is told 'q'.
/// A kill leaves the system's cache alone: this tests what a process leaves at any instruction, and not what a disk
/// does at power loss, for which syncing could be left out and nobody would notice.
/// Cost: real time, some milliseconds a kill. The same seed makes the same choices; the moments are the system's.
template <class Check>
[[nodiscard]] kill_report kill_and_restart(kill_options const& options, Check&& check) {
    return detail::process_killer<std::remove_reference_t<Check>>(options, check).run();
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
