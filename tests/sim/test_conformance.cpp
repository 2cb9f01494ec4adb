// SPDX-License-Identifier: Apache-2.0
//! The same checks on the simulated kernel and on the real one: what the simulation claims about
//! Linux is compared with Linux. Only what is the same from 6.1 on is checked here.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "sim/raw_ring.hpp"

using namespace sluice::sim;

namespace {

bool real_ring_possible() {
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    const int fd = sluice::detail::linux_kernel().uring_setup(4, params);
    if (fd >= 0) sluice::detail::linux_kernel().close(fd);
    return fd >= 0;
}

//! Runs `check(kernel)` on both profiles of the simulation, and on Linux where io_uring is allowed.
template <class Check>
void on_each_kernel(Check check) {
    SUBCASE("simulated 6.18") {
        sim_kernel sim(1, quiet_options());
        check(sim);
    }
    SUBCASE("simulated 6.1") {
        sim_kernel sim(1, quiet_options(kernel_6_1()));
        check(sim);
    }
    SUBCASE("real") {
        if (real_ring_possible())
            check(sluice::detail::linux_kernel());
        else
            MESSAGE("skipped: io_uring is not available");
    }
}

void send_text(raw_ring& r, int fd, const std::string& text) {
    io_uring_prep_send(&r.next(77), fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_WAITALL);
    CHECK(r.take(77).result == static_cast<int>(text.size()));
}

void reset_on_close(sluice::detail::kernel& k, int fd) {
    const linger with_reset{1, 0};
    CHECK(k.set_option(fd, SOL_SOCKET, SO_LINGER, &with_reset, sizeof with_reset) == 0);
    CHECK(k.close(fd) == 0);
}

}  // namespace

TEST_CASE("conformance: a receive ends with what has come, then with 0 at the end") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const auto pair = connect_pair(k, r);
        std::array<char, 16> buffer{};
        send_text(r, pair.client, "hello");
        io_uring_prep_recv(&r.next(5), pair.server, buffer.data(), buffer.size(), 0);
        CHECK(r.take(5).result == 5);
        CHECK(std::string(buffer.data(), 5) == "hello");
        k.close(pair.client);
        io_uring_prep_recv(&r.next(5), pair.server, buffer.data(), buffer.size(), 0);
        CHECK(r.take(5).result == 0);
        k.close(pair.server);
    });
}

TEST_CASE("conformance: closing a descriptor cancels nothing, and the file lives on") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const auto pair = connect_pair(k, r);
        std::array<char, 16> buffer{};
        io_uring_prep_recv(&r.next(5), pair.server, buffer.data(), buffer.size(), 0);
        CHECK(r.enter(1, 20).empty());
        CHECK(k.close(pair.server) == 0);
        CHECK(r.enter(1, 20).empty());
        send_text(r, pair.client, "abc");
        CHECK(r.take(5).result == 3);
        k.close(pair.client);
    });
}

TEST_CASE("conformance: cancelling by user_data") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const auto pair = connect_pair(k, r);
        r.cancel(1234, 9);
        CHECK(r.take(9).result == -ENOENT);
        std::array<char, 16> buffer{};
        io_uring_prep_recv(&r.next(5), pair.server, buffer.data(), buffer.size(), 0);
        CHECK(r.enter(1, 20).empty());
        r.cancel(5, 9);
        CHECK(r.take(9).result == 0);
        CHECK(r.take(5).result == -ECANCELED);
        send_text(r, pair.client, "abc");  // nothing was lost
        io_uring_prep_recv(&r.next(5), pair.server, buffer.data(), buffer.size(), 0);
        CHECK(r.take(5).result == 3);
        k.close(pair.client);
        k.close(pair.server);
    });
}

TEST_CASE("conformance: a multishot receive needs a buffer even when there is nothing to receive") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const auto pair = connect_pair(k, r);
        raw_buffers buffers(k, r, 3, 4, 100);
        r.receive_multishot(pair.server, 5, 3);
        const completion starved = r.take(5);
        CHECK(starved.result == -ENOBUFS);
        CHECK(!starved.more());
        CHECK(!starved.has_buffer());

        buffers.give(2);
        r.receive_multishot(pair.server, 5, 3);
        CHECK(r.enter(1, 20).empty());
        send_text(r, pair.client, "one buffer");
        const completion data = r.take(5);
        CHECK(data.result == 10);
        CHECK(data.more());
        CHECK(data.has_buffer());
        CHECK(data.buffer() == 2);
        CHECK(buffers.text(data) == "one buffer");

        // The last buffer is taken: not even the end of the stream comes through.
        k.close(pair.client);
        CHECK(r.take(5).result == -ENOBUFS);
        buffers.give(2);
        r.receive_multishot(pair.server, 5, 3);
        const completion end = r.take(5);
        CHECK(end.result == 0);
        CHECK(!end.more());
        CHECK(!end.has_buffer());
        k.close(pair.server);
    });
}

