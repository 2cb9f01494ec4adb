// SPDX-License-Identifier: Apache-2.0
//! How what dies on a foreign thread comes back to its reactor: without locks, limits or failure.
#pragma once

#include <atomic>
#include <cstdint>

namespace sluice::detail {

//! The link, inside the dead object itself.
struct home_node {
    home_node* next_home = nullptr;
};

//! Multi-producer list; one consumer, the owner, takes all at once. Order is not kept.
class home_list {
public:
    //! From any thread. Returns whether the list was empty, that is: whether to wake the owner.
    bool push(home_node& n) noexcept {
        home_node* head = head_.load(std::memory_order_relaxed);
        do n.next_home = head;
        while (!head_.compare_exchange_weak(head, &n, std::memory_order_seq_cst,
                                            std::memory_order_relaxed));
        return head == nullptr;
    }

    //! The same for several at once: a chain from `first` to `last`, linked through next_home.
    bool push_chain(home_node& first, home_node& last) noexcept {
        home_node* head = head_.load(std::memory_order_relaxed);
        do last.next_home = head;
        while (!head_.compare_exchange_weak(head, &first, std::memory_order_seq_cst,
                                            std::memory_order_relaxed));
        return head == nullptr;
    }

    [[nodiscard]] bool empty() const noexcept {
        return head_.load(std::memory_order_seq_cst) == nullptr;
    }

    //! By the owner: everything pushed so far, linked through next_home.
    home_node* take_all() noexcept {
        return empty() ? nullptr : head_.exchange(nullptr, std::memory_order_acquire);
    }

private:
    std::atomic<home_node*> head_{nullptr};
};

//! Lets a pool outlive its owner until the last object lent from it is back. The owner counts its
//! own lending without atomics; only what happens on foreign threads is counted here.
class away_count {
public:
    //! A handle was duplicated on a foreign thread.
    void acquired() noexcept { balance_.fetch_add(1, std::memory_order_relaxed); }

    //! An object came back on a foreign thread. True: it was the last one of a pool whose owner
    //! has left; the caller destroys the pool.
    [[nodiscard]] bool released() noexcept {
        return balance_.fetch_sub(1, std::memory_order_acq_rel) == 1;
    }

    //! The owner leaves, with `lent` objects by its own count. True: none is away any more.
    [[nodiscard]] bool owner_leaves(std::int64_t lent) noexcept {
        const std::int64_t change = lent - owner_present;
        return balance_.fetch_add(change, std::memory_order_acq_rel) + change == 0;
    }

    //! What foreign threads have changed so far.
    [[nodiscard]] std::int64_t difference() const noexcept {
        return balance_.load(std::memory_order_relaxed) - owner_present;
    }

private:
    static constexpr std::int64_t owner_present = std::int64_t{1} << 40;
    std::atomic<std::int64_t> balance_{owner_present};
};

}  // namespace sluice::detail
