// SPDX-License-Identifier: Apache-2.0
#include "sluice/metrics_server.hpp"

#include <spdlog/fmt/fmt.h>

#include <span>

#include "net/http_request.hpp"
#include "sluice/gather.hpp"
#include "sluice/this_coro.hpp"
#include "sluice/timeout.hpp"

namespace sluice {

namespace {

constexpr std::string_view text_format = "text/plain; version=0.0.4; charset=utf-8";
// How long a peer may take to close its side after the last answer.
constexpr std::chrono::seconds goodbye_limit{1};

std::string response(std::string_view status, std::string_view more_headers, std::string_view type,
                     std::string_view body, bool with_body, bool keep_alive) {
    return fmt::format("HTTP/1.1 {}\r\n{}Content-Type: {}\r\nContent-Length: {}\r\n{}\r\n{}",
                       status, more_headers, type, body.size(),
                       keep_alive ? "" : "Connection: close\r\n", with_body ? body : "");
}

std::string refusal(std::string_view status, std::string_view more_headers, bool with_body,
                    bool keep_alive) {
    return response(status, more_headers, "text/plain", fmt::format("{}\n", status), with_body,
                    keep_alive);
}

// Closing with unread bytes would reset the connection, and the last answer could be lost.
task<> say_goodbye(tcp_stream& conn) {
    auto shut = co_await conn.shutdown();
    if (!shut) co_return;
    reactor& home = co_await this_coro::reactor();
    const auto deadline = home.now() + goodbye_limit;
    for (;;) {
        auto rest = co_await with_deadline(deadline, conn.recv());
        if (!rest) co_return;
    }
}

}  // namespace

result<metrics_server> metrics_server::open(const endpoint& at, metrics_server_options options) {
    listen_options listening;
    listening.max_connections = options.max_connections;
    auto group = listener_group::open(at, 1, listening);
    if (!group) return group.error();
    return metrics_server{std::move(*group), options};
}

task<result<void>> metrics_server::serve(service& all) {
    reactor& home = co_await this_coro::reactor();
    auto listener = tcp_listener::open(home, listening_, 0);
    if (!listener) co_return listener.error();
    result<void> outcome;
    auto accept_loop = [&](nursery& connections) -> task<> {
        for (;;) {
            auto accepted = co_await listener->accept();
            if (!accepted) {
                if (accepted.error() != error::draining) outcome = accepted.error();
                break;
            }
            connections.spawn(
                [this, &all](tcp_stream conn) { return converse(std::move(conn), all); },
                std::move(*accepted));
        }
        connections.request_stop();  // a scraper keeps its connection for the next time
    };
    auto ended = co_await with_nursery(nursery_options{on_failure::collect}, accept_loop);
    co_return ended ? outcome : ended;
}

task<> metrics_server::converse(tcp_stream conn, service& all) {
    std::string received;
    for (;;) {
        const after what = co_await answer_one(conn, received, all);
        if (what == after::another) continue;
        if (what == after::last) co_await say_goodbye(conn);
        co_return;
    }
}

task<metrics_server::after> metrics_server::answer_one(tcp_stream& conn, std::string& received,
                                                       service& all) {
    reactor& home = co_await this_coro::reactor();
    const auto deadline = home.now() + options_.idle_timeout;
    auto head = detail::http_head_size(received);
    while (!head && received.size() <= options_.max_request_bytes) {
        auto more = co_await with_deadline(deadline, conn.recv());
        if (!more) co_return after::lost;
        received += more->text();
        head = detail::http_head_size(received);
    }
    std::string answer;
    bool again = false;
    if (!head || *head > options_.max_request_bytes) {
        answer = refusal("431 Request Header Fields Too Large", "", true, false);
    } else {
        const auto asked = detail::parse_http_request(std::string_view(received).substr(0, *head));
        const bool with_body = asked.method != "HEAD";
        again = asked.good && asked.keep_alive;
        if (!asked.good) {
            answer = refusal("400 Bad Request", "", true, false);
        } else if (asked.path != "/metrics") {
            answer = refusal("404 Not Found", "", with_body, again);
        } else if (asked.method != "GET" && asked.method != "HEAD") {
            answer = refusal("405 Method Not Allowed", "Allow: GET, HEAD\r\n", true, again);
        } else {
            const std::string body = co_await scrape(all);
            answer = response("200 OK", "", text_format, body, with_body, again);
        }
        received.erase(0, *head);
    }
    auto sent = co_await with_timeout(options_.idle_timeout,
                                      conn.send_all(std::as_bytes(std::span(answer))));
    if (!sent) co_return after::lost;
    co_return again ? after::another : after::last;
}

task<std::string> metrics_server::scrape(service& all) {
    auto answers = co_await gather(all, metrics_of, options_.answer_timeout);
    last_.resize(all.reactors());
    for (unsigned i = 0; i < last_.size(); ++i) {
        const bool answered = answers && (*answers)[i];
        if (answered) last_[i] = *(*answers)[i];
        last_[i].reactor = i;
        last_[i].current = answered;
    }
    std::string text;
    write_prometheus(last_, text);
    for (const metric_registry* m : more_) m->write(text);
    co_return text;
}

}  // namespace sluice
