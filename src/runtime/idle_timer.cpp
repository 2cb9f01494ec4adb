// SPDX-License-Identifier: Apache-2.0
#include "sluice/idle_timer.hpp"

#include "runtime/fatal.hpp"
#include "runtime/home_check.hpp"

namespace sluice {

idle_timer::~idle_timer() {
    if (home_ == nullptr) return;
    home_->timers().cancel(*this);
    if (guards_.next != &guards_ && !home_->abandoned())
        detail::fatal("an idle_timer of reactor %u was destroyed while it guards an await",
                      home_->index());
}

void idle_timer::enter(detail::guard_base& g, reactor& home) noexcept {
    if (home_ == nullptr) {
        home_ = &home;
        touched_ = home.now();
        restart();
    }
    detail::check_home(*home_, "an idle_timer");
    g.prev = guards_.prev;
    g.next = &guards_;
    guards_.prev->next = &g;
    guards_.prev = &g;
}

void idle_timer::leave(detail::guard_base& g) noexcept {
    g.prev->next = g.next;
    g.next->prev = g.prev;
    g.prev = g.next = &g;
}

void idle_timer::restart() noexcept {
    expired_ = false;
    const auto since = touched_ - home_->now();
    home_->timers().insert(*this, detail::deadline_after(*home_, since + limit_));
}

void idle_timer::on_timer() noexcept {
    if (home_->now() - touched_ < limit_) {
        restart();
        return;
    }
    expired_ = true;
    // A stop resumes no one, so none leaves the list meanwhile.
    for (detail::guard_link* l = guards_.next; l != &guards_; l = l->next)
        static_cast<detail::guard_base*>(l)->on_idle();
}

}  // namespace sluice
