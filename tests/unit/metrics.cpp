// SPDX-License-Identifier: Apache-2.0
#include "sluice/metrics.hpp"

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <future>
#include <limits>
#include <string>

#include "loopback/plain_socket.hpp"
#include "net/http_request.hpp"
#include "sluice/cpu_set.hpp"
#include "sluice/gather.hpp"
#include "sluice/metric_registry.hpp"
#include "sluice/metrics_server.hpp"
#include "sluice/nursery.hpp"
#include "support/allocation_count.hpp"
#include "support/run.hpp"
#include "support/skip.hpp"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using testing::plain_socket;
using testing::run;

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

// --- registry

TEST_CASE("metrics: a registry writes counters, gauges and histograms by reactor") {
    metric_registry own(2);
    counter& requests = own.add_counter("app_requests_total", "Requests.", {{"method", "GET"}});
    counter& posts = own.add_counter("app_requests_total", "Requests.", {{"method", "PO\"ST"}});
    gauge& depth = own.add_gauge("app_depth", "Depth,\nin \\ lines.");
    histogram& latency = own.add_histogram("app_latency_seconds", "Latency.", {0.25, 1});
    testing::run_options second;
    second.index = 1;
    run(
        [&](reactor& home) -> task<> {
            requests.add(home);
            requests.add(home, 4);
            posts.add(home);
            depth.set(home, 2.5);
            depth.add(home, -1);
            for (const double v : {0.25, 0.26, 1.0, 7.0}) latency.observe(home, v);
            co_return;
        },
        second);
    std::string text;
    own.write(text);
    CHECK(text == "# HELP app_requests_total Requests.\n"
                  "# TYPE app_requests_total counter\n"
                  "app_requests_total{method=\"GET\",reactor=\"0\"} 0\n"
                  "app_requests_total{method=\"GET\",reactor=\"1\"} 5\n"
                  "app_requests_total{method=\"PO\\\"ST\",reactor=\"0\"} 0\n"
                  "app_requests_total{method=\"PO\\\"ST\",reactor=\"1\"} 1\n"
                  "# HELP app_depth Depth,\\nin \\\\ lines.\n"
                  "# TYPE app_depth gauge\n"
                  "app_depth{reactor=\"0\"} 0\n"
                  "app_depth{reactor=\"1\"} 1.5\n"
                  "# HELP app_latency_seconds Latency.\n"
                  "# TYPE app_latency_seconds histogram\n"
                  "app_latency_seconds_bucket{reactor=\"0\",le=\"0.25\"} 0\n"
                  "app_latency_seconds_bucket{reactor=\"0\",le=\"1\"} 0\n"
                  "app_latency_seconds_bucket{reactor=\"0\",le=\"+Inf\"} 0\n"
                  "app_latency_seconds_sum{reactor=\"0\"} 0\n"
                  "app_latency_seconds_count{reactor=\"0\"} 0\n"
                  "app_latency_seconds_bucket{reactor=\"1\",le=\"0.25\"} 1\n"
                  "app_latency_seconds_bucket{reactor=\"1\",le=\"1\"} 3\n"
                  "app_latency_seconds_bucket{reactor=\"1\",le=\"+Inf\"} 4\n"
                  "app_latency_seconds_sum{reactor=\"1\"} 8.51\n"
                  "app_latency_seconds_count{reactor=\"1\"} 4\n");
}

TEST_CASE("metrics: counting allocates nothing") {
    metric_registry own(1);
    counter& n = own.add_counter("a_total", "A.");
    histogram& h = own.add_histogram("b_seconds", "B.", {1, 2, 3});
    run([&](reactor& home) -> task<> {
        const auto before = testing::allocations();
        for (int i = 0; i < 100; ++i) {
            n.add(home);
            h.observe(home, i);
        }
        CHECK(testing::allocations() == before);
        co_return;
    });
    CHECK(n.value(0) == 100);
    CHECK(h.count(0, 3) == 96);
}

