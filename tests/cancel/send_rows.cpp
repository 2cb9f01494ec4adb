// SPDX-License-Identifier: Apache-2.0
// Sends. A cancelled one has sent nothing, or has broken the write side.

#include <sys/socket.h>

#include "cancel/cell.hpp"

using namespace std::chrono_literals;

namespace sluice::testing {

namespace {

constexpr std::string_view marker = "<end>";

//! Sends a short text where there is room, and where there is none when it is to be in flight. What
//! arrives at the peer is what was there before, the text if it was sent, and a marker that is sent
//! afterwards.
class sends : public subject {
public:
    using subject::subject;

    task<> set_up(phase p) override {
        auto pair = co_await stage_.connected(p == phase::in_flight);
        pair_ = std::move(pair);
        co_await take_text();
        if (p == phase::in_flight) co_await fill();
    }
    task<> check(bool cancelled) override {
        stage_.let([this] { return hear_to_the_end(pair_.peer, heard_, ended_); });
        auto sent = co_await pair_.stream.send_all(bytes_of(marker));
        co_await pair_.stream.close();
        CHECK(co_await stage_.until([this] { return ended_; }));
        check_heard(cancelled, sent);
    }

protected:
    //! For texts that have to come from somewhere: before the buffers are full, since what the peer
    //! sends acknowledges bytes and so makes room.
    virtual task<> take_text() { co_return; }

    //! Until the socket takes no more. The kernel makes a little room after it has said that there
    //! is none.
    task<> fill() {
        for (int refusals = 0; refusals < 5; ++refusals) {
            auto sent = co_await with_timeout(5ms, pair_.stream.send(much()));
            if (!sent) continue;
            before_ += *sent;
            refusals = 0;
        }
    }

    result<void> note(const result<std::size_t>& sent) {
        if (sent) sent_ = *sent;
        return outcome_of(sent);
    }

    void check_heard(bool cancelled, const result<std::size_t>& later) {
        CHECK(heard_.size() >= before_);
        if (heard_.size() < before_) return;
        const std::string tail = heard_.substr(before_);
        if (cancelled && !later) {
            // Some of it has gone: only where the kernel cuts sends at random.
            CHECK_FALSE(stage_.strict);
            CHECK(later.error() == error::broken_send);
            CHECK(text_.starts_with(tail));
            CHECK(!tail.empty());
            CHECK(tail.size() < text_.size());
            return;
        }
        CHECK(later.has_value());
        if (cancelled)
            CHECK(tail == marker);
        else
            CHECK(tail == text_.substr(0, sent_) + std::string(marker));
    }

    connection_pair pair_;
    std::string text_ = "a message";
    std::size_t before_ = 0;  // bytes in the socket's buffers
    std::size_t sent_ = 0;
    std::string heard_;
    bool ended_ = false;
};

class send_some final : public sends {
public:
    using sends::sends;
    task<result<void>> operate() override {
        auto sent = co_await pair_.stream.send(bytes_of(text_));
        co_return note(sent);
    }
};

class send_span final : public sends {
public:
    using sends::sends;
    task<result<void>> operate() override {
        auto sent = co_await pair_.stream.send_all(bytes_of(text_));
        co_return note(sent);
    }
};

class send_pieces final : public sends {
public:
    using sends::sends;
    task<result<void>> operate() override {
        const std::array pieces{bytes_of(text_).first(2), bytes_of(text_).subspan(2)};
        auto sent =
            co_await pair_.stream.send_all(std::span<const std::span<const std::byte>>(pieces));
        co_return note(sent);
    }
};

//! The text is what the peer has sent, in the memory in which it came.
class send_buffer final : public sends {
public:
    using sends::sends;
    task<> take_text() override {
        co_await say(pair_.peer, text_);
        auto chunk = co_await pair_.stream.recv();
        buffer_ = std::move(chunk).value();
        text_ = buffer_.text();
    }
    task<result<void>> operate() override {
        auto sent = co_await pair_.stream.send_all(std::move(buffer_));
        co_return note(sent);
    }

private:
    rx_buffer buffer_;
};

class send_chain final : public sends {
public:
    using sends::sends;
    task<> take_text() override {
        co_await say(pair_.peer, text_);
        auto chunk = co_await pair_.stream.recv();
        text_ = chunk->text();
        chain_.append(chunk->split(1));
        chain_.append(std::move(*chunk));
    }
    task<result<void>> operate() override {
        auto sent = co_await pair_.stream.send_all(std::move(chain_));
        co_return note(sent);
    }

private:
    buffer_chain chain_;
};

//! The text is the caller's memory until the kernel has done with it, so half-way there is no way
//! back but a reset.
class lend : public sends {
public:
    using sends::sends;
    task<result<void>> operate() override {
        auto sent = co_await pair_.stream.send_all_zero_copy(bytes_of(text_));
        co_return note(sent);
    }
    task<> check(bool cancelled) override {
        if (!hears_) listen();
        auto sent = co_await pair_.stream.send_all(bytes_of(marker));
        co_await pair_.stream.close();
        CHECK(co_await stage_.until([this] { return ended_; }));
        if (!cancelled || sent) {
            check_heard(cancelled, sent);
            co_return;
        }
        CHECK((in_doubt_ || !stage_.strict));
        CHECK(sent.error() == error::broken_send);
        CHECK((std::string(before_, 'm') + text_).starts_with(heard_));
    }

protected:
    void listen() {
        hears_ = true;
        stage_.let([this] { return hear_to_the_end(pair_.peer, heard_, ended_); });
    }

