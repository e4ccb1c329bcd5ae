package cri

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/cri/image"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// spec turns a container's configuration into the OCI runtime specification
// that the supervisor runs.
func (r *Runtime) spec(c *container, img *image.Image, rootfs string) (*specs.Spec, error) {
	config, sc := c.config, c.config.GetLinux().GetSecurityContext()
	args, err := command(config, &img.Spec)
	if err != nil {
		return nil, err
	}
	noNewPrivileges := sc.GetNoNewPrivs() && !sc.GetPrivileged()
	process := &specs.Process{
		Terminal:        config.Tty,
		Args:            args,
		Env:             r.environment(c, &img.Spec),
		Cwd:             workingDir(config, &img.Spec),
		Capabilities:    capabilities(sc, r.host.capabilities),
		NoNewPrivileges: noNewPrivileges,
		User:            processUser(c.user.Linux),
	}
	if res := config.GetLinux().GetResources(); res != nil {
		adj := int(res.OomScoreAdj)
		process.OOMScoreAdj = &adj
	}
	mounts, propagation, err := r.mounts(c, img, rootfs)
	if err != nil {
		return nil, err
	}
	spec := &specs.Spec{
		Version:  specs.Version,
		Root:     &specs.Root{Path: rootfs, Readonly: sc.GetReadonlyRootfs()},
		Process:  process,
		Mounts:   mounts,
		Hostname: r.hostname(c.sandbox),
		Linux: &specs.Linux{
			CgroupsPath:       r.cgroupOf(c),
			Resources:         r.linuxResources(config.GetLinux().GetResources()),
			RootfsPropagation: propagation,
			MaskedPaths:       sc.GetMaskedPaths(),
			ReadonlyPaths:     sc.GetReadonlyPaths(),
		},
	}
	if sc.GetPrivileged() {
		spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths = nil, nil
	}
	if spec.Linux.Namespaces, err = r.namespaces(c, sc); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.UTSNamespace }) {
		spec.Hostname = ""
	}
	if err := devices(spec, config, sc.GetPrivileged()); err != nil {
		return nil, err
	}
	if sc.GetSeccomp() != nil {
		compat := runs32(rootfs, img.Arch, args, lookupPath(process.Env))
		if spec.Linux.Seccomp, err = seccompProfile(sc, process.Capabilities, r.host.architectures(compat)); err != nil {
			return nil, err
		}
	}
	return spec, nil
}

// lookupPath is where commands without a folder are looked for.
func lookupPath(env []string) string {
	for _, v := range env {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			return path
		}
	}
	return ""
}

func processUser(u *runtimeapi.LinuxContainerUser) specs.User {
	user := specs.User{UID: uint32(u.Uid), GID: uint32(u.Gid)}
	for _, gid := range u.SupplementalGroups {
		user.AdditionalGids = append(user.AdditionalGids, uint32(gid))
	}
	return user
}

// command is what runs: the container's command replaces the image's entry
// point and with it the image's arguments, the container's arguments replace
// the image's.
func command(config *runtimeapi.ContainerConfig, img *image.Settings) ([]string, error) {
	entry, args := config.Command, config.Args
	if len(entry) == 0 {
		entry = img.Entrypoint
		if len(args) == 0 {
			args = img.Cmd
		}
	}
	all := slices.Concat(entry, args)
	if len(all) == 0 {
		return nil, errors.New("no command specified")
	}
	return all, nil
}

func workingDir(config *runtimeapi.ContainerConfig, img *image.Settings) string {
	switch {
	case config.WorkingDir != "":
		return path.Clean("/" + config.WorkingDir)
	case img.WorkingDir != "":
		return path.Clean("/" + img.WorkingDir)
	}
	return "/"
}

// environment joins the image's variables and the container's; later ones win,
// in the place of the earlier.
func (r *Runtime) environment(c *container, img *image.Settings) []string {
	env := []string{defaultPath, "HOSTNAME=" + r.hostname(c.sandbox)}
	if c.config.Tty {
		env = append(env, "TERM=xterm")
	}
	at := map[string]int{}
	for i, v := range env {
		name, _, _ := strings.Cut(v, "=")
		at[name] = i
	}
	set := func(name, whole string) {
		if i, ok := at[name]; ok {
			env[i] = whole
			return
		}
		at[name] = len(env)
		env = append(env, whole)
	}
	for _, v := range img.Env {
		name, _, _ := strings.Cut(v, "=")
		set(name, v)
	}
	for _, v := range c.config.Envs {
		set(v.Key, v.Key+"="+string(v.Value))
	}
	return env
}

