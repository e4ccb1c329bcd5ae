package apiserver

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// groupPriority orders the groups that are served here, as upstream's
// APIServices do: of two groups with a resource of one name the higher is meant.
var groupPriority = map[string]int32{ // never changed
	"":                             18000,
	"apps":                         17800,
	"events.k8s.io":                17750,
	"authentication.k8s.io":        17700,
	"authorization.k8s.io":         17600,
	"autoscaling":                  17500,
	"batch":                        17400,
	"certificates.k8s.io":          17300,
	"networking.k8s.io":            17200,
	"policy":                       17100,
	"rbac.authorization.k8s.io":    17000,
	"storage.k8s.io":               16800,
	"apiextensions.k8s.io":         16700,
	"admissionregistration.k8s.io": 16700,
	"scheduling.k8s.io":            16600,
	"coordination.k8s.io":          16500,
	"node.k8s.io":                  16300,
	"discovery.k8s.io":             16200,
	"resource.k8s.io":              16200,
	"flowcontrol.apiserver.k8s.io": 16100,
}

// versionPriority is that of v1, but for these.
var versionPriority = map[string]int32{ // never changed
	"":                             1,
	"autoscaling/v2":               30,
	"flowcontrol.apiserver.k8s.io": 21,
	"resource.k8s.io":              21,
}

// ownAPIServices are the APIServices of the group versions of the table, which
// the server itself serves.
func (s *Server) ownAPIServices() (all []*apiregistrationv1.APIService) {
	for _, g := range s.Table.Groups() {
		priority, built := groupPriority[g.Name]
		if !built {
			continue
		}
		for _, v := range g.Versions {
			order, ok := versionPriority[g.Name+"/"+v]
			if !ok {
				if order, ok = versionPriority[g.Name]; !ok {
					order = 15
				}
			}
			all = append(all, &apiregistrationv1.APIService{
				ObjectMeta: metav1.ObjectMeta{
					Name: v + "." + g.Name, Labels: map[string]string{"kube-aggregator.kubernetes.io/automanaged": "onstart"},
				},
				Spec: apiregistrationv1.APIServiceSpec{
					Group: g.Name, Version: v, GroupPriorityMinimum: priority, VersionPriority: order,
				},
			})
		}
	}
	return all
}

func (s *Server) ensureAPIServices(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, a := range s.ownAPIServices() {
		g.Go(func() error {
			if err := s.ensure(gctx, "apiservices", apiregistrationv1.GroupName, a, nil); err != nil {
				return fmt.Errorf("create the APIService %s: %w", a.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}
