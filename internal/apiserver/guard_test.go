package apiserver_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// What every cluster has comes back when it was deleted.
func TestGuard(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	core := c.admin(runtime.ContentTypeProtobuf).CoreV1()
	back := func(w watch.Interface, err error, remove func() error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		var was types.UID
		for {
			ev := next(t, ctx, w)
			uid := ev.Object.(metav1.Object).GetUID()
			switch {
			case ev.Type == watch.Added && was == "":
				was = uid
			case ev.Type == watch.Added:
				if uid == was {
					t.Error("the same object again")
				}
				return
			}
		}
	}
	named := func(name string) metav1.ListOptions {
		return metav1.ListOptions{FieldSelector: "metadata.name=" + name}
	}

	w, err := core.Namespaces().Watch(ctx, named(corev1.NamespaceNodeLease))
	back(w, err, func() error {
		if err := core.Namespaces().Delete(ctx, corev1.NamespaceNodeLease, metav1.DeleteOptions{}); err != nil {
			return err
		}
		ns, err := core.Namespaces().Get(ctx, corev1.NamespaceNodeLease, metav1.GetOptions{})
		if err != nil {
			return err
		}
		ns.Spec.Finalizers = nil // as its controller does
		_, err = core.Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{})
		return err
	})
	services := core.Services(metav1.NamespaceDefault)
	w, err = services.Watch(ctx, named("kubernetes"))
	back(w, err, func() error { return services.Delete(ctx, "kubernetes", metav1.DeleteOptions{}) })
}

// A volume says since when it is in its phase.
func TestVolumePhase(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	volumes := c.admin(runtime.ContentTypeProtobuf).CoreV1().PersistentVolumes()
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "v"}}
	v.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	v.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	v.Spec.HostPath = &corev1.HostPathVolumeSource{Path: "/x"}
	v, err := volumes.Create(ctx, v, metav1.CreateOptions{})
	if err != nil || v.Status.LastPhaseTransitionTime.IsZero() {
		t.Fatalf("%+v, %v", v.Status, err)
	}
	old := metav1.Unix(1000, 0)
	for _, tt := range []struct {
		phase corev1.PersistentVolumePhase
		said  *metav1.Time
		kept  bool
	}{
		{corev1.VolumeAvailable, &old, true},
		{corev1.VolumeAvailable, &old, true},
		{corev1.VolumeBound, &old, false},
		{corev1.VolumeReleased, nil, false},
	} {
		v.Status.Phase, v.Status.LastPhaseTransitionTime = tt.phase, tt.said
		if v, err = volumes.UpdateStatus(ctx, v, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := v.Status.LastPhaseTransitionTime; got.IsZero() || got.Equal(&old) != tt.kept {
			t.Errorf("%s: %v", tt.phase, got)
		}
	}
}
