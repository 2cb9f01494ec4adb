// SPDX-License-Identifier: Apache-2.0
//! The provided buffers as a supply: what receives in copy mode draw on.
#pragma once

#include "net/provided_buffers.hpp"
#include "net/supply.hpp"

namespace sluice::detail {

class copy_supply final : public supply {
public:
    explicit copy_supply(net_context& net);

    void use(provided_buffers& buffers) noexcept {
        buffers_ = &buffers;
        set_source(buffers);
    }

private:
    [[nodiscard]] std::uint32_t room() const noexcept override { return buffers_->available(); }
    void want() noexcept override { buffers_->want(); }
    [[nodiscard]] bool heal() noexcept override { return false; }
    [[nodiscard]] bool grow() noexcept override { return false; }

    provided_buffers* buffers_ = nullptr;
};

}  // namespace sluice::detail
