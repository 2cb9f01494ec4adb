// SPDX-License-Identifier: Apache-2.0
// One of two copied connections is reset, in every phase: the other hears of it, and no sooner than
// of what was sent before.

#include "loopback/copy_line.hpp"
#include "sluice/copy_bidirectional.hpp"

using namespace std::chrono_literals;
using sluice::error;
using sluice::net_stats_of;
using sluice::nursery;
using sluice::reactor;
using sluice::task;
using sluice::tcp_stream;
using sluice::with_nursery;
using sluice::testing::copying;
using sluice::testing::end_side;
using sluice::testing::hear;
using sluice::testing::heard;
using sluice::testing::is_reset;
using sluice::testing::line;
using sluice::testing::make_line;
using sluice::testing::run_net;
using sluice::testing::say;
using sluice::testing::some_turns;
using sluice::testing::until;

namespace {

//! How far a conversation is when one of its peers resets.
enum class moment {
    at_first,             //!< nothing was sent
    idle,                 //!< bytes went both ways
    busy,                 //!< they go
    own_side_ended,       //!< the one that resets has ended its side
    other_side_ended,     //!< the other has
    other_does_not_read,  //!< the sends to the other are stuck
    this_does_not_read,   //!< the sends to the one that resets are
};
constexpr moment moments[] = {moment::at_first,
                              moment::idle,
                              moment::busy,
                              moment::own_side_ended,
                              moment::other_side_ended,
                              moment::other_does_not_read,
                              moment::this_does_not_read};

constexpr std::size_t far_too_much = 64 << 20;
constexpr std::size_t little = 10'000;

bool is_disconnected(const tcp_stream& s) {
    const auto known = s.information();
    return known && known->disconnected;
}

//! One play: `resets` says pattern 1, `other` pattern 2.
class scene {
public:
    scene(moment when, line& l, bool by_client)
        : when_(when),
          line_(l),
          resets_(by_client ? l.client : l.server),
          other_(by_client ? l.server : l.client),
          from_resets_(by_client ? l.a : l.b),
          from_other_(by_client ? l.b : l.a) {
        copy_.options.linger = 20s;
    }

    task<> play() {
        if (when_ == moment::other_does_not_read || when_ == moment::this_does_not_read)
            line_.narrow();
        auto ended = co_await with_nursery([this](nursery& scope) -> task<> {
            scope.spawn([this] { return copy_.run(line_); });
            co_await lead_up(scope);
            CHECK_FALSE(copy_.over);
            resets_.abort();
            co_await aftermath(scope);
        });
        CHECK(ended.has_value());
    }

