// SPDX-License-Identifier: Apache-2.0
//! A folder for the files of a test, on the disk if there is one.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

namespace sluice::testing {

//! $TMPDIR or /var/tmp or /tmp, and removed at the end with all that is in it.
class temporary_folder {
public:
    temporary_folder() {
        const char* asked = std::getenv("TMPDIR");
        for (const char* base : {asked, "/var/tmp", "/tmp"}) {
            if (base == nullptr) continue;
            path_ = std::string(base) + "/sluice-test-XXXXXX";
            if (mkdtemp(path_.data()) != nullptr) return;
        }
        throw std::runtime_error("no folder for temporary files");
    }
    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;
    ~temporary_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

inline std::string content_of(const std::string& name) {
    std::ifstream from(name, std::ios::binary);
    return {std::istreambuf_iterator<char>(from), {}};
}

}  // namespace sluice::testing
