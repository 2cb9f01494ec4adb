// SPDX-License-Identifier: Apache-2.0
#include "runtime/source_name.hpp"

namespace sluice::detail {

namespace {

// Without what stands in parentheses: parameters, also those of the functions around. What clang
// writes for things without a name stays, and so does the name operator().
std::string without_parameters(std::string_view name) {
    std::string kept;
    int depth = 0;
    for (std::size_t i = 0; i < name.size(); ++i) {
        const std::string_view rest = name.substr(i);
        if (depth == 0 && rest.starts_with("()") && kept.ends_with("operator")) {
            kept += "()";
            ++i;
        } else if (depth == 0 && rest.starts_with("(anonymous ")) {
            const auto end = rest.find(')');
            kept += rest.substr(0, end == std::string_view::npos ? end : end + 1);
            i += end == std::string_view::npos ? rest.size() : end;
        } else if (name[i] == '(') {
            ++depth;
        } else if (name[i] == ')') {
            if (depth != 0) --depth;
        } else if (depth == 0) {
            kept += name[i];
        }
    }
    return kept;
}

// The result type ends at the last space that stands in no bracket.
std::string without_result(std::string_view name) {
    int depth = 0;
    for (std::size_t i = name.size(); i-- > 0;) {
        if (name[i] == '>' || name[i] == ')') ++depth;
        if (name[i] == '<' || name[i] == '(') --depth;
        if (name[i] == ' ' && depth == 0) return std::string(name.substr(i + 1));
    }
    return std::string(name);
}

}  // namespace

std::string short_function_name(std::string_view name) {
    for (const std::string_view arguments : {" [with ", " [T = "})
        name = name.substr(0, name.find(arguments));
    std::string kept = without_parameters(name);
    if (kept.ends_with(" const")) kept.resize(kept.size() - 6);
    kept = without_result(kept);
    // g++ writes the call operator of a lambda in some places and not in others.
    constexpr std::string_view call = "::operator()";
    if (kept.ends_with(call) && kept.size() > call.size()) {
        const char before = kept[kept.size() - call.size() - 1];
        if (before == '>' || before == ')') kept.resize(kept.size() - call.size());
    }
    return kept;
}

}  // namespace sluice::detail
