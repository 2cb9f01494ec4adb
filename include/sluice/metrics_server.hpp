// SPDX-License-Identifier: Apache-2.0
//! The endpoint that a Prometheus server scrapes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "sluice/endpoint.hpp"
#include "sluice/listener.hpp"
#include "sluice/metric_registry.hpp"
#include "sluice/metrics.hpp"
#include "sluice/result.hpp"
#include "sluice/service.hpp"
#include "sluice/task.hpp"

namespace sluice {

struct metrics_server_options {
    std::uint32_t max_connections = 16;
    std::size_t max_request_bytes = 8192;  //!< of request line and headers; more: 431
    //! A connection ends when no whole request has come for so long. Longer than the interval of
    //! the scrapes, or each needs a connection of its own.
    std::chrono::nanoseconds idle_timeout{std::chrono::seconds{75}};
    //! How long a scrape waits for the other reactors. The last known values of one that does not
    //! answer are sent, with sluice_reactor_current 0.
    std::chrono::nanoseconds answer_timeout{std::chrono::milliseconds{500}};
};

//! Answers GET and HEAD of /metrics with the metrics of all reactors, as text for Prometheus
//! (exposition format 0.0.4). HTTP/1.1 with keep-alive (RFC 9112), no TLS, no authentication: bind
//! it where only the scraper can reach it. Other paths get 404, other methods 405.
class metrics_server {
public:
    //! Binds and listens. Port 0: the kernel chooses, local() tells. Errors: listener_group's.
    static result<metrics_server> open(const endpoint& at, metrics_server_options options = {});

    //! Metrics of the program's own, which must live as long as the server. Before serve().
    void add(const metric_registry& more) { more_.push_back(&more); }

    [[nodiscard]] const endpoint& local() const noexcept { return listening_.local(); }

    //! Serves on the reactor that awaits it, one of `all`'s, until that drains; connections end
    //! with it. Errors: accepting failed. Cancelled: ends.
    task<result<void>> serve(service& all);

private:
    //! What comes after an answer: another request, the end, or nothing because the peer has gone.
    enum class after { another, last, lost };
    explicit metrics_server(listener_group group, metrics_server_options options) noexcept
        : listening_(std::move(group)), options_(options) {}
    task<> converse(tcp_stream conn, service& all);
    task<after> answer_one(tcp_stream& conn, std::string& received, service& all);
    task<std::string> scrape(service& all);

    listener_group listening_;
    metrics_server_options options_;
    std::vector<const metric_registry*> more_;
    std::vector<reactor_metrics> last_;  // by index
};

}  // namespace sluice
