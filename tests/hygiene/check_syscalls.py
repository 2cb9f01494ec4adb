#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when anything outside the seam (src/runtime/kernel/) makes a system call or reads a clock.

usage: check_syscalls.py ROOT
           reads src/ and include/: calls of global-qualified functions of the C library, and of
           functions whose name can mean nothing else
       check_syscalls.py ROOT --objects PATH... [--seam-prefix PATTERN] [--nm NM]
           reads the undefined symbols of archives (thin ones too), of object files, or of all
           object files in a folder. Objects whose name starts with the shell pattern are the seam
           (default: src_runtime_kernel_). syscall_exceptions.txt names what else is allowed.
       check_syscalls.py --self-test
"""

import argparse
import fnmatch
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import source  # noqa: E402

SEAM = ("src", "runtime", "kernel")

# Names that a class of ours may carry as well: only `::name` means the C library.
COMMON = """
socket bind listen accept connect shutdown recv send read write open close dup pipe poll select
sleep alarm pause kill raise signal stat fork wait link unlink rename truncate mount time clock
access sync splice tee getrandom clone nice times
""".split()

# Names that are the C library's wherever they are called without an object before them.
PLAIN = """
syscall socketpair accept4 setsockopt getsockopt getsockname getpeername
recvfrom recvmsg recvmmsg sendto sendmsg sendmmsg sendfile copy_file_range vmsplice
readv writev preadv pwritev preadv2 pwritev2 pread pwrite openat openat2 creat close_range
dup2 dup3 pipe2 fcntl ioctl flock fsync fdatasync ftruncate fallocate lseek fstat lstat fstatat statx
mmap munmap mremap mprotect madvise mlock mlock2 mlockall munlock munlockall memfd_create mincore
msync brk sbrk mbind set_mempolicy get_mempolicy
epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 ppoll pselect
eventfd eventfd_read eventfd_write timerfd_create timerfd_settime timerfd_gettime signalfd
inotify_init inotify_init1 inotify_add_watch pidfd_open pidfd_send_signal
clock_gettime clock_getres clock_settime clock_nanosleep nanosleep usleep gettimeofday timespec_get
timer_create timer_settime setitimer getitimer
vfork execl execlp execle execv execve execvp execvpe execveat posix_spawn posix_spawnp waitpid waitid
tgkill sigaction sigprocmask pthread_sigmask pthread_kill sigwait sigwaitinfo sigtimedwait sigqueue
sigaltstack
sched_setaffinity sched_getaffinity sched_setscheduler sched_getscheduler sched_yield sched_getcpu
sched_setparam sched_setattr pthread_setaffinity_np pthread_getaffinity_np pthread_setschedparam
getcpu setpriority getpriority
getrlimit setrlimit prlimit getrusage prctl seccomp capget capset unshare setns chroot
setuid setgid setresuid setresgid getpid getppid gettid getuid geteuid
fopen fdopen opendir scandir readlink realpath mkdir rmdir unlinkat renameat chmod fchmod chown
if_nametoindex if_indextoname getifaddrs uname gethostname sysinfo get_nprocs get_nprocs_conf
""".split()

# Of liburing, only the inline helpers for SQEs, CQEs and buffer rings are for everybody.
LIBURING = (
    r"io_uring_(?:enter\w*|setup\w*|register\w*|unregister\w*|queue_\w+|submit\w*|wait_\w+|"
    r"peek_batch_cqe|get_events|enable_rings|close_ring_fd|free_buf_ring|ring_dontfork|"
    r"sqring_wait|get_probe\w*|clone_buffers\w*|resize_rings)"
)

STANDARD = [
    (r"\bthis_thread\s*::\s*sleep_(?:for|until)\b", "std::this_thread::sleep"),
    (r"\bthis_thread\s*::\s*yield\b", "std::this_thread::yield"),
    (r"\b(?:steady|system|high_resolution|utc|tai|gps|file)_clock\s*::\s*now\b", "a clock's now()"),
    (r"\bstd\s*::\s*(?:basic_)?[io]?fstream\b", "a file stream"),
    (r"\bhardware_concurrency\s*\(", "hardware_concurrency()"),
]

GLOBAL_CALL = re.compile(
    r"(?<![\w>:])::\s*(" + "|".join(COMMON + PLAIN) + "|" + LIBURING + r")\b(?=\s*[(),;}\]])"
)
PLAIN_CALL = re.compile(r"(?<![\w:])(" + "|".join(PLAIN) + "|" + LIBURING + r")\s*\(")
KEYWORDS = set("return co_return co_await co_yield else do throw case not and or xor".split())

# Symbols: the names above, their fortified and 64-bit forms, and what the headers of libstdc++ use.
SYMBOLS = set(COMMON) | set(PLAIN)
SYMBOLS -= {"raise", "time", "clock"}  # abort(), localtime() and the like do no I/O
SYMBOLS |= {name + "64" for name in SYMBOLS}
SYMBOLS |= {f"__{name}_chk" for name in SYMBOLS} | {f"__{name}_2" for name in SYMBOLS}
SYMBOL_PATTERNS = re.compile(
    r"^(?:" + LIBURING + r"|__io_uring_\w+"
    r"|_ZNSt6chrono3_V21[0-9](?:steady|system)_clock3nowEv"
    r"|_ZNSt11this_thread11__sleep_for\w*"
    r"|_ZNSt6thread20hardware_concurrencyEv)$"
)


def is_declaration(text, start):
    """Does the name at this place follow a type, as in `result<void> setsockopt(`?"""
    before = text[:start].rstrip(" \t\n")
    if not before:
        return False
    if before[-1] == ">":
        return len(before) > 1 and not before[-2].isspace() and before[-2] not in "-="
    word = re.search(r"[A-Za-z_]\w*$", before)
    return word is not None and word.group(0) not in KEYWORDS


def is_member(text, start):
    before = text[:start].rstrip(" \t\n")
    return before.endswith(".") or before.endswith("->")


def check_source(root):
    problems = source.Problems(root)
    checked = source.cpp_files(root, "src", "include")
    for path in checked:
        if path.relative_to(root).parts[:3] == SEAM:
            continue
        text = source.blank(source.read(path))
        hits = {}
        for match in GLOBAL_CALL.finditer(text):
            hits[match.start(1)] = f"::{match.group(1)}()"
        for match in PLAIN_CALL.finditer(text):
            start = match.start(1)
            if not is_member(text, start) and not is_declaration(text, start):
                hits[start] = f"{match.group(1)}()"
        for pattern, what in STANDARD:
            for match in re.finditer(pattern, text):
                hits[match.start()] = what
        for start in sorted(hits):
            problems.add(
                path, source.line_of(text, start), f"{hits[start]} outside src/runtime/kernel/"
            )
    return problems, len(checked)


def read_exceptions(root):
    path = root / "tests" / "hygiene" / "syscall_exceptions.txt"
    exceptions = []
    if path.exists():
        for line in source.read(path).splitlines():
            words = line.split(None, 2)
            if words and not words[0].startswith("#"):
                if len(words) < 3:
                    sys.exit(f"{path}: '{line}' gives no reason")
                exceptions.append((words[0], words[1]))
    return exceptions


def undefined_symbols(nm, path):
    """{object name: undefined symbols} of an archive, an object file or a folder of them."""
    if path.is_dir():
        found = {}
        for entry in sorted(path.rglob("*.o")):
            found.update(undefined_symbols(nm, entry))
        return found
    listing = subprocess.run([nm, path], capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        sys.exit(f"{nm} {path}: {listing.stderr.strip()}")
    found = {}
    current = None if path.suffix == ".a" else path.name
    if current:
        found[current] = set()
    for line in listing.stdout.splitlines():
        member = re.match(r"^(\S.*\.o):$", line)
        if member:
            current = os.path.basename(member.group(1))
            found[current] = set()
            continue
        symbol = re.match(r"^\s+[Uw] (\S+)$", line)
        if symbol and current:
            found[current].add(symbol.group(1).split("@", 1)[0])
    return found


def check_objects(root, paths, seam, nm):
    exceptions = read_exceptions(root)
    problems = []
    objects = {}
    for path in paths:
        objects.update(undefined_symbols(nm, path))
    outside = [name for name in objects if not fnmatch.fnmatch(name, seam + "*")]
    if not outside:
        problems.append("there is no object outside the seam to check")
    if len(outside) == len(objects):
        problems.append(f"no object matches the seam {seam}*")
    for name in sorted(outside):
        for symbol in sorted(objects[name]):
            if symbol not in SYMBOLS and not SYMBOL_PATTERNS.match(symbol):
                continue
            if any(fnmatch.fnmatch(name, p) and symbol == s for p, s in exceptions):
                continue
            problems.append(f"{name}: calls {symbol}, which only the seam may")
    return problems, len(outside)


GOOD = {
    "src/runtime/kernel/real.cpp": "int f() { return ::close(1) + syscall(2); }\n",
    "src/net/stream.cpp": """
