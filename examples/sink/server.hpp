// SPDX-License-Identifier: Apache-2.0
//! The sink itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <sluice/sluice.hpp>

#include "../common/core_server.hpp"
#include "options.hpp"

namespace sink {

//! What one reactor has done so far.
struct figures {
    std::uint64_t connections = 0;  // now
    std::uint64_t files = 0;        // that were opened
    std::uint64_t failed = 0;       // that could not be opened or written
    std::uint64_t refused = 0;      // connections
    std::uint64_t syncs = 0;
    sluice::file_writer_counts writes;
    std::uint64_t bytes_in = 0;
    std::uint64_t zero_copy_bytes = 0;
    std::uint64_t enobufs = 0;
    std::uint64_t capped = 0;

    figures& operator+=(const figures& o) noexcept;
};

//! "N bytes, staged 1.0 %, aligned: ...", for people.
std::string to_string(const sluice::file_writer_counts& counts, std::uint64_t syncs);

//! Apart from each other, since each is written by another core.
struct alignas(64) core {
    figures done;                                    // of connections that have ended
    std::set<const sluice::file_writer*> under_way;  // those of the others
};

//! All reactors' share of one sink.
class server final : public demo::core_server {
public:
    server(const options& o, sluice::service& service, demo::succession& succession);

    //! What runs on each reactor.
    sluice::task<> run(sluice::reactor& home);

    //! Of all reactors. To be called when the service has ended.
    [[nodiscard]] figures total() const;

private:
    struct transfer;
    sluice::task<> client(sluice::tcp_stream conn, core& mine);
    sluice::task<> store(transfer& t, sluice::nursery& scope, core& mine);
    sluice::task<> receive(transfer& t, sluice::file_writer& writer);
    sluice::task<> finish(transfer& t, sluice::file_writer& writer);
    static void say(const figures& now, const figures& before, double seconds);
    std::string next_name();
    void report(const transfer& t) const;
    void refuse(sluice::tcp_stream& conn, core& mine) const;
    figures now_of(sluice::reactor& home) const;

    const options& options_;
    const bool device_;  // the one thing that all connections would write to
    std::vector<core> cores_;
    std::atomic<bool> device_in_use_{false};
    std::atomic<std::uint64_t> names_{0};
};

}  // namespace sink
