// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sluice_load {

struct run_results {
    tally total;
    double elapsed_s = 0.0;  ///< from the first message to the last byte
    double client_cpu_s = 0.0;
    bool interrupted = false;

    [[nodiscard]] bool passed() const;
    /// The failure to tell first: wrong bytes before anything else, then the earliest.
    [[nodiscard]] const failure* worst() const;
};

/// One load from beginning to end: threads start and connect; when all connects have settled, the
/// clock starts; after the duration, or on SIGINT, no message is begun any more; after the time-out
/// on top of that, or a second SIGINT, what is left is given up.
class load_run {
public:
    load_run(const load_options& options, const boost::asio::ip::tcp::endpoint& server);

    run_results execute();

private:
    void launch();
    void run_worker(worker& which);
    void on_ready();
    void on_done();
    void start_clock();
    void drain();
    void give_up(const std::string& cause);
    void await_signal();
    [[nodiscard]] run_results collect() const;

    const load_options& options_;
    const boost::asio::ip::tcp::endpoint& server_;
    shared_limits shared_;
    boost::asio::io_context context_;
    boost::asio::signal_set signals_;
    boost::asio::steady_timer timer_;
    std::vector<std::unique_ptr<worker>> workers_;
    std::vector<std::thread> threads_;
    std::mutex broken_mutex_;
    std::exception_ptr broken_;
    std::size_t ready_ = 0;
    std::size_t done_ = 0;
    bool interrupted_ = false;
    time_point started_{};
    double cpu_before_s_ = 0.0;
};

}  // namespace sluice_load
