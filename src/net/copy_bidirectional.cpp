// SPDX-License-Identifier: Apache-2.0
#include "sluice/copy_bidirectional.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sluice/event.hpp"
#include "sluice/idle_timer.hpp"
#include "sluice/timeout.hpp"
#include "sluice/when_all.hpp"

namespace sluice {

namespace {

using namespace std::chrono_literals;

//! Not an aggregate: g++ 12 copies those wrongly as parameters of coroutines.
class copy_plan : public copy_options {
public:
    explicit copy_plan(const copy_options& o) noexcept : copy_options(o) {}
};

//! Nothing is on its way to the peer, or the kernel does not say.
bool delivered(const tcp_stream& s) {
    const auto known = s.information();
    return !known || (known->unsent == 0 && known->unacknowledged == 0);
}

bool disconnected(const tcp_stream& s) {
    const auto known = s.information();
    return known && known->disconnected;
}

//! One direction.
struct way {
    enum class step { receiving, sending, ending, refused };

    way(tcp_stream& sender, tcp_stream& receiver, copied& report, std::uint64_t* sum) noexcept
        : from(sender), to(receiver), done(report), total(sum) {}

    void count(std::uint64_t bytes) noexcept {
        done.bytes += bytes;
        if (total != nullptr) *total += bytes;
    }

    //! Whether the end of the stream that comes from its receiver is none: Linux tells of a reset
    //! once, and when a send was told, a receive reads the end of the stream.
    [[nodiscard]] bool hides_a_reset() const {
        return at == step::refused || (at == step::sending && disconnected(to));
    }

    tcp_stream& from;
    tcp_stream& to;
    copied& done;
    std::uint64_t* total;  // null: nobody asks
    step at = step::receiving;
    event over;  // nothing more goes to the receiver
};

class exchange {
public:
    exchange(tcp_stream& a, tcp_stream& b, const copy_plan& plan) noexcept
        : plan_(plan),
          idle_(plan.idle_timeout > 0ns ? plan.idle_timeout : std::chrono::nanoseconds::max()),
          forth_(a, b, result_.a_to_b, plan.totals ? &plan.totals->a_to_b : nullptr),
          back_(b, a, result_.b_to_a, plan.totals ? &plan.totals->b_to_a : nullptr) {}
    exchange(const exchange&) = delete;
    exchange& operator=(const exchange&) = delete;
    ~exchange() {
        if (result_.in_order()) return;
        forth_.from.abort();
        forth_.to.abort();
    }

    task<> run() {
        auto there = carry(forth_, back_);
        auto back = carry(back_, forth_);
        auto both = when_all(std::move(there), std::move(back));
        static_cast<void>(co_await std::move(both));
        if (result_.in_order() || idle_.expired()) co_return;
        auto delivery = until_delivered();
        static_cast<void>(co_await with_deadline(deadline_, std::move(delivery)));
    }

    [[nodiscard]] const copy_result& outcome() const noexcept { return result_; }

private:
    //! One direction up to its end. The error that it gives cancels the other one.
    task<result<void>> carry(way& w, way& opposite) {
        auto ended = co_await copy(w, opposite);
        w.done.end = ended ? make_error_code(error::eof) : ended.error();
        w.over.set();
        if (ended) co_return ended;
        set_deadline(w.from.home());
        // What the receiver had sent before it failed is still to be delivered.
        if (w.at == way::step::refused)
            static_cast<void>(co_await with_deadline(deadline_, opposite.over.wait()));
        co_return ended;
    }

    task<result<void>> copy(way& w, const way& opposite) {
        for (;;) {
            buffer_chain batch;
            std::size_t bytes = 0;
            do {
                auto chunk = co_await idle_.guard(w.from.recv());
                if (!chunk && chunk.error() == error::eof) co_return co_await end(w, opposite);
                if (!chunk) co_return chunk.error();
                bytes += chunk->size();
                batch.append(std::move(*chunk));
            } while (w.from.pending() != 0 && bytes < plan_.max_bytes &&
                     batch.count() < plan_.max_leases);
            idle_.touch();
            w.at = way::step::sending;
            auto sent = co_await idle_.guard(w.to.send_all(std::move(batch)));
            w.at = sent ? way::step::receiving : way::step::refused;
            if (!sent) co_return sent.error();
            idle_.touch();
            w.count(*sent);
        }
    }

    task<result<void>> end(way& w, const way& opposite) {
        if (opposite.hides_a_reset()) co_return errno_error(ECONNRESET);
        w.at = way::step::ending;
        auto passed_on = co_await idle_.guard(w.to.shutdown());
        if (passed_on) co_return result<void>{};
        w.at = way::step::refused;
        co_return passed_on.error();
    }

    void set_deadline(reactor& home) noexcept {
        const std::chrono::nanoseconds latest{detail::deadline_after(home, plan_.linger)};
        deadline_ = std::min(deadline_, reactor::clock::time_point{latest});
    }

    //! Asks again and again: the kernel tells nobody when a peer has acknowledged.
    task<result<void>> until_delivered() {
        auto pause = 1ms;
        while (!delivered(forth_.from) || !delivered(forth_.to)) {
            auto slept = co_await sleep_for(pause);
            if (!slept) co_return slept;
            pause = std::min(2 * pause, 50ms);
        }
        co_return result<void>{};
    }

    copy_plan plan_;
    copy_result result_;
    idle_timer idle_;
    way forth_;
    way back_;
    reactor::clock::time_point deadline_ = reactor::clock::time_point::max();  // of all deliveries
};

task<copy_result> run_exchange(tcp_stream& a, tcp_stream& b, copy_plan plan) {
    exchange both(a, b, plan);
    co_await both.run();
    co_return both.outcome();
}

}  // namespace

task<copy_result> copy_bidirectional(tcp_stream& a, tcp_stream& b, const copy_options& options) {
    return run_exchange(a, b, copy_plan{options});
}

}  // namespace sluice