    [[nodiscard]] const heard& at_other() const noexcept { return at_other_; }
    [[nodiscard]] bool other_was_reset() const { return at_other_.reset(failed_); }
    [[nodiscard]] const copying& copy() const noexcept { return copy_; }

private:
    task<> lead_up(nursery& scope) {
        if (when_ != moment::other_does_not_read)
            scope.spawn([this] { return hear(other_, at_other_); });
        if (when_ != moment::this_does_not_read)
            scope.spawn([this] { return hear(resets_, at_resetting_); });
        switch (when_) {
            case moment::at_first: co_await some_turns(); break;
            case moment::idle: co_await exchange(); break;
            case moment::busy:
                scope.spawn([this] { return say(resets_, 1, far_too_much); });
                scope.spawn([this] { return say(other_, 2, far_too_much, &failed_); });
                CHECK(co_await until([this] { return copy_.bytes() > 300'000; }));
                break;
            case moment::own_side_ended:
                co_await exchange();
                co_await end_side(resets_);
                CHECK(co_await until([this] { return at_other_.end == error::eof; }));
                break;
            case moment::other_side_ended:
                co_await exchange();
                co_await end_side(other_);
                CHECK(co_await until([this] { return at_resetting_.end == error::eof; }));
                break;
            case moment::other_does_not_read:
                scope.spawn([this] { return say(resets_, 1, far_too_much); });
                CHECK(co_await until([this] { return from_resets_.pending() > 100'000; }));
                break;
            case moment::this_does_not_read:
                scope.spawn([this] { return say(other_, 2, far_too_much, &failed_); });
                CHECK(co_await until([this] { return from_other_.pending() > 100'000; }));
                break;
        }
    }

    task<> exchange() {
        co_await say(resets_, 1, little);
        co_await say(other_, 2, little);
        CHECK(co_await until([this] { return at_other_.reader.taken() == little; }));
        CHECK(co_await until([this] { return at_resetting_.reader.taken() == little; }));
    }

    task<> aftermath(nursery& scope) {
        if (when_ == moment::own_side_ended) {
            // A connection whose end was read tells of its reset when something is sent.
            scope.spawn([this] { return say(other_, 3, far_too_much); });
            CHECK(co_await until([this] { return copy_.over; }));
            CHECK(co_await until([this] { return is_disconnected(other_); }));
        } else if (when_ == moment::other_does_not_read) {
            for (int i = 0; i < 5; ++i) co_await some_turns();
            CHECK_FALSE(copy_.over);
            co_await hear(other_, at_other_);
        }
    }

    moment when_;
    line& line_;
    tcp_stream& resets_;
    tcp_stream& other_;
    tcp_stream& from_resets_;
    tcp_stream& from_other_;
    heard at_other_{1};
    heard at_resetting_{2};
    boost::system::error_code failed_;  // of the other's sends
    copying copy_;
};

}  // namespace

TEST_SUITE_BEGIN("loopback.copy");

TEST_CASE("copy: a reset of one side resets the other, whenever it comes") {
    for (const moment when : moments)
        for (const bool by_client : {true, false}) {
            CAPTURE(static_cast<int>(when));
            CAPTURE(by_client);
            run_net([&]() -> task<> {
                line l = co_await make_line();
                scene s(when, l, by_client);
                co_await s.play();
                const auto& outcome = s.copy().outcome;
                const auto& from_resets = by_client ? outcome.a_to_b : outcome.b_to_a;
                const auto& from_other = by_client ? outcome.b_to_a : outcome.a_to_b;
                CHECK_FALSE(outcome.in_order());
                CHECK_FALSE(static_cast<bool>(l.a));
                CHECK_FALSE(static_cast<bool>(l.b));
                CHECK((is_reset(from_resets.end) || is_reset(from_other.end)));
                // An end of the stream was heard only where there was one.
                if (when == moment::own_side_ended) {
                    CHECK(s.at_other().end == error::eof);
                    CHECK(from_resets.end == error::eof);
                } else {
                    CHECK(s.other_was_reset());
                    CHECK(from_resets.end != error::eof);
                }
                CHECK((from_other.end == error::eof) == (when == moment::other_side_ended));
                // What was accepted before is there.
                CHECK(s.at_other().reader.intact());
                CHECK(s.at_other().reader.taken() >= from_resets.bytes);
            });
        }
}

SLUICE_NET_TEST(
    "copy: an answer that came before the reset is heard by a client that still sends") {
    line l = co_await make_line();
    l.narrow();
    heard answer(2);
    boost::system::error_code failed;
    copying copy;
    copy.options.linger = 20s;
    auto ended = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&] { return copy.run(l); });
        // The answer is stuck on its way to the client, and the server goes.
        scope.spawn([&] { return say(l.server, 2, 200'000); });
        const auto received = [&] { return net_stats_of(home).bytes_in; };
        CHECK(co_await until([&] { return received() == 200'000; }));
        l.server.abort();
        scope.spawn([&] { return say(l.client, 1, far_too_much, &failed); });
        CHECK(co_await until([&] { return is_disconnected(l.b); }));
        for (int i = 0; i < 5; ++i) co_await some_turns();
        CHECK_FALSE(copy.over);
        co_await hear(l.client, answer);
    });
    CHECK(ended.has_value());
    CHECK(answer.reader.taken() == 200'000);
    CHECK(answer.reset(failed));
    CHECK(is_reset(copy.outcome.a_to_b.end));
    CHECK(copy.outcome.b_to_a.end != error::eof);
    CHECK(copy.outcome.b_to_a.bytes == 200'000);
}

namespace {

//! So that much of what is sent to the server is with the kernel and can't be delivered.
void widen_towards_server(line& l) {
    CHECK(l.b.set_option(SOL_SOCKET, SO_SNDBUF, 200'000));
    CHECK(l.server.set_option(SOL_SOCKET, SO_RCVBUF, 8192));
}

}  // namespace

SLUICE_NET_TEST("copy: what the kernel has taken is delivered before the reset is passed on") {
    line l = co_await make_line();
    widen_towards_server(l);
    heard all(1);
    copying copy;
    copy.options.linger = 20s;
    auto ended = co_await with_nursery([&](nursery& scope) -> task<> {
        scope.spawn([&] { return copy.run(l); });
        co_await say(l.client, 1, 150'000);
        CHECK(co_await until([&] { return copy.counts.a_to_b == 150'000; }));
        l.client.abort();
        for (int i = 0; i < 5; ++i) co_await some_turns();
        CHECK_FALSE(copy.over);
        co_await hear(l.server, all);
    });
    CHECK(ended.has_value());
    CHECK(all.reader.taken() == 150'000);
    CHECK(all.reset());
}

SLUICE_NET_TEST("copy: a peer that does not read holds up the reset for a bounded time") {
    for (const auto linger : {std::chrono::milliseconds(0), std::chrono::milliseconds(200)}) {
        line l = co_await make_line();
        widen_towards_server(l);
        heard all(1);
        copying copy;
        copy.options.linger = linger;
        auto ended = co_await with_nursery([&](nursery& scope) -> task<> {
            scope.spawn([&] { return copy.run(l); });
            // All of it is with the kernel, and cannot be delivered.
            co_await say(l.client, 1, 150'000);
            CHECK(co_await until([&] { return copy.counts.a_to_b == 150'000; }));
            const auto began = reactor::clock::now();
            l.client.abort();
            CHECK(co_await until([&] { return copy.over; }));
            CHECK(reactor::clock::now() - began >= linger);
            co_await hear(l.server, all);
        });
        CHECK(ended.has_value());
        CHECK(all.reset());
    }
}

TEST_SUITE_END();
