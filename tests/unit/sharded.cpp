// SPDX-License-Identifier: Apache-2.0
#include "sluice/sharded.hpp"

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sluice/timeout.hpp"
#include "support/cores.hpp"

using namespace std::chrono_literals;
using sluice::reactor;
using sluice::result;
using sluice::service;
using sluice::sharded;
using sluice::sleep_for;
using sluice::task;
using sluice::with_nursery;
using sluice::yield;
using sluice::testing::check_mesh;
using sluice::testing::cores;
using sluice::testing::run_service;

namespace {

unsigned here() { return reactor::current()->index(); }

//! What happened, in order, from all threads.
class diary {
public:
    void add(std::string what) {
        const std::lock_guard lock(mutex_);
        lines_.push_back(std::move(what));
    }
    //! Where `what` stands for the first and for the last time.
    [[nodiscard]] std::size_t first(const std::string& what) const {
        for (std::size_t i = 0; i < lines_.size(); ++i)
            if (lines_[i] == what) return i;
        return lines_.size();
    }
    [[nodiscard]] std::size_t last(const std::string& what) const {
        for (std::size_t i = lines_.size(); i-- > 0;)
            if (lines_[i] == what) return i;
        return lines_.size();
    }
    [[nodiscard]] std::size_t count(const std::string& what) const {
        std::size_t n = 0;
        for (const auto& l : lines_) n += l == what ? 1 : 0;
        return n;
    }

private:
    std::mutex mutex_;
    std::vector<std::string> lines_;
};

struct noted {
    diary* book;
    std::string name;
    std::thread::id made_on = std::this_thread::get_id();

    noted(diary* b, std::string n) : book(b), name(std::move(n)) { book->add(name + " made"); }
    noted(const noted&) = delete;
    ~noted() {
        CHECK(made_on == std::this_thread::get_id());
        book->add(name + " gone");
    }
    task<> start() {
        static_cast<void>(co_await sleep_for(1ms * here()));
        book->add(name + " started");
    }
    task<> stop() {
        static_cast<void>(co_await sleep_for(1ms * here()));
        book->add(name + " stopped");
    }
};

struct counter {
    reactor& home;
    int value;
    explicit counter(reactor& r, int first) : home(r), value(first) {}
};

struct plain {
    int value = 3;
};

//! Fails on one reactor in one of several ways.
struct failing {
    enum class how { constructor, exception, error, never };
    how way;
    std::atomic<int>* alive;

    failing(reactor& home, how w, std::atomic<int>* n) : way(w), alive(n) {
        if (home.index() == 1 && way == how::constructor) throw std::runtime_error("constructor");
        ++*alive;
    }
    failing(const failing&) = delete;
    ~failing() { --*alive; }
    task<result<void>> start() {
        co_await yield();
        if (here() != 1) co_return result<void>{};
        if (way == how::exception) throw std::runtime_error("start");
        if (way == how::error) co_return sluice::errno_error(EPROTO);
        co_return result<void>{};
    }
};

}  // namespace

TEST_CASE("sharded: started before co_main in order, stopped after in reverse") {
    diary book;
    service s(cores(3));
    s.add_sharded<noted>(&book, std::string("first"));
    s.add_sharded<noted>(&book, std::string("second"));
    for (int round = 1; round <= 2; ++round) {
        auto report = s.run([&](reactor& home) -> task<> {
            book.add("main");
            static_cast<void>(co_await sleep_for(1ms * home.index()));
            home.spawn([&]() -> task<> {
                static_cast<void>(co_await sleep_for(2ms));
                book.add("main");
            });
        });
        REQUIRE(report.has_value());
        check_mesh(*report);
        const std::size_t n = round == 1 ? 3 : 6;
        for (const char* what : {"first made", "first started", "first stopped", "first gone",
                                 "second made", "second started", "second stopped", "second gone"})
            CHECK(book.count(what) == n);
        if (round == 2) break;
        CHECK(book.last("first made") < book.last("first started"));
        CHECK(book.last("first started") < book.first("second made"));
        CHECK(book.last("second started") < book.first("main"));
        CHECK(book.last("main") < book.first("second stopped"));
        CHECK(book.last("second stopped") < book.first("second gone"));
        CHECK(book.last("second gone") < book.first("first gone"));
        CHECK(book.last("first stopped") < book.first("first gone"));
    }
}

