// SPDX-License-Identifier: Apache-2.0
//! A demo that serves connections on every core: what echo, proxy and sink have in common.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <utility>

#include <sluice/sluice.hpp>

#include "receive_report.hpp"
#include "succession.hpp"

namespace demo {

class core_server {
public:
    //! `name`: of the program, before its messages. Service and succession must outlive it.
    core_server(std::string name, sluice::service& service, succession& succession,
                const sluice::zcrx_options& zcrx)
        : name_(std::move(name)), service_(service), succession_(succession), received_(zcrx) {}
    core_server(const core_server&) = delete;
    core_server& operator=(const core_server&) = delete;

    //! What it has received. When the service has ended.
    [[nodiscard]] const receive_report& received() const { return received_; }

    //! Whether a reactor could not do its share; the reason has been printed.
    [[nodiscard]] bool failed() const { return failed_; }

protected:
    ~core_server() = default;

    [[nodiscard]] sluice::service& home_service() const noexcept { return service_; }

    //! On each reactor: `begin(scope)` starts what goes on for as long as connections do, and each
    //! connection is a task of `handler(tcp_stream)`, until the service stops.
    template <class Begin, class Handler>
    sluice::task<> serve_on(sluice::reactor& home, Begin begin, Handler handler) {
        auto listener = sluice::tcp_listener::open(home, succession_.listeners());
        if (!listener) {
            fail(sluice::explain_receive_error(listener.error(), home));
            co_return;
        }
        listens();
        const auto all = [&](sluice::nursery& scope) -> sluice::task<> {
            begin(scope);
            succession_.run_in(scope, home, service_);
            auto served = co_await sluice::serve(*listener, handler);
            if (!served) fail("accepting failed: " + served.error().message());
            scope.request_stop();
        };
        static_cast<void>(co_await sluice::with_nursery(all));
        received_.add(home);
    }

private:
    //! One reactor's failure ends the service: the others would serve a part of the connections
    //! only.
    void fail(const std::string& why);
    //! A reactor does; the last one says so.
    void listens();

    const std::string name_;
    sluice::service& service_;
    succession& succession_;
    receive_report received_;
    std::atomic<unsigned> listening_{0};
    std::atomic<bool> failed_{false};
};

}  // namespace demo
