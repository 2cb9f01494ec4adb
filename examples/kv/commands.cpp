// SPDX-License-Identifier: Apache-2.0
#include "commands.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>

namespace kv {

using namespace sluice;

namespace {

using reply = result<std::string>;

unsigned owner(const stores& all, const std::string& key) {
    return all.owner(std::hash<std::string>{}(key));
}

// What concerns one key goes to its core, with the command, and comes back as the reply.
template <class F>
task<reply> on_key(stores& all, command c, F fn) {
    const unsigned home = owner(all, c[1]);
    co_return co_await all.invoke_on(home, fn, std::move(c));
}

task<reply> get(stores& all, command c) {
    return on_key(all, std::move(c), [](store& s, const command& a) { return s.get(a[1]); });
}
task<reply> set(stores& all, command c) {
    return on_key(all, std::move(c),
                  [](store& s, command a) { return s.set(a[1], std::move(a[2])); });
}
task<reply> append(stores& all, command c) {
    return on_key(all, std::move(c),
                  [](store& s, const command& a) { return s.append(a[1], a[2]); });
}
task<reply> strlen(stores& all, command c) {
    return on_key(all, std::move(c),
                  [](store& s, const command& a) { return integer(s.size_of(a[1])); });
}
task<reply> incr(stores& all, command c) {
    return on_key(all, std::move(c), [](store& s, const command& a) { return s.add(a[1], 1); });
}
task<reply> decr(stores& all, command c) {
    return on_key(all, std::move(c), [](store& s, const command& a) { return s.add(a[1], -1); });
}

// Several keys, each on a core of its own: one after the other, and the sum.
template <class F>
task<reply> sum(stores& all, command c, F fn) {
    std::int64_t total = 0;
    for (std::size_t i = 1; i < c.size(); ++i) {
        const unsigned home = owner(all, c[i]);
        const auto n = co_await all.invoke_on(home, fn, c[i]);
        if (!n) co_return n.error();
        total += *n;
    }
    co_return integer(total);
}
task<reply> del(stores& all, command c) {
    return sum(all, std::move(c), [](store& s, const std::string& key) { return s.remove(key); });
}
task<reply> exists(stores& all, command c) {
    return sum(all, std::move(c), [](store& s, const std::string& key) { return s.has(key); });
}

task<reply> mget(stores& all, command c) {
    std::string text = array_of(c.size() - 1);
    for (std::size_t i = 1; i < c.size(); ++i) {
        const unsigned home = owner(all, c[i]);
        const auto value = co_await all.invoke_on(
            home, [](store& s, const std::string& key) { return s.get(key); }, c[i]);
        if (!value) co_return value.error();
        text += *value;
    }
    co_return text;
}

task<reply> dbsize(stores& all, command) {
    const auto total =
        co_await all.map_reduce([](store& s) { return s.count(); }, std::size_t{0}, std::plus<>{});
    if (!total) co_return total.error();
    co_return integer(static_cast<std::int64_t>(*total));
}

task<reply> flushall(stores& all, command) {
    const auto done = co_await all.invoke_on_all([](store& s) { s.clear(); });
    if (!done) co_return done.error();
    co_return simple("OK");
}

task<reply> ping(stores&, command c) { co_return c.size() > 1 ? bulk(c[1]) : simple("PONG"); }
task<reply> echo(stores&, command c) { co_return bulk(c[1]); }
// redis-cli and redis-benchmark ask for these when they start.
task<reply> no_list(stores&, command) { co_return array_of(0); }

struct known {
    std::string_view name;
    std::size_t least;  // words, the name included
    std::size_t most;
    task<reply> (*run)(stores&, command);
};
constexpr std::size_t any = most_arguments;
constexpr std::array commands{
    known{"GET", 2, 2, get},           known{"SET", 3, 3, set},
    known{"DEL", 2, any, del},         known{"EXISTS", 2, any, exists},
    known{"INCR", 2, 2, incr},         known{"DECR", 2, 2, decr},
    known{"APPEND", 3, 3, append},     known{"STRLEN", 2, 2, strlen},
    known{"MGET", 2, any, mget},       known{"DBSIZE", 1, 1, dbsize},
    known{"PING", 1, 2, ping},         known{"ECHO", 2, 2, echo},
    known{"FLUSHALL", 1, 1, flushall}, known{"CONFIG", 2, any, no_list},
    known{"COMMAND", 1, any, no_list},
};

bool same_word(std::string_view name, std::string_view given) {
    return std::equal(name.begin(), name.end(), given.begin(), given.end(), [](char a, char b) {
        return a == std::toupper(static_cast<unsigned char>(b));
    });
}

}  // namespace

task<reply> run(stores& all, command c) {
    for (const known& k : commands) {
        if (!same_word(k.name, c.front())) continue;
        if (c.size() < k.least || c.size() > k.most)
            co_return failure("ERR wrong number of arguments for '" + c.front() + "' command");
        co_return co_await k.run(all, std::move(c));
    }
    co_return failure("ERR unknown command '" + c.front().substr(0, 64) + "'");
}

}  // namespace kv
