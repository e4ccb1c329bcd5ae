package kubelet

import (
	"time"

	"clipper/internal/kubelet/lifecycle"
	"clipper/internal/kubelet/server"
	"clipper/internal/measure"
)

// probes are what became of a pod's probes; they are its actor's alone.
type probes map[probed]*server.Probes

type probed struct {
	container string
	kind      lifecycle.ProbeKind
}

func (p *probes) count(container string, kind lifecycle.ProbeKind, r lifecycle.Result, took time.Duration) {
	of := (*p)[probed{container, kind}]
	if of == nil {
		if *p == nil {
			*p = probes{}
		}
		of = &server.Probes{Container: container, Type: kind.String(), Took: measure.Seconds(server.ProbeBounds)}
		(*p)[probed{container, kind}] = of
	}
	switch r {
	case lifecycle.Success:
		of.Successful++
	case lifecycle.Unknown:
		of.Unknown++
	default:
		of.Failed++
	}
	of.Took.Took(took)
}

// Probes implements server.Node.
func (k *Kubelet) Probes() (all []server.Probes) {
	for _, a := range k.actorList() {
		var of []server.Probes
		if !a.ask(k.ctx, func(s *lifecycle.State) {
			for _, p := range a.probes {
				one := *p
				one.Ref = server.PodRef{Name: s.Pod.Name, Namespace: s.Pod.Namespace, UID: string(s.Pod.UID)}
				of = append(of, one)
			}
		}) {
			continue
		}
		all = append(all, of...)
	}
	return all
}
