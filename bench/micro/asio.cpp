// SPDX-License-Identifier: Apache-2.0
/// The same operations in Boost.Asio, on epoll, with executors that are not type-erased and a
/// context that takes no locks where one thread uses it.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <pthread.h>
#include <sched.h>

#include <deque>
#include <random>
#include <thread>

#include "measure.hpp"

namespace micro {

namespace {

namespace asio = boost::asio;
using executor = asio::io_context::executor_type;
template <class T>
using awaitable = asio::awaitable<T, executor>;
using timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, executor>;
using channel = asio::experimental::channel<executor, void(boost::system::error_code, int)>;
constexpr asio::use_awaitable_t<executor> token;

double in_context(awaitable<double> (*work)(asio::io_context&)) {
    asio::io_context context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
    double each = 0;
    asio::co_spawn(
        context, [&]() -> awaitable<void> { each = co_await work(context); }, asio::detached);
    context.run();
    return each;
}

__attribute__((noinline)) awaitable<int> child(int value) { co_return value; }

awaitable<double> await_child(asio::io_context&) {
    constexpr int count = 1'000'000;
    const stopwatch since;
    for (int i = 0; i < count; ++i) keep(co_await child(i));
    co_return since.ns_each(count);
}

awaitable<double> through_run_queue(asio::io_context& context) {
    constexpr int count = 500'000;
    const stopwatch since;
    for (int i = 0; i < count; ++i) co_await asio::post(context, token);
    co_return since.ns_each(count);
}

awaitable<void> nothing() { co_return; }

awaitable<double> spawn_and_join(asio::io_context& context) {
    constexpr int count = 200'000;
    const stopwatch since;
    for (int i = 0; i < count; ++i) co_await asio::co_spawn(context, nothing(), token);
    co_return since.ns_each(count);
}

constexpr int hops = 200'000;

awaitable<void> send_all_of(channel& to) {
    for (int i = 0; i < hops; ++i) co_await to.async_send(boost::system::error_code(), i, token);
}

awaitable<double> channel_hop(asio::io_context& context) {
    channel between(context.get_executor(), 1);
    const stopwatch since;
    asio::co_spawn(context, send_all_of(between), asio::detached);
    for (int i = 0; i < hops; ++i) keep(co_await between.async_receive(token));
    co_return since.ns_each(hops);
}

/// To the CPU that sluice's reactor with this number is pinned to.
void pin(std::thread& thread, std::size_t index) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    std::vector<std::size_t> cpus;
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(index < cpus.size() ? cpus[index] : cpus.front(), &one);
    pthread_setaffinity_np(thread.native_handle(), sizeof one, &one);
}

double round_trip() {
    constexpr int count = 20'000;
    asio::io_context here(1);
    asio::io_context there(1);
    const auto stays = asio::make_work_guard(there);
    std::thread other([&] { there.run(); });
    double each = 0;
    asio::co_spawn(
        here,
        [&]() -> awaitable<void> {
            const wall_clock since;
            for (int i = 0; i < count; ++i) co_await asio::co_spawn(there, nothing(), token);
            each = since.ns_each(count);
        },
        asio::detached);
    std::thread asker([&] { here.run(); });
    pin(asker, 0);
    pin(other, 1);
    asker.join();
    there.stop();
    other.join();
    return each;
}

struct timers {
    explicit timers(bool in_the_past) {
        std::mt19937_64 random(1);
        const auto now = std::chrono::steady_clock::now();
        for (int i = 0; i < many_timers; ++i) {
            all.emplace_back(context);
            const std::chrono::nanoseconds away(random() % 60'000'000'000 + 1);
            all.back().expires_at(in_the_past ? now - away : now + std::chrono::hours(1) + away);
            all.back().async_wait([this](boost::system::error_code failed) { expired += !failed; });
        }
    }

    asio::io_context context{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE};
    std::deque<timer> all;
    int expired = 0;
};

double timer_insert_and_cancel() {
    constexpr int count = 200'000;
    timers pending(false);
    std::mt19937_64 random(2);
    timer mine(pending.context);
    const auto base = std::chrono::steady_clock::now() + std::chrono::hours(1);
    const stopwatch since;
    for (int i = 0; i < count; ++i) {
        mine.expires_at(base + std::chrono::nanoseconds(random() % 60'000'000'000));
        mine.async_wait([](boost::system::error_code) {});
        mine.cancel();
        pending.context.poll_one();
    }
    return since.ns_each(count);
}

double timer_expiry() {
    timers pending(true);
    const stopwatch since;
    pending.context.run();
    const double each = since.ns_each(many_timers);
    return pending.expired == many_timers ? each : -1;
}

}  // namespace

void add_asio(std::vector<operation>& to) {
    const auto add = [&to](const char* name, awaitable<double> (*work)(asio::io_context&)) {
        to.push_back({name, "Asio", [work] { return in_context(work); }});
    };
    add("await of a ready child", await_child);
    add("once through the run queue", through_run_queue);
    add("spawn + join", spawn_and_join);
    add("channel hop", channel_hop);
    to.push_back({"cross-core round trip", "Asio", round_trip});
    to.push_back({"timer insert + cancel among 1000000", "Asio", timer_insert_and_cancel});
    to.push_back({"timer expiry among 1000000", "Asio", timer_expiry});
}

}  // namespace micro
