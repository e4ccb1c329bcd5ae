package cri

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// nativeArch is the kernel's name for what this program is built for.
var nativeArch = map[string]specs.Arch{"amd64": specs.ArchX86_64, "arm64": specs.ArchAARCH64}

// maxProfile bounds a seccomp profile's file.
const maxProfile = 1 << 20

// seccompProfile is the filter a container gets: none, the runtime's own, or
// one from a file of the node.
func seccompProfile(sc *runtimeapi.LinuxContainerSecurityContext, caps *specs.LinuxCapabilities, architectures []specs.Arch) (*specs.LinuxSeccomp, error) {
	profile := sc.GetSeccomp()
	if profile == nil || sc.GetPrivileged() {
		return nil, nil
	}
	switch profile.ProfileType {
	case runtimeapi.SecurityProfile_RuntimeDefault:
		return defaultSeccomp(caps.Bounding, architectures), nil
	case runtimeapi.SecurityProfile_Localhost:
		return seccompFile(profile.LocalhostRef, caps.Bounding)
	}
	return nil, nil
}

// architectures are those a container's filter covers. Each further one costs
// milliseconds at every start, and programs of an architecture that is left out
// are killed at their first call: 32-bit ones are covered where there are signs
// of them, and those of x32, which next to no kernel runs, where they can run.
func (h *host) architectures(compat bool) []specs.Arch {
	switch runtime.GOARCH {
	case "amd64":
		list := []specs.Arch{specs.ArchX86_64}
		if compat {
			list = append(list, specs.ArchX86)
		}
		if h.x32 {
			list = append(list, specs.ArchX32)
		}
		return list
	case "arm64":
		list := []specs.Arch{specs.ArchAARCH64}
		if compat {
			list = append(list, specs.ArchARM)
		}
		return list
	}
	return nil
}

// loaders32 are what 32-bit programs are linked with.
var loaders32 = []string{
	"/lib/ld-linux.so.2", "/lib/ld-musl-i386.so.1", "/lib32", "/lib/i386-linux-gnu",
	"/lib/ld-linux-armhf.so.3", "/lib/ld-musl-armhf.so.1", "/lib/arm-linux-gnueabihf",
}

// runs32 reports whether a root filesystem seems to hold 32-bit programs: it has
// a loader for them, or the command itself is one.
func runs32(rootfs, imageArch string, args []string, path string) bool {
	switch imageArch {
	case "386", "arm":
		return true
	}
	for _, name := range loaders32 {
		if f, err := openInRoot(rootfs, name, unix.O_PATH); err == nil {
			f.Close()
			return true
		}
	}
	if len(args) == 0 {
		return false
	}
	candidates := []string{args[0]}
	if !strings.Contains(args[0], "/") {
		candidates = nil
		for dir := range strings.SplitSeq(path, ":") {
			candidates = append(candidates, dir+"/"+args[0])
		}
	}
	for _, name := range candidates {
		f, err := openInRoot(rootfs, name, unix.O_RDONLY|unix.O_NONBLOCK)
		if err != nil {
			continue
		}
		var head [5]byte
		n, _ := f.Read(head[:])
		f.Close()
		return n == 5 && string(head[:4]) == "\x7fELF" && head[4] == 1
	}
	return false
}

// x32Runs asks the kernel whether it knows the x32 calls, by one that does no
// harm: getpid, 39, with their bit set.
func x32Runs() bool {
	if runtime.GOARCH != "amd64" {
		return false
	}
	_, _, errno := unix.RawSyscall(0x40000000+39, 0, 0, 0)
	return errno == 0
}

