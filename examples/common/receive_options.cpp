// SPDX-License-Identifier: Apache-2.0
#include "receive_options.hpp"

#include <charconv>
#include <map>
#include <string>

namespace demo {

namespace {

// "device-less", "eth0" or "eth0:4"
std::string take_place(const std::string& text, sluice::zcrx_options& to) {
    if (text == "device-less") {
        to.device_less = true;
        return {};
    }
    const std::size_t colon = text.find(':');
    to.interface = text.substr(0, colon);
    if (to.interface.empty()) return "device-less, INTERFACE or INTERFACE:QUEUE is expected";
    if (colon == std::string::npos) return {};
    const char* first = text.data() + colon + 1;
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(first, last, to.first_queue);
    if (error != std::errc{} || end != last || first == last)
        return "'" + text.substr(colon + 1) + "' is not the number of a queue";
    return {};
}

}  // namespace

void add_receive_options(command_line& line, sluice::reactor_options& to) {
    CLI::App& app = line.app();
    sluice::zcrx_options& zcrx = to.zcrx;
    const std::map<std::string, sluice::receive_mode> modes{
        {"auto", sluice::receive_mode::automatic},
        {"zc", sluice::receive_mode::zc},
        {"copy", sluice::receive_mode::copy}};
    app.add_option("--mode", zcrx.mode,
                   "auto: zero copy where it can be had; zc: that or failure; copy (auto)")
        ->transform(CLI::CheckedTransformer(modes).description("auto|zc|copy"));
    app.add_option_function<std::string>(
           "--zcrx",
           [&zcrx](const std::string& text) {
               if (const std::string why = take_place(text, zcrx); !why.empty())
                   throw CLI::ValidationError("--zcrx", why);
           },
           "receive without copies from INTERFACE[:QUEUE], the first core from this queue, each "
           "further one from the next; device-less: without a NIC, for tests")
        ->type_name("PLACE");
    app.add_option("--cores-per-queue", zcrx.reactors_per_queue, "cores that share one rx queue")
        ->check(CLI::Range(1U, 1024U))
        ->capture_default_str();
    app.add_option("--area-size", zcrx.area_bytes, "bytes of the area of each rx queue")
        ->transform(CLI::AsSizeValue(false))
        ->capture_default_str();
    app.add_option("--max-area-size", zcrx.max_area_bytes, "bytes that it may grow to")
        ->transform(CLI::AsSizeValue(false))
        ->capture_default_str();
    app.add_option("--chunk-size", zcrx.chunk_bytes, "bytes of a chunk, a power of two")
        ->transform(CLI::AsSizeValue(false))
        ->capture_default_str();
    app.add_option("--refill-entries", zcrx.refill_entries,
                   "entries of the refill queue; 0: as many as chunks")
        ->check(CLI::Range(0U, 32768U))
        ->capture_default_str();
}

}  // namespace demo
