// SPDX-License-Identifier: Apache-2.0
//! A keep-alive HTTP/1.1 server that says hello. Boost.Beast parses; sluice does the rest.
#include <array>
#include <chrono>
#include <string>
#include <string_view>

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <sluice/sluice.hpp>

#include "../common/command_line.hpp"

namespace {

namespace http = boost::beast::http;
using namespace sluice;

constexpr std::size_t longest_head = 16 * 1024;
constexpr std::size_t longest_body = 1024 * 1024;

struct request {
    http::verb method = http::verb::unknown;
    std::string target;
    std::size_t body_size = 0;
    bool keep_alive = false;
    http::status mistake = http::status::ok;  // what to answer instead
};

request parse(std::string_view head) {
    http::request_parser<http::empty_body> parser;
    parser.header_limit(longest_head);
    parser.body_limit(longest_body);
    boost::system::error_code error;
    parser.put(boost::asio::buffer(head), error);
    request r;
    if (error == http::error::body_limit)
        r.mistake = http::status::payload_too_large;
    else if (!parser.is_header_done())
        r.mistake = http::status::bad_request;
    if (r.mistake != http::status::ok) return r;
    r.method = parser.get().method();
    r.target = parser.get().target();
    r.keep_alive = parser.keep_alive();
    if (parser.chunked()) r.mistake = http::status::length_required;
    r.body_size = static_cast<std::size_t>(parser.content_length().value_or(0));
    return r;
}

std::string answer(const request& r) {
    http::status status = r.mistake;
    if (status == http::status::ok && r.method != http::verb::get && r.method != http::verb::head)
        status = http::status::method_not_allowed;
    if (status == http::status::ok && r.target != "/") status = http::status::not_found;
    const std::string body = status == http::status::ok
                                 ? "Hello, World!\n"
                                 : std::string(obsolete_reason(status)) + "\n";
    std::string text =
        "HTTP/1.1 " + std::to_string(static_cast<unsigned>(status)) + " " +
        std::string(obsolete_reason(status)) +
        "\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    if (status == http::status::method_not_allowed) text += "Allow: GET, HEAD\r\n";
    if (!r.keep_alive) text += "Connection: close\r\n";
    text += "\r\n";
    return r.method == http::verb::head ? text : text + body;
}

task<> talk(tcp_stream conn, std::chrono::milliseconds idle) {
    stream_reader reader(conn);
    for (bool more = true; more;) {
        if (reader.buffered() == 0) {  // between two requests is a good place to stop
            auto begun = co_await when_any(with_timeout(idle, reader.peek(1)), until_draining());
            if (begun.index != 0) break;
            if (!begun.get<0>()) co_return;  // the client has gone, or is idle
        }
        auto head = co_await with_timeout(idle, reader.recv_until("\r\n\r\n", longest_head));
        request r;
        if (head) {
            r = parse(head->to_string());
        } else if (head.error() == error::truncated && reader.buffered() >= longest_head) {
            r.mistake = http::status::request_header_fields_too_large;
        } else {
            co_return;
        }
        if (r.mistake != http::status::ok) r.keep_alive = false;
        if (r.keep_alive && r.body_size != 0) {
            auto body = co_await with_timeout(idle, reader.recv_exact(r.body_size));
            if (!body) co_return;
        }
        const std::string text = answer(r);
        auto sent = co_await with_timeout(idle, conn.send_all(std::as_bytes(std::span(text))));
        more = sent && r.keep_alive;
    }
    // The client may still be sending: a close now would reset the answer away.
    static_cast<void>(co_await conn.shutdown());
    std::array<std::byte, 4096> rest{};
    for (std::size_t read = 0; read < longest_body;) {
        const auto got = co_await with_timeout(std::chrono::seconds(1), conn.recv_into(rest));
        if (!got) break;
        read += *got;
    }
}

}  // namespace

int main(int argc, char** argv) {
    demo::command_line line("sluice-http-hello", "Says hello over HTTP/1.1 with keep-alive.", 8080);
    std::chrono::milliseconds idle{60'000};
    line.add_duration("--idle-timeout", idle,
                      "close a connection after so long without a request (60s)");
    if (const auto ends = line.parse(argc, argv)) return *ends;
    service cores(line.service());
    return demo::serve(line, cores,
                       [idle](tcp_stream conn) { return talk(std::move(conn), idle); });
}
