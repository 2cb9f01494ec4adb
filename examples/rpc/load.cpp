// SPDX-License-Identifier: Apache-2.0
//! Calls a sluice-rpc server: many calls at a time over one connection, each with a limit to its
//! time and tried again when it was too slow. Every reply is checked.
#include <chrono>
#include <cstdio>

#include <sluice/sluice.hpp>

#include "../common/command_line.hpp"
#include "client.hpp"

namespace {

using namespace sluice;
using std::chrono::milliseconds;

struct plan {
    std::uint64_t calls = 10'000;
    std::size_t at_a_time = 64;
    milliseconds timeout{50};
    unsigned attempts = 5;
    std::size_t payload = 64;
};

struct outcome {
    std::uint64_t right = 0;
    std::uint64_t wrong = 0;
    std::uint64_t failed = 0;
    std::uint64_t timeouts = 0;
    std::uint64_t late = 0;
    boost::system::error_code error;  // the last one
};

class caller {
public:
    caller(const plan& given, const endpoint& server) : plan_(given), server_(server) {}

    task<> run(reactor& home) {
        auto conn = co_await tcp_stream::connect(server_);
        if (!conn) {
            outcome_.error = conn.error();
            co_return;
        }
        rpc::client peer(home, std::move(*conn));
        auto ended = co_await with_nursery(
            nursery_options{.policy = on_failure::collect, .max_children = plan_.at_a_time},
            [&](nursery& calls) -> task<> {
                for (std::uint64_t i = 0; i < plan_.calls; ++i) {
                    auto begun = co_await calls.spawn_when_room(
                        [this, &peer](std::uint64_t n) { return call(peer, n); }, i);
                    if (!begun) co_return;
                }
            });
        static_cast<void>(ended);
        co_await shielded(peer.stop());
        outcome_.late = peer.late();
    }

    [[nodiscard]] const outcome& result() const noexcept { return outcome_; }

private:
    task<> call(rpc::client& peer, std::uint64_t n) {
        std::string text = std::to_string(n) + ":";
        text.resize(std::max(text.size(), plan_.payload), static_cast<char>('a' + n % 26));
        retry_policy policy;
        policy.max_attempts = plan_.attempts;
        policy.first_pause = milliseconds(5);
        auto reply = co_await retry(policy, [&] { return attempt(peer, text); });
        if (!reply) {
            ++outcome_.failed;
            outcome_.error = reply.error();
        } else {
            ++(*reply == text ? outcome_.right : outcome_.wrong);
        }
    }

    task<sluice::result<std::string>> attempt(rpc::client& peer, const std::string& text) {
        auto reply = co_await peer.call(text, plan_.timeout);
        if (!reply && reply.error() == error::timeout) ++outcome_.timeouts;
        co_return reply;
    }

    plan plan_;
    endpoint server_;
    outcome outcome_;
};

}  // namespace

int main(int argc, char** argv) {
    demo::command_line line("sluice-rpc-client",
                            "Calls a sluice-rpc server and checks its replies.", 7781);
    plan given;
    CLI::App& app = line.app();
    app.add_option("--calls", given.calls, "how many")->capture_default_str();
    app.add_option("--at-a-time", given.at_a_time, "calls under way")
        ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 20))
        ->capture_default_str();
    app.add_option("--payload", given.payload, "bytes of a call")
        ->check(CLI::Range(std::size_t{1}, rpc::longest_payload))
        ->capture_default_str();
    app.add_option("--attempts", given.attempts, "for each call")
        ->check(CLI::Range(1U, 1000U))
        ->capture_default_str();
    line.add_duration("--timeout", given.timeout, "of an attempt (50ms)");
    if (const auto ends = line.parse(argc, argv)) return *ends;

    service_options how = line.service();
    how.cpus = {how.cpus.empty() ? usable_cpus().front() : how.cpus.front()};  // one is enough
    service core(how);
    caller all(given, line.address());
    const auto report = core.run([&](reactor& home) { return all.run(home); });
    if (!report) return line.fail(explain_ring_error(report.error()));
    const outcome& o = all.result();
    std::printf(
        "calls %llu | right %llu | wrong %llu | failed %llu | timeouts %llu | late replies "
        "thrown away %llu\n",
        static_cast<unsigned long long>(given.calls), static_cast<unsigned long long>(o.right),
        static_cast<unsigned long long>(o.wrong), static_cast<unsigned long long>(o.failed),
        static_cast<unsigned long long>(o.timeouts), static_cast<unsigned long long>(o.late));
    if (o.error) return line.fail(o.error.message());
    return report->clean() && o.right == given.calls ? EXIT_SUCCESS : EXIT_FAILURE;
}
