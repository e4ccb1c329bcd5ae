// Package controllertest runs controllers against an API in memory, in
// scenarios written as txtar files: YAML goes in, and what the controllers
// wrote comes out. Time is simulated (testing/synctest), so that a scenario
// may wait for minutes and still ends at once.
package controllertest

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
)

// API is the fake clientset with what controllers rely on besides: uids,
// generated names, creation times, generations, preconditions, graceful
// deletion of pods that have a node, finalizers.
type API struct {
	*fake.Clientset

	mu   sync.Mutex
	made int
	log  []string
}

// NewAPI returns an API that holds nothing.
func NewAPI() *API {
	a := &API{Clientset: fake.NewSimpleClientset()}
	a.PrependReactor("create", "*", a.create)
	a.PrependReactor("update", "*", a.update)
	a.PrependReactor("patch", "*", a.patch)
	a.PrependReactor("delete", "*", a.remove)
	return a
}

// Took returns the writes since the last call, one line each.
func (a *API) Took() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.log
	a.log = nil
	return l
}

func (a *API) note(format string, args ...any) {
	a.log = append(a.log, fmt.Sprintf(format, args...))
}

func pathOf(act clienttesting.Action, name string) string {
	s := act.GetResource().Resource
	if sub := act.GetSubresource(); sub != "" {
		s += "/" + sub
	}
	if ns := act.GetNamespace(); ns != "" {
		name = ns + "/" + name
	}
	return s + " " + name
}

func (a *API) create(act clienttesting.Action) (bool, runtime.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	obj := act.(clienttesting.CreateAction).GetObject()
	o, err := meta.Accessor(obj)
	if err != nil {
		return true, nil, err
	}
	switch act.GetSubresource() {
	case "":
	case "finalize":
		a.note("finalize %s", pathOf(act, o.GetName()))
		if o.GetDeletionTimestamp() != nil && gone(obj) {
			return true, obj, a.Tracker().Delete(act.GetResource(), "", o.GetName())
		}
		return true, obj, a.Tracker().Update(act.GetResource(), obj, "")
	default:
		a.note("create %s", pathOf(act, o.GetName()))
		return true, obj, nil
	}
	if _, err := a.Tracker().Get(act.GetResource(), act.GetNamespace(), o.GetName()); err == nil && o.GetName() != "" {
		a.note("create %s: already exists", pathOf(act, o.GetName()))
		return true, nil, apierrors.NewAlreadyExists(act.GetResource().GroupResource(), o.GetName())
	}
	a.made++
	if o.GetName() == "" {
		o.SetName(fmt.Sprintf("%s%05d", o.GetGenerateName(), a.made))
	}
	if o.GetUID() == "" {
		o.SetUID(types.UID(fmt.Sprintf("uid-%d", a.made)))
	}
	if ts := o.GetCreationTimestamp(); ts.IsZero() {
		o.SetCreationTimestamp(metav1.NewTime(time.Now().UTC()))
	}
	if o.GetGeneration() == 0 {
		o.SetGeneration(1)
	}
	if o.GetNamespace() == "" {
		o.SetNamespace(act.GetNamespace())
	}
	a.note("create %s", pathOf(act, o.GetName()))
	return false, nil, nil
}

func (a *API) update(act clienttesting.Action) (bool, runtime.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	obj := act.(clienttesting.UpdateAction).GetObject()
	o, err := meta.Accessor(obj)
	if err != nil {
		return true, nil, err
	}
	a.note("update %s", pathOf(act, o.GetName()))
	old, err := a.Tracker().Get(act.GetResource(), o.GetNamespace(), o.GetName())
	if err != nil {
		return true, nil, err
	}
	was, err := meta.Accessor(old)
	if err != nil {
		return true, nil, err
	}
	if was.GetUID() != o.GetUID() {
		return true, nil, apierrors.NewConflict(act.GetResource().GroupResource(), o.GetName(), fmt.Errorf("uid differs"))
	}
	if o.GetDeletionTimestamp() != nil && len(o.GetFinalizers()) == 0 && gone(obj) {
		return true, obj, a.Tracker().Delete(act.GetResource(), o.GetNamespace(), o.GetName())
	}
	if act.GetSubresource() == "finalize" || act.GetSubresource() == "status" {
		return false, nil, nil
	}
	if specOf(old) != specOf(obj) {
		o.SetGeneration(was.GetGeneration() + 1)
	}
	return false, nil, nil
}

// gone tells whether nothing but finalizers kept a deleted object.
func gone(obj runtime.Object) bool {
	switch o := obj.(type) {
	case *corev1.Namespace:
		return len(o.Spec.Finalizers) == 0
	case *corev1.Pod:
		return o.Spec.NodeName == ""
	}
	return true
}

func specOf(obj runtime.Object) string {
	b, err := json.Marshal(obj)
	if err != nil {
		return err.Error()
	}
	var v struct{ Spec json.RawMessage }
	if err := json.Unmarshal(b, &v); err != nil {
		return err.Error()
	}
	return string(v.Spec)
}

