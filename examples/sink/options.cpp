// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <filesystem>

namespace sink {

namespace {

namespace fs = std::filesystem;

// What a connection would only find out later.
std::string complain_of_file(const std::string& name) {
    std::error_code ignored;
    if (fs::is_directory(name, ignored)) return name + " is a directory";
    const fs::path folder = fs::path(name).parent_path();
    if (!folder.empty() && !fs::is_directory(folder, ignored))
        return folder.string() + " is no directory";
    return "";
}

//! Empty, or what is wrong with the text.
std::string take_policy(const std::string& text, sync_policy& to) {
    constexpr std::string_view each = "each-";
    to = {};
    if (text == "end") return "";
    if (text == "never") {
        to.at_end = false;
        return "";
    }
    if (text.starts_with(each)) {
        std::string size = text.substr(each.size());
        if (CLI::AsSizeValue(false)(size).empty()) to.each = std::stoull(size);
        if (to.each != 0) return "";
    }
    return text + " is not never, end or each-SIZE, such as each-64m";
}

}  // namespace

void add_options(demo::command_line& line, options& to) {
    CLI::App& app = line.app();
    app.add_option("--out", to.out,
                   "file for the first connection; the second one has FILE.2 and so on. A device: "
                   "one connection at a time, others are refused")
        ->check(CLI::Validator(complain_of_file, ""))
        ->required();
    app.add_flag("--direct", to.direct,
                 "past the page cache (O_DIRECT), from the memory received into where it is "
                 "aligned");
    app.add_option_function<std::string>(
           "--fsync",
           [&to](const std::string& text) {
               if (const std::string why = take_policy(text, to.sync); !why.empty())
                   throw CLI::ValidationError("--fsync", why);
           },
           "end (default): before the connection is closed; each-SIZE: after so many bytes too; "
           "never")
        ->type_name("WHEN");
    app.add_option("--write-size", to.writing.write_bytes, "bytes of a write, at most")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(std::size_t{4096}, std::size_t{1} << 30).description(""))
        ->capture_default_str();
    app.add_option("--max-writes", to.writing.max_writes, "writes of a connection in flight")
        ->check(CLI::Range(1U, 1024U))
        ->capture_default_str();
    line.add_duration("--stats", to.stats, "time between lines of statistics; 0: none (1s)");
    line.add_duration("--idle-timeout", to.idle_timeout,
                      "end a connection after so long without data; 0: never (0)");
    line.add_duration("--drain-timeout", to.drain_timeout,
                      "after SIGINT or SIGTERM, how long connections may go on (5s)");
    app.add_option("--max-connections", to.listen.max_connections,
                   "connections for each core; 0: as many as there are descriptors")
        ->capture_default_str();
    to.reactor.zcrx.max_leases_per_connection = 256;  // one in flight and one to come
    demo::add_receive_options(line, to.reactor);
    demo::add_nic_options(line, to.nic);
    demo::add_succession_options(line, to.succession);
}

}  // namespace sink
