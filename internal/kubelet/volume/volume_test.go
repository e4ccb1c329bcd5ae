package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"pgregory.net/rapid"
)

type objects map[string]map[string]string

func (o objects) get(kind, name string) (map[string]string, error) {
	d, ok := o[kind+"/"+name]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: kind}, name)
	}
	return d, nil
}

func (o objects) ConfigMap(_, name string) (*v1.ConfigMap, error) {
	d, err := o.get("configmap", name)
	return &v1.ConfigMap{Data: d}, err
}

func (o objects) Secret(_, name string) (*v1.Secret, error) {
	d, err := o.get("secret", name)
	s := &v1.Secret{Data: map[string][]byte{}}
	for k, v := range d {
		s.Data[k] = []byte(v)
	}
	return s, err
}

func manager(t *testing.T, o objects) *Manager {
	t.Helper()
	dir := t.TempDir()
	m, err := New(Config{Root: filepath.Join(dir, "pods"), Memory: filepath.Join(dir, "memory"), Objects: o, Clock: clock.RealClock{},
		Token: func(context.Context, *v1.Pod, *v1.ServiceAccountTokenProjection) (string, time.Time, error) {
			return "tok", time.Unix(100, 0), nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(m.TearDown("u"), m.Close()); err != nil {
			t.Error(err)
		}
	})
	return m
}

func podWith(volumes ...v1.Volume) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}, Spec: v1.PodSpec{Volumes: volumes}}
}

func vol(name string, s v1.VolumeSource) v1.Volume { return v1.Volume{Name: name, VolumeSource: s} }

func TestErrors(t *testing.T) {
	m := manager(t, objects{"configmap/c": {"a": "1"}, "secret/s": {}})
	dir := v1.HostPathDirectory
	for _, c := range []struct {
		source v1.VolumeSource
		want   string
	}{
		{v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "x"}}},
			`MountVolume.SetUp failed for volume "v" : configmap "x" not found`},
		{v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "x"}}, `MountVolume.SetUp failed for volume "v" : secret "x" not found`},
		{v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "c"}, Items: []v1.KeyToPath{{Key: "b", Path: "b"}}}},
			`MountVolume.SetUp failed for volume "v" : references non-existent config key: b`},
		{v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "s", Items: []v1.KeyToPath{{Key: "b", Path: "b"}}}},
			`MountVolume.SetUp failed for volume "v" : references non-existent secret key: b`},
		{v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: "/etc/passwd", Type: &dir}},
			`MountVolume.SetUp failed for volume "v" : hostPath type check failed: /etc/passwd is not a directory`},
		{v1.VolumeSource{NFS: &v1.NFSVolumeSource{}}, `MountVolume.SetUp failed for volume "v" : no volume plugin matched`},
	} {
		_, err := m.SetUp(context.Background(), podWith(vol("v", c.source)), Mounts{})
		if err == nil || err.Error() != c.want {
			t.Errorf("%v\nwant %s", err, c.want)
		}
	}
}

// TestWrite: whatever the files were, and whatever they become, the directory
// shows the new ones, and a reader who holds the old directory keeps those.
func TestWrite(t *testing.T) {
	base := t.TempDir()
	n := 0
	gen := rapid.MapOf(
		rapid.StringMatching(`[a-c](/[d-e]){0,2}`),
		rapid.Custom(func(t *rapid.T) file {
			return file{data: []byte(rapid.StringN(0, 20, -1).Draw(t, "data")), mode: rapid.SampledFrom([]uint32{0o644, 0o400, 0o777}).Draw(t, "mode")}
		}),
	)
	rapid.Check(t, func(t *rapid.T) {
		n++
		dir := filepath.Join(base, fmt.Sprint(n))
		for range rapid.IntRange(1, 4).Draw(t, "times") {
			files := gen.Draw(t, "files")
			for path := range files { // a path that is also a directory is no valid volume
				for _, p := range parents(path) {
					delete(files, p)
				}
			}
			if err := write(dir, files, nil, time.Now()); err != nil {
				t.Fatal(err)
			}
			seen := 0
			top, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range top {
				if strings.HasPrefix(e.Name(), "..") {
					continue
				}
				real, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				filepath.WalkDir(real, func(path string, d fs.DirEntry, err error) error {
					if err != nil {
						t.Fatal(err)
					}
					if d.IsDir() {
						return nil
					}
					rel := e.Name() + strings.TrimPrefix(path, real)
					f, ok := files[rel]
					if !ok {
						t.Fatalf("%s should not be", rel)
					}
					b, _ := os.ReadFile(path)
					st, _ := os.Stat(path)
					if string(b) != string(f.data) || st.Mode().Perm() != fs.FileMode(f.mode) {
						t.Fatalf("%s: %q %v", rel, b, st.Mode())
					}
					seen++
					return nil
				})
			}
			if seen != len(files) {
				t.Fatalf("%d files, want %d", seen, len(files))
			}
			before, _ := os.Readlink(filepath.Join(dir, dataLink))
			if err := write(dir, files, nil, time.Now()); err != nil {
				t.Fatal(err)
			}
			if after, _ := os.Readlink(filepath.Join(dir, dataLink)); after != before {
				t.Fatal("the same files were written again")
			}
		}
	})
}

func TestWriteRefusesPaths(t *testing.T) {
	for _, path := range []string{"", "/etc/x", "../x", "a/../../x", "..data", "..hidden"} {
		if err := write(t.TempDir(), map[string]file{path: {}}, nil, time.Now()); err == nil {
			t.Errorf("%q is accepted", path)
		}
	}
}

