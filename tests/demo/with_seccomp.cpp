// SPDX-License-Identifier: Apache-2.0
//! Runs a program under a seccomp filter.
//!
//!   with_seccomp --deny SYSCALL=ERRNO... -- PROGRAM [ARGUMENT...]
//!   with_seccomp --profile FILE -- PROGRAM [ARGUMENT...]
//!   with_seccomp --profile FILE --call SYSCALL
//!
//! FILE is a profile in the JSON format of Docker and Podman, without conditions on capabilities
//! and kernel versions. --call makes the system call with arguments 0 and prints its errno (0: it
//! worked). Status: the program's; 125: this program's own failure, told on standard error.
#include <nlohmann/json.hpp>
#include <seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using json = nlohmann::json;

constexpr int own_failure = 125;

void require(int result, const std::string& what) {
    if (result < 0) throw std::runtime_error(what + ": " + std::strerror(-result));
}

class filter {
public:
    explicit filter(std::uint32_t otherwise) : context_(seccomp_init(otherwise)) {
        if (context_ == nullptr) throw std::runtime_error("seccomp_init failed");
    }
    filter(const filter&) = delete;
    filter& operator=(const filter&) = delete;
    ~filter() { seccomp_release(context_); }

    //! `name` is one of libseccomp's ("x86_64"); this machine's is there already.
    void add_architecture(const std::string& name) {
        const std::uint32_t token = seccomp_arch_resolve_name(name.c_str());
        if (token == 0) throw std::runtime_error("no such architecture: " + name);
        if (seccomp_arch_exist(context_, token) != 0)
            require(seccomp_arch_add(context_, token), name);
    }

    //! A call that this architecture does not have gets a number below 0, for the others.
    void add(std::uint32_t action, const std::string& name, const std::vector<scmp_arg_cmp>& when) {
        const int number = seccomp_syscall_resolve_name(name.c_str());
        if (number == __NR_SCMP_ERROR) throw std::runtime_error("no such system call: " + name);
        const auto conditions = static_cast<unsigned>(when.size());
        require(seccomp_rule_add_array(context_, action, number, conditions, when.data()), name);
    }

    void load() { require(seccomp_load(context_), "seccomp_load"); }

private:
    scmp_filter_ctx context_;
};

std::uint32_t action_of(const json& rule, const char* name) {
    const auto text = rule.at(name).get<std::string>();
    if (text == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
    if (text == "SCMP_ACT_ERRNO") {
        const char* field = rule.contains("defaultAction") ? "defaultErrnoRet" : "errnoRet";
        return SCMP_ACT_ERRNO(rule.value(field, static_cast<unsigned>(EPERM)));
    }
    throw std::runtime_error("action " + text + " is not supported");
}

scmp_compare comparison_of(const std::string& text) {
    if (text == "SCMP_CMP_EQ") return SCMP_CMP_EQ;
    if (text == "SCMP_CMP_NE") return SCMP_CMP_NE;
    if (text == "SCMP_CMP_MASKED_EQ") return SCMP_CMP_MASKED_EQ;
    throw std::runtime_error("comparison " + text + " is not supported");
}

std::vector<scmp_arg_cmp> conditions_of(const json& rule) {
    std::vector<scmp_arg_cmp> conditions;
    for (const json& each : rule.value("args", json::array()))
        conditions.push_back(
            {each.at("index").get<unsigned>(), comparison_of(each.at("op").get<std::string>()),
             each.at("value").get<std::uint64_t>(), each.value("valueTwo", std::uint64_t{0})});
    return conditions;
}

// "SCMP_ARCH_X86_64" as libseccomp's functions call it.
std::string architecture_of(std::string name) {
    constexpr std::string_view prefix = "SCMP_ARCH_";
    if (!name.starts_with(prefix)) throw std::runtime_error("no such architecture: " + name);
    name.erase(0, prefix.size());
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return name;
}

void install_profile(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("can't read " + path);
    const json profile = json::parse(file);
    filter made(action_of(profile, "defaultAction"));
    for (const json& each : profile.at("architectures"))
        made.add_architecture(architecture_of(each.get<std::string>()));
    for (const json& rule : profile.at("syscalls"))
        for (const json& name : rule.at("names"))
            made.add(action_of(rule, "action"), name.get<std::string>(), conditions_of(rule));
    made.load();
}

std::uint32_t errno_of(const std::string& name) {
    if (name == "EPERM") return EPERM;
    if (name == "ENOSYS") return ENOSYS;
    if (name == "EACCES") return EACCES;
    throw std::runtime_error("errno " + name + " is not supported");
}

int call(const std::string& name) {
    const int number = seccomp_syscall_resolve_name(name.c_str());
    if (number < 0) throw std::runtime_error("no such system call: " + name);
    errno = 0;
    const long result = ::syscall(number, 0, 0, 0, 0, 0, 0);
    std::printf("%d\n", result < 0 ? errno : 0);
    return 0;
}

int run(int argc, char** argv) {
    filter denials(SCMP_ACT_ALLOW);
    std::string profile;
    for (int i = 1; i + 1 < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--profile") {
            profile = argv[++i];
        } else if (word == "--deny") {
            const std::string rule = argv[++i];
            const auto equals = rule.find('=');
            if (equals == std::string::npos) throw std::runtime_error("--deny SYSCALL=ERRNO");
            denials.add(SCMP_ACT_ERRNO(errno_of(rule.substr(equals + 1))), rule.substr(0, equals),
                        {});
        } else if (word == "--call" || word == "--") {
            profile.empty() ? denials.load() : install_profile(profile);
            if (word == "--call") return call(argv[i + 1]);
            ::execvp(argv[i + 1], argv + i + 1);
            throw std::runtime_error(std::string(argv[i + 1]) + ": " + std::strerror(errno));
        } else {
            throw std::runtime_error("unknown option " + word);
        }
    }
    throw std::runtime_error("no program, see the source");
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "with_seccomp: %s\n", error.what());
        return own_failure;
    }
}
