// SPDX-License-Identifier: Apache-2.0
#include "sluice/task_dump.hpp"

#include <doctest/doctest.h>

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <future>
#include <source_location>
#include <string>

#include "runtime/source_name.hpp"
#include "sluice/cpu_set.hpp"
#include "sluice/draining.hpp"
#include "sluice/event.hpp"
#include "sluice/fiber.hpp"
#include "sluice/nursery.hpp"
#include "sluice/or_return.hpp"
#include "sluice/service.hpp"
#include "sluice/shielded.hpp"
#include "sluice/this_coro.hpp"
#include "sluice/timeout.hpp"
#include "sluice/when_all.hpp"
#include "sluice/when_any.hpp"
#include "support/child.hpp"
#include "support/run.hpp"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using testing::run;

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

// What the children are named by.
task<> sleeper(std::chrono::nanoseconds time, unsigned* line) {
    *line = std::source_location::current().line() + 1;
    static_cast<void>(co_await sleep_for(time));
}

task<> awaits_sleeper(unsigned* line, unsigned* own) {
    *own = std::source_location::current().line() + 1;
    co_await sleeper(1h + 5s, line);
}

task<result<void>> limited_body() { co_return co_await sleep_for(1h + 5s); }

task<> limited() { static_cast<void>(co_await with_timeout(2h + 5s, limited_body())); }

//! Until what has been spawned has come to where it waits.
task<> settle() {
    for (int i = 0; i < 20; ++i) co_await yield();
}

task<> stays_ready() { co_await yield(); }

TEST_CASE("task dump: a chain of awaits is a tree, with function, line, cause and time") {
    unsigned line = 0;
    unsigned own = 0;
    run([&](reactor& home) -> task<> {
        home.spawn(awaits_sleeper, &line, &own);
        co_await settle();
        static_cast<void>(co_await sleep_for(2ms));
        const task_dump dump = dump_tasks(home);
        home.request_stop();
        REQUIRE(dump.tasks.size() == 2);
        CHECK(dump.coroutines == 5);  // testing::run adds two
        const task_entry& outer = dump.tasks[1];
        CHECK(contains(outer.function, "awaits_sleeper"));
        CHECK(contains(outer.file, "task_dump.cpp"));
        CHECK(outer.line == own);
        CHECK(outer.waits_for == "a task");
        REQUIRE(outer.children.size() == 1);
        const task_entry& inner = outer.children[0];
        CHECK(contains(inner.function, "sleeper"));
        CHECK(inner.line == line);
        CHECK(contains(inner.waits_for, "sleep, 360"));
        CHECK(inner.waiting >= 1ms);
        CHECK(inner.waiting < 1min);
        CHECK(inner.children.empty());
    });
}

TEST_CASE("task dump: the coroutine that asks is shown as running, with the line it is at") {
    run([](reactor& home) -> task<> {
        co_await yield();
        const task_dump dump = dump_tasks(home);
        const task_entry* e = &dump.tasks.at(0);
        while (!e->children.empty()) e = &e->children[0];
        CHECK(e->waits_for == "nothing: it runs");
        CHECK(e->line != 0);
        CHECK(e->waiting == 0ns);
    });
}

TEST_CASE("task dump: a limit shows what it limits, with the time that is left") {
    run([](reactor& home) -> task<> {
        home.spawn(limited);
        co_await settle();
        const std::string text = dump_tasks(home).to_string();
        home.request_stop();
        INFO(text);
        CHECK(contains(text, "for a task, 720"));
        CHECK(contains(text, "limited_body"));
        CHECK(contains(text, "sleep, 360"));
    });
}

TEST_CASE(
    "task dump: a limit that has passed says that it waits for the end of what it cancelled") {
    event over;
    run([&over](reactor& home) -> task<> {
        home.spawn([&over]() -> task<> {
            static_cast<void>(co_await with_timeout(1ms, shielded(over.wait())));
        });
        co_await settle();
        static_cast<void>(co_await sleep_for(2ms));
        const std::string text = dump_tasks(home).to_string();
        over.set();
        INFO(text);
        CHECK(contains(text, ", cancelled"));
    });
}

TEST_CASE("task dump: combinators show what they combine") {
    event over;
    run([&over](reactor& home) -> task<> {
        home.spawn([]() -> task<> {
            static_cast<void>(co_await when_all(limited_body(), sleep_for(4h + 5s)));
        });
        home.spawn([]() -> task<> {
            static_cast<void>(co_await when_any(sleep_for(5h + 5s), until_draining()));
        });
        home.spawn([&over]() -> task<> {
            static_cast<void>(co_await shielded(with_timeout(6h + 5s, over.wait())));
        });
        home.spawn([]() -> task<result<void>> {
            co_await or_return(sleep_for(8h + 5s));
            co_return result<void>{};
        });
        co_await settle();
        const std::string text = dump_tasks(home).to_string();
        home.request_stop();
        over.set();
        INFO(text);
        CHECK(contains(text, "limited_body"));
        CHECK(contains(text, "sleep, 1440"));
        CHECK(contains(text, "sleep, 1800"));
        CHECK(contains(text, "drain"));
        CHECK(contains(text, ", 2160"));
        CHECK(contains(text, "sleep, 2880"));
        CHECK_FALSE(contains(text, "says nothing of itself"));
    });
}

