// SPDX-License-Identifier: Apache-2.0
#include <sluice/sluice.hpp>
using namespace sluice;

task<> echo(tcp_stream conn) {
    while (auto chunk = co_await conn.recv())
        if (auto sent = co_await conn.send_all(std::move(*chunk)); !sent) break;
}

int main() {
    service cores({.handle_signals = true});  // a reactor on each CPU
    auto at = endpoint::of("::", 7777).value();
    auto listeners = listener_group::open(at, cores.reactors()).value();
    auto report = cores.run([&](reactor& home) -> task<> {
        auto listener = tcp_listener::open(home, listeners).value();
        static_cast<void>(co_await serve(listener, echo));
    });
    return report && report->clean() ? 0 : 1;
}
