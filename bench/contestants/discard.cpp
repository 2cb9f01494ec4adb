// SPDX-License-Identifier: Apache-2.0
/// sluice as a receiver of streams: takes what comes and answers nothing. --style says what it
/// receives with: copies; zero copy without a device; zero copy from the NIC that --interface
/// names, which it sets up.
#include <sluice/sluice.hpp>

#include "../peers/peer.h"

#include <arpa/inet.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace {

using namespace sluice;

task<> discard(tcp_stream conn) {
    while (auto chunk = co_await conn.recv()) peer_count(chunk->size());
}

task<> run(reactor& home, service& all, listener_group& listeners) {
    auto listener = tcp_listener::open(home, listeners);
    if (!listener) {
        std::fprintf(stderr, "%s\n", explain_receive_error(listener.error(), home).c_str());
        all.request_stop();
        co_return;
    }
    if (home.index() == 0) {
        std::printf("listening on %s with %u cores\n", listeners.local().to_string().c_str(),
                    peer.core_count);
        std::fflush(stdout);
    }
    static_cast<void>(co_await serve(*listener, discard));
}

nic_result<nic_session> set_up_nic(zcrx_options& zcrx, unsigned reactors) {
    nic_request wanted;
    wanted.interface = peer.interface == nullptr ? "" : peer.interface;
    wanted.port = peer.port;
    auto queues = last_queues(wanted.interface, reactors);
    if (!queues) return queues.error();
    wanted.queues = std::move(*queues);
    auto session = nic_session::open(wanted);
    if (!session) return session.error();
    if (auto used = session->use(zcrx, reactors); !used) return used.error();
    return session;
}

}  // namespace

int main(int argc, char** argv) {
    peer_parse(argc, argv, "copy device-less nic");
    const std::string_view style = peer.style;
    service_options how{.handle_signals = true};
    for (unsigned i = 0; i < peer.core_count; ++i)
        how.cpus.push_back(static_cast<unsigned>(peer.cores[i]));
    zcrx_options& zcrx = how.reactor.zcrx;
    zcrx.mode = style == "copy" ? receive_mode::copy : receive_mode::zc;
    zcrx.device_less = style == "device-less";
    std::optional<nic_session> nic;  // put back when the rings are closed
    if (style == "nic") {
        auto session = set_up_nic(zcrx, peer.core_count);
        if (!session) {
            std::fprintf(stderr, "%s\n", session.error().message.c_str());
            return EXIT_FAILURE;
        }
        nic.emplace(std::move(*session));
    }
    service all(how);
    char address[INET_ADDRSTRLEN];
    ::inet_ntop(AF_INET, &peer.address, address, sizeof address);
    const auto at = endpoint::of(address, peer.port).value();
    auto listeners = listener_group::open(at, all.reactors());
    if (!listeners) {
        std::fprintf(stderr, "%s\n", explain_listen_error(listeners.error(), at).c_str());
        return EXIT_FAILURE;
    }
    const auto report = all.run([&](reactor& home) { return run(home, all, *listeners); });
    if (!report) std::fprintf(stderr, "%s\n", explain_ring_error(report.error()).c_str());
    return report && report->clean() ? EXIT_SUCCESS : EXIT_FAILURE;
}
