// SPDX-License-Identifier: Apache-2.0
// Descriptors run out: clients wait, and are served when others have gone. Each test lowers the
// limit of a process of its own.

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "loopback/wire.hpp"
#include "sluice/net_stats.hpp"
#include "sluice/nursery.hpp"
#include "sluice/service.hpp"
#include "support/child.hpp"
#include "support/skip.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using sluice::listen_options;
using sluice::listener_group;
using sluice::net_stats_of;
using sluice::reactor;
using sluice::task;
using sluice::tcp_listener;
using sluice::tcp_stream;
using sluice::with_timeout;
using sluice::testing::in_child;
using sluice::testing::loopback;
using sluice::testing::plain_socket;

namespace {

void lower_limit(rlim_t descriptors) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = descriptors;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

//! A check in a child: says what is wrong, and ends it.
void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "does not hold: %s\n", what);
    std::fflush(stderr);
    ::_exit(1);
}

int run_in(std::unique_ptr<reactor>& home, auto fn) {
    ::alarm(40);
    home->spawn(fn);
    home->run_until_idle();
    const auto stats = home->stats();
    require(stats.live_operations == 0, "no live operations");
    require(stats.live_frames == 0, "no live frames");
    require(net_stats_of(*home).open == 0, "no open connections");
    require(net_stats_of(*home).buffers_kernel == net_stats_of(*home).buffers_total,
            "all buffers with the kernel");
    return 0;
}

// The build says in the environment which sanitizers it has: g++ has no macro for this one.
bool sanitizer_wants_descriptors() {
    const char* built = std::getenv("SLUICE_TEST_SANITIZE");
    if (built == nullptr || std::string_view(built).find("undefined") == std::string_view::npos)
        return false;
    sluice::testing::report_skip("the undefined sanitizer probes memory through a pipe of its own");
    return true;
}

void check_child(const std::function<int()>& fn) {
    if (sanitizer_wants_descriptors()) return;
    const auto outcome = in_child(fn);
    INFO("standard error of the child: ", outcome.errors);
    CHECK(outcome.signal == 0);
    CHECK(outcome.exit_code == 0);
}

}  // namespace

TEST_SUITE_BEGIN("loopback.descriptors");

TEST_CASE("descriptors: accepting pauses before the limit, and all clients are served in the end") {
    check_child([] {
        // Clients first: they need descriptors, too.
        static constexpr std::size_t clients = 60;
        auto home = reactor::create().value();
        listen_options options;
        options.descriptor_headroom = 8;
        const listener_group group = listener_group::open(loopback(), 1, options).value();
        std::vector<plain_socket> all;
        for (std::size_t i = 0; i < clients; ++i) {
            all.push_back(plain_socket::connect(group.local()));
            require(all.back().send("x"), "a client sends");
        }
        const int next = ::dup(0);
        ::close(next);
        lower_limit(static_cast<rlim_t>(next) + 40);
        return run_in(home, [&]() -> task<> {
            tcp_listener listener = tcp_listener::open(*home, group, 0).value();
            std::vector<tcp_stream> open;
            std::size_t served = 0;
            std::size_t most = 0;
            while (served < clients) {
                auto accepted = co_await with_timeout(200ms, listener.accept());
                if (accepted) {
                    open.push_back(std::move(*accepted));
                    most = std::max(most, open.size());
                    ++served;
                    continue;
                }
                require(accepted.error() == sluice::error::timeout, "clients wait");
                require(!open.empty(), "some are open");
                // The headroom is left for others.
                const int spare = ::dup(0);
                require(spare >= 0, "a descriptor is left");
                ::close(spare);
                for (tcp_stream& s : open) co_await s.close();
                open.clear();
            }
            require(most <= 40, "no more than the limit");
            require(net_stats_of(*home).accept_pauses > 0, "pauses are counted");
            require(net_stats_of(*home).accepted == clients, "all were accepted");
        });
    });
}

TEST_CASE("descriptors: without headroom the kernel says EMFILE, and it is survived") {
    check_child([] {
        static constexpr std::size_t clients = 20;
        auto home = reactor::create().value();
        listen_options options;
        options.descriptor_headroom = 0;
        const listener_group group = listener_group::open(loopback(), 1, options).value();
        std::vector<plain_socket> all;
        for (std::size_t i = 0; i < clients; ++i)
            all.push_back(plain_socket::connect(group.local()));
        return run_in(home, [&]() -> task<> {
            tcp_listener listener = tcp_listener::open(*home, group, 0).value();
            auto first = co_await listener.accept();
            require(first.has_value(), "the first is served");
            // Somebody else takes the rest of the descriptors.
            const int next = ::dup(0);
            ::close(next);
            lower_limit(static_cast<rlim_t>(next) + 10);
            std::vector<int> hogged;
            for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) hogged.push_back(fd);
            std::vector<tcp_stream> open;
            for (;;) {  // those that were accepted before
                auto more = co_await with_timeout(100ms, listener.accept());
                if (!more) break;
                open.push_back(std::move(*more));
            }
            std::vector<plain_socket> late;
            for (const int fd : hogged) ::close(fd);
            while (late.size() < 3) late.push_back(plain_socket::connect(group.local()));
            hogged.clear();
            for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) hogged.push_back(fd);
            auto none = co_await with_timeout(200ms, listener.accept());
            const bool waits = none.has_error();
            if (!waits) open.push_back(std::move(*none));
            for (const int fd : hogged) ::close(fd);
            lower_limit(1000);
            while (open.size() + 1 < clients + 3) {
                auto more = co_await with_timeout(10s, listener.accept());
                require(more.has_value(), "the rest is served when there are descriptors");
                open.push_back(std::move(*more));
            }
        });
    });
}

