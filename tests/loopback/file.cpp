// SPDX-License-Identifier: Apache-2.0
#include "sluice/file.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include "loopback/books.hpp"
#include "loopback/pattern.hpp"
#include "loopback/plain_socket.hpp"
#include "loopback/temporary_folder.hpp"
#include "sluice/nursery.hpp"
#include "sluice/test.hpp"
#include "sluice/timeout.hpp"
#include "support/skip.hpp"

using namespace std::chrono_literals;
using sluice::buffer_chain;
using sluice::errno_error;
using sluice::file;
using sluice::file_options;
using sluice::nursery;
using sluice::rx_buffer;
using sluice::task;
using sluice::with_nursery;
using sluice::testing::bytes_of;
using sluice::testing::content_of;
using sluice::testing::pattern;
using sluice::testing::temporary_folder;

namespace {

constexpr std::string_view text = "what is written";

struct limited_file_size {
    explicit limited_file_size(rlim_t bytes) {
        getrlimit(RLIMIT_FSIZE, &before);
        rlimit limit = before;
        limit.rlim_cur = bytes;
        setrlimit(RLIMIT_FSIZE, &limit);
        handler = std::signal(SIGXFSZ, SIG_IGN);
    }
    ~limited_file_size() {
        setrlimit(RLIMIT_FSIZE, &before);
        std::signal(SIGXFSZ, handler);
    }
    rlimit before{};
    void (*handler)(int) = nullptr;
};

}  // namespace

TEST_SUITE_BEGIN("loopback.file");

SLUICE_NET_TEST("file: bytes, buffers and pieces lie where they were written to") {
    const temporary_folder folder;
    auto opened = co_await file::open(folder / "f");
    REQUIRE(opened.has_value());
    file& f = *opened;
    CHECK(f.facts().regular);
    CHECK(f.facts().size == 0);
    CHECK_FALSE(f.direct());

    auto wrote = co_await f.write_all(bytes_of("0123456789"), 0);
    CHECK(wrote.value() == 10);
    rx_buffer buffer = rx_buffer::copy_of(bytes_of("abc"));
    wrote = co_await f.write_all(std::move(buffer), 10);
    CHECK(wrote.value() == 3);
    buffer_chain chain{rx_buffer::copy_of(bytes_of("de"))};
    chain.append(rx_buffer::copy_of(bytes_of("fgh")));
    wrote = co_await f.write_all(std::move(chain), 13);
    CHECK(wrote.value() == 5);
    const std::array pieces{bytes_of("X"), bytes_of("YZ")};
    wrote = co_await f.write_all(std::span<const std::span<const std::byte>>(pieces), 2);
    CHECK(wrote.value() == 3);
    wrote = co_await f.write_all(bytes_of(""), 100);
    CHECK(wrote.value() == 0);
    CHECK((co_await f.sync()).has_value());
    CHECK((co_await f.sync_data()).has_value());
    CHECK((co_await f.close()).has_value());
    CHECK_FALSE(f);
    CHECK(content_of(folder / "f") == "01XYZ56789abcdefgh");
}

SLUICE_NET_TEST("file: more pieces than a request takes") {
    const temporary_folder folder;
    const pattern source(7);
    const auto all = source.bytes(0, 5000 * 3);
    std::vector<std::span<const std::byte>> pieces;
    for (std::size_t i = 0; i < 5000; ++i) pieces.emplace_back(std::span(all).subspan(3 * i, 3));
    auto f = co_await file::open(folder / "f");
    auto wrote = co_await f->write_all(std::span<const std::span<const std::byte>>(pieces), 0);
    CHECK(wrote.value() == all.size());
    CHECK(content_of(folder / "f") ==
          std::string_view(reinterpret_cast<const char*>(all.data()), all.size()));
}

SLUICE_NET_TEST("file: options, size and room") {
    const temporary_folder folder;
    file_options missing;
    missing.create = false;
    auto none = co_await file::open(folder / "f", missing);
    CHECK(none.error() == errno_error(ENOENT));
    file_options how;
    how.permissions = 0600;
    auto f = co_await file::open(folder / "f", how);
    struct stat about {};
    REQUIRE(stat((folder / "f").c_str(), &about) == 0);
    CHECK((about.st_mode & 0777) == 0600);
    CHECK((co_await f->resize(100)).has_value());
    CHECK((co_await f->allocate(0, 1 << 20)).has_value());
    REQUIRE(stat((folder / "f").c_str(), &about) == 0);
    CHECK(about.st_size == 100);
    CHECK(about.st_blocks * 512 >= 1 << 20);

    file_options keep;
    keep.truncate = false;
    auto again = co_await file::open(folder / "f", keep);
    CHECK(again->facts().size == 100);
    auto emptied = co_await file::open(folder / "f");
    CHECK(emptied->facts().size == 0);
}

