// SPDX-License-Identifier: Apache-2.0
//! A zero-copy rx queue: its registration with a ring, its areas, and the books of what it lends.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include <linux/io_uring/zcrx.h>

#include "runtime/reactor_io.hpp"
#include "sluice/buffer.hpp"
#include "sluice/zcrx_options.hpp"
#include "sluice/zcrx_stats.hpp"
#include "zcrx/area.hpp"
#include "zcrx/refill_queue.hpp"
#include "zcrx/single_writer.hpp"
#include "zcrx/support.hpp"

namespace sluice::detail {

//! Lends its chunks to connections of the reactor that registered it, the producer, and of those
//! that have imported it. The producer alone writes the refill queue and gets the events; what
//! others let go comes to it by the list of buffer_source. When it leaves, another one takes over.
class rx_queue final : public buffer_source, private turn_end_hook, private ring_notice {
public:
    //! A reactor whose ring knows the queue.
    struct user {
        reactor_io* io;
        const void* home;  // its frame pool
        std::uint32_t id;  // the queue's name in its ring
        user(reactor_io* i, const void* h, std::uint32_t n) noexcept : io(i), home(h), id(n) {}

        std::atomic<bool> wants{false};
        std::atomic<bool> news{false};  // chunks have gone back since it wanted some
    };

    //! Registers with the ring of `io`, whose reactor becomes the producer. On failure `why` says
    //! it in words, with the remedy.
    static result<rx_queue*> open(reactor_io& io, const zcrx_options& options, unsigned queue,
                                  std::string& why);

    //! Makes it possible to import the queue; by the producer. Kernel 6.19.
    result<void> export_queue() noexcept;

    //! The queue for another reactor's ring, by that reactor.
    result<user*> import(reactor_io& io, std::string& why);

    //! The reactor of `io` leaves, with or without slices alive. The queue ends with the last one
    //! that uses it and its last slice.
    void leave(reactor_io& io) noexcept;

    //! The producer as a user; to be asked by the one who has opened the queue.
    [[nodiscard]] user& opener() noexcept { return users_.front(); }
    //! Whether the kernel can copy into its areas what did not come by the queue.
    [[nodiscard]] bool takes_copies() const noexcept { return options_.dma_buf < 0; }
    [[nodiscard]] page_kind pages() const noexcept { return areas_[0].load()->memory().kind(); }

    //! Fills the SQE of a receive that may deliver `limit` bytes in all.
    static void prepare(io_uring_sqe& sqe, std::uint32_t id, int descriptor,
                        std::uint32_t limit) noexcept;

    //! The slice of a data CQE: one with IORING_CQE_F_MORE and `size` > 0. By the producer or a
    //! reactor that has imported the queue. The chunk is charged to `account`.
    rx_buffer take(std::uint64_t offset, std::uint32_t size, lease_account& account) noexcept {
        const std::uint64_t inside = offset & ~IORING_ZCRX_AREA_MASK;
        area& a = *areas_[offset >> IORING_ZCRX_AREA_SHIFT].load(std::memory_order_acquire);
        chunk& c = a.at(static_cast<std::uint32_t>(inside >> chunk_shift_));
        // The handle first: whoever sees the token then sees that the chunk is held.
        rx_buffer slice = rx_buffer::lend(c, a.data(inside), size);
        const bool alone = counts_alone();
        add(alone, delivered_, std::uint64_t{1});
        if (add(alone, c.tokens, 1U) == 0) {
            add(alone, shared_available(), -1U);
            account.charge();
            c.account.store(&account, std::memory_order_relaxed);
        }
        return slice;
    }

    //! What lies in the refill queue becomes usable at once, where the kernel can (6.19). False:
    //! there was nothing, or it cannot. By any user.
    bool flush(user& by) noexcept;

    //! What ends on other threads from now on wakes the producer, who gives it back. By any user.
    void hurry() noexcept { want_returns(); }

    //! `by`, who is not the producer, hears of the next chunks that go back.
    void want_from_afar(user& by) noexcept;

    // By the producer.

    //! Takes in what other threads have let go.
    void collect() noexcept;

    //! A receive starves: what other threads let go wakes the reactor.
    void want() noexcept;

