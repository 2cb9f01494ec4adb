// SPDX-License-Identifier: Apache-2.0
//! A process of its own that goes on when this one is killed. Not simulated.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <utility>

#include "sluice/result.hpp"

namespace sluice::detail {

class helper_process {
public:
    //! Runs there, for each question; 0: the parent has gone, or has let it go, and it ends.
    using server = std::function<std::string(char question)>;

    //! Forks. The child is nobody's child, is called `name`, has no descriptors but `kept` and the
    //! standard ones, ignores the signals that end a service, and has these capabilities only
    //! (1 << CAP_...).
    static result<helper_process> start(const char* name, std::span<const int> kept,
                                        std::uint32_t capabilities, const server& serve);

    helper_process(helper_process&& o) noexcept : socket_(std::exchange(o.socket_, -1)) {}
    helper_process& operator=(helper_process&&) = delete;
    //! Lets it go.
    ~helper_process();

    //! Its answer. Error: EPIPE when it has gone.
    [[nodiscard]] result<std::string> ask(char question) const;

private:
    explicit helper_process(int socket) noexcept : socket_(socket) {}
    int socket_;
};

}  // namespace sluice::detail
