// SPDX-License-Identifier: Apache-2.0
// Connections come and go by the thousand, and memory stays as it is.

#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "loopback/echo_service.hpp"
#include "loopback/memory_use.hpp"
#include "loopback/plain_socket.hpp"
#include "loopback/watchdog.hpp"
#include "sluice/frame_pool.hpp"
#include "support/sanitizers.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using sluice::reactor;
using sluice::task;
using sluice::testing::echo_service;
using sluice::testing::memory_now;
using sluice::testing::plain_socket;

namespace {

//! How many connections: the environment's SLUICE_CYCLES, or what a test run has time for.
unsigned long cycles() {
    if (const char* wanted = std::getenv("SLUICE_CYCLES")) return std::strtoul(wanted, nullptr, 10);
    return 20'000;
}

//! A source address for connection `i`: spread over 127/8, since ports of one address stay in
//! TIME_WAIT for a minute.
std::uint32_t source_of(unsigned long i) {
    return 0x7f000002U + static_cast<std::uint32_t>(i * 2654435761U % 0x00fffff0U);
}

struct pool_use {
    std::size_t reserved = 0;
    std::size_t pooled = 0;
    std::int64_t live = 0;
};

std::vector<pool_use> pools(echo_service& echo) {
    std::vector<pool_use> all;
    for (unsigned i = 0; i < 2; ++i) {
        auto one = echo.runner().submit(i, []() -> task<pool_use> {
            const auto& pool = *sluice::detail::frame_pool::current;
            co_return pool_use{pool.reserved_bytes(), pool.pooled(), pool.live()};
        });
        all.push_back(one.get());
    }
    return all;
}

//! Connects, exchanges a message, closes; the client closes first.
bool cycle(const sluice::endpoint& at, unsigned long first, unsigned long count) {
    for (unsigned long i = first; i < first + count; ++i) {
        plain_socket s = plain_socket::connect(at, source_of(i));
        if (!s.send("ping") || s.recv_text(4) != "ping") return false;
    }
    return true;
}

bool quiet(echo_service& echo) {
    for (int i = 0; i < 5000 && echo.net().open > 0; ++i) std::this_thread::sleep_for(1ms);
    return echo.net().open == 0;
}

}  // namespace

TEST_SUITE_BEGIN("loopback.memory");

TEST_CASE("flat memory: connecting and closing, the client first") {
    const sluice::testing::watchdog limit(std::chrono::seconds(3600));
    const unsigned long count = cycles();
    const unsigned long warm_up = std::min(count, 2'000UL);
    echo_service echo;
    const auto run = [&](unsigned long first, unsigned long many) {
        bool good[2] = {false, false};
        std::thread one([&] { good[0] = cycle(echo.local(), first, many / 2); });
        std::thread two([&] { good[1] = cycle(echo.local(), first + many / 2, many / 2); });
        one.join();
        two.join();
        return good[0] && good[1];
    };
    CHECK(run(0, warm_up));
    CHECK(quiet(echo));
    const auto pools_before = pools(echo);
    const auto before = memory_now();
    CHECK(run(warm_up, count));
    CHECK(quiet(echo));
    const auto after = memory_now();
    const auto pools_after = pools(echo);
    MESSAGE(count << " connections after " << warm_up << " to warm up: resident "
                  << before.resident / 1024 << " KiB before, " << after.resident / 1024
                  << " KiB after; frame pools " << pools_before[0].reserved / 1024 << " and "
                  << pools_before[1].reserved / 1024 << " KiB before, "
                  << pools_after[0].reserved / 1024 << " and " << pools_after[1].reserved / 1024
                  << " KiB after");
    for (std::size_t i = 0; i < 2; ++i) {
        CHECK(pools_after[i].live == pools_before[i].live);
        // A burst may need one slab more than any before.
        CHECK(pools_after[i].reserved <= pools_before[i].reserved + 4 * 64 * 1024);
    }
    // Receive buffers are touched one after the other, so those not used before may appear.
    const std::size_t buffers = echo.net().buffers_total * 64 * 1024;
    const std::size_t slack = (std::size_t{sluice::testing::under_sanitizer ? 64 : 4} << 20);
    CHECK(after.resident <= before.resident + buffers + slack);
    CHECK(after.mapped <= before.mapped + slack);
    const auto net = echo.net();
    CHECK(net.accepted == warm_up / 2 * 2 + count / 2 * 2);
    CHECK(net.closed == net.accepted);
    const auto report = echo.stop();
    INFO(report.to_string());
    CHECK(report.clean());
}

TEST_SUITE_END();
