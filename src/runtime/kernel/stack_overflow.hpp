// SPDX-License-Identifier: Apache-2.0
//! Says what a fault in the guard pages of a fiber's stack means. Part of the seam that concerns
//! the process; not simulated.
#pragma once

#include <cstddef>

namespace sluice::detail {

struct guarded_stack {
    const char* name;  // of the fiber
    const std::byte* guard;
    std::size_t guard_size;
    std::size_t size;
};

//! The guarded stack that the calling thread runs on; null: its own.
extern constinit thread_local const guarded_stack* running_stack;

//! While it lives, the calling thread has a stack for signals: sigaltstack(2). Making one installs
//! a handler of SIGSEGV and SIGBUS where it is not the present one, which stays: it prints a
//! message for a fault in the guard pages of the running stack, and in every case goes on to what
//! was installed before, which ends the program as it would have.
class overflow_watch {
public:
    overflow_watch() noexcept;
    ~overflow_watch();
    overflow_watch(const overflow_watch&) = delete;
    overflow_watch& operator=(const overflow_watch&) = delete;

private:
    void* stack_ = nullptr;  // null: the thread had one, or there was no memory
};

}  // namespace sluice::detail
