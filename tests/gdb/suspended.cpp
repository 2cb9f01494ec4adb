// SPDX-License-Identifier: Apache-2.0
// Suspends in coroutines whose names and lines check_gdb.py knows, says so, and waits to be killed.
#include <chrono>
#include <cstdio>
#include <thread>

#include "sluice/cpu_set.hpp"
#include "sluice/listener.hpp"
#include "sluice/nursery.hpp"
#include "sluice/service.hpp"
#include "sluice/timeout.hpp"

namespace {

using namespace sluice;
using namespace std::chrono_literals;

task<result<void>> innermost() {
    co_return co_await sleep_for(1h);  // line: innermost
}

task<> middle() {
    static_cast<void>(co_await with_timeout(2h, innermost()));  // line: middle
}

task<> accepts(reactor& home) {
    auto group = listener_group::open(*endpoint::of("127.0.0.1", 0), 1);
    auto listener = tcp_listener::open(home, *group, 0);
    static_cast<void>(co_await listener->accept());  // line: accepts
}

task<> outer(reactor& home) {
    static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn(middle);
        if (home.index() == 0) scope.spawn([&] { return accepts(home); });
        std::puts("suspended");
        std::fflush(stdout);
        co_await middle();  // line: scope
    }));
}

}  // namespace

int main() {
    const unsigned cpu = usable_cpus().front();
    service_options options;
    options.cpus = {cpu, cpu};
    options.pin = false;
    service running(options);
    const auto report = running.run([](reactor& home) { return outer(home); });
    return report ? 0 : 1;
}
