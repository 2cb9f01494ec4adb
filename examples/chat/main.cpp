// SPDX-License-Identifier: Apache-2.0
//! A chat: what one client writes all others read, whichever core they are on.
#include <chrono>
#include <memory>
#include <string>

#include <sluice/sluice.hpp>

#include "../common/command_line.hpp"

namespace {

using namespace sluice;
using namespace std::chrono_literals;

constexpr std::size_t longest_line = 4096;
constexpr std::size_t lines_kept = 256;  // for a client that reads slowly
constexpr auto patience = 10s;           // with a client that takes nothing at all

//! One for all cores and clients: written once, then only read.
using line = std::shared_ptr<const std::string>;

line make_line(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

//! The clients of one core. A client that can't keep up loses the oldest lines.
class room {
public:
    subscription<line> enter() { return lines_.subscribe(); }
    auto say(const line& l) { return lines_.send(l); }

private:
    broadcast<line> lines_{{.capacity = lines_kept, .policy = on_overflow::lag}};
};

class chat {
public:
    explicit chat(sharded<room>& rooms) : rooms_(rooms) {}

    task<> client(tcp_stream conn) {
        stream_reader reader(conn);
        auto asked = co_await send(conn, "What is your name?\n");
        auto name = co_await with_timeout(60s, read_line(reader));
        if (!asked || !name || name->empty()) co_return;
        subscription<line> lines = rooms_.local().enter();
        static_cast<void>(co_await say("* " + *name + " has joined\n"));
        // The first to end, for whatever reason, ends the others.
        auto ended = co_await when_any(listen(reader, *name), tell(conn, lines), until_draining());
        if (ended.index == 2) static_cast<void>(co_await send(conn, "* the server stops\n"));
        static_cast<void>(co_await shielded(say("* " + *name + " has left\n")));
    }

private:
    task<result<void>> say(std::string text) {
        const line l = make_line(std::move(text));
        // Named first: g++ 12 destroys what a lambda in a co_await has captured twice.
        auto all_rooms = rooms_.invoke_on_all([l](room& r) { return r.say(l); });
        co_return co_await std::move(all_rooms);
    }

    task<result<void>> listen(stream_reader& reader, const std::string& name) {
        for (;;) {
            auto text = co_await read_line(reader);
            if (!text) co_return text.error();
            auto said = co_await say(name + ": " + *text + "\n");
            if (!said) co_return said.error();
        }
    }

    static task<result<void>> tell(tcp_stream& conn, subscription<line>& lines) {
        std::uint64_t lost = 0;
        for (;;) {
            auto next = co_await lines.recv();
            if (!next && next.error() != error::lagged) co_return next.error();
            const std::string missed =
                "* you missed " + std::to_string(lines.lost() - lost) + " lines\n";
            lost = lines.lost();
            auto sent = co_await send(conn, next ? **next : missed);
            if (!sent) co_return sent.error();
        }
    }

    static task<result<std::size_t>> send(tcp_stream& conn, const std::string& text) {
        co_return co_await with_timeout(patience, conn.send_all(std::as_bytes(std::span(text))));
    }

    static task<result<std::string>> read_line(stream_reader& reader) {
        auto bytes = co_await reader.recv_until("\n", longest_line);
        if (!bytes) co_return bytes.error();
        std::string text = bytes->to_string();
        text.erase(text.find_last_not_of("\r\n") + 1);
        co_return text;
    }

    sharded<room>& rooms_;
};

}  // namespace

int main(int argc, char** argv) {
    demo::command_line options("sluice-chat", "A chat for telnet: all clients, all cores.", 7780);
    if (const auto ends = options.parse(argc, argv)) return *ends;
    service cores(options.service());
    chat all(cores.add_sharded<room>());
    return demo::serve(options, cores,
                       [&](tcp_stream conn) { return all.client(std::move(conn)); });
}
