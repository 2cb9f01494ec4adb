// SPDX-License-Identifier: Apache-2.0
#include "sluice/hand_over.hpp"

#include <cerrno>
#include <optional>
#include <string>
#include <thread>

#include "loopback/books.hpp"
#include "loopback/temporary_folder.hpp"
#include "loopback/wire.hpp"
#include "sluice/listener.hpp"

using namespace std::chrono_literals;
using sluice::endpoint;
using sluice::inheritance;
using sluice::listener_group;
using sluice::predecessor;
using sluice::reactor;
using sluice::result;
using sluice::task;
using sluice::tcp_listener;
using sluice::testing::bytes_of;
using sluice::testing::loopback;
using sluice::testing::peer_thread;
using sluice::testing::plain_socket;
using sluice::testing::temporary_folder;

namespace {

endpoint place_in(const temporary_folder& folder) {
    return endpoint::parse("unix:" + (folder / "meeting")).value();
}

//! The next process that comes is given the sockets of `group`; what became of it.
task<result<void>> give(reactor& home, const listener_group& meeting, const listener_group& group) {
    tcp_listener listener = tcp_listener::open(home, meeting, 0).value();
    auto next = co_await listener.accept();
    if (!next) co_return next.error();
    inheritance what;
    for (unsigned i = 0; i < group.count(); ++i) what.listeners.push_back(group.descriptor(i));
    co_return co_await sluice::hand_over(*next, what);
}

}  // namespace

TEST_SUITE_BEGIN("loopback.listener");

SLUICE_NET_TEST("hand over: the sockets go on where the first process has left off") {
    const temporary_folder folder;
    const listener_group meeting = listener_group::open(place_in(folder), 1).value();
    std::optional<listener_group> group(listener_group::open(loopback(), 2).value());
    const endpoint at = group->local();
    // Waits in the backlog of one of the two.
    plain_socket early = plain_socket::connect(at);
    std::optional<listener_group> adopted;
    peer_thread next([&] {
        auto before = predecessor::find(place_in(folder), 20s);
        REQUIRE(before.has_value());
        CHECK(before->take_nic_lock() == -1);
        auto got = listener_group::adopt(before->take_listeners());
        REQUIRE(got.has_value());
        adopted.emplace(std::move(*got));
        CHECK(before->dismiss().has_value());
    });
    auto given = co_await give(home, meeting, *group);
    CHECK(given.has_value());
    co_await next.finished();
    REQUIRE(adopted.has_value());
    CHECK(adopted->count() == 2);
    CHECK(adopted->local() == at);
    group.reset();
    // Nobody listens but the one who has adopted them.
    tcp_listener first = tcp_listener::open(home, *adopted, 0).value();
    tcp_listener second = tcp_listener::open(home, *adopted, 1).value();
    plain_socket late = plain_socket::connect(at);
    const bool both =
        co_await sluice::testing::until([&] { return sluice::net_stats_of(home).accepted == 3; });
    CHECK(both);  // with the one that came for them
}

SLUICE_NET_TEST("hand over: the next process gives up, and nothing has changed") {
    const temporary_folder folder;
    const listener_group meeting = listener_group::open(place_in(folder), 1).value();
    const listener_group group = listener_group::open(loopback(), 1).value();
    peer_thread next([&] {
        const auto before = predecessor::find(place_in(folder), 20s);
        CHECK(before.has_value());
    });
    auto given = co_await give(home, meeting, group);
    REQUIRE(given.has_error());
    CHECK(given.error() == sluice::error::eof);
    co_await next.finished();
    tcp_listener listener = tcp_listener::open(home, group, 0).value();
    plain_socket client = plain_socket::connect(group.local());
    auto accepted = co_await listener.accept();
    CHECK(accepted.has_value());
}

SLUICE_NET_TEST("hand over: nothing to give, nobody there, and somebody else there") {
    const temporary_folder folder;
    CHECK(predecessor::find(place_in(folder), 1s).error().value() == ENOENT);
    std::optional<listener_group> meeting(listener_group::open(place_in(folder), 1).value());
    CHECK(predecessor::find(place_in(folder), 50ms).error().value() == ETIMEDOUT);
    std::optional<tcp_listener> listener(tcp_listener::open(home, *meeting, 0).value());
    auto waits = co_await listener->accept();
    REQUIRE(waits.has_value());
    const inheritance none;
    auto nothing = co_await sluice::hand_over(*waits, none);
    REQUIRE(nothing.has_error());
    CHECK(nothing.error().value() == EINVAL);
    peer_thread next(
        [&] { CHECK(predecessor::find(place_in(folder), 20s).error().value() == EBADMSG); });
    auto other = co_await listener->accept();
    REQUIRE(other.has_value());
    auto sent = co_await other->send_all(bytes_of("good morning"));
    CHECK(sent.has_value());
    co_await next.finished();
    listener.reset();
    co_await sluice::testing::some_turns();  // the ring lets go of the socket
    meeting.reset();
    CHECK(predecessor::find(place_in(folder), 1s).error().value() == ECONNREFUSED);
}

TEST_SUITE_END();
