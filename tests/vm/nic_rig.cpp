// SPDX-License-Identifier: Apache-2.0
#include "vm/nic_rig.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>

#include "support/mode.hpp"
#include "support/skip.hpp"

namespace sluice::testing {

namespace {

constexpr const char* module_folder = "/sys/module/swnic";
constexpr const char* driver_folder = "/sys/bus/platform/drivers/swnic";
constexpr std::array faults{"drop_every", "duplicate_every", "swap_every",    "unsplit_every",
                            "delay_us",   "posted_limit",    "refuse_restart"};

// busybox has an ip of its own, which knows no namespaces.
std::string with_programs(const std::string& command) {
    return "ip() { /tools/ip \"$@\"; }; ethtool() { /tools/ethtool \"$@\"; }; " + command;
}

void demand(const std::string& command) {
    if (!nic_rig::run(command)) throw std::runtime_error("this failed: " + command);
}

bool present(const std::string& path) { return std::ifstream(path).good(); }

}  // namespace

bool has_nic() {
    if (present(std::string(module_folder) + "/parameters/pairs")) return true;
    report_skip("the software NIC is not there: scripts/vm --nic");
    return false;
}

bool nic_rig::run(const std::string& command) {
    return shell("{ " + with_programs(command) + "; }");
}

bool nic_rig::run_at_peer(const std::string& command) {
    bool done = false;
    at_peer([&] { done = run(command); });
    return done;
}

std::string nic_rig::output_of(const std::string& command) {
    std::string text;
    std::FILE* pipe = ::popen(with_programs(command).c_str(), "r");
    if (pipe == nullptr) return text;
    std::array<char, 4096> part{};
    while (const std::size_t n = std::fread(part.data(), 1, part.size(), pipe))
        text.append(part.data(), n);
    ::pclose(pipe);
    return text;
}

nic_rig::nic_rig() {
    if (!run("ip netns exec peer true")) demand("ip netns add peer");
    for (const char* fault : faults) set(fault, 0);
    set("pack", 1);
    unplug();
    plug();
}

nic_rig::~nic_rig() {
    for (const char* fault : faults)
        static_cast<void>(run(std::string("echo 0 >") + module_folder + "/parameters/" + fault));
}

void nic_rig::unplug() {
    if (present(std::string(driver_folder) + "/swnic.0/uevent"))
        demand(std::string("echo swnic.0 >") + driver_folder + "/unbind");
}

void nic_rig::plug() {
    demand(std::string("echo swnic.0 >") + driver_folder + "/bind");
    demand("ip link set sw1 netns peer && ip -n peer addr add 10.78.0.2/24 dev sw1 &&"
           "ip -n peer link set sw1 up && ip addr add 10.78.0.1/24 dev sw0 && ip link set sw0 up");
    demand("ethtool -G sw0 tcp-data-split on hds-thresh 0 && ethtool -X sw0 equal 1");
}

void nic_rig::set(const std::string& parameter, unsigned value) {
    demand("echo " + std::to_string(value) + " >" + module_folder + "/parameters/" + parameter);
}

void nic_rig::set_mtu(unsigned bytes) {
    const std::string mtu = " mtu " + std::to_string(bytes);
    demand("ip link set sw0" + mtu + " && ip -n peer link set sw1" + mtu);
}

void nic_rig::steer(std::uint16_t port, unsigned to) {
    demand("ethtool -N sw0 flow-type tcp4 dst-port " + std::to_string(port) + " action " +
           std::to_string(to));
}

std::array<std::uint64_t, 4> nic_rig::counters(std::string_view name) {
    const std::string all = output_of("ethtool -S sw0");
    std::array<std::uint64_t, 4> found{};
    for (std::size_t queue = 0; queue < found.size(); ++queue) {
        const std::string wanted = "rx" + std::to_string(queue) + "_" + std::string(name) + ": ";
        const std::size_t at = all.find(wanted);
        if (at == std::string::npos) throw std::runtime_error("no counter " + wanted);
        found[queue] = std::strtoull(all.c_str() + at + wanted.size(), nullptr, 10);
    }
    return found;
}

plain_socket nic_rig::connect_from_peer(const endpoint& to) {
    plain_socket made;
    std::exception_ptr escaped;
    at_peer([&] {
        try {
            made = plain_socket::connect(to);
        } catch (...) {
            escaped = std::current_exception();
        }
    });
    if (escaped) std::rethrow_exception(escaped);
    return made;
}

reactor_options on_nic(std::uint32_t chunks, unsigned queue) {
    reactor_options options;
    use_rx_queue(options);
    options.zcrx.device_less = false;
    options.zcrx.interface = "sw0";
    options.zcrx.first_queue = queue;
    options.zcrx.area_bytes = std::size_t{chunks} * options.zcrx.chunk_bytes;
    options.zcrx.max_area_bytes = options.zcrx.area_bytes;
    options.zcrx.copy_always_below = 0;
    options.zcrx.max_leases_per_connection = 0;
    return options;
}

}  // namespace sluice::testing
