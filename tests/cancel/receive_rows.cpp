// SPDX-License-Identifier: Apache-2.0
// Receives. A cancelled one leaves its bytes: for the next receive, or in the reader.

#include "cancel/cell.hpp"
#include "sluice/fiber.hpp"
#include "sluice/idle_timer.hpp"
#include "sluice/shielded.hpp"
#include "sluice/stream_reader.hpp"
#include "sluice/when_any.hpp"

using namespace std::chrono_literals;

namespace sluice::testing {

namespace {

//! One piece of text is there when the operation begins, perhaps; the next completes it; the last
//! comes afterwards. Together they make the whole, whatever was cancelled.
class receives : public subject {
public:
    using subject::subject;

    task<> set_up(phase) override {
        auto pair = co_await stage_.connected();
        pair_ = std::move(pair);
    }
    void complete() override {
        stage_.let([this] { return say(pair_.peer, "hello "); });
    }
    task<> check(bool cancelled) override {
        CHECK(got_.empty() == cancelled);
        co_await say(pair_.peer, "world");
        auto rest = co_await hear(pair_.stream, whole - got_.size());
        CHECK(got_ + rest == "hello world");
    }

protected:
    static constexpr std::size_t whole = 11;

    result<void> take(const result<rx_buffer>& chunk) {
        if (chunk) got_ += chunk->text();
        return outcome_of(chunk);
    }

    connection_pair pair_;
    std::string got_;
};

class recv final : public receives {
public:
    using receives::receives;
    task<result<void>> operate() override {
        auto chunk = co_await pair_.stream.recv();
        co_return take(chunk);
    }
};

class recv_into final : public receives {
public:
    using receives::receives;
    task<result<void>> operate() override {
        std::string room(whole, '\0');
        auto some = co_await pair_.stream.recv_into(std::as_writable_bytes(std::span(room)));
        if (some) got_ = room.substr(0, *some);
        co_return outcome_of(some);
    }
};

class recv_with_timeout final : public receives {
public:
    using receives::receives;
    task<result<void>> operate() override {
        auto chunk = co_await with_timeout(1h, pair_.stream.recv());
        co_return take(chunk);
    }
};

class recv_guarded final : public receives {
public:
    using receives::receives;
    task<result<void>> operate() override {
        auto chunk = co_await idle_.guard(pair_.stream.recv());
        co_return take(chunk);
    }

private:
    idle_timer idle_{1h};
};

class recv_shielded final : public receives {
public:
    using receives::receives;
    task<result<void>> operate() override {
        auto chunk = co_await shielded(pair_.stream.recv());
        co_return take(chunk);
    }
};

class recv_or_sleep final : public receives {
public:
    using receives::receives;
    task<result<void>> operate() override {
        auto first = co_await when_any(pair_.stream.recv(), sleep_for(1h));
        if (!first.has<0>()) co_return first.get<1>();
        co_return take(first.get<0>());
    }
};

class recv_on_fiber final : public receives {
public:
    using receives::receives;
    task<result<void>> operate() override {
        return fiber::run([this] { return take(fiber::await(pair_.stream.recv())); });
    }
};

//! The reader has two bytes of the message when the operation begins.
class reads : public receives {
public:
    using receives::receives;

    task<> set_up(phase p) override {
        co_await receives::set_up(p);
        co_await say(pair_.peer, "he");
        auto start = co_await reader_.peek(2);
        CHECK(start.has_value());
        CHECK(reader_.buffered() == 2);
    }
    void complete() override {
        stage_.let([this] { return say(pair_.peer, "llo "); });
    }
    task<> check(bool cancelled) override {
        CHECK(got_.empty() == cancelled);
        if (cancelled) CHECK(reader_.buffered() >= 2);
        co_await say(pair_.peer, "world");
        auto rest = co_await with_timeout(10s, reader_.recv_exact(whole - got_.size()));
        CHECK(rest.has_value());
        if (rest) CHECK(got_ + rest->to_string() == "hello world");
    }

protected:
    result<void> take(const result<buffer_chain>& message) {
        if (message) got_ += message->to_string();
        return outcome_of(message);
    }
    stream_reader reader_{pair_.stream};
};

class peek final : public reads {
public:
    using reads::reads;
    task<result<void>> operate() override {
        auto message = co_await reader_.peek(6);
        if (message) CHECK(message->to_string() == "hello ");
        seen_ = message.has_value();
        co_return outcome_of(message);  // nothing is taken
    }
    task<> check(bool cancelled) override {
        CHECK(seen_ != cancelled);
        co_await reads::check(true);
    }

private:
    bool seen_ = false;
};

class recv_exact final : public reads {
public:
    using reads::reads;
    task<result<void>> operate() override {
        auto message = co_await reader_.recv_exact(6);
        co_return take(message);
    }
};

class recv_until final : public reads {
public:
    using reads::reads;
    task<result<void>> operate() override {
        auto message = co_await reader_.recv_until(" ", 100);
        co_return take(message);
    }
};

// Two CQEs: the peer's send, and the receive.
const row rows[] = {
    {"recv", made<recv>, withdraws, source::peer, 2},
    {"recv_into", made<recv_into>, withdraws, source::peer, 2},
    {"stream_reader::peek", made<peek>, withdraws, source::peer, 2},
    {"stream_reader::recv_exact", made<recv_exact>, withdraws, source::peer, 2},
    {"stream_reader::recv_until", made<recv_until>, withdraws, source::peer, 2},
    {"with_timeout(recv)", made<recv_with_timeout>, withdraws, source::peer, 2},
    {"idle_timer::guard(recv)", made<recv_guarded>, withdraws, source::peer, 2},
    {"when_any(recv, sleep)", made<recv_or_sleep>, withdraws, source::peer, 2},
    {"shielded(recv)", made<recv_shielded>, unstoppable, source::peer, 2},
    {"fiber::run(recv)", made<recv_on_fiber>, withdraws, source::peer, 2},
};

}  // namespace

std::span<const row> receive_rows() { return rows; }

}  // namespace sluice::testing
