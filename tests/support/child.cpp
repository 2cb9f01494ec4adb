// SPDX-License-Identifier: Apache-2.0
#include "support/child.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <regex.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include "sluice/reactor.hpp"

namespace sluice::testing {

namespace {

// Not std::regex: g++ 12 warns of its inside under AddressSanitizer.
bool found(const std::string& pattern, const std::string& text) {
    regex_t compiled{};
    REQUIRE(::regcomp(&compiled, pattern.c_str(), REG_EXTENDED | REG_NOSUB) == 0);
    const bool is_there = ::regexec(&compiled, text.c_str(), 0, nullptr, 0) == 0;
    ::regfree(&compiled);
    return is_there;
}

[[noreturn]] void be_the_child(const std::function<int()>& fn, int errors) {
    // doctest catches these to name the test that crashed; here a crash is what is asked for.
    for (const int s : {SIGABRT, SIGSEGV, SIGFPE, SIGILL, SIGTERM, SIGINT}) std::signal(s, SIG_DFL);
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    const int nowhere = ::open("/dev/null", O_WRONLY);
    ::dup2(nowhere, STDOUT_FILENO);
    ::dup2(errors, STDERR_FILENO);
    int code = 111;
    try {
        code = fn();
    } catch (...) {
        std::fputs("an exception escaped\n", stderr);
    }
    std::fflush(stderr);
    ::_exit(code);
}

}  // namespace

child_outcome in_child(const std::function<int()>& fn) {
    REQUIRE(reactor::current() == nullptr);
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    std::fflush(nullptr);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::close(ends[0]);
        be_the_child(fn, ends[1]);
    }
    ::close(ends[1]);
    child_outcome outcome;
    std::array<char, 4096> part{};
    for (;;) {
        const ssize_t n = ::read(ends[0], part.data(), part.size());
        if (n > 0)
            outcome.errors.append(part.data(), static_cast<std::size_t>(n));
        else if (n == 0 || errno != EINTR)
            break;
    }
    ::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
    return outcome;
}

void expect_death(const std::function<void()>& fn, const std::string& pattern) {
    const child_outcome outcome = in_child([&] {
        fn();
        return 0;
    });
    INFO("standard error of the child: ", outcome.errors);
    CHECK(outcome.signal == SIGABRT);
    CHECK(found(pattern, outcome.errors));
}

}  // namespace sluice::testing
