package controller

import (
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// On makes a handler of one function: before is nil for what is new, after is
// nil for what is gone. A relist that tells of no change calls nothing.
func On[T any](f func(before, after *T)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) {
			if v, ok := o.(*T); ok {
				f(nil, v)
			}
		},
		UpdateFunc: func(before, after any) {
			b, ok1 := before.(*T)
			a, ok2 := after.(*T)
			if ok1 && ok2 && b != a {
				f(b, a)
			}
		},
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if v, ok := o.(*T); ok {
				f(v, nil)
			}
		},
	}
}

// Key names a namespaced object, or a cluster-wide one without Namespace.
type Key = types.NamespacedName

// KeyOf returns the object's key.
func KeyOf(o metav1.Object) Key { return Key{Namespace: o.GetNamespace(), Name: o.GetName()} }
