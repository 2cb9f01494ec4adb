// SPDX-License-Identifier: Apache-2.0
#include "vm/zcrx.hpp"

namespace sluice::testing {

bool has_device_less_queues() {
    static const bool there = [] {
        reactor_options options = small_area(16);
        options.zcrx.mode = receive_mode::automatic;
        const auto home = make_reactor(options);
        home->spawn(
            [](reactor& r) -> task<> {
                const wire w = co_await make_wire();
                static_cast<void>(r);
            },
            std::ref(*home));
        home->run_until_idle();
        return zcrx_stats_of(*home).in_use;
    }();
    if (!there) report_skip("no device-less rx queues here: kernel 7.1 and CAP_NET_ADMIN");
    return there;
}

}  // namespace sluice::testing
