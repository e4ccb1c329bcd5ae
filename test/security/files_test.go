package security

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testFiles: who has an account on the machine, and is not root, finds no
// secret in the cluster's folders and can change nothing there; the log tells
// none.
func testFiles(t *testing.T, w *world) {
	const word = "correct-horse-battery-staple"
	if _, err := w.client.CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "word"}, StringData: map[string]string{"word": word},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := shell("keeper", "cat /s/word >/dev/null; sleep 1000000")
	p.Spec.Volumes = []corev1.Volume{{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "word"}}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "s", MountPath: "/s"}}
	p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "WORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "word"}, Key: "word"}}}}
	w.start(t, p, running)

	for _, root := range []string{"/var/lib/clipper/" + w.Name, "/run/clipper/" + w.Name} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			st, err := d.Info()
			if err != nil {
				return err
			}
			mode := st.Mode()
			switch {
			case mode&fs.ModeSymlink != 0:
				return nil
			case mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0:
				t.Errorf("%s can be changed by anyone: %v", path, mode)
			case mode.IsDir() && mode.Perm()&0o001 == 0:
				return fs.SkipDir // nobody gets below
			case mode.IsRegular() && mode.Perm()&0o004 != 0:
				data, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				if bytes.Contains(data, []byte(word)) || bytes.Contains(data, []byte("PRIVATE KEY")) || bytes.Contains(data, []byte("client-key-data")) {
					t.Errorf("%s holds a secret and can be read by anyone: %v", path, mode)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"pki/ca.key", "pki/sa.key", "admin.kubeconfig", "clipper.log"} {
		st, err := os.Stat(filepath.Join(w.state, path))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v", path, st.Mode())
		}
	}
	if st, err := os.Stat(w.Kubeconfig); err != nil || st.Mode().Perm()&0o077 != 0 {
		t.Errorf("the kubeconfig: %v %v", st.Mode(), err)
	}
	log, err := os.ReadFile(filepath.Join(w.state, "clipper.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{word, "PRIVATE KEY", "Bearer ", "eyJhbGciOi"} {
		if bytes.Contains(log, []byte(secret)) {
			t.Errorf("the log tells %q", secret)
		}
	}
}