SLUICE_NET_TEST("file: disk full") {
    auto f = co_await file::open("/dev/full");
    REQUIRE(f.has_value());
    CHECK_FALSE(f->facts().regular);
    auto wrote = co_await f->write_all(bytes_of(text), 0);
    CHECK(wrote.error() == errno_error(ENOSPC));
}

SLUICE_NET_TEST("file: a write that the kernel cuts short is continued up to the error") {
    const temporary_folder folder;
    auto f = co_await file::open(folder / "f");
    const auto bytes = pattern(3).bytes(0, 20'000);
    const limited_file_size limit(8192);
    auto wrote = co_await f->write_all(bytes, 0);
    CHECK(wrote.error() == errno_error(EFBIG));
    CHECK(content_of(folder / "f").size() == 8192);
    wrote = co_await f->write_all(std::span(bytes).first(4096), 4096);
    CHECK(wrote.value() == 4096);
}

SLUICE_NET_TEST("file: O_DIRECT takes what is aligned") {
    const temporary_folder folder;
    file_options how;
    how.direct = true;
    auto f = co_await file::open(folder / "f", how);
    if (!f) {
        CHECK(f.error() == errno_error(EINVAL));
        sluice::testing::report_skip("no O_DIRECT in " + folder.path());
        co_return;
    }
    CHECK(f->direct());
    const std::size_t block = std::max(f->facts().offset_alignment, f->facts().memory_alignment);
    std::vector<std::byte> memory(3 * block, std::byte{'m'});
    const auto at = reinterpret_cast<std::uintptr_t>(memory.data());
    const auto aligned = std::span(memory).subspan(block - at % block, 2 * block);
    auto wrote = co_await f->write_all(aligned, block);
    CHECK(wrote.value() == 2 * block);
    wrote = co_await f->write_all(aligned.first(block - 1), 0);
    CHECK(wrote.error() == errno_error(EINVAL));
    CHECK(content_of(folder / "f") == std::string(block, '\0') + std::string(2 * block, 'm'));
}

SLUICE_NET_TEST("file: cancelled before it begins, nothing is written") {
    const temporary_folder folder;
    auto f = co_await file::open(folder / "f");
    boost::system::error_code how;
    static_cast<void>(co_await with_nursery([&](nursery& scope) -> task<> {
        scope.request_stop();
        auto wrote = co_await f->write_all(bytes_of(text), 0);
        how = wrote.error();
    }));
    CHECK(how == errno_error(ECANCELED));
    CHECK(content_of(folder / "f").empty());
}

SLUICE_NET_TEST("file: a write that can't go on is cancelled, and its buffer is back then") {
    const temporary_folder folder;
    REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
    const int reader = open((folder / "pipe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    auto f = co_await file::open(folder / "pipe");
    REQUIRE(f.has_value());
    const auto much = pattern(1).bytes(0, 1 << 20);
    rx_buffer buffer = rx_buffer::copy_of(much);
    auto writing = f->write_all(std::move(buffer), 0);
    auto wrote = co_await with_timeout(20ms, std::move(writing));
    CHECK(wrote.error() == sluice::error::timeout);
    CHECK(home.stats().live_operations == 0);
    CHECK((co_await f->write_all(bytes_of(""), 0)).has_value());
    close(reader);
    std::signal(SIGPIPE, SIG_IGN);
    auto broken = co_await f->write_all(bytes_of(text), 0);
    CHECK(broken.error() == errno_error(EPIPE));
}

TEST_CASE("file: errors of each request are values") {
    // Requests in order: openat, statx, write, fsync.
    for (std::uint64_t n = 1; n <= 4; ++n) {
        const temporary_folder folder;
        sluice::test::controlled_environment world;
        boost::system::error_code got;
        sluice::test::run(
            [&]() -> task<> {
                world.fail_at(n, EIO);
                auto f = co_await file::open(folder / "f");
                if (!f) {
                    got = f.error();
                    co_return;
                }
                auto wrote = co_await f->write_all(bytes_of(text), 0);
                if (!wrote) got = wrote.error();
                auto synced = co_await f->sync();
                if (!synced) got = synced.error();
            },
            {.environment = &world});
        CHECK(got == errno_error(EIO));
    }
}

TEST_SUITE_END();
