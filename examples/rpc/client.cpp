// SPDX-License-Identifier: Apache-2.0
#include "client.hpp"

namespace rpc {

using namespace sluice;

client::client(reactor& home, tcp_stream conn) : conn_(std::move(conn)), receiver_(home) {
    receiver_.spawn([this] { return receive(); });
}

task<> client::receive() {
    stream_reader reader(conn_);
    for (;;) {
        auto reply = co_await read_frame(reader);
        if (!reply) {
            ended_ = reply.error();
            waiting_.clear();  // whoever waits learns that nothing will come
            co_return;
        }
        auto found = waiting_.extract(reply->id);
        if (found.empty())
            ++late_;
        else
            static_cast<void>(found.mapped().send(std::move(*reply)));
    }
}

task<result<std::string>> client::call(std::string payload, std::chrono::nanoseconds timeout) {
    if (ended_) co_return ended_;
    const std::uint64_t id = ++last_id_;
    oneshot<frame> once;
    waiting_.emplace(id, std::move(once.sender));
    const std::string request = encode(id, kind::echo, payload);
    auto sent = co_await conn_.send_all(std::as_bytes(std::span(request)));
    if (!sent) {
        waiting_.erase(id);
        co_return sent.error();
    }
    auto reply = co_await with_timeout(timeout, once.receiver.recv());
    waiting_.erase(id);
    if (!reply) co_return reply.error() == error::channel_closed ? ended_ : reply.error();
    if (reply->what == kind::timed_out) co_return error::timeout;
    co_return std::move(reply->payload);
}

task<> client::stop() {
    static_cast<void>(co_await receiver_.stop());
    co_await conn_.close();
}

}  // namespace rpc
