// SPDX-License-Identifier: Apache-2.0
#include "connect_gate.hpp"

#include <utility>

namespace sluice_load {

connect_gate::connect_gate(boost::asio::io_context& context, std::size_t parallel,
                           std::chrono::nanoseconds interval)
    : timer_(context),
      parallel_(parallel),
      interval_(interval),
      next_(std::chrono::steady_clock::now()) {}

void connect_gate::request(std::function<void()> begin_connect) {
    waiting_.push_back(std::move(begin_connect));
    advance();
}

void connect_gate::settled() {
    --in_progress_;
    advance();
}

std::size_t connect_gate::clear() {
    timer_.cancel();
    return std::exchange(waiting_, {}).size();
}

// A connect that fails at once calls back into settled(): the loop goes on, the stack does not
// grow.
void connect_gate::advance() {
    if (std::exchange(advancing_, true)) return;
    while (!waiting_.empty() && in_progress_ < parallel_) {
        if (interval_.count() != 0 && std::chrono::steady_clock::now() < next_) {
            wait();
            break;
        }
        next_ += interval_;
        ++in_progress_;
        const auto begin_connect = std::move(waiting_.front());
        waiting_.pop_front();
        begin_connect();
    }
    advancing_ = false;
}

void connect_gate::wait() {
    if (std::exchange(timing_, true)) return;
    timer_.expires_at(next_);
    timer_.async_wait([this](const boost::system::error_code& error) {
        timing_ = false;
        if (!error) advance();
    });
}

}  // namespace sluice_load