namespace {
void deep_in_a_fiber(unsigned* line) {
    *line = std::source_location::current().line() + 1;
    fiber::await(sleep_for(9h + 5s));
}
}  // namespace

TEST_CASE("task dump: a fiber is shown with its name, and the place in which it awaits") {
    unsigned line = 0;
    run([&](reactor& home) -> task<> {
        fiber::spawn(home.root(), fiber_options{.name = "parser"}, deep_in_a_fiber, &line);
        co_await settle();
        const std::string text = dump_tasks(home).to_string();
        home.request_stop();
        INFO(text);
        CHECK(contains(text, "sleep, 3240"));
        CHECK(contains(text, "on fiber \"parser\", in sluice::"));
        CHECK(contains(text, "deep_in_a_fiber ("));
        CHECK(contains(text, "task_dump.cpp:" + std::to_string(line) + ")"));
    });
}

TEST_CASE("task dump: nurseries show their children, oldest first, wherever they hang") {
    run([](reactor& home) -> task<> {
        home.spawn([]() -> task<> {
            static_cast<void>(co_await with_nursery([](nursery& scope) -> task<> {
                scope.spawn(limited);
                scope.spawn([] { return sleep_for(3h + 5s); });
                co_await yield();
            }));
        });
        co_await settle();
        const task_dump dump = dump_tasks(home);
        const std::string text = dump.to_string();
        home.request_stop();
        INFO(text);
        CHECK(contains(text, "the 2 children of a nursery"));
        CHECK(contains(text, "sluice::with_nursery ("));
        REQUIRE(contains(text, "sleep, 1080"));
        CHECK(text.find("limited_body") < text.find("sleep, 1080"));
    });
}

TEST_CASE("task dump: what has not begun, what is ready, what was cancelled") {
    run([](reactor& home) -> task<> {
        home.spawn(limited);
        std::string text = dump_tasks(home).to_string();
        CHECK(contains(text, "(not started)"));
        CHECK(contains(text, "its first turn"));
        home.spawn(stays_ready);
        co_await yield();
        text = dump_tasks(home).to_string();
        CHECK(contains(text, "its turn"));
        co_await yield();
        home.request_stop();
        text = dump_tasks(home).to_string();
        INFO(text);
        CHECK(contains(text, "its turn, after sleep"));
    });
}

TEST_CASE("task dump: a nursery that nobody waits for is shown, once") {
    run([](reactor& home) -> task<> {
        nursery member(home, nursery_options{on_failure::collect});
        member.spawn(limited);
        co_await settle();
        const std::string text = dump_tasks(home).to_string();
        INFO(text);
        CHECK(contains(text, "limited_body"));
        CHECK(text.find("limited_body") == text.rfind("limited_body"));
        member.request_stop();
        co_await member.join();
    });
}

// Nothing but the base: the default of describe().
class silent final : public detail::waiter {
public:
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        wait(h, env);
        return true;
    }
    void await_resume() const noexcept {}
    void on_stop() noexcept override { wake(); }
};

TEST_CASE("task dump: an awaiter that does not describe itself is named by its type") {
    run([](reactor& home) -> task<> {
        home.spawn([]() -> task<> { co_await silent{}; });
        co_await settle();
        const std::string text = dump_tasks(home).to_string();
        home.request_stop();
        INFO(text);
        CHECK(contains(text, "silent"));
    });
}

task<> deep(unsigned levels) {
    if (levels != 0)
        co_await deep(levels - 1);
    else
        static_cast<void>(co_await sleep_for(1h));
}

TEST_CASE("task dump: limits of depth and number hold, and what they hide is counted") {
    run([](reactor& home) -> task<> {
        home.spawn(deep, 1000U);
        for (int i = 0; i < 20; ++i) home.spawn(limited);
        co_await settle();
        const task_dump shallow = dump_tasks(home, {.max_depth = 10});
        CHECK(shallow.omitted == 1);
        CHECK(contains(shallow.to_string(), "and 1 more"));
        const task_dump few = dump_tasks(home, {.max_coroutines = 5});
        CHECK(few.coroutines == 5);
        CHECK(few.omitted >= 19);
        home.request_stop();
    });
}

