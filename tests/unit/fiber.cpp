// SPDX-License-Identifier: Apache-2.0
#include "sluice/fiber.hpp"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "sluice/channel.hpp"
#include "sluice/event.hpp"
#include "sluice/timeout.hpp"
#include "support/counted.hpp"
#include "unit/sync.hpp"

namespace fiber = sluice::fiber;
using namespace std::chrono_literals;
using namespace sluice::testing;
using sluice::channel;
using sluice::error;
using sluice::event;
using sluice::fiber_cancelled;
using sluice::fiber_options;
using sluice::nursery;
using sluice::reactor;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::with_nursery;
using sluice::with_timeout;
using sluice::yield;

namespace {

task<int> later(int n) {
    co_await yield();
    co_return n;
}

task<int> fails_later() {
    co_await yield();
    throw std::runtime_error("from the task");
}

//! Raises a flag when it is destroyed.
class flagged {
public:
    explicit flagged(int& flag) noexcept : flag_(flag) {}
    flagged(const flagged&) = delete;
    flagged& operator=(const flagged&) = delete;
    ~flagged() { ++flag_; }

private:
    int& flag_;
};

// A parser as C libraries have them: it calls back for each word, stops at the first answer that is
// not 0, and knows nothing of exceptions.
extern "C" int each_word(const char* text, int (*on_word)(void* user, const char* word, int length),
                         void* user) {
    for (const char* word = text; *word != '\0';) {
        int length = 0;
        while (word[length] != ' ' && word[length] != '\0') ++length;
        const int stop = on_word(user, word, length);
        if (stop != 0) return stop;
        word += length;
        while (*word == ' ') ++word;
    }
    return 0;
}

}  // namespace

SLUICE_TEST_CASE("fiber: awaits what coroutines await, and gives what its function returns") {
    CHECK(!fiber::active());
    const auto sum = co_await fiber::run(
        [](int a, const std::unique_ptr<int>& b) {
            CHECK(fiber::active());
            reactor& home = fiber::await(sluice::this_coro::reactor());
            CHECK(&home == reactor::current());
            fiber::await(yield());
            const result<void> slept = fiber::await(sleep_for(1ms));
            CHECK(slept.has_value());
            return a + *b + fiber::await(later(4));
        },
        1, std::make_unique<int>(2));
    CHECK(sum.value() == 7);
    CHECK(!fiber::active());

    const auto nothing = co_await fiber::run([] { fiber::await(yield()); });
    CHECK(nothing.has_value());
    const result<int> failed = co_await fiber::run([]() -> result<int> { return error::eof; });
    CHECK(is(failed, error::eof));
    const auto moved = co_await fiber::run([] { return std::make_unique<int>(5); });
    CHECK(**moved == 5);
    const auto lvalue = co_await fiber::run([] {
        auto awaited = yield();
        fiber::await(awaited);
    });
    CHECK(lvalue.has_value());
}

SLUICE_TEST_CASE("fiber: others run while it waits, and fibers wait for each other") {
    std::vector<int> order;
    channel<int> numbers{1};
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        fiber::spawn(n, [&] {
            for (int i = 0; i < 5; ++i) CHECK(fiber::await(numbers.send(i)).has_value());
            numbers.close();
        });
        fiber::spawn(
            n, fiber_options{.name = "reader"},
            [&](int factor) {
                while (auto v = fiber::await(numbers.recv())) order.push_back(*v * factor);
            },
            10);
        co_return;
    }));
    CHECK(order == std::vector{0, 10, 20, 30, 40});
}

