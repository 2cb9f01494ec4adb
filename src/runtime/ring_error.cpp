// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <string>

#include "runtime/kernel/process.hpp"
#include "sluice/reactor.hpp"

namespace sluice {

namespace {

std::string explain_refusal() {
    const auto setting = detail::first_line("/proc/sys/kernel/io_uring_disabled");
    if (setting == "2")
        return "io_uring is switched off for everybody (sysctl kernel.io_uring_disabled is 2): "
               "set it to 0";
    if (setting == "1")
        return "io_uring is switched off for unprivileged processes (sysctl "
               "kernel.io_uring_disabled is 1): set it to 0, run as root, or join the group of "
               "kernel.io_uring_group";
    return "io_uring is forbidden to this process, most likely by a seccomp filter of its "
           "container: run it with the profile docs/seccomp.json "
           "(--security-opt seccomp=docs/seccomp.json)";
}

}  // namespace

std::string explain_ring_error(const boost::system::error_code& error) {
    switch (error.value()) {
        case EPERM:
        case EACCES: return explain_refusal();
        case ENOSYS:
            return "this kernel has no io_uring, or a seccomp filter hides it: sluice needs Linux 6.1 "
                   "with CONFIG_IO_URING, and in a container the profile docs/seccomp.json";
        case EINVAL:
        case ENOTSUP:
            return "this kernel's io_uring is too old: sluice needs Linux 6.1 (DEFER_TASKRUN)";
        case ENOMEM:
            return "no memory for the ring: raise RLIMIT_MEMLOCK (ulimit -l), or lower the sizes of "
                   "the queues";
        case EMFILE:
        case ENFILE: return "no descriptor is left for the ring: raise RLIMIT_NOFILE (ulimit -n)";
        case EEXIST: return "this thread has a reactor already: one reactor needs one thread";
        default: return "the ring can't be set up: " + error.message();
    }
}

}  // namespace sluice