TEST_CASE("task dump: names of functions lose what the compiler has added") {
    using detail::short_function_name;
    CHECK(short_function_name("void n::s::member(n::s::member(int)::_ZN1n1s6memberEi.Frame*)") ==
          "n::s::member");
    CHECK(short_function_name("task n::s::member(int)") == "n::s::member");
    CHECK(short_function_name("void n::s::member(int)::<lambda()>::operator()(n::s::member(int)::"
                              "<lambda()>::_ZZN1n1s6memberEiENKUlvE_clEv.Frame*)") ==
          "n::s::member::<lambda>");
    CHECK(short_function_name("auto n::s::member(int)::(anonymous class)::operator()() const") ==
          "n::s::member::(anonymous class)");
    CHECK(short_function_name("void f(f(T)::_Z1fIiEvT_.Frame*) [with T = a (*)(int)]") == "f");
    CHECK(short_function_name("sluice::task<a<b, c> > n::g(int, long)") == "n::g");
    CHECK(short_function_name("main") == "main");
    CHECK(short_function_name("") == "");
    CHECK(short_function_name("n::s::run(int)::<lambda(n::nursery&)>") == "n::s::run::<lambda>");
    CHECK(short_function_name("task<> (anonymous namespace)::f(int)") ==
          "(anonymous namespace)::f");
    CHECK(short_function_name("void n::functor::operator()(int) const") ==
          "n::functor::operator()");
    // g++, for a lambda in a template that was given a lambda.
    CHECK(
        short_function_name("n::serve<n::run(n::run(r&)::_ZN1n3runE.Frame*)::<lambda(s)> >(l&, "
                            "n::run(n::run(r&)::_ZN1n3runE.Frame*)::<lambda(s)>)::<lambda(t&)>") ==
        "n::serve<n::run::<lambda> >::<lambda>");
    CHECK(short_function_name("))((").empty());
}

service_options two_reactors() {
    service_options o;
    const unsigned cpu = usable_cpus().front();
    o.cpus = {cpu, cpu};
    o.pin = false;
    return o;
}

TEST_CASE("task dump: a service gathers from all reactors, on any thread") {
    service running(two_reactors());
    REQUIRE(running.start([](reactor&) { return limited(); }));
    const auto wait_for_both = [&] {
        for (;;) {
            auto dumps = running.dump_tasks();
            if (dumps.size() == 2 && dumps[0].coroutines == 2 && dumps[1].coroutines == 2)
                return dumps;
        }
    };
    const auto dumps = wait_for_both();
    CHECK(dumps[0].reactor == 0);
    CHECK(dumps[1].reactor == 1);
    CHECK(contains(to_string(dumps), "limited_body"));
    // On a reactor's own thread too.
    auto inside = running.submit(1, [&]() -> task<std::string> {
        co_await yield();
        co_return to_string(running.dump_tasks());
    });
    const std::string text = inside.get();
    INFO(text);
    CHECK(contains(text, "reactor 0: "));
    CHECK(contains(text, "nothing: it runs"));
    running.request_stop();
    running.request_stop();
    CHECK(running.wait().clean());
}

TEST_CASE("task dump: a reactor that is stuck is reported, and does not hold up the dump") {
    service_options options = two_reactors();
    options.dump_timeout = 50ms;
    service running(options);
    std::promise<void> stuck;
    std::promise<void> go_on;
    REQUIRE(running.start([](reactor&) { return limited(); }));
    auto done = running.submit(1, [&]() -> task<> {
        stuck.set_value();
        go_on.get_future().wait();
        co_return;
    });
    stuck.get_future().wait();
    const auto dumps = running.dump_tasks();
    go_on.set_value();
    REQUIRE(dumps.size() == 2);
    CHECK_FALSE(dumps[1].answered);
    CHECK(contains(to_string(dumps), "reactor 1: no answer"));
    done.get();
    running.request_stop();
    running.request_stop();
    CHECK(running.wait().clean());
}

TEST_CASE("task dump: SIGQUIT writes it to standard error, and the service goes on") {
    const auto outcome = testing::in_child([] {
        service_options options = two_reactors();
        options.dump_on_sigquit = true;
        service running(options);
        const auto report = running.run([&](reactor& home) -> task<> {
            home.spawn([] { return limited(); });
            co_await settle();
            if (home.index() == 0) ::kill(::getpid(), SIGQUIT);
            // Ended by what stands for the service going on: time.
            static_cast<void>(co_await sleep_for(500ms));
            home.request_stop();
        });
        return report && report->clean() ? 0 : 1;
    });
    INFO(outcome.errors);
    CHECK(outcome.signal == 0);
    CHECK(outcome.exit_code == 0);
    CHECK(contains(outcome.errors, "reactor 0: "));
    CHECK(contains(outcome.errors, "reactor 1: "));
    CHECK(contains(outcome.errors, "limited_body"));
}

}  // namespace
}  // namespace sluice