SLUICE_TEST_CASE("fiber: waits from deep in its stack, many at once, on stacks that are kept") {
    constexpr int fibers = 200;
    int ended = 0;
    struct recursion {
        static int go(int depth) {
            if (depth == 0) return fiber::await(later(1));
            volatile char pad[64] = {};
            return go(depth - 1) + pad[0];
        }
    };
    reactor& home = co_await sluice::this_coro::reactor();
    for (int round = 0; round < 2; ++round)
        static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
            for (int i = 0; i < fibers; ++i) fiber::spawn(n, [&] { ended += recursion::go(100); });
            co_return;
        }));
    CHECK(ended == 2 * fibers);
    const auto stats = fiber::stats(home);
    CHECK(stats.live == 0);
    CHECK(stats.started == 2 * fibers);
    CHECK(stats.pooled_stacks == home.options().fiber_stacks_kept);
    CHECK(stats.mapped_bytes == stats.pooled_stacks * fiber_options{}.stack_size);
}

SLUICE_TEST_CASE("fiber: exceptions pass in both directions") {
    bool caught = false;
    try {
        static_cast<void>(co_await fiber::run([] {
            try {
                fiber::await(fails_later());
                FAIL("no exception");
            } catch (const std::runtime_error& e) {
                CHECK(e.what() == std::string("from the task"));
            }
            fiber::await(yield());
            throw std::runtime_error("from the fiber");
        }));
    } catch (const std::runtime_error& e) {
        caught = e.what() == std::string("from the fiber");
    }
    CHECK(caught);
    CHECK_THROWS_AS(fiber::await(yield()), std::logic_error);  // not on a fiber
}

SLUICE_TEST_CASE("fiber: an exception that is being handled stays with its fiber") {
    const auto throws_around = [](int n) {
        for (int i = 0; i < 3; ++i) {
            try {
                throw n;
            } catch (int) {
                fiber::await(yield());  // others throw and catch meanwhile
                CHECK(std::uncaught_exceptions() == 0);
                try {
                    throw;
                } catch (int again) {
                    CHECK(again == n);
                }
            }
        }
    };
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        for (int i = 0; i < 3; ++i) fiber::spawn(n, throws_around, i);
        n.spawn([]() -> task<> {
            for (int i = 0; i < 6; ++i) {
                CHECK(std::current_exception() == nullptr);
                co_await yield();
            }
        });
        co_return;
    }));
}

SLUICE_TEST_CASE("fiber: a stop unwinds it, with destructors") {
    event never;
    int destroyed = 0;
    bool passed_handler = false;
    bool went_on = false;
    result<int> outcome = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            outcome = co_await fiber::run([&] {
                const flagged outer{destroyed};
                try {
                    const flagged inner{destroyed};
                    static_cast<void>(fiber::await(never.wait()));
                    went_on = true;
                } catch (const std::exception&) {
                    passed_handler = true;  // of errors: a stop is none
                }
                return 1;
            });
        });
        co_await settle();
        CHECK(destroyed == 0);
        n.request_stop();
    }));
    CHECK(destroyed == 2);
    CHECK(!went_on);
    CHECK(!passed_handler);
    CHECK(is_cancelled(outcome));
}

SLUICE_TEST_CASE("fiber: cancelled before it starts, and with its result there first") {
    event e;
    e.set();
    int cancelled = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.request_stop();
        n.spawn([&]() -> task<> {
            const auto r = co_await fiber::run([&] { static_cast<void>(fiber::await(e.wait())); });
            cancelled += is_cancelled(r) ? 1 : 0;
        });
        co_return;
    }));
    CHECK(cancelled == 1);

    e.reset();
    int went_on = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        fiber::spawn(n, [&] {
            CHECK(fiber::await(e.wait()).has_value());
            ++went_on;
            static_cast<void>(fiber::await(e.wait()));  // set, but the stop comes first
            ++went_on;
        });
        co_await settle();
        e.set();
        n.request_stop();
    }));
    CHECK(went_on == 1);
}

SLUICE_TEST_CASE(
    "fiber: whoever swallows the stop gets it again; await_nothrow gives it as a result") {
    event never;
    int thrown = 0;
    int given = 0;
    result<int> outcome = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        n.spawn([&]() -> task<> {
            outcome = co_await fiber::run([&] {
                for (int i = 0; i < 3; ++i) {
                    try {
                        static_cast<void>(fiber::await(never.wait()));
                    } catch (const fiber_cancelled&) {
                        ++thrown;
                    }
                    given += is_cancelled(fiber::await_nothrow(never.wait())) ? 1 : 0;
                }
                return 7;
            });
        });
        co_await settle();
        n.request_stop();
    }));
    CHECK(thrown == 3);
    CHECK(given == 3);
    CHECK(outcome.value() == 7);  // it has its own idea of what a stop means, as coroutines may
}

