// SPDX-License-Identifier: Apache-2.0
//! Coroutines on the reactors of a service, as a test.
#pragma once

#include <doctest/doctest.h>

#include <exception>
#include <utility>

#include "sluice/service.hpp"

namespace sluice::testing {

//! That many reactors, not kept on CPUs, because there may be fewer of those.
inline service_options cores(unsigned count) {
    service_options options;
    options.cpus.assign(count, 0);
    options.pin = false;
    options.reactor.recv_buffers = 16;
    return options;
}

//! What the reactors of a service sent each other has arrived, and nothing is left.
inline void check_mesh(const stop_report& report) {
    INFO(report.to_string());
    CHECK(report.clean());
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    for (const reactor_report& r : report.reactors) {
        sent += r.stats.messages_sent;
        received += r.stats.messages_received;
    }
    CHECK(sent == received);
}

//! Runs `fn`, which returns a task, on reactor 0 until nothing is left to do anywhere; throws what
//! escaped from it.
template <class F>
stop_report run_service(service& s, F fn) {
    std::exception_ptr escaped;
    auto report = s.run([&](reactor& home) -> task<> {
        if (home.index() != 0) co_return;
        try {
            co_await fn();
        } catch (...) {
            escaped = std::current_exception();
            s.request_stop();
            s.request_stop();
        }
    });
    REQUIRE(report.has_value());
    if (escaped) std::rethrow_exception(escaped);
    check_mesh(*report);
    return std::move(*report);
}

template <class F>
stop_report on_cores(unsigned count, F fn) {
    service s(cores(count));
    return run_service(s, std::move(fn));
}

}  // namespace sluice::testing
