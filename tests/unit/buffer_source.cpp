// SPDX-License-Identifier: Apache-2.0
// Blocks whose handles end on several threads at once come home, each time.

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <utility>

#include "sluice/buffer.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::rx_buffer;
using sluice::detail::buffer_block;
using sluice::detail::buffer_source;

namespace {

//! Lends one block, on the thread that makes it.
class one_block final : public buffer_source {
public:
    one_block() { block_.source = this; }

    rx_buffer lend() { return rx_buffer::lend(block_, memory_.data(), 4); }
    //! What has ended on other threads is taken in until the block is back; false: it does not
    //! come.
    bool comes_back(int times) {
        const auto limit = std::chrono::steady_clock::now() + 5s;
        while (recycled_ != times) {
            collect_returns();
            if (std::chrono::steady_clock::now() > limit) return false;
        }
        return true;
    }
    void leave() { retire(); }

private:
    ~one_block() override = default;
    void recycle(buffer_block&) noexcept override { ++recycled_; }
    void wake_home() noexcept override {}

    std::array<std::byte, 4> memory_{};
    buffer_block block_;
    int recycled_ = 0;
};

//! A thread that lets go what it is handed, at once.
class releaser {
public:
    releaser() : thread_([this] { run(); }) {}
    ~releaser() {
        done_ = true;
        thread_.join();
    }
    void hand(rx_buffer b) {
        while (full_.load(std::memory_order_acquire)) std::this_thread::yield();
        held_ = std::move(b);
        full_.store(true, std::memory_order_release);
    }

private:
    void run() {
        while (!done_) {
            if (!full_.load(std::memory_order_acquire)) {
                std::this_thread::yield();
                continue;
            }
            held_.reset();
            full_.store(false, std::memory_order_release);
        }
    }

    rx_buffer held_;
    std::atomic<bool> full_{false};
    std::atomic<bool> done_{false};
    std::thread thread_;
};

}  // namespace

TEST_CASE("buffer source: a block whose handles end on two threads at once comes home each time") {
    const auto home = sluice::testing::make_reactor();  // whose thread this is
    auto* source = new one_block;
    {
        releaser one;
        releaser other;
        int times = 0;
        const auto limit = std::chrono::steady_clock::now() + 1s;
        while (std::chrono::steady_clock::now() < limit) {
            rx_buffer first = source->lend();
            rx_buffer second = first.share();
            one.hand(std::move(first));
            other.hand(std::move(second));
            REQUIRE(source->comes_back(++times));
        }
        CHECK(source->lent() == 0);
        CHECK(times > 1);
    }
    source->leave();
}
