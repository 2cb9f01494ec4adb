// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>

#include <sluice/sluice.hpp>

#include "options.hpp"
#include "server.hpp"

int main(int argc, char** argv) {
    demo::command_line line("sluice-echo",
                            "Sends back what it receives: one reactor, one io_uring and one "
                            "listening socket for each core.",
                            7777);
    echo::options options;
    echo::add_options(line, options);
    if (const auto ends = line.parse(argc, argv)) return *ends;

    sluice::service_options how = line.service();
    how.drain_timeout = options.drain_timeout;
    how.reactor = options.reactor;
    // Before the service: the NIC is put back when the rings are closed.
    demo::succession succession;
    if (auto begun = succession.begin(line, options.nic, options.succession, how, options.listen);
        !begun)
        return line.fail(begun.error().message);
    sluice::service service(how);

    echo::server server(options, service, succession);
    const auto report = service.run([&](sluice::reactor& home) { return server.run(home); });
    if (!report) return line.fail(sluice::explain_ring_error(report.error()));
    std::printf("%llu messages\n%s%s", static_cast<unsigned long long>(server.messages()),
                server.received().to_string().c_str(), report->to_string().c_str());
    return report->clean() && !server.failed() ? EXIT_SUCCESS : EXIT_FAILURE;
}
