// SPDX-License-Identifier: Apache-2.0
#include "net/copy_supply.hpp"

#include "net/net_context.hpp"

namespace sluice::detail {

copy_supply::copy_supply(net_context& net)
    : supply(net, "reactor " + std::to_string(net.home().index()) + ", provided buffers",
             net.options().zcrx.marks) {}

}  // namespace sluice::detail
