// SPDX-License-Identifier: Apache-2.0
#include "net/http_request.hpp"

#include <algorithm>

namespace sluice::detail {

namespace {

constexpr std::string_view line_end = "\r\n";

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same(std::string_view a, std::string_view b) noexcept {
    return std::ranges::equal(a, b, {}, lower, lower);
}

std::string_view trimmed(std::string_view s) noexcept {
    const auto first = s.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return s.substr(first, s.find_last_not_of(" \t") - first + 1);
}

// Cuts `text` at the first `separator` and returns what was before; all of it if there is none.
std::string_view cut(std::string_view& text, std::string_view separator) noexcept {
    const auto at = text.find(separator);
    const std::string_view before = text.substr(0, at);
    text.remove_prefix(at == std::string_view::npos ? text.size() : at + separator.size());
    return before;
}

bool list_has(std::string_view list, std::string_view word) noexcept {
    while (!list.empty())
        if (same(trimmed(cut(list, ",")), word)) return true;
    return false;
}

bool is_token(std::string_view s) noexcept {
    return !s.empty() && std::ranges::all_of(s, [](char c) {
        return c > ' ' && c < 127 &&
               std::string_view("\"(),/:;<=>?@[\\]{}").find(c) == std::string_view::npos;
    });
}

}  // namespace

std::optional<std::size_t> http_head_size(std::string_view received) noexcept {
    const auto end = received.find("\r\n\r\n");
    if (end == std::string_view::npos) return std::nullopt;
    return end + 4;
}

http_request parse_http_request(std::string_view head) noexcept {
    http_request r;
    std::string_view line = cut(head, line_end);
    r.method = cut(line, " ");
    std::string_view target = cut(line, " ");
    const std::string_view version = line;
    r.path = cut(target, "?");
    if (!is_token(r.method) || !r.path.starts_with('/')) return r;
    if (version != "HTTP/1.1" && version != "HTTP/1.0") return r;
    const bool is_1_1 = version == "HTTP/1.1";
    bool has_host = false;
    r.keep_alive = is_1_1;
    while (!head.empty()) {
        std::string_view value = cut(head, line_end);
        if (value.empty()) break;
        const std::string_view name = cut(value, ":");
        if (!is_token(name)) return r;
        value = trimmed(value);
        if (same(name, "host")) has_host = true;
        if (same(name, "connection") && list_has(value, "close")) r.keep_alive = false;
        if (same(name, "transfer-encoding")) r.keep_alive = false;
        if (same(name, "content-length") && value != "0") r.keep_alive = false;
    }
    r.good = has_host || !is_1_1;
    return r;
}

}  // namespace sluice::detail