SLUICE_TEST_CASE("fiber: timeouts, around what it awaits and around itself") {
    event never;
    const auto inside = co_await fiber::run(
        [&] { return is(fiber::await(with_timeout(1ms, never.wait())), error::timeout); });
    CHECK(inside.value());
    int destroyed = 0;
    const auto around = co_await with_timeout(1ms, fiber::run([&] {
                                                  const flagged here{destroyed};
                                                  static_cast<void>(fiber::await(never.wait()));
                                              }));
    CHECK(is(around, error::timeout));
    CHECK(destroyed == 1);
}

SLUICE_TEST_CASE("fiber: results that are there at once do not starve others") {
    bool stop = false;
    event set{true};
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        fiber::spawn(n, [&] {
            while (!stop) CHECK(fiber::await(set.wait()).has_value());
        });
        co_await settle();
        stop = true;
    }));
}

TEST_CASE("fiber: a reactor that is abandoned unwinds fibers, destructors included") {
    int destroyed = 0;
    int nothrow = 0;
    {
        const auto home = make_reactor();
        event never;
        const auto waits = [&](bool swallows) {
            const flagged here{destroyed};
            struct last_words {
                event& e;
                int& count;
                ~last_words() { count += is_cancelled(fiber::await_nothrow(e.wait())) ? 1 : 0; }
            } const words{never, nothrow};
            for (int i = 0; i < 3; ++i) {
                try {
                    for (;;) {
                        fiber::await(yield());
                        static_cast<void>(fiber::await(sleep_for(1h)));
                    }
                } catch (const fiber_cancelled&) {
                    if (!swallows) throw;
                }
            }
        };
        for (const bool swallows : {false, true})
            home->spawn([&, swallows] { return fiber::run(waits, swallows); });
        // Ignores its stop, and waits in one that is about to run.
        home->spawn([&] {
            return fiber::run([&] {
                const flagged here{destroyed};
                for (;;) fiber::await(yield());
            });
        });
        home->spawn([&]() -> task<> {
            co_await settle();
            home->abandon();
        });
        home->run();
        CHECK(destroyed == 3);
        CHECK(nothrow == 2);
        check_books(home->stats());
        CHECK(fiber::stats(*home).live == 0);
    }
}

TEST_CASE("fiber: no more than max_fibers at once") {
    run_options options;
    options.reactor.max_fibers = 2;
    options.reactor.fiber_stacks_kept = 1;
    sluice::testing::run(
        []() -> task<> {
            reactor& home = co_await sluice::this_coro::reactor();
            event go;
            int refused = 0;
            static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
                for (int i = 0; i < 3; ++i)
                    n.spawn([&]() -> task<> {
                        const auto r = co_await fiber::run(
                            [&] { static_cast<void>(fiber::await(go.wait())); });
                        if (r.has_error() && r.error() == sluice::errno_error(EAGAIN)) ++refused;
                    });
                co_await settle();
                go.set();
            }));
            CHECK(refused == 1);
            const auto stats = fiber::stats(home);
            CHECK(stats.refused == 1);
            CHECK(stats.started == 2);
            CHECK(stats.pooled_stacks == 1);
            const auto more = co_await fiber::run({.stack_size = 64 * 1024}, [] {});
            CHECK(more.has_value());
            CHECK(fiber::stats(home).mapped_bytes == 64 * 1024);  // the other size made room
            const auto huge = co_await fiber::run({.stack_size = SIZE_MAX}, [] {});
            CHECK(huge.has_error());
        },
        options);
}