TEST_CASE("conformance: a cancelled multishot receive ends without a buffer") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const auto pair = connect_pair(k, r);
        raw_buffers buffers(k, r, 3, 4, 100);
        buffers.give_all();
        r.receive_multishot(pair.server, 5, 3);
        CHECK(r.enter(1, 20).empty());
        r.cancel(5, 9);
        const completion end = r.take(5);
        CHECK(end.result == -ECANCELED);
        CHECK(!end.has_buffer());
        k.close(pair.client);
        k.close(pair.server);
    });
}

TEST_CASE("conformance: a cancelled send of everything says how much went") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const auto pair = connect_pair(k, r);
        const std::string much(20'000'000, 'x');
        io_uring_prep_send(&r.next(5), pair.client, much.data(), much.size(),
                           MSG_NOSIGNAL | MSG_WAITALL);
        CHECK(r.enter(1, 100).empty());
        r.cancel(5, 9);
        const int sent = r.take(5).result;
        CHECK(sent > 0);
        CHECK(sent < static_cast<int>(much.size()));
        k.close(pair.client);
        k.close(pair.server);
    });
}

TEST_CASE("conformance: after a reset what was received can be read, then ECONNRESET once") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const auto pair = connect_pair(k, r);
        send_text(r, pair.client, "abc");
        r.enter(1, 20);
        reset_on_close(k, pair.client);
        r.enter(1, 20);
        std::array<char, 16> buffer{};
        const auto receive = [&] {
            io_uring_prep_recv(&r.next(5), pair.server, buffer.data(), buffer.size(), 0);
            return r.take(5).result;
        };
        CHECK(receive() == 3);
        CHECK(receive() == -ECONNRESET);
        CHECK(receive() == 0);
        io_uring_prep_send(&r.next(6), pair.server, buffer.data(), 1, MSG_NOSIGNAL);
        CHECK(r.take(6).result == -EPIPE);
        sockaddr_in peer{};
        socklen_t length = sizeof peer;
        CHECK(k.peer_address(pair.server, reinterpret_cast<sockaddr*>(&peer), length) == -ENOTCONN);
        io_uring_prep_shutdown(&r.next(7), pair.server, SHUT_WR);
        CHECK(r.take(7).result == -ENOTCONN);
        k.close(pair.server);
    });
}

TEST_CASE("conformance: a close that leaves bytes unread resets the connection") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const auto pair = connect_pair(k, r);
        send_text(r, pair.client, "abc");
        r.enter(1, 20);
        CHECK(k.close(pair.server) == 0);
        std::array<char, 16> buffer{};
        io_uring_prep_recv(&r.next(5), pair.client, buffer.data(), buffer.size(), 0);
        CHECK(r.take(5).result == -ECONNRESET);
        k.close(pair.client);
    });
}

TEST_CASE("conformance: sending to a peer that has closed works once, then EPIPE") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const auto pair = connect_pair(k, r);
        CHECK(k.close(pair.client) == 0);
        r.enter(1, 20);
        const auto send = [&] {
            io_uring_prep_send(&r.next(5), pair.server, "x", 1, MSG_NOSIGNAL);
            const int result = r.take(5).result;
            r.enter(1, 20);
            return result;
        };
        CHECK(send() == 1);
        CHECK(send() == -EPIPE);
        CHECK(send() == -EPIPE);
        k.close(pair.server);
    });
}

TEST_CASE("conformance: half-close") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const auto pair = connect_pair(k, r);
        std::array<char, 16> buffer{};
        io_uring_prep_shutdown(&r.next(5), pair.client, SHUT_WR);
        CHECK(r.take(5).result == 0);
        io_uring_prep_shutdown(&r.next(5), pair.client, SHUT_WR);
        CHECK(r.take(5).result == 0);
        io_uring_prep_send(&r.next(5), pair.client, "x", 1, MSG_NOSIGNAL);
        CHECK(r.take(5).result == -EPIPE);
        io_uring_prep_recv(&r.next(5), pair.server, buffer.data(), buffer.size(), 0);
        CHECK(r.take(5).result == 0);
        send_text(r, pair.server, "back");
        io_uring_prep_recv(&r.next(5), pair.client, buffer.data(), buffer.size(), 0);
        CHECK(r.take(5).result == 4);
        io_uring_prep_recv(&r.next(6), pair.client, buffer.data(), buffer.size(), 0);
        CHECK(r.enter(1, 20).empty());
        io_uring_prep_shutdown(&r.next(5), pair.client, SHUT_RD);
        CHECK(r.take(5).result == 0);
        CHECK(r.take(6).result == 0);
        k.close(pair.client);
        k.close(pair.server);
    });
}

