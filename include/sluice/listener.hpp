// SPDX-License-Identifier: Apache-2.0
//! Accepting connections: a group of sockets on one port, one for each reactor.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sluice/endpoint.hpp"
#include "sluice/nursery.hpp"
#include "sluice/result.hpp"
#include "sluice/steering.hpp"
#include "sluice/tcp_stream.hpp"
#include "sluice/zcrx_options.hpp"

namespace sluice {

struct listen_options {
    int backlog = 4096;       //!< listen(2); the kernel caps it at net.core.somaxconn
    bool no_delay = true;     //!< TCP_NODELAY for accepted connections
    bool share_port = false;  //!< join sockets of other processes on the port (SO_REUSEPORT)
    //! How long to wait for a port that is taken: a process that was killed keeps its sockets until
    //! the kernel has taken it apart, rings and areas included. EADDRINUSE comes so much later.
    std::chrono::milliseconds bind_wait{1000};
    bool ipv6_only = false;  //!< "::" takes IPv4 connections too unless this is set
    int receive_buffer = 0;  //!< SO_RCVBUF before listen, in bytes; 0: the kernel tunes it
    int send_buffer = 0;     //!< SO_SNDBUF
    //! Of accepted connections. automatic: as zcrx_options::mode says; zc: open() fails with
    //! EOPNOTSUPP on a reactor that has no rx queue.
    receive_mode mode = receive_mode::automatic;
    std::uint32_t max_connections = 0;        //!< of one reactor; 0: as many as descriptors
    std::uint32_t max_pending_accepts = 256;  //!< accepted and not yet taken by accept()
    std::uint32_t descriptor_headroom = 64;   //!< accepting pauses when fewer are left
    //! When descriptors run out in spite of the headroom, connections wait in the kernel's backlog.
    //! With this set one at a time is accepted on a reserve descriptor and closed instead.
    bool refuse_when_exhausted = false;
    //! Which socket of the group, and so which reactor, gets a connection.
    steering_options steer{};
    //! With an rx queue of an interface for each reactor: a connection that was accepted by another
    //! reactor than the one whose queue its packets come by (SO_INCOMING_NAPI_ID, socket(7)) goes
    //! to the listener there before anybody sees it. False: it stays. Needs listeners of one group
    //! on the reactors of a service; not for registered descriptors. net_stats::accepts_* count.
    bool hand_over = true;
};

namespace detail {
class accept_exchange;
class acceptor;
class kernel;
}  // namespace detail

//! Sockets bound to one endpoint with SO_REUSEPORT, see socket(7): the kernel spreads connections
//! over them. Open it before the reactors start, and keep it until they have ended: a socket that
//! leaves a live group takes its waiting connections with it.
class listener_group {
public:
    //! Binds and listens. Port 0: the kernel chooses, local() tells. Errors: the kernel's, see
    //! explain_listen_error().
    static result<listener_group> open(const endpoint& at, unsigned count,
                                       const listen_options& options = {});
    static result<listener_group> open_on(detail::kernel& kernel, const endpoint& at,
                                          unsigned count, const listen_options& options = {});

    //! Takes over sockets that listen already: from systemd, or from a process that is replaced.
    //! They are owned by the group from now on, also when this fails. Error: EINVAL for a
    //! descriptor that is not a listening stream socket, or none.
    static result<listener_group> adopt(std::vector<int> descriptors,
                                        const listen_options& options = {});

    listener_group(listener_group&& o) noexcept;
    listener_group& operator=(listener_group&&) = delete;
    ~listener_group();

    [[nodiscard]] unsigned count() const noexcept {
        return static_cast<unsigned>(descriptors_.size());
    }
    [[nodiscard]] int descriptor(unsigned index) const noexcept { return descriptors_[index]; }
    [[nodiscard]] const endpoint& local() const noexcept { return local_; }
    [[nodiscard]] const listen_options& options() const noexcept { return options_; }

    //! What listeners on different reactors have in common.
    [[nodiscard]] const std::shared_ptr<detail::accept_exchange>& exchange() const noexcept {
        return exchange_;
    }

