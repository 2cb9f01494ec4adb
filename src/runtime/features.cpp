// SPDX-License-Identifier: Apache-2.0
#include "sluice/features.hpp"

namespace sluice {

std::string features::summary() const {
    std::string used = "in use:";
    std::string unused;
    for (const feature& f : list_) {
        if (f.in_use)
            used += " " + f.name;
        else
            unused += (unused.empty() ? "; not: " : ", ") + f.name + " (" + f.why_not + ")";
    }
    return used + unused;
}

}  // namespace sluice
