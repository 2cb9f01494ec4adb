// SPDX-License-Identifier: Apache-2.0
//! A TCP (or Unix stream) connection.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "sluice/buffer.hpp"
#include "sluice/endpoint.hpp"
#include "sluice/result.hpp"
#include "sluice/stream_awaiters.hpp"
#include "sluice/task.hpp"
#include "sluice/zcrx_options.hpp"

namespace sluice {

struct connect_options {
    std::chrono::nanoseconds timeout{std::chrono::seconds{30}};
    bool no_delay = true;     //!< TCP_NODELAY, see tcp(7)
    bool bind_local = false;  //!< bind to `local` first
    endpoint local{};
    //! Chooses the local port so that the peer's packets come by the reactor's own rx queue, by the
    //! hash of the interface (zcrx_options::replies; without it nothing is chosen). Shares ports
    //! with other connections of this kind (SO_REUSEADDR). When none is found: the kernel chooses.
    //! Not for registered descriptors. net_stats::connects_right tells how often it came true.
    bool to_own_queue = false;
    receive_mode mode = receive_mode::automatic;  //!< zc without an rx queue: EOPNOTSUPP
};

//! What the kernel knows of a connection: tcp(7), TCP_INFO. Zero where it does not say.
struct tcp_information {
    std::chrono::microseconds round_trip{0};
    std::chrono::microseconds round_trip_variance{0};
    std::uint32_t congestion_window = 0;  //!< segments
    std::uint32_t segment_size = 0;       //!< bytes
    std::uint64_t retransmitted = 0;      //!< segments, in all
    std::uint64_t unacknowledged = 0;     //!< segments
    std::uint64_t unsent = 0;             //!< bytes that wait for the window
    bool disconnected = false;            //!< it was reset, or both sides have ended
};

//! A move-only handle of a connection that belongs to the reactor it was made on. All functions are
//! called on that reactor's thread; the handle may be moved elsewhere and be dropped there.
//!
//! In flight at once: one receive (recv, recv_into or a stream_reader) and any number of sends.
//! Dropping the handle closes the connection in the background, without waiting for what the peer
//! has still to read; operations of other tasks on it end with ECANCELED.
class tcp_stream {
    template <class Payload>
    using sender = detail::send_awaiter<Payload>;

public:
    tcp_stream() = default;
    tcp_stream(tcp_stream&& o) noexcept : connection_(std::exchange(o.connection_, nullptr)) {}
    tcp_stream& operator=(tcp_stream&& o) noexcept {
        if (this != &o) {
            drop();
            connection_ = std::exchange(o.connection_, nullptr);
        }
        return *this;
    }
    ~tcp_stream() { drop(); }

    //! Connects on the reactor that runs the task. Errors: the kernel's, error::timeout. Cancelled:
    //! ECANCELED, the socket is closed.
    static task<result<tcp_stream>> connect(endpoint peer, connect_options options = {});

    explicit operator bool() const noexcept { return connection_ != nullptr; }

    //! The next bytes as they came: 1 byte at least, in memory that goes back when the buffer ends.
    //! Completes when bytes are there. Errors: error::eof once all was taken and the peer has shut
    //! down its side; the kernel's. Linux tells of a reset once: after a send that got ECONNRESET
    //! it looks like the end. Cancelled: ECANCELED, nothing is lost, the bytes wait for the next
    //! receive. Costs nothing at the kernel: a multishot receive stays armed (Linux 6.0).
    [[nodiscard]] detail::recv_awaiter recv() noexcept {
        return detail::recv_awaiter{*connection_};
    }

    //! The same, copied to `destination`, which must not be empty. Gives the bytes copied, at least
    //! one. `destination` must live until then.
    [[nodiscard]] detail::recv_into_awaiter recv_into(std::span<std::byte> destination) noexcept {
        return {*connection_, destination};
    }

    //! Sends something of `bytes`: completes with their number, at least 1, once the kernel has
    //! taken them. `bytes` must live until then. Errors: error::broken_send, EPIPE, ECONNRESET, ...
    //! Cancelled: ECANCELED, and nothing was sent.
    [[nodiscard]] auto send(std::span<const std::byte> bytes) noexcept {
        return sender<std::span<const std::byte>>{*connection_, std::move(bytes),
                                                  detail::send_extent::some};
    }

