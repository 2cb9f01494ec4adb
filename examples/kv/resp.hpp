// SPDX-License-Identifier: Apache-2.0
//! The Redis protocol (RESP2), as far as sluice-kv speaks it: commands in, replies out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

using command = std::vector<std::string>;

inline constexpr std::size_t longest_value = 16 * 1024 * 1024;
inline constexpr std::size_t most_arguments = 1024;
inline constexpr std::size_t longest_inline = 64 * 1024;

//! Cuts commands out of what a client sends: arrays of bulk strings, and lines of words.
class command_parser {
public:
    void feed(std::string_view bytes) { pending_.append(bytes); }

    //! The next command that is complete; nothing: more bytes are needed, or mistake() says what is
    //! wrong, and then nothing more comes.
    std::optional<command> next();
    [[nodiscard]] const std::string& mistake() const noexcept { return mistake_; }

private:
    std::optional<std::string_view> line();
    std::optional<std::size_t> number(char kind, std::size_t limit);
    std::optional<command> words();
    bool read_argument();
    std::nullopt_t wrong(std::string what);

    std::string pending_;
    std::size_t at_ = 0;               // what lies before has been taken
    std::size_t missing_ = 0;          // arguments of current_ that have not come yet
    std::optional<std::size_t> size_;  // of the argument that comes next, once it is known
    command current_;
    std::string mistake_;
};

// Replies.
std::string simple(std::string_view text);
std::string failure(std::string_view text);
std::string integer(std::int64_t n);
std::string bulk(std::string_view value);
std::string array_of(std::size_t elements);
inline constexpr std::string_view nothing = "$-1\r\n";

}  // namespace kv
