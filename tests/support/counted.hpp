// SPDX-License-Identifier: Apache-2.0
//! Values that notice when they are destroyed twice or never.
#pragma once

#include <cstdint>
#include <utility>

namespace sluice::testing {

//! What all counted values of a test share.
struct census {
    std::int64_t made = 0;
    std::int64_t destroyed = 0;
    std::int64_t wrong = 0;  //!< destroyed or used though it was not alive

    [[nodiscard]] bool balanced() const noexcept { return made == destroyed && wrong == 0; }
};

//! A move-only value, counted in a census that outlives it.
class counted {
public:
    explicit counted(census& book, int value = 0) noexcept : book_(&book), value_(value) {
        ++book_->made;
    }
    counted(counted&& other) noexcept : book_(other.book_), value_(other.value()) {
        ++book_->made;
        other.value_ = moved_from;
    }
    counted& operator=(counted&& other) noexcept {
        value_ = std::exchange(other.value_, moved_from);
        return *this;
    }
    ~counted() {
        if (alive_ == alive)
            ++book_->destroyed;
        else
            ++book_->wrong;
        alive_ = 0;
    }

    [[nodiscard]] int value() const noexcept {
        if (alive_ != alive) ++book_->wrong;
        return value_;
    }

    static constexpr int moved_from = -1;

private:
    // Volatile: a compiler may drop a store to an object whose life ends.
    static constexpr std::uint32_t alive = 0x51a1ce5;
    volatile std::uint32_t alive_ = alive;
    census* book_;
    int value_;
};

}  // namespace sluice::testing
