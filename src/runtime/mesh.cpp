// SPDX-License-Identifier: Apache-2.0
#include "runtime/mesh.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <bit>
#include <climits>
#include <stdexcept>

#include "sluice/task_dump.hpp"

namespace sluice::detail {

// --- mesh_queue

mesh_queue::mesh_queue(std::uint32_t entries)
    : mask_(std::bit_ceil(std::clamp(entries, 1U, 1U << 20U)) - 1),
      slots_(std::make_unique<mesh_call*[]>(std::size_t{mask_} + 1)) {}

// The flag is up before the last look, so that either this sees the room or the reader the flag.
bool mesh_queue::reload() noexcept {
    known_head_ = head_.load(std::memory_order_acquire);
    if (written_ - known_head_ <= mask_) return true;
    wants_room_.exchange(true, std::memory_order_seq_cst);
    known_head_ = head_.load(std::memory_order_seq_cst);
    return written_ - known_head_ <= mask_;
}

bool quiescence::busy() noexcept {
    std::size_t now = busy_.load(std::memory_order_seq_cst);
    while (now != 0)
        if (busy_.compare_exchange_weak(now, now + 1, std::memory_order_seq_cst)) return true;
    return false;
}

// --- mesh_call

bool mesh_call::send(unsigned target, std::coroutine_handle<> h, const environment& env) {
    from_ = env.home.port();
    if (from_ == nullptr)
        throw std::logic_error("sluice: this reactor belongs to no service with others");
    if (target >= from_->group().size()) throw std::out_of_range("sluice: no such reactor");
    target_ = target;
    if (!from_->still_counts()) {
        failure_ = error::draining;
        return false;
    }
    wait(h, env);
    return from_->send(*this);
}

void mesh_call::on_stop() noexcept {
    if (place_ != place::in_line) {
        from_->stop(*this);
        return;
    }
    leave_line();
    failure_ = cancelled_error();
    wake();
}

void mesh_call::describe(await_description& into) const {
    into.say(fmt::format("a call to reactor {}", target_));
    if (place_ == place::in_line) into.say(", in line for its queue");
}

void mesh_call::leave_line() noexcept { from_->leave_line(*this); }

// Without a port: it has halted in this very turn, and has answered already.
void mesh_call::running(stop_source& stop) noexcept {
    if (at_ != nullptr)
        at_->running(*this, stop);
    else
        stop.request_stop();
}
void mesh_call::finished() noexcept {
    if (at_ != nullptr) at_->finished(*this);
}

// --- remote_work

bool remote_work::await_suspend(std::coroutine_handle<> h, const environment& outer) {
    outer_ = &outer;
    env_.emplace(environment{outer.home, stop_});
    outer.stop.listen(*this);
    if (outer.stop.stop_requested()) stop_.request_stop();
    call_.running(stop_);
    return start(h, *env_);
}

void remote_work::await_resume() noexcept {
    outer_->stop.forget(*this);
    collect();
    call_.finished();
}

void remote_work::spawn(reactor& there, std::unique_ptr<remote_work> work) {
    struct child {
        std::unique_ptr<remote_work> work;
        remote_work& operator()() const noexcept { return *work; }
    };
    there.port()->work().spawn(child{std::move(work)});
}

// --- mesh_port

mesh_port::mesh_port(mesh& group, unsigned index) : mesh_(group), index_(index) {}

void mesh_port::attach(reactor& home) {
    home_ = &home;
    io_ = &home.io();
    stats_ = &io_->stats();
    work_ = std::make_unique<nursery>(home, nursery_options{on_failure::collect});
    routes_.resize(mesh_.size());
    dirty_.reserve(mesh_.size());
    for (unsigned i = 0; i < mesh_.size(); ++i) routes_[i].queue = &mesh_.queue(index_, i);
    ring_descriptor_ = io_->rings().descriptor();
    wake_descriptor_ = io_->wake_descriptor();
    io_->set_doorbell(this);
    home.set_port(this);
}

void mesh_port::detach() noexcept {
    work_.reset();
    io_->set_doorbell(nullptr);
    home_->set_port(nullptr);
}

bool mesh_port::send(mesh_call& c) noexcept {
    route& to = routes_[c.target_];
    if (to.first_in_line == nullptr && to.queue->push(c)) {
        c.place_ = mesh_call::place::away;
        c.owed_ = 1;
        ++home_->lent();
        ++stats_->messages_sent;
        mark(c.target_);
        return true;
    }
    ++stats_->call_queue_waits;
    c.place_ = mesh_call::place::in_line;
    c.next_ = nullptr;
    c.previous_ = to.last_in_line;
    (to.last_in_line != nullptr ? to.last_in_line->next_ : to.first_in_line) = &c;
    to.last_in_line = &c;
    ++in_line_;
    return true;
}

void mesh_port::leave_line(mesh_call& c) noexcept {
    route& to = routes_[c.target_];
    (c.previous_ != nullptr ? c.previous_->next_ : to.first_in_line) = c.next_;
    (c.next_ != nullptr ? c.next_->previous_ : to.last_in_line) = c.previous_;
    c.previous_ = c.next_ = nullptr;
    c.place_ = mesh_call::place::home;
    --in_line_;
}

// Moves from the lines into the queues what there is room for.
void mesh_port::queue_up() noexcept {
    if (in_line_ == 0 || halted_) return;
    for (unsigned i = 0; i < routes_.size(); ++i) {
        route& to = routes_[i];
        while (to.first_in_line != nullptr && to.queue->push(*to.first_in_line)) {
            mesh_call& c = *to.first_in_line;
            leave_line(c);
            c.place_ = mesh_call::place::away;
            c.owed_ = 1;
            ++home_->lent();
            ++stats_->messages_sent;
            mark(i);
        }
    }
}

void mesh_port::stop(mesh_call& c) noexcept {
    if (c.place_ != mesh_call::place::away || c.stop_sent_) return;
    c.stop_sent_ = true;
    c.stop_.what = mesh_letter::kind::stop;
    ++c.owed_;
    post_letter(c.target_, c.stop_);
}

void mesh_port::post_letter(unsigned to, mesh_letter& l) noexcept {
    route& r = routes_[to];
    l.next_home = r.first_letter;  // in the order of the list, the last one first
    r.first_letter = &l;
    if (r.last_letter == nullptr) r.last_letter = &l;
    ++stats_->messages_sent;
    mark(to);
}

void mesh_port::mark(unsigned to) noexcept {
    if (routes_[to].dirty) return;
    routes_[to].dirty = true;
    dirty_.push_back(to);
    publishes();
}

// Once a turn: all that goes to a neighbour becomes visible together, and it is woken once, if it
// sleeps.
void mesh_port::publish() noexcept {
    for (const unsigned i : dirty_) {
        route& to = routes_[i];
        mesh_port& there = mesh_.port(i);
        to.dirty = false;
        to.queue->publish();
        if (to.first_letter != nullptr) {
            there.inbox_.push_chain(*to.first_letter, *to.last_letter);
            to.first_letter = to.last_letter = nullptr;
        }
        if (!there.ring()) continue;
        ++stats_->wake_ups_sent;
        io_->wake_other(there.ring_descriptor_, there.wake_descriptor_);
    }
    dirty_.clear();
}

// At once, because the reactor may not enter its ring again.
void mesh_port::ring_all() noexcept {
    for (unsigned i = 0; i < mesh_.size(); ++i) {
        mesh_port& there = mesh_.port(i);
        if (i == index_ || !there.ring()) continue;
        ++stats_->wake_ups_sent;
        io_->below().wake(there.wake_descriptor_);
    }
}

void mesh_port::take_in() noexcept {
    answer_ring();
    // Letters first: a stop that is seen belongs to a call that is seen as well.
    take_letters();
    for (unsigned i = 0; i < mesh_.size(); ++i) {
        mesh_queue& from = mesh_.queue(i, index_);
        const auto taken = from.take_all([this](mesh_call& c) noexcept { take_call(c); });
        stats_->messages_received += taken;
        if (taken != 0 && from.writer_waits()) mark(i);
    }
    queue_up();
    if (step_waiter_ != nullptr && all_took(step_waiter_->step_))
        std::exchange(step_waiter_, nullptr)->wake();
}

void mesh_port::take_letters() noexcept {
    home_node* in_order = nullptr;
    for (home_node* n = inbox_.take_all(); n != nullptr;) {
        home_node* next = n->next_home;
        n->next_home = in_order;
        in_order = n;
        n = next;
    }
    while (in_order != nullptr) {
        auto& l = static_cast<mesh_letter&>(*in_order);
        in_order = in_order->next_home;
        mesh_call& c = l.call;
        ++stats_->messages_received;
        switch (l.what) {
            case mesh_letter::kind::reply:
            case mesh_letter::kind::stop_seen: came_back(c); break;
            case mesh_letter::kind::stop:
                c.stop_asked_ = true;
                if (c.work_ != nullptr) c.work_->request_stop();
                l.what = mesh_letter::kind::stop_seen;
                post_letter(c.from_->index_, l);
        }
    }
}

void mesh_port::came_back(mesh_call& c) noexcept {
    if (--c.owed_ != 0) return;
    c.place_ = mesh_call::place::home;
    --home_->lent();
    c.wake();
}

void mesh_port::take_call(mesh_call& c) noexcept {
    c.at_ = this;
    c.previous_ = nullptr;
    c.next_ = running_;
    if (running_ != nullptr) running_->previous_ = &c;
    running_ = &c;
    if (halted_ || c.stop_asked_) {
        if (halted_)
            c.failure_ = error::draining;
        else
            c.failure_ = cancelled_error();
        finished(c);
        return;
    }
    still_counts();  // before the call can have any effect
    c.begin(*home_);
}

// Counts as busy from here on, so that the others stay. False: they have ended.
bool mesh_port::still_counts() noexcept {
    if (halted_) return !all_have_ended();
    count(mesh_.working_, busy_working_, false);
    count(mesh_.ending_, busy_ending_, false);
    return busy_ending_;
}

void mesh_port::running(mesh_call& c, stop_source& work) noexcept {
    c.work_ = &work;
    if (c.stop_asked_) work.request_stop();
}

void mesh_port::unlink_running(mesh_call& c) noexcept {
    (c.previous_ != nullptr ? c.previous_->next_ : running_) = c.next_;
    if (c.next_ != nullptr) c.next_->previous_ = c.previous_;
}

void mesh_port::finished(mesh_call& c) noexcept {
    unlink_running(c);
    c.work_ = nullptr;
    c.at_ = nullptr;
    post_letter(c.from_->index_, c.reply_);
}

// --- the end

bool mesh_port::count(quiescence& q, bool& busy, bool quiet) noexcept {
    if (quiet && busy) {
        busy = false;
        if (q.quiet()) ring_all();
    } else if (!quiet && !busy) {
        busy = q.busy();
    }
    return quiet && q.reached();
}

bool mesh_port::end_reached() noexcept {
    const bool quiet =
        home_->root().children() == 0 && work_->children() == 0 && home_->queue().empty();
    if (!going_down_) {
        if (!count(mesh_.working_, busy_working_, quiet)) return false;
        going_down_ = true;
        if (mesh_.lifecycle_ != nullptr) {
            work_->spawn([this] { return mesh_.lifecycle_->go_down(*home_); });
            return false;
        }
    }
    return count(mesh_.ending_, busy_ending_, quiet && io_->live() == 0);
}

void mesh_port::halt() noexcept {
    halted_ = true;
    work_->request_stop();
    while (running_ != nullptr) {
        mesh_call& c = *running_;
        c.failure_ = cancelled_error();
        finished(c);
    }
}

void mesh_port::leave() noexcept {
    if (mesh_.lifecycle_ != nullptr) mesh_.lifecycle_->destroyed(*home_);
    step_waiter_ = nullptr;
    going_down_ = true;
    step_taken(UINT_MAX);
    count(mesh_.working_, busy_working_, true);
    count(mesh_.ending_, busy_ending_, true);
}

bool mesh_port::all_have_ended() const noexcept { return mesh_.ending_.reached(); }

void mesh_port::step_taken(unsigned n) noexcept {
    step_.store(n, std::memory_order_seq_cst);
    ring_all();
}

void mesh_port::step_awaiter::describe(await_description& into) const {
    into.say(fmt::format("the other reactors, to take step {}", step_));
}

bool mesh_port::all_took(unsigned n) const noexcept {
    for (unsigned i = 0; i < mesh_.size(); ++i)
        if (mesh_.port(i).step_.load(std::memory_order_seq_cst) < n) return false;
    return true;
}

// --- mesh

mesh::mesh(std::size_t reactors, std::uint32_t call_queue, mesh_lifecycle* lifecycle)
    : working_(reactors), ending_(reactors), lifecycle_(lifecycle) {
    for (std::size_t i = 0; i < reactors; ++i)
        ports_.push_back(std::make_unique<mesh_port>(*this, static_cast<unsigned>(i)));
    for (std::size_t i = 0; i < reactors * reactors; ++i)
        queues_.push_back(std::make_unique<mesh_queue>(call_queue));
}

}  // namespace sluice::detail
