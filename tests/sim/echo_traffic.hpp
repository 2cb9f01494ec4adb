// SPDX-License-Identifier: Apache-2.0
//! Random echo traffic on one reactor of a simulated kernel: the server, its clients, the checks.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sim/sim_kernel.hpp"
#include "sluice/endpoint.hpp"
#include "sluice/listener.hpp"
#include "sluice/nursery.hpp"
#include "sluice/reactor.hpp"
#include "sluice/task.hpp"
#include "sluice/tcp_stream.hpp"

namespace sluice::sim {

//! What the streams carry: every byte follows from the stream and its place in it.
std::byte pattern_byte(std::uint32_t stream, std::uint64_t offset) noexcept;
std::vector<std::byte> pattern(std::uint32_t stream, std::uint64_t offset, std::size_t count);

//! One run of the traffic. What it decides by lot comes from the kernel's source of chance.
class echo_traffic {
public:
    struct plan {
        unsigned clients = 3;       //!< coroutines on the reactor
        unsigned peers = 2;         //!< scripts outside
        std::size_t bytes = 20000;  //!< of one stream, at most
        //! Clients may cancel sends, abort and vanish, and the network may reset connections.
        //! Without: every byte has to come back, and no operation may fail.
        bool rough = false;
        bool holders = false;  //!< clients hold slices for a while, and look at them again
        bool proxied = false;  //!< clients come to a proxy, which connects to the server
        std::chrono::nanoseconds stop_after{0};  //!< request_stop() then; 0: when all is done
        bool abandon = false;                    //!< and abandon() with it
    };

    echo_traffic(sim_kernel& sim, reactor& home, const plan& p)
        : sim_(sim), home_(home), plan_(p) {}

    //! Runs the reactor until everything has ended, and checks what came of it.
    void run();

    [[nodiscard]] std::uint64_t bytes_checked() const noexcept { return checked_; }

private:
    struct scripted {
        std::shared_ptr<peer> who;
        std::uint32_t stream;
        std::size_t sent;
        bool gentle;
    };

    //! One coroutine client.
    struct session {
        tcp_stream stream;
        std::uint32_t number = 0;
        std::size_t total = 0;  // to be sent
        std::size_t sent = 0;   // taken by the kernel
        std::size_t received = 0;
        bool gentle = true;  // it does nothing that breaks the stream
    };

    //! A listening socket, and the coroutine that serves it until the drain.
    struct entrance {
        listener_group group;
        tcp_listener listener;
    };
    std::unique_ptr<entrance> open();
    void serve_at(entrance& e, task<> (echo_traffic::*handle)(tcp_stream));
    task<> forward(tcp_stream conn);
    task<> handler(tcp_stream conn);
    task<result<std::size_t>> lend(tcp_stream& conn, std::span<const std::byte> bytes);
    task<bool> echo_once(tcp_stream& conn, unsigned style);

    task<> clients_then_drain();
    task<> client(std::uint32_t number);
    task<> send_side(session& s);
    task<result<std::size_t>> send_some(session& s, std::span<const std::byte> bytes);
    task<> receive_side(session& s);
    task<result<std::size_t>> receive_some(session& s);
    task<result<std::size_t>> receive_exactly(session& s);
    task<> pause();
    void check_bytes(const session& s, std::span<const std::byte> bytes);
    bool is_right(std::uint32_t stream, std::size_t offset, std::span<const std::byte> bytes);
    task<> hold(rx_buffer slice, std::uint32_t stream, std::size_t offset);
    //! An error is a failure of the run unless something rough can have caused it.
    void tolerate(const session& s, const boost::system::error_code& error, const char* where);
    [[nodiscard]] bool stopping() const noexcept;

    void stop_from_outside();
    void start_peer(std::uint32_t stream);
    [[nodiscard]] bool peers_done() const;
    void check_peers();

    [[nodiscard]] std::size_t draw(std::size_t low, std::size_t high) {
        return static_cast<std::size_t>(
            sim_.random().between(static_cast<std::int64_t>(low), static_cast<std::int64_t>(high)));
    }
    [[nodiscard]] bool lot(double probability) { return sim_.random().chance(probability); }

    sim_kernel& sim_;
    reactor& home_;
    plan plan_;
    endpoint at_;      // where clients connect
    endpoint server_;  // where the proxy does
    bool stopped_ = false;
    std::vector<scripted> peers_;
    std::uint64_t checked_ = 0;
};

}  // namespace sluice::sim
