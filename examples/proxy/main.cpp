// SPDX-License-Identifier: Apache-2.0
//! A TCP proxy: each client is connected to one of the upstreams, and what one side sends the other
//! gets, in the memory it came in.
#include <cstdio>
#include <cstdlib>

#include <sluice/sluice.hpp>

#include "options.hpp"
#include "server.hpp"

int main(int argc, char** argv) {
    demo::command_line line("sluice-proxy",
                            "Forwards TCP connections to upstreams, both ways, without copying.",
                            7778, "--listen,--port");
    proxy::options options;
    proxy::add_options(line, options);
    if (const auto ends = line.parse(argc, argv)) return *ends;

    sluice::service_options how = line.service();
    how.drain_timeout = options.drain_timeout;
    how.reactor = options.reactor;
    if (options.own_queue)
        for (const sluice::endpoint& upstream : options.upstreams)
            if (upstream.port() != 0) options.nic.peer_ports.push_back(upstream.port());
    // Before the service: the NIC is put back when the rings are closed.
    demo::succession succession;
    if (auto begun = succession.begin(line, options.nic, options.succession, how, options.listen);
        !begun)
        return line.fail(begun.error().message);
    sluice::service service(how);

    proxy::server server(options, service, succession);
    const auto report = service.run([&](sluice::reactor& home) { return server.run(home); });
    if (!report) return line.fail(sluice::explain_ring_error(report.error()));
    const proxy::figures total = server.total();
    std::printf("%llu connections, %llu refused\n%s%s",
                static_cast<unsigned long long>(total.served),
                static_cast<unsigned long long>(total.refused),
                server.received().to_string().c_str(), report->to_string().c_str());
    return report->clean() && !server.failed() ? EXIT_SUCCESS : EXIT_FAILURE;
}
