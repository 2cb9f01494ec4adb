// SPDX-License-Identifier: Apache-2.0
#include "loopback/echo_service.hpp"

#include <stdexcept>
#include <utility>

#include "loopback/plain_socket.hpp"
#include "sluice/this_coro.hpp"

namespace sluice::testing {

echo_service::echo_service(const echo_options& options) : options_(options) {
    auto opened = listener_group::open(loopback(), options_.reactors, options_.listen);
    group_ = std::make_unique<listener_group>(std::move(opened).value());
    local_ = group_->local();
    options_.service.cpus.clear();
    for (unsigned i = 0; i < options_.reactors; ++i) options_.service.cpus.push_back(i % 2);
    options_.service.pin = false;
    service_ = std::make_unique<service>(options_.service);
    service_->start([this](reactor& home) { return serve_on(home); }).value();
    running_ = true;
}

echo_service::~echo_service() {
    if (running_) stop();
}

task<> echo_service::serve_on(reactor& home) {
    tcp_listener listener = tcp_listener::open(home, *group_).value();
    auto handler = [this](tcp_stream stream) { return echo(std::move(stream)); };
    auto ended = co_await serve(listener, handler);
    ended.value();
}

task<> echo_service::echo(tcp_stream stream) {
    reactor& home = co_await this_coro::reactor();
    for (;;) {
        auto chunk = co_await stream.recv();
        if (!chunk) break;
        if (!options_.throws_at.empty() && chunk->text() == options_.throws_at)
            throw std::runtime_error("the client asked for it");
        auto sent = co_await stream.send_all(std::move(*chunk));
        if (!sent) break;
        if (options_.ends_when_draining && home.draining()) break;
    }
}

net_stats echo_service::net() {
    net_stats sum;
    for (unsigned i = 0; i < options_.reactors; ++i) {
        auto one = service_->submit(i, []() -> task<net_stats> {
            reactor& home = co_await this_coro::reactor();
            co_return net_stats_of(home);
        });
        const net_stats s = one.get();
        sum.accepted += s.accepted;
        sum.closed += s.closed;
        sum.open += s.open;
        sum.bytes_in += s.bytes_in;
        sum.bytes_out += s.bytes_out;
        sum.enobufs += s.enobufs;
        sum.capped += s.capped;
        sum.copied_out += s.copied_out;
        sum.accept_pauses += s.accept_pauses;
        sum.buffers_total += s.buffers_total;
        sum.buffers_kernel += s.buffers_kernel;
        sum.buffers_lent += s.buffers_lent;
    }
    return sum;
}

stop_report echo_service::stop() {
    running_ = false;
    service_->request_stop();
    stop_report report = service_->wait();
    group_.reset();
    return report;
}

}  // namespace sluice::testing
