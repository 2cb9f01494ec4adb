// SPDX-License-Identifier: Apache-2.0
#include "support/stack.hpp"

#include <pthread.h>

#include <exception>
#include <stdexcept>

namespace sluice::testing {

namespace {

struct job {
    const std::function<void()>& fn;
    std::exception_ptr escaped;
};

void* work(void* p) {
    job& j = *static_cast<job*>(p);
    try {
        j.fn();
    } catch (...) {
        j.escaped = std::current_exception();
    }
    return nullptr;
}

}  // namespace

void on_small_stack(std::size_t bytes, const std::function<void()>& fn) {
    job j{fn, {}};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_t thread{};
    const bool started = pthread_attr_setstacksize(&attributes, bytes) == 0 &&
                         pthread_create(&thread, &attributes, work, &j) == 0;
    pthread_attr_destroy(&attributes);
    if (!started) throw std::runtime_error("no thread with so small a stack");
    pthread_join(thread, nullptr);
    if (j.escaped) std::rethrow_exception(j.escaped);
}

}  // namespace sluice::testing
