// SPDX-License-Identifier: Apache-2.0
// Work on other reactors and threads. A cancelled caller waits for the end of what has begun.

#include <atomic>
#include <semaphore>

#include "cancel/cell.hpp"
#include "sluice/blocking.hpp"
#include "sluice/on.hpp"

using namespace std::chrono_literals;

namespace sluice::testing {

namespace {

//! Runs elsewhere until it is let go, or cancelled.
class elsewhere final : public subject {
public:
    using subject::subject;
    bool begun() const override { return started_.load() != 0; }
    void complete() override { let_go_.store(true); }
    task<result<void>> operate() override {
        auto given = co_await on(1, [this] { return remote(); });
        ended_before_ = running_.load() == 0;
        co_return given;
    }
    task<> check(bool cancelled) override {
        CHECK(ended_before_);
        CHECK(finished_.load() == (cancelled ? 0 : 1));
        co_return;
    }

private:
    task<result<void>> remote() {
        ++running_;
        ++started_;
        result<void> waited;
        while (waited && !let_go_.load()) waited = co_await sleep_for(50us);
        if (waited) ++finished_;
        --running_;
        co_return waited;
    }

    std::atomic<bool> let_go_{false};
    std::atomic<int> started_{0};
    std::atomic<int> running_{0};
    std::atomic<int> finished_{0};
    bool ended_before_ = false;
};

//! Once it runs nothing stops it; before, it does not begin.
class blocks final : public subject {
public:
    using subject::subject;
    bool begun() const override { return begun_.load() != 0; }
    void complete() override { let_go_.release(); }
    task<result<void>> operate() override {
        auto given = co_await blocking([this] {
            ++begun_;
            let_go_.acquire();
            ++finished_;
        });
        CHECK(begun_.load() == finished_.load());
        co_return given;
    }
    task<> check(bool cancelled) override {
        CHECK(finished_.load() == (cancelled ? 0 : 1));
        co_return;
    }

private:
    std::counting_semaphore<> let_go_{0};
    std::atomic<int> begun_{0};
    std::atomic<int> finished_{0};
};

//! Waits for a send that is stuck until the peer reads. The stream is in one place afterwards, and
//! works there.
class moves final : public subject {
public:
    using subject::subject;
    task<> set_up(phase) override {
        auto pair = co_await stage_.connected(true);
        pair_ = std::move(pair);
        stage_.let([this]() -> task<> {
            auto sent = co_await pair_.stream.send_all(much());
            CHECK(sent.has_value());
        });
        co_await say(pair_.peer, "for later");  // goes along
        auto first = co_await with_timeout(10s, pair_.stream.recv());
        CHECK(first.has_value());
        co_await say(pair_.peer, "and more");
    }
    void complete() override {
        stage_.let([this] { return hear_to_the_end(pair_.peer, heard_, ended_); });
    }
    task<result<void>> operate() override {
        auto moved = co_await pair_.stream.move_to(1);
        co_return moved;
    }
    task<> check(bool cancelled) override {
        const unsigned where = pair_.stream.home().index();
        CHECK(where == (cancelled ? 0 : 1));
        auto done = co_await on(
            where,
            [](tcp_stream there) -> task<result<void>> {
                auto kept = co_await hear(there, 8);
                CHECK(kept == "and more");
                co_await say(there, "<end>");
                co_await there.close();
                co_return result<void>{};
            },
            std::move(pair_.stream));
        CHECK(done.has_value());
        CHECK(co_await stage_.until([this] { return ended_; }));
        CHECK(heard_.size() == much().size() + 5);
        CHECK(heard_.ends_with("m<end>"));
    }

private:
    connection_pair pair_;
    std::string heard_;
    bool ended_ = false;
};

// In the races the other thread decides.
constexpr endings ends_elsewhere{ending::cancelled, ending::cancelled, ending::cancelled,
                                 ending::either, ending::either};
constexpr endings once_begun{ending::cancelled, ending::cancelled, ending::completed,
                             ending::completed, ending::completed};

const row rows[] = {
    {"on", made<elsewhere>, ends_elsewhere, source::here},
    {"blocking", made<blocks>, once_begun, source::here},
    {"tcp_stream::move_to", made<moves>, ends_elsewhere, source::here, 3},
};

}  // namespace

std::span<const row> core_rows() { return rows; }

}  // namespace sluice::testing