TEST_CASE("conformance: sockets that are not connected") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const int fd = k.socket(AF_INET, SOCK_STREAM, 0);
        std::array<char, 16> buffer{};
        io_uring_prep_recv(&r.next(5), fd, buffer.data(), buffer.size(), 0);
        CHECK(r.take(5).result == -ENOTCONN);
        io_uring_prep_send(&r.next(5), fd, buffer.data(), 1, MSG_NOSIGNAL);
        CHECK(r.take(5).result == -EPIPE);
        io_uring_prep_shutdown(&r.next(5), fd, SHUT_WR);
        CHECK(r.take(5).result == -ENOTCONN);
        io_uring_prep_accept(&r.next(5), fd, nullptr, nullptr, 0);
        CHECK(r.take(5).result == -EINVAL);
        io_uring_prep_close(&r.next(5), fd);
        CHECK(r.take(5).result == 0);
        io_uring_prep_close(&r.next(5), fd);
        CHECK(r.take(5).result == -EBADF);
        io_uring_prep_recv(&r.next(5), fd, buffer.data(), buffer.size(), 0);
        CHECK(r.take(5).result == -EBADF);
    });
}

TEST_CASE("conformance: connecting") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        std::uint16_t port = 0;
        const int listening = listening_socket(k, port, 1);
        sockaddr_in address = loopback_v4(port);
        const auto connect = [&](int fd, std::uint64_t user_data) {
            io_uring_prep_connect(&r.next(user_data), fd, reinterpret_cast<sockaddr*>(&address),
                                  sizeof address);
        };
        const int first = k.socket(AF_INET, SOCK_STREAM, 0);
        connect(first, 5);
        CHECK(r.take(5).result == 0);
        connect(first, 5);
        CHECK(r.take(5).result == -EISCONN);
        const int second = k.socket(AF_INET, SOCK_STREAM, 0);
        connect(second, 5);
        CHECK(r.take(5).result == 0);
        // A backlog of one lets two wait; the third gets no answer.
        const int third = k.socket(AF_INET, SOCK_STREAM, 0);
        connect(third, 5);
        CHECK(r.enter(1, 50).empty());
        r.cancel(5, 9);
        CHECK(r.take(5).result == -ECANCELED);
        // Those that wait when the socket goes are reset.
        CHECK(k.close(listening) == 0);
        std::array<char, 16> buffer{};
        io_uring_prep_recv(&r.next(6), first, buffer.data(), buffer.size(), 0);
        CHECK(r.take(6).result == -ECONNRESET);
        const int fourth = k.socket(AF_INET, SOCK_STREAM, 0);
        connect(fourth, 7);
        CHECK(r.take(7).result == -ECONNREFUSED);
        for (const int fd : {first, second, third, fourth}) k.close(fd);
    });
}

TEST_CASE("conformance: a listening socket that is shut down ends its accepts") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        std::uint16_t port = 0;
        const int listening = listening_socket(k, port);
        io_uring_prep_multishot_accept(&r.next(5), listening, nullptr, nullptr, 0);
        CHECK(r.enter(1, 20).empty());
        io_uring_prep_shutdown(&r.next(6), listening, SHUT_RDWR);
        CHECK(r.take(6).result == 0);
        const completion end = r.take(5);
        CHECK(end.result == -EINVAL);
        CHECK(!end.more());
        k.close(listening);
    });
}

