// SPDX-License-Identifier: Apache-2.0
// Peers as they come: killed at any moment, slow to read, slow to write, gone without a word.

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "loopback/echo_service.hpp"
#include "loopback/pattern.hpp"
#include "loopback/plain_socket.hpp"
#include "loopback/watchdog.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using sluice::testing::echo_options;
using sluice::testing::echo_service;
using sluice::testing::pattern;
using sluice::testing::plain_socket;
using sluice::testing::watchdog;

namespace {

//! A client in a process of its own, made before there are threads; it connects when told to.
struct client_process {
    client_process() {
        int ends[2] = {-1, -1};
        REQUIRE(::pipe(ends) == 0);
        pid = ::fork();
        REQUIRE(pid >= 0);
        if (pid == 0) {
            ::close(ends[1]);
            try {
                converse(ends[0]);
            } catch (...) {
                ::_exit(1);  // never back into the test program
            }
        }
        ::close(ends[0]);
        start = ends[1];
    }
    client_process(const client_process&) = delete;
    client_process& operator=(const client_process&) = delete;
    ~client_process() {
        ::close(start);
        kill();
    }

    void begin(const sluice::endpoint& at) const {
        const std::uint16_t port = at.port();
        CHECK(::write(start, &port, sizeof port) == sizeof port);
    }
    void kill() {
        if (pid <= 0) return;
        ::kill(pid, SIGKILL);
        int status = 0;
        ::waitpid(pid, &status, 0);
        pid = -1;
    }

