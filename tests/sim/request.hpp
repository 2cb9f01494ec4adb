// SPDX-License-Identifier: Apache-2.0
//! One request at the simulated kernel.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/uring.hpp"
#include "sim/lent_memory.hpp"
#include "sim/sim_address.hpp"
#include "sim/sim_file.hpp"
#include "sim/sqe_fields.hpp"
#include "sim/virtual_clock.hpp"

namespace sluice::sim {

class sim_ring;

//! What came of trying to carry out a request.
struct outcome {
    enum class what : unsigned char { finished, waits, put_off };

    what kind;
    std::int32_t result = 0;              // finished: of the terminal CQE
    std::uint32_t flags = 0;              // finished: of the terminal CQE
    interest wait_for = interest::input;  // waits: for its file
    std::int64_t delay = 0;               // put_off: nanoseconds until it is tried again

    static outcome finish(std::int64_t result, std::uint32_t flags = 0) noexcept {
        return {what::finished, static_cast<std::int32_t>(result), flags, {}, 0};
    }
    static outcome wait(interest i) noexcept { return {what::waits, 0, 0, i, 0}; }
    static outcome later(std::int64_t delay) noexcept { return {what::put_off, 0, 0, {}, delay}; }
};

struct request final : readiness_waiter {
    enum class phase : unsigned char {
        trying,   // just now
        waiting,  // for its file, or for time
        queued,   // task work will try again
        put_off,  // an event will queue it
        held,     // done: an event will post the CQE; it can't be cancelled any more
        ending,   // cancelled: task work will post the CQE
        lent,     // a zero-copy send whose first CQE was posted: the memory is in use
        free,     // it is not any more: task work will post the notification
    };

    request(sim_ring& r, std::uint64_t number, const sqe_fields& entry)
        : ring(r), id(number), sqe(entry) {}
    ~request() {
        if (file != nullptr) file->forget(*this);
    }
    request(const request&) = delete;
    request& operator=(const request&) = delete;

    void on_ready() override;                    // in sim_ring.cpp
    [[nodiscard]] std::string describe() const;  // in sim_ring.cpp

    [[nodiscard]] bool multishot() const noexcept {
        return ((sqe.opcode == IORING_OP_RECV || sqe.opcode == IORING_OP_RECV_ZC) &&
                (sqe.ioprio & IORING_RECV_MULTISHOT) != 0) ||
               (sqe.opcode == IORING_OP_ACCEPT && (sqe.ioprio & IORING_ACCEPT_MULTISHOT) != 0);
    }
    [[nodiscard]] bool zero_copy() const noexcept {
        return sqe.opcode == IORING_OP_SEND_ZC || sqe.opcode == IORING_OP_SENDMSG_ZC;
    }
    //! It can't be cancelled, or even found.
    [[nodiscard]] bool notifies_only() const noexcept {
        return state == phase::lent || state == phase::free;
    }
    [[nodiscard]] bool selects_buffer() const noexcept {
        return (sqe.flags & IOSQE_BUFFER_SELECT) != 0;
    }
    //! The result when it is ended by a cancel.
    [[nodiscard]] std::int32_t cancelled_result() const noexcept {
        return done != 0 ? static_cast<std::int32_t>(done) : -ECANCELED;
    }

    sim_ring& ring;
    const std::uint64_t id;
    const sqe_fields sqe;
    std::shared_ptr<sim_file> file;
    phase state = phase::trying;
    virtual_clock::event event{};  // put_off, held, or a timeout's

    // What was copied when the request was submitted.
    std::vector<iovec> pieces;
    std::shared_ptr<lent_memory> lent;  // until the first CQE of a zero-copy send
    bool disconnects = false;           // a connect to nobody
    sim_address address;
    unsigned descriptor_limit = 0;
    std::int64_t time = 0;  // of a timeout: a point in time

    // How far it is.
    std::size_t done = 0;        // bytes of a transfer that goes on
    std::size_t limit_left = 0;  // bytes that a limited multishot may still deliver
    std::size_t cap = 0;         // most bytes of the next transfer; 0: no cap
    std::int64_t hold_for = 0;   // the CQE comes so much later
    outcome held = outcome::finish(0);
    bool started = false;   // a connect
    bool counted = false;   // the fault plan has been asked about the next CQE
    bool must_end = false;  // with the next try, whatever that brings
};

}  // namespace sluice::sim
