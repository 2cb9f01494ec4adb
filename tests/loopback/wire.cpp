// SPDX-License-Identifier: Apache-2.0
#include "loopback/wire.hpp"

#include "sluice/this_coro.hpp"

namespace sluice::testing {

namespace {

task<wire> connect_to(plain_listener listening) {
    auto connected = co_await tcp_stream::connect(listening.local());
    wire made;
    made.stream = std::move(connected).value();
    made.peer = listening.accept();
    co_return made;
}

}  // namespace

task<wire> make_wire(int receive_buffer) {
    plain_listener listening(loopback(), 128, receive_buffer);
    auto made = co_await connect_to(std::move(listening));
    co_return made;
}

task<wire> make_unix_wire() {
    plain_listener listening(unique_abstract());
    auto made = co_await connect_to(std::move(listening));
    co_return made;
}

task<wire> make_accepted_wire() {
    reactor& home = co_await this_coro::reactor();
    const listener_group group = listener_group::open(loopback(), 1).value();
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    wire made;
    made.peer = plain_socket::connect(group.local());
    auto accepted = co_await listener.accept();
    made.stream = std::move(accepted).value();
    co_return made;
}

task<stream_pair> make_pair() {
    reactor& home = co_await this_coro::reactor();
    const listener_group group = listener_group::open(loopback(), 1).value();
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    auto connected = co_await tcp_stream::connect(group.local());
    auto accepted = co_await listener.accept();
    stream_pair made;
    made.left = std::move(connected).value();
    made.right = std::move(accepted).value();
    co_return made;
}

}  // namespace sluice::testing
