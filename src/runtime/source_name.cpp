// SPDX-License-Identifier: Apache-2.0
#include "runtime/source_name.hpp"

namespace sluice::detail {

namespace {

constexpr std::string_view closing = ")>}]";

bool opens(char c) noexcept { return c == '(' || c == '<' || c == '{' || c == '['; }

// The index at which the bracket that ends at `last` opens; npos if none does.
std::size_t opening(std::string_view s, std::size_t last) noexcept {
    int depth = 0;
    for (std::size_t i = last + 1; i-- > 0;) {
        if (closing.find(s[i]) != std::string_view::npos) ++depth;
        if (opens(s[i]) && --depth == 0) return i;
    }
    return std::string_view::npos;
}

}  // namespace

std::string short_function_name(std::string_view name) {
    if (const auto with = name.rfind(" [with "); with != std::string_view::npos)
        name = name.substr(0, with);
    else if (const auto clang_with = name.rfind(" [T = "); clang_with != std::string_view::npos)
        name = name.substr(0, clang_with);
    // The parameters, and behind them nothing but "const" and the like.
    if (const auto last = name.rfind(')'); last != std::string_view::npos)
        if (const auto first = opening(name, last); first != std::string_view::npos && first != 0)
            name = name.substr(0, first);
    // The result type ends at the last space that stands in no bracket.
    int depth = 0;
    for (std::size_t i = name.size(); i-- > 0;) {
        if (closing.find(name[i]) != std::string_view::npos) ++depth;
        if (opens(name[i])) --depth;
        if (name[i] == ' ' && depth == 0) return std::string(name.substr(i + 1));
    }
    return std::string(name);
}

}  // namespace sluice::detail
