// SPDX-License-Identifier: Apache-2.0
//! Sockets, descriptors and scripted peers of the simulated kernel.
#include <doctest/doctest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "sim/raw_ring.hpp"
#include "sim/seeds.hpp"

using namespace sluice::sim;
using namespace std::chrono_literals;

namespace {

int accept_one(raw_ring& r, int listening) {
    io_uring_prep_accept(&r.next(50), listening, nullptr, nullptr, 0);
    const int fd = r.take(50).result;
    REQUIRE(fd >= 0);
    return fd;
}

//! Receives until the end of the stream or an error, which is stored.
std::string receive_all(raw_ring& r, int fd, int& last) {
    std::string text;
    std::array<char, 4096> buffer{};
    for (;;) {
        io_uring_prep_recv(&r.next(51), fd, buffer.data(), buffer.size(), 0);
        last = r.take(51).result;
        if (last <= 0) return text;
        text.append(buffer.data(), static_cast<std::size_t>(last));
    }
}

}  // namespace

TEST_CASE("sim network: a scripted peer talks, half-closes and hears the answer") {
    sim_kernel sim(1);
    raw_ring r(sim);
    std::uint16_t port = 0;
    const int listening = listening_socket(sim, port);
    const auto client = sim.connect_peer(port);
    client->send("hello ", 1ms);
    client->send("world", 2ms);
    client->half_close(3ms);
    const int fd = accept_one(r, listening);
    int last = 0;
    CHECK(receive_all(r, fd, last) == "hello world");
    CHECK(last == 0);
    CHECK(client->connected());
    CHECK(!client->saw_end());
    io_uring_prep_send(&r.next(6), fd, "bye", 3, MSG_NOSIGNAL | MSG_WAITALL);
    CHECK(r.take(6).result == 3);
    sim.close(fd);
    r.enter(1, 50);
    CHECK(client->received() == "bye");
    CHECK(client->saw_end());
    CHECK(client->error() == 0);
    sim.close(listening);
}

TEST_CASE("sim network: a peer that resets, and one that does not read") {
    sim_kernel sim(1);
    raw_ring r(sim);
    std::uint16_t port = 0;
    const int listening = listening_socket(sim, port);
    const auto rude = sim.connect_peer(port);
    const int first = accept_one(r, listening);
    rude->reset(5ms);
    int last = 0;
    CHECK(receive_all(r, first, last).empty());
    CHECK(last == -ECONNRESET);

    const auto slow = sim.connect_peer(port);
    slow->stop_reading();
    slow->read_again(1h);
    const int second = accept_one(r, listening);
    const std::string much(1'000'000, 'x');
    const auto begin = sim.time();
    io_uring_prep_send(&r.next(6), second, much.data(), much.size(), MSG_NOSIGNAL | MSG_WAITALL);
    CHECK(r.enter(1, 1000).empty());
    while (r.reap().empty() && sim.time() - begin < 2h)
        if (!r.enter(1, 1'000'000).empty()) break;
    CHECK(sim.time() - begin > 59min);
    r.enter(1, 100);
    CHECK(slow->received().size() == much.size());
}

