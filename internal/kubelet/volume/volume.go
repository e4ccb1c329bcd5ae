// Package volume puts a pod's volumes in place on the node and takes them away.
//
// A volume of files made from API objects is one directory whose content
// changes in one step: a reader sees the old files or the new ones. Such files
// live in memory only. Paths that a container could have tampered with are
// walked by descriptor and never left.
package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Objects gives the API objects that volumes show; a missing one is a NotFound
// error.
type Objects interface {
	ConfigMap(namespace, name string) (*v1.ConfigMap, error)
	Secret(namespace, name string) (*v1.Secret, error)
}

// Config of a Manager.
type Config struct {
	// Root is above the pods' directories.
	Root string
	// Memory is above the directories of files that must not reach a disk; a
	// tmpfs is mounted there.
	Memory  string
	Objects Objects
	Clock   clock.PassiveClock
	// Token returns a token for the pod, and when it should be replaced.
	Token func(context.Context, *v1.Pod, *v1.ServiceAccountTokenProjection) (string, time.Time, error)
	// Claim returns the volume bound to a claim of the pod's namespace.
	Claim func(ctx context.Context, pod *v1.Pod, name string) (*v1.PersistentVolume, error)
	// Image makes sure that an image is there and returns what the runtime
	// knows it by.
	Image func(context.Context, *v1.Pod, *v1.ImageVolumeSource) (string, error)
	// Allocatable of the node, for downward API files.
	Allocatable v1.ResourceList
}

// Manager sets up and tears down the volumes of pods. Calls for different pods
// may run at the same time, those for one pod may not.
type Manager struct{ Config }

// New mounts what the Manager needs.
func New(c Config) (*Manager, error) {
	for _, dir := range [...]string{c.Root, c.Memory} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, err
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(c.Memory, &st); err != nil {
		return nil, &fs.PathError{Op: "statfs", Path: c.Memory, Err: err}
	}
	if st.Type != unix.TMPFS_MAGIC {
		if err := unix.Mount("tmpfs", c.Memory, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755"); err != nil {
			return nil, &fs.PathError{Op: "mount tmpfs", Path: c.Memory, Err: err}
		}
	}
	return &Manager{c}, nil
}

// Close takes away what New mounted; pods' files in memory are lost.
func (m *Manager) Close() error {
	if err := unix.Unmount(m.Memory, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return &fs.PathError{Op: "unmount", Path: m.Memory, Err: err}
	}
	return nil
}

// Mounted is one volume in place.
type Mounted struct {
	// Path on the node; empty for an image.
	Path     string
	ReadOnly bool
	// Image is set for a volume that the runtime mounts itself: its reference.
	Image string
	// Block: Path is a device.
	Block bool
}

// Mounts are a pod's volumes by name.
type Mounts struct {
	Volumes map[string]Mounted
	// Renew is when SetUp should run again; zero is never.
	Renew time.Time
}

// Error is a volume that could not be set up.
type Error struct {
	Volume string
	Err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("MountVolume.SetUp failed for volume %q : %v", e.Volume, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// SetUp makes the pod's volumes, or brings up to date what they show; those of
// an earlier call that show nothing of the API are taken as they are. It tries
// all of them and returns the first error.
func (m *Manager) SetUp(ctx context.Context, pod *v1.Pod, earlier Mounts) (Mounts, error) {
	out := Mounts{Volumes: make(map[string]Mounted, len(pod.Spec.Volumes))}
	var first error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if had, ok := earlier.Volumes[v.Name]; ok && !showsAPI(v) {
			out.Volumes[v.Name] = had
			continue
		}
		mounted, renew, err := m.one(ctx, pod, v)
		if err != nil {
			if first == nil {
				first = &Error{v.Name, err}
			}
			continue
		}
		out.Volumes[v.Name] = mounted
		if !renew.IsZero() && (out.Renew.IsZero() || renew.Before(out.Renew)) {
			out.Renew = renew
		}
	}
	return out, first
}

// showsAPI tells whether a volume's files are made from API objects.
func showsAPI(v *v1.Volume) bool {
	return v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil
}

func (m *Manager) one(ctx context.Context, pod *v1.Pod, v *v1.Volume) (Mounted, time.Time, error) {
	var none time.Time
	switch {
	case v.EmptyDir != nil:
		path, err := m.emptyDir(pod, v)
		return Mounted{Path: path}, none, err
	case v.HostPath != nil:
		return Mounted{Path: v.HostPath.Path}, none, hostPath(v.HostPath)
	case showsAPI(v):
		files, renew, err := m.files(ctx, pod, v)
		if err != nil {
			return Mounted{}, none, err
		}
		dir := filepath.Join(m.memory(pod.UID), v.Name)
		return Mounted{Path: dir, ReadOnly: true}, renew, write(dir, files, fsGroup(pod), m.Clock.Now())
	case v.Image != nil:
		ref, err := m.Image(ctx, pod, v.Image)
		return Mounted{Image: ref, ReadOnly: true}, none, err
	case v.PersistentVolumeClaim != nil:
		mounted, err := m.claim(ctx, pod, v.PersistentVolumeClaim.ClaimName, v.PersistentVolumeClaim.ReadOnly)
		return mounted, none, err
	case v.Ephemeral != nil:
		mounted, err := m.claim(ctx, pod, pod.Name+"-"+v.Name, false)
		return mounted, none, err
	}
	return Mounted{}, none, errors.New("no volume plugin matched")
}

func (m *Manager) claim(ctx context.Context, pod *v1.Pod, name string, readOnly bool) (Mounted, error) {
	if m.Claim == nil {
		return Mounted{}, errors.New("persistent volume claims are not served by this node")
	}
	pv, err := m.Claim(ctx, pod, name)
	if err != nil {
		return Mounted{}, err
	}
	switch {
	case pv.Spec.HostPath != nil:
		return Mounted{Path: pv.Spec.HostPath.Path, ReadOnly: readOnly}, hostPath(pv.Spec.HostPath)
	case pv.Spec.Local != nil:
		if _, err := os.Stat(pv.Spec.Local.Path); err != nil {
			return Mounted{}, err
		}
		err := own(pv.Spec.Local.Path, fsGroup(pod))
		block := pv.Spec.VolumeMode != nil && *pv.Spec.VolumeMode == v1.PersistentVolumeBlock
		return Mounted{Path: pv.Spec.Local.Path, ReadOnly: readOnly, Block: block}, err
	}
	return Mounted{}, errors.New("no volume plugin matched")
}

// Dir is the pod's directory.
func (m *Manager) Dir(uid types.UID) string { return filepath.Join(m.Root, string(uid)) }

func (m *Manager) memory(uid types.UID) string { return filepath.Join(m.Memory, string(uid)) }

func fsGroup(pod *v1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}

// own gives a volume's top directory to the group, if there is one.
func own(dir string, group *int64) error {
	if group == nil {
		return nil
	}
	if err := os.Lchown(dir, -1, int(*group)); err != nil {
		return err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	return os.Chmod(dir, st.Mode().Perm()|0o770|fs.ModeSetgid)
}

// TearDown removes all that the Manager made for the pod. It may be called
// again, and for a pod that never was.
func (m *Manager) TearDown(uid types.UID) error {
	if uid == "" {
		return nil
	}
	if err := os.RemoveAll(m.memory(uid)); err != nil {
		return err
	}
	if err := m.removeSubPaths(uid); err != nil {
		return err
	}
	return m.removeEmptyDirs(uid)
}
