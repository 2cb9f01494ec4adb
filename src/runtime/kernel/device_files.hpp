// SPDX-License-Identifier: Apache-2.0
//! What NIC control does besides netlink: SIOCETHTOOL, and small files that must survive a crash.
//! Not simulated.
#pragma once

#include <string>
#include <utility>

#include "sluice/result.hpp"

namespace sluice::detail {

//! SIOCETHTOOL: `command` is one of the structures of linux/ethtool.h, which the kernel may change.
result<void> ethtool_ioctl(const std::string& interface, void* command);

//! The folder that the file is to be in, and those above it.
result<void> make_folder_of(const std::string& path);

//! Makes a file hold the text, all or nothing, also after a power cut: a new file that is synced
//! and renamed. Missing folders are made. With `exclusive` the file must not exist yet.
result<void> write_durably(const std::string& path, const std::string& text, bool exclusive);

//! The whole of a file of at most 16 MiB.
result<std::string> read_whole(const std::string& path);

result<void> remove_file(const std::string& path);

//! Writes to a file that is there, such as those of /proc.
result<void> write_setting(const std::string& path, const std::string& text);

bool path_exists(const std::string& path);

//! A file that one holder has at a time, with a note by which others know who: flock(2). It is let
//! go when every process that has the descriptor, by fork or SCM_RIGHTS, has closed it or ended.
//! The file stays.
class file_lock {
public:
    //! Error: EWOULDBLOCK when somebody has it.
    static result<file_lock> take(const std::string& path);
    //! Of a descriptor that came from a holder.
    explicit file_lock(int descriptor) noexcept : descriptor_(descriptor) {}
    file_lock(file_lock&& o) noexcept : descriptor_(std::exchange(o.descriptor_, -1)) {}
    file_lock& operator=(file_lock&&) = delete;
    ~file_lock();

    void note(const std::string& text) const;
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

private:
    int descriptor_;
};

}  // namespace sluice::detail