// namespaces are the container's: the pod's by their pins, and its own.
func (r *Runtime) namespaces(c *container, sc *runtimeapi.LinuxContainerSecurityContext) ([]specs.LinuxNamespace, error) {
	list := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	if r.host.unified {
		list = append(list, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	flags := namespaceFlags(namespaceOptions(c.sandbox.config))
	for kind, bit := range map[specs.LinuxNamespaceType]int{
		specs.NetworkNamespace: unix.CLONE_NEWNET,
		specs.IPCNamespace:     unix.CLONE_NEWIPC,
		specs.UTSNamespace:     unix.CLONE_NEWUTS,
	} {
		if flags&bit != 0 {
			name := map[specs.LinuxNamespaceType]string{specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts"}[kind]
			list = append(list, specs.LinuxNamespace{Type: kind, Path: r.runPath("sandboxes", c.sandbox.id, name)})
		}
	}
	slices.SortFunc(list, func(a, b specs.LinuxNamespace) int { return strings.Compare(string(a.Type), string(b.Type)) })
	options := sc.GetNamespaceOptions()
	if options == nil {
		options = namespaceOptions(c.sandbox.config)
	}
	switch options.Pid {
	case runtimeapi.NamespaceMode_CONTAINER:
		list = append(list, specs.LinuxNamespace{Type: specs.PIDNamespace})
	case runtimeapi.NamespaceMode_POD:
		list = append(list, specs.LinuxNamespace{Type: specs.PIDNamespace, Path: r.runPath("sandboxes", c.sandbox.id, "pid")})
	case runtimeapi.NamespaceMode_TARGET:
		pid, err := r.pidOf(options.TargetId)
		if err != nil {
			return nil, fmt.Errorf("invalid target container: %w", err)
		}
		list = append(list, specs.LinuxNamespace{Type: specs.PIDNamespace, Path: fmt.Sprintf("/proc/%d/ns/pid", pid)})
	}
	return list, nil
}

// linuxResources are a container's cgroup limits; zero means unset.
func (r *Runtime) linuxResources(res *runtimeapi.LinuxContainerResources) *specs.LinuxResources {
	out := &specs.LinuxResources{}
	if res == nil {
		return out
	}
	cpu := &specs.LinuxCPU{Cpus: res.CpusetCpus, Mems: res.CpusetMems}
	if res.CpuShares > 0 {
		v := uint64(res.CpuShares)
		cpu.Shares = &v
	}
	if res.CpuQuota != 0 {
		cpu.Quota = &res.CpuQuota
	}
	if res.CpuPeriod > 0 {
		v := uint64(res.CpuPeriod)
		cpu.Period = &v
	}
	out.CPU = cpu
	if res.MemoryLimitInBytes != 0 {
		out.Memory = &specs.LinuxMemory{Limit: &res.MemoryLimitInBytes}
		if r.host.swap {
			// Without a word on swap a container gets none.
			swap := res.MemoryLimitInBytes
			if res.MemorySwapLimitInBytes != 0 {
				swap = res.MemorySwapLimitInBytes
			}
			out.Memory.Swap = &swap
		}
	}
	if r.host.hugetlb {
		for _, h := range res.HugepageLimits {
			out.HugepageLimits = append(out.HugepageLimits, specs.LinuxHugepageLimit{Pagesize: h.PageSize, Limit: h.Limit})
		}
	}
	if r.host.unified && len(res.Unified) > 0 {
		out.Unified = res.Unified
	}
	return out
}

// devices gives the container its device nodes and the rules over them: none
// but those asked for, or all when it is privileged.
func devices(spec *specs.Spec, config *runtimeapi.ContainerConfig, privileged bool) error {
	if privileged {
		spec.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
		if err := addDevices(spec, "/dev", "/dev", "rwm", false); err != nil {
			return err
		}
	} else {
		spec.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	}
	for _, d := range config.Devices {
		if err := addDevices(spec, d.HostPath, d.ContainerPath, d.Permissions, true); err != nil {
			return fmt.Errorf("device %q: %w", d.HostPath, err)
		}
	}
	return nil
}

// ownDevices are in every container, made by the runtime.
var ownDevices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/console", "/dev/ptmx"}

// maxDevices bounds how many nodes a folder of devices may have.
const maxDevices = 4096

// addDevices adds the node at a path, or all nodes below a folder.
func addDevices(spec *specs.Spec, from, to, permissions string, rules bool) error {
	real, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	return filepath.WalkDir(real, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			if p == real {
				return err
			}
			return nil // gone meanwhile
		}
		if e.IsDir() {
			switch e.Name() {
			case "pts", "shm", "fd", "mqueue", ".udev", ".lxc", "hugepages":
				if p != real {
					return filepath.SkipDir
				}
			}
			return nil
		}
		var st unix.Stat_t
		if unix.Lstat(p, &st) != nil {
			return nil
		}
		kind := map[uint32]string{unix.S_IFCHR: "c", unix.S_IFBLK: "b"}[st.Mode&unix.S_IFMT]
		if kind == "" {
			return nil
		}
		target := path.Join(to, strings.TrimPrefix(p, real))
		major, minor := int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
		if rules {
			spec.Linux.Resources.Devices = append(spec.Linux.Resources.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: &major, Minor: &minor, Access: permissions})
		}
		if slices.Contains(ownDevices, target) || len(spec.Linux.Devices) >= maxDevices {
			return nil
		}
		mode := os.FileMode(st.Mode & 0o777)
		spec.Linux.Devices = append(spec.Linux.Devices, specs.LinuxDevice{Path: target, Type: kind, Major: major, Minor: minor, FileMode: &mode, UID: &st.Uid, GID: &st.Gid})
		return nil
	})
}
