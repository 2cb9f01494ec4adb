// SPDX-License-Identifier: Apache-2.0
#include "zcrx/nic/keeper.hpp"

#include <linux/capability.h>

#include <array>
#include <cstdio>

#include "zcrx/nic/change.hpp"
#include "zcrx/nic/ethtool.hpp"

namespace sluice::detail {

namespace {

constexpr std::chrono::seconds patience{5};

//! In the helper process.
class kept_nic {
public:
    kept_nic(nic_request request, std::string journal)
        : request_(std::move(request)), journal_(std::move(journal)) {}

    std::string answer(char question) {
        const auto outcome = act(question);
        if (outcome) return {};
        // Nobody is there to be told.
        if (question == 0)
            std::fprintf(stderr, "sluice: %s is not as it was: %s\n", request_.interface.c_str(),
                         outcome.error().message.c_str());
        return outcome.error().message;
    }

private:
    nic_result<> act(char question) {
        switch (question) {
            case 's': return steer();
            case 'a': return undo_rules(request_.interface, journal_);
            case 'l': over_ = true; return {};
            default: break;
        }
        if (over_ || !path_exists(journal_)) return {};
        over_ = true;
        const auto restored = put_back(request_.interface, journal_, patience);
        if (!restored) return restored.error();
        return {};
    }

    nic_result<> steer() {
        const auto state = inspect_nic(request_.interface);
        if (!state) return state.error();
        std::vector<nic_step> rules;
        for (nic_step& step : plan_nic(*state, request_))
            if (step.set.what == nic_setting::kind::rule ||
                step.set.what == nic_setting::kind::context)
                rules.push_back(std::move(step));
        return do_more(*state, rules, journal_);
    }

    nic_request request_;
    std::string journal_;
    bool over_ = false;
};

}  // namespace

nic_result<std::unique_ptr<nic_keeper>> nic_keeper::start(const nic_request& request,
                                                          const std::string& journal,
                                                          file_lock lock) {
    kept_nic kept(request, journal);
    const std::array<int, 1> descriptors{lock.descriptor()};
    auto helper = helper_process::start("sluice-nic", descriptors, 1U << CAP_NET_ADMIN,
                                        [&kept](char question) { return kept.answer(question); });
    if (!helper)
        return failure_of("starting the process that will put the NIC back", helper.error());
    return std::unique_ptr<nic_keeper>(new nic_keeper(std::move(*helper), std::move(lock)));
}

nic_result<> nic_keeper::ask(char question) {
    const auto answer = helper_.ask(question);
    if (!answer)
        return failure_of("asking the process that keeps the NIC (sluice-nic), which is gone",
                          answer.error());
    if (!answer->empty()) return nic_failure{*answer};
    return {};
}

}  // namespace sluice::detail