SLUICE_TEST_CASE("fiber: how much stack was used") {
    const auto touch = [](std::size_t bytes) {
        auto* p = static_cast<volatile char*>(__builtin_alloca(bytes));
        for (std::size_t i = 0; i < bytes; ++i) p[i] = 1;
        fiber::await(yield());
    };
    reactor& home = co_await sluice::this_coro::reactor();
    const fiber_options measured{.name = "measured", .measure_stack = true};
    const auto used = co_await fiber::run(measured, [&] {
        const std::size_t before = fiber::stack_used();
        touch(50'000);
        const std::size_t after = fiber::stack_used();
        CHECK(before > 0);
        CHECK(after >= before);
        CHECK(after >= 50'000);
        CHECK(after < 100'000);
        return after;
    });
    CHECK(fiber::stats(home).deepest_used_bytes >= used.value());
    const auto not_measured = co_await fiber::run([&] { return fiber::stack_used(); });
    CHECK(not_measured.value() == 0);
    // A stack that is used again is measured afresh.
    const auto little = co_await fiber::run(measured, [] { return fiber::stack_used(); });
    CHECK(little.value() < 50'000);
}

SLUICE_TEST_CASE("fiber: below a callback of the C library") {
    std::vector<int> numbers{5, 3, 9, 1, 7, 2, 8};
    static int compared;
    compared = 0;
    const auto sorted = co_await fiber::run([&] {
        std::qsort(numbers.data(), numbers.size(), sizeof(int), [](const void* a, const void* b) {
            ++compared;
            fiber::await(yield());  // as a look-up over the network would
            return *static_cast<const int*>(a) - *static_cast<const int*>(b);
        });
    });
    CHECK(sorted.has_value());
    CHECK(std::is_sorted(numbers.begin(), numbers.end()));
    CHECK(compared > 6);
}

SLUICE_TEST_CASE("fiber: below a parser in C, which a stop leaves in its own way") {
    channel<std::string> words{1};
    const auto parse = [&](const char* text) {
        return each_word(
            text,
            [](void* user, const char* word, int length) {
                auto& to = *static_cast<channel<std::string>*>(user);
                const auto sent = fiber::await_nothrow(
                    to.send(std::string(word, static_cast<std::size_t>(length))));
                return sent ? 0 : -1;
            },
            &words);
    };
    std::string read;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        fiber::spawn(n, [&] {
            CHECK(parse("what a  callback sends") == 0);
            words.close();
        });
        while (auto w = co_await words.recv()) read += *w + ".";
    }));
    CHECK(read == "what.a.callback.sends.");

    channel<std::string> unread{1};
    int answer = 0;
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        fiber::spawn(n, [&] {
            answer = each_word(
                "one two three",
                [](void* user, const char*, int) {
                    auto& to = *static_cast<channel<std::string>*>(user);
                    return fiber::await_nothrow(to.send("")) ? 0 : -1;
                },
                &unread);
        });
        co_await settle();
        CHECK(unread.size() == 1);
        n.request_stop();
    }));
    CHECK(answer == -1);
}

SLUICE_TEST_CASE("fiber: errno is kept over an await") {
    static_cast<void>(co_await with_nursery([](nursery& n) -> task<> {
        for (const int own : {ENOENT, EDOM, 0})
            fiber::spawn(n, [own] {
                for (int i = 0; i < 3; ++i) {
                    errno = own;
                    fiber::await(yield());
                    CHECK(errno == own);
                }
            });
        co_return;
    }));
}

SLUICE_TEST_CASE("fiber: in the steady state waiting and starting allocate nothing") {
    channel<int> there{1};
    channel<int> back{1};
    static_cast<void>(co_await with_nursery([&](nursery& n) -> task<> {
        fiber::spawn(n, [&] {
            while (auto v = fiber::await(there.recv()))
                static_cast<void>(fiber::await(back.send(*v)));
        });
        co_await check_allocates_nothing([&]() -> task<> {
            static_cast<void>(co_await there.send(1));
            static_cast<void>(co_await back.recv());
            static_cast<void>(co_await fiber::run([] { fiber::await(yield()); }));
        });
        there.close();
    }));
}
