// SPDX-License-Identifier: Apache-2.0
#include "sluice/test.hpp"

#include <spdlog/fmt/fmt.h>

#include <cerrno>
#include <new>
#include <stdexcept>

#include "net/connection.hpp"
#include "net/descriptor_budget.hpp"
#include "net/net_context.hpp"
#include "runtime/kernel/controlled_kernel.hpp"

namespace sluice::test {

controlled_environment::controlled_environment()
    : kernel_(sluice::detail::controlled_kernel::create()) {}

controlled_environment::~controlled_environment() = default;

void controlled_environment::advance(std::chrono::nanoseconds by) noexcept {
    kernel_->advance(by.count());
}

std::uint64_t controlled_environment::operations() const noexcept { return kernel_->requests(); }

void controlled_environment::fail_at(std::uint64_t n, int error) noexcept {
    kernel_->fail_at(n == 0 ? 0 : kernel_->requests() + n, error);
}

result<std::unique_ptr<reactor>> controlled_environment::make_reactor(
    const reactor_options& options, unsigned index) {
    return reactor::create_on(*kernel_, options, index);
}

std::unique_ptr<reactor> make_reactor(const run_options& options) {
    auto made = options.environment != nullptr
                    ? options.environment->make_reactor(options.reactor, options.index)
                    : reactor::create(options.reactor, options.index);
    if (!made) throw std::runtime_error("no reactor: " + explain_ring_error(made.error()));
    return std::move(*made);
}

void require_balanced_books(const reactor_stats& stats) {
    if (stats.live_operations == 0 && stats.live_frames == 0 && stats.live_timers == 0) return;
    throw std::runtime_error(
        fmt::format("a reactor ended with {} operations, {} frames and {} timers",
                    stats.live_operations, stats.live_frames, stats.live_timers));
}

namespace {

// Owns the descriptor, also when this fails.
result<tcp_stream> adopt(sluice::detail::net_context& net, int descriptor) {
    try {
        tcp_stream made{sluice::detail::connection::create(net, descriptor, nullptr)};
        sluice::detail::descriptor_budget::acquired();
        return made;
    } catch (const std::bad_alloc&) {
        net.below().close(descriptor);
        return errno_error(ENOMEM);
    }
}

}  // namespace

result<stream_pair> connected_pair(reactor& home) {
    auto net = sluice::detail::net_context::of(home);
    if (!net) return net.error();
    if ((*net)->fixed()) return errno_error(EOPNOTSUPP);
    int ends[2] = {-1, -1};
    const int failed = (*net)->below().connected_pair(ends);
    if (failed < 0) return errno_error(-failed);
    auto left = adopt(**net, ends[0]);
    auto right = adopt(**net, ends[1]);
    if (!left) return left.error();
    if (!right) return right.error();
    return stream_pair{std::move(*left), std::move(*right)};
}

}  // namespace sluice::test
