// SPDX-License-Identifier: Apache-2.0
//! Objects of which each reactor has one, for layers that the runtime knows nothing of.
#pragma once

#include <memory>
#include <utility>
#include <vector>

namespace sluice {
class reactor;
}

namespace sluice::detail {

//! Base of what a layer keeps per reactor; made at first use, destroyed with the reactor after its
//! last operation has ended.
class reactor_local {
public:
    reactor_local() = default;
    reactor_local(const reactor_local&) = delete;
    reactor_local& operator=(const reactor_local&) = delete;
    virtual ~reactor_local() = default;

    //! Takes in what died on other threads; called once a turn.
    virtual void collect() noexcept {}

    //! The reactor's stop was requested, or it is abandoned (reactor::abandoned()), and then again:
    //! ends what is at the kernel and does not end by being cancelled.
    virtual void on_stop() noexcept {}

    //! Whether `data` and `block` look like an rx_buffer of this layer: `block` is one of its
    //! blocks, handles of it live, and `data` is inside. Both may be any bits.
    [[nodiscard]] virtual bool lends(const void* data, const void* block) const noexcept {
        static_cast<void>(data);
        static_cast<void>(block);
        return false;
    }
};

class reactor_locals {
public:
    reactor_locals() = default;
    reactor_locals(const reactor_locals&) = delete;
    reactor_locals& operator=(const reactor_locals&) = delete;
    ~reactor_locals() { clear(); }

    void clear() noexcept {
        while (!entries_.empty()) entries_.pop_back();
    }

    //! The reactor's T, made from T(reactor&) at the first call.
    template <class T>
    T& get(reactor& home) {
        if (T* there = find<T>()) return *there;
        auto made = std::make_unique<T>(home);
        T& object = *made;
        entries_.push_back({&key<T>, std::move(made)});
        return object;
    }

    //! The reactor's T, if there is one.
    template <class T>
    T* find() noexcept {
        for (entry& e : entries_)
            if (e.key == &key<T>) return static_cast<T*>(e.object.get());
        return nullptr;
    }

    void collect() noexcept {
        for (entry& e : entries_) e.object->collect();
    }

    void on_stop() noexcept {
        for (entry& e : entries_) e.object->on_stop();
    }

    [[nodiscard]] bool lends(const void* data, const void* block) const noexcept {
        for (const entry& e : entries_)
            if (e.object->lends(data, block)) return true;
        return false;
    }

private:
    template <class T>
    static constexpr char key = 0;
    struct entry {
        const void* key;
        std::unique_ptr<reactor_local> object;
    };
    std::vector<entry> entries_;
};

}  // namespace sluice::detail
