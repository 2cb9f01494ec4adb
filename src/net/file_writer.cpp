// SPDX-License-Identifier: Apache-2.0
#include "sluice/file_writer.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <new>
#include <utility>
#include <vector>

#include "net/file_io.hpp"
#include "sluice/condition.hpp"
#include "sluice/shielded.hpp"

namespace sluice {

namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t most_pieces = 128;  // of one write

//! Page-aligned memory.
class staging {
public:
    explicit staging(std::size_t size) : memory_(new(std::align_val_t{page}) std::byte[size]) {}
    [[nodiscard]] std::byte* data() const noexcept { return memory_.get(); }

private:
    struct free_it {
        void operator()(std::byte* p) const noexcept {
            ::operator delete[](p, std::align_val_t{page});
        }
    };
    std::unique_ptr<std::byte[], free_it> memory_;
};

//! What one write consists of.
struct batch {
    explicit batch(std::uint64_t at) noexcept : offset(at) {}

    std::uint64_t offset;  // in the file
    detail::piece_list pieces;
    std::vector<rx_buffer> leases;    // that pieces lie in
    std::unique_ptr<staging> staged;  // that the others lie in
    std::size_t staged_bytes = 0;
    bool ends_staged = false;  // the last piece does

    std::size_t done = 0;
    bool over = false;
    boost::system::error_code failed;
};

bool is_aligned(std::uint64_t number, std::size_t alignment) { return number % alignment == 0; }
bool is_aligned(const std::byte* address, std::size_t alignment) {
    return is_aligned(reinterpret_cast<std::uintptr_t>(address), alignment);
}

std::size_t down_to(std::size_t size, std::size_t alignment) { return size - size % alignment; }

}  // namespace

file_writer_counts& file_writer_counts::operator+=(const file_writer_counts& o) noexcept {
    bytes += o.bytes;
    direct += o.direct;
    staged += o.staged;
    writes += o.writes;
    slices += o.slices;
    aligned_address += o.aligned_address;
    aligned_length += o.aligned_length;
    aligned_offset += o.aligned_offset;
    waits += o.waits;
    return *this;
}

//! Shared with the writes, which are tasks of their own and may outlive the writer.
class file_writer::state : public std::enable_shared_from_this<state> {
public:
    state(nursery& scope, file& to, const file_writer_options& o)
        : scope_(scope), file_(to), options_(o), filling_(std::make_unique<batch>(o.offset)) {
        const file_facts& facts = to.facts();
        memory_unit_ = facts.memory_alignment;
        // Pieces of a write follow each other in staging memory too.
        block_ = std::max(facts.offset_alignment, facts.memory_alignment);
        if (to.direct()) unit_ = block_;
        options_.write_bytes = std::max(down_to(options_.write_bytes, block_), block_);
        if (!is_aligned(o.offset, unit_)) failed_ = errno_error(EINVAL);
    }

    task<result<void>> write(rx_buffer slice) {
        look_at(slice);
        while (!slice.empty()) {
            auto room = co_await make_room();
            if (!room) co_return room;
            put(slice);
            if (flying_.empty()) launch();
        }
        co_return result<void>{};
    }

    task<result<void>> settle() {
        auto place = changed_.wait([this] { return may_launch() || failed_; });
        auto found = co_await std::move(place);
        if (!found) co_return found;
        launch();
        co_return co_await all_landed();
    }

    task<result<void>> finish() {
        auto settled = co_await settle();
        if (settled && filling_->pieces.bytes() != 0) settled = co_await write_last_block();
        if (!settled && failed_ && file_.facts().regular)
            static_cast<void>(co_await file_.resize(options_.offset + written_));
        co_return settled;
    }

