// SPDX-License-Identifier: Apache-2.0
//! The reactors of a service as neighbours: queues between each two of them, and the end they
//! reach together.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/reactor_io.hpp"
#include "sluice/mesh_call.hpp"
#include "sluice/nursery.hpp"
#include "sluice/reactor.hpp"

namespace sluice::detail {

class mesh;

//! Calls from one reactor to another: a ring of pointers with one writer and one reader. What is
//! pushed is seen after publish(), which is called once a turn.
class mesh_queue {
public:
    //! `entries` is rounded up to a power of two.
    explicit mesh_queue(std::uint32_t entries);

    // The writer's.

    bool push(mesh_call& c) noexcept {
        if (written_ - known_head_ > mask_ && !reload()) return false;
        slots_[written_++ & mask_] = &c;
        return true;
    }
    void publish() noexcept { tail_.store(written_, std::memory_order_release); }

    // The reader's.

    //! Hands over what is published; returns how many.
    template <class Take>
    std::uint32_t take_all(Take&& take) noexcept {
        const std::uint32_t tail = tail_.load(std::memory_order_acquire);
        const std::uint32_t taken = tail - read_;
        if (taken == 0) return 0;
        while (read_ != tail) take(*slots_[read_++ & mask_]);
        head_.store(read_, std::memory_order_seq_cst);
        return taken;
    }
    //! Whether the writer has found it full since the last time.
    bool writer_waits() noexcept {
        return wants_room_.load(std::memory_order_seq_cst) &&
               wants_room_.exchange(false, std::memory_order_seq_cst);
    }

private:
    bool reload() noexcept;

    std::uint32_t mask_;
    std::unique_ptr<mesh_call*[]> slots_;
    alignas(64) std::atomic<std::uint32_t> tail_{0};
    std::uint32_t written_ = 0;
    std::uint32_t known_head_ = 0;
    alignas(64) std::atomic<std::uint32_t> head_{0};
    std::uint32_t read_ = 0;
    alignas(64) std::atomic<bool> wants_room_{false};
};

//! Tells when all reactors are quiet at the same time. A reactor that hears from another counts as
//! busy before the other, who waits for its answer, can become quiet; so none is missed.
class quiescence {
public:
    explicit quiescence(std::size_t reactors) noexcept : busy_(reactors) {}

    //! For good: once all were quiet nobody becomes busy again.
    [[nodiscard]] bool reached() const noexcept {
        return busy_.load(std::memory_order_seq_cst) == 0;
    }
    //! True: that was the last busy one.
    bool quiet() noexcept { return busy_.fetch_sub(1, std::memory_order_seq_cst) == 1; }
    //! False: too late.
    bool busy() noexcept;

private:
    std::atomic<std::size_t> busy_;
};

//! What a service does on each reactor before its work begins and after it has ended.
class mesh_lifecycle {
public:
    //! On the reactor's thread, when the work of all reactors has ended. Runs in the port's
    //! nursery, which no stop reaches before the hard deadline.
    virtual task<> go_down(reactor& home) = 0;
    //! On the reactor's thread, in place of the rest of go_down(): its coroutines were destroyed.
    virtual void destroyed(reactor& home) noexcept = 0;

protected:
    ~mesh_lifecycle() = default;
};

//! A reactor's place in the mesh. Used by its own thread, but for the bell, the inbox and the step.
class mesh_port final : public doorbell {
public:
    mesh_port(mesh& group, unsigned index);

    //! Before the reactors run, on the reactor's thread.
    void attach(reactor& home);
    void detach() noexcept;

    [[nodiscard]] mesh& group() const noexcept { return mesh_; }
    [[nodiscard]] nursery& work() noexcept { return *work_; }
    [[nodiscard]] bool going_down() const noexcept { return going_down_; }

    // Calls: see mesh_call.
    bool still_counts() noexcept;
    bool send(mesh_call& c) noexcept;
    void leave_line(mesh_call& c) noexcept;
    void stop(mesh_call& c) noexcept;
    void running(mesh_call& c, stop_source& work) noexcept;
    void finished(mesh_call& c) noexcept;

    // The loop.

