// SPDX-License-Identifier: Apache-2.0
// io_uring is refused by a seccomp filter, as containers do.

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <string>

#include "sluice/nursery.hpp"
#include "sluice/reactor.hpp"
#include "sluice/service.hpp"
#include "support/child.hpp"

#include <doctest/doctest.h>

namespace {

//! From now on, for the calling process, the three system calls of io_uring fail with `error`.
bool forbid_io_uring(std::uint32_t error) {
    const auto refuse = [error](std::uint32_t call) {
        return std::array<sock_filter, 2>{{
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        }};
    };
    const auto set_up = refuse(__NR_io_uring_setup);
    const auto enter = refuse(__NR_io_uring_enter);
    const auto do_register = refuse(__NR_io_uring_register);
    std::array<sock_filter, 8> filter{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        set_up[0],
        set_up[1],
        enter[0],
        enter[1],
        do_register[0],
        do_register[1],
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog program{filter.size(), filter.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

struct refusal {
    int error;
    const char* cause;
    const char* remedy;
};

}  // namespace

TEST_SUITE_BEGIN("loopback.forbidden");

TEST_CASE("io_uring forbidden: the error has a cause and a remedy, for reactors and services") {
    for (const refusal& r : {refusal{EPERM, "seccomp", "docs/seccomp.json"},
                             refusal{ENOSYS, "seccomp", "docs/seccomp.json"}}) {
        CAPTURE(r.error);
        const auto outcome = sluice::testing::in_child([&] {
            if (!forbid_io_uring(static_cast<std::uint32_t>(r.error))) return 1;
            const auto made = sluice::reactor::create();
            if (made) return 2;
            if (made.error() != sluice::errno_error(r.error)) return 3;
            const std::string text = sluice::explain_ring_error(made.error());
            std::fprintf(stderr, "%s\n", text.c_str());
            if (text.find(r.cause) == std::string::npos) return 4;
            if (text.find(r.remedy) == std::string::npos) return 5;
            if (text.find('\n') != std::string::npos) return 6;
            if (sluice::reactor::current() != nullptr) return 7;
            sluice::service_options options;
            options.cpus = {0, 0};
            options.pin = false;
            sluice::service service(options);
            const auto started =
                service.start([](sluice::reactor&) -> sluice::task<> { co_return; });
            if (started) return 8;
            if (started.error() != made.error()) return 9;
            return 0;
        });
        INFO("standard error of the child: ", outcome.errors);
        CHECK(outcome.signal == 0);
        CHECK(outcome.exit_code == 0);
    }
}

TEST_SUITE_END();
