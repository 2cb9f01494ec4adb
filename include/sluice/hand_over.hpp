// SPDX-License-Identifier: Apache-2.0
//! Restarting without a gap: a process hands its sockets to the one that replaces it, over a Unix
//! socket on which it listens for that.
#pragma once

#include <chrono>
#include <utility>
#include <vector>

#include "sluice/endpoint.hpp"
#include "sluice/result.hpp"
#include "sluice/task.hpp"
#include "sluice/tcp_stream.hpp"

namespace sluice {

//! Descriptors on their way from one process to the next.
struct inheritance {
    std::vector<int> listeners;  //!< for listener_group::adopt(); 1 to 128
    int nic_lock = -1;           //!< for nic_session::adopt(); -1: there is none
};

//! By the old process: sends them to a process that has connected (sendmsg(2), SCM_RIGHTS), and
//! completes when that one is ready to take over: predecessor::dismiss(). What it must not find,
//! such as rules that lead to rx queues of this process, is to be taken away now; then the stream
//! is closed, which is its signal to begin, and this process drains. It keeps its own descriptors;
//! both accept meanwhile. Errors: EACCES when the other end is neither of this process's user nor
//! root; EOPNOTSUPP for a registered descriptor; EINVAL for none or too many listeners; error::eof
//! when the other process gave up: nothing has changed. Cancelled: ECANCELED, as with error::eof.
//! `what` has to live as long.
task<result<void>> hand_over(tcp_stream& to, const inheritance& what);

//! By the new process: what it got, and the one it got it from.
class predecessor {
public:
    //! Connects to a Unix socket and waits for hand_over(); blocks the thread. Errors: ENOENT,
    //! ECONNREFUSED: nobody is there; EACCES: a process of another user is; ETIMEDOUT; EBADMSG.
    static result<predecessor> find(const endpoint& at, std::chrono::milliseconds patience);

    predecessor(predecessor&& o) noexcept
        : what_(std::exchange(o.what_, {})),
          connection_(std::exchange(o.connection_, -1)),
          patience_(o.patience_) {}
    predecessor& operator=(predecessor&&) = delete;
    //! Without dismiss(): the old process goes on as if nothing had been.
    ~predecessor();

    //! They are the caller's from then on, open, and close on exec.
    [[nodiscard]] std::vector<int> take_listeners() noexcept {
        return std::exchange(what_.listeners, {});
    }
    //! The same; -1: there is none.
    [[nodiscard]] int take_nic_lock() noexcept { return std::exchange(what_.nic_lock, -1); }

    //! This process is ready: the other one lets go of what both can't have, and drains. Blocks
    //! until it has begun. Errors: ETIMEDOUT; the kernel's.
    result<void> dismiss();

private:
    predecessor(inheritance what, int connection, std::chrono::milliseconds patience) noexcept
        : what_(std::move(what)), connection_(connection), patience_(patience) {}

    inheritance what_;
    int connection_;
    std::chrono::milliseconds patience_;
};

}  // namespace sluice
