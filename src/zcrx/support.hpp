// SPDX-License-Identifier: Apache-2.0
//! What this kernel can do of zero-copy receive.
#pragma once

#include <cstdint>

#include "runtime/kernel/kernel.hpp"
#include "sluice/features.hpp"

namespace sluice::detail {

//! By IORING_REGISTER_QUERY where there is such a thing (6.18; of zcrx: 6.19). Where there is not,
//! what a flag is known to have come with is "unknown", and registering tries.
struct zcrx_support {
    bool queried = false;  // the rest is the kernel's own answer
    bool recv_zc = false;
    bool mixed_cqes = false;
    bool several_queues = false;
    bool rx_buf_len = false;
    bool dma_buf_areas = false;
    bool import = false;
    bool device_less = false;
    bool flush = false;
    bool export_queue = false;
    bool events = false;
    bool statistics = false;
    bool add_area = false;

    static zcrx_support ask(kernel& k) noexcept;

    //! Each of it by name, with the reason where it is missing.
    void describe(features& into) const;
};

}  // namespace sluice::detail
