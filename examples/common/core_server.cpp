// SPDX-License-Identifier: Apache-2.0
#include "core_server.hpp"

#include <cstdio>

namespace demo {

void core_server::fail(const std::string& why) {
    if (!failed_.exchange(true)) std::fprintf(stderr, "%s: %s\n", name_.c_str(), why.c_str());
    service_.request_stop();
}

void core_server::listens() {
    if (listening_.fetch_add(1, std::memory_order_relaxed) + 1 != service_.reactors()) return;
    std::printf("listening on %s with %u reactors\n",
                succession_.listeners().local().to_string().c_str(), service_.reactors());
    std::fflush(stdout);
}

}  // namespace demo
