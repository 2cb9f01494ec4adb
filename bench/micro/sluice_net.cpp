// SPDX-License-Identifier: Apache-2.0
/// Receives of a connection on loopback whose peer is a plain socket of the same thread: a message
/// is written by send(2), then awaited. Most of each figure is the kernel's.
#include <sluice/sluice.hpp>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "measure.hpp"

namespace micro {

namespace {

using namespace sluice;
using namespace std::chrono_literals;

constexpr int messages = 40'000;
constexpr std::array<char, 64> message{};

/// A blocking socket, connected to a port of loopback.
class plain_peer {
public:
    explicit plain_peer(std::uint16_t port) : descriptor_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const int on = 1;
        ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (::connect(descriptor_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return;
        std::perror("connect");
        std::exit(1);
    }
    ~plain_peer() { ::close(descriptor_); }
    plain_peer(const plain_peer&) = delete;
    plain_peer& operator=(const plain_peer&) = delete;

    void send() const {
        if (::send(descriptor_, message.data(), message.size(), MSG_NOSIGNAL) < 0) std::exit(1);
    }

private:
    int descriptor_;
};

/// Nanoseconds of each message; a negative number if not all came.
template <bool limited>
task<double> receive_all(reactor& home) {
    auto group = listener_group::open(endpoint::of("127.0.0.1", 0).value(), 1);
    if (!group) co_return -1;
    auto listener = tcp_listener::open(home, *group);
    if (!listener) co_return -1;
    const plain_peer peer(group->local().port());
    auto accepted = co_await listener->accept();
    if (!accepted) co_return -1;
    tcp_stream stream = std::move(*accepted);
    std::size_t bytes = 0;
    const stopwatch since;
    for (int i = 0; i < messages; ++i) {
        peer.send();
        if constexpr (limited) {
            auto got = co_await with_timeout(1h, stream.recv());
            if (!got) co_return -1;
            bytes += got->size();
        } else {
            auto got = co_await stream.recv();
            if (!got) co_return -1;
            bytes += got->size();
        }
    }
    const double each = since.ns_each(messages);
    co_return bytes == messages* message.size() ? each : -1;
}

double on_reactor(const ladder_marks& marks, task<double> (*work)(reactor&)) {
    reactor_options options;
    options.zcrx.marks = marks;
    auto home = reactor::create(options);
    if (!home) {
        std::fprintf(stderr, "%s\n", explain_ring_error(home.error()).c_str());
        std::exit(1);
    }
    double each = 0;
    (*home)->spawn([&]() -> task<> { each = co_await work(**home); });
    (*home)->run_until_idle();
    return each;
}

}  // namespace

void add_sluice_net(std::vector<operation>& to) {
    const auto add = [&to](const char* name, const char* contestant, const ladder_marks& marks,
                           task<double> (*work)(reactor&)) {
        to.push_back({name, contestant, [marks, work] { return on_reactor(marks, work); }});
    };
    const ladder_marks usual{};
    const ladder_marks out{.small_copy = 0, .full_copy = 0, .evacuate = 0};
    const ladder_marks always{.small_copy = 100, .full_copy = 100, .evacuate = 0, .margin = 0};
    add("64 B from a socket", "sluice", usual, receive_all<false>);
    add("64 B from a socket", "sluice, with_timeout", usual, receive_all<true>);
    add("64 B from a socket", "sluice, no copy ladder", out, receive_all<false>);
    add("64 B from a socket", "sluice, ladder in use", always, receive_all<false>);
}

}  // namespace micro
