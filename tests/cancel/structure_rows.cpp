// SPDX-License-Identifier: Apache-2.0
// Scopes and combinators. A cancelled one has passed the stop on and has waited for what is inside.

#include <optional>

#include "cancel/cell.hpp"
#include "sluice/async_generator.hpp"
#include "sluice/background.hpp"
#include "sluice/draining.hpp"
#include "sluice/event.hpp"
#include "sluice/fiber.hpp"
#include "sluice/shielded.hpp"
#include "sluice/when_all.hpp"
#include "sluice/when_any.hpp"

using namespace std::chrono_literals;

namespace sluice::testing {

namespace {

//! Completes with a gate that others open. `inside_` counts coroutines that wait there now.
class gated : public subject {
public:
    using subject::subject;
    void complete() override { gate_.set(); }
    task<> check(bool cancelled) override {
        CHECK(inside_ == 0);
        CHECK(passed_ == (cancelled ? 0 : expected_));
        co_return;
    }

protected:
    task<result<void>> pass() {
        ++inside_;
        auto waited = co_await gate_.wait();
        --inside_;
        if (waited) ++passed_;
        co_return waited;
    }

    event gate_;
    int inside_ = 0;
    int passed_ = 0;
    int expected_ = 1;
};

class scope final : public gated {
public:
    using gated::gated;
    task<result<void>> operate() override {
        expected_ = 3;
        return with_nursery([this](nursery& n) -> task<> {
            for (int i = 0; i < 3; ++i) n.spawn([this] { return pass(); });
            co_return;
        });
    }
};

class joins final : public gated {
public:
    using gated::gated;
    task<result<void>> operate() override {
        nursery children(stage_.home(), {});
        children.spawn([this] { return pass(); });
        co_await children.join();
        CHECK(children.children() == 0);
        co_return children.outcome();
    }
};

class joins_background final : public gated {
public:
    using gated::gated;
    task<result<void>> operate() override {
        background work(stage_.home(), {});
        work.spawn([this] { return pass(); });
        auto joined = co_await work.join();
        CHECK(work.tasks() == 0);
        co_return joined;
    }
};

//! Cancels its tasks, and is not cancelled itself.
class stops_background final : public gated {
public:
    using gated::gated;
    task<result<void>> operate() override {
        background work(stage_.home());
        work.spawn([this] { return pass(); });
        auto stopped = co_await work.stop();
        CHECK(work.tasks() == 0);
        co_return stopped;
    }
    task<> check(bool) override {
        CHECK(inside_ == 0);
        CHECK(passed_ == 0);
        co_return;
    }
};

//! A place is free when the child that has it has ended.
class spawns_when_room final : public gated {
public:
    using gated::gated;
    task<> set_up(phase) override {
        expected_ = 2;
        bounded_.emplace(stage_.home(), nursery_options{.max_children = 1});
        bounded_->spawn([this] { return pass(); });
        co_return;
    }
    task<result<void>> operate() override {
        auto spawned = co_await bounded_->spawn_when_room([this] { return pass(); });
        co_return spawned;
    }
    task<> check(bool cancelled) override {
        co_await bounded_->join();
        CHECK(bounded_->has_room());
        CHECK(inside_ == 0);
        CHECK(passed_ == (cancelled ? 1 : 2));
    }

private:
    std::optional<nursery> bounded_;
};

class all final : public gated {
public:
    using gated::gated;
    task<result<void>> operate() override {
        expected_ = 2;
        auto [first, second] = co_await when_all(pass(), pass());
        CHECK(first.has_value() == second.has_value());
        co_return first;
    }
};

//! The loser, which no gate opens for, is cancelled in any case.
class any final : public gated {
public:
    using gated::gated;
    task<result<void>> operate() override {
        auto first = co_await when_any(pass(), sleep_for(1h));
        CHECK(first.index == 0);
        CHECK_FALSE(first.has<1>());
        co_return first.get<0>();
    }
};

class shields final : public gated {
public:
    using gated::gated;
    task<result<void>> operate() override {
        auto passed = co_await shielded(pass());
        co_return passed;
    }
};

//! The body says what comes of a cancelled await; it goes on with the next().
class next_of_generator final : public gated {
public:
    using gated::gated;
    task<result<void>> operate() override {
        auto given = co_await numbers_.next();
        if (!given) co_return error::eof;
        if (*given < 0) co_return cancelled_error();
        co_return result<void>{};
    }
    task<> check(bool cancelled) override {
        co_await gated::check(cancelled);
        auto given = co_await numbers_.next();
        CHECK(given.value_or(-1) == (cancelled ? 1 : 2));
    }

private:
    async_generator<int> numbers() {
        for (;;) {
            auto passed = co_await pass();
            co_yield passed ? passed_ : -1;
        }
    }
    async_generator<int> numbers_ = numbers();
};

//! Destructors of what is on the fiber's stack run, whatever ends it.
class runs_fiber final : public gated {
public:
    using gated::gated;
    task<result<void>> operate() override {
        return fiber::run([this] {
            const on_stack here(*this);
            auto passed = fiber::await(pass());
            CHECK(passed.has_value());  // or it would have thrown
            return passed;
        });
    }
    task<> check(bool cancelled) override {
        CHECK(made_ == 1);
        CHECK(destroyed_ == 1);
        CHECK(fiber::stats(stage_.home()).live == 0);
        co_await gated::check(cancelled);
    }

private:
    struct on_stack {
        explicit on_stack(runs_fiber& o) : owner(o) { ++owner.made_; }
        on_stack(const on_stack&) = delete;
        ~on_stack() { ++owner.destroyed_; }
        runs_fiber& owner;
    };
    int made_ = 0;
    int destroyed_ = 0;
};

class drains final : public subject {
public:
    using subject::subject;
    void complete() override { stage_.home().request_drain(); }
    task<result<void>> operate() override {
        auto draining = co_await until_draining();
        co_return draining;
    }
    task<> check(bool) override {
        auto again = co_await until_draining();
        CHECK(again.has_value());
    }
};

class yields final : public subject {
public:
    using subject::subject;
    task<result<void>> operate() override {
        co_await yield();
        co_return result<void>{};
    }
    task<> check(bool) override { co_return; }
};

// The children end one turn after the gate was opened: steps that pass before the one who waits for
// them is woken.
const row rows[] = {
    {"with_nursery", made<scope>, withdraws, source::here, 1},
    {"nursery::join", made<joins>, withdraws, source::here, 1},
    {"background::join", made<joins_background>, withdraws, source::here, 1},
    {"background::stop", made<stops_background>, unstoppable, source::clock},
    {"nursery::spawn_when_room", made<spawns_when_room>, withdraws, source::here, 1},
    {"when_all", made<all>, withdraws, source::here},
    {"when_any", made<any>, withdraws, source::here},
    {"shielded", made<shields>, unstoppable, source::here},
    {"async_generator::next", made<next_of_generator>, withdraws, source::here},
    {"fiber::run", made<runs_fiber>, withdraws, source::here},
    {"until_draining", made<drains>, withdraws, source::here},
    {"yield", made<yields>, unstoppable, source::clock},
};

}  // namespace

std::span<const row> structure_rows() { return rows; }

}  // namespace sluice::testing
