// SPDX-License-Identifier: Apache-2.0
//! What the kernel gave and what it did not.
#pragma once

#include <string>
#include <vector>

namespace sluice {

//! One thing that sluice uses where the kernel has it.
struct feature {
    std::string name;     //!< the kernel's own name, e.g. "DEFER_TASKRUN"
    bool in_use = false;  //!< whether this ring uses it
    std::string why_not;  //!< when not in use: the reason, in words
};

//! What a ring was set up with. Found by trying, never by the kernel's version.
class features {
public:
    void set(std::string name, bool in_use, std::string why_not = {}) {
        for (feature& f : list_)
            if (f.name == name) {
                f = {std::move(name), in_use, std::move(why_not)};
                return;
            }
        list_.push_back({std::move(name), in_use, std::move(why_not)});
    }

    [[nodiscard]] bool has(const std::string& name) const {
        for (const feature& f : list_)
            if (f.name == name) return f.in_use;
        return false;
    }

    [[nodiscard]] const std::vector<feature>& list() const noexcept { return list_; }

    //! One line: what is in use, then what is not and why.
    [[nodiscard]] std::string summary() const;

private:
    std::vector<feature> list_;
};

}  // namespace sluice
