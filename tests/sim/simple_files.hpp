// SPDX-License-Identifier: Apache-2.0
//! Files of the simulated process that are neither sockets nor rings.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "sim/sim_file.hpp"

namespace sluice::sim {

//! eventfd(2), as far as waking goes.
class event_counter final : public sim_file {
public:
    using sim_file::sim_file;
    [[nodiscard]] std::string describe() const override { return "wake counter"; }
    [[nodiscard]] bool ready(interest what) const override {
        return what == interest::input && count_ != 0;
    }

    void add(std::uint64_t n) {
        count_ += n;
        notify(interest::input);
    }
    //! Sets it to zero; 0 means that a read would wait.
    std::uint64_t take() noexcept { return std::exchange(count_, 0); }

private:
    std::uint64_t count_ = 0;
};

//! Something that only takes up a descriptor.
class placeholder final : public sim_file {
public:
    using sim_file::sim_file;
    [[nodiscard]] std::string describe() const override { return "reserve"; }
};

}  // namespace sluice::sim