TEST_CASE("sharded: local, invoke_on, invoke_on_all, map_reduce") {
    service s(cores(3));
    auto& counters = s.add_sharded<counter>(10);
    auto& plains = s.add_sharded<plain>();
    CHECK(counters.size() == 3);
    CHECK_THROWS_AS(static_cast<void>(counters.local()), std::logic_error);
    run_service(s, [&]() -> task<> {
        CHECK(&counters.local().home == reactor::current());
        for (unsigned i = 0; i < 3; ++i) {
            auto value = co_await counters.invoke_on(
                i, [](counter& c, int add) { return c.value += add + int(c.home.index()); }, 5);
            CHECK(value.value() == 15 + int(i));
            auto later = co_await counters.invoke_on(i, [](counter& c) -> task<result<int>> {
                co_await yield();
                CHECK(&c.home == reactor::current());
                co_return c.value;
            });
            CHECK(later.value() == 15 + int(i));
        }
        auto all = co_await counters.invoke_on_all([](counter& c) { c.value *= 2; });
        CHECK(all.has_value());
        auto sum = co_await counters.map_reduce([](counter& c) { return c.value; }, 0,
                                                [](int a, int b) { return a + b; });
        CHECK(sum.value() == 2 * (15 + 16 + 17));
        auto slow = co_await plains.map_reduce(
            [](plain& p) -> task<int> {
                static_cast<void>(co_await sleep_for(1ms * here()));
                co_return p.value;
            },
            std::string(), [](std::string a, int b) { return a + std::to_string(b); });
        CHECK(slow.value() == "333");
        auto failed = co_await counters.invoke_on_all([](counter& c) -> task<result<void>> {
            if (c.home.index() == 2) co_return sluice::errno_error(EPROTO);
            auto slept = co_await sleep_for(1h);  // cancelled by the failure of the other
            CHECK(slept.has_error());
            co_return result<void>{};
        });
        CHECK(failed.error() == boost::system::errc::protocol_error);
        auto no_sum = co_await counters.map_reduce(
            [](counter& c) -> result<int> {
                if (c.home.index() == 1) return sluice::errno_error(EPROTO);
                return result<int>{boost::system::in_place_value, 1};
            },
            0, [](int a, int b) { return a + b; });
        CHECK(no_sum.error() == boost::system::errc::protocol_error);
        bool caught = false;
        try {
            static_cast<void>(co_await counters.invoke_on_all([](counter& c) {
                if (c.home.index() == 1) throw std::runtime_error("on one of them");
            }));
        } catch (const std::runtime_error&) {
            caught = true;
        }
        CHECK(caught);
    });
    CHECK_THROWS_AS(static_cast<void>(counters.local()), std::logic_error);
}

TEST_CASE("sharded: at home invoke_on sends nothing") {
    service s(cores(2));
    auto& counters = s.add_sharded<counter>(0);
    const auto report = run_service(s, [&]() -> task<> {
        for (int i = 0; i < 100; ++i)
            static_cast<void>(co_await counters.invoke_on(0, [](counter& c) { ++c.value; }));
        CHECK(counters.local().value == 100);
    });
    CHECK(report.reactors[0].stats.messages_sent == 0);
}

TEST_CASE("sharded: owner spreads hashes, weak ones too") {
    service s(cores(3));
    auto& plains = s.add_sharded<plain>();
    for (const std::uint64_t factor : {1U, 4096U, 1U << 31U}) {
        std::vector<int> hits(3);
        for (std::uint64_t i = 0; i < 3000; ++i) {
            const unsigned owner = plains.owner(i * factor);
            REQUIRE(owner < 3);
            CHECK(owner == plains.owner(i * factor));
            ++hits[owner];
        }
        for (const int h : hits) {
            CHECK(h > 850);
            CHECK(h < 1150);
        }
    }
}

