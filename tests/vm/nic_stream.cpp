// SPDX-License-Identifier: Apache-2.0
#include "vm/nic_stream.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace sluice::testing {

nic_listener listen_on(reactor& home, std::uint16_t port) {
    auto group = listener_group::open(nic_rig::address(port), 1);
    REQUIRE(group.has_value());
    auto listener = tcp_listener::open(home, *group);
    if (!listener) FAIL(explain_receive_error(listener.error(), home));
    return {std::move(*group), std::move(*listener)};
}

std::string why_not_listening(reactor& home) {
    auto group = listener_group::open(nic_rig::address(0), 1);
    REQUIRE(group.has_value());
    const auto listener = tcp_listener::open(home, *group);
    return listener ? std::string() : explain_receive_error(listener.error(), home);
}

task<wire> make_nic_wire(reactor& home, nic_rig& nic, unsigned queue) {
    nic_listener here = listen_on(home, 0);
    nic.steer(here.group.local().port(), queue);
    plain_socket peer = nic_rig::connect_from_peer(here.group.local());
    auto stream = co_await with_timeout(20s, here.listener.accept());
    REQUIRE(stream.has_value());
    co_return wire{std::move(*stream), std::move(peer)};
}

task<std::uint64_t> receive_checked(tcp_stream& stream, std::uint64_t seed) {
    pattern_reader reader(seed);
    for (;;) {
        auto chunk = co_await with_timeout(40s, stream.recv());
        if (!chunk) {
            CHECK(chunk.error() == error::eof);
            break;
        }
        reader.take(chunk->bytes());
    }
    CHECK(reader.intact());
    co_return reader.taken();
}

zcrx_outcome nic_transfer(nic_rig& nic, std::uint64_t bytes, const reactor_options& options) {
    constexpr std::uint64_t seed = 21;
    return run_zcrx(
        [&](reactor& home) -> task<> {
            wire w = co_await make_nic_wire(home, nic);
            peer_thread sender([&] {
                CHECK(w.peer.send(pattern(seed).bytes(0, bytes)));
                w.peer.shutdown_write();
            });
            const std::uint64_t taken = co_await receive_checked(w.stream, seed);
            CHECK(taken == bytes);
            co_await sender.finished();
        },
        options);
}

void send_datagram(const endpoint& to, std::uint16_t from_port) {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in from{};
    from.sin_family = AF_INET;
    from.sin_port = htons(from_port);
    const char byte = 0;
    const bool sent = ::bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) == 0 &&
                      ::sendto(fd, &byte, 1, 0, to.data(), to.size()) == 1;
    ::close(fd);
    CHECK(sent);
}

}  // namespace sluice::testing