// seccompFile reads a profile in the form that Docker and Kubernetes use: OCI's,
// with architectures by name and rules bound to capabilities.
func seccompFile(path string, caps []string) (*specs.LinuxSeccomp, error) {
	st, err := os.Stat(path)
	if err == nil && st.Size() > maxProfile {
		err = fmt.Errorf("larger than %d bytes", maxProfile)
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot load seccomp profile %q: %w", path, err)
	}
	type condition struct {
		Caps   []string `json:"caps"`
		Arches []string `json:"arches"`
	}
	var file struct {
		specs.LinuxSeccomp
		ArchMap []struct {
			Architecture     specs.Arch   `json:"architecture"`
			SubArchitectures []specs.Arch `json:"subArchitectures"`
		} `json:"archMap"`
		Syscalls []struct {
			specs.LinuxSyscall
			Name     string    `json:"name"`
			Includes condition `json:"includes"`
			Excludes condition `json:"excludes"`
		} `json:"syscalls"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("decoding seccomp profile %q: %w", path, err)
	}
	out := file.LinuxSeccomp
	out.Syscalls = nil
	for _, m := range file.ArchMap {
		if m.Architecture == nativeArch[runtime.GOARCH] {
			out.Architectures = append([]specs.Arch{m.Architecture}, m.SubArchitectures...)
		}
	}
	has := func(name string) bool { return slices.Contains(caps, name) }
	here := func(arch string) bool { return arch == runtime.GOARCH }
	for _, call := range file.Syscalls {
		if slices.ContainsFunc(call.Excludes.Caps, has) || slices.ContainsFunc(call.Excludes.Arches, here) ||
			slices.ContainsFunc(call.Includes.Caps, func(c string) bool { return !has(c) }) ||
			len(call.Includes.Arches) > 0 && !slices.ContainsFunc(call.Includes.Arches, here) {
			continue
		}
		rule := call.LinuxSyscall
		if call.Name != "" {
			rule.Names = append(rule.Names, call.Name)
		}
		out.Syscalls = append(out.Syscalls, rule)
	}
	return &out, nil
}

// everyone lists the calls that a container may make whatever its rights.
// Missing are those that change the machine (modules, clock, swap, reboot), that
// reach the kernel's keys, that make namespaces or mounts, and those with a
// history of holes (bpf, userfaultfd, io_uring).
var everyone = []string{
	"accept", "accept4", "access", "adjtimex", "alarm", "bind", "brk", "cachestat", "capget",
	"capset", "chdir", "chmod", "chown", "chown32", "clock_adjtime", "clock_adjtime64",
	"clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
	"clock_nanosleep_time64", "close", "close_range", "connect", "copy_file_range", "creat", "dup",
	"dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait",
	"epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "execve", "execveat",
	"exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate",
	"fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat",
	"fcntl", "fcntl64", "fdatasync", "fgetxattr", "flistxattr", "flock", "fork", "fremovexattr",
	"fsetxattr", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate",
	"ftruncate64", "futex", "futex_requeue", "futex_time64", "futex_wait", "futex_waitv",
	"futex_wake", "futimesat", "get_robust_list", "get_thread_area", "getcpu", "getcwd",
	"getdents", "getdents64", "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32",
	"getgroups", "getgroups32", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid",
	"getppid", "getpriority", "getrandom", "getresgid", "getresgid32", "getresuid", "getresuid32",
	"getrlimit", "getrusage", "getsid", "getsockname", "getsockopt", "gettid", "gettimeofday",
	"getuid", "getuid32", "getxattr", "getxattrat", "inotify_add_watch", "inotify_init",
	"inotify_init1", "inotify_rm_watch", "io_cancel", "io_destroy", "io_getevents",
	"io_pgetevents", "io_pgetevents_time64", "io_setup", "io_submit", "ioctl", "ioprio_get",
	"ioprio_set", "ipc", "kill", "landlock_add_rule", "landlock_create_ruleset",
	"landlock_restrict_self", "lchown", "lchown32", "lgetxattr", "link", "linkat", "listen",
	"listmount", "listxattr", "listxattrat", "llistxattr", "_llseek", "lremovexattr", "lseek",
	"lsetxattr", "lstat", "lstat64", "madvise", "map_shadow_stack", "membarrier", "memfd_create",
	"memfd_secret", "mincore", "mkdir", "mkdirat", "mknod", "mknodat", "mlock", "mlock2",
	"mlockall", "mmap", "mmap2", "mprotect", "mq_getsetattr", "mq_notify", "mq_open",
	"mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64",
	"mq_unlink", "mremap", "mseal", "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "munlock",
	"munlockall", "munmap", "name_to_handle_at", "nanosleep", "newfstatat", "_newselect", "open",
	"openat", "openat2", "pause", "pidfd_open", "pidfd_send_signal", "pipe", "pipe2", "pkey_alloc",
	"pkey_free", "pkey_mprotect", "poll", "ppoll", "ppoll_time64", "prctl", "pread64", "preadv",
	"preadv2", "prlimit64", "process_mrelease", "process_vm_readv", "process_vm_writev",
	"pselect6", "pselect6_time64", "ptrace", "pwrite64", "pwritev", "pwritev2", "read",
	"readahead", "readlink", "readlinkat", "readv", "recv", "recvfrom", "recvmmsg",
	"recvmmsg_time64", "recvmsg", "remap_file_pages", "removexattr", "removexattrat", "rename",
	"renameat", "renameat2", "restart_syscall", "rmdir", "rseq", "rt_sigaction", "rt_sigpending",
	"rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
	"rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sched_get_priority_max",
	"sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam",
	"sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64",
	"sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield",
	"seccomp", "select", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "send",
	"sendfile", "sendfile64", "sendmmsg", "sendmsg", "sendto", "set_robust_list",
	"set_thread_area", "set_tid_address", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32",
	"setgid", "setgid32", "setgroups", "setgroups32", "setitimer", "setpgid", "setpriority",
	"setregid", "setregid32", "setresgid", "setresgid32", "setresuid", "setresuid32", "setreuid",
	"setreuid32", "setrlimit", "setsid", "setsockopt", "setuid", "setuid32", "setxattr",
	"setxattrat", "shmat", "shmctl", "shmdt", "shmget", "shutdown", "sigaltstack", "signalfd",
	"signalfd4", "sigprocmask", "sigreturn", "socketcall", "socketpair", "splice", "stat",
	"stat64", "statfs", "statfs64", "statmount", "statx", "symlink", "symlinkat", "sync",
	"sync_file_range", "syncfs", "sysinfo", "tee", "tgkill", "time", "timer_create",
	"timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime",
	"timer_settime64", "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime",
	"timerfd_settime64", "times", "tkill", "truncate", "truncate64", "ugetrlimit", "umask",
	"uname", "unlink", "unlinkat", "uretprobe", "utime", "utimensat", "utimensat_time64", "utimes",
	"vfork", "vmsplice", "wait4", "waitid", "waitpid", "write", "writev",
}

// byArchitecture are calls that only programs for that machine know.
var byArchitecture = map[string][]string{
	"amd64": {"arch_prctl", "modify_ldt"},
	"arm64": {"arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint", "cacheflush", "set_tls"},
}

// byCapability are calls that come with a right.
var byCapability = map[string][]string{
	"CAP_DAC_READ_SEARCH": {"open_by_handle_at"},
	"CAP_SYS_ADMIN": {
		"bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick",
		"lookup_dcookie", "mount", "mount_setattr", "move_mount", "open_tree", "perf_event_open",
		"quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns", "syslog", "umount",
		"umount2", "unshare",
	},
	"CAP_SYS_BOOT":       {"reboot"},
	"CAP_SYS_CHROOT":     {"chroot"},
	"CAP_SYS_MODULE":     {"delete_module", "finit_module", "init_module"},
	"CAP_SYS_PACCT":      {"acct"},
	"CAP_SYS_PTRACE":     {"kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"},
	"CAP_SYS_RAWIO":      {"ioperm", "iopl"},
	"CAP_SYS_TIME":       {"clock_settime", "clock_settime64", "settimeofday", "stime"},
	"CAP_SYS_TTY_CONFIG": {"vhangup"},
	"CAP_SYS_NICE":       {"get_mempolicy", "mbind", "migrate_pages", "move_pages", "set_mempolicy", "set_mempolicy_home_node"},
	"CAP_SYSLOG":         {"syslog"},
	"CAP_BPF":            {"bpf"},
	"CAP_PERFMON":        {"perf_event_open"},
}

// newNamespaces are the bits of clone that make a namespace.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME

// personalities that programs ask for: Linux's own, and its variants of how
// addresses and the kernel's version look.
var personalities = []uint64{0x0, 0x8, 0x20000, 0x20008, 0xffffffff}

// defaultSeccomp is the runtime's own filter for a container of these rights.
// Whatever it does not name fails with EPERM.
func defaultSeccomp(caps []string, architectures []specs.Arch) *specs.LinuxSeccomp {
	eperm, enosys := uint(unix.EPERM), uint(unix.ENOSYS)
	names := slices.Concat(everyone, byArchitecture[runtime.GOARCH])
	admin := false
	for _, c := range caps {
		names = append(names, byCapability[c]...)
		admin = admin || c == "CAP_SYS_ADMIN"
	}
	slices.Sort(names)
	out := &specs.LinuxSeccomp{
		DefaultAction:   specs.ActErrno,
		DefaultErrnoRet: &eperm,
		Architectures:   architectures,
		Syscalls:        []specs.LinuxSyscall{{Names: slices.Compact(names), Action: specs.ActAllow}},
	}
	for _, p := range personalities {
		out.Syscalls = append(out.Syscalls, specs.LinuxSyscall{
			Names: []string{"personality"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: 0, Value: p, Op: specs.OpEqualTo}},
		})
	}
	// Sockets of any family but AF_VSOCK, which reaches the machine's host.
	for _, a := range []specs.LinuxSeccompArg{
		{Index: 0, Value: unix.AF_VSOCK, Op: specs.OpLessThan},
		{Index: 0, Value: unix.AF_VSOCK, Op: specs.OpGreaterThan},
	} {
		out.Syscalls = append(out.Syscalls, specs.LinuxSyscall{Names: []string{"socket"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{a}})
	}
	if !admin {
		out.Syscalls = append(out.Syscalls,
			specs.LinuxSyscall{
				Names: []string{"clone"}, Action: specs.ActAllow,
				Args: []specs.LinuxSeccompArg{{Index: 0, Value: newNamespaces, ValueTwo: 0, Op: specs.OpMaskedEqual}},
			},
			// Its flags are in memory, where a filter cannot look; callers turn to
			// clone when there is no clone3.
			specs.LinuxSyscall{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &enosys},
		)
	}
	return out
}
