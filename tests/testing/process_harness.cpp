// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/process_harness.hpp>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <sys/stat.h>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

using namespace syncline;
using testing::kill_options;
using testing::process_point;
using testing::this_process;

// A program with a log: it cuts off half a line when it starts, then writes lines in two halves and acknowledges them.
TEST_CASE("process harness - the child", "[.]") {
    auto& link = this_process();
    if (!link.driven()) { return; }
    std::string const path = std::getenv("LOG");
    std::string const plant = std::getenv("PLANT");
    int const log = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND, 0600);
    struct stat is {};
    ::fstat(log, &is);
    process_point("recovery begins");
    if (plant != "no recovery" && ::ftruncate(log, is.st_size - is.st_size % 13) != 0) { std::_Exit(4); }
    if (plant == "forgets" && link.run() == 9 && ::ftruncate(log, 0) != 0) { std::_Exit(4); }
    process_point("recovery ends");
    if (plant == "never ready") { std::this_thread::sleep_for(std::chrono::seconds{60}); }
    link.ready();
    for (std::uint64_t i = 0; link.told(milliseconds{0}) != 'q'; ++i) {
        std::string line = std::to_string(100'000 + link.run()) + std::to_string(100'000 + i);
        if (plant == "early") {
            link.acknowledge(line);
            std::this_thread::sleep_for(milliseconds{1});
        }
        process_point("before");
        if (::write(log, line.data(), 6) != 6) { std::_Exit(5); }
        process_point("half");
        if (::write(log, (line + '\n').data() + 6, 7) != 7) { std::_Exit(5); }
        process_point("written");
        if (plant != "early") { link.acknowledge(line); }
        if (plant == "dies" && i == 30) { std::_Exit(3); }
        if (plant == "says so" && i == 3) { link.wrong("this is wrong"); }
        std::this_thread::sleep_for(std::chrono::microseconds{100});
    }
    std::_Exit(plant == "ends badly" ? 6 : 0);
}

#if defined(__linux__)  // where a program finds itself
namespace {

/// The lines of the log that are whole.
std::vector<std::string> lines(scratch_folder const& here) {
    std::ifstream in(here.path() / "log");
    std::stringstream all;
    all << in.rdbuf();
    std::vector<std::string> out;
    for (std::string line; std::getline(all, line) && !all.eof();) { out.push_back(line); }
    return out;
}

/// Everything acknowledged is in the log, once, and only a whole line ever was.
std::vector<testing::violation> check(scratch_folder const& here, std::vector<std::string> const& acknowledged) {
    std::vector<testing::violation> found;
    std::set<std::string> there;
    for (std::string const& l : lines(here)) {
        if (!there.insert(l).second) { found.push_back({"log", l + " is there twice"}); }
        if (l.size() != 12) { found.push_back({"log", "half a line: " + l}); }
    }
    for (std::string const& a : acknowledged) {
        if (there.count(a) == 0) { found.push_back({"log", a + " was acknowledged, and is gone"}); }
    }
    return found;
}

/// This very program, to run the hidden case below as its child.
kill_options child(scratch_folder const& here, std::string const& plant = "") {
    kill_options o;
    o.command = {std::filesystem::read_symlink("/proc/self/exe").string(), "process harness - the child", "-o",
                 "/dev/null"};
    o.environment = {"LOG=" + (here.path() / "log").string(), "PLANT=" + plant};
    o.patience = milliseconds{20'000};
    return o;
}

testing::kill_report run(scratch_folder const& here, kill_options const& o) {
    return testing::kill_and_restart(o, [&](std::vector<std::string> const& all) { return check(here, all); });
}

}  // namespace

TEST_CASE("process_harness: a program that keeps what it acknowledged passes", "[testing][processes]") {
    scratch_folder here;
    kill_options o = child(here);
    o.kills = 80;
    auto const report = run(here, o);
    CHECK(testing::to_text(report.found) == "");
    CHECK(report.kills == 80);
    CHECK(report.recovery_kills >= 3);
    CHECK(report.nested >= 3);
    CHECK(report.pauses > 0);
    CHECK(report.acknowledged.size() > 100);
    // Each point was killed at.
    CHECK(report.points.size() == 5);
    for (auto const& [name, kills] : report.points) {
        INFO(name);
        CHECK(kills > 0);
    }
}

TEST_CASE("process_harness: what is wrong with a program is found", "[testing][processes]") {
    auto const finds = [](std::string const& plant, std::string const& what) {
        scratch_folder here;
        kill_options o = child(here, plant);
        o.kills = 40;
        if (plant == "never ready") { o.patience = milliseconds{1'000}; }
        if (plant == "ends badly") { o.kills = 2; }
        auto const report = run(here, o);
        INFO(plant << ": " << testing::to_text(report.found));
        CHECK(testing::to_text(report.found).find(what) != std::string::npos);
    };
    finds("early", "was acknowledged, and is gone");
    finds("forgets", "was acknowledged, and is gone");
    finds("no recovery", "half a line");
    finds("dies", "had ended by itself, with 3");
    finds("says so", "it says: this is wrong");
    finds("never ready", "nothing happens while waiting for a restart");
    finds("ends badly", "with 6");
}

#endif

TEST_CASE("process_harness: a program that can't be run is said so", "[testing][processes]") {
    kill_options o;
    o.command = {"/no/such/program"};
    auto const report =
        testing::kill_and_restart(o, [](std::vector<std::string> const&) { return std::vector<testing::violation>{}; });
    CHECK(testing::to_text(report.found) == "process: it had ended by itself, with 127\n");
    CHECK(report.kills == 0);
}

TEST_CASE("child_process: signals only a process that it started and that has not ended", "[testing][processes]") {
    std::vector<std::string> heard;
    testing::child_process c([&](std::string const& l) { heard.push_back(l); });
    CHECK(!c.running());
    CHECK(!c.read());
    REQUIRE(c.start({"/bin/sh", "-c", "exit 7"}));
    CHECK(c.running());
    auto const end = c.wait(milliseconds{20'000});
    REQUIRE(end);
    CHECK((*end == testing::process_end{false, 7}));
    CHECK(!c.running());
    // Stopped it does nothing, and a kill ends it all the same.
    REQUIRE(c.start({"/bin/sh", "-c", "sleep 60"}));
    c.stop();
    CHECK(!c.wait(milliseconds{20}));
    c.resume();
    CHECK((c.kill() == testing::process_end{true, SIGKILL}));
    CHECK(!c.running());
    CHECK(c.runs() == 2);
    CHECK(heard.empty());
}

TEST_CASE("process_link: without a harness it does nothing", "[testing][processes]") {
    testing::process_link link;
    CHECK(!link.driven());
    link.ready();
    link.acknowledge("x");
    link.point("here");
    CHECK(link.told(milliseconds{0}) == 0);
}
