// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

namespace echo {

void add_options(demo::command_line& line, options& to) {
    CLI::App& app = line.app();
    line.add_duration("--stats", to.stats, "time between lines of statistics; 0: none (1s)");
    line.add_duration("--idle-timeout", to.idle_timeout,
                      "close a connection after so long without data; 0: never (60s)");
    line.add_duration("--drain-timeout", to.drain_timeout,
                      "after SIGINT or SIGTERM, how long connections may go on (5s)");
    app.add_option("--exit-after-messages", to.exit_after_messages,
                   "end after so many received chunks on all cores; 0: never")
        ->check(CLI::Range(std::int64_t{0}, INT64_MAX));
    app.add_option("--recv-buffers", to.reactor.recv_buffers, "provided buffers for each core")
        ->check(CLI::Range(1U, 32768U))
        ->capture_default_str();
    app.add_option("--buffer-size", to.reactor.recv_buffer_size, "bytes of a provided buffer")
        ->check(CLI::Range(64U, 1U << 30))
        ->capture_default_str();
    app.add_option("--max-connections", to.listen.max_connections,
                   "connections for each core; 0: as many as there are descriptors")
        ->capture_default_str();
    app.add_option("--max-pending", to.reactor.max_pending_bytes,
                   "bytes that may wait unread for a connection")
        ->check(CLI::Range(1U, 1U << 30))
        ->capture_default_str();
    app.add_option("--cq-entries", to.reactor.cq_entries, "completion queue of each core")
        ->check(CLI::Range(2U, 65536U))
        ->capture_default_str();
    demo::add_receive_options(line, to.reactor);
    demo::add_nic_options(line, to.nic);
    demo::add_succession_options(line, to.succession);
    app.add_flag("--registered-descriptors", to.reactor.registered_descriptors,
                 "keep sockets in the ring's own table");
}

}  // namespace echo
