// SPDX-License-Identifier: Apache-2.0
//! Writes what connections send to files or a block device, where possible from the memory in which
//! it was received.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <sluice/sluice.hpp>

#include "options.hpp"
#include "server.hpp"

int main(int argc, char** argv) {
    demo::command_line line("sluice-sink", "Writes what it receives to files or a block device.",
                            7779, "--listen,--port");
    sink::options options;
    sink::add_options(line, options);
    if (const auto ends = line.parse(argc, argv)) return *ends;
    // What is being written is held, and what comes meanwhile should not have to be copied for
    // that.
    options.writing.max_leases = std::max(options.reactor.zcrx.max_leases_per_connection / 2, 1U);

    sluice::service_options how = line.service();
    how.drain_timeout = options.drain_timeout;
    how.reactor = options.reactor;
    // Before the service: the NIC is put back when the rings are closed.
    demo::succession succession;
    if (auto begun = succession.begin(line, options.nic, options.succession, how, options.listen);
        !begun)
        return line.fail(begun.error().message);
    sluice::service service(how);

    sink::server server(options, service, succession);
    const auto report = service.run([&](sluice::reactor& home) { return server.run(home); });
    if (!report) return line.fail(sluice::explain_ring_error(report.error()));
    const sink::figures total = server.total();
    std::printf("%llu files, %llu failed, %llu refused: %s\n%s%s",
                static_cast<unsigned long long>(total.files),
                static_cast<unsigned long long>(total.failed),
                static_cast<unsigned long long>(total.refused),
                sink::to_string(total.writes, total.syncs).c_str(),
                server.received().to_string().c_str(), report->to_string().c_str());
    return report->clean() && !server.failed() && total.failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
