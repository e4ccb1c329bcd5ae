package cache_test

import (
	"fmt"
	"log/slog"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
)

// parts are what objects share, by where it is in memory.
func parts(e *cache.Entry) [5]uintptr {
	m := &e.Object.(*corev1.Pod).ObjectMeta
	at := func(v any) uintptr { return reflect.ValueOf(v).Pointer() }
	return [5]uintptr{at(m.Labels), at(m.Annotations), at(m.OwnerReferences), at(m.Finalizers), at(m.ManagedFields)}
}

func TestAlikeObjectsShare(t *testing.T) {
	f := newFixture(t, clocktesting.NewFakeClock(time.Now()))
	made := metav1.Unix(1_000_000, 0)
	replica := func(name string) *corev1.Pod {
		p, controls := pod(name, "n", "same"), true
		p.Annotations = map[string]string{"a": "b"}
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "r", UID: "u", Controller: &controls}}
		p.Finalizers = []string{"example.com/f"}
		p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m", Operation: "Update", APIVersion: "v1", Time: &made, FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte("{}")}}}
		return p
	}
	owned := func(change func(*metav1.OwnerReference)) *corev1.Pod {
		p := replica("r-4")
		change(&p.OwnerReferences[0])
		return p
	}
	managed := func(change func(*metav1.ManagedFieldsEntry)) *corev1.Pod {
		p := replica("r-4")
		change(&p.ManagedFields[0])
		return p
	}
	other := pod("r-5", "n", "other")
	f.write(replica("r-1"), "r-1", 0, true)
	at := f.write(replica("r-2"), "r-2", 0, false)
	f.write(replica("r-3"), "r-3", 0, true)
	f.write(other, "r-5", 0, true)
	all := parts(f.r.Get("ns/r-1"))
	check := func(name string, want *corev1.Pod, shared [5]bool) {
		t.Helper()
		e := f.r.Get("ns/" + name)
		got := parts(e)
		for i := range got {
			if (got[i] == all[i]) != shared[i] {
				t.Errorf("%s: part %d: shared is %v", name, i, !shared[i])
			}
		}
		p := e.Object.(*corev1.Pod).DeepCopy()
		p.ResourceVersion, p.TypeMeta = "", metav1.TypeMeta{}
		if diff := cmp.Diff(want, p, cmp.Comparer(func(a, b metav1.Time) bool { return a.Equal(&b) })); diff != "" {
			t.Errorf("%s has changed: %s", name, diff)
		}
	}
	every := [5]bool{true, true, true, true, true}
	check("r-3", replica("r-3"), every)
	check("r-5", other, [5]bool{})
	// A state shares with the one before.
	moved := replica("r-2")
	moved.Spec.NodeName = "elsewhere"
	f.write(moved, "r-2", at, true)
	check("r-2", moved, every)

	// Whatever differs is kept apart.
	no := false
	for i, p := range []*corev1.Pod{
		owned(func(o *metav1.OwnerReference) { o.UID = "v" }),
		owned(func(o *metav1.OwnerReference) { o.Controller = nil }),
		owned(func(o *metav1.OwnerReference) { o.Controller = &no }),
		managed(func(m *metav1.ManagedFieldsEntry) { m.Subresource = "status" }),
		managed(func(m *metav1.ManagedFieldsEntry) { m.Time = nil }),
		managed(func(m *metav1.ManagedFieldsEntry) { m.FieldsV1 = &metav1.FieldsV1{Raw: []byte(`{"f:a":{}}`)} }),
	} {
		want := every
		want[2+i/3*2] = false
		at := f.write(p, "r-4", 0, true)
		check("r-4", p, want)
		f.write(nil, "r-4", at, false)
	}

	// What is read back from the store shares, too.
	table := scheme.New()
	f.pods = table.ByPath("", "v1", "pods")
	f.open(table, clocktesting.NewFakeClock(time.Now()), slog.New(slog.DiscardHandler))
	all = parts(f.r.Get("ns/r-1"))
	check("r-2", moved, every)
	check("r-3", replica("r-3"), every)
	check("r-5", other, [5]bool{})
}

func TestSmallTextsAreGathered(t *testing.T) {
	f := newFixture(t, clocktesting.NewFakeClock(time.Now()))
	p := pod("a", "n", "l")
	p.UID = "1-2-3"
	for _, handOn := range []bool{true, false} {
		at := f.write(p, "a", 0, handOn)
		e := f.r.Get("ns/a")
		m := e.Meta()
		if e.Key != "ns/a" || m.GetName() != "a" || m.GetNamespace() != "ns" || m.GetUID() != "1-2-3" || m.GetResourceVersion() != fmt.Sprint(at) {
			t.Errorf("%q has become %v", e.Key, m)
		}
		begin := uintptr(unsafe.Pointer(unsafe.StringData(e.Key)))
		end := begin + uintptr(len(e.Key+"1-2-3"+m.GetResourceVersion()))
		for _, text := range []string{m.GetName(), m.GetNamespace(), string(m.GetUID()), m.GetResourceVersion()} {
			if at := uintptr(unsafe.Pointer(unsafe.StringData(text))); at < begin || at >= end {
				t.Errorf("%q is elsewhere", text)
			}
		}
		f.write(nil, "a", at, false)
	}
}
