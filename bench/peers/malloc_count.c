// SPDX-License-Identifier: Apache-2.0
/// For LD_PRELOAD: counts allocations in the file that MALLOC_COUNT_FILE names, where they can be
/// read at any time, also of a program that ends without its destructors.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* old, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

static uint64_t before_file;
static uint64_t* allocations = &before_file;

__attribute__((constructor)) static void open_count(void) {
    const char* name = getenv("MALLOC_COUNT_FILE");
    if (name == NULL) return;
    const int fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void* memory = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory != MAP_FAILED) allocations = memory;
}

static void count(void) { __atomic_fetch_add(allocations, 1, __ATOMIC_RELAXED); }

void* malloc(size_t size) {
    count();
    return __libc_malloc(size);
}

void* calloc(size_t number, size_t size) {
    count();
    return __libc_calloc(number, size);
}

void* realloc(void* old, size_t size) {
    count();
    return __libc_realloc(old, size);
}

void* memalign(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}

void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void** to, size_t alignment, size_t size) {
    *to = memalign(alignment, size);
    return *to == NULL ? ENOMEM : 0;
}
