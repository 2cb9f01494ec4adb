// SPDX-License-Identifier: Apache-2.0
//! A server that works on several calls of a connection at a time, but not on too many, and gives
//! each its time and no more. Replies go out as they are ready, in any order.
#include <chrono>
#include <functional>

#include <sluice/sluice.hpp>

#include "../common/command_line.hpp"
#include "frame.hpp"

namespace {

using namespace sluice;
using std::chrono::milliseconds;

struct limits {
    std::size_t calls = 64;          // at a time, of one connection
    milliseconds call_time{1000};    // for one of them
    std::uint64_t hiccup_every = 0;  // of so many calls one is slow; 0: none
    milliseconds hiccup{100};
};

class server {
public:
    explicit server(const limits& given) : limits_(given) {}

    task<> connection(tcp_stream conn) {
        stream_reader reader(conn);
        // When reading ends, the calls that have begun are still answered; when sending fails, they
        // are cancelled.
        static_cast<void>(co_await with_nursery(
            nursery_options{.policy = on_failure::cancel_all, .max_children = limits_.calls},
            [&](nursery& calls) -> task<> {
                for (;;) {
                    auto next = co_await when_any(rpc::read_frame(reader), until_draining());
                    if (!next.has<0>()) co_return;
                    auto& request = next.get<0>();
                    if (!request || request->what != rpc::kind::echo) co_return;
                    // With all places taken this waits, and the client's sends with it.
                    auto begun = co_await calls.spawn_when_room(
                        [this, &conn](rpc::frame f) { return answer(conn, std::move(f)); },
                        std::move(*request));
                    if (!begun || next.index != 0) co_return;
                }
            }));
    }

private:
    task<result<void>> answer(tcp_stream& conn, rpc::frame request) {
        auto done = co_await with_timeout(limits_.call_time, work(request));
        const bool late = !done && done.error() == error::timeout;
        if (!done && !late) co_return done.error();
        const std::string reply = late ? rpc::encode(request.id, rpc::kind::timed_out, "")
                                       : rpc::encode(request.id, rpc::kind::reply, *done);
        auto sent = co_await conn.send_all(std::as_bytes(std::span(reply)));
        if (!sent) co_return sent.error();
        co_return result<void>{};
    }

    //! What a real service would do here.
    task<result<std::string>> work(rpc::frame& request) {
        const std::uint64_t number = calls_.fetch_add(1, std::memory_order_relaxed) + 1;
        if (limits_.hiccup_every != 0 && number % limits_.hiccup_every == 0) {
            auto slept = co_await sleep_for(limits_.hiccup);
            if (!slept) co_return slept.error();
        }
        co_return std::move(request.payload);
    }

    limits limits_;
    std::atomic<std::uint64_t> calls_{0};
};

}  // namespace

int main(int argc, char** argv) {
    demo::command_line line("sluice-rpc", "Answers calls of sluice-rpc-client.", 7781);
    limits given;
    CLI::App& app = line.app();
    app.add_option("--calls", given.calls, "at a time, of one connection")
        ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 20))
        ->capture_default_str();
    line.add_duration("--call-time", given.call_time, "that one call may take (1s)");
    app.add_option("--hiccup-every", given.hiccup_every,
                   "let one of so many calls be slow; 0: none");
    line.add_duration("--hiccup", given.hiccup, "how slow (100ms)");
    if (const auto ends = line.parse(argc, argv)) return *ends;
    service cores(line.service());
    server here(given);
    return demo::serve(line, cores,
                       [&](tcp_stream conn) { return here.connection(std::move(conn)); });
}
