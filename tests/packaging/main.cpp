// SPDX-License-Identifier: Apache-2.0
#include <sluice/sluice.hpp>

#include <iostream>

int main() {
    std::cout << sluice::version() << '\n';
    return 0;
}
