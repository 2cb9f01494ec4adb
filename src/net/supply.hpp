// SPDX-License-Identifier: Apache-2.0
//! The buffers of one kind that a reactor's receives draw on: what is done when they run short, and
//! the receives that wait for one.
#pragma once

#include <cstdint>
#include <string>

#include "net/ladder.hpp"
#include "net/recv_source.hpp"
#include "runtime/reactor_io.hpp"
#include "sluice/buffer.hpp"

namespace sluice::detail {

class net_context;

//! Base: what both kinds have in common.
class supply : private turn_end_hook {
public:
    supply(net_context& net, std::string name, const ladder_marks& marks)
        : net_(net), ladder_(std::move(name), marks) {}
    supply(const supply&) = delete;
    supply& operator=(const supply&) = delete;

    //! The buffers that are left have changed.
    void observe() noexcept {
        if (!ladder_.steady(source_->available(), source_->capacity())) cross();
    }

    //! Above the first mark small slices are copied, above the second one all are.
    [[nodiscard]] bool low() const noexcept { return ladder_.on(rung::small_copy); }
    [[nodiscard]] bool scarce() const noexcept { return ladder_.on(rung::full_copy); }
    [[nodiscard]] const buffer_source& source() const noexcept { return *source_; }
    [[nodiscard]] const ladder& rungs() const noexcept { return ladder_; }

    //! A receive ended for want of buffers; it is armed again when one is back.
    void starve(recv_source& s) noexcept;
    void forget(recv_source& s) noexcept;

    //! Buffers are back.
    void returned() noexcept;

    //! The reactor goes away.
    void unhook() noexcept;

protected:
    ~supply() = default;

    //! Receives that may be armed now.
    [[nodiscard]] virtual std::uint32_t room() const noexcept = 0;
    //! From now on buffers that come home from other threads wake the reactor.
    virtual void want() noexcept = 0;
    //! Makes buffers out of what is there. True: something has come of it, now or in the next turn.
    virtual bool heal() noexcept = 0;
    virtual bool grow() noexcept = 0;
    virtual void armed_again() noexcept {}
    virtual void recovered() noexcept {}

    //! There was no buffer, though no receive has ended for it: more are needed.
    void ran_out() noexcept;

    void set_source(buffer_source& s) noexcept { source_ = &s; }
    net_context& net_;
    ladder ladder_;

private:
    void cross() noexcept;
    void act_soon() noexcept;
    void at_turn_end() noexcept override;
    void arm_starved() noexcept;
    void receive_to_heap() noexcept;
    void settle_rungs() noexcept;

    buffer_source* source_ = nullptr;
    starved_list starved_;
    bool evacuation_due_ = false;
    bool growth_due_ = false;
};

}  // namespace sluice::detail
