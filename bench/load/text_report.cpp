// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include "explain.hpp"

#include <iomanip>
#include <ostream>

namespace sluice_load {

namespace {

double per_second(double amount, const run_results& results) {
    return results.elapsed_s > 0.0 ? amount / results.elapsed_s : 0.0;
}

void write_bytes(std::ostream& out, const char* name, std::uint64_t bytes,
                 const run_results& results) {
    const double megabytes = static_cast<double>(bytes) / 1e6;
    out << "  " << std::left << std::setw(13) << name << std::right << megabytes << " MB, "
        << per_second(megabytes, results) << " MB/s\n";
}

void write_latency(std::ostream& out, const char* name, const latency_histogram& histogram) {
    if (histogram.count() == 0) return;
    out << "  " << std::left << std::setw(13) << name << std::right << "p50 "
        << histogram.percentile(50) / 1e3 << " us, p99 " << histogram.percentile(99) / 1e3
        << " us, p99.9 " << histogram.percentile(99.9) / 1e3 << " us, max " << histogram.max() / 1e3
        << " us\n";
}

void write_errors(std::ostream& out, const tally& total) {
    out << "  errors       " << total.count(failure_kind::connect) << " connect, "
        << total.count(failure_kind::verification) << " verification, "
        << total.count(failure_kind::reset) << " resets, " << total.count(failure_kind::early_close)
        << " early closes, " << total.count(failure_kind::timeout) << " timeouts, "
        << total.count(failure_kind::other) << " other\n";
}

void write_verdict(std::ostream& out, const load_options& options, const run_results& results) {
    out << "  verified     ";
    if (!options.verifies()) {
        out << (options.no_verify ? "NOTHING, CONTENT WAS NOT CHECKED (--no-verify)"
                                  : "NOTHING, content cannot be checked in this mode");
    } else if (results.total.bytes_received == 0) {
        out << "NOTHING, no bytes came";
    } else {
        out << (results.passed() ? "every byte" : "every byte received before a failure");
    }
    out << (results.interrupted ? "; interrupted\n" : "\n");
}

}  // namespace

void write_text_report(std::ostream& out, const load_options& options,
                       const boost::asio::ip::tcp::endpoint& server, const run_results& results) {
    const auto& total = results.total;
    out << std::fixed << std::setprecision(1) << "sluice-load " << to_string(options.mode) << " "
        << to_text(server) << ": " << options.connections << " connections, " << options.threads
        << " threads, " << options.message_size << " bytes, depth " << options.depth << "\n"
        << "  messages     " << total.messages << " in " << std::setprecision(3)
        << results.elapsed_s << " s, " << std::setprecision(1)
        << per_second(static_cast<double>(total.messages), results) << " per second\n";
    write_bytes(out, "sent", total.bytes_sent, results);
    write_bytes(out, "received", total.bytes_received, results);
    write_latency(out, "latency", total.latency);
    write_latency(out, "connect", total.connect_latency);
    out << "  connections  " << total.connections_opened << " opened, "
        << total.connections_completed << " completed\n";
    write_errors(out, total);
    write_verdict(out, options, results);
}

}  // namespace sluice_load
