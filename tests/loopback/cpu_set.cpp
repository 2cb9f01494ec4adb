// SPDX-License-Identifier: Apache-2.0
#include "sluice/cpu_set.hpp"

#include <sched.h>

#include <algorithm>
#include <thread>

#include <doctest/doctest.h>

using list = std::vector<unsigned>;
using sluice::parse_cpu_list;
using sluice::usable_cpus;

TEST_SUITE_BEGIN("loopback.names");

TEST_CASE("cpu list: numbers and ranges, sorted, each once") {
    CHECK(parse_cpu_list("0").value() == list{0});
    CHECK(parse_cpu_list("0-3,6").value() == list{0, 1, 2, 3, 6});
    CHECK(parse_cpu_list("6,0-1").value() == list{0, 1, 6});
    CHECK(parse_cpu_list("2-2").value() == list{2});
    CHECK(parse_cpu_list("1,1,0-2").value() == list{0, 1, 2});
    CHECK(parse_cpu_list("007").value() == list{7});
}

TEST_CASE("cpu list: wrong text is EINVAL") {
    for (const char* text :
         {"", ",", "0,", ",0", "a", "0-", "-1", "3-1", "0--2", "0-1-2", " 0", "0 ", "0,,1",
          "4294967296", "99999999999999999999", "0-4294967295", "1.5", "0x1"}) {
        INFO("text: ", text);
        const auto parsed = parse_cpu_list(text);
        REQUIRE(parsed.has_error());
        CHECK(parsed.error() == boost::system::errc::invalid_argument);
    }
}

TEST_CASE("usable cpus: those of the calling thread's mask") {
    const list all = usable_cpus();
    REQUIRE_FALSE(all.empty());
    CHECK(std::is_sorted(all.begin(), all.end()));
    list narrowed;
    std::thread([&] {
        cpu_set_t mask;
        CPU_ZERO(&mask);
        CPU_SET(all.back(), &mask);
        CHECK(::sched_setaffinity(0, sizeof mask, &mask) == 0);
        narrowed = usable_cpus();
    }).join();
    CHECK(narrowed == list{all.back()});
    CHECK(usable_cpus() == all);
}

TEST_SUITE_END();