    //! Adds an area, if the kernel can (7.3) and the limit allows. False: no.
    bool grow() noexcept;

    //! Events fire once; this lets them fire again.
    void rearm_events() noexcept;

    //! Whether a NIC has found no chunk since its event was armed. A receive does not end for that.
    [[nodiscard]] bool ran_dry() const noexcept;

    //! Told when chunks have gone back to the kernel, and when a NIC has found none.
    using returned_hook = void (*)(void* context) noexcept;
    void on_return(returned_hook hook, void* context) noexcept {
        hook_ = hook;
        context_ = context;
    }

    [[nodiscard]] const std::shared_ptr<fixed_region>& region_of(
        const buffer_block& b) const noexcept override;

    [[nodiscard]] bool is_producer(const reactor_io& io) const noexcept {
        return io_.load(std::memory_order_acquire) == &io;
    }
    [[nodiscard]] std::size_t area_bytes() const noexcept;  // of all areas
    [[nodiscard]] bool lends(const void* data, const void* block) const noexcept;
    [[nodiscard]] zcrx_stats snapshot() const noexcept;

private:
    static constexpr std::uint32_t most_areas = 64;

    explicit rx_queue(const zcrx_options& options) : options_(options) {}
    ~rx_queue() override;
    result<void> set_up(reactor_io& io, unsigned queue, std::string& why);
    [[nodiscard]] std::string why_unusable() const;  // empty: nothing is known against it
    result<void> register_queue(reactor_io& io, unsigned queue, area& first);
    bool hand_role_over(reactor_io& io) noexcept;
    void recycle(buffer_block& b) noexcept override;
    void wake_home() noexcept override;
    void at_turn_end() noexcept override;
    void on_notice(std::int32_t what) noexcept override;
    std::byte* data_of(const chunk& c) const noexcept;
    bool give_back(chunk& c) noexcept;
    // Nobody else counts in a queue that was never exported: then it takes no locked instruction.
    [[nodiscard]] bool counts_alone() const noexcept { return exported_ < 0; }
    // Returns what it was before.
    template <class T>
    static T add(bool alone, std::atomic<T>& count, T change) noexcept {
        if (!alone) return count.fetch_add(change, std::memory_order_acq_rel);
        const T before = count.load(std::memory_order_relaxed);
        count.store(before + change, std::memory_order_relaxed);
        return before;
    }
    bool make_room() noexcept;
    void publish() noexcept;
    bool add_area(area& a) noexcept;
    void tell_users() noexcept;
    static int control(const user& by, zcrx_ctrl& request) noexcept;
    int control(zcrx_ctrl& request) noexcept { return control(users_.front(), request); }

    zcrx_options options_;
    zcrx_support support_;
    std::uint32_t chunk_shift_ = 0;
    void* region_ = nullptr;
    std::size_t region_bytes_ = 0;
    kernel* kernel_ = nullptr;
    refill_queue refill_;
    std::array<std::atomic<area*>, most_areas> areas_{};  // owned; other reactors read it
    std::atomic<std::uint32_t> area_count_{0};

    std::atomic<reactor_io*> io_{nullptr};  // the producer's
    std::mutex users_mutex_;                // when reactors come and go
    std::list<user> users_;                 // the producer is the first
    int exported_ = -1;                     // set before another reactor knows the queue
    std::atomic<bool> shared_{false};       // has been imported
    std::atomic<bool> anyone_wants_{false};

    chunk* returning_ = nullptr;  // chunks without handles, to be written to the refill queue
    chunk* returning_last_ = nullptr;
    std::uint32_t fired_ = 0;  // events, by type, that have to be armed again
    returned_hook hook_ = nullptr;
    void* context_ = nullptr;

    std::atomic<std::uint64_t> delivered_{0};  // tokens
    std::atomic<std::uint64_t> flushes_{0};
    // Written by the producer; every user takes snapshots.
    single_writer_count returned_;
    single_writer_count publications_;
    single_writer_count deferrals_;
    single_writer_count alloc_fail_events_;
    single_writer_count copy_events_;
    single_writer_count areas_refused_;
};

}  // namespace sluice::detail
