// SPDX-License-Identifier: Apache-2.0
// The ways of writing an await that the interface invites. g++ 12 destroys temporaries of a
// co_await twice or never in some places: each pattern stands here with values that count. Built at
// several levels of optimisation.

#include <array>
#include <optional>
#include <string>

#include "support/counted.hpp"
#include "support/run.hpp"

using namespace std::chrono_literals;
using sluice::result;
using sluice::sleep_for;
using sluice::task;
using sluice::with_timeout;
using sluice::yield;
using sluice::testing::census;
using sluice::testing::counted;

namespace {

constexpr int items = 5;

//! A connection as an echo service sees one: chunks to take, until the end of the stream.
class stream {
public:
    stream(census& book, bool later) : book_(book), later_(later) {}

    task<result<counted>> recv() {
        if (later_) co_await yield();
        if (received_ == items) co_return sluice::error::eof;
        ++received_;
        co_return counted{book_, received_};
    }
    task<result<std::size_t>> send_all(counted chunk) {
        if (later_) co_await yield();
        sum_ += chunk.value();
        if (++sent_ == fail_at) co_return sluice::error::broken_send;
        co_return std::size_t{1};
    }
    task<std::optional<counted>> next() {
        if (later_) co_await yield();
        if (received_ == items) co_return std::nullopt;
        ++received_;
        co_return counted{book_, received_};
    }
    task<bool> more() {
        if (later_) co_await yield();
        co_return received_++ < items;
    }
    task<counted> make(int n) {
        if (later_) co_await yield();
        co_return counted{book_, n};
    }
    task<int> use(counted a, counted b) {
        if (later_) co_await yield();
        co_return a.value() * 10 + b.value();
    }
    [[nodiscard]] census& book() const noexcept { return book_; }

    int fail_at = 0;
    int sum_ = 0;
    int sent_ = 0;
    int received_ = 0;

private:
    census& book_;
    bool later_;
};

//! Runs a pattern with children that are ready and with children that are not.
template <class Pattern>
void check(Pattern pattern) {
    for (const bool later : {false, true}) {
        CAPTURE(later);
        census book;
        sluice::testing::run([&]() -> task<> {
            stream s{book, later};
            co_await pattern(s);
        });
        CHECK(book.made > 0);
        CHECK(book.made == book.destroyed);
        CHECK(book.wrong == 0);
    }
}

}  // namespace

TEST_CASE("await pattern: the echo server of the README") {
    for (const int fail_at : {0, 1, 3}) {
        CAPTURE(fail_at);
        check([fail_at](stream& s) -> task<> {
            s.fail_at = fail_at;
            while (auto chunk = co_await s.recv())
                if (auto sent = co_await s.send_all(std::move(*chunk)); !sent) break;
            CHECK(s.sent_ == (fail_at == 0 ? items : fail_at));
            CHECK(s.sum_ == s.sent_ * (s.sent_ + 1) / 2);
        });
    }
}

TEST_CASE("await pattern: while with a value that is looked at") {
    check([](stream& s) -> task<> {
        int sum = 0;
        while (auto chunk = co_await s.next()) sum += chunk->value();
        CHECK(sum == 15);
    });
}

TEST_CASE("await pattern: while with a continue, a break and a nested await") {
    check([](stream& s) -> task<> {
        int sum = 0;
        while (auto chunk = co_await s.recv()) {
            if (chunk->value() == 2) continue;
            if (chunk->value() == 4) break;
            const counted other = co_await s.make(10);
            sum += chunk->value() + other.value();
        }
        CHECK(sum == 24);
    });
}

TEST_CASE("await pattern: while on a bool") {
    check([](stream& s) -> task<> {
        int rounds = 0;
        while (co_await s.more()) {
            const counted here{s.book()};
            ++rounds;
        }
        CHECK(rounds == items);
    });
}

TEST_CASE("await pattern: if with an initialiser, both branches") {
    check([](stream& s) -> task<> {
        int seen = 0;
        if (auto chunk = co_await s.recv(); chunk)
            seen = chunk->value();
        else
            seen = -1;
        CHECK(seen == 1);
        if (auto chunk = co_await s.recv(); !chunk)
            seen = -1;
        else
            seen = chunk->value();
        CHECK(seen == 2);
        if (const auto chunk = co_await s.recv()) seen = chunk->value();
        CHECK(seen == 3);
    });
}

