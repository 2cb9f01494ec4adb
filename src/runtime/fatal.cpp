// SPDX-License-Identifier: Apache-2.0
#include "runtime/fatal.hpp"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace sluice::detail {

void fatal(const char* format, ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    std::fputs("sluice: fatal: ", stderr);
    std::vfprintf(stderr, format, arguments);
    std::fputc('\n', stderr);
    va_end(arguments);
    std::abort();
}

}  // namespace sluice::detail
