// SPDX-License-Identifier: Apache-2.0
//! One core's share of the keys.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

namespace kv {

//! Plain data: only its own reactor touches it, so it needs no lock. Replies are ready to be sent.
class store {
public:
    explicit store(std::size_t limit_bytes) : limit_bytes_(limit_bytes) {}

    [[nodiscard]] std::string get(const std::string& key) const;
    std::string set(const std::string& key, std::string value);
    std::string append(const std::string& key, const std::string& more);
    std::string add(const std::string& key, std::int64_t amount);
    std::int64_t remove(const std::string& key);
    [[nodiscard]] std::int64_t has(const std::string& key) const { return keys_.count(key) != 0; }
    [[nodiscard]] std::int64_t size_of(const std::string& key) const;
    [[nodiscard]] std::size_t count() const noexcept { return keys_.size(); }
    void clear() noexcept;

private:
    //! Puts `value` at `key`, or says that there is no room.
    std::optional<std::string> put(const std::string& key, std::string value);

    std::size_t limit_bytes_;
    std::size_t bytes_ = 0;  // of keys and values
    std::unordered_map<std::string, std::string> keys_;
};

}  // namespace kv
