// SPDX-License-Identifier: Apache-2.0
//! Why the kernel refused an rx queue: it answers many mistakes with the same number.
#pragma once

#include <cstddef>
#include <string>

#include "sluice/zcrx_options.hpp"
#include "zcrx/support.hpp"

namespace sluice::detail {

//! What was asked of IORING_REGISTER_ZCRX_IFQ.
struct refused_registration {
    const zcrx_options& options;
    const zcrx_support& support;
    unsigned queue;
    std::size_t locked_bytes;  // that the area needs
};

//! The cause and the remedy, for a person.
std::string explain_refusal(const refused_registration& refused, int error_number);

}  // namespace sluice::detail