TEST_CASE("await pattern: the value straight out of the await") {
    check([](stream& s) -> task<> {
        const int first = (co_await s.recv()).value().value();
        CHECK(first == 1);
        const counted second = (co_await s.recv()).value();
        CHECK(second.value() == 2);
        counted third = *(co_await s.recv());
        CHECK(third.value() == 3);
        third = (co_await s.recv()).value();
        CHECK(third.value() == 4);
    });
}

TEST_CASE("await pattern: an exception of value() passes through") {
    check([](stream& s) -> task<> {
        s.received_ = items - 1;
        int caught = 0;
        try {
            for (;;) {
                const counted chunk = (co_await s.recv()).value();
                CHECK(chunk.value() == items);
            }
        } catch (const boost::system::system_error& e) {
            caught += e.code() == sluice::error::eof ? 1 : 0;
        }
        CHECK(caught == 1);
    });
}

TEST_CASE("await pattern: awaits as arguments of a call that is awaited") {
    check([](stream& s) -> task<> {
        const int both = co_await s.use(co_await s.make(3), co_await s.make(4));
        CHECK(both == 34);
        const int mixed = co_await s.use(counted{s.book(), 5}, co_await s.make(6));
        CHECK(mixed == 56);
        const auto sent = co_await s.send_all((co_await s.recv()).value());
        CHECK(sent.has_value());
    });
}

TEST_CASE("await pattern: in expressions, conditions and initialisers") {
    check([](stream& s) -> task<> {
        const int sum = (co_await s.make(1)).value() + (co_await s.make(2)).value();
        CHECK(sum == 3);
        const bool both = (co_await s.make(1)).value() == 1 && (co_await s.make(2)).value() == 2;
        CHECK(both);
        const int chosen = both ? (co_await s.make(3)).value() : (co_await s.make(4)).value();
        CHECK(chosen == 3);
        switch ((co_await s.make(5)).value()) {
            case 5: CHECK(true); break;
            default: CHECK(false);
        }
        for (int i = (co_await s.make(0)).value(); i < (co_await s.make(3)).value(); ++i)
            static_cast<void>(co_await s.make(i));
        std::string text = "text " + std::to_string((co_await s.make(6)).value());
        CHECK(text == "text 6");
    });
}

TEST_CASE("await pattern: returned, and returned from a try block") {
    check([](stream& s) -> task<> {
        const auto direct = [](stream& from) -> task<counted> { co_return co_await from.make(1); };
        const auto guarded = [](stream& from) -> task<result<counted>> {
            try {
                co_return co_await from.recv();
            } catch (...) {
                co_return sluice::error::truncated;
            }
        };
        const counted one = co_await direct(s);
        CHECK(one.value() == 1);
        const auto two = co_await guarded(s);
        REQUIRE(two.has_value());
        CHECK(two->value() == 1);
    });
}

TEST_CASE("await pattern: with_timeout around a call, in a condition and a loop") {
    check([](stream& s) -> task<> {
        while (auto chunk = co_await with_timeout(10s, s.recv()))
            if (auto sent = co_await with_timeout(10s, s.send_all(std::move(*chunk))); !sent) break;
        CHECK(s.sum_ == 15);
        if (auto late = co_await with_timeout(0s, sleep_for(10s)); !late)
            CHECK(late.error() == sluice::error::timeout);
        else
            CHECK(false);
    });
}

TEST_CASE("await pattern: a lambda that is called and awaited in one expression") {
    check([](stream& s) -> task<> {
        const counted captured{s.book(), 40};
        const int sum = co_await [&captured, &s](counted argument) -> task<int> {
            const counted more = co_await s.make(2);
            co_return captured.value() + argument.value() + more.value();
        }(counted{s.book(), 100});
        CHECK(sum == 142);
    });
}

TEST_CASE("await pattern: structured bindings and arrays") {
    check([](stream& s) -> task<> {
        const auto pair = [](stream& from) -> task<std::pair<counted, counted>> {
            counted a = co_await from.make(1);
            counted b = co_await from.make(2);
            co_return std::pair<counted, counted>{std::move(a), std::move(b)};
        };
        auto [a, b] = co_await pair(s);
        CHECK(a.value() + b.value() == 3);
        auto&& kept = co_await s.make(7);  // bound to a reference: lives as long as it
        co_await yield();
        CHECK(kept.value() == 7);
    });
}
