// SPDX-License-Identifier: Apache-2.0
/// Echo by Boost.Asio, one io_context for each core: by coroutines or by callbacks (--style). Built
/// twice: on epoll, and on io_uring. Executors are not type-erased and contexts take no locks, as
/// users who care for speed have it.
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "peer.h"

namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using executor = asio::io_context::executor_type;
using tcp_socket = asio::basic_stream_socket<asio::ip::tcp, executor>;
using tcp_acceptor = asio::basic_socket_acceptor<asio::ip::tcp, executor>;
template <class T>
using awaitable = asio::awaitable<T, executor>;
constexpr auto token = asio::as_tuple(asio::use_awaitable_t<executor>());

constexpr std::size_t buffer_size = std::size_t{64} * 1024;

awaitable<void> echo(tcp_socket socket) {
    // Not set to zero: an idle connection touches no page of it.
    const std::unique_ptr<char[]> buffer(new char[buffer_size]);
    for (;;) {
        auto [failed, got] =
            co_await socket.async_read_some(asio::buffer(buffer.get(), buffer_size), token);
        if (failed) co_return;
        if (!peer.discard) {
            auto [broken, sent] =
                co_await asio::async_write(socket, asio::buffer(buffer.get(), got), token);
            if (broken) co_return;
        }
        peer_count(got);
    }
}

awaitable<void> accept_all(tcp_acceptor& acceptor) {
    for (;;) {
        auto [failed, socket] = co_await acceptor.async_accept(token);
        if (!failed)
            asio::co_spawn(acceptor.get_executor(), echo(std::move(socket)), asio::detached);
    }
}

class session : public std::enable_shared_from_this<session> {
public:
    explicit session(tcp_socket socket) : socket_(std::move(socket)) {}

    void read() {
        socket_.async_read_some(asio::buffer(buffer_.get(), buffer_size),
                                [self = shared_from_this()](error_code failed, std::size_t got) {
                                    if (!failed) self->on_read(got);
                                });
    }

private:
    void on_read(std::size_t got) {
        if (peer.discard) {
            peer_count(got);
            read();
            return;
        }
        asio::async_write(socket_, asio::buffer(buffer_.get(), got),
                          [self = shared_from_this()](error_code failed, std::size_t sent) {
                              if (failed) return;
                              peer_count(sent);
                              self->read();
                          });
    }

    tcp_socket socket_;
    std::unique_ptr<char[]> buffer_{new char[buffer_size]};
};

void accept_next(tcp_acceptor& acceptor) {
    acceptor.async_accept([&acceptor](error_code failed, tcp_socket socket) {
        if (!failed) std::make_shared<session>(std::move(socket))->read();
        accept_next(acceptor);
    });
}

void serve(int listener) {
    asio::io_context context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
    tcp_acceptor acceptor(context, asio::ip::tcp::v4(), listener);
    if (std::strcmp(peer.style, "coroutines") == 0)
        asio::co_spawn(context, accept_all(acceptor), asio::detached);
    else
        accept_next(acceptor);
    context.run();
}

}  // namespace

int main(int argc, char** argv) {
    peer_parse(argc, argv, "coroutines callbacks");
    peer_run(serve);
}
