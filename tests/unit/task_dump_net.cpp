// SPDX-License-Identifier: Apache-2.0
// What task dumps say of operations of the net layer.
#include <doctest/doctest.h>

#include <array>
#include <optional>
#include <string>

#include "loopback/wire.hpp"
#include "sluice/listener.hpp"
#include "sluice/nursery.hpp"
#include "sluice/stream_reader.hpp"
#include "sluice/task_dump.hpp"
#include "sluice/this_coro.hpp"
#include "sluice/timeout.hpp"
#include "support/run.hpp"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using testing::make_pair;
using testing::run;
using testing::stream_pair;
using testing::until;

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

const task_entry* find(const std::vector<task_entry>& entries, const std::string& function) {
    for (const task_entry& e : entries) {
        if (contains(e.function, function)) return &e;
        if (const auto* below = find(e.children, function)) return below;
    }
    return nullptr;
}

task<> receives(tcp_stream& from) { static_cast<void>(co_await with_timeout(1h, from.recv())); }

TEST_CASE("task dump: a receive shows descriptor and peer, and the limit around it") {
    run([](reactor& home) -> task<> {
        stream_pair pair = co_await make_pair();
        home.spawn([&] { return receives(pair.left); });
        co_await yield();
        const task_dump dump = dump_tasks(home);
        home.request_stop();
        const task_entry* e = find(dump.tasks, "receives");
        REQUIRE(e != nullptr);
        const std::string expected = "recv on fd " + std::to_string(pair.left.native_handle()) +
                                     " from " + pair.left.peer()->to_string() + ", 3";
        INFO(e->waits_for);
        CHECK(e->waits_for.starts_with(expected));
        CHECK(e->buffers == 0);
    });
}

task<> holds(tcp_stream& from, std::size_t* bytes) {
    auto first = co_await from.recv();
    if (!first) co_return;
    const rx_buffer second = first->share();
    *bytes = first->size();
    static_cast<void>(co_await sleep_for(1h));
}

TEST_CASE("task dump: buffers in a coroutine's frame are counted, and no longer when they end") {
    run([](reactor& home) -> task<> {
        stream_pair pair = co_await make_pair();
        std::size_t held = 0;
        home.spawn([&] { return holds(pair.left, &held); });
        std::array<std::byte, 100> message{};
        static_cast<void>(co_await pair.right.send_all(message));
        const bool arrived = co_await until([&] { return held != 0; });
        REQUIRE(arrived);
        co_await yield();
        const task_dump dump = dump_tasks(home);
        const task_entry* e = find(dump.tasks, "holds");
        REQUIRE(e != nullptr);
        CHECK(e->buffers >= 2);
        CHECK(e->buffer_bytes >= 2 * held);
        CHECK(contains(dump.to_string(), "; holds "));
        home.request_stop();
    });
}

task<> sends(tcp_stream& to, std::span<const std::byte> bytes) {
    static_cast<void>(co_await to.send_all(bytes));
}

task<> accepts(tcp_listener& from) { static_cast<void>(co_await from.accept()); }

TEST_CASE("task dump: a send shows how far it is, an accept its socket") {
    run([](reactor& home) -> task<> {
        stream_pair pair = co_await make_pair();
        const std::vector<std::byte> much(64 << 20);
        home.spawn([&] { return sends(pair.left, much); });
        auto group = listener_group::open(*endpoint::of("127.0.0.1", 0), 1);
        REQUIRE(group.has_value());
        auto listener = tcp_listener::open(home, *group);
        REQUIRE(listener.has_value());
        home.spawn([&] { return accepts(*listener); });
        co_await yield();
        const task_dump dump = dump_tasks(home);
        home.request_stop();
        const task_entry* sender = find(dump.tasks, "sends");
        REQUIRE(sender != nullptr);
        CHECK(sender->waits_for.starts_with("send of 67108864 bytes, "));
        CHECK(contains(sender->waits_for, " to 127.0.0.1:"));
        const task_entry* accepter = find(dump.tasks, "accepts");
        REQUIRE(accepter != nullptr);
        CHECK(accepter->waits_for == "accept on fd " + std::to_string(group->descriptor(0)));
        // The tasks refer to what is declared here.
        const bool ended = co_await until([&] { return home.root().children() == 1; });
        CHECK(ended);
    });
}

task<> reads(stream_reader& from) { static_cast<void>(co_await from.recv_exact(10)); }

TEST_CASE("task dump: a read of several receives is a chain of tasks down to the receive") {
    run([](reactor& home) -> task<> {
        stream_pair pair = co_await make_pair();
        stream_reader reader(pair.left);
        home.spawn([&] { return reads(reader); });
        co_await yield();
        const task_dump dump = dump_tasks(home);
        home.request_stop();
        const task_entry* outer = find(dump.tasks, "reads");
        REQUIRE(outer != nullptr);
        const task_entry* inner = find(outer->children, "receive_more");
        REQUIRE(inner != nullptr);
        CHECK(inner->waits_for.starts_with("recv on fd "));
        CHECK(find(outer->children, "recv_exact") != nullptr);
        const bool ended = co_await until([&] { return home.root().children() == 1; });
        CHECK(ended);
    });
}

}  // namespace
}  // namespace sluice
