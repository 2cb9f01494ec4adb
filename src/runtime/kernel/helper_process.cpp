// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel/helper_process.hpp"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <vector>

#include "runtime/kernel/privileges.hpp"

namespace sluice::detail {

namespace {

constexpr std::size_t longest_answer = 4096;

// Listening sockets and such would live on in the child.
void close_all_but(std::vector<int> kept) {
    std::sort(kept.begin(), kept.end());
    unsigned from = 3;
    for (const int fd : kept) {
        const auto number = static_cast<unsigned>(fd);
        if (number > from) ::close_range(from, number - 1, 0);
        from = std::max(from, number + 1);
    }
    ::close_range(from, UINT_MAX, 0);
}

void leave_signals() {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2})
        ::signal(signal, SIG_IGN);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void serve_until_alone(int socket, const helper_process::server& serve) {
    for (;;) {
        char question = 0;
        const ssize_t n = ::recv(socket, &question, 1, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        std::string answer = serve(question);
        answer.resize(std::min(answer.size(), longest_answer));
        answer.push_back('.');  // an empty message would read as the end
        ::send(socket, answer.data(), answer.size(), MSG_NOSIGNAL);
    }
    serve(0);
    ::_exit(0);
}

}  // namespace

result<helper_process> helper_process::start(const char* name, std::span<const int> kept,
                                             std::uint32_t capabilities, const server& serve) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
        return errno_error(errno);
    helper_process made(ends[0]);
    const pid_t between = ::fork();
    if (between < 0) {
        const int why = errno;
        ::close(ends[1]);
        return errno_error(why);
    }
    if (between == 0) {
        // Twice, so that nobody has to wait for the child, or is told of its end.
        const pid_t child = ::fork();
        if (child != 0) ::_exit(child < 0 ? 1 : 0);
        std::vector<int> needed(kept.begin(), kept.end());
        needed.push_back(ends[1]);
        close_all_but(std::move(needed));
        leave_signals();
        ::prctl(PR_SET_NAME, name, 0, 0, 0);
        static_cast<void>(keep_capabilities(capabilities));
        serve_until_alone(ends[1], serve);
    }
    ::close(ends[1]);
    int status = 0;
    while (::waitpid(between, &status, 0) < 0 && errno == EINTR) {}
    if (status != 0) return errno_error(EAGAIN);
    return made;
}

helper_process::~helper_process() {
    if (socket_ >= 0) ::close(socket_);
}

result<std::string> helper_process::ask(char question) const {
    if (::send(socket_, &question, 1, MSG_NOSIGNAL) != 1) return errno_error(errno);
    std::array<char, longest_answer + 1> text{};
    ssize_t n = 0;
    do n = ::recv(socket_, text.data(), text.size(), 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) return errno_error(errno);
    if (n == 0) return errno_error(EPIPE);
    return std::string(text.data(), static_cast<std::size_t>(n) - 1);
}

}  // namespace sluice::detail
