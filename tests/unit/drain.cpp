// SPDX-License-Identifier: Apache-2.0
#include "sluice/drain.hpp"

#include <doctest/doctest.h>

#include <memory>

using sluice::detail::drain_list;
using sluice::detail::drain_listener;

namespace {
class listener final : public drain_listener {
public:
    explicit listener(int& told) : told_(told) {}
    void on_drain() noexcept override {
        ++told_;
        other.reset();
    }
    std::unique_ptr<listener> other;  // destroyed when this one is told

private:
    int& told_;
};
}  // namespace

TEST_CASE("drain_list: each listener that is there is told once") {
    drain_list list;
    int told = 0;
    listener a(told);
    listener b(told);
    list.add(a);
    list.add(b);
    {
        listener gone(told);
        list.add(gone);
    }
    list.notify_all();
    CHECK(told == 2);
    list.notify_all();
    CHECK(told == 2);
}

TEST_CASE("drain_list: a listener destroys another while they are told") {
    for (const bool victim_first : {false, true}) {
        CAPTURE(victim_first);
        drain_list list;
        int told = 0;
        int victim_told = 0;
        listener killer(told);
        killer.other = std::make_unique<listener>(victim_told);
        if (victim_first) list.add(*killer.other);
        list.add(killer);
        if (!victim_first) list.add(*killer.other);
        list.notify_all();
        CHECK(told == 1);
        CHECK(killer.other == nullptr);
        CHECK(victim_told <= 1);
    }
}
