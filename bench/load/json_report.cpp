// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include "explain.hpp"

#include <nlohmann/json.hpp>

#include <ostream>

namespace sluice_load {

namespace {

using json = nlohmann::ordered_json;

double seconds(std::chrono::nanoseconds duration) {
    return std::chrono::duration<double>(duration).count();
}

json options_json(const load_options& options, const boost::asio::ip::tcp::endpoint& server) {
    return {{"host", options.host},
            {"port", options.port},
            {"server", to_text(server)},
            {"mode", to_string(options.mode)},
            {"connections", options.connections},
            {"threads", options.threads},
            {"message_size_bytes", options.message_size},
            {"depth", options.depth},
            {"duration_s", seconds(options.duration)},
            {"messages_per_connection", options.messages},
            {"cycles", options.cycles},
            {"max_bytes", options.max_bytes},
            {"connect_rate_per_s", options.connect_rate},
            {"connect_parallel", options.connect_parallel},
            {"timeout_s", seconds(options.timeout)},
            {"spread_sources", options.spread_sources},
            {"half_close", options.half_close},
            {"verify", !options.no_verify},
            {"seed", options.seed},
            {"cpu_list", options.cpus}};
}

void add_latency(json& out, const std::string& prefix, const latency_histogram& histogram) {
    out[prefix + "_min_us"] = histogram.min() / 1e3;
    out[prefix + "_mean_us"] = histogram.mean() / 1e3;
    out[prefix + "_p50_us"] = histogram.percentile(50) / 1e3;
    out[prefix + "_p99_us"] = histogram.percentile(99) / 1e3;
    out[prefix + "_p99_9_us"] = histogram.percentile(99.9) / 1e3;
    out[prefix + "_max_us"] = histogram.max() / 1e3;
}

void add_rates(json& out, const run_results& results) {
    const double scale = results.elapsed_s > 0.0 ? 1.0 / results.elapsed_s : 0.0;
    const auto& total = results.total;
    out["messages_per_s"] = static_cast<double>(total.messages) * scale;
    out["sent_mb_per_s"] = static_cast<double>(total.bytes_sent) / 1e6 * scale;
    out["received_mb_per_s"] = static_cast<double>(total.bytes_received) / 1e6 * scale;
    out["connections_per_s"] = static_cast<double>(total.connections_completed) * scale;
}

json results_json(const load_options& options, const run_results& results) {
    const auto& total = results.total;
    json out{{"passed", results.passed()},
             {"verified", options.verifies() && results.passed() && total.bytes_received != 0},
             {"interrupted", results.interrupted},
             {"elapsed_s", results.elapsed_s},
             {"client_cpu_s", results.client_cpu_s},
             {"messages", total.messages},
             {"sent_bytes", total.bytes_sent},
             {"received_bytes", total.bytes_received},
             {"connections_opened", total.connections_opened},
             {"connections_completed", total.connections_completed}};
    add_rates(out, results);
    add_latency(out, "latency", total.latency);
    add_latency(out, "connect", total.connect_latency);
    out["connect_errors"] = total.count(failure_kind::connect);
    out["verification_errors"] = total.count(failure_kind::verification);
    out["resets"] = total.count(failure_kind::reset);
    out["early_closes"] = total.count(failure_kind::early_close);
    out["timeouts"] = total.count(failure_kind::timeout);
    out["other_errors"] = total.count(failure_kind::other);
    return out;
}

json failures_json(const run_results& results) {
    auto out = json::array();
    for (const auto& each : results.total.first_failures) {
        out.push_back({{"kind", to_string(each.kind)},
                       {"connection", each.connection},
                       {"cause", each.cause},
                       {"remedy", each.remedy}});
    }
    return out;
}

}  // namespace

void write_json_report(std::ostream& out, const load_options& options,
                       const boost::asio::ip::tcp::endpoint& server, const run_results& results) {
    const json report{{"options", options_json(options, server)},
                      {"results", results_json(options, results)},
                      {"failures", failures_json(results)}};
    // Messages of the system may be in any encoding; a report is written in every case.
    out << report.dump(2, ' ', false, json::error_handler_t::replace) << '\n';
}

}  // namespace sluice_load
