// SPDX-License-Identifier: Apache-2.0
#include "sluice/reactor_local.hpp"

#include <chrono>
#include <string>

#include "support/run.hpp"

using sluice::reactor;
using sluice::sleep_for;
using sluice::task;
using sluice::detail::reactor_local;

namespace {

std::string events;

template <char Name>
class layer final : public reactor_local {
public:
    explicit layer(reactor& home) : home_(home) { events += Name; }
    ~layer() override {
        events += '~';
        events += Name;
    }
    void collect() noexcept override { ++collected; }
    [[nodiscard]] reactor& home() const noexcept { return home_; }
    int collected = 0;

private:
    reactor& home_;
};

}  // namespace

TEST_CASE("reactor_locals: one a reactor and type, made at first use, destroyed last first") {
    events.clear();
    {
        const auto home = sluice::testing::make_reactor();
        CHECK(events.empty());
        auto& a = home->locals().get<layer<'a'>>(*home);
        auto& b = home->locals().get<layer<'b'>>(*home);
        CHECK(&a == &home->locals().get<layer<'a'>>(*home));
        CHECK(&a.home() == home.get());
        CHECK(events == "ab");
        home->spawn([]() -> task<> {
            for (int i = 0; i < 5; ++i)
                static_cast<void>(co_await sleep_for(std::chrono::microseconds{1}));
        });
        home->run_until_idle();
        CHECK(a.collected >= 5);
        CHECK(a.collected == b.collected);
    }
    CHECK(events == "ab~b~a");
}
