// SPDX-License-Identifier: Apache-2.0
#include "cancel/cell.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "runtime/reactor_io.hpp"

using namespace std::chrono_literals;

namespace sluice::testing {

namespace {

constexpr std::int64_t patience_ns = 10'000'000'000;  // for CQEs that are sure to come

//! Brings completions into the CQ and the stop before anyone has looked at them.
//!
//! A turn runs coroutines, then hooks, then one enter that is followed by the dispatch at once: so
//! a completion lies in the CQ unseen only if an enter comes before that one. This hook makes it:
//! it was registered after those of the streams, so all that coroutines of this turn have asked for
//! is submitted by now, and waits until the CQEs are there. With stop_first it requests the stop
//! then: what the stop submits goes out, and is answered, behind the completion that dispatch is
//! about to see. With completion_first it posts the stop: the dispatch of this turn wakes the
//! coroutine, and what was posted runs at the beginning of the next turn, before it resumes.
class stop_at_turn_end final : public detail::turn_end_hook {
public:
    stop_at_turn_end(stage& s, nursery& scope, unsigned cqes, phase p) noexcept
        : stage_(s), scope_(scope), cqes_(cqes), phase_(p) {}

    [[nodiscard]] bool done() const noexcept { return done_; }
    //! Whether the CQEs have come.
    [[nodiscard]] bool in_time() const noexcept { return in_time_; }

private:
    void at_turn_end() noexcept override {
        const std::int64_t begun = stage_.below().now();
        detail::ring& ring = stage_.home().io().rings();
        ring.enter(cqes_, begun + patience_ns, 0);
        in_time_ = ring.has_cqes() && stage_.below().now() - begun < patience_ns;
        if (phase_ == phase::stop_first) {
            scope_.request_stop();
            done_ = true;
        } else {
            stage_.home().post([this] {
                scope_.request_stop();
                done_ = true;
            });
        }
    }

    stage& stage_;
    nursery& scope_;
    unsigned cqes_;
    phase phase_;
    bool done_ = false;
    bool in_time_ = false;
};

struct attempt {
    result<void> outcome;
    bool ended = false;
};

task<> try_once(subject& what, attempt& a) {
    a.outcome = co_await what.operate();
    a.ended = true;
}

task<> under_way(stage& s, const subject& what) {
    co_await s.settle();
    CHECK(co_await s.until([&] { return what.begun(); }));
}

task<> race_at_the_kernel(stage& s, const row& r, phase p, subject& what, nursery& scope) {
    if (r.from == source::peer) {
        co_await s.settle();
        what.complete();
    }
    co_await yield();  // the operation, or the peer, was ready before, so it runs before this
    stop_at_turn_end hook(s, scope, r.steps, p);
    s.home().io().at_turn_end(hook);
    while (!hook.done()) co_await yield();
    CHECK(hook.in_time());
    if (r.from == source::self) what.complete();
}

task<> race_here(stage& s, const row& r, phase p, subject& what, nursery& scope) {
    if (r.from == source::here)
        co_await under_way(s, what);
    else
        co_await yield();
    if (p == phase::stop_first) {
        scope.request_stop();
        what.complete();
        co_return;
    }
    what.complete();
    for (unsigned i = 0; i < r.steps; ++i) co_await yield();
    scope.request_stop();
}

task<> race(stage& s, const row& r, phase p, subject& what, nursery& scope) {
    if (r.from == source::peer || r.from == source::self)
        co_await race_at_the_kernel(s, r, p, what, scope);
    else
        co_await race_here(s, r, p, what, scope);
}

}  // namespace

const char* name_of(phase p) noexcept {
    switch (p) {
        case phase::before_start: return "cancelled before it starts";
        case phase::before_with_result: return "cancelled before it starts, its result is there";
        case phase::in_flight: return "cancelled in flight";
        case phase::stop_first: return "completion unseen, then cancelled";
        case phase::completion_first: return "completion seen, then cancelled";
    }
    return "";
}

task<> stage::settle() {
    for (int i = 0; i < 3; ++i) static_cast<void>(co_await sleep_for(1ms));
}

listener_group stage::listen(const listen_options& options) {
    return listener_group::open_on(below_, endpoint::of("127.0.0.1", 0).value(), 1, options)
        .value();
}

task<connection_pair> stage::connected(bool narrow) {
    connection_pair made;
    {
        // Narrower still, and TCP's window could stay below a segment: probes alone would get
        // through.
        const listener_group group = listen({.receive_buffer = narrow ? 16 * 1024 : 0});
        tcp_listener listener = tcp_listener::open(home_, group, 0).value();
        auto connected = co_await tcp_stream::connect(group.local());
        made.stream = std::move(connected).value();
        auto accepted = co_await listener.accept();
        made.peer = std::move(accepted).value();
    }
    if (narrow) CHECK(made.stream.set_option(SOL_SOCKET, SO_SNDBUF, 4096));
    co_await settle();
    co_return made;
}

std::span<const std::byte> much() {
    static const std::vector<std::byte> bytes(std::size_t{1} << 20, std::byte{'m'});
    return bytes;
}

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

task<> say(tcp_stream& to, std::string text) {
    auto sent = co_await to.send_all(bytes_of(text));
    CHECK(sent.has_value());
}

task<std::string> hear(tcp_stream& from, std::size_t count) {
    std::string got(count, '\0');
    std::size_t size = 0;
    while (size < count) {
        const auto room = std::as_writable_bytes(std::span(got)).subspan(size);
        auto some = co_await with_timeout(10s, from.recv_into(room));
        CHECK(some.has_value());
        if (!some) break;
        size += *some;
    }
    got.resize(size);
    co_return got;
}

task<> hear_to_the_end(tcp_stream& from, std::string& into, bool& ended) {
    for (;;) {
        auto chunk = co_await from.recv();
        if (!chunk) break;
        into += chunk->text();
    }
    ended = true;
}

task<> play(stage& s, const row& r, phase p) {
    const std::unique_ptr<subject> what = r.make(s);
    co_await what->set_up(p);
    const ending expected = r.ends[static_cast<std::size_t>(p)];
    attempt tried;
    nursery scope(s.home(), {.policy = on_failure::collect});
    bool completes = false;
    if (p == phase::before_with_result) {
        what->complete();
        completes = true;
        co_await s.settle();
    }
    if (p == phase::before_start || p == phase::before_with_result) scope.request_stop();
    scope.spawn([&] { return try_once(*what, tried); });
    if (p == phase::in_flight) {
        co_await under_way(s, *what);
        if (s.strict && expected == ending::cancelled) CHECK_FALSE(tried.ended);
        scope.request_stop();
    } else if (p == phase::stop_first || p == phase::completion_first) {
        co_await race(s, r, p, *what, scope);
        completes = true;
    }
    if (expected == ending::cancelled)
        CHECK(co_await s.until([&] { return tried.ended; }));
    else
        co_await s.settle();
    if (!tried.ended && !completes) {
        what->complete();
        completes = true;
    }
    co_await scope.join();
    const bool cancelled = tried.outcome.has_error() && tried.outcome.error() == cancelled_error();
    if (s.strict && expected != ending::either) CHECK(cancelled == (expected == ending::cancelled));
    if (!completes) what->complete();
    co_await s.settle();
    co_await what->check(cancelled);
    co_await s.helpers().join();
}

}  // namespace sluice::testing