    [[nodiscard]] std::uint64_t written() const noexcept { return written_; }
    [[nodiscard]] const file_writer_counts& counts() const noexcept { return counts_; }

private:
    void look_at(const rx_buffer& slice) noexcept {
        ++counts_.slices;
        if (is_aligned(slice.data(), memory_unit_)) ++counts_.aligned_address;
        if (is_aligned(slice.size(), block_)) ++counts_.aligned_length;
        if (is_aligned(options_.offset + counts_.bytes, block_)) ++counts_.aligned_offset;
    }

    [[nodiscard]] bool full(const batch& b) const noexcept {
        return b.pieces.bytes() == options_.write_bytes || b.pieces.count() >= most_pieces;
    }
    [[nodiscard]] bool may_launch() const noexcept {
        return flying_.size() < std::max(options_.max_writes, 1U);
    }

    //! There is a batch that takes more.
    task<result<void>> make_room() {
        const auto at_limit = [this] {
            return full(*filling_) || leases_ >= std::max(options_.max_leases, 1U);
        };
        while (!failed_ && at_limit()) {
            if (may_launch() && filling_->pieces.bytes() >= unit_) {
                launch();
                continue;
            }
            ++counts_.waits;
            auto notified = co_await changed_.wait();
            if (!notified) co_return notified;
        }
        if (failed_) co_return failed_;
        co_return result<void>{};
    }

    //! Takes the beginning of the slice.
    void put(rx_buffer& slice) noexcept {
        const std::size_t begun = filling_->pieces.bytes() % unit_;  // of the last block
        std::size_t size = std::min(slice.size(), options_.write_bytes - filling_->pieces.bytes());
        const bool direct = begun == 0 && fits(slice);
        if (direct) size = down_to(size, unit_);
        // An address that does not fit now will not after another block either.
        if (begun != 0) size = std::min(size, unit_ - begun);
        const rx_buffer part = slice.split(size);
        try {
            if (direct)
                add(part);
            else
                stage(part.bytes());
        } catch (const std::bad_alloc&) {
            failed_ = errno_error(ENOMEM);
            return;
        }
        (direct ? counts_.direct : counts_.staged) += size;
        counts_.bytes += size;
    }

    [[nodiscard]] bool fits(const rx_buffer& slice) const noexcept {
        if (unit_ == 1) return true;
        return is_aligned(slice.data(), memory_unit_) &&
               slice.size() >= std::max(unit_, options_.direct_from);
    }

    void add(const rx_buffer& part) {
        batch& b = *filling_;
        b.pieces.add(part);
        b.leases.push_back(part.share());
        b.ends_staged = false;
        ++leases_;
    }

    void stage(std::span<const std::byte> bytes) {
        batch& b = *filling_;
        if (b.staged == nullptr) b.staged = take_staging();
        std::byte* to = b.staged->data() + b.staged_bytes;
        std::memcpy(to, bytes.data(), bytes.size());
        if (b.ends_staged)
            b.pieces.grow_back(bytes.size());
        else
            b.pieces.add({to, bytes.size()});
        b.ends_staged = true;
        b.staged_bytes += bytes.size();
    }

    std::unique_ptr<staging> take_staging() {
        if (spare_ != nullptr) return std::move(spare_);
        return std::make_unique<staging>(options_.write_bytes);
    }

    //! Starts writing the full blocks of what there is. There must be a place for a write.
    void launch() noexcept {
        if (failed_) return;
        try {
            if (batch* full_blocks = cut()) start(*full_blocks);
        } catch (const std::bad_alloc&) {
            failed_ = errno_error(ENOMEM);
        }
    }

    //! Puts the full blocks among the writes in flight; null: there are none.
    batch* cut() {
        const std::size_t rest = filling_->pieces.bytes() % unit_;
        const std::size_t size = filling_->pieces.bytes() - rest;
        if (size == 0) return nullptr;
        auto next = std::make_unique<batch>(filling_->offset + size);
        std::swap(filling_, next);
        batch& before = *next;
        // A last block that is not full is in staging memory.
        if (rest != 0) {
            stage({before.staged->data() + before.staged_bytes - rest, rest});
            before.pieces.drop_back(rest);
        }
        flying_.push_back(std::move(next));
        return &before;
    }

