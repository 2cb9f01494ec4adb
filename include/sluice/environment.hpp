// SPDX-License-Identifier: Apache-2.0
//! What a coroutine hands down to everything it awaits.
#pragma once

#include "sluice/stop.hpp"

namespace sluice {

class reactor;

//! Goes down with `co_await` as one pointer; owned by the scope that started the chain of awaits
//! (a nursery's child, with_timeout, ...) and valid as long as that scope.
struct environment {
    reactor& home;      //!< the reactor that the chain runs on
    stop_source& stop;  //!< what cancels the chain
};

}  // namespace sluice