TEST_CASE("sharded: what fails to start ends the start, and what had started is stopped") {
    for (const auto way : {failing::how::constructor, failing::how::exception, failing::how::error,
                           failing::how::never}) {
        std::atomic<int> alive{0};
        diary book;
        std::atomic<bool> ran{false};
        service s(cores(3));
        s.add_sharded<noted>(&book, std::string("first"));
        s.add_sharded<failing>(way, &alive);
        s.add_sharded<noted>(&book, std::string("third"));
        const auto main = [&](reactor&) -> task<> {
            ran = true;
            co_return;
        };
        if (way == failing::how::error) {
            auto outcome = s.start(main);
            REQUIRE(outcome.has_error());
            CHECK(outcome.error() == boost::system::errc::protocol_error);
        } else if (way == failing::how::never) {
            REQUIRE(s.start(main).has_value());
            s.request_stop();
            check_mesh(s.wait());
        } else {
            CHECK_THROWS_AS(static_cast<void>(s.start(main)), std::runtime_error);
        }
        const bool good = way == failing::how::never;
        CHECK(ran.load() == good);
        CHECK(alive.load() == 0);
        CHECK(book.count("first stopped") == 3);
        CHECK(book.count("first gone") == 3);
        CHECK(book.count("third made") == (good ? 3 : 0));
    }
}

namespace {

//! Uses its neighbours while it stops.
struct sociable {
    sharded<sociable>** all;
    std::atomic<int>* answers;
    int value = 1;
    sociable(sharded<sociable>** a, std::atomic<int>* n) : all(a), answers(n) {}
    task<> stop() {
        auto sum = co_await (*all)->map_reduce([](sociable& s) { return s.value; }, 0,
                                               [](int a, int b) { return a + b; });
        if (sum && *sum == 3) ++*answers;
    }
};

//! Neither starts nor stops in time.
struct endless {
    bool while_starting;
    std::atomic<int>* alive;
    endless(bool s, std::atomic<int>* n) : while_starting(s), alive(n) { ++*alive; }
    endless(const endless&) = delete;
    ~endless() { --*alive; }
    task<> start() {
        while (while_starting) static_cast<void>(co_await sleep_for(1ms));
    }
    task<> stop() {
        for (;;) static_cast<void>(co_await sleep_for(1ms));
    }
};

}  // namespace

TEST_CASE("sharded: while they stop they can call each other, after a cancel too") {
    for (int round = 0; round < 20; ++round) {
        auto options = cores(3);
        options.drain_timeout = 1ms;
        service s(options);
        sharded<sociable>* all = nullptr;
        std::atomic<int> answers{0};
        all = &s.add_sharded<sociable>(&all, &answers);
        REQUIRE(s.start([](reactor&) -> task<> {
                     static_cast<void>(co_await sleep_for(1h));
                 }).has_value());
        s.request_stop();
        if (round % 2 == 0) s.request_stop();
        check_mesh(s.wait());
        CHECK(answers.load() == 3);
    }
}

TEST_CASE("sharded: a stop that does not end is cut off at the hard deadline") {
    auto options = cores(2);
    options.drain_timeout = 1ms;
    options.cancel_timeout = 10ms;
    std::atomic<int> alive{0};
    service s(options);
    s.add_sharded<endless>(false, &alive);
    REQUIRE(s.start([](reactor&) -> task<> { co_return; }).has_value());
    CHECK(alive.load() == 2);
    s.request_stop();
    const auto report = s.wait();
    CHECK_FALSE(report.clean());
    CHECK(alive.load() == 0);
    for (const auto& r : report.reactors) CHECK(r.live_frames == 0);
}

TEST_CASE("sharded: a start that does not end is stopped from another thread") {
    auto options = cores(2);
    options.drain_timeout = 1ms;
    options.cancel_timeout = 10ms;
    std::atomic<int> alive{0};
    service s(options);
    s.add_sharded<endless>(true, &alive);
    std::thread stopper([&] {
        while (alive.load() < 2) std::this_thread::sleep_for(1ms);
        s.request_stop();
    });
    const auto started = s.start([](reactor&) -> task<> { co_return; });
    stopper.join();
    CHECK(started.has_error());
    CHECK(alive.load() == 0);
}