    void start(batch& b) noexcept {
        ++counts_.writes;
        const auto carrying = [](const std::shared_ptr<state>& self, batch* what) {
            return self->carry(*what);
        };
        try {
            scope_.spawn(carrying, shared_from_this(), &b);
        } catch (const std::exception&) {
            land(b, errno_error(ENOMEM));
        }
    }

    //! Its failure is also that of its nursery, and so wakes those who wait for more to write.
    task<result<void>> carry(batch& b) {
        boost::system::error_code failed;
        try {
            auto writing = detail::write_pieces(file_.descriptor(), b.pieces, b.offset,
                                                file_.direct(), b.done);
            auto wrote = co_await shielded(std::move(writing));
            if (!wrote) failed = wrote.error();
        } catch (const std::bad_alloc&) {
            failed = errno_error(ENOMEM);
        }
        land(b, failed);
        if (failed) co_return failed;
        co_return result<void>{};
    }

    //! A write has ended. In the order of the file: what is behind a gap does not count.
    void land(batch& b, const boost::system::error_code& failed) noexcept {
        b.over = true;
        b.failed = failed;
        leases_ -= b.leases.size();
        b.leases.clear();
        if (b.staged != nullptr) spare_ = std::move(b.staged);
        if (failed && !failed_) failed_ = failed;
        while (!flying_.empty() && flying_.front()->over) {
            const batch& first = *flying_.front();
            if (!gap_) written_ = first.offset + first.done - options_.offset;
            gap_ = gap_ || first.failed;
            flying_.pop_front();
        }
        if (flying_.empty()) launch();
        changed_.notify_all();
    }

    task<result<void>> all_landed() {
        auto landed = changed_.wait([this] { return flying_.empty(); });
        auto over = co_await std::move(landed);
        if (over && failed_) co_return failed_;
        co_return over;
    }

    //! A block that is not full, all of it staged: with zeros, which are cut off again.
    task<result<void>> write_last_block() {
        pad();
        launch();
        auto over = co_await all_landed();
        written_ = std::min(written_, counts_.bytes);
        if (!over || !file_.facts().regular) co_return over;
        co_return co_await file_.resize(options_.offset + counts_.bytes);
    }

    void pad() noexcept {
        batch& b = *filling_;
        const std::size_t size = unit_ - b.pieces.bytes() % unit_;
        std::memset(b.staged->data() + b.staged_bytes, 0, size);
        b.staged_bytes += size;
        b.pieces.grow_back(size);
    }

    nursery& scope_;
    file& file_;
    file_writer_options options_;
    file_writer_counts counts_;
    std::size_t memory_unit_ = 1;  // of O_DIRECT: of addresses,
    std::size_t block_ = 1;        // of offsets and lengths
    std::size_t unit_ = 1;         // block_ if the file is direct
    std::unique_ptr<batch> filling_;
    std::deque<std::unique_ptr<batch>> flying_;  // in the order of the file
    std::unique_ptr<staging> spare_;
    std::size_t leases_ = 0;
    std::uint64_t written_ = 0;
    bool gap_ = false;
    boost::system::error_code failed_;
    condition changed_;
};

file_writer::file_writer(nursery& scope, file& to, const file_writer_options& options)
    : state_(std::make_shared<state>(scope, to, options)) {}
file_writer::~file_writer() = default;

task<result<void>> file_writer::write(rx_buffer slice) { return state_->write(std::move(slice)); }
task<result<void>> file_writer::settle() { return state_->settle(); }
task<result<void>> file_writer::finish() {
    auto finishing = state_->finish();
    co_return co_await shielded(std::move(finishing));
}
std::uint64_t file_writer::written() const noexcept { return state_->written(); }
const file_writer_counts& file_writer::counts() const noexcept { return state_->counts(); }

}  // namespace sluice
