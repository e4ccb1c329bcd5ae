// Package strategy holds what the kinds do differently on their way to the
// store: what a client may not set, what each of a kind's paths may change,
// how deletion goes. One file a kind; the generic path is apiserver's.
//
// The functions here are pure: they see objects only, and change the new one.
// They run after the mutating admission plugins and before validation. The new
// object may share parts with the old one afterwards.
package strategy

import (
	"bytes"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Strategy is one kind's ways. The zero value is a kind that is stored as it
// comes.
type Strategy struct {
	// Create resets what a new object may not have.
	Create func(obj runtime.Object)
	// Update restores what the object's own path may not change.
	Update func(obj, old runtime.Object)
	// Sub does the same for subresources that read and write the object, by name.
	Sub map[string]func(obj, old runtime.Object)
	// Judged completes what has been found to be right.
	Judged func(obj runtime.Object)
	// Scale reads and writes the replicas, where there is a scale subresource.
	Scale *Scale

	// CreateOnUpdate lets an update create what does not exist.
	CreateOnUpdate bool
	// Conditional refuses updates that state no resourceVersion.
	Conditional bool
	// ReturnDeleted answers a deletion with the object instead of a Status.
	ReturnDeleted bool
	// OrphanDependents is the propagation policy when the client states none.
	OrphanDependents bool
	// Orphaned is what is said then.
	Orphaned string
	// Lasting, if set, tells why no object of the name can be deleted by it;
	// nothing if it can.
	Lasting func(name string) (why string)
	// TTL after which an object that is not written again is deleted; zero is never.
	TTL func(obj runtime.Object) time.Duration

	// Grace returns how many seconds a deletion gives the object, 0 for at
	// once, from what the client asked (nil: nothing). Nil: always at once.
	Grace func(obj runtime.Object, asked *int64) int64
	// Held tells whether more than metadata.finalizers keeps the object.
	Held func(obj runtime.Object) bool
	// Deleting marks the object when its deletion begins but must wait.
	Deleting func(obj runtime.Object)
}

// Scale is how a kind's replicas are read and written.
type Scale struct {
	Get func(obj runtime.Object) *autoscalingv1.Scale
	Set func(obj runtime.Object, replicas int32)
}

// New returns the strategies by resource; what is not in it has none of its own.
func New() map[schema.GroupResource]*Strategy {
	m := make(map[schema.GroupResource]*Strategy, 48)
	for _, g := range []struct {
		group string
		kinds map[string]*Strategy
	}{
		{"", core()}, {"apps", apps()}, {"batch", batch()}, {"networking.k8s.io", networking()},
		{"policy", policy()}, {"storage.k8s.io", storage()}, {"rbac.authorization.k8s.io", rbac()},
		{"coordination.k8s.io", map[string]*Strategy{"leases": lease()}},
		{"discovery.k8s.io", map[string]*Strategy{"endpointslices": endpointSlice()}},
		{"scheduling.k8s.io", map[string]*Strategy{"priorityclasses": priorityClass()}},
		{"node.k8s.io", map[string]*Strategy{"runtimeclasses": {CreateOnUpdate: true}}},
		{"admissionregistration.k8s.io", admissionRegistration()},
		{"apiextensions.k8s.io", map[string]*Strategy{"customresourcedefinitions": customResourceDefinition()}},
		{"apiregistration.k8s.io", map[string]*Strategy{"apiservices": apiService()}},
		{"autoscaling", map[string]*Strategy{"horizontalpodautoscalers": autoscaler()}},
		{"flowcontrol.apiserver.k8s.io", flowcontrol()}, {"resource.k8s.io", dynamicResources()},
		{"certificates.k8s.io", map[string]*Strategy{"certificatesigningrequests": certificateSigningRequest()}},
	} {
		for name, s := range g.kinds {
			m[schema.GroupResource{Group: g.group, Resource: name}] = s
		}
	}
	for r, spec := range podSpecs() {
		if m[r] == nil {
			m[r] = &Strategy{}
		}
		withoutDisabled(m[r], spec)
	}
	each := func(all []schema.GroupResource, f func(*Strategy)) {
		for _, r := range all {
			if m[r] == nil {
				m[r] = &Strategy{}
			}
			f(m[r])
		}
	}
	each(returned(), func(s *Strategy) { s.ReturnDeleted = true })
	each(conditional(), func(s *Strategy) { s.Conditional = true })
	return m
}

// object is a pointer to T that is a whole API object.
type object[T any] interface {
	*T
	runtime.Object
	metav1.Object
}

// marshaler is what every type of k8s.io/api has.
type marshaler[T any] interface {
	*T
	Size() int
	Marshal() ([]byte, error)
}

// same compares two values by their protobuf form, in which nil and empty are
// one, as the API sees them.
func same[T any, PT marshaler[T]](a, b PT) bool {
	if a.Size() != b.Size() {
		return false
	}
	x, err := a.Marshal()
	if err != nil {
		return false
	}
	y, err := b.Marshal()
	return err == nil && bytes.Equal(x, y)
}

// halves is a kind whose spec users write and whose status a component writes,
// through the subresource. With counted, metadata.generation counts the specs.
// What a status write does not touch besides the spec is keep's.
func halves[T, S, U any, PT object[T], PS marshaler[S]](spec func(PT) *S, status func(PT) *U, counted bool, keep func(obj, old PT)) *Strategy {
	return &Strategy{
		Create: func(o runtime.Object) {
			obj := o.(PT)
			var none U
			*status(obj) = none
			if counted {
				obj.SetGeneration(1)
			}
		},
		Update: func(o, was runtime.Object) {
			obj, old := o.(PT), was.(PT)
			*status(obj) = *status(old)
			if counted && !same(PS(spec(obj)), PS(spec(old))) {
				obj.SetGeneration(old.GetGeneration() + 1)
			}
		},
		Sub: map[string]func(obj, old runtime.Object){
			"status": func(o, was runtime.Object) {
				obj, old := o.(PT), was.(PT)
				*spec(obj) = *spec(old)
				if keep != nil {
					keep(obj, old)
				}
			},
		},
	}
}

func keepLabels[T any, PT object[T]](obj, old PT) { obj.SetLabels(old.GetLabels()) }

// keepMeta lets a status write change nothing of the metadata that users own.
func keepMeta[T any, PT object[T]](obj, old PT) {
	obj.SetLabels(old.GetLabels())
	obj.SetAnnotations(old.GetAnnotations())
	obj.SetFinalizers(old.GetFinalizers())
	obj.SetOwnerReferences(old.GetOwnerReferences())
}

// with adjusts a strategy where it is made.
func with(s *Strategy, f func(*Strategy)) *Strategy {
	f(s)
	return s
}

// first has f look at an object that is created or updated, before all else does.
func first[T runtime.Object](s *Strategy, f func(T)) {
	create, update := s.Create, s.Update
	s.Create = func(o runtime.Object) {
		f(o.(T))
		if create != nil {
			create(o)
		}
	}
	s.Update = func(o, was runtime.Object) {
		f(o.(T))
		if update != nil {
			update(o, was)
		}
	}
}
