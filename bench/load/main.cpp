// SPDX-License-Identifier: Apache-2.0
#include "dial.hpp"
#include "load_options.hpp"
#include "load_run.hpp"
#include "process_limits.hpp"
#include "report.hpp"

#include <exception>
#include <fstream>
#include <iostream>

namespace {

using namespace sluice_load;

/// Opened before the load, so that a wrong name does not cost a run.
std::ofstream open_json(const load_options& options) {
    std::ofstream file;
    if (!options.json || *options.json == "-") return file;
    file.open(*options.json);
    if (!file) {
        throw fatal_error("cannot write --json " + *options.json + ": correct the path");
    }
    return file;
}

void tell_failure(const run_results& results) {
    const auto* worst = results.worst();
    if (worst == nullptr) return;
    std::cerr << "sluice-load: " << worst->cause << ": " << worst->remedy << '\n';
}

int load(const load_options& options) {
    check_cpus(options.cpus);
    ensure_descriptors(options.connections, options.threads);
    auto file = open_json(options);
    const auto server = find_server(options);
    const bool json_out = options.json == "-";
    const auto results = load_run(options, server).execute();
    if (!options.quiet && !json_out) write_text_report(std::cout, options, server, results);
    if (json_out) write_json_report(std::cout, options, server, results);
    if (file.is_open()) write_json_report(file, options, server, results);
    if (options.no_verify) std::cerr << "sluice-load: CONTENT WAS NOT CHECKED (--no-verify)\n";
    tell_failure(results);
    return results.passed() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return load(parse_options(argc, argv));
    } catch (const fatal_error& wrong) {
        std::cerr << "sluice-load: " << wrong.what() << '\n';
        return wrong.exit_code();
    } catch (const std::exception& error) {
        std::cerr << "sluice-load: " << error.what() << '\n';
        return 1;
    }
}