    pid_t pid = -1;
    int start = -1;

private:
    //! Several connections, sending and receiving until the process ends.
    static void converse(int from) {
        std::uint16_t port = 0;
        if (::read(from, &port, sizeof port) != sizeof port) ::_exit(0);
        std::vector<std::byte> space(20'000);
        for (;;) {
            plain_socket a = plain_socket::connect(sluice::testing::loopback(port));
            plain_socket b = plain_socket::connect(sluice::testing::loopback(port));
            for (int i = 0; i < 50; ++i) {
                if (!a.send(space) || !b.send(std::span(space).first(77))) ::_exit(1);
                if (!b.recv_exact(std::span(space).first(77))) ::_exit(1);
                if (i % 3 == 0) continue;  // leaves answers unread
                if (!a.recv_exact(std::span(space).first(10'000))) ::_exit(1);
            }
        }
    }
};

}  // namespace

TEST_SUITE_BEGIN("loopback.peers");

TEST_CASE("peers: twenty clients killed at random moments, the others notice nothing") {
    std::vector<std::unique_ptr<client_process>> clients;
    for (int i = 0; i < 20; ++i) clients.push_back(std::make_unique<client_process>());
    const watchdog limit;
    echo_service echo;
    std::atomic<bool> over{false};
    std::atomic<int> messages{0};
    std::atomic<bool> intact{true};
    std::thread bystander([&] {
        plain_socket s = plain_socket::connect(echo.local());
        std::vector<std::byte> answer(5000);
        for (std::uint64_t n = 0; !over; ++n) {
            if (!s.send(pattern(1).bytes(n * 5000, 5000)) || !s.recv_exact(answer) ||
                !pattern(1).matches(n * 5000, answer)) {
                intact = false;
                return;
            }
            ++messages;
        }
    });
    std::minstd_rand random(12345);
    for (auto& c : clients) {
        c->begin(echo.local());
        std::this_thread::sleep_for(std::chrono::microseconds(500 + random() % 20'000));
        if (random() % 2 == 0) c->kill();
    }
    for (auto& c : clients) {
        c->kill();
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    }
    over = true;
    bystander.join();
    CHECK(intact.load());
    CHECK(messages.load() > 0);
    for (int i = 0; i < 5000 && echo.net().open > 0; ++i) std::this_thread::sleep_for(1ms);
    const auto net = echo.net();
    CHECK(net.open == 0);
    CHECK(net.buffers_lent == 0);
    CHECK(net.buffers_kernel == net.buffers_total);
    const auto report = echo.stop();
    INFO(report.to_string());
    CHECK(report.clean());
}

TEST_CASE("peers: a slow reader holds up nobody but itself") {
    const watchdog limit;
    echo_service echo;
    plain_socket slow = plain_socket::connect(echo.local());
    static constexpr std::size_t total = 8 << 20;
    std::thread sender([&] {
        CHECK(slow.send(pattern(2).bytes(0, total)));
        slow.shutdown_write();
    });
    std::this_thread::sleep_for(50ms);
    for (std::size_t i = 0; i < 50; ++i) {
        plain_socket quick = plain_socket::connect(echo.local());
        CHECK(quick.send("quick"));
        CHECK(quick.recv_text(5) == "quick");
    }
    sluice::testing::pattern_reader reader(2);
    std::vector<std::byte> space(100'000);
    for (unsigned i = 0;; ++i) {
        const ssize_t n = slow.recv(space);
        if (n <= 0) break;
        reader.take(std::span(space).first(static_cast<std::size_t>(n)));
        if (i < 20) std::this_thread::sleep_for(2ms);
    }
    sender.join();
    CHECK(reader.intact());
    CHECK(reader.taken() == total);
    CHECK(echo.stop().clean());
}

TEST_CASE("peers: a slow writer gets each byte back") {
    const watchdog limit;
    echo_service echo;
    plain_socket slow = plain_socket::connect(echo.local());
    const std::string text = "one byte at a time";
    for (const char c : text) {
        CHECK(slow.send(std::string_view(&c, 1)));
        std::this_thread::sleep_for(2ms);
        CHECK(slow.recv_text(1) == std::string(1, c));
    }
    slow.shutdown_write();
    CHECK(slow.recv_all().empty());
    CHECK(echo.stop().clean());
}

TEST_CASE("peers: hundreds that reset at any point of a conversation") {
    const watchdog limit;
    echo_service echo;
    const auto message = pattern(3).bytes(0, 60'000);
    for (unsigned i = 0; i < 300; ++i) {
        plain_socket s = plain_socket::connect(echo.local());
        if (i % 6 == 0) {
            s.reset();
            continue;
        }
        s.send(std::span(message).first(1 + i * 199 % message.size()));
        if (i % 6 == 1) {
            s.reset();
        } else if (i % 6 == 2) {
            s.recv_text(1);
            s.reset();
        } else if (i % 6 == 3) {
            s.shutdown_write();
            s.reset();
        } else if (i % 6 == 4) {
            s.close();
        } else {
            s.recv_text(1 + i * 199 % message.size());
        }
    }
    for (int i = 0; i < 5000 && echo.net().open > 0; ++i) std::this_thread::sleep_for(1ms);
    const auto net = echo.net();
    CHECK(net.open == 0);
    CHECK(net.buffers_lent == 0);
    CHECK(net.buffers_kernel == net.buffers_total);
    CHECK(echo.stop().clean());
}

TEST_CASE("peers: readers that never read don't starve the others of buffers") {
    const watchdog limit;
    echo_options options;
    options.reactors = 1;
    options.service.reactor.recv_buffers = 16;
    options.service.reactor.recv_buffer_size = 16'384;
    options.service.drain_timeout = 10ms;
    echo_service echo(options);
    std::vector<plain_socket> hoarders;
    const std::vector<std::byte> some(100'000);
    for (int i = 0; i < 20; ++i) {
        hoarders.push_back(plain_socket::connect(echo.local()));
        const timeval soon{0, 20'000};
        ::setsockopt(hoarders.back().fd(), SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
        for (int n = 0; n < 100 && hoarders.back().send(some); ++n) {}
    }
    plain_socket other = plain_socket::connect(echo.local());
    for (int i = 0; i < 20; ++i) {
        CHECK(other.send("a message"));
        CHECK(other.recv_text(9) == "a message");
    }
    const auto report = echo.stop();
    INFO(report.to_string());
    CHECK(report.clean());
}

TEST_SUITE_END();
