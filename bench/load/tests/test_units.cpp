// SPDX-License-Identifier: Apache-2.0
#include "../units.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <vector>

using namespace sluice_load;
using namespace std::chrono_literals;

TEST_CASE("sizes") {
    CHECK(parse_size("0") == 0U);
    CHECK(parse_size("512") == 512U);
    CHECK(parse_size("512b") == 512U);
    CHECK(parse_size("64k") == 65'536U);
    CHECK(parse_size("64KiB") == 65'536U);
    CHECK(parse_size("1M") == 1'048'576U);
    CHECK(parse_size("2g") == 2'147'483'648U);
    CHECK(parse_size("18446744073709551615") == 18'446'744'073'709'551'615U);
    for (const auto* wrong : {"", "k", "-1", "+1", "1.5k", "1 k", "1kk", "0x10", "1t",
                              "18446744073709551616", "17179869184g"}) {
        CHECK_MESSAGE(!parse_size(wrong), wrong);
    }
}

TEST_CASE("durations") {
    CHECK(parse_duration("5") == 5s);
    CHECK(parse_duration("5s") == 5s);
    CHECK(parse_duration("0.5s") == 500ms);
    CHECK(parse_duration("250us") == 250us);
    CHECK(parse_duration("10ns") == 10ns);
    CHECK(parse_duration("2m") == 120s);
    CHECK(parse_duration("1h") == 3600s);
    CHECK(parse_duration("0") == 0s);
    for (const auto* wrong :
         {"", "s", "-1s", "5 s", "5x", "1.2.3s", "9000h", "nan", "inf", "1e3"}) {
        CHECK_MESSAGE(!parse_duration(wrong), wrong);
    }
}

TEST_CASE("processor lists") {
    CHECK(parse_cpu_list("0") == std::vector<int>{0});
    CHECK(parse_cpu_list("1,0") == std::vector<int>{1, 0});
    CHECK(parse_cpu_list("0-2,5") == std::vector<int>{0, 1, 2, 5});
    for (const auto* wrong : {"", ",", "1,", "a", "2-1", "-1", "1-", "1024", "0-99999"}) {
        CHECK_MESSAGE(!parse_cpu_list(wrong), wrong);
    }
}
