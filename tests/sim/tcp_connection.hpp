// SPDX-License-Identifier: Apache-2.0
//! A simulated TCP connection with its two ends.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sim/byte_pipe.hpp"
#include "sim/sim_address.hpp"

namespace sluice::sim {

//! The end that connected and the end that accepted.
enum class end_of : unsigned char { client = 0, server = 1 };

constexpr end_of other(end_of e) noexcept {
    return e == end_of::client ? end_of::server : end_of::client;
}

//! Told of what happens at one end.
class connection_observer {
public:
    virtual void on_readable() = 0;  //!< data, end of stream or an error
    virtual void on_writable() = 0;  //!< room or an error

protected:
    ~connection_observer() = default;
};

struct buffer_sizes {
    std::size_t send;
    std::size_t receive;
};

//! Behaves as Linux does for what a program can see: order, errors, half-close, resets. Results of
//! calls are bytes or a negative errno. Owned by its ends and by the network's events.
class tcp_connection : public std::enable_shared_from_this<tcp_connection> {
public:
    tcp_connection(world& w, const sim_address& client, const sim_address& server,
                   buffer_sizes client_buffers, buffer_sizes server_buffers);

    [[nodiscard]] const sim_address& address(end_of e) const noexcept {
        return ends_[index(e)].address;
    }
    void observe(end_of e, connection_observer* o) noexcept { ends_[index(e)].observer = o; }
    void set_buffers(end_of e, buffer_sizes sizes) noexcept;

    //! No byte of either direction arrives before `time`.
    void hold_until(std::int64_t time) noexcept;

    //! The bytes that the send buffer took; EAGAIN when it is full, EPIPE, ECONNRESET.
    //! `lent` is kept until the bytes have arrived, or longer: sim_options::stuck_notice_rate.
    int send(end_of e, std::span<const std::byte> bytes,
             const std::shared_ptr<lent_memory>& lent = {});
    //! 0 at the end of the stream; EAGAIN when there is nothing, ECONNRESET, EPIPE.
    int receive(end_of e, std::span<std::byte> to);
    //! SHUT_RD, SHUT_WR, SHUT_RDWR; ENOTCONN after a reset.
    int shutdown(end_of e, int how);
    //! The last close: a reset when asked for or when bytes were left unread, else an orderly end.
    void close(end_of e, bool with_reset);
    //! Ends it at once, the descriptor stays: the peer is told with a reset.
    void disconnect(end_of e);
    //! The network resets the connection; both ends get to know at once.
    void reset_by_network();

    [[nodiscard]] bool can_receive(end_of e) const noexcept;
    //! An error, or so much room that a waiting sender is told.
    [[nodiscard]] bool can_send(end_of e) const noexcept;
    [[nodiscard]] bool has_room(end_of e) const noexcept { return out(e).room() != 0; }
    //! F_SOCK_NONEMPTY: bytes, or the end of the stream, are there to be read.
    [[nodiscard]] bool more_to_read(end_of e) const noexcept;
    //! Bytes that are there to be read.
    [[nodiscard]] std::size_t unread(end_of e) const noexcept { return in(e).readable(); }
    [[nodiscard]] bool was_reset(end_of e) const noexcept { return ends_[index(e)].reset; }
    //! Bytes sent that the other end has not got yet.
    [[nodiscard]] std::size_t unsent(end_of e) const noexcept { return out(e).unarrived(); }
    //! SO_ERROR: takes the pending error, a positive errno.
    int take_error(end_of e) noexcept;

private:
    struct end {
        sim_address address;
        connection_observer* observer = nullptr;
        int error = 0;
        bool closed = false;      // the program has no descriptor any more
        bool end_sent = false;    // FIN
        bool read_shut = false;   // SHUT_RD
        bool reset = false;       // no longer connected
        bool told_reset = false;  // it has answered data after close with a reset
        std::vector<std::shared_ptr<lent_memory>> stuck;  // goes only with a reset
    };
    static constexpr std::size_t index(end_of e) noexcept { return static_cast<std::size_t>(e); }
    byte_pipe& out(end_of e) noexcept { return pipes_[index(e)]; }
    byte_pipe& in(end_of e) noexcept { return pipes_[index(other(e))]; }
    [[nodiscard]] const byte_pipe& out(end_of e) const noexcept { return pipes_[index(e)]; }
    [[nodiscard]] const byte_pipe& in(end_of e) const noexcept { return pipes_[index(other(e))]; }

    void expect_arrival(end_of receiver);
    void arrive(end_of receiver);
    void become_reset(end_of e, int error);
    void abort(end_of e);

    world& world_;
    std::array<end, 2> ends_;
    std::array<byte_pipe, 2> pipes_;                       // by sending end
    std::array<virtual_clock::event, 2> arrival_event_{};  // by receiving end
};

}  // namespace sluice::sim
