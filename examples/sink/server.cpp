// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"

#include <spdlog/fmt/fmt.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "../common/figures.hpp"

namespace sink {

using namespace sluice;
using namespace std::chrono_literals;
using demo::percent;

namespace {

bool is_device(const std::string& name) {
    std::error_code ignored;
    const auto status = std::filesystem::status(name, ignored);
    return std::filesystem::exists(status) && !std::filesystem::is_regular_file(status);
}

std::string shares(const file_writer_counts& c) {
    return fmt::format("staged {:.1f} % | aligned address {:.0f} % length {:.0f} % offset {:.0f} %",
                       percent(c.staged, c.bytes), percent(c.aligned_address, c.slices),
                       percent(c.aligned_length, c.slices), percent(c.aligned_offset, c.slices));
}

}  // namespace

std::string to_string(const file_writer_counts& counts, std::uint64_t syncs) {
    return fmt::format("{} bytes | {} | slices {} | writes {} | fsyncs {}", counts.bytes,
                       shares(counts), counts.slices, counts.writes, syncs);
}

figures& figures::operator+=(const figures& o) noexcept {
    connections += o.connections;
    files += o.files;
    failed += o.failed;
    refused += o.refused;
    syncs += o.syncs;
    writes += o.writes;
    bytes_in += o.bytes_in;
    zero_copy_bytes += o.zero_copy_bytes;
    enobufs += o.enobufs;
    capped += o.capped;
    return *this;
}

//! One connection on its way into a file.
struct server::transfer {
    ~transfer() {
        if (device != nullptr) *device = false;
    }