TEST_CASE("conformance: SQEs that are wrong") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        io_uring_prep_nop(&r.next(1));
        r.next(2).opcode = 250;
        io_uring_prep_recv(&r.next(3), -1, nullptr, 0, 0);
        io_uring_prep_nop(&r.next(4));
        const auto all = r.enter(4, 200);
        REQUIRE(all.size() == 4);
        for (const completion& c : all) {
            const int expected = c.user_data == 2 ? -EINVAL : c.user_data == 3 ? -EBADF : 0;
            CHECK(c.result == expected);
        }
        // A limit is for multishot receives, and is looked at before the descriptor.
        io_uring_sqe& single = r.next(5);
        io_uring_prep_recv(&single, -1, nullptr, 1, 0);
        single.optlen = 10;
        CHECK(r.take(5).result == -EINVAL);
        io_uring_sqe& skipped = r.next(6);
        io_uring_prep_nop(&skipped);
        skipped.flags |= IOSQE_CQE_SKIP_SUCCESS;
        CHECK(r.enter(1, 20).empty());
    });
}

TEST_CASE("conformance: the completion queue overflows, and nothing is lost or reordered") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k, 4, 4);
        for (std::uint64_t i = 0; i < 12; ++i) {
            io_uring_prep_nop(&r.next(i));
            if (i % 4 == 3) CHECK(r.submit() == 4);
        }
        CHECK(r.rings().overflowed());
        std::uint64_t next = 0;
        for (int i = 0; i < 10 && next < 12; ++i)
            for (const completion& c : r.enter(0)) CHECK(c.user_data == next++);
        CHECK(next == 12);
        CHECK(!r.rings().overflowed());
    });
}

TEST_CASE("conformance: a zero-copy send is accepted, then released") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const auto pair = connect_pair(k, r);
        const std::string text(10'000, 'z');
        io_uring_prep_send_zc(&r.next(5), pair.client, text.data(), text.size(), MSG_NOSIGNAL, 0);
        const completion accepted = r.take(5);
        CHECK(accepted.result == 10'000);
        CHECK(accepted.more());
        CHECK((accepted.flags & IORING_CQE_F_NOTIF) == 0);
        std::string got(text.size(), '\0');
        io_uring_prep_recv(&r.next(6), pair.server, got.data(), got.size(), MSG_WAITALL);
        CHECK(r.take(6).result == 10'000);
        CHECK(got == text);
        const completion released = r.take(5);
        CHECK((released.flags & IORING_CQE_F_NOTIF) != 0);
        CHECK(!released.more());
        k.close(pair.client);
        k.close(pair.server);
    });
}

TEST_CASE("conformance: a zero-copy send to a bad descriptor or a closed side has both ends, too") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const auto pair = connect_pair(k, r);
        const auto expect = [&](int fd, int error) {
            io_uring_prep_send_zc(&r.next(5), fd, "abc", 3, MSG_NOSIGNAL, 0);
            const completion failed = r.take(5);
            CHECK(failed.result == error);
            CHECK(failed.more());
            const completion released = r.take(5);
            CHECK((released.flags & IORING_CQE_F_NOTIF) != 0);
            CHECK(!released.more());
        };
        expect(-1, -EBADF);
        io_uring_prep_shutdown(&r.next(6), pair.client, SHUT_WR);
        CHECK(r.take(6).result == 0);
        expect(pair.client, -EPIPE);
        k.close(pair.client);
        k.close(pair.server);
    });
}

namespace {

//! Accepted, and more than the peer takes without reading.
struct held_send {
    held_send(sluice::detail::kernel& kernel, raw_ring& on)
        : k(kernel), r(on), pair(connect_pair(kernel, on)) {
        const int little = 4096;
        const int much = 1 << 20;
        CHECK(k.set_option(pair.server, SOL_SOCKET, SO_RCVBUF, &little, sizeof little) == 0);
        CHECK(k.set_option(pair.client, SOL_SOCKET, SO_SNDBUF, &much, sizeof much) == 0);
        io_uring_prep_send_zc(&r.next(5), pair.client, text.data(), text.size(),
                              MSG_NOSIGNAL | MSG_WAITALL, 0);
        CHECK(r.take(5).result == static_cast<int>(text.size()));
    }
    void disconnect() {
        static const sockaddr nobody{AF_UNSPEC, {}};
        io_uring_prep_connect(&r.next(8), pair.client, &nobody, sizeof nobody);
        CHECK(r.take(8).result == 0);
    }
    void check_released() {
        const completion released = r.take(5);
        CHECK((released.flags & IORING_CQE_F_NOTIF) != 0);
        CHECK(!released.more());
    }
    //! Reads until an error or the end; gives how that came.
    int read_to_the_end(int fd) {
        for (;;) {
            io_uring_prep_recv(&r.next(9), fd, buffer.data(), buffer.size(), 0);
            const int got = r.take(9).result;
            if (got <= 0) return got;
            all += static_cast<std::size_t>(got);
        }
    }

