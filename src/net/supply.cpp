// SPDX-License-Identifier: Apache-2.0
#include "net/supply.hpp"

#include <utility>

#include "net/net_context.hpp"

namespace sluice::detail {

void supply::starve(recv_source& s) noexcept {
    starved_.push(s);
    ladder_.enter(rung::heal);
    want();
    act_soon();  // one may have come back meanwhile
}

void supply::forget(recv_source& s) noexcept {
    starved_.remove(s);
    settle_rungs();
}

void supply::returned() noexcept {
    observe();
    if (!starved_.empty() || ladder_.on(rung::heap)) act_soon();
}

void supply::act_soon() noexcept { net_.io().at_turn_end(*this); }

void supply::unhook() noexcept { net_.io().forget(*this); }

void supply::cross() noexcept {
    const bool evacuated = ladder_.on(rung::evacuate);
    ladder_.observe(source_->available(), source_->capacity());
    if (evacuated || !ladder_.on(rung::evacuate)) return;
    evacuation_due_ = true;  // once: what comes while the rung is in use is copied at delivery
    act_soon();
}

void supply::ran_out() noexcept {
    growth_due_ = true;
    act_soon();
}

void supply::at_turn_end() noexcept {
    if (std::exchange(growth_due_, false) && grow()) ladder_.enter(rung::grow);
    const bool moved =
        (evacuation_due_ || (!starved_.empty() && room() == 0)) && net_.evacuate(*source_) != 0;
    evacuation_due_ = false;
    if (starved_.empty()) {
        settle_rungs();
        return;
    }
    if (room() == 0 && !heal()) {
        if (moved && room() == 0) {
            act_soon();  // what has moved is back in the next turn
            return;
        }
        if (room() == 0 && grow()) ladder_.enter(rung::grow);
    }
    arm_starved();
    if (!starved_.empty()) {
        if (room() != 0)
            act_soon();
        else
            receive_to_heap();
    }
    settle_rungs();
}

// In the order in which they ended, no more at a time than there are buffers. Those that find no
// bytes take none, so the next ones follow in the next turn for as long as there are buffers.
void supply::arm_starved() noexcept {
    for (std::uint32_t n = room(); n != 0 && !starved_.empty(); --n) {
        recv_source& s = starved_.front();
        starved_.remove(s);
        armed_again();
        s.rearm_starved();
    }
}

// Coroutines hold all buffers, and may hold them until these very bytes have arrived.
void supply::receive_to_heap() noexcept {
    if (net_.options().heap_receive_size == 0 || net_.home().abandoned()) return;
    while (!starved_.empty()) {
        recv_source& s = starved_.front();
        if (s.unreadable() || !s.receive_to_heap()) return;  // a buffer has to come back
        ladder_.enter(rung::heap);
        starved_.remove(s);
    }
}

void supply::settle_rungs() noexcept {
    const bool starving = !starved_.empty();
    ladder_.set(rung::close_window, starving && room() == 0);
    if (starving) return;
    ladder_.leave(rung::heal);
    if (room() != 0) ladder_.leave(rung::heap);
    recovered();
}

}  // namespace sluice::detail