TEST_CASE("descriptors: refuse_when_exhausted closes clients at once, and blocks nobody") {
    check_child([] {
        auto home = reactor::create().value();
        listen_options options;
        options.descriptor_headroom = 0;
        options.refuse_when_exhausted = true;
        const listener_group group = listener_group::open(loopback(), 1, options).value();
        return run_in(home, [&]() -> task<> {
            tcp_listener listener = tcp_listener::open(*home, group, 0).value();
            plain_socket client = plain_socket::connect(group.local());
            auto first = co_await listener.accept();
            require(first.has_value(), "the first is served");
            // A socket for the next client, and then no descriptor is left.
            const int next_client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            const int next = ::dup(0);
            ::close(next);
            lower_limit(static_cast<rlim_t>(next) + 4);
            std::vector<int> hogged;
            for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) hogged.push_back(fd);
            // With nobody waiting the reactor goes on.
            auto none = co_await with_timeout(200ms, listener.accept());
            require(none.has_error(), "nobody is there");
            plain_socket refused(next_client);
            require(::connect(next_client, group.local().data(), group.local().size()) == 0,
                    "connects");
            auto still_none = co_await with_timeout(500ms, listener.accept());
            const bool was_refused = still_none.has_error();
            for (const int fd : hogged) ::close(fd);
            if (was_refused) {
                require(net_stats_of(*home).accept_refused >= 1, "refusals are counted");
                require(refused.recv_all().empty(), "the client sees the end");
            }
            plain_socket third = plain_socket::connect(group.local());
            auto accepted = co_await with_timeout(10s, listener.accept());
            require(accepted.has_value(), "served again");
        });
    });
}

TEST_CASE("descriptors: connect without one gives EMFILE") {
    check_child([] {
        auto home = reactor::create().value();
        const listener_group group = listener_group::open(loopback(), 1).value();
        return run_in(home, [&]() -> task<> {
            const int next = ::dup(0);
            ::close(next);
            lower_limit(static_cast<rlim_t>(next));
            auto connected = co_await tcp_stream::connect(group.local());
            require(connected.has_error(), "fails");
            require(connected.error() == boost::system::errc::too_many_files_open, "EMFILE");
            lower_limit(1000);
            auto again = co_await tcp_stream::connect(group.local());
            require(again.has_value(), "and works again");
        });
    });
}

TEST_CASE("descriptors: none for the ring is an error with cause and remedy") {
    check_child([] {
        ::alarm(40);
        const int next = ::dup(0);
        ::close(next);
        lower_limit(static_cast<rlim_t>(next));
        const auto made = reactor::create();
        require(made.has_error(), "fails");
        require(made.error() == boost::system::errc::too_many_files_open, "EMFILE");
        const std::string text = sluice::explain_ring_error(made.error());
        require(text.find("RLIMIT_NOFILE") != std::string::npos, "says what to raise");
        return 0;
    });
}

TEST_CASE("descriptors: enough for the first reactor of a service only: start fails as a whole") {
    if (sanitizer_wants_descriptors()) return;
    for (const int spare : {0, 1, 2, 3, 4, 5}) {
        CAPTURE(spare);
        check_child([spare] {
            ::alarm(40);
            const int next = ::dup(0);
            ::close(next);
            lower_limit(static_cast<rlim_t>(next + spare));
            sluice::service_options options;
            options.cpus = {0, 0, 0};
            options.pin = false;
            sluice::service service(options);
            const auto started = service.start([](reactor&) -> task<> { co_return; });
            if (started) {
                service.request_stop();
                require(service.wait().clean(), "clean");
            } else {
                require(started.error() == boost::system::errc::too_many_files_open, "EMFILE");
            }
            // Every thread was joined, every descriptor closed.
            const int again = ::dup(0);
            require(spare == 0 || again == next, "no descriptor leaked");
            lower_limit(1000);
            const auto second = service.start([](reactor&) -> task<> { co_return; });
            require(second.has_value(), "starts when there are descriptors");
            service.request_stop();
            require(service.wait().clean(), "clean");
            return 0;
        });
    }
}

TEST_SUITE_END();
