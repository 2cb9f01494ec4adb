// SPDX-License-Identifier: Apache-2.0
#include "store.hpp"

#include <charconv>

#include "resp.hpp"

namespace kv {

std::string store::get(const std::string& key) const {
    const auto found = keys_.find(key);
    return found == keys_.end() ? std::string(nothing) : bulk(found->second);
}

std::int64_t store::size_of(const std::string& key) const {
    const auto found = keys_.find(key);
    return found == keys_.end() ? 0 : static_cast<std::int64_t>(found->second.size());
}

std::optional<std::string> store::put(const std::string& key, std::string value) {
    const auto found = keys_.find(key);
    const std::size_t before = found == keys_.end() ? 0 : key.size() + found->second.size();
    const std::size_t after = key.size() + value.size();
    if (bytes_ - before + after > limit_bytes_)
        return failure("OOM command not allowed when used memory > 'maxmemory'");
    bytes_ += after - before;
    if (found == keys_.end())
        keys_.emplace(key, std::move(value));
    else
        found->second = std::move(value);
    return std::nullopt;
}

std::string store::set(const std::string& key, std::string value) {
    const auto full = put(key, std::move(value));
    return full ? *full : simple("OK");
}

std::string store::append(const std::string& key, const std::string& more) {
    const auto found = keys_.find(key);
    std::string value = found == keys_.end() ? more : found->second + more;
    if (value.size() > longest_value) return failure("ERR string exceeds maximum allowed size");
    const auto size = static_cast<std::int64_t>(value.size());
    const auto full = put(key, std::move(value));
    return full ? *full : integer(size);
}

std::string store::add(const std::string& key, std::int64_t amount) {
    std::int64_t value = 0;
    if (const auto found = keys_.find(key); found != keys_.end()) {
        const std::string& text = found->second;
        const char* last = text.data() + text.size();
        const auto [end, error] = std::from_chars(text.data(), last, value);
        if (error != std::errc{} || end != last)
            return failure("ERR value is not an integer or out of range");
    }
    if (__builtin_add_overflow(value, amount, &value))
        return failure("ERR increment or decrement would overflow");
    const auto full = put(key, std::to_string(value));
    return full ? *full : integer(value);
}

std::int64_t store::remove(const std::string& key) {
    const auto found = keys_.find(key);
    if (found == keys_.end()) return 0;
    bytes_ -= key.size() + found->second.size();
    keys_.erase(found);
    return 1;
}

void store::clear() noexcept {
    keys_.clear();
    bytes_ = 0;
}

}  // namespace kv
