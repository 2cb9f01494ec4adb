// SPDX-License-Identifier: Apache-2.0
#include "sim/descriptor_table.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sluice::sim {

std::size_t descriptor_table::lowest_free() const noexcept {
    const auto free = std::find(files_.begin(), files_.end(), nullptr);
    return standard + static_cast<std::size_t>(free - files_.begin());
}

bool descriptor_table::room(unsigned limit) const noexcept { return lowest_free() < limit; }

int descriptor_table::install(std::shared_ptr<sim_file> file) {
    const std::size_t fd = lowest_free();
    if (fd >= world_.options.descriptor_limit) return -EMFILE;
    if (fd - standard == files_.size()) files_.emplace_back();
    files_[fd - standard] = std::move(file);
    return static_cast<int>(fd);
}

std::shared_ptr<sim_file> descriptor_table::find(int fd) const noexcept {
    const auto index = static_cast<std::size_t>(fd) - standard;
    return fd >= static_cast<int>(standard) && index < files_.size() ? files_[index] : nullptr;
}

int descriptor_table::close(int fd) {
    if (find(fd) == nullptr) return -EBADF;
    // Out of the table before it goes: its end may lead to others that look here.
    const auto gone = std::exchange(files_[static_cast<std::size_t>(fd) - standard], nullptr);
    return 0;
}

std::string descriptor_table::describe() const {
    std::string text;
    for (std::size_t i = 0; i < files_.size(); ++i)
        if (files_[i] != nullptr)
            text += "descriptor " + std::to_string(i + standard) +
                    " is open: " + files_[i]->describe() + "\n";
    return text;
}

void descriptor_table::close_all() {
    for (std::size_t i = 0; i < files_.size(); ++i) files_[i] = nullptr;
    files_.clear();
}

}  // namespace sluice::sim
