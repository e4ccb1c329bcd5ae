// Package controllertest runs controllers against an API in memory, in
// scenarios written as txtar files: YAML goes in, and what the controllers
// wrote comes out. Time is simulated (testing/synctest), so that a scenario
// may wait for minutes and still ends at once.
package controllertest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"sync"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
)

// API is the fake clientset with what controllers rely on besides: uids, versions,
// generated names, creation times, generations, preconditions, graceful
// deletion of pods that have a node, finalizers.
type API struct {
	*fake.Clientset

	mu       sync.Mutex
	made     int
	revision int
	log      []string
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
	obj := act.(clienttesting.CreateAction).GetObject().DeepCopyObject()
	o, err := meta.Accessor(obj)
	if err != nil {
		return true, nil, err
	}
	switch act.GetSubresource() {
	case "":
	case "finalize":
		a.note("finalize %s", pathOf(act, o.GetName()))
		return true, obj, a.replace(act, obj)
	default:
		a.note("create %s", pathOf(act, o.GetName()))
		return true, obj, nil
	}
	if _, err := a.Tracker().Get(act.GetResource(), act.GetNamespace(), o.GetName()); err == nil && o.GetName() != "" {
		return true, nil, apierrors.NewAlreadyExists(act.GetResource().GroupResource(), o.GetName())
	}
	a.made++
	if o.GetName() == "" {
		o.SetName(fmt.Sprintf("%s%05d", o.GetGenerateName(), a.made))
	}
	if o.GetNamespace() == "" {
		o.SetNamespace(act.GetNamespace())
	}
	a.fill(o, fmt.Sprintf("uid-%d", a.made))
	a.note("create %s", pathOf(act, o.GetName()))
	return true, obj, a.Tracker().Create(act.GetResource(), obj, o.GetNamespace())
}

// fill sets what the server sets of a new object.
func (a *API) fill(o metav1.Object, uid string) {
	if o.GetUID() == "" {
		o.SetUID(types.UID(uid))
	}
	if ts := o.GetCreationTimestamp(); ts.IsZero() {
		o.SetCreationTimestamp(metav1.NewTime(time.Now().UTC()))
	}
	if o.GetGeneration() == 0 {
		o.SetGeneration(1)
	}
	a.version(o)
}

func (a *API) version(o metav1.Object) {
	a.revision++
	o.SetResourceVersion(fmt.Sprint(a.revision))
}

func (a *API) update(act clienttesting.Action) (bool, runtime.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	obj := act.(clienttesting.UpdateAction).GetObject().DeepCopyObject()
	o, err := meta.Accessor(obj)
	if err != nil {
		return true, nil, err
	}
	err = a.replace(act, obj)
	if err == nil { // how often writers meet depends on their interleaving
		a.note("update %s", pathOf(act, o.GetName()))
	}
	return true, obj, err
}

// replace stores obj in place of what is there.
func (a *API) replace(act clienttesting.Action, obj runtime.Object) error {
	gvr := act.GetResource()
	o, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	old, err := a.Tracker().Get(gvr, o.GetNamespace(), o.GetName())
	if err != nil {
		return err
	}
	was, err := meta.Accessor(old)
	if err != nil {
		return err
	}
	if was.GetUID() != o.GetUID() || o.GetResourceVersion() != "" && o.GetResourceVersion() != was.GetResourceVersion() {
		return apierrors.NewConflict(gvr.GroupResource(), o.GetName(), fmt.Errorf("the object has been modified"))
	}
	o.SetDeletionTimestamp(was.GetDeletionTimestamp())
	o.SetGeneration(was.GetGeneration())
	switch act.GetSubresource() {
	case "status":
		err = takeOver(obj, old, "spec")
	case "":
		err = takeOver(obj, old, "status")
		if part(old, "spec") != part(obj, "spec") {
			o.SetGeneration(was.GetGeneration() + 1)
		}
	}
	if err != nil {
		return err
	}
	if o.GetDeletionTimestamp() != nil && len(o.GetFinalizers()) == 0 && gone(obj) {
		return a.Tracker().Delete(gvr, o.GetNamespace(), o.GetName())
	}
	a.version(o)
	return a.Tracker().Update(gvr, obj, o.GetNamespace())
}

// takeOver replaces one part of obj by old's.
func takeOver(obj, old runtime.Object, field string) error {
	v := part(old, field)
	if v == part(obj, field) {
		return nil
	}
	var doc map[string]json.RawMessage
	b, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return err
	}
	delete(doc, field)
	if v != "" {
		doc[field] = json.RawMessage(v)
	}
	if b, err = json.Marshal(doc); err != nil {
		return err
	}
	if err := runtime.SetZeroValue(obj); err != nil {
		return err
	}
	return json.Unmarshal(b, obj)
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

// part returns a top-level field of an object as JSON.
func part(obj runtime.Object, field string) string {
	var doc map[string]json.RawMessage
	b, err := json.Marshal(obj)
	if err == nil {
		err = json.Unmarshal(b, &doc)
	}
	if err != nil {
		panic(err) // typed objects always are JSON
	}
	return string(doc[field])
}

// version matches what depends on how writers interleave.
var version = regexp.MustCompile(`"resourceVersion":"\d+"`)

func (a *API) patch(act clienttesting.Action) (bool, runtime.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := act.(clienttesting.PatchAction)
	old, err := a.Tracker().Get(act.GetResource(), act.GetNamespace(), p.GetName())
	if err != nil {
		return true, nil, err
	}
	b, err := json.Marshal(old)
	if err != nil {
		return true, nil, err
	}
	switch p.GetPatchType() {
	case types.StrategicMergePatchType:
		b, err = strategicpatch.StrategicMergePatch(b, p.GetPatch(), old)
	case types.MergePatchType:
		b, err = jsonpatch.MergePatch(b, p.GetPatch())
	case types.JSONPatchType:
		var ops jsonpatch.Patch
		if ops, err = jsonpatch.DecodePatch(p.GetPatch()); err == nil {
			b, err = ops.Apply(b)
		}
	}
	if err != nil {
		return true, nil, apierrors.NewInvalid(schema.GroupKind{}, p.GetName(), field.ErrorList{field.InternalError(nil, err)})
	}
	obj := old.DeepCopyObject()
	if err := runtime.SetZeroValue(obj); err != nil {
		return true, nil, err
	}
	if err := json.Unmarshal(b, obj); err != nil {
		return true, nil, err
	}
	err = a.replace(act, obj)
	if err == nil {
		a.note("patch %s %s", pathOf(act, p.GetName()), version.ReplaceAll(p.GetPatch(), []byte(`"resourceVersion":"…"`)))
	}
	return true, obj, err
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
	err := a.delete(act.GetResource(), act.GetNamespace(), d.GetName(), opts)
	if err == nil {
		a.note("delete %s%s", pathOf(act, d.GetName()), extra)
	}
	return true, nil, err
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
	if p := opts.Preconditions; p != nil && p.ResourceVersion != nil && *p.ResourceVersion != o.GetResourceVersion() {
		return apierrors.NewConflict(gvr.GroupResource(), name, fmt.Errorf("version differs"))
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
	a.version(o)
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
		a.fill(o, o.GetName()+"-uid")
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
	if part(old, "spec") != part(obj, "spec") {
		o.SetGeneration(was.GetGeneration() + 1)
	}
	a.version(o)
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