// ::close(fd); syscall(1)
/* clock_gettime( */
const char* text = "::socket(1) epoll_wait(";
auto raw = R"x(::connect(3))x";
task<> tcp_stream::connect(endpoint e) { co_await kernel_->connect(e); }
void tcp_stream::close() { kernel.close(fd_); stream->shutdown(); conn.setsockopt(1); }
result<void> setsockopt(int level);
struct s { result<int> read(span<std::byte>); bool close(); int poll(); void fcntl(int); };
int x = sluice::read(1) + detail::mmap(2) + sleep(3);
void g() { io_uring_prep_recv(sqe, 1); io_uring_buf_ring_add(1); co_await close(); }
auto d = std::chrono::steady_clock::time_point{};
""",
}


def case(name, line, expected):
    return (name, {"src/runtime/a.cpp": f"void f() {{\n{line}\n}}\n"},
            r"src/runtime/a\.cpp:2: " + expected)


SOURCE_CASES = [
    case("global close", "::close(fd);", r"::close\(\)"),
    case("returned global call", "return ::recv(1, p, n, 0);", r"::recv\(\)"),
    case("function pointer", "std::unique_ptr<int, decltype(x)> p(a, ::close);", r"::close\(\)"),
    case("plain syscall", "long r = syscall(1);", r"syscall\(\)"),
    case("returned plain call", "return eventfd(0, 0);", r"eventfd\(\)"),
    case("epoll", "if (epoll_wait(1, e, 2, 3) < 0) {}", r"epoll_wait\(\)"),
    case("mmap", "auto* p = mmap(nullptr, 1, 2, 3, 4, 5);", r"mmap\(\)"),
    case("affinity", "pthread_setaffinity_np(t, 1, &s);", r"pthread_setaffinity_np\(\)"),
    case("limits", "(void)setrlimit(1, &r);", r"setrlimit\(\)"),
    case("steady clock", "auto t = std::chrono::steady_clock::now();", "a clock"),
    case("thread sleep", "std::this_thread::sleep_for(1s);", "std::this_thread::sleep"),
    case("ring enter", "io_uring_enter(1, 2, 3, 4, nullptr);", r"io_uring_enter\(\)"),
    case("ring submit", "io_uring_submit_and_wait(&r, 1);", r"io_uring_submit_and_wait\(\)"),
    case("ring register", "io_uring_register_buf_ring(&r, &x, 0);", r"io_uring_register_buf_ring"),
    case("file stream", 'std::ifstream in("/proc/self");', "a file stream"),
    case("clock", "::clock_gettime(1, &t);", r"::clock_gettime\(\)"),
    ("public header", {"include/sluice/a.hpp": "inline void f() { ::write(1, 0, 0); }\n"},
     r"include/sluice/a\.hpp:1: ::write"),
    ("folder that only looks like the seam", {"src/runtime/kernel_extra/a.cpp": "int x = ::close(1);\n"},
     "::close"),
]

OBJECT_CASES = [
    ("close", '#include <unistd.h>\nvoid f() { ::close(1); }', "close"),
    ("syscall", '#include <unistd.h>\nvoid f() { syscall(1); }', "syscall"),
    ("sendmsg", '#include <sys/socket.h>\nvoid f() { sendmsg(1, nullptr, 0); }', "sendmsg"),
    ("aliased clock",
     "#include <chrono>\nusing c = std::chrono::steady_clock;\nauto f() { return c::now(); }",
     "_ZNSt6chrono3_V212steady_clock3nowEv"),
    ("system clock", "#include <chrono>\nauto f() { return std::chrono::system_clock::now(); }",
     "_ZNSt6chrono3_V212system_clock3nowEv"),
    ("thread sleep",
     "#include <thread>\nvoid f(std::chrono::seconds s) { std::this_thread::sleep_for(s); }",
     "sleep"),
    ("large file", "#include <fcntl.h>\nint f() { return open64(\"x\", 0); }", "open64"),
    ("fortified read",
     "#include <unistd.h>\nchar b[4];\nlong f(unsigned long n) { return read(0, b, n); }", "read"),
]


def object_self_test(compiler, nm):
    failed = 0

    def build(directory, name, text):
        (directory / "a.cpp").write_text(text)
        subprocess.run(
            [compiler, "-std=c++20", "-O2", "-D_FORTIFY_SOURCE=2", "-c", directory / "a.cpp", "-o",
             directory / name],
            check=True,
        )

    def expect(name, found, pattern):
        nonlocal failed
        ok = not found if pattern is None else len(found) == 1 and re.search(pattern, found[0])
        if not ok:
            failed += 1
            print(f"self-test: {name}: expected {pattern or 'no problem'!r}, got {found}")

    with tempfile.TemporaryDirectory(prefix="sluice-hygiene-") as temporary:
        directory = pathlib.Path(temporary)
        seam, other = "src_runtime_kernel_real.cpp.o", "src_net_a.cpp.o"
        archive = directory / "libx.a"

        def run(flags="rcs", root=directory):
            archive.unlink(missing_ok=True)
            subprocess.run(["ar", flags, archive, directory / seam, directory / other], check=True)
            return check_objects(root, [archive], "src_runtime_kernel_", nm)[0]

        build(directory, seam, "#include <unistd.h>\nvoid g() { ::close(1); }")
        build(directory, other, "struct s { int close(); };\nint f(s& x) { return x.close(); }")
        expect("good archive", run(), None)
        expect("good thin archive", run("rcsT"), None)
        expect("seam that matches nothing",
               check_objects(directory, [directory / other], "src_runtime_kernel_", nm)[0], "seam")
        expect("nothing but the seam",
               check_objects(directory, [directory / seam], "src_runtime_kernel_", nm)[0],
               "no object outside")
        for name, text, symbol in OBJECT_CASES:
            build(directory, other, text)
            expect(name, run(), rf"{re.escape(other)}: calls \S*{symbol}")
        build(directory, other, OBJECT_CASES[0][1])
        expect("thin archive", run("rcsT"), "calls close")
        source.write_tree(directory, {"tests/hygiene/syscall_exceptions.txt":
                                      "src_net_*.o close the reason\n"})
        expect("exception", run(), None)
    total = len(OBJECT_CASES) + 6
    print(f"{total - failed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description="checks for system calls outside the seam")
    parser.add_argument("root", nargs="?", type=pathlib.Path)
    parser.add_argument("--objects", nargs="+", type=pathlib.Path)
    parser.add_argument("--seam-prefix", default="src_runtime_kernel_")
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        status = source.self_test(lambda root: check_source(root)[0].found, GOOD, SOURCE_CASES)
        compiler = shutil.which("g++") or shutil.which("c++")
        return object_self_test(compiler, arguments.nm) or status
    if arguments.root is None:
        parser.error("ROOT is missing")
    root = arguments.root.resolve()
    if arguments.objects:
        problems, checked = check_objects(
            root, arguments.objects, arguments.seam_prefix, arguments.nm
        )
        for text in problems:
            print(text)
        print(f"system calls: {checked} objects checked, {len(problems)} problems")
        return 1 if problems else 0
    problems, checked = check_source(root)
    return problems.finish(checked, "system calls")


if __name__ == "__main__":
    sys.exit(main())
