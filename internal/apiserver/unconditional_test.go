package apiserver_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// TestNoVersion writes with a resourceVersion of "0", which is none.
func TestNoVersion(t *testing.T) {
	c := start(t)
	maps := c.admin(runtime.ContentTypeJSON).CoreV1().ConfigMaps("default")
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m", ResourceVersion: "0"}}
	if _, err := maps.Create(t.Context(), m, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"", "0"} {
		m.ResourceVersion, m.Data = version, map[string]string{"version": version}
		got, err := maps.Update(t.Context(), m, metav1.UpdateOptions{})
		if err != nil || got.Data["version"] != version || got.ResourceVersion == "0" {
			t.Errorf("update with %q: %v %v", version, got, err)
		}
	}
	m.Name, m.ResourceVersion = "n", "1"
	if _, err := maps.Create(t.Context(), m, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "should not be set") {
		t.Errorf("create with a version: %v", err)
	}
}
