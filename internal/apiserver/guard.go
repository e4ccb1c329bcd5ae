package apiserver

import (
	"context"
	"sync"
	"time"

	"clipper/internal/apiserver/cache"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// guard puts the `kubernetes` Service and its endpoints back when someone
// deletes or changes them, and the namespaces that every cluster has. It sleeps
// until that happens.
func (s *Server) guard(ctx context.Context) {
	own := fields.OneTermEqualSelector("metadata.name", kubernetes)
	var wg sync.WaitGroup
	defer wg.Wait()
	// Admission keeps the others from deletion.
	if k := s.byName[schema.GroupResource{Resource: "namespaces"}]; k != nil {
		lease := fields.OneTermEqualSelector("metadata.name", corev1.NamespaceNodeLease)
		wg.Go(func() {
			s.follow(ctx, k, k.cache.Select("", nil, lease), func() {
				if err := s.ensureNamespaces(ctx); err != nil && ctx.Err() == nil {
					s.Logger.Error("namespace of the cluster cannot be restored", "err", err)
				}
			})
		})
	}
	for _, resource := range []schema.GroupResource{
		{Resource: "services"}, {Resource: "endpoints"}, {Group: "discovery.k8s.io", Resource: "endpointslices"},
	} {
		if k := s.byName[resource]; k != nil {
			wg.Go(func() {
				s.follow(ctx, k, k.cache.Select(metav1.NamespaceDefault, nil, own), func() {
					if err := s.insist(ctx, s.ensureOwn); err != nil && ctx.Err() == nil {
						s.Logger.Error("service of the API server cannot be restored", "err", err)
					}
				})
			})
		}
	}
}

// How often something is tried again that failed, and after how long at first;
// then after twice as long each time.
const (
	insistTimes = 8
	insistAfter = 5 * time.Millisecond
)

// insist repeats what fails, a few times: a Service's deletion is told before its
// address is free again.
func (s *Server) insist(ctx context.Context, try func(context.Context) error) error {
	for n := 0; ; n++ {
		err := try(ctx)
		if err == nil || n == insistTimes {
			return err
		}
		t := s.Clock.NewTimer(insistAfter << n)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// follow calls changed once at first and then after every change of what is
// selected (nil is all of the kind), until ctx ends.
func (s *Server) follow(ctx context.Context, k *kind, sel *cache.Selection, changed func()) {
	if sel == nil {
		sel = k.cache.Select("", nil, nil)
	}
	for ctx.Err() == nil {
		s.followOnce(ctx, k, sel, changed)
	}
}

// followOnce returns when the watch fell behind, or ctx ended.
func (s *Server) followOnce(ctx context.Context, k *kind, sel *cache.Selection, changed func()) {
	w, err := k.cache.Watch(ctx, sel, cache.WatchOptions{Initial: true})
	if err != nil {
		return
	}
	defer w.Close()
	for first := true; ; first = false { // nothing may be what there is at first
		b, bell, err := w.Next()
		if err != nil {
			return
		}
		if first || len(b.Deliveries()) > 0 {
			changed()
		}
		if bell == nil {
			continue
		}
		select {
		case <-bell:
		case <-ctx.Done():
			return
		}
	}
}
