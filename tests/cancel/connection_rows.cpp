// SPDX-License-Identifier: Apache-2.0
// Accepting leaves connections to the next accept, connecting gives its descriptor back, closing
// can't be stopped, and copying never ends a stream that has not ended.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cancel/cell.hpp"
#include "sluice/copy_bidirectional.hpp"
#include "sluice/net_stats.hpp"

using namespace std::chrono_literals;

namespace sluice::testing {

namespace {

class accept final : public subject {
public:
    using subject::subject;
    task<> set_up(phase) override {
        listener_.emplace(tcp_listener::open(stage_.home(), group_, 0).value());
        co_return;
    }
    void complete() override {
        stage_.let([this]() -> task<> {
            auto connected = co_await tcp_stream::connect(group_.local());
            client_ = std::move(connected).value();
        });
    }
    task<result<void>> operate() override {
        auto accepted = co_await listener_->accept();
        if (accepted) server_ = std::move(*accepted);
        co_return outcome_of(accepted);
    }
    task<> check(bool cancelled) override {
        CHECK(static_cast<bool>(server_) != cancelled);
        CHECK(listener_->connections() == (cancelled ? 0 : 1));
        if (cancelled) {  // the connection has waited
            auto again = co_await with_timeout(10s, listener_->accept());
            REQUIRE(again.has_value());
            server_ = std::move(*again);
        }
        CHECK(co_await stage_.until([this] { return static_cast<bool>(client_); }));
        co_await say(client_, "it is me");
        auto heard = co_await hear(server_, 8);
        CHECK(heard == "it is me");
    }

private:
    listener_group group_ = stage_.listen();
    std::optional<tcp_listener> listener_;
    tcp_stream client_;
    tcp_stream server_;
};

class connect final : public subject {
public:
    using subject::subject;
    task<> set_up(phase p) override {
        if (p == phase::in_flight) {
            // Two fit into a backlog of one, the next gets no answer.
            for (int i = 0; i < 2; ++i) {
                auto connected = co_await tcp_stream::connect(group_.local());
                waiting_.push_back(std::move(connected).value());
            }
        }
        co_await stage_.settle();
        before_ = stage_.descriptors();
    }
    task<result<void>> operate() override {
        auto connected = co_await tcp_stream::connect(group_.local());
        if (connected) stream_ = std::move(*connected);
        co_return outcome_of(connected);
    }
    task<> check(bool cancelled) override {
        CHECK(static_cast<bool>(stream_) != cancelled);
        const std::size_t expected = before_ + (cancelled ? 0 : 1);
        CHECK(co_await stage_.until([&] { return stage_.descriptors() == expected; }));
        CHECK(net_stats_of(stage_.home()).open == waiting_.size() + (cancelled ? 0 : 1));
    }

private:
    listener_group group_ = stage_.listen({.backlog = 1});
    std::vector<tcp_stream> waiting_;
    std::size_t before_ = 0;
    tcp_stream stream_;
};

class close final : public subject {
public:
    using subject::subject;
    task<> set_up(phase) override {
        auto pair = co_await stage_.connected();
        pair_ = std::move(pair);
        // A receive stays armed at the kernel: closing has to end it.
        auto none = co_await with_timeout(1ms, pair_.stream.recv());
        CHECK(none.has_error());
        before_ = stage_.descriptors();
    }
    task<result<void>> operate() override {
        co_await pair_.stream.close();
        after_ = stage_.descriptors();
        co_return result<void>{};
    }
    task<> check(bool) override {
        CHECK_FALSE(static_cast<bool>(pair_.stream));
        CHECK(after_ == before_ - 1);  // already when it completed
        auto end = co_await with_timeout(10s, pair_.peer.recv());
        CHECK(end.has_error());
        CHECK(end.error() == error::eof);
    }

private:
    connection_pair pair_;
    std::size_t before_ = 0;
    std::size_t after_ = 0;
};

class copy final : public subject {
public:
    using subject::subject;
    task<> set_up(phase) override {
        auto first = co_await stage_.connected();
        client_ = std::move(first);
        auto second = co_await stage_.connected();
        server_ = std::move(second);
        co_await say(client_.peer, question_);
    }
    void complete() override {
        for (tcp_stream* peer : {&client_.peer, &server_.peer})
            stage_.let([peer]() -> task<> { static_cast<void>(co_await peer->shutdown()); });
    }
    task<result<void>> operate() override {
        outcome_ = co_await copy_bidirectional(client_.stream, server_.stream);
        if (outcome_.in_order()) co_return result<void>{};
        co_return cancelled_error();
    }
    task<> check(bool cancelled) override {
        CHECK(static_cast<bool>(client_.stream) != cancelled);
        CHECK(static_cast<bool>(server_.stream) != cancelled);
        co_await check_heard(server_.peer, question_, outcome_.a_to_b);
        co_await check_heard(client_.peer, "", outcome_.b_to_a);
    }

private:
    //! Until the end, which was passed on in order or is none.
    static task<> check_heard(tcp_stream& by, std::string said, const copied& way) {
        std::string heard;
        auto chunk = co_await with_timeout(10s, by.recv());
        while (chunk) {
            heard += chunk->text();
            auto next = co_await with_timeout(10s, by.recv());
            chunk = std::move(next);
        }
        CHECK((chunk.error() == error::eof) == (way.end == error::eof));
        CHECK(said.starts_with(heard));
        if (way.end == error::eof)
            CHECK(heard == said);
        else
            CHECK(way.end == cancelled_error());
    }

    const std::string question_ = "a question";
    connection_pair client_;
    connection_pair server_;
    copy_result outcome_;
};

// It has gone as far as it has when the stop comes.
constexpr endings step_by_step{ending::cancelled, ending::cancelled, ending::cancelled,
                               ending::either, ending::either};

const row rows[] = {
    {"accept", made<accept>, withdraws, source::peer, 2},  // CQEs: connected, accepted
    {"connect", made<connect>, answered, source::self, 1},
    {"close", made<close>, unstoppable, source::self, 1},
    {"copy_bidirectional", made<copy>, step_by_step, source::here, 2},
};

}  // namespace

std::span<const row> connection_rows() { return rows; }

}  // namespace sluice::testing
