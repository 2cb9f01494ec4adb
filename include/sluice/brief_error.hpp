// SPDX-License-Identifier: Apache-2.0
//! An error in four bytes: for what there are many of.
#pragma once

#include <cstdint>

#include "sluice/error.hpp"

namespace sluice::detail {

//! An errno or an error of sluice's, or none.
class brief_error {
public:
    constexpr brief_error() = default;
    constexpr brief_error(error e) noexcept : value_(-static_cast<std::int32_t>(e)) {}
    static constexpr brief_error of_errno(int positive_errno) noexcept {
        brief_error e;
        e.value_ = positive_errno;
        return e;
    }

    explicit constexpr operator bool() const noexcept { return value_ != 0; }
    [[nodiscard]] boost::system::error_code code() const noexcept {
        if (value_ < 0) return static_cast<error>(-value_);
        return errno_error(value_);
    }

private:
    std::int32_t value_ = 0;
};

}  // namespace sluice::detail
