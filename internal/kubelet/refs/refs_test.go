package refs

import (
	"context"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
)

func podOf(uid string, configMaps ...string) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: uid, Namespace: "ns", UID: types.UID(uid)}}
	for _, c := range configMaps {
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: c, VolumeSource: v1.VolumeSource{
			ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: c}}}})
	}
	return p
}

func configMap(name, value string) *v1.ConfigMap {
	return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns"}, Data: map[string]string{"k": value}}
}

func TestHoldAndRelease(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	client := fake.NewSimpleClientset(configMap("a", "1"), configMap("other", "x"))
	s := New(ctx, client, clock.RealClock{})
	changed := make(chan struct{}, 10)
	s.Hold(podOf("p1", "a", "b"), func() { changed <- struct{}{} })
	s.Hold(podOf("p2", "a"), func() {})
	if err := s.Wait(ctx, "p1"); err != nil {
		t.Fatal(err)
	}
	if m, err := s.ConfigMap("ns", "a"); err != nil || m.Data["k"] != "1" {
		t.Fatalf("a: %v %v", m, err)
	}
	if _, err := s.ConfigMap("ns", "b"); !apierrors.IsNotFound(err) || err.Error() != `configmap "b" not found` {
		t.Fatalf("b: %v", err)
	}
	if _, err := s.ConfigMap("ns", "other"); err == nil {
		t.Fatal("an object that nobody holds is there")
	}
	// Each object is watched once, however many pods hold it.
	watches := 0
	for _, a := range client.Actions() {
		if w, ok := a.(k8stesting.WatchAction); ok && w.GetResource().Resource == "configmaps" {
			watches++
		}
	}
	if watches > 2 {
		t.Errorf("%d watches for two objects", watches)
	}

	await := func() {
		t.Helper()
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("no notice of a change")
		}
	}
	if _, err := client.CoreV1().ConfigMaps("ns").Create(ctx, configMap("b", "2"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for {
		if m, err := s.ConfigMap("ns", "b"); err == nil && m.Data["k"] == "2" {
			break
		}
		await()
	}
	if err := client.CoreV1().ConfigMaps("ns").Delete(ctx, "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := s.ConfigMap("ns", "b"); apierrors.IsNotFound(err) {
			break
		}
		await()
	}

	s.Release("p1")
	if _, err := s.ConfigMap("ns", "a"); err != nil {
		t.Error("a is still held by p2:", err)
	}
	s.Release("p2")
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries)+len(s.holders) != 0 {
		t.Errorf("left: %v %v", s.entries, s.holders)
	}
}