    //! Sends everything: completes once the kernel has taken all of it. Calls are served in order
    //! and never mixed; what is waiting at the end of a turn goes out together. Gives the number of
    //! bytes. Cancelled before the first byte: ECANCELED, and nothing was sent. Cancelled later:
    //! ECANCELED, and all sends after it fail with error::broken_send. ENOBUFS when
    //! reactor_options::max_pending_sends calls are waiting already.
    [[nodiscard]] auto send_all(std::span<const std::byte> bytes) noexcept {
        return sender<std::span<const std::byte>>{*connection_, std::move(bytes)};
    }
    //! The same; the buffer is kept until it has been sent. Large ones go out without being copied
    //! (reactor_options::zero_copy_send_from): the memory goes back when the peer has it, which may
    //! be long after this completes.
    [[nodiscard]] auto send_all(rx_buffer&& buffer) noexcept {
        return sender<rx_buffer>{*connection_, std::move(buffer)};
    }
    //! The same for several pieces, one after the other. Both the array and the bytes must live
    //! until it completes.
    [[nodiscard]] auto send_all(std::span<const std::span<const std::byte>> pieces) noexcept {
        return sender<std::span<const std::span<const std::byte>>>{*connection_, std::move(pieces)};
    }
    //! The same for buffers that are kept until they have been sent.
    [[nodiscard]] auto send_all(buffer_chain&& chain) noexcept {
        return sender<buffer_chain>{*connection_, std::move(chain)};
    }

    //! The same without a copy of `bytes`, where the kernel can (Linux 6.2) and there are enough of
    //! them (reactor_options::zero_copy_send_from): completes when the kernel has done with the
    //! memory as well, which is when the peer's has all of it. `bytes` must live, and not be
    //! changed, until then.
    //!
    //! Cancelled after some bytes went: ECANCELED, and the connection is reset, since nothing else
    //! takes the memory back from the kernel. The same if the stream is closed meanwhile.
    [[nodiscard]] auto send_all_zero_copy(std::span<const std::byte> bytes) noexcept {
        return sender<detail::lent_bytes>{*connection_, detail::lent_bytes{bytes}};
    }

    //! Ends the sending side after everything sent so far; the peer sees the end of the stream.
    //! Receiving goes on. Cancelled before its turn: ECANCELED, the side stays open.
    [[nodiscard]] auto shutdown() noexcept {
        return sender<std::span<const std::byte>>{*connection_, {}, detail::send_extent::shutdown};
    }

    //! Ends the connection and completes when its descriptor is closed. Bytes that the kernel has
    //! taken are still delivered. The handle is empty from now on. A stop does not shorten it: it
    //! waits for nothing but the kernel's answer to the cancelling of its own operations. With
    //! zero-copy sends that are not over, both directions are shut down, and the descriptor is
    //! closed when they are, at the latest after reactor_options::held_send_timeout.
    [[nodiscard]] detail::close_awaiter close() noexcept {
        return detail::close_awaiter{std::exchange(connection_, nullptr)};
    }

    //! Moves the connection to another reactor of the service; no byte is lost or sent twice. Waits
    //! until everything given to send_all() so far has been sent, while the peer's bytes wait in
    //! the kernel. Bytes received and not taken go along. From then on the handle belongs to that
    //! reactor: pass it on, `co_await on(index, serve_there, std::move(stream))`. It no longer
    //! counts for the listener that accepted it. Memory of zero-copy sends that are not over stays
    //! with this reactor, which keeps a second descriptor for so long.
    //!
    //! Errors: EBUSY when a receive waits; EOPNOTSUPP for a registered descriptor; error::draining
    //! and ECANCELED as on() gives them; the target's lack of memory; EMFILE. After an error the
    //! stream is as it was, here. Cancelled: ECANCELED, or it has moved all the same: then there is
    //! no error.
    [[nodiscard]] task<result<void>> move_to(unsigned index);

    //! Resets the connection: unsent bytes are thrown away, the peer gets ECONNRESET (socket(7),
    //! SO_LINGER). Closes in the background; the handle is empty from now on.
    void abort() noexcept;

    //! Options by their numbers, see socket(7) and tcp(7). Errors: the kernel's; EOPNOTSUPP for a
    //! registered descriptor.
    result<void> set_option(int level, int name, int value) noexcept;
    [[nodiscard]] result<int> option(int level, int name) const noexcept;

    //! Error: EOPNOTSUPP for a registered descriptor, for all three.
    [[nodiscard]] result<endpoint> peer() const;
    [[nodiscard]] result<endpoint> local() const;
    [[nodiscard]] result<tcp_information> information() const;

    //! The reactor that it belongs to. From any thread.
    [[nodiscard]] reactor& home() const noexcept;

    //! Bytes received and not taken yet.
    [[nodiscard]] std::size_t pending() const noexcept;

    //! The descriptor, still owned by the stream; -1 for a registered one.
    [[nodiscard]] int native_handle() const noexcept;

    //! For listeners.
    explicit tcp_stream(detail::connection& c) noexcept : connection_(&c) {}

private:
    friend class stream_reader;
    void drop() noexcept {
        if (connection_ != nullptr) detail::drop_connection(*std::exchange(connection_, nullptr));
    }

    detail::connection* connection_ = nullptr;
};

}  // namespace sluice
