// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel/device_files.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include <linux/sockios.h>

namespace sluice::detail {

namespace {

class descriptor {
public:
    explicit descriptor(int fd) noexcept : fd_(fd) {}
    descriptor(descriptor&&) = delete;
    ~descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }

private:
    int fd_;
};

bool write_all(int fd, const std::string& text) {
    std::size_t done = 0;
    while (done < text.size()) {
        const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        done += static_cast<std::size_t>(n);
    }
    return true;
}

result<void> write_new(const std::string& path, const std::string& text) {
    const descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!file || !write_all(file.get(), text) || ::fsync(file.get()) != 0)
        return errno_error(errno);
    return {};
}

}  // namespace

result<void> ethtool_ioctl(const std::string& interface, void* command) {
    const descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return errno_error(errno);
    ifreq request{};
    if (interface.size() >= sizeof request.ifr_name) return errno_error(ENODEV);
    std::memcpy(request.ifr_name, interface.data(), interface.size());
    request.ifr_data = static_cast<char*>(command);
    if (::ioctl(socket.get(), SIOCETHTOOL, &request) < 0) return errno_error(errno);
    return {};
}

result<void> write_durably(const std::string& path, const std::string& text, bool exclusive) {
    const std::string folder = std::filesystem::path(path).parent_path().string();
    if (auto made = make_folder_of(path); !made) return made;
    if (exclusive) {
        // Two that begin at once: one of them makes the file, which the text then replaces.
        const descriptor mark(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
        if (!mark) return errno_error(errno);
    }
    const std::string temporary = path + ".new";
    auto written = write_new(temporary, text);
    if (written && ::rename(temporary.c_str(), path.c_str()) != 0) written = errno_error(errno);
    if (!written) {
        ::unlink(temporary.c_str());
        return written.error();
    }
    const descriptor there(
        ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!there || ::fsync(there.get()) != 0) return errno_error(errno);
    return {};
}

result<std::string> read_whole(const std::string& path) {
    const descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return errno_error(errno);
    constexpr std::size_t most = std::size_t{16} << 20;
    std::string text;
    char piece[4096];
    for (;;) {
        const ssize_t n = ::read(file.get(), piece, sizeof piece);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno_error(errno);
        if (n == 0) return text;
        text.append(piece, static_cast<std::size_t>(n));
        if (text.size() > most) return errno_error(EFBIG);
    }
}

result<void> remove_file(const std::string& path) {
    if (::unlink(path.c_str()) != 0) return errno_error(errno);
    return {};
}

result<void> write_setting(const std::string& path, const std::string& text) {
    const descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file || !write_all(file.get(), text)) return errno_error(errno);
    return {};
}

result<file_lock> file_lock::take(const std::string& path) {
    file_lock made(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (made.descriptor_ < 0 || ::flock(made.descriptor_, LOCK_EX | LOCK_NB) != 0)
        return errno_error(errno);
    return made;
}

file_lock::~file_lock() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

void file_lock::note(const std::string& text) const {
    if (::ftruncate(descriptor_, 0) == 0 && ::lseek(descriptor_, 0, SEEK_SET) == 0)
        static_cast<void>(write_all(descriptor_, text));
}

result<void> make_folder_of(const std::string& path) {
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    std::error_code e;
    if (!folder.empty()) std::filesystem::create_directories(folder, e);
    if (e) return errno_error(e.value());
    return {};
}

bool path_exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

}  // namespace sluice::detail