    sluice::detail::kernel& k;
    raw_ring& r;
    connected_pair pair;
    std::string text = std::string(256 * 1024, 'h');
    std::array<char, 16 * 1024> buffer{};
    std::size_t all = 0;
};

}  // namespace

TEST_CASE("conformance: what ends a zero-copy send that nobody reads, and what does not") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        held_send h(k, r);
        r.cancel(5, 9);
        CHECK(r.take(9).result == -ENOENT);
        io_uring_prep_shutdown(&r.next(7), h.pair.client, SHUT_RDWR);
        CHECK(r.take(7).result == 0);
        CHECK(r.enter(1, 20).empty());
        h.disconnect();
        h.check_released();
        CHECK(h.read_to_the_end(h.pair.server) == -ECONNRESET);
        CHECK(h.all < h.text.size());
        k.close(h.pair.client);
        k.close(h.pair.server);
    });
}

TEST_CASE("conformance: a held zero-copy send ends when the peer reads, behind it the stream") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        held_send h(k, r);
        io_uring_prep_shutdown(&r.next(7), h.pair.client, SHUT_RDWR);
        CHECK(r.take(7).result == 0);
        CHECK(h.read_to_the_end(h.pair.server) == 0);
        CHECK(h.all == h.text.size());
        h.check_released();
        k.close(h.pair.client);
        k.close(h.pair.server);
    });
}

TEST_CASE("conformance: a held zero-copy send ends with a reset, from either side") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        {
            held_send h(k, r);
            reset_on_close(k, h.pair.client);
            h.check_released();
            k.close(h.pair.server);
        }
        held_send h(k, r);
        reset_on_close(k, h.pair.server);
        h.check_released();
        k.close(h.pair.client);
    });
}

TEST_CASE("conformance: a receive that waits when its socket is disconnected") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        held_send h(k, r);
        io_uring_prep_recv(&r.next(6), h.pair.client, h.buffer.data(), h.buffer.size(), 0);
        CHECK(r.enter(1, 20).empty());
        h.disconnect();
        CHECK(r.take(6).result <= 0);  // it ends; with what, differs
        h.check_released();
        io_uring_prep_send(&r.next(6), h.pair.client, "x", 1, MSG_NOSIGNAL);
        CHECK(r.take(6).result < 0);
        k.close(h.pair.client);
        k.close(h.pair.server);
    });
}

TEST_CASE("conformance: fixed buffers") {
    on_each_kernel([](sluice::detail::kernel& k) {
        raw_ring r(k);
        const auto pair = connect_pair(k, r);
        std::string memory(20'000, 'f');
        iovec vector{memory.data(), memory.size()};
        io_uring_rsrc_register table{};
        table.nr = 4;
        table.flags = IORING_RSRC_REGISTER_SPARSE;
        io_uring_rsrc_update2 update{};
        update.offset = 2;
        update.nr = 1;
        update.data = reinterpret_cast<std::uint64_t>(&vector);
        const auto change = [&] {
            return r.rings().register_call(IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof update);
        };
        CHECK(change() == -ENXIO);
        CHECK(r.rings().register_call(IORING_REGISTER_BUFFERS2, &table, sizeof table) == 0);
        CHECK(r.rings().register_call(IORING_REGISTER_BUFFERS2, &table, sizeof table) == -EBUSY);
        const auto send = [&](unsigned index, std::size_t offset, std::size_t size) {
            io_uring_sqe& sqe = r.next(5);
            io_uring_prep_send_zc_fixed(&sqe, pair.client, memory.data() + offset, size,
                                        MSG_NOSIGNAL, 0, index);
            const completion first = r.take(5);
            CHECK(first.more());
            if (first.result > 0) {
                std::string got(size, '\0');
                io_uring_prep_recv(&r.next(6), pair.server, got.data(), size, MSG_WAITALL);
                CHECK(r.take(6).result == static_cast<int>(size));
                CHECK(got == memory.substr(offset, size));
            }
            CHECK((r.take(5).flags & IORING_CQE_F_NOTIF) != 0);
            return first.result;
        };
        CHECK(send(2, 0, 100) == -EFAULT);
        CHECK(change() == 1);
        CHECK(send(2, 5000, 3000) == 3000);
        CHECK(send(2, 19'000, 1001) == -EFAULT);
        CHECK(send(1, 0, 100) == -EFAULT);
        vector = {};
        CHECK(change() == 1);
        CHECK(send(2, 0, 100) == -EFAULT);
        k.close(pair.client);
        k.close(pair.server);
    });
}
