// SPDX-License-Identifier: Apache-2.0
//! Code that must not run in the test's own process: because it ends it, or changes it for good.
#pragma once

#include <functional>
#include <string>

namespace sluice::testing {

struct child_outcome {
    int exit_code = -1;  //!< -1 when a signal ended it
    int signal = 0;      //!< 0 when it exited
    std::string errors;  //!< what it wrote to standard error
};

//! Runs `fn` in a forked child whose standard output goes nowhere, and waits for its end. The child
//! exits with what `fn` returns, or 111 when an exception escapes. No reactor may exist on the
//! calling thread, and no other thread may run.
child_outcome in_child(const std::function<int()>& fn);

//! Checks that `fn` ends its process by SIGABRT with a message in which the POSIX extended regular
//! expression `pattern` is found.
void expect_death(const std::function<void()>& fn, const std::string& pattern);

}  // namespace sluice::testing
