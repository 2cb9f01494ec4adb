// SPDX-License-Identifier: Apache-2.0
//! What the net layer keeps for a reactor: its buffers, its connections, its counters.
#pragma once

#include <cstdint>
#include <memory>

#include "net/connection.hpp"
#include "net/copy_supply.hpp"
#include "net/held_sends.hpp"
#include "net/provided_buffers.hpp"
#include "net/queue_owners.hpp"
#include "net/recv_source.hpp"
#include "net/zc_supply.hpp"
#include "runtime/reactor_io.hpp"
#include "sluice/net_stats.hpp"
#include "sluice/reactor.hpp"
#include "sluice/reactor_local.hpp"
#include "sluice/timer.hpp"

namespace sluice::detail {

class net_context final : public reactor_local {
public:
    //! Throws boost::system::system_error when the buffers can't be had, or not the rx queue that
    //! receive_mode::zc demands.
    explicit net_context(reactor& home);
    ~net_context() override;

    //! Made at the first call. Error: why there are no buffers.
    static result<net_context*> of(reactor& home);

    [[nodiscard]] reactor& home() const noexcept { return home_; }
    [[nodiscard]] reactor_io& io() const noexcept { return io_; }
    [[nodiscard]] kernel& below() const noexcept { return io_.below(); }
    [[nodiscard]] const reactor_options& options() const noexcept { return home_.options(); }
    [[nodiscard]] provided_buffers& buffers() noexcept { return *buffers_; }
    [[nodiscard]] supply& copies() noexcept { return copies_; }
    //! Null: this reactor has no rx queue.
    [[nodiscard]] zc_supply* zero_copy() noexcept { return zero_copy_.get(); }
    //! The rx queue is taken, and will be asked for again.
    [[nodiscard]] bool asks_again() const noexcept { return retry_.armed(); }
    //! Whether connections of this mode receive without copies.
    [[nodiscard]] bool zero_copy_for(receive_mode mode) const noexcept;
    //! EOPNOTSUPP: they must, and there is no rx queue.
    [[nodiscard]] result<void> allows(receive_mode mode) const noexcept;
    [[nodiscard]] queue_owners& owners() noexcept { return owners_; }
    [[nodiscard]] held_sends& held() noexcept { return held_; }
    [[nodiscard]] net_stats& stats() noexcept { return stats_; }
    [[nodiscard]] net_stats snapshot() noexcept;

    [[nodiscard]] bool has_receive_limit() const noexcept { return receive_limit_; }
    //! Whether descriptors are indices of the ring's own table.
    [[nodiscard]] bool fixed() const noexcept { return fixed_; }
    //! Of the ring's own table, less the connections there are.
    [[nodiscard]] std::int64_t free_slots() const noexcept {
        return std::int64_t{slots_} - static_cast<std::int64_t>(stats_.open);
    }
    [[nodiscard]] std::uint8_t descriptor_flags() const noexcept {
        return fixed_ ? IOSQE_FIXED_FILE : 0;
    }
    //! Buffers of one kind or the other are below their first mark.
    [[nodiscard]] bool running_short() const noexcept {
        return copies_.low() || (zero_copy_ != nullptr && zero_copy_->low());
    }

    //! Moves slices that `source` has lent and nobody has taken yet to the heap; returns how many.
    std::size_t evacuate(const buffer_source& source) noexcept;

    void add(connection& c) noexcept;
    void remove(connection& c) noexcept;
    void moved_out(connection& c) noexcept;

    //! From a foreign thread: the handle of `c` died there.
    void drop_away(connection& c) noexcept;

    void collect() noexcept override;
    void on_stop() noexcept override;
    [[nodiscard]] bool lends(const void* data, const void* block) const noexcept override {
        return buffers_->lends(data, block) ||
               (zero_copy_ != nullptr && zero_copy_->queue().lends(data, block));
    }

private:
    void unlink(connection& c) noexcept;
    void close_dropped() noexcept;
    void ask_later() noexcept;
    void ask_again() noexcept;
    void climb() noexcept;
    result<void> register_table();

    reactor& home_;
    reactor_io& io_;
    net_stats stats_;
    held_sends held_{*this};
    queue_owners owners_;
    bool receive_limit_;
    bool fixed_ = false;
    std::uint32_t slots_ = 0;
    provided_buffers* buffers_ = nullptr;  // deletes itself, see buffer_source
    copy_supply copies_;
    std::unique_ptr<zc_supply> zero_copy_;
    //! Asks again for an rx queue that was taken.
    struct retry_timer final : timer_node {
        explicit retry_timer(net_context& n) noexcept : net(n) {}
        void on_timer() noexcept override { net.ask_again(); }
        net_context& net;
    } retry_{*this};
    std::uint32_t asked_ = 0;  // times
    connection* connections_ = nullptr;
    home_list dropped_;
};

}  // namespace sluice::detail
