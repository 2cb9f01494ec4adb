// SPDX-License-Identifier: Apache-2.0
#include "zcrx/refusal.hpp"

#include <cerrno>
#include <cstring>

#include "runtime/kernel/pages.hpp"
#include "sluice/nic.hpp"
#include "zcrx/nic/lock.hpp"

namespace sluice::detail {

namespace {

std::string kib(std::uint64_t bytes) { return std::to_string((bytes + 1023) / 1024) + " KiB"; }

std::string explain_memory(std::size_t needed) {
    const std::uint64_t limit = lockable_bytes();
    if (limit >= needed) return "the kernel has no memory for the area; make area_bytes smaller";
    return "the area needs " + kib(needed) + " of locked memory and RLIMIT_MEMLOCK allows " +
           kib(limit) + ": raise it (ulimit -l " + std::to_string((needed + 1023) / 1024) +
           ", LimitMEMLOCK= in a systemd unit), or grant CAP_IPC_LOCK";
}

std::string explain_owner(const std::string& interface) {
    if (std::string owner = nic_owner(nic_journal_path(interface)); !owner.empty()) return owner;
    return "another process (ls -l /proc/[0-9]*/fd shows which have an io_uring)";
}

std::string explain_invalid(const refused_registration& r) {
    if (!r.support.queried && r.options.device_less)
        return "the kernel knows no device-less rx queues: that needs kernel 7.1";
    if (r.options.device_less) return "the kernel refuses the area or the refill queue";
    return r.options.interface + " has to split headers from data for zero copy: ethtool -G " +
           r.options.interface + " tcp-data-split on hds-thresh 0";
}

}  // namespace

std::string explain_refusal(const refused_registration& r, int error_number) {
    const std::string queue = "queue " + std::to_string(r.queue) + " of " + r.options.interface;
    switch (error_number) {
        case EPERM:
            return "CAP_NET_ADMIN in the initial user namespace is needed to register an rx "
                   "queue: run as root, or setcap cap_net_admin+ep; it may be dropped afterwards";
        case ENODEV: return "there is no interface " + r.options.interface + " here: see ip link";
        case EOPNOTSUPP:
            if (r.options.device_less)
                return "a device-less rx queue cannot have chunks larger than a page";
            return "the driver of " + r.options.interface +
                   " has no zero-copy rx queues (or not with such chunks): bnxt, mlx5, gve and "
                   "fbnic have them";
        case EINVAL: return explain_invalid(r);
        case EEXIST:
            return queue + " is taken: by " + explain_owner(r.options.interface) +
                   ", by one that is just ending, or by an XDP program on the interface: end it, or "
                   "name another queue";
        case EBUSY: return queue + " is used by an AF_XDP socket or leased to a virtual device";
        case ERANGE:
            return "there is no " + queue + ", or the area's pages are too small for chunks of " +
                   kib(r.options.chunk_bytes) + " (huge pages: sysctl vm.nr_hugepages)";
        case ENOMEM: return explain_memory(r.locked_bytes);
        default:
            return std::string("the kernel refuses the rx queue: ") + std::strerror(error_number);
    }
}

}  // namespace sluice::detail