func TestEmptyDir(t *testing.T) {
	m := manager(t, nil)
	group := int64(1234)
	size := resource.MustParse("1Mi")
	pod := podWith(
		vol("disk", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}),
		vol("fast", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory, SizeLimit: &size}}),
	)
	pod.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: &group}
	mounts, err := m.SetUp(context.Background(), pod, Mounts{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"disk", "fast"} {
		st, err := os.Stat(mounts.Volumes[name].Path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o777 || st.Mode()&fs.ModeSetgid == 0 {
			t.Errorf("%s: mode %v", name, st.Mode())
		}
	}
	big := make([]byte, 2<<20)
	if err := os.WriteFile(filepath.Join(mounts.Volumes["fast"].Path, "f"), big, 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("over the size limit: %v", err)
	}
	keep := filepath.Join(mounts.Volumes["disk"].Path, "keep")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.SetUp(context.Background(), pod, Mounts{}); err != nil { // after a restart
		t.Fatal(err)
	}
	if _, err := os.Stat(keep); err != nil {
		t.Error("content is lost:", err)
	}
	if err := m.TearDown(pod.UID); err != nil {
		t.Fatal(err)
	}
	if list, _ := os.ReadDir(filepath.Join(m.Dir(pod.UID), "volumes")); len(list) > 0 {
		t.Errorf("left: %v", list)
	}
}

func TestSize(t *testing.T) {
	m := manager(t, nil)
	pod := podWith(vol("v", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}))
	mounts, err := m.SetUp(context.Background(), pod, Mounts{})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(mounts.Volumes["v"].Path, "sub")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(dir, "root")); err != nil {
		t.Fatal(err)
	}
	if n := m.Size(context.Background(), pod.UID, "v", 1<<40); n < 100_000 || n > 200_000 {
		t.Errorf("%d bytes", n)
	}
	if n := m.Size(context.Background(), pod.UID, "absent", 1); n != 0 {
		t.Errorf("absent: %d bytes", n)
	}
}

// TestSubPathStaysInside: links that a container plants lead nowhere else.
func TestSubPathStaysInside(t *testing.T) {
	m := manager(t, nil)
	pod := podWith(vol("v", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}))
	mounts, err := m.SetUp(context.Background(), pod, Mounts{})
	if err != nil {
		t.Fatal(err)
	}
	v := mounts.Volumes["v"]
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.MkdirAll(secret, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(secret, "key"), []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(v.Path, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../../../../../../etc", filepath.Join(v.Path, "up")); err != nil {
		t.Fatal(err)
	}
	for i, sub := range []string{"out", "out/new", "up", "../..", "a/../../.."} {
		path, err := m.SubPath(pod, "c", i, v, "v", sub)
		if err != nil {
			continue
		}
		// What the container would see is inside the volume.
		if _, err := os.Stat(filepath.Join(path, "key")); err == nil {
			t.Errorf("%s leads to the secret", sub)
		}
		if _, err := os.Stat(filepath.Join(path, "passwd")); err == nil {
			t.Errorf("%s leads to /etc", sub)
		}
	}
	if _, err := os.Stat(filepath.Join(secret, "new")); err == nil {
		t.Error("a directory was made outside of the volume")
	}

	path, err := m.SubPath(pod, "c", 9, v, "v", "data/db")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(v.Path, "data/db/f")); err != nil || string(b) != "x" {
		t.Errorf("not the same directory: %q %v", b, err)
	}
	if file, err := m.SubPath(pod, "c", 10, v, "v", "data/db/f"); err != nil {
		t.Error(err)
	} else if b, _ := os.ReadFile(file); string(b) != "x" {
		t.Errorf("a file: %q", b)
	}
	host := filepath.Join(t.TempDir(), "host")
	if err := os.MkdirAll(filepath.Join(host, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(host, "sub", "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.SubPath(pod, "c", 11, Mounted{Path: host}, "h", "sub"); err != nil {
		t.Fatal(err)
	}
	if err := m.TearDown(pod.UID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(host, "sub", "precious")); err != nil {
		t.Error("the node's own file went with the pod:", err)
	}
}

func TestHostPathTypes(t *testing.T) {
	dir := t.TempDir()
	kind := func(k v1.HostPathType) *v1.HostPathType { return &k }
	for _, c := range []struct {
		path string
		kind *v1.HostPathType
		ok   bool
	}{
		{"/none", nil, true},
		{dir + "/d", kind(v1.HostPathDirectory), false},
		{dir + "/d", kind(v1.HostPathDirectoryOrCreate), true},
		{dir + "/d", kind(v1.HostPathDirectory), true},
		{dir + "/d", kind(v1.HostPathFileOrCreate), false},
		{dir + "/f", kind(v1.HostPathFileOrCreate), true},
		{dir + "/f", kind(v1.HostPathFile), true},
		{dir + "/f", kind(v1.HostPathDirectoryOrCreate), false},
		{"/dev/null", kind(v1.HostPathCharDev), true},
		{"/dev/null", kind(v1.HostPathBlockDev), false},
		{dir + "/f", kind(v1.HostPathSocket), false},
		{dir, kind("Odd"), false},
	} {
		if err := hostPath(&v1.HostPathVolumeSource{Path: c.path, Type: c.kind}); (err == nil) != c.ok {
			t.Errorf("%s as %v: %v", c.path, c.kind, err)
		}
	}
}
