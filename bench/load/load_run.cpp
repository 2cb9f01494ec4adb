// SPDX-License-Identifier: Apache-2.0
#include "load_run.hpp"

#include "process_limits.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <csignal>
#include <numeric>
#include <tuple>
#include <utility>

namespace sluice_load {

bool run_results::passed() const {
    return std::accumulate(total.failures.begin(), total.failures.end(), std::uint64_t{0}) == 0;
}

const failure* run_results::worst() const {
    const auto& all = total.first_failures;
    const auto order = [](const failure& each) {
        return std::tuple(each.kind != failure_kind::verification, each.when);
    };
    const auto found =
        std::min_element(all.begin(), all.end(),
                         [&](const failure& a, const failure& b) { return order(a) < order(b); });
    return found == all.end() ? nullptr : &*found;
}

load_run::load_run(const load_options& options, const boost::asio::ip::tcp::endpoint& server)
    : options_(options),
      server_(server),
      shared_{.bytes = byte_budget(options.max_bytes)},
      signals_(context_, SIGINT, SIGTERM),
      timer_(context_) {}

run_results load_run::execute() {
    cpu_before_s_ = process_cpu_seconds();
    await_signal();
    launch();
    if (options_.mode == load_mode::churn) start_clock();
    context_.run();
    for (auto& each : threads_) each.join();
    if (broken_) std::rethrow_exception(broken_);
    return collect();
}

void load_run::launch() {
    for (unsigned i = 0; i < options_.threads; ++i) {
        worker_events events{
            .ready = [this] { boost::asio::post(context_, [this] { on_ready(); }); },
            .done = [this] { boost::asio::post(context_, [this] { on_done(); }); }};
        workers_.push_back(
            std::make_unique<worker>(options_, server_, shared_, i, std::move(events)));
    }
    for (const auto& each : workers_) {
        threads_.emplace_back([this, which = each.get()] { run_worker(*which); });
    }
}

void load_run::run_worker(worker& which) {
    try {
        which.run();
    } catch (...) {
        const std::lock_guard lock(broken_mutex_);
        broken_ = std::current_exception();
        boost::asio::post(context_, [this] {
            drain();
            on_done();
        });
    }
}

void load_run::on_ready() {
    if (++ready_ == workers_.size() && !interrupted_) start_clock();
}

void load_run::on_done() {
    if (++done_ == workers_.size()) context_.stop();
}

void load_run::start_clock() {
    started_ = clock_type::now();
    for (const auto& each : workers_) each->begin();
    timer_.expires_at(started_ + options_.duration);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) drain();
    });
}

void load_run::drain() {
    for (const auto& each : workers_) each->drain();
    timer_.expires_after(options_.timeout);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) give_up("not ended within --timeout after the last message was begun");
    });
}

void load_run::give_up(const std::string& cause) {
    for (const auto& each : workers_) each->give_up(cause);
}

void load_run::await_signal() {
    signals_.async_wait([this](const boost::system::error_code& error, int) {
        if (error) return;
        if (std::exchange(interrupted_, true)) return give_up("interrupted twice");
        drain();
        await_signal();
    });
}

run_results load_run::collect() const {
    run_results out;
    for (const auto& each : workers_) out.total.merge(each->results());
    if (started_ != time_point{} && out.total.last_activity > started_) {
        out.elapsed_s = std::chrono::duration<double>(out.total.last_activity - started_).count();
    }
    out.client_cpu_s = process_cpu_seconds() - cpu_before_s_;
    out.interrupted = interrupted_;
    return out;
}

}  // namespace sluice_load
