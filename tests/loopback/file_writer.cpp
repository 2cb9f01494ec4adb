// SPDX-License-Identifier: Apache-2.0
#include "sluice/file_writer.hpp"

#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/temporary_folder.hpp"
#include "sluice/nursery.hpp"
#include "sluice/test.hpp"
#include "support/skip.hpp"

using namespace std::chrono_literals;
using sluice::errno_error;
using sluice::file;
using sluice::file_options;
using sluice::file_writer;
using sluice::file_writer_options;
using sluice::nursery;
using sluice::result;
using sluice::rx_buffer;
using sluice::task;
using sluice::with_nursery;
using sluice::testing::content_of;
using sluice::testing::pattern;
using sluice::testing::temporary_folder;

namespace {

bool holds(const std::string& name, std::uint64_t seed, std::size_t size) {
    const std::string content = content_of(name);
    return content.size() == size &&
           pattern(seed).matches(0, std::as_bytes(std::span(content.data(), content.size())));
}

//! Bytes of the pattern in a buffer whose address is `beyond` bytes behind a page's.
rx_buffer slice_at(const pattern& source, std::uint64_t from, std::size_t size,
                   std::size_t beyond) {
    rx_buffer memory = rx_buffer::of_heap(size + 2 * 4096);
    const auto at = reinterpret_cast<std::uintptr_t>(memory.data());
    const std::size_t skip = 4096 - at % 4096 + beyond;
    source.fill(from, {memory.fill() + skip, size});
    return memory.slice(skip, size);
}

//! What was written, and what came of it.
struct outcome {
    result<void> wrote;
    result<void> finished;
    std::uint64_t written = 0;
    sluice::file_writer_counts counts;
};

//! Writes slices of the pattern of these sizes at these addresses, until one fails.
struct stream {
    std::vector<std::size_t> sizes;
    std::vector<std::size_t> beyond;  // taken in turn
    std::uint64_t seed = 1;

    [[nodiscard]] std::size_t total() const {
        std::size_t sum = 0;
        for (const std::size_t s : sizes) sum += s;
        return sum;
    }
    task<outcome> write_to(file& f, file_writer_options options = {}) const {
        outcome got;
        static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
            file_writer writer(scope, f, options);
            const pattern source(seed);
            std::uint64_t at = 0;
            for (std::size_t i = 0; i < sizes.size() && got.wrote; ++i) {
                rx_buffer slice = slice_at(source, at, sizes[i], beyond[i % beyond.size()]);
                got.wrote = co_await writer.write(std::move(slice));
                at += sizes[i];
            }
            got.finished = co_await writer.finish();
            got.written = writer.written();
            got.counts = writer.counts();
        }));
        co_return got;
    }
};

stream random_stream(std::uint64_t seed, std::size_t count, std::size_t most) {
    std::minstd_rand random(static_cast<std::uint32_t>(seed) + 1);
    stream made;
    made.seed = seed;
    for (std::size_t i = 0; i < count; ++i) {
        made.sizes.push_back(random() % 3 == 0 ? 4096 * (1 + random() % 4) : 1 + random() % most);
        made.beyond.push_back(random() % 2 == 0 ? 0 : random() % 4096);
    }
    return made;
}

//! A disk of 1 MiB that nobody else sees.
bool own_tmpfs(const std::string& at) {
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, "") == 0 &&
           mount("none", at.c_str(), "tmpfs", 0, "size=1m") == 0;
}

//! A direct file, or a skip.
task<result<file>> open_direct(const std::string& name) {
    file_options how;
    how.direct = true;
    auto f = co_await file::open(name, how);
    if (!f) sluice::testing::report_skip("no O_DIRECT for " + name + ": " + f.error().message());
    co_return f;
}

}  // namespace

TEST_SUITE_BEGIN("loopback.file_writer");

SLUICE_NET_TEST("file_writer: a file like any other takes all slices from where they are") {
    const temporary_folder folder;
    const stream s = random_stream(1, 2000, 5000);
    auto f = co_await file::open(folder / "f");
    const outcome got = co_await s.write_to(*f);
    CHECK(got.finished.has_value());
    CHECK(got.written == s.total());
    CHECK(got.counts.bytes == s.total());
    CHECK(got.counts.direct == s.total());
    CHECK(got.counts.staged == 0);
    CHECK(got.counts.slices == 2000);
    CHECK(got.counts.writes < 1000);
    CHECK(holds(folder / "f", 1, s.total()));
}

SLUICE_NET_TEST("file_writer: direct, aligned slices are not copied") {
    const temporary_folder folder;
    auto f = co_await open_direct(folder / "f");
    if (!f) co_return;
    const stream s{std::vector<std::size_t>(500, 4096), {0}, 2};
    const outcome got = co_await s.write_to(*f);
    CHECK(got.finished.has_value());
    CHECK(got.counts.staged == 0);
    CHECK(got.counts.direct == s.total());
    CHECK(got.counts.aligned_address == 500);
    CHECK(got.counts.aligned_length == 500);
    CHECK(got.counts.aligned_offset == 500);
    CHECK(holds(folder / "f", 2, s.total()));
}

SLUICE_NET_TEST("file_writer: direct, what does not fit is staged, the length is exact") {
    const temporary_folder folder;
    for (const std::size_t last : {0UL, 1UL, 511UL, 4095UL, 4096UL}) {
        auto f = co_await open_direct(folder / "f");
        if (!f) co_return;
        stream s{std::vector<std::size_t>(100, 1448), {64}, last};
        if (last != 0) s.sizes.push_back(last);
        const outcome got = co_await s.write_to(*f);
        CHECK(got.finished.has_value());
        CHECK(got.written == s.total());
        CHECK(got.counts.staged >= 100 * 1448);
        CHECK(holds(folder / "f", last, s.total()));
    }
    auto f = co_await file::open(folder / "f");
    const stream nothing{{}, {0}, 1};
    const outcome got = co_await nothing.write_to(*f);
    CHECK(got.finished.has_value());
    CHECK(holds(folder / "f", 1, 0));
}

