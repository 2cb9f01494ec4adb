// SPDX-License-Identifier: Apache-2.0
#include <sluice/sluice.hpp>

#include <iostream>

int main() {
    if (sluice::fiber::active()) return 1;  // needs what the library needs: Boost.Context
    std::cout << sluice::version() << '\n';
    return 0;
}
