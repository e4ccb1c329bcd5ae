package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
)

// Owner is an object that owns pods.
type Owner interface {
	runtime.Object
	metav1.Object
}

// PodWriter creates and deletes an owner's pods, and records it as events of
// the owner.
type PodWriter struct {
	Client kubernetes.Interface
	Events record.EventRecorder
}

// PodOf returns the pod that a template of an owner describes. Its name is
// generated from the owner's.
func PodOf(t *corev1.PodTemplateSpec, owner Owner, kind schema.GroupVersionKind) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		GenerateName: owner.GetName() + "-", Namespace: owner.GetNamespace(),
		Labels: maps.Clone(t.Labels), Annotations: maps.Clone(t.Annotations), Finalizers: slices.Clone(t.Finalizers),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)},
	}}
	t.Spec.DeepCopyInto(&p.Spec)
	return p
}

// Create creates the pod.
func (w PodWriter) Create(ctx context.Context, owner Owner, pod *corev1.Pod) (*corev1.Pod, error) {
	if len(pod.Labels) == 0 {
		return nil, fmt.Errorf("unable to create pods, no labels")
	}
	made, err := w.Client.CoreV1().Pods(owner.GetNamespace()).Create(ctx, pod, metav1.CreateOptions{})
	switch {
	case err == nil:
		w.Events.Eventf(owner, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: %v", made.Name)
	case !NamespaceEnds(err) && ctx.Err() == nil:
		w.Events.Eventf(owner, corev1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
	}
	return made, err
}

// Delete deletes the pod; see GoneOrChanged for what one that is gone returns.
func (w PodWriter) Delete(ctx context.Context, owner Owner, name string, uid types.UID) error {
	err := w.Client.CoreV1().Pods(owner.GetNamespace()).Delete(ctx, name, *metav1.NewPreconditionDeleteOptions(string(uid)))
	switch {
	case err == nil:
		w.Events.Eventf(owner, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %v", name)
	case GoneOrChanged(err) != nil && ctx.Err() == nil:
		w.Events.Eventf(owner, corev1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
		return fmt.Errorf("unable to delete pods: %w", err)
	}
	return err
}

// SlowStart calls f for 0 to n-1, side by side, in batches that grow fourfold
// as long as all succeed, so that a refusal that holds for all is met by few.
// It returns how many calls succeeded, and the first error.
func SlowStart(n int, f func(i int) error) (succeeded int, first error) {
	for done, batch := 0, 1; done < n && first == nil; batch *= 4 {
		size := min(n-done, batch)
		var ok int
		ok, first = AllAtOnce(size, func(i int) error { return f(done + i) })
		succeeded += ok
		done += size
	}
	return succeeded, first
}

// parallel bounds the requests of one bulk of work that are under way at once:
// enough to fill shared commits and all cores, and few enough that several
// bulks stay below the API server's limit (429, and a second's wait).
const parallel = 24

// AllAtOnce calls f for 0 to n-1, many side by side. It returns how many calls
// succeeded, and the first error.
func AllAtOnce(n int, f func(i int) error) (succeeded int, first error) {
	if n == 1 {
		if first = f(0); first == nil {
			succeeded = 1
		}
		return succeeded, first
	}
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		next atomic.Int64
	)
	for range min(n, parallel) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				err := f(int(i))
				mu.Lock()
				if err == nil {
					succeeded++
				} else if first == nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return succeeded, first
}