TEST_CASE("metrics: a registry refuses what Prometheus would") {
    metric_registry own(1);
    own.add_counter("a_total", "A.");
    own.add_histogram("h_bytes", "H.", {1, 2});
    const auto refused = [&](auto add) { CHECK_THROWS_AS(add(), std::invalid_argument); };
    refused([&] { own.add_counter("a_total", "A."); });
    refused([&] { own.add_counter("a", "A."); });
    refused([&] { own.add_gauge("b_total", "B."); });
    refused([&] { own.add_gauge("a_total", "B.", {{"x", "y"}}); });
    refused([&] { own.add_gauge("1b", "B."); });
    refused([&] { own.add_gauge("b-c", "B."); });
    refused([&] { own.add_gauge("", "B."); });
    refused([&] { own.add_gauge("b", ""); });
    refused([&] { own.add_gauge("sluice_b", "B."); });
    refused([&] { own.add_gauge("b", "B.", {{"reactor", "0"}}); });
    refused([&] { own.add_gauge("b", "B.", {{"a:b", "0"}}); });
    refused([&] { own.add_gauge("b", "B.", {{"__a", "0"}}); });
    refused([&] { own.add_histogram("h", "H.", {2, 1}); });
    refused([&] { own.add_histogram("h", "H.", {std::numeric_limits<double>::infinity()}); });
    refused([&] { own.add_histogram("h_bytes", "H.", {1, 3}, {{"x", "y"}}); });
    std::string text;
    own.write(text);
    CHECK_FALSE(contains(text, "# TYPE b "));
    CHECK_FALSE(contains(text, "# TYPE h "));
}

// --- gather

service_options two_reactors() {
    service_options o;
    const unsigned cpu = usable_cpus().front();
    o.cpus = {cpu, cpu};
    o.pin = false;
    return o;
}

task<> until_stopped() { static_cast<void>(co_await sleep_for(1h)); }

void stop(service& running) {
    running.request_stop();
    running.request_stop();
    CHECK(running.wait().clean());
}

TEST_CASE("gather: asks every reactor, on its own thread") {
    service running(two_reactors());
    REQUIRE(running.start([](reactor&) { return until_stopped(); }));
    auto asked = running.submit(1, [&]() -> task<std::vector<std::optional<int>>> {
        auto all = co_await gather(
            running, [](reactor& r) { return &r == reactor::current() ? int(r.index()) : -1; },
            10s);
        co_return all.value();
    });
    const auto answers = asked.get();
    REQUIRE(answers.size() == 2);
    CHECK(answers[0] == 0);
    CHECK(answers[1] == 1);
    stop(running);
}

TEST_CASE("gather: a stuck reactor is missing after the limit, its late answer is thrown away") {
    service running(two_reactors());
    REQUIRE(running.start([](reactor&) { return until_stopped(); }));
    std::promise<void> stuck;
    std::promise<void> go_on;
    auto blocking = running.submit(1, [&]() -> task<> {
        stuck.set_value();
        go_on.get_future().wait();
        co_return;
    });
    stuck.get_future().wait();
    auto asked = running.submit(0, [&]() -> task<std::vector<std::optional<unsigned>>> {
        auto all = co_await gather(
            running, [](reactor& r) { return r.index(); }, 20ms);
        co_return all.value();
    });
    const auto answers = asked.get();
    CHECK(answers[0] == 0U);
    CHECK_FALSE(answers[1].has_value());
    go_on.set_value();
    blocking.get();
    // The late answer has arrived when a question asked afterwards has been answered.
    auto again = running.submit(0, [&]() -> task<std::vector<std::optional<unsigned>>> {
        auto all = co_await gather(
            running, [](reactor& r) { return r.index(); }, 10s);
        co_return all.value();
    });
    CHECK(again.get()[1] == 1U);
    stop(running);
}

TEST_CASE("gather: cancelled before it starts, and in flight") {
    service running(two_reactors());
    REQUIRE(running.start([](reactor&) { return until_stopped(); }));
    std::promise<void> stuck;
    std::promise<void> go_on;
    auto blocking = running.submit(1, [&]() -> task<> {
        stuck.set_value();
        go_on.get_future().wait();
        co_return;
    });
    stuck.get_future().wait();
    auto asked = running.submit(0, [&]() -> task<bool> {
        boost::system::error_code in_flight;
        boost::system::error_code before;
        auto body = [&](nursery& scope) -> task<> {
            scope.spawn([&]() -> task<> {
                auto all = co_await gather(
                    running, [](reactor&) { return 1; }, 1h);
                if (!all) in_flight = all.error();
                auto more = co_await gather(
                    running, [](reactor&) { return 1; }, 1h);
                if (!more) before = more.error();
            });
            static_cast<void>(co_await sleep_for(1ms));
            scope.request_stop();
        };
        static_cast<void>(co_await with_nursery(body));
        co_return in_flight == cancelled_error() && before == cancelled_error();
    });
    CHECK(asked.get());
    go_on.set_value();
    blocking.get();
    stop(running);
}

