// SPDX-License-Identifier: Apache-2.0
#include "load_options.hpp"

#include "failure.hpp"
#include "units.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <map>

namespace sluice_load {

namespace {

constexpr std::uint64_t largest_message = 64U * 1024U * 1024U;
constexpr auto counted_duration = std::chrono::hours(1);

const std::map<std::string, load_mode>& mode_names() {
    static const std::map<std::string, load_mode> names{{"echo", load_mode::echo},
                                                        {"source", load_mode::source},
                                                        {"sink", load_mode::sink},
                                                        {"churn", load_mode::churn}};
    return names;
}

/// Adds an option read by one of the parsers in units.hpp.
template <typename Value, typename Parser>
void add_parsed(CLI::App& app, const std::string& name, Value& target, Parser parse,
                const char* examples, const std::string& description) {
    const auto read = [&target, parse, name, examples](const CLI::results_t& texts) {
        const auto value = parse(texts.front());
        if (!value) {
            throw CLI::ValidationError(name, "cannot read '" + texts.front() +
                                                 "' (examples: " + examples + ")");
        }
        target = *value;
        return true;
    };
    app.add_option(name, read, description)->type_name("");
}

void add_target(CLI::App& app, load_options& out) {
    app.add_option("--host", out.host, "server: IPv4 or IPv6 address, or a name");
    app.add_option("--port", out.port, "server port")->check(CLI::Range(1, 65535));
    app.add_option("--mode", out.mode,
                   "echo: send messages, check every byte that comes back (default)\n"
                   "source: only send, the server must not answer\n"
                   "sink: only receive, bytes are counted but not checked\n"
                   "churn: connect, echo one message, close first, again and again")
        ->transform(CLI::CheckedTransformer(mode_names()).description(""));
}

void add_load(CLI::App& app, load_options& out) {
    app.add_option("--connections", out.connections, "connections (churn: at a time)")
        ->check(CLI::Range(1, 1'000'000));
    app.add_option("--threads", out.threads, "threads, at most one per connection")
        ->check(CLI::Range(1, 256));
    add_parsed(app, "--message-size", out.message_size, parse_size, "64, 16k, 1m",
               "bytes per message, 1 to 64m, suffixes k, m, g are powers of 1024 (default 64)");
    app.add_option("--depth", out.depth, "messages in flight per connection")
        ->check(CLI::Range(1, 65536));
    app.add_flag("--half-close", out.half_close,
                 "after the last message shut down the sending side, then read until the end");
    app.add_option("--seed", out.seed, "seed of the bytes sent");
}

void add_limits(CLI::App& app, load_options& out) {
    add_parsed(app, "--duration", out.duration, parse_duration, "500ms, 5s, 2m",
               "begin no message after this time (default 5s; 1h if --messages, --cycles\n"
               "or --max-bytes is given). Messages in flight are awaited for --timeout");
    app.add_option("--messages", out.messages, "stop after this many messages per connection");
    app.add_option("--cycles", out.cycles, "churn: stop after this many connections in all");
    add_parsed(app, "--max-bytes", out.max_bytes, parse_size, "100m, 1g",
               "stop after this many bytes in all, counted in one direction");
    add_parsed(app, "--timeout", out.timeout, parse_duration, "500ms, 10s",
               "a connection without progress for so long is an error (default 10s)");
}

void add_connecting(CLI::App& app, load_options& out) {
    app.add_option("--connect-parallel", out.connect_parallel,
                   "connects in progress at a time, below the server's backlog")
        ->check(CLI::Range(1, 1'000'000));
    app.add_option("--connect-rate", out.connect_rate, "connects per second (default: no limit)")
        ->check(CLI::Range(0.001, 1e9));
    app.add_flag("--spread-sources", out.spread_sources,
                 "bind each connection to another address of 127/8, so that ports do not run out");
}

void add_output(CLI::App& app, load_options& out) {
    add_parsed(app, "--cpu-list", out.cpus, parse_cpu_list, "1, 0-3, 0,2",
               "pin thread i to the i-th processor of the list, round");
    app.add_flag("--no-verify", out.no_verify, "do not check what comes back; the report says so");
    const auto read_json = [&out](const CLI::results_t& file) {
        out.json = file.empty() || file.front().empty() ? "-" : file.front();
        return true;
    };
    app.add_option("--json", read_json,
                   "write options and results as JSON to FILE, or to standard output instead of\n"
                   "the text report")
        ->expected(0, 1)
        ->type_name("[FILE]");
    app.add_flag("--quiet", out.quiet, "no text report; errors are still told");
}

void require(bool holds, const char* otherwise) {
    if (!holds) throw fatal_error(std::string(otherwise) + "; see --help", 2);
}

void check_together(const load_options& out) {
    const bool churns = out.mode == load_mode::churn;
    require(out.message_size >= 1 && out.message_size <= largest_message,
            "--message-size must be from 1 to 64m");
    require(out.duration.count() > 0, "--duration must not be 0");
    require(out.timeout.count() > 0, "--timeout must not be 0");
    require(out.max_bytes <= std::uint64_t{std::numeric_limits<std::int64_t>::max()},
            "--max-bytes is too large");
    require(out.max_bytes == 0 || out.max_bytes >= out.message_size,
            "--max-bytes must hold at least one message of --message-size");
    require(out.cycles == 0 || churns, "--cycles needs --mode churn");
    require(!churns || (out.messages == 0 && out.depth == 1),
            "--mode churn sends one message per connection: no --messages or --depth");
    require(!out.half_close || out.echoes(),
            "--half-close needs --mode echo or churn (source always ends so)");
}

void complete(load_options& out, bool duration_given) {
    const bool counted = out.messages != 0 || out.cycles != 0 || out.max_bytes != 0;
    if (!duration_given && counted) out.duration = counted_duration;
    if (out.mode == load_mode::churn) out.messages = 1;
    out.threads = static_cast<unsigned>(std::min<std::uint64_t>(out.threads, out.connections));
}

}  // namespace

const char* to_string(load_mode mode) {
    for (const auto& [name, value] : mode_names()) {
        if (value == mode) return name.c_str();
    }
    return "";
}

load_options parse_options(int argc, char** argv) {
    CLI::App app{"Loads a TCP server and checks every byte that comes back.\n"
                 "Exit code 0: all was verified, without an error; 1: something went wrong, the\n"
                 "cause and what to do are on standard error; 2: wrong options.",
                 "sluice-load"};
    app.option_defaults()->always_capture_default();
    load_options out;
    add_target(app, out);
    add_load(app, out);
    add_limits(app, out);
    add_connecting(app, out);
    add_output(app, out);
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp& help) {
        std::exit(app.exit(help));
    } catch (const CLI::ParseError& wrong) {
        throw fatal_error(std::string(wrong.what()) + "; see --help", 2);
    }
    check_together(out);
    complete(out, app.count("--duration") != 0);
    return out;
}

}  // namespace sluice_load