    std::atomic<bool>* device = nullptr;  // claimed by this
    tcp_stream conn;
    std::string name;
    file to;
    boost::system::error_code stream_end;  // eof: in order
    boost::system::error_code failure;     // of the file
    file_writer_counts counts;
    std::uint64_t written = 0;
    std::uint64_t syncs = 0;
};

server::server(const options& o, service& all, demo::succession& succession)
    : core_server("sluice-sink", all, succession, o.reactor.zcrx),
      options_(o),
      device_(is_device(o.out)),
      cores_(all.reactors()) {}

task<> server::run(reactor& home) {
    core& mine = cores_[home.index()];
    const auto begin = [&](nursery& scope) {
        if (home.index() != 0 || options_.stats <= 0ms) return;
        scope.spawn([&] {
            return demo::say_figures<figures>(
                home, home_service(), options_.stats, [this](reactor& r) { return now_of(r); },
                say);
        });
    };
    co_await serve_on(home, begin, [&](tcp_stream conn) { return client(std::move(conn), mine); });
}

std::string server::next_name() {
    const std::uint64_t number = names_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (device_ || number == 1) return options_.out;
    return options_.out + "." + std::to_string(number);
}

// In order, the connection is closed when everything is in the file and synced, so that the sender
// can wait for that; otherwise it is reset.
task<> server::client(tcp_stream conn, core& mine) {
    if (device_ && device_in_use_.exchange(true)) {
        refuse(conn, mine);
        co_return;
    }
    transfer t;
    if (device_) t.device = &device_in_use_;
    t.conn = std::move(conn);
    t.name = next_name();
    file_options how;
    how.direct = options_.direct;
    auto opened = co_await file::open(t.name, how);
    if (opened) {
        ++mine.done.files;
        t.to = std::move(*opened);
        static_cast<void>(
            co_await with_nursery([&](nursery& scope) -> task<> { return store(t, scope, mine); }));
        auto closed = co_await t.to.close();
        if (!closed && !t.failure) t.failure = closed.error();
    } else {
        t.failure = opened.error();
    }
    if (t.failure) ++mine.done.failed;
    mine.done.writes += t.counts;
    mine.done.syncs += t.syncs;
    report(t);
    if (t.failure || t.stream_end != error::eof) t.conn.abort();
}

namespace {

struct listed {
    listed(std::set<const file_writer*>& all, const file_writer& one) : list(all), writer(one) {
        list.insert(&writer);
    }
    listed(const listed&) = delete;
    listed& operator=(const listed&) = delete;
    ~listed() { list.erase(&writer); }
    std::set<const file_writer*>& list;
    const file_writer& writer;
};

}  // namespace

task<> server::store(transfer& t, nursery& scope, core& mine) {
    file_writer writer(scope, t.to, options_.writing);
    const listed entry{mine.under_way, writer};
    co_await receive(t, writer);
    // What has been received is written, also when the service ends, and when a write has failed,
    // which cancels all here.
    auto finishing = finish(t, writer);
    co_await shielded(std::move(finishing));
    t.counts = writer.counts();
    t.written = writer.written();
}

task<> server::receive(transfer& t, file_writer& writer) {
    const auto idle = options_.idle_timeout.count() > 0
                          ? std::chrono::nanoseconds(options_.idle_timeout)
                          : std::chrono::nanoseconds::max();
    std::uint64_t next_sync = options_.sync.each != 0 ? options_.sync.each : UINT64_MAX;
    for (;;) {
        auto chunk = co_await with_timeout(idle, t.conn.recv());
        if (!chunk) {
            t.stream_end = chunk.error();
            co_return;
        }
        auto taken = co_await writer.write(std::move(*chunk));
        if (taken && writer.counts().bytes >= next_sync) {
            next_sync = writer.counts().bytes + options_.sync.each;
            taken = co_await writer.settle();
            if (taken) taken = co_await t.to.sync_data();
            if (taken) ++t.syncs;
        }
        if (!taken) {
            t.stream_end = cancelled_error();
            if (taken.error() != cancelled_error()) t.failure = taken.error();
            co_return;
        }
    }
}

task<> server::finish(transfer& t, file_writer& writer) {
    auto done = co_await writer.finish();
    if (options_.sync.at_end) {
        auto synced = co_await t.to.sync();
        if (synced) ++t.syncs;
        if (done && !synced) done = synced;
    }
    if (!done && !t.failure) t.failure = done.error();
}

void server::report(const transfer& t) const {
    fmt::print("{}: {}\n", t.name, to_string(t.counts, t.syncs));
    std::fflush(stdout);
    const auto& why = t.failure ? t.failure : t.stream_end;
    if (why == error::eof) return;
    const std::string text =
        fmt::format("sluice-sink: {}: {}{}; it holds the first {} bytes of the stream\n", t.name,
                    t.failure ? "" : "the stream ended early: ", why.message(), t.written);
    std::fputs(text.c_str(), stderr);
}

void server::refuse(tcp_stream& conn, core& mine) const {
    ++mine.done.refused;
    const std::string text =
        fmt::format("sluice-sink: a connection is refused: {} is being written\n", options_.out);
    std::fputs(text.c_str(), stderr);
    conn.abort();
}

figures server::now_of(reactor& home) const {
    const core& mine = cores_[home.index()];
    figures all = mine.done;
    for (const file_writer* writer : mine.under_way) all.writes += writer->counts();
    const net_stats net = net_stats_of(home);
    all.connections = net.open;
    all.bytes_in = net.bytes_in;
    all.zero_copy_bytes = net.zero_copy_bytes;
    all.enobufs = net.enobufs;
    all.capped = net.capped;
    return all;
}

void server::say(const figures& now, const figures& before, double seconds) {
    fmt::print(
        "connections {} | MB/s {:.1f} | zero copy {:.0f} % | {} | fsyncs {} | failed {} "
        "| refused {} | ENOBUFS {} | capped {}\n",
        now.connections, demo::per(now.writes.bytes - before.writes.bytes, seconds * 1e6),
        percent(now.zero_copy_bytes - before.zero_copy_bytes, now.bytes_in - before.bytes_in),
        shares(now.writes), now.syncs, now.failed, now.refused, now.enobufs, now.capped);
}

figures server::total() const {
    figures sum;
    for (const core& c : cores_) sum += c.done;
    return sum;
}

}  // namespace sink
