// SPDX-License-Identifier: Apache-2.0
//! USDT probes of the provider "sluice", for bpftrace(8), perf(1) and SystemTap. A probe is one nop
//! and a note in the binary that says where its arguments are; nothing is computed for it. Without
//! sys/sdt.h (Debian package systemtap-sdt-dev) there are none.
//!
//!     submit(operation, opcode, descriptor)   an SQE has been filled
//!     complete(operation, result, flags)      a CQE has been taken
//!     resume(frame)                           a coroutine goes on
#pragma once

#if defined(SLUICE_USDT)
#include <sys/sdt.h>
#define SLUICE_PROBE_SUBMIT(operation, opcode, descriptor) \
    DTRACE_PROBE3(sluice, submit, operation, opcode, descriptor)
#define SLUICE_PROBE_COMPLETE(operation, result, flags) \
    DTRACE_PROBE3(sluice, complete, operation, result, flags)
#define SLUICE_PROBE_RESUME(frame) DTRACE_PROBE1(sluice, resume, frame)
#else
#define SLUICE_PROBE_SUBMIT(operation, opcode, descriptor) static_cast<void>(0)
#define SLUICE_PROBE_COMPLETE(operation, result, flags) static_cast<void>(0)
#define SLUICE_PROBE_RESUME(frame) static_cast<void>(0)
#endif