    //! Takes in what the others have sent.
    void collect() noexcept {
        if (rung()) take_in();
    }
    //! Asked once a turn by a reactor that is to end as soon as there is nothing to do.
    bool finished() noexcept {
        const bool at_work = busy_working_ && home_->root().children() != 0;
        return (!at_work || going_down_) && end_reached();
    }

    //! The reactor resumes nobody any more: answers for all that runs here, and whatever comes.
    void halt() noexcept;
    //! After that: everything here has been destroyed. It stays, to answer, until all have ended.
    void leave() noexcept;
    [[nodiscard]] bool all_have_ended() const noexcept;

    // Steps that all reactors take together.

    //! This reactor has taken step `n`; tells the others.
    void step_taken(unsigned n) noexcept;
    [[nodiscard]] bool all_took(unsigned n) const noexcept;
    //! Awaits all_took(n). Not cancelled by a stop.
    class step_awaiter;

private:
    struct route {  // to another reactor
        mesh_queue* queue = nullptr;
        mesh_call* first_in_line = nullptr;
        mesh_call* last_in_line = nullptr;
        home_node* first_letter = nullptr;
        home_node* last_letter = nullptr;
        bool dirty = false;  // something to publish, or just a bell to ring
    };

    void publish() noexcept override;
    bool end_reached() noexcept;
    void take_in() noexcept;
    void take_letters() noexcept;
    void take_call(mesh_call& c) noexcept;
    void came_back(mesh_call& c) noexcept;
    void post_letter(unsigned to, mesh_letter& l) noexcept;
    void queue_up() noexcept;
    void mark(unsigned to) noexcept;
    void ring_all() noexcept;
    void unlink_running(mesh_call& c) noexcept;
    bool count(quiescence& q, bool& busy, bool quiet) noexcept;

    mesh& mesh_;
    unsigned index_;
    reactor* home_ = nullptr;
    reactor_io* io_ = nullptr;
    reactor_stats* stats_ = nullptr;
    std::unique_ptr<nursery> work_;
    std::vector<route> routes_;
    std::vector<unsigned> dirty_;
    std::size_t in_line_ = 0;
    mesh_call* running_ = nullptr;
    step_awaiter* step_waiter_ = nullptr;
    bool halted_ = false;
    bool busy_working_ = true;
    bool busy_ending_ = true;
    bool going_down_ = false;
    // For the others; set before they run.
    int ring_descriptor_ = -1;
    int wake_descriptor_ = -1;

    alignas(64) home_list inbox_;
    std::atomic<unsigned> step_{0};
};

//! All ports and queues of a service. Outlives its reactors.
class mesh {
public:
    mesh(std::size_t reactors, std::uint32_t call_queue, mesh_lifecycle* lifecycle);

    [[nodiscard]] unsigned size() const noexcept { return static_cast<unsigned>(ports_.size()); }
    [[nodiscard]] mesh_port& port(unsigned i) noexcept { return *ports_[i]; }
    [[nodiscard]] mesh_queue& queue(unsigned from, unsigned to) noexcept {
        return *queues_[from * ports_.size() + to];
    }

private:
    friend class mesh_port;
    std::vector<std::unique_ptr<mesh_port>> ports_;
    std::vector<std::unique_ptr<mesh_queue>> queues_;
    quiescence working_;  // until no reactor has work
    quiescence ending_;   // until none has anything
    mesh_lifecycle* lifecycle_;
};

class [[nodiscard]] mesh_port::step_awaiter final : public waiter {
public:
    step_awaiter(mesh_port& port, unsigned step) noexcept : port_(port), step_(step) {}
    bool await_ready() const noexcept { return port_.all_took(step_); }
    bool await_suspend(std::coroutine_handle<> h, const environment& env) noexcept {
        if (port_.all_took(step_)) return false;
        port_.step_waiter_ = this;
        wait(h, env);
        return true;
    }
    void await_resume() const noexcept {}
    void on_stop() noexcept override {}
    void describe(await_description& into) const override;

private:
    friend class mesh_port;
    mesh_port& port_;
    unsigned step_;
};

}  // namespace sluice::detail