TEST_CASE("sim network: a server that is a script") {
    sim_kernel sim(1);
    raw_ring r(sim);
    std::vector<std::shared_ptr<peer>> accepted;
    sim.listen_peers(7777, [&](const std::shared_ptr<peer>& p) {
        p->send("welcome");
        accepted.push_back(p);
    });
    const int fd = sim.socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = loopback_v4(7777);
    io_uring_prep_connect(&r.next(5), fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
    CHECK(r.take(5).result == 0);
    std::array<char, 16> buffer{};
    io_uring_prep_recv(&r.next(5), fd, buffer.data(), buffer.size(), MSG_WAITALL);
    r.enter(1, 10);
    REQUIRE(accepted.size() == 1);
    accepted[0]->close();
    const int got = r.take(5).result;
    CHECK(got == 7);
    sim.close(fd);
}

TEST_CASE("sim network: an address is one socket's, unless all want to share it") {
    sim_kernel sim(1);
    const auto bind_new = [&](std::uint16_t port, bool share) {
        const int fd = sim.socket(AF_INET, SOCK_STREAM, 0);
        const int on = share ? 1 : 0;
        CHECK(sim.set_option(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
        sockaddr_in address = loopback_v4(port);
        const int failed = sim.bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
        if (failed == 0) CHECK(sim.listen(fd, 60) == 0);
        return failed == 0 ? fd : failed;
    };
    const int alone = bind_new(1000, false);
    CHECK(alone > 0);
    CHECK(bind_new(1000, true) == -EADDRINUSE);
    sim.close(alone);
    std::vector<int> group;
    for (int i = 0; i < 3; ++i) group.push_back(bind_new(1000, true));
    CHECK(bind_new(1000, false) == -EADDRINUSE);

    // Clients are spread by their port.
    raw_ring r(sim);
    std::vector<std::shared_ptr<peer>> clients;
    for (int i = 0; i < 60; ++i) clients.push_back(sim.connect_peer(1000));
    r.enter(1, 100);
    int all = 0;
    for (const int fd : group) {
        int mine = 0;
        while (sim.accept(fd) >= 0) ++mine;
        CHECK(sim.accept(fd) == -EAGAIN);
        CHECK(mine > 5);
        all += mine;
    }
    CHECK(all == 60);
}

TEST_CASE("sim network: descriptors are the lowest free ones, up to the limit") {
    sim_kernel sim(1, quiet_options());
    sim.options().descriptor_limit = 6;
    CHECK(sim.socket(AF_INET, SOCK_STREAM, 0) == 3);
    CHECK(sim.reserve_descriptor() == 4);
    CHECK(sim.socket(AF_INET6, SOCK_STREAM, 0) == 5);
    CHECK(sim.socket(AF_INET, SOCK_STREAM, 0) == -EMFILE);
    CHECK(sim.wake_descriptor() == -EMFILE);
    CHECK(sim.close(4) == 0);
    CHECK(sim.close(4) == -EBADF);
    CHECK(sim.socket(AF_INET, SOCK_STREAM, 0) == 4);
    CHECK(sim.socket(AF_UNIX, SOCK_STREAM, 0) == -EAFNOSUPPORT);
}

TEST_CASE("sim network: a multishot accept meets the descriptor limit") {
    for (const bool newest : {true, false}) {
        sim_kernel sim(1, quiet_options(newest ? kernel_6_18() : kernel_6_1()));
        raw_ring r(sim);
        std::uint16_t port = 0;
        const int listening = listening_socket(sim, port);
        sim.options().descriptor_limit = static_cast<unsigned>(listening) + 2;
        io_uring_prep_multishot_accept(&r.next(5), listening, nullptr, nullptr, 0);
        CHECK(r.enter(1, 1).empty());
        const auto client = sim.connect_peer(port);
        const completion first = r.take(5);
        CHECK(first.result == listening + 1);
        CHECK(first.more());
        // Before the kernel told whether more wait, it needed a descriptor to find out.
        if (newest) CHECK(r.enter(1, 10).empty());
        const auto another = sim.connect_peer(port);
        const completion refused = r.take(5);
        CHECK(refused.result == -EMFILE);
        CHECK(!refused.more());
        CHECK(sim.close(first.result) == 0);
        io_uring_prep_multishot_accept(&r.next(5), listening, nullptr, nullptr, 0);
        CHECK(r.take(5).result == listening + 1);  // it has waited
    }
}

TEST_CASE("sim network: connections in the ring's own table") {
    sim_kernel sim(1, quiet_options());
    raw_ring r(sim);
    io_uring_rsrc_register table{};
    table.nr = 2;
    table.flags = IORING_RSRC_REGISTER_SPARSE;
    CHECK(r.rings().register_call(IORING_REGISTER_FILES2, &table, sizeof table) == 0);
    std::uint16_t port = 0;
    const int listening = listening_socket(sim, port);
    io_uring_prep_multishot_accept_direct(&r.next(5), listening, nullptr, nullptr, 0);
    std::vector<std::shared_ptr<peer>> clients;
    for (int i = 0; i < 3; ++i) clients.push_back(sim.connect_peer(port));
    CHECK(r.take(5).result == 0);
    CHECK(r.take(5).result == 1);
    const completion full = r.take(5);
    CHECK(full.result == -ENFILE);
    CHECK(!full.more());
    CHECK(sim.books().connections_lost == 1);
    clients[0]->send("fixed");
    std::array<char, 16> buffer{};
    io_uring_sqe& sqe = r.next(6);
    io_uring_prep_recv(&sqe, 0, buffer.data(), buffer.size(), 0);
    sqe.flags |= IOSQE_FIXED_FILE;
    CHECK(r.take(6).result == 5);
    const auto close_slot = [&](unsigned slot) {
        io_uring_prep_close_direct(&r.next(7), slot);
        return r.take(7).result;
    };
    CHECK(close_slot(0) == 0);
    CHECK(close_slot(0) == -EBADF);
    CHECK(close_slot(5) == -EINVAL);
    r.enter(1, 10);
    CHECK(clients[0]->saw_end());
}

TEST_CASE("sim network: options") {
    sim_kernel sim(1, quiet_options());
    raw_ring r(sim);
    const auto pair = connect_pair(sim, r);
    int number = 1;
    socklen_t length = sizeof number;
    CHECK(sim.set_option(pair.client, IPPROTO_TCP, TCP_NODELAY, &number, length) == 0);
    number = 0;
    CHECK(sim.get_option(pair.client, IPPROTO_TCP, TCP_NODELAY, &number, length) == 0);
    CHECK(number == 1);
    CHECK(sim.set_option(pair.client, SOL_SOCKET, 9999, &number, length) == -ENOPROTOOPT);
    CHECK(sim.get_option(pair.client, SOL_SOCKET, SO_ERROR, &number, length) == 0);
    CHECK(number == 0);
    tcp_info info{};
    length = sizeof info;
    CHECK(sim.get_option(pair.client, IPPROTO_TCP, TCP_INFO, &info, length) == 0);
    CHECK(info.tcpi_state == 1);
    CHECK(sim.set_option(999, SOL_SOCKET, SO_REUSEADDR, &number, sizeof number) == -EBADF);
    sockaddr_in local{};
    sockaddr_in peer{};
    length = sizeof local;
    CHECK(sim.local_address(pair.client, reinterpret_cast<sockaddr*>(&local), length) == 0);
    CHECK(sim.peer_address(pair.server, reinterpret_cast<sockaddr*>(&peer), length) == 0);
    CHECK(local.sin_port == peer.sin_port);
}

TEST_CASE("sim network: a send without MSG_NOSIGNAL to a closed connection is a mistake") {
    sim_kernel sim(1, quiet_options());
    std::string complaint;
    sim.on_failure([&](std::uint64_t, const std::string& text) { complaint = text; });
    raw_ring r(sim);
    const auto pair = connect_pair(sim, r);
    io_uring_prep_shutdown(&r.next(5), pair.client, SHUT_WR);
    CHECK(r.take(5).result == 0);
    io_uring_prep_send(&r.next(5), pair.client, "x", 1, 0);
    CHECK(r.take(5).result == -EPIPE);
    CHECK(complaint.find("SIGPIPE") != std::string::npos);
}

TEST_CASE("sim network: every byte arrives in order, whatever the buffers and the latencies") {
    const auto failed = for_each_seed(1, 200, [](sim_kernel& sim) {
        sim.options().send_buffer = 1 + sim.random().below(5000);
        sim.options().receive_buffer = 1 + sim.random().below(5000);
        sim.options().segment_bytes = 1 + sim.random().below(2000);
        raw_ring r(sim);
        const auto pair = connect_pair(sim, r);
        std::string text(10'000, '\0');
        for (char& c : text) c = static_cast<char>(sim.random().next());
        io_uring_prep_send(&r.next(6), pair.client, text.data(), text.size(),
                           MSG_NOSIGNAL | MSG_WAITALL);
        io_uring_prep_close(&r.next(7), pair.client);
        int last = 0;
        const std::string got = receive_all(r, pair.server, last);
        sim.expect(got == text && last == 0, "lost or mixed up");
        sim.close(pair.server);
    });
    CHECK(failed == 0);
}

TEST_CASE("sim network: the same seed makes the same world") {
    const auto story = [](std::uint64_t seed) {
        sim_kernel sim(seed);
        sim.faults().set_rate(0.1);
        raw_ring r(sim);
        std::uint16_t port = 0;
        const int listening = listening_socket(sim, port);
        io_uring_prep_multishot_accept(&r.next(5), listening, nullptr, nullptr, 0);
        std::vector<std::shared_ptr<peer>> clients;
        for (int i = 0; i < 5; ++i) {
            clients.push_back(sim.connect_peer(port));
            clients.back()->send(std::string(5000, 'x'));
            clients.back()->half_close();
        }
        raw_buffers buffers(sim, r, 1, 64, 512);
        buffers.give_all();
        std::string text;
        for (int i = 0; i < 100; ++i)
            for (const completion& c : r.enter(1, 10)) {
                text += std::to_string(sim.time().count()) + " " + std::to_string(c.user_data) +
                        " " + std::to_string(c.result) + " " + std::to_string(c.flags) + "\n";
                if (c.user_data == 5 && c.result >= 0)
                    r.receive_multishot(c.result, static_cast<std::uint64_t>(c.result) + 100, 1);
            }
        return text;
    };
    std::set<std::string> different;
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        const std::string once = story(seed);
        CHECK(once == story(seed));
        different.insert(once);
    }
    CHECK(different.size() == 10);
}