func (a *API) patch(act clienttesting.Action) (bool, runtime.Object, error) {
	a.mu.Lock()
	p := act.(clienttesting.PatchAction)
	a.note("patch %s %s", pathOf(act, p.GetName()), p.GetPatch())
	a.mu.Unlock()
	// The uid in a patch is a precondition: nobody can change it.
	var want struct {
		Metadata struct{ UID types.UID }
	}
	if err := json.Unmarshal(p.GetPatch(), &want); err == nil && want.Metadata.UID != "" {
		old, err := a.Tracker().Get(act.GetResource(), act.GetNamespace(), p.GetName())
		if err != nil {
			return true, nil, err
		}
		if o, err := meta.Accessor(old); err != nil || o.GetUID() != want.Metadata.UID {
			return true, nil, apierrors.NewConflict(act.GetResource().GroupResource(), p.GetName(), fmt.Errorf("uid differs"))
		}
	}
	done, obj, err := clienttesting.ObjectReaction(a.Tracker())(act)
	if err == nil && done {
		if o, _ := meta.Accessor(obj); o != nil && o.GetDeletionTimestamp() != nil && len(o.GetFinalizers()) == 0 && gone(obj) {
			err = a.Tracker().Delete(act.GetResource(), o.GetNamespace(), o.GetName())
		}
	}
	return done, obj, err
}

func (a *API) remove(act clienttesting.Action) (bool, runtime.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := act.(clienttesting.DeleteAction)
	opts := d.GetDeleteOptions()
	extra := ""
	if opts.PropagationPolicy != nil {
		extra += " " + string(*opts.PropagationPolicy)
	}
	if opts.GracePeriodSeconds != nil {
		extra += fmt.Sprintf(" grace=%d", *opts.GracePeriodSeconds)
	}
	a.note("delete %s%s", pathOf(act, d.GetName()), extra)
	return true, nil, a.delete(act.GetResource(), act.GetNamespace(), d.GetName(), opts)
}

// delete does what the API server does to one object.
func (a *API) delete(gvr schema.GroupVersionResource, ns, name string, opts metav1.DeleteOptions) error {
	old, err := a.Tracker().Get(gvr, ns, name)
	if err != nil {
		return err
	}
	obj := old.DeepCopyObject()
	o, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	if p := opts.Preconditions; p != nil && p.UID != nil && *p.UID != o.GetUID() {
		return apierrors.NewConflict(gvr.GroupResource(), name, fmt.Errorf("uid differs"))
	}
	add := func(f string) {
		for _, g := range o.GetFinalizers() {
			if g == f {
				return
			}
		}
		o.SetFinalizers(append(o.GetFinalizers(), f))
	}
	if p := opts.PropagationPolicy; p != nil {
		switch *p {
		case metav1.DeletePropagationForeground:
			add(metav1.FinalizerDeleteDependents)
		case metav1.DeletePropagationOrphan:
			add(metav1.FinalizerOrphanDependents)
		}
	}
	now := opts.GracePeriodSeconds != nil && *opts.GracePeriodSeconds == 0
	grace := int64(0)
	if pod, ok := obj.(*corev1.Pod); ok && pod.Spec.NodeName != "" && !now {
		grace = 30
		if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
			grace = *s
		}
		if opts.GracePeriodSeconds != nil {
			grace = *opts.GracePeriodSeconds
		}
	}
	if len(o.GetFinalizers()) == 0 && grace == 0 && (now || gone(obj)) {
		return a.Tracker().Delete(gvr, ns, name)
	}
	if o.GetDeletionTimestamp() == nil {
		t := metav1.NewTime(time.Now().UTC().Add(time.Duration(grace) * time.Second))
		o.SetDeletionTimestamp(&t)
		o.SetDeletionGracePeriodSeconds(&grace)
	}
	return a.Tracker().Update(gvr, obj, ns)
}

// Put creates the object, or replaces the one there is, unrecorded. What the
// server owns is kept from the old one.
func (a *API) Put(obj runtime.Object) error {
	gvk, gvr, err := kindOf(obj)
	if err != nil {
		return err
	}
	o, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	old, err := a.Tracker().Get(gvr, o.GetNamespace(), o.GetName())
	if apierrors.IsNotFound(err) {
		if o.GetUID() == "" {
			o.SetUID(types.UID(o.GetName() + "-uid"))
		}
		if ts := o.GetCreationTimestamp(); ts.IsZero() {
			o.SetCreationTimestamp(metav1.NewTime(time.Now().UTC()))
		}
		if o.GetGeneration() == 0 {
			o.SetGeneration(1)
		}
		return a.Tracker().Create(gvr, obj, o.GetNamespace())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", gvk, err)
	}
	was, err := meta.Accessor(old)
	if err != nil {
		return err
	}
	if o.GetUID() == "" {
		o.SetUID(was.GetUID())
	}
	o.SetCreationTimestamp(was.GetCreationTimestamp())
	o.SetGeneration(was.GetGeneration())
	if specOf(old) != specOf(obj) {
		o.SetGeneration(was.GetGeneration() + 1)
	}
	return a.Tracker().Update(gvr, obj, o.GetNamespace())
}

func kindOf(obj runtime.Object) (schema.GroupVersionKind, schema.GroupVersionResource, error) {
	gvks, _, err := scheme.Scheme.ObjectKinds(obj)
	if err != nil {
		return schema.GroupVersionKind{}, schema.GroupVersionResource{}, err
	}
	gvr, _ := meta.UnsafeGuessKindToResource(gvks[0])
	return gvks[0], gvr, nil
}
