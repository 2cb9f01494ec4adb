// SPDX-License-Identifier: Apache-2.0
//! A cache in memory that speaks a part of the Redis protocol. Each core owns a share of the keys;
//! a connection stays where it was accepted, and its commands go to the keys.
#include <chrono>
#include <string>

#include <sluice/sluice.hpp>

#include "../common/command_line.hpp"
#include "commands.hpp"

namespace {

using namespace sluice;

// Replies of a pipeline are sent together, so many bytes at a time.
constexpr std::size_t most_unsent = 64 * 1024;

task<result<std::size_t>> flush(tcp_stream& conn, std::string& replies) {
    auto sent = co_await conn.send_all(std::as_bytes(std::span(replies)));
    replies.clear();
    co_return sent;
}

// Until the last byte sent so far is answered, or a mistake is.
task<result<void>> answer_all(tcp_stream& conn, kv::command_parser& parser, kv::stores& all) {
    std::string replies;
    while (auto c = parser.next()) {
        auto reply = co_await kv::run(all, std::move(*c));
        if (!reply) co_return reply.error();
        replies += *reply;
        if (replies.size() < most_unsent) continue;
        auto sent = co_await flush(conn, replies);
        if (!sent) co_return sent.error();
    }
    if (!parser.mistake().empty())
        replies += kv::failure("ERR Protocol error: " + parser.mistake());
    auto sent = co_await flush(conn, replies);
    if (!sent) co_return sent.error();
    if (!parser.mistake().empty()) co_return errno_error(EPROTO);
    co_return result<void>{};
}

task<> client(tcp_stream conn, kv::stores& all) {
    kv::command_parser parser;
    for (;;) {
        auto next = co_await when_any(conn.recv(), until_draining());
        if (next.index != 0) co_return;  // between two commands is a good place to stop
        auto& chunk = next.get<0>();
        if (!chunk) co_return;
        parser.feed(chunk->text());
        chunk->reset();
        auto answered = co_await answer_all(conn, parser, all);
        if (!answered) co_return;
    }
}

}  // namespace

int main(int argc, char** argv) {
    demo::command_line options("sluice-kv", "A sharded cache with a part of the Redis protocol.",
                               6380);
    std::size_t megabytes = 1024;
    options.app()
        .add_option("--max-memory", megabytes, "of keys and values, in MiB, over all cores")
        ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 24))
        ->capture_default_str();
    if (const auto ends = options.parse(argc, argv)) return *ends;
    service cores(options.service());
    auto& all = cores.add_sharded<kv::store>(megabytes * 1024 * 1024 / cores.reactors());
    return demo::serve(options, cores,
                       [&](tcp_stream conn) { return client(std::move(conn), all); });
}