    bool in_doubt_ = false;  // some of it has gone when it is cancelled

private:
    bool hears_ = false;
};

//! Accepted at once, and released when the peer reads.
class lend_for_long final : public lend {
public:
    using lend::lend;
    task<> set_up(phase p) override {
        auto pair = co_await stage_.connected(true);
        pair_ = std::move(pair);
        CHECK(pair_.stream.set_option(SOL_SOCKET, SO_SNDBUF, 1 << 20));
        text_.assign(200'000, 't');
        in_doubt_ = p != phase::before_start && p != phase::before_with_result;
    }
    void complete() override { listen(); }
};

//! Another send is stuck before it, until the peer reads.
class behind_another : public sends {
public:
    using sends::sends;
    task<> set_up(phase) override {
        auto pair = co_await stage_.connected(true);
        pair_ = std::move(pair);
        stuff();
        co_await stage_.settle();
    }
    void complete() override {
        stage_.let([this] { return hear_to_the_end(pair_.peer, heard_, ended_); });
    }
    task<result<void>> operate() override {
        auto sent = co_await pair_.stream.send_all(bytes_of(text_));
        co_return note(sent);
    }
    task<> check(bool cancelled) override {
        auto sent = co_await pair_.stream.send_all(bytes_of(marker));
        co_await pair_.stream.close();
        CHECK(co_await stage_.until([this] { return ended_; }));
        check_heard(cancelled, sent);
    }

protected:
    void stuff() {
        before_ = much().size();
        stage_.let([this]() -> task<> {
            auto sent = co_await pair_.stream.send_all(much());
            CHECK(sent.has_value());
        });
    }
};

//! More than fits: it has always sent something when it is suspended.
class half_way final : public sends {
public:
    using sends::sends;
    task<> set_up(phase p) override {
        auto pair = co_await stage_.connected(true);
        pair_ = std::move(pair);
        always_broken_ = p == phase::in_flight && stage_.strict;
    }
    void complete() override {
        stage_.let([this] { return hear_to_the_end(pair_.peer, heard_, ended_); });
    }
    task<result<void>> operate() override {
        auto sent = co_await pair_.stream.send_all(much());
        co_return note(sent);
    }
    task<> check(bool cancelled) override {
        auto later = co_await pair_.stream.send_all(bytes_of(marker));
        const bool open = later.has_value();
        co_await pair_.stream.close();
        CHECK(co_await stage_.until([this] { return ended_; }));
        if (always_broken_) CHECK_FALSE(open);
        const std::size_t end = open ? marker.size() : 0;
        REQUIRE(heard_.size() >= end);
        const std::size_t of_message = heard_.size() - end;
        if (!cancelled) {
            CHECK(open);
            CHECK(of_message == much().size());
        } else if (open) {
            CHECK(of_message == 0);
        } else {
            CHECK(later.error() == error::broken_send);
            CHECK(of_message != 0);
            CHECK(of_message < much().size());
        }
    }

private:
    bool always_broken_ = false;
};

//! Waits its turn behind a send where it is to be in flight.
class shutdown final : public behind_another {
public:
    using behind_another::behind_another;
    task<> set_up(phase p) override {
        auto pair = co_await stage_.connected(true);
        pair_ = std::move(pair);
        if (p != phase::in_flight) co_return;
        stuff();
        co_await stage_.settle();
    }
    task<result<void>> operate() override {
        auto ended = co_await pair_.stream.shutdown();
        co_return outcome_of(ended);
    }
    task<> check(bool cancelled) override {
        auto sent = co_await pair_.stream.send_all(bytes_of(marker));
        CHECK(sent.has_value() == cancelled);  // the side stayed open
        co_await pair_.stream.close();
        CHECK(co_await stage_.until([this] { return ended_; }));
        CHECK(heard_.size() == before_ + (cancelled ? marker.size() : 0));
    }
};

// While the kernel has not begun with it, nobody needs to be asked; what the peer reads meanwhile
// may be enough or not.
constexpr endings in_line{ending::cancelled, ending::cancelled, ending::cancelled,
                          ending::cancelled, ending::either};
// It has gone as soon as the kernel has it, and comes back when it is read.
constexpr endings when_released{ending::cancelled, ending::cancelled, ending::cancelled,
                                ending::cancelled, ending::either};
constexpr endings when_read{ending::cancelled, ending::cancelled, ending::cancelled, ending::either,
                            ending::either};

const row rows[] = {
    {"send", made<send_some>, answered, source::self, 1},
    {"send_all(span)", made<send_span>, answered, source::self, 1},
    {"send_all(pieces)", made<send_pieces>, answered, source::self, 1},
    {"send_all(rx_buffer)", made<send_buffer>, answered, source::self, 1},
    {"send_all(buffer_chain)", made<send_chain>, answered, source::self, 1},
    {"zero-copy send_all(rx_buffer)", made<send_buffer>, answered, source::self, 1, true},
    {"zero-copy send_all(buffer_chain)", made<send_chain>, answered, source::self, 1, true},
    {"send_all_zero_copy", made<lend>, answered, source::self, 2, true},
    {"send_all_zero_copy, accepted", made<lend_for_long>, when_released, source::here, 3, true},
    {"send_all behind another", made<behind_another>, in_line, source::here, 2},
    {"send_all half-way", made<half_way>, when_read, source::here, 3},
    {"shutdown", made<shutdown>, answered, source::self, 1},
};

}  // namespace

std::span<const row> send_rows() { return rows; }

}  // namespace sluice::testing
