// SPDX-License-Identifier: Apache-2.0
#include "sim/sim_socket.hpp"

#include <linux/tcp.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sluice::sim {

namespace {
enum : std::uint8_t { state_established = 1, state_close = 7, state_listen = 10 };
constexpr std::uint32_t usual_segment = 1460;
}  // namespace

sim_socket::sim_socket(world& w, network& net, int family)
    : sim_file(w), net_(net), family_(family), options_(w.options) {
    local_.family = family;
}

sim_socket::~sim_socket() {
    if (queue_ != nullptr) queue_->close();
    if (connection_ != nullptr) connection_->close(end_, options_.reset_on_close());
    if (bound_) net_.unbind(this);
}

std::string sim_socket::describe() const {
    if (queue_ != nullptr) return "listening socket";
    return connection_ != nullptr ? "connected socket" : "socket";
}

bool sim_socket::ready(interest what) const {
    if (queue_ != nullptr) return what == interest::input && !queue_->empty();
    if (attempt_ != nullptr) return false;
    if (connection_ == nullptr) return true;  // to fail
    return what == interest::input ? connection_->can_receive(end_) : connection_->can_send(end_);
}

int sim_socket::bind(const sim_address& address) {
    if (bound_ || connection_ != nullptr || attempt_ != nullptr) return -EINVAL;
    if (address.family != family_) return -EAFNOSUPPORT;
    local_ = address;
    const int done = net_.bind(this, local_, options_.share_port(), options_.share_address());
    bound_ = done == 0;
    if (!bound_) local_ = {family_, {}, 0};
    return done;
}

int sim_socket::listen(int backlog) {
    if (connection_ != nullptr || attempt_ != nullptr) return -EINVAL;
    if (!bound_)
        if (const int done = bind({family_, {}, 0}); done < 0) return done;
    const unsigned wanted = backlog < 0 ? world_.options.somaxconn : static_cast<unsigned>(backlog);
    const unsigned depth = std::min(wanted, world_.options.somaxconn);
    if (queue_ != nullptr) {
        queue_->set_backlog(depth);
        return 0;
    }
    queue_ = std::make_shared<accept_queue>(local_, depth, options_.buffers());
    queue_->on_arrival([this] { notify(interest::input); });
    net_.listen(queue_);
    return 0;
}

std::shared_ptr<sim_socket> sim_socket::accept(int& error) {
    error = queue_ == nullptr ? -EINVAL : -EAGAIN;
    auto connection = queue_ == nullptr ? nullptr : queue_->take();
    if (connection == nullptr) return nullptr;
    error = 0;
    auto made = std::make_shared<sim_socket>(world_, net_, family_);
    made->options_ = options_;
    made->connection_ = std::move(connection);
    made->end_ = end_of::server;
    made->local_ = made->connection_->address(end_of::server);
    made->connection_->observe(end_of::server, made.get());
    return made;
}

bool sim_socket::more_to_accept() const noexcept { return queue_ != nullptr && !queue_->empty(); }

int sim_socket::start_connect(const sim_address& to) {
    if (connection_ != nullptr) return -EISCONN;
    if (queue_ != nullptr) return -EISCONN;
    if (attempt_ != nullptr) return -EALREADY;
    if (to.family != family_) return -EAFNOSUPPORT;
    if (!bound_) {
        const int done = bind({family_, {}, 0});
        if (done < 0) return done;
    }
    sim_address target = to;
    if (target.is_any()) target.ip = loopback(family_, 0).ip;  // as Linux takes it
    if (local_.is_any()) local_.ip = loopback(family_, 0).ip;
    error_ = 0;
    attempt_ = net_.connect(local_, target, options_.buffers());
    attempt_->done = [this](int error, std::shared_ptr<tcp_connection> made) {
        connected(error, std::move(made));
    };
    return -EINPROGRESS;
}

void sim_socket::connected(int error, std::shared_ptr<tcp_connection> made) {
    error_ = error;
    connection_ = std::move(made);
    if (connection_ != nullptr) connection_->observe(end_of::client, this);
    const auto finished = std::exchange(attempt_, nullptr);
    notify(interest::output);
    notify(interest::input);
}

