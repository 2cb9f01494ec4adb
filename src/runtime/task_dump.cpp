// SPDX-License-Identifier: Apache-2.0
#include "sluice/task_dump.hpp"

#include <cxxabi.h>
#include <spdlog/fmt/fmt.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <typeinfo>
#include <unordered_set>

#include "runtime/source_name.hpp"
#include "sluice/awaitable.hpp"
#include "sluice/frame_pool.hpp"
#include "sluice/nursery.hpp"
#include "sluice/reactor.hpp"
#include "sluice/task.hpp"
#include "sluice/timer.hpp"

namespace sluice {

namespace {

using detail::awaited_ref;

std::string type_name(const std::type_info& type) {
    int failed = 0;
    const std::unique_ptr<char, void (*)(void*)> name{
        abi::__cxa_demangle(type.name(), nullptr, nullptr, &failed), std::free};
    return failed == 0 ? name.get() : type.name();
}

std::string seconds(std::int64_t ns) {
    return fmt::format("{:.3f} s", static_cast<double>(ns) / 1e9);
}

}  // namespace

void stop_listener::describe(await_description& into) const { into.say(type_name(typeid(*this))); }

void await_description::until(std::int64_t deadline) {
    if (deadline != detail::timer_set::never) text_ += ", " + seconds(deadline - now_) + " left";
}

//! Walks from the root nursery downwards. Reads only; what it follows are pointers of suspended
//! coroutines, which stay as they are while it runs.
class task_dumper {
public:
    task_dumper(reactor& home, const dump_limits& limits) noexcept
        : home_(home), limits_(limits), now_(home.now().time_since_epoch().count()) {}

    task_dump run() {
        task_dump made;
        made.reactor = home_.index();
        add_children(home_.root(), made.tasks, 0);
        // Those that no coroutine of the tree waits for are members of objects.
        home_.nurseries().for_each([&](const detail::nursery_node& n) {
            const auto& scope = static_cast<const nursery&>(n);
            if (!seen_.contains(&scope)) add_children(scope, made.tasks, 0);
        });
        made.coroutines = coroutines_;
        made.omitted = omitted_;
        return made;
    }

private:
    void add_children(const nursery& scope, std::vector<task_entry>& to, std::size_t depth) {
        seen_.insert(&scope);
        scope.for_each_child([&](const detail::promise_base& child) {
            // The wrapper that owns callable and arguments says nothing of its own.
            const awaited_ref inner = child.record().awaited();
            const bool wraps = inner.what() == awaited_ref::kind::child;
            add(wraps ? inner.as_child() : child, to, depth);
        });
    }

    void add(const detail::promise_base& promise, std::vector<task_entry>& to, std::size_t depth) {
        if (coroutines_ >= limits_.max_coroutines || depth >= limits_.max_depth) {
            ++omitted_;
            return;
        }
        ++coroutines_;
        task_entry e;
        const detail::await_record& record = promise.record();
        if (record.where().line() != 0) {
            e.function = detail::short_function_name(record.where().function_name());
            e.file = record.where().file_name();
            e.line = record.where().line();
        }
        const bool suspended = record.awaited().what() != awaited_ref::kind::none;
        if (suspended) e.waiting = std::chrono::nanoseconds(now_ - record.since());
        if (suspended || e.line != 0)
            e.waits_for = describe(record.awaited(), e, depth);
        else
            e.waits_for = "its first turn";
        look_for_buffers(promise, e);
        to.push_back(std::move(e));
    }

    std::string describe(awaited_ref what, task_entry& e, std::size_t depth) {
        switch (what.what()) {
            case awaited_ref::kind::none: return "nothing: it runs";
            case awaited_ref::kind::turn: return "its turn";
            case awaited_ref::kind::other: return "something that says nothing of itself";
            case awaited_ref::kind::child:
                add(what.as_child(), e.children, depth + 1);
                return "a task";
            case awaited_ref::kind::place: break;
        }
        await_description d{now_};
        what.as_place().describe(d);
        std::string text = std::move(d.text_);
        if (d.inside_.what() != awaited_ref::kind::none)
            text = describe(d.inside_, e, depth) + text;
        for (const awaited_ref child : d.children_)
            if (child.what() == awaited_ref::kind::child)
                add(child.as_child(), e.children, depth + 1);
        if (d.scope_ != nullptr) add_children(*d.scope_, e.children, depth + 1);
        const auto* waiter = dynamic_cast<const detail::waiter*>(&what.as_place());
        if (waiter != nullptr && !waiter->waiting()) text = "its turn, after " + text;
        return text;
    }

    // An rx_buffer is { data, block, size }: any three such words of the frame are taken for one.
    // Other words may be written meanwhile, by a reactor or a thread to which a call of this frame
    // is lent; what is read of those is no live block, or one that is there.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)
    __attribute__((no_sanitize("address"), no_sanitize("thread")))
#endif
    void
    look_for_buffers(const detail::promise_base& promise, task_entry& e) const {
        const auto* frame = static_cast<const std::byte*>(detail::frame_of(promise));
        const std::size_t bytes = detail::frame_pool::usable_bytes(frame);
        if (bytes < 3 * sizeof(void*)) return;
        for (std::size_t at = 0; at <= bytes - 3 * sizeof(void*); at += sizeof(void*)) {
            const void* data = nullptr;
            const void* block = nullptr;
            std::uint32_t size = 0;
            std::memcpy(&data, frame + at, sizeof data);
            std::memcpy(&block, frame + at + sizeof data, sizeof block);
            std::memcpy(&size, frame + at + sizeof data + sizeof block, sizeof size);
            if (block == nullptr || !home_.locals().lends(data, block)) continue;
            ++e.buffers;
            e.buffer_bytes += size;
        }
    }

    reactor& home_;
    dump_limits limits_;
    std::int64_t now_;
    std::size_t coroutines_ = 0;
    std::size_t omitted_ = 0;
    std::unordered_set<const nursery*> seen_;
};

task_dump dump_tasks(reactor& home, const dump_limits& limits) {
    return task_dumper{home, limits}.run();
}

namespace {

void print(const task_entry& e, std::size_t depth, std::string& to) {
    to.append(2 + 2 * depth, ' ');
    to += e.function.empty() ? "(not started)" : e.function;
    if (e.line != 0) to += fmt::format(" ({}:{})", e.file, e.line);
    to += " waits " + seconds(e.waiting.count()) + " for " + e.waits_for;
    if (e.buffers != 0)
        to += fmt::format("; holds {} buffers, {} bytes", e.buffers, e.buffer_bytes);
    to += '\n';
    for (const task_entry& child : e.children) print(child, depth + 1, to);
}

}  // namespace

std::string task_dump::to_string() const {
    if (!answered) return fmt::format("reactor {}: no answer: its turn takes long\n", reactor);
    std::string text =
        fmt::format("reactor {}: {} tasks, {} coroutines\n", reactor, tasks.size(), coroutines);
    for (const task_entry& e : tasks) print(e, 0, text);
    if (omitted != 0) text += fmt::format("  and {} more with what they await\n", omitted);
    return text;
}

std::string to_string(const std::vector<task_dump>& dumps) {
    std::string text;
    for (const task_dump& d : dumps) text += d.to_string();
    return text;
}

}  // namespace sluice
