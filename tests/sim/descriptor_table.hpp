// SPDX-License-Identifier: Apache-2.0
//! The descriptors of the simulated process.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/sim_file.hpp"
#include "sim/world.hpp"

namespace sluice::sim {

//! Gives the lowest free number, as Linux does: a descriptor that was closed too early is someone
//! else's soon. 0, 1 and 2 are taken.
class descriptor_table {
public:
    explicit descriptor_table(world& w) : world_(w) {}

    //! The new descriptor; EMFILE at the limit.
    int install(std::shared_ptr<sim_file> file);

    //! Whether install() would work under `limit`.
    [[nodiscard]] bool room(unsigned limit) const noexcept;

    //! Null for a descriptor that is not open.
    [[nodiscard]] std::shared_ptr<sim_file> find(int fd) const noexcept;

    template <class File>
    [[nodiscard]] std::shared_ptr<File> find_as(int fd) const noexcept {
        return std::dynamic_pointer_cast<File>(find(fd));
    }

    //! EBADF when it is not open. The file goes with the last that refers to it.
    int close(int fd);

    //! What is open, for messages; empty when nothing is.
    [[nodiscard]] std::string describe() const;

    void close_all();

private:
    static constexpr std::size_t standard = 3;
    [[nodiscard]] std::size_t lowest_free() const noexcept;

    world& world_;
    std::vector<std::shared_ptr<sim_file>> files_;  // from descriptor 3
};

}  // namespace sluice::sim
