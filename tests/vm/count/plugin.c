// SPDX-License-Identifier: GPL-2.0-or-later
/// A plugin of QEMU's emulator that counts, for each virtual CPU: instructions in user space, those
/// in the kernel, and bytes that string instructions (rep movs) store. A string instruction counts
/// once, however often it repeats, as a CPU retires it. When the guest executes mark.h's
/// instruction, a line
///   CPU USER KERNEL STORED
/// for each CPU that has run goes to the file that out=FILE names, and then an empty line.
///
/// Debian's QEMU brings no header for its plugins: what is used of the interface is declared here.
/// PLUGIN_VERSION: of that interface; 1 up to QEMU 8, 2 in 9.0, 3 from 9.1 on.
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "mark.h"

struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { call_without_registers = 0, memory_written = 2 };

typedef void on_block(uint64_t id, struct qemu_plugin_tb* block);
typedef void on_execution(unsigned cpu, void* data);
typedef void on_memory(unsigned cpu, uint32_t how, uint64_t address, void* data);

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, on_block* call);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb* block, on_execution* call,
                                          int flags, void* data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn* insn, on_execution* call,
                                            int flags, void* data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn* insn, on_memory* call, int flags,
                                      int which, void* data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb* block);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb* block, size_t index);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn* insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn* insn);
unsigned qemu_plugin_mem_size_shift(uint32_t how);
_Bool qemu_plugin_mem_is_store(uint32_t how);
#if PLUGIN_VERSION < 3
const void* qemu_plugin_insn_data(const struct qemu_plugin_insn* insn);
#else
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn* insn, void* to, size_t size);
#endif

__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_VERSION;

enum { most_cpus = 64, longest = 15 };

// Only the thread that runs the CPU writes.
struct counts {
    _Alignas(64) uint64_t user;
    uint64_t kernel;
    uint64_t stored;
    uint64_t repeating;  // address of the string instruction that was the last to run, or 0
};

static struct counts all[most_cpus];
static FILE* out;

static void count(unsigned cpu, bool kernel, uint64_t instructions) {
    *(kernel ? &all[cpu].kernel : &all[cpu].user) += instructions;
}

// A block as one word: how many instructions it has, and two flags.
enum { in_kernel = 1, begins_with_string = 2, number_from_bit = 2 };

static void block_runs(unsigned cpu, void* data) {
    const uintptr_t block = (uintptr_t)data;
    if ((block & begins_with_string) == 0) all[cpu].repeating = 0;
    count(cpu, block & in_kernel, block >> number_from_bit);
}

// An emulator may run each repetition as a block of its own.
static void string_runs(unsigned cpu, void* address) {
    const uint64_t at = (uintptr_t)address;
    if (all[cpu].repeating == at) return;
    all[cpu].repeating = at;
    count(cpu, at >> 63, 1);
}

static void string_stores(unsigned cpu, uint32_t how, uint64_t address, void* data) {
    (void)address;
    (void)data;
    if (qemu_plugin_mem_is_store(how)) all[cpu].stored += 1U << qemu_plugin_mem_size_shift(how);
}

static void mark_runs(unsigned cpu, void* data) {
    (void)cpu;
    (void)data;
    for (unsigned i = 0; i < most_cpus; ++i)
        if (all[i].user + all[i].kernel != 0)
            fprintf(out, "%u %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", i, all[i].user, all[i].kernel,
                    all[i].stored);
    fputs("\n", out);
    fflush(out);
}

struct bytes {
    uint8_t at[longest + 1];
    size_t size;
};

static struct bytes bytes_of(const struct qemu_plugin_insn* insn) {
    struct bytes found = {.size = qemu_plugin_insn_size(insn)};
    if (found.size > longest) found.size = longest;
#if PLUGIN_VERSION < 3
    memcpy(found.at, qemu_plugin_insn_data(insn), found.size);
#else
    qemu_plugin_insn_data(insn, found.at, found.size);
#endif
    return found;
}

// rep movs or rep stos, of any width.
static bool is_string(const struct bytes* insn) {
    bool repeats = false;
    for (size_t i = 0; i + 1 < insn->size; ++i) {
        const uint8_t prefix = insn->at[i];
        repeats = repeats || prefix == 0xf3;
        if (prefix != 0xf3 && prefix != 0x66 && (prefix & 0xf0) != 0x40) return false;
    }
    const uint8_t code = insn->size == 0 ? 0 : insn->at[insn->size - 1];
    return repeats && (code == 0xa4 || code == 0xa5 || code == 0xaa || code == 0xab);
}

static bool moves(const struct bytes* insn) { return insn->at[insn->size - 1] <= 0xa5; }

static bool is_mark(const struct bytes* insn) {
    static const uint8_t mark[] = {MARK_BYTES};
    return insn->size == sizeof mark && memcmp(insn->at, mark, sizeof mark) == 0;
}

static void translated(uint64_t id, struct qemu_plugin_tb* block) {
    (void)id;
    const size_t number = qemu_plugin_tb_n_insns(block);
    uintptr_t counted = 0;
    uintptr_t flags = 0;
    for (size_t i = 0; i < number; ++i) {
        struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(block, i);
        const uint64_t address = qemu_plugin_insn_vaddr(insn);
        const struct bytes bytes = bytes_of(insn);
        if (i == 0 && address >> 63) flags |= in_kernel;
        if (is_string(&bytes)) {
            if (i == 0) flags |= begins_with_string;
            qemu_plugin_register_vcpu_insn_exec_cb(insn, string_runs, call_without_registers,
                                                   (void*)(uintptr_t)address);
            if (moves(&bytes))
                qemu_plugin_register_vcpu_mem_cb(insn, string_stores, call_without_registers,
                                                 memory_written, NULL);
            continue;
        }
        ++counted;
        if (is_mark(&bytes))
            qemu_plugin_register_vcpu_insn_exec_cb(insn, mark_runs, call_without_registers, NULL);
    }
    qemu_plugin_register_vcpu_tb_exec_cb(block, block_runs, call_without_registers,
                                         (void*)(counted << number_from_bit | flags));
}

__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const void* about,
                                                               int argc, char** argv) {
    (void)about;
    static const char option[] = "out=";
    if (argc != 1 || strncmp(argv[0], option, strlen(option)) != 0) {
        fputs("plugin: out=FILE is wanted\n", stderr);
        return -1;
    }
    out = fopen(argv[0] + strlen(option), "w");
    if (out == NULL) {
        perror("plugin: out");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
