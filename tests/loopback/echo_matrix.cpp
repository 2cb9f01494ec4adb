// SPDX-License-Identifier: Apache-2.0
// Messages of all sizes through one connection and through many, on two reactors, every byte
// checked by clients that share no code with the server.

#include <atomic>
#include <thread>
#include <vector>

#include "loopback/echo_service.hpp"
#include "loopback/pattern.hpp"
#include "loopback/plain_socket.hpp"
#include "loopback/watchdog.hpp"
#include "support/sanitizers.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using sluice::testing::echo_options;
using sluice::testing::echo_service;
using sluice::testing::pattern;
using sluice::testing::plain_socket;
using sluice::testing::watchdog;

namespace {

struct cell {
    std::size_t message;      //!< bytes
    std::size_t connections;  //!< at once
    std::size_t messages;     //!< over each connection
};

//! Sends message after message over every connection of `mine` and checks the answers. While one
//! connection's answer is read the others have theirs on the way.
bool converse(std::vector<plain_socket>& mine, const cell& c, std::uint64_t seed) {
    std::vector<std::byte> answer(c.message);
    for (std::size_t n = 0; n < c.messages; ++n) {
        for (std::size_t i = 0; i < mine.size(); ++i)
            if (!mine[i].send(pattern(seed + i).bytes(n * c.message, c.message))) return false;
        for (std::size_t i = 0; i < mine.size(); ++i) {
            if (!mine[i].recv_exact(answer)) return false;
            if (!pattern(seed + i).matches(n * c.message, answer)) return false;
        }
    }
    for (plain_socket& s : mine) {
        s.shutdown_write();
        if (!s.recv_all().empty()) return false;
    }
    return true;
}

//! One connection whose messages are larger than the socket's buffers: sends and receives at the
//! same time, as a thread each.
bool converse_in_full(plain_socket& s, std::size_t total, std::uint64_t seed) {
    std::thread sender([&] {
        static constexpr std::size_t piece = 1 << 20;
        for (std::size_t at = 0; at < total; at += piece)
            if (!s.send(pattern(seed).bytes(at, std::min(piece, total - at)))) return;
        s.shutdown_write();
    });
    sluice::testing::pattern_reader reader(seed);
    std::vector<std::byte> space(1 << 20);
    ssize_t n = 0;
    while ((n = s.recv(space)) > 0)
        reader.take(std::span(space).first(static_cast<std::size_t>(n)));
    sender.join();
    return n == 0 && reader.intact() && reader.taken() == total;
}

void run_cell(const cell& c) {
    CAPTURE(c.message);
    CAPTURE(c.connections);
    const watchdog limit;
    echo_service echo;
    const std::size_t threads = std::min<std::size_t>(c.connections, 4);
    std::atomic<int> failed{0};
    std::vector<std::thread> clients;
    for (std::size_t t = 0; t < threads; ++t)
        clients.emplace_back([&, t] {
            std::vector<plain_socket> mine;
            for (std::size_t i = t; i < c.connections; i += threads)
                mine.push_back(plain_socket::connect(echo.local()));
            if (!converse(mine, c, t * 1000)) ++failed;
        });
    for (auto& t : clients) t.join();
    CHECK(failed.load() == 0);
    const auto net = echo.net();
    CHECK(net.bytes_in == c.message * c.messages * c.connections);
    CHECK(net.bytes_out == net.bytes_in);
    const auto report = echo.stop();
    INFO(report.to_string());
    CHECK(report.clean());
}

constexpr std::size_t scale = sluice::testing::under_sanitizer ? 4 : 1;

}  // namespace

TEST_SUITE_BEGIN("loopback.echo");

TEST_CASE("echo: 1 B to 1 MiB through one connection") {
    for (const cell& c :
         {cell{1, 1, 5000 / scale}, cell{10, 1, 5000 / scale}, cell{100, 1, 5000 / scale},
          cell{1000, 1, 5000 / scale}, cell{4096, 1, 4000 / scale}, cell{65'536, 1, 400 / scale},
          cell{1 << 20, 1, 40 / scale}})
        run_cell(c);
}

TEST_CASE("echo: 1 B to 1 MiB through a hundred connections") {
    // No more than the sockets' buffers and the credit of a connection hold at once: these clients
    // send everything before they read.
    for (const cell& c :
         {cell{1, 100, 200 / scale}, cell{10, 100, 200 / scale}, cell{100, 100, 200 / scale},
          cell{1000, 100, 200 / scale}, cell{4096, 100, 100 / scale}, cell{65'536, 100, 8 / scale}})
        run_cell(c);
}

TEST_CASE("echo: 1 MiB at a time through a hundred connections, both ways at once") {
    const watchdog limit;
    echo_service echo;
    std::atomic<int> failed{0};
    for (int round = 0; round < 4; ++round) {
        std::vector<std::thread> clients;
        for (std::uint64_t i = 0; i < 25; ++i)
            clients.emplace_back([&, i] {
                plain_socket s = plain_socket::connect(echo.local());
                if (!converse_in_full(s, 1 << 20, i)) ++failed;
            });
        for (auto& t : clients) t.join();
    }
    CHECK(failed.load() == 0);
    CHECK(echo.stop().clean());
}

TEST_CASE("echo: 64 MiB through one connection and through several") {
    const watchdog limit(std::chrono::seconds(240));
    for (const std::size_t connections : {std::size_t{1}, std::size_t{4} / scale}) {
        echo_service echo;
        std::atomic<int> failed{0};
        std::vector<std::thread> clients;
        for (std::uint64_t i = 0; i < connections; ++i)
            clients.emplace_back([&, i] {
                plain_socket s = plain_socket::connect(echo.local());
                if (!converse_in_full(s, 64 << 20, i)) ++failed;
            });
        for (auto& t : clients) t.join();
        CHECK(failed.load() == 0);
        const auto report = echo.stop();
        INFO(report.to_string());
        CHECK(report.clean());
    }
}

TEST_CASE("echo: half-closed clients get everything back, then the end") {
    const watchdog limit;
    echo_service echo;
    for (std::size_t i = 0; i < 50; ++i) {
        plain_socket s = plain_socket::connect(echo.local());
        const auto message = pattern(i).bytes(0, 1 + i * 997);
        CHECK(s.send(message));
        s.shutdown_write();
        const std::string answer = s.recv_all();
        CHECK(answer.size() == message.size());
        CHECK(pattern(i).matches(0, std::as_bytes(std::span(answer))));
    }
    CHECK(echo.stop().clean());
}

TEST_SUITE_END();
