// SPDX-License-Identifier: Apache-2.0
// Files. What waits for the disk is waited for; a pipe that is full can be left.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "cancel/cell.hpp"
#include "loopback/temporary_folder.hpp"
#include "sluice/file.hpp"
#include "sluice/file_writer.hpp"

namespace sluice::testing {

namespace {

constexpr endings answered_in_two{ending::cancelled, ending::cancelled, ending::either,
                                  ending::either, ending::either};
constexpr endings done_by_a_worker{ending::cancelled, ending::cancelled, ending::either,
                                   ending::completed, ending::completed};

class opens final : public subject {
public:
    using subject::subject;
    task<result<void>> operate() override {
        auto opened = co_await file::open(folder_ / "f");
        if (opened) file_ = std::move(*opened);
        co_return outcome_of(opened);
    }
    task<> check(bool cancelled) override {
        CHECK(static_cast<bool>(file_) != cancelled);
        co_return;
    }

private:
    temporary_folder folder_;
    file file_;
};

//! On a file that is there.
class on_file : public subject {
public:
    using subject::subject;
    task<> set_up(phase) override {
        auto opened = co_await file::open(folder_ / "f");
        file_ = std::move(opened).value();
    }
    task<> check(bool) override {
        CHECK((co_await file_.sync()).has_value());
        co_return;
    }

protected:
    temporary_folder folder_;
    file file_;
};

class syncs final : public on_file {
public:
    using on_file::on_file;
    task<result<void>> operate() override { co_return co_await file_.sync(); }
};

class resizes final : public on_file {
public:
    using on_file::on_file;
    task<result<void>> operate() override { co_return co_await file_.resize(100); }
    task<> check(bool cancelled) override {
        const auto size = std::filesystem::file_size(folder_ / "f");
        CHECK((size == 100 || (cancelled && size == 0)));
        co_return;
    }
};

class allocates final : public on_file {
public:
    using on_file::on_file;
    task<result<void>> operate() override { co_return co_await file_.allocate(0, 4096); }
};

class closes_file final : public on_file {
public:
    using on_file::on_file;
    task<result<void>> operate() override { co_return co_await file_.close(); }
    task<> check(bool) override {
        CHECK_FALSE(file_);
        co_return;
    }
};

//! On a pipe that is full until complete() empties it.
class on_pipe : public subject {
public:
    using subject::subject;
    ~on_pipe() override { ::close(reader_); }

    task<> set_up(phase) override {
        const std::string name = folder_ / "pipe";
        REQUIRE(mkfifo(name.c_str(), 0600) == 0);
        reader_ = ::open(name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        auto opened = co_await file::open(name);
        file_ = std::move(opened).value();
        const int filler = ::open(name.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        const std::string much(4096, 'm');
        while (::write(filler, much.data(), much.size()) > 0) before_ += much.size();
        ::close(filler);
    }
    void complete() override { drain(); }

protected:
    void drain() {
        char some[4096];
        for (ssize_t got = 0; (got = ::read(reader_, some, sizeof some)) > 0;)
            heard_.append(some, static_cast<std::size_t>(got));
    }
    [[nodiscard]] std::string heard_after_filling() {
        drain();
        CHECK(heard_.size() >= before_);
        return heard_.substr(std::min(before_, heard_.size()));
    }

    temporary_folder folder_;
    file file_;

private:
    int reader_ = -1;
    std::size_t before_ = 0;
    std::string heard_;
};

class writes_span final : public on_pipe {
public:
    using on_pipe::on_pipe;
    task<result<void>> operate() override {
        auto wrote = co_await file_.write_all(bytes_of("a text"), 0);
        co_return outcome_of(wrote);
    }
    task<> check(bool cancelled) override {
        CHECK(heard_after_filling() == (cancelled ? "" : "a text"));
        co_return;
    }
};

//! What comes second has no room until the first is written.
class writes_stream : public on_pipe {
public:
    using on_pipe::on_pipe;
    task<> set_up(phase p) override {
        co_await on_pipe::set_up(p);
        writer_.emplace(stage_.helpers(), file_,
                        file_writer_options{.max_writes = 1, .max_leases = 1});
        CHECK((co_await writer_->write(rx_buffer::copy_of(bytes_of("one,")))).has_value());
    }
    task<result<void>> operate() override {
        auto two = rx_buffer::copy_of(bytes_of("two"));
        co_return co_await writer_->write(std::move(two));
    }
    task<> check(bool cancelled) override {
        CHECK((co_await writer_->finish()).has_value());
        CHECK(heard_after_filling() == (cancelled ? "one," : "one,two"));
        CHECK(writer_->written() == (cancelled ? 4 : 7));
    }

protected:
    std::optional<file_writer> writer_;
};

class settles_stream final : public writes_stream {
public:
    using writes_stream::writes_stream;
    task<result<void>> operate() override { co_return co_await writer_->settle(); }
    task<> check(bool) override {
        CHECK((co_await writer_->finish()).has_value());
        CHECK(heard_after_filling() == "one,");
    }
};

class finishes_stream final : public writes_stream {
public:
    using writes_stream::writes_stream;
    task<result<void>> operate() override { co_return co_await writer_->finish(); }
    task<> check(bool) override {
        CHECK(heard_after_filling() == "one,");
        CHECK(writer_->written() == 4);
        co_return;
    }
};

// Through several coroutines, which the columns do not count.
constexpr endings on_the_way{ending::either, ending::either, ending::cancelled, ending::either,
                             ending::either};

const row rows[] = {
    {"file::open", made<opens>, answered_in_two, source::self, 1},
    {"file::write_all", made<writes_span>, answered, source::peer, 1},
    {"file::sync", made<syncs>, done_by_a_worker, source::self, 1},
    {"file::resize", made<resizes>, done_by_a_worker, source::self, 1},
    {"file::allocate", made<allocates>, done_by_a_worker, source::self, 1},
    {"file::close", made<closes_file>, unstoppable, source::self, 1},
    {"file_writer::write", made<writes_stream>, on_the_way, source::peer, 1},
    {"file_writer::settle", made<settles_stream>, on_the_way, source::peer, 1},
    {"file_writer::finish", made<finishes_stream>, unstoppable, source::peer, 1},
};

}  // namespace

std::span<const row> file_rows() { return rows; }

}  // namespace sluice::testing