// --- the endpoint

using detail::parse_http_request;

TEST_CASE("metrics server: requests are read as RFC 9112 says") {
    CHECK_FALSE(detail::http_head_size("GET / HTTP/1.1\r\nHost: a\r\n").has_value());
    CHECK(detail::http_head_size("GET / HTTP/1.0\r\n\r\nmore") == 18);
    const auto plain = parse_http_request("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(plain.good);
    CHECK(plain.method == "GET");
    CHECK(plain.path == "/metrics");
    CHECK(plain.keep_alive);
    CHECK_FALSE(parse_http_request("GET / HTTP/1.1\r\n\r\n").good);  // no Host
    CHECK(parse_http_request("GET / HTTP/1.0\r\n\r\n").good);
    CHECK_FALSE(parse_http_request("GET / HTTP/1.0\r\n\r\n").keep_alive);
    CHECK_FALSE(parse_http_request("GET / HTTP/2\r\nHost: a\r\n\r\n").good);
    CHECK_FALSE(parse_http_request("GET  / HTTP/1.1\r\nHost: a\r\n\r\n").good);
    CHECK_FALSE(parse_http_request("GET http/1.1\r\nHost: a\r\n\r\n").good);
    CHECK_FALSE(parse_http_request("GET / HTTP/1.1\r\nHost : a\r\n\r\n").good);
    CHECK_FALSE(parse_http_request("GET / HTTP/1.1\r\nno colon\r\n\r\n").good);
    CHECK_FALSE(parse_http_request("\r\n\r\n").good);
    CHECK_FALSE(
        parse_http_request("GET / HTTP/1.1\r\nhOST:a\r\nConnection: x, Close\r\n\r\n").keep_alive);
    CHECK_FALSE(
        parse_http_request("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").keep_alive);
    CHECK(parse_http_request("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").keep_alive);
}

//! A service of two reactors, the first of which serves metrics.
class scraped_service {
public:
    explicit scraped_service(metrics_server_options options = {})
        : server(metrics_server::open(*endpoint::of("127.0.0.1", 0), options).value()),
          running(two_reactors()),
          own(2),
          calls(own.add_counter("app_calls_total", "Calls.")) {
        server.add(own);
        auto started = running.start([this](reactor& home) -> task<> {
            calls.add(home, 10 + home.index());
            if (home.index() != 0) co_return;
            auto served = co_await server.serve(running);
            CHECK(served.has_value());
        });
        REQUIRE(started.has_value());
        // Behind co_main in the queue: it has counted when these have run.
        for (unsigned i = 0; i < 2; ++i) running.submit(i, []() -> task<> { co_return; }).get();
    }
    ~scraped_service() {
        running.request_stop();
        CHECK(running.wait().clean());
    }

    metrics_server server;
    service running;
    metric_registry own;
    counter& calls;
};

// One response with a Content-Length, or without body when it is one to HEAD.
std::string read_response(plain_socket& from, bool with_body = true) {
    std::string text;
    while (!contains(text, "\r\n\r\n")) {
        const std::string more = from.recv_text(1);
        if (more.empty()) return text;
        text += more;
    }
    const std::string field = "Content-Length: ";
    const std::size_t length = std::stoul(text.substr(text.find(field) + field.size()));
    for (std::size_t i = 0; with_body && i < length;) {
        const std::string more = from.recv_text(length - i);
        if (more.empty()) break;
        i += more.size();
        text += more;
    }
    return text;
}

std::string ask(plain_socket& connection, const std::string& request, bool with_body = true) {
    REQUIRE(connection.send(request));
    return read_response(connection, with_body);
}

const std::string get_metrics = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";

TEST_CASE("metrics server: a scrape on one reactor has the values of all, and the program's own") {
    scraped_service scraped;
    auto connection = plain_socket::connect(scraped.server.local());
    const std::string text = ask(connection, get_metrics);
    INFO(text);
    CHECK(text.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(contains(text, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    for (const char* reactor : {"0", "1"}) {
        const std::string label = std::string("{reactor=\"") + reactor + "\"} ";
        CHECK(contains(text, "\nsluice_turns_total" + label));
        CHECK(contains(text, "\nsluice_reactor_current" + label + "1\n"));
        CHECK(contains(text, "\nsluice_held_buffers" + label));
    }
    CHECK(contains(text, "\nsluice_open_connections{reactor=\"0\"} 1\n"));
    CHECK(contains(text, "\nsluice_open_connections{reactor=\"1\"} 0\n"));
    CHECK(contains(text, "\napp_calls_total{reactor=\"0\"} 10\n"));
    CHECK(contains(text, "\napp_calls_total{reactor=\"1\"} 11\n"));
    // The connection is good for more; two requests may come at once.
    REQUIRE(connection.send(get_metrics + get_metrics));
    CHECK(read_response(connection).starts_with("HTTP/1.1 200"));
    CHECK(read_response(connection).starts_with("HTTP/1.1 200"));
    // HEAD has the headers alone.
    const std::string head = ask(connection, "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", false);
    CHECK(head.starts_with("HTTP/1.1 200"));
    CHECK(head.ends_with("\r\n\r\n"));
}

TEST_CASE("metrics server: what is no scrape is answered by the right status") {
    scraped_service scraped({.max_request_bytes = 200});
    const auto once = [&](const std::string& request) {
        auto connection = plain_socket::connect(scraped.server.local());
        return ask(connection, request);
    };
    CHECK(once("GET / HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 404 "));
    CHECK(once("BREW /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
              .starts_with("HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n"));
    CHECK(once("nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    CHECK(
        once("GET /metrics HTTP/1.1\r\nX: " + std::string(5000, 'x')).starts_with("HTTP/1.1 431 "));
    // After "close" and after a body nothing follows.
    for (const char* last : {"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                             "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
                             "GET /metrics HTTP/1.0\r\n\r\n"}) {
        auto connection = plain_socket::connect(scraped.server.local());
        const std::string text = ask(connection, last);
        CHECK(contains(text, "Connection: close\r\n"));
        CHECK(connection.recv_text(1).empty());
    }
}

TEST_CASE("metrics server: the last values of a stuck reactor are sent, and marked") {
    scraped_service scraped({.answer_timeout = 20ms});
    auto connection = plain_socket::connect(scraped.server.local());
    const std::string before = ask(connection, get_metrics);
    std::promise<void> stuck;
    std::promise<void> go_on;
    auto blocking = scraped.running.submit(1, [&]() -> task<> {
        stuck.set_value();
        go_on.get_future().wait();
        co_return;
    });
    stuck.get_future().wait();
    const std::string text = ask(connection, get_metrics);
    go_on.set_value();
    blocking.get();
    CHECK(contains(text, "\nsluice_reactor_current{reactor=\"0\"} 1\n"));
    CHECK(contains(text, "\nsluice_reactor_current{reactor=\"1\"} 0\n"));
    const auto turns = [](const std::string& t) {
        const std::string name = "\nsluice_turns_total{reactor=\"1\"} ";
        const auto at = t.find(name) + name.size();
        return t.substr(at, t.find('\n', at) - at);
    };
    CHECK(turns(text) == turns(before));
}

TEST_CASE("metrics server: promtool finds nothing to say") {
    const char* configured = std::getenv("SLUICE_PROMTOOL");
    const std::string tool = configured != nullptr ? configured : "promtool";
    const std::string probe = tool + " --version >/dev/null 2>&1";
    if (std::system(probe.c_str()) != 0) {
        testing::report_skip("promtool (Debian package prometheus) is not to be had here");
        return;
    }
    scraped_service scraped;
    histogram& h = scraped.own.add_histogram("app_wait_seconds", "Waits.", {0.001, 0.01, 0.1});
    static_cast<void>(h);
    scraped.own.add_gauge("app_ratio", "A ratio.", {{"kind", "a \"b\" \\ c\nd"}});
    auto connection = plain_socket::connect(scraped.server.local());
    const std::string text = ask(connection, get_metrics);
    const std::string body = text.substr(text.find("\r\n\r\n") + 4);
    FILE* checked = ::popen((tool + " check metrics 2>&1 >/dev/null").c_str(), "w");
    REQUIRE(checked != nullptr);
    std::fwrite(body.data(), 1, body.size(), checked);
    CHECK(::pclose(checked) == 0);  // 3: it has complaints
}

}  // namespace
}  // namespace sluice
