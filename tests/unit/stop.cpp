// SPDX-License-Identifier: Apache-2.0
#include "sluice/stop.hpp"

#include <doctest/doctest.h>

#include <type_traits>

using sluice::stop_listener;
using sluice::stop_source;
using sluice::stop_token;

namespace {
class listener final : public stop_listener {
public:
    explicit listener(stop_source& source) : source_(source) {}
    void on_stop() noexcept override {
        ++told;
        requested_when_told = source_.stop_requested();
        source_.forget(*this);  // as a waiter does when it wakes
    }
    int told = 0;
    bool requested_when_told = false;

private:
    stop_source& source_;
};
}  // namespace

static_assert(!std::is_copy_constructible_v<stop_source>);
static_assert(!std::is_move_constructible_v<stop_source>);

TEST_CASE("stop_source: the place that listens is told once") {
    stop_source source;
    listener l(source);
    source.listen(l);
    CHECK_FALSE(source.stop_requested());
    source.request_stop();
    CHECK(source.stop_requested());
    CHECK(l.told == 1);
    CHECK(l.requested_when_told);
    source.request_stop();
    CHECK(l.told == 1);
}

TEST_CASE("stop_source: who has forgotten is not told") {
    stop_source source;
    listener first(source);
    listener second(source);
    source.listen(first);
    source.forget(first);
    source.listen(second);
    source.forget(first);  // not the one that listens: no effect
    source.request_stop();
    CHECK(first.told == 0);
    CHECK(second.told == 1);
    source.forget(second);
}

TEST_CASE("stop_source: a stop that came before is not reported, and nothing is kept of it") {
    stop_source source;
    source.request_stop();
    {
        listener late(source);
        source.listen(late);
        CHECK(late.told == 0);
    }
    source.request_stop();
    CHECK(source.stop_requested());
}

TEST_CASE("stop_token: sees the stop of its source, and none without a source") {
    stop_source source;
    const stop_token token(source);
    CHECK_FALSE(token.stop_requested());
    source.request_stop();
    CHECK(token.stop_requested());
    CHECK_FALSE(stop_token{}.stop_requested());
}
