// SPDX-License-Identifier: Apache-2.0
//! What the demos have in common: the options that say where they run, and the way they start.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <sluice/sluice.hpp>

namespace demo {

//! --cores, --no-pin, --address, --port, --log-level and --version, and what the demo adds to
//! app().
class command_line {
public:
    //! `port_option`: another name for --port, or several with commas between them.
    command_line(std::string name, const std::string& description, std::uint16_t port,
                 const std::string& port_option = "--port");

    [[nodiscard]] CLI::App& app() noexcept { return app_; }

    //! An option in milliseconds, written "500ms", "10s", "2m".
    CLI::Option* add_duration(const std::string& name, std::chrono::milliseconds& to,
                              const std::string& help);

    //! How the program is to end, when it is to end now: after --help, and after a mistake, which
    //! has been printed.
    [[nodiscard]] std::optional<int> parse(int argc, char** argv);

    [[nodiscard]] const sluice::endpoint& address() const noexcept { return address_; }
    //! The reactor options are the default ones; SIGINT and SIGTERM begin the stop.
    [[nodiscard]] sluice::service_options service() const;

    //! Prints the message with the program's name; gives EXIT_FAILURE.
    [[nodiscard]] int fail(const std::string& message) const;

private:
    std::optional<int> check();

    std::string name_;
    CLI::App app_;
    std::string cores_text_;
    std::vector<unsigned> cores_;
    bool no_pin_ = false;
    std::string address_text_ = "127.0.0.1";
    std::uint16_t port_;
    std::string log_level_ = "info";
    sluice::endpoint address_;
};

//! Listens where the command line says and runs `handler(tcp_stream)` for each connection, on every
//! core, until a signal ends it. `service` must have been made from the command line's options.
template <class Handler>
int serve(const command_line& line, sluice::service& service, Handler handler) {
    auto listeners = sluice::listener_group::open(line.address(), service.reactors());
    if (!listeners)
        return line.fail(sluice::explain_listen_error(listeners.error(), line.address()));
    std::atomic<bool> failed{false};
    // One reactor's failure ends the service: the others would serve a part of the connections
    // only.
    const auto fail = [&](const std::string& why) {
        if (!failed.exchange(true)) static_cast<void>(line.fail(why));
        service.request_stop();
    };
    const auto report = service.run([&](sluice::reactor& home) -> sluice::task<> {
        auto listener = sluice::tcp_listener::open(home, *listeners);
        if (!listener) {
            fail(sluice::explain_receive_error(listener.error(), home));
            co_return;
        }
        if (home.index() == 0) {
            std::printf("listening on %s with %u reactors\n",
                        listeners->local().to_string().c_str(), service.reactors());
            std::fflush(stdout);
        }
        const auto served = co_await sluice::serve(*listener, handler);
        if (!served) fail("accepting failed: " + served.error().message());
    });
    if (!report) return line.fail(sluice::explain_ring_error(report.error()));
    std::printf("%s", report->to_string().c_str());
    return report->clean() && !failed ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace demo
