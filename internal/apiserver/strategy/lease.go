package strategy

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// What coordinated leader election says in a Lease is dropped, as long as no
// election is coordinated (KEP-4355).
func lease() *Strategy {
	drop := func(o runtime.Object) {
		s := &o.(*coordinationv1.Lease).Spec
		s.Strategy, s.PreferredHolder = nil, nil
	}
	return &Strategy{
		CreateOnUpdate: true,
		Create:         drop, Update: func(o, _ runtime.Object) { drop(o) },
	}
}
