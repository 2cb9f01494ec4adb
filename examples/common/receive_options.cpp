// SPDX-License-Identifier: Apache-2.0
#include "receive_options.hpp"

#include <charconv>
#include <map>
#include <string>

#include <spdlog/logger.h>

#include <sluice/cpu_set.hpp>
#include <sluice/log.hpp>

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

// The CPU of each reactor that the service will have.
std::vector<unsigned> cpus_of(const sluice::service_options& service) {
    return service.cpus.empty() ? sluice::usable_cpus() : service.cpus;
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
    app.add_option("--copy-below", zcrx.copy_always_below,
                   "bytes; what arrives in smaller pieces is copied")
        ->transform(CLI::AsSizeValue(false))
        ->capture_default_str();
    app.add_option("--refill-entries", zcrx.refill_entries,
                   "entries of the refill queue; 0: as many as chunks")
        ->check(CLI::Range(0U, 32768U))
        ->capture_default_str();
}

void add_nic_options(command_line& line, nic_options& to) {
    CLI::App& app = line.app();
    auto* nic = app.add_option("--nic", to.interface,
                               "set this interface up for zero copy, and put it back at the end");
    app.add_option("--rx-queues", to.queues,
                   "its queues for zero copy, such as 4-7; auto: the last ones, one for each core")
        ->capture_default_str()
        ->needs(nic);
    app.add_option("--steer", to.steer_port, "lead TCP connections to this port to the queues")
        ->check(CLI::Range(1, 65535))
        ->needs(nic);
    const std::map<std::string, sluice::irq_place> irqs{
        {"as-it-is", sluice::irq_place::as_it_is},
        {"same", sluice::irq_place::same_cpu},
        {"neighbour", sluice::irq_place::neighbour}};
    app.add_option("--irq-place", to.irqs,
                   "the queues' interrupts on the CPUs of their cores, on another core of the same "
                   "NUMA node, or where they are (as-it-is)")
        ->transform(CLI::CheckedTransformer(irqs).description("as-it-is|same|neighbour"))
        ->needs(nic);
    const std::map<std::string, bool> placements{{"queue", true}, {"kernel", false}};
    app.add_option("--placement", to.place,
                   "with an rx queue for each core: queue: a connection lives on the core whose "
                   "queue its packets come by; kernel: where the kernel's hash puts it (queue)")
        ->transform(CLI::CheckedTransformer(placements).description("queue|kernel"));
}

unsigned reactors_of(const sluice::service_options& service) {
    return static_cast<unsigned>(cpus_of(service).size());
}

namespace {

using maybe_session = std::optional<sluice::nic_session>;

sluice::nic_result<sluice::nic_request> request_of(const nic_options& from,
                                                   const sluice::service_options& service) {
    sluice::nic_request wanted;
    wanted.interface = from.interface;
    if (from.steer_port != 0) wanted.port = from.steer_port;
    wanted.peer_ports = from.peer_ports;
    if (from.queues == "auto") {
        auto last = sluice::last_queues(from.interface, reactors_of(service));
        if (!last) return last.error();
        wanted.queues = std::move(*last);
    } else {
        // A name that is wrong is no reason to copy; last_queues() looks at it too.
        if (auto known = sluice::inspect_nic(from.interface); !known) return known.error();
        auto list = sluice::parse_cpu_list(from.queues);
        if (!list)
            return sluice::nic_failure{"--rx-queues " + from.queues +
                                       ": neither auto nor such as 4-7"};
        wanted.queues = std::move(*list);
    }
    const auto queues = static_cast<unsigned>(wanted.queues.size());
    wanted.irq_cpus =
        sluice::irq_cpus_for(cpus_of(service), (reactors_of(service) + queues - 1) / queues,
                             from.irqs, sluice::cpu_locations());
    return wanted;
}

sluice::nic_result<maybe_session> use(sluice::nic_result<sluice::nic_session> session,
                                      sluice::service_options& service) {
    if (!session) {
        if (service.reactor.zcrx.mode != sluice::receive_mode::automatic) return session.error();
        sluice::logger()->warn("--nic: no zero-copy receive, it copies: {}",
                               session.error().message);
        return maybe_session{};
    }
    if (auto used = session->use(service.reactor.zcrx, reactors_of(service)); !used)
        return used.error();
    return maybe_session(std::move(*session));
}

}  // namespace

sluice::nic_result<maybe_session> set_up_nic(const nic_options& from,
                                             sluice::service_options& service) {
    if (from.interface.empty()) return maybe_session{};
    auto wanted = request_of(from, service);
    if (!wanted) return wanted.error();
    return use(sluice::nic_session::open(*wanted), service);
}

sluice::nic_result<> nic_adoption::check(const sluice::service_options& service) {
    if (from_.interface.empty()) {
        if (lock_ < 0) return {};
        return sluice::nic_failure{"the process that runs has set a NIC up: --nic has to name it"};
    }
    auto wanted = request_of(from_, service);
    if (!wanted) return wanted.error();
    wanted_ = std::move(*wanted);
    return {};
}

sluice::nic_result<maybe_session> nic_adoption::go_on(sluice::service_options& service) {
    if (from_.interface.empty()) return maybe_session{};
    return use(lock_ < 0 ? sluice::nic_session::open(wanted_)
                         : sluice::nic_session::adopt(wanted_, lock_),
               service);
}

void place_connections(const nic_options& as, const sluice::zcrx_options& zcrx, unsigned reactors,
                       sluice::listen_options& listen) {
    listen.hand_over = as.place;
    if (as.place) listen.steer = sluice::steer_to_rx_queues(zcrx, reactors);
}

}  // namespace demo
