// SPDX-License-Identifier: Apache-2.0
#include "resp.hpp"

#include <charconv>
#include <utility>

namespace kv {

std::nullopt_t command_parser::wrong(std::string what) {
    mistake_ = std::move(what);
    return std::nullopt;
}

std::optional<std::string_view> command_parser::line() {
    const std::size_t end = pending_.find('\n', at_);
    if (end == std::string::npos) {
        if (pending_.size() - at_ > longest_inline) return wrong("too big inline request");
        return std::nullopt;
    }
    std::string_view text = std::string_view(pending_).substr(at_, end - at_);
    if (text.ends_with('\r')) text.remove_suffix(1);
    at_ = end + 1;
    return text;
}

std::optional<std::size_t> command_parser::number(char kind, std::size_t limit) {
    const auto text = line();
    if (!text) return std::nullopt;
    if (text->empty() || text->front() != kind)
        return wrong(std::string("expected '") + kind + "'");
    std::size_t value = 0;
    const char* last = text->data() + text->size();
    const auto [end, error] = std::from_chars(text->data() + 1, last, value);
    if (error != std::errc{} || end != last || value > limit)
        return wrong(kind == '$' ? "invalid bulk length" : "invalid multibulk length");
    return value;
}

std::optional<command> command_parser::words() {
    const auto text = line();
    if (!text) return std::nullopt;
    command found;
    for (std::size_t from = 0;;) {
        from = text->find_first_not_of(" \t", from);
        if (from == std::string_view::npos) return found;
        const std::size_t to = text->find_first_of(" \t", from);
        found.emplace_back(text->substr(from, to - from));
        if (to == std::string_view::npos) return found;
        from = to;
    }
}

// True: there is one more in current_.
bool command_parser::read_argument() {
    if (!size_) size_ = number('$', longest_value);
    if (!size_ || pending_.size() - at_ < *size_ + 2) return false;
    if (pending_.compare(at_ + *size_, 2, "\r\n") != 0) {
        wrong("a bulk string must end with CRLF");
        return false;
    }
    current_.emplace_back(pending_, at_, *size_);
    at_ += *size_ + 2;
    size_.reset();
    return true;
}

std::optional<command> command_parser::next() {
    while (mistake_.empty()) {
        if (missing_ == 0) {
            pending_.erase(0, std::exchange(at_, 0));
            if (pending_.empty()) return std::nullopt;
            if (pending_.front() != '*') {
                auto found = words();
                if (found && found->empty()) continue;  // an empty line
                return found;
            }
            const auto count = number('*', most_arguments);
            if (!count) return std::nullopt;
            missing_ = *count;
            continue;
        }
        if (!read_argument()) return std::nullopt;
        if (--missing_ == 0) return std::exchange(current_, {});
    }
    return std::nullopt;
}

namespace {
std::string line_of(char kind, std::string_view text) {
    std::string line(1, kind);
    line += text;
    line += "\r\n";
    return line;
}
}  // namespace

std::string simple(std::string_view text) { return line_of('+', text); }
std::string failure(std::string_view text) { return line_of('-', text); }
std::string integer(std::int64_t n) { return line_of(':', std::to_string(n)); }
std::string array_of(std::size_t n) { return line_of('*', std::to_string(n)); }
std::string bulk(std::string_view value) {
    std::string text = line_of('$', std::to_string(value.size()));
    text += value;
    text += "\r\n";
    return text;
}

}  // namespace kv
