// SPDX-License-Identifier: Apache-2.0
#include "succession.hpp"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <chrono>
#include <filesystem>

namespace demo {

using namespace sluice;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 10s;  // with the other process
constexpr auto look_again = 100ms;

endpoint place_of(const std::string& path) {
    return endpoint::parse("unix:" + path).value();  // the option has been checked
}

}  // namespace

void add_succession_options(command_line& line, succession_options& to) {
    line.app()
        .add_option("--hand-over", to.path,
                    "take over from the process that listens at this Unix socket, which drains; "
                    "then listen there for the next one")
        ->check([](const std::string& path) {
            return endpoint::parse("unix:" + path) ? std::string{} : path + " is no path";
        });
    line.app().add_flag("--keep-privileges", to.keep_privileges,
                        "with --nic: keep the capabilities that are not needed any more");
}

nic_result<> succession::begin(const command_line& line, const nic_options& nic,
                               const succession_options& how, service_options& service,
                               listen_options& listen) {
    drops_privileges_ = !nic.interface.empty() && !how.keep_privileges;
    if (!how.path.empty()) {
        auto taken = take_over(how, nic, service, listen);
        if (!taken) return taken.error();
        if (*taken) return meet(how);
    }
    auto session = set_up_nic(nic, service);
    if (!session) return session.error();
    if (*session) nic_.emplace(std::move(**session));
    const auto reactors = reactors_of(service);
    place_connections(nic, service.reactor.zcrx, reactors, listen);
    auto opened = listener_group::open(line.address(), reactors, listen);
    if (!opened) return nic_failure{explain_listen_error(opened.error(), line.address())};
    listeners_.emplace(std::move(*opened));
    return meet(how);
}

// False: nobody is there.
nic_result<bool> succession::take_over(const succession_options& how, const nic_options& nic,
                                       service_options& service, const listen_options& listen) {
    auto before = predecessor::find(place_of(how.path), patience);
    if (!before) {
        const int why = before.error().value();
        if (why == ENOENT || why == ECONNREFUSED) return false;
        return nic_failure{"--hand-over " + how.path + ": " + before.error().message()};
    }
    auto adopted = listener_group::adopt(before->take_listeners(), listen);
    if (!adopted)
        return nic_failure{"--hand-over: what was got cannot be listened on: " +
                           adopted.error().message()};
    if (adopted->count() != reactors_of(service))
        return nic_failure{"--hand-over: the process that runs has " +
                           std::to_string(adopted->count()) +
                           " cores, so --cores has to name as "
                           "many"};
    const int lock = before->take_nic_lock();
    nic_adoption adoption{nic, lock};
    if (auto possible = adoption.check(service); !possible) return possible.error();
    if (auto began = before->dismiss(); !began)
        return nic_failure{"--hand-over: the process that runs does not let go: " +
                           began.error().message()};
    listeners_.emplace(std::move(*adopted));
    auto session = adoption.go_on(service);
    if (!session) return session.error();
    if (*session) {
        nic_.emplace(std::move(**session));
        steered_ = false;
    }
    return true;
}

nic_result<> succession::meet(const succession_options& how) {
    if (how.path.empty()) return {};
    std::error_code ignored;
    std::filesystem::remove(how.path, ignored);
    auto opened = listener_group::open(place_of(how.path), 1);
    if (!opened)
        return nic_failure{"--hand-over: " +
                           explain_listen_error(opened.error(), place_of(how.path))};
    meeting_.emplace(std::move(*opened));
    return {};
}

void succession::run_in(nursery& scope, reactor& home, service& all) {
    scope.spawn([&] { return settle(home, all.reactors()); });
    if (home.index() != 0) return;
    scope.spawn([&] { return withdraw(); });
    scope.spawn([&] { return await_successor(home, all); });
}

task<> succession::settle(reactor& home, unsigned reactors) {
    if (!nic_ && !drops_privileges_) co_return;
    while (zcrx_stats_of(home).waits) {
        auto slept = co_await sleep_for(look_again);
        if (!slept || home.draining()) co_return;
    }
    const bool last = settled_.fetch_add(1) + 1 == reactors;
    if (last && !steered_) {
        if (auto done = nic_->steer(); done)
            logger()->info("connections are led to the rx queue again");
        else
            logger()->error("connections go on being copied: {}", done.error().message);
    }
    if (!drops_privileges_) co_return;
    while (settled_.load() < reactors) {
        auto slept = co_await sleep_for(look_again);
        if (!slept || home.draining()) co_return;
    }
    reach_all_queues(home);  // wants the capability, too
    if (ready_to_drop_.fetch_add(1) + 1 != reactors) co_return;
    if (auto dropped = drop_privileges(); dropped)
        logger()->info("all capabilities are dropped; the process sluice-nic keeps CAP_NET_ADMIN");
    else
        logger()->warn("capabilities could not be dropped: {}", dropped.error().message());
}

task<> succession::withdraw() {
    auto drains = co_await until_draining();
    if (!drains || !nic_ || left_) co_return;
    if (auto done = nic_->steer_away(); !done)
        logger()->warn("new connections may still be led to the rx queues: {}",
                       done.error().message);
}

task<> succession::await_successor(reactor& home, service& service) {
    if (!meeting_) co_return;
    auto listener = tcp_listener::open(home, *meeting_, 0);
    if (!listener) co_return;
    for (;;) {
        auto next = co_await listener->accept();
        if (!next) co_return;
        const bool handed = co_await offer(std::move(*next));
        if (!handed) continue;
        service.request_stop();
        co_return;
    }
}

// False: the other process gave up, or may not.
task<bool> succession::offer(tcp_stream to) {
    inheritance what;
    for (unsigned i = 0; i < listeners_->count(); ++i)
        what.listeners.push_back(listeners_->descriptor(i));
    if (nic_ && !left_) what.nic_lock = nic_->lock();
    auto ready = co_await with_timeout(patience, hand_over(to, what));
    if (!ready) {
        logger()->warn("not handed over: {}", ready.error().message());
        co_return false;
    }
    if (nic_) {
        // First the rules: what the other process accepts it must be able to read.
        auto away = nic_->steer_away();
        if (away) away = nic_->leave();
        left_ = true;
        if (!away) logger()->warn("the NIC is not handed over in order: {}", away.error().message);
    }
    logger()->info("another process has taken over: draining");
    co_return true;
}

}  // namespace demo
