package system

import (
	"context"
	"net/netip"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"clipper/internal/auth"
	"clipper/internal/client"
	"clipper/internal/controller"
	"clipper/internal/controller/certificates"
	"clipper/internal/controller/cronjob"
	"clipper/internal/controller/daemonset"
	"clipper/internal/controller/deployment"
	"clipper/internal/controller/disruption"
	"clipper/internal/controller/endpoints"
	"clipper/internal/controller/endpointslice"
	"clipper/internal/controller/garbage"
	"clipper/internal/controller/job"
	"clipper/internal/controller/namespace"
	"clipper/internal/controller/nodeipam"
	"clipper/internal/controller/nodelifecycle"
	"clipper/internal/controller/podgc"
	"clipper/internal/controller/pvcprotection"
	"clipper/internal/controller/pvprotection"
	"clipper/internal/controller/replicaset"
	"clipper/internal/controller/replicationcontroller"
	"clipper/internal/controller/resourcequota"
	"clipper/internal/controller/rootca"
	"clipper/internal/controller/serviceaccount"
	"clipper/internal/controller/statefulset"
	"clipper/internal/controller/tokencleaner"
	"clipper/internal/controller/ttlafterfinished"
	"clipper/internal/controller/vacprotection"
	"clipper/internal/run"
	"clipper/internal/scheduler"
)

// builder makes a controller from what every controller gets; from a client
// configuration of its own identity, for those that need other clients; and
// from the API, for those that read more than objects.
type builder func(c controller.Config, cfg *rest.Config, a *api) (controller.Controller, error)

// plain adapts a constructor that needs no more than the usual.
func plain[C controller.Controller](build func(controller.Config) C) builder {
	return func(c controller.Config, _ *rest.Config, _ *api) (controller.Controller, error) {
		return build(c), nil
	}
}

// controllers are those of a control plane, each with the identity it works
// under: auth knows what that may do.
var controllers = []struct {
	identity string
	build    builder
}{
	{"service-account-controller", plain(serviceaccount.New)},
	{"root-ca-cert-publisher", func(c controller.Config, _ *rest.Config, a *api) (controller.Controller, error) {
		return rootca.New(rootca.Config{Config: c, CA: a.pki.CABundle()}), nil
	}},
	{"namespace-controller", func(c controller.Config, cfg *rest.Config, _ *api) (controller.Controller, error) {
		m, err := metadata.NewForConfig(cfg)
		return namespace.New(namespace.Config{Config: c, Metadata: m}), err
	}},
	{"deployment-controller", plain(deployment.New)},
	{"replicaset-controller", plain(replicaset.New)},
	{"replication-controller", plain(replicationcontroller.New)},
	{"statefulset-controller", plain(statefulset.New)},
	{"daemon-set-controller", plain(daemonset.New)},
	{"job-controller", plain(job.New)},
	{"cronjob-controller", plain(cronjob.New)},
	{"ttl-after-finished-controller", plain(ttlafterfinished.New)},
	{"endpointslice-controller", plain(endpointslice.New)},
	{"endpoint-controller", plain(endpoints.New)},
	{"endpointslicemirroring-controller", plain(endpoints.NewMirror)},
	{"generic-garbage-collector", func(c controller.Config, cfg *rest.Config, a *api) (controller.Controller, error) {
		m, err := metadata.NewForConfig(cfg)
		return garbage.New(garbage.Config{Config: c, Metadata: m, Source: a.feed}), err
	}},
	{"disruption-controller", plain(disruption.New)},
	{"node-controller", plain(nodelifecycle.New)},
	{"node-controller", func(c controller.Config, _ *rest.Config, a *api) (controller.Controller, error) {
		return nodeipam.New(nodeipam.Config{Config: c, Cluster: a.layout.Pods, Bits: a.share.Bits(), Home: a.home}), nil
	}},
	{"certificate-controller", func(c controller.Config, _ *rest.Config, a *api) (controller.Controller, error) {
		return certificates.NewApprover(c, certificates.Reserved{
			Names: a.names, Node: a.home, Networks: []netip.Prefix{a.layout.Pods, a.layout.Services},
		}), nil
	}},
	{"certificate-controller", func(c controller.Config, _ *rest.Config, a *api) (controller.Controller, error) {
		return certificates.NewSigner(c, a.pki), nil
	}},
	{"certificate-controller", plain(certificates.NewCleaner)},
	{"token-cleaner", plain(tokencleaner.New)},
	{"pod-garbage-collector", plain(podgc.New)},
	{"resourcequota-controller", plain(resourcequota.New)},
	{"pvc-protection-controller", plain(pvcprotection.New)},
	{"pv-protection-controller", plain(pvprotection.New)},
	{"volumeattributesclass-protection-controller", plain(vacprotection.New)},
}

// controllers adds the controllers and the scheduler to the process.
func (p *process) controllers(a *api) error {
	var (
		parts   []run.Part
		workers []controller.Worker
	)
	for _, row := range controllers {
		name := auth.ControllerUser(row.identity)
		cfg := a.as(name, auth.ServiceAccountGroups("kube-system")...)
		k, err := kubernetes.NewForConfig(cfg)
		if err != nil {
			return err
		}
		c, err := row.build(controller.Config{
			Client: k, Informers: a.informers, Clock: p.clock, Events: controller.NewEvents(p.ctx, k), Logger: p.log.With("controller", row.identity),
		}, cfg, a)
		if err != nil {
			return err
		}
		parts = append(parts, run.Part{Name: c.Name(), Run: c.Run})
		if w, ok := c.(controller.Worker); ok {
			workers = append(workers, w)
		}
	}
	a.registry.MustRegister(controller.NewCollector(workers))

	k, err := a.client(auth.Scheduler)
	if err != nil {
		return err
	}
	s := scheduler.New(scheduler.Config{Client: k, Create: client.Creator(a.as(auth.Scheduler)), Informers: a.informers, Clock: p.clock, Logger: p.log.With("part", "scheduler")})
	parts = append(parts, run.Part{Name: "scheduler", Run: s.Run})
	a.registry.MustRegister(s.Collector())

	// Informers start once all have said what they want to see, and end after
	// those who look at them.
	p.addInformers(a)
	for _, part := range parts {
		p.group.Add(part)
	}
	return nil
}

// addInformers runs the shared informers as a part.
func (p *process) addInformers(a *api) {
	p.group.Add(run.Part{Name: "informers", Run: func(ctx context.Context) error {
		a.informers.Start(ctx.Done())
		<-ctx.Done()
		a.informers.Shutdown()
		return nil
	}})
}
