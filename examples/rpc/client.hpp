// SPDX-License-Identifier: Apache-2.0
//! The client's end of a connection: many calls under way at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <unordered_map>

#include <sluice/sluice.hpp>

#include "frame.hpp"

namespace rpc {

//! Belongs to one reactor. stop() must have ended before it is destroyed.
class client {
public:
    client(sluice::reactor& home, sluice::tcp_stream conn);

    //! Calls and waits for the reply. Errors: error::timeout, ours or the server's: a reply that
    //! comes later is thrown away; what the connection ended with.
    sluice::task<sluice::result<std::string>> call(std::string payload,
                                                   std::chrono::nanoseconds timeout);

    //! Ends the connection; calls under way end with ECANCELED.
    sluice::task<> stop();

    //! Replies that nobody waited for any more.
    [[nodiscard]] std::uint64_t late() const noexcept { return late_; }

private:
    using waiting = std::unordered_map<std::uint64_t, sluice::oneshot_sender<frame>>;
    sluice::task<> receive();

    sluice::tcp_stream conn_;
    std::uint64_t last_id_ = 0;
    std::uint64_t late_ = 0;
    waiting waiting_;
    boost::system::error_code ended_;
    sluice::background receiver_;
};

}  // namespace rpc
