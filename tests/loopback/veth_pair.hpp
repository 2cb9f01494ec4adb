// SPDX-License-Identifier: Apache-2.0
//! Two network namespaces with a cable between them.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <thread>
#include <utility>

namespace sluice::testing {

inline bool shell(const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

//! Why there can be none; empty if there can.
inline std::string no_namespaces() {
    if (::geteuid() != 0) return "making network namespaces needs root";
    if (!shell("ip -V")) return "there is no ip(8)";
    return {};
}

//! Runs `fn` on a thread in a network namespace that has a name, and waits for it. False: there is
//! no such namespace.
template <class F>
bool in_namespace(const std::string& name, F fn) {
    bool there = false;
    std::thread([&] {
        const int fd = ::open(("/var/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
        there = fd >= 0 && ::setns(fd, CLONE_NEWNET) == 0;
        if (fd >= 0) ::close(fd);
        if (there) fn();
    }).join();
    return there;
}

//! The server has 10.77.0.1, the client 10.77.0.2. Gone at the end of the scope.
class veth_pair {
public:
    explicit veth_pair(unsigned queues = 1) {
        const std::string id = std::to_string(::getpid());
        server_ = "slv" + id;
        client_ = "slc" + id;
        server_link_ = "vs" + id;
        client_link_ = "vc" + id;
        const std::string count = std::to_string(queues);
        const std::string each = " numrxqueues " + count + " numtxqueues " + count;
        good_ = shell("ip netns add " + server_) && shell("ip netns add " + client_) &&
                shell("ip link add " + server_link_ + " netns " + server_ + each +
                      " type veth peer name " + client_link_ + " netns " + client_ + each) &&
                shell("ip -n " + server_ + " addr add 10.77.0.1/24 dev " + server_link_) &&
                shell("ip -n " + client_ + " addr add 10.77.0.2/24 dev " + client_link_) &&
                shell("ip -n " + server_ + " link set " + server_link_ + " up") &&
                shell("ip -n " + client_ + " link set " + client_link_ + " up");
    }
    veth_pair(const veth_pair&) = delete;
    veth_pair& operator=(const veth_pair&) = delete;
    ~veth_pair() {
        shell("ip netns del " + server_);
        shell("ip netns del " + client_);
    }

    [[nodiscard]] bool good() const { return good_; }
    [[nodiscard]] const std::string& server_link() const { return server_link_; }
    [[nodiscard]] const std::string& client_link() const { return client_link_; }

    //! Runs a shell command in the client's namespace.
    [[nodiscard]] bool client_shell(const std::string& command) const {
        return shell("ip netns exec " + client_ + " sh -c '" + command + "'");
    }

    //! Runs `fn` on a thread in a namespace, and waits for it.
    template <class F>
    void at_server(F fn) const {
        in_namespace(server_, std::move(fn));
    }
    template <class F>
    void at_client(F fn) const {
        in_namespace(client_, std::move(fn));
    }

private:
    std::string server_;
    std::string client_;
    std::string server_link_;
    std::string client_link_;
    bool good_ = false;
};

}  // namespace sluice::testing
