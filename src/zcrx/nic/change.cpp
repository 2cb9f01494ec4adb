// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>

#include "runtime/kernel/device_files.hpp"
#include "runtime/kernel/process.hpp"
#include "sluice/nic.hpp"
#include "zcrx/nic/change.hpp"
#include "zcrx/nic/ethtool.hpp"
#include "zcrx/nic/journal.hpp"
#include "zcrx/nic/lock.hpp"
#include "zcrx/nic/setting.hpp"

namespace sluice {

namespace {

using detail::nic_journal;

std::string boot_id() { return detail::first_line("/proc/sys/kernel/random/boot_id").value_or(""); }

nic_failure cannot_write(const std::string& path, const boost::system::error_code& e) {
    if (e.value() == EEXIST)
        return {path + " exists: the NIC was changed before, run sluice-nic restore first"};
    nic_failure f = detail::failure_of("writing the journal " + path, e);
    if (e.value() == ENOENT || e.value() == EROFS) f.message += "; name another with --journal";
    return f;
}

nic_result<detail::nic_journal> read_journal(const std::string& interface,
                                             const std::string& path) {
    const auto text = detail::read_whole(path);
    if (!text && text.error().value() == ENOENT)
        return nic_failure{"there is no journal " + path +
                           ": nothing was changed, or --journal "
                           "named another"};
    if (!text) return detail::failure_of("reading the journal " + path, text.error());
    auto journal = detail::parse_journal(*text, path);
    if (!journal) return journal;
    if (journal->interface != interface)
        return nic_failure{path + " is of " + journal->interface + ", not of " + interface +
                           ": name another with --journal"};
    if (journal->boot_id != boot_id())
        return nic_failure{path + " is from before the machine was started, which has undone it "
                                  "all: remove the file"};
    return journal;
}

//! Split and channels can't be changed while a ring has a queue.
nic_result<> wait_until_free(const detail::nic_journal& journal,
                             std::chrono::milliseconds patience) {
    using kind = nic_setting::kind;
    const bool matters =
        std::any_of(journal.entries.begin(), journal.entries.end(), [](const auto& e) {
            return e.undo.what == kind::split || e.undo.what == kind::channels;
        });
    constexpr std::chrono::milliseconds step{50};
    for (std::chrono::milliseconds waited{0}; matters; waited += step) {
        const auto state = inspect_nic(journal.interface);
        if (!state) return state.error();
        const auto bound =
            std::find_if(state->queues.begin(), state->queues.end(), [](const nic_queue& q) {
                return q.use == queue_use::io_uring || q.use == queue_use::dma_buf;
            });
        if (bound == state->queues.end()) return {};
        if (waited >= patience)
            return nic_failure{"queue " + std::to_string(bound->id) + " of " + journal.interface +
                               " is still bound by " + name_of(bound->use) +
                               ": end the program that uses it, then restore again"};
        detail::pause_thread(step);
    }
    return {};
}

nic_result<> keep(const nic_journal& journal, const std::string& path) {
    if (auto kept = detail::write_durably(path, to_text(journal), false); !kept)
        return cannot_write(path, kept.error());
    return {};
}

nic_result<> do_steps(nic_journal& journal, const std::string& path,
                      const std::vector<nic_step>& steps,
                      const std::function<void(const nic_step&)>& before) {
    for (const nic_step& step : steps) {
        if (step.undo) {
            journal.entries.push_back({*step.undo, step.undo_command});
            if (auto kept = keep(journal, path); !kept) return kept;
        }
        if (before) before(step);
        if (auto done = detail::make_so(journal.interface, step.set); !done)
            return nic_failure{done.error().message + " (" + step.command +
                               "); sluice-nic restore puts back what was done before"};
    }
    return {};
}

}  // namespace

std::string nic_journal_path(const std::string& interface) {
    return "/run/sluice/nic-" + interface + ".json";
}

nic_result<> apply_nic(const nic_state& state, const std::vector<nic_step>& steps,
                       const std::string& journal_path,
                       const std::function<void(const nic_step&)>& before) {
    detail::nic_journal journal{state.interface, state.driver, boot_id(), {}};
    if (auto made = detail::write_durably(journal_path, to_text(journal), true); !made)
        return cannot_write(journal_path, made.error());
    return do_steps(journal, journal_path, steps, before);
}

nic_result<std::vector<std::string>> restore_nic(const std::string& interface,
                                                 const std::string& path,
                                                 std::chrono::milliseconds patience) {
    if (!detail::path_exists(path)) return detail::put_back(interface, path, patience);
    const auto lock = detail::lock_nic(interface, path);
    if (!lock) return lock.error();
    return detail::put_back(interface, path, patience);
}

namespace detail {

nic_result<> do_more(const nic_state& state, const std::vector<nic_step>& steps,
                     const std::string& path) {
    auto journal = read_journal(state.interface, path);
    if (!journal) return journal.error();
    return do_steps(*journal, path, steps, {});
}

nic_result<> undo_rules(const std::string& interface, const std::string& path) {
    auto journal = read_journal(interface, path);
    if (!journal) return journal.error();
    for (std::size_t i = journal->entries.size(); i-- > 0;) {
        const auto& entry = journal->entries[i];
        if (entry.undo.what != nic_setting::kind::rule_gone) continue;
        if (auto undone = make_so(interface, entry.undo); !undone)
            return nic_failure{undone.error().message + " (" + entry.command + ")"};
        journal->entries.erase(journal->entries.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return keep(*journal, path);
}

nic_result<std::vector<std::string>> put_back(const std::string& interface, const std::string& path,
                                              std::chrono::milliseconds patience) {
    auto journal = read_journal(interface, path);
    if (!journal) return journal.error();
    if (auto free = wait_until_free(*journal, patience); !free) return free.error();
    std::vector<std::string> done;
    while (!journal->entries.empty()) {
        const auto& last = journal->entries.back();
        if (auto undone = detail::make_so(interface, last.undo); !undone)
            return nic_failure{undone.error().message + " (" + last.command + "); " + path +
                               " holds what is left to put back"};
        done.push_back(last.command);
        journal->entries.pop_back();
        if (auto kept = keep(*journal, path); !kept) return kept.error();
    }
    if (auto removed = detail::remove_file(path); !removed)
        return detail::failure_of("removing the journal " + path, removed.error());
    return done;
}

}  // namespace detail

}  // namespace sluice
