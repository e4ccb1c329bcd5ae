package cri

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"

	"github.com/opencontainers/runtime-spec/specs-go"

	"clipper/internal/cri/supervisor"
)

// pauseCode ignores SIGCHLD, so that the kernel reaps the orphans that come to
// the first process of a PID namespace, and then sleeps for good. It is written
// out because no compiler makes a program this small: one page, no libraries.
var pauseCode = map[string]struct {
	machine uint16 // of ELF
	code    []byte // runs at entry, with the sigaction right behind it
}{
	"amd64": {62, []byte{
		0xb8, 13, 0, 0, 0, // mov eax, rt_sigaction
		0xbf, 17, 0, 0, 0, // mov edi, SIGCHLD
		0x48, 0x8d, 0x35, 23, 0, 0, 0, // lea rsi, [rip+23]
		0x31, 0xd2, // xor edx, edx
		0x41, 0xba, 8, 0, 0, 0, // mov r10d, 8
		0x0f, 0x05, // syscall
		0xb8, 34, 0, 0, 0, // mov eax, pause
		0x0f, 0x05, // syscall
		0xeb, 0xf7, // jmp -9
		0x90, 0x90, 0x90, 0x90, // to a multiple of eight
	}},
	"arm64": {183, []byte{
		0x20, 0x02, 0x80, 0xd2, // mov x0, SIGCHLD
		0xa1, 0x01, 0x00, 0x10, // adr x1, sigaction (52 bytes on)
		0x02, 0x00, 0x80, 0xd2, // mov x2, 0
		0x03, 0x01, 0x80, 0xd2, // mov x3, 8
		0xc8, 0x10, 0x80, 0xd2, // mov x8, rt_sigaction
		0x01, 0x00, 0x00, 0xd4, // svc 0
		0x00, 0x00, 0x80, 0xd2, // mov x0, 0 (ppoll of nothing, for ever)
		0x01, 0x00, 0x80, 0xd2, // mov x1, 0
		0x02, 0x00, 0x80, 0xd2, // mov x2, 0
		0x03, 0x00, 0x80, 0xd2, // mov x3, 0
		0x28, 0x09, 0x80, 0xd2, // mov x8, ppoll
		0x01, 0x00, 0x00, 0xd4, // svc 0
		0xfa, 0xff, 0xff, 0x17, // b -6 instructions
		0x1f, 0x20, 0x03, 0xd5, // nop, to a multiple of eight
	}},
}

// pauseProgram is an executable of one segment that only waits.
func pauseProgram(arch string) ([]byte, error) {
	p, ok := pauseCode[arch]
	if !ok {
		return nil, fmt.Errorf("pods cannot share a process namespace on %s", arch)
	}
	const base, headers = 0x10000, 64 + 56
	// struct sigaction: SIG_IGN, no flags, no restorer, an empty mask.
	action := []byte{1, 31: 0}
	size := uint64(headers + len(p.code) + len(action))
	le := binary.LittleEndian
	b := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 15: 0}
	b = le.AppendUint16(b, 2) // executable
	b = le.AppendUint16(b, p.machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+headers) // entry
	b = le.AppendUint64(b, 64)           // program headers
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // load
	b = le.AppendUint32(b, 5) // read, execute
	for _, v := range []uint64{0, base, base, size, size, 0x10000} {
		b = le.AppendUint64(b, v)
	}
	return append(append(b, p.code...), action...), nil
}

// startPause gives a sandbox's containers a PID namespace to share, held by a
// first process that does nothing else.
func (r *Runtime) startPause(ctx context.Context, s *sandbox) error {
	if err := r.Ready(ctx); err != nil {
		return err
	}
	program, err := pauseProgram(runtime.GOARCH)
	if err != nil {
		return err
	}
	root := r.runPath("pause")
	file := path.Join(root, "pause")
	if !fileExists(file) {
		if err := os.MkdirAll(root, 0o755); err != nil {
			return err
		}
		fresh := path.Join(root, s.id)
		if err := errors.Join(os.WriteFile(fresh, program, 0o555), os.Rename(fresh, file)); err != nil {
			return err
		}
	}
	dir := r.runPath("sandboxes", s.id)
	spec := &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: root, Readonly: true},
		Process: &specs.Process{
			Args: []string{"/pause"}, Cwd: "/", NoNewPrivileges: true,
			User:         specs.User{UID: 65535, GID: 65535},
			Capabilities: &specs.LinuxCapabilities{},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "mode=755", "size=64k"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: path.Join(r.cgroupParent(s), s.id),
			Resources:   &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			Namespaces:  []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}},
			Seccomp:     defaultSeccomp(nil, r.host.architectures(false)),
		},
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	reply, err := r.client.Create(ctx, supervisor.CreateRequest{ID: s.id, Spec: raw})
	if err != nil {
		return fmt.Errorf("failed to start the pod's first process: %w", err)
	}
	err = pin(fmt.Sprintf("/proc/%d/ns/pid", reply.PID), path.Join(dir, "pid"))
	if err == nil {
		_, err = r.client.Start(ctx, s.id)
	}
	if err != nil {
		return errors.Join(err, r.client.Delete(context.WithoutCancel(ctx), s.id))
	}
	return nil
}