    //! Hands the sockets over, open and listening; the group is empty from now on.
    std::vector<int> release() noexcept { return std::exchange(descriptors_, {}); }

private:
    listener_group(detail::kernel& kernel, const listen_options& options)
        : kernel_(&kernel), options_(options) {}
    void begin();
    result<void> add_socket(const endpoint& at);

    detail::kernel* kernel_;
    listen_options options_;
    std::vector<int> descriptors_;
    endpoint local_;
    std::shared_ptr<detail::accept_exchange> exchange_;
};

//! The cause and the remedy, for a person: why tcp_listener::open() failed on this reactor.
std::string explain_receive_error(const boost::system::error_code& error, const reactor& home);

//! The same for listener_group::open().
std::string explain_listen_error(const boost::system::error_code& error, const endpoint& at);

namespace detail {

class [[nodiscard]] accept_awaiter final : public waiter {
public:
    static constexpr bool takes_on_resume = true;

    explicit accept_awaiter(acceptor& a) noexcept : acceptor_(a) {}
    accept_awaiter(accept_awaiter&& o) noexcept : waiter(std::move(o)), acceptor_(o.acceptor_) {}
    ~accept_awaiter();
    bool await_ready() const noexcept;
    bool await_suspend(std::coroutine_handle<> h, const environment& env);
    result<tcp_stream> await_resume();
    void on_stop() noexcept override;
    void describe(await_description& into) const override;
    //! The listener has gone.
    void cancel() noexcept;

private:
    acceptor& acceptor_;
    bool cancelled_ = false;
    bool pinned_ = false;  // since it waits: the listener may go before it is resumed
};

}  // namespace detail

//! One reactor's share of a listener_group. Belongs to that reactor. Dropping it stops accepting;
//! the socket stays open in its group, and connections made so far go on.
class tcp_listener {
public:
    //! Starts accepting on the group's socket `index % count` (default: the reactor's index), which
    //! must live longer. Multishot accept (Linux 5.19). Error: what the reactor's receive buffers
    //! could not be had for, mostly ENOMEM; or the rx queue that the mode
    //! demands; explain_receive_error() says what to do.
    static result<tcp_listener> open(reactor& home, const listener_group& group);
    static result<tcp_listener> open(reactor& home, const listener_group& group, unsigned index);

    tcp_listener(tcp_listener&& o) noexcept : acceptor_(std::exchange(o.acceptor_, nullptr)) {}
    tcp_listener& operator=(tcp_listener&&) = delete;
    ~tcp_listener();

    //! The next connection. Errors: error::draining once the reactor drains and all connections
    //! accepted so far were taken; the kernel's, when the socket itself is unusable. A lack of
    //! descriptors is no error: accepting pauses and goes on when there are some. Cancelled:
    //! ECANCELED, the connections wait. One at a time.
    [[nodiscard]] detail::accept_awaiter accept() noexcept {
        return detail::accept_awaiter{*acceptor_};
    }

    //! Connections of this listener that are open now.
    [[nodiscard]] std::uint32_t connections() const noexcept;

private:
    explicit tcp_listener(detail::acceptor& a) noexcept : acceptor_(&a) {}
    detail::acceptor* acceptor_;
};

//! Accepts until the reactor drains, and runs `handler(tcp_stream)`, which returns a task, for each
//! connection. A handler that fails is logged and counted, the others go on. Ends when all
//! handlers have ended; with an error when accepting failed.
template <class Handler>
task<result<void>> serve(tcp_listener& listener, Handler handler) {
    result<void> outcome;
    auto accept_loop = [&](nursery& connections) -> task<> {
        for (;;) {
            auto accepted = co_await listener.accept();
            if (!accepted) {
                if (accepted.error() != error::draining) outcome = accepted.error();
                co_return;
            }
            connections.spawn(handler, std::move(*accepted));
        }
    };
    auto ended = co_await with_nursery(nursery_options{on_failure::collect}, accept_loop);
    co_return ended ? outcome : ended;
}

}  // namespace sluice
