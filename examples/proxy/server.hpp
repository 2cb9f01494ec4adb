// SPDX-License-Identifier: Apache-2.0
//! The proxy itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <sluice/sluice.hpp>

#include "../common/core_server.hpp"
#include "options.hpp"
#include "upstreams.hpp"

namespace proxy {

//! What one reactor has done so far.
struct figures {
    std::uint64_t served = 0;    // that have reached an upstream
    std::uint64_t refused = 0;   // that have not
    std::uint64_t failures = 0;  // of upstreams
    sluice::copy_counts bytes;   // from clients to upstreams, and back
    std::uint64_t turns = 0;
    std::uint64_t enters = 0;
    std::uint64_t enobufs = 0;
    std::uint64_t capped = 0;

    figures& operator+=(const figures& o) noexcept;
};

//! Apart from each other, since each is written by another core.
struct alignas(64) core {
    figures done;
};

//! All reactors' share of one proxy.
class server final : public demo::core_server {
public:
    server(const options& o, sluice::service& service, demo::succession& succession)
        : core_server("sluice-proxy", service, succession, o.reactor.zcrx),
          options_(o),
          upstreams_(o.upstreams, o.by),
          cores_(service.reactors()) {}

    //! What runs on each reactor.
    sluice::task<> run(sluice::reactor& home);

    //! Of all reactors. To be called when the service has ended.
    [[nodiscard]] figures total() const;

private:
    //! A connection to an upstream.
    struct reached {
        upstreams::place place;
        sluice::tcp_stream stream;
    };

    sluice::task<> client(sluice::tcp_stream conn, figures& mine);
    sluice::task<sluice::result<reached>> reach(sluice::reactor& home, figures& mine);
    void refuse(sluice::tcp_stream& conn, const boost::system::error_code& why, figures& mine);
    void say(sluice::reactor& home, const figures& now, const figures& before,
             double seconds) const;
    figures now_of(sluice::reactor& home) const;

    const options& options_;
    upstreams upstreams_;
    std::vector<core> cores_;
    std::atomic<std::int64_t> next_complaint_{0};  // about refused clients, see refuse()
};

}  // namespace proxy