int sim_socket::connect_result() {
    if (attempt_ != nullptr) return -EAGAIN;
    return -std::exchange(error_, 0);
}

int sim_socket::disconnect() {
    if (queue_ != nullptr || attempt_ != nullptr) return -EOPNOTSUPP;  // not simulated
    if (connection_ != nullptr) connection_->disconnect(end_);
    return 0;
}

int sim_socket::send(std::span<const std::byte> bytes, const std::shared_ptr<lent_memory>& lent) {
    if (attempt_ != nullptr) return -EAGAIN;
    if (connection_ == nullptr) return error_ != 0 ? -std::exchange(error_, 0) : -EPIPE;
    return connection_->send(end_, bytes, lent);
}

bool sim_socket::can_send_some() const noexcept {
    if (attempt_ != nullptr) return false;
    return connection_ == nullptr || connection_->has_room(end_) || connection_->can_send(end_);
}

int sim_socket::receive(std::span<std::byte> to) {
    if (attempt_ != nullptr) return -EAGAIN;
    if (connection_ == nullptr) return error_ != 0 ? -std::exchange(error_, 0) : -ENOTCONN;
    return connection_->receive(end_, to);
}

int sim_socket::shutdown(int how) {
    if (queue_ != nullptr) {
        if (how == SHUT_WR) return 0;
        queue_->close();
        queue_ = nullptr;
        notify(interest::input);
        return 0;
    }
    return connection_ == nullptr ? -ENOTCONN : connection_->shutdown(end_, how);
}

bool sim_socket::more_to_read() const noexcept {
    return connection_ != nullptr && connection_->more_to_read(end_);
}

std::size_t sim_socket::unread() const noexcept {
    return connection_ != nullptr ? connection_->unread(end_) : 0;
}

int sim_socket::set_option(int level, int name, const void* value, socklen_t length) {
    const int done = options_.set(level, name, value, length);
    if (done == 0 && connection_ != nullptr && level == SOL_SOCKET &&
        (name == SO_SNDBUF || name == SO_RCVBUF))
        connection_->set_buffers(end_, options_.buffers());
    return done;
}

int sim_socket::get_option(int level, int name, void* value, socklen_t& length) {
    int number = 0;
    if (level == SOL_SOCKET && name == SO_ERROR)
        number = connection_ != nullptr ? connection_->take_error(end_) : std::exchange(error_, 0);
    else if (level == SOL_SOCKET && name == SO_DOMAIN)
        number = family_;
    else if (level == SOL_SOCKET && name == SO_ACCEPTCONN)
        number = queue_ != nullptr ? 1 : 0;
    else if (level == IPPROTO_TCP && name == TCP_INFO)
        return give_info(value, length);
    else
        return options_.get(level, name, value, length);
    return give_option(&number, sizeof number, value, length);
}

int sim_socket::give_info(void* value, socklen_t& length) const {
    tcp_info info{};
    const bool connected = connection_ != nullptr && !connection_->was_reset(end_);
    if (connected)
        info.tcpi_state = state_established;
    else
        info.tcpi_state = queue_ != nullptr ? state_listen : state_close;
    if (connected) info.tcpi_notsent_bytes = static_cast<std::uint32_t>(connection_->unsent(end_));
    info.tcpi_snd_mss = info.tcpi_rcv_mss = usual_segment;
    info.tcpi_rtt = static_cast<std::uint32_t>(2 * world_.options.latency_min / 1000);
    return give_option(&info, sizeof info, value, length);
}

sim_address sim_socket::local_address() const {
    return connection_ != nullptr ? connection_->address(end_) : local_;
}

int sim_socket::peer_address(sim_address& peer) const {
    if (connection_ == nullptr || connection_->was_reset(end_)) return -ENOTCONN;
    peer = connection_->address(other(end_));
    return 0;
}

void sim_socket::reset_by_network() {
    if (connection_ != nullptr) connection_->reset_by_network();
}

}  // namespace sluice::sim
