// SPDX-License-Identifier: Apache-2.0
//! Where the connections of a proxy go.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sluice/sluice.hpp>

namespace proxy {

enum class balance : std::uint8_t { round_robin, least_connections };

//! The upstreams, with what is known of each. All cores share it: an upstream that one of them
//! finds down is down for all, and connections are counted together.
class upstreams {
public:
    using time = sluice::reactor::clock::time_point;

private:
    struct upstream {
        sluice::endpoint address;
        std::atomic<std::uint32_t> connections{0};
        std::atomic<std::int64_t> skipped_until{0};  // nanoseconds of the clock; 0: it is up
    };

public:
    //! A connection to an upstream, or an attempt at one: counted while it lives.
    class place {
    public:
        explicit place(upstream& at) noexcept : at_(&at) { ++at.connections; }
        place(place&& o) noexcept : at_(std::exchange(o.at_, nullptr)) {}
        place& operator=(place&&) = delete;
        ~place() {
            if (at_ != nullptr) --at_->connections;
        }

        [[nodiscard]] const sluice::endpoint& address() const noexcept { return at_->address; }

        //! It does not answer, and is skipped until then. True: that is news.
        bool fails(time until) noexcept;
        //! It answers. True: that is news.
        bool works() noexcept;

    private:
        upstream* at_;
    };

    upstreams(const std::vector<sluice::endpoint>& addresses, balance by);

    [[nodiscard]] std::size_t count() const noexcept { return all_.size(); }
    //! To all of them.
    [[nodiscard]] std::uint64_t connections() const noexcept;

    //! The next to be tried of those that `tried`, by index, does not name; it does afterwards.
    //! Those that are skipped come after the others. Nothing when all have been tried.
    std::optional<place> next(std::vector<bool>& tried, time now);

    //! Each with its connections, and whether it is skipped.
    [[nodiscard]] std::string to_string(time now) const;

private:
    std::vector<upstream> all_;
    balance by_;
    std::atomic<std::size_t> turn_{0};
};

}  // namespace proxy
