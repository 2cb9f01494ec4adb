// SPDX-License-Identifier: Apache-2.0
#include "worker.hpp"

#include "process_limits.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace sluice_load {

namespace {

constexpr std::size_t buffer_size = 256 * 1024;
constexpr std::chrono::nanoseconds longest_tick = std::chrono::milliseconds(250);

std::size_t share_of_parallel(const load_options& options) {
    return static_cast<std::size_t>(
        std::max<std::uint64_t>(1, options.connect_parallel / options.threads));
}

std::chrono::nanoseconds connect_interval(const load_options& options) {
    if (options.connect_rate == 0.0) return std::chrono::nanoseconds(0);
    return std::chrono::nanoseconds(
        static_cast<std::int64_t>(1e9 * options.threads / options.connect_rate));
}

}  // namespace

worker::worker(const load_options& options, const boost::asio::ip::tcp::endpoint& server,
               shared_limits& shared, unsigned index, worker_events events)
    : options_(options),
      shared_(shared),
      index_(index),
      events_(std::move(events)),
      work_(context_.get_executor()),
      ticker_(context_),
      gate_(context_, share_of_parallel(options), connect_interval(options)),
      environment_{.context = context_,
                   .options = options,
                   .server = server,
                   .budget = shared.bytes,
                   .results = results_,
                   .host = *this,
                   .outgoing = std::vector<std::byte>(buffer_size),
                   .incoming = std::vector<std::byte>(buffer_size)} {
    // Sent as it is by whoever does not verify.
    pattern(options.seed, index).fill(0, environment_.outgoing);
}

void worker::run() {
    if (!options_.cpus.empty()) pin_this_thread(options_.cpus[index_ % options_.cpus.size()]);
    for (auto i = std::uint64_t{index_}; i < options_.connections; i += options_.threads) {
        sessions_.push_back(std::make_unique<session>(environment_));
    }
    open_all();
    tick();
    context_.run();
}

void worker::begin() {
    boost::asio::post(context_, [this] {
        for (const auto& each : sessions_) {
            if (each->is_connected()) each->begin();
        }
    });
}

void worker::drain() {
    boost::asio::post(context_, [this] { drain_here(); });
}

void worker::give_up(const std::string& cause) {
    boost::asio::post(context_, [this, cause] {
        drain_here();
        for (const auto& each : sessions_) each->give_up(cause);
    });
}

void worker::drain_here() {
    environment_.draining = true;
    sessions_ended(gate_.clear());
    for (const auto& each : sessions_) each->drain();
}

void worker::open_all() {
    std::uint64_t number = index_;
    for (const auto& each : sessions_) {
        if (options_.mode != load_mode::churn) {
            gate_.request([who = each.get(), number] { who->connect(number); });
        } else if (!open_next_cycle(*each)) {
            sessions_ended(1);
        }
        number += options_.threads;
    }
}

bool worker::open_next_cycle(session& who) {
    const auto number = shared_.next_cycle.fetch_add(1, std::memory_order_relaxed);
    if (options_.cycles != 0 && number >= options_.cycles) return false;
    gate_.request([&who, number] { who.connect(number); });
    return true;
}

void worker::on_connect_settled(session& who) {
    if (options_.mode == load_mode::churn && who.is_connected()) who.begin();
    gate_.settled();
    if (options_.mode != load_mode::churn && ++settled_ == sessions_.size()) events_.ready();
}

void worker::on_finished(session& who, bool well) {
    const bool again = options_.mode == load_mode::churn && well && !environment_.draining;
    if (again && open_next_cycle(who)) return;
    sessions_ended(1);
}

void worker::sessions_ended(std::size_t count) {
    ended_ += count;
    if (count == 0 || ended_ != sessions_.size()) return;
    ticker_.cancel();
    work_.reset();
    events_.done();
}

void worker::tick() {
    if (ended_ == sessions_.size()) return;
    ticker_.expires_after(std::min(options_.timeout / 4, longest_tick));
    ticker_.async_wait([this](const boost::system::error_code& error) {
        if (error) return;
        const auto now = clock_type::now();
        for (const auto& each : sessions_) each->check_progress(now);
        tick();
    });
}

}  // namespace sluice_load
