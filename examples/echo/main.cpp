// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>

#include <sluice/sluice.hpp>

#include "options.hpp"
#include "server.hpp"

namespace {

int fail(const std::string& message) {
    std::fprintf(stderr, "sluice-echo: %s\n", message.c_str());
    return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
    int exit_code = EXIT_SUCCESS;
    const auto options = echo::parse(argc, argv, exit_code);
    if (!options) return exit_code;

    sluice::service_options how;
    how.cpus = options->cores;
    how.pin = options->pin;
    how.handle_signals = true;
    how.dump_on_sigquit = true;
    how.drain_timeout = options->drain_timeout;
    how.reactor = options->reactor;
    sluice::service service(how);

    auto listeners =
        sluice::listener_group::open(options->address, service.reactors(), options->listen);
    if (!listeners) return fail(sluice::explain_listen_error(listeners.error(), options->address));

    echo::server server(*options, service, *listeners);
    const auto report = service.run([&](sluice::reactor& home) { return server.run(home); });
    if (!report) return fail(sluice::explain_ring_error(report.error()));
    std::printf("%llu messages\n%s", static_cast<unsigned long long>(server.messages()),
                report->to_string().c_str());
    return report->clean() && !server.failed() ? EXIT_SUCCESS : EXIT_FAILURE;
}
