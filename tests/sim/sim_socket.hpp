// SPDX-License-Identifier: Apache-2.0
//! A simulated TCP socket.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "sim/network.hpp"
#include "sim/sim_address.hpp"
#include "sim/sim_file.hpp"
#include "sim/socket_options.hpp"
#include "sim/tcp_connection.hpp"

namespace sluice::sim {

//! Results are what the system call would return, without blocking: EAGAIN where it would.
class sim_socket final : public sim_file, private connection_observer {
public:
    sim_socket(world& w, network& net, int family);
    ~sim_socket() override;

    [[nodiscard]] std::string describe() const override;
    [[nodiscard]] bool ready(interest what) const override;

    int bind(const sim_address& address);
    int listen(int backlog);

    //! The first connection that waits; null and a negative errno in `error` if there is none.
    std::shared_ptr<sim_socket> accept(int& error);
    [[nodiscard]] bool more_to_accept() const noexcept;

    //! EINPROGRESS when the handshake has begun; connect_result() tells what came of it.
    int start_connect(const sim_address& to);
    int connect_result();

    //! connect(2) to AF_UNSPEC: dissolves the connection, with a reset for the peer.
    int disconnect();

    //! `lent`: the bytes stay where they are, and this is kept until they have arrived.
    int send(std::span<const std::byte> bytes, const std::shared_ptr<lent_memory>& lent = {});
    //! Whether send() would give something else than EAGAIN; ready() wants more room than that.
    [[nodiscard]] bool can_send_some() const noexcept;
    int receive(std::span<std::byte> to);
    int shutdown(int how);
    [[nodiscard]] bool more_to_read() const noexcept;
    //! Bytes that receive() could give now.
    [[nodiscard]] std::size_t unread() const noexcept;

    int set_option(int level, int name, const void* value, socklen_t length);
    int get_option(int level, int name, void* value, socklen_t& length);
    [[nodiscard]] sim_address local_address() const;
    int peer_address(sim_address& peer) const;

    //! A fault of the network.
    void reset_by_network();

private:
    void on_readable() override { notify(interest::input); }
    void on_writable() override { notify(interest::output); }
    void connected(int error, std::shared_ptr<tcp_connection> made);
    int give_info(void* value, socklen_t& length) const;

    network& net_;
    int family_;
    socket_options options_;
    sim_address local_;
    bool bound_ = false;
    int error_ = 0;  // of a connect, not yet told
    std::shared_ptr<accept_queue> queue_;
    std::shared_ptr<connect_attempt> attempt_;
    std::shared_ptr<tcp_connection> connection_;
    end_of end_ = end_of::client;
};

}  // namespace sluice::sim
