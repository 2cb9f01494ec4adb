// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <map>
#include <string>

namespace proxy {

namespace {

const std::map<std::string, balance> balances{{"round-robin", balance::round_robin},
                                              {"least-connections", balance::least_connections}};

std::string complain_of_endpoint(const std::string& text) {
    const auto at = sluice::endpoint::parse(text);
    if (at && (at->port() != 0 || at->family() == AF_UNIX)) return "";
    return text + " is not a numeric address with a port, such as 192.0.2.1:80 or [2001:db8::1]:80";
}

}  // namespace

void add_options(demo::command_line& line, options& to) {
    CLI::App& app = line.app();
    app.add_option_function<std::vector<std::string>>(
           "--upstream",
           [&to](const std::vector<std::string>& all) {
               for (const auto& text : all)
                   to.upstreams.push_back(sluice::endpoint::parse(text).value());
           },
           "where connections go: address:port[,address:port...]")
        ->delimiter(',')
        ->check(CLI::Validator(complain_of_endpoint, ""))
        ->required();
    app.add_option_function<std::string>(
           "--balance", [&to](const std::string& name) { to.by = balances.at(name); },
           "which upstream comes next: round-robin (default) or least-connections")
        ->check(CLI::IsMember({"round-robin", "least-connections"}).description(""));
    line.add_duration(
        "--upstream-pause", to.upstream_pause,
        "after a failure, how long an upstream is skipped while others are left (5s)");
    line.add_duration("--connect-timeout", to.connect_timeout,
                      "how long an upstream may take to answer, until the next is tried (2s)");
    line.add_duration("--idle-timeout", to.idle_timeout,
                      "reset a connection after so long without data; 0: never (5m)");
    line.add_duration("--drain-timeout", to.drain_timeout,
                      "after SIGINT or SIGTERM, how long connections may go on (5s)");
    line.add_duration("--stats", to.stats, "time between lines of statistics; 0: none (1s)");
    app.add_option("--max-leases-per-connection", to.max_leases,
                   "received buffers of a connection on their way to the other one; with so many "
                   "it is not read")
        ->check(CLI::Range(1U, 65536U))
        ->capture_default_str();
    app.add_option("--max-connections", to.listen.max_connections,
                   "clients for each core; 0: as many as there are descriptors")
        ->capture_default_str();
    demo::add_receive_options(line, to.reactor);
    demo::add_nic_options(line, to.nic);
    demo::add_succession_options(line, to.succession);
    app.add_flag(
           "--own-queue", to.own_queue,
           "lead what upstreams send to the rx queues as well, each connection to that of the "
           "core that has opened it")
        ->needs("--nic");
}

}  // namespace proxy
