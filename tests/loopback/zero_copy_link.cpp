// SPDX-License-Identifier: Apache-2.0
// Zero-copy sends on a link where the kernel does not copy. Between two sockets of one machine it
// does, when the packet is received; but a veth interface with an XDP program makes a packet of its
// own for that, and then the memory that was sent is never touched again.

#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <optional>
#include <string>

#include "loopback/veth_pair.hpp"
#include "loopback/zero_copy.hpp"
#include "sluice/this_coro.hpp"
#include "support/skip.hpp"

using namespace std::chrono_literals;
using sluice::endpoint;
using sluice::net_stats_of;
using sluice::reactor;
using sluice::reactor_options;
using sluice::task;
using sluice::tcp_stream;
using sluice::testing::buffer_of;
using sluice::testing::net_outcome;
using sluice::testing::peer_thread;
using sluice::testing::plain_listener;
using sluice::testing::plain_socket;
using sluice::testing::report_skip;
using sluice::testing::run_zero_copy;
using sluice::testing::take_all;
using sluice::testing::until;
using sluice::testing::veth_pair;

namespace {

int bpf(int command, bpf_attr& attributes) {
    return static_cast<int>(::syscall(__NR_bpf, command, &attributes, sizeof attributes));
}

//! The program that lets every packet pass, attached to an interface of the calling thread's
//! namespace.
class pass_program {
public:
    explicit pass_program(const std::string& link) {
        std::array<bpf_insn, 2> code{};
        code[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
        code[0].imm = XDP_PASS;
        code[1].code = BPF_JMP | BPF_EXIT;
        bpf_attr load{};
        load.prog_type = BPF_PROG_TYPE_XDP;
        load.insns = reinterpret_cast<std::uint64_t>(code.data());
        load.insn_cnt = code.size();
        load.license = reinterpret_cast<std::uint64_t>("Apache-2.0");
        program_ = bpf(BPF_PROG_LOAD, load);
        if (program_ < 0) return;
        bpf_attr attach{};
        attach.link_create.prog_fd = static_cast<std::uint32_t>(program_);
        attach.link_create.target_ifindex = ::if_nametoindex(link.c_str());
        attach.link_create.attach_type = BPF_XDP;
        attach.link_create.flags = XDP_FLAGS_DRV_MODE;
        link_ = bpf(BPF_LINK_CREATE, attach);
    }
    pass_program(const pass_program&) = delete;
    pass_program& operator=(const pass_program&) = delete;
    ~pass_program() {
        if (link_ >= 0) ::close(link_);
        if (program_ >= 0) ::close(program_);
    }
    [[nodiscard]] bool attached() const noexcept { return link_ >= 0; }

private:
    int program_ = -1;
    int link_ = -1;
};

constexpr std::size_t size = 64 * 1024;
constexpr std::size_t small = 16 * 1024;  // sent without a copy, and less than a packet's most
constexpr std::uint64_t count = 20;

//! Runs `talk(home, stream, peer)` with a stream to the other namespace and its plain end there.
template <class Talk>
net_outcome across(const veth_pair& veth, Talk talk) {
    std::optional<plain_listener> listening;
    veth.at_server([&] { listening.emplace(endpoint::parse("10.77.0.1:0").value()); });
    net_outcome outcome;
    veth.at_client([&] {
        outcome = run_zero_copy(
            [&](reactor& home) -> task<> {
                auto connected = co_await tcp_stream::connect(listening->local());
                REQUIRE(connected.has_value());
                tcp_stream stream = std::move(*connected);
                plain_socket peer = listening->accept();
                co_await talk(home, stream, peer);
                co_await stream.close();
            },
            reactor_options{});  // the defaults
    });
    return outcome;
}

task<> all_released(reactor& home) {
    CHECK(co_await until([&] { return net_stats_of(home).held_sends == 0; }));
}

task<> send_part(tcp_stream& stream, std::uint64_t i, std::size_t bytes) {
    auto sent = co_await stream.send_all(buffer_of(1, i * bytes, bytes));
    REQUIRE(sent.has_value());
}

//! Sends to the other namespace, at first a buffer at a time.
task<> send_across(reactor& home, tcp_stream& stream, plain_socket& peer) {
    peer_thread reader([&] { CHECK(take_all(peer, 1, (2 * count + 1) * size)); });
    for (std::uint64_t i = 0; i < 2 * count; ++i) {
        co_await send_part(stream, i, size);
        if (i < count) co_await all_released(home);
    }
    const auto mine = sluice::testing::pattern(1).bytes(2 * count * size, size);
    auto lent = co_await stream.send_all_zero_copy(mine);
    CHECK(lent.has_value());
    co_await reader.finished();
}

//! Sends while the other namespace does not read: what waits shares packets.
task<> send_in_a_jam(reactor& home, tcp_stream& stream, plain_socket& peer) {
    REQUIRE(stream.set_option(SOL_SOCKET, SO_SNDBUF, 4 << 20).has_value());
    for (std::uint64_t i = 0; i < count; ++i) co_await send_part(stream, i, small);
    CHECK(net_stats_of(home).held_sends > 2);
    peer_thread reader([&] { CHECK(take_all(peer, 1, (count + 1) * small)); });
    co_await all_released(home);
    co_await send_part(stream, count, small);
    co_await reader.finished();
}

//! What comes from the other namespace goes back there.
task<> echo_across(reactor& home, tcp_stream& stream, plain_socket& peer) {
    const auto sent = sluice::testing::pattern(1).bytes(0, count * size);
    peer_thread sender([&] {
        CHECK(peer.send(sent));
        peer.shutdown_write();
    });
    peer_thread reader([&] { CHECK(take_all(peer, 1, count * size)); });
    for (int n = 0;; ++n) {
        auto chunk = co_await stream.recv();
        if (!chunk) break;
        auto echoed = co_await stream.send_all(std::move(*chunk));
        REQUIRE(echoed.has_value());
        if (n < 3)
            co_await all_released(home);  // so that it is known in time whether the link copies
    }
    co_await sender.finished();
    co_await reader.finished();
}

}  // namespace

TEST_SUITE_BEGIN("loopback.zero_copy");

SLUICE_ZERO_COPY_TEST("zero copy: a link that does not copy, and one that does") {
    if (const auto why = sluice::testing::no_namespaces(); !why.empty()) {
        report_skip(why);
        return;
    }
    const veth_pair veth;
    if (!veth.good()) {
        report_skip("no veth pair can be made here");
        return;
    }
    {
        const net_outcome copied = across(veth, send_across);
        CHECK(copied.net.zero_copy_copied == 1);
        CHECK(copied.net.zero_copy_ended == 1);
        CHECK(copied.net.zero_copy_sends == 1);
        CHECK(across(veth, echo_across).net.fixed_regions == 0);  // it would not pay
    }
    std::optional<pass_program> program;
    veth.at_server([&] { program.emplace(veth.server_link()); });
    if (!program->attached()) {
        report_skip("no XDP program can be attached here: all links copy");
        return;
    }
    const net_outcome kept = across(veth, send_across);
    // Those that shared a packet may be said to be copied, which must not be believed.
    CHECK(kept.net.zero_copy_ended == 0);
    CHECK(kept.net.zero_copy_copied < count);
    CHECK(kept.net.zero_copy_sends == 2 * count + 1);
    CHECK(kept.net.held_limit_hit == 0);
    const net_outcome jammed = across(veth, send_in_a_jam);
    CHECK(jammed.net.zero_copy_ended == 0);
    CHECK(jammed.net.zero_copy_sends == count + 1);  // 8 are said to be copied by Linux 6.18
    const net_outcome echoed = across(veth, echo_across);
    CHECK(echoed.net.zero_copy_sends > 0);
    CHECK(echoed.net.zero_copy_ended == 0);
    CHECK(echoed.net.fixed_regions == 1);
    CHECK(echoed.net.fixed_refused == 0);
}

TEST_SUITE_END();