SLUICE_NET_TEST("file_writer: direct, sizes and addresses at random, small limits") {
    const temporary_folder folder;
    std::uint64_t written_directly = 0;
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
        auto f = co_await open_direct(folder / "f");
        if (!f) co_return;
        const stream s = random_stream(seed, 300, seed % 2 == 0 ? 20'000 : 2000);
        file_writer_options options;
        options.write_bytes = seed % 3 == 0 ? 1 : 20'000;
        options.max_writes = static_cast<std::uint32_t>(1 + seed % 3);
        options.max_leases = static_cast<std::uint32_t>(1 + seed % 4);
        const outcome got = co_await s.write_to(*f, options);
        INFO("seed " << seed);
        CHECK(got.finished.has_value());
        CHECK(got.counts.bytes == got.counts.direct + got.counts.staged);
        CHECK(got.counts.bytes == s.total());
        CHECK(got.counts.staged > 0);
        CHECK(holds(folder / "f", seed, s.total()));
        written_directly += got.counts.direct;
    }
    CHECK(written_directly > 0);
}

SLUICE_NET_TEST("file_writer: no more leases and writes than allowed, and all come back") {
    const temporary_folder folder;
    auto f = co_await file::open(folder / "f");
    file_writer_options options;
    options.write_bytes = 8192;
    options.max_writes = 2;
    options.max_leases = 3;
    std::uint64_t most = 0;
    std::uint64_t waits = 0;
    static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
        file_writer writer(scope, *f, options);
        for (int i = 0; i < 200; ++i) {
            rx_buffer slice = slice_at(pattern(1), static_cast<std::uint64_t>(i) * 4096, 4096, 0);
            CHECK((co_await writer.write(std::move(slice))).has_value());
            most = std::max<std::uint64_t>(most, scope.children());
        }
        CHECK((co_await writer.settle()).has_value());
        CHECK(writer.written() == 200 * 4096);
        CHECK(home.stats().live_operations == 0);
        CHECK((co_await writer.finish()).has_value());
        waits = writer.counts().waits;
    }));
    CHECK(most <= 3);  // the function itself is a child
    CHECK(waits > 0);
    CHECK(holds(folder / "f", 1, 200 * 4096));
}

SLUICE_NET_TEST("file_writer: what comes alone is written without waiting for more") {
    const temporary_folder folder;
    auto f = co_await file::open(folder / "f");
    static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
        file_writer writer(scope, *f);
        for (std::uint64_t i = 0; i < 3; ++i)
            CHECK((co_await writer.write(slice_at(pattern(1), i * 100, 100, 0))).has_value());
        for (int i = 0; i < 20'000 && writer.written() != 300; ++i)
            static_cast<void>(co_await sluice::sleep_for(1ms));
        CHECK(writer.written() == 300);
    }));
}

SLUICE_NET_TEST("file_writer: a stop does not take back what was written") {
    const temporary_folder folder;
    auto f = co_await file::open(folder / "f");
    static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
        file_writer writer(scope, *f);
        CHECK((co_await writer.write(slice_at(pattern(1), 0, 100'000, 0))).has_value());
        scope.request_stop();
        auto more = co_await writer.settle();
        CHECK((!more || writer.written() == 100'000));
    }));
    CHECK(holds(folder / "f", 1, 100'000));
}

namespace {

task<> fill_disk(const std::string& folder) {
    for (const bool direct : {false, true}) {
        file_options how;
        how.direct = direct;
        auto f = co_await file::open(folder + "/f", how);
        if (!f && direct) break;  // tmpfs before Linux 6.6
        const stream s = random_stream(5, 400, 20'000);
        const outcome got = co_await s.write_to(*f);
        CHECK(got.finished.error() == errno_error(ENOSPC));
        CHECK(got.written > 512 * 1024);
        CHECK(got.written <= 1024 * 1024);
        CHECK(holds(folder + "/f", 5, got.written));
    }
}

}  // namespace

// In a thread of its own, since the kernel's workers of this one are in another namespace.
TEST_CASE("file_writer: disk full, the file holds what it says, and nothing else") {
    const temporary_folder folder;
    bool mounted = false;
    std::thread([&] {
        mounted = own_tmpfs(folder.path());
        if (mounted) sluice::testing::run_net([&] { return fill_disk(folder.path()); });
    }).join();
    if (!mounted) sluice::testing::report_skip("no tmpfs of its own: mounting needs CAP_SYS_ADMIN");
}

TEST_CASE("file_writer: each request fails in turn, the file holds the prefix") {
    for (std::uint64_t n = 1; n <= 12; ++n) {
        const temporary_folder folder;
        sluice::test::controlled_environment world;
        outcome got;
        std::size_t total = 0;
        sluice::test::run(
            [&]() -> task<> {
                auto f = co_await file::open(folder / "f");
                const stream s = random_stream(n, 100, 20'000);
                total = s.total();
                world.fail_at(n, EIO);
                got = co_await s.write_to(*f, {.write_bytes = 65536, .max_writes = 3});
            },
            {.environment = &world});
        INFO("request " << n);
        CHECK(got.finished.error() == errno_error(EIO));
        CHECK(got.written < total);
        CHECK(holds(folder / "f", n, got.written));
    }
}

TEST_SUITE_END();
